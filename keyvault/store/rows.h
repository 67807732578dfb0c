/* What is kept, row by row, and the questions that can be asked. Plain data: the store holds no
 * rules. State numbers are those of keyvault/model/softdelete.h.
 *
 * Texts behind pointers and blobs are borrowed: by a row callback until it returns, by a write
 * until that returns. */
#ifndef KL_KEYVAULT_STORE_ROWS_H
#define KL_KEYVAULT_STORE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define KL_ROW_UUID  37  /* a UUID and its NUL */
#define KL_ROW_NAME  128 /* names and labels, with their NUL */
#define KL_ROW_MAC   32
#define KL_ROW_ID    16
#define KL_ROW_HASH  32
#define KL_ROW_VNAME 25

struct kl_store_bytes {
    const void *bytes;
    size_t len;
};

struct kl_vault_row {
    char id[KL_ROW_UUID];
    char name[KL_ROW_VNAME], folded[KL_ROW_VNAME]; /* folded: upper case */
    int64_t state;
    char subscription[KL_ROW_NAME], geography[KL_ROW_NAME], location[KL_ROW_NAME];
    char token[KL_ROW_NAME];
    int64_t profile, retention_days, purge_protection;
    int64_t created, updated;
    int64_t deleted_at, purge_at; /* unix seconds, 0 = not deleted */
    int64_t deleted_elapsed;      /* trusted clock's count at the deletion */
    const char *tags;             /* JSON or NULL */
    const char *origins;          /* one "host:port" a line */
    uint8_t mac[KL_ROW_MAC];      /* zeros = none */
};

struct kl_policy_row {
    char vault_id[KL_ROW_UUID], object_id[KL_ROW_UUID];
    int64_t keys, secrets, certificates, vault; /* bit masks */
};

struct kl_principal_row {
    char object_id[KL_ROW_UUID], client_id[KL_ROW_UUID];
    char name[KL_ROW_NAME], folded[KL_ROW_NAME];
    int64_t roles, disabled, created;
    uint8_t salt[KL_ROW_ID], hash[KL_ROW_HASH];
};

/** A named object (a key with all its versions). */
struct kl_object_row {
    int64_t id; /* given by the store */
    char vault_id[KL_ROW_UUID];
    char name[KL_ROW_NAME], folded[KL_ROW_NAME];
    int64_t state;
    int64_t created;
    int64_t deleted_at, purge_at, deleted_elapsed;
    uint8_t mac[KL_ROW_MAC];
};

struct kl_version_row {
    int64_t seq; /* given by the store; grows with each version ever made */
    int64_t object;
    char version[33];
    int64_t state;
    int64_t type, bits, curve, hsm, ops;
    int64_t enabled, has_nbf, nbf, has_exp, exp;
    int64_t profile, restored, created, updated;
    char token[KL_ROW_NAME];
    uint8_t token_key[KL_ROW_ID]; /* CKA_ID */
    uint8_t spki_hash[KL_ROW_HASH];
    uint8_t mac[KL_ROW_MAC]; /* zeros = none */
    const char *tags;
    struct kl_store_bytes spki; /* DER, empty while CREATING */
};

/** The few columns of a version that a comparison with a token needs. */
struct kl_token_key_row {
    int64_t seq, object, state;
    char version[33];
    char token[KL_ROW_NAME];
    uint8_t token_key[KL_ROW_ID];
    uint8_t spki_hash[KL_ROW_HASH];
    uint8_t mac[KL_ROW_MAC];
};

struct kl_id_row {
    char id[KL_ROW_UUID];
};

struct kl_text_row {
    const char *text;
};

struct kl_number_row {
    int64_t number;
};

/* X(query, row type of its answer or of its input, kind, SQL or its tail); "live" states are below
 * 4 (purged). `$n` are the arguments of kl_store_select and kl_store_run, in order of first use.
 * SELECT: columns and table come from the row type. INSERT: all columns but those that the store
 * gives; answers the given number. RAW: as written. */
