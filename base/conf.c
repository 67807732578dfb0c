#include "base/conf_parts.h"

#include "base/io.h"

#include <limits.h>
#include <string.h>

#define FILE_LIMIT (1024 * 1024)

static char *trim(char *text)
{
    text += strspn(text, " \t");
    size_t n = strlen(text);
    while (n > 0 && strchr(" \t\r", text[n - 1]) != NULL)
        text[--n] = 0;
    return text;
}

static enum kl_code parse_header(char *text, struct kl_conf_line *ret, struct kl_err *err)
{
    char *end = strchr(text, ']');
    if (end == NULL || end[1] != 0)
        return kl_conf_fail(err, ret, "a section's line must end with its \"]\"");
    *end = 0;
    ret->kind = trim(text + 1);
    char *blank = strpbrk(ret->kind, " \t");
    if (blank != NULL) {
        *blank = 0;
        ret->name = trim(blank + 1);
        if (strpbrk(ret->name, " \t[\"'") != NULL)
            return kl_conf_fail(err, ret, "a section's name is one word without quotes");
    }
    return KL_OK;
}

static enum kl_code parse_setting(char *text, struct kl_conf_line *ret, struct kl_err *err)
{
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return kl_conf_fail(err, ret, "neither \"[section]\" nor \"key = value\"");
    *equals = 0;
    ret->key = trim(text);
    ret->value = trim(equals + 1);
    if (*ret->value == 0)
        return kl_conf_fail(err, ret, "%s has no value", ret->key);
    if (strstr(ret->value, " #") != NULL)
        return kl_conf_fail(err, ret, "a comment needs a line of its own");
    return KL_OK;
}

/* Take lines off *rest until one says something; false at the end of the file or at an error
 * (*ret_code). */
static bool next_line(char **rest, struct kl_conf_line *ret, enum kl_code *ret_code,
                      struct kl_err *err)
{
    char *text;
    while ((text = strsep(rest, "\n")) != NULL) {
        ret->number++;
        ret->kind = ret->name = ret->key = ret->value = NULL;
        text = trim(text);
        if (*text == 0 || *text == '#')
            continue;
        *ret_code = *text == '[' ? parse_header(text, ret, err) : parse_setting(text, ret, err);
        return *ret_code == KL_OK;
    }
    *ret_code = KL_OK;
    return false;
}

static enum kl_code read_text(const char *path, char **ret, struct kl_err *err)
{
    size_t n = 0;
    KL_AUTO(char) text = NULL;
    enum kl_code code = kl_io_read_file(path, FILE_LIMIT, &text, &n, err);
    if (code != KL_OK) {
        if (err != NULL)
            err->code = KL_CONFIG;
        return KL_CONFIG;
    }
    if (memchr(text, 0, n) != NULL)
        return kl_fail(err, KL_CONFIG, "conf", "%s holds a zero byte", path);
    *ret = kl_take(text);
    return KL_OK;
}

/* The folder of the file, absolute, without links. */
static char *folder_of(const char *path)
{
    char folder[PATH_MAX];
    if ((size_t)snprintf(folder, sizeof folder, "%s", path) >= sizeof folder)
        return NULL;
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        return realpath(".", NULL);
    slash[slash == folder ? 1 : 0] = 0;
    return realpath(folder, NULL);
}

/* "did you mean": edits (insert, delete, change, swap of neighbours) between two short words; 99
 * for long ones. */
