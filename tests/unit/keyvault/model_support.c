#include "tests/unit/keyvault/model_support.h"

#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- the faulty store --- */

static struct {
    enum store_fault kind;
    unsigned at, commits;
    bool hit, dead;
} plan;

struct faulty_session {
    void *db, *inner;
    bool write;
};

void store_fault(enum store_fault kind, unsigned n)
{
    plan.kind = kind;
    plan.at = plan.commits + n;
    plan.hit = plan.dead = false;
}

bool store_fault_hit(void)
{
    return plan.hit;
}

unsigned store_commits(void)
{
    return plan.commits;
}

static enum kl_code dead(struct kl_err *err)
{
    return kl_fail(err, KL_IO, "store", "the store is dead");
}

static enum kl_code faulty_open(const char *where, const char *const *sql, size_t sql_count,
                                void **ret, struct kl_err *err)
{
    return kl_store_sqlite.open(where, sql, sql_count, ret, err);
}

static enum kl_code faulty_begin(void *db, bool write, void **ret_session, struct kl_err *err)
{
    if (plan.dead)
        return dead(err);
    struct faulty_session *s = calloc(1, sizeof *s);
    assert_non_null(s);
    s->write = write;
    s->db = db;
    enum kl_code code = kl_store_sqlite.begin(db, write, &s->inner, err);
    if (code != KL_OK)
        free(s);
    else
        *ret_session = s;
    return code;
}

static enum kl_code faulty_run(void *session, size_t query, const struct kl_store_value *args,
                               size_t arg_count, kl_store_columns_fn *row, void *arg,
                               int64_t *ret_changed, struct kl_err *err)
{
    struct faulty_session *s = session;
    if (plan.dead)
        return dead(err);
    return kl_store_sqlite.run(s->inner, query, args, arg_count, row, arg, ret_changed, err);
}

static enum kl_code faulty_commit(void *session, struct kl_err *err)
{
    struct faulty_session *s = session;
    if (!s->write)
        return kl_store_sqlite.commit(s->inner, err);
    plan.commits++;
    if (plan.dead)
        return dead(err);
    if (plan.kind == STORE_WELL || plan.commits != plan.at)
        return kl_store_sqlite.commit(s->inner, err);
    plan.hit = true;
    plan.dead = plan.kind == STORE_DIE_BEFORE || plan.kind == STORE_DIE_AFTER;
    if (plan.kind == STORE_REFUSE) { /* rolled back; the session may read on */
        kl_store_sqlite.end(s->inner);
        assert_int_equal(KL_OK, kl_store_sqlite.begin(s->db, true, &s->inner, err));
        return kl_fail(err, KL_NO_SPACE, "store", "no space left");
    }
    if (plan.kind == STORE_DIE_AFTER || plan.kind == STORE_LIE)
        assert_int_equal(KL_OK, kl_store_sqlite.commit(s->inner, err));
    return dead(err);
}

static void faulty_end(void *session)
{
    struct faulty_session *s = session;
    kl_store_sqlite.end(s->inner);
    free(s);
}

static void faulty_close(void *db)
{
    kl_store_sqlite.close(db);
}

const struct kl_store_ops faulty_store = {
    .name = "faulty",
    .open = faulty_open,
    .close = faulty_close,
    .begin = faulty_begin,
    .run = faulty_run,
    .commit = faulty_commit,
    .end = faulty_end,
};

/* --- the site --- */

static void open_model(struct site *s)
{
    struct kl_model_config config = {
        .database = s->database, .tokens = &s->token, .token_count = 1, .store_ops = &faulty_store};
    store_fault(STORE_WELL, 0);
    assert_ok(kl_model_open(&config, &s->m, &s->err));
    assert_ok(kl_model_access_check(s->m, KL_SEAL_BEGIN, &s->err));
}

static struct kl_vault *make_vault(struct site *s, const char *name, int days, bool protection)
{
    struct kl_vault *v;
    struct kl_vault_spec spec = {.name = name,
                                 .subscription = "sub-1",
                                 .geography = "geo-1",
                                 .retention_days = days,
                                 .purge_protection = protection,
                                 .origin_count = 1};
    (void)snprintf(spec.origins[0].host, sizeof spec.origins[0].host, "%s.vault.localhost", name);
    spec.origins[0].port = 8443;
    assert_ok(kl_vault_create(s->m, &spec, &v, &s->err));
    return v;
}

