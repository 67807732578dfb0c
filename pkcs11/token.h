/* A PKCS#11 token, seen from the key service: a table of calls that the real client and a test's
 * fake both fill.
 *
 * The real client (kl_token_open) starts one kluis-tokend per token, exec'd with two SOCK_SEQPACKET
 * socketpairs: lane 0 for short operations, answered by `workers` threads, and lane 1 for
 * management (generate, destroy, wrap, unwrap, list, probe), answered by one thread, which
 * serialises creation per token. One supervisor thread on our side reads the answers, watches the
 * deadline of each call, kills and replaces a worker that misses one or dies, and fails its calls
 * with KL_TOKEN_UNAVAILABLE. Only this folder's worker ever loads a vendor module, knows a PIN, or
 * calls a C_* function.
 */
#ifndef KL_PKCS11_TOKEN_H
#define KL_PKCS11_TOKEN_H

#include "base/conf.h"
#include "base/secret.h"

#include <stdbool.h>
#include <stdint.h>

#define KL_KEY_ID_LEN      16    /* bytes of CKA_ID, random */
#define KL_SPKI_HASH_LEN   32    /* SHA-256 of the DER SubjectPublicKeyInfo */
#define KL_MAC_KEY_EXISTS  1     /* a token that does not show its MAC key must not make one */
#define KL_TOKEN_MAX_INPUT 16384 /* bytes; the longest input or output of one call */
#define KL_PIN_MAX         255   /* bytes */

enum kl_key_type { KL_KEY_RSA = 1, KL_KEY_EC };
enum kl_curve { KL_CURVE_NONE, KL_CURVE_P256, KL_CURVE_P384, KL_CURVE_P521 };

/** Whether a private key can leave its token. Set when it is made, for good. */
enum kl_profile {
    KL_PROFILE_FIXED = 1, /* never: CKA_EXTRACTABLE is false */
    KL_PROFILE_DOMAIN,    /* only wrapped under the token's domain key (CKA_WRAP_WITH_TRUSTED) */
};

/** Token-side algorithms; pkcs11/worker/mech.c has one row for each. */
enum kl_token_alg {
    KL_ALG_NONE,
    KL_ALG_OAEP_SHA1, /* RFC 8017 section 7.1, MGF1 with the same hash, empty label */
    KL_ALG_OAEP_SHA256,
    KL_ALG_OAEP_SHA384,
    KL_ALG_OAEP_SHA512,
    KL_ALG_RS256, /* input of every signature: the digest */
    KL_ALG_RS384,
    KL_ALG_RS512,
    KL_ALG_PS256, /* salt as long as the digest */
    KL_ALG_PS384,
    KL_ALG_PS512,
    KL_ALG_ES256, /* output r || s, fixed width */
    KL_ALG_ES384,
    KL_ALG_ES512,
    KL_ALG_RSA15, /* RFC 8017 section 7.2; a wrong padding decrypts to something else (rsa15.h) */
    KL_ALG_COUNT
};

