/* The steps of a worker's start, told to the client before each begins, so that a module that hangs
 * is told from a slow token, and the log can say where. Nothing is sent outside a start. */
#ifndef KL_PKCS11_WORKER_PROGRESS_H
#define KL_PKCS11_WORKER_PROGRESS_H

#include <stdbool.h>

/** From now on steps are sent to this end of lane 1. Before any thread. */
void kl_progress_open(int fd);
/** The start is over. */
void kl_progress_close(void);

/** `what` begins: a C_ function or a few words, at most 31 bytes. `slow`: it may take as long as
 * making a key, or wait for people. */
void kl_progress_step(const char *what, bool slow);

#endif
