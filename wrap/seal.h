/* Whole containers: make one from a stream, open one to a stream. Threads as for
 * container/stream.h; a KEK is called on the caller's. */
#ifndef KL_WRAP_SEAL_H
#define KL_WRAP_SEAL_H

#include "wrap/container/head.h"
#include "wrap/container/stream.h"

#define KL_DEFAULT_ALG          "RSA-OAEP-256"
#define KL_DEFAULT_SEGMENT_LOG2 20

struct kl_seal_options {
    const char *key_url;   /* with or without version */
    const char *alg;       /* kl_slot_alg_name; NULL = KL_DEFAULT_ALG */
    const char *principal; /* who we are, printable ASCII, for the slot; NULL = not said */
    unsigned segment_log2; /* 0 = KL_DEFAULT_SEGMENT_LOG2 */
    const struct kl_stream_options *stream; /* may be NULL */
};

/** Encrypt in_fd to out_fd under a fresh DEK. The DEK is wrapped before anything is read or
 * written, so a KEK that is not usable costs nothing. *ret_bytes: plaintext length. KL_BAD_INPUT
 * (options), the codes of kek->wrap, of kl_head_make and of kl_stream_seal. */
enum kl_code kl_seal(const struct kl_kek *kek, const struct kl_seal_options *options, int in_fd,
                     int out_fd, uint64_t *ret_bytes, struct kl_err *err) KL_MUST_USE;

struct kl_unseal_options {
    bool verify_first; /* read a regular file twice: write nothing before all of it verified.
                          KL_BAD_INPUT when it cannot be read twice */
    const struct kl_stream_options *stream; /* may be NULL */
    /** Tells that one wrap slot is damaged although the container opens. May be NULL. */
    void (*warn)(void *arg, const char *sentence);
    void *arg;
};

/** Decrypt in_fd to out_fd (-1: only verify). The codes of kl_head_read, kl_head_unlock and
 * kl_stream_open. */
enum kl_code kl_unseal(const struct kl_kek *kek, const struct kl_unseal_options *options, int in_fd,
                       int out_fd, uint64_t *ret_bytes, struct kl_err *err) KL_MUST_USE;

#endif
