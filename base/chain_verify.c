#include "base/chain_parts.h"

#include "base/encoding.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <openssl/ecdsa.h>
#include <openssl/rsa.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

struct verifier {
    EVP_MD_CTX *hasher;
    EVP_PKEY *key; /* NULL = signatures are not checked */
    char key_id[KL_CHAIN_HEX + 1];
    struct kl_chain_point at, head;
    bool has_head;
    uint8_t (*recent)[KL_CHAIN_BYTES]; /* chain of line n at n % KL_CHAIN_LOOK_BACK */
    struct kl_chain_report report;
    const char *fault;
};

/* The next line into v->line, without its line feed. False at the end, an unfinished last line
 * being none. */
static bool read_line(FILE *f, char *line, size_t *ret_n, const char **ret_fault)
{
    size_t n = 0;
    for (int c; (c = getc_unlocked(f)) != EOF;) {
        if (c == '\n') {
            *ret_n = n;
            return true;
        }
        if (n == KL_CHAIN_MAX_LINE) {
            *ret_fault = "it is longer than any line of a log";
            return false;
        }
        line[n++] = (char)c;
    }
    if (ferror(f))
        *ret_fault = "it cannot be read";
    return false;
}

static bool key_id_of(EVP_PKEY *key, char out[static KL_CHAIN_HEX + 1])
{
    unsigned char *der = NULL, digest[SHA256_DIGEST_LENGTH];
    int n = i2d_PUBKEY(key, &der);
    if (n <= 0)
        return false;
    (void)SHA256(der, (size_t)n, digest);
    OPENSSL_free(der);
    kl_hex(digest, sizeof digest, out);
    return true;
}

/* JOSE's r || s (RFC 7518 section 3.4) to the DER that OpenSSL takes; *ret is OPENSSL_malloc'd. */
static int ecdsa_der(const uint8_t *raw, size_t n, unsigned char **ret)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(raw, (int)(n / 2), NULL), *s = BN_bin2bn(raw + n / 2, (int)(n / 2), NULL);
    int length = -1;
    if (sig == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(sig, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        length = i2d_ECDSA_SIG(sig, ret);
    }
    ECDSA_SIG_free(sig);
    return length;
}

