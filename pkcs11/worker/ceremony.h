/* What people run kluis-tokend for: the domain-key ceremony and the probe. One thread. */
#ifndef KL_PKCS11_WORKER_CEREMONY_H
#define KL_PKCS11_WORKER_CEREMONY_H

#include "pkcs11/worker/worker.h"

/** The SO makes the domain key (TRUSTED), then the user the MAC key. Nothing is made when a domain
 * key is there (KL_EXISTS). conf names module, uri, init_args, store_dir and pin_source (the
 * user's). */
enum kl_code kl_ceremony_domain_key(const struct kl_worker_config *conf, const char *so_pin_file,
                                    struct kl_err *err) KL_MUST_USE;

/** Log in, probe, print the caps as JSON on standard output. */
enum kl_code kl_ceremony_probe(const struct kl_worker_config *conf, struct kl_err *err) KL_MUST_USE;

#endif
