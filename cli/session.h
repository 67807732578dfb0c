/* Who we are and where the service is: the KLUIS_… environment first, then the file that `kluis
 * login` wrote. It holds the path of the client secret, never the secret. Not thread safe. */
#ifndef KL_CLI_SESSION_H
#define KL_CLI_SESSION_H

#include "wrap/vault_client.h"

/* All strings are owned by the session and NULL when nobody set them. */
struct kl_session {
    char *url, *vault_url, *ca, *tenant, *client_id, *secret_file;
};

/** Settings in the order of the struct, for whoever shows or fills them. */
struct kl_session_row {
    const char *variable; /* KLUIS_… */
    const char *member;   /* in the login file */
    size_t offset;        /* of the char * */
    bool required;
    bool path; /* kept absolute */
};
extern const struct kl_session_row kl_session_rows[];
extern const size_t kl_session_row_count;

/** Read both places. KL_CORRUPT when the login file is not what login writes; missing settings are
 * no error. */
enum kl_code kl_session_load(struct kl_session **ret, struct kl_err *err) KL_MUST_USE;
void kl_session_free(struct kl_session *s);

/** The index-th setting (rows above), NULL when unset; and set it (copied, paths made absolute;
 * KL_NO_MEMORY, KL_IO). */
const char *kl_session_get(const struct kl_session *s, size_t index);
enum kl_code kl_session_set(struct kl_session *s, size_t index, const char *value,
                            struct kl_err *err) KL_MUST_USE;

/** A client for these settings; `vault_url` (may be NULL) overrides the session's. 0 ms = 30 s.
 * KL_USAGE naming the first setting that is missing. */
enum kl_code kl_session_client(const struct kl_session *s, const char *vault_url,
                               int64_t timeout_ms, struct kl_vault_client **ret,
                               struct kl_err *err) KL_MUST_USE;

/** Where the login file is: $XDG_CONFIG_HOME or ~/.config, then kluis/login.json. malloc'd.
 * KL_CONFIG without a home. */
enum kl_code kl_session_path(char **ret, struct kl_err *err) KL_MUST_USE;
/** Write (0600, folder 0700) or remove the login file. Removing what is not there is KL_OK. */
enum kl_code kl_session_save(const struct kl_session *s, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_session_forget(struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(session, struct kl_session, kl_session_free);

#endif
