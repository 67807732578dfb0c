/* What somebody meant who mistyped a word. */
#include "cli/command_parts.h"

#include <string.h>

static size_t least(size_t a, size_t b, size_t c)
{
    size_t m = a < b ? a : b;

    return m < c ? m : c;
}

/* Edit distance with neighbours swapped counting once; words of the table are short, longer ones
 * are simply far. */
static size_t distance(const char *a, const char *b)
{
    enum { LONGEST = 40 };
    size_t d[LONGEST + 1][LONGEST + 1] = {{0}};
    size_t n = strlen(a), m = strlen(b);

    if (n > LONGEST || m > LONGEST)
        return LONGEST;
    for (size_t i = 0; i <= n; i++)
        d[i][0] = i;
    for (size_t j = 0; j <= m; j++)
        d[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        for (size_t j = 1; j <= m; j++) {
            size_t cost = a[i - 1] != b[j - 1];

            d[i][j] = least(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1, d[i][j]);
        }
    }
    return d[n][m];
}

const char *kl_nearest(const char *word, const char *(*get)(const void *arg, size_t i),
                       const void *arg, size_t count)
{
    const char *best = NULL;
    size_t best_distance = 3;

    for (size_t i = 0; i < count; i++) {
        const char *known = get(arg, i);

        if (known == NULL)
            continue;
        size_t d = distance(word, known);
        size_t n = strlen(word);

        if (n >= 3 && strncmp(word, known, n) == 0)
            d = 1; /* the beginning of a word is a good hint however long the rest */
        if (d < best_distance && d < strlen(known)) {
            best = known;
            best_distance = d;
        }
    }
    return best;
}
