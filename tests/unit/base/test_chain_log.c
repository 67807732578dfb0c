#include "tests/unit/base/fixture.h"

#include "base/chain_log.h"
#include "base/encoding.h"

#include <openssl/ecdsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Signs as a token does: r || s. */
struct notary {
    EVP_PKEY *key;
    char key_id[65];
    unsigned calls;
    bool away;
};

static enum kl_code notary_sign(void *arg, const void *bytes, size_t n, struct kl_buf *ret,
                                struct kl_err *err)
{
    struct notary *notary = arg;
    unsigned char der[256], raw[64];
    size_t der_len = sizeof der;
    notary->calls++;
    if (notary->away)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "sign", "away");
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    assert_int_equal(EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, notary->key, NULL), 1);
    assert_int_equal(EVP_DigestSign(ctx, der, &der_len, bytes, n), 1);
    EVP_MD_CTX_free(ctx);
    const unsigned char *p = der;
    ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &p, (long)der_len);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32), 32);
    assert_int_equal(BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32), 32);
    ECDSA_SIG_free(sig);
    kl_buf_put(ret, raw, sizeof raw);
    return KL_OK;
}

static void notary_init(struct notary *notary)
{
    unsigned char *der = NULL, digest[32];
    *notary = (struct notary){.key = EVP_EC_gen("P-256")};
    int n = i2d_PUBKEY(notary->key, &der);
    (void)SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    kl_hex(digest, sizeof digest, notary->key_id);
}

/* One log in its own files, and what was acknowledged. */
struct site {
    char *path, *head_path;
    struct notary notary;
    struct kl_chain_signer signer;
    struct kl_chain_config config;
    atomic_uint acknowledged, refused;
    atomic_int last_code;
};

static void count(void *arg, enum kl_code code)
{
    struct site *site = arg;
    (void)atomic_fetch_add(code == KL_OK ? &site->acknowledged : &site->refused, 1);
    atomic_store(&site->last_code, (int)code);
}

static int site_new(void **state)
{
    static unsigned number;
    char name[32];
    struct site *site = calloc(1, sizeof *site);
    char *folder = NULL;
    if (site == NULL || fixture_folder((void **)&folder) != 0)
        return -1;
    (void)snprintf(name, sizeof name, "log%u", number++);
    site->path = fixture_path(folder, name);
    site->head_path = fixture_path(folder, "head");
    free(folder);
    notary_init(&site->notary);
    site->signer =
        (struct kl_chain_signer){notary_sign, &site->notary, "ES256", site->notary.key_id};
    site->config = (struct kl_chain_config){.path = site->path,
                                            .head_path = site->head_path,
                                            .signer = &site->signer,
                                            .checkpoint_records = 10,
                                            .checkpoint_ms = 3600000,
                                            .max_waiting = 100000};
    *state = site;
    return 0;
}

static int site_gone(void **state)
{
    struct site *site = *state;
    (void)unlink(site->path);
    (void)unlink(site->head_path);
    *strrchr(site->path, '/') = 0;
    (void)rmdir(site->path);
    EVP_PKEY_free(site->notary.key);
    free(site->path);
    free(site->head_path);
    free(site);
    return 0;
}

static struct kl_chain_log *open_site(struct site *site)
{
    struct kl_chain_log *log = NULL;
    struct kl_err err = {0};
    if (kl_chain_open(&site->config, &log, &err) != KL_OK)
        fail_msg("%s", err.text);
    return log;
}

/* n records, then close: everything is on disk, with a checkpoint. */
static void write_records(struct site *site, unsigned n)
{
    struct kl_chain_log *log = open_site(site);
    char members[100];
    for (unsigned i = 0; i < n; i++) {
        int len = snprintf(members, sizeof members, "\"n\":%u,\"who\":\"user %u\"", i, i % 7);
        assert_int_equal(kl_chain_append(log, members, (size_t)len, count, site), KL_OK);
    }
    kl_chain_close(log);
}

static enum kl_code verify(const struct site *site, EVP_PKEY *key, struct kl_chain_report *report,
                           struct kl_err *err)
{
    memset(report, 0, sizeof *report);
    return kl_chain_verify(site->path, site->head_path, key, report, err);
}

