#include "cli/out.h"

#include "base/io.h"

#include <string.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_CEILING = 256 << 20, CELL_CEILING = 64 << 10 };

/* ---- one value ---- */

static const json_t *look_up(const json_t *object, const char *path)
{
    while (object != NULL && *path != '\0') {
        char member[64];
        size_t n = strcspn(path, ".");

        snprintf(member, sizeof(member), "%.*s", (int)n, path);
        object = json_object_get(object, member);
        path += n + (path[n] == '.');
    }
    return object;
}

/* Bytes of a UTF-8 character that moves the cursor, breaks the line or turns the direction of what
 * is around it; 0 for all others. */
static size_t misleading(const unsigned char *c, size_t n)
{
    if (c[0] < 0x20 || c[0] == 0x7f)
        return 1;
    if (n >= 2 && c[0] == 0xc2 && c[1] < 0xa0) /* U+0080 to U+009F */
        return 2;
    if (n < 3 || c[0] != 0xe2)
        return 0;
    bool marks = c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f);  /* U+200E, U+200F */
    bool embeds = c[1] == 0x80 && c[2] >= 0xa8 && c[2] <= 0xae;   /* U+2028 to U+202E */
    bool isolates = c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9; /* U+2066 to U+2069 */
    return marks || embeds || isolates ? 3 : 0;
}

/* Printable text on one line, whatever the service sent. */
static void put_clean(struct kl_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t skip = misleading((const unsigned char *)text + i, n - i);

        kl_buf_putc(out, skip > 0 ? '?' : text[i]);
        i += skip > 0 ? skip : 1;
    }
}

static void put_text(struct kl_buf *out, const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_STRING:
        put_clean(out, json_string_value(v), json_string_length(v));
        break;
    case JSON_INTEGER:
        kl_buf_printf(out, "%lld", (long long)json_integer_value(v));
        break;
    case JSON_REAL:
        kl_buf_printf(out, "%g", json_real_value(v));
        break;
    case JSON_TRUE:
        kl_buf_puts(out, "yes");
        break;
    case JSON_FALSE:
        kl_buf_puts(out, "no");
        break;
    case JSON_NULL:
        kl_buf_putc(out, '-');
        break;
    case JSON_OBJECT:
    case JSON_ARRAY:
        kl_buf_putc(out, '?');
        break;
    }
}

