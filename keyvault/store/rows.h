/* What is kept, row by row, and the questions that can be asked. Plain data: the store holds no
 * rules. State numbers are those of keyvault/model/softdelete.h.
 *
 * Texts behind pointers and blobs are borrowed: by a row callback until it returns, by a write
 * until that returns. */
#ifndef KL_KEYVAULT_STORE_ROWS_H
#define KL_KEYVAULT_STORE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define KL_ROW_UUID     37  /* a UUID and its NUL */
#define KL_ROW_NAME     128 /* names and labels, with their NUL */
#define KL_ROW_MAC      32
#define KL_ROW_ID       16
#define KL_ROW_HASH     32
#define KL_ROW_VNAME    25
#define KL_ROW_HOMES    512
#define KL_ROW_ISSUER   64
#define KL_ROW_DURATION 32

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
    int64_t rbac;                 /* role assignments decide instead of policies */
    int64_t extras;               /* bits of enum kl_vault_extra */
    char homes[KL_ROW_HOMES]; /* names of tokens for new keys, in order, by commas; "" = `token` */
    const char *tags;         /* JSON or NULL */
    const char *origins;      /* one "host:port" a line */
    uint8_t mac[KL_ROW_MAC];  /* zeros = none */
};

struct kl_policy_row {
    char vault_id[KL_ROW_UUID], object_id[KL_ROW_UUID];
    int64_t keys, secrets, certificates, vault; /* bit masks */
};

struct kl_principal_row {
    char object_id[KL_ROW_UUID], client_id[KL_ROW_UUID];
    char name[KL_ROW_NAME], folded[KL_ROW_NAME];
    int64_t kind, roles, disabled, created;
    char issuer[KL_ROW_ISSUER]; /* whose tokens name it; "" = the built-in token service's */
};

/** What a principal proves itself with. */
struct kl_credential_row {
    char id[KL_ROW_UUID], object_id[KL_ROW_UUID];
    int64_t kind;
    char name[KL_ROW_NAME];
    uint8_t salt[KL_ROW_ID], hash[KL_ROW_HASH];
    int64_t created, expires; /* unix seconds; expires 0 = never */
    const char *value;        /* certificate in PEM, subject; NULL for a secret */
};

/** A role that a principal has in a vault. */
struct kl_assignment_row {
    char id[KL_ROW_UUID], vault_id[KL_ROW_UUID], object_id[KL_ROW_UUID];
    char role[KL_ROW_UUID];
    int64_t created;
};

/** A named object (a key or a secret with all its versions). */
struct kl_object_row {
    int64_t id; /* given by the store */
    char vault_id[KL_ROW_UUID];
    int64_t kind;        /* enum kl_kind */
    int64_t managed;     /* belongs to the certificate of its name */
    int64_t for_backups; /* backups were made under it */
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
    int64_t origin; /* enum kl_key_origin */
    int64_t keep;   /* a purge leaves the token object alone */
    char token[KL_ROW_NAME];
    uint8_t token_key[KL_ROW_ID]; /* CKA_ID */
    uint8_t spki_hash[KL_ROW_HASH];
    uint8_t mac[KL_ROW_MAC];      /* zeros = none */
    uint8_t attr_mac[KL_ROW_MAC]; /* of what an update may change; zeros = none */
    const char *tags;
    struct kl_store_bytes spki; /* DER, empty while CREATING */
};

/** One version of a secret, without its value. */
struct kl_secret_item_row {
    int64_t object;
    int64_t number; /* grows with each version of the secret; the highest is the newest */
    char version[33];
    int64_t enabled, has_nbf, nbf, has_exp, exp;
    int64_t created, updated;
    int64_t vault_key;       /* kl_vault_key_row.id: what sealed the value and made the MAC */
    uint8_t mac[KL_ROW_MAC]; /* of all columns here */
    const char *content_type, *tags;
    const char *key_version; /* of the key behind a certificate, else NULL */
    const char *about;       /* what a listing of certificates shows, JSON; else NULL */
};

