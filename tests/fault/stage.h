/* A SoftHSM token behind the fault module, a client on it, and operations whose answers can be
 * judged. One thread. Fails the cmocka test on anything unexpected. */
#ifndef KL_TESTS_FAULT_STAGE_H
#define KL_TESTS_FAULT_STAGE_H

#include "tests/token/keys.h"
#include "tests/token/site.h"

enum stage_op {
    STAGE_DECRYPT_RAW,    /* RSA-OAEP-256, which SoftHSM 2.6.1 does by raw RSA only */
    STAGE_DECRYPT_NATIVE, /* RSA-OAEP with SHA-1 */
    STAGE_DECRYPT_BAD,    /* garbage of the right length */
    STAGE_SIGN_RSA,
    STAGE_SIGN_EC,
    STAGE_RANDOM,
    STAGE_MAC,
    STAGE_FIND,
    STAGE_GENERATE,
    STAGE_DESTROY,
    STAGE_WRAP,
    STAGE_UNWRAP,
    STAGE_LIST,
    STAGE_PROBE,
    STAGE_OPS
};

struct stage {
    struct site site;
    struct kl_token *token;
    struct test_key rsa, signer, ec, made; /* made: what GENERATE and UNWRAP made last */
    bool other; /* use the signer where either RSA key will do: a new worker's canary knows one */
    struct kl_secret *wrapped;
    uint64_t mechanism;
    uint8_t mac[32];
    char script[96];
    /* False: the script may spoil a plain text of the token's own OAEP, or a MAC; nobody can see
     * that. */
    bool trust_plain, trust_signatures;
};

/** Make the token and its keys, with a clean script. $KLUIS_FAULT names the module. */
void stage_make(struct stage *s);
void stage_remove(struct stage *s);

/** Replace the script; "" = no faults. Also clears the counts when no client is open. */
void stage_script(struct stage *s, const char *text);

/** A fresh client, ready; closes the one before. False when it does not come up within limit_ms. */
bool stage_open(struct stage *s, int64_t limit_ms);
void stage_close(struct stage *s);

/** Do it; KL_OK only with the right answer: a plain text, signature, MAC or public key that is not
 * what it must be fails the test. What GENERATE and UNWRAP made is in s->made. */
enum kl_code stage_do(struct stage *s, enum stage_op op, struct kl_err *err);

/** No worker has died of a fault of its own. */
bool stage_unhurt(const struct stage *s);

/** Whether the last key made decrypts or signs, on the token as it is now. */
enum kl_code stage_prove(struct stage *s, struct kl_err *err);

const char *stage_op_name(enum stage_op op);

/** Calls of a function since the counts were cleared. */
unsigned long stage_calls(const struct stage *s, const char *function);

#endif
