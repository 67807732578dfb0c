#include "wrap/seal.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/io.h"

#include <string.h>
#include <unistd.h>

/* Random UUID, version 4 (RFC 9562 section 5.4). */
static void new_id(uint8_t id[static 16])
{
    kl_random(id, 16);
    id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
    id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

static enum kl_code new_core(const struct kl_seal_options *options, struct kl_core *ret,
                             struct kl_err *err)
{
    const unsigned log2 =
        options->segment_log2 != 0 ? options->segment_log2 : KL_DEFAULT_SEGMENT_LOG2;
    if (!kl_core_segment_valid(log2))
        return kl_fail(err, KL_BAD_INPUT, "seal", "segments are 64 KiB, 1 MiB or 4 MiB");
    struct kl_core core = {
        .segment_log2 = (uint8_t)log2,
        .mode = KL_MODE_CUSTOMER,
        .created_ms = kl_clock_unix_ms(),
    };
    new_id(core.point_id);
    new_id(core.dek_id);
    *ret = core;
    return KL_OK;
}

static enum kl_code wrap_dek(const struct kl_kek *kek, const struct kl_seal_options *options,
                             struct kl_secret *dek, struct kl_slot *ret, struct kl_err *err)
{
    const char *alg = options->alg != NULL ? options->alg : KL_DEFAULT_ALG;
    const char *principal = options->principal != NULL ? options->principal : "";
    struct kl_slot slot = {.state = KL_SLOT_USABLE, .alg = kl_slot_alg_find(alg)};
    size_t n = 0;
    if (!kl_key_url_valid(options->key_url, false))
        return kl_fail(
            err, KL_BAD_INPUT, "seal",
            "a key is named by its URL, https://VAULT/keys/NAME or with /VERSION: %.160s",
            options->key_url);
    if (slot.alg == 0 || strlen(principal) > KL_SLOT_PRINCIPAL_MAX)
        return kl_fail(err, KL_BAD_INPUT, "seal", "%.60s is not a wrap algorithm of containers",
                       alg);
    enum kl_code code =
        kek->wrap(kek->arg, options->key_url, alg, dek, slot.wrapped, &n, slot.kek, err);
    if (code != KL_OK)
        return code;
    slot.wrapped_len = (uint16_t)n;
    (void)snprintf(slot.principal, sizeof slot.principal, "%s", principal);
    *ret = slot;
    return KL_OK;
}

static enum kl_code new_dek(struct kl_secret **ret, struct kl_err *err)
{
    KL_AUTO(secret) dek = kl_secret_new(KL_DEK_BYTES);
    if (dek == NULL || kl_secret_resize(dek, KL_DEK_BYTES) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for the data key");
    kl_random(kl_secret_bytes(dek), KL_DEK_BYTES);
    *ret = kl_take(dek);
    return KL_OK;
}

enum kl_code kl_seal(const struct kl_kek *kek, const struct kl_seal_options *options, int in_fd,
                     int out_fd, uint64_t *ret_bytes, struct kl_err *err)
{
    KL_AUTO(secret) dek = NULL;
    struct kl_core core;
    struct kl_slot slot;
    struct kl_head head;
    KL_KEYS keys;
    enum kl_code code = new_core(options, &core, err);
    if (code == KL_OK)
        code = new_dek(&dek, err);
    if (code == KL_OK)
        code = wrap_dek(kek, options, dek, &slot, err);
    if (code == KL_OK)
        code = kl_head_make(&core, &slot, dek, &head, &keys, err);
    if (code == KL_OK)
        code = kl_io_write_all(out_fd, head.bytes, KL_HEAD_BYTES, err);
    if (code == KL_OK)
        code = kl_stream_seal(&head.core, &keys, in_fd, out_fd, options->stream, ret_bytes, err);
    return code;
}

static void warn_of_broken_slots(const struct kl_head *head,
                                 const struct kl_unseal_options *options)
{
    for (int i = 0; i < 2 && options->warn != NULL; i++)
        if (head->slots[i].state == KL_SLOT_BROKEN)
            options->warn(options->arg, head->slot_errs[i].text);
}

/* One pass that writes nothing, then back to where it began. */
static enum kl_code verify_pass(const struct kl_head *head, const struct kl_keys *keys, int in_fd,
                                const struct kl_stream_options *stream, struct kl_err *err)
{
    uint64_t bytes = 0;
    const off_t begin = lseek(in_fd, 0, SEEK_CUR);
    if (begin < 0)
        return kl_fail(err, KL_BAD_INPUT, "lseek",
                       "verifying first needs a file as input, not a pipe");
    enum kl_code code = kl_stream_open(&head->core, keys, in_fd, -1, stream, &bytes, err);
    if (code == KL_OK && lseek(in_fd, begin, SEEK_SET) != begin)
        return kl_fail_errno(err, "lseek", "the input cannot be read twice");
    return code;
}

enum kl_code kl_unseal(const struct kl_kek *kek, const struct kl_unseal_options *options, int in_fd,
                       int out_fd, uint64_t *ret_bytes, struct kl_err *err)
{
    KL_AUTO(secret) dek = NULL;
    struct kl_head head;
    KL_KEYS keys;
    int used = 0;
    enum kl_code code = kl_head_read(in_fd, false, &head, err);
    if (code == KL_OK)
        code = kl_head_unlock(&head, kek, &dek, &keys, &used, err);
    if (code != KL_OK)
        return code;
    warn_of_broken_slots(&head, options);
    if (options->verify_first)
        code = verify_pass(&head, &keys, in_fd, options->stream, err);
    if (code == KL_OK)
        code = kl_stream_open(&head.core, &keys, in_fd, out_fd, options->stream, ret_bytes, err);
    return code;
}
