/* SQLite's own dangers: a full disk, a failing disk, a foreign or newer file, loose permissions.
 * The disk fails inside of SQLite: a VFS in front of the usual one refuses writes or syncs. */
#include "keyvault/store/columns.h"
#include "keyvault/store/sqlite_schema.h"
#include "keyvault/store/store.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_code(expected, actual)                                                              \
    assert_string_equal(kl_code_name(expected), kl_code_name(actual))
#define assert_ok(actual) assert_code(KL_OK, actual)

/* --- the failing disk --- */

static int write_result, sync_result; /* SQLITE_OK or what to answer */

struct bad_file {
    sqlite3_file base;
    sqlite3_file *inner;
};

static sqlite3_vfs bad_vfs;
static sqlite3_io_methods bad_methods;

static sqlite3_file *inner(sqlite3_file *f)
{
    return ((struct bad_file *)f)->inner;
}

static int bad_close(sqlite3_file *f)
{
    int result = inner(f)->pMethods->xClose(inner(f));
    free(inner(f));
    return result;
}

static int bad_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    return inner(f)->pMethods->xRead(inner(f), p, n, at);
}

static int bad_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    return write_result != SQLITE_OK ? write_result
                                     : inner(f)->pMethods->xWrite(inner(f), p, n, at);
}

static int bad_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    return inner(f)->pMethods->xTruncate(inner(f), size);
}

static int bad_sync(sqlite3_file *f, int flags)
{
    return sync_result != SQLITE_OK ? sync_result : inner(f)->pMethods->xSync(inner(f), flags);
}

static int bad_size(sqlite3_file *f, sqlite3_int64 *size)
{
    return inner(f)->pMethods->xFileSize(inner(f), size);
}

static int bad_lock(sqlite3_file *f, int level)
{
    return inner(f)->pMethods->xLock(inner(f), level);
}

static int bad_unlock(sqlite3_file *f, int level)
{
    return inner(f)->pMethods->xUnlock(inner(f), level);
}

static int bad_reserved(sqlite3_file *f, int *out)
{
    return inner(f)->pMethods->xCheckReservedLock(inner(f), out);
}

static int bad_control(sqlite3_file *f, int op, void *arg)
{
    return inner(f)->pMethods->xFileControl(inner(f), op, arg);
}

static int bad_sector(sqlite3_file *f)
{
    return inner(f)->pMethods->xSectorSize(inner(f));
}

static int bad_device(sqlite3_file *f)
{
    return inner(f)->pMethods->xDeviceCharacteristics(inner(f));
}

static int bad_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
    sqlite3_vfs *real = vfs->pAppData;
    struct bad_file *b = (struct bad_file *)f;
    *b = (struct bad_file){.inner = calloc(1, (size_t)real->szOsFile)};
    int result = real->xOpen(real, name, b->inner, flags, out);
    if (result == SQLITE_OK)
        b->base.pMethods = &bad_methods;
    else
        free(b->inner);
    return result;
}

static void install_bad_vfs(void)
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    bad_vfs = *real;
    bad_vfs.zName = "bad";
    bad_vfs.pAppData = real;
    bad_vfs.szOsFile = sizeof(struct bad_file);
    bad_vfs.xOpen = bad_open;
    bad_methods = (sqlite3_io_methods){.iVersion = 1,
                                       .xClose = bad_close,
                                       .xRead = bad_read,
                                       .xWrite = bad_write,
                                       .xTruncate = bad_truncate,
                                       .xSync = bad_sync,
                                       .xFileSize = bad_size,
                                       .xLock = bad_lock,
                                       .xUnlock = bad_unlock,
                                       .xCheckReservedLock = bad_reserved,
                                       .xFileControl = bad_control,
                                       .xSectorSize = bad_sector,
                                       .xDeviceCharacteristics = bad_device};
    assert_int_equal(SQLITE_OK, sqlite3_vfs_register(&bad_vfs, 1));
}

/* --- the cases --- */

static char place[64];
static struct kl_err err;

static int begin(void **state)
{
    (void)state;
    write_result = sync_result = SQLITE_OK;
    (void)snprintf(place, sizeof place, "sqlite-test-%ld.db", (long)getpid());
    return 0;
}

static int end(void **state)
{
    char journal[80];
    (void)state;
    (void)snprintf(journal, sizeof journal, "%s-journal", place);
    (void)unlink(journal);
    return unlink(place);
}

static enum kl_code put(struct kl_store *s, const char *name, const char *value)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(s, true, &t, &err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_NOTE_PUT, KL_ARGS(KL_ARG_TEXT(name), KL_ARG_TEXT(value)), NULL,
                            &err);
    return code == KL_OK ? kl_store_commit(t, &err) : code;
}

