#include "pkcs11/worker/latch.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"

#include <openssl/evp.h>
#include <string.h>

#define LATCH_MAX 1024

/* The path that people can follow, and the one by which this process gets there. */
static enum kl_code set_paths(const struct kl_worker *w, struct kl_latch *l, struct kl_err *err)
{
    char label[33], serial[17], name[64];
    const char *folder = w->state[0] != 0 ? w->state : w->conf.state_dir;
    const char *own[] = {w->state[0] != 0 ? "/token-" : "", w->state[0] != 0 ? w->conf.name : ""};
    kl_attr_trim(w->info.label, sizeof w->info.label, label);
    kl_attr_trim(w->info.serialNumber, sizeof w->info.serialNumber, serial);
    (void)snprintf(name, sizeof name, "%s-%s", label, serial);
    for (char *p = name; *p != 0; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *p) == NULL)
            *p = '_';
    if (snprintf(l->shown, sizeof l->shown, "%s%s%s/pin-refused-%s", w->conf.state_dir, own[0],
                 own[1], name) >= (int)sizeof l->shown ||
        snprintf(l->path, sizeof l->path, "%s/pin-refused-%s", folder, name) >= (int)sizeof l->path)
        return kl_fail(err, KL_CONFIG, "state-dir", "the path of state-dir is too long");
    return KL_OK;
}

/* One byte of scrypt(pin, salt). */
static enum kl_code digest(struct kl_secret *pin, const uint8_t *salt, uint8_t *ret,
                           struct kl_err *err)
{
    uint8_t out[32];
    if (EVP_PBE_scrypt((const char *)kl_secret_bytes(pin), kl_secret_len(pin), salt, KL_LATCH_SALT,
                       1 << 14, 8, 1, 64 << 20, out, sizeof out) != 1)
        return kl_fail_ossl(err, "scrypt", "the refused-PIN latch cannot be checked");
    *ret = out[0];
    kl_wipe(out, sizeof out);
    return KL_OK;
}

enum kl_code kl_latch_read(const struct kl_worker *w, struct kl_latch *ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    *ret = (struct kl_latch){.set = false};
    if (w->conf.state_dir[0] == 0)
        return KL_OK;
    enum kl_code code = set_paths(w, ret, err);
    if (code != KL_OK)
        return code;
    code = kl_io_read_file(ret->path, LATCH_MAX, &text, &n, err);
    if (code == KL_NOT_FOUND)
        return KL_OK;
    if (code != KL_OK)
        return code;
    char salt[2 * KL_LATCH_SALT + 1] = "", check[3] = "";
    const char *at = strstr(text, "salt=");
    ret->set = true;
    if (at == NULL || sscanf(at, "salt=%32[0-9a-f] check=%2[0-9a-f]", salt, check) != 2 ||
        kl_unhex(salt, ret->salt, KL_LATCH_SALT) != KL_OK ||
        kl_unhex(check, &ret->check, 1) != KL_OK)
        return kl_fail(err, KL_TOKEN_PIN, "latch",
                       "%s is damaged; remove it to allow one more login", ret->shown);
    return KL_OK;
}

enum kl_code kl_latch_write(struct kl_latch *l, struct kl_secret *pin, CK_RV rv, struct kl_err *err)
{
    char text[LATCH_MAX], when[32], salt[2 * KL_LATCH_SALT + 1];
    if (l->path[0] == 0)
        return KL_OK;
    kl_random(l->salt, KL_LATCH_SALT);
    enum kl_code code = digest(pin, l->salt, &l->check, err);
    if (code != KL_OK)
        return code;
    kl_hex(l->salt, KL_LATCH_SALT, salt);
    kl_clock_iso(kl_clock_unix_ms(), when);
    int n = snprintf(text, sizeof text,
                     "The token refused its PIN (%s) on %s. It will not be sent again.\n"
                     "Correct the PIN, or remove this file to allow one more login.\n"
                     "salt=%s\ncheck=%02x\n",
                     kl_ckr_name(rv), when, salt, l->check);
    return kl_io_replace_file(l->path, 0600, text, (size_t)n, err);
}

enum kl_code kl_latch_check(const struct kl_latch *l, struct kl_secret *pin, bool *ret_same,
                            struct kl_err *err)
{
    uint8_t check = 0;
    *ret_same = false;
    if (!l->set)
        return KL_OK;
    enum kl_code code = digest(pin, l->salt, &check, err);
    *ret_same = code == KL_OK && check == l->check;
    return code;
}
