#include "tests/fault/fault.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(struct fault_script *) current;
static struct stat read_at;
static struct timespec born;
static char path[600];
static pthread_once_t found_path = PTHREAD_ONCE_INIT;

/* By environment, or beside a copy of the module: each token of one service can have its own. */
static void find_path(void)
{
    (void)clock_gettime(CLOCK_REALTIME_COARSE, &born); /* the clock of file systems */
    Dl_info own;
    const char *given = getenv("KLUIS_FAULT_SCRIPT");
    struct stat st;
    if (given != NULL) {
        (void)snprintf(path, sizeof path, "%s", given);
        return;
    }
    if (dladdr((const void *)(uintptr_t)fault_script_now, &own) != 0)
        (void)snprintf(path, sizeof path, "%s.script", own.dli_fname);
    if (stat(path, &st) != 0)
        path[0] = 0;
}

const char *fault_script_path(void)
{
    (void)pthread_once(&found_path, find_path);
    return path;
}

static bool parse_function(const char *word, unsigned *ret)
{
    *ret = FAULT_ANY;
    if (strcmp(word, "*") == 0)
        return true;
    for (unsigned fn = 0; fn < FAULT_FN_COUNT; fn++)
        if (strcmp(word, fault_fn_name(fn)) == 0) {
            *ret = fn;
            return true;
        }
    return false;
}

static bool parse_when(const char *word, struct fault_rule *r)
{
    char text[64];
    size_t n = strlen(word);
    if (n == 0 || n >= sizeof text)
        return false;
    memcpy(text, word, n + 1);
    r->global = text[n - 1] == 'g';
    r->past = text[n - 1] == 'p';
    if (r->global || r->past)
        text[n - 1] = 0;
    unsigned long long first = 0, last = 0;
    int end = 0;
    *r = (struct fault_rule){
        .fn = r->fn, .global = r->global, .past = r->past, .first = 1, .last = UINT64_MAX};
    if (strcmp(text, "always") == 0)
        return true;
    if (sscanf(text, "every:%llu%n", &first, &end) == 1 && text[end] == 0) {
        r->every = first;
        return first > 0;
    }
    if (sscanf(text, "%llu-%llu%n", &first, &last, &end) == 2 && text[end] == 0) {
        r->last = last;
    } else if (sscanf(text, "%llu%n", &first, &end) == 1) {
        if (text[end] == 0)
            r->last = first;
        else if (strcmp(text + end, "-") != 0)
            return false;
    }
    r->first = first;
    return first > 0 && r->first <= r->last;
}

static bool parse_number(const char *word, uint64_t *ret)
{
    char *end = NULL;
    *ret = strtoull(word, &end, 0);
    return end != word && *end == 0;
}

static bool parse_argument(const char *word, struct fault_rule *r)
{
    switch (r->action->arg) {
    case FAULT_NONE:
        return word[0] == 0;
    case FAULT_NUMBER:
        return parse_number(word, &r->number);
    case FAULT_RV:
        return fault_name_rv(word, &r->number) || parse_number(word, &r->number);
    case FAULT_MECHANISM:
        return fault_name_mechanism(word, &r->number) || parse_number(word, &r->number);
    case FAULT_TEXT:
        return snprintf(r->text, sizeof r->text, "%s", word) < (int)sizeof r->text;
    }
    return false;
}

static bool parse_line(const char *line, struct fault_script *s)
{
    char word[4][512] = {"", "", "", ""};
    int words = sscanf(line, "%511s %511s %511s %511[^\n]", word[0], word[1], word[2], word[3]);
    if (words < 1 || word[0][0] == '#')
        return true;
    if (words == 2 && strcmp(word[0], "module") == 0)
        return snprintf(s->module, sizeof s->module, "%s", word[1]) < (int)sizeof s->module;
    if (words == 2 && strcmp(word[0], "pin") == 0)
        return snprintf(s->pin, sizeof s->pin, "%s", word[1]) < (int)sizeof s->pin;
    if (words < 3 || s->count == FAULT_RULES_MAX)
        return false;
    struct fault_rule *r = &s->rules[s->count];
    if (!parse_function(word[0], &r->fn) || !parse_when(word[1], r))
        return false;
    r->action = fault_action_find(word[2]);
    char *comment = strstr(word[3], " #");
    if (comment != NULL)
        *comment = 0;
    for (size_t n = strlen(word[3]); n > 0 && word[3][n - 1] == ' ';)
        word[3][--n] = 0;
    if (r->action == NULL || !parse_argument(word[3][0] == '#' ? "" : word[3], r))
        return false;
    s->replays |= strcmp(r->action->name, "replay") == 0;
    s->no_interface |= strcmp(r->action->name, "no-interface") == 0;
    s->count++;
    return true;
}

static void parse(FILE *f, struct fault_script *s)
{
    char line[1024];
    for (int number = 1; fgets(line, sizeof line, f) != NULL; number++) {
        if (parse_line(line, s))
            continue;
        (void)fprintf(stderr, "kluis-fault: %s:%d: not understood: %s", path, number, line);
        s->broken = true;
    }
}

static bool is_later(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static void read_script(const struct stat *st)
{
    struct fault_script *s = calloc(1, sizeof *s);
    FILE *f = fopen(path, "re");
    if (s == NULL)
        abort();
    s->younger = is_later(&st->st_mtim, &born);
    if (f != NULL) {
        parse(f, s);
        (void)fclose(f);
    }
    read_at = *st;
    s->older = atomic_load(&current); /* calls that are under way may still look at it */
    atomic_store(&current, s);
}

static bool changed(const struct stat *a, const struct stat *b)
{
    return a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
           a->st_size != b->st_size || a->st_ino != b->st_ino;
}

struct fault_script *fault_script_now(void)
{
    struct stat st = {.st_size = 0};
    if (fault_script_path()[0] != 0)
        (void)stat(path, &st);
    (void)pthread_mutex_lock(&lock);
    if (atomic_load(&current) == NULL || changed(&st, &read_at))
        read_script(&st);
    (void)pthread_mutex_unlock(&lock);
    return atomic_load(&current);
}
