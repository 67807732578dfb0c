/* kluis audit: is the audit log whole? */
#include "base/chain_log.h"
#include "base/conf.h"
#include "base/io.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/table.h"
#include "cli/target.h"

#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "/kluis/v1/audit/head"

enum { MAX_KEYS = 16 };

/* What is known besides the log itself. */
struct evidence {
    char *log, *head; /* paths; head may be NULL */
    char *state;      /* the service's state folder, may be NULL */
    EVP_PKEY *keys[MAX_KEYS];
    size_t key_count;
    const char *key_source; /* NULL = signatures cannot be checked */
    bool service;           /* the service said: */
    uint64_t seq;
    char chain[65];
};

static void evidence_done(struct evidence *e)
{
    free(e->log);
    free(e->head);
    free(e->state);
    for (size_t i = 0; i < e->key_count; i++)
        EVP_PKEY_free(e->keys[i]);
}

/* ---- where the log is ---- */

static enum kl_code find_log(const struct kl_cmd *cmd, struct evidence *e, struct kl_err *err)
{
    const char *file = kl_cmd_value(cmd, "file");
    const char *head = kl_cmd_value(cmd, "head-file");
    const char *config = getenv("KLUIS_CONFIG");
    enum kl_code code;

    if (head != NULL && (code = kl_target_format(&e->head, err, "%s", head)) != KL_OK)
        return code;
    if (file != NULL)
        return kl_target_format(&e->log, err, "%s", file);
    if (config == NULL)
        return kl_fail(err, KL_USAGE, NULL, "--file is missing, and KLUIS_CONFIG names no file");
    code = kl_conf_lookup(config, "audit", "path", true, &e->log, err);
    if (code == KL_OK && head == NULL &&
        kl_conf_lookup(config, "audit", "head", true, &e->head, NULL) != KL_OK)
        e->head = NULL;
    if (code == KL_OK &&
        kl_conf_lookup(config, "service", "state-dir", true, &e->state, NULL) != KL_OK)
        e->state = NULL;
    return code;
}

/* ---- whose signatures count ---- */

static enum kl_code add_keys(struct evidence *e, const char *pem, size_t n, const char *source,
                             struct kl_err *err)
{
    BIO *in = BIO_new_mem_buf(pem, (int)n);
    EVP_PKEY *key;

    while (in != NULL && e->key_count < MAX_KEYS &&
           (key = PEM_read_bio_PUBKEY(in, NULL, NULL, NULL)) != NULL)
        e->keys[e->key_count++] = key;
    BIO_free(in);
    if (e->key_count == 0)
        return kl_fail_ossl(err, "PEM_read_bio_PUBKEY", "%s holds no public key in PEM", source);
    e->key_source = source;
    return KL_OK;
}

static enum kl_code keys_from_file(struct evidence *e, const char *path, struct kl_err *err)
{
    KL_AUTO(char) pem = NULL;
    size_t n = 0;
    enum kl_code code = kl_io_read_file(path, 65536, &pem, &n, err);

    return code == KL_OK ? add_keys(e, pem, n, path, err) : code;
}

/* The service's own keys, and a copy of them beside the log for the day when the service is down.
 */
static enum kl_code keys_from_service(struct evidence *e, const json_t *head, const char *cache,
                                      struct kl_err *err)
{
    const json_t *list = json_object_get(head, "keys");
    struct kl_buf all = KL_BUF_INIT(65536);
    enum kl_code code = KL_OK;
    json_t *row;
    size_t i;

    json_array_foreach(list, i, row)
    {
        const char *pem = json_string_value(json_object_get(row, "publicKey"));

        if (pem != NULL)
            kl_buf_puts(&all, pem);
    }
    if (all.len > 0)
        code = add_keys(e, kl_buf_text(&all), all.len, "the service", err);
    if (code == KL_OK && all.len > 0 &&
        kl_io_replace_file(cache, 0644, all.bytes, all.len, NULL) != KL_OK)
        kl_cmd_say("The keys were not kept beside the log: its folder cannot be written.");
    kl_buf_done(&all);
    return code;
}

static enum kl_code ask_service(struct kl_cmd *cmd, json_t **ret, struct kl_err *err)
{
    return kl_target_call(cmd, "GET", HEAD, NULL, ret, err);
}

static enum kl_code note_head(struct evidence *e, const json_t *head, struct kl_err *err)
{
    const char *chain = NULL;
    int64_t seq = -1;
    enum kl_code code = kl_json_int(head, "seq", 0, INT64_MAX, &seq, err);

    if (code == KL_OK)
        code = kl_json_string(head, "chain", &chain, err);
    if (code == KL_OK && (seq < 0 || chain == NULL || strlen(chain) != 64))
        code = kl_fail(err, KL_CORRUPT, NULL, "the service's answer is no head of a log");
    if (code != KL_OK)
        return code;
    e->service = true;
    e->seq = (uint64_t)seq;
    memcpy(e->chain, chain, 65);
    return KL_OK;
}

