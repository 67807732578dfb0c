/* The development site's token. */
#include "base/encoding.h"
#include "base/io.h"
#include "cli/command.h"
#include "cli/dev_site.h"
#include "cli/process.h"
#include "cli/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UNFINISHED  KL_DEV_SOFTHSM ".new"
#define DOMAIN_DONE "domain-key.done"

/* 16 random bytes as hex: within every token's limits of a PIN. */
enum { PIN_BYTES = 16 };

static enum kl_code make_pin(const struct kl_dev_site *s, const char *name, struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(64);
    uint8_t raw[PIN_BYTES];
    char hex[2 * PIN_BYTES + 1];

    if (kl_dev_has(s, name))
        return KL_OK;
    kl_random(raw, sizeof(raw));
    kl_hex(raw, sizeof(raw), hex);
    kl_buf_printf(&text, "%s\n", hex);
    kl_wipe(raw, sizeof(raw));
    kl_wipe(hex, sizeof(hex));
    return kl_dev_write(s, name, &text, err);
}

/* Write softhsm2.conf for a store and have our children use it. */
static enum kl_code use_store(const struct kl_dev_site *s, const char *store, struct kl_err *err)
{
    struct kl_buf text = KL_BUF_INIT(8192);
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_dev_path(s, KL_DEV_SOFTHSM_CONF, &path, err);

    kl_buf_printf(&text,
                  "directories.tokendir = %s/%s\nobjectstore.backend = file\nlog.level = ERROR\n"
                  "slots.removable = false\n",
                  s->dir, store);
    if (code == KL_OK)
        code = kl_dev_write(s, KL_DEV_SOFTHSM_CONF, &text, err);
    kl_buf_done(&text);
    if (code == KL_OK && setenv("SOFTHSM2_CONF", path, 1) != 0)
        code = kl_fail_errno(err, "setenv", "cannot set SOFTHSM2_CONF");
    return code;
}

/* softhsm2-util takes PINs as arguments, where every user of the host sees them, or from a
 * terminal: so it gets one. (Calling the module's C_InitToken ourselves is not for this program:
 * only kluis-tokend loads modules.) */
static enum kl_code init_token(const struct kl_dev_site *s, const char *name, struct kl_err *err)
{
    KL_AUTO(secret) pin = NULL;
    KL_AUTO(secret) so_pin = NULL;
    char label[33];
    char *argv[] = {
        (char[]){"softhsm2-util"}, (char[]){"--module"}, s->module, (char[]){"--init-token"},
        (char[]){"--free"},        (char[]){"--label"},  label,     NULL};
    int status = -1;
    enum kl_code code = kl_secret_read_file(s->pin_file, 256, &pin, err);

    (void)snprintf(label, sizeof label, "%s", name);
    if (code == KL_OK)
        code = kl_secret_read_file(s->so_pin_file, 256, &so_pin, err);
    if (code != KL_OK)
        return code;
    const char *user = (const char *)kl_secret_bytes(pin);
    const char *so = (const char *)kl_secret_bytes(so_pin);
    const char *const answers[] = {so, so, user, user, NULL};

    code = kl_process_converse(argv, " PIN: ", answers, &status, err);
    if (code == KL_OK && status == 127)
        code =
            kl_fail(err, KL_CONFIG, "softhsm2-util", "softhsm2-util is missing (package softhsm2)");
    else if (code == KL_OK && status != 0)
        code = kl_fail(err, KL_IO, "softhsm2-util",
                       "softhsm2-util could not make a token in %s (exit code %d)", s->dir, status);
    return code;
}

/* Exit statuses of kluis-tokend that are worth a sentence of their own; which PIN was refused
 * stands on standard error. */
static const struct {
    int status;
    enum kl_code code;
    const char *text;
} refusals[] = {
    {4, KL_EXISTS, "the token has a domain key already"},
    {5, KL_TOKEN_UNSUPPORTED, "the token cannot hold a domain key"},
    {6, KL_TOKEN_PIN,
     "the token refused a PIN; correct its file before you try again, as a token locks after a few "
     "wrong ones"},
};

