/* kluis inspect, kluis rewrap. */
#include "cli/cmd_stream.h"

#include "base/clock.h"
#include "base/encoding.h"
#include "base/json.h"
#include "cli/out.h"
#include "wrap/container/stream.h"
#include "wrap/rewrap.h"
#include "wrap/vault_kek.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- inspect ---- */

static const struct kl_column inspect_columns[] = {
    {"File", "file", KL_COLUMN_TEXT},
    {"Encryption", "encryption", KL_COLUMN_TEXT},
    {"Segment", "segmentBytes", KL_COLUMN_TEXT},
    {"Created", "created", KL_COLUMN_TEXT},
    {"Container", "containerBytes", KL_COLUMN_TEXT},
    {"Plaintext", "plaintextBytes", KL_COLUMN_TEXT},
    {"Recovery point", "recoveryPoint", KL_COLUMN_TEXT},
    {"Data key", "dataKey", KL_COLUMN_TEXT},
    {"Key", "key", KL_COLUMN_TEXT},
    {"Algorithm", "algorithm", KL_COLUMN_TEXT},
    {"Wrapped", "wrappedAt", KL_COLUMN_TEXT},
    {"Wrapped by", "principal", KL_COLUMN_TEXT},
    {"Generation", "generation", KL_COLUMN_TEXT},
    {"Slot A", "slotA.state", KL_COLUMN_TEXT},
    {"Slot B", "slotB.state", KL_COLUMN_TEXT},
};

static json_t *json_uuid(const uint8_t id[static 16])
{
    static const uint8_t none[16];
    char hex[33], text[KL_UUID_LEN + 1];

    if (memcmp(id, none, sizeof none) == 0)
        return json_null();
    kl_hex(id, 16, hex);
    (void)snprintf(text, sizeof text, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16,
                   hex + 20);
    return json_string(text);
}

static json_t *json_time(int64_t unix_ms)
{
    char text[32];

    kl_clock_iso(unix_ms, text);
    return json_string(text);
}

static json_t *json_slot(const struct kl_slot *slot, const struct kl_err *fault)
{
    if (slot->state == KL_SLOT_EMPTY)
        return json_pack("{s:s}", "state", "empty");
    if (slot->state == KL_SLOT_BROKEN)
        return json_pack("{s:s, s:s}", "state", "damaged", "fault", fault->text);
    return json_pack("{s:s, s:I, s:s, s:s, s:i, s:o, s:s}", "state", "usable", "generation",
                     (json_int_t)slot->generation, "key", slot->kek, "algorithm",
                     kl_slot_alg_name(slot->alg), "wrappedBytes", (int)slot->wrapped_len,
                     "wrappedAt", json_time(slot->wrapped_at_ms), "principal", slot->principal);
}

static json_t *json_head(const char *file, const struct kl_head *head, int64_t size)
{
    static const char *const modes[] = {"", "platform", "customer", "passphrase"};
    const struct kl_core *core = &head->core;
    char hash[2 * KL_HASH_BYTES + 1];
    const uint64_t stream = size > KL_HEAD_BYTES ? (uint64_t)size - KL_HEAD_BYTES : 0;
    const uint64_t plain = kl_stream_plain_bytes(core, stream);

    kl_hex(core->hash, sizeof core->hash, hash);
    return json_pack(
        "{s:s, s:i, s:s, s:s, s:i, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:s, s:o, s:o}", "file",
        file, "format", 1, "encryption", "A256GCM", "suite", "AES256-GCM-HKDF-SHA256",
        "segmentBytes", (int)kl_core_segment_bytes(core), "mode", modes[core->mode],
        "recoveryPoint", json_uuid(core->point_id), "dataKey", json_uuid(core->dek_id), "vault",
        json_uuid(core->vault_id), "item", json_uuid(core->item_id), "stream",
        (json_int_t)core->stream_no, "contentType", (json_int_t)core->content_type, "created",
        json_time(core->created_ms), "headerHash", hash, "containerBytes",
        size >= 0 ? json_integer(size) : json_null(), "plaintextBytes",
        size >= 0 && plain != UINT64_MAX ? json_integer((json_int_t)plain) : json_null());
}

/* The newest slot's fields stand on the first level as well: they are what one asks for. */
static void add_slots(json_t *out, const struct kl_head *head)
{
    const int newest = kl_head_newest(head);
    json_t *slots[2];

    for (int i = 0; i < 2; i++)
        slots[i] = json_slot(&head->slots[i], &head->slot_errs[i]);
    if (newest >= 0) {
        (void)json_object_update_missing(out, slots[newest]);
        (void)json_object_del(out, "state");
    }
    (void)json_object_set_new(out, "slotA", slots[0]);
    (void)json_object_set_new(out, "slotB", slots[1]);
}

