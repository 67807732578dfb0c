/* What the container's tests share: a KEK without a service, containers in memory, temporary files.
 * Test programs only, one thread. */
#ifndef KL_TESTS_WRAP_SUPPORT_H
#define KL_TESTS_WRAP_SUPPORT_H

#include "wrap/seal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <cmocka.h>

#define KEY_URL     "https://demo.vault.test/keys/kek"
#define KEY_V(n)    KEY_URL "/0000000000000000000000000000000" #n
#define FAKE_NEWEST 2

/* A KEK with versions 1 to 9 whose wrapping is a mask and a checksum. */
struct fake_kek {
    struct kl_kek kek;
    unsigned newest;    /* version of unversioned URLs */
    unsigned disabled;  /* version that refuses to unwrap; 0 = none */
    bool dead;          /* every call fails as an unreachable service does */
    bool wraps_wrongly; /* wrap gives what unwraps to another DEK */
    unsigned wraps, unwraps, asks;
    uint8_t dek[KL_DEK_BYTES]; /* the last one wrapped */
};

void fake_kek_init(struct fake_kek *f);

/* Growing bytes of a file in memory. */
struct bytes {
    uint8_t *at;
    size_t n;
};
void bytes_free(struct bytes *b);
#define BYTES __attribute__((cleanup(bytes_free))) struct bytes

/** n bytes that look random and are the same in every run. */
void fill_pattern(uint8_t *to, size_t n, uint32_t seed);
struct bytes pattern(size_t n, uint32_t seed);
struct bytes copy_of(const struct bytes *b);

/** An unnamed file with these bytes, its offset at 0. */
int file_of(const struct bytes *b);
/** Everything in the file from byte 0. */
struct bytes content_of(int fd);

/** Seal under KEY_URL with 64 KiB segments (or as `options` say). */
struct bytes sealed(struct fake_kek *f, const struct bytes *plain,
                    const struct kl_seal_options *options);
/** Unseal; on KL_OK *ret_plain has the plaintext, else it has what was written all the same. */
enum kl_code unsealed(struct fake_kek *f, const struct bytes *container, struct bytes *ret_plain,
                      struct kl_err *err);

/** A folder that is removed at exit of the program, and a path in it (static storage, valid until
 * the next call). */
const char *temp_path(const char *name);
void write_file(const char *path, const struct bytes *b);
struct bytes read_file(const char *path);

void assert_bytes(const struct bytes *a, const struct bytes *b);
void assert_text_has(const struct kl_err *err, const char *words);

#endif
