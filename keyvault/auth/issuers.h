/* Issuers outside that may say who a caller is: OpenID providers of the configuration. A thread of
 * its own reads each one's discovery document and keys over HTTPS, keeps them fresh, and keeps the
 * last good ones while the provider cannot be reached. Thread safe. */
#ifndef KL_KEYVAULT_ISSUERS_H
#define KL_KEYVAULT_ISSUERS_H

#include "base/conf.h"
#include "keyvault/auth/jwt.h"

/** An [issuer NAME] section. */
struct kl_issuer_config {
    char *name;
    char *issuer;                  /* the iss claim, byte by byte */
    char *tenant;                  /* the tid claim; NULL = not asked for */
    char *ca_file;                 /* NULL = the system's */
    char *object_claim;            /* "oid": which claim says who it is */
    struct kl_conf_list audiences; /* empty = those of the service */
    int64_t refresh_ms, stale_ms;
};

/** The kind of section, for config.c. */
const struct kl_conf_section *kl_issuer_conf_section(void);

struct kl_issuers;

/** Copies nothing: the sections must outlive it. The thread starts at once. KL_NO_MEMORY. */
enum kl_code kl_issuers_new(const struct kl_issuer_config *const *configs, size_t count,
                            struct kl_issuers **ret, struct kl_err *err) KL_MUST_USE;
/** Ends the thread, which may take as long as an exchange under way; NULL is fine. */
void kl_issuers_free(struct kl_issuers *s);

/** Hold the keys still: the rows for kl_jwt_verify, to be given back with kl_issuers_unlock. */
const struct kl_jwt_issuer *kl_issuers_lock(struct kl_issuers *s, size_t *ret_count);
void kl_issuers_unlock(struct kl_issuers *s);
/** A token named a key that is not known: look for new keys soon, not more than six times a minute.
 */
void kl_issuers_look_again(struct kl_issuers *s);
/** Grows when any issuer's keys have changed. */
uint64_t kl_issuers_generation(struct kl_issuers *s);
/** Is there an [issuer NAME], and what is its iss? NULL = no. */
const char *kl_issuers_find(const struct kl_issuers *s, const char *name);

KL_AUTO_DEFINE(issuers, struct kl_issuers, kl_issuers_free);

#endif
