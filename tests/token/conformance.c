#include "tests/token/conformance.h"

#include "base/encoding.h"
#include "tests/token/keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <pthread.h>
#include <string.h>

static void must(enum kl_code code, const struct kl_err *err)
{
    if (code != KL_OK)
        fail_msg("%s: %s (%s)", kl_code_name(code), err->text, err->op);
}

static struct test_key make(struct kl_token *t, struct kl_key_spec spec)
{
    struct test_key k;
    struct kl_err err;
    must(keys_generate(t, &spec, &k, &err), &err);
    return k;
}

static void destroy(struct kl_token *t, const struct test_key *k)
{
    struct kl_err err;
    must(keys_simple(t, KL_CALL_DESTROY, k, &err), &err);
}

void conformance__a_new_key_decrypts_with_every_alg(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    static const uint32_t sizes[] = {2048, 3072};
    for (size_t i = 0; i < KL_COUNT(sizes); i++) {
        struct test_key k = make(t, keys_rsa(sizes[i], KL_PROFILE_FIXED, true, false));
        for (int alg = KL_ALG_OAEP_SHA1; alg <= KL_ALG_OAEP_SHA512; alg++)
            must(keys_round_trip(t, &k, (enum kl_token_alg)alg, &err), &err);
        destroy(t, &k);
    }
}

void conformance__a_new_key_signs_with_every_alg(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, false, true));
    for (int alg = KL_ALG_RS256; alg <= KL_ALG_PS512; alg++) {
        bool good = false;
        must(keys_sign(t, &k, (enum kl_token_alg)alg, &good, &err), &err);
        assert_true(good);
    }
    destroy(t, &k);
}

void conformance__every_curve_signs(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    for (int i = 0; i < 3; i++) {
        bool good = false;
        struct test_key k = make(t, keys_ec((enum kl_curve)(KL_CURVE_P256 + i), KL_PROFILE_FIXED));
        must(keys_sign(t, &k, (enum kl_token_alg)(KL_ALG_ES256 + i), &good, &err), &err);
        assert_true(good);
        destroy(t, &k);
    }
}

static void must_look_like(const struct kl_err *first, const struct kl_err *err)
{
    assert_int_equal(err->code, KL_DECRYPT_FAILED);
    assert_int_equal(err->domain, first->domain);
    assert_int_equal(err->native, first->native);
    assert_string_equal(err->op, first->op);
    assert_string_equal(err->text, first->text);
    assert_string_equal(err->detail, first->detail);
}

void conformance__bad_ciphertexts_all_look_the_same(void **state)
{
    struct kl_token *t = *state;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    uint8_t cipher[512], out[512];
    size_t got;
    struct kl_err first = {.code = KL_OK}, err;
    for (int alg = KL_ALG_OAEP_SHA1; alg <= KL_ALG_OAEP_SHA512; alg++) {
        enum kl_token_alg a = (enum kl_token_alg)alg;
        size_t n = keys_encrypt(&k, a, "x", 1, cipher);
        cipher[n - 1] ^= 1;
        assert_int_equal(keys_decrypt(t, &k, a, cipher, n, out, &got, &err), KL_DECRYPT_FAILED);
        if (alg == KL_ALG_OAEP_SHA1)
            first = err;
        must_look_like(&first, &err);
        assert_int_equal(keys_decrypt(t, &k, a, cipher, n - 1, out, &got, &err), KL_DECRYPT_FAILED);
        must_look_like(&first, &err);
        memset(cipher, 0xff, sizeof cipher);
        assert_int_equal(keys_decrypt(t, &k, a, cipher, n, out, &got, &err), KL_DECRYPT_FAILED);
        must_look_like(&first, &err);
        memset(cipher, 0, sizeof cipher);
        assert_int_equal(keys_decrypt(t, &k, a, cipher, n, out, &got, &err), KL_DECRYPT_FAILED);
        must_look_like(&first, &err);
        assert_int_equal(keys_decrypt(t, &k, a, cipher, 0, out, &got, &err), KL_DECRYPT_FAILED);
        must_look_like(&first, &err);
        must(keys_round_trip(t, &k, a, &err), &err);
    }
    destroy(t, &k);
}

void conformance__a_plain_text_that_begins_with_zeros_comes_back_whole(void **state)
{
    static const uint8_t plain[32] = {0, 0, 7};
    struct kl_token *t = *state;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    for (int alg = KL_ALG_OAEP_SHA1; alg <= KL_ALG_OAEP_SHA512; alg++) {
        uint8_t cipher[512], out[512];
        size_t got = 0;
        struct kl_err err;
        size_t n = keys_encrypt(&k, (enum kl_token_alg)alg, plain, sizeof plain, cipher);
        must(keys_decrypt(t, &k, (enum kl_token_alg)alg, cipher, n, out, &got, &err), &err);
        assert_int_equal(got, sizeof plain);
        assert_memory_equal(out, plain, sizeof plain);
    }
    destroy(t, &k);
}

void conformance__another_fingerprint_is_another_key(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    struct test_key other = k;
    other.ref.spki_hash[0] ^= 1;
    assert_int_equal(keys_round_trip(t, &other, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_KEY_MISSING);
    must(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), &err);
    destroy(t, &k);
}

