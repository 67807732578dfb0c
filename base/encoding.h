/* Text encodings: base64url (RFC 4648 section 5), base64 (section 4), hex, percent (RFC 3986),
 * UUIDs (RFC 9562). Pure functions, no state. The decoders accept one canonical form only, apart
 * from what is said below. */
#ifndef KL_BASE_ENCODING_H
#define KL_BASE_ENCODING_H

#include "base/buf.h"
#include "base/secret.h"

#define KL_UUID_LEN 36 /* characters, without the NUL */

/** Characters of base64url without padding for n bytes. */
#define KL_B64URL_LEN(n) (((n)*4 + 2) / 3)

/** Append n bytes as unpadded base64url: KL_B64URL_LEN(n) characters. */
void kl_b64url_put(struct kl_buf *b, const void *bytes, size_t n);

/** Decode base64url of n characters into out[room]. "=" padding at the end is accepted
 * (libmongocrypt pads); other characters, non-zero trailing bits or wrong padding are KL_BAD_INPUT;
 * KL_TOO_BIG when room is short. *ret_len bytes. */
enum kl_code kl_b64url_decode(const char *text, size_t n, void *out, size_t room,
                              size_t *ret_len) KL_MUST_USE;

/** The same for standard base64 (RFC 4648 section 4), as HTTP's Basic scheme uses it; its padding
 * is required. */
enum kl_code kl_b64_decode(const char *text, size_t n, void *out, size_t room,
                           size_t *ret_len) KL_MUST_USE;

/** The n bytes as 2n lower-case digits and a NUL: out has room for 2n + 1. */
void kl_hex(const void *bytes, size_t n, char *out);
/** Exactly 2n hex digits of either case into out[n]; anything else KL_BAD_INPUT. */
enum kl_code kl_unhex(const char *text, void *out, size_t n) KL_MUST_USE;

/** Percent-decode n characters into out (n + 1 bytes are enough), once; "+" becomes a blank when
 * `form` is set. A broken escape or a decoded NUL is KL_BAD_INPUT. out is NUL-terminated. */
enum kl_code kl_percent_decode(const char *text, size_t n, bool form, char *out) KL_MUST_USE;

/** A random UUID, version 4, lower case, into out[KL_UUID_LEN + 1]. */
void kl_uuid_new(char out[static KL_UUID_LEN + 1]);
/** Exactly the 8-4-4-4-12 form, either case. */
bool kl_uuid_valid(const char *text);

/** Fill with bytes from the kernel (getrandom); blocks only before the kernel's pool is ready.
 * Aborts the process when the kernel refuses: nothing sensible can follow. */
void kl_random(void *bytes, size_t n);

#endif
