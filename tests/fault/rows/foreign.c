/* What a module links against: a library with a C_GetInterface of its own, which is not for the
 * module's callers. */
#include <stdlib.h>

unsigned long C_GetInterface(const char *name, void *version, void **ret, unsigned long flags);
int foreign_answer(void);

unsigned long C_GetInterface(const char *name, void *version, void **ret, unsigned long flags)
{
    (void)name, (void)version, (void)ret, (void)flags;
    abort();
}

int foreign_answer(void)
{
    return 42;
}
