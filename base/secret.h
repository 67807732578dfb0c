/* Secret bytes: PINs, DEKs, plaintexts, bearer tokens, client secrets.
 *
 * A kl_secret is the only place where such bytes live. Its memory is locked against swap where the
 * limit allows, left out of core dumps, bounded by a ceiling given at creation, and wiped before it
 * is freed or moved. There is no function that prints one. Not thread safe: one owner at a time.
 */
#ifndef KL_BASE_SECRET_H
#define KL_BASE_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kl_secret; /* opaque */

/** New empty secret that will never hold more than `ceiling` bytes. NULL when memory is short. Free
 * with kl_secret_free. */
struct kl_secret *kl_secret_new(size_t ceiling);

/** Wipe and free; NULL is fine. */
void kl_secret_free(struct kl_secret *s);

/** Append a copy of n bytes. KL_TOO_BIG beyond the ceiling (nothing appended), KL_NO_MEMORY. */
enum kl_code kl_secret_append(struct kl_secret *s, const void *bytes, size_t n) KL_MUST_USE;

/** Make the length exactly n; new bytes are zero, dropped ones are wiped. KL_TOO_BIG, KL_NO_MEMORY.
 */
enum kl_code kl_secret_resize(struct kl_secret *s, size_t n) KL_MUST_USE;

/** The bytes (borrowed, valid until the next append or resize; never NULL) and their number. Not
 * NUL-terminated by length, yet always followed by one NUL byte that is not counted. */
uint8_t *kl_secret_bytes(struct kl_secret *s);
size_t kl_secret_len(const struct kl_secret *s);

/** Constant-time equality of content; different lengths are unequal (the length is not secret). */
bool kl_secret_equal(const struct kl_secret *a, const struct kl_secret *b);

/** Read a whole small file (a PIN, a client secret), without one trailing "\n" or "\r\n". `ceiling`
 * as above. KL_NOT_FOUND, KL_OS_DENIED, KL_TOO_BIG, KL_BAD_INPUT when empty. The error text names
 * the path, never content. */
enum kl_code kl_secret_read_file(const char *path, size_t ceiling, struct kl_secret **ret,
                                 struct kl_err *err) KL_MUST_USE;

/** As kl_secret_read_file from an open descriptor until end of file; `name` is for the error text.
 * Does not close fd. */
enum kl_code kl_secret_read_fd(int fd, const char *name, size_t ceiling, struct kl_secret **ret,
                               struct kl_err *err) KL_MUST_USE;

/** Wipe n bytes in a way that no compiler removes. */
void kl_wipe(void *bytes, size_t n);

/** malloc family that wipes on free and on move; given to libevent, jansson and OpenSSL so that
 * request bodies that pass through their buffers do not stay behind. kl_wiping_realloc(NULL, n) and
 * (p, 0) behave as in C11. */
void *kl_wiping_malloc(size_t n);
void *kl_wiping_realloc(void *p, size_t n);
void kl_wiping_free(void *p);

/** Point OpenSSL's and jansson's allocators at the family above. Call first thing in main, before
 * any use of them. */
void kl_wiping_allocators(void);

KL_AUTO_DEFINE(secret, struct kl_secret, kl_secret_free);

#endif