void conformance__find_shows_the_public_key(void **state)
{
    struct kl_token *t = *state;
    struct test_key keys[] = {make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false)),
                              make(t, keys_ec(KL_CURVE_P521, KL_PROFILE_FIXED))};
    for (size_t i = 0; i < KL_COUNT(keys); i++) {
        KL_AUTO(secret) out = NULL;
        struct kl_err err;
        struct kl_token_request req = {.call = KL_CALL_FIND};
        memcpy(req.key.id, keys[i].ref.id, KL_KEY_ID_LEN);
        must(kl_token_call(t, &req, &out, NULL, &err), &err);
        assert_int_equal(kl_secret_len(out), keys[i].spki_len);
        assert_memory_equal(kl_secret_bytes(out), keys[i].spki, keys[i].spki_len);
        destroy(t, &keys[i]);
        assert_int_equal(kl_token_call(t, &req, NULL, NULL, &err), KL_TOKEN_KEY_MISSING);
    }
}

void conformance__an_id_is_given_once(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    struct test_key k = make(t, keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED));
    bool good = false;
    assert_int_equal(keys_simple(t, KL_CALL_GENERATE, &k, &err), KL_EXISTS);
    must(keys_sign(t, &k, KL_ALG_ES256, &good, &err), &err);
    assert_true(good);
    destroy(t, &k);
}

void conformance__a_destroyed_key_is_gone_and_destroying_again_is_fine(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    destroy(t, &k);
    assert_int_equal(keys_round_trip(t, &k, KL_ALG_OAEP_SHA1, &err), KL_TOKEN_KEY_MISSING);
    destroy(t, &k);
}

void conformance__random_bytes_come_in_the_wanted_number(void **state)
{
    struct kl_token *t = *state;
    static const uint32_t counts[] = {1, 32, 5000, KL_TOKEN_MAX_INPUT};
    for (size_t i = 0; i < KL_COUNT(counts); i++) {
        KL_AUTO(secret) a = NULL;
        KL_AUTO(secret) b = NULL;
        struct kl_err err;
        struct kl_token_request req = {.call = KL_CALL_RANDOM, .count = counts[i]};
        must(kl_token_call(t, &req, &a, NULL, &err), &err);
        must(kl_token_call(t, &req, &b, NULL, &err), &err);
        assert_int_equal(kl_secret_len(a), counts[i]);
        assert_true(counts[i] < 16 || !kl_secret_equal(a, b));
    }
}

static struct kl_secret *mac(struct kl_token *t, const char *text)
{
    struct kl_secret *out = NULL;
    struct kl_err err;
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = text, .input_len = strlen(text)};
    must(kl_token_call(t, &req, &out, NULL, &err), &err);
    assert_int_equal(kl_secret_len(out), 32);
    return out;
}

void conformance__the_mac_depends_on_the_input_only(void **state)
{
    KL_AUTO(secret) a = mac(*state, "one");
    KL_AUTO(secret) b = mac(*state, "one");
    KL_AUTO(secret) c = mac(*state, "two");
    assert_true(kl_secret_equal(a, b));
    assert_false(kl_secret_equal(a, c));
}

/* Wrap, destroy, unwrap under another id, use. */
static void out_and_in(struct kl_token *t, struct kl_key_spec spec)
{
    KL_AUTO(secret) blob = NULL;
    KL_AUTO(secret) spki = NULL;
    struct kl_err err;
    bool good = false;
    uint64_t mechanism = 0;
    struct test_key k = make(t, spec);
    struct kl_token_request req = {.call = KL_CALL_WRAP, .key = k.ref};
    must(kl_token_call(t, &req, &blob, &mechanism, &err), &err);
    destroy(t, &k);
    req = (struct kl_token_request){.call = KL_CALL_UNWRAP,
                                    .key = k.ref,
                                    .spec = spec,
                                    .mechanism = mechanism,
                                    .input = kl_secret_bytes(blob),
                                    .input_len = kl_secret_len(blob)};
    req.key.id[0] ^= 0xff;
    must(kl_token_call(t, &req, &spki, NULL, &err), &err);
    assert_int_equal(kl_secret_len(spki), k.spki_len);
    assert_memory_equal(kl_secret_bytes(spki), k.spki, k.spki_len);
    k.ref.id[0] ^= 0xff;
    if (spec.may_decrypt)
        must(keys_round_trip(t, &k, KL_ALG_OAEP_SHA256, &err), &err);
    if (spec.type == KL_KEY_EC) {
        must(keys_sign(t, &k, (enum kl_token_alg)(KL_ALG_ES256 + spec.curve - 1), &good, &err),
             &err);
        assert_true(good);
    }
    req.call = KL_CALL_WRAP; /* what came in can go out again */
    req.input_len = 0;
    must(kl_token_call(t, &req, NULL, NULL, &err), &err);
    destroy(t, &k);
}

