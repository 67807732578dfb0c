#include "wrap/kluis_wrap.h"

#include "wrap/rewrap.h"
#include "wrap/seal.h"
#include "wrap/vault_kek.h"

#include <string.h>

_Static_assert(KLUIS_WRAP_DEK_BYTES == KL_DEK_BYTES, "the installed header repeats these");
_Static_assert(KLUIS_WRAP_WRAPPED_MAX == KL_SLOT_WRAPPED_MAX, "the installed header repeats these");
_Static_assert(KLUIS_WRAP_URL_MAX == KL_SLOT_KEK_MAX, "the installed header repeats these");

struct kluis_wrap {
    struct kl_vault_client *client; /* NULL with a key of the caller's */
    struct kluis_wrap_key key;
    struct kl_kek kek;
};

static enum kluis_wrap_code public_code(enum kl_code code)
{
    switch (code) {
    case KL_OK:
        return KLUIS_WRAP_OK;
    case KL_UNAUTHENTICATED:
    case KL_FORBIDDEN:
    case KL_FORBIDDEN_RBAC:
    case KL_NOT_FOUND:
    case KL_CONFLICT:
        return KLUIS_WRAP_REFUSED;
    case KL_UNREACHABLE:
    case KL_TIMEOUT:
    case KL_THROTTLED:
    case KL_TOKEN_UNAVAILABLE:
        return KLUIS_WRAP_UNREACHABLE;
    case KL_WRAP_FORMAT:
    case KL_WRAP_HEADER:
    case KL_WRAP_SLOT:
    case KL_WRAP_KEY:
    case KL_WRAP_PAYLOAD:
    case KL_WRAP_TRUNCATED:
        return KLUIS_WRAP_DAMAGED;
    default: /* local trouble, also with files that are not there */
        return KLUIS_WRAP_FAILED;
    }
}

static int tell(enum kl_code code, const struct kl_err *err, struct kluis_wrap_error *error)
{
    const enum kluis_wrap_code out =
        err->domain == KL_DOMAIN_OS && code != KL_OK ? KLUIS_WRAP_FAILED : public_code(code);
    if (error != NULL) {
        error->code = (int)out;
        (void)snprintf(error->text, sizeof error->text, "%s", err->text);
    }
    return (int)out;
}

/* What a caller's function said, as a code of ours. */
static enum kl_code heard(int said, const char *text, const char *op, struct kl_err *err)
{
    static const enum kl_code codes[] = {[KLUIS_WRAP_OK] = KL_OK,
                                         [KLUIS_WRAP_FAILED] = KL_INTERNAL,
                                         [KLUIS_WRAP_REFUSED] = KL_FORBIDDEN,
                                         [KLUIS_WRAP_UNREACHABLE] = KL_UNREACHABLE,
                                         [KLUIS_WRAP_DAMAGED] = KL_WRAP_KEY};
    if (said == KLUIS_WRAP_OK)
        return KL_OK;
    const bool known = said > 0 && (size_t)said < KL_COUNT(codes);
    return kl_fail(err, known ? codes[said] : KL_INTERNAL, op, "%s",
                   text[0] != 0 ? text : "the key service gave no reason");
}

static enum kl_code wrap(void *arg, const char *key_url, const char *alg, struct kl_secret *dek,
                         uint8_t ret_wrapped[static KL_SLOT_WRAPPED_MAX], size_t *ret_len,
                         char ret_kid[static KL_SLOT_KEK_MAX], struct kl_err *err)
{
    const struct kluis_wrap_key *key = arg;
    char text[sizeof err->text] = "";
    enum kl_code code = heard(key->wrap(key->arg, key_url, alg, kl_secret_bytes(dek), ret_wrapped,
                                        ret_len, ret_kid, text, sizeof text),
                              text, "wrap", err);
    if (code != KL_OK)
        return code;
    ret_kid[KL_SLOT_KEK_MAX - 1] = 0;
    if (*ret_len == 0 || *ret_len > KL_SLOT_WRAPPED_MAX || !kl_key_url_valid(ret_kid, true))
        return kl_fail(err, KL_BAD_INPUT, "wrap", "the key service gave no wrapped key or version");
    return KL_OK;
}

