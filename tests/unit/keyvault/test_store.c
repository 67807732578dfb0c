/* What every backend must do, run over all that there are. */
#include "keyvault/store/columns.h"
#include "keyvault/store/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define assert_code(expected, actual)                                                              \
    assert_string_equal(kl_code_name(expected), kl_code_name(actual))
#define assert_ok(actual) assert_code(KL_OK, actual)

static const struct kl_store_ops *const backends[] = {&kl_store_sqlite};

static const struct kl_store_ops *ops;
static char place[64];
static struct kl_store *store;
static struct kl_err err;

static int begin(void **state)
{
    ops = *state;
    (void)snprintf(place, sizeof place, "store-test-%ld.db", (long)getpid());
    (void)unlink(place);
    assert_ok(kl_store_open(ops, place, &store, &err));
    return 0;
}

static int end(void **state)
{
    char journal[80];
    (void)state;
    kl_store_close(store);
    (void)snprintf(journal, sizeof journal, "%s-journal", place);
    (void)unlink(journal);
    return unlink(place);
}

static struct kl_store_session *session(bool write)
{
    struct kl_store_session *t = NULL;
    assert_ok(kl_store_begin(store, write, &t, &err));
    return t;
}

static struct kl_vault_row vault(const char *id, const char *name)
{
    struct kl_vault_row v = {.state = 1, .retention_days = 7, .origins = "a:1\nb:2"};
    (void)snprintf(v.id, sizeof v.id, "%s", id);
    (void)snprintf(v.name, sizeof v.name, "%s", name);
    (void)snprintf(v.folded, sizeof v.folded, "%s", name);
    memset(v.mac, 0xa5, sizeof v.mac);
    return v;
}

static enum kl_code add_vault(struct kl_store_session *t, const char *id, const char *name)
{
    struct kl_vault_row v = vault(id, name);
    return kl_store_insert(t, KL_Q_VAULT_INSERT, &v, NULL, &err);
}

static size_t count_ids(struct kl_store_session *t)
{
    void *rows = NULL;
    size_t count = 99;
    assert_ok(kl_store_all(t, KL_Q_VAULT_IDS_LIVE, NULL, 0, &rows, &count, &err));
    free(rows);
    return count;
}

static size_t count_now(void)
{
    KL_AUTO(store_session) t = session(false);
    return count_ids(t);
}

static void test_keyvault_store__commit_and_rollback(void **state)
{
    (void)state;
    struct kl_store_session *t = session(true);
    assert_ok(add_vault(t, "1", "A"));
    assert_int_equal(1, count_ids(t));
    kl_store_end(t);
    assert_int_equal(0, count_now());
    t = session(true);
    assert_ok(add_vault(t, "1", "A"));
    assert_ok(kl_store_commit(t, &err));
    assert_int_equal(1, count_ids(t));
    kl_store_end(t);
    assert_int_equal(1, count_now());
    kl_store_close(store);
    assert_ok(kl_store_open(ops, place, &store, &err));
    assert_int_equal(1, count_now());
}

static enum kl_code look_at_vault(void *arg, const void *p, struct kl_err *e)
{
    (void)e;
    const struct kl_vault_row *v = p;
    uint8_t mac[KL_ROW_MAC];
    memset(mac, 0xa5, sizeof mac);
    assert_string_equal("A", v->name);
    assert_string_equal("a:1\nb:2", v->origins);
    assert_null(v->tags);
    assert_int_equal(7, v->retention_days);
    assert_memory_equal(mac, v->mac, sizeof mac);
    ++*(int *)arg;
    return KL_OK;
}

static void test_keyvault_store__values_come_back(void **state)
{
    (void)state;
    int seen = 0;
    KL_AUTO(store_session) t = session(true);
    assert_ok(add_vault(t, "1", "A"));
    assert_ok(
        kl_store_each(t, KL_Q_VAULT_BY_ID, KL_ARGS(KL_ARG_TEXT("1")), look_at_vault, &seen, &err));
    assert_ok(
        kl_store_each(t, KL_Q_VAULT_BY_ID, KL_ARGS(KL_ARG_TEXT("2")), look_at_vault, &seen, &err));
    assert_int_equal(1, seen);
    struct kl_object_row o = {.deleted_at = INT64_MIN, .purge_at = INT64_MAX}, back;
    int64_t id = 0;
    assert_ok(kl_store_insert(t, KL_Q_OBJECT_INSERT, &o, &id, &err));
    assert_ok(kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(id)), &back, &err));
    assert_true(back.deleted_at == INT64_MIN && back.purge_at == INT64_MAX && back.id == id);
    assert_code(KL_NOT_FOUND,
                kl_store_one(t, KL_Q_OBJECT_BY_ID, KL_ARGS(KL_ARG_INT(id + 1)), &back, &err));
}