static void make_site(struct site *s, bool makes_macs)
{
    /* In memory where there is such a place: thousands of commits are synced. */
    *s = (struct site){.folder = "/dev/shm/kluis-model-XXXXXX"};
    if (mkdtemp(s->folder) == NULL) {
        (void)snprintf(s->folder, sizeof s->folder, "model-XXXXXX");
        assert_non_null(mkdtemp(s->folder));
    }
    (void)snprintf(s->database, sizeof s->database, "%s/kluis.db", s->folder);
    s->token = fake_token_new("t1", "domain-1");
    assert_non_null(s->token);
    if (!makes_macs)
        fake_token_fail(s->token, KL_CALL_MAC, KL_TOKEN_UNSUPPORTED, 1000);
    open_model(s);
    s->open = make_vault(s, "open", 7, false);
    s->safe = make_vault(s, "safe", 10, true);
}

void site_begin(struct site *s)
{
    make_site(s, true);
}

void site_begin_without_mac(struct site *s)
{
    make_site(s, false);
}

static void drop_vaults(struct site *s)
{
    kl_vault_unref(s->open);
    kl_vault_unref(s->safe);
    s->open = s->safe = NULL;
}

void site_reload(struct site *s)
{
    drop_vaults(s);
    if (kl_vault_by_name(s->m, "open", KL_STATE_ACTIVE, &s->open, NULL) != KL_OK)
        s->open = NULL;
    if (kl_vault_by_name(s->m, "safe", KL_STATE_ACTIVE, &s->safe, NULL) != KL_OK)
        s->safe = NULL;
}

void site_restart(struct site *s)
{
    drop_vaults(s);
    kl_model_close(s->m);
    open_model(s);
    site_reload(s);
}

void site_end(struct site *s)
{
    char path[512];
    drop_vaults(s);
    kl_model_close(s->m);
    kl_token_close(s->token);
    DIR *d = opendir(s->folder);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        (void)snprintf(path, sizeof path, "%s/%s", s->folder, e->d_name);
        (void)unlink(path);
    }
    (void)closedir(d);
    assert_int_equal(0, rmdir(s->folder));
}

int site_setup(void **state)
{
    site_begin(*state);
    return 0;
}

int site_teardown(void **state)
{
    site_end(*state);
    return 0;
}

static enum kl_code create(struct site *s, struct kl_vault *v, const char *name,
                           struct kl_key_version **ret)
{
    struct kl_key_create how = {.spec = {.type = KL_KEY_EC, .curve = KL_CURVE_P256},
                                .attrs = {.enabled = true}};
    return kl_key_create(s->m, v, name, &how, ret, &s->err);
}

struct kl_key_version *site_key(struct site *s, struct kl_vault *v, const char *name)
{
    struct kl_key_version *k = NULL;
    assert_ok(create(s, v, name, &k));
    return k;
}

enum kl_code site_try_key(struct site *s, struct kl_vault *v, const char *name)
{
    KL_AUTO(key_version) k = NULL;
    return create(s, v, name, &k);
}

enum kl_code site_find(struct site *s, struct kl_vault *v, const char *name)
{
    KL_AUTO(key_version) k = NULL;
    return kl_key_find(s->m, v, name, "", &k, &s->err);
}

enum kl_code site_delete(struct site *s, struct kl_vault *v, const char *name)
{
    struct kl_deleted_key gone = {.latest = NULL};
    enum kl_code code = kl_key_delete(s->m, v, name, &gone, &s->err);
    kl_key_version_unref(gone.latest);
    return code;
}

enum kl_code site_recover(struct site *s, struct kl_vault *v, const char *name)
{
    KL_AUTO(key_version) k = NULL;
    return kl_key_recover(s->m, v, name, &k, &s->err);
}

enum kl_code site_purge(struct site *s, struct kl_vault *v, const char *name)
{
    return kl_key_purge(s->m, v, name, &s->err);
}

struct kl_reconcile_report site_reconcile(struct site *s)
{
    struct kl_reconcile_report r;
    assert_ok(kl_model_reconcile(s->m, &r, &s->err));
    return r;
}

void site_sql(struct site *s, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    assert_int_equal(SQLITE_OK, sqlite3_open(s->database, &db));
    (void)sqlite3_exec(db, sql, NULL, NULL, &message);
    if (message != NULL)
        fail_msg("%s: %s", sql, message);
    (void)sqlite3_close(db);
}

int64_t site_sql_number(struct site *s, const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    assert_int_equal(SQLITE_OK, sqlite3_open(s->database, &db));
    assert_int_equal(SQLITE_OK, sqlite3_prepare_v2(db, sql, -1, &q, NULL));
    assert_int_equal(SQLITE_ROW, sqlite3_step(q));
    int64_t n = sqlite3_column_int64(q, 0);
    (void)sqlite3_finalize(q);
    (void)sqlite3_close(db);
    return n;
}
