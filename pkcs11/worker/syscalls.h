/* The system calls that a worker may make: an allow-list in the kernel (seccomp), so that a module
 * that was taken over starts no program, touches no other process and opens no Internet socket. */
#ifndef KL_PKCS11_WORKER_SYSCALLS_H
#define KL_PKCS11_WORKER_SYSCALLS_H

#include "base/err.h"

#include <stdbool.h>

/** Confine this process for good; before it has threads. A call beyond the list fails with EPERM,
 * and the first of its kind is logged with its name and the setting that would allow it. `token` is
 * for the log (kept); `extra`: names parted by spaces, allowed without limits on their arguments;
 * `network`: Internet sockets too. KL_CONFIG: no such system call. Source: seccomp(2), libseccomp
 * 2.5.4. */
enum kl_code kl_syscalls_confine(const char *token, const char *extra, bool network,
                                 struct kl_err *err) KL_MUST_USE;

#endif
