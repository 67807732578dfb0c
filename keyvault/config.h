/* kluis.conf as the key service reads it; the rows are in config.c, token rows in
 * pkcs11/token_conf.c. */
#ifndef KL_KEYVAULT_CONFIG_H
#define KL_KEYVAULT_CONFIG_H

#include "base/conf.h"
#include "base/log.h"
#include "pkcs11/token.h"

struct kl_service_config {
    char *listen, *origin, *vault_domain, *tenant, *certificate, *private_key, *database,
        *state_dir;
    char *client_ca;
    bool client_certificates;
    char *log_level;                 /* debug, info, warning, error */
    int64_t io_threads, job_threads; /* 0 = number of processors */
    int64_t max_body, max_header, max_connections, max_per_address;
    int64_t handshake_ms, request_ms, idle_ms, token_lifetime_ms;
    int64_t
        wrap_proof_ms; /* a wrap is let through while its key's last proof is younger (gate.h) */
};

struct kl_audit_config {
    char *path, *head;
    int64_t checkpoint_records, checkpoint_ms, gather_ms;
};

struct kl_issuer_config;
struct kl_limit_config;
struct kl_event_config;

struct kl_config {
    struct kl_conf *file;          /* owns everything below */
    struct kl_conf_section *kinds; /* what the file was parsed against */
    const struct kl_service_config *service;
    const struct kl_audit_config *audit;
    const struct kl_token_config *const *tokens;
    size_t token_count;
    const struct kl_issuer_config *const *issuers; /* keyvault/auth/issuers.h */
    size_t issuer_count;
    const struct kl_limit_config *limits; /* keyvault/limit.h */
    const struct kl_event_config *events; /* keyvault/events.h */
};

/** Load and check. KL_CONFIG with FILE:LINE. */
enum kl_code kl_config_load(const char *path, struct kl_config **ret,
                            struct kl_err *err) KL_MUST_USE;
void kl_config_free(struct kl_config *c);
enum kl_log_level kl_config_log_level(const struct kl_config *c);
/** The effective configuration, defaults included. */
void kl_config_print(const struct kl_config *c, struct kl_buf *out);
/** The sample file with every key, its range, its default and its help. */
void kl_config_sample(struct kl_buf *out);

KL_AUTO_DEFINE(config, struct kl_config, kl_config_free);

#endif
