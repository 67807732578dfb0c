#include "keyvault/store/store.h"

#include "keyvault/store/columns.h"

#include <assert.h>
#include <string.h>

struct kl_store {
    const struct kl_store_ops *ops;
    void *db;
    char *sql[KL_Q_COUNT];
};

struct kl_store_session {
    struct kl_store *store;
    void *session;
};

enum kl_code kl_store_open(const struct kl_store_ops *ops, const char *where, struct kl_store **ret,
                           struct kl_err *err)
{
    KL_AUTO(store) s = calloc(1, sizeof *s);
    if (s == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the store");
    s->ops = ops != NULL ? ops : &kl_store_sqlite;
    for (size_t i = 0; i < KL_Q_COUNT; i++) {
        struct kl_buf text = KL_BUF_INIT(4096);
        kl_query_sql(&kl_store_queries[i], &text);
        s->sql[i] = kl_buf_take(&text);
        if (s->sql[i] == NULL)
            return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for the store");
    }
    enum kl_code code = s->ops->open(where, (const char *const *)s->sql, KL_Q_COUNT, &s->db, err);
    if (code != KL_OK)
        return code;
    *ret = kl_take(s);
    return KL_OK;
}

void kl_store_close(struct kl_store *s)
{
    if (s == NULL)
        return;
    if (s->db != NULL)
        s->ops->close(s->db);
    for (size_t i = 0; i < KL_Q_COUNT; i++)
        free(s->sql[i]);
    free(s);
}

enum kl_code kl_store_begin(struct kl_store *s, bool write, struct kl_store_session **ret,
                            struct kl_err *err)
{
    struct kl_store_session *t = calloc(1, sizeof *t);
    if (t == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for a store session");
    t->store = s;
    enum kl_code code = s->ops->begin(s->db, write, &t->session, err);
    if (code != KL_OK) {
        free(t);
        return code;
    }
    *ret = t;
    return KL_OK;
}

enum kl_code kl_store_commit(struct kl_store_session *t, struct kl_err *err)
{
    return t->store->ops->commit(t->session, err);
}

void kl_store_end(struct kl_store_session *t)
{
    if (t == NULL)
        return;
    t->store->ops->end(t->session);
    free(t);
}

struct kl_store_value kl_store_text(const char *text)
{
    if (text == NULL)
        return (struct kl_store_value){.type = KL_VALUE_NULL};
    return (struct kl_store_value){.type = KL_VALUE_TEXT, .bytes = text, .len = strlen(text)};
}

struct each {
    const struct kl_row_type *type;
    kl_store_row_fn *fn;
    void *arg;
};

static enum kl_code each_row(void *arg, const struct kl_store_value *columns, size_t count,
                             struct kl_err *err)
{
    const struct each *e = arg;
    union {
        char bytes[KL_ROW_SIZE_MAX];
        max_align_t aligned;
    } row;
    enum kl_code code = kl_row_read(e->type, columns, count, row.bytes, err);
    return code != KL_OK ? code : e->fn(e->arg, row.bytes, err);
}

enum kl_code kl_store_each(struct kl_store_session *t, enum kl_store_query query,
                           const struct kl_store_value *args, size_t count, kl_store_row_fn *fn,
                           void *arg, struct kl_err *err)
{
    struct each e = {kl_store_queries[query].row, fn, arg};
    assert(e.type != NULL);
    return t->store->ops->run(t->session, query, args, count, each_row, &e, NULL, err);
}

struct one {
    const struct kl_row_type *type;
    void *row;
    bool found;
};

static enum kl_code take_first(void *arg, const void *row, struct kl_err *err)
{
    (void)err;
    struct one *o = arg;
    if (!o->found)
        memcpy(o->row, row, o->type->size);
    o->found = true;
    return KL_OK;
}

enum kl_code kl_store_one(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, void *ret_row,
                          struct kl_err *err)
{
    struct one o = {kl_store_queries[query].row, ret_row, false};
    assert(o.type != NULL && o.type->copyable);
    enum kl_code code = kl_store_each(t, query, args, count, take_first, &o, err);
    if (code == KL_OK && !o.found)
        return kl_fail(err, KL_NOT_FOUND, "store", "no such row");
    return code;
}

struct all {
    size_t size;
    char *rows;
    size_t count, room;
};

static enum kl_code take_each(void *arg, const void *row, struct kl_err *err)
{
    struct all *a = arg;
    if (a->count == a->room) {
        size_t room = a->room == 0 ? 16 : 2 * a->room;
        char *more = realloc(a->rows, room * a->size);
        if (more == NULL)
            return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for rows");
        a->rows = more;
        a->room = room;
    }
    memcpy(a->rows + a->count++ * a->size, row, a->size);
    return KL_OK;
}

enum kl_code kl_store_all(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, void **ret_rows,
                          size_t *ret_count, struct kl_err *err)
{
    const struct kl_row_type *type = kl_store_queries[query].row;
    assert(type != NULL && type->copyable);
    struct all a = {.size = type->size};
    enum kl_code code = kl_store_each(t, query, args, count, take_each, &a, err);
    if (code != KL_OK) {
        free(a.rows);
        return code;
    }
    *ret_rows = a.rows;
    *ret_count = a.count;
    return KL_OK;
}

static enum kl_code take_number(void *arg, const struct kl_store_value *columns, size_t count,
                                struct kl_err *err)
{
    if (count != 1 || columns[0].type != KL_VALUE_INT)
        return kl_fail(err, KL_INTERNAL, "store", "an insertion answered no number");
    *(int64_t *)arg = columns[0].number;
    return KL_OK;
}

enum kl_code kl_store_insert(struct kl_store_session *t, enum kl_store_query query, const void *row,
                             int64_t *ret_number, struct kl_err *err)
{
    const struct kl_query *q = &kl_store_queries[query];
    struct kl_store_value values[KL_ROW_COLUMNS_MAX];
    int64_t number = 0;
    assert(q->kind == KL_QUERY_INSERT);
    size_t count = kl_row_values(q->row, row, values);
    enum kl_code code =
        t->store->ops->run(t->session, query, values, count, take_number, &number, NULL, err);
    if (code == KL_OK && ret_number != NULL)
        *ret_number = number;
    return code;
}

enum kl_code kl_store_run(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, int64_t *ret_changed,
                          struct kl_err *err)
{
    return t->store->ops->run(t->session, query, args, count, NULL, NULL, ret_changed, err);
}
