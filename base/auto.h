/* Cleanup-on-scope-exit variables.
 *
 * KL_AUTO(type) declares a pointer that is given to the function of that type's row when it leaves
 * scope; kl_take() hands the pointer over and leaves NULL behind. Declare before any branch; never
 * jump past one. A type joins by KL_AUTO_DEFINE(name, type, free function) beside its own
 * declaration. Header only; no threads.
 */
#ifndef KL_BASE_AUTO_H
#define KL_BASE_AUTO_H

#include <stdio.h>
#include <stdlib.h>

#define KL_AUTO_DEFINE(name, type, destroy)                                                        \
    static inline void kl_auto_##name(type **p)                                                    \
    {                                                                                              \
        if (*p != NULL)                                                                            \
            destroy(*p);                                                                           \
    }                                                                                              \
    typedef type kl_auto_type_##name

#define KL_AUTO(name) __attribute__((cleanup(kl_auto_##name))) kl_auto_type_##name *

/** Give the pointer away: returns it and leaves NULL in the variable. */
#define kl_take(p)                                                                                 \
    __extension__({                                                                                \
        __typeof__(p) kl_taken = (p);                                                              \
        (p) = NULL;                                                                                \
        kl_taken;                                                                                  \
    })

/** A caller's mistake to ignore the result of a function marked with this. */
#define KL_MUST_USE __attribute__((warn_unused_result))
/** The printf-like format is argument f, its values start at argument a. */
#define KL_PRINTF(f, a) __attribute__((format(printf, f, a)))

#define KL_COUNT(array) (sizeof(array) / sizeof((array)[0]))

KL_AUTO_DEFINE(char, char, free);
KL_AUTO_DEFINE(bytes, unsigned char, free);
KL_AUTO_DEFINE(file, FILE, (void)fclose);

#endif
