#include "tests/token/site.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

void site_write(const char *path, const char *text)
{
    KL_AUTO(file) f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
}

int site_run(const char *const argv[])
{
    pid_t pid;
    int status;
    posix_spawn_file_actions_t quiet;
    assert_int_equal(posix_spawn_file_actions_init(&quiet), 0);
    assert_int_equal(posix_spawn_file_actions_addopen(&quiet, 1, "/dev/null", O_WRONLY, 0), 0);
    assert_int_equal(posix_spawnp(&pid, argv[0], &quiet, NULL, (char *const *)argv, environ), 0);
    (void)posix_spawn_file_actions_destroy(&quiet);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void find_module(struct site *s)
{
    static const char *const places[] = {
        "/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
        "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"};
    for (size_t i = 0; i < KL_COUNT(places); i++) {
        if (access(places[i], R_OK) != 0)
            continue;
        (void)snprintf(s->module, sizeof s->module, "%s", places[i]);
        return;
    }
    fail_msg("libsofthsm2.so not found: install softhsm2");
}

static void make_domain(const struct site *s)
{
    const char *argv[] = {
        s->worker,           "domain-key",    "create",  "--module",   s->module, "--uri",
        "pkcs11:token=site", "--so-pin-file", s->so_pin, "--pin-file", s->pin,    NULL};
    assert_int_equal(site_run(argv), 0);
}

void site_make(struct site *s, bool with_domain)
{
    static char name[] = "site", uri[] = "pkcs11:token=site";
    char conf[96], text[256];
    const char *bin = getenv("KLUIS_BIN");
    assert_non_null(bin);
    *s = (struct site){.dir = "/tmp/kluis-token-XXXXXX"};
    (void)snprintf(s->worker, sizeof s->worker, "%s/kluis-tokend", bin);
    find_module(s);
    assert_non_null(mkdtemp(s->dir));
    (void)snprintf(s->tokens, sizeof s->tokens, "%s/tokens", s->dir);
    (void)snprintf(s->away, sizeof s->away, "%s/away", s->dir);
    (void)snprintf(s->pin, sizeof s->pin, "%s/pin", s->dir);
    (void)snprintf(s->so_pin, sizeof s->so_pin, "%s/so-pin", s->dir);
    (void)snprintf(conf, sizeof conf, "%s/softhsm2.conf", s->dir);
    (void)snprintf(text, sizeof text,
                   "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
                   s->tokens);
    assert_int_equal(mkdir(s->tokens, 0700), 0);
    site_write(conf, text);
    site_write(s->pin, SITE_PIN "\n");
    site_write(s->so_pin, "75310246\n");
    assert_int_equal(setenv("SOFTHSM2_CONF", conf, 1), 0);
    assert_int_equal(setenv("LSAN_OPTIONS", "detect_leaks=0", 0), 0); /* the module's own */
    const char *init[] = {"softhsm2-util", "--init-token", "--free",   "--label",  "site",
                          "--pin",         SITE_PIN,       "--so-pin", "75310246", NULL};
    assert_int_equal(site_run(init), 0);
    s->config = (struct kl_token_config){.name = name,
                                         .module = s->module,
                                         .uri = uri,
                                         .pin_source = s->pin,
                                         .store_dir = s->tokens,
                                         .state_dir = s->dir,
                                         .worker = s->worker,
                                         .workers = 2,
                                         .deadline_ms = 10000,
                                         .slow_deadline_ms = 60000,
                                         .max_waiting = 256,
                                         .software_oaep = true};
    if (with_domain)
        make_domain(s);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st, (void)type, (void)where;
    return remove(path);
}

void site_remove(struct site *s)
{
    (void)nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

struct kl_token *site_open(const struct site *s)
{
    struct kl_token *t = NULL;
    struct kl_err err;
    enum kl_code code = kl_token_open(&s->config, 30000, &t, &err);
    if (code != KL_OK)
        fail_msg("kl_token_open: %s", err.text);
    return t;
}

bool site_wait(struct kl_token *t, enum kl_token_state state, int64_t limit_ms)
{
    struct kl_token_status st;
    int64_t until = kl_clock_mono_ms() + limit_ms;
    for (;;) {
        kl_token_status(t, &st);
        if (st.state == state)
            return true;
        if (kl_clock_mono_ms() > until) {
            print_message("state %d: %s\n", (int)st.state, st.text);
            return false;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