enum kl_token_call {
    KL_CALL_PROBE = 1, /* out: struct kl_token_caps as bytes */
    KL_CALL_DECRYPT, /* key, alg, input = ciphertext of modulus size; out = plaintext. Every failure
                        of the data itself is KL_DECRYPT_FAILED */
    KL_CALL_SIGN,    /* key, alg, input = digest; out = signature */
    KL_CALL_RANDOM,  /* count; out = that many bytes. KL_TOO_BIG above KL_TOKEN_MAX_INPUT */
    KL_CALL_MAC, /* input; out = 32 bytes HMAC-SHA-256. key.id zero: under the service's own MAC key
                    (made on first use where the token can); else under the MAC key of the domain
                    key with this id, KL_NOT_FOUND when the token does not have it */
    KL_CALL_FIND,     /* key.id; out = SPKI DER; KL_TOKEN_KEY_MISSING, KL_TOKEN_AMBIGUOUS */
    KL_CALL_GENERATE, /* spec, key.id (the new CKA_ID); out = SPKI DER. Returns after read-back,
                         round trip and the durability barrier; nothing is left on the token when it
                         fails. KL_EXISTS when the id is taken */
    KL_CALL_DESTROY,  /* key; destroys both halves, looks again. KL_OK also when there is nothing
                         (any more) */
    KL_CALL_WRAP,   /* key; out = an opaque blob: the public key, and the private key wrapped under
                       the domain key that input names (its id; empty = the current one);
                       reply.mechanism says how. KL_TOKEN_UNSUPPORTED for a fixed key */
    KL_CALL_UNWRAP, /* key (id for the new object, spki_hash that it must have), spec, mechanism,
                       input = that blob; out = SPKI DER. Checked by read-back and round trip
                       before it counts, destroyed otherwise */
    KL_CALL_LIST,   /* out: as many struct kl_token_listed as fit, from `offset` on, of all private
                       keys; none = the end. A zero fingerprint: a key that is not of ours, or two
                       under one id */
    KL_CALL_DOMAIN, /* out: struct kl_token_domain for each domain key, oldest first; none is no
                       error */
    KL_CALL_RESEAL, /* key.spki_hash, spec, mechanism, input = a wrapped blob; out = the same key in
                       a blob under the current domain key; reply.mechanism as WRAP. Nothing is left
                       on the token. KL_NOT_FOUND when the blob's domain key is not there */
    KL_CALL_CANARY, /* key.id zero: any key of the token, else this one. One private-key operation
                       whose result is known; out = one byte, 0 when the token has no key to try it
                       with. KL_TOKEN_UNAVAILABLE: the token is ill, its worker is replaced */
    KL_CALL_ATTACH, /* input = RFC 7512 URI of a private key that somebody else made; nothing on the
                       token changes. out = struct kl_token_attached, then SPKI DER, after a round
                       trip. KL_NOT_FOUND: no such key, or the URI is another token's. KL_BAD_INPUT:
                       several fit, or no key to be served, or not kept safe enough */
    KL_CALL_IMPORT, /* spec (bits 0, curve none = whatever it is), key.id (the new CKA_ID), input =
                       PKCS#8 DER; or, with wrapping.id, RSA-OAEP of an AES key under that key, then
                       the PKCS#8 under AES-KWP (CKM_RSA_AES_KEY_WRAP). out = SPKI DER, checked as
                       UNWRAP; reply.mechanism = CKM_RSA_AES_KEY_WRAP when the token itself
                       unwrapped it. KL_BAD_INPUT: no such key inside */
    KL_CALL_COUNT
};

/** How a key on the token is named: by CKA_ID, and by what its public key must be. A mismatch is
 * KL_TOKEN_KEY_MISSING. A fingerprint of zeros means whatever the key is: for FIND, and for
 * cleaning up after a creation whose answer was lost. */
struct kl_key_ref {
    uint8_t id[KL_KEY_ID_LEN];
    uint8_t spki_hash[KL_SPKI_HASH_LEN];
};

struct kl_key_spec {
    enum kl_key_type type;
    uint32_t bits;       /* RSA: 2048, 3072, 4096 */
    enum kl_curve curve; /* EC */
    enum kl_profile profile;
    bool may_decrypt, may_sign; /* usage flags on the token */
    bool may_unwrap;            /* RSA: keys are imported under it, inside the token where it can */
    char label[64];             /* for humans only */
};

struct kl_token_request {
    enum kl_token_call call;
    enum kl_token_alg alg;
    struct kl_key_ref key;
    struct kl_key_ref wrapping; /* KL_CALL_IMPORT */
    struct kl_key_spec spec;
    uint64_t mechanism; /* CK_MECHANISM_TYPE of a wrapped blob */
    uint32_t count;     /* KL_CALL_RANDOM: bytes; KL_CALL_MAC: 0 or KL_MAC_KEY_EXISTS */
    uint32_t offset;    /* KL_CALL_LIST: keys to leave out; 0 = look at the token anew */
    const void *input;  /* borrowed until submit returns */
    size_t input_len;   /* at most KL_TOKEN_MAX_INPUT */
};

struct kl_token_reply {
    enum kl_code code;
    struct kl_err err; /* origin kept: domain PKCS11, native CK_RV, op C_* */
    struct kl_secret
        *output; /* borrowed during the callback; take it by setting it to NULL. NULL on failure */
    uint64_t mechanism;
};

/** Comes exactly once for each accepted call, on the supervisor's thread, perhaps before submit has
 * returned; must not block. Beside what enum kl_token_call names, any call may end with
 * KL_TOKEN_UNAVAILABLE (the worker died, missed the deadline, or the token is closed) or with
 * KL_TOKEN_UNSUPPORTED (the token or the key cannot do this), and each with a key in it with
 * KL_TOKEN_KEY_MISSING. */
typedef void kl_token_done(void *arg, struct kl_token_reply *reply);

/** What a probe found by trying; but for rsa_bits_ok, which are the mechanism's limits (to make a
 * 4096-bit key takes seconds). */
struct kl_token_caps {
    uint32_t algs; /* bit (1 << enum kl_token_alg): works, natively or by raw RSA + software OAEP */
    uint32_t native_algs;   /* the subset that the token does by itself */
    uint8_t rsa_bits_ok[3]; /* 2048, 3072, 4096 can be generated */
    uint8_t curves_ok[4];   /* by enum kl_curve */
    uint8_t domain_wrap;    /* a private key can be wrapped and unwrapped under the domain key */
    uint8_t mac;            /* KL_CALL_MAC works */
    char model[17], manufacturer[33], serial[17], label[33], firmware[8];
};