enum { CEREMONY_WORDS = 32 };

/* kluis-tokend domain-key VERB on one token, with further words behind. */
static enum kl_code ceremony(const struct kl_dev_site *s, const char *verb, const char *uri,
                             char *const *more, struct kl_err *err)
{
    KL_AUTO(char) program = NULL;
    int status = -1;
    enum kl_code code = kl_process_beside("kluis-tokend", &program, err);

    if (code != KL_OK)
        return code;
    const char *words[CEREMONY_WORDS] = {program,
                                         "domain-key",
                                         verb,
                                         "--module",
                                         s->module,
                                         "--uri",
                                         uri,
                                         "--so-pin-file",
                                         s->so_pin_file,
                                         "--pin-file",
                                         s->pin_file,
                                         "--init-args",
                                         s->init_args != NULL ? s->init_args : "",
                                         "--store-dir",
                                         s->store_dir != NULL ? s->store_dir : ""};
    for (size_t n = 15; more != NULL && *more != NULL && n + 1 < KL_COUNT(words); more++)
        words[n++] = *more;

    struct kl_buf answer = KL_BUF_INIT(1 << 16);
    code = kl_process_run((char *const *)(void *)words, &answer, &status, err);
    kl_buf_done(&answer);
    for (size_t i = 0; code == KL_OK && status != 0 && i < KL_COUNT(refusals); i++) {
        if (status == refusals[i].status)
            return kl_fail(err, refusals[i].code, "kluis-tokend", "%s: %s", uri, refusals[i].text);
    }
    if (code == KL_OK && status != 0)
        code = kl_fail(err, KL_IO, "kluis-tokend", "the domain key could not be made on %s", uri);
    return code;
}

static enum kl_code make_domain_key(const struct kl_dev_site *s, struct kl_err *err)
{
    return ceremony(s, "create", s->uri, NULL, err);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static enum kl_code remove_tree(const char *path, struct kl_err *err)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return kl_fail_errno(err, "remove", "cannot remove %s", path);
    return KL_OK;
}

/* SoftHSM does not sync: do it for the whole file system, then give the store its final name. */
static enum kl_code finish_store(const char *from, const char *to, struct kl_err *err)
{
    int fd = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum kl_code code = KL_OK;

    if (fd < 0 || syncfs(fd) != 0 || rename(from, to) != 0)
        code = kl_fail_errno(err, "rename", "cannot finish %s", to);
    if (fd >= 0)
        close(fd);
    return code;
}

/* ---- several tokens with one domain key ---- */

static int visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

/* The share files of a folder as words for a command, each to be freed. */
static enum kl_code list_shares(const char *folder, char *words[static KL_DEV_TOKENS_MAX],
                                struct kl_err *err)
{
    struct dirent **found = NULL;
    int n = scandir(folder, &found, visible, alphasort);
    enum kl_code code =
        n > 0 && n < KL_DEV_TOKENS_MAX
            ? KL_OK
            : kl_fail(err, KL_IO, "scandir", "the ceremony left no shares in %s", folder);

    for (int i = 0; i < n; i++) {
        if (code == KL_OK)
            code = kl_target_format(&words[i], err, "%s/%s", folder, found[i]->d_name);
        free(found[i]);
    }
    free(found);
    return code;
}

/* Made in shares on the first token, brought from them to the others; then the shares are removed:
 * whoever has them has the keys. */