static enum kl_code same_text(void *arg, const void *row, struct kl_err *e)
{
    const struct kl_text_row *r = row;
    return strcmp(arg, r->text) == 0 ? KL_EXISTS : kl_fail(e, KL_CORRUPT, "test", "%s", r->text);
}

/* KL_EXISTS = it has this value, KL_OK = there is no such note. */
static enum kl_code note_is(struct kl_store *s, const char *name, char *value)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(s, false, &t, &err);
    return code == KL_OK
               ? kl_store_each(t, KL_Q_NOTE_GET, KL_ARGS(KL_ARG_TEXT(name)), same_text, value, &err)
               : code;
}

static void fails_cleanly(int *fault, int result, enum kl_code expected)
{
    static char old[] = "old", big[20000];
    struct kl_store *s;
    assert_ok(kl_store_open(NULL, place, &s, &err));
    assert_ok(put(s, "n", old));
    memset(big, 'x', sizeof big - 1);
    *fault = result;
    for (int i = 0; i < 3; i++) {
        assert_code(expected, put(s, "n", big));
        assert_int_equal(KL_DOMAIN_SQL, err.domain);
        assert_code(KL_EXISTS, note_is(s, "n", old));
    }
    *fault = SQLITE_OK;
    assert_code(KL_EXISTS, note_is(s, "n", old));
    assert_ok(put(s, "n", big));
    kl_store_close(s);
    assert_ok(kl_store_open(NULL, place, &s, &err));
    assert_code(KL_EXISTS, note_is(s, "n", big));
    kl_store_close(s);
}

static void test_keyvault_store_sqlite__full_disk(void **state)
{
    (void)state;
    fails_cleanly(&write_result, SQLITE_FULL, KL_NO_SPACE);
}

static void test_keyvault_store_sqlite__failing_write(void **state)
{
    (void)state;
    fails_cleanly(&write_result, SQLITE_IOERR_WRITE, KL_IO);
}

static void test_keyvault_store_sqlite__failing_sync(void **state)
{
    (void)state;
    fails_cleanly(&sync_result, SQLITE_IOERR_FSYNC, KL_IO);
}

static void test_keyvault_store_sqlite__private_file(void **state)
{
    (void)state;
    struct stat st;
    struct kl_store *s;
    FILE *f = fopen(place, "w");
    assert_non_null(f);
    (void)fclose(f);
    assert_int_equal(0, chmod(place, 0644));
    assert_ok(kl_store_open(NULL, place, &s, &err));
    assert_int_equal(0, stat(place, &st));
    assert_int_equal(0600, st.st_mode & 07777);
    kl_store_close(s);
}

static void test_keyvault_store_sqlite__foreign_file(void **state)
{
    (void)state;
    struct kl_store *s;
    FILE *f = fopen(place, "w");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        (void)fputs("this is not a database\n", f);
    (void)fclose(f);
    assert_code(KL_CORRUPT, kl_store_open(NULL, place, &s, &err));
    assert_non_null(strstr(err.text, place));
}

static void test_keyvault_store_sqlite__newer_schema(void **state)
{
    (void)state;
    struct kl_store *s;
    sqlite3 *db;
    assert_ok(kl_store_open(NULL, place, &s, &err));
    kl_store_close(s);
    assert_int_equal(SQLITE_OK, sqlite3_open(place, &db));
    assert_int_equal(SQLITE_OK, sqlite3_exec(db, "PRAGMA user_version = 99", NULL, NULL, NULL));
    (void)sqlite3_close(db);
    assert_code(KL_CONFIG, kl_store_open(NULL, place, &s, &err));
}

