#include "pkcs11/worker/ceremony.h"

#include "base/encoding.h"
#include "pkcs11/worker/ask.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/domain_key.h"
#include "pkcs11/worker/durable.h"
#include "pkcs11/worker/login.h"
#include "pkcs11/worker/session.h"
#include "pkcs11/worker/share_file.h"
#include "pkcs11/worker/start.h"

#include <string.h>
#include <unistd.h>

/* One ceremony under way. */
struct stage {
    const struct kl_ceremony *c;
    struct kl_worker w;
    struct kl_session session;
    struct kl_secret *so_pin;
    int pin_fd; /* a memory file with the user's PIN, so that it is asked for once */
    struct kl_domain_keys keys;
};

/* The token's own words about the officer's PIN: the last tries belong to people. */
static enum kl_code check_so_flags(const struct stage *st, struct kl_err *err)
{
    static const struct {
        CK_FLAGS flag;
        const char *text;
    } stops[] = {
        {CKF_SO_PIN_LOCKED, "the security officer's PIN is locked"},
        {CKF_SO_PIN_FINAL_TRY,
         "the token allows one last try of the security officer's PIN: log in with its own tool first"},
        {CKF_SO_PIN_TO_BE_CHANGED, "the token wants the security officer's PIN changed first"},
    };
    for (size_t i = 0; i < KL_COUNT(stops); i++)
        if ((st->w.info.flags & stops[i].flag) != 0)
            return kl_fail(err, KL_TOKEN_PIN, "C_GetTokenInfo", "%s", stops[i].text);
    return KL_OK;
}

static enum kl_code login_user(struct stage *st, struct kl_err *err)
{
    enum kl_code code = kl_login_prepare(&st->w, st->pin_fd, err);
    return code == KL_OK ? kl_login(&st->w, err) : code;
}

static void logout(struct stage *st)
{
    kl_session_drop(&st->session);
    (void)st->w.module.f->C_Logout(st->w.anchor);
}

static enum kl_code so_login_code(CK_RV rv)
{
    switch (kl_ckr_class(rv)) {
    case KL_CKR_PIN:
        return KL_TOKEN_PIN;
    case KL_CKR_REFUSED:
        return KL_TOKEN_UNSUPPORTED;
    default:
        return KL_TOKEN_UNAVAILABLE;
    }
}

static enum kl_code login_so(struct stage *st, struct kl_err *err)
{
    CK_RV rv = st->w.module.f->C_Login(st->w.anchor, CKU_SO, kl_secret_bytes(st->so_pin),
                                       kl_secret_len(st->so_pin));
    return rv == CKR_OK ? KL_OK
                        : kl_ckr_fail(err, so_login_code(rv), rv, "C_Login",
                                      "the security officer cannot log in");
}

static enum kl_code get_pins(struct stage *st, bool with_so, struct kl_err *err)
{
    const struct kl_ceremony *c = st->c;
    char label[33], prompt[96];
    KL_AUTO(secret) pin = NULL;
    enum kl_code code = KL_OK;
    kl_attr_trim(st->w.info.label, sizeof st->w.info.label, label);
    if (with_so)
        code = check_so_flags(st, err);
    if (code == KL_OK && with_so) {
        (void)snprintf(prompt, sizeof prompt, "Security officer's PIN of token %s: ", label);
        code = kl_ask_pin(c->so_pin_file, c->so_pin_fd, prompt, &st->so_pin, err);
    }
    if (code == KL_OK) {
        (void)snprintf(prompt, sizeof prompt, "User PIN of token %s: ", label);
        code = kl_ask_pin(c->pin_file, c->pin_fd, prompt, &pin, err);
    }
    if (code == KL_OK)
        code = kl_ask_keep(pin, &st->pin_fd, err);
    return code;
}

/* To where the user is logged in and the domain keys are known. The user's PIN comes first: were it
 * refused after the officer's part, half a pair would stay. */
static enum kl_code begin(struct stage *st, const struct kl_ceremony *c, bool with_so,
                          struct kl_err *err)
{
    *st = (struct stage){.c = c, .w.conf = c->conf, .session.worker = &st->w, .pin_fd = -1};
    (void)snprintf(st->w.conf.pin_source, sizeof st->w.conf.pin_source, "fd:0");
    enum kl_code code = kl_durable_check(c->conf.store_dir, err);
    if (code == KL_OK)
        code = kl_start_token(&st->w, err);
    if (code == KL_OK)
        code = get_pins(st, with_so, err);
    if (code == KL_OK)
        code = login_user(st, err);
    if (code == KL_OK)
        code = kl_domain_keys_list(&st->session, &st->keys, err);
    return code;
}

