#include "pkcs11/worker/hand.h"

#include "pkcs11/proto.h"
#include "pkcs11/worker/ask.h"
#include "pkcs11/worker/ceremony.h"
#include "pkcs11/worker/probe.h"
#include "pkcs11/worker/qualify.h"
#include "pkcs11/worker/start.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

/* All options of all verbs, as given. */
struct words {
    const char *module, *uri, *pin_file, *so_pin_file, *init_args, *store_dir, *state_dir;
    const char *pin_fd, *so_pin_fd, *shares, *out_dir, *id, *seconds, *threads, *bits;
    const char *const *rest; /* what has no dashes */
    size_t rest_count;
};

#define OPTION(name, member)                                                                       \
    {                                                                                              \
        name, offsetof(struct words, member)                                                       \
    }
static const struct {
    const char *name;
    size_t member;
} known[] = {
    OPTION("module", module),       OPTION("uri", uri),
    OPTION("pin-file", pin_file),   OPTION("so-pin-file", so_pin_file),
    OPTION("init-args", init_args), OPTION("store-dir", store_dir),
    OPTION("state-dir", state_dir), OPTION("pin-fd", pin_fd),
    OPTION("so-pin-fd", so_pin_fd), OPTION("shares", shares),
    OPTION("out-dir", out_dir),     OPTION("id", id),
    OPTION("seconds", seconds),     OPTION("workers", threads),
    OPTION("size", bits),
};

void kl_hand_usage(FILE *to)
{
    (void)fputs(
        "usage: kluis-tokend probe|test --module FILE --uri URI\n"
        "       kluis-tokend bench --module FILE --uri URI [--seconds N] [--workers N] [--size BITS]\n"
        "       kluis-tokend domain-key show --module FILE --uri URI\n"
        "       kluis-tokend domain-key create|rotate --module FILE --uri URI\n"
        "                    [--shares M-of-N --out-dir DIR]\n"
        "       kluis-tokend domain-key retire --module FILE --uri URI --id ID\n"
        "       kluis-tokend domain-key import-shares --module FILE --uri URI SHARE...\n"
        "       kluis-tokend domain-key export-shares --shares M-of-N --out-dir DIR SHARE...\n"
        "All but the last also take --init-args TEXT, --store-dir DIR, --state-dir DIR. PINs come from\n"
        "--pin-file, --so-pin-file, --pin-fd, --so-pin-fd, or the terminal. Answers are JSON.\n"
        "kluisd starts its workers itself.\n",
        to);
}

static bool parse(int argc, char **argv, struct words *ret)
{
    struct option rows[KL_COUNT(known) + 1] = {{NULL, 0, NULL, 0}};
    for (size_t i = 0; i < KL_COUNT(known); i++)
        rows[i] = (struct option){known[i].name, required_argument, NULL, (int)i + 256};
    for (int opt; (opt = getopt_long(argc, argv, "", rows, NULL)) != -1;) {
        if (opt < 256)
            return false;
        *(const char **)(void *)((char *)ret + known[opt - 256].member) = optarg;
    }
    ret->rest = (const char *const *)(void *)(argv + optind);
    ret->rest_count = (size_t)(argc - optind);
    return true;
}

static bool copy(char *out, size_t room, const char *value)
{
    return value == NULL || snprintf(out, room, "%s", value) < (int)room;
}

static bool number(const char *text, int least, int most, int *ret)
{
    if (text == NULL)
        return true;
    char *end;
    long value = strtol(text, &end, 10);
    if (end == text || *end != '\0' || value < least || value > most)
        return false;
    *ret = (int)value;
    return true;
}

/* "3-of-5" */
static bool m_of_n(const char *text, unsigned *ret_m, unsigned *ret_n)
{
    if (text == NULL)
        return true;
    char *at, *end;
    unsigned long m = strtoul(text, &at, 10);
    if (at == text || strncmp(at, "-of-", 4) != 0)
        return false;
    unsigned long n = strtoul(at + 4, &end, 10);
    if (end == at + 4 || *end != '\0' || m > 99 || n > 99)
        return false;
    *ret_m = (unsigned)m;
    *ret_n = (unsigned)n;
    return true;
}