/** How a domain key came to be, which decides whether a second site can have it. */
enum kl_domain_origin {
    KL_DOMAIN_EARLY,  /* before domain keys had ids: made by the token, never leaves it */
    KL_DOMAIN_INSIDE, /* made by the token, never leaves it */
    KL_DOMAIN_SHARES, /* made in a ceremony, of which M-of-N shares exist */
    KL_DOMAIN_ORIGINS
};

/** A domain key: the pair of a wrapping key and a MAC key, named by its CKA_ID (zero: early). */
struct kl_token_domain {
    uint8_t id[KL_KEY_ID_LEN];
    uint32_t generation; /* the current one has the highest */
    uint8_t origin;      /* enum kl_domain_origin; any other number is a stranger's */
    uint8_t current, whole, unwrap_template; /* whole: both keys are there. unwrap_template: the
                                                token keeps CKA_UNWRAP_TEMPLATE on it */
};

/** What KL_CALL_ATTACH found. The id is how the key is named from now on: its CKA_ID where that has
 * 16 bytes, else a digest of it (of CKA_LABEL when it has none). */
struct kl_token_attached {
    uint8_t id[KL_KEY_ID_LEN];
    uint8_t may_decrypt, may_sign;
    uint8_t always_kept; /* CKA_ALWAYS_SENSITIVE and CKA_NEVER_EXTRACTABLE: never was outside */
};

struct kl_token_listed {
    struct kl_key_ref key;
    char label[64];
};

enum kl_token_state {
    KL_TOKEN_STARTING,
    KL_TOKEN_READY,
    KL_TOKEN_DOWN,        /* worker gone or token not there; being tried again */
    KL_TOKEN_PIN_REFUSED, /* latched: stays until an operator acts (pkcs11/README.md, PINs) */
    KL_TOKEN_PIN_WANTED,  /* pin-source is prompt: waits for kl_token_login */
};

/** The circuit breaker: open = no worker, callers are refused at once, the next one is tried after
 * a pause; half open = a worker is starting and must prove itself before callers get to it. */
enum kl_circuit { KL_CIRCUIT_CLOSED, KL_CIRCUIT_OPEN, KL_CIRCUIT_HALF_OPEN };

struct kl_token_health {
    enum kl_circuit circuit;
    unsigned losses;     /* workers lost in a row */
    int64_t canary_unix; /* when a canary passed last: at each start, then every keep-alive; 0 = not
                            yet. Stays 0 on a token without a key to try */
    int64_t copy_unix;   /* age of the newest proved copy of the store folder; 0 = none */
    char step[32];       /* what a starting worker is at; "" = none is starting */
};

struct kl_token_status {
    enum kl_token_state state;
    uint64_t generation; /* +1 with each worker that came up */
    uint64_t calls, failures, restarts;
    int64_t last_ok_unix; /* last successful DECRYPT or SIGN; 0 = none yet */
    pid_t worker_pid;
    char text[256]; /* one sentence on the state */
    struct kl_token_health health;
    struct kl_token_caps caps;
};

struct kl_token;

struct kl_token_ops {
    enum kl_code (*submit)(struct kl_token *t, const struct kl_token_request *req,
                           kl_token_done *done, void *arg, struct kl_err *err);
    void (*status)(struct kl_token *t, struct kl_token_status *ret);
    void (*close)(struct kl_token *t);
    /* NULL: never waits for a PIN */
    enum kl_code (*login)(struct kl_token *t, struct kl_secret *pin, int64_t wait_ms,
                          struct kl_err *err);
};

/** Every implementation's struct begins with this. */
struct kl_token {
    const struct kl_token_ops *ops;
    const char *name; /* as configured; static for the token's life */
};

/** One [token NAME] section of the configuration (rows in pkcs11/token_conf.c). Strings are
 * borrowed until kl_token_open returns. */