static void end(struct stage *st)
{
    kl_session_drop(&st->session);
    kl_secret_free(st->so_pin);
    if (st->pin_fd >= 0)
        (void)close(st->pin_fd);
    if (st->w.module.f != NULL)
        kl_module_close(&st->w.module);
}

static void put_key(struct kl_buf *out, const struct kl_token_domain *d)
{
    static const char *const origins[] = {
        [KL_DOMAIN_EARLY] = "inside", [KL_DOMAIN_INSIDE] = "inside", [KL_DOMAIN_SHARES] = "shares"};
    static const char *const word[] = {"false", "true"};
    char id[2 * KL_KEY_ID_LEN + 1];
    kl_hex(d->id, sizeof d->id, id);
    kl_buf_printf(out,
                  "{\"id\":\"%s\",\"generation\":%u,\"origin\":\"%s\",\"current\":%s,\"whole\":%s,"
                  "\"unwrapTemplate\":%s}",
                  id, d->generation, d->origin < KL_DOMAIN_ORIGINS ? origins[d->origin] : "unknown",
                  word[d->current != 0], word[d->whole != 0], word[d->unwrap_template != 0]);
}

/* As the token has them now. */
static enum kl_code report(struct stage *st, struct kl_buf *out, struct kl_err *err)
{
    char label[33];
    enum kl_code code = kl_domain_keys_list(&st->session, &st->keys, err);
    if (code != KL_OK)
        return code;
    kl_attr_trim(st->w.info.label, sizeof st->w.info.label, label);
    kl_buf_puts(out, "{\"token\":");
    kl_buf_put_json(out, label, strlen(label));
    kl_buf_puts(out, ",\"domainKeys\":[");
    for (size_t i = 0; i < st->keys.count; i++) {
        kl_buf_puts(out, i > 0 ? "," : "");
        put_key(out, &st->keys.rows[i].says);
    }
    kl_buf_puts(out, "]");
    return KL_OK;
}

static void report_shares(const struct kl_share_set *set, const char *folder, struct kl_buf *out)
{
    kl_buf_puts(out, ",\"shares\":[");
    for (size_t i = 0; i < set->count; i++) {
        KL_AUTO(char) path = kl_share_files_path(&set->shares[i], folder);
        kl_buf_puts(out, i > 0 ? "," : "");
        kl_buf_put_json(out, path != NULL ? path : "", path != NULL ? strlen(path) : 0);
    }
    kl_buf_puts(out, "]");
}

/* The officer's half, then the user's; begins and ends with the user logged in. */
static enum kl_code make_pair(struct stage *st, const uint8_t *id, const uint8_t *keys,
                              struct kl_err *err)
{
    CK_FUNCTION_LIST *f = st->w.module.f;
    struct kl_domain_key made;
    logout(st);
    enum kl_code code = login_so(st, err);
    CK_RV rv = code == KL_OK ? kl_domain_key_make_wrap(f, st->w.anchor, id, keys) : CKR_OK;
    (void)f->C_Logout(st->w.anchor);
    if (code == KL_OK && rv != CKR_OK)
        code = kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv,
                           keys != NULL ? "C_CreateObject" : "C_GenerateKey",
                           "the token does not let the security officer %s a trusted key",
                           keys != NULL ? "bring in" : "make");
    if (code == KL_OK)
        code = login_user(st, err);
    if (code == KL_OK) {
        rv = kl_domain_key_make_mac(f, st->w.anchor, id,
                                    keys != NULL ? keys + KL_DOMAIN_HALF : NULL);
        if (rv != CKR_OK)
            code = kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, "C_GenerateKey",
                               "the token does not hold a key for HMAC-SHA-256");
    }
    if (code == KL_OK)
        code = kl_durable_barrier(st->w.conf.store_dir, err);
    if (code == KL_OK)
        code = kl_domain_keys_find(&st->session, id, &made, err);
    if (code == KL_OK && !made.says.whole)
        code = kl_fail(err, KL_TOKEN_READBACK, "C_FindObjects",
                       "the token does not show the domain key that it made");
    return code;
}

/* Shares are on disk and were read back before the token gets the key: a key without its shares
 * would be one that nobody can bring to the second site. */
