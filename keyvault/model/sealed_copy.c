/* The outer form of backups that are secret as a whole. The layout is in SECRETS.md. */
#include "keyvault/model/backup.h"
#include "keyvault/model/cursor.h"
#include "keyvault/model/vault_secret_inside.h"

#include <string.h>

#define FORMAT    1
#define LENGTH_AT 12
#define HEAD_LEN  16 /* magic, format, zero, length */
#define SALT_LEN  32
#define BLOB_MAX  ((size_t)20 << 20)

/* The key of one blob: the domain's MAC of its salt. */
static enum kl_code blob_key(const struct kl_sealed_copy *kind, struct kl_token *token,
                             const struct kl_seal_domain *domain,
                             const uint8_t salt[static SALT_LEN],
                             uint8_t ret[static KL_SEALED_KEY_LEN], struct kl_err *err)
{
    _Static_assert(KL_DOMAIN_SEAL_LEN == KL_SEALED_KEY_LEN, "a seal is a key");
    return kl_domain_seal(token, domain, kind->label, salt, SALT_LEN, ret, err);
}

/* What the content is bound to beside its key. */
static struct kl_sealed_place blob_place(const struct kl_sealed_copy *kind)
{
    return (struct kl_sealed_place){"", kind->what, "", ""};
}

enum kl_code kl_sealed_copy_put(const struct kl_sealed_copy *kind, struct kl_token *token,
                                struct kl_secret *content, struct kl_buf *out,
                                struct kl_seal_domain *ret_domain, struct kl_err *err)
{
    struct kl_seal_domain domain;
    uint8_t salt[SALT_LEN], key[KL_SEALED_KEY_LEN], head[HEAD_LEN] = {0};
    const struct kl_sealed_place place = blob_place(kind);
    size_t total =
        HEAD_LEN + KL_BACKUP_DOMAIN_LEN + SALT_LEN + KL_SEALED_OVERHEAD + kl_secret_len(content);
    enum kl_code code = kl_domain_current(token, &domain, err);
    kl_random(salt, sizeof salt);
    if (code == KL_OK)
        code = blob_key(kind, token, &domain, salt, key, err);
    if (code != KL_OK)
        return code;
    memcpy(head, kind->magic, sizeof kind->magic);
    head[sizeof kind->magic + 1] = FORMAT;
    for (size_t i = 0; i < 4; i++)
        head[LENGTH_AT + i] = (uint8_t)(total >> (24 - 8 * i));
    kl_buf_put(out, head, sizeof head);
    kl_buf_put(out, domain.name, sizeof domain.name);
    kl_buf_put(out, salt, sizeof salt);
    code = kl_sealed_put(key, &place, kl_secret_bytes(content), kl_secret_len(content), out, err);
    kl_wipe(key, sizeof key);
    if (code == KL_OK && kl_buf_failed(out))
        code = kl_fail(err, KL_TOO_BIG, "backup", "the backup is too big");
    *ret_domain = domain;
    return code;
}

static enum kl_code malformed(struct kl_err *err)
{
    return kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                   "Backup blob contains invalid or corrupt version.");
}

enum kl_code kl_sealed_copy_open(const struct kl_sealed_copy *kind, struct kl_token *token,
                                 const void *blob, size_t n, struct kl_secret **ret,
                                 struct kl_err *err)
{
    struct kl_cursor c = {.at = blob, .end = (const uint8_t *)blob + n, .bad = n > BLOB_MAX};
    const struct kl_sealed_place place = blob_place(kind);
    struct kl_seal_domain domain;
    uint8_t key[KL_SEALED_KEY_LEN];
    const uint8_t *m = kl_cursor_get(&c, sizeof kind->magic);
    if (m == NULL || memcmp(m, kind->magic, sizeof kind->magic) != 0 ||
        kl_cursor_int(&c, 2) != FORMAT || kl_cursor_int(&c, 2) != 0 || kl_cursor_int(&c, 4) != n)
        return malformed(err);
    const uint8_t *name = kl_cursor_get(&c, KL_BACKUP_DOMAIN_LEN);
    const uint8_t *salt = kl_cursor_get(&c, SALT_LEN);
    if (name == NULL || salt == NULL)
        return malformed(err);
    enum kl_code code = kl_domain_named(token, name, &domain, err);
    if (code == KL_OK)
        code = blob_key(kind, token, &domain, salt, key, err);
    if (code != KL_OK)
        return code;
    code = kl_sealed_get(key, &place, c.at, (size_t)(c.end - c.at), ret, err);
    kl_wipe(key, sizeof key);
    return code == KL_CORRUPT ? malformed(err) : code;
}
