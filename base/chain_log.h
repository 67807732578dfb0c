/* Hash-chained, append-only JSON-lines log with group commit; the audit log and the activity log
 * are two of these.
 *
 * Bytes. Line n (counted from 1) is
 *
 *     {"seq":n,MEMBERS,"chain":"C"}  and a line feed
 *
 * n decimal without leading zeros, MEMBERS the record's own members (none: the comma before them is
 * absent too), C 64 lower-case hex digits: SHA-256 over the 32 bytes of the chain of line n - 1
 * (zeros for n = 1), then the line's bytes before ,"chain":". A checkpoint line has the one member
 *
 *     "checkpoint":{"seq":p,"chain":"C of line p","alg":"ES256","kid":"K","sig":"S"}
 *
 * p is an earlier line, less than 65,536 before it: lines go on while the token signs. The last
 * line of a log that was closed in order is a checkpoint of the line right before it. S is the
 * base64url of the signature (JOSE form: r || s for ES*) under the key whose SubjectPublicKeyInfo
 * has the SHA-256 K (hex), over these three lines, each with a line feed:
 *
 *     kluis-chain-checkpoint-v1
 *     p
 *     C of line p
 *
 * The log's writer does not hold that key in memory (it is the token's audit key). No other record
 * begins with "checkpoint". The head file, beside the log or on another medium, is one padded JSON
 * line {"seq":n,"size":bytes,"chain":"C"}: the newest line and where it ends, so that a cut tail
 * shows. It is written after the sync of that line, so it may lag behind the log but never leads
 * it; the next opening follows the lines from there.
 *
 * One writer thread collects what is waiting, writes it with one write, fdatasyncs once, and then
 * calls each record's `done`. A failed sync is final: every waiting and every later record gets
 * KL_IO (the kernel reports it once and forgets; a later success would prove nothing). A write that
 * finds no space is cut off again, that cut is synced, its records get KL_NO_SPACE, and the log
 * goes on when space returns. Opening cuts off an unfinished last line, or a stretch with zero
 * bytes at the end: what a crash leaves, never acknowledged.
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

/** Sign `n` bytes for a checkpoint; called on a thread of its own (the last one, in kl_chain_close,
 * on the writer's), may block for the time of one token call. Appends the raw signature. On failure
 * the checkpoint is put off to the next occasion; records go on. `alg` is its JOSE name ("ES256").
 */
struct kl_chain_signer {
    enum kl_code (*sign)(void *arg, const void *bytes, size_t n, struct kl_buf *ret_signature,
                         struct kl_err *err);
    void *arg;
    const char *alg;
    const char *key_id; /* hex of the SPKI's SHA-256 */
};

struct kl_chain_config {
    const char *path;                     /* the log; created 0600 */
    const char *head_path;                /* the head file; created 0600 */
    const struct kl_chain_signer *signer; /* NULL = no checkpoints */
    unsigned checkpoint_records; /* a checkpoint after so many records (0 = only by time) … */
    int64_t checkpoint_ms;       /* … or so long after the first record that none covers */
    size_t max_waiting;          /* records; kl_chain_append answers KL_THROTTLED above */
    int64_t gather_us; /* longest wait for announced records (kl_chain_expect), and once more while
                          a burst goes on; 0 = neither */
    /* Around the `done` calls of one batch, on the writer thread; NULL = nothing. */
    void (*before_done)(void), (*after_done)(void);
};

/** Open or create; follows the lines behind the head's. KL_CORRUPT (the caller decides; *ret is
 * untouched) for a log that ends before its head file says, a head file gone, or a damaged line;
 * KL_EXISTS when another process has it open. Starts the writer thread. */
enum kl_code kl_chain_open(const struct kl_chain_config *config, struct kl_chain_log **ret,
                           struct kl_err *err) KL_MUST_USE;
/** Accept that the tail is gone: as kl_chain_open, but after a cut tail or a lost head goes on from
 * what is there, with a record
 *  {"tail_lost":{"found_seq":…,"head_seq":…,"head_chain":…}}. Damage within the lines stays
 * KL_CORRUPT. */
enum kl_code kl_chain_open_after_loss(const struct kl_chain_config *config,
                                      struct kl_chain_log **ret, struct kl_err *err) KL_MUST_USE;
/** Write what waits, write a last checkpoint when lines stand behind the newest one, end the
 * threads, free. Blocks, for a token call too. Nobody may append any more. */
void kl_chain_close(struct kl_chain_log *log);

/** Queue one record: the members of a JSON object without the braces (`"a":1,"b":"x"`), n bytes (at
 * most 512 KiB), copied. `done` (may be NULL) comes later on the writer thread. Any thread, never
 * blocks on the disk. KL_THROTTLED when too many wait, KL_IO after a failure, KL_BAD_INPUT for a
 * line feed, a zero byte or a leading "checkpoint", KL_TOO_BIG, KL_NO_MEMORY; `done` is then not
 * called. */
enum kl_code kl_chain_append(struct kl_chain_log *log, const char *members, size_t n,
                             kl_chain_done *done, void *arg) KL_MUST_USE;

/** Announce that `change` more records (negative: fewer) are under way, so that one sync may serve
 * them: a sync costs more than a record. The writer waits for them, gather_us at most, and only
 * while more than KL_CHAIN_FEW are announced: the few that are left must not find the token idle.
 * Any thread, lock-free. */
#define KL_CHAIN_FEW 4
void kl_chain_expect(struct kl_chain_log *log, int change);

/** The newest line on disk: its seq (0 = none) and chain as 64 hex digits. */
void kl_chain_head(struct kl_chain_log *log, uint64_t *ret_seq, char ret_chain[static 65]);

struct kl_chain_report {
    uint64_t lines, checkpoints;
    uint64_t last_seq;
    char last_chain[65];
    uint64_t last_checkpoint_seq; /* the newest checkpoint's own line; 0 = none */
    uint64_t covered_seq;         /* the newest line that a signature covers; 0 = none */
    uint64_t bad_line;            /* line number (from 1) of the first fault, 0 = none */
    bool tail_missing;            /* the head says that more lines existed */
};

/** Check a log from end to end without a writer: chain, sequence, checkpoints (signature under
 * `key`; NULL = signatures are not checked), head. KL_OK only when all hold; KL_CORRUPT with a
 * sentence that says what and at which line otherwise. head_path may be NULL. A running writer's
 * unfinished last line is not a fault. */
enum kl_code kl_chain_verify(const char *path, const char *head_path, EVP_PKEY *key,
                             struct kl_chain_report *ret, struct kl_err *err) KL_MUST_USE;

/** A mark is a copy of a head file's line, kept elsewhere. Does the log still hold the line that it
 * knows, at its place? KL_CORRUPT when it was cut, is another one or is gone. Reads a few
 * bytes, whatever the size. */
enum kl_code kl_chain_check_mark(const char *path, const char *mark, size_t n,
                                 struct kl_err *err) KL_MUST_USE;
/** The sequence number in a mark. KL_CORRUPT. */
enum kl_code kl_chain_mark_seq(const char *mark, size_t n, uint64_t *ret,
                               struct kl_err *err) KL_MUST_USE;

KL_AUTO_DEFINE(chain_log, struct kl_chain_log, kl_chain_close);

#endif
