#include "cli/process.h"

#include "base/clock.h"
#include "base/io.h"
#include "base/secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum kl_code kl_process_beside(const char *name, char **ret, struct kl_err *err)
{
    char folder[PATH_MAX];
    KL_AUTO(char) path = NULL;
    enum kl_code code = kl_io_own_folder(folder, sizeof(folder), err);

    if (code != KL_OK)
        return code;
    if (asprintf(&path, "%s/%s", folder, name) < 0) {
        path = NULL;
        return kl_fail(err, KL_NO_MEMORY, "asprintf", "out of memory");
    }
    if (access(path, X_OK) != 0)
        return kl_fail_errno(err, "access", "the program %s is missing beside kluis", path);
    *ret = kl_take(path);
    return KL_OK;
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status_of(status);
}

/* In the child: what main set up for ourselves must not reach a program that is not us. */
static void reset_signals(void)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
}

static void exec_or_exit(char *const *argv)
{
    execvp(argv[0], argv);
    _exit(127);
}

static enum kl_code drain(int fd, struct kl_buf *out, struct kl_err *err)
{
    char chunk[1024];
    ssize_t n;

    while ((n = read(fd, chunk, sizeof(chunk))) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0)
            kl_buf_put(out, chunk, (size_t)n);
    }
    if (n < 0)
        return kl_fail_errno(err, "read", "cannot read what a program prints");
    return KL_OK;
}

enum kl_code kl_process_run(char *const *argv, struct kl_buf *out, int *ret_status,
                            struct kl_err *err)
{
    int pipe_fds[2] = {-1, -1};
    enum kl_code code = KL_OK;
    pid_t pid;

    if (out != NULL && pipe2(pipe_fds, O_CLOEXEC) != 0)
        return kl_fail_errno(err, "pipe", "cannot start %s", argv[0]);
    fflush(NULL);
    pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        reset_signals();
        dup2(null, STDIN_FILENO);
        if (out != NULL)
            dup2(pipe_fds[1], STDOUT_FILENO);
        exec_or_exit(argv);
    }
    if (pid < 0)
        code = kl_fail_errno(err, "fork", "cannot start %s", argv[0]);
    if (out != NULL)
        close(pipe_fds[1]);
    if (pid > 0 && out != NULL)
        code = drain(pipe_fds[0], out, err);
    if (out != NULL)
        close(pipe_fds[0]);
    if (pid > 0)
        *ret_status = wait_for(pid);
    return code;
}

/* ---- a program that wants a terminal ---- */

struct talk {
    const char *prompt;
    const char *const *answers;
    size_t matched; /* characters of the prompt seen so far */
};

static void listen_for_prompt(struct talk *t, int fd, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (text[i] != t->prompt[t->matched])
            t->matched = text[i] == t->prompt[0];
        else
            t->matched++;
        if (t->prompt[t->matched] != '\0')
            continue;
        t->matched = 0;
        /* an answer too few ends the talk: end of file */
        const char *answer = *t->answers != NULL ? *t->answers++ : "\004";

        if (kl_io_write_all(fd, answer, strlen(answer), NULL) != KL_OK ||
            kl_io_write_all(fd, "\n", 1, NULL) != KL_OK)
            return; /* it is gone; its exit code tells */
    }
}

static enum kl_code talk_to_end(struct talk *t, int fd, const char *name, struct kl_err *err)
{
    int64_t deadline = kl_clock_mono_ms() + 60000;
    struct pollfd p = {.fd = fd, .events = POLLIN};
    char chunk[512];

    for (;;) {
        int64_t left = deadline - kl_clock_mono_ms();

        if (left <= 0)
            return kl_fail(err, KL_TIMEOUT, "poll", "%s does not come to an end", name);
        if (poll(&p, 1, (int)left) <= 0)
            continue;
        ssize_t n = read(fd, chunk, sizeof(chunk));

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) /* Linux answers EIO when the other side of a pty is gone */
            break;
        listen_for_prompt(t, fd, chunk, (size_t)n);
    }
    kl_wipe(chunk, sizeof(chunk));
    return KL_OK;
}

enum kl_code kl_process_converse(char *const *argv, const char *prompt, const char *const *answers,
                                 int *ret_status, struct kl_err *err)
{
    struct talk t = {.prompt = prompt, .answers = answers};
    enum kl_code code;
    int fd = -1;
    pid_t pid;

    fflush(NULL);
    pid = forkpty(&fd, NULL, NULL, NULL);
    if (pid == 0) {
        reset_signals();
        exec_or_exit(argv);
    }
    if (pid < 0)
        return kl_fail_errno(err, "forkpty", "cannot start %s", argv[0]);
    code = talk_to_end(&t, fd, argv[0], err);
    if (code != KL_OK)
        kill(pid, SIGKILL);
    close(fd);
    *ret_status = wait_for(pid);
    return code;
}