/** The whole of it. */
struct kl_secret_row {
    struct kl_secret_item_row item;
    struct kl_store_bytes sealed;
};

/** What belongs to a certificate or to a vault beside its objects: policies, operations under way,
 * issuers, contacts. Sealed JSON. */
struct kl_part_row {
    char vault_id[KL_ROW_UUID];
    int64_t object; /* 0 = the vault's */
    int64_t part;   /* enum kl_part */
    char folded[KL_ROW_NAME];
    int64_t vault_key;
    struct kl_store_bytes sealed;
};

/** A vault's key for values at rest, wrapped by a key of a token. */
struct kl_vault_key_row {
    int64_t id; /* given by the store */
    char vault_id[KL_ROW_UUID];
    char token[KL_ROW_NAME];
    char kek[33]; /* version of the service's key that wrapped it */
    int64_t alg;  /* enum kl_token_alg */
    int64_t created;
    uint8_t mac[KL_ROW_MAC];
    struct kl_store_bytes wrapped;
};

/** A home of a version beside the token in its own row: the same key on another token. */
struct kl_home_row {
    int64_t seq, object; /* of the version */
    int64_t state;
    char version[33];
    char token[KL_ROW_NAME];
    uint8_t token_key[KL_ROW_ID];
    uint8_t spki_hash[KL_ROW_HASH];
    uint8_t mac[KL_ROW_MAC];
};

/** A version that has no home on some token yet. */
struct kl_lacking_row {
    int64_t seq;
    char vault_id[KL_ROW_UUID];
    char name[KL_ROW_NAME];
};

/** The few columns of a version, or of a home of it, that a comparison with a token needs. */
struct kl_token_key_row {
    int64_t seq, object, state;
    int64_t home; /* 0 = the version's own row, 1 = one of its other homes */
    int64_t origin, keep;
    char version[33];
    char token[KL_ROW_NAME];
    uint8_t token_key[KL_ROW_ID];
    uint8_t spki_hash[KL_ROW_HASH];
    uint8_t mac[KL_ROW_MAC];
};

/** A key's rotation policy: texts as they were written, "" = none, and what they mean in seconds,
 * 0 = none. */
struct kl_rotation_row {
    int64_t object;
    char rotate[KL_ROW_DURATION], notify[KL_ROW_DURATION], expiry[KL_ROW_DURATION];
    int64_t rotate_after, rotate_before; /* since creation, before expiry: one of them at most */
    int64_t notify_before;
    int64_t lifetime; /* of new versions */
    int64_t created, updated;
};

/** The newest version of an object whose time has come. */
struct kl_due_row {
    int64_t seq, object; /* seq: of a secret its number */
    char vault_id[KL_ROW_UUID];
    char name[KL_ROW_NAME];
    char version[33];
    int64_t has_nbf, nbf, has_exp, exp;
};

