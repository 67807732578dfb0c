#include "tests/unit/base/fixture.h"

#include "base/conf.h"

#include <stdlib.h>
#include <string.h>

struct service {
    char *listen;
    int64_t threads, timeout_ms, body_bytes;
    bool audit;
    char *store;
};

struct token {
    char *name, *uri;
    struct kl_conf_list roles;
    int64_t workers;
};

static enum kl_code check_listen(const void *value, struct kl_err *err)
{
    const char *text = *(const char *const *)value;
    return strchr(text, ':') != NULL ? KL_OK
                                     : kl_fail(err, KL_CONFIG, "conf", "%s has no port", text);
}

#define SERVICE(member) offsetof(struct service, member)
static const struct kl_conf_row service_rows[] = {
    {.key = "listen",
     .type = KL_CONF_TEXT,
     .offset = SERVICE(listen),
     .preset = "127.0.0.1:8443",
     .help = "Where to listen.",
     .check = check_listen},
    {.key = "threads",
     .type = KL_CONF_INT,
     .offset = SERVICE(threads),
     .min = 1,
     .max = 64,
     .preset = "2",
     .help = "How many threads."},
    {.key = "timeout",
     .type = KL_CONF_DURATION,
     .offset = SERVICE(timeout_ms),
     .min = 100,
     .max = 3600000,
     .preset = "30s",
     .help = "How long."},
    {.key = "max_body",
     .type = KL_CONF_BYTES,
     .offset = SERVICE(body_bytes),
     .min = 1024,
     .max = 1 << 24,
     .preset = "256K",
     .help = "How big."},
    {.key = "audit",
     .type = KL_CONF_BOOL,
     .offset = SERVICE(audit),
     .preset = "yes",
     .help = "Whether."},
    {.key = "store", .type = KL_CONF_PATH, .offset = SERVICE(store), .help = "Where things are."},
};
#define TOKEN(member) offsetof(struct token, member)
static const struct kl_conf_row token_rows[] = {
    {.key = "uri",
     .type = KL_CONF_TEXT,
     .offset = TOKEN(uri),
     .required = true,
     .help = "Which token."},
    {.key = "role", .type = KL_CONF_LIST, .offset = TOKEN(roles), .help = "What for."},
    {.key = "workers", .type = KL_CONF_INT, .offset = TOKEN(workers), .help = "Any number."},
};
static const struct kl_conf_section kinds[] = {
    {"service", false, sizeof(struct service), service_rows, KL_COUNT(service_rows),
     "The service."},
    {"token", true, sizeof(struct token), token_rows, KL_COUNT(token_rows), "A token."},
};

static enum kl_code load(const char *folder, const char *text, struct kl_conf **ret,
                         struct kl_err *err)
{
    KL_AUTO(char) path = fixture_file(folder, "test.conf", text, strlen(text));
    return kl_conf_load(path, kinds, KL_COUNT(kinds), ret, err);
}

static void test_base_conf__values(void **state)
{
    static const char text[] = "# a comment\r\n"
                               "\n"
                               "[service]\r\n"
                               "  listen =  [::1]:1 \n"
                               "threads=64\n"
                               "timeout = 5m\n"
                               "max_body = 1M\n"
                               "audit = no\n"
                               "store = data/db\n"
                               "[token one]\n"
                               "uri = pkcs11:token=a;b=c#d\n"
                               "role = x\n"
                               "role = y\n"
                               "[token two]\n"
                               "uri = u\n"
                               "workers = -5\n";
    KL_AUTO(conf) c = NULL;
    struct kl_err err = {0};
    assert_int_equal(load(*state, text, &c, &err), KL_OK);
    const struct service *s = kl_conf_section(c, "service", 0);
    KL_AUTO(char) store = fixture_path(*state, "data/db");
    assert_string_equal(s->listen, "[::1]:1");
    assert_int_equal(s->threads, 64);
    assert_int_equal(s->timeout_ms, 300000);
    assert_int_equal(s->body_bytes, 1048576);
    assert_false(s->audit);
    assert_string_equal(s->store, store);
    const struct token *one = kl_conf_section(c, "token", 0), *two = kl_conf_section(c, "token", 1);
    assert_string_equal(one->name, "one");
    assert_string_equal(one->uri, "pkcs11:token=a;b=c#d");
    assert_int_equal(one->roles.count, 2);
    assert_string_equal(one->roles.values[1], "y");
    assert_string_equal(two->name, "two");
    assert_int_equal(two->workers, -5);
    assert_int_equal(two->roles.count, 0);
    assert_null(kl_conf_section(c, "token", 2));
    assert_null(kl_conf_section(c, "nothing", 0));
}