static void put_time(struct kl_buf *out, const json_t *v)
{
    time_t when = (time_t)json_integer_value(v);
    struct tm utc;
    char text[40];

    if (!json_is_integer(v) || gmtime_r(&when, &utc) == NULL ||
        strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        put_text(out, v);
    else
        kl_buf_puts(out, text);
}

static void put_list(struct kl_buf *out, const json_t *v)
{
    json_t *item;
    const char *name;
    size_t i;
    size_t before = out->len;

    if (json_is_object(v)) {
        json_object_foreach((json_t *)(uintptr_t)v, name, item)
        {
            if (out->len > before)
                kl_buf_putc(out, ',');
            put_clean(out, name, strlen(name));
            kl_buf_putc(out, '=');
            put_text(out, item);
        }
    } else if (json_is_array(v)) {
        json_array_foreach(v, i, item)
        {
            if (out->len > before)
                kl_buf_putc(out, ',');
            put_text(out, item);
        }
    } else {
        put_text(out, v);
    }
    if (out->len == before)
        kl_buf_putc(out, '-');
}

static void put_segment(struct kl_buf *out, const json_t *v, bool last)
{
    const char *url = json_string_value(v);
    const char *host = url != NULL ? strstr(url, "://") : NULL;
    const char *path = host != NULL ? strchr(host + 3, '/') : NULL;

    if (path == NULL) {
        put_text(out, v);
        return;
    }
    const char *start = last ? strrchr(path, '/') : strchr(path + 1, '/');

    start = start != NULL ? start + 1 : path + 1;
    put_clean(out, start, strcspn(start, "/"));
}

void kl_out_value(const json_t *object, const struct kl_column *column, struct kl_buf *out)
{
    const json_t *v = look_up(object, column->path);

    if (v == NULL || json_is_null(v)) {
        kl_buf_putc(out, '-');
        return;
    }
    switch (column->kind) {
    case KL_COLUMN_TEXT:
        put_text(out, v);
        break;
    case KL_COLUMN_SEEN:
        if (json_integer_value(v) == 0) {
            kl_buf_putc(out, '-');
            break;
        }
        put_time(out, v);
        break;
    case KL_COLUMN_TIME:
        put_time(out, v);
        break;
    case KL_COLUMN_LIST:
        put_list(out, v);
        break;
    case KL_COLUMN_LAST:
    case KL_COLUMN_HEAD:
        put_segment(out, v, column->kind == KL_COLUMN_LAST);
        break;
    }
}

/* ---- the three formats ---- */

enum kl_code kl_out_bytes(const void *bytes, size_t n, struct kl_err *err)
{
    fflush(stdout);
    return kl_io_write_all(STDOUT_FILENO, bytes, n, err);
}

static enum kl_code finish(struct kl_buf *out, struct kl_err *err)
{
    enum kl_code code;

    if (kl_buf_failed(out))
        code = kl_fail(err, KL_TOO_BIG, "output", "the answer is too big to show");
    else
        code = kl_out_bytes(kl_buf_text(out), out->len, err);
    kl_buf_wipe(out); /* an answer may hold a plaintext */
    return code;
}

static int put_chunk(const char *bytes, size_t n, void *arg)
{
    kl_buf_put(arg, bytes, n);
    return 0;
}

static enum kl_code show_json(const json_t *value, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(OUTPUT_CEILING);

    if (json_dump_callback(value, put_chunk, &out, JSON_INDENT(2) | JSON_ENCODE_ANY) != 0)
        out.failed = true;
    kl_buf_putc(&out, '\n');
    return finish(&out, err);
}

static size_t shown_width(const char *text)
{
    size_t count = 0;

    for (; *text != '\0'; text++)
        count += ((unsigned char)*text & 0xc0) != 0x80;
    return count;
}

static size_t column_width(const json_t *array, const struct kl_column *column)
{
    struct kl_buf cell = KL_BUF_INIT(CELL_CEILING);
    size_t widest = strlen(column->title), i;
    json_t *item;

    json_array_foreach(array, i, item)
    {
        kl_buf_clear(&cell);
        kl_out_value(item, column, &cell);
        size_t n = shown_width(kl_buf_text(&cell));

        widest = n > widest ? n : widest;
    }
    kl_buf_done(&cell);
    return widest;
}

/* Lines of padded cells; the last cell of a line is not padded. `widths` has room for MAX_COLUMNS.
 */
static void put_line(struct kl_buf *out, const json_t *item, const struct kl_column *columns,
                     size_t count, const size_t *widths)
{
    struct kl_buf cell = KL_BUF_INIT(CELL_CEILING);

    for (size_t c = 0; c < count; c++) {
        kl_buf_clear(&cell);
        if (item != NULL)
            kl_out_value(item, &columns[c], &cell);
        else
            kl_buf_puts(&cell, columns[c].title);
        kl_buf_puts(out, kl_buf_text(&cell));
        if (c + 1 < count)
            kl_buf_printf(out, "%*s", (int)(widths[c] + 2 - shown_width(kl_buf_text(&cell))), "");
    }
    kl_buf_putc(out, '\n');
    kl_buf_done(&cell);
}

static enum kl_code list_table(const json_t *array, const struct kl_column *columns, size_t count,
                               struct kl_err *err)
{
    enum { MAX_COLUMNS = 16 };
    struct kl_buf out = KL_BUF_INIT(OUTPUT_CEILING);
    size_t widths[MAX_COLUMNS] = {0}, i;
    json_t *item;

    if (json_array_size(array) == 0) {
        kl_cmd_say("There is nothing to list.");
        return KL_OK;
    }
    for (size_t c = 0; c < count && c < MAX_COLUMNS; c++)
        widths[c] = column_width(array, &columns[c]);
    put_line(&out, NULL, columns, count, widths);
    json_array_foreach(array, i, item)
    {
        put_line(&out, item, columns, count, widths);
    }
    return finish(&out, err);
}

static void put_tsv(struct kl_buf *out, const json_t *item, const struct kl_column *columns,
                    size_t count)
{
    for (size_t c = 0; c < count; c++) {
        if (c > 0)
            kl_buf_putc(out, '\t');
        kl_out_value(item, &columns[c], out);
    }
    kl_buf_putc(out, '\n');
}

enum kl_code kl_out_list(const struct kl_cmd *cmd, const json_t *array,
                         const struct kl_column *columns, size_t count, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(OUTPUT_CEILING);
    enum kl_format format = kl_cmd_format(cmd);
    json_t *item;
    size_t i;

    if (format == KL_FORMAT_JSON)
        return show_json(array, err);
    if (format == KL_FORMAT_TABLE)
        return list_table(array, columns, count, err);
    json_array_foreach(array, i, item)
    {
        put_tsv(&out, item, columns, count);
    }
    return finish(&out, err);
}

enum kl_code kl_out_show(const struct kl_cmd *cmd, const json_t *object,
                         const struct kl_column *columns, size_t count, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(OUTPUT_CEILING);
    enum kl_format format = kl_cmd_format(cmd);
    size_t widest = 0;

    if (format == KL_FORMAT_JSON)
        return show_json(object, err);
    if (format == KL_FORMAT_TSV) {
        put_tsv(&out, object, columns, count);
        return finish(&out, err);
    }
    for (size_t c = 0; c < count; c++)
        widest = strlen(columns[c].title) > widest ? strlen(columns[c].title) : widest;
    for (size_t c = 0; c < count; c++) {
        kl_buf_printf(&out, "%-*s", (int)widest + 2, columns[c].title);
        kl_out_value(object, &columns[c], &out);
        kl_buf_putc(&out, '\n');
    }
    return finish(&out, err);
}
