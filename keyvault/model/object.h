/* What the key service knows: vaults, keys, key versions. Immutable snapshots with reference
 * counts, so that a request works on one state of the world from its first line to its last, and
 * I/O threads never wait for the database. Thread safe by immutability; `proved_ms` alone changes,
 * atomically. */
#ifndef KL_KEYVAULT_OBJECT_H
#define KL_KEYVAULT_OBJECT_H

#include "base/encoding.h"
#include "pkcs11/token.h"

#include <openssl/evp.h>
#include <stdatomic.h>

#define KL_NAME_MAX       127 /* characters of an object's name; ^[0-9a-zA-Z-]+$ */
#define KL_VAULT_NAME_MAX 24  /* 3 … 24 characters, no double hyphen */
#define KL_VERSION_LEN    32  /* lower-case hex digits */
#define KL_HOST_MAX       253
#define KL_MAX_ORIGINS    8

/** JSON Web Key operations of a key (RFC 7517 section 4.3 words), as bits. */
enum kl_key_op {
    KL_OP_ENCRYPT = 1,
    KL_OP_DECRYPT = 2,
    KL_OP_SIGN = 4,
    KL_OP_VERIFY = 8,
    KL_OP_WRAP = 16,
    KL_OP_UNWRAP = 32,
};

/** Permissions as bits of a mask per kind; the words are in keyvault/auth/policy.c. */
enum kl_permission_kind {
    KL_PERM_KEYS,
    KL_PERM_SECRETS,
    KL_PERM_CERTIFICATES,
    KL_PERM_VAULT,
    KL_PERM_KINDS
};

struct kl_policy {
    char object_id[KL_UUID_LEN + 1];
    uint64_t allowed[KL_PERM_KINDS]; /* bits of enum kl_permission of that kind */
};

struct kl_origin {
    char host[KL_HOST_MAX + 1]; /* lower case, IPv6 without brackets */
    uint16_t port;
};

enum kl_object_state { KL_STATE_ACTIVE, KL_STATE_DELETED };

struct kl_vault {
    atomic_int refs;
    char id[KL_UUID_LEN + 1];
    char name[KL_VAULT_NAME_MAX + 1];
    enum kl_object_state state;
    struct kl_origin origins[KL_MAX_ORIGINS];
    size_t origin_count;
    char *subscription, *geography, *location; /* labels, never NULL */
    char *token_name;
    struct kl_token *token;   /* NULL when the configuration lacks token_name */
    enum kl_profile profile;  /* default of new keys, fixed at creation */
    int retention_days;       /* 7 … 90, fixed at creation */
    bool purge_protection;    /* one-way */
    int64_t created, updated; /* unix seconds */
    int64_t deleted_at, purge_at;
    char *tags_json;            /* JSON object text or NULL */
    struct kl_policy *policies; /* sorted by object_id */
    size_t policy_count;
};

struct kl_key_attrs {
    bool enabled, has_nbf, has_exp;
    int64_t nbf, exp; /* unix seconds */
};

struct kl_key_version {
    atomic_int refs;
    char vault_id[KL_UUID_LEN + 1];
    char name[KL_NAME_MAX + 1]; /* spelled as at creation; compared without case */
    char version[KL_VERSION_LEN + 1];
    enum kl_key_type type;
    uint32_t bits;
    enum kl_curve curve;
    bool hsm; /* kty answers RSA-HSM / EC-HSM, as its creator asked; the key is on the token either
                 way */
    unsigned ops; /* bits of enum kl_key_op */
    struct kl_key_attrs attrs;
    char *tags_json; /* or NULL */
    enum kl_profile profile;
    char *token_name;
    struct kl_token *token; /* NULL when the configuration lacks it */
    struct kl_key_ref ref;
    bool restored; /* came from a backup blob: provenance ends there */
    uint8_t *spki; /* DER */
    size_t spki_len;
    EVP_PKEY *public_key;
    int64_t created, updated;
    atomic_llong proved_ms; /* kl_clock_mono_ms of the last successful token use of the private
                               half; 0 = never */
};

struct kl_deleted_key {
    struct kl_key_version *latest;
    int64_t deleted_at, purge_at;
};

/** One reference more, one less: the last frees. Any thread; unref of NULL is fine. */
struct kl_vault *kl_vault_ref(struct kl_vault *v);
void kl_vault_unref(struct kl_vault *v);
struct kl_key_version *kl_key_version_ref(struct kl_key_version *k);
void kl_key_version_unref(struct kl_key_version *k);

/** Names: ^[0-9a-zA-Z-]{1,127}$, and the vault's stricter form. */
bool kl_name_valid(const char *name);
bool kl_vault_name_valid(const char *name);
/** 32 hex digits, either case. */
bool kl_version_valid(const char *version);

KL_AUTO_DEFINE(vault, struct kl_vault, kl_vault_unref);
KL_AUTO_DEFINE(key_version, struct kl_key_version, kl_key_version_unref);

#endif
