#include "pkcs11/worker/syscalls.h"

#include "base/auto.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>

#define NUMBERS 512 /* system calls that can be named in the log */

/* What modules, libraries and we ourselves need. Not here, on purpose: whatever starts a program,
 * looks into or signals another process, mounts, changes the identity, loads kernel code, or acts
 * on files by path where Landlock does not look (chmod, chown, xattr). */
static const char *const allowed[] = {
    /* memory */
    "brk", "madvise", "membarrier", "memfd_create", "mincore", "mlock", "mlock2", "mlockall",
    "mmap", "mmap2", "mprotect", "mremap", "msync", "munlock", "munlockall", "munmap", "pkey_alloc",
    "pkey_free", "pkey_mprotect",
    /* files */
    "_llseek", "access", "chdir", "close", "close_range", "copy_file_range", "creat", "dup", "dup2",
    "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod", "fchown",
    "fcntl", "fcntl64", "fdatasync", "fgetxattr", "flock", "fstat", "fstat64", "fstatfs",
    "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futimesat", "getcwd", "getdents",
    "getdents64", "getxattr", "inotify_add_watch", "inotify_init", "inotify_init1",
    "inotify_rm_watch", "ioctl", "lgetxattr", "link", "linkat", "lseek", "lstat", "lstat64",
    "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "pipe", "pipe2", "pread64",
    "preadv", "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink",
    "readlinkat", "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "sendfile64",
    "stat", "stat64", "statfs", "statfs64", "statx", "symlink", "symlinkat", "sync",
    "sync_file_range", "syncfs", "truncate", "truncate64", "umask", "unlink", "unlinkat", "utime",
    "utimensat", "utimes", "write", "writev",
    /* waiting */
    "_newselect", "clock_nanosleep", "epoll_create", "epoll_create1", "epoll_ctl", "epoll_pwait",
    "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "nanosleep", "pause", "poll", "ppoll",
    "pselect6", "select", "timerfd_create", "timerfd_gettime", "timerfd_settime",
    /* sockets that are open, or that the rules below let through */
    "bind", "connect", "getpeername", "getsockname", "getsockopt", "recvfrom", "recvmmsg",
    "recvmsg", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown", "socketpair",
    /* shared memory and semaphores of System V, which token daemons use */
    "semctl", "semget", "semop", "semtimedop", "shmat", "shmctl", "shmdt", "shmget",
    /* threads, signals of our own, the end */
    "arch_prctl", "exit", "exit_group", "futex", "futex_waitv", "get_robust_list",
    "get_thread_area", "gettid", "restart_syscall", "rseq", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam",
    "sched_getscheduler", "sched_setaffinity", "sched_yield", "set_robust_list", "set_thread_area",
    "set_tid_address", "sigaltstack", "sigreturn", "signalfd", "signalfd4", "wait4", "waitid",
    "waitpid",
    /* who and when */
    "alarm", "capget", "clock_getres", "clock_gettime", "getcpu", "getegid", "geteuid", "getgid",
    "getgroups", "getitimer", "getpgid", "getpgrp", "getpid", "getppid", "getpriority", "getrandom",
    "getresgid", "getresuid", "getrlimit", "getrusage", "getsid", "gettimeofday", "getuid",
    "setitimer", "sysinfo", "time", "timer_create", "timer_delete", "timer_getoverrun",
    "timer_gettime", "timer_settime", "times", "ugetrlimit", "uname"};

/* Allowed when one argument, masked, is this value. */
struct limited {
    const char *name;
    unsigned argument;
    unsigned long mask, value;
};

#define WHOLE 0xffffffffUL

static const struct limited limited[] = {
    {"clone", 0, CLONE_THREAD, CLONE_THREAD}, /* a thread, never a process */
    {"kill", 1, WHOLE, 0},                    /* asks whether a process lives */
    {"prlimit64", 2, ~0UL, 0},                /* asks for a limit */
    {"socket", 0, WHOLE, AF_UNIX},
    {"prctl", 0, WHOLE, PR_SET_NAME},
    {"prctl", 0, WHOLE, PR_GET_NAME},
    {"prctl", 0, WHOLE, PR_GET_DUMPABLE},
    {"prctl", 0, WHOLE, PR_CAPBSET_READ},
    {"prctl", 0, WHOLE, PR_SET_VMA},
    {"prctl", 0, WHOLE, PR_SET_TIMERSLACK},
};