static enum kl_code make_with_shares(struct stage *st, const uint8_t *id, struct kl_share_set *set,
                                     struct kl_err *err)
{
    const struct kl_ceremony *c = st->c;
    uint8_t keys[KL_SHARE_KEYS], again[KL_SHARE_KEYS];
    kl_random(keys, sizeof keys);
    enum kl_code code = kl_share_split(keys, id, c->needed, c->count, set, err);
    if (code == KL_OK)
        code = kl_share_join(set, again, err);
    if (code == KL_OK && memcmp(keys, again, sizeof keys) != 0)
        code = kl_fail(err, KL_INTERNAL, "shares", "the shares do not give the key back");
    if (code == KL_OK)
        code = kl_share_files_write(set, c->out_dir, err);
    if (code == KL_OK) {
        code = make_pair(st, id, keys, err);
        if (code != KL_OK)
            kl_share_files_remove(set, c->out_dir);
    }
    kl_wipe(keys, sizeof keys);
    kl_wipe(again, sizeof again);
    return code;
}

static enum kl_code make_next(struct stage *st, struct kl_buf *out, struct kl_err *err)
{
    KL_AUTO_SHARES set = {.count = 0};
    bool shares = st->c->count != 0;
    uint8_t id[KL_KEY_ID_LEN];
    uint32_t last = st->keys.count > 0 ? st->keys.rows[st->keys.count - 1].says.generation : 0;
    if (st->keys.count >= KL_DOMAIN_KEYS_MAX)
        return kl_fail(err, KL_CONFLICT, "domain key",
                       "the token holds %d domain keys: retire some that nothing needs any more",
                       KL_DOMAIN_KEYS_MAX);
    kl_domain_key_new_id(last + 1, shares ? KL_DOMAIN_SHARES : KL_DOMAIN_INSIDE, id);
    enum kl_code code = shares ? make_with_shares(st, id, &set, err) : make_pair(st, id, NULL, err);
    if (code == KL_OK)
        code = report(st, out, err);
    if (code == KL_OK && shares)
        report_shares(&set, st->c->out_dir, out);
    return code;
}

/* --- the verbs --- */

static struct stage stage;

enum kl_code kl_ceremony_show(const struct kl_ceremony *c, struct kl_buf *out, struct kl_err *err)
{
    enum kl_code code = begin(&stage, c, false, err);
    if (code == KL_OK)
        code = report(&stage, out, err);
    kl_buf_puts(out, "}\n");
    end(&stage);
    return code;
}

enum kl_code kl_ceremony_create(const struct kl_ceremony *c, struct kl_buf *out, struct kl_err *err)
{
    enum kl_code code = begin(&stage, c, true, err);
    if (code == KL_OK && stage.keys.current != NULL)
        code = kl_fail(err, KL_EXISTS, "C_FindObjects", "the token has a domain key already");
    if (code == KL_OK)
        code = make_next(&stage, out, err);
    kl_buf_puts(out, "}\n");
    end(&stage);
    return code;
}

enum kl_code kl_ceremony_rotate(const struct kl_ceremony *c, struct kl_buf *out, struct kl_err *err)
{
    enum kl_code code = begin(&stage, c, true, err);
    if (code == KL_OK && stage.keys.current == NULL)
        code = kl_fail(err, KL_NOT_FOUND, "C_FindObjects",
                       "the token has no domain key to rotate: create one");
    if (code == KL_OK)
        code = make_next(&stage, out, err);
    kl_buf_puts(out, "}\n");
    end(&stage);
    return code;
}

static enum kl_code bring_in(const struct kl_share_set *set, struct kl_buf *out, struct kl_err *err)
{
    uint8_t keys[KL_SHARE_KEYS];
    struct kl_domain_key there;
    const uint8_t *id = set->shares[0].domain;
    enum kl_code code = kl_domain_keys_find(&stage.session, id, &there, NULL);
    if (code == KL_OK)
        return kl_fail(err, KL_EXISTS, "C_FindObjects", "the token has this domain key already");
    code = kl_share_join(set, keys, err);
    if (code == KL_OK)
        code = make_pair(&stage, id, keys, err);
    kl_wipe(keys, sizeof keys);
    return code == KL_OK ? report(&stage, out, err) : code;
}

enum kl_code kl_ceremony_import_shares(const struct kl_ceremony *c, struct kl_buf *out,
                                       struct kl_err *err)
{
    KL_AUTO_SHARES set = {.count = 0};
    uint8_t keys[KL_SHARE_KEYS];
    enum kl_code code = kl_share_files_read(c->share_files, c->share_file_count, &set, err);
    if (code == KL_OK)
        code = kl_share_join(&set, keys, err); /* before any PIN is asked for */
    kl_wipe(keys, sizeof keys);
    if (code != KL_OK)
        return code;
    code = begin(&stage, c, true, err);
    if (code == KL_OK)
        code = bring_in(&set, out, err);
    kl_buf_puts(out, "}\n");
    end(&stage);
    return code;
}

