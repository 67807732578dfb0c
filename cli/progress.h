/* One line on a terminal for work that takes longer than a moment: bytes, rate, time left. Nothing
 * at all when standard error is no terminal. One per command; kl_progress_step may be called from
 * any thread, one at a time. */
#ifndef KL_CLI_PROGRESS_H
#define KL_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct kl_progress {
    uint64_t total; /* bytes to come, 0 = unknown */
    int64_t begin_ms, shown_ms;
    bool terminal, shown;
};

/** Begin, for `total` bytes (0 = unknown). */
void kl_progress_begin(struct kl_progress *p, uint64_t total);
/** So many bytes are done. Shows a line from the second second on, five times a second. `arg` is
 * the struct. */
void kl_progress_step(void *arg, uint64_t bytes);
/** Take the line away. */
void kl_progress_end(struct kl_progress *p);

#endif