/* For the handler, which may not allocate. */
static char *call_names[NUMBERS];
static atomic_bool told[NUMBERS];
static const char *token_name = "";

KL_AUTO_DEFINE(filter, void, seccomp_release);

static size_t put(char *line, size_t at, size_t room, const char *text)
{
    while (*text != 0 && at + 1 < room)
        line[at++] = *text++;
    return at;
}

static size_t put_number(char *line, size_t at, size_t room, unsigned number)
{
    char digits[12] = "";
    size_t i = sizeof digits - 1;
    do
        digits[--i] = (char)('0' + number % 10);
    while ((number /= 10) != 0);
    return put(line, at, room, digits + i);
}

/* Async-signal-safe, unlike kl_log. */
static void tell(unsigned number)
{
    char line[400];
    size_t at = 0, room = sizeof line;
    const char *name = number < NUMBERS ? call_names[number] : NULL;
    bool is_socket = name != NULL && strcmp(name, "socket") == 0;
    at = put(line, at, room, "kluis-tokend error token=");
    at = put(line, at, room, token_name);
    at = put(line, at, room, " the module was refused the system call ");
    at = name != NULL ? put(line, at, room, name) : put_number(line, at, room, number);
    at = put(line, at, room, "; if it needs it, write ");
    at = put(line, at, room, is_socket ? "network = yes" : "syscalls = ");
    at = put(line, at, room, is_socket || name == NULL ? "" : name);
    at = put(line, at, room, " into its [token] section\n");
    ssize_t written = write(STDERR_FILENO, line, at);
    (void)written; /* nowhere left to complain */
}

static void refused(int signal, siginfo_t *info, void *context)
{
    ucontext_t *before = context;
    unsigned number = (unsigned)info->si_syscall;
    int error = errno;
    (void)signal;
    if (number >= NUMBERS || !atomic_exchange(&told[number], true))
        tell(number);
#if defined(__x86_64__)
    before->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
    before->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
#error "say here where a system call's result goes on this processor"
#endif
    errno = error;
}

static enum kl_code catch_refusals(struct kl_err *err)
{
    struct sigaction action = {.sa_sigaction = refused, .sa_flags = SA_SIGINFO | SA_RESTART};
    (void)sigfillset(&action.sa_mask);
    for (int i = 0; i < NUMBERS; i++)
        call_names[i] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, i);
    return sigaction(SIGSYS, &action, NULL) == 0
               ? KL_OK
               : kl_fail_errno(err, "sigaction", "refused system calls cannot be reported");
}

static enum kl_code failed(int rc, struct kl_err *err)
{
    errno = -rc;
    return kl_fail_errno(err, "seccomp", "the worker's system calls cannot be limited");
}

/* Names of the setting. */
static enum kl_code allow_extra(scmp_filter_ctx filter, char *names, struct kl_err *err)
{
    char *rest = NULL;
    for (char *name = strtok_r(names, " ,", &rest); name != NULL;
         name = strtok_r(NULL, " ,", &rest)) {
        int number = seccomp_syscall_resolve_name(name);
        if (number == __NR_SCMP_ERROR)
            return kl_fail(err, KL_CONFIG, "syscalls", "syscalls: there is no system call %.40s",
                           name);
        int rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
        if (rc != 0)
            return failed(rc, err);
    }
    return KL_OK;
}

static bool is_extra(const char *extra, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = strstr(extra, name); p != NULL; p = strstr(p + 1, name))
        if ((p == extra || p[-1] == ' ' || p[-1] == ',') && strchr(" ,", p[n]) != NULL)
            return true;
    return false;
}

