/* Proved copies of a software token's folder: they come, they hold what they say, they go when a
 * key of theirs was destroyed, and a token can be brought back from one. */
#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"
#include "tests/token/keys.h"
#include "tests/token/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define PATIENCE_MS 60000

static struct site site;
static struct kl_token *token;

static int set_up(void **state)
{
    (void)state;
    site_make(&site, true);
    site.config.store_copies = 3;
    token = site_open(&site);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    if (token != NULL)
        kl_token_close(token);
    site_remove(&site);
    return 0;
}

static struct test_key make_key(struct kl_key_spec spec)
{
    struct test_key k;
    struct kl_err err;
    if (keys_generate(token, &spec, &k, &err) != KL_OK)
        fail_msg("generate: %s", err.text);
    return k;
}

static struct test_key make_rsa(void)
{
    return make_key(keys_rsa(2048, KL_PROFILE_FIXED, true, false));
}

static bool mentions(const char *copy, const struct test_key *k)
{
    char path[512], id[2 * KL_KEY_ID_LEN + 1];
    KL_AUTO(char) text = NULL;
    size_t n;
    kl_hex(k->ref.id, KL_KEY_ID_LEN, id);
    (void)snprintf(path, sizeof path, "%s/keys", copy);
    return kl_io_read_file(path, 1 << 20, &text, &n, NULL) == KL_OK && strstr(text, id) != NULL;
}

/* How many copies there are, how many name the key, and which is the newest that does. */
static int look(const struct test_key *k, int *ret_with, char newest[static 400])
{
    char folder[128];
    struct dirent **list = NULL;
    (void)snprintf(folder, sizeof folder, "%s/token-copies/site", site.dir);
    int found = scandir(folder, &list, NULL, alphasort), copies = 0;
    *ret_with = 0;
    newest[0] = 0;
    for (int i = 0; i < found; i++) {
        char path[400];
        (void)snprintf(path, sizeof path, "%s/%s", folder, list[i]->d_name);
        if (list[i]->d_name[0] == '2') {
            copies++;
            if (mentions(path, k)) {
                (*ret_with)++;
                memcpy(newest, path, sizeof path);
            }
        }
        free(list[i]);
    }
    free(list);
    return copies;
}

