/* Every Wycheproof OAEP vector through the real decode path: client, worker, SoftHSM holding the
 * vector's key. */
#include "tests/token/keys.h"
#include "tests/token/site.h"
#include "tests/token/vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <openssl/x509.h>
#include <string.h>

static void import(const struct site *s, const struct oaep_file *f, unsigned number,
                   struct test_key *ret)
{
    char path[128], id[33];
    const uint8_t *der = f->key;
    *ret = (struct test_key){.spec = {.type = KL_KEY_RSA}};
    memset(ret->ref.id, (int)number, sizeof ret->ref.id);
    for (size_t i = 0; i < KL_KEY_ID_LEN; i++)
        (void)snprintf(id + 2 * i, 3, "%02x", number);
    EVP_PKEY *key = d2i_AutoPrivateKey(NULL, &der, (long)f->key_len);
    assert_non_null(key);
    uint8_t *p = ret->spki, bytes[3000], *q = bytes;
    ret->spki_len = (size_t)i2d_PUBKEY(key, &p);
    kl_spki_hash(ret->spki, ret->spki_len, ret->ref.spki_hash);
    int n = i2d_PrivateKey(key, &q);
    EVP_PKEY_free(key);
    (void)snprintf(path, sizeof path, "%s/key.der", s->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, (size_t)n, file), n);
    assert_int_equal(fclose(file), 0);
    const char *argv[] = {"pkcs11-tool",    "--module", s->module,         "--token-label",
                          "site",           "--login",  "--pin",           SITE_PIN,
                          "--write-object", path,       "--type",          "privkey",
                          "--id",           id,         "--usage-decrypt", NULL};
    assert_int_equal(site_run(argv), 0);
}

static void check(struct kl_token *t, const struct test_key *key, enum kl_token_alg alg,
                  const struct oaep_vector *v, struct kl_err *first)
{
    uint8_t out[512];
    size_t n = 0;
    struct kl_err err = {.code = KL_OK};
    enum kl_code code = keys_decrypt(t, key, alg, v->cipher, v->cipher_len, out, &n, &err);
    if (code != (v->good ? KL_OK : KL_DECRYPT_FAILED))
        fail_msg("vector %d: %s: %s", v->id, kl_code_name(code), err.text);
    if (v->good) {
        assert_int_equal(n, v->plain_len);
        assert_memory_equal(out, v->plain, n);
        return;
    }
    if (first->code == KL_OK)
        *first = err;
    assert_memory_equal(first, &err, sizeof err); /* to the last byte, whatever was wrong */
}

static void test_token_wycheproof__every_vector_as_published(void **state)
{
    struct site s;
    struct kl_err first = {.code = KL_OK};
    struct test_key keys[8];
    struct oaep_file files[8];
    size_t good = 0;
    (void)state;
    site_make(&s, false);
    for (unsigned i = 0; i < oaep_file_count; i++) {
        vectors_read(oaep_files[i].name, &files[i]);
        import(&s, &files[i], i + 1, &keys[i]);
    }
    struct kl_token *t = site_open(&s);
    assert_true(site_wait(t, KL_TOKEN_READY, 10000));
    for (unsigned i = 0; i < oaep_file_count; i++) {
        for (size_t v = 0; v < files[i].count; v++) {
            check(t, &keys[i], oaep_files[i].alg, &files[i].vectors[v], &first);
            good += files[i].vectors[v].good;
        }
        vectors_done(&files[i]);
    }
    assert_int_equal(good, 40);
    struct kl_token_status st;
    kl_token_status(t, &st);
    assert_int_equal(st.restarts, 0); /* no vector is mistaken for a sick token */
    kl_token_close(t);
    site_remove(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_wycheproof__every_vector_as_published)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
