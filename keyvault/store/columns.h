/* Which column is which member: one table for each row type of rows.h. Private to the store. */
#ifndef KL_KEYVAULT_STORE_COLUMNS_H
#define KL_KEYVAULT_STORE_COLUMNS_H

#include "base/buf.h"
#include "keyvault/store/backend.h"
#include "keyvault/store/rows.h"

enum kl_column_type {
    KL_COLUMN_INT,       /* int64_t */
    KL_COLUMN_TEXT,      /* char[size] */
    KL_COLUMN_BYTES,     /* uint8_t[size], exactly that many */
    KL_COLUMN_TEXT_PTR,  /* const char *, NULL = null */
    KL_COLUMN_BYTES_PTR, /* struct kl_store_bytes */
};

struct kl_column {
    const char *name;
    enum kl_column_type type;
    size_t offset, size;
};

#define KL_ROW_COLUMNS_MAX 32
#define KL_ROW_SIZE_MAX    2048

struct kl_row_type {
    const char *table;
    size_t size;
    const struct kl_column *columns;
    size_t count;
    const char *given; /* the column whose value the store gives, or NULL */
    bool copyable;     /* holds no pointers */
};

enum kl_query_kind { KL_QUERY_SELECT, KL_QUERY_INSERT, KL_QUERY_RAW };

struct kl_query {
    const struct kl_row_type *row; /* NULL: no rows */
    enum kl_query_kind kind;
    const char *tail;
};

extern const struct kl_query kl_store_queries[KL_Q_COUNT];

/** Append the query's whole SQL text. */
void kl_query_sql(const struct kl_query *q, struct kl_buf *out);
/** Columns of an answer into a zeroed row. KL_CORRUPT when a value does not fit its member. */
enum kl_code kl_row_read(const struct kl_row_type *type, const struct kl_store_value *columns,
                         size_t count, void *row, struct kl_err *err) KL_MUST_USE;
/** The row's values for an INSERT, without the given column; returns how many. */
size_t kl_row_values(const struct kl_row_type *type, const void *row,
                     struct kl_store_value values[static KL_ROW_COLUMNS_MAX]);

#endif