static enum kl_code gather(struct kl_cmd *cmd, struct evidence *e, struct kl_err *err)
{
    const char *given = kl_cmd_value(cmd, "public-key");
    KL_AUTO(json) head = NULL;
    KL_AUTO(char) cache = NULL;
    struct kl_err why = {0};
    enum kl_code code = find_log(cmd, e, err);

    if (code == KL_OK)
        code = kl_target_format(&cache, err, "%s.keys.pem", e->log);
    if (code == KL_OK && given != NULL)
        code = keys_from_file(e, given, err);
    if (code != KL_OK)
        return code;
    if (!kl_cmd_flag(cmd, "offline") && ask_service(cmd, &head, &why) != KL_OK)
        kl_cmd_say("The service could not be asked where the log ends (%s).", why.text);
    if (head != NULL)
        code = note_head(e, head, err);
    if (code == KL_OK && head != NULL && given == NULL)
        code = keys_from_service(e, head, cache, err);
    if (code == KL_OK && head == NULL && given == NULL && keys_from_file(e, cache, NULL) == KL_OK) {
        e->key_source = "the copy beside the log";
        kl_cmd_say("Signatures are checked with %s, which is as safe as that folder; give "
                   "--public-key for evidence.",
                   cache);
    }
    return code;
}

/* ---- the check ---- */

/* The chain value of line `seq`: lines are numbered from 1, as seq is. */
static bool chain_of_line(const char *path, uint64_t seq, char ret[static 65])
{
    static const char mark[] = "\"chain\":\"";
    KL_AUTO(file) in = fopen(path, "re");
    KL_AUTO(char) line = NULL;
    size_t room = 0;
    ssize_t n = -1;

    for (uint64_t i = 0; in != NULL && i < seq && (n = getline(&line, &room, in)) > 0; i++)
        continue;
    if (n <= 0)
        return false;
    char *at = NULL;

    for (char *p = line; (p = strstr(p, mark)) != NULL; p++)
        at = p;
    if (at == NULL || strlen(at) < sizeof(mark) - 1 + 64)
        return false;
    memcpy(ret, at + sizeof(mark) - 1, 64);
    ret[64] = '\0';
    return true;
}

static enum kl_code check_against_service(const struct evidence *e, struct kl_chain_report *report,
                                          struct kl_err *err)
{
    char chain[65] = "";

    if (!e->service || e->seq == 0)
        return KL_OK;
    report->tail_missing = report->tail_missing || report->last_seq < e->seq;
    if (report->last_seq < e->seq)
        return kl_fail(err, KL_CORRUPT, NULL,
                       "the log ends at record %llu, the service has written %llu: the tail is cut",
                       (unsigned long long)report->last_seq, (unsigned long long)e->seq);
    if (!chain_of_line(e->log, e->seq, chain) || strcmp(chain, e->chain) != 0)
        return kl_fail(err, KL_CORRUPT, NULL,
                       "record %llu is not the one that the service wrote: another log, or a "
                       "forged one",
                       (unsigned long long)e->seq);
    return KL_OK;
}

/* The service left a mark in its state folder when it last looked after itself: it shows a tail
 * that was cut together with the head file while the service was down. */
static enum kl_code check_against_mark(const struct evidence *e, struct kl_chain_report *report,
                                       struct kl_err *err)
{
    KL_AUTO(char) path = NULL;
    KL_AUTO(char) mark = NULL;
    size_t n = 0;

    if (e->state == NULL || kl_target_format(&path, err, "%s/audit-mark", e->state) != KL_OK ||
        kl_io_read_file(path, 1024, &mark, &n, NULL) != KL_OK)
        return KL_OK;
    enum kl_code code = kl_chain_check_mark(e->log, mark, n, err);

    report->tail_missing = report->tail_missing || code == KL_CORRUPT;
    return code;
}

/* Under each key in turn: after the audit key was replaced, one of them made the log's signatures.
 */
static enum kl_code verify(const struct evidence *e, struct kl_chain_report *ret,
                           struct kl_err *err)
{
    enum kl_code code =
        kl_chain_verify(e->log, e->head, e->key_count > 0 ? e->keys[0] : NULL, ret, err);

    for (size_t i = 1; code == KL_CORRUPT && i < e->key_count; i++) {
        struct kl_chain_report other = {0};

        if (kl_chain_verify(e->log, e->head, e->keys[i], &other, NULL) == KL_OK) {
            *ret = other;
            return KL_OK;
        }
    }
    return code;
}

static json_t *report_json(const struct evidence *e, const struct kl_chain_report *r, bool ok)
{
    return json_pack("{s:s, s:b, s:I, s:I, s:I, s:s, s:I, s:I, s:I, s:b, s:b, s:s?}", "log", e->log,
                     "intact", ok, "records", (json_int_t)r->lines, "checkpoints",
                     (json_int_t)r->checkpoints, "lastSeq", (json_int_t)r->last_seq, "lastChain",
                     r->last_chain, "lastCheckpoint", (json_int_t)r->last_checkpoint_seq,
                     "signedUpTo", (json_int_t)r->covered_seq, "badLine", (json_int_t)r->bad_line,
                     "tailMissing", r->tail_missing, "comparedWithService", e->service, "publicKey",
                     e->key_source);
}

