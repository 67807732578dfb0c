/* Reading the big-endian bytes of backups, with one sticky failure. Private to the model. Layouts
 * in README.md and SECRETS.md of this folder. */
#ifndef KL_KEYVAULT_MODEL_CURSOR_H
#define KL_KEYVAULT_MODEL_CURSOR_H

#include "keyvault/store/rows.h"

#include <stdbool.h>

struct kl_cursor {
    const uint8_t *at, *end;
    bool bad; /* something did not fit; whatever is read behind that is zero */
};

/** The next n bytes where they lie, or NULL. */
const uint8_t *kl_cursor_get(struct kl_cursor *c, size_t n);
/** An unsigned number of so many bytes. */
uint64_t kl_cursor_int(struct kl_cursor *c, size_t bytes);
/** u32 length, then so many bytes; borrowed. */
struct kl_store_bytes kl_cursor_bytes(struct kl_cursor *c);
/** The same with a NUL as its last byte and nowhere else; NULL for length 0. */
const char *kl_cursor_text(struct kl_cursor *c);
/** A text that is neither absent nor empty, into to[room]. */
void kl_cursor_label(struct kl_cursor *c, char *to, size_t room);

#endif