static void test_keyvault_store__names_are_unique_among_the_living(void **state)
{
    (void)state;
    KL_AUTO(store_session) t = session(true);
    struct kl_vault_row dead = vault("3", "A");
    dead.state = 4;
    assert_ok(add_vault(t, "1", "A"));
    assert_code(KL_EXISTS, add_vault(t, "2", "A"));
    assert_int_equal(KL_DOMAIN_SQL, err.domain);
    assert_ok(kl_store_insert(t, KL_Q_VAULT_INSERT, &dead, NULL, &err));
    assert_ok(add_vault(t, "2", "B"));
    assert_code(KL_EXISTS, add_vault(t, "2", "C"));
    assert_ok(kl_store_commit(t, &err));
    assert_int_equal(2, count_ids(t));
}

static struct kl_version_row version_row(int64_t object, const char *name, uint8_t key)
{
    struct kl_version_row v = {.object = object, .state = 1, .spki = {"der", 3}, .tags = "{}"};
    (void)snprintf(v.version, sizeof v.version, "%s", name);
    (void)snprintf(v.token, sizeof v.token, "t");
    v.token_key[0] = key;
    return v;
}

static enum kl_code keep_seq(void *arg, const void *p, struct kl_err *e)
{
    (void)e;
    const struct kl_version_row *v = p;
    assert_int_equal(3, v->spki.len);
    assert_memory_equal("der", v->spki.bytes, 3);
    *(int64_t *)arg = v->seq;
    return KL_OK;
}

static void test_keyvault_store__sequence_only_grows(void **state)
{
    (void)state;
    struct kl_object_row o = {.state = 1};
    struct kl_version_row a, b;
    int64_t object, first, second, third, newest = 0, changed = 0;
    KL_AUTO(store_session) t = session(true);
    assert_ok(kl_store_insert(t, KL_Q_OBJECT_INSERT, &o, &object, &err));
    a = version_row(object, "ff", 1);
    b = version_row(object, "00", 2);
    assert_ok(kl_store_insert(t, KL_Q_VERSION_INSERT, &a, &first, &err));
    assert_ok(kl_store_insert(t, KL_Q_VERSION_INSERT, &b, &second, &err));
    assert_true(second > first);
    assert_ok(kl_store_each(t, KL_Q_VERSION_NEWEST, KL_ARGS(KL_ARG_INT(object)), keep_seq, &newest,
                            &err));
    assert_int_equal(second, newest);
    assert_code(KL_EXISTS, kl_store_insert(t, KL_Q_VERSION_INSERT, &b, NULL, &err));
    assert_ok(kl_store_run(t, KL_Q_VERSION_DELETE, KL_ARGS(KL_ARG_INT(second)), &changed, &err));
    assert_int_equal(1, changed);
    assert_ok(kl_store_run(t, KL_Q_VERSION_DELETE, KL_ARGS(KL_ARG_INT(second)), &changed, &err));
    assert_int_equal(0, changed);
    assert_ok(kl_store_insert(t, KL_Q_VERSION_INSERT, &b, &third, &err));
    assert_true(third > second);
}

static void test_keyvault_store__readers_see_one_state(void **state)
{
    (void)state;
    KL_AUTO(store_session) w = session(true);
    assert_ok(add_vault(w, "1", "A"));
    /* A second thread's reader, while the writer has written and not committed. */
    assert_int_equal(0, count_now());
    assert_ok(kl_store_commit(w, &err));
    kl_store_end(kl_take(w));
    assert_int_equal(1, count_now());
}

static enum kl_code stop_here(void *arg, const void *row, struct kl_err *e)
{
    (void)row;
    ++*(int *)arg;
    return kl_fail(e, KL_TOO_BIG, "test", "enough");
}

static void test_keyvault_store__callback_ends_the_query(void **state)
{
    (void)state;
    int calls = 0;
    KL_AUTO(store_session) t = session(true);
    assert_ok(add_vault(t, "1", "A"));
    assert_ok(add_vault(t, "2", "B"));
    assert_code(KL_TOO_BIG,
                kl_store_each(t, KL_Q_VAULT_IDS_LIVE, NULL, 0, stop_here, &calls, &err));
    assert_int_equal(1, calls);
    assert_int_equal(2, count_ids(t));
}

/* --- many threads --- */

static atomic_int failures;

