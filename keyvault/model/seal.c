#include "keyvault/model/seal.h"

#include "base/log.h"
#include "keyvault/model/inside.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define PEOPLE "people"

void kl_seals_done(struct kl_seals *s)
{
    kl_secret_free(s->key);
    s->key = NULL;
}

/* --- the rows as one hash: every text behind its length, every number as eight bytes --- */

struct digest {
    EVP_MD_CTX *ctx;
    bool ok;
};

static void add_bytes(struct digest *d, const void *bytes, size_t n)
{
    uint8_t length[8];
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
    d->ok = d->ok && EVP_DigestUpdate(d->ctx, length, sizeof length) == 1 &&
            EVP_DigestUpdate(d->ctx, bytes, n) == 1;
}

static void add_text(struct digest *d, const char *text)
{
    add_bytes(d, text != NULL ? text : "", text != NULL ? strlen(text) : 0);
}

static void add_number(struct digest *d, int64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)((uint64_t)number >> (56 - 8 * i));
    add_bytes(d, bytes, sizeof bytes);
}

static enum kl_code add_principal(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_principal_row *row = p;
    (void)err;
    add_text(arg, "principal");
    add_text(arg, row->object_id);
    add_text(arg, row->client_id);
    add_text(arg, row->name);
    add_number(arg, row->kind);
    add_number(arg, row->roles);
    add_number(arg, row->disabled);
    add_number(arg, row->created);
    add_text(arg, row->issuer);
    return KL_OK;
}

static enum kl_code add_credential(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_credential_row *row = p;
    (void)err;
    add_text(arg, "credential");
    add_text(arg, row->id);
    add_text(arg, row->object_id);
    add_number(arg, row->kind);
    add_text(arg, row->name);
    add_bytes(arg, row->salt, sizeof row->salt);
    add_bytes(arg, row->hash, sizeof row->hash);
    add_number(arg, row->created);
    add_number(arg, row->expires);
    add_text(arg, row->value);
    return KL_OK;
}

static enum kl_code add_policy(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_policy_row *row = p;
    (void)err;
    add_text(arg, "policy");
    add_text(arg, row->object_id);
    add_number(arg, row->keys);
    add_number(arg, row->secrets);
    add_number(arg, row->certificates);
    add_number(arg, row->vault);
    return KL_OK;
}

static enum kl_code add_assignment(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_assignment_row *row = p;
    (void)err;
    add_text(arg, "assignment");
    add_text(arg, row->id);
    add_text(arg, row->object_id);
    add_text(arg, row->role);
    add_number(arg, row->created);
    return KL_OK;
}

static enum kl_code digest_rows(struct kl_store_session *t, const char *vault_id, struct digest *d,
                                struct kl_err *err)
{
    enum kl_code code;
    if (vault_id == NULL) {
        code = kl_store_each(t, KL_Q_PRINCIPALS, NULL, 0, add_principal, d, err);
        return code == KL_OK ? kl_store_each(t, KL_Q_CREDENTIALS, NULL, 0, add_credential, d, err)
                             : code;
    }
    add_text(d, vault_id);
    code = kl_store_each(t, KL_Q_POLICIES_OF, KL_ARGS(KL_ARG_TEXT(vault_id)), add_policy, d, err);
    return code == KL_OK ? kl_store_each(t, KL_Q_ASSIGNMENTS_OF, KL_ARGS(KL_ARG_TEXT(vault_id)),
                                         add_assignment, d, err)
                         : code;
}

#define SEAL_HEX (2 * KL_ROW_MAC + 1)

