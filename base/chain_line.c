#include "base/chain_parts.h"

#include "base/encoding.h"
#include "base/io.h"
#include "base/json.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#define HEAD_SIZE 192

static const char chain_begin[] = ",\"chain\":\"";
static const char chain_end[] = "\"}";
#define TAIL_SIZE (sizeof chain_begin - 1 + KL_CHAIN_HEX + sizeof chain_end - 1)

EVP_MD_CTX *kl_chain_hasher(void)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        return NULL;
    }
    return ctx;
}

static bool chain_of(EVP_MD_CTX *hasher, const uint8_t before[static KL_CHAIN_BYTES],
                     const char *bytes, size_t n, uint8_t out[static KL_CHAIN_BYTES])
{
    return EVP_DigestInit_ex(hasher, NULL, NULL) == 1 &&
           EVP_DigestUpdate(hasher, before, KL_CHAIN_BYTES) == 1 &&
           EVP_DigestUpdate(hasher, bytes, n) == 1 && EVP_DigestFinal_ex(hasher, out, NULL) == 1;
}

void kl_chain_put_line(EVP_MD_CTX *hasher, struct kl_chain_point *at, const char *members, size_t n,
                       struct kl_buf *out)
{
    char hex[KL_CHAIN_HEX + 1];
    size_t start = out->len;
    kl_buf_printf(out, "{\"seq\":%" PRIu64, at->seq + 1);
    if (n > 0)
        kl_buf_putc(out, ',');
    kl_buf_put(out, members, n);
    if (kl_buf_failed(out) ||
        !chain_of(hasher, at->chain, out->bytes + start, out->len - start, at->chain)) {
        out->failed = true;
        return;
    }
    kl_hex(at->chain, KL_CHAIN_BYTES, hex);
    kl_buf_put(out, chain_begin, sizeof chain_begin - 1);
    kl_buf_put(out, hex, KL_CHAIN_HEX);
    kl_buf_put(out, chain_end, sizeof chain_end - 1);
    kl_buf_putc(out, '\n');
    at->seq++;
    at->size += out->len - start;
}

/* The number behind {"seq": and where it ends; 0 when there is none. */
static uint64_t sequence_of(const char *line, size_t n, const char **ret_end)
{
    static const char begin[] = "{\"seq\":";
    const size_t skip = sizeof begin - 1;
    uint64_t seq = 0;
    if (n < skip + 1 || memcmp(line, begin, skip) != 0 || line[skip] == '0')
        return 0;
    size_t i = skip;
    while (i < n && line[i] >= '0' && line[i] <= '9' && i < skip + 19)
        seq = seq * 10 + (uint64_t)(line[i++] - '0');
    *ret_end = line + i;
    return i < n && line[i] != ',' ? 0 : seq;
}

const char *kl_chain_check_line(EVP_MD_CTX *hasher, struct kl_chain_point *at, const char *line,
                                size_t n)
{
    const char *end = NULL;
    size_t body = n > TAIL_SIZE ? n - TAIL_SIZE : 0;
    uint8_t expected[KL_CHAIN_BYTES];
    char hex[KL_CHAIN_HEX + 1];
    uint64_t seq = sequence_of(line, body, &end);
    if (seq == 0 || memcmp(line + body, chain_begin, sizeof chain_begin - 1) != 0 ||
        memcmp(line + n - 2, chain_end, 2) != 0)
        return "it is not a line of this log";
    if (seq != at->seq + 1)
        return "its sequence number does not follow (lines are missing, were moved or put in)";
    if (!chain_of(hasher, at->chain, line, body, expected))
        return "its chain value cannot be computed";
    kl_hex(expected, sizeof expected, hex);
    if (memcmp(line + body + sizeof chain_begin - 1, hex, KL_CHAIN_HEX) != 0)
        return "its chain value does not fit (this line or the one before it was changed)";
    memcpy(at->chain, expected, sizeof expected);
    at->seq = seq;
    at->size += n + 1;
    return NULL;
}

bool kl_chain_is_checkpoint(const char *line, size_t n)
{
    static const char mark[] = ",\"checkpoint\":{";
    const char *end = NULL;
    return sequence_of(line, n, &end) != 0 && n - (size_t)(end - line) >= sizeof mark &&
           memcmp(end, mark, sizeof mark - 1) == 0;
}

void kl_chain_put_signed(const struct kl_chain_point *at, struct kl_buf *out)
{
    char hex[KL_CHAIN_HEX + 1];
    kl_hex(at->chain, KL_CHAIN_BYTES, hex);
    kl_buf_printf(out, "kluis-chain-checkpoint-v1\n%" PRIu64 "\n%s\n", at->seq, hex);
}

enum kl_code kl_chain_write_at(int fd, const void *bytes, size_t n, uint64_t offset,
                               struct kl_err *err)
{
    const char *p = bytes;
    while (n > 0) {
        ssize_t done = pwrite(fd, p, n, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return kl_fail_errno(err, "pwrite", "writing failed");
        p += done;
        n -= (size_t)done;
        offset += (uint64_t)done;
    }
    return KL_OK;
}

enum kl_code kl_chain_write_head(int fd, const struct kl_chain_point *at, struct kl_err *err)
{
    char text[HEAD_SIZE], hex[KL_CHAIN_HEX + 1];
    kl_hex(at->chain, KL_CHAIN_BYTES, hex);
    memset(text, ' ', sizeof text);
    int n =
        snprintf(text, sizeof text, "{\"seq\":%" PRIu64 ",\"size\":%" PRIu64 ",\"chain\":\"%s\"}",
                 at->seq, at->size, hex);
    text[n] = ' ';
    text[HEAD_SIZE - 1] = '\n';
    return kl_chain_write_at(fd, text, sizeof text, 0, err);
}

enum kl_code kl_chain_parse_head(const char *text, size_t n, struct kl_chain_point *ret,
                                 struct kl_err *err)
{
    KL_AUTO(json) json = NULL;
    int64_t seq = -1, size = -1;
    const char *chain = NULL;
    struct kl_chain_point at = {0};
    if (kl_json_parse(text, n, &json, NULL) != KL_OK ||
        kl_json_int(json, "seq", 0, INT64_MAX, &seq, NULL) != KL_OK ||
        kl_json_int(json, "size", 0, INT64_MAX, &size, NULL) != KL_OK ||
        kl_json_string(json, "chain", &chain, NULL) != KL_OK || seq < 0 || size < 0 ||
        chain == NULL || kl_unhex(chain, at.chain, sizeof at.chain) != KL_OK)
        return kl_fail(err, KL_CORRUPT, "head", "this is not the head of a log");
    at.seq = (uint64_t)seq;
    at.size = (uint64_t)size;
    *ret = at;
    return KL_OK;
}

enum kl_code kl_chain_read_head(const char *path, struct kl_chain_point *ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    enum kl_code code = kl_io_read_file(path, 4096, &text, &n, err);
    if (code != KL_OK)
        return code;
    if (n == 0)
        return kl_fail(err, KL_NOT_FOUND, "head", "the head file %s is empty", path);
    if (kl_chain_parse_head(text, n, ret, NULL) != KL_OK)
        return kl_fail(err, KL_CORRUPT, "head", "%s is not the head file of a log", path);
    return KL_OK;
}
