/* A development site: one folder that holds a token, certificates, a database, an audit log and
 * credentials, and the daemons that run on them. Every step leaves either nothing or a finished
 * file, so that `kluis dev up` can be killed anywhere and called again. Not thread safe; a lock
 * file keeps two calls on one folder apart. */
#ifndef KL_CLI_DEV_SITE_H
#define KL_CLI_DEV_SITE_H

#include "base/buf.h"
#include "base/json.h"
#include "wrap/vault_client.h"

struct kl_dev_token {
    const char *module, *uri, *pin_file;             /* NULL = a SoftHSM token of the site's own */
    const char *so_pin_file, *init_args, *store_dir; /* each may be NULL */
    int64_t count; /* SoftHSM tokens of the site's own; 0 = one, or as many as it has */
};

struct kl_dev_site {
    char *dir;          /* absolute */
    int lock;           /* open lock file, -1 = none */
    int64_t started_ms; /* for the times in front of the progress lines */
    /* kept in site.json */
    int64_t port;
    char *tenant;
    char *module, *uri, *pin_file, *so_pin_file; /* so_pin_file NULL = no domain key */
    char *init_args;                             /* NULL = the module needs none */
    char *store_dir;                             /* of a given software token; NULL = none */
    json_t *token_env; /* a given token's variables by name; NULL for one of our own */
    bool own_token;
    int64_t tokens; /* how many, when they are our own: 1 … 8 */
    bool fresh;     /* site.json was not there before */
    /* kept in client.json */
    char *client_id;
};

/* Files of a site, below its folder. */
#define KL_DEV_SITE    "site.json"
#define KL_DEV_CONFIG  "kluis.conf"
#define KL_DEV_ENV     "env" /* written once the service was ready for the first time */
#define KL_DEV_PID     "kluisd.pid"
#define KL_DEV_LOG     "kluisd.log"
#define KL_DEV_CA      "ca.pem"
#define KL_DEV_SECRET  "client-secret"
#define KL_DEV_SOFTHSM "softhsm"

#define KL_DEV_TOKENS_MAX 8
/* Names in the configuration, and labels on the tokens, in order. */
extern const char *const kl_dev_token_names[KL_DEV_TOKENS_MAX];
extern const char *const kl_dev_token_labels[KL_DEV_TOKENS_MAX];
#define KL_DEV_SOFTHSM_CONF "softhsm2.conf"

/** Open (with `make`: create, 0700) the site at `dir` and take its lock. KL_NOT_FOUND without
 * `make` when it is none; KL_CONFLICT when another kluis works on it. */
enum kl_code kl_dev_site_open(const char *dir, bool make, struct kl_dev_site **ret,
                              struct kl_err *err) KL_MUST_USE;
void kl_dev_site_free(struct kl_dev_site *s);

/** dev_settle.c: fix what a site is: read site.json, or choose port (0 = a free one) and token and
 * write it. A site that never got ready takes another port or given token. KL_CONFLICT when the
 * caller asks for another than the site has, KL_EXISTS when a fresh site's port is taken. */
enum kl_code kl_dev_site_settle(struct kl_dev_site *s, int64_t port,
                                const struct kl_dev_token *token, struct kl_err *err) KL_MUST_USE;

/** dev_settle.c: whether anybody listens at 127.0.0.1:port already. */
bool kl_dev_port_taken(int64_t port);

/** DIR/name, malloc'd. */
enum kl_code kl_dev_path(const struct kl_dev_site *s, const char *name, char **ret,
                         struct kl_err *err) KL_MUST_USE;
/** Whether DIR/name is there. */
bool kl_dev_has(const struct kl_dev_site *s, const char *name);
/** Write DIR/name (0600, whole or not at all) from a buffer, which is emptied and wiped. */
enum kl_code kl_dev_write(const struct kl_dev_site *s, const char *name, struct kl_buf *text,
                          struct kl_err *err) KL_MUST_USE;

/** A progress sentence with the seconds since the start. */
void kl_dev_say(const struct kl_dev_site *s, const char *fmt, ...) KL_PRINTF(2, 3);

/** dev_env.c: keep a given token's environment variables in `token_env`, and set those kept that
 * are not set now; for our children. */
enum kl_code kl_dev_token_environment(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;

/* The steps, in their order; each does nothing when it was done before. */

/** dev_token.c: the SoftHSM token with its PINs and domain key, or the given token's domain key;
 * sets SOFTHSM2_CONF for our children. */
enum kl_code kl_dev_make_token(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_cert.c: CA, and a P-256 server certificate for localhost, *.vault.localhost,
 * vault.localhost, 127.0.0.1 and ::1; renewed when it has less than 30 days left. */
enum kl_code kl_dev_make_certificates(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_config.c: kluis.conf, unless somebody wrote one. */
enum kl_code kl_dev_make_config(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_config.c: DIR/env, sh exports. */
enum kl_code kl_dev_write_env(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_run.c: the database and the principal "admin" (client.json, client-secret). The service must
 * not run. */
enum kl_code kl_dev_bootstrap(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_run.c: the pid of the site's running kluisd, 0 = none. */
pid_t kl_dev_running(const struct kl_dev_site *s);
/** dev_run.c: start kluisd (unless it runs) and wait until it is ready; the last lines of its log
 * are in the error's company when it fails. */
enum kl_code kl_dev_start(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_run.c: make the vaults demo and safe. */
enum kl_code kl_dev_make_vaults(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;
/** dev_run.c: end the daemons; data stays. */
enum kl_code kl_dev_stop(struct kl_dev_site *s, struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(dev_site, struct kl_dev_site, kl_dev_site_free);

#endif
