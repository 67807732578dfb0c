/* The SQLite schema and its migrations. Private to the store. */
#ifndef KL_KEYVAULT_STORE_SQLITE_SCHEMA_H
#define KL_KEYVAULT_STORE_SQLITE_SCHEMA_H

#include <stddef.h>

/** Step i brings a database of version i to version i + 1; append only. */
extern const char *const kl_sqlite_migrations[];
extern const size_t kl_sqlite_migration_count;

#endif
