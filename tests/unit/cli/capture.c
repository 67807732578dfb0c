#include "tests/unit/cli/capture.h"

#include "cli/command.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

char capture_out[1 << 20], capture_err[1 << 16];

static int redirect(int fd, int to)
{
    int kept = dup(fd);

    assert_true(kept >= 0);
    assert_true(dup2(to, fd) >= 0);
    return kept;
}

static void bring_back(int fd, int kept)
{
    assert_true(dup2(kept, fd) >= 0);
    close(kept);
}

static void content(int fd, char *to, size_t room)
{
    ssize_t n = pread(fd, to, room - 1, 0);

    assert_true(n >= 0);
    to[n] = '\0';
    close(fd);
}

int capture(const char *words)
{
    char *copy = strdup(words), *rest = NULL;
    char *argv[64] = {(char[]){"kluis"}};
    int argc = 1;
    int out = memfd_create("out", MFD_CLOEXEC), err = memfd_create("err", MFD_CLOEXEC);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

    for (char *w = strtok_r(copy, " ", &rest); w != NULL; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    fflush(NULL);
    int kept[3] = {redirect(0, null), redirect(1, out), redirect(2, err)};
    int code = kl_cmd_main(argc, argv);

    fflush(NULL);
    for (int i = 0; i < 3; i++)
        bring_back(i, kept[i]);
    content(out, capture_out, sizeof(capture_out));
    content(err, capture_err, sizeof(capture_err));
    close(null);
    free(copy);
    return code;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

int capture_folder_gone(void **state)
{
    int bad = nftw(*state, remove_one, 16, FTW_DEPTH | FTW_PHYS);

    free(*state);
    return bad;
}
