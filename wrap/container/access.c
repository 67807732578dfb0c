/* Random access to a stream (stream.h): one segment at a time, without threads. */
#include "wrap/container/stream.h"

#include "wrap/container/port.h"
#include "wrap/container/tink.h"

#include <string.h>
#include <sys/stat.h>

/* A stream that is being looked into: one decrypted segment at a time. */
struct view {
    struct kl_port port;
    struct kl_tink tink;
    EVP_CIPHER_CTX *cipher;
    struct kl_secret *segment; /* plaintext of segment `index`, tag behind */
    uint64_t index, last;
    size_t plain; /* bytes of it */
};

uint64_t kl_stream_plain_bytes(const struct kl_core *core, uint64_t stream_bytes)
{
    const struct kl_tink shape = {.segment_bytes = kl_core_segment_bytes(core)};
    if (stream_bytes < KL_TINK_HEADER_BYTES + KL_TINK_TAG_BYTES)
        return UINT64_MAX;
    const uint64_t last = (stream_bytes - 1) / shape.segment_bytes;
    const uint64_t rest = stream_bytes - kl_tink_cipher_at(&shape, last);
    if (rest < KL_TINK_TAG_BYTES)
        return UINT64_MAX;
    return kl_tink_plain_at(&shape, last) + rest - KL_TINK_TAG_BYTES;
}

static enum kl_code load(struct view *v, uint64_t index, struct kl_err *err)
{
    const uint64_t at = kl_tink_cipher_at(&v->tink, index);
    const size_t room = kl_tink_cipher_room(&v->tink, index);
    const size_t n = v->port.size - at < room ? (size_t)(v->port.size - at) : room;
    size_t got = 0;
    enum kl_code code = kl_port_read(&v->port, at, kl_secret_bytes(v->segment), n, &got, err);
    if (code == KL_OK && got != n)
        return kl_fail(err, KL_IO, "pread", "the input became shorter while it was read");
    const struct kl_tink_place place = {.index = (uint32_t)index, .last = index == v->last};
    if (code == KL_OK)
        code = kl_tink_open(&v->tink, v->cipher, place, kl_secret_bytes(v->segment), n, err);
    if (code != KL_OK)
        return code;
    v->index = index;
    v->plain = n - KL_TINK_TAG_BYTES;
    return KL_OK;
}

static enum kl_code view_open(struct view *v, const struct kl_core *core,
                              const struct kl_keys *keys, struct kl_err *err)
{
    uint8_t header[KL_TINK_HEADER_BYTES];
    size_t got = 0;
    struct stat st;
    if (fstat(v->port.fd, &st) != 0)
        return kl_fail_errno(err, "fstat", "the container cannot be looked at");
    v->port.size = (uint64_t)st.st_size > v->port.base ? (uint64_t)st.st_size - v->port.base : 0;
    if (v->port.size < KL_TINK_HEADER_BYTES + KL_TINK_TAG_BYTES)
        return kl_fail(err, KL_WRAP_TRUNCATED, "payload",
                       "the file ends before the payload's first segment");
    enum kl_code code = kl_port_read(&v->port, 0, header, sizeof header, &got, err);
    if (code == KL_OK)
        code = kl_tink_resume(keys->payload, core->hash, kl_core_segment_bytes(core), header,
                              &v->tink, err);
    if (code != KL_OK)
        return code;
    v->cipher = kl_tink_cipher(&v->tink, false);
    v->segment = kl_secret_new(v->tink.segment_bytes);
    if (v->cipher == NULL || v->segment == NULL ||
        kl_secret_resize(v->segment, v->tink.segment_bytes) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "there is no memory for one segment");
    v->last = (v->port.size - 1) / v->tink.segment_bytes;
    return load(v, v->last, err);
}

static void view_close(struct view *v)
{
    EVP_CIPHER_CTX_free(v->cipher);
    kl_secret_free(v->segment);
    kl_tink_wipe(&v->tink);
}

static enum kl_code copy_range(struct view *v, uint64_t offset, uint8_t *bytes, size_t n,
                               size_t *ret_len, struct kl_err *err)
{
    const uint64_t total = kl_tink_plain_at(&v->tink, v->last) + v->plain;
    size_t done = 0;
    if (offset < total && n > total - offset)
        n = (size_t)(total - offset);
    while (done < n && offset + done < total) {
        const uint64_t index = kl_tink_index_of(&v->tink, offset + done);
        enum kl_code code = index != v->index ? load(v, index, err) : KL_OK;
        if (code != KL_OK)
            return code;
        const size_t from = (size_t)(offset + done - kl_tink_plain_at(&v->tink, index));
        const size_t part = v->plain - from < n - done ? v->plain - from : n - done;
        memcpy(bytes + done, kl_secret_bytes(v->segment) + from, part);
        done += part;
    }
    *ret_len = done;
    return KL_OK;
}

enum kl_code kl_stream_read_at(const struct kl_core *core, const struct kl_keys *keys, int fd,
                               uint64_t at, uint64_t offset, void *bytes, size_t n, size_t *ret_len,
                               struct kl_err *err)
{
    struct view v = {.port = {.fd = fd, .by_position = true, .base = at}};
    enum kl_code code = view_open(&v, core, keys, err);
    if (code == KL_OK)
        code = copy_range(&v, offset, bytes, n, ret_len, err);
    view_close(&v);
    return code;
}
