/* The first 12288 bytes of a container together: core header and both wrap slots, and the way from
 * a slot to the keys. No threads of its own; a KEK's functions are called on the caller's thread
 * and may block. */
#ifndef KL_WRAP_CONTAINER_HEAD_H
#define KL_WRAP_CONTAINER_HEAD_H

#include "wrap/container/slot.h"

#define KL_HEAD_BYTES (KL_CORE_BYTES + 2 * KL_SLOT_BYTES)
#define KL_SLOT_AT(i) (KL_CORE_BYTES + (size_t)(i)*KL_SLOT_BYTES)

/** Who wraps and unwraps DEKs: the key service, or a test. Every key URL passed in is valid
 * (kl_key_url_valid). */
struct kl_kek {
    void *arg;
    /** Wrap under key_url (its newest version, when it names none). ret_kid: the versioned URL that
     * did it. */
    enum kl_code (*wrap)(void *arg, const char *key_url, const char *alg, struct kl_secret *dek,
                         uint8_t ret_wrapped[static KL_SLOT_WRAPPED_MAX], size_t *ret_len,
                         char ret_kid[static KL_SLOT_KEK_MAX], struct kl_err *err);
    /** Unwrap with exactly the version that kid names. */
    enum kl_code (*unwrap)(void *arg, const char *kid, const char *alg, const uint8_t *wrapped,
                           size_t n, struct kl_secret **ret_dek, struct kl_err *err);
    /** The newest version of an unversioned key URL. */
    enum kl_code (*newest)(void *arg, const char *key_url, char ret_kid[static KL_SLOT_KEK_MAX],
                           struct kl_err *err);
};

struct kl_head {
    uint8_t bytes[KL_HEAD_BYTES];
    struct kl_core core;
    struct kl_slot slots[2];
    struct kl_err slot_errs[2]; /* why a slot is KL_SLOT_BROKEN */
};

/** Read from the descriptor's offset (or from byte 0 of a file, when `by_position`), then
 * kl_head_parse. KL_IO, KL_WRAP_TRUNCATED. */
enum kl_code kl_head_read(int fd, bool by_position, struct kl_head *ret,
                          struct kl_err *err) KL_MUST_USE;

/** Parse head->bytes into the rest. The codes of kl_header_parse; a broken slot is no error here.
 */
enum kl_code kl_head_parse(struct kl_head *head, struct kl_err *err) KL_MUST_USE;

/** Make a new head: a fresh commit salt, the DEK wrapped into slot A, slot B empty. core holds the
 * caller's fields; slot names kek (valid, versioned), alg, wrapped, principal. */
enum kl_code kl_head_make(const struct kl_core *core, const struct kl_slot *slot,
                          struct kl_secret *dek, struct kl_head *ret, struct kl_keys *ret_keys,
                          struct kl_err *err) KL_MUST_USE;

/** Index of the usable slot with the highest generation; -1 when there is none. */
int kl_head_newest(const struct kl_head *head);

/** Unwrap one slot with exactly the version that it names, and check commitment and slot MAC.
 * KL_WRAP_SLOT (broken, edited), KL_WRAP_KEY (not this container's), and the codes of kek->unwrap;
 * the sentence begins with the slot's name. */
enum kl_code kl_head_unlock_slot(const struct kl_head *head, int index, const struct kl_kek *kek,
                                 struct kl_secret **ret_dek, struct kl_keys *ret_keys,
                                 struct kl_err *err) KL_MUST_USE;

/** Unlock by the newest slot, else by the other one. The error is the newest slot's, and says when
 * the other was tried as well. */
enum kl_code kl_head_unlock(const struct kl_head *head, const struct kl_kek *kek,
                            struct kl_secret **ret_dek, struct kl_keys *ret_keys, int *ret_index,
                            struct kl_err *err) KL_MUST_USE;

#endif