struct kl_token_config {
    char *name;       /* first member: base/conf fills it */
    char *module;     /* absolute path of the PKCS#11 module */
    char *uri;        /* RFC 7512; must select exactly one token */
    char *pin_source; /* file path, "fd:N", "credential:NAME" (systemd), "prompt" (kl_token_login)
                         or "protected" (the token asks on a keypad of its own) */
    char *init_args;  /* NULL or the string for CK_C_INITIALIZE_ARGS.pReserved */
    char *store_dir;  /* NULL or a software token's folder: durability barrier and free-space check
                         there */
    char *state_dir;  /* where the refused-PIN latch is kept */
    char *worker;     /* NULL = kluis-tokend beside our own executable */
    int64_t workers;  /* threads on lane 0 */
    int64_t deadline_ms;       /* of a lane 0 call */
    int64_t slow_deadline_ms;  /* of a lane 1 call */
    int64_t start_deadline_ms; /* of one step of a worker's start; 0 = deadline_ms */
    int64_t
        keep_alive_ms; /* a canary this often, and on each session that idles so long; 0 = off */
    int64_t retry_limit_ms; /* longest pause before the next worker; 0 = 5 s */
    int64_t store_copies; /* proved copies of store_dir that are kept in state_dir/token-copies; 0 =
                             none are made (pkcs11/copies.h) */
    int64_t max_waiting;  /* calls in flight; beyond: KL_TOKEN_BUSY */
    bool software_oaep; /* raw RSA + OpenSSL's constant-time check where the token lacks the hash */
    bool relogin; /* the worker keeps the PIN and logs in again when the token lost the login */

    /* what the worker may do (pkcs11/worker/confine.h) */
    char *module_sha256;       /* NULL or the hex digest that the module's file must have */
    char *user;                /* NULL or whom a worker started by root becomes */
    char *syscalls;            /* NULL or names beyond the allow-list, parted by spaces */
    bool network;              /* Internet sockets */
    struct kl_conf_list files; /* absolute paths that the module may use, with what is below them;
                                  none = everything but `hidden` */
    const char *const *hidden; /* hidden_count paths of the service's own files */
    size_t hidden_count;
};

/** The rows of a [token NAME] section, for the program's configuration. */
const struct kl_conf_section *kl_token_conf_section(void);

/** Start the client and its worker. Returns at once with the token KL_TOKEN_STARTING, unless
 * `wait_ms` > 0: then waits that long for it to leave that state (still KL_OK: look at the status).
 * KL_CONFIG for settings that can never work. */
enum kl_code kl_token_open(const struct kl_token_config *config, int64_t wait_ms,
                           struct kl_token **ret, struct kl_err *err) KL_MUST_USE;

/** Hand a call over; never blocks on the token. Not KL_OK = `done` will not come:
 * KL_TOKEN_UNAVAILABLE (down), KL_TOKEN_BUSY (too many in flight), KL_TOKEN_PIN (latched),
 * KL_TOO_BIG (input), KL_BAD_INPUT (no such call). Any thread. */
static inline enum kl_code kl_token_submit(struct kl_token *t, const struct kl_token_request *req,
                                           kl_token_done *done, void *arg, struct kl_err *err)
{
    return t->ops->submit(t, req, done, arg, err);
}

/** A copy of the state as it is now. Any thread. */
static inline void kl_token_status(struct kl_token *t, struct kl_token_status *ret)
{
    t->ops->status(t, ret);
}

/** Hand the user PIN to a token that is KL_TOKEN_PIN_WANTED and wait up to wait_ms for what comes
 * of it. The PIN goes straight to the worker; the caller frees its copy. KL_CONFLICT: waits for no
 * PIN. KL_TOKEN_PIN: refused, now or before; it is not tried again. KL_TOKEN_UNAVAILABLE: the token
 * did not come up, with its own words. KL_TIMEOUT: still at it. KL_TOO_BIG, KL_BAD_INPUT (empty).
 */
static inline enum kl_code kl_token_login(struct kl_token *t, struct kl_secret *pin,
                                          int64_t wait_ms, struct kl_err *err)
{
    if (t->ops->login == NULL)
        return kl_fail(err, KL_CONFLICT, "login", "the token waits for no PIN");
    return t->ops->login(t, pin, wait_ms, err);
}

/** End the worker (which may finish what it is at, for a few seconds), fail what is in flight,
 * free. Blocks; not from a `done` callback. */
static inline void kl_token_close(struct kl_token *t)
{
    t->ops->close(t);
}

/** Submit and wait for the answer; its code, and its error in *err. *ret_output is the caller's, to
 * be freed with kl_secret_free; either ret may be NULL when not wanted. Not from a `done` callback
 * or an I/O thread. */
enum kl_code kl_token_call(struct kl_token *t, const struct kl_token_request *req,
                           struct kl_secret **ret_output, uint64_t *ret_mechanism,
                           struct kl_err *err) KL_MUST_USE;

/** SHA-256 over a DER SPKI, as kl_key_ref wants it. */
void kl_spki_hash(const void *spki, size_t n, uint8_t ret[static KL_SPKI_HASH_LEN]);

KL_AUTO_DEFINE(token, struct kl_token, kl_token_close);

#endif
