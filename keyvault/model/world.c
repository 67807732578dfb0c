/* Vaults and their hosts in memory. */
#include "keyvault/model/inside.h"

#include <string.h>
#include <strings.h>

void kl_world_init(struct kl_world *w)
{
    (void)pthread_rwlock_init(&w->lock, NULL);
}

static void free_vaults(struct kl_vault **vaults, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kl_vault_unref(vaults[i]);
    free(vaults);
}

static void empty(struct kl_lists *w)
{
    free_vaults(w->vaults, w->vault_count);
    free(w->hosts);
}

void kl_world_done(struct kl_world *w)
{
    empty(&w->now);
    (void)pthread_rwlock_destroy(&w->lock);
}

static bool grow(void **array, size_t *room, size_t need, size_t size)
{
    if (need <= *room)
        return true;
    size_t more = need + *room;
    void *p = realloc(*array, more * size);
    if (p == NULL)
        return false;
    *array = p;
    *room = more;
    return true;
}

static bool reserve(struct kl_lists *w, size_t vaults)
{
    void *v = w->vaults, *h = w->hosts;
    bool ok = grow(&v, &w->vault_room, vaults, sizeof(struct kl_vault *));
    w->vaults = v;
    ok = ok && grow(&h, &w->host_room, vaults * KL_MAX_ORIGINS, sizeof *w->hosts);
    w->hosts = h;
    return ok;
}

enum kl_code kl_world_reserve(struct kl_world *w, struct kl_err *err)
{
    (void)pthread_rwlock_wrlock(&w->lock);
    bool ok = reserve(&w->now, w->now.vault_count + 1);
    (void)pthread_rwlock_unlock(&w->lock);
    return ok ? KL_OK : kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for the list of vaults");
}

static int by_host(const void *a, const void *b)
{
    return strcmp(((const struct kl_host *)a)->host, ((const struct kl_host *)b)->host);
}

static void rebuild_hosts_locked(struct kl_lists *w)
{
    w->host_count = 0;
    for (size_t i = 0; i < w->vault_count; i++) {
        struct kl_vault *v = w->vaults[i];
        for (size_t n = 0; v->state == KL_STATE_ACTIVE && n < v->origin_count; n++) {
            struct kl_host *h = &w->hosts[w->host_count++];
            memcpy(h->host, v->origins[n].host, sizeof h->host);
            h->vault = v;
        }
    }
    if (w->host_count > 0)
        qsort(w->hosts, w->host_count, sizeof *w->hosts, by_host);
}

static void drop_vault_locked(struct kl_lists *w, const char *id)
{
    for (size_t i = 0; i < w->vault_count; i++)
        if (strcmp(w->vaults[i]->id, id) == 0) {
            kl_vault_unref(w->vaults[i]);
            w->vault_count--;
            memmove(&w->vaults[i], &w->vaults[i + 1],
                    (w->vault_count - i) * sizeof(struct kl_vault *));
            return;
        }
}

static void add_vault_locked(struct kl_lists *w, struct kl_vault *v)
{
    size_t at = 0;
    while (at < w->vault_count && strcasecmp(w->vaults[at]->name, v->name) < 0)
        at++;
    memmove(&w->vaults[at + 1], &w->vaults[at], (w->vault_count - at) * sizeof(struct kl_vault *));
    w->vaults[at] = v;
    w->vault_count++;
}

void kl_world_put_vault(struct kl_world *w, struct kl_vault *v)
{
    (void)pthread_rwlock_wrlock(&w->lock);
    drop_vault_locked(&w->now, v->id);
    add_vault_locked(&w->now, v);
    rebuild_hosts_locked(&w->now);
    (void)pthread_rwlock_unlock(&w->lock);
}

void kl_world_drop_vault(struct kl_world *w, const char *id)
{
    (void)pthread_rwlock_wrlock(&w->lock);
    drop_vault_locked(&w->now, id);
    rebuild_hosts_locked(&w->now);
    (void)pthread_rwlock_unlock(&w->lock);
}

bool kl_world_host_taken(struct kl_world *w, const char *host)
{
    bool taken = false;
    (void)pthread_rwlock_rdlock(&w->lock);
    for (size_t i = 0; i < w->now.vault_count; i++) {
        const struct kl_vault *v = w->now.vaults[i];
        for (size_t n = 0; n < v->origin_count; n++)
            taken = taken || strcmp(v->origins[n].host, host) == 0;
    }
    (void)pthread_rwlock_unlock(&w->lock);
    return taken;
}

/* --- loading --- */

static enum kl_code load_vault(struct kl_model *m, struct kl_store_session *t, const char *id,
                               struct kl_lists *w, struct kl_err *err)
{
    struct kl_vault *v;
    if (!reserve(w, w->vault_count + 1))
        return kl_fail(err, KL_NO_MEMORY, "realloc", "no memory for the list of vaults");
    enum kl_code code = kl_snapshot_vault(m, t, id, &v, err);
    if (code == KL_OK)
        add_vault_locked(w, v);
    return code;
}

static enum kl_code load_vaults(struct kl_model *m, struct kl_store_session *t, struct kl_lists *w,
                                struct kl_err *err)
{
    void *rows = NULL;
    size_t count = 0;
    enum kl_code code = kl_store_all(t, KL_Q_VAULT_IDS_SHOWN, NULL, 0, &rows, &count, err);
    const struct kl_id_row *ids = rows;
    for (size_t i = 0; i < count && code == KL_OK; i++)
        code = load_vault(m, t, ids[i].id, w, err);
    free(rows);
    if (code == KL_OK)
        rebuild_hosts_locked(w);
    return code;
}

enum kl_code kl_world_load(struct kl_model *m, struct kl_store_session *t, struct kl_err *err)
{
    struct kl_lists fresh = {0};
    enum kl_code code = load_vaults(m, t, &fresh, err);
    if (code == KL_OK) {
        (void)pthread_rwlock_wrlock(&m->world.lock);
        struct kl_lists old = m->world.now;
        m->world.now = fresh;
        (void)pthread_rwlock_unlock(&m->world.lock);
        fresh = old;
    }
    empty(&fresh);
    return code;
}