static bool fill(const struct words *w, struct kl_ceremony *c)
{
    struct kl_worker_config *conf = &c->conf;
    char *file = w->pin_file != NULL && w->pin_file[0] != '\0' ? realpath(w->pin_file, NULL) : NULL;
    *c = (struct kl_ceremony){.pin_file = w->pin_file,
                              .so_pin_file = w->so_pin_file,
                              .pin_fd = -1,
                              .so_pin_fd = -1,
                              .out_dir = w->out_dir,
                              .share_files = w->rest,
                              .share_file_count = w->rest_count,
                              .id = w->id};
    bool fine = copy(conf->name, sizeof conf->name, "token") &&
                copy(conf->module, sizeof conf->module, w->module) &&
                copy(conf->uri, sizeof conf->uri, w->uri) &&
                copy(conf->pin_source, sizeof conf->pin_source, file) &&
                copy(conf->init_args, sizeof conf->init_args, w->init_args) &&
                copy(conf->store_dir, sizeof conf->store_dir, w->store_dir) &&
                copy(conf->state_dir, sizeof conf->state_dir, w->state_dir) &&
                number(w->pin_fd, 0, 1023, &c->pin_fd) &&
                number(w->so_pin_fd, 0, 1023, &c->so_pin_fd) &&
                m_of_n(w->shares, &c->needed, &c->count);
    conf->software_oaep = true;
    free(file);
    return fine;
}

static bool has_token(const struct words *w)
{
    return w->module != NULL && w->module[0] == '/' && w->uri != NULL && w->uri[0] != '\0';
}

enum need { NEED_TOKEN = 1, NEED_ID = 2, NEED_SHARES = 4, NEED_FILES = 8, TAKES_SHARES = 16 };

static const struct {
    const char *word;
    unsigned needs;
    kl_ceremony_verb *run;
} verbs[] = {
    {"show", NEED_TOKEN, kl_ceremony_show},
    {"create", NEED_TOKEN | TAKES_SHARES, kl_ceremony_create},
    {"rotate", NEED_TOKEN | TAKES_SHARES, kl_ceremony_rotate},
    {"retire", NEED_TOKEN | NEED_ID, kl_ceremony_retire},
    {"import-shares", NEED_TOKEN | NEED_FILES, kl_ceremony_import_shares},
    {"export-shares", NEED_SHARES | TAKES_SHARES | NEED_FILES, kl_ceremony_export_shares},
};

static bool has_needs(unsigned needs, const struct words *w)
{
    bool shares = w->shares != NULL, dir = w->out_dir != NULL;
    return ((needs & NEED_TOKEN) == 0 || has_token(w)) &&
           ((needs & NEED_ID) == 0 || (w->id != NULL && w->id[0] != '\0')) &&
           ((needs & NEED_SHARES) == 0 || shares) && shares == dir &&
           (!shares || (needs & TAKES_SHARES) != 0) &&
           ((needs & NEED_FILES) != 0) == (w->rest_count > 0);
}

static enum kl_code usage(struct kl_err *err)
{
    kl_hand_usage(stderr);
    return kl_fail(err, KL_USAGE, NULL, "see the lines above");
}

static enum kl_code domain_key(int argc, char **argv, struct kl_err *err)
{
    static struct kl_ceremony c;
    struct words w = {.module = NULL};
    if (argc < 2 || !parse(argc - 1, argv + 1, &w) || !fill(&w, &c))
        return usage(err);
    for (size_t i = 0; i < KL_COUNT(verbs); i++) {
        if (strcmp(verbs[i].word, argv[1]) != 0)
            continue;
        if (!has_needs(verbs[i].needs, &w))
            return usage(err);
        struct kl_buf out = KL_BUF_INIT(1 << 16);
        enum kl_code code = verbs[i].run(&c, &out, err);
        if (code == KL_OK && (fputs(kl_buf_text(&out), stdout) < 0 || fflush(stdout) != 0))
            code = kl_fail_errno(err, "write", "the answer cannot be written");
        kl_buf_done(&out);
        return code;
    }
    return usage(err);
}

