/* kluis-tokend as people (and the command line `kluis`) run it: a verb and its options. */
#ifndef KL_PKCS11_WORKER_HAND_H
#define KL_PKCS11_WORKER_HAND_H

#include <stdio.h>

/** The text of --help. */
void kl_hand_usage(FILE *to);

/** Run one verb to its end; argv as main's. The exit status: 0, or one of enum kl_worker_exit. */
int kl_hand_main(int argc, char **argv);

#endif
