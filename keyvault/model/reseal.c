/* Key backups brought under the current domain key, and which domain keys backups still need. */
#include "base/encoding.h"
#include "keyvault/model/backup.h"
#include "keyvault/model/inside.h"
#include "keyvault/model/key.h"

#include <string.h>

#define HEX(n) (2 * (n) + 1)

/* The note follows in two steps, as the old bytes are needed until the caller has stored the new
 * ones: it shows that by asking for these to be re-sealed, which changes nothing any more. */
static enum kl_code note_resealed(struct kl_model *m, const uint8_t *old,
                                  const struct kl_seal_domain *to, const uint8_t *new,
                                  struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    char before[HEX(KL_BACKUP_MAC_LEN)], after[HEX(KL_BACKUP_MAC_LEN)];
    char under[HEX(KL_DOMAIN_NAME_LEN)];
    kl_hex(old, KL_BACKUP_MAC_LEN, before);
    kl_hex(new, KL_BACKUP_MAC_LEN, after);
    kl_hex(to->name, sizeof to->name, under);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_BACKUP_RESEALED,
                            KL_ARGS(KL_ARG_TEXT(under), KL_ARG_TEXT(after), KL_ARG_TEXT(before)),
                            NULL, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

static enum kl_code note_arrived(struct kl_model *m, const uint8_t *seal, struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    char mark[HEX(KL_BACKUP_MAC_LEN)];
    kl_hex(seal, KL_BACKUP_MAC_LEN, mark);
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_BACKUP_REPLACED, KL_ARGS(KL_ARG_TEXT(mark)), NULL, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

static enum kl_code count_under(struct kl_model *m, struct kl_domain_key_state *ret,
                                struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    struct kl_number_row row;
    enum kl_code code = kl_store_begin(m->store, false, &t, err);
    if (code == KL_OK)
        code = kl_store_one(t, KL_Q_BACKUPS_UNDER, KL_ARGS(KL_ARG_TEXT(ret->name)), &row, err);
    if (code == KL_OK)
        ret->backups = row.number;
    return code;
}

enum kl_code kl_domain_states(struct kl_model *m, struct kl_token *token,
                              struct kl_domain_key_state *ret, size_t *ret_count,
                              struct kl_err *err)
{
    struct kl_seal_domain all[KL_DOMAIN_MOST];
    size_t count = 0;
    /* Notes that wait would make a key look unneeded. */
    enum kl_code code = kl_backup_notes_write(m, err);
    if (code == KL_OK)
        code = kl_domain_list(token, all, &count, err);
    for (size_t i = 0; code == KL_OK && i < count; i++) {
        ret[i] = (struct kl_domain_key_state){.key = all[i].key};
        kl_hex(all[i].name, sizeof all[i].name, ret[i].name);
        code = count_under(m, &ret[i], err);
    }
    if (code == KL_OK)
        *ret_count = count;
    return code;
}

static enum kl_code move_versions(struct kl_token *token, const struct kl_backup *b,
                                  struct kl_buf *out, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    for (size_t i = 0; code == KL_OK && i < b->count; i++) {
        KL_AUTO(secret) wrapped = NULL;
        struct kl_token_request req;
        uint64_t mechanism = 0;
        kl_backup_unwrap_request(&b->versions[i], KL_CALL_RESEAL, &req);
        code = kl_token_call(token, &req, &wrapped, &mechanism, err);
        if (code == KL_OK)
            kl_backup_copy_version(out, b, i, mechanism, kl_secret_bytes(wrapped),
                                   kl_secret_len(wrapped));
    }
    return code;
}

static enum kl_code reseal(struct kl_model *m, struct kl_token *token, const struct kl_backup *b,
                           const struct kl_seal_domain *to, struct kl_buf *out, struct kl_err *err)
{
    kl_backup_copy_head(out, b, to->name);
    enum kl_code code = move_versions(token, b, out, err);
    if (code == KL_OK)
        code = kl_backup_finish(out, token, to, err);
    return code == KL_OK ? note_resealed(m, b->mac, to,
                                         (uint8_t *)out->bytes + out->len - KL_BACKUP_MAC_LEN, err)
                         : code;
}

enum kl_code kl_key_reseal(struct kl_model *m, struct kl_vault *v, const void *blob, size_t n,
                           struct kl_buf *ret, bool *ret_moved, struct kl_err *err)
{
    struct kl_token *token;
    struct kl_seal_domain from, to;
    struct kl_backup b = {.versions = NULL};
    struct kl_buf out = KL_BUF_INIT(KL_BACKUP_BYTES_MAX);
    enum kl_code code = kl_backup_open(m, v, blob, n, &b, &from, &token, err);
    if (code == KL_OK)
        code = kl_domain_current(token, &to, err);
    bool move = code == KL_OK && memcmp(from.name, to.name, sizeof from.name) != 0;
    if (move)
        code = reseal(m, token, &b, &to, &out, err);
    else if (code == KL_OK)
        code = note_arrived(m, b.mac, err);
    if (code == KL_OK) {
        kl_buf_put(ret, move ? out.bytes : blob, move ? out.len : n);
        *ret_moved = move;
        if (kl_buf_failed(ret))
            code = kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    }
    kl_buf_done(&out);
    kl_backup_done(&b);
    return code;
}
