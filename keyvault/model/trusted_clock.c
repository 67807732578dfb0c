#include "keyvault/model/trusted_clock.h"

#include "base/clock.h"
#include "base/log.h"
#include "keyvault/model/inside.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <string.h>

#define NOTE_NAME     "trusted-clock"
#define MAX_STEP_S    3600
#define MAX_ELAPSED_S INT64_C(100000000000) /* some thousand years: nobody counted that */
#define NOTE_MAC_PART " mac "

void kl_trusted_clock_start(struct kl_trusted_clock *c)
{
    (void)pthread_mutex_init(&c->lock, NULL);
    c->wall_start = kl_clock_unix();
    c->mono_start_ms = kl_clock_mono_ms();
}

void kl_trusted_clock_resume(struct kl_trusted_clock *c, char *note)
{
    static const char opening[] = "elapsed ";
    int64_t before = 0;
    /* Believed for the time stamps of deletions until it can be checked: too high a stamp only
     * makes a purge late. */
    if (strncmp(note, opening, sizeof opening - 1) == 0)
        before = strtoll(note + sizeof opening - 1, NULL, 10);
    if (before < 0 || before > MAX_ELAPSED_S)
        before = 0;
    (void)pthread_mutex_lock(&c->lock);
    c->note = note;
    c->before = before;
    (void)pthread_mutex_unlock(&c->lock);
}

void kl_trusted_clock_done(struct kl_trusted_clock *c)
{
    free(c->note);
    c->note = NULL;
    (void)pthread_mutex_destroy(&c->lock);
}

static int64_t running_s(const struct kl_trusted_clock *c)
{
    return (kl_clock_mono_ms() - c->mono_start_ms) / 1000;
}

int64_t kl_trusted_clock_elapsed(struct kl_trusted_clock *c)
{
    (void)pthread_mutex_lock(&c->lock);
    int64_t elapsed = c->before + running_s(c);
    (void)pthread_mutex_unlock(&c->lock);
    return elapsed;
}

bool kl_trusted_clock_frozen(struct kl_trusted_clock *c)
{
    (void)pthread_mutex_lock(&c->lock);
    int64_t ahead = kl_clock_unix() - c->wall_start - running_s(c);
    bool frozen = ahead > MAX_STEP_S;
    bool changed = frozen != c->frozen;
    c->frozen = frozen;
    (void)pthread_mutex_unlock(&c->lock);
    if (changed && frozen)
        kl_log(KL_LOG_ERROR, "wall clock stepped forward, purges are frozen ahead_s=%" PRId64,
               ahead);
    else if (changed)
        kl_log(KL_LOG_WARNING, "wall clock is back, purges go on ahead_s=%" PRId64, ahead);
    return frozen;
}

/* "elapsed SECONDS mac HEX" */
static enum kl_code format_note(const struct kl_protector *p, int64_t elapsed, char *out,
                                size_t room, struct kl_err *err)
{
    char text[64], hex[2 * KL_ROW_MAC + 1];
    uint8_t mac[KL_ROW_MAC];
    (void)snprintf(text, sizeof text, "elapsed %" PRId64, elapsed);
    enum kl_code code = kl_protect_text(p, NOTE_NAME, text, mac, err);
    if (code != KL_OK)
        return code;
    kl_hex(mac, sizeof mac, hex);
    (void)snprintf(out, room, "%s" NOTE_MAC_PART "%s", text, hex);
    return KL_OK;
}

static enum kl_code verify_with(struct kl_model *m, const struct kl_protector *p,
                                struct kl_err *err)
{
    struct kl_trusted_clock *c = &m->clock;
    char expected[192];
    (void)pthread_mutex_lock(&c->lock);
    enum kl_code code = KL_OK;
    bool bad = false;
    if (c->note != NULL) {
        code = format_note(p, c->before, expected, sizeof expected, err);
        bad = code == KL_OK && (strlen(c->note) != strlen(expected) ||
                                CRYPTO_memcmp(c->note, expected, strlen(expected)) != 0);
    }
    if (code == KL_OK) {
        free(c->note);
        c->note = NULL;
    }
    if (bad)
        c->before = 0;
    (void)pthread_mutex_unlock(&c->lock);
    if (bad)
        kl_log(KL_LOG_ERROR,
               "the kept count of the trusted clock was changed by a foreign hand; it starts anew");
    return code;
}

static bool verified(struct kl_trusted_clock *c)
{
    (void)pthread_mutex_lock(&c->lock);
    bool yes = c->note == NULL;
    (void)pthread_mutex_unlock(&c->lock);
    return yes;
}

enum kl_code kl_trusted_clock_verify(struct kl_model *m, struct kl_err *err)
{
    if (verified(&m->clock))
        return KL_OK;
    KL_AUTO_PROTECTOR p = {NULL};
    enum kl_code code = kl_protect_open(m, NULL, &p, err);
    return code == KL_OK ? verify_with(m, &p, err) : code;
}

enum kl_code kl_model_tick(struct kl_model *m, struct kl_err *err)
{
    char note[192];
    KL_AUTO_PROTECTOR p = {NULL};
    (void)kl_trusted_clock_frozen(&m->clock);
    enum kl_code code = kl_protect_open(m, NULL, &p, err);
    if (code == KL_OK)
        code = verify_with(m, &p, err);
    if (code == KL_OK)
        code = format_note(&p, kl_trusted_clock_elapsed(&m->clock), note, sizeof note, err);
    if (code == KL_OK)
        code = kl_model_note_put(m, NOTE_NAME, note, err);
    return code == KL_OK ? kl_backup_notes_write(m, err) : code;
}