static const struct kl_column verify_columns[] = {
    {"Log", "log", KL_COLUMN_TEXT},
    {"Intact", "intact", KL_COLUMN_TEXT},
    {"Records", "records", KL_COLUMN_TEXT},
    {"Checkpoints", "checkpoints", KL_COLUMN_TEXT},
    {"LastSeq", "lastSeq", KL_COLUMN_TEXT},
    {"LastCheckpoint", "lastCheckpoint", KL_COLUMN_TEXT},
    {"SignedUpTo", "signedUpTo", KL_COLUMN_TEXT},
    {"BadLine", "badLine", KL_COLUMN_TEXT},
    {"TailMissing", "tailMissing", KL_COLUMN_TEXT},
    {"ComparedWithService", "comparedWithService", KL_COLUMN_TEXT},
    {"PublicKeyFrom", "publicKey", KL_COLUMN_TEXT},
};

/* What "intact" rests on, and what it leaves open. */
static void say_verdict(const struct evidence *e)
{
    kl_cmd_say("The log is intact.");
    if (e->key_count == 0)
        kl_cmd_say("Its signatures were not checked: there is no public key.");
    if (!e->service && e->head == NULL)
        kl_cmd_say("Its end was compared with nothing, so a cut tail would not show: give "
                   "--head-file, or ask again when the service runs.");
}

static enum kl_code run_verify(struct kl_cmd *cmd, struct kl_err *err)
{
    struct evidence e = {0};
    struct kl_chain_report report = {0};
    KL_AUTO(json) shown = NULL;
    struct kl_err out_err = {0};
    enum kl_code code = gather(cmd, &e, err);

    if (code == KL_OK) {
        code = verify(&e, &report, err);
        if (code == KL_OK)
            code = check_against_mark(&e, &report, err);
        if (code == KL_OK)
            code = check_against_service(&e, &report, err);
        if (code == KL_OK || code == KL_CORRUPT) {
            shown = report_json(&e, &report, code == KL_OK);
            if (kl_out_show(cmd, shown, verify_columns, KL_COUNT(verify_columns), &out_err) !=
                KL_OK)
                kl_cmd_say("%s", out_err.text);
        }
        if (code == KL_OK)
            say_verdict(&e);
    }
    evidence_done(&e);
    return code;
}

static enum kl_code run_head(struct kl_cmd *cmd, struct kl_err *err)
{
    static const struct kl_column columns[] = {{"Seq", "seq", KL_COLUMN_TEXT},
                                               {"Chain", "chain", KL_COLUMN_TEXT}};
    KL_AUTO(json) head = NULL;
    enum kl_code code = ask_service(cmd, &head, err);

    return code == KL_OK ? kl_out_show(cmd, head, columns, KL_COUNT(columns), err) : code;
}

static const struct kl_option verify_options[] = {
    {.name = "file",
     .letter = 'f',
     .argument = "FILE",
     .help = "The log. Without it, the one that the file in KLUIS_CONFIG names.",
     .complete = KL_COMPLETE_FILE},
    {.name = "head-file",
     .argument = "FILE",
     .help = "The log's head file, which shows whether the tail was cut. Without it and without "
             "--file, the configuration's.",
     .complete = KL_COMPLETE_FILE},
    {.name = "public-key",
     .argument = "FILE",
     .help = "The audit key's public half in PEM, from a safe place. Without it, the service's, "
             "or the copy that an earlier check left beside the log.",
     .complete = KL_COMPLETE_FILE},
    {.name = "offline", .kind = KL_OPTION_FLAG, .help = "Do not ask the service."},
};

static const struct kl_command commands[] = {
    {.verb = "verify",
     .summary = "check the audit log from end to end",
     .text = "Check that no record of the audit log was changed, removed, added or reordered: the "
             "hash chain, the sequence, the signed checkpoints and, against the head file and the "
             "running service, the end. Reads the log's file, so run it on the service's machine "
             "or on a copy.\n\nExit code 0: intact. 1: damaged; the sentence says what and at "
             "which line.",
     .example = "kluis audit verify\n"
                "kluis audit verify --file /mnt/evidence/audit.log --public-key audit-key.pem",
     .options = verify_options,
     .option_count = KL_COUNT(verify_options),
     .lists = true,
     .remote = true,
     .run = run_verify},
    {.verb = "head",
     .summary = "show where the audit log ends",
     .text = "Show the number and the chain value of the newest record. Kept somewhere else, day "
             "by day, it proves later that no record before it was touched. Needs the role "
             "administrator or auditor.",
     .example = "kluis audit head -o tsv >> /mnt/worm/audit-heads",
     .lists = true,
     .remote = true,
     .run = run_head},
};

const struct kl_noun kl_noun_audit = {
    .name = "audit",
    .summary = "is the audit log whole?",
    .text =
        "Every request of the service is a record in a hash-chained, signed log, written before "
        "the answer goes out.",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