static unsigned distance(const char *a, const char *b)
{
    unsigned rows[3][33] = {{0}};
    size_t n = strlen(a), m = strlen(b);
    if (n > 32 || m > 32)
        return 99;
    for (unsigned j = 0; j <= m; j++)
        rows[0][j] = j;
    for (unsigned i = 1; i <= n; i++) {
        unsigned *now = rows[i % 3], *before = rows[(i + 2) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (unsigned j = 1; j <= m; j++) {
            unsigned best = before[j - 1] + (a[i - 1] != b[j - 1]);
            best = before[j] + 1 < best ? before[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped && earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

/* Remember `candidate` when it is nearer to `word` than what was found so far. */
static void consider(const char *word, const char *candidate, const char **best, unsigned *nearest)
{
    unsigned d = distance(word, candidate);
    if (d < *nearest) {
        *nearest = d;
        *best = candidate;
    }
}

static enum kl_code fail_unknown(struct kl_err *err, const struct kl_conf_line *at,
                                 const char *what, const char *word, const char *meant)
{
    if (meant == NULL)
        return kl_conf_fail(err, at, "unknown %s \"%s\"", what, word);
    return kl_conf_fail(err, at, "unknown %s \"%s\"; did you mean \"%s\"?", what, word, meant);
}

static const struct kl_conf_section *find_kind(const struct kl_conf *c, const char *kind,
                                               const char **ret_meant)
{
    unsigned nearest = 3;
    for (size_t i = 0; i < c->kind_count; i++) {
        if (strcmp(c->kinds[i].kind, kind) == 0)
            return &c->kinds[i];
        consider(kind, c->kinds[i].kind, ret_meant, &nearest);
    }
    return NULL;
}

static const struct kl_conf_row *find_row(const struct kl_conf_section *kind, const char *key,
                                          const char **ret_meant)
{
    unsigned nearest = 3;
    for (size_t i = 0; i < kind->row_count; i++) {
        if (strcmp(kind->rows[i].key, key) == 0)
            return &kind->rows[i];
        consider(key, kind->rows[i].key, ret_meant, &nearest);
    }
    return NULL;
}

static const char *name_of(const struct kl_conf_found *f)
{
    return f->kind->named ? *(char *const *)(const void *)f->values : NULL;
}

static struct kl_conf_found *find_section(const struct kl_conf *c,
                                          const struct kl_conf_section *kind, const char *name)
{
    for (size_t i = 0; i < c->count; i++) {
        struct kl_conf_found *f = &c->found[i];
        if (f->kind == kind && (!kind->named || (name != NULL && strcmp(name_of(f), name) == 0)))
            return f;
    }
    return NULL;
}

static struct kl_conf_found *add_section(struct kl_conf *c, const struct kl_conf_section *kind,
                                         const struct kl_conf_line *at, struct kl_err *err)
{
    struct kl_conf_found *bigger = realloc(c->found, (c->count + 1) * sizeof *bigger);
    if (bigger != NULL)
        c->found = bigger;
    struct kl_conf_found f = {.kind = kind,
                              .line = at->kind != NULL ? at->number : 0,
                              .values = calloc(1, kind->size),
                              .key_lines = calloc(kind->row_count + 1, sizeof(unsigned))};
    char *name = kind->named ? strdup(at->name) : NULL;
    if (bigger == NULL || f.values == NULL || f.key_lines == NULL ||
        (kind->named && name == NULL)) {
        free(f.values);
        free(f.key_lines);
        free(name);
        (void)kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for %s", at->file);
        return NULL;
    }
    if (kind->named)
        memcpy(f.values, &name, sizeof name);
    c->found[c->count] = f;
    return &c->found[c->count++];
}

static enum kl_code begin_section(struct kl_conf *c, const struct kl_conf_line *at,
                                  struct kl_conf_found **ret, struct kl_err *err)
{
    const char *meant = NULL;
    const struct kl_conf_section *kind = find_kind(c, at->kind, &meant);
    if (kind == NULL)
        return fail_unknown(err, at, "section", at->kind, meant);
    if (kind->named && (at->name == NULL || *at->name == 0))
        return kl_conf_fail(err, at, "[%s] needs a name: [%s NAME]", kind->kind, kind->kind);
    if (!kind->named && at->name != NULL)
        return kl_conf_fail(err, at, "[%s] takes no name", kind->kind);
    const struct kl_conf_found *before = find_section(c, kind, at->name);
    if (before != NULL)
        return kl_conf_fail(err, at, "[%s%s%s] is in line %u already", kind->kind,
                            kind->named ? " " : "", kind->named ? at->name : "", before->line);
    *ret = add_section(c, kind, at, err);
    return *ret != NULL ? KL_OK : KL_NO_MEMORY;
}

static enum kl_code set_key(const struct kl_conf *c, struct kl_conf_found *f,
                            const struct kl_conf_line *at, struct kl_err *err)
{
    if (f == NULL)
        return kl_conf_fail(err, at, "%s stands before the first [section]", at->key);
    const char *meant = NULL;
    const struct kl_conf_row *row = find_row(f->kind, at->key, &meant);
    if (row == NULL)
        return fail_unknown(err, at, "key", at->key, meant);
    unsigned *seen = &f->key_lines[row - f->kind->rows];
    if (*seen != 0 && row->type != KL_CONF_LIST)
        return kl_conf_fail(err, at, "%s is set in line %u already", row->key, *seen);
    *seen = at->number;
    return kl_conf_set(c, f, row, at->value, at, err);
}

/* What the file leaves out: presets, and complaints about required keys. */
static enum kl_code complete(const struct kl_conf *c, struct kl_conf_found *f, struct kl_err *err)
{
    const struct kl_conf_line at = {.file = c->path, .number = f->line};
    for (size_t i = 0; i < f->kind->row_count; i++) {
        const struct kl_conf_row *row = &f->kind->rows[i];
        enum kl_code code = KL_OK;
        if (f->key_lines[i] != 0)
            continue;
        if (row->required && f->line == 0)
            return kl_fail(err, KL_CONFIG, "conf",
                           "%s: the section [%s] with the key %s is missing", c->path,
                           f->kind->kind, row->key);
        if (row->required)
            return kl_conf_fail(err, &at, "[%s%s%s] lacks the key %s", f->kind->kind,
                                f->kind->named ? " " : "", f->kind->named ? name_of(f) : "",
                                row->key);
        if (row->preset != NULL)
            code = kl_conf_set(c, f, row, row->preset, &at, err);
        if (code != KL_OK)
            return code;
    }
    return KL_OK;
}

static enum kl_code parse(struct kl_conf *c, char *text, struct kl_err *err)
{
    struct kl_conf_line at = {.file = c->path};
    struct kl_conf_found *f = NULL;
    enum kl_code code = KL_OK;
    while (code == KL_OK && next_line(&text, &at, &code, err))
        code = at.kind != NULL ? begin_section(c, &at, &f, err) : set_key(c, f, &at, err);
    const struct kl_conf_line nowhere = {.file = c->path};
    for (size_t i = 0; code == KL_OK && i < c->kind_count; i++) {
        const struct kl_conf_section *kind = &c->kinds[i];
        if (!kind->named && find_section(c, kind, NULL) == NULL &&
            add_section(c, kind, &nowhere, err) == NULL)
            code = KL_NO_MEMORY;
    }
    for (size_t i = 0; code == KL_OK && i < c->count; i++)
        code = complete(c, &c->found[i], err);
    return code;
}

enum kl_code kl_conf_load(const char *path, const struct kl_conf_section *kinds, size_t kind_count,
                          struct kl_conf **ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    enum kl_code code = read_text(path, &text, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(conf) c = calloc(1, sizeof *c);
    if (c == NULL)
        return kl_fail(err, KL_NO_MEMORY, "calloc", "no memory for %s", path);
    c->kinds = kinds;
    c->kind_count = kind_count;
    c->path = strdup(path);
    c->folder = folder_of(path);
    if (c->path == NULL || c->folder == NULL)
        return kl_fail_errno(err, "realpath", "the folder of %s cannot be found", path);
    code = parse(c, text, err);
    if (code == KL_OK)
        *ret = kl_take(c);
    return code;
}

static void free_value(const struct kl_conf_row *row, void *place)
{
    if (row->type == KL_CONF_TEXT || row->type == KL_CONF_PATH) {
        free(*(char **)place);
    } else if (row->type == KL_CONF_LIST) {
        struct kl_conf_list *list = place;
        for (size_t i = 0; i < list->count; i++)
            free(list->values[i]);
        free(list->values);
    }
}

void kl_conf_free(struct kl_conf *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct kl_conf_found *f = &c->found[i];
        for (size_t k = 0; k < f->kind->row_count; k++)
            free_value(&f->kind->rows[k], f->values + f->kind->rows[k].offset);
        if (f->kind->named)
            free(*(char **)(void *)f->values);
        free(f->values);
        free(f->key_lines);
    }
    free(c->found);
    free(c->path);
    free(c->folder);
    free(c);
}

const void *kl_conf_section(const struct kl_conf *c, const char *kind, size_t index)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->found[i].kind->kind, kind) == 0 && index-- == 0)
            return c->found[i].values;
    return NULL;
}

enum kl_code kl_conf_lookup(const char *path, const char *kind, const char *key, bool path_value,
                            char **ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    enum kl_code code = read_text(path, &text, err);
    struct kl_conf_line at = {.file = path};
    bool inside = false;
    char *rest = text;
    while (code == KL_OK && next_line(&rest, &at, &code, err)) {
        if (at.kind != NULL)
            inside = strcmp(at.kind, kind) == 0;
        else if (inside && strcmp(at.key, key) == 0)
            break;
    }
    if (code != KL_OK)
        return code;
    if (at.key == NULL || !inside || strcmp(at.key, key) != 0)
        return kl_fail(err, KL_NOT_FOUND, "conf", "%s has no %s in [%s]", path, key, kind);
    KL_AUTO(char) folder = folder_of(path);
    char *value = path_value && folder != NULL ? kl_conf_join(folder, at.value) : strdup(at.value);
    if (value == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for %s", path);
    *ret = value;
    return KL_OK;
}
