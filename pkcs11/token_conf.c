#include "pkcs11/token.h"

#include "base/conf.h"

#include <stddef.h>

#define AT(member) offsetof(struct kl_token_config, member)

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
     .help =
         "RFC 7512 URI that selects exactly one initialised token, e.g. pkcs11:token=kluis. Slot numbers and "
         "PINs are refused here."},
    {.key = "pin-source",
     .type = KL_CONF_TEXT,
     .offset = AT(pin_source),
     .required = true,
     .help =
         "Where the worker reads the user PIN: an absolute path, fd:N, or credential:NAME for a systemd "
         "credential. A refused PIN is never sent again by itself."},
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
    {.key = "state-dir",
     .type = KL_CONF_PATH,
     .offset = AT(state_dir),
     .help =
         "Folder where a refused PIN is remembered; by default the service's state-dir (file pin-refused-LABEL-SERIAL; remove it to allow one more "
         "try)."},
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
     .help = "The same for starting, creating, destroying, wrapping and listing keys."},
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
