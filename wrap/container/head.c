#include "wrap/container/head.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "wrap/container/port.h"

#include <string.h>

static const char *const slot_names[2] = {"wrap slot A", "wrap slot B"};

enum kl_code kl_head_parse(struct kl_head *head, struct kl_err *err)
{
    enum kl_code code = kl_header_parse(head->bytes, &head->core, err);
    if (code != KL_OK)
        return code;
    for (int i = 0; i < 2; i++) {
        head->slot_errs[i] = (struct kl_err){.code = KL_OK};
        if (kl_slot_parse(head->bytes + KL_SLOT_AT(i), &head->slots[i], &head->slot_errs[i]) !=
            KL_OK)
            (void)kl_err_prefix(&head->slot_errs[i], "%s", slot_names[i]);
    }
    return KL_OK;
}

enum kl_code kl_head_read(int fd, bool by_position, struct kl_head *ret, struct kl_err *err)
{
    const struct kl_port port = {.fd = fd, .by_position = by_position};
    size_t got = 0;
    enum kl_code code = kl_port_read(&port, 0, ret->bytes, KL_HEAD_BYTES, &got, err);
    if (code != KL_OK)
        return code;
    if (got < strlen(KL_CONTAINER_MAGIC) ||
        memcmp(ret->bytes, KL_CONTAINER_MAGIC, strlen(KL_CONTAINER_MAGIC)) != 0)
        return kl_fail(err, KL_WRAP_FORMAT, "header", "this is not a kluis container");
    if (got < KL_HEAD_BYTES)
        return kl_fail(err, KL_WRAP_TRUNCATED, "header",
                       "the container is cut off inside its header: %zu of %d bytes", got,
                       KL_HEAD_BYTES);
    return kl_head_parse(ret, err);
}

enum kl_code kl_head_make(const struct kl_core *core, const struct kl_slot *slot,
                          struct kl_secret *dek, struct kl_head *ret, struct kl_keys *ret_keys,
                          struct kl_err *err)
{
    struct kl_head head = {.core = *core};
    struct kl_slot first = *slot;
    KL_KEYS keys;
    kl_random(head.core.commit_salt, sizeof head.core.commit_salt);
    first.generation = 1;
    first.wrapped_at_ms = kl_clock_unix_ms();
    enum kl_code code = kl_header_format(&head.core, head.bytes, err);
    if (code == KL_OK)
        code = kl_keys_derive(&head.core, dek, &keys, err);
    if (code != KL_OK)
        return code;
    memcpy(head.core.commitment, keys.commitment, sizeof keys.commitment);
    code = kl_header_format(&head.core, head.bytes, err);
    if (code == KL_OK)
        code = kl_slot_format(&first, &keys, head.bytes + KL_SLOT_AT(0), err);
    if (code == KL_OK)
        code = kl_head_parse(&head, err);
    if (code != KL_OK)
        return code;
    *ret = head;
    *ret_keys = keys;
    return KL_OK;
}

int kl_head_newest(const struct kl_head *head)
{
    int newest = -1;
    for (int i = 0; i < 2; i++)
        if (head->slots[i].state == KL_SLOT_USABLE &&
            (newest < 0 || head->slots[i].generation > head->slots[newest].generation))
            newest = i;
    return newest;
}

static enum kl_code unlock(const struct kl_head *head, int index, const struct kl_kek *kek,
                           struct kl_secret **ret_dek, struct kl_keys *ret_keys, struct kl_err *err)
{
    const struct kl_slot *slot = &head->slots[index];
    if (slot->state == KL_SLOT_EMPTY)
        return kl_fail(err, KL_WRAP_SLOT, "slot", "it is empty");
    KL_AUTO(secret) dek = NULL;
    KL_KEYS keys;
    enum kl_code code = kek->unwrap(kek->arg, slot->kek, kl_slot_alg_name(slot->alg), slot->wrapped,
                                    slot->wrapped_len, &dek, err);
    if (code == KL_OK)
        code = kl_keys_open(&head->core, dek, &keys, err);
    if (code == KL_OK)
        code = kl_slot_check_mac(head->bytes + KL_SLOT_AT(index), &keys, err);
    if (code != KL_OK)
        return code;
    *ret_dek = kl_take(dek);
    *ret_keys = keys;
    return KL_OK;
}

enum kl_code kl_head_unlock_slot(const struct kl_head *head, int index, const struct kl_kek *kek,
                                 struct kl_secret **ret_dek, struct kl_keys *ret_keys,
                                 struct kl_err *err)
{
    if (head->slots[index].state == KL_SLOT_BROKEN) {
        if (err != NULL)
            *err = head->slot_errs[index];
        return head->slot_errs[index].code;
    }
    enum kl_code code = unlock(head, index, kek, ret_dek, ret_keys, err);
    if (code != KL_OK)
        (void)kl_err_prefix(err, "%s", slot_names[index]);
    return code;
}

/* The service, not the slot, is at fault: asking for the other slot would only wait once more. */
static bool hopeless(enum kl_code code)
{
    return code == KL_UNREACHABLE || code == KL_TIMEOUT || code == KL_UNAUTHENTICATED ||
           code == KL_CONFIG || code == KL_USAGE;
}

enum kl_code kl_head_unlock(const struct kl_head *head, const struct kl_kek *kek,
                            struct kl_secret **ret_dek, struct kl_keys *ret_keys, int *ret_index,
                            struct kl_err *err)
{
    const int newest = kl_head_newest(head);
    const int first = newest >= 0 ? newest : 0;
    const int other = 1 - first;
    int used = first;
    enum kl_code code = kl_head_unlock_slot(head, first, kek, ret_dek, ret_keys, err);
    if (code != KL_OK && !hopeless(code) && head->slots[other].state != KL_SLOT_EMPTY) {
        used = other;
        if (kl_head_unlock_slot(head, other, kek, ret_dek, ret_keys, NULL) == KL_OK)
            code = KL_OK;
        else
            (void)kl_err_prefix(err, "neither wrap slot opens; the newer one");
    }
    if (code == KL_OK)
        *ret_index = used;
    return code;
}
