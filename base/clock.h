/* The two clocks of the program; every other file asks here, so that tests can move time. Thread
 * safe. */
#ifndef KL_BASE_CLOCK_H
#define KL_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/** Wall clock: seconds since 1970-01-01 UTC. */
int64_t kl_clock_unix(void);
/** Wall clock in milliseconds. */
int64_t kl_clock_unix_ms(void);
/** Monotonic milliseconds since boot, counting time asleep (CLOCK_BOOTTIME); never steps. */
int64_t kl_clock_mono_ms(void);
/** CLOCK_MONOTONIC in microseconds, for short spans. Tests do not move it. */
int64_t kl_clock_mono_us(void);
/** The moment so many microseconds (not negative) from now, of CLOCK_MONOTONIC: what a condition
 * with that clock is told to wait until. Tests do not move it. */
struct timespec kl_clock_deadline(int64_t us);
/** For tests: add this many seconds to the wall clock, and milliseconds to the monotonic one, from
 * now on. */
void kl_clock_shift(int64_t wall_seconds, int64_t mono_ms);
/** UTC as "2026-11-21T21:52:59.1234567Z" (7 decimals, as Key Vault's logs have them) into out. */
void kl_clock_iso(int64_t unix_ms, char out[static 32]);

#endif
