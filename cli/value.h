/* What people type, turned into what the service takes: times, tags, data; and files that verbs
 * read and write. Not thread safe. */
#ifndef KL_CLI_VALUE_H
#define KL_CLI_VALUE_H

#include "base/json.h"
#include "base/secret.h"
#include "cli/command.h"

/** A point in time: "2026-12-31", "2026-12-31T23:59:59Z" (UTC), Unix seconds, or "+90d" / "+12h" /
 * "+30m" from now. KL_USAGE naming the option. */
enum kl_code kl_value_time(const char *option, const char *text, int64_t *ret,
                           struct kl_err *err) KL_MUST_USE;

/** Set object[member] from the VALUE option as a time; nothing when it was not given. */
enum kl_code kl_value_put_time(const struct kl_cmd *cmd, const char *option, const char *member,
                               json_t *object, struct kl_err *err) KL_MUST_USE;

/** Set object["tags"] from --tags KEY=VALUE …; nothing when it was not given. KL_USAGE for a word
 * without "=". */
enum kl_code kl_value_put_tags(const struct kl_cmd *cmd, json_t *object,
                               struct kl_err *err) KL_MUST_USE;

/** Set object[member] to the words of an option, as an array of strings; nothing when it was not
 * given. */
enum kl_code kl_value_put_words(const struct kl_cmd *cmd, const char *option, const char *member,
                                json_t *object, struct kl_err *err) KL_MUST_USE;

/** The same for an option with a list by commas. KL_USAGE for an empty name in it. */
enum kl_code kl_value_put_list(const struct kl_cmd *cmd, const char *option, const char *member,
                               json_t *object, struct kl_err *err) KL_MUST_USE;

/** Set object[member] to a copy of text. KL_NO_MEMORY (also for text that is not UTF-8:
 * KL_BAD_INPUT). */
enum kl_code kl_value_put_text(json_t *object, const char *member, const char *text,
                               struct kl_err *err) KL_MUST_USE;

#define KL_VALUE_MAX 65536 /* bytes of one piece of data for a key operation */

/** Raw bytes of the file `path` ("-" or NULL: standard input), at most KL_VALUE_MAX, with trailing
 * newline and all. KL_TOO_BIG, KL_BAD_INPUT when there is nothing, KL_USAGE when standard input is
 * a terminal and `path` NULL. */
enum kl_code kl_value_read(const char *path, struct kl_secret **ret,
                           struct kl_err *err) KL_MUST_USE;

/** Text in base64 or base64url, with or without padding. KL_USAGE naming the option. */
enum kl_code kl_value_decode(const char *option, const char *text, struct kl_secret **ret,
                             struct kl_err *err) KL_MUST_USE;

/** Set object[member] to the base64url of the bytes (in memory that is wiped). */
enum kl_code kl_value_put_bytes(json_t *object, const char *member, struct kl_secret *bytes,
                                struct kl_err *err) KL_MUST_USE;

/** Write a file of mode 0600 whole or not at all. Refuses to replace one that is there unless
 * `force`: KL_EXISTS. */
enum kl_code kl_value_write(const char *path, bool force, const void *bytes, size_t n,
                            struct kl_err *err) KL_MUST_USE;

/** As kl_value_write would refuse, before anything was asked of the service. */
enum kl_code kl_value_check_target(const char *path, bool force, struct kl_err *err) KL_MUST_USE;

#endif
