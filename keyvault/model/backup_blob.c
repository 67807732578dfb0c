#include "keyvault/model/backup_blob.h"

#include "keyvault/model/cursor.h"

#include <string.h>

#define FORMAT    1
#define LENGTH_AT 12 /* of the 4 bytes of the total length */
#define DOMAIN_AT 16 /* of the domain's name */
#define MIN_VERSION                                                                                \
    100 /* bytes that any version takes at least, so that a count cannot ask for absurd memory */

static const char magic[8] = {'K', 'L', 'U', 'I', 'S', 'K', 'E', 'Y'};

enum flag { FLAG_ENABLED = 1, FLAG_NBF = 2, FLAG_EXP = 4, FLAG_HSM = 8, FLAG_ALL = 15 };

/* --- writing --- */

static void put_int(struct kl_buf *out, uint64_t value, size_t bytes)
{
    while (bytes-- > 0)
        kl_buf_putc(out, (char)(value >> (8 * bytes) & 0xff));
}

static void put_bytes(struct kl_buf *out, const void *bytes, size_t n)
{
    put_int(out, n, 4);
    kl_buf_put(out, bytes, n);
}

/* With its NUL, so that a decoded text can stay where it is; NULL is length 0. */
static void put_text(struct kl_buf *out, const char *text)
{
    put_bytes(out, text != NULL ? text : "", text != NULL ? strlen(text) + 1 : 0);
}

void kl_backup_put_head(struct kl_buf *out, const uint8_t domain[static KL_BACKUP_DOMAIN_LEN],
                        const struct kl_vault *v, const char *name, size_t versions)
{
    kl_buf_put(out, magic, sizeof magic);
    put_int(out, FORMAT, 2);
    put_int(out, 0, 2);
    put_int(out, 0, 4);
    kl_buf_put(out, domain, KL_BACKUP_DOMAIN_LEN);
    put_text(out, v->subscription);
    put_text(out, v->geography);
    put_text(out, v->name);
    put_text(out, name);
    put_int(out, versions, 4);
}

void kl_backup_put_version(struct kl_buf *out, const struct kl_key_version *k, uint64_t mechanism,
                           const void *wrapped, size_t n)
{
    unsigned flags = (k->attrs.enabled ? FLAG_ENABLED : 0U) | (k->attrs.has_nbf ? FLAG_NBF : 0U) |
                     (k->attrs.has_exp ? FLAG_EXP : 0U) | (k->hsm ? FLAG_HSM : 0U);
    put_text(out, k->version);
    put_int(out, k->type, 1);
    put_int(out, k->curve, 1);
    put_int(out, k->profile, 1);
    put_int(out, flags, 1);
    put_int(out, k->bits, 4);
    put_int(out, k->ops, 4);
    put_int(out, (uint64_t)k->attrs.nbf, 8);
    put_int(out, (uint64_t)k->attrs.exp, 8);
    put_int(out, (uint64_t)k->created, 8);
    put_int(out, (uint64_t)k->updated, 8);
    put_text(out, k->tags_json);
    put_bytes(out, k->spki, k->spki_len);
    put_int(out, mechanism, 8);
    put_bytes(out, wrapped, n);
}

/* Where version i's mechanism, length and wrapped key begin; behind the last: the end. */
static const uint8_t *wrapped_part(const struct kl_backup *b, size_t i)
{
    const uint8_t *begin = b->content.bytes;
    return i < b->count ? (const uint8_t *)b->versions[i].wrapped.bytes - 8 - 4
                        : begin + b->content.len;
}

void kl_backup_copy_head(struct kl_buf *out, const struct kl_backup *b,
                         const uint8_t domain[static KL_BACKUP_DOMAIN_LEN])
{
    const uint8_t *begin = b->content.bytes, *rest = begin + DOMAIN_AT + KL_BACKUP_DOMAIN_LEN;
    kl_buf_put(out, begin, DOMAIN_AT);
    kl_buf_put(out, domain, KL_BACKUP_DOMAIN_LEN);
    kl_buf_put(out, rest, (size_t)(wrapped_part(b, 0) - rest));
}

void kl_backup_copy_version(struct kl_buf *out, const struct kl_backup *b, size_t i,
                            uint64_t mechanism, const void *wrapped, size_t n)
{
    const struct kl_store_bytes *old = &b->versions[i].wrapped;
    const uint8_t *behind = (const uint8_t *)old->bytes + old->len;
    put_int(out, mechanism, 8);
    put_bytes(out, wrapped, n);
    kl_buf_put(out, behind, (size_t)(wrapped_part(b, i + 1) - behind));
}

