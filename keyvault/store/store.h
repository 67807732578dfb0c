/* The service's memory on disk: typed rows over a table of backend functions (backend.h). Knows
 * what a row looks like (rows.h), never what it means.
 *
 * Thread safe; a session belongs to one thread, and a thread has at most one session at a time.
 * Write sessions exclude each other: never call a token, or anything else slow, while holding one.
 */
#ifndef KL_KEYVAULT_STORE_STORE_H
#define KL_KEYVAULT_STORE_STORE_H

#include "keyvault/store/backend.h"
#include "keyvault/store/rows.h"

struct kl_store;
struct kl_store_session;

/** Open `where` (for SQLite a file path; made 0600 when absent) with the backend, NULL = SQLite.
 * Codes as in backend.h. */
enum kl_code kl_store_open(const struct kl_store_ops *ops, const char *where, struct kl_store **ret,
                           struct kl_err *err) KL_MUST_USE;
void kl_store_close(struct kl_store *s);

/** Begin a session; blocks until it may write, or until a reader is free. A reader sees the state
 * of the last commit. Codes as in backend.h. End it with kl_store_end. */
enum kl_code kl_store_begin(struct kl_store *s, bool write, struct kl_store_session **ret,
                            struct kl_err *err) KL_MUST_USE;
/** Make the session's writes durable. When it fails nothing is known but what is read back in a new
 * session. */
enum kl_code kl_store_commit(struct kl_store_session *t, struct kl_err *err) KL_MUST_USE;
/** End a session, rolling back what was not committed; NULL is fine. */
void kl_store_end(struct kl_store_session *t);

/* Arguments of a query. */
#define KL_ARG_INT(v)                                                                              \
    (struct kl_store_value)                                                                        \
    {                                                                                              \
        .type = KL_VALUE_INT, .number = (v)                                                        \
    }
#define KL_ARG_BYTES(p, n)                                                                         \
    (struct kl_store_value)                                                                        \
    {                                                                                              \
        .type = KL_VALUE_BYTES, .bytes = (p), .len = (n)                                           \
    }
#define KL_ARG_TEXT(t) kl_store_text(t)
/** Argument list and its length, for the calls below: KL_ARGS(KL_ARG_TEXT(name), KL_ARG_INT(1)). */
#define KL_ARGS(...)                                                                               \
    (const struct kl_store_value[]){__VA_ARGS__},                                                  \
        sizeof((const struct kl_store_value[]){__VA_ARGS__}) / sizeof(struct kl_store_value)

/** Text, or null for NULL. */
struct kl_store_value kl_store_text(const char *text);

/** `row` points to the struct that rows.h names for the query. Must not use the session. Not KL_OK
 * ends the query. */
typedef enum kl_code kl_store_row_fn(void *arg, const void *row, struct kl_err *err);

/** Give each answer row to fn. No row is KL_OK too. */
enum kl_code kl_store_each(struct kl_store_session *t, enum kl_store_query query,
                           const struct kl_store_value *args, size_t count, kl_store_row_fn *fn,
                           void *arg, struct kl_err *err) KL_MUST_USE;
/** The first answer row, copied into *ret_row (of the query's row type; only for types without
 * pointers). KL_NOT_FOUND. */
enum kl_code kl_store_one(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, void *ret_row,
                          struct kl_err *err) KL_MUST_USE;
/** All answer rows, as a malloc'd array of the query's row type (only types without pointers); NULL
 * when there are none. */
enum kl_code kl_store_all(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, void **ret_rows,
                          size_t *ret_count, struct kl_err *err) KL_MUST_USE;
/** Insert a row (INSERT queries); *ret_number (may be NULL) is the number that the store gave.
 * KL_EXISTS. */
enum kl_code kl_store_insert(struct kl_store_session *t, enum kl_store_query query, const void *row,
                             int64_t *ret_number, struct kl_err *err) KL_MUST_USE;
/** Run a changing RAW query; *ret_changed (may be NULL) rows. */
enum kl_code kl_store_run(struct kl_store_session *t, enum kl_store_query query,
                          const struct kl_store_value *args, size_t count, int64_t *ret_changed,
                          struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(store, struct kl_store, kl_store_close);
KL_AUTO_DEFINE(store_session, struct kl_store_session, kl_store_end);

#endif
