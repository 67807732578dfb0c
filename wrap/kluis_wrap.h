/* kluis-wrap: encrypted containers for other backup programs. The installed header; compiles alone,
 * C99 and C++.
 *
 * A container is an encrypted stream whose data key is wrapped by a key that lives on a hardware
 * token behind a kluis service (FORMAT.md). Data is encrypted and decrypted in this process; only
 * the data key, 32 bytes, goes to the service and back.
 *
 * Every function returns 0 or one of the codes below, with one sentence in *error (error may be
 * NULL). One struct kluis_wrap per thread. Calls block; they use a few threads of their own, which
 * end before they return.
 */
#ifndef KLUIS_WRAP_H
#define KLUIS_WRAP_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum kluis_wrap_code {
    KLUIS_WRAP_OK = 0,
    KLUIS_WRAP_FAILED = 1,      /* local trouble: files, memory, arguments */
    KLUIS_WRAP_REFUSED = 2,     /* the service does not allow it, or the host is not trusted */
    KLUIS_WRAP_UNREACHABLE = 3, /* service or token away; later it may work */
    KLUIS_WRAP_DAMAGED = 4,     /* no container, or one that was changed or cut */
};

struct kluis_wrap_error {
    int code;
    char text[320]; /* a sentence without a full stop */
};

#define KLUIS_WRAP_DEK_BYTES   32
#define KLUIS_WRAP_WRAPPED_MAX 512
#define KLUIS_WRAP_URL_MAX     1024

/* A kluis service. Strings are copied. */
struct kluis_wrap_service {
    const char *url;       /* https://host:port of the service */
    const char *vault_url; /* https://vault.host:port; NULL = containers may only name `url` */
    const char *ca_file;   /* PEM; NULL = the system's */
    const char *tenant, *client_id;
    const char *secret_file; /* holds the client secret, read at each login */
};

/* A key service of your own. All functions return 0, or a kluis_wrap_code with a sentence in
 * text[room]. `alg` is "RSA-OAEP" or "RSA-OAEP-256". Copied by kluis_wrap_new_with_key; arg is
 * borrowed. */
struct kluis_wrap_key {
    void *arg;
    /* Wrap the data key under key_url (its newest version, when it names none). version_url: the
     * versioned URL that did it. */
    int (*wrap)(void *arg, const char *key_url, const char *alg,
                const unsigned char dek[KLUIS_WRAP_DEK_BYTES],
                unsigned char wrapped[KLUIS_WRAP_WRAPPED_MAX], size_t *wrapped_len,
                char version_url[KLUIS_WRAP_URL_MAX], char *text, size_t room);
    /* Unwrap with exactly this version. */
    int (*unwrap)(void *arg, const char *version_url, const char *alg, const unsigned char *wrapped,
                  size_t wrapped_len, unsigned char dek[KLUIS_WRAP_DEK_BYTES], char *text,
                  size_t room);
    /* The newest version of a key. */
    int (*newest)(void *arg, const char *key_url, char version_url[KLUIS_WRAP_URL_MAX], char *text,
                  size_t room);
};

struct kluis_wrap;

/** Talk to a service. Nothing is sent yet. */
int kluis_wrap_new(const struct kluis_wrap_service *service, struct kluis_wrap **ret,
                   struct kluis_wrap_error *error);
/** Use a key service of your own. */
int kluis_wrap_new_with_key(const struct kluis_wrap_key *key, struct kluis_wrap **ret,
                            struct kluis_wrap_error *error);
void kluis_wrap_free(struct kluis_wrap *w);

/** Encrypt in_fd from its offset to its end into a container on out_fd. key_url:
 * https://VAULT/keys/NAME, with or without /VERSION. */
int kluis_wrap_seal(struct kluis_wrap *w, const char *key_url, int in_fd, int out_fd,
                    struct kluis_wrap_error *error);
/** Decrypt a container from in_fd to out_fd, in order: what is written before a failure is
 * verified, but not all there is. out_fd -1: only verify. */
int kluis_wrap_open(struct kluis_wrap *w, int in_fd, int out_fd, struct kluis_wrap_error *error);
/** Put the container's data key under another version (NULL = the newest) of its key, in place,
 * without touching the data. *changed (may be NULL): 0 when it was there already. */
int kluis_wrap_rewrap(struct kluis_wrap *w, const char *path, const char *version, int *changed,
                      struct kluis_wrap_error *error);

#ifdef __cplusplus
}
#endif

#endif