static enum kl_code probe(const struct kl_worker_config *conf, int pin_fd, struct kl_err *err)
{
    static struct kl_worker w;
    w.conf = *conf;
    enum kl_code code = kl_start_by_hand(&w, pin_fd, err);
    if (code != KL_OK)
        return code;
    struct kl_buf out = KL_BUF_INIT(8192);
    kl_probe_print(&w.caps, &out);
    if (puts(kl_buf_text(&out)) < 0 || fflush(stdout) != 0)
        code = kl_fail_errno(err, "write", "the answer cannot be written");
    kl_buf_done(&out);
    kl_module_close(&w.module);
    return code;
}

/* A PIN that is typed or comes by a descriptor goes where the worker's login looks for it. */
static enum kl_code find_pin(struct kl_ceremony *c, int *ret_fd, struct kl_err *err)
{
    KL_AUTO(secret) pin = NULL;
    if (c->conf.pin_source[0] != '\0')
        return KL_OK;
    enum kl_code code = kl_ask_pin(NULL, c->pin_fd, "User PIN of the token: ", &pin, err);
    if (code == KL_OK)
        code = kl_ask_keep(pin, ret_fd, err);
    (void)snprintf(c->conf.pin_source, sizeof c->conf.pin_source, "fd:0");
    return code;
}

static enum kl_code tool(int argc, char **argv, struct kl_err *err)
{
    static struct kl_ceremony c;
    struct words w = {.module = NULL};
    int seconds = 2, threads = 16, bits = 2048, pin_fd = -1;
    if (!parse(argc, argv, &w) || !fill(&w, &c) || !has_token(&w) || w.rest_count != 0 ||
        !number(w.seconds, 1, 600, &seconds) || !number(w.threads, 1, 256, &threads) ||
        !number(w.bits, 2048, 4096, &bits) || bits % 1024 != 0)
        return usage(err);
    enum kl_code code = find_pin(&c, &pin_fd, err);
    if (code != KL_OK)
        return code;
    if (strcmp(argv[0], "test") == 0)
        return kl_qualify_run(&c.conf, pin_fd, err);
    if (strcmp(argv[0], "bench") == 0)
        return kl_bench_run(&c.conf, pin_fd, (unsigned)seconds, (unsigned)threads, (uint32_t)bits,
                            err);
    return probe(&c.conf, pin_fd, err);
}

static const struct {
    enum kl_code code;
    int status;
} statuses[] = {
    {KL_OK, 0},
    {KL_USAGE, KL_EXIT_USAGE},
    {KL_EXISTS, KL_EXIT_EXISTS},
    {KL_TOKEN_UNSUPPORTED, KL_EXIT_UNSUPPORTED},
    {KL_TOKEN_PIN, KL_EXIT_PIN},
    {KL_CONFLICT, KL_EXIT_CONFLICT},
    {KL_NOT_FOUND, KL_EXIT_MISSING},
    {KL_TOKEN_READBACK, KL_EXIT_UNFIT},
};

int kl_hand_main(int argc, char **argv)
{
    struct kl_err err = {.code = KL_OK};
    bool is_domain = strcmp(argv[1], "domain-key") == 0;
    bool is_tool = strcmp(argv[1], "probe") == 0 || strcmp(argv[1], "test") == 0 ||
                   strcmp(argv[1], "bench") == 0;
    enum kl_code code = is_domain ? domain_key(argc - 1, argv + 1, &err)
                        : is_tool ? tool(argc - 1, argv + 1, &err)
                                  : usage(&err);
    if (code != KL_OK && code != KL_USAGE)
        (void)fprintf(stderr, "kluis-tokend: %s\n", err.text);
    for (size_t i = 0; i < KL_COUNT(statuses); i++)
        if (statuses[i].code == code)
            return statuses[i].status;
    return KL_EXIT_START;
}