void conformance__a_domain_key_goes_out_and_comes_back(void **state)
{
    out_and_in(*state, keys_rsa(2048, KL_PROFILE_DOMAIN, true, false));
    out_and_in(*state, keys_rsa(3072, KL_PROFILE_DOMAIN, true, true));
    out_and_in(*state, keys_ec(KL_CURVE_P256, KL_PROFILE_DOMAIN));
    out_and_in(*state, keys_ec(KL_CURVE_P521, KL_PROFILE_DOMAIN));
}

void conformance__a_fixed_key_stays(void **state)
{
    struct kl_token *t = *state;
    struct kl_err err;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    assert_int_equal(keys_simple(t, KL_CALL_WRAP, &k, &err), KL_TOKEN_UNSUPPORTED);
    destroy(t, &k);
}

void conformance__a_damaged_blob_leaves_nothing_behind(void **state)
{
    struct kl_token *t = *state;
    KL_AUTO(secret) blob = NULL;
    struct kl_err err;
    uint64_t mechanism = 0;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_DOMAIN, true, false));
    struct kl_token_request req = {.call = KL_CALL_WRAP, .key = k.ref};
    must(kl_token_call(t, &req, &blob, &mechanism, &err), &err);
    size_t n = kl_secret_len(blob);
    size_t places[] = {0, 1, 2, 100, n / 2, n - 1};
    req = (struct kl_token_request){.call = KL_CALL_UNWRAP,
                                    .key = k.ref,
                                    .spec = k.spec,
                                    .mechanism = mechanism,
                                    .input = kl_secret_bytes(blob),
                                    .input_len = n};
    req.key.id[0] ^= 0xff;
    struct kl_token_request look = {.call = KL_CALL_FIND};
    memcpy(look.key.id, req.key.id, KL_KEY_ID_LEN);
    for (size_t i = 0; i < KL_COUNT(places); i++) {
        kl_secret_bytes(blob)[places[i]] ^= 0x10;
        assert_int_not_equal(kl_token_call(t, &req, NULL, NULL, &err), KL_OK);
        assert_int_equal(kl_token_call(t, &look, NULL, NULL, &err), KL_TOKEN_KEY_MISSING);
        kl_secret_bytes(blob)[places[i]] ^= 0x10;
    }
    req.input_len = n - 8;
    assert_int_not_equal(kl_token_call(t, &req, NULL, NULL, &err), KL_OK);
    assert_int_equal(kl_token_call(t, &look, NULL, NULL, &err), KL_TOKEN_KEY_MISSING);
    destroy(t, &k);
}

static size_t count_listed(struct kl_token *t, const struct kl_key_ref *wanted)
{
    size_t hits = 0;
    for (uint32_t offset = 0;;) {
        KL_AUTO(secret) out = NULL;
        struct kl_err err;
        struct kl_token_request req = {.call = KL_CALL_LIST, .offset = offset};
        must(kl_token_call(t, &req, &out, NULL, &err), &err);
        size_t n = kl_secret_len(out) / sizeof(struct kl_token_listed);
        if (n == 0)
            return hits;
        for (size_t i = 0; i < n; i++) {
            struct kl_token_listed row;
            memcpy(&row, kl_secret_bytes(out) + i * sizeof row, sizeof row);
            hits += memcmp(&row.key, wanted, sizeof *wanted) == 0;
        }
        offset += (uint32_t)n;
    }
}

void conformance__list_shows_every_key_once(void **state)
{
    struct kl_token *t = *state;
    struct test_key a = make(t, keys_ec(KL_CURVE_P256, KL_PROFILE_FIXED));
    struct test_key b = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    assert_int_equal(count_listed(t, &a.ref), 1);
    assert_int_equal(count_listed(t, &b.ref), 1);
    destroy(t, &a);
    assert_int_equal(count_listed(t, &a.ref), 0);
    destroy(t, &b);
}

struct crowd {
    struct kl_token *t;
    const struct test_key *key;
    unsigned good;
};

static void *hammer(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < 50; i++) {
        struct kl_err err;
        enum kl_token_alg alg = i % 2 == 0 ? KL_ALG_OAEP_SHA1 : KL_ALG_OAEP_SHA256;
        c->good += keys_round_trip(c->t, c->key, alg, &err) == KL_OK;
    }
    return NULL;
}

void conformance__many_calls_are_answered_once_each(void **state)
{
    struct kl_token *t = *state;
    struct test_key k = make(t, keys_rsa(2048, KL_PROFILE_FIXED, true, false));
    struct crowd crowd[8];
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++) {
        crowd[i] = (struct crowd){.t = t, .key = &k};
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, &crowd[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        (void)pthread_join(threads[i], NULL);
        assert_int_equal(crowd[i].good, 50);
    }
    destroy(t, &k);
}

static void never(void *arg, struct kl_token_reply *reply)
{
    (void)arg, (void)reply;
    abort();
}

void conformance__too_much_input_is_refused(void **state)
{
    static uint8_t bytes[KL_TOKEN_MAX_INPUT + 1];
    struct kl_err err;
    struct kl_token_request req = {.call = KL_CALL_MAC, .input = bytes, .input_len = sizeof bytes};
    assert_int_equal(kl_token_submit(*state, &req, never, NULL, &err), KL_TOO_BIG);
}
