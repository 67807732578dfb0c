/* How often a client failed to show its secret lately, by client id and address. Bounded memory; a
 * full set forgets its oldest entry. Thread safe. */
#ifndef KL_KEYVAULT_FAILURES_H
#define KL_KEYVAULT_FAILURES_H

#include <stdbool.h>
#include <stdint.h>

#define KL_FAILURES_MAX       20
#define KL_FAILURES_WINDOW_MS (10 * 60 * 1000)

struct kl_failures;

/** NULL without memory. */
struct kl_failures *kl_failures_new(void);
void kl_failures_free(struct kl_failures *f);

/** Whether this pair has KL_FAILURES_MAX failures within the window. now_ms: kl_clock_mono_ms. */
bool kl_failures_blocked(struct kl_failures *f, const char *client, const char *address,
                         int64_t now_ms);
/** Count one failure; the window starts with the first. */
void kl_failures_note(struct kl_failures *f, const char *client, const char *address,
                      int64_t now_ms);

#endif