static void test_base_chain_log__write_and_verify(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    struct stat st;
    for (unsigned life = 1; life <= 3; life++) {
        write_records(site, 25);
        assert_int_equal(atomic_load(&site->acknowledged), 25 * life);
        assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
        assert_int_equal(report.lines - report.checkpoints, 25 * life);
        assert_int_equal(report.last_seq, report.lines);
        assert_true(report.checkpoints >= life);
        assert_int_equal(report.last_checkpoint_seq, report.last_seq);
    }
    assert_int_equal(stat(site->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    unsigned calls = site->notary.calls;
    write_records(site, 0); /* nothing new: no further checkpoint */
    assert_int_equal(site->notary.calls, calls);
    assert_int_equal(kl_chain_verify(site->path, NULL, NULL, &report, NULL), KL_OK);
}

/* The bytes as the header says them, computed here in another way. */
static void test_base_chain_log__documented_bytes(void **state)
{
    struct site *site = *state;
    static const char first[] = "{\"seq\":1,\"n\":0,\"who\":\"user 0\"";
    unsigned char input[32 + sizeof first - 1] = {0}, digest[32];
    char expected[300], hex[65];
    size_t n = 0;
    site->config.signer = NULL;
    write_records(site, 1);
    memcpy(input + 32, first, sizeof first - 1);
    (void)SHA256(input, sizeof input, digest);
    kl_hex(digest, 32, hex);
    (void)snprintf(expected, sizeof expected, "%s,\"chain\":\"%s\"}\n", first, hex);
    KL_AUTO(char) text = fixture_read(site->path, &n);
    assert_string_equal(text, expected);
    KL_AUTO(char) head = fixture_read(site->head_path, &n);
    (void)snprintf(expected, sizeof expected, "{\"seq\":1,\"size\":%zu,\"chain\":\"%s\"} ",
                   strlen(text), hex);
    assert_memory_equal(head, expected, strlen(expected));
}

static void test_base_chain_log__head_and_order(void **state)
{
    struct site *site = *state;
    struct kl_chain_log *log = open_site(site);
    uint64_t seq = 99;
    char chain[65];
    kl_chain_head(log, &seq, chain);
    assert_int_equal(seq, 0);
    assert_int_equal(strspn(chain, "0"), 64);
    assert_int_equal(kl_chain_append(log, "", 0, NULL, NULL), KL_OK); /* no member, no callback */
    kl_chain_close(log);
    log = open_site(site);
    kl_chain_head(log, &seq, chain);
    assert_true(seq >= 1);
    kl_chain_close(log);
}

static void test_base_chain_log__refused_records(void **state)
{
    struct site *site = *state;
    struct kl_chain_log *log = open_site(site);
    static char huge[600000];
    assert_int_equal(kl_chain_append(log, "\"a\":1\n", 6, count, site), KL_BAD_INPUT);
    assert_int_equal(kl_chain_append(log, "\"a\":\0", 5, count, site), KL_BAD_INPUT);
    assert_int_equal(kl_chain_append(log, "\"checkpoint\":{}", 15, count, site), KL_BAD_INPUT);
    memset(huge, 'x', sizeof huge);
    assert_int_equal(kl_chain_append(log, huge, sizeof huge, count, site), KL_TOO_BIG);
    kl_chain_close(log);
    assert_int_equal(atomic_load(&site->acknowledged) + atomic_load(&site->refused), 0);
}

static void test_base_chain_log__two_writers(void **state)
{
    struct site *site = *state;
    struct kl_chain_log *log = open_site(site), *second = NULL;
    assert_int_equal(kl_chain_open(&site->config, &second, NULL), KL_EXISTS);
    assert_null(second);
    kl_chain_close(log);
}

struct load {
    struct site *site;
    struct kl_chain_log *log;
    unsigned n, busy;
};

static void *append_many(void *arg)
{
    struct load *load = arg;
    for (unsigned i = 0; i < load->n; i++) {
        enum kl_code code = kl_chain_append(load->log, "\"load\":true", 11, count, load->site);
        load->busy += code == KL_THROTTLED;
        i -= code == KL_THROTTLED; /* again */
    }
    return NULL;
}

static void test_base_chain_log__many_threads_and_the_bound(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    site->config.max_waiting = 50;
    site->config.checkpoint_records = 500;
    struct kl_chain_log *log = open_site(site);
    struct load loads[8];
    pthread_t threads[8];
    unsigned busy = 0;
    for (int i = 0; i < 8; i++) {
        loads[i] = (struct load){site, log, 500, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, append_many, &loads[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        busy += loads[i].busy;
    }
    kl_chain_close(log);
    assert_true(busy > 0);
    assert_int_equal(atomic_load(&site->acknowledged), 4000);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
    assert_int_equal(report.lines - report.checkpoints, 4000);
}

/* The token is away: records go on, and a checkpoint comes when it is back. */
static void test_base_chain_log__signer_away(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    site->notary.away = true;
    write_records(site, 40);
    assert_int_equal(atomic_load(&site->acknowledged), 40);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
    assert_int_equal(report.checkpoints, 0);
    site->notary.away = false;
    write_records(site, 1);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
    assert_true(report.checkpoints >= 1);
}

/* A token that hangs: its signature is waited for by nobody but the checkpoint. */
static enum kl_code hanging_sign(void *arg, const void *bytes, size_t n, struct kl_buf *ret,
                                 struct kl_err *err)
{
    struct site *site = arg;
    while (atomic_load(&site->acknowledged) < 40)
        (void)sched_yield();
    return notary_sign(&site->notary, bytes, n, ret, err);
}

static void test_base_chain_log__signer_hangs(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    site->signer.sign = hanging_sign;
    site->signer.arg = site;
    struct kl_chain_log *log = open_site(site);
    for (int i = 0; i < 40; i++)
        assert_int_equal(kl_chain_append(log, "\"a\":1", 5, count, site), KL_OK);
    kl_chain_close(log);
    assert_int_equal(atomic_load(&site->acknowledged), 40);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
    assert_int_equal(report.last_checkpoint_seq, report.last_seq);
    assert_int_equal(report.covered_seq, report.last_seq - 1);
}

struct gathered {
    struct kl_chain_log *log;
    uint64_t seq_at_first; /* how far the log was when the first record was acknowledged */
    atomic_uint acknowledged;
};

static void note_first(void *arg, enum kl_code code)
{
    struct gathered *g = arg;
    char chain[65];
    if (code == KL_OK && atomic_fetch_add(&g->acknowledged, 1) == 0)
        kl_chain_head(g->log, &g->seq_at_first, chain);
}

/* One flush for all that were announced, and no waiting for the few that are left. */
static void test_base_chain_log__gathering(void **state)
{
    struct site *site = *state;
    struct gathered g = {0};
    site->config.gather_us = INT64_C(3600) * 1000000;
    g.log = open_site(site);
    kl_chain_expect(g.log, KL_CHAIN_FEW + 8);
    for (int i = 0; i < 8; i++) {
        kl_chain_expect(g.log, -1);
        assert_int_equal(kl_chain_append(g.log, "\"a\":1", 5, note_first, &g), KL_OK);
        /* a writer that does not gather has every chance to write now */
        for (int turn = 0; i == 0 && turn < 100000 && atomic_load(&g.acknowledged) == 0; turn++)
            (void)sched_yield();
    }
    while (atomic_load(&g.acknowledged) < 8)
        (void)sched_yield();
    kl_chain_close(g.log);
    assert_int_equal(g.seq_at_first, 8);
}

static void test_base_chain_log__checkpoint_by_time(void **state)
{
    struct site *site = *state;
    site->config.checkpoint_records = 0;
    site->config.checkpoint_ms = 1;
    struct kl_chain_log *log = open_site(site);
    uint64_t seq = 0;
    char chain[65];
    assert_int_equal(kl_chain_append(log, "\"a\":1", 5, NULL, NULL), KL_OK);
    while (seq < 2) /* the record, and then a checkpoint without anything else happening */
        kl_chain_head(log, &seq, chain);
    kl_chain_close(log);
    assert_int_equal(site->notary.calls, 1);
}

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Beginning of line `number` (from 1). */
static char *line_at(char *text, unsigned number)
{
    while (--number > 0)
        text = strchr(text, '\n') + 1;
    return text;
}

static size_t length_of(const char *line)
{
    return (size_t)(strchr(line, '\n') + 1 - line);
}

static void expect_fault(struct site *site, uint64_t bad_line, const char *words)
{
    struct kl_chain_report report;
    struct kl_err err = {0};
    assert_int_equal(verify(site, site->notary.key, &report, &err), KL_CORRUPT);
    assert_int_equal(report.bad_line, bad_line);
    if (strstr(err.text, words) == NULL)
        fail_msg("\"%s\" lacks \"%s\"", err.text, words);
}

/* A thief with write access to the log, but without the audit key. */
static void test_base_chain_log__tampering(void **state)
{
    struct site *site = *state;
    size_t n = 0;
    write_records(site, 25);
    KL_AUTO(char) good = fixture_read(site->path, &n);
    KL_AUTO(char) bad = malloc(2 * n);
    for (size_t i = 0; i < n; i += 3) { /* any byte, anywhere */
        struct kl_chain_report report;
        memcpy(bad, good, n);
        bad[i] ^= 1;
        write_file(site->path, bad, n);
        assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_CORRUPT);
    }
    memcpy(bad, good, n + 1);
    *strstr(line_at(bad, 5), "user") = 'U';
    write_file(site->path, bad, n);
    expect_fault(site, 5, "changed");
    memcpy(bad, good, n + 1); /* a line less */
    char *fifth = line_at(bad, 5);
    size_t length = length_of(fifth);
    memmove(fifth, fifth + length, n - (size_t)(fifth - bad) - length);
    write_file(site->path, bad, n - length);
    expect_fault(site, 5, "does not follow");
    memcpy(bad, good, n + 1); /* two lines in the other order */
    fifth = line_at(bad, 5);
    length = length_of(fifth);
    size_t sixth_length = length_of(fifth + length);
    memcpy(fifth, line_at(good, 6), sixth_length);
    memcpy(fifth + sixth_length, line_at(good, 5), length);
    write_file(site->path, bad, n);
    expect_fault(site, 5, "does not follow");
    memcpy(bad, good, n + 1); /* a line twice */
    fifth = line_at(bad, 5);
    memcpy(fifth + length, line_at(good, 5), n - (size_t)(fifth - bad));
    write_file(site->path, bad, n + length);
    expect_fault(site, 6, "does not follow");
    write_file(site->path, good, (size_t)(line_at(good, 20) - good)); /* the end cut off */
    expect_fault(site, 0, "cut off");
    write_file(site->path, good, n); /* another key */
    struct notary other;
    notary_init(&other);
    struct kl_chain_report report;
    assert_int_equal(verify(site, other.key, &report, NULL), KL_CORRUPT);
    EVP_PKEY_free(other.key);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
}

/* Written anew from the beginning with all hashes right: the signature, or the head, tells. */
static void test_base_chain_log__forged_from_scratch(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    size_t n = 0;
    write_records(site, 12);
    KL_AUTO(char) head = fixture_read(site->head_path, &n);
    assert_int_equal(unlink(site->path) | unlink(site->head_path), 0);
    EVP_PKEY *real = site->notary.key;
    site->notary.key = EVP_EC_gen("P-256"); /* key_id stays the real one's */
    write_records(site, 13);
    assert_int_equal(verify(site, real, &report, NULL), KL_CORRUPT);
    EVP_PKEY_free(real);
    site->config.signer = NULL;
    assert_int_equal(unlink(site->path) | unlink(site->head_path), 0);
    site->config.checkpoint_records = 0;
    write_records(site, 40);
    write_file(site->head_path, head, n);
    struct kl_err err = {0};
    assert_int_equal(verify(site, NULL, &report, &err), KL_CORRUPT);
    assert_non_null(strstr(err.text, "anew"));
    struct kl_chain_log *log = NULL;
    assert_int_equal(kl_chain_open(&site->config, &log, NULL), KL_CORRUPT);
}

/* What kill -9 and a power cut leave at the end. */
static void test_base_chain_log__crash_leftovers(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    size_t n = 0, head_n = 0, more = 0;
    site->config.signer = NULL;
    write_records(site, 10);
    free(fixture_read(site->path, &n));
    KL_AUTO(char) old_head = fixture_read(site->head_path, &head_n);
    write_records(site, 10);
    KL_AUTO(char) longer = fixture_read(site->path, &more);
    for (size_t cut = n; cut < more; cut += 7) { /* head of before, any part of the last batch */
        write_file(site->path, longer, cut);
        write_file(site->head_path, old_head, head_n);
        write_records(site, 1);
        assert_int_equal(verify(site, NULL, &report, NULL), KL_OK);
        assert_in_range(report.lines, 11, 21);
    }
    KL_AUTO(char) holes = malloc(more); /* blocks that did not reach the disk */
    memcpy(holes, longer, more);
    memset(holes + n + 50, 0, 300);
    write_file(site->path, holes, more);
    write_file(site->head_path, old_head, head_n);
    write_records(site, 1);
    assert_int_equal(verify(site, NULL, &report, NULL), KL_OK);
    assert_int_equal(report.lines, 11);
    memcpy(holes, longer, more); /* but a changed line is not a leftover */
    holes[n + 12] ^= 1;
    write_file(site->path, holes, more);
    write_file(site->head_path, old_head, head_n);
    struct kl_chain_log *log = NULL;
    struct kl_err err = {0};
    assert_int_equal(kl_chain_open(&site->config, &log, &err), KL_CORRUPT);
    assert_int_equal(kl_chain_open_after_loss(&site->config, &log, NULL), KL_CORRUPT);
    write_file(site->path, longer, more); /* the whole batch was there */
    write_records(site, 1);
    assert_int_equal(verify(site, NULL, &report, NULL), KL_OK);
    assert_int_equal(report.lines, 21);
}

static void test_base_chain_log__unfinished_line_while_verifying(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    size_t n = 0;
    write_records(site, 3);
    KL_AUTO(char) good = fixture_read(site->path, &n);
    KL_AUTO(char) longer = malloc(n + 20);
    memcpy(longer, good, n);
    memcpy(longer + n, "{\"seq\":99,\"half", 15);
    write_file(site->path, longer, n + 15);
    assert_int_equal(verify(site, site->notary.key, &report, NULL), KL_OK);
}

static void test_base_chain_log__cut_tail_and_going_on(void **state)
{
    struct site *site = *state;
    struct kl_chain_report report;
    struct kl_chain_log *log = NULL;
    struct kl_err err = {0};
    size_t n = 0;
    site->config.signer = NULL;
    write_records(site, 10);
    KL_AUTO(char) good = fixture_read(site->path, &n);
    for (int how = 0; how < 3; how++) { /* a whole line, a part, the head file instead */
        size_t keep = how == 0 ? (size_t)(line_at(good, 8) - good) : n - 3;
        write_file(site->path, good, how == 2 ? n : keep);
        if (how == 2)
            assert_int_equal(unlink(site->head_path), 0);
        assert_int_equal(kl_chain_open(&site->config, &log, &err), KL_CORRUPT);
        assert_null(log);
        assert_int_equal(verify(site, NULL, &report, &err), KL_CORRUPT);
        assert_int_equal(kl_chain_open_after_loss(&site->config, &log, &err), KL_OK);
        kl_chain_close(kl_take(log));
        assert_int_equal(verify(site, NULL, &report, &err), KL_OK);
        KL_AUTO(char) after = fixture_read(site->path, &(size_t){0});
        assert_non_null(strstr(after, how == 0 ? "\"tail_lost\":{\"found_seq\":7,\"head_seq\":10,"
                                               : "\"tail_lost\":{\"found_seq\":"));
        assert_int_equal(unlink(site->path) | unlink(site->head_path), 0);
        write_records(site, 10);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, site_new, site_gone)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_base_chain_log__write_and_verify),
        TEST(test_base_chain_log__documented_bytes),
        TEST(test_base_chain_log__head_and_order),
        TEST(test_base_chain_log__refused_records),
        TEST(test_base_chain_log__two_writers),
        TEST(test_base_chain_log__many_threads_and_the_bound),
        TEST(test_base_chain_log__signer_away),
        TEST(test_base_chain_log__signer_hangs),
        TEST(test_base_chain_log__gathering),
        TEST(test_base_chain_log__checkpoint_by_time),
        TEST(test_base_chain_log__tampering),
        TEST(test_base_chain_log__forged_from_scratch),
        TEST(test_base_chain_log__crash_leftovers),
        TEST(test_base_chain_log__unfinished_line_while_verifying),
        TEST(test_base_chain_log__cut_tail_and_going_on),
    };
    return cmocka_run_group_tests_name("base.chain_log", tests, NULL, NULL);
}