static void run_sql(sqlite3 *db, const char *sql)
{
    assert_int_equal(SQLITE_OK, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

/* A database of before there were other kinds than keys. */
static void test_keyvault_store_sqlite__first_schema(void **state)
{
    (void)state;
    struct kl_store *s;
    struct kl_object_row object;
    sqlite3 *db;
    assert_int_equal(SQLITE_OK, sqlite3_open(place, &db));
    run_sql(db, kl_sqlite_migrations[0]);
    run_sql(db, "INSERT INTO object VALUES (7, 'v', 'n', 'N', 1, 0, 0, 0, 0, zeroblob(32))");
    run_sql(db, "PRAGMA user_version = 1");
    (void)sqlite3_close(db);
    assert_ok(kl_store_open(NULL, place, &s, &err));
    KL_AUTO(store_session) t = NULL;
    assert_ok(kl_store_begin(s, false, &t, &err));
    assert_ok(kl_store_one(t, KL_Q_OBJECT_BY_NAME,
                           KL_ARGS(KL_ARG_TEXT("v"), KL_ARG_INT(0), KL_ARG_TEXT("N")), &object,
                           &err));
    assert_int_equal(7, object.id);
    assert_int_equal(0, object.managed);
    kl_store_end(kl_take(t));
    kl_store_close(s);
}

/* What grows with the number of secrets is looked up, never searched or sorted. */
static void test_keyvault_store_sqlite__plans(void **state)
{
    static const enum kl_store_query queries[] = {
        KL_Q_OBJECT_BY_NAME,     KL_Q_OBJECTS_PAGE,      KL_Q_SECRET_GET,      KL_Q_SECRET_NEWEST,
        KL_Q_SECRET_ITEM_NEWEST, KL_Q_SECRET_ITEMS_PAGE, KL_Q_SECRETS_OF,      KL_Q_SECRETS_DELETE,
        KL_Q_SECRET_SET,         KL_Q_VAULT_KEY_BY_ID,   KL_Q_VAULT_KEY_NEWEST};
    (void)state;
    struct kl_store *s;
    sqlite3 *db;
    assert_ok(kl_store_open(NULL, place, &s, &err));
    kl_store_close(s);
    assert_int_equal(SQLITE_OK, sqlite3_open(place, &db));
    for (size_t i = 0; i < KL_COUNT(queries); i++) {
        struct kl_buf sql = KL_BUF_INIT(8192);
        sqlite3_stmt *plan;
        kl_buf_puts(&sql, "EXPLAIN QUERY PLAN ");
        kl_query_sql(&kl_store_queries[queries[i]], &sql);
        assert_int_equal(SQLITE_OK, sqlite3_prepare_v2(db, kl_buf_text(&sql), -1, &plan, NULL));
        while (sqlite3_step(plan) == SQLITE_ROW)
            assert_ptr_equal(strstr((const char *)sqlite3_column_text(plan, 3), "SEARCH"),
                             sqlite3_column_text(plan, 3));
        (void)sqlite3_finalize(plan);
        kl_buf_done(&sql);
    }
    (void)sqlite3_close(db);
}

static void test_keyvault_store_sqlite__wrong_values(void **state)
{
    (void)state;
    struct kl_store *s;
    sqlite3 *db;
    void *rows = NULL;
    size_t count;
    assert_ok(kl_store_open(NULL, place, &s, &err));
    assert_int_equal(SQLITE_OK, sqlite3_open(place, &db));
    assert_int_equal(SQLITE_OK,
                     sqlite3_exec(db,
                                  "INSERT INTO object VALUES (1, 'v', 'n', 'N', 3, 0, 0, 0, 0, "
                                  "x'00', 0, 0, 0)",
                                  NULL, NULL, NULL));
    (void)sqlite3_close(db);
    struct kl_store_session *t;
    assert_ok(kl_store_begin(s, false, &t, &err));
    assert_code(KL_CORRUPT, kl_store_all(t, KL_Q_OBJECTS_PURGING, NULL, 0, &rows, &count, &err));
    kl_store_end(t);
    kl_store_close(s);
}

/* A process that dies at any moment leaves the last commit. */
static void test_keyvault_store_sqlite__killed_writer(void **state)
{
    (void)state;
    struct kl_store *s;
    int acknowledged[2];
    assert_int_equal(0, pipe(acknowledged));
    pid_t child = fork();
    if (child == 0) {
        char value[32];
        if (kl_store_open(NULL, place, &s, NULL) != KL_OK)
            _exit(1);
        for (int i = 1;; i++) {
            (void)snprintf(value, sizeof value, "%d", i);
            if (put(s, "n", value) != KL_OK || write(acknowledged[1], &i, sizeof i) != sizeof i)
                _exit(1);
        }
    }
    (void)close(acknowledged[1]);
    int last = 0, i;
    while (last < 40)
        assert_int_equal(sizeof i, read(acknowledged[0], &last, sizeof last));
    assert_int_equal(0, kill(child, SIGKILL));
    assert_int_equal(child, waitpid(child, NULL, 0));
    while (read(acknowledged[0], &i, sizeof i) == sizeof i)
        last = i;
    (void)close(acknowledged[0]);
    char value[32], next[32];
    (void)snprintf(value, sizeof value, "%d", last);
    (void)snprintf(next, sizeof next, "%d", last + 1);
    assert_ok(kl_store_open(NULL, place, &s, &err));
    assert_true(note_is(s, "n", value) == KL_EXISTS || note_is(s, "n", next) == KL_EXISTS);
    kl_store_close(s);
}

int main(void)
{
    install_bad_vfs();
    const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(test_keyvault_store_sqlite__##name, begin, end)
        CASE(full_disk),    CASE(failing_write), CASE(failing_sync), CASE(private_file),
        CASE(foreign_file), CASE(newer_schema),  CASE(wrong_values), CASE(killed_writer),
        CASE(first_schema), CASE(plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
