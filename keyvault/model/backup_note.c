/* Notes of which domain key the newest backup of each object is under. A backup needs nothing else
 * of the store, so it is answered too while the store cannot be written: its note then waits here,
 * and nobody is told what a domain key is needed for before it is written. */
#include "base/clock.h"
#include "base/encoding.h"
#include "base/log.h"
#include "keyvault/model/backup.h"
#include "keyvault/model/inside.h"

#include <string.h>

#define LATE_MAX 10000
#define HEX(n)   (2 * (n) + 1)

struct kl_backup_late {
    struct kl_backup_late *next;
    int64_t kind, at;
    char vault_id[KL_UUID_LEN + 1], folded[KL_ROW_NAME], name[KL_ROW_NAME];
    char under[HEX(KL_DOMAIN_NAME_LEN)], mark[HEX(KL_BACKUP_MAC_LEN)];
};

void kl_backup_notes_init(struct kl_backup_notes *n)
{
    (void)pthread_mutex_init(&n->lock, NULL);
}

void kl_backup_notes_done(struct kl_backup_notes *n)
{
    while (n->first != NULL) {
        struct kl_backup_late *late = n->first;
        n->first = late->next;
        free(late);
    }
    (void)pthread_mutex_destroy(&n->lock);
}

static enum kl_code write_note(struct kl_model *m, const struct kl_backup_late *n,
                               struct kl_err *err)
{
    KL_AUTO(store_session) t = NULL;
    enum kl_code code = kl_store_begin(m->store, true, &t, err);
    if (code == KL_OK)
        code = kl_store_run(t, KL_Q_BACKUP_NOTE,
                            KL_ARGS(KL_ARG_TEXT(n->vault_id), KL_ARG_INT(n->kind),
                                    KL_ARG_TEXT(n->folded), KL_ARG_TEXT(n->name), KL_ARG_INT(n->at),
                                    KL_ARG_TEXT(n->under), KL_ARG_TEXT(n->mark)),
                            NULL, err);
    return code == KL_OK ? kl_store_commit(t, err) : code;
}

/* Oldest first: the newest backup of an object is what stays. */
static enum kl_code write_late_locked(struct kl_model *m, struct kl_err *err)
{
    struct kl_backup_notes *n = &m->backup_notes;
    enum kl_code code = KL_OK;
    while (n->first != NULL && (code = write_note(m, n->first, err)) == KL_OK) {
        struct kl_backup_late *late = n->first;
        n->first = late->next;
        n->count--;
        free(late);
    }
    return code;
}

enum kl_code kl_backup_notes_write(struct kl_model *m, struct kl_err *err)
{
    (void)pthread_mutex_lock(&m->backup_notes.lock);
    enum kl_code code = write_late_locked(m, err);
    (void)pthread_mutex_unlock(&m->backup_notes.lock);
    return code;
}

/* KL_OK when the list has taken a copy. */
static enum kl_code keep_locked(struct kl_backup_notes *n, const struct kl_backup_late *note,
                                enum kl_code why)
{
    bool store_is_shut = why == KL_NO_SPACE || why == KL_READ_ONLY || why == KL_IO;
    struct kl_backup_late **end = &n->first;
    struct kl_backup_late *late =
        store_is_shut && n->count < LATE_MAX ? malloc(sizeof *late) : NULL;
    if (late == NULL)
        return why;
    *late = *note;
    late->next = NULL;
    while (*end != NULL)
        end = &(*end)->next;
    *end = late;
    n->count++;
    kl_log(
        KL_LOG_WARNING,
        "a backup went out while the store cannot be written; its note waits name=%s waiting=%zu",
        note->name, n->count);
    return KL_OK;
}

enum kl_code kl_backup_note(struct kl_model *m, const struct kl_vault *v, int64_t kind,
                            const char *name, const struct kl_seal_domain *domain,
                            const uint8_t seal[static KL_BACKUP_MAC_LEN], struct kl_err *err)
{
    struct kl_backup_late note = {.kind = kind, .at = kl_clock_unix()};
    (void)snprintf(note.vault_id, sizeof note.vault_id, "%s", v->id);
    (void)snprintf(note.name, sizeof note.name, "%s", name);
    kl_model_fold(name, note.folded, sizeof note.folded);
    kl_hex(domain->name, sizeof domain->name, note.under);
    kl_hex(seal, KL_BACKUP_MAC_LEN, note.mark);
    (void)pthread_mutex_lock(&m->backup_notes.lock);
    enum kl_code code = write_late_locked(m, err);
    if (code == KL_OK)
        code = write_note(m, &note, err);
    if (code != KL_OK)
        code = keep_locked(&m->backup_notes, &note, code);
    (void)pthread_mutex_unlock(&m->backup_notes.lock);
    return code;
}
