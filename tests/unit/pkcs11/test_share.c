/* Shares of a domain key: every subset of a set, what must not open, and texts that were tampered
 * with. */
#include "pkcs11/worker/share.h"

#include "base/encoding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static const uint8_t id[KL_KEY_ID_LEN] = {0, 0, 0, 3, 2, 9, 9};

static void make(unsigned m, unsigned n, uint8_t keys[static KL_SHARE_KEYS],
                 struct kl_share_set *set)
{
    struct kl_err err;
    kl_random(keys, KL_SHARE_KEYS);
    assert_int_equal(kl_share_split(keys, id, m, n, set, &err), KL_OK);
    assert_int_equal(set->count, n);
}

static void test_pkcs11_share__every_subset(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= 6; n++)
        for (unsigned m = 2; m <= n; m++) {
            uint8_t keys[KL_SHARE_KEYS];
            KL_AUTO_SHARES set;
            make(m, n, keys, &set);
            for (unsigned mask = 1; mask < 1U << n; mask++) {
                uint8_t back[KL_SHARE_KEYS] = {0};
                KL_AUTO_SHARES some = {.count = 0};
                for (unsigned i = n; i-- > 0;) /* in another order */
                    if ((mask >> i & 1) != 0)
                        some.shares[some.count++] = set.shares[i];
                enum kl_code wanted = some.count >= m ? KL_OK : KL_BAD_INPUT;
                struct kl_err err;
                assert_int_equal(kl_share_join(&some, back, &err), wanted);
                if (wanted == KL_OK)
                    assert_memory_equal(back, keys, sizeof keys);
            }
        }
}

static void test_pkcs11_share__sizes_that_make_no_sense(void **state)
{
    static const unsigned odd[][2] = {{0, 0}, {1, 1}, {1, 5}, {3, 2}, {2, 17}, {0, 4}};
    uint8_t keys[KL_SHARE_KEYS] = {0};
    KL_AUTO_SHARES set = {.count = 0};
    struct kl_err err;
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_int_equal(kl_share_split(keys, id, odd[i][0], odd[i][1], &set, &err), KL_BAD_INPUT);
}

/* One that lies, one twice, one of another set, one too few by its own word. */
static void test_pkcs11_share__what_does_not_belong(void **state)
{
    uint8_t keys[KL_SHARE_KEYS], other_keys[KL_SHARE_KEYS], back[KL_SHARE_KEYS];
    KL_AUTO_SHARES set;
    KL_AUTO_SHARES other;
    struct kl_err err;
    (void)state;
    make(3, 5, keys, &set);
    make(3, 5, other_keys, &other);
    for (size_t at = 0; at < KL_SHARE_BYTES; at += 13) {
        KL_AUTO_SHARES bad = set;
        bad.shares[1].bytes[at] ^= 1;
        assert_int_equal(kl_share_join(&bad, back, &err), KL_BAD_INPUT);
    }
    KL_AUTO_SHARES twice = set;
    twice.shares[2] = twice.shares[0];
    assert_int_equal(kl_share_join(&twice, back, &err), KL_BAD_INPUT);
    KL_AUTO_SHARES mixed = set;
    mixed.shares[0] = other.shares[0];
    assert_int_equal(kl_share_join(&mixed, back, &err), KL_BAD_INPUT);
    KL_AUTO_SHARES lying = set;
    for (size_t i = 0; i < lying.count; i++)
        lying.shares[i].needed = 2;
    assert_int_equal(kl_share_join(&lying, back, &err), KL_BAD_INPUT);
    KL_AUTO_SHARES none = {.count = 0};
    assert_int_equal(kl_share_join(&none, back, &err), KL_BAD_INPUT);
}

/* The same key split twice has nothing in common, and no share is the key. */
static void test_pkcs11_share__a_share_tells_nothing(void **state)
{
    uint8_t keys[KL_SHARE_KEYS];
    KL_AUTO_SHARES one;
    KL_AUTO_SHARES two;
    struct kl_err err;
    (void)state;
    make(2, 3, keys, &one);
    assert_int_equal(kl_share_split(keys, id, 2, 3, &two, &err), KL_OK);
    for (size_t i = 0; i < 3; i++) {
        assert_memory_not_equal(one.shares[i].bytes, two.shares[i].bytes, 16);
        assert_memory_not_equal(one.shares[i].bytes, keys, 16);
    }
}

static void test_pkcs11_share__text_there_and_back(void **state)
{
    uint8_t keys[KL_SHARE_KEYS];
    KL_AUTO_SHARES set;
    struct kl_err err;
    (void)state;
    make(3, 5, keys, &set);
    struct kl_buf text = KL_BUF_INIT(4096);
    kl_share_print(&set.shares[3], &text);
    struct kl_share back;
    assert_int_equal(kl_share_parse(kl_buf_text(&text), text.len, "share", &back, &err), KL_OK);
    assert_memory_equal(back.bytes, set.shares[3].bytes, KL_SHARE_BYTES);
    assert_memory_equal(back.set, set.shares[3].set, KL_SHARE_SET_LEN);
    assert_memory_equal(back.domain, id, sizeof id);
    assert_int_equal(back.number, 4);
    assert_int_equal(back.count, 5);
    assert_int_equal(back.needed, 3);
    kl_buf_wipe(&text);
}

/* Every single changed digit of the values is noticed. */
static void test_pkcs11_share__a_mistyped_digit(void **state)
{
    uint8_t keys[KL_SHARE_KEYS];
    KL_AUTO_SHARES set;
    struct kl_err err;
    (void)state;
    make(2, 3, keys, &set);
    struct kl_buf text = KL_BUF_INIT(4096);
    kl_share_print(&set.shares[0], &text);
    char *begin = strstr(text.bytes, "set:");
    assert_non_null(begin);
    unsigned changed = 0;
    for (char *c = begin; *c != '\0'; c++) {
        const char *line = c;
        while (line > begin && line[-1] != '\n')
            line--;
        if (memchr(line, ':', (size_t)(c - line)) == NULL || strchr("0123456789abcdef", *c) == NULL)
            continue;
        char was = *c;
        *c = was == '1' ? '2' : '1';
        struct kl_share back;
        enum kl_code code = kl_share_parse(text.bytes, text.len, "share", &back, &err);
        if (code != KL_BAD_INPUT)
            fail_msg("a change at %td was not noticed", c - begin);
        *c = was;
        changed++;
    }
    assert_true(changed > 2 * KL_SHARE_BYTES);
    text.bytes[text.len / 2] = '\0';
    struct kl_share back;
    assert_int_equal(kl_share_parse(text.bytes, text.len, "share", &back, &err), KL_BAD_INPUT);
    assert_int_equal(kl_share_parse("", 0, "share", &back, &err), KL_BAD_INPUT);
    kl_buf_wipe(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs11_share__every_subset),
        cmocka_unit_test(test_pkcs11_share__sizes_that_make_no_sense),
        cmocka_unit_test(test_pkcs11_share__what_does_not_belong),
        cmocka_unit_test(test_pkcs11_share__a_share_tells_nothing),
        cmocka_unit_test(test_pkcs11_share__text_there_and_back),
        cmocka_unit_test(test_pkcs11_share__a_mistyped_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