static enum kl_code read_container(const char *path, struct kl_head *ret, int64_t *ret_size,
                                   struct kl_err *err)
{
    const bool input = strcmp(path, "-") == 0;
    struct stat st;
    int fd = input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    enum kl_code code = kl_head_read(fd, false, ret, err);
    *ret_size = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? st.st_size : -1;
    if (!input)
        (void)close(fd);
    return code;
}

enum kl_code kl_stream_inspect(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *const *words = NULL;
    struct kl_head head;
    int64_t size = -1;

    (void)kl_cmd_positionals(cmd, &words);
    enum kl_code code = read_container(words[0], &head, &size, err);
    if (code != KL_OK)
        return code;
    KL_AUTO(json) out = json_head(words[0], &head, size);
    if (out == NULL)
        return kl_fail(err, KL_NO_MEMORY, "json_pack", "no memory for the result");
    add_slots(out, &head);
    for (int i = 0; i < 2; i++)
        if (head.slots[i].state == KL_SLOT_BROKEN)
            kl_cmd_say("Warning: %s.", head.slot_errs[i].text);
    return kl_out_show(cmd, out, inspect_columns, KL_COUNT(inspect_columns), err);
}

/* ---- rewrap ---- */

static const struct kl_column rewrap_columns[] = {
    {"File", "file", KL_COLUMN_TEXT},
    {"Result", "result", KL_COLUMN_TEXT},
    {"From version", "from", KL_COLUMN_LAST},
    {"To version", "to", KL_COLUMN_LAST},
    {"Generation", "generation", KL_COLUMN_TEXT},
};

static json_t *json_result(const char *path, const struct kl_rewrap_result *result)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:b}", "file", path, "result",
                     result->changed ? "rewrapped" : "unchanged", "from", result->from, "to",
                     result->to, "generation", (json_int_t)result->generation, "wiped",
                     result->wiped);
}

static json_t *json_failure(const char *path, const struct kl_err *err)
{
    return json_pack("{s:s, s:s, s:s}", "file", path, "result", "failed", "error", err->text);
}

static enum kl_code rewrap_all(struct kl_cmd *cmd, struct kl_rewrap *job, struct kl_err *err)
{
    const char *const *words = NULL;
    const size_t count = kl_cmd_positionals(cmd, &words);
    size_t failed = 0;
    KL_AUTO(json) results = json_array();

    for (size_t i = 0; i < count; i++) {
        struct kl_rewrap_result result;
        struct kl_err why = {.code = KL_OK};
        const bool done = kl_rewrap_file(job, words[i], &result, &why) == KL_OK;

        if (!done)
            kl_cmd_say("%s: %s", words[i], why.text);
        failed += !done;
        if (json_array_append_new(results, done ? json_result(words[i], &result)
                                                : json_failure(words[i], &why)) != 0)
            return kl_fail(err, KL_NO_MEMORY, "json_pack", "no memory for the results");
    }
    enum kl_code code = kl_out_list(cmd, results, rewrap_columns, KL_COUNT(rewrap_columns), err);
    if (code == KL_OK && failed > 0)
        return kl_fail(err, KL_WRAP_SLOT, "rewrap",
                       "%zu of %zu files were not re-wrapped; the old key version is still needed",
                       failed, count);
    return code;
}

enum kl_code kl_stream_rewrap(struct kl_cmd *cmd, struct kl_err *err)
{
    struct kl_vault_client *client = NULL;
    struct kl_rewrap_options options = {
        .key_url = kl_cmd_value(cmd, "key"),
        .version = kl_cmd_value(cmd, "to-version"),
        .alg = kl_cmd_value(cmd, "algorithm"),
        .wipe_old = kl_cmd_flag(cmd, "wipe-old"),
        .verify_all = kl_cmd_flag(cmd, "verify"),
    };
    KL_AUTO(rewrap) job = NULL;
    enum kl_code code = kl_cmd_client(cmd, &client, err);

    if (code != KL_OK)
        return code;
    const struct kl_kek kek = kl_vault_kek(client);

    options.principal = kl_vault_client_id(client);
    code = kl_rewrap_new(&kek, &options, &job, err);
    if (code == KL_BAD_INPUT && err != NULL)
        code = err->code = KL_USAGE;
    return code == KL_OK ? rewrap_all(cmd, job, err) : code;
}