static void *write_notes(void *arg)
{
    for (int i = 0; i < 25; i++) {
        KL_AUTO(store_session) t = NULL;
        struct kl_object_row o = {.state = 0};
        (void)snprintf(o.folded, sizeof o.folded, "%s-%d", (const char *)arg, i);
        if (kl_store_begin(store, true, &t, NULL) != KL_OK ||
            kl_store_insert(t, KL_Q_OBJECT_INSERT, &o, NULL, NULL) != KL_OK ||
            kl_store_commit(t, NULL) != KL_OK)
            atomic_fetch_add(&failures, 1);
    }
    return NULL;
}

static void *read_objects(void *arg)
{
    size_t last = 0;
    for (int i = 0; i < 200; i++) {
        KL_AUTO(store_session) t = NULL;
        void *rows = NULL;
        size_t first = 0, second = 0;
        if (kl_store_begin(store, false, &t, NULL) != KL_OK ||
            kl_store_all(t, KL_Q_OBJECTS_OF_VAULT, KL_ARGS(KL_ARG_TEXT("")), &rows, &first, NULL) !=
                KL_OK) {
            atomic_fetch_add(&failures, 1);
            continue;
        }
        free(rows);
        rows = NULL;
        if (kl_store_all(t, KL_Q_OBJECTS_OF_VAULT, KL_ARGS(KL_ARG_TEXT("")), &rows, &second,
                         NULL) != KL_OK ||
            first != second || first < last)
            atomic_fetch_add(&failures, 1);
        free(rows);
        last = first;
    }
    return arg;
}

static void test_keyvault_store__threads(void **state)
{
    (void)state;
    static char names[2][2] = {"a", "b"};
    pthread_t threads[8];
    atomic_store(&failures, 0);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(0, pthread_create(&threads[i], NULL, i < 2 ? write_notes : read_objects,
                                           i < 2 ? names[i] : NULL));
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(0, pthread_join(threads[i], NULL));
    assert_int_equal(0, atomic_load(&failures));
    void *rows = NULL;
    size_t count = 0;
    KL_AUTO(store_session) t = session(false);
    assert_ok(
        kl_store_all(t, KL_Q_OBJECTS_OF_VAULT, KL_ARGS(KL_ARG_TEXT("")), &rows, &count, &err));
    free(rows);
    assert_int_equal(50, count);
}

/* Each question is understood by the backend, and its columns fit its row. */
static enum kl_code ignore(void *arg, const void *row, struct kl_err *e)
{
    (void)arg;
    (void)row;
    (void)e;
    return KL_OK;
}

static size_t arguments(const struct kl_query *query)
{
    struct kl_buf sql = KL_BUF_INIT(4096);
    size_t count = 0;
    char place_of[8];
    kl_query_sql(query, &sql);
    do
        (void)snprintf(place_of, sizeof place_of, "$%zu", ++count);
    while (strstr(kl_buf_text(&sql), place_of) != NULL);
    kl_buf_done(&sql);
    return count - 1;
}

static void test_keyvault_store__every_query_runs(void **state)
{
    (void)state;
    struct kl_store_value ones[16];
    for (size_t i = 0; i < KL_COUNT(ones); i++)
        ones[i] = KL_ARG_INT(1);
    for (size_t q = 0; q < KL_Q_COUNT; q++) {
        KL_AUTO(store_session) t = session(true);
        const struct kl_query *query = &kl_store_queries[q];
        if (query->kind == KL_QUERY_INSERT)
            continue; /* each is used by a case with real rows */
        size_t n = arguments(query);
        enum kl_code code =
            query->row != NULL
                ? kl_store_each(t, (enum kl_store_query)q, ones, n, ignore, NULL, &err)
                : kl_store_run(t, (enum kl_store_query)q, ones, n, NULL, &err);
        if (code != KL_OK)
            fail_msg("query %zu: %s (%s)", q, err.text, err.detail);
    }
}

int main(void)
{
    int failed = 0;
    for (size_t i = 0; i < KL_COUNT(backends); i++) {
        union {
            const struct kl_store_ops *in;
            void *out;
        } backend = {.in = backends[i]};
        const struct CMUnitTest tests[] = {
#define CASE(name)                                                                                 \
    {"test_keyvault_store__" #name, test_keyvault_store__##name, begin, end, backend.out}
            CASE(commit_and_rollback),
            CASE(values_come_back),
            CASE(names_are_unique_among_the_living),
            CASE(sequence_only_grows),
            CASE(readers_see_one_state),
            CASE(callback_ends_the_query),
            CASE(threads),
            CASE(every_query_runs),
        };
        print_message("backend %s\n", backends[i]->name);
        failed += cmocka_run_group_tests(tests, NULL, NULL);
    }
    return failed;
}
