/* Which tokens a key is on. Copying is in home_copy.c. */
#include "keyvault/model/home.h"

#include <string.h>

bool kl_home_parse(const struct kl_model *m, const char *names, struct kl_vault *v)
{
    while (*names != '\0') {
        size_t n = strcspn(names, ",");
        char *name = n > 0 && v->home_count < KL_HOMES_MAX ? strndup(names, n) : NULL;
        if (name == NULL)
            return false;
        v->homes[v->home_count++] = (struct kl_vault_home){name, kl_model_token(m, name)};
        names += n + (names[n] == ',');
    }
    return v->home_count > 0;
}

static enum kl_code check_home(const struct kl_model *m, const char *name, enum kl_profile profile,
                               struct kl_err *err)
{
    struct kl_token_status status;
    struct kl_token *t = kl_model_token(m, name);
    if (t == NULL || strchr(name, ',') != NULL)
        return kl_fail(err, KL_BAD_INPUT, "token", "there is no token named %.60s", name);
    kl_token_status(t, &status);
    if (profile == KL_PROFILE_DOMAIN && status.state != KL_TOKEN_READY)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "token",
                       "token %s is not ready, its capabilities are unknown", name);
    if (profile == KL_PROFILE_DOMAIN && status.caps.domain_wrap == 0)
        return kl_fail(
            err, KL_TOKEN_UNSUPPORTED, "token",
            "token %s has no domain key, so keys of other tokens cannot be copied to it; "
            "import the shares of their domain key on it first",
            name);
    return KL_OK;
}

enum kl_code kl_home_list(const struct kl_model *m, const char *const *names, size_t count,
                          enum kl_profile profile, char ret[static KL_ROW_HOMES],
                          struct kl_err *err)
{
    char list[KL_ROW_HOMES] = "";
    size_t used = 0;
    enum kl_code code = KL_OK;
    if (count < 1 || count > KL_HOMES_MAX)
        return kl_fail(err, KL_BAD_INPUT, "token", "a vault has 1 to %d tokens", KL_HOMES_MAX);
    for (size_t i = 0; i < count && code == KL_OK; i++) {
        code = check_home(m, names[i], profile, err);
        for (size_t k = 0; k < i && code == KL_OK; k++)
            if (strcmp(names[i], names[k]) == 0)
                code = kl_fail(err, KL_BAD_INPUT, "token", "token %s appears twice", names[i]);
        int n = snprintf(list + used, sizeof list - used, "%s%s", i > 0 ? "," : "", names[i]);
        if (code == KL_OK && (n < 0 || (size_t)n >= sizeof list - used))
            code = kl_fail(err, KL_BAD_INPUT, "token", "the names of the tokens are too long");
        used += n > 0 ? (size_t)n : 0;
    }
    if (code == KL_OK)
        memcpy(ret, list, sizeof list);
    return code;
}

enum kl_code kl_vault_token(const struct kl_vault *v, struct kl_token **ret, struct kl_err *err)
{
    struct kl_token *first = NULL;
    for (size_t i = 0; i < v->home_count; i++) {
        struct kl_token_status status;
        struct kl_token *t = v->homes[i].token;
        if (t == NULL)
            continue;
        first = first == NULL ? t : first;
        kl_token_status(t, &status);
        if (status.state == KL_TOKEN_READY) {
            *ret = t;
            return KL_OK;
        }
    }
    if (first == NULL)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "configuration",
                       "none of the tokens of vault %s is configured", v->name);
    *ret = first;
    return KL_OK;
}

/* --- loading --- */

struct homes {
    const struct kl_model *m;
    struct kl_home list[KL_HOMES_MAX];
    size_t count;
};

static bool add(struct homes *h, const char *token, const uint8_t *id, const uint8_t *hash)
{
    if (h->count == KL_HOMES_MAX)
        return true; /* more are of no use */
    struct kl_home *home = &h->list[h->count];
    home->token_name = strdup(token);
    home->token = kl_model_token(h->m, token);
    memcpy(home->ref.id, id, sizeof home->ref.id);
    memcpy(home->ref.spki_hash, hash, sizeof home->ref.spki_hash);
    h->count += home->token_name != NULL;
    return home->token_name != NULL;
}