/* ---- daemons ---- */

/* "PID\n" without stdio: we are between fork and exec. */
static bool write_pid(int fd)
{
    char text[16];
    size_t at = sizeof(text);
    pid_t pid = getpid();

    text[--at] = '\n';
    do {
        text[--at] = (char)('0' + pid % 10);
        pid /= 10;
    } while (pid > 0);
    return write(fd, text + at, sizeof(text) - at) == (ssize_t)(sizeof(text) - at);
}

enum kl_code kl_process_daemon(char *const *argv, const char *folder, const char *log_path,
                               const char *pid_path, pid_t *ret, struct kl_err *err)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int pid_file = open(pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum kl_code code = KL_OK;
    pid_t pid = -1;

    if (log < 0 || pid_file < 0 || null < 0) {
        code = kl_fail_errno(err, "open", "cannot write %s or %s", log_path, pid_path);
    } else {
        fflush(NULL);
        pid = fork();
        if (pid == 0) {
            reset_signals();
            setsid();
            dup2(null, STDIN_FILENO);
            dup2(log, STDOUT_FILENO);
            dup2(log, STDERR_FILENO);
            if (chdir(folder) != 0 || !write_pid(pid_file))
                _exit(126);
            exec_or_exit(argv);
        }
        if (pid < 0)
            code = kl_fail_errno(err, "fork", "cannot start %s", argv[0]);
    }
    for (size_t i = 0; i < 3; i++) {
        int fds[] = {null, log, pid_file};

        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (code == KL_OK)
        *ret = pid;
    return code;
}

pid_t kl_process_of_file(const char *pid_path, const char *argument)
{
    KL_AUTO(char) text = NULL;
    KL_AUTO(file) in = NULL;
    char path[64], line[8192];
    size_t n = 0;
    long pid;

    if (kl_io_read_file(pid_path, 64, &text, &n, NULL) != KL_OK)
        return 0;
    pid = strtol(text, NULL, 10);
    if (pid <= 1 || pid > INT_MAX || kill((pid_t)pid, 0) != 0)
        return 0;
    /* a pid is given to somebody else after a reboot */
    snprintf(path, sizeof(path), "/proc/%ld/cmdline", pid);
    in = fopen(path, "re");
    n = in != NULL ? fread(line, 1, sizeof(line) - 1, in) : 0;
    line[n] = '\0';
    for (const char *p = line; p < line + n; p += strlen(p) + 1) {
        if (strcmp(p, argument) == 0)
            return (pid_t)pid;
    }
    return 0;
}

/* The session of a process, 0 when it is gone or a zombie. */
static long session_of(long pid)
{
    char path[64], line[512];
    char *at, *end = NULL;
    long value = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    KL_AUTO(file) in = fopen(path, "re");

    if (in == NULL || fgets(line, sizeof(line), in) == NULL)
        return 0;
    at = strrchr(line, ')'); /* a name may hold anything, also ")" */
    if (at == NULL || strlen(at) < 4 || at[2] == 'Z')
        return 0;
    at += 3;
    for (int field = 0; field < 3; field++, at = end) /* parent, group, session */
        value = strtol(at, &end, 10);
    return value;
}

/* Some living process of this session, 0 = none is left. */
static pid_t anyone_of_session(pid_t session)
{
    pid_t found = 0;
    DIR *dir = opendir("/proc");
    struct dirent *entry;

    while (dir != NULL && found == 0 && (entry = readdir(dir)) != NULL) {
        long pid = strtol(entry->d_name, NULL, 10);

        if (pid > 1 && session_of(pid) == session)
            found = (pid_t)pid;
    }
    if (dir != NULL)
        closedir(dir);
    return found;
}

static bool wait_for_session(pid_t session, int64_t ms)
{
    int64_t deadline = kl_clock_mono_ms() + ms;

    while (anyone_of_session(session) != 0) {
        if (kl_clock_mono_ms() >= deadline)
            return false;
        (void)waitpid(session, NULL,
                      WNOHANG); /* it is our child when this very process started it */
        poll(NULL, 0, 20);
    }
    return true;
}

bool kl_process_end(pid_t pid, int64_t grace_ms)
{
    pid_t left;

    kill(pid, SIGTERM);
    if (wait_for_session(pid, grace_ms))
        return true;
    for (int i = 0; i < 100 && (left = anyone_of_session(pid)) != 0; i++) {
        kill(left, SIGKILL);
        poll(NULL, 0, 20);
    }
    return anyone_of_session(pid) == 0;
}
