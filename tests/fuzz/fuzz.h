/* The one function that a fuzz target defines. It must accept any bytes, must return, and checks
 * what must hold with abort(). */
#ifndef KL_TESTS_FUZZ_H
#define KL_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** Name and form are libFuzzer's. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
