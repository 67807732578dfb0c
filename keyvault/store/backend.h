/* What a storage backend implements; keyvault/store/store.c is the only caller, apart from tests
 * that put themselves between. One writer at a time; any number of readers beside it.
 *
 * SQL comes from the facade, with $1, $2 … for arguments. Values are 64-bit integers, UTF-8 text,
 * bytes, and null.
 */
#ifndef KL_KEYVAULT_STORE_BACKEND_H
#define KL_KEYVAULT_STORE_BACKEND_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

enum kl_value_type { KL_VALUE_NULL, KL_VALUE_INT, KL_VALUE_TEXT, KL_VALUE_BYTES };

struct kl_store_value {
    enum kl_value_type type;
    int64_t number;
    const void *bytes; /* text: NUL-terminated as well */
    size_t len;
};

/** One answer row; columns are borrowed until it returns. Anything but KL_OK ends the query with
 * that code. Must not use the session. */
typedef enum kl_code kl_store_columns_fn(void *arg, const struct kl_store_value *columns,
                                         size_t count, struct kl_err *err);

/** Error codes of all: KL_NO_SPACE (disk or quota full), KL_IO, KL_READ_ONLY (medium or file cannot
 * be written), KL_TIMEOUT (another process holds the database for longer than 5 s), KL_CORRUPT,
 * KL_EXISTS (a uniqueness rule), KL_NO_MEMORY, KL_INTERNAL (a statement of ours is wrong). The
 * native number is kept. */
struct kl_store_ops {
    const char *name;
    /** Open or create and bring the schema to this program's version (KL_CONFIG: made by a newer
     * one). `sql` outlives the database handle. */
    enum kl_code (*open)(const char *where, const char *const *sql, size_t sql_count, void **ret,
                         struct kl_err *err);
    void (*close)(void *db);
    /** Write: waits for the other writer of this process. Read: one consistent state until end;
     * never waits for a writer's statements, only for its commit. A thread holds at most one
     * session. */
    enum kl_code (*begin)(void *db, bool write, void **ret_session, struct kl_err *err);
    /** Run sql[query]; *ret_changed (may be NULL) = rows inserted, updated or deleted. */
    enum kl_code (*run)(void *session, size_t query, const struct kl_store_value *args,
                        size_t arg_count, kl_store_columns_fn *row, void *arg, int64_t *ret_changed,
                        struct kl_err *err);
    /** KL_OK = on stable storage. Otherwise the outcome is to be read back. Either way a write
     * session may still read until its end: it sees what the database now holds, and no other
     * writer of this process has been let in. */
    enum kl_code (*commit)(void *session, struct kl_err *err);
    /** End a session; what was not committed is rolled back. */
    void (*end)(void *session);
};

extern const struct kl_store_ops kl_store_sqlite;

#endif