static enum kl_code compute(const struct kl_model *m, struct kl_store_session *t,
                            const char *vault_id, char ret[static SEAL_HEX], struct kl_err *err)
{
    uint8_t hash[EVP_MAX_MD_SIZE], mac[KL_ROW_MAC];
    char text[128], hex[2 * 32 + 1];
    struct digest d = {.ctx = EVP_MD_CTX_new()};
    const struct kl_protector p = {.key = m->seals.key};
    d.ok = d.ctx != NULL && EVP_DigestInit_ex(d.ctx, EVP_sha256(), NULL) == 1;
    enum kl_code code = digest_rows(t, vault_id, &d, err);
    d.ok = d.ok && EVP_DigestFinal_ex(d.ctx, hash, NULL) == 1;
    EVP_MD_CTX_free(d.ctx);
    if (code != KL_OK)
        return code;
    if (!d.ok)
        return kl_fail_ossl(err, "EVP_Digest", "cannot hash the rows under a seal");
    kl_hex(hash, 32, hex);
    (void)snprintf(text, sizeof text, "%s %s", vault_id != NULL ? vault_id : PEOPLE, hex);
    code = kl_protect_text(&p, "access seal 1", text, mac, err);
    if (code == KL_OK)
        kl_hex(mac, sizeof mac, ret);
    return code;
}

/* --- the seal in its note --- */

static void note_name(const char *vault_id, char out[static 64])
{
    (void)snprintf(out, 64, "access-seal:%s", vault_id != NULL ? vault_id : PEOPLE);
}

static enum kl_code take_seal(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_text_row *row = p;
    (void)err;
    (void)snprintf(arg, SEAL_HEX, "%s", row->text != NULL ? row->text : "");
    return KL_OK;
}

enum kl_code kl_seal_check(const struct kl_model *m, struct kl_store_session *t,
                           const char *vault_id, struct kl_err *err)
{
    char name[64], stored[SEAL_HEX] = "", wanted[SEAL_HEX];
    if (atomic_load(&m->seals.state) != KL_SEAL_HELD)
        return KL_OK;
    note_name(vault_id, name);
    enum kl_code code =
        kl_store_each(t, KL_Q_NOTE_GET, KL_ARGS(KL_ARG_TEXT(name)), take_seal, stored, err);
    if (code == KL_OK)
        code = compute(m, t, vault_id, wanted, err);
    if (code != KL_OK || CRYPTO_memcmp(stored, wanted, sizeof wanted) == 0)
        return code;
    struct kl_err e;
    (void)kl_fail(
        &e, KL_CORRUPT, "MAC",
        vault_id == NULL
            ? "the principals or credentials in the database were changed by a foreign hand"
            : "the policies or role assignments of a vault were changed by a foreign hand");
    (void)snprintf(e.detail, sizeof e.detail, "%s", name);
    kl_log_err(KL_LOG_ERROR, "sealed rows", &e);
    if (err != NULL)
        *err = e;
    return KL_CORRUPT;
}

enum kl_code kl_seal_check_change(const struct kl_model *m, struct kl_store_session *t,
                                  const char *vault_id, struct kl_err *err)
{
    if (m->token_count > 0 && atomic_load(&m->seals.state) == KL_SEAL_UNKNOWN)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "seal",
                       "no token has answered since the start, so nobody's rights can be changed");
    return kl_seal_check(m, t, vault_id, err);
}

enum kl_code kl_seal_write(const struct kl_model *m, struct kl_store_session *t,
                           const char *vault_id, struct kl_err *err)
{
    char name[64], seal[SEAL_HEX];
    if (atomic_load(&m->seals.state) != KL_SEAL_HELD)
        return KL_OK;
    note_name(vault_id, name);
    enum kl_code code = compute(m, t, vault_id, seal, err);
    return code == KL_OK ? kl_store_run(t, KL_Q_NOTE_PUT,
                                        KL_ARGS(KL_ARG_TEXT(name), KL_ARG_TEXT(seal)), NULL, err)
                         : code;
}

static enum kl_code each_vault(const struct kl_model *m, struct kl_store_session *t, bool write,
                               struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = kl_store_all(t, KL_Q_VAULT_IDS_SHOWN, NULL, 0, &rows, &count, err);
    const struct kl_id_row *ids = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = write ? kl_seal_write(m, t, ids[i].id, err) : kl_seal_check(m, t, ids[i].id, err);
    free(rows);
    return code;
}

