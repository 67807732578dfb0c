/* Configuration files: accepted or refused with a sentence. */
#include "base/conf.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct section {
    char *name;
    char *text, *path;
    int64_t number, duration, bytes;
    bool flag;
    struct kl_conf_list list;
};

#define ROW(k, t, member)                                                                          \
    {                                                                                              \
        .key = k, .type = t, .offset = offsetof(struct section, member)                            \
    }
static const struct kl_conf_row rows[] = {
    ROW("text", KL_CONF_TEXT, text),
    ROW("path", KL_CONF_PATH, path),
    {.key = "number", .type = KL_CONF_INT, .offset = offsetof(struct section, number), .max = 9},
    ROW("duration", KL_CONF_DURATION, duration),
    ROW("bytes", KL_CONF_BYTES, bytes),
    ROW("flag", KL_CONF_BOOL, flag),
    ROW("list", KL_CONF_LIST, list),
};
static const struct kl_conf_section kinds[] = {
    {.kind = "token",
     .named = true,
     .size = sizeof(struct section),
     .rows = rows,
     .row_count = sizeof rows / sizeof *rows},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kl_conf *conf = NULL;
    struct kl_err err = {0};
    char path[64];
    int fd = memfd_create("conf", MFD_CLOEXEC);

    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (kl_conf_load(path, kinds, 1, &conf, &err) == KL_OK) {
        const struct section *s = kl_conf_section(conf, "token", 0);
        if (s && (s->number < 0 || s->number > 9 || !s->name))
            abort();
        kl_conf_free(conf);
    }
    close(fd);
    return 0;
}