static void test_base_conf__presets(void **state)
{
    KL_AUTO(conf) c = NULL;
    assert_int_equal(load(*state, "", &c, NULL), KL_OK);
    const struct service *s = kl_conf_section(c, "service", 0);
    assert_string_equal(s->listen, "127.0.0.1:8443");
    assert_int_equal(s->timeout_ms, 30000);
    assert_int_equal(s->body_bytes, 262144);
    assert_true(s->audit);
    assert_null(s->store);
    assert_null(kl_conf_section(c, "token", 0));
}

static void test_base_conf__faults_with_their_line(void **state)
{
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"[service]\nthreds = 2\n", ":2: unknown key \"threds\"; did you mean \"threads\"?"},
        {"[service]\nquite_other = 2\n", ":2: unknown key \"quite_other\""},
        {"[sevrice]\n", ":1: unknown section \"sevrice\"; did you mean \"service\"?"},
        {"\n\n[service\n", ":3: a section's line must end"},
        {"[service] x\n", ":1: a section's line must end"},
        {"threads = 2\n", ":1: threads stands before the first [section]"},
        {"[service]\nthreads\n", ":2: neither"},
        {"[service]\n= 2\n", ":2: neither"},
        {"[service]\nthreads =\n", ":2: threads has no value"},
        {"[service]\nthreads = 2 # two\n", ":2: a comment needs a line of its own"},
        {"[service]\nthreads = 2\nthreads = 3\n", ":3: threads is set in line 2 already"},
        {"[service]\nthreads = 0\n", ":2: threads must be from 1 to 64"},
        {"[service]\nthreads = 65\n", ":2: threads must be from 1 to 64"},
        {"[service]\nthreads = 2x\n", ":2: threads must be a whole number, not \"2x\""},
        {"[service]\nthreads = 0x2\n", ":2: threads must be a whole number"},
        {"[service]\nthreads = 99999999999999999999\n", ":2: threads must be a whole number"},
        {"[service]\ntimeout = 30\n", ":2: timeout must be a time like"},
        {"[service]\ntimeout = 2h\n", ":2: timeout must be from 100ms to 1h"},
        {"[service]\ntimeout = 9223372036854775807d\n", ":2: timeout must be a time like"},
        {"[service]\nmax_body = 1k\n", ":2: max_body must be a size like"},
        {"[service]\nmax_body = 1\n", ":2: max_body must be from 1K to 16M"},
        {"[service]\naudit = true\n", ":2: audit must be yes or no"},
        {"[service]\nlisten = nowhere\n", ":2: listen: nowhere has no port"},
        {"[service]\n[service]\n", ":2: [service] is in line 1 already"},
        {"[service x]\n", ":1: [service] takes no name"},
        {"[token]\n", ":1: [token] needs a name"},
        {"[token ]\n", ":1: [token] needs a name"},
        {"[token a b]\n", ":1: a section's name is one word"},
        {"[token a]\nuri = u\n[token a]\nuri = u\n", ":3: [token a] is in line 1 already"},
        {"\n[token a]\nworkers = 1\n", ":2: [token a] lacks the key uri"},
    };
    for (size_t i = 0; i < KL_COUNT(rows); i++) {
        struct kl_conf *c = NULL;
        struct kl_err err = {0};
        assert_int_equal(load(*state, rows[i].text, &c, &err), KL_CONFIG);
        assert_null(c);
        if (strstr(err.text, rows[i].words) == NULL)
            fail_msg("\"%s\" instead of \"%s\"", err.text, rows[i].words);
    }
}