enum kl_code kl_seal_check_all(const struct kl_model *m, struct kl_store_session *t,
                               struct kl_err *err)
{
    enum kl_code code = kl_seal_check_change(m, t, NULL, err);
    return code == KL_OK ? each_vault(m, t, false, err) : code;
}

enum kl_code kl_seal_write_vaults(const struct kl_model *m, struct kl_store_session *t,
                                  struct kl_err *err)
{
    return each_vault(m, t, true, err);
}

/* --- the start --- */

static enum kl_code make_one(const struct kl_model *m, struct kl_store_session *t,
                             const char *vault_id, bool all, unsigned *made, struct kl_err *err)
{
    char name[64], stored[SEAL_HEX] = "";
    note_name(vault_id, name);
    enum kl_code code =
        kl_store_each(t, KL_Q_NOTE_GET, KL_ARGS(KL_ARG_TEXT(name)), take_seal, stored, err);
    if (code != KL_OK || (!all && stored[0] != '\0'))
        return code;
    ++*made;
    return kl_seal_write(m, t, vault_id, err);
}

static enum kl_code note_made(struct kl_store_session *t, bool all, unsigned made,
                              struct kl_err *err)
{
    char text[200];
    (void)snprintf(text, sizeof text,
                   all ? "Access rights and key attributes were accepted and sealed as they were; "
                         "%u seals over rights"
                       : "Access rights and key attributes of a database without seals were sealed "
                         "as they were; %u seals over rights",
                   made);
    return kl_store_run(t, KL_Q_NOTE_PUT, KL_ARGS(KL_ARG_TEXT(KL_NOTE_SEALING), KL_ARG_TEXT(text)),
                        NULL, err);
}

/* In one commit, with the note that makes the audit log tell of it. */
static enum kl_code make(struct kl_model *m, enum kl_seal_rule rule, struct kl_err *err)
{
    bool all = rule == KL_SEAL_TAKE_AS_IS;
    KL_AUTO(store_session) t = NULL;
    void *rows = NULL;
    size_t count = 0;
    unsigned made = 0;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = make_one(m, t, NULL, all, &made, err);
    if (code == KL_OK)
        code = kl_store_all(t, KL_Q_VAULT_IDS_SHOWN, NULL, 0, &rows, &count, err);
    const struct kl_id_row *ids = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = make_one(m, t, ids[i].id, all, &made, err);
    free(rows);
    if (code == KL_OK)
        code = kl_attributes_seal_all(m, t, all, err);
    if (code == KL_OK && rule != KL_SEAL_BEGIN)
        code = note_made(t, all, made, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

static enum kl_code check_all(struct kl_model *m, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    return code == KL_OK ? kl_seal_check_all(m, t, err) : code;
}

bool kl_model_access_checked(const struct kl_model *m)
{
    return atomic_load(&m->seals.state) != KL_SEAL_UNKNOWN;
}

enum kl_code kl_model_access_check(struct kl_model *m, enum kl_seal_rule rule, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    if (kl_model_access_checked(m))
        return KL_OK;
    enum kl_code code = kl_protect_open(m, NULL, &p, err);
    if (code != KL_OK)
        return code;
    if (p.key == NULL) {
        atomic_store(&m->seals.state, KL_SEAL_NONE);
        return KL_OK;
    }
    m->seals.key = kl_take(p.key);
    atomic_store(&m->seals.state, KL_SEAL_HELD);
    if (rule == KL_SEAL_TAKE_AS_IS)
        kl_log(KL_LOG_ERROR, "accepted: principals, policies and key attributes as they are");
    if (rule != KL_SEAL_MUST_FIT)
        code = make(m, rule, err);
    return code == KL_OK ? check_all(m, err) : code;
}
