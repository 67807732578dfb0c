/* A SoftHSM token in a folder of its own, for one test program, and a client on it. One thread. */
#ifndef KL_TESTS_TOKEN_SITE_H
#define KL_TESTS_TOKEN_SITE_H

#include "pkcs11/token.h"

struct site {
    char dir[64];
    char pin[96], so_pin[96], tokens[96], away[96], module[256], worker[512];
    struct kl_token_config config;
};

#define SITE_PIN "648219"

/** Make folder, SoftHSM configuration ($SOFTHSM2_CONF) and token, with a domain key if asked. Fails
 * the test otherwise. */
void site_make(struct site *s, bool with_domain);
/** Remove the folder. */
void site_remove(struct site *s);
/** Open the token and wait until it left KL_TOKEN_STARTING. */
struct kl_token *site_open(const struct site *s);
/** Wait (at most `limit_ms`) for a state; true when it came. */
bool site_wait(struct kl_token *t, enum kl_token_state state, int64_t limit_ms);
/** The bytes of a file after the folder's name, replaced. */
void site_write(const char *path, const char *text);
/** Run a program, silently; its exit status. */
int site_run(const char *const argv[]);

#endif
