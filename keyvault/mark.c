#include "keyvault/mark.h"

#include "base/io.h"
#include "base/log.h"

#include <limits.h>
#include <string.h>
#include <unistd.h>

#define MARK_MAX 1024
/* Before any record. */
#define FIRST_MARK                                                                                 \
    "{\"seq\":0,\"size\":0,\"chain\":\"0000000000000000000000000000000000000000000000000000000000000000\"}"

static void file_of(const struct kl_service *s, char out[static PATH_MAX])
{
    (void)snprintf(out, PATH_MAX, "%s/" KL_MARK_FILE, s->config->service->state_dir);
}

/* KL_CORRUPT, or what an operator goes on with: it is put down for the audit log, which is not open
 * yet, beside what was accepted before and is not recorded. */
static enum kl_code refuse(const struct kl_service *s, struct kl_err *err, bool accepted)
{
    KL_AUTO(char) before = NULL;
    struct kl_err e = *err;
    struct kl_buf note = KL_BUF_INIT(4096);
    if (!accepted)
        return KL_CORRUPT;
    kl_log(KL_LOG_ERROR, "accepted: %s", e.text);
    enum kl_code code = kl_model_note_get(s->model, KL_MARK_NOTE_ACCEPTED, &before, err);
    bool more = code == KL_OK && before[0] != 0;
    if (code != KL_OK && code != KL_NOT_FOUND)
        return code;
    kl_buf_printf(&note, "%s%s%s", more ? before : "", more ? "; " : "", e.text);
    code = kl_buf_failed(&note)
               ? kl_fail(err, KL_NO_MEMORY, "mark", "no memory for a note")
               : kl_model_note_put(s->model, KL_MARK_NOTE_ACCEPTED, kl_buf_text(&note), err);
    kl_buf_done(&note);
    return code;
}

/* The file's mark must not be ahead of the database's, which is written first. */
static enum kl_code compare(const struct kl_service *s, const char *note, bool accepted,
                            struct kl_err *err)
{
    char path[PATH_MAX];
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    uint64_t in_file = 0, in_database = 0;
    file_of(s, path);
    enum kl_code code = kl_io_read_file(path, MARK_MAX, &text, &n, err);
    if (code == KL_NOT_FOUND && note == NULL) /* no service has run here yet */
        return KL_OK;
    if (code == KL_NOT_FOUND) {
        (void)kl_fail(err, KL_CORRUPT, "mark",
                      "%s is missing: whether the database is an older copy of itself cannot be "
                      "told (--accept-older-database goes on with it)",
                      path);
        return refuse(s, err, accepted);
    }
    if (code == KL_OK)
        code = kl_chain_mark_seq(text, n, &in_file, err);
    if (code == KL_OK && note != NULL)
        code = kl_chain_mark_seq(note, strlen(note), &in_database, err);
    if (code != KL_OK || in_file <= in_database)
        return code;
    (void)kl_fail(err, KL_CORRUPT, "mark",
                  "the database is older than it was: it knows %llu audit records, the service had "
                  "written %llu (--accept-older-database goes on with it)",
                  (unsigned long long)in_database, (unsigned long long)in_file);
    return refuse(s, err, accepted);
}

enum kl_code kl_mark_check(const struct kl_service *s, struct kl_mark_accept accept,
                           struct kl_err *err)
{
    KL_AUTO(char) note = NULL;
    const char *log = s->config->audit->path;
    enum kl_code code = kl_model_mark_get(s->model, &note, err);
    if (code == KL_CORRUPT)
        code = refuse(s, err, accept.older_database);
    if (code != KL_OK && code != KL_NOT_FOUND)
        return code; /* of the database, or a mark that a foreign hand changed */
    code = compare(s, note, accept.older_database, err);
    if (code != KL_OK || note == NULL)
        return code;
    code = kl_chain_check_mark(log, note, strlen(note), err);
    if (code != KL_CORRUPT)
        return code;
    (void)kl_err_prefix(err, "the end of the audit log is missing (--accept-audit-loss goes on)");
    return refuse(s, err, accept.audit_loss);
}

enum kl_code kl_mark_set(const struct kl_service *s, struct kl_err *err)
{
    char path[PATH_MAX];
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    enum kl_code code = kl_io_read_file(s->config->audit->head, MARK_MAX, &text, &n, err);
    if (code != KL_OK)
        return code;
    while (n > 0 && (text[n - 1] == ' ' || text[n - 1] == '\n'))
        text[--n] = 0;
    file_of(s, path);
    /* The file is never missing while the database has a mark, not even after a crash in here. */
    if (access(path, F_OK) != 0)
        code = kl_io_replace_file(path, 0600, FIRST_MARK, sizeof FIRST_MARK - 1, err);
    if (code == KL_OK)
        code = kl_model_mark_put(s->model, text, err);
    return code == KL_OK ? kl_io_replace_file(path, 0600, text, n, err) : code;
}
