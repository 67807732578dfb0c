#include "base/encoding.h"
#include "pkcs11/proto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <string.h>

static struct kl_token_request sample_request(void)
{
    static const char input[] = "twelve bytes";
    struct kl_token_request req = {.call = KL_CALL_UNWRAP,
                                   .alg = KL_ALG_PS384,
                                   .spec = {.type = KL_KEY_EC,
                                            .bits = 3072,
                                            .curve = KL_CURVE_P521,
                                            .profile = KL_PROFILE_DOMAIN,
                                            .may_decrypt = true,
                                            .label = "a label"},
                                   .mechanism = 0x210b,
                                   .count = 7,
                                   .offset = 9,
                                   .input = input,
                                   .input_len = 12};
    memset(req.key.id, 1, sizeof req.key.id);
    memset(req.key.spki_hash, 2, sizeof req.key.spki_hash);
    return req;
}

static void test_pkcs11_proto__a_request_comes_back_as_it_was(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_token_request req = sample_request(), back;
    uint64_t id = 0;
    (void)state;
    size_t n = kl_proto_put_request(frame, 0x1122334455667788, &req);
    assert_int_equal(kl_proto_kind(frame, n), KL_FRAME_REQUEST);
    assert_int_equal(kl_proto_get_request(frame, n, &id, &back), KL_OK);
    assert_true(id == 0x1122334455667788);
    assert_memory_equal(&back.key, &req.key, sizeof req.key);
    assert_string_equal(back.spec.label, "a label");
    assert_int_equal(back.spec.bits, 3072);
    assert_int_equal(back.spec.curve, KL_CURVE_P521);
    assert_int_equal(back.spec.profile, KL_PROFILE_DOMAIN);
    assert_true(back.spec.may_decrypt && !back.spec.may_sign);
    assert_int_equal(back.call, KL_CALL_UNWRAP);
    assert_int_equal(back.alg, KL_ALG_PS384);
    assert_true(back.mechanism == 0x210b && back.count == 7 && back.offset == 9);
    assert_int_equal(back.input_len, 12);
    assert_memory_equal(back.input, "twelve bytes", 12);
}

static void test_pkcs11_proto__the_longest_frames_fit(void **state)
{
    static uint8_t bytes[KL_TOKEN_MAX_INPUT];
    uint8_t frame[KL_PROTO_MAX];
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = bytes, .input_len = sizeof bytes};
    struct kl_err err = {.code = KL_INTERNAL};
    struct kl_proto_reply reply;
    (void)state;
    memset(err.op, 'o', sizeof err.op - 1);
    memset(err.text, 't', sizeof err.text - 1);
    memset(err.detail, 'd', sizeof err.detail - 1);
    assert_true(kl_proto_put_request(frame, 1, &req) <= sizeof frame);
    size_t n = kl_proto_put_reply(frame, 1, &err, 0, bytes, sizeof bytes);
    assert_int_equal(kl_proto_get_reply(frame, n, &reply), KL_OK);
    assert_memory_equal(&reply.err, &err, sizeof err);
    assert_int_equal(reply.output_len, sizeof bytes);
}

static void test_pkcs11_proto__the_longest_configuration_fits(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_worker_config c = {.workers = 3, .software_oaep = true}, back;
    (void)state;
    memset(c.name, 'n', sizeof c.name - 1);
    memset(c.module, 'm', sizeof c.module - 1);
    memset(c.uri, 'u', sizeof c.uri - 1);
    memset(c.pin_source, 'p', sizeof c.pin_source - 1);
    memset(c.init_args, 'i', sizeof c.init_args - 1);
    memset(c.store_dir, 's', sizeof c.store_dir - 1);
    memset(c.state_dir, 't', sizeof c.state_dir - 1);
    memset(c.module_sha256, 'h', sizeof c.module_sha256 - 1);
    memset(c.user, 'e', sizeof c.user - 1);
    memset(c.syscalls, 'y', sizeof c.syscalls - 1);
    memset(c.files, 'f', sizeof c.files - 1);
    memset(c.hidden, 'd', sizeof c.hidden - 1);
    c.relogin = c.network = c.all_files = true;
    size_t n = kl_proto_put_config(frame, &c);
    assert_int_equal(kl_proto_get_config(frame, n, &back), KL_OK);
    assert_memory_equal(&back, &c, sizeof c);
}

static void test_pkcs11_proto__a_greeting_comes_back_as_it_was(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_hello hello = {.login_tried = true, .threads = 5, .caps = {.algs = 6}}, back;
    (void)state;
    size_t n = kl_proto_put_hello(frame, &hello);
    assert_int_equal(kl_proto_get_hello(frame, n, &back), KL_OK);
    assert_int_equal(back.threads, 5);
    assert_int_equal(back.caps.algs, 6);
    assert_true(back.login_tried);
}

