#include "keyvault/store/sqlite_schema.h"

#include "base/auto.h"

/* State 4 is a tombstone: it is kept for ever and gives its name free. */
static const char step_1[] =
    "CREATE TABLE vault (id TEXT PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL, "
    " state INT NOT NULL, subscription TEXT NOT NULL, geography TEXT NOT NULL, "
    " location TEXT NOT NULL, token TEXT NOT NULL, profile INT NOT NULL, "
    " retention_days INT NOT NULL, purge_protection INT NOT NULL, created INT NOT NULL, "
    " updated INT NOT NULL, deleted_at INT NOT NULL, purge_at INT NOT NULL, "
    " deleted_elapsed INT NOT NULL, tags TEXT, origins TEXT NOT NULL, mac BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX vault_name ON vault (folded) WHERE state < 4;"

    "CREATE TABLE policy (vault_id TEXT NOT NULL REFERENCES vault (id), object_id TEXT NOT NULL, "
    " keys INT NOT NULL, secrets INT NOT NULL, certificates INT NOT NULL, vault INT NOT NULL, "
    " PRIMARY KEY (vault_id, object_id)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX policy_principal ON policy (object_id);"

    "CREATE TABLE principal (object_id TEXT PRIMARY KEY, client_id TEXT NOT NULL UNIQUE, "
    " name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, roles INT NOT NULL, disabled INT NOT NULL, "
    " created INT NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL) STRICT;"

    "CREATE TABLE note (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"

    "CREATE TABLE object (id INTEGER PRIMARY KEY AUTOINCREMENT, vault_id TEXT NOT NULL, "
    " name TEXT NOT NULL, folded TEXT NOT NULL, state INT NOT NULL, created INT NOT NULL, "
    " deleted_at INT NOT NULL, purge_at INT NOT NULL, deleted_elapsed INT NOT NULL, "
    " mac BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX object_name ON object (vault_id, folded) WHERE state < 4;"
    "CREATE INDEX object_due ON object (state, purge_at) WHERE state > 1;"

    /* AUTOINCREMENT: the sequence never goes back, also after a roll-back of a creation. */
    "CREATE TABLE version (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
    " object INT NOT NULL REFERENCES object (id), version TEXT NOT NULL, state INT NOT NULL, "
    " type INT NOT NULL, bits INT NOT NULL, curve INT NOT NULL, hsm INT NOT NULL, "
    " ops INT NOT NULL, enabled INT NOT NULL, has_nbf INT NOT NULL, nbf INT NOT NULL, "
    " has_exp INT NOT NULL, exp INT NOT NULL, profile INT NOT NULL, restored INT NOT NULL, "
    " created INT NOT NULL, updated INT NOT NULL, token TEXT NOT NULL, "
    " token_key BLOB NOT NULL UNIQUE, spki_hash BLOB NOT NULL, mac BLOB NOT NULL, tags TEXT, spki BLOB NOT NULL, "
    " UNIQUE (object, version)) STRICT;"
    "CREATE INDEX version_newest ON version (object, state, seq);"
    "CREATE INDEX version_creating ON version (seq) WHERE state = 0;"
    "CREATE INDEX version_token ON version (token);";

/* Secrets beside keys, each kind with names of its own. The value is the last column: a listing
 * never reads it. */
static const char step_secrets[] =
    "ALTER TABLE object ADD COLUMN kind INT NOT NULL DEFAULT 0;"
    "ALTER TABLE object ADD COLUMN managed INT NOT NULL DEFAULT 0;"
    "DROP INDEX object_name;"
    "CREATE UNIQUE INDEX object_name ON object (vault_id, kind, folded) WHERE state < 4;"
    "CREATE INDEX object_page ON object (vault_id, kind, state, folded);"

    "CREATE TABLE vault_key (id INTEGER PRIMARY KEY AUTOINCREMENT, "
    " vault_id TEXT NOT NULL REFERENCES vault (id), token TEXT NOT NULL, kek TEXT NOT NULL, "
    " alg INT NOT NULL, created INT NOT NULL, mac BLOB NOT NULL, wrapped BLOB NOT NULL) STRICT;"
    "CREATE INDEX vault_key_vault ON vault_key (vault_id, id);"

    "CREATE TABLE secret (object INT NOT NULL REFERENCES object (id), number INT NOT NULL, "
    " version TEXT NOT NULL, enabled INT NOT NULL, has_nbf INT NOT NULL, nbf INT NOT NULL, "
    " has_exp INT NOT NULL, exp INT NOT NULL, created INT NOT NULL, updated INT NOT NULL, "
    " vault_key INT NOT NULL, mac BLOB NOT NULL, content_type TEXT, "
    " tags TEXT, sealed BLOB NOT NULL, UNIQUE (object, version)) STRICT;"
    "CREATE UNIQUE INDEX secret_newest ON secret (object, number);";

/* Credentials in a table of their own, several to a principal; principals of other issuers and
 * groups; roles in vaults. */
