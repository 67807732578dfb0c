#include "wrap/container/header.h"

#include "wrap/container/bytes.h"

#include <openssl/evp.h>
#include <string.h>

enum {
    AT_MAGIC = 0,
    AT_FORMAT = 8,
    AT_SUITE = 10,
    AT_SEGMENT = 12,
    AT_MODE = 13,
    AT_FLAGS = 14,
    AT_POINT = 16,
    AT_DEK = 32,
    AT_VAULT = 48,
    AT_ITEM = 64,
    AT_STREAM = 80,
    AT_CONTENT = 84,
    AT_CREATED = 88,
    AT_SALT = 96,
    AT_PADDING = 128,
    AT_HASH = 4032,
    AT_COMMITMENT = 4064,
};

enum { FORMAT_1 = 1, SUITE_HKDF_SHA256_AES256_GCM = 1 };

int kl_core_segment_valid(unsigned segment_log2)
{
    return segment_log2 == 16 || segment_log2 == 20 || segment_log2 == 22;
}

static enum kl_code hash_of(const uint8_t *bytes, uint8_t *ret, struct kl_err *err)
{
    if (EVP_Digest(bytes, AT_HASH, ret, NULL, EVP_sha256(), NULL) != 1)
        return kl_fail_ossl(err, "EVP_Digest", "the header cannot be hashed");
    return KL_OK;
}

enum kl_code kl_header_format(struct kl_core *core, uint8_t ret[static KL_CORE_BYTES],
                              struct kl_err *err)
{
    uint8_t bytes[KL_CORE_BYTES] = {0};
    memcpy(bytes + AT_MAGIC, KL_CONTAINER_MAGIC, 8);
    kl_be_put(bytes + AT_FORMAT, FORMAT_1, 2);
    kl_be_put(bytes + AT_SUITE, SUITE_HKDF_SHA256_AES256_GCM, 2);
    bytes[AT_SEGMENT] = core->segment_log2;
    bytes[AT_MODE] = core->mode;
    memcpy(bytes + AT_POINT, core->point_id, 16);
    memcpy(bytes + AT_DEK, core->dek_id, 16);
    memcpy(bytes + AT_VAULT, core->vault_id, 16);
    memcpy(bytes + AT_ITEM, core->item_id, 16);
    kl_be_put(bytes + AT_STREAM, core->stream_no, 4);
    kl_be_put(bytes + AT_CONTENT, core->content_type, 4);
    kl_be_put(bytes + AT_CREATED, (uint64_t)core->created_ms, 8);
    memcpy(bytes + AT_SALT, core->commit_salt, KL_HASH_BYTES);
    enum kl_code code = hash_of(bytes, bytes + AT_HASH, err);
    if (code != KL_OK)
        return code;
    memcpy(core->hash, bytes + AT_HASH, KL_HASH_BYTES);
    memcpy(bytes + AT_COMMITMENT, core->commitment, KL_HASH_BYTES);
    memcpy(ret, bytes, sizeof bytes);
    return KL_OK;
}

static enum kl_code check_kind(const uint8_t *bytes, struct kl_err *err)
{
    if (memcmp(bytes + AT_MAGIC, KL_CONTAINER_MAGIC, 8) != 0)
        return kl_fail(err, KL_WRAP_FORMAT, "header", "this is not a kluis container");
    const unsigned format = (unsigned)kl_be_get(bytes + AT_FORMAT, 2);
    if (format != FORMAT_1)
        return kl_fail(err, KL_WRAP_FORMAT, "header",
                       "the container has format version %u, this program reads version 1", format);
    const unsigned suite = (unsigned)kl_be_get(bytes + AT_SUITE, 2);
    if (suite != SUITE_HKDF_SHA256_AES256_GCM)
        return kl_fail(err, KL_WRAP_FORMAT, "header",
                       "the container uses cipher suite %u, this program knows suite 1", suite);
    return KL_OK;
}

static enum kl_code check_fields(const uint8_t *bytes, struct kl_err *err)
{
    if (!kl_core_segment_valid(bytes[AT_SEGMENT]))
        return kl_fail(err, KL_WRAP_HEADER, "header", "segment size 2^%u is not one of the format",
                       bytes[AT_SEGMENT]);
    if (bytes[AT_MODE] < KL_MODE_PLATFORM || bytes[AT_MODE] > KL_MODE_PASSPHRASE)
        return kl_fail(err, KL_WRAP_HEADER, "header", "key mode %u is not one of the format",
                       bytes[AT_MODE]);
    if (kl_be_get(bytes + AT_FLAGS, 2) != 0)
        return kl_fail(err, KL_WRAP_HEADER, "header", "a flag is set that format 1 does not have");
    const size_t at = kl_first_nonzero(bytes, AT_PADDING, AT_HASH);
    if (at != AT_HASH)
        return kl_fail(err, KL_WRAP_HEADER, "header",
                       "the header's padding is not zero (byte %zu of the file)", at);
    return KL_OK;
}

enum kl_code kl_header_parse(const uint8_t bytes[static KL_CORE_BYTES], struct kl_core *ret,
                             struct kl_err *err)
{
    uint8_t hash[KL_HASH_BYTES];
    enum kl_code code = check_kind(bytes, err);
    if (code == KL_OK)
        code = hash_of(bytes, hash, err);
    if (code != KL_OK)
        return code;
    if (memcmp(hash, bytes + AT_HASH, sizeof hash) != 0)
        return kl_fail(err, KL_WRAP_HEADER, "header",
                       "the header was edited or damaged: its own hash does not fit");
    code = check_fields(bytes, err);
    if (code != KL_OK)
        return code;
    struct kl_core core = {
        .segment_log2 = bytes[AT_SEGMENT],
        .mode = bytes[AT_MODE],
        .stream_no = (uint32_t)kl_be_get(bytes + AT_STREAM, 4),
        .content_type = (uint32_t)kl_be_get(bytes + AT_CONTENT, 4),
        .created_ms = (int64_t)kl_be_get(bytes + AT_CREATED, 8),
    };
    memcpy(core.point_id, bytes + AT_POINT, 16);
    memcpy(core.dek_id, bytes + AT_DEK, 16);
    memcpy(core.vault_id, bytes + AT_VAULT, 16);
    memcpy(core.item_id, bytes + AT_ITEM, 16);
    memcpy(core.commit_salt, bytes + AT_SALT, KL_HASH_BYTES);
    memcpy(core.hash, hash, KL_HASH_BYTES);
    memcpy(core.commitment, bytes + AT_COMMITMENT, KL_HASH_BYTES);
    *ret = core;
    return KL_OK;
}