static enum kl_code unwrap(void *arg, const char *kid, const char *alg, const uint8_t *wrapped,
                           size_t n, struct kl_secret **ret_dek, struct kl_err *err)
{
    const struct kluis_wrap_key *key = arg;
    char text[sizeof err->text] = "";
    KL_AUTO(secret) dek = kl_secret_new(KL_DEK_BYTES);
    if (dek == NULL || kl_secret_resize(dek, KL_DEK_BYTES) != KL_OK)
        return kl_fail(err, KL_NO_MEMORY, "mmap", "no memory for the data key");
    enum kl_code code =
        heard(key->unwrap(key->arg, kid, alg, wrapped, n, kl_secret_bytes(dek), text, sizeof text),
              text, "unwrap", err);
    if (code == KL_OK)
        *ret_dek = kl_take(dek);
    return code;
}

static enum kl_code newest(void *arg, const char *key_url, char ret_kid[static KL_SLOT_KEK_MAX],
                           struct kl_err *err)
{
    const struct kluis_wrap_key *key = arg;
    char text[sizeof err->text] = "";
    enum kl_code code =
        heard(key->newest(key->arg, key_url, ret_kid, text, sizeof text), text, "newest", err);
    ret_kid[KL_SLOT_KEK_MAX - 1] = 0;
    return code;
}

int kluis_wrap_new(const struct kluis_wrap_service *service, struct kluis_wrap **ret,
                   struct kluis_wrap_error *error)
{
    struct kl_err err = {.code = KL_OK};
    const struct kl_vault_client_config config = {
        .url = service->url,
        .vault_url = service->vault_url,
        .ca_file = service->ca_file,
        .tenant = service->tenant,
        .client_id = service->client_id,
        .secret_file = service->secret_file,
    };
    struct kluis_wrap *w = calloc(1, sizeof *w);
    enum kl_code code = w != NULL ? kl_vault_client_new(&config, &w->client, &err)
                                  : kl_fail(&err, KL_NO_MEMORY, "calloc", "no memory");
    if (code != KL_OK) {
        free(w);
        return tell(code, &err, error);
    }
    w->kek = kl_vault_kek(w->client);
    *ret = w;
    return KLUIS_WRAP_OK;
}

int kluis_wrap_new_with_key(const struct kluis_wrap_key *key, struct kluis_wrap **ret,
                            struct kluis_wrap_error *error)
{
    struct kl_err err = {.code = KL_OK};
    struct kluis_wrap *w = calloc(1, sizeof *w);
    if (w == NULL)
        return tell(kl_fail(&err, KL_NO_MEMORY, "calloc", "no memory"), &err, error);
    w->key = *key;
    w->kek = (struct kl_kek){.arg = &w->key, .wrap = wrap, .unwrap = unwrap, .newest = newest};
    *ret = w;
    return KLUIS_WRAP_OK;
}

void kluis_wrap_free(struct kluis_wrap *w)
{
    if (w == NULL)
        return;
    kl_vault_client_free(w->client);
    free(w);
}

int kluis_wrap_seal(struct kluis_wrap *w, const char *key_url, int in_fd, int out_fd,
                    struct kluis_wrap_error *error)
{
    struct kl_err err = {.code = KL_OK};
    const struct kl_seal_options options = {.key_url = key_url};
    uint64_t bytes = 0;
    return tell(kl_seal(&w->kek, &options, in_fd, out_fd, &bytes, &err), &err, error);
}

int kluis_wrap_open(struct kluis_wrap *w, int in_fd, int out_fd, struct kluis_wrap_error *error)
{
    struct kl_err err = {.code = KL_OK};
    const struct kl_stream_options stream = {.in_order = true};
    const struct kl_unseal_options options = {.stream = &stream};
    uint64_t bytes = 0;
    return tell(kl_unseal(&w->kek, &options, in_fd, out_fd, &bytes, &err), &err, error);
}

int kluis_wrap_rewrap(struct kluis_wrap *w, const char *path, const char *version, int *changed,
                      struct kluis_wrap_error *error)
{
    struct kl_err err = {.code = KL_OK};
    const struct kl_rewrap_options options = {.version = version};
    struct kl_rewrap_result result = {.changed = false};
    KL_AUTO(rewrap) job = NULL;
    enum kl_code code = kl_rewrap_new(&w->kek, &options, &job, &err);
    if (code == KL_OK)
        code = kl_rewrap_file(job, path, &result, &err);
    if (code == KL_OK && changed != NULL)
        *changed = result.changed;
    return tell(code, &err, error);
}
