/* Hash-chained, append-only JSON-lines log with group commit; the audit log and the activity log are two of these.
 *
 * Line n is {"seq":n, …the record's own members…, "chain":"HEX"}, where chain = SHA-256(chain of line n - 1 || the line's bytes up to
 * and without ,"chain":"…"}); the line before the first is 32 zero bytes. From time to time a checkpoint line carries a signature over
 * (seq, chain) made by a key that the log's writer does not hold in memory (the token's audit key).
 * One writer thread collects what is waiting, writes it with one write, fdatasyncs once, and then calls each record's `done`. A failed
 * write or sync is final: every waiting and every later record gets the error (fsyncgate: never retry to success).
 * A small "head" file beside the log (or on another medium) holds the newest seq and chain, so that a cut tail shows.
 */
#ifndef KL_BASE_CHAIN_LOG_H
#define KL_BASE_CHAIN_LOG_H

#include "base/buf.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

struct kl_chain_log;

/** Called on the writer thread, in order: KL_OK = the record is on disk. Must not block. */
typedef void kl_chain_done(void *arg, enum kl_code code);

/** Sign `n` bytes for a checkpoint; called on the writer thread, may block for the time of one token call. Appends the raw signature. On
 *  failure the checkpoint is put off to the next occasion; records go on. `alg` is its JOSE name ("ES256"). */
struct kl_chain_signer {
    enum kl_code (*sign)(void *arg, const void *bytes, size_t n, struct kl_buf *ret_signature, struct kl_err *err);
    void *arg;
    const char *alg;
    const char *key_id; /* hex of the SPKI's SHA-256 */
};

struct kl_chain_config {
    const char *path;      /* the log; created 0600 */
    const char *head_path; /* the head file; created 0600 */
    const struct kl_chain_signer *signer; /* NULL = no checkpoints */
    unsigned checkpoint_records;          /* a checkpoint after so many records … */
    int64_t checkpoint_ms;                /* … or so long after the first record that none covers */
    size_t max_waiting;                   /* kl_chain_append answers KL_TOKEN_BUSY above */
};

/** Open or create; reads the tail: an unfinished last line of a crash is cut off (it was never acknowledged), a log that
 *  ends before its head file says is KL_CORRUPT (the caller decides; `*ret` is then still NULL). Starts the writer thread. */
enum kl_code kl_chain_open(const struct kl_chain_config *config, struct kl_chain_log **ret,
                           struct kl_err *err) KL_MUST_USE;
/** Accept that the tail is gone: as kl_chain_open, but after a cut tail goes on from what is there, with a record that says so. */
enum kl_code kl_chain_open_after_loss(const struct kl_chain_config *config, struct kl_chain_log **ret,
                                      struct kl_err *err) KL_MUST_USE;
/** Write what waits, write a last checkpoint, end the thread, free. */
void kl_chain_close(struct kl_chain_log *log);

/** Queue one record: the members of a JSON object without the braces (`"a":1,"b":"x"`), n bytes, copied. `done` (may be NULL) comes
 *  later on the writer thread. Any thread, never blocks on the disk. KL_TOKEN_BUSY when too many wait, KL_IO after a failure. */
enum kl_code kl_chain_append(struct kl_chain_log *log, const char *members, size_t n, kl_chain_done *done,
                             void *arg) KL_MUST_USE;

/** The newest line on disk: its seq (0 = none) and chain as 64 hex digits. */
void kl_chain_head(struct kl_chain_log *log, uint64_t *ret_seq, char ret_chain[static 65]);

struct kl_chain_report {
    uint64_t lines, checkpoints;
    uint64_t last_seq;
    char last_chain[65];
    uint64_t last_checkpoint_seq; /* 0 = none */
    uint64_t bad_line;            /* line number (from 1) of the first fault, 0 = none */
    bool tail_missing;            /* the head says that more lines existed */
};

/** Check a log from end to end without a writer: chain, sequence, checkpoints (signature under `key`; NULL = signatures are not checked), head.
 *  KL_OK only when all hold; KL_CORRUPT with a sentence that says what and at which line otherwise. head_path may be NULL. A running
 *  writer's unfinished last line is not a fault. */
enum kl_code kl_chain_verify(const char *path, const char *head_path, EVP_PKEY *key,
                             struct kl_chain_report *ret, struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(chain_log, struct kl_chain_log, kl_chain_close);

#endif