#define KL_STORE_QUERIES(X)                                                                        \
    X(KL_Q_VAULT_IDS_SHOWN, id, RAW, "SELECT id FROM vault WHERE state IN (1, 2) ORDER BY folded") \
    X(KL_Q_VAULT_IDS_LIVE, id, RAW, "SELECT id FROM vault WHERE state < 4 ORDER BY folded")        \
    X(KL_Q_VAULT_IDS_EVER, id, RAW, "SELECT id FROM vault ORDER BY folded")                        \
    X(KL_Q_VAULT_IDS_DUE, id, RAW,                                                                 \
      "SELECT id FROM vault WHERE state = 2 AND purge_at <= $1 ORDER BY folded")                   \
    X(KL_Q_VAULT_IDS_PURGING, id, RAW, "SELECT id FROM vault WHERE state = 3 ORDER BY folded")     \
    X(KL_Q_VAULT_BY_ID, vault, SELECT, "WHERE id = $1")                                            \
    X(KL_Q_VAULT_BY_NAME, vault, SELECT, "WHERE folded = $1 AND state < 4")                        \
    X(KL_Q_VAULT_INSERT, vault, INSERT, "")                                                        \
    X(KL_Q_VAULT_SET, none, RAW,                                                                   \
      "UPDATE vault SET state = $1, purge_protection = $2, updated = $3, deleted_at = $4, "        \
      "purge_at = $5, deleted_elapsed = $6, tags = $7, mac = $8 WHERE id = $9")                    \
    X(KL_Q_POLICIES_OF, policy, SELECT, "WHERE vault_id = $1 ORDER BY object_id")                  \
    X(KL_Q_POLICY_PUT, policy, INSERT,                                                             \
      "ON CONFLICT (vault_id, object_id) DO UPDATE SET keys = excluded.keys, "                     \
      "secrets = excluded.secrets, certificates = excluded.certificates, vault = excluded.vault")  \
    X(KL_Q_POLICY_DELETE, none, RAW, "DELETE FROM policy WHERE vault_id = $1 AND object_id = $2")  \
    X(KL_Q_POLICIES_DELETE_VAULT, none, RAW, "DELETE FROM policy WHERE vault_id = $1")             \
    X(KL_Q_POLICIES_DELETE_PRINCIPAL, none, RAW, "DELETE FROM policy WHERE object_id = $1")        \
    X(KL_Q_PRINCIPALS, principal, SELECT, "ORDER BY name")                                         \
    X(KL_Q_PRINCIPAL_INSERT, principal, INSERT, "")                                                \
    X(KL_Q_PRINCIPAL_DELETE, none, RAW, "DELETE FROM principal WHERE object_id = $1")              \
    X(KL_Q_NOTE_GET, text, RAW, "SELECT value FROM note WHERE name = $1")                          \
    X(KL_Q_NOTE_PUT, none, RAW,                                                                    \
      "INSERT INTO note (name, value) VALUES ($1, $2) "                                            \
      "ON CONFLICT (name) DO UPDATE SET value = excluded.value")                                   \
    X(KL_Q_OBJECT_BY_ID, object, SELECT, "WHERE id = $1")                                          \
    X(KL_Q_OBJECT_BY_NAME, object, SELECT, "WHERE vault_id = $1 AND folded = $2 AND state < 4")    \
    X(KL_Q_OBJECTS_ASTRAY, object, SELECT,                                                         \
      "WHERE vault_id <> '' AND NOT EXISTS "                                                       \
      "(SELECT 1 FROM vault WHERE vault.id = object.vault_id) ORDER BY id")                        \
    X(KL_Q_OBJECTS_PAGE, object, SELECT,                                                           \
      "WHERE vault_id = $1 AND state = $2 AND folded > $3 ORDER BY folded LIMIT $4")               \
    X(KL_Q_OBJECTS_OF_VAULT, object, SELECT, "WHERE vault_id = $1 AND state < 4 ORDER BY id")      \
    X(KL_Q_OBJECTS_EVER_OF, object, SELECT, "WHERE vault_id = $1 ORDER BY id")                     \
    X(KL_Q_OBJECTS_DUE, object, SELECT, "WHERE state = 2 AND purge_at <= $1 ORDER BY id")          \
    X(KL_Q_OBJECTS_PURGING, object, SELECT, "WHERE state = 3 ORDER BY id")                         \
    X(KL_Q_OBJECT_INSERT, object, INSERT, "RETURNING id")                                          \
    X(KL_Q_OBJECT_SET, none, RAW,                                                                  \
      "UPDATE object SET state = $1, deleted_at = $2, purge_at = $3, deleted_elapsed = $4, "       \
      "mac = $5 WHERE id = $6")                                                                    \
    X(KL_Q_OBJECT_DELETE_NEW, none, RAW,                                                           \
      "DELETE FROM object WHERE id = $1 AND state = 0 "                                            \
      "AND NOT EXISTS (SELECT 1 FROM version WHERE object = object.id)")                           \
    X(KL_Q_VERSION_INSERT, version, INSERT, "RETURNING seq")                                       \
    X(KL_Q_VERSION_GET, version, SELECT, "WHERE object = $1 AND version = $2 AND state = 1")       \
    X(KL_Q_VERSION_NEWEST, version, SELECT,                                                        \
      "WHERE object = $1 AND state = 1 ORDER BY seq DESC LIMIT 1")                                 \
    X(KL_Q_VERSIONS_PAGE, version, SELECT,                                                         \
      "WHERE object = $1 AND state = 1 AND version > $2 ORDER BY version LIMIT $3")                \
    X(KL_Q_VERSIONS_READY, version, SELECT, "WHERE object = $1 AND state = 1 ORDER BY seq")        \
    X(KL_Q_VERSIONS_READY_COUNT, number, RAW,                                                      \
      "SELECT count(*) FROM version WHERE object = $1 AND state = 1")                              \
    X(KL_Q_VERSIONS_FIXED_COUNT, number, RAW,                                                      \
      "SELECT count(*) FROM version WHERE object = $1 AND state = 1 AND profile <> 2")             \
    X(KL_Q_VERSION_READY, none, RAW,                                                               \
      "UPDATE version SET state = 1, spki = $1, spki_hash = $2, mac = $3 "                         \
      "WHERE seq = $4 AND state = 0")                                                              \
    X(KL_Q_VERSION_SET, none, RAW,                                                                 \
      "UPDATE version SET ops = $1, enabled = $2, has_nbf = $3, nbf = $4, has_exp = $5, "          \
      "exp = $6, tags = $7, updated = $8 WHERE seq = $9")                                          \
    X(KL_Q_VERSION_DELETE, none, RAW, "DELETE FROM version WHERE seq = $1")                        \
    X(KL_Q_VERSION_DELETE_CREATING, none, RAW, "DELETE FROM version WHERE seq = $1 AND state = 0") \
    X(KL_Q_TOKEN_KEYS_OF, token_key, SELECT, "WHERE object = $1 AND state = $2 ORDER BY seq")      \
    X(KL_Q_TOKEN_KEYS, token_key, SELECT, "WHERE token = $1 ORDER BY seq")                         \
    X(KL_Q_TOKEN_KEYS_ASTRAY, token_key, SELECT,                                                   \
      "WHERE NOT EXISTS "                                                                          \
      "(SELECT 1 FROM object WHERE object.id = version.object) ORDER BY seq")                      \
    X(KL_Q_TOKEN_KEYS_CREATING, token_key, SELECT, "WHERE state = 0 ORDER BY seq")                 \
    X(KL_Q_TOKEN_KEY_BY_ID, token_key, SELECT, "WHERE token = $1 AND token_key = $2")              \
    X(KL_Q_TOKEN_KEY_BY_SEQ, token_key, SELECT, "WHERE seq = $1")

enum kl_store_query {
#define KL_STORE_QUERY_ENUM(query, row, kind, sql) query,
    KL_STORE_QUERIES(KL_STORE_QUERY_ENUM)
#undef KL_STORE_QUERY_ENUM
        KL_Q_COUNT
};

#endif
