#include "keyvault/store/columns.h"

#include <string.h>

#define INT(row, member)                                                                           \
    {                                                                                              \
#member, KL_COLUMN_INT, offsetof(struct kl_##row##_row, member), sizeof(int64_t)           \
    }
#define TEXT(row, member)                                                                          \
    {                                                                                              \
#member, KL_COLUMN_TEXT, offsetof(struct kl_##row##_row, member),                          \
            sizeof((struct kl_##row##_row *)0)->member                                             \
    }
#define BYTES(row, member)                                                                         \
    {                                                                                              \
#member, KL_COLUMN_BYTES, offsetof(struct kl_##row##_row, member),                         \
            sizeof((struct kl_##row##_row *)0)->member                                             \
    }
#define TEXT_PTR(row, member)                                                                      \
    {                                                                                              \
#member, KL_COLUMN_TEXT_PTR, offsetof(struct kl_##row##_row, member), 0                    \
    }
#define BYTES_PTR(row, member)                                                                     \
    {                                                                                              \
#member, KL_COLUMN_BYTES_PTR, offsetof(struct kl_##row##_row, member), 0                   \
    }

static const struct kl_column vault_columns[] = {
    TEXT(vault, id),
    TEXT(vault, name),
    TEXT(vault, folded),
    INT(vault, state),
    TEXT(vault, subscription),
    TEXT(vault, geography),
    TEXT(vault, location),
    TEXT(vault, token),
    INT(vault, profile),
    INT(vault, retention_days),
    INT(vault, purge_protection),
    INT(vault, created),
    INT(vault, updated),
    INT(vault, deleted_at),
    INT(vault, purge_at),
    INT(vault, deleted_elapsed),
    INT(vault, rbac),
    INT(vault, extras),
    TEXT(vault, homes),
    TEXT_PTR(vault, tags),
    TEXT_PTR(vault, origins),
    BYTES(vault, mac),
};

static const struct kl_column policy_columns[] = {
    TEXT(policy, vault_id), TEXT(policy, object_id),   INT(policy, keys),
    INT(policy, secrets),   INT(policy, certificates), INT(policy, vault),
};

static const struct kl_column principal_columns[] = {
    TEXT(principal, object_id), TEXT(principal, client_id), TEXT(principal, name),
    TEXT(principal, folded),    INT(principal, kind),       INT(principal, roles),
    INT(principal, disabled),   INT(principal, created),    TEXT(principal, issuer),
};

static const struct kl_column credential_columns[] = {
    TEXT(credential, id),     TEXT(credential, object_id), INT(credential, kind),
    TEXT(credential, name),   BYTES(credential, salt),     BYTES(credential, hash),
    INT(credential, created), INT(credential, expires),    TEXT_PTR(credential, value),
};

static const struct kl_column assignment_columns[] = {
    TEXT(assignment, id),   TEXT(assignment, vault_id), TEXT(assignment, object_id),
    TEXT(assignment, role), INT(assignment, created),
};

static const struct kl_column object_columns[] = {
    INT(object, id),         TEXT(object, vault_id),   INT(object, kind),
    INT(object, managed),    INT(object, for_backups), TEXT(object, name),
    TEXT(object, folded),    INT(object, state),       INT(object, created),
    INT(object, deleted_at), INT(object, purge_at),    INT(object, deleted_elapsed),
    BYTES(object, mac),
};

static const struct kl_column version_columns[] = {
    INT(version, seq),         INT(version, object),      TEXT(version, version),
    INT(version, state),       INT(version, type),        INT(version, bits),
    INT(version, curve),       INT(version, hsm),         INT(version, ops),
    INT(version, enabled),     INT(version, has_nbf),     INT(version, nbf),
    INT(version, has_exp),     INT(version, exp),         INT(version, profile),
    INT(version, restored),    INT(version, created),     INT(version, updated),
    INT(version, origin),      INT(version, keep),        TEXT(version, token),
    BYTES(version, token_key), BYTES(version, spki_hash), BYTES(version, mac),
    BYTES(version, attr_mac),  TEXT_PTR(version, tags),   BYTES_PTR(version, spki),
};

/* The item is the first member of the whole, so both have the same offsets. */
#define SECRET_ITEM_COLUMNS                                                                        \
    INT(secret_item, object), INT(secret_item, number), TEXT(secret_item, version),                \
        INT(secret_item, enabled), INT(secret_item, has_nbf), INT(secret_item, nbf),               \
        INT(secret_item, has_exp), INT(secret_item, exp), INT(secret_item, created),               \
        INT(secret_item, updated), INT(secret_item, vault_key), BYTES(secret_item, mac),           \
        TEXT_PTR(secret_item, content_type), TEXT_PTR(secret_item, tags),                          \
        TEXT_PTR(secret_item, key_version), TEXT_PTR(secret_item, about)

static const struct kl_column secret_item_columns[] = {SECRET_ITEM_COLUMNS};
static const struct kl_column secret_columns[] = {SECRET_ITEM_COLUMNS, BYTES_PTR(secret, sealed)};
_Static_assert(offsetof(struct kl_secret_row, item) == 0, "the item comes first");

static const struct kl_column part_columns[] = {
    TEXT(part, vault_id), INT(part, object),    INT(part, part),
    TEXT(part, folded),   INT(part, vault_key), BYTES_PTR(part, sealed),
};

static const struct kl_column vault_key_columns[] = {
    INT(vault_key, id),    TEXT(vault_key, vault_id),     TEXT(vault_key, token),
    TEXT(vault_key, kek),  INT(vault_key, alg),           INT(vault_key, created),
    BYTES(vault_key, mac), BYTES_PTR(vault_key, wrapped),
};

static const struct kl_column token_key_columns[] = {
    INT(token_key, seq),         INT(token_key, object), INT(token_key, state),
    INT(token_key, home),        INT(token_key, origin), INT(token_key, keep),
    TEXT(token_key, version),    TEXT(token_key, token), BYTES(token_key, token_key),
    BYTES(token_key, spki_hash), BYTES(token_key, mac),
};

static const struct kl_column home_columns[] = {
    INT(home, seq),    INT(home, object),      INT(home, state),       TEXT(home, version),
    TEXT(home, token), BYTES(home, token_key), BYTES(home, spki_hash), BYTES(home, mac),
};

static const struct kl_column lacking_columns[] = {INT(lacking, seq), TEXT(lacking, vault_id),
                                                   TEXT(lacking, name)};

static const struct kl_column rotation_columns[] = {
    INT(rotation, object),        TEXT(rotation, rotate),      TEXT(rotation, notify),
    TEXT(rotation, expiry),       INT(rotation, rotate_after), INT(rotation, rotate_before),
    INT(rotation, notify_before), INT(rotation, lifetime),     INT(rotation, created),
    INT(rotation, updated),
};

static const struct kl_column due_columns[] = {
    INT(due, seq),     INT(due, object), TEXT(due, vault_id), TEXT(due, name), TEXT(due, version),
    INT(due, has_nbf), INT(due, nbf),    INT(due, has_exp),   INT(due, exp),
};

static const struct kl_column event_columns[] = {
    INT(event, number),  TEXT(event, id),      INT(event, type),    TEXT(event, vault_id),
    TEXT(event, name),   TEXT(event, version), INT(event, has_nbf), INT(event, nbf),
    INT(event, has_exp), INT(event, exp),      INT(event, time),    INT(event, recorded),
    INT(event, tries),   INT(event, next_try),
};

static const struct kl_column id_columns[] = {TEXT(id, id)};
static const struct kl_column text_columns[] = {TEXT_PTR(text, text)};
static const struct kl_column number_columns[] = {INT(number, number)};

#define ROW_TYPE(row, table, given, copyable)                                                      \
    static const struct kl_row_type row##_type = {table,         sizeof(struct kl_##row##_row),    \
                                                  row##_columns, KL_COUNT(row##_columns),          \
                                                  given,         copyable};                        \
    _Static_assert(KL_COUNT(row##_columns) <= KL_ROW_COLUMNS_MAX, "too many columns");             \
    _Static_assert(sizeof(struct kl_##row##_row) <= KL_ROW_SIZE_MAX, "row too big")

ROW_TYPE(vault, "vault", NULL, false);
ROW_TYPE(policy, "policy", NULL, true);
ROW_TYPE(principal, "principal", NULL, true);
ROW_TYPE(credential, "credential", NULL, false);
ROW_TYPE(assignment, "assignment", NULL, true);
ROW_TYPE(object, "object", "id", true);
ROW_TYPE(version, "version", "seq", false);
ROW_TYPE(secret_item, "secret", NULL, false);
ROW_TYPE(secret, "secret", NULL, false);
ROW_TYPE(part, "part", NULL, false);
ROW_TYPE(vault_key, "vault_key", "id", false);
ROW_TYPE(token_key, "token_key", NULL, true);
ROW_TYPE(home, "home", NULL, true);
ROW_TYPE(lacking, NULL, NULL, true);
ROW_TYPE(rotation, "rotation", NULL, true);
ROW_TYPE(due, NULL, NULL, true);
ROW_TYPE(event, "event", "number", true);
ROW_TYPE(id, NULL, NULL, true);
ROW_TYPE(text, NULL, NULL, false);
ROW_TYPE(number, NULL, NULL, true);

#define none_row        NULL
#define vault_row       &vault_type
#define policy_row      &policy_type
#define principal_row   &principal_type
#define credential_row  &credential_type
#define assignment_row  &assignment_type
#define object_row      &object_type
#define version_row     &version_type
#define secret_item_row &secret_item_type
#define secret_row      &secret_type
#define part_row        &part_type
#define vault_key_row   &vault_key_type
#define home_row        &home_type
#define lacking_row     &lacking_type
#define token_key_row   &token_key_type
#define rotation_row    &rotation_type
#define due_row         &due_type
#define event_row       &event_type
#define id_row          &id_type
#define text_row        &text_type
#define number_row      &number_type

const struct kl_query kl_store_queries[KL_Q_COUNT] = {
#define KL_QUERY_ROW(query, row, kind, sql) [query] = {row##_row, KL_QUERY_##kind, sql},
    KL_STORE_QUERIES(KL_QUERY_ROW)
#undef KL_QUERY_ROW
};

static bool is_given(const struct kl_row_type *type, const struct kl_column *c)
{
    return type->given != NULL && strcmp(type->given, c->name) == 0;
}

static void put_columns(const struct kl_row_type *type, bool with_given, struct kl_buf *out)
{
    const char *comma = "";
    for (size_t i = 0; i < type->count; i++) {
        if (!with_given && is_given(type, &type->columns[i]))
            continue;
        kl_buf_printf(out, "%s%s", comma, type->columns[i].name);
        comma = ", ";
    }
}

void kl_query_sql(const struct kl_query *q, struct kl_buf *out)
{
    if (q->kind == KL_QUERY_SELECT) {
        kl_buf_puts(out, "SELECT ");
        put_columns(q->row, true, out);
        kl_buf_printf(out, " FROM %s ", q->row->table);
    } else if (q->kind == KL_QUERY_INSERT) {
        size_t count = q->row->count - (q->row->given != NULL ? 1 : 0);
        kl_buf_printf(out, "INSERT INTO %s (", q->row->table);
        put_columns(q->row, false, out);
        kl_buf_puts(out, ") VALUES (");
        for (size_t i = 1; i <= count; i++)
            kl_buf_printf(out, "%s$%zu", i == 1 ? "" : ", ", i);
        kl_buf_puts(out, ") ");
    }
    kl_buf_puts(out, q->tail);
}

static bool read_fixed(const struct kl_column *c, const struct kl_store_value *v, char *to)
{
    if (c->type == KL_COLUMN_TEXT) {
        if (v->type != KL_VALUE_TEXT || v->len >= c->size || strlen(v->bytes) != v->len)
            return false;
        memcpy(to, v->bytes, v->len + 1);
        return true;
    }
    if (v->type != KL_VALUE_BYTES || v->len != c->size)
        return false;
    memcpy(to, v->bytes, v->len);
    return true;
}

static bool read_column(const struct kl_column *c, const struct kl_store_value *v, void *row)
{
    char *to = (char *)row + c->offset;
    switch (c->type) {
    case KL_COLUMN_INT:
        memcpy(to, &v->number, sizeof v->number);
        return v->type == KL_VALUE_INT;
    case KL_COLUMN_TEXT:
    case KL_COLUMN_BYTES:
        return read_fixed(c, v, to);
    case KL_COLUMN_TEXT_PTR: {
        const char *text = v->type == KL_VALUE_TEXT ? v->bytes : NULL;
        memcpy(to, &text, sizeof text);
        return v->type == KL_VALUE_NULL || (text != NULL && strlen(text) == v->len);
    }
    case KL_COLUMN_BYTES_PTR: {
        struct kl_store_bytes b = {v->bytes, v->len};
        memcpy(to, &b, sizeof b);
        return v->type == KL_VALUE_BYTES;
    }
    }
    return false;
}

enum kl_code kl_row_read(const struct kl_row_type *type, const struct kl_store_value *columns,
                         size_t count, void *row, struct kl_err *err)
{
    if (count != type->count)
        return kl_fail(err, KL_INTERNAL, "store", "a query answered %zu columns", count);
    memset(row, 0, type->size);
    for (size_t i = 0; i < count; i++)
        if (!read_column(&type->columns[i], &columns[i], row))
            return kl_fail(err, KL_CORRUPT, "store", "column %s of table %s holds no valid value",
                           type->columns[i].name, type->table != NULL ? type->table : "");
    return KL_OK;
}

static struct kl_store_value value_of(const struct kl_column *c, const void *row)
{
    const char *from = (const char *)row + c->offset;
    struct kl_store_value v = {.type = KL_VALUE_BYTES, .bytes = from, .len = c->size};
    switch (c->type) {
    case KL_COLUMN_INT:
        v = (struct kl_store_value){.type = KL_VALUE_INT};
        memcpy(&v.number, from, sizeof v.number);
        break;
    case KL_COLUMN_TEXT:
        v.type = KL_VALUE_TEXT;
        v.len = strlen(from);
        break;
    case KL_COLUMN_BYTES:
        break;
    case KL_COLUMN_TEXT_PTR: {
        const char *text;
        memcpy(&text, from, sizeof text);
        v = (struct kl_store_value){text != NULL ? KL_VALUE_TEXT : KL_VALUE_NULL, 0, text,
                                    text != NULL ? strlen(text) : 0};
        break;
    }
    case KL_COLUMN_BYTES_PTR: {
        struct kl_store_bytes b;
        memcpy(&b, from, sizeof b);
        v.bytes = b.bytes != NULL ? b.bytes : "";
        v.len = b.len;
        break;
    }
    }
    return v;
}

size_t kl_row_values(const struct kl_row_type *type, const void *row,
                     struct kl_store_value values[static KL_ROW_COLUMNS_MAX])
{
    size_t count = 0;
    for (size_t i = 0; i < type->count; i++)
        if (!is_given(type, &type->columns[i]))
            values[count++] = value_of(&type->columns[i], row);
    return count;
}
