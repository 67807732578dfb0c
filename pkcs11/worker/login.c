#include "pkcs11/worker/login.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/pin.h"

#include <openssl/evp.h>
#include <string.h>

#define SALT_BYTES 16
#define LATCH_MAX  1024

struct latch {
    char path[256];
    bool set;
    uint8_t salt[SALT_BYTES];
    uint8_t check;
};

static enum kl_code latch_path(const struct kl_worker *w, char out[static 256], struct kl_err *err)
{
    char label[33], serial[17], name[64];
    kl_attr_trim(w->info.label, sizeof w->info.label, label);
    kl_attr_trim(w->info.serialNumber, sizeof w->info.serialNumber, serial);
    (void)snprintf(name, sizeof name, "%s-%s", label, serial);
    for (char *p = name; *p != 0; p++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", *p) == NULL)
            *p = '_';
    if (snprintf(out, 256, "%s/pin-refused-%s", w->conf.state_dir, name) >= 256)
        return kl_fail(err, KL_CONFIG, "state-dir", "the path of state-dir is too long");
    return KL_OK;
}

/* One byte of scrypt(pin, salt). */
static enum kl_code digest(struct kl_secret *pin, const uint8_t *salt, uint8_t *ret,
                           struct kl_err *err)
{
    uint8_t out[32];
    if (EVP_PBE_scrypt((const char *)kl_secret_bytes(pin), kl_secret_len(pin), salt, SALT_BYTES,
                       1 << 14, 8, 1, 64 << 20, out, sizeof out) != 1)
        return kl_fail_ossl(err, "scrypt", "the refused-PIN latch cannot be checked");
    *ret = out[0];
    kl_wipe(out, sizeof out);
    return KL_OK;
}

static enum kl_code latch_read(const struct kl_worker *w, struct latch *ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    *ret = (struct latch){.set = false};
    if (w->conf.state_dir[0] == 0)
        return KL_OK;
    enum kl_code code = latch_path(w, ret->path, err);
    if (code != KL_OK)
        return code;
    code = kl_io_read_file(ret->path, LATCH_MAX, &text, &n, err);
    if (code == KL_NOT_FOUND)
        return KL_OK;
    if (code != KL_OK)
        return code;
    char salt[2 * SALT_BYTES + 1] = "", check[3] = "";
    const char *at = strstr(text, "salt=");
    ret->set = true;
    if (at == NULL || sscanf(at, "salt=%32[0-9a-f] check=%2[0-9a-f]", salt, check) != 2 ||
        kl_unhex(salt, ret->salt, SALT_BYTES) != KL_OK || kl_unhex(check, &ret->check, 1) != KL_OK)
        return kl_fail(err, KL_TOKEN_PIN, "latch",
                       "%s is damaged; remove it to allow one more login", ret->path);
    return KL_OK;
}

static enum kl_code latch_write(struct latch *l, struct kl_secret *pin, CK_RV rv,
                                struct kl_err *err)
{
    char text[LATCH_MAX], when[32], salt[2 * SALT_BYTES + 1];
    if (l->path[0] == 0)
        return KL_OK;
    kl_random(l->salt, SALT_BYTES);
    enum kl_code code = digest(pin, l->salt, &l->check, err);
    if (code != KL_OK)
        return code;
    kl_hex(l->salt, SALT_BYTES, salt);
    kl_clock_iso(kl_clock_unix_ms(), when);
    int n = snprintf(text, sizeof text,
                     "The token refused its PIN (%s) on %s. It will not be sent again.\n"
                     "Correct the PIN, or remove this file to allow one more login.\n"
                     "salt=%s\ncheck=%02x\n",
                     kl_ckr_name(rv), when, salt, l->check);
    return kl_io_replace_file(l->path, 0600, text, (size_t)n, err);
}

static enum kl_code latched(struct kl_err *err, const struct latch *l, CK_RV rv, const char *text)
{
    (void)kl_fail_native(err, KL_TOKEN_PIN, KL_DOMAIN_PKCS11, rv, "C_Login", "%s", text);
    if (err != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%.255s", l->path);
    return KL_TOKEN_PIN;
}

/* What the token itself says about its PIN: the last tries belong to people. COUNT_LOW alone is no
 * reason, as any wrong PIN sets it, and SoftHSM never clears it by itself. */
static enum kl_code check_flags(const struct kl_worker *w, const struct latch *l,
                                struct kl_err *err)
{
    static const struct {
        CK_FLAGS flag;
        const char *text;
    } stops[] = {
        {CKF_USER_PIN_LOCKED, "The token's user PIN is locked"},
        {CKF_USER_PIN_FINAL_TRY, "The token allows one last PIN try; log in by hand first"},
        {CKF_USER_PIN_TO_BE_CHANGED, "The token wants its user PIN changed first"},
    };
    for (size_t i = 0; i < KL_COUNT(stops); i++)
        if ((w->info.flags & stops[i].flag) != 0)
            return latched(err, l, CKR_OK, stops[i].text);
    if ((w->info.flags & CKF_USER_PIN_INITIALIZED) == 0)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "C_GetTokenInfo",
                       "the token has no user PIN yet");
    return KL_OK;
}

static enum kl_code check_latch(const struct latch *l, struct kl_secret *pin, struct kl_err *err)
{
    uint8_t check = 0;
    if (!l->set)
        return KL_OK;
    enum kl_code code = digest(pin, l->salt, &check, err);
    if (code == KL_OK && check == l->check)
        return latched(err, l, CKR_PIN_INCORRECT,
                       "The token refused this PIN before; correct it, or remove the latch file");
    return code;
}

static enum kl_code send_pin(struct kl_worker *w, struct latch *l, struct kl_secret *pin,
                             struct kl_err *err)
{
    w->login_tried = true;
    CK_RV rv = w->module.f->C_Login(w->anchor, CKU_USER, kl_secret_bytes(pin), kl_secret_len(pin));
    if (rv == CKR_OK || rv == CKR_USER_ALREADY_LOGGED_IN)
        return KL_OK;
    if (kl_ckr_class(rv) != KL_CKR_PIN)
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_Login", "the token does not log in");
    struct kl_err why;
    if (latch_write(l, pin, rv, &why) != KL_OK) /* still latched in this life of the client */
        l->path[0] = 0;
    return latched(err, l, rv, "The token refused its PIN; it will not be sent again");
}

enum kl_code kl_login(struct kl_worker *w, int pin_fd, struct kl_err *err)
{
    struct latch l;
    KL_AUTO(secret) pin = NULL;
    enum kl_code code = latch_read(w, &l, err);
    if (code == KL_OK)
        code = check_flags(w, &l, err);
    if (code == KL_OK)
        code = kl_pin_read(w->conf.pin_source, pin_fd, &pin, err);
    if (code == KL_OK)
        code = check_latch(&l, pin, err);
    if (code == KL_OK)
        code = send_pin(w, &l, pin, err);
    return code;
}
