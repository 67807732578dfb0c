/* Runs a fuzz target without a fuzzer: each file of the corpus as it is, then with single bytes
 * changed, cut or doubled in a fixed order, so that an ordinary test run finds what a parser trips
 * over. The fuzz preset links libFuzzer in its place.
 *
 *   <target> FOLDER
 */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEED = 65536, MAX_MUTATIONS = 4000 };

static unsigned long runs;

/* An exact copy on the heap, so that a sanitizer sees a read past the end. */
static void run_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    memcpy(copy, bytes, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    runs++;
}

static void mutate(uint8_t *seed, size_t n)
{
    static const uint8_t patterns[] = {0x00, 0xff, 0x80, 0x7f, '"', '\\', '%', '.'};
    size_t step = n > MAX_MUTATIONS / 8 ? n / (MAX_MUTATIONS / 8) : 1;

    for (size_t at = 0; at < n; at += step) {
        uint8_t kept = seed[at];
        for (size_t p = 0; p < sizeof patterns; p++) {
            seed[at] = patterns[p];
            run_copy(seed, n);
        }
        seed[at] = kept ^ 1;
        run_copy(seed, n);
        seed[at] = kept;
        run_copy(seed, at);          /* cut here */
        run_copy(seed + at, n - at); /* begin here */
    }
}

static int run_file(const char *folder, const char *name)
{
    static uint8_t seed[MAX_SEED];
    char path[4096];
    size_t n;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    n = fread(seed, 1, sizeof seed, f);
    fclose(f);
    run_copy(seed, n);
    mutate(seed, n);
    return 0;
}

int main(int argc, char **argv)
{
    struct dirent *entry;
    unsigned files = 0;
    DIR *folder = argc == 2 ? opendir(argv[1]) : NULL;

    if (!folder) {
        fprintf(stderr, "use: %s FOLDER\n", argv[0]);
        return 2;
    }
    run_copy((const uint8_t *)"", 0);
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(argv[1], entry->d_name) != 0)
            return 1;
        files++;
    }
    closedir(folder);
    printf("%u seeds, %lu inputs\n", files, runs);
    return files > 0 ? 0 : 1;
}
