/* What the tests of keyvault/auth share: RSA keys of their own, tokens made of any text, and a
 * model of a few principals and vaults that stands in for the real one at link time. Not thread
 * safe. */
#ifndef KL_TESTS_AUTH_SUPPORT_H
#define KL_TESTS_AUTH_SUPPORT_H

#include "keyvault/auth/authorize.h"

#include <openssl/evp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define AUTH_NOW    INT64_C(1700000000)
#define AUTH_TENANT "11111111-2222-4333-8444-555555555555"
#define AUTH_ISSUER "https://localhost:8443/" AUTH_TENANT "/v2.0"
#define AUTH_OID    "aaaaaaaa-0000-4000-8000-00000000000a"
#define AUTH_APP    "aaaaaaaa-0000-4000-8000-0000000000ca"

/** One of two RSA-2048 keys, made at first use. Borrowed. */
EVP_PKEY *auth_key(unsigned which);
/** base64url(header).base64url(payload).signature by RS256 under `key`; free(). */
char *auth_sign(EVP_PKEY *key, const char *header, const char *payload);

/** TEXT.signature for a text that need not be a right one; free(). */
char *auth_sign_text(EVP_PKEY *key, const char *text);
/** A snapshot of auth_key(which) as an issuer's key; `token` may be NULL. One reference. */
struct kl_key_version *auth_issuer_key(unsigned which, struct kl_token *token);
/** A token whose only key is auth_key(0) and that signs at once, in the caller's thread. */
struct kl_token *auth_signing_token(void);
/** What the signing token answers from now on instead: at submit, and in the callback. */
void auth_signing_fails(enum kl_code submit, enum kl_code reply);
/** An authenticator on that token for AUTH_TENANT and https://localhost:8443, tokens for an hour.
 */
struct kl_authenticator *auth_authenticator(void);

/** The stand-in model: kl_principal_…, kl_credential_… and kl_vault_list answer
 * from here. */
struct auth_world {
    struct kl_principal principals[8];
    size_t principal_count;
    struct kl_vault vaults[4];
    size_t vault_count;
    uint64_t generation;
    struct kl_credential credential; /* the only one that is no secret; value NULL = none */
};
extern struct auth_world auth_world;
/** A world with principals a (administrator), b (auditor), c (none), whose ids differ in the last
 * digits, and the vaults demo (demo.vault.localhost and localhost, port 8443) and safe
 * (127.0.0.1:8443). */
void auth_world_reset(void);
/** The principal's secret is its name. */
struct kl_principal *auth_principal(const char *name);

#endif
