#include "keyvault/model/kind.h"

static const struct kl_kind_row kinds[KL_KIND_COUNT] = {
    [KL_KIND_KEY] = {.noun = "key",
                     .title = "Key",
                     .missing = KL_KEY_NOT_FOUND,
                     .deleted_missing = KL_DELETED_KEY_NOT_FOUND,
                     .on_token = true},
    [KL_KIND_SECRET] = {.noun = "secret",
                        .title = "Secret",
                        .missing = KL_SECRET_NOT_FOUND,
                        .deleted_missing = KL_DELETED_SECRET_NOT_FOUND,
                        .forget = KL_Q_SECRETS_DELETE},
    [KL_KIND_CERTIFICATE] = {.noun = "certificate",
                             .title = "Certificate",
                             .missing = KL_CERTIFICATE_NOT_FOUND,
                             .deleted_missing = KL_DELETED_CERTIFICATE_NOT_FOUND,
                             .leads = true,
                             .forget = KL_Q_SECRETS_DELETE},
};

static const struct kl_kind_row no_kind = {.noun = "object",
                                           .title = "Object",
                                           .missing = KL_CORRUPT,
                                           .deleted_missing = KL_CORRUPT,
                                           .on_token = true};

const struct kl_kind_row *kl_kind_row(int64_t kind)
{
    return kind >= 0 && kind < KL_KIND_COUNT ? &kinds[kind] : &no_kind;
}

/* With the version if one was asked for, so that what is no version at all is seen in the answer.
 */
enum kl_code kl_object_missing(enum kl_kind kind, const char *name, const char *version,
                               struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    const char *id = version != NULL ? version : "";
    return kl_fail(err, row->missing, row->noun,
                   "A %s with (name/id) %.127s%s%.40s was not found in this key vault. If you "
                   "recently deleted this %s you may be able to recover it using the correct "
                   "recovery command.",
                   row->noun, name, id[0] != '\0' ? "/" : "", id, row->noun);
}

enum kl_code kl_object_not_deleted(enum kl_kind kind, const char *name, struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    return kl_fail(err, row->deleted_missing, row->noun, "Deleted %s not found: %s", row->title,
                   name);
}

enum kl_code kl_object_held(enum kl_kind kind, const char *name, struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    return kl_fail(err, KL_NAME_DELETED, row->noun,
                   "%s %s is currently in a deleted but recoverable state, and its name cannot be "
                   "reused; in this state, the %s can only be recovered or purged.",
                   row->title, name, row->noun);
}

enum kl_code kl_object_led(enum kl_kind kind, const char *name, bool led, struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    if (led)
        return kl_fail(err, KL_CONFLICT, row->noun,
                       "The %s %s belongs to the certificate of its name.", row->noun, name);
    return kl_fail(err, KL_CONFLICT, row->noun, "A %s named %s already exists.", row->noun, name);
}

enum kl_code kl_object_managed(enum kl_kind kind, const char *name, struct kl_err *err)
{
    const struct kl_kind_row *row = kl_kind_row(kind);
    return kl_fail(
        err, KL_MANAGED, row->noun,
        "Operation is not allowed on %s %s: it is managed by the certificate of its name.",
        row->noun, name);
}
