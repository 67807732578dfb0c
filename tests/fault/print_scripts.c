/* fault_scripts SEED: the random script of that number, with what it may spoil as comments. */
#include "tests/fault/scripts.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    struct fault_plan plan;
    if (argc != 2) {
        (void)fputs("usage: fault_scripts SEED\n", stderr);
        return 2;
    }
    struct chance c = {.state = strtoull(argv[1], NULL, 0)};
    scripts_make(&c, &plan);
    (void)fputs(plan.text, stdout);
    if (plan.spoils_plain)
        (void)puts("# spoils plain texts of the token's own OAEP");
    return ferror(stdout) != 0;
}