static bool signature_fits(EVP_PKEY *key, const char *alg, const uint8_t *raw, size_t n,
                           const struct kl_buf *message)
{
    static const struct {
        const char *alg, *hash;
        int type, pss;
        size_t raw_len; /* of r || s */
    } rows[] = {
        {"ES256", "SHA256", EVP_PKEY_EC, 0, 64},  {"ES384", "SHA384", EVP_PKEY_EC, 0, 96},
        {"ES512", "SHA512", EVP_PKEY_EC, 0, 132}, {"RS256", "SHA256", EVP_PKEY_RSA, 0, 0},
        {"RS384", "SHA384", EVP_PKEY_RSA, 0, 0},  {"RS512", "SHA512", EVP_PKEY_RSA, 0, 0},
        {"PS256", "SHA256", EVP_PKEY_RSA, 1, 0},  {"PS384", "SHA384", EVP_PKEY_RSA, 1, 0},
        {"PS512", "SHA512", EVP_PKEY_RSA, 1, 0},
    };
    size_t i = 0;
    while (i < KL_COUNT(rows) && strcmp(rows[i].alg, alg) != 0)
        i++;
    if (i == KL_COUNT(rows) || EVP_PKEY_get_base_id(key) != rows[i].type ||
        (rows[i].raw_len != 0 && rows[i].raw_len != n))
        return false;
    unsigned char *der = NULL;
    int length = rows[i].raw_len != 0 ? ecdsa_der(raw, n, &der) : (int)n;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pkey_ctx = NULL;
    bool ok = length > 0 && ctx != NULL &&
              EVP_DigestVerifyInit_ex(ctx, &pkey_ctx, rows[i].hash, NULL, NULL, key, NULL) == 1 &&
              (!rows[i].pss ||
               (EVP_PKEY_CTX_set_rsa_padding(pkey_ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(pkey_ctx, RSA_PSS_SALTLEN_DIGEST) == 1)) &&
              EVP_DigestVerify(ctx, der != NULL ? der : raw, (size_t)length,
                               (const unsigned char *)message->bytes, message->len) == 1;
    EVP_MD_CTX_free(ctx);
    OPENSSL_free(der);
    return ok;
}

/* The place that a checkpoint on the line behind `before` speaks of. */
static bool recall(const struct verifier *v, const struct kl_chain_point *before, int64_t seq,
                   struct kl_chain_point *ret)
{
    if (seq < 0 || (uint64_t)seq > before->seq || before->seq - (uint64_t)seq >= KL_CHAIN_LOOK_BACK)
        return false;
    ret->seq = (uint64_t)seq;
    memcpy(ret->chain, v->recent[ret->seq % KL_CHAIN_LOOK_BACK], KL_CHAIN_BYTES);
    return true;
}

static const char *check_checkpoint(struct verifier *v, const struct kl_chain_point *before,
                                    const char *line, size_t n)
{
    struct kl_chain_point place = {0};
    KL_AUTO(json) json = NULL;
    int64_t seq = 0;
    const char *chain = NULL, *alg = NULL, *kid = NULL, *sig = NULL;
    char expected[KL_CHAIN_HEX + 1];
    uint8_t raw[1024];
    size_t raw_len = 0;
    const json_t *c =
        kl_json_parse(line, n, &json, NULL) == KL_OK ? json_object_get(json, "checkpoint") : NULL;
    if (c == NULL || kl_json_int(c, "seq", 0, INT64_MAX, &seq, NULL) != KL_OK ||
        kl_json_string(c, "chain", &chain, NULL) != KL_OK || chain == NULL ||
        kl_json_string(c, "alg", &alg, NULL) != KL_OK || alg == NULL ||
        kl_json_string(c, "kid", &kid, NULL) != KL_OK || kid == NULL ||
        kl_json_string(c, "sig", &sig, NULL) != KL_OK || sig == NULL ||
        kl_b64url_decode(sig, strlen(sig), raw, sizeof raw, &raw_len) != KL_OK)
        return "its checkpoint is malformed";
    bool known = recall(v, before, seq, &place);
    kl_hex(place.chain, KL_CHAIN_BYTES, expected);
    if (!known || strcmp(chain, expected) != 0)
        return "its checkpoint is about another place of the log";
    if (place.seq <= v->report.covered_seq)
        return "its checkpoint covers nothing new: an old one was put in again";
    v->report.covered_seq = place.seq;
    if (v->key == NULL)
        return NULL;
    if (strcmp(kid, v->key_id) != 0)
        return "its checkpoint was signed by another key";
    struct kl_buf message = KL_BUF_INIT(256);
    kl_chain_put_signed(&place, &message);
    bool ok = !kl_buf_failed(&message) && signature_fits(v->key, alg, raw, raw_len, &message);
    kl_buf_done(&message);
    return ok ? NULL : "the signature of its checkpoint is wrong";
}

static const char *check_line(struct verifier *v, const char *line, size_t n)
{
    const struct kl_chain_point before = v->at;
    const char *fault = kl_chain_check_line(v->hasher, &v->at, line, n);
    memcpy(v->recent[v->at.seq % KL_CHAIN_LOOK_BACK], v->at.chain, KL_CHAIN_BYTES);
    bool checkpoint = fault == NULL && kl_chain_is_checkpoint(line, n);
    if (checkpoint)
        fault = check_checkpoint(v, &before, line, n);
    if (fault == NULL && v->has_head && v->at.seq == v->head.seq &&
        (v->at.size != v->head.size || memcmp(v->at.chain, v->head.chain, sizeof v->at.chain) != 0))
        fault = "the head file knows another line with this number: the log was written anew";
    if (fault != NULL)
        return fault;
    v->report.lines++;
    v->report.last_seq = v->at.seq;
    if (checkpoint) {
        v->report.checkpoints++;
        v->report.last_checkpoint_seq = v->at.seq;
    }
    return NULL;
}

static enum kl_code check_file(struct verifier *v, const char *path, FILE *f, char *line,
                               struct kl_err *err)
{
    size_t n = 0;
    const char *fault = NULL;
    while (fault == NULL && read_line(f, line, &n, &fault))
        fault = check_line(v, line, n);
    kl_hex(v->at.chain, KL_CHAIN_BYTES, v->report.last_chain);
    if (fault != NULL) {
        v->report.bad_line = v->report.lines + 1;
        return kl_fail(err, KL_CORRUPT, "chain", "%s line %llu: %s", path,
                       (unsigned long long)v->report.bad_line, fault);
    }
    if (v->has_head && v->head.seq > v->at.seq) {
        v->report.tail_missing = true;
        return kl_fail(
            err, KL_CORRUPT, "chain",
            "%s ends at sequence number %llu, but its head file knows %llu: the end was cut off",
            path, (unsigned long long)v->at.seq, (unsigned long long)v->head.seq);
    }
    return KL_OK;
}

enum kl_code kl_chain_verify(const char *path, const char *head_path, EVP_PKEY *key,
                             struct kl_chain_report *ret, struct kl_err *err)
{
    struct verifier v = {.key = key};
    if (key != NULL && !key_id_of(key, v.key_id))
        return kl_fail_ossl(err, "i2d_PUBKEY", "the audit key cannot be used");
    /* The head before the log: a writer at work then only adds lines that the head does not know.
     */
    if (head_path != NULL) {
        enum kl_code code = kl_chain_read_head(head_path, &v.head, err);
        if (code == KL_NOT_FOUND)
            return kl_fail(err, KL_CORRUPT, "chain", "%s lacks its head file %s", path, head_path);
        if (code != KL_OK)
            return code;
        v.has_head = true;
    }
    KL_AUTO(file) f = fopen(path, "re");
    if (f == NULL)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    KL_AUTO(char) line = malloc(KL_CHAIN_MAX_LINE);
    v.hasher = kl_chain_hasher();
    v.recent = calloc(KL_CHAIN_LOOK_BACK, sizeof *v.recent);
    if (line == NULL || v.hasher == NULL || v.recent == NULL) {
        EVP_MD_CTX_free(v.hasher);
        free(v.recent);
        return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory to check %s", path);
    }
    enum kl_code code = check_file(&v, path, f, line, err);
    EVP_MD_CTX_free(v.hasher);
    free(v.recent);
    *ret = v.report;
    return code;
}