/** An event that has not reached everybody. */
struct kl_event_row {
    int64_t number; /* given by the store */
    char id[KL_ROW_UUID];
    int64_t type; /* enum kl_event_type */
    char vault_id[KL_ROW_UUID];
    char name[KL_ROW_NAME];
    char version[33];
    int64_t has_nbf, nbf, has_exp, exp;
    int64_t time;            /* unix milliseconds */
    int64_t recorded;        /* the audit log has it */
    int64_t tries, next_try; /* of its delivery; next_try in unix milliseconds */
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
#define KL_STORE_QUERIES(X)                                                                         \
    X(KL_Q_VAULT_IDS_SHOWN, id, RAW, "SELECT id FROM vault WHERE state IN (1, 2) ORDER BY folded")  \
    X(KL_Q_VAULT_IDS_LIVE, id, RAW, "SELECT id FROM vault WHERE state < 4 ORDER BY folded")         \
    X(KL_Q_VAULT_IDS_EVER, id, RAW, "SELECT id FROM vault ORDER BY folded")                         \
    X(KL_Q_VAULT_IDS_DUE, id, RAW,                                                                  \
      "SELECT id FROM vault WHERE state = 2 AND purge_at <= $1 ORDER BY folded")                    \
    X(KL_Q_VAULT_IDS_PURGING, id, RAW, "SELECT id FROM vault WHERE state = 3 ORDER BY folded")      \
    X(KL_Q_VAULT_BY_ID, vault, SELECT, "WHERE id = $1")                                             \
    X(KL_Q_VAULT_BY_NAME, vault, SELECT, "WHERE folded = $1 AND state < 4")                         \
    X(KL_Q_VAULT_INSERT, vault, INSERT, "")                                                         \
    X(KL_Q_VAULT_SET, none, RAW,                                                                    \
      "UPDATE vault SET state = $1, purge_protection = $2, updated = $3, deleted_at = $4, "         \
      "purge_at = $5, deleted_elapsed = $6, tags = $7, mac = $8, rbac = $9 WHERE id = $10")         \
    X(KL_Q_POLICIES_OF, policy, SELECT, "WHERE vault_id = $1 ORDER BY object_id")                   \
    X(KL_Q_POLICY_PUT, policy, INSERT,                                                              \
      "ON CONFLICT (vault_id, object_id) DO UPDATE SET keys = excluded.keys, "                      \
      "secrets = excluded.secrets, certificates = excluded.certificates, vault = excluded.vault")   \
    X(KL_Q_POLICY_DELETE, none, RAW, "DELETE FROM policy WHERE vault_id = $1 AND object_id = $2")   \
    X(KL_Q_POLICIES_DELETE_VAULT, none, RAW, "DELETE FROM policy WHERE vault_id = $1")              \
    X(KL_Q_POLICIES_DELETE_PRINCIPAL, none, RAW, "DELETE FROM policy WHERE object_id = $1")         \
    X(KL_Q_ASSIGNMENTS_OF, assignment, SELECT, "WHERE vault_id = $1 ORDER BY object_id, id")        \
    X(KL_Q_ASSIGNMENT_INSERT, assignment, INSERT, "")                                               \
    X(KL_Q_ASSIGNMENT_DELETE, none, RAW, "DELETE FROM assignment WHERE vault_id = $1 AND id = $2")  \
    X(KL_Q_ASSIGNMENTS_DELETE_VAULT, none, RAW, "DELETE FROM assignment WHERE vault_id = $1")       \
    X(KL_Q_ASSIGNMENTS_DELETE_PRINCIPAL, none, RAW, "DELETE FROM assignment WHERE object_id = $1")  \
    X(KL_Q_PRINCIPALS, principal, SELECT, "ORDER BY folded")                                        \
    X(KL_Q_PRINCIPAL_INSERT, principal, INSERT, "")                                                 \
    X(KL_Q_PRINCIPAL_SET, none, RAW,                                                                \
      "UPDATE principal SET roles = $1, disabled = $2 WHERE object_id = $3")                        \
    X(KL_Q_PRINCIPAL_DELETE, none, RAW, "DELETE FROM principal WHERE object_id = $1")               \
    X(KL_Q_CREDENTIALS, credential, SELECT, "ORDER BY object_id, created, id")                      \
    X(KL_Q_CREDENTIAL_INSERT, credential, INSERT, "")                                               \
    X(KL_Q_CREDENTIAL_EXPIRE, none, RAW,                                                            \
      "UPDATE credential SET expires = $1 WHERE object_id = $2 AND kind = $3 "                      \
      "AND (expires = 0 OR expires > $1)")                                                          \
    X(KL_Q_CREDENTIAL_DELETE, none, RAW,                                                            \
      "DELETE FROM credential WHERE object_id = $1 AND id = $2")                                    \
    X(KL_Q_CREDENTIALS_DELETE_OF, none, RAW, "DELETE FROM credential WHERE object_id = $1")         \
    X(KL_Q_NOTE_GET, text, RAW, "SELECT value FROM note WHERE name = $1")                           \
    X(KL_Q_NOTE_PUT, none, RAW,                                                                     \
      "INSERT INTO note (name, value) VALUES ($1, $2) "                                             \
      "ON CONFLICT (name) DO UPDATE SET value = excluded.value")                                    \
    X(KL_Q_BACKUP_NOTE, none, RAW,                                                                  \
      "INSERT INTO backup (vault_id, kind, folded, name, made, domain, seal) "                      \
      "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (vault_id, kind, folded) "                   \
      "DO UPDATE SET name = excluded.name, made = excluded.made, domain = excluded.domain, "        \
      "seal = excluded.seal, next_domain = '', next_seal = ''")                                     \
    X(KL_Q_BACKUP_RESEALED, none, RAW,                                                              \
      "UPDATE backup SET next_domain = $1, next_seal = $2 WHERE seal = $3")                         \
    X(KL_Q_BACKUP_REPLACED, none, RAW,                                                              \
      "UPDATE backup SET domain = next_domain, seal = next_seal, next_domain = '', "                \
      "next_seal = '' WHERE next_seal = $1")                                                        \
    X(KL_Q_BACKUPS_UNDER, number, RAW, "SELECT count(*) FROM backup WHERE domain = $1")             \
    X(KL_Q_OBJECT_BY_ID, object, SELECT, "WHERE id = $1")                                           \
    X(KL_Q_OBJECT_BY_NAME, object, SELECT,                                                          \
      "WHERE vault_id = $1 AND kind = $2 AND folded = $3 AND state < 4")                            \
    X(KL_Q_OBJECTS_ASTRAY, object, SELECT,                                                          \
      "WHERE vault_id <> '' AND NOT EXISTS "                                                        \
      "(SELECT 1 FROM vault WHERE vault.id = object.vault_id) ORDER BY id")                         \
    X(KL_Q_OBJECTS_PAGE, object, SELECT,                                                            \
      "WHERE vault_id = $1 AND kind = $2 AND state = $3 AND folded > $4 "                           \
      "AND (managed = 0 OR state = 1) ORDER BY folded "                                             \
      "LIMIT $5")                                                                                   \
    X(KL_Q_OBJECTS_OF_VAULT, object, SELECT, "WHERE vault_id = $1 AND state < 4 ORDER BY id")       \
    X(KL_Q_OBJECTS_EVER_OF, object, SELECT, "WHERE vault_id = $1 ORDER BY id")                      \
    X(KL_Q_OBJECTS_DUE, object, SELECT, "WHERE state = 2 AND purge_at <= $1 ORDER BY id")           \
    X(KL_Q_OBJECTS_PURGING, object, SELECT, "WHERE state = 3 ORDER BY id")                          \
    X(KL_Q_OBJECT_INSERT, object, INSERT, "RETURNING id")                                           \
    X(KL_Q_OBJECT_SET, none, RAW,                                                                   \
      "UPDATE object SET state = $1, deleted_at = $2, purge_at = $3, deleted_elapsed = $4, "        \
      "mac = $5 WHERE id = $6")                                                                     \
    X(KL_Q_OBJECT_DELETE_NEW, none, RAW,                                                            \
      "DELETE FROM object WHERE id = $1 AND state = 0 "                                             \
      "AND NOT EXISTS (SELECT 1 FROM version WHERE object = object.id)")                            \
    X(KL_Q_VERSION_INSERT, version, INSERT, "RETURNING seq")                                        \
    X(KL_Q_VERSION_GET, version, SELECT, "WHERE object = $1 AND version = $2 AND state = 1")        \
    X(KL_Q_VERSION_NEWEST, version, SELECT,                                                         \
      "WHERE object = $1 AND state = 1 ORDER BY seq DESC LIMIT 1")                                  \
    X(KL_Q_VERSION_OLDER, version, SELECT,                                                          \
      "WHERE object = $1 AND state = 1 AND enabled = 1 AND seq < $2 ORDER BY seq DESC LIMIT 1")     \
    X(KL_Q_VERSIONS_PAGE, version, SELECT,                                                          \
      "WHERE object = $1 AND state = 1 AND version > $2 ORDER BY version LIMIT $3")                 \
    X(KL_Q_VERSIONS_READY, version, SELECT, "WHERE object = $1 AND state = 1 ORDER BY seq")         \
    X(KL_Q_VERSIONS_READY_COUNT, number, RAW,                                                       \
      "SELECT count(*) FROM version WHERE object = $1 AND state = 1")                               \
    X(KL_Q_VERSIONS_FIXED_COUNT, number, RAW,                                                       \
      "SELECT count(*) FROM version WHERE object = $1 AND state = 1 AND profile <> 2")              \
    X(KL_Q_VERSION_READY, none, RAW,                                                                \
      "UPDATE version SET state = 1, spki = $1, spki_hash = $2, mac = $3, bits = $4, curve = $5, "  \
      "origin = $6, attr_mac = $7 WHERE seq = $8 AND state = 0")                                    \
    X(KL_Q_VERSION_SET, none, RAW,                                                                  \
      "UPDATE version SET ops = $1, enabled = $2, has_nbf = $3, nbf = $4, has_exp = $5, "           \
      "exp = $6, tags = $7, updated = $8, attr_mac = $9 WHERE seq = $10")                           \
    X(KL_Q_VERSIONS_FROM, version, SELECT, "WHERE seq > $1 AND state = 1 ORDER BY seq LIMIT $2")    \
    X(KL_Q_VERSION_SET_ATTR_MAC, none, RAW, "UPDATE version SET attr_mac = $1 WHERE seq = $2")      \
    X(KL_Q_VERSION_DELETE, none, RAW, "DELETE FROM version WHERE seq = $1")                         \
    X(KL_Q_VERSION_DELETE_CREATING, none, RAW, "DELETE FROM version WHERE seq = $1 AND state = 0")  \
    X(KL_Q_SECRET_INSERT, secret, INSERT, "")                                                       \
    X(KL_Q_SECRET_GET, secret, SELECT, "WHERE object = $1 AND version = $2")                        \
    X(KL_Q_SECRET_NEWEST, secret, SELECT, "WHERE object = $1 ORDER BY number DESC LIMIT 1")         \
    X(KL_Q_SECRETS_OF, secret, SELECT, "WHERE object = $1 ORDER BY number")                         \
    X(KL_Q_SECRET_ITEM_GET, secret_item, SELECT, "WHERE object = $1 AND version = $2")              \
    X(KL_Q_SECRET_ITEM_NEWEST, secret_item, SELECT,                                                 \
      "WHERE object = $1 ORDER BY number DESC LIMIT 1")                                             \
    X(KL_Q_SECRET_ITEMS_PAGE, secret_item, SELECT,                                                  \
      "WHERE object = $1 AND version > $2 ORDER BY version LIMIT $3")                               \
    X(KL_Q_SECRETS_COUNT, number, RAW, "SELECT count(*) FROM secret WHERE object = $1")             \
    X(KL_Q_SECRET_SET, none, RAW,                                                                   \
      "UPDATE secret SET enabled = $1, has_nbf = $2, nbf = $3, has_exp = $4, exp = $5, "            \
      "content_type = $6, tags = $7, updated = $8, mac = $9 WHERE object = $10 AND number = $11")   \
    X(KL_Q_SECRETS_DELETE, none, RAW, "DELETE FROM secret WHERE object = $1")                       \
    X(KL_Q_PART_PUT, part, INSERT,                                                                  \
      "ON CONFLICT (vault_id, object, part, folded) DO UPDATE SET "                                 \
      "vault_key = excluded.vault_key, sealed = excluded.sealed")                                   \
    X(KL_Q_PART_GET, part, SELECT,                                                                  \
      "WHERE vault_id = $1 AND object = $2 AND part = $3 AND folded = $4")                          \
    X(KL_Q_PARTS_PAGE, part, SELECT,                                                                \
      "WHERE vault_id = $1 AND object = 0 AND part = $2 AND folded > $3 ORDER BY folded LIMIT $4")  \
    X(KL_Q_PART_DELETE, none, RAW,                                                                  \
      "DELETE FROM part WHERE vault_id = $1 AND object = $2 AND part = $3 AND folded = $4")         \
    X(KL_Q_PARTS_DELETE_OF, none, RAW, "DELETE FROM part WHERE object = $1")                        \
    X(KL_Q_PARTS_DELETE_VAULT, none, RAW, "DELETE FROM part WHERE vault_id = $1")                   \
    X(KL_Q_VAULT_KEY_INSERT, vault_key, INSERT, "RETURNING id")                                     \
    X(KL_Q_VAULT_KEY_BY_ID, vault_key, SELECT, "WHERE vault_id = $1 AND id = $2")                   \
    X(KL_Q_VAULT_KEY_NEWEST, vault_key, SELECT, "WHERE vault_id = $1 ORDER BY id DESC LIMIT 1")     \
    X(KL_Q_VAULT_KEYS_DELETE, none, RAW, "DELETE FROM vault_key WHERE vault_id = $1")               \
    X(KL_Q_TOKEN_KEYS_OF, token_key, SELECT, "WHERE object = $1 AND state = $2 ORDER BY seq")       \
    X(KL_Q_TOKEN_KEYS, token_key, SELECT, "WHERE token = $1 ORDER BY seq")                          \
    X(KL_Q_TOKEN_KEYS_ASTRAY, token_key, SELECT,                                                    \
      "WHERE NOT EXISTS "                                                                           \
      "(SELECT 1 FROM object WHERE object.id = token_key.object) ORDER BY seq")                     \
    X(KL_Q_TOKEN_KEYS_CREATING, token_key, SELECT, "WHERE state = 0 ORDER BY seq")                  \
    X(KL_Q_TOKEN_KEY_BY_ID, token_key, SELECT, "WHERE token = $1 AND token_key = $2")               \
    X(KL_Q_TOKEN_KEY_BY_SEQ, token_key, SELECT, "WHERE seq = $1 AND home = 0")                      \
    X(KL_Q_TOKEN_KEY_BY_HASH, token_key, SELECT,                                                    \
      "WHERE spki_hash = $1 AND state = 1 AND home = 0")                                            \
    X(KL_Q_VAULT_HOMES, text, RAW, "SELECT homes FROM vault WHERE id = $1")                         \
    X(KL_Q_VAULT_SET_HOMES, none, RAW, "UPDATE vault SET homes = $1 WHERE id = $2")                 \
    X(KL_Q_VAULT_SET_EXTRAS, none, RAW, "UPDATE vault SET extras = $1 WHERE id = $2")               \
    X(KL_Q_HOME_INSERT, home, INSERT, "")                                                           \
    X(KL_Q_HOMES_OF, home, SELECT, "WHERE seq = $1 AND state = 1 ORDER BY token")                   \
    X(KL_Q_HOME_CREATING, home, SELECT, "WHERE seq = $1 AND token = $2 AND state = 0")              \
    X(KL_Q_HOME_READY, none, RAW,                                                                   \
      "UPDATE home SET state = 1, mac = $1 WHERE seq = $2 AND token = $3 AND state = 0 "            \
      "AND EXISTS (SELECT 1 FROM version JOIN object ON object.id = version.object "                \
      "WHERE version.seq = home.seq AND version.state = 1 AND object.state IN (1, 2))")             \
    X(KL_Q_HOME_DELETE_CREATING, none, RAW,                                                         \
      "DELETE FROM home WHERE seq = $1 AND token = $2 AND state = 0")                               \
    X(KL_Q_HOMES_DELETE, none, RAW, "DELETE FROM home WHERE seq = $1 AND state = 1")                \
    X(KL_Q_HOMELESS, lacking, RAW,                                                                  \
      "SELECT version.seq, object.vault_id, object.name FROM version "                              \
      "JOIN object ON object.id = version.object WHERE object.vault_id = $1 AND "                   \
      "object.state IN (1, 2) AND version.state = 1 AND version.profile = 2 "                       \
      "AND version.token <> $2 AND NOT EXISTS "                                                     \
      "(SELECT 1 FROM home WHERE home.seq = version.seq AND home.token = $2) ORDER BY version.seq") \
    X(KL_Q_HOMELESS_OF, lacking, RAW,                                                               \
      "SELECT version.seq, object.vault_id, object.name FROM version "                              \
      "JOIN object ON object.id = version.object WHERE version.object = $1 AND "                    \
      "object.state IN (1, 2) AND version.state = 1 AND version.profile = 2 "                       \
      "AND version.token <> $2 AND NOT EXISTS "                                                     \
      "(SELECT 1 FROM home WHERE home.seq = version.seq AND home.token = $2) ORDER BY version.seq") \
    X(KL_Q_ROTATION_GET, rotation, SELECT, "WHERE object = $1")                                     \
    X(KL_Q_ROTATION_PUT, rotation, INSERT,                                                          \
      "ON CONFLICT (object) DO UPDATE SET rotate = excluded.rotate, "                               \
      "notify = excluded.notify, expiry = excluded.expiry, "                                        \
      "rotate_after = excluded.rotate_after, rotate_before = excluded.rotate_before, "              \
      "notify_before = excluded.notify_before, lifetime = excluded.lifetime, "                      \
      "updated = excluded.updated")                                                                 \
    X(KL_Q_ROTATIONS_DUE, due, RAW,                                                                 \
      "SELECT version.seq, version.object, object.vault_id, object.name, version.version, "         \
      "version.has_nbf, version.nbf, version.has_exp, version.exp FROM version "                    \
      "JOIN object ON object.id = version.object JOIN vault ON vault.id = object.vault_id "         \
      "JOIN rotation ON rotation.object = version.object "                                          \
      "WHERE object.state = 1 AND object.managed = 0 AND vault.state = 1 AND version.state = 1 "    \
      "AND version.enabled = 1 "                                                                    \
      "AND version.seq = (SELECT max(other.seq) FROM version AS other "                             \
      "WHERE other.object = version.object AND other.state = 1) "                                   \
      "AND ((rotation.rotate_after > 0 AND version.created + rotation.rotate_after <= $1) "         \
      "OR (rotation.rotate_before > 0 AND version.has_exp = 1 "                                     \
      "AND version.exp - rotation.rotate_before <= $1)) ORDER BY version.seq")                      \
    X(KL_Q_KEYS_NEAR, due, RAW,                                                                     \
      "SELECT version.seq, version.object, object.vault_id, object.name, version.version, "         \
      "version.has_nbf, version.nbf, version.has_exp, version.exp FROM version "                    \
      "JOIN object ON object.id = version.object JOIN vault ON vault.id = object.vault_id "         \
      "LEFT JOIN rotation ON rotation.object = version.object "                                     \
      "WHERE version.has_exp = 1 AND version.exp > $1 "                                             \
      "AND version.exp - coalesce(rotation.notify_before, 2592000) <= $1 "                          \
      "AND object.state = 1 AND object.managed = 0 AND vault.state = 1 AND version.state = 1 "      \
      "AND version.seq = (SELECT max(other.seq) FROM version AS other "                             \
      "WHERE other.object = version.object AND other.state = 1) "                                   \
      "AND NOT EXISTS (SELECT 1 FROM event_mark WHERE type = $2 "                                   \
      "AND event_mark.object = version.object AND event_mark.version = version.version "            \
      "AND event_mark.exp = version.exp) ORDER BY version.seq LIMIT 500")                           \
    X(KL_Q_KEYS_EXPIRED, due, RAW,                                                                  \
      "SELECT version.seq, version.object, object.vault_id, object.name, version.version, "         \
      "version.has_nbf, version.nbf, version.has_exp, version.exp FROM version "                    \
      "JOIN object ON object.id = version.object JOIN vault ON vault.id = object.vault_id "         \
      "WHERE version.has_exp = 1 AND version.exp <= $1 "                                            \
      "AND object.state = 1 AND object.managed = 0 AND vault.state = 1 AND version.state = 1 "      \
      "AND version.seq = (SELECT max(other.seq) FROM version AS other "                             \
      "WHERE other.object = version.object AND other.state = 1) "                                   \
      "AND NOT EXISTS (SELECT 1 FROM event_mark WHERE type = $2 "                                   \
      "AND event_mark.object = version.object AND event_mark.version = version.version "            \
      "AND event_mark.exp = version.exp) ORDER BY version.seq LIMIT 500")                           \
    X(KL_Q_SECRETS_NEAR, due, RAW,                                                                  \
      "SELECT secret.number, secret.object, object.vault_id, object.name, secret.version, "         \
      "secret.has_nbf, secret.nbf, secret.has_exp, secret.exp FROM secret "                         \
      "JOIN object ON object.id = secret.object JOIN vault ON vault.id = object.vault_id "          \
      "WHERE secret.has_exp = 1 AND secret.exp > $1 AND secret.exp - 2592000 <= $1 "                \
      "AND object.kind = $2 AND object.state = 1 AND object.managed = 0 AND vault.state = 1 "       \
      "AND secret.number = (SELECT max(other.number) FROM secret AS other "                         \
      "WHERE other.object = secret.object) "                                                        \
      "AND NOT EXISTS (SELECT 1 FROM event_mark WHERE type = $3 "                                   \
      "AND event_mark.object = secret.object AND event_mark.version = secret.version "              \
      "AND event_mark.exp = secret.exp) ORDER BY secret.object LIMIT 500")                          \
    X(KL_Q_SECRETS_EXPIRED, due, RAW,                                                               \
      "SELECT secret.number, secret.object, object.vault_id, object.name, secret.version, "         \
      "secret.has_nbf, secret.nbf, secret.has_exp, secret.exp FROM secret "                         \
      "JOIN object ON object.id = secret.object JOIN vault ON vault.id = object.vault_id "          \
      "WHERE secret.has_exp = 1 AND secret.exp <= $1 "                                              \
      "AND object.kind = $2 AND object.state = 1 AND object.managed = 0 AND vault.state = 1 "       \
      "AND secret.number = (SELECT max(other.number) FROM secret AS other "                         \
      "WHERE other.object = secret.object) "                                                        \
      "AND NOT EXISTS (SELECT 1 FROM event_mark WHERE type = $3 "                                   \
      "AND event_mark.object = secret.object AND event_mark.version = secret.version "              \
      "AND event_mark.exp = secret.exp) ORDER BY secret.object LIMIT 500")                          \
    X(KL_Q_EVENT_MARK, none, RAW,                                                                   \
      "INSERT INTO event_mark (type, object, version, exp) VALUES ($1, $2, $3, $4) "                \
      "ON CONFLICT DO NOTHING")                                                                     \
    X(KL_Q_EVENT_INSERT, event, INSERT, "RETURNING number")                                         \
    X(KL_Q_EVENT_COUNT, number, RAW, "SELECT count(*) FROM event")                                  \
    X(KL_Q_EVENT_UNRECORDED, event, SELECT, "WHERE recorded = 0 ORDER BY number LIMIT 1")           \
    X(KL_Q_EVENT_READY, event, SELECT,                                                              \
      "WHERE recorded = 1 AND (next_try <= $1 OR next_try > $2) ORDER BY number LIMIT 1")           \
    X(KL_Q_EVENT_RECORDED, none, RAW, "UPDATE event SET recorded = 1 WHERE number = $1")            \
    X(KL_Q_EVENT_TRIED, none, RAW, "UPDATE event SET tries = $1, next_try = $2 WHERE number = $3")  \
    X(KL_Q_EVENT_DELETE, none, RAW, "DELETE FROM event WHERE number = $1")                          \
    X(KL_Q_OBJECT_FOR_BACKUPS, none, RAW, "UPDATE object SET for_backups = 1 WHERE id = $1")        \
    X(KL_Q_VERSION_BY_SEQ, version, SELECT, "WHERE seq = $1")

enum kl_store_query {
#define KL_STORE_QUERY_ENUM(query, row, kind, sql) query,
    KL_STORE_QUERIES(KL_STORE_QUERY_ENUM)
#undef KL_STORE_QUERY_ENUM
        KL_Q_COUNT
};

#endif
