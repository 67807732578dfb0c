/* The note in the database that says how far the audit log had come, under a MAC. */
#include "keyvault/model/inside.h"

#include <openssl/crypto.h>
#include <string.h>

#define NOTE_NAME "audit-mark"
#define MAC_PART  " mac "
/* Behind the place in the log, once the seals are made; the number grows with their kinds. A mark
 * of before says that they may be missing; of this one nobody can take it away. */
#define SEALED " sealed 1"

static enum kl_code format(const struct kl_protector *p, const char *text, struct kl_buf *out,
                           struct kl_err *err)
{
    char hex[2 * KL_ROW_MAC + 1];
    uint8_t mac[KL_ROW_MAC];
    enum kl_code code = kl_protect_text(p, NOTE_NAME, text, mac, err);
    if (code != KL_OK)
        return code;
    kl_hex(mac, sizeof mac, hex);
    kl_buf_printf(out, "%s" MAC_PART "%s", text, hex);
    return kl_buf_failed(out) ? kl_fail(err, KL_NO_MEMORY, "mark", "no memory for a mark") : KL_OK;
}

enum kl_code kl_model_mark_put(struct kl_model *m, const char *text, struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_buf note = KL_BUF_INIT(1024), sealed = KL_BUF_INIT(1024);
    if (m->token_count > 0 && !kl_model_access_checked(m)) /* else it would vouch for them */
        return kl_fail(err, KL_TOKEN_UNAVAILABLE, "mark", "the seals are not checked yet");
    enum kl_code code = kl_protect_open(m, NULL, &p, err);
    kl_buf_printf(&sealed, "%s%s", text,
                  atomic_load(&m->seals.state) == KL_SEAL_HELD ? SEALED : "");
    if (code == KL_OK)
        code = format(&p, kl_buf_text(&sealed), &note, err);
    if (code == KL_OK)
        code = kl_model_note_put(m, NOTE_NAME, kl_buf_text(&note), err);
    kl_buf_done(&note);
    kl_buf_done(&sealed);
    return code;
}

/* Without a token nobody can tell; the mark is then believed where it only makes a start stricter.
 */
static enum kl_code check_mac(struct kl_model *m, const char *note, const char *text, bool strict,
                              struct kl_err *err)
{
    KL_AUTO_PROTECTOR p = {NULL};
    struct kl_buf expected = KL_BUF_INIT(1024);
    enum kl_code code = kl_protect_open(m, NULL, &p, err);
    if (code != KL_OK)
        return strict ? code : KL_OK;
    code = format(&p, text, &expected, err);
    if (code == KL_OK && (strlen(note) != expected.len ||
                          CRYPTO_memcmp(note, kl_buf_text(&expected), expected.len) != 0))
        code = kl_fail(err, KL_CORRUPT, "mark",
                       "the database's mark of the audit log was changed by a foreign hand");
    kl_buf_done(&expected);
    return code;
}

static enum kl_code read(struct kl_model *m, bool strict, char **ret, bool *ret_sealed,
                         struct kl_err *err)
{
    KL_AUTO(char) note = NULL;
    enum kl_code code = kl_model_note_get(m, NOTE_NAME, &note, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(char) text = strdup(note);
    if (text == NULL)
        return kl_fail(err, KL_NO_MEMORY, "strdup", "no memory for a mark");
    char *mac = strstr(text, MAC_PART);
    if (mac != NULL)
        *mac = 0;
    code = check_mac(m, note, text, strict, err);
    if (code != KL_OK)
        return code;
    char *sealed = strstr(text, SEALED);
    *ret_sealed = sealed != NULL;
    if (sealed != NULL)
        *sealed = 0;
    *ret = kl_take(text);
    return KL_OK;
}

enum kl_code kl_model_mark_get(struct kl_model *m, char **ret, struct kl_err *err)
{
    bool sealed;
    return read(m, false, ret, &sealed, err);
}

enum kl_code kl_model_mark_seals(struct kl_model *m, enum kl_mark_seals *ret, struct kl_err *err)
{
    KL_AUTO(char) text = NULL;
    bool sealed = false;
    enum kl_code code = read(m, true, &text, &sealed, err);
    if (code == KL_OK)
        *ret = sealed ? KL_MARK_SEALED : KL_MARK_UNSEALED;
    if (code == KL_NOT_FOUND)
        *ret = KL_MARK_NONE;
    return code == KL_NOT_FOUND ? KL_OK : code;
}
