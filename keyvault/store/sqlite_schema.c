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

const char *const kl_sqlite_migrations[] = {step_1};
const size_t kl_sqlite_migration_count = KL_COUNT(kl_sqlite_migrations);
