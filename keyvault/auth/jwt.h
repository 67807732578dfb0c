/* JSON Web Tokens (RFC 7519) as this service accepts them (RFC 8725): from a short table of
 * issuers, each with its own keys and tenant. A key of one issuer says nothing about a token of
 * another. Thread safe: no state. */
#ifndef KL_KEYVAULT_JWT_H
#define KL_KEYVAULT_JWT_H

#include "base/encoding.h"
#include "keyvault/auth/jws.h"

#define KL_JWT_SKEW_S     60    /* how far nbf and iat may lie ahead of our clock */
#define KL_JWT_LIFE_MAX_S 86400 /* from iat to exp */
#define KL_JWT_ID_MAX     39

struct kl_jwt_issuer {
    const char *name;   /* the iss claim, compared byte by byte */
    const char *tenant; /* the tid claim, likewise */
    const struct kl_jwks *keys;
};

struct kl_jwt_rules {
    const struct kl_jwt_issuer *issuers;
    size_t issuer_count;
    bool (*audience_ok)(void *arg, const char *audience); /* asked after the signature */
    void *arg;
    int64_t now; /* unix seconds */
};

/** What a token said, all of it checked. */
struct kl_jwt_claims {
    const struct kl_jwt_issuer *issuer; /* a row of the rules' table */
    char object_id[KL_UUID_LEN + 1];    /* oid */
    char app_id[KL_UUID_LEN + 1];       /* appid or azp */
    char token_id[KL_JWT_ID_MAX + 1];   /* uti or jti, "" when absent */
    int64_t not_before, expires;        /* unix seconds; 0 = no nbf */
};

/** Check a token of n characters in full. KL_UNAUTHENTICATED in Key Vault's wording (AKV10022
 * audience, AKV10032 issuer or tenant, AKV10046 key, IDX10222 not yet valid, IDX10223 expired). exp
 * is required and meant strictly; iat is required. */
enum kl_code kl_jwt_verify(const char *token, size_t n, const struct kl_jwt_rules *rules,
                           struct kl_jwt_claims *ret, struct kl_err *err) KL_MUST_USE;

#endif
