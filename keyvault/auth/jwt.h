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
    const char *tenant; /* the tid claim, likewise; NULL = not asked for (external issuers only) */
    const struct kl_jwks *keys;
    /* of external issuers; NULL and 0 for the built-in one, whose tokens always have an oid, an
     * appid and one audience */
    const char *registered;       /* NAME of [issuer NAME] */
    const char *object_claim;     /* which claim says who */
    const char *const *audiences; /* none = audience_ok decides */
    size_t audience_count;
};

struct kl_jwt_rules {
    const struct kl_jwt_issuer *own;    /* the built-in one */
    const struct kl_jwt_issuer *others; /* external ones */
    size_t other_count;
    bool (*audience_ok)(void *arg, const char *audience); /* asked after the signature */
    void *arg;
    int64_t now; /* unix seconds */
};

#define KL_JWT_GROUPS_MAX 256

/** What a token said, all of it checked. Ids of external issuers that are no GUIDs are turned into
 * some (kl_jwt_derive_id). */
struct kl_jwt_claims {
    const struct kl_jwt_issuer *issuer; /* a row of the rules' tables */
    char object_id[KL_UUID_LEN + 1];    /* oid */
    char app_id[KL_UUID_LEN + 1];       /* appid or azp; "" when an external issuer says none */
    char token_id[KL_JWT_ID_MAX + 1];   /* uti or jti, "" when absent */
    int login;                          /* appidacr of our own tokens, 0 when absent */
    int64_t not_before, expires;        /* unix seconds; 0 = no nbf */
    size_t group_count;                 /* of external issuers */
    char groups[KL_JWT_GROUPS_MAX][KL_UUID_LEN + 1];
};

/** The object id of a subject of an external issuer (its iss): the subject itself in lower case if
 * it is a GUID, else a version-8 UUID (RFC 9562) from the SHA-256 of both. */
enum kl_code kl_jwt_derive_id(const char *issuer, const char *subject,
                              char ret[static KL_UUID_LEN + 1], struct kl_err *err) KL_MUST_USE;

/** Check a token of n characters in full. KL_UNAUTHENTICATED in Key Vault's wording (AKV10022
 * audience, AKV10032 issuer or tenant, AKV10046 key, IDX10222 not yet valid, IDX10223 expired). exp
 * is required and meant strictly; iat is required. */
enum kl_code kl_jwt_verify(const char *token, size_t n, const struct kl_jwt_rules *rules,
                           struct kl_jwt_claims *ret, struct kl_err *err) KL_MUST_USE;

#endif
