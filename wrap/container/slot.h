/* Wrap slot: 4096 bytes that hold the DEK wrapped under one exact version of a KEK (FORMAT.md
 * section 4).
 *
 * A container has two, so that a re-wrap can write the new one beside the old one. A slot's hash
 * tells a torn write without any key; its MAC, checked once the DEK is known, binds every field to
 * the container. Pure functions, thread safe.
 */
#ifndef KL_WRAP_CONTAINER_SLOT_H
#define KL_WRAP_CONTAINER_SLOT_H

#include "wrap/container/keys.h"

#define KL_SLOT_BYTES         4096
#define KL_SLOT_KEK_MAX       1024 /* characters */
#define KL_SLOT_WRAPPED_MAX   512  /* bytes: RSA-4096 */
#define KL_SLOT_PRINCIPAL_MAX 256  /* characters */

enum kl_slot_state {
    KL_SLOT_EMPTY,  /* all zero */
    KL_SLOT_USABLE, /* well formed and whole */
    KL_SLOT_BROKEN, /* torn, or not of this format */
};

struct kl_slot {
    enum kl_slot_state state;
    uint64_t generation;   /* from 1; the highest is the newest */
    int64_t wrapped_at_ms; /* since 1970 UTC */
    uint8_t alg;           /* index of kl_slot_alg_name */
    uint16_t wrapped_len;
    uint8_t wrapped[KL_SLOT_WRAPPED_MAX];
    char kek[KL_SLOT_KEK_MAX + 1];             /* https URL of a key with its version */
    char principal[KL_SLOT_PRINCIPAL_MAX + 1]; /* who wrapped it; may be empty */
};

/** "RSA-OAEP" (1), "RSA-OAEP-256" (2); NULL for a number that is not one of the format. */
const char *kl_slot_alg_name(unsigned alg);
/** The number of a name, 0 when there is none. */
uint8_t kl_slot_alg_find(const char *name);

/** The one form of a key URL that a container may hold: "https://HOST[:PORT]/keys/NAME/VERSION",
 * nothing else around it, so that a hostile container cannot name another operation. With
 * `versioned` unset the version may be absent ("/keys/NAME"). */
bool kl_key_url_valid(const char *url, bool versioned);

/** Write the canonical form with MAC and hash. The fields must be in range (assert). KL_CRYPTO. */
enum kl_code kl_slot_format(const struct kl_slot *slot, const struct kl_keys *keys,
                            uint8_t ret[static KL_SLOT_BYTES], struct kl_err *err) KL_MUST_USE;

/** Read. An empty slot is KL_OK with that state. KL_WRAP_SLOT with a sentence: torn (hash), or
 * fields or padding out of the format; *ret then has state KL_SLOT_BROKEN and nothing else. */
enum kl_code kl_slot_parse(const uint8_t bytes[static KL_SLOT_BYTES], struct kl_slot *ret,
                           struct kl_err *err) KL_MUST_USE;

/** Is the MAC of these bytes ours? KL_WRAP_SLOT when they were edited or come from another
 * container. */
enum kl_code kl_slot_check_mac(const uint8_t bytes[static KL_SLOT_BYTES],
                               const struct kl_keys *keys, struct kl_err *err) KL_MUST_USE;

#endif