/* Wait until the newest copies hold the key, or none does; the newest's path. */
static void wait_for_copy(const struct test_key *k, bool wanted, char newest[static 400])
{
    int64_t until = kl_clock_mono_ms() + PATIENCE_MS;
    int with;
    for (;;) {
        int copies = look(k, &with, newest);
        if (copies > 0 && (with > 0) == wanted)
            return;
        if (kl_clock_mono_ms() > until)
            fail_msg("%d copies, %d with the key", copies, with);
        (void)nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

static void put_in_place(const char *copy)
{
    char from[512];
    (void)snprintf(from, sizeof from, "%s/store", copy);
    const char *argv[] = {"cp", "-a", from, site.tokens, NULL};
    assert_int_equal(site_run(argv), 0);
}

static void test_token_copies__a_lost_folder_is_brought_back_from_one(void **state)
{
    (void)state;
    struct kl_err err;
    char copy[400];
    struct test_key rsa = make_rsa(), ec = make_key(keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED));
    wait_for_copy(&ec, true, copy);
    assert_true(mentions(copy, &rsa));
    struct kl_token_status st;
    kl_token_status(token, &st);
    assert_int_not_equal(st.health.copy_unix, 0);
    kl_token_close(token);
    token = NULL;
    assert_int_equal(rename(site.tokens, site.away), 0);
    put_in_place(copy);
    token = site_open(&site);
    bool good = false;
    assert_int_equal(keys_round_trip(token, &rsa, KL_ALG_OAEP_SHA256, &err), KL_OK);
    assert_int_equal(keys_sign(token, &ec, KL_ALG_ES256, &good, &err), KL_OK);
    assert_true(good);
}

static void test_token_copies__what_was_destroyed_is_in_no_copy(void **state)
{
    (void)state;
    struct kl_err err;
    char copy[400];
    struct test_key a = make_rsa();
    wait_for_copy(&a, true, copy);
    struct test_key b = make_rsa();
    wait_for_copy(&b, true, copy);
    assert_int_equal(keys_simple(token, KL_CALL_DESTROY, &a, &err), KL_OK);
    wait_for_copy(&a, false, copy);
    wait_for_copy(&b, true, copy);
}

/* A token that has lost a key by itself does not push out the copies that still have it. */
static void test_token_copies__what_vanished_stays_in_the_copies(void **state)
{
    (void)state;
    struct kl_err err;
    char copy[400], id[2 * KL_KEY_ID_LEN + 1];
    int with;
    struct test_key a = make_rsa();
    wait_for_copy(&a, true, copy);
    int before = look(&a, &with, copy);
    kl_hex(a.ref.id, KL_KEY_ID_LEN, id);
    const char *argv[] = {
        "pkcs11-tool", "--module",        site.module, "--token-label", "site", "--login", "--pin",
        SITE_PIN,      "--delete-object", "--type",    "privkey",       "--id", id,        NULL};
    assert_int_equal(site_run(argv), 0); /* behind the service's back */
    struct test_key b = make_rsa();      /* a change, and a proof that copies would be made */
    assert_int_equal(keys_round_trip(token, &b, KL_ALG_OAEP_SHA256, &err), KL_OK);
    char other[400];
    int64_t until = kl_clock_mono_ms() + 12000;
    while (kl_clock_mono_ms() < until) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        assert_int_equal(look(&b, &with, other), before);
    }
    assert_int_equal(with, 0);
    (void)look(&a, &with, other);
    assert_int_equal(with, before);
    const char *remove_it[] = {"rm", "-r", copy, NULL}; /* an operator has looked */
    assert_int_equal(site_run(remove_it), 0);
    wait_for_copy(&b, true, copy);
}

/* A copy counts once each key did its work in it: this token lists a key whose file is no good. */
static void test_token_copies__a_copy_that_does_not_work_is_not_kept(void **state)
{
    (void)state;
    char copy[400], damage[256];
    int with;
    struct test_key a = make_rsa();
    wait_for_copy(&a, true, copy);
    int before = look(&a, &with, copy);
    /* an object that is there, and empty: the running worker still knows the key */
    (void)snprintf(
        damage, sizeof damage,
        "for f in %s/*/*.object; do case $f in */token.object) ;; *) : >$f ;; esac; done",
        site.tokens);
    assert_int_equal(system(damage), 0);
    (void)snprintf(damage, sizeof damage, "mkdir %s/touched", site.tokens);
    assert_int_equal(system(damage), 0);
    int64_t until = kl_clock_mono_ms() + 8000;
    while (kl_clock_mono_ms() < until)
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    assert_int_equal(look(&a, &with, copy), before);
    assert_int_equal(with, before);
}

static void test_token_copies__a_module_that_cannot_be_led_there_gets_none(void **state)
{
    (void)state;
    char copy[400], link[128];
    int with;
    kl_token_close(token);
    (void)snprintf(link, sizeof link, "%s/elsewhere", site.dir);
    assert_int_equal(rename(site.tokens, site.away), 0);
    site.config.store_dir = site.away; /* the module's own configuration names another folder */
    token = site_open(&site);
    struct kl_token_status st;
    kl_token_status(token, &st);
    assert_int_equal(look(&(struct test_key){.spki_len = 0}, &with, copy), 0);
    assert_int_equal(st.health.copy_unix, 0);
}

#define ROW(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_token_copies__a_lost_folder_is_brought_back_from_one),
        ROW(test_token_copies__what_was_destroyed_is_in_no_copy),
        ROW(test_token_copies__what_vanished_stays_in_the_copies),
        ROW(test_token_copies__a_copy_that_does_not_work_is_not_kept),
        ROW(test_token_copies__a_module_that_cannot_be_led_there_gets_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
