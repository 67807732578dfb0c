/* The running key service: what its parts share. Made by main.c, constant afterwards. */
#ifndef KL_KEYVAULT_SERVICE_H
#define KL_KEYVAULT_SERVICE_H

#include "keyvault/audit_log.h"
#include "keyvault/auth/authorize.h"
#include "keyvault/config.h"
#include "keyvault/model/model.h"

struct kl_jobs;     /* keyvault/jobs.h: the threads that may block */
struct kl_gate;     /* keyvault/gate.h: proofs of private halves */
struct kl_failover; /* keyvault/failover.h: keys on several tokens */
struct kl_fair;     /* keyvault/fair.h: whose turn it is at a token */
struct kl_events;   /* keyvault/events.h: who is told of what happens */
struct kl_limits;   /* keyvault/limit.h: how much a vault and a caller may ask for */

struct kl_service {
    const struct kl_config *config;
    struct kl_token **tokens;
    size_t token_count;
    struct kl_model *model;
    struct kl_authenticator *authenticator;
    struct kl_audit_log *audit;
    struct kl_jobs *jobs;
    struct kl_gate *gate;
    struct kl_failover *failover;
    struct kl_fair *fair;
    struct kl_limits *limits;
    struct kl_events *events;
    struct kl_key_version *issuer_key, *audit_key;
    struct kl_origin origin; /* the service's own public origin */
    int64_t started_unix;
};

#endif