/* Calls of other processors than ours are passed over. */
static int allow(scmp_filter_ctx filter, const char *name, unsigned count,
                 const struct scmp_arg_cmp *compare)
{
    int number = seccomp_syscall_resolve_name(name);
    return number < 0 ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, number, count, compare);
}

#define SOCKET_TYPE 0xfUL /* without SOCK_CLOEXEC and SOCK_NONBLOCK */

/* Beside Unix sockets: news of devices that come and go, and with `network` what TCP, UDP and the
 * resolver need; raw sockets never. */
static int add_sockets(scmp_filter_ctx filter, bool network)
{
    const struct {
        int family;
        unsigned argument;
        unsigned long mask, value;
        bool network;
    } kinds[] = {{AF_NETLINK, 2, WHOLE, NETLINK_KOBJECT_UEVENT, false},
                 {AF_NETLINK, 2, WHOLE, NETLINK_ROUTE, true},
                 {AF_INET, 1, SOCKET_TYPE, SOCK_STREAM, true},
                 {AF_INET, 1, SOCKET_TYPE, SOCK_DGRAM, true},
                 {AF_INET6, 1, SOCKET_TYPE, SOCK_STREAM, true},
                 {AF_INET6, 1, SOCKET_TYPE, SOCK_DGRAM, true}};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < KL_COUNT(kinds); i++) {
        const struct scmp_arg_cmp same[] = {
            {0, SCMP_CMP_MASKED_EQ, WHOLE, (scmp_datum_t)kinds[i].family},
            {kinds[i].argument, SCMP_CMP_MASKED_EQ, kinds[i].mask, kinds[i].value}};
        if (network || !kinds[i].network)
            rc = allow(filter, "socket", 2, same);
    }
    return rc;
}

static int add_rules(scmp_filter_ctx filter, const char *extra, bool network)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < KL_COUNT(allowed); i++)
        rc = allow(filter, allowed[i], 0, NULL);
    for (size_t i = 0; rc == 0 && i < KL_COUNT(limited); i++) {
        const struct limited *l = &limited[i];
        struct scmp_arg_cmp same = {l->argument, SCMP_CMP_MASKED_EQ, l->mask, l->value};
        if (!is_extra(extra, l->name))
            rc = allow(filter, l->name, 1, &same);
    }
    struct scmp_arg_cmp own = {0, SCMP_CMP_MASKED_EQ, WHOLE, (scmp_datum_t)getpid()};
    if (rc == 0 && !is_extra(extra, "socket"))
        rc = add_sockets(filter, network);
    if (rc == 0 && !is_extra(extra, "tgkill")) /* abort() and pthread_kill() */
        rc = allow(filter, "tgkill", 1, &own);
    /* posix_spawn() blocks SIGSYS, which would then kill; so only the kernel's log has it */
    struct scmp_arg_cmp spawn = {0, SCMP_CMP_MASKED_EQ, CLONE_VFORK | CLONE_THREAD, CLONE_VFORK};
    if (rc == 0 && !is_extra(extra, "clone"))
        rc = seccomp_rule_add_array(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1, &spawn);
    if (rc == 0 &&
        !is_extra(extra, "clone3")) /* its flags cannot be seen; glibc takes clone then */
        rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    return rc;
}

enum kl_code kl_syscalls_confine(const char *token, const char *extra, bool network,
                                 struct kl_err *err)
{
    KL_AUTO(char) names = strdup(extra);
    KL_AUTO(filter) filter = seccomp_init(SCMP_ACT_TRAP);
    token_name = token;
    if (names == NULL || filter == NULL)
        return kl_fail(err, KL_NO_MEMORY, "seccomp_init", "no memory to limit system calls");
    enum kl_code code = catch_refusals(err);
    if (code == KL_OK)
        code = allow_extra(filter, names, err);
    if (code != KL_OK)
        return code;
    int rc = add_rules(filter, extra, network);
    if (rc == 0)
        rc = seccomp_attr_set(filter, SCMP_FLTATR_CTL_LOG, 1);
    if (rc == 0)
        rc = seccomp_load(filter);
    return rc == 0 ? KL_OK : failed(rc, err);
}
