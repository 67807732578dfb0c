#include "base/conf.h"
#include "pkcs11/client.h"

#include <stddef.h>
#include <string.h>

#define AT(member) offsetof(struct kl_token_config, member)

static enum kl_code check_digest(const void *value, struct kl_err *err)
{
    const char *text = *(char *const *)value;
    if (text != NULL && (strlen(text) != 64 || strspn(text, "0123456789abcdef") != 64))
        return kl_fail(err, KL_CONFIG, "module-sha256",
                       "module-sha256 must be 64 lower-case hex digits, as sha256sum prints them");
    return KL_OK;
}

enum kl_code kl_token_check_uri(const char *uri, struct kl_err *err)
{
    if (uri == NULL || strncmp(uri, "pkcs11:", 7) != 0)
        return kl_fail(err, KL_CONFIG, "uri", "uri must begin with pkcs11:, as pkcs11:token=LABEL");
    if (strstr(uri, "pin-value") != NULL || strstr(uri, "pin-source") != NULL)
        return kl_fail(err, KL_CONFIG, "uri",
                       "uri must not say anything about a PIN; pin-source says where it is");
    return KL_OK;
}

static enum kl_code check_uri(const void *value, struct kl_err *err)
{
    return kl_token_check_uri(*(char *const *)value, err);
}