static void test_base_conf__missing_file(void **state)
{
    struct kl_conf *c = NULL;
    struct kl_err err = {0};
    KL_AUTO(char) path = fixture_file(*state, "zero.conf", "[service]\0\n", 11);
    assert_int_equal(kl_conf_load("/nonexistent.conf", kinds, 2, &c, &err), KL_CONFIG);
    assert_non_null(strstr(err.text, "/nonexistent.conf"));
    assert_int_equal(kl_conf_load(path, kinds, 2, &c, &err), KL_CONFIG);
}

static void test_base_conf__lookup(void **state)
{
    static const char text[] =
        "[other]\nlog = no\n[service]\nunknown_key = 1\nlog = audit/log\n[token x]\nlog = /z\n";
    KL_AUTO(char) path = fixture_file(*state, "look.conf", text, sizeof text - 1);
    KL_AUTO(char) expected = fixture_path(*state, "audit/log");
    KL_AUTO(char) raw = NULL;
    KL_AUTO(char) whole = NULL;
    KL_AUTO(char) named = NULL;
    char *none = NULL;
    assert_int_equal(kl_conf_lookup(path, "service", "log", false, &raw, NULL), KL_OK);
    assert_string_equal(raw, "audit/log");
    assert_int_equal(kl_conf_lookup(path, "service", "log", true, &whole, NULL), KL_OK);
    assert_string_equal(whole, expected);
    assert_int_equal(kl_conf_lookup(path, "token", "log", true, &named, NULL), KL_OK);
    assert_string_equal(named, "/z");
    assert_int_equal(kl_conf_lookup(path, "service", "nothing", false, &none, NULL), KL_NOT_FOUND);
    assert_int_equal(kl_conf_lookup(path, "token", "unknown_key", false, &none, NULL),
                     KL_NOT_FOUND);
    assert_null(none);
}

static void test_base_conf__print_reads_back(void **state)
{
    static const char text[] =
        "[service]\ntimeout = 1500ms\nmax_body = 3000\n[token one]\nuri = u\nrole = x\nrole = y\n";
    KL_AUTO(conf) c = NULL;
    KL_AUTO(conf) again = NULL;
    struct kl_buf first = KL_BUF_INIT(10000), second = KL_BUF_INIT(10000);
    assert_int_equal(load(*state, text, &c, NULL), KL_OK);
    kl_conf_print(c, &first);
    assert_non_null(
        strstr(kl_buf_text(&first), "timeout = 1500ms\nmax_body = 3000\naudit = yes\n"));
    assert_non_null(strstr(kl_buf_text(&first), "# store is not set\n"));
    assert_non_null(strstr(kl_buf_text(&first), "[token one]\nuri = u\nrole = x\nrole = y\n"));
    assert_int_equal(load(*state, kl_buf_text(&first), &again, NULL), KL_OK);
    kl_conf_print(again, &second);
    assert_string_equal(kl_buf_text(&first), kl_buf_text(&second));
    kl_buf_done(&first);
    kl_buf_done(&second);
}

static void test_base_conf__sample_is_all_comment(void **state)
{
    struct kl_buf sample = KL_BUF_INIT(10000);
    KL_AUTO(conf) c = NULL;
    kl_conf_print_sample(kinds, KL_COUNT(kinds), &sample);
    const char *text = kl_buf_text(&sample);
    assert_non_null(strstr(
        text, "# Where to listen.\n# Text; default 127.0.0.1:8443.\n#listen = 127.0.0.1:8443\n"));
    assert_non_null(
        strstr(text, "# Time (ms, s, m, h, d) from 100ms to 1h; default 30s.\n#timeout = 30s\n"));
    assert_non_null(strstr(text, "#[token NAME]\n"));
    assert_non_null(strstr(text, "; required.\n#uri =\n"));
    assert_int_equal(load(*state, text, &c, NULL), KL_OK);
    kl_buf_done(&sample);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_base_conf__values),
        cmocka_unit_test(test_base_conf__presets),
        cmocka_unit_test(test_base_conf__faults_with_their_line),
        cmocka_unit_test(test_base_conf__missing_file),
        cmocka_unit_test(test_base_conf__lookup),
        cmocka_unit_test(test_base_conf__print_reads_back),
        cmocka_unit_test(test_base_conf__sample_is_all_comment),
    };
    return cmocka_run_group_tests_name("base.conf", tests, fixture_folder, fixture_folder_gone);
}