static void test_pkcs11_proto__a_pin_and_the_wish_for_one_come_back(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    char pin[KL_PIN_MAX], why[KL_ASK_MAX];
    const uint8_t *back;
    size_t len;
    (void)state;
    memset(pin, 'p', sizeof pin);
    size_t n = kl_proto_put_pin(frame, pin, sizeof pin);
    assert_int_equal(kl_proto_get_pin(frame, n, &back, &len), KL_OK);
    assert_int_equal(len, sizeof pin);
    assert_memory_equal(back, pin, len);
    assert_int_equal(kl_proto_get_pin(frame, n - 1, &back, &len), KL_CORRUPT);
    n = kl_proto_put_pin(frame, pin, 0);
    assert_int_equal(kl_proto_get_pin(frame, n, &back, &len), KL_CORRUPT);
    n = kl_proto_put_ask_pin(frame, "why");
    assert_int_equal(kl_proto_get_ask_pin(frame, n, why), KL_OK);
    assert_string_equal(why, "why");
}

/* Cut anywhere or with anything behind: refused. */
static void test_pkcs11_proto__every_cut_and_every_tail_is_refused(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_token_request req = sample_request(), back;
    struct kl_err err = {.code = KL_DECRYPT_FAILED, .text = "no"};
    struct kl_proto_reply reply;
    uint64_t id;
    (void)state;
    size_t n = kl_proto_put_request(frame, 1, &req);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(kl_proto_get_request(frame, cut, &id, &back), KL_CORRUPT);
    assert_int_equal(kl_proto_get_request(frame, n + 1, &id, &back), KL_CORRUPT);
    n = kl_proto_put_reply(frame, 1, &err, 0, "abc", 3);
    for (size_t cut = 0; cut < n; cut++)
        assert_int_equal(kl_proto_get_reply(frame, cut, &reply), KL_CORRUPT);
    assert_int_equal(kl_proto_get_reply(frame, n + 1, &reply), KL_CORRUPT);
}

/* Whatever the bytes: a decoder says yes or no, and what it says yes to is within its limits. */
static void test_pkcs11_proto__random_damage_never_leaves_the_frame(void **state)
{
    struct kl_token_request req = sample_request();
    (void)state;
    for (int round = 0; round < 20000; round++) {
        uint8_t frame[KL_PROTO_MAX], dice[4];
        struct kl_token_request back;
        struct kl_proto_reply reply;
        uint64_t id;
        size_t n = kl_proto_put_request(frame, 1, &req);
        kl_random(dice, sizeof dice);
        frame[(size_t)(dice[0] << 8 | dice[1]) % n] = dice[2];
        if (kl_proto_get_request(frame, n, &id, &back) == KL_OK) {
            assert_true(back.call > 0 && back.call < KL_CALL_COUNT);
            assert_true((const uint8_t *)back.input + back.input_len == frame + n);
            assert_non_null(memchr(back.spec.label, 0, sizeof back.spec.label));
        }
        frame[0] = KL_FRAME_REPLY;
        if (kl_proto_get_reply(frame, n, &reply) == KL_OK)
            assert_true(reply.output + reply.output_len == frame + n);
    }
}

static void test_pkcs11_proto__text_with_a_nul_inside_is_refused(void **state)
{
    uint8_t frame[KL_PROTO_MAX];
    struct kl_token_request req = sample_request(), back;
    uint64_t id;
    (void)state;
    size_t n = kl_proto_put_request(frame, 1, &req);
    uint8_t *label = memmem(frame, n, "a label", 7);
    assert_non_null(label);
    label[1] = 0;
    assert_int_equal(kl_proto_get_request(frame, n, &id, &back), KL_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pkcs11_proto__a_request_comes_back_as_it_was),
        cmocka_unit_test(test_pkcs11_proto__the_longest_frames_fit),
        cmocka_unit_test(test_pkcs11_proto__the_longest_configuration_fits),
        cmocka_unit_test(test_pkcs11_proto__a_greeting_comes_back_as_it_was),
        cmocka_unit_test(test_pkcs11_proto__a_pin_and_the_wish_for_one_come_back),
        cmocka_unit_test(test_pkcs11_proto__every_cut_and_every_tail_is_refused),
        cmocka_unit_test(test_pkcs11_proto__random_damage_never_leaves_the_frame),
        cmocka_unit_test(test_pkcs11_proto__text_with_a_nul_inside_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