static enum kl_code no_memory(struct kl_err *err)
{
    return kl_fail(err, KL_NO_MEMORY, "malloc", "no memory for the homes of a key");
}

static enum kl_code add_row(void *arg, const void *p, struct kl_err *err)
{
    const struct kl_home_row *row = p;
    return add(arg, row->token, row->token_key, row->spki_hash) ? KL_OK : no_memory(err);
}

/* Where a name stands in a list by commas; behind all others when it does not. */
static size_t rank_of(const char *list, const char *name)
{
    size_t rank = 0, len = strlen(name);
    for (; *list != '\0'; rank++) {
        size_t n = strcspn(list, ",");
        if (n == len && memcmp(list, name, n) == 0)
            return rank;
        list += n + (list[n] == ',');
    }
    return SIZE_MAX;
}

static void sort_by(const char *order, struct homes *h)
{
    for (size_t i = 1; i < h->count; i++)
        for (size_t k = i; k > 0 && rank_of(order, h->list[k].token_name) <
                                        rank_of(order, h->list[k - 1].token_name);
             k--) {
            struct kl_home swap = h->list[k];
            h->list[k] = h->list[k - 1];
            h->list[k - 1] = swap;
        }
}

static enum kl_code copy_order(void *arg, const void *p, struct kl_err *err)
{
    const char *text = ((const struct kl_text_row *)p)->text;
    (void)err;
    (void)snprintf(arg, KL_ROW_HOMES, "%s", text != NULL ? text : "");
    return KL_OK;
}

static void drop(struct homes *h)
{
    for (size_t i = 0; i < h->count; i++)
        free(h->list[i].token_name);
}

enum kl_code kl_home_load(const struct kl_model *m, struct kl_store_session *t,
                          struct kl_key_version *k, struct kl_err *err)
{
    struct homes h = {.m = m};
    char order[KL_ROW_HOMES] = "";
    bool first = add(&h, k->token_name, k->ref.id, k->ref.spki_hash);
    enum kl_code code =
        first ? kl_store_each(t, KL_Q_HOMES_OF, KL_ARGS(KL_ARG_INT(k->seq)), add_row, &h, err)
              : no_memory(err);
    if (code == KL_OK && h.count > 1)
        code = kl_store_each(t, KL_Q_VAULT_HOMES, KL_ARGS(KL_ARG_TEXT(k->vault_id)), copy_order,
                             order, err);
    if (code == KL_OK && h.count > 1) {
        sort_by(order, &h);
        k->homes = malloc(h.count * sizeof *k->homes);
        if (k->homes != NULL) {
            memcpy(k->homes, h.list, h.count * sizeof *k->homes);
            k->home_count = h.count;
            return KL_OK;
        }
        code = no_memory(err);
    }
    drop(&h);
    return code;
}

/* --- calls --- */

static enum kl_code call_one(const struct kl_home *home, const struct kl_token_request *req,
                             struct kl_secret **ret, struct kl_err *err)
{
    struct kl_token_request own = *req;
    own.key = home->ref;
    if (home->token == NULL)
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "configuration", "token %s is not configured",
                       home->token_name);
    return kl_token_call(home->token, &own, ret, NULL, err);
}

enum kl_code kl_home_call(const struct kl_key_version *key, const struct kl_token_request *req,
                          struct kl_secret **ret_output, struct kl_err *err)
{
    const struct kl_home own = {key->token_name, key->token, key->ref};
    const struct kl_home *homes = key->home_count > 0 ? key->homes : &own;
    size_t count = key->home_count > 0 ? key->home_count : 1;
    enum kl_code first = KL_OK;
    for (size_t i = 0; i < count; i++) {
        struct kl_err e = {.code = KL_OK};
        enum kl_code code = call_one(&homes[i], req, ret_output, &e);
        if (code == KL_OK)
            return KL_OK;
        if (first == KL_OK || !kl_home_may_move(code)) {
            first = code;
            if (err != NULL)
                *err = e;
        }
        if (!kl_home_may_move(code))
            break;
    }
    return first;
}
