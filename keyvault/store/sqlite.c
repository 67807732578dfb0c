/* SQLite behind the table of backend.h.
 *
 * TRUNCATE journal and synchronous=FULL: of the settings measured with power cuts, one that lost no
 * acknowledged commit, and out of reach of the WAL-reset fault of SQLite before 3.51.3. One
 * connection writes; readers have their own. In this journal mode a commit needs the file alone:
 * `file` lets it wait for our readers without polling. */
#include "keyvault/store/backend.h"

#include "keyvault/store/sqlite_schema.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READERS      4
#define BUSY_WAIT_MS 5000 /* for another process, e.g. an operator's shell */

struct connection {
    struct database *database;
    pthread_mutex_t in_use;
    sqlite3 *db;
    sqlite3_stmt **statements; /* by query number, prepared at first use */
    bool write;
};

struct database {
    const char *const *sql;
    size_t sql_count;
    pthread_rwlock_t file;
    atomic_uint turn;
    struct connection writer, readers[READERS];
};

static const struct {
    int result; /* primary result code */
    enum kl_code code;
} codes[] = {
    {SQLITE_FULL, KL_NO_SPACE},      {SQLITE_IOERR, KL_IO},
    {SQLITE_BUSY, KL_TIMEOUT},       {SQLITE_LOCKED, KL_TIMEOUT},
    {SQLITE_CORRUPT, KL_CORRUPT},    {SQLITE_NOTADB, KL_CORRUPT},
    {SQLITE_READONLY, KL_READ_ONLY}, {SQLITE_PERM, KL_READ_ONLY},
    {SQLITE_CANTOPEN, KL_READ_ONLY}, {SQLITE_NOMEM, KL_NO_MEMORY},
    {SQLITE_CONSTRAINT, KL_EXISTS},
};

static enum kl_code fail(const struct connection *c, int result, const char *op, struct kl_err *err)
{
    enum kl_code code = KL_INTERNAL;
    for (size_t i = 0; i < KL_COUNT(codes); i++)
        if (codes[i].result == (result & 0xff))
            code = codes[i].code;
    int native = c->db != NULL ? sqlite3_extended_errcode(c->db) : result;
    (void)kl_fail_native(err, code, KL_DOMAIN_SQL, (unsigned long)native, op, "store: %s",
                         kl_code_text(code));
    if (err != NULL && c->db != NULL)
        (void)snprintf(err->detail, sizeof err->detail, "%s", sqlite3_errmsg(c->db));
    return code;
}

static enum kl_code exec(const struct connection *c, const char *sql, struct kl_err *err)
{
    int result = sqlite3_exec(c->db, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? KL_OK : fail(c, result, "sqlite3_exec", err);
}

/* --- opening --- */

/* The file gets its mode before SQLite sees it; SQLite gives journals the same. */
static enum kl_code make_file(const char *path, struct kl_err *err)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, S_IRUSR | S_IWUSR);
    if (fd < 0 && (errno == EACCES || errno == EROFS))
        return kl_fail_errno(err, "open", "cannot write the database %s", path);
    if (fd < 0)
        return kl_fail_errno(err, "open", "cannot open the database %s", path);
    enum kl_code code = KL_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        code = kl_fail(err, KL_CONFIG, "fstat", "the database %s is not a regular file", path);
    else if ((st.st_mode & 077) != 0 && fchmod(fd, S_IRUSR | S_IWUSR) != 0)
        code = kl_fail_errno(err, "fchmod", "cannot make %s private", path);
    (void)close(fd);
    return code;
}