void kl_backup_put_length(struct kl_buf *out)
{
    size_t total = out->len + KL_BACKUP_MAC_LEN;
    for (size_t i = 0; i < 4 && !kl_buf_failed(out); i++)
        out->bytes[LENGTH_AT + i] = (char)(total >> (24 - 8 * i) & 0xff);
}

/* --- reading --- */

static bool sensible(const struct kl_backup_version *v)
{
    const struct kl_version_row *row = &v->row;
    bool rsa = row->type == KL_KEY_RSA && row->curve == KL_CURVE_NONE;
    bool ec = row->type == KL_KEY_EC && row->curve >= KL_CURVE_P256 && row->curve <= KL_CURVE_P521;
    return (rsa || ec) && row->profile == KL_PROFILE_DOMAIN && kl_version_valid(row->version) &&
           row->spki.len > 0 && v->wrapped.len > 0 && v->wrapped.len <= KL_TOKEN_MAX_INPUT;
}

static void get_version(struct kl_cursor *c, struct kl_backup_version *v)
{
    struct kl_version_row *row = &v->row;
    kl_cursor_label(c, row->version, sizeof row->version);
    row->type = (int64_t)kl_cursor_int(c, 1);
    row->curve = (int64_t)kl_cursor_int(c, 1);
    row->profile = (int64_t)kl_cursor_int(c, 1);
    unsigned flags = (unsigned)kl_cursor_int(c, 1);
    row->bits = (int64_t)kl_cursor_int(c, 4);
    row->ops = (int64_t)kl_cursor_int(c, 4);
    row->nbf = (int64_t)kl_cursor_int(c, 8);
    row->exp = (int64_t)kl_cursor_int(c, 8);
    row->created = (int64_t)kl_cursor_int(c, 8);
    row->updated = (int64_t)kl_cursor_int(c, 8);
    row->tags = kl_cursor_text(c);
    row->spki = kl_cursor_bytes(c);
    v->mechanism = kl_cursor_int(c, 8);
    v->wrapped = kl_cursor_bytes(c);
    row->enabled = (flags & FLAG_ENABLED) != 0;
    row->has_nbf = (flags & FLAG_NBF) != 0;
    row->has_exp = (flags & FLAG_EXP) != 0;
    row->hsm = (flags & FLAG_HSM) != 0;
    if (flags > FLAG_ALL || !sensible(v))
        c->bad = true;
}

static void get_head(struct kl_cursor *c, size_t n, struct kl_backup *b)
{
    const uint8_t *m = kl_cursor_get(c, sizeof magic);
    if (m == NULL || memcmp(m, magic, sizeof magic) != 0)
        c->bad = true;
    if (kl_cursor_int(c, 2) != FORMAT || kl_cursor_int(c, 2) != 0 || kl_cursor_int(c, 4) != n)
        c->bad = true;
    const uint8_t *domain = kl_cursor_get(c, KL_BACKUP_DOMAIN_LEN);
    if (domain != NULL)
        memcpy(b->domain, domain, KL_BACKUP_DOMAIN_LEN);
    kl_cursor_label(c, b->subscription, sizeof b->subscription);
    kl_cursor_label(c, b->geography, sizeof b->geography);
    kl_cursor_label(c, b->vault, sizeof b->vault);
    kl_cursor_label(c, b->name, sizeof b->name);
    b->count = (size_t)kl_cursor_int(c, 4);
    if (b->count < 1 || b->count > KL_BACKUP_VERSIONS_MAX || !kl_name_valid(b->name) ||
        (size_t)(c->end - c->at) / MIN_VERSION < b->count)
        c->bad = true;
}

enum kl_code kl_backup_decode(const void *blob, size_t n, struct kl_backup *ret, struct kl_err *err)
{
    struct kl_backup b = {.versions = NULL};
    struct kl_cursor c = {.at = blob, .bad = n <= KL_BACKUP_MAC_LEN || n > KL_BACKUP_BYTES_MAX};
    c.end = c.bad ? c.at : c.at + n - KL_BACKUP_MAC_LEN;
    b.content = (struct kl_store_bytes){blob, (size_t)(c.end - c.at)};
    b.mac = c.end;
    get_head(&c, n, &b);
    if (!c.bad) {
        b.versions = calloc(b.count, sizeof *b.versions);
        if (b.versions == NULL)
            return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a backup");
        for (size_t i = 0; i < b.count; i++)
            get_version(&c, &b.versions[i]);
    }
    if (c.bad || c.at != c.end) {
        kl_backup_done(&b);
        return kl_fail(err, KL_BACKUP_MALFORMED, "backup",
                       "Backup blob contains invalid or corrupt version.");
    }
    *ret = b;
    return KL_OK;
}

void kl_backup_done(struct kl_backup *b)
{
    free(b->versions);
    *b = (struct kl_backup){.versions = NULL};
}