static const char step_identity[] =
    "CREATE TABLE credential (id TEXT PRIMARY KEY, object_id TEXT NOT NULL, kind INT NOT NULL, "
    " name TEXT NOT NULL, salt BLOB NOT NULL, hash BLOB NOT NULL, created INT NOT NULL, "
    " expires INT NOT NULL, value TEXT) STRICT;"
    "CREATE INDEX credential_of ON credential (object_id);"
    "INSERT INTO credential (id, object_id, kind, name, salt, hash, created, expires) "
    " SELECT object_id, object_id, 1, 'first', salt, hash, created, 0 FROM principal;"
    "ALTER TABLE principal DROP COLUMN salt;"
    "ALTER TABLE principal DROP COLUMN hash;"
    "ALTER TABLE principal ADD COLUMN kind INT NOT NULL DEFAULT 1;"
    "ALTER TABLE principal ADD COLUMN issuer TEXT NOT NULL DEFAULT '';"
    "CREATE TABLE assignment (id TEXT PRIMARY KEY, vault_id TEXT NOT NULL REFERENCES vault (id), "
    " object_id TEXT NOT NULL, role TEXT NOT NULL, created INT NOT NULL, "
    " UNIQUE (vault_id, object_id, role)) STRICT;"
    "CREATE INDEX assignment_principal ON assignment (object_id);"
    "ALTER TABLE vault ADD COLUMN rbac INT NOT NULL DEFAULT 0;";

/* A key on several tokens, and how a key came to be. The view is every object on every token that a
 * row names. */
static const char step_homes[] =
    "ALTER TABLE vault ADD COLUMN homes TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE version ADD COLUMN origin INT NOT NULL DEFAULT 0;"
    "ALTER TABLE version ADD COLUMN keep INT NOT NULL DEFAULT 0;"
    "CREATE INDEX version_hash ON version (spki_hash);"
    "CREATE TABLE home (seq INT NOT NULL, object INT NOT NULL, state INT NOT NULL, "
    " version TEXT NOT NULL, token TEXT NOT NULL, token_key BLOB NOT NULL UNIQUE, "
    " spki_hash BLOB NOT NULL, mac BLOB NOT NULL, PRIMARY KEY (seq, token)) STRICT;"
    "CREATE INDEX home_object ON home (object, state);"
    "CREATE INDEX home_token ON home (token);"
    "CREATE VIEW token_key AS "
    " SELECT seq, object, state, 0 AS home, origin, keep, version, token, token_key, spki_hash, "
    " mac FROM version UNION ALL "
    " SELECT seq, object, state, 1, 0, 0, version, token, token_key, spki_hash, mac FROM home;";

/* The newest backup of each object, also of one that is purged by now: the domain key that it
 * needs, and its seal. next: as it was re-sealed, until somebody shows that the new bytes have
 * arrived. */
static const char step_backups[] =
    "CREATE TABLE backup (vault_id TEXT NOT NULL, kind INT NOT NULL, folded TEXT NOT NULL, "
    " name TEXT NOT NULL, made INT NOT NULL, domain TEXT NOT NULL, seal TEXT NOT NULL, "
    " next_domain TEXT NOT NULL DEFAULT '', next_seal TEXT NOT NULL DEFAULT '', "
    " PRIMARY KEY (vault_id, kind, folded)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX backup_domain ON backup (domain);"
    "CREATE INDEX backup_seal ON backup (seal);"
    "CREATE INDEX backup_next ON backup (next_seal) WHERE next_seal <> '';";

/* Certificates are kept as secrets are, with the key behind them and what a listing shows; and what
 * belongs to them or to their vault beside that. */
static const char step_certificates[] =
    "ALTER TABLE secret ADD COLUMN key_version TEXT;"
    "ALTER TABLE secret ADD COLUMN about TEXT;"
    "CREATE TABLE part (vault_id TEXT NOT NULL REFERENCES vault (id), object INT NOT NULL, "
    " part INT NOT NULL, folded TEXT NOT NULL, vault_key INT NOT NULL, sealed BLOB NOT NULL, "
    " PRIMARY KEY (vault_id, object, part, folded)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX part_object ON part (object);";

/* A MAC over the attributes of a version that an update may change. Zeros: of before; made at the
 * first start (model/seal.h). */
static const char step_attributes[] =
    "ALTER TABLE version ADD COLUMN attr_mac BLOB NOT NULL "
    " DEFAULT X'0000000000000000000000000000000000000000000000000000000000000000';";

/* When keys rotate and who is told of what: policies, events under way, and marks of those that
 * come once for a version and its expiry. Further columns: what a vault allows beside the usual,
 * and keys that backups were made under. */
static const char step_rotation[] =
    "CREATE TABLE rotation (object INTEGER PRIMARY KEY, rotate TEXT NOT NULL, "
    " notify TEXT NOT NULL, expiry TEXT NOT NULL, rotate_after INT NOT NULL, "
    " rotate_before INT NOT NULL, notify_before INT NOT NULL, lifetime INT NOT NULL, "
    " created INT NOT NULL, updated INT NOT NULL) STRICT;"
    "CREATE TABLE event_mark (type INT NOT NULL, object INT NOT NULL, version TEXT NOT NULL, "
    " exp INT NOT NULL, PRIMARY KEY (object, version, type, exp)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE event (number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, "
    " type INT NOT NULL, vault_id TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, "
    " has_nbf INT NOT NULL, nbf INT NOT NULL, has_exp INT NOT NULL, exp INT NOT NULL, "
    " time INT NOT NULL, recorded INT NOT NULL, tries INT NOT NULL, next_try INT NOT NULL) STRICT;"
    "CREATE INDEX version_expiry ON version (exp) WHERE has_exp = 1;"
    "CREATE INDEX secret_expiry ON secret (exp) WHERE has_exp = 1;"
    "ALTER TABLE vault ADD COLUMN extras INT NOT NULL DEFAULT 0;"
    "ALTER TABLE object ADD COLUMN for_backups INT NOT NULL DEFAULT 0;";

const char *const kl_sqlite_migrations[] = {step_1,        step_secrets,   step_identity,
                                            step_homes,    step_backups,   step_certificates,
                                            step_rotation, step_attributes};
const size_t kl_sqlite_migration_count = KL_COUNT(kl_sqlite_migrations);
