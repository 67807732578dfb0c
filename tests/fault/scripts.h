/* Random fault scripts. Every choice follows from one number. Thread-compatible. */
#ifndef KL_TESTS_FAULT_SCRIPTS_H
#define KL_TESTS_FAULT_SCRIPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chance {
    uint64_t state;
};

/** The next number below `limit` (splitmix64). */
uint64_t chance_below(struct chance *c, uint64_t limit);

struct fault_plan {
    char text[512];    /* the script */
    bool spoils_plain; /* may change the plain text that the token's own OAEP gives: only the token
                          knows it */
    bool spoils_signature; /* may change a MAC, which nobody can check */
};

/** One to four rules. What no caller could notice is left out: a C_DestroyObject that destroys
 * another object than it was told. */
void scripts_make(struct chance *c, struct fault_plan *ret);

#endif