static enum kl_code make_common_domain_key(const struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) folder = NULL;
    char *shares[KL_DEV_TOKENS_MAX] = {NULL};
    enum kl_code code = kl_dev_path(s, "shares.new", &folder, err);

    if (code == KL_OK)
        code = remove_tree(folder, err);
    if (code == KL_OK)
        code = kl_io_make_dirs(folder, 0700, err);
    if (code == KL_OK) {
        char *const words[] = {(char[]){"--shares"}, (char[]){"2-of-2"}, (char[]){"--out-dir"},
                               folder, NULL};

        code = ceremony(s, "create", s->uri, words, err);
    }
    if (code == KL_OK)
        code = list_shares(folder, shares, err);
    for (int64_t i = 1; i < s->tokens && code == KL_OK; i++) {
        char uri[64];

        (void)snprintf(uri, sizeof uri, "pkcs11:token=%s", kl_dev_token_labels[i]);
        code = ceremony(s, "import-shares", uri, shares, err);
    }
    for (size_t i = 0; i < KL_COUNT(shares); i++)
        free(shares[i]);
    if (folder != NULL && code == KL_OK)
        code = remove_tree(folder, err);
    return code;
}

/* The token is made under another name and renamed when its domain key is in: what carries the
 * final name is whole. */
static enum kl_code make_own_token(struct kl_dev_site *s, struct kl_err *err)
{
    KL_AUTO(char) unfinished = NULL;
    KL_AUTO(char) store = NULL;
    enum kl_code code = make_pin(s, "pin", err);

    if (code == KL_OK)
        code = make_pin(s, "so-pin", err);
    if (code == KL_OK)
        code = kl_dev_path(s, UNFINISHED, &unfinished, err);
    if (code == KL_OK)
        code = kl_dev_path(s, KL_DEV_SOFTHSM, &store, err);
    if (code == KL_OK)
        code = remove_tree(unfinished, err);
    if (code == KL_OK)
        code = kl_io_make_dirs(unfinished, 0700, err);
    if (code == KL_OK)
        code = use_store(s, UNFINISHED, err);
    for (int64_t i = 0; i < s->tokens && code == KL_OK; i++)
        code = init_token(s, kl_dev_token_labels[i], err);
    if (code == KL_OK && s->tokens == 1)
        kl_dev_say(s, "token made (SoftHSM, in %s)", store);
    else if (code == KL_OK)
        kl_dev_say(s, "%lld tokens made (SoftHSM, in %s)", (long long)s->tokens, store);
    if (code == KL_OK)
        code = s->tokens > 1 ? make_common_domain_key(s, err) : make_domain_key(s, err);
    if (code == KL_OK)
        kl_dev_say(s, "domain key made");
    return code == KL_OK ? finish_store(unfinished, store, err) : code;
}

/* On a given token the ceremony runs once; a note of its success is kept in the site. */
static enum kl_code prepare_given_token(struct kl_dev_site *s, struct kl_err *err)
{
    struct kl_buf note = KL_BUF_INIT(64);
    enum kl_code code;

    if (s->so_pin_file == NULL) {
        if (s->fresh)
            kl_dev_say(s, "no --so-pin-file: without a domain key, keys cannot be backed up unless "
                          "the token has one");
        return KL_OK;
    }
    if (kl_dev_has(s, DOMAIN_DONE))
        return KL_OK;
    code = make_domain_key(s, err);
    if (code == KL_OK || code == KL_EXISTS || code == KL_TOKEN_UNSUPPORTED) {
        if (code == KL_TOKEN_UNSUPPORTED)
            kl_dev_say(s, "no domain key, so keys cannot be backed up: %s cannot hold one", s->uri);
        else
            kl_dev_say(s, "domain key %s on %s", code == KL_OK ? "made" : "found", s->uri);
        kl_buf_puts(&note, "asked for by kluis dev up\n");
        code = kl_dev_write(s, DOMAIN_DONE, &note, err);
    }
    return code;
}

enum kl_code kl_dev_make_token(struct kl_dev_site *s, struct kl_err *err)
{
    enum kl_code code = KL_OK;

    if (!s->own_token)
        return prepare_given_token(s, err);
    if (!kl_dev_has(s, KL_DEV_SOFTHSM))
        code = make_own_token(s, err);
    return code == KL_OK ? use_store(s, KL_DEV_SOFTHSM, err) : code;
}