enum kl_code kl_ceremony_export_shares(const struct kl_ceremony *c, struct kl_buf *out,
                                       struct kl_err *err)
{
    KL_AUTO_SHARES old = {.count = 0};
    KL_AUTO_SHARES new = {.count = 0};
    uint8_t keys[KL_SHARE_KEYS];
    enum kl_code code = kl_share_files_read(c->share_files, c->share_file_count, &old, err);
    if (code == KL_OK)
        code = kl_share_join(&old, keys, err);
    if (code == KL_OK)
        code = kl_share_split(keys, old.shares[0].domain, c->needed, c->count, &new, err);
    kl_wipe(keys, sizeof keys);
    if (code == KL_OK)
        code = kl_share_files_write(&new, c->out_dir, err);
    if (code != KL_OK)
        return code;
    char id[2 * KL_KEY_ID_LEN + 1];
    kl_hex(new.shares[0].domain, KL_KEY_ID_LEN, id);
    kl_buf_printf(out, "{\"domainKey\":\"%s\"", id);
    report_shares(&new, c->out_dir, out);
    kl_buf_puts(out, "}\n");
    return KL_OK;
}

/* The one whose id begins so. */
static enum kl_code choose(const char *id, const struct kl_domain_key **ret, struct kl_err *err)
{
    size_t matches = 0;
    for (size_t i = 0; i < stage.keys.count; i++) {
        char hex[2 * KL_KEY_ID_LEN + 1];
        kl_hex(stage.keys.rows[i].says.id, KL_KEY_ID_LEN, hex);
        if (strncmp(hex, id, strlen(id)) != 0)
            continue;
        matches++;
        *ret = &stage.keys.rows[i];
    }
    if (matches != 1)
        return kl_fail(err, KL_NOT_FOUND, "domain key",
                       matches == 0 ? "the token has no domain key %.32s"
                                    : "several domain keys begin with %.32s: give the whole id",
                       id);
    if ((*ret)->says.current)
        return kl_fail(err, KL_CONFLICT, "domain key",
                       "this is the current domain key: rotate first, then retire the old one");
    return KL_OK;
}

/* The officer takes the wrapping key away, then the user the MAC key; that of an early domain key
 * stays, as the service's records hang on it. */
static enum kl_code destroy_pair(const struct kl_domain_key *key, struct kl_err *err)
{
    CK_FUNCTION_LIST *f = stage.w.module.f;
    uint8_t id[KL_KEY_ID_LEN];
    struct kl_domain_keys now;
    bool early = key->says.origin == KL_DOMAIN_EARLY;
    memcpy(id, key->says.id, sizeof id);
    logout(&stage);
    enum kl_code code = login_so(&stage, err);
    CK_RV rv = CKR_OK;
    if (code == KL_OK)
        code = kl_domain_keys_list(&stage.session, &now, err); /* handles ended with the login */
    for (size_t i = 0; code == KL_OK && i < now.count; i++)
        if (memcmp(now.rows[i].says.id, id, sizeof id) == 0)
            rv = f->C_DestroyObject(stage.w.anchor, now.rows[i].wrap);
    logout(&stage);
    if (code == KL_OK)
        code = login_user(&stage, err);
    if (code == KL_OK && rv == CKR_OK && !early)
        rv = kl_domain_key_destroy_mac(&stage.session, id);
    if (code == KL_OK && rv != CKR_OK)
        code = kl_ckr_fail(err, KL_TOKEN_UNSUPPORTED, rv, "C_DestroyObject",
                           "the token does not destroy the domain key");
    return code == KL_OK ? kl_durable_barrier(stage.w.conf.store_dir, err) : code;
}

enum kl_code kl_ceremony_retire(const struct kl_ceremony *c, struct kl_buf *out, struct kl_err *err)
{
    const struct kl_domain_key *key = NULL;
    enum kl_code code = begin(&stage, c, true, err);
    if (code == KL_OK)
        code = choose(c->id, &key, err);
    if (code == KL_OK)
        code = destroy_pair(key, err);
    if (code == KL_OK)
        code = report(&stage, out, err);
    kl_buf_puts(out, "}\n");
    end(&stage);
    return code;
}
