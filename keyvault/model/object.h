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
#define KL_HOMES_MAX      8 /* tokens that one key may be on */

/** JSON Web Key operations of a key (RFC 7517 section 4.3 words), as bits. */
enum kl_key_op {
    KL_OP_ENCRYPT = 1,
    KL_OP_DECRYPT = 2,
    KL_OP_SIGN = 4,
    KL_OP_VERIFY = 8,
    KL_OP_WRAP = 16,
    KL_OP_UNWRAP = 32,
    KL_OP_IMPORT = 64, /* alone: other keys are imported under this one */
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

/** A role that a principal or group has in a vault. */
struct kl_assignment {
    char id[KL_UUID_LEN + 1], object_id[KL_UUID_LEN + 1];
    char role[KL_UUID_LEN + 1]; /* of keyvault/auth/roles.c */
    int64_t created;            /* unix seconds */
};

struct kl_origin {
    char host[KL_HOST_MAX + 1]; /* lower case, IPv6 without brackets */
    uint16_t port;
};

/** What a vault allows beside the usual: bits of kl_vault.extras. */
enum kl_vault_extra {
    KL_EXTRA_RSA15 = 1, /* RSA1_5, for clients that cannot do OAEP; not for keys of backups */
    KL_EXTRA_OLDER = 2, /* a decryption that names no version tries older ones too */
};

enum kl_object_state { KL_STATE_ACTIVE, KL_STATE_DELETED };

/** What a name in a vault stands for: each kind has names of its own. Stored: append only, before
 * KL_KIND_COUNT. */
enum kl_kind {
    KL_KIND_KEY,
    KL_KIND_SECRET,
    KL_KIND_CERTIFICATE,
    KL_KIND_COUNT,
    KL_KIND_VAULT = KL_KIND_COUNT
};

/** A token that a vault's keys live on. */
struct kl_vault_home {
    char *token_name;
    struct kl_token *token; /* NULL when the configuration lacks it */
};

struct kl_vault {
    atomic_int refs;
    char id[KL_UUID_LEN + 1];
    char name[KL_VAULT_NAME_MAX + 1];
    enum kl_object_state state;
    struct kl_origin origins[KL_MAX_ORIGINS];
    size_t origin_count;
    char *subscription, *geography, *location; /* labels, never NULL */
    char *token_name;                          /* vouches for the vault's rows; fixed at creation */
    struct kl_token *token;                    /* NULL when the configuration lacks token_name */
    struct kl_vault_home homes[KL_HOMES_MAX];  /* where new keys go, in order of preference */
    size_t home_count;                         /* at least 1 */
    enum kl_profile profile;                   /* default of new keys, fixed at creation */
    int retention_days;                        /* 7 … 90, fixed at creation */
    bool purge_protection;                     /* one-way */
    int64_t created, updated;                  /* unix seconds */
    int64_t deleted_at, purge_at;
    char *tags_json;            /* JSON object text or NULL */
    struct kl_policy *policies; /* sorted by object_id */
    size_t policy_count;
    unsigned extras;                   /* enum kl_vault_extra */
    bool rbac;                         /* role assignments decide instead of the policies */
    struct kl_assignment *assignments; /* likewise sorted */
    size_t assignment_count;
};

struct kl_key_attrs {
    bool enabled, has_nbf, has_exp;
    int64_t nbf, exp; /* unix seconds */
};

/** How a key came to its token. Stored: append only. */
enum kl_key_origin {
    KL_ORIGIN_MADE,     /* generated there */
    KL_ORIGIN_ATTACHED, /* was there, made by somebody else */
    KL_ORIGIN_SOFTWARE, /* imported; has been in the memory of a machine */
    KL_ORIGIN_BYOK,     /* imported under a key of the token and unwrapped inside it */
    KL_ORIGIN_COUNT
};

/** The same private key, as one token has it. */
struct kl_home {
    char *token_name;
    struct kl_token *token; /* NULL when the configuration lacks it */
    struct kl_key_ref ref;
};

struct kl_key_version {
    atomic_int refs;
    char vault_id[KL_UUID_LEN + 1];
    char name[KL_NAME_MAX + 1]; /* spelled as at creation; compared without case */
    char version[KL_VERSION_LEN + 1];
    enum kl_key_type type;
    uint32_t bits;
    enum kl_curve curve;
    bool managed;     /* belongs to the certificate of its name */
    bool for_backups; /* the backup layer has wrapped under it */
    bool hsm; /* kty answers RSA-HSM / EC-HSM, as its creator asked; the key is on the token either
                 way */
    unsigned ops; /* bits of enum kl_key_op */
    struct kl_key_attrs attrs;
    char *tags_json; /* or NULL */
    enum kl_profile profile;
    char *token_name;
    struct kl_token *token; /* NULL when the configuration lacks it */
    struct kl_key_ref ref;
    struct kl_home *homes; /* all homes in the vault's order; NULL when `token` is the only one */
    size_t home_count;
    int64_t seq;               /* its number in the store */
    enum kl_key_origin origin; /* of the private key */
    bool keep;                 /* a purge leaves the token object alone */
    bool restored;             /* came from a backup blob: provenance ends there */
    uint8_t *spki;             /* DER */
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

/** Is this failure the token's or this home's, so that another home may do better? */
bool kl_home_may_move(enum kl_code code);

/** Names: ^[0-9a-zA-Z-]{1,127}$, and the vault's stricter form. */
bool kl_name_valid(const char *name);
bool kl_vault_name_valid(const char *name);
/** 32 hex digits, either case. */
bool kl_version_valid(const char *version);

KL_AUTO_DEFINE(vault, struct kl_vault, kl_vault_unref);
KL_AUTO_DEFINE(key_version, struct kl_key_version, kl_key_version_unref);

#endif
