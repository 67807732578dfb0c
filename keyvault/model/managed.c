/* Keys and secrets behind a certificate: they are deleted, recovered and purged with it, in the
 * same commit, and by nothing else. */
#include "keyvault/model/softdelete.h"

static const enum kl_kind led[] = {KL_KIND_KEY, KL_KIND_SECRET};

enum kl_code kl_change_is_led(struct kl_store_session *t, const struct kl_object_row *o, bool *ret,
                              struct kl_err *err)
{
    struct kl_object_row leader = {0};
    if (o->managed == 0)
        return KL_OK;
    /* One whose certificate never came to be (a crash in between) is on its own. */
    enum kl_code code = kl_object_read(t, o->vault_id, KL_KIND_CERTIFICATE, o->name, &leader, err);
    *ret = code == KL_OK;
    return code == KL_NOT_FOUND ? KL_OK : code;
}

static enum kl_code follow(struct kl_change *c, struct kl_object_row *o, struct kl_stamps s,
                           struct kl_err *err)
{
    enum kl_life next;
    enum kl_kind kind = (enum kl_kind)o->kind;
    /* What is not in step has been seen to already, by its own date. */
    if (kl_life_next(kind, (enum kl_life)o->state, c->event, &next) != KL_OK)
        return KL_OK;
    enum kl_code code = kl_change_checked(c, kl_protect_check_object(&c->protector, o, err), err);
    if (code != KL_OK)
        return code;
    o->deleted_at = s.deleted_at;
    o->purge_at = s.purge_at;
    o->deleted_elapsed = s.elapsed;
    code = kl_change_write_object(c, o, next, err);
    if (code != KL_OK || c->event != KL_EVENT_PURGE)
        return code;
    if (!kl_kind_row(kind)->on_token)
        return kl_change_bury_object(c, o, err);
    c->led_key = o->id;
    return KL_OK;
}

enum kl_code kl_change_lead(struct kl_change *c, struct kl_stamps s, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    if (!kl_kind_row(c->object.kind)->leads)
        return KL_OK;
    for (size_t i = 0; i < KL_COUNT(led) && code == KL_OK; i++) {
        struct kl_object_row o = {0};
        code = kl_object_read(c->t, c->object.vault_id, led[i], c->object.name, &o, err);
        if (code == KL_OK && o.managed != 0)
            code = follow(c, &o, s, err);
        else if (code == KL_NOT_FOUND)
            code = KL_OK;
    }
    return code;
}
