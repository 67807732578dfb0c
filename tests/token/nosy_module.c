/* A PKCS#11 module that was taken over: it passes everything on to the one named by
 * $KLUIS_NOSY_MODULE, and when it is initialised it tries what a worker must not be able to do.
 * What came of each try goes to the existing file $KLUIS_NOSY_REPORT, one line "NAME ERRNO" each, 0
 * for success. $KLUIS_NOSY_FILES: paths parted by colons to open for reading, $KLUIS_NOSY_VICTIM: a
 * process to touch. With $KLUIS_NOSY_KEYPAD it is a token with a keypad of its own instead, on
 * which somebody types what that file holds. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <p11-kit/pkcs11.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret);

static pid_t victim(void)
{
    return (pid_t)strtol(getenv("KLUIS_NOSY_VICTIM"), NULL, 10);
}

static int closed(int fd)
{
    return fd < 0 ? -1 : close(fd);
}

static int try_inet(void)
{
    return closed(socket(AF_INET, SOCK_STREAM, 0));
}

static int try_inet6(void)
{
    return closed(socket(AF_INET6, SOCK_DGRAM, 0));
}

static int try_raw(void)
{
    return closed(socket(AF_INET, SOCK_RAW, NETLINK_KOBJECT_UEVENT));
}

static int try_packet(void)
{
    return closed(socket(AF_PACKET, SOCK_DGRAM, 0));
}

static int try_unix(void)
{
    return closed(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid < 0 ? -1 : (int)(waitpid(pid, NULL, 0) > 0) - 1;
}

static int try_exec(void)
{
    char *argv[] = {(char[]){"/bin/true"}, NULL};
    return execv(argv[0], argv); /* a success ends the worker, which is seen too */
}

static int try_spawn(void)
{
    char *argv[] = {(char[]){"/bin/true"}, NULL};
    pid_t pid;
    errno = posix_spawn(&pid, argv[0], NULL, NULL, argv, NULL);
    return errno == 0 ? (int)(waitpid(pid, NULL, 0) > 0) - 1 : -1;
}

static int try_ptrace(void)
{
    return (int)ptrace(PTRACE_ATTACH, victim(), NULL, NULL);
}

static int try_read_memory(void)
{
    char byte;
    struct iovec mine = {&byte, 1}, other = {(void *)&list, 1};
    return process_vm_readv(victim(), &mine, 1, &other, 1, 0) < 0 ? -1 : 0;
}

static int try_open_memory(void)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/mem", (int)victim());
    return closed(open(path, O_RDONLY));
}

static int try_signal(void)
{
    return kill(victim(), SIGCONT);
}

static int try_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static int try_core(void)
{
    struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    return setrlimit(RLIMIT_CORE, &all);
}

static int try_user(void)
{
    return setuid(0);
}

static int try_namespace(void)
{
    return unshare(CLONE_NEWUSER);
}

static int try_uring(void)
{
    char room[256] = "";
    return closed((int)syscall(SYS_io_uring_setup, 1, room));
}

static int try_mode(void)
{
    char first[512];
    (void)snprintf(first, sizeof first, "%s", getenv("KLUIS_NOSY_FILES"));
    first[strcspn(first, ":")] = 0;
    return chmod(first, 0644);
}

static int try_create(void)
{
    return closed(open("/tmp/kluis-nosy-was-here", O_CREAT | O_WRONLY, 0600));
}

static const struct {
    const char *name;
    int (*run)(void);
} tries[] = {
    {"inet", try_inet},
    {"inet6", try_inet6},
    {"raw", try_raw},
    {"packet", try_packet},
    {"unix", try_unix},
    {"fork", try_fork},
    {"spawn", try_spawn},
    {"ptrace", try_ptrace},
    {"memory", try_read_memory},
    {"mem-file", try_open_memory},
    {"signal", try_signal},
    {"dumpable", try_dumpable},
    {"core", try_core},
    {"setuid", try_user},
    {"namespace", try_namespace},
    {"io_uring", try_uring},
    {"mode", try_mode},
    {"create", try_create},
    {"exec", try_exec},
};

static void report(int fd, const char *name, int rc)
{
    int error = rc == 0 ? 0 : errno;
    char line[600];
    int n = snprintf(line, sizeof line, "%s %d\n", name, error);
    if (write(fd, line, (size_t)n) != n)
        abort();
}

static CK_RV initialize(void *args)
{
    char files[4096], *rest = NULL;
    if (getenv("KLUIS_NOSY_KEYPAD") != NULL)
        return real->C_Initialize(args);
    int fd = open(getenv("KLUIS_NOSY_REPORT"), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0)
        return CKR_GENERAL_ERROR;
    (void)snprintf(files, sizeof files, "%s", getenv("KLUIS_NOSY_FILES"));
    for (char *p = strtok_r(files, ":", &rest); p != NULL; p = strtok_r(NULL, ":", &rest))
        report(fd, p, closed(open(p, O_RDONLY)));
    for (size_t i = 0; i < sizeof tries / sizeof *tries; i++)
        report(fd, tries[i].name, tries[i].run());
    report(fd, "done", 0);
    (void)close(fd);
    return real->C_Initialize(args);
}

static CK_RV token_info(CK_SLOT_ID slot, CK_TOKEN_INFO *info)
{
    CK_RV rv = real->C_GetTokenInfo(slot, info);
    if (rv == CKR_OK && getenv("KLUIS_NOSY_KEYPAD") != NULL)
        info->flags |= CKF_PROTECTED_AUTHENTICATION_PATH;
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_UTF8CHAR *pin, CK_ULONG n)
{
    CK_UTF8CHAR typed[64];
    const char *keypad = getenv("KLUIS_NOSY_KEYPAD");
    if (keypad == NULL)
        return real->C_Login(s, who, pin, n);
    if (pin != NULL || n != 0)
        return CKR_ARGUMENTS_BAD;
    int fd = open(keypad, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, typed, sizeof typed);
    (void)closed(fd);
    return got < 1 ? CKR_FUNCTION_CANCELED : real->C_Login(s, who, typed, (CK_ULONG)got);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
    void *handle = dlopen(getenv("KLUIS_NOSY_MODULE"), RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;
    if (symbol == NULL)
        return CKR_GENERAL_ERROR;
    memcpy(&get, &symbol, sizeof get);
    CK_RV rv = get(&real);
    if (rv != CKR_OK)
        return rv;
    list = *real;
    list.C_Initialize = initialize;
    list.C_GetTokenInfo = token_info;
    list.C_Login = login;
    *ret = &list;
    return CKR_OK;
}