static enum kl_code connect(struct connection *c, const char *path, bool write, struct kl_err *err)
{
    c->write = write;
    c->statements = calloc(c->database->sql_count, sizeof(sqlite3_stmt *));
    if (c->statements == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the store");
    /* Readers open read-write as well: one of them may have to roll back a journal that a crash
     * left. */
    int result = sqlite3_open_v2(
        path, &c->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW, NULL);
    if (result != SQLITE_OK)
        return fail(c, result, "sqlite3_open_v2", err);
    (void)sqlite3_extended_result_codes(c->db, 1);
    (void)sqlite3_busy_timeout(c->db, BUSY_WAIT_MS);
    (void)sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    return exec(c,
                "PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL;"
                "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;"
                "PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;",
                err);
}

static enum kl_code schema_version(const struct connection *c, size_t *ret, struct kl_err *err)
{
    sqlite3_stmt *s = NULL;
    int result = sqlite3_prepare_v2(c->db, "PRAGMA user_version", -1, &s, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(s);
    int64_t version = result == SQLITE_ROW ? sqlite3_column_int64(s, 0) : -1;
    enum kl_code code = KL_OK;
    if (result != SQLITE_ROW)
        code = fail(c, result, "user_version", err);
    else if (version < 0 || (uint64_t)version > kl_sqlite_migration_count)
        code = kl_fail(err, KL_CONFIG, "user_version",
                       "the database has schema %lld, this program knows up to %zu",
                       (long long)version, kl_sqlite_migration_count);
    else
        *ret = (size_t)version;
    (void)sqlite3_finalize(s);
    return code;
}

static enum kl_code migrate_step(const struct connection *c, size_t from, struct kl_err *err)
{
    char stamp[64];
    (void)snprintf(stamp, sizeof stamp, "PRAGMA user_version = %zu; COMMIT", from + 1);
    enum kl_code code = exec(c, "BEGIN IMMEDIATE", err);
    if (code != KL_OK)
        return code;
    code = exec(c, kl_sqlite_migrations[from], err);
    if (code == KL_OK)
        code = exec(c, stamp, err);
    if (code != KL_OK && sqlite3_get_autocommit(c->db) == 0)
        (void)exec(c, "ROLLBACK", NULL);
    return code;
}

static enum kl_code migrate(const struct connection *c, struct kl_err *err)
{
    size_t version = 0;
    enum kl_code code = schema_version(c, &version, err);
    for (; code == KL_OK && version < kl_sqlite_migration_count; version++)
        code = migrate_step(c, version, err);
    return code;
}

static void disconnect(struct connection *c)
{
    for (size_t i = 0; c->statements != NULL && i < c->database->sql_count; i++)
        (void)sqlite3_finalize(c->statements[i]);
    free(c->statements);
    (void)sqlite3_close(c->db);
    (void)pthread_mutex_destroy(&c->in_use);
}

static void sqlite_close(void *db)
{
    struct database *d = db;
    disconnect(&d->writer);
    for (size_t i = 0; i < READERS; i++)
        disconnect(&d->readers[i]);
    (void)pthread_rwlock_destroy(&d->file);
    free(d);
}

static void init_locks(struct database *d)
{
    pthread_rwlockattr_t attr;
    (void)pthread_rwlockattr_init(&attr);
    (void)pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    (void)pthread_rwlock_init(&d->file, &attr);
    (void)pthread_rwlockattr_destroy(&attr);
    (void)pthread_mutex_init(&d->writer.in_use, NULL);
    d->writer.database = d;
    for (size_t i = 0; i < READERS; i++) {
        (void)pthread_mutex_init(&d->readers[i].in_use, NULL);
        d->readers[i].database = d;
    }
}

static enum kl_code sqlite_open(const char *path, const char *const *sql, size_t sql_count,
                                void **ret, struct kl_err *err)
{
    enum kl_code code = make_file(path, err);
    if (code != KL_OK)
        return code;
    struct database *d = calloc(1, sizeof *d);
    if (d == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the store");
    d->sql = sql;
    d->sql_count = sql_count;
    init_locks(d);
    code = connect(&d->writer, path, true, err);
    if (code == KL_OK)
        code = migrate(&d->writer, err);
    for (size_t i = 0; code == KL_OK && i < READERS; i++)
        code = connect(&d->readers[i], path, false, err);
    if (code != KL_OK) {
        sqlite_close(d);
        (void)kl_err_prefix(err, "%s", path);
        return code;
    }
    *ret = d;
    return KL_OK;
}

/* --- sessions --- */

static struct connection *take_reader(struct database *d)
{
    unsigned first = atomic_fetch_add(&d->turn, 1);
    for (unsigned i = 0; i < READERS; i++) {
        struct connection *c = &d->readers[(first + i) % READERS];
        if (pthread_mutex_trylock(&c->in_use) == 0)
            return c;
    }
    struct connection *c = &d->readers[first % READERS];
    (void)pthread_mutex_lock(&c->in_use);
    return c;
}

static enum kl_code sqlite_begin(void *db, bool write, void **ret_session, struct kl_err *err)
{
    struct database *d = db;
    struct connection *c = write ? &d->writer : take_reader(d);
    if (write)
        (void)pthread_mutex_lock(&c->in_use);
    else
        (void)pthread_rwlock_rdlock(&d->file);
    enum kl_code code = exec(c, write ? "BEGIN IMMEDIATE" : "BEGIN", err);
    if (code != KL_OK) {
        if (!write)
            (void)pthread_rwlock_unlock(&d->file);
        (void)pthread_mutex_unlock(&c->in_use);
        return code;
    }
    *ret_session = c;
    return KL_OK;
}

static int bind_one(sqlite3_stmt *s, int at, const struct kl_store_value *v)
{
    switch (v->type) {
    case KL_VALUE_NULL:
        return sqlite3_bind_null(s, at);
    case KL_VALUE_INT:
        return sqlite3_bind_int64(s, at, v->number);
    case KL_VALUE_TEXT:
        return sqlite3_bind_text64(s, at, v->bytes, v->len, SQLITE_STATIC, SQLITE_UTF8);
    case KL_VALUE_BYTES:
        return v->len == 0 ? sqlite3_bind_zeroblob(s, at, 0)
                           : sqlite3_bind_blob64(s, at, v->bytes, v->len, SQLITE_STATIC);
    }
    return SQLITE_MISUSE;
}

static struct kl_store_value column_of(sqlite3_stmt *s, int at)
{
    struct kl_store_value v = {.type = KL_VALUE_NULL};
    switch (sqlite3_column_type(s, at)) {
    case SQLITE_INTEGER:
        v.type = KL_VALUE_INT;
        v.number = sqlite3_column_int64(s, at);
        break;
    case SQLITE_TEXT:
        v.type = KL_VALUE_TEXT;
        v.bytes = sqlite3_column_text(s, at);
        v.len = (size_t)sqlite3_column_bytes(s, at);
        break;
    case SQLITE_BLOB:
        v.type = KL_VALUE_BYTES;
        v.bytes = sqlite3_column_blob(s, at);
        v.len = (size_t)sqlite3_column_bytes(s, at);
        break;
    default:
        break;
    }
    return v;
}

static enum kl_code give_row(sqlite3_stmt *s, kl_store_columns_fn *row, void *arg,
                             struct kl_err *err)
{
    struct kl_store_value columns[32];
    size_t count = (size_t)sqlite3_column_count(s);
    if (row == NULL || count > KL_COUNT(columns))
        return kl_fail(err, KL_INTERNAL, "store", "a query answered rows that nobody wants");
    for (size_t i = 0; i < count; i++)
        columns[i] = column_of(s, (int)i);
    return row(arg, columns, count, err);
}

static enum kl_code prepared(struct connection *c, size_t query, sqlite3_stmt **ret,
                             struct kl_err *err)
{
    if (c->statements[query] == NULL) {
        int result = sqlite3_prepare_v3(c->db, c->database->sql[query], -1,
                                        SQLITE_PREPARE_PERSISTENT, &c->statements[query], NULL);
        if (result != SQLITE_OK)
            return fail(c, result, "sqlite3_prepare_v3", err);
    }
    *ret = c->statements[query];
    return KL_OK;
}

static enum kl_code sqlite_run(void *session, size_t query, const struct kl_store_value *args,
                               size_t arg_count, kl_store_columns_fn *row, void *arg,
                               int64_t *ret_changed, struct kl_err *err)
{
    struct connection *c = session;
    sqlite3_stmt *s = NULL;
    enum kl_code code = prepared(c, query, &s, err);
    if (code != KL_OK)
        return code;
    int result = SQLITE_OK;
    for (size_t i = 0; i < arg_count && result == SQLITE_OK; i++)
        result = bind_one(s, (int)i + 1, &args[i]);
    if (result == SQLITE_OK)
        while ((result = sqlite3_step(s)) == SQLITE_ROW && code == KL_OK)
            code = give_row(s, row, arg, err);
    if (code == KL_OK && result != SQLITE_DONE)
        code = fail(c, result, "sqlite3_step", err);
    if (code == KL_OK && ret_changed != NULL)
        *ret_changed = sqlite3_changes64(c->db);
    (void)sqlite3_reset(s);
    (void)sqlite3_clear_bindings(s);
    return code;
}

static enum kl_code sqlite_commit(void *session, struct kl_err *err)
{
    struct connection *c = session;
    if (!c->write)
        return KL_OK;
    /* Some errors make SQLite roll back by itself; a COMMIT would then be one of nothing. */
    if (sqlite3_get_autocommit(c->db) != 0)
        return kl_fail(err, KL_IO, "COMMIT", "store: the transaction was rolled back");
    (void)pthread_rwlock_wrlock(&c->database->file);
    enum kl_code code = exec(c, "COMMIT", err);
    if (code != KL_OK && sqlite3_get_autocommit(c->db) == 0)
        (void)exec(c, "ROLLBACK", NULL);
    (void)pthread_rwlock_unlock(&c->database->file);
    return code;
}

static void sqlite_end(void *session)
{
    struct connection *c = session;
    if (sqlite3_get_autocommit(c->db) == 0)
        (void)exec(c, "ROLLBACK", NULL);
    if (!c->write)
        (void)pthread_rwlock_unlock(&c->database->file);
    (void)pthread_mutex_unlock(&c->in_use);
}

const struct kl_store_ops kl_store_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .begin = sqlite_begin,
    .run = sqlite_run,
    .commit = sqlite_commit,
    .end = sqlite_end,
};