static const struct kl_conf_row rows[] = {
    {.key = "module",
     .type = KL_CONF_PATH,
     .offset = AT(module),
     .required = true,
     .help = "Path of the vendor's PKCS#11 module. Only the worker process loads it."},
    {.key = "uri",
     .type = KL_CONF_TEXT,
     .offset = AT(uri),
     .required = true,
     .check = check_uri,
     .help =
         "RFC 7512 URI that selects exactly one initialised token, e.g. pkcs11:token=kluis. Slot numbers and "
         "PINs are refused here."},
    {.key = "pin-source",
     .type = KL_CONF_TEXT,
     .offset = AT(pin_source),
     .required = true,
     .help =
         "Where the worker gets the user PIN: an absolute path, fd:N, credential:NAME for a systemd "
         "credential, prompt to wait for 'kluis token login', or protected for a token that asks on a keypad "
         "of its own. A refused PIN is never sent again by itself."},
    {.key = "init-args",
     .type = KL_CONF_TEXT,
     .offset = AT(init_args),
     .help = "String for C_Initialize (pReserved), which some modules need (NSS, kryoptic)."},
    {.key = "store-dir",
     .type = KL_CONF_PATH,
     .offset = AT(store_dir),
     .help =
         "Folder of a software token's store. New keys count only after it was synced to disk, and nothing is "
         "made while less than 16 MiB are free there. SoftHSM needs it: it never syncs by itself."},
    {.key = "store-copies",
     .type = KL_CONF_INT,
     .offset = AT(store_copies),
     .min = 0,
     .max = 100,
     .preset = "3",
     .help =
         "How many proved copies of store-dir are kept, in token-copies of the service's state-dir. One is made soon after "
         "keys were made or destroyed; each key does its work in it before it counts. A copy with a key that "
         "was destroyed since is removed. 0: none."},
    {.key = "state-dir",
     .type = KL_CONF_PATH,
     .offset = AT(state_dir),
     .help = "Folder where a refused PIN is remembered; by default the service's state-dir (file "
             "token-NAME/pin-refused-LABEL-SERIAL; remove it to allow one more try)."},
    {.key = "worker",
     .type = KL_CONF_PATH,
     .offset = AT(worker),
     .help = "Path of kluis-tokend; by default beside kluisd."},
    {.key = "workers",
     .type = KL_CONF_INT,
     .offset = AT(workers),
     .min = 1,
     .max = 64,
     .preset = "2",
     .help =
         "Threads, each with a session of its own, for decrypt and sign. A software token: as many as "
         "processors; a network HSM with 5 ms delay: 16 and more."},
    {.key = "deadline",
     .type = KL_CONF_DURATION,
     .offset = AT(deadline_ms),
     .min = 10,
     .max = 600000,
     .preset = "10s",
     .help =
         "Longest time a decrypt or sign may take in the module before the worker is replaced. Keep the "
         "vendor's own timeouts below it."},
    {.key = "slow-deadline",
     .type = KL_CONF_DURATION,
     .offset = AT(slow_deadline_ms),
     .min = 10,
     .max = 3600000,
     .preset = "2m",
     .help =
         "The same for creating, destroying, wrapping and listing keys, and for the keys that a "
         "worker makes while it starts, to see what the token can."},
    {.key = "start-deadline",
     .type = KL_CONF_DURATION,
     .offset = AT(start_deadline_ms),
     .min = 10,
     .max = 3600000,
     .preset = "10s",
     .help =
         "The same for each step of a worker's start: loading and initialising the module, logging in, each "
         "part of the listing and the probe. Raise it for a module that takes longer to connect."},
    {.key = "keep-alive",
     .type = KL_CONF_DURATION,
     .offset = AT(keep_alive_ms),
     .min = 0,
     .max = 86400000,
     .preset = "20s",
     .help =
         "How often the token proves itself by a private-key operation (a canary), and after how long an idle "
         "session does one of its own, so that no session is closed for idleness. 0 turns both off."},
    {.key = "retry-limit",
     .type = KL_CONF_DURATION,
     .offset = AT(retry_limit_ms),
     .min = 1000,
     .max = 3600000,
     .preset = "5s",
     .help =
         "Longest pause before the next try to reach a token that is gone: the pauses grow from none over 1, 1, "
         "2, 5, 10 and 60 to 300 seconds up to this."},
    {.key = "max-waiting",
     .type = KL_CONF_INT,
     .offset = AT(max_waiting),
     .min = 1,
     .max = 65535,
     .preset = "256",
     .help = "Calls in flight at once; further ones are told to come back later."},
    {.key = "software-oaep",
     .type = KL_CONF_BOOL,
     .offset = AT(software_oaep),
     .preset = "yes",
     .help =
         "Where the token lacks an OAEP hash: raw RSA on the token, and the padding taken off in the worker in "
         "constant time. RSA-OAEP-256 on SoftHSM needs it."},
    {.key = "relogin",
     .type = KL_CONF_BOOL,
     .offset = AT(relogin),
     .preset = "no",
     .help =
         "Keep the PIN in the worker's locked memory and log in again when the token lost the login. Without "
         "it the PIN is wiped after the login, and a lost login costs a new worker, which reads pin-source "
         "again."},
    {.key = "module-sha256",
     .type = KL_CONF_TEXT,
     .offset = AT(module_sha256),
     .check = check_digest,
     .help =
         "SHA-256 of the module's file in hex (sha256sum FILE). Another file is not loaded. Whatever it says, "
         "the file and every folder above it must belong to root or to the service's user, and others must "
         "not be able to write there."},
    {.key = "user",
     .type = KL_CONF_TEXT,
     .offset = AT(user),
     .help =
         "User that the worker becomes after it has read the PIN, for a service that is started by root. The "
         "token's folders must be this user's."},
    {.key = "network",
     .type = KL_CONF_BOOL,
     .offset = AT(network),
     .preset = "no",
     .help =
         "Let the module use Internet sockets, as a network HSM needs it. Unix sockets, which lead to daemons "
         "such as pcscd or pkcsslotd, are always open to it."},
    {.key = "files",
     .type = KL_CONF_LIST,
     .offset = AT(files),
     .help =
         "A file or folder that the module may read and write, with all below; repeat the line for more. "
         "Once there is a line, the module sees only these, store-dir, its own folder, and to read /usr, "
         "/etc, /opt, /proc and /sys; a device node such as /dev/tpmrm0 needs a line too. Without one it sees "
         "what its user may see, but never the files of this service, nor what comes into being beside them "
         "later. A single / closes nothing. Needs a kernel with Landlock (6.1 of Debian 12 has it)."},
    {.key = "syscalls",
     .type = KL_CONF_TEXT,
     .offset = AT(syscalls),
     .help =
         "Names of system calls, parted by spaces, that this module needs beyond the worker's allow-list. A "
         "call that is not allowed fails with EPERM, and the worker's log names it."},
};

static const struct kl_conf_section section = {
    .kind = "token",
    .named = true,
    .size = sizeof(struct kl_token_config),
    .rows = rows,
    .row_count = KL_COUNT(rows),
    .help = "One PKCS#11 token.",
};

const struct kl_conf_section *kl_token_conf_section(void)
{
    return &section;
}
