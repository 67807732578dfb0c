/* kluis encrypt, kluis decrypt. */
#include "cli/cmd_stream.h"

#include "cli/progress.h"
#include "wrap/outfile.h"
#include "wrap/seal.h"
#include "wrap/vault_kek.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Both ends of the work. */
struct ends {
    int in;
    struct kl_outfile *file; /* NULL = standard output */
    struct kl_progress progress;
    struct kl_stream_options stream;
};

static const char *path_or_null(const char *word)
{
    return word != NULL && strcmp(word, "-") != 0 ? word : NULL;
}

static enum kl_code open_input(const struct kl_cmd *cmd, struct ends *e, struct kl_err *err)
{
    const char *const *words = NULL;
    const char *path = kl_cmd_positionals(cmd, &words) > 0 ? path_or_null(words[0]) : NULL;
    struct stat st;

    e->in = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
    if (e->in < 0)
        return kl_fail_errno(err, "open", "%s cannot be opened", path);
    if (fstat(e->in, &st) != 0)
        return kl_fail_errno(err, "fstat", "the input cannot be looked at");
    if (S_ISDIR(st.st_mode))
        return kl_fail(err, KL_BAD_INPUT, "open", "%s is a folder: send it through tar",
                       path != NULL ? path : "the input");
    kl_progress_begin(&e->progress, S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0);
    return KL_OK;
}

static enum kl_code open_ends(const struct kl_cmd *cmd, struct ends *e, struct kl_err *err)
{
    const char *out = path_or_null(kl_cmd_value(cmd, "out"));
    int64_t threads = 0;

    *e = (struct ends){.in = -1};
    enum kl_code code = kl_cmd_int(cmd, "threads", 1, KL_STREAM_MAX_THREADS, &threads, err);
    if (code == KL_OK)
        code = open_input(cmd, e, err);
    if (code == KL_OK && out != NULL)
        code = kl_outfile_open(out, &e->file, err);
    e->stream = (struct kl_stream_options){
        .threads = (unsigned)threads, .progress = kl_progress_step, .arg = &e->progress};
    return code;
}

static int output_of(const struct ends *e)
{
    return e->file != NULL ? kl_outfile_fd(e->file) : STDOUT_FILENO;
}

static enum kl_code close_ends(struct ends *e, enum kl_code code, struct kl_err *err)
{
    kl_progress_end(&e->progress);
    if (code == KL_OK && e->file != NULL)
        code = kl_outfile_commit(e->file, err);
    kl_outfile_close(e->file);
    if (e->in > STDIN_FILENO)
        (void)close(e->in);
    return code;
}

static unsigned segment_log2(const char *word)
{
    if (word == NULL)
        return KL_DEFAULT_SEGMENT_LOG2;
    return strcmp(word, "64K") == 0 ? 16 : strcmp(word, "4M") == 0 ? 22 : 20;
}

enum kl_code kl_stream_encrypt(struct kl_cmd *cmd, struct kl_err *err)
{
    struct kl_vault_client *client = NULL;
    struct ends ends;
    uint64_t bytes = 0;
    struct kl_seal_options options = {
        .key_url = kl_cmd_value(cmd, "key"),
        .alg = kl_cmd_value(cmd, "algorithm"),
        .segment_log2 = segment_log2(kl_cmd_value(cmd, "segment")),
        .stream = &ends.stream,
    };

    if (!kl_key_url_valid(options.key_url, false))
        return kl_fail(err, KL_USAGE, NULL,
                       "--key takes the URL of a key, https://VAULT/keys/NAME, with or without "
                       "/VERSION");
    if (path_or_null(kl_cmd_value(cmd, "out")) == NULL && isatty(STDOUT_FILENO))
        return kl_fail(
            err, KL_USAGE, NULL,
            "a container is no text for a terminal: name a file with --out, or redirect");
    enum kl_code code = kl_cmd_client(cmd, &client, err);
    if (code != KL_OK)
        return code;
    const struct kl_kek kek = kl_vault_kek(client);

    options.principal = kl_vault_client_id(client);
    code = open_ends(cmd, &ends, err);
    if (code == KL_OK)
        code = kl_seal(&kek, &options, ends.in, output_of(&ends), &bytes, err);
    return close_ends(&ends, code, err);
}

static void warn(void *arg, const char *sentence)
{
    (void)arg;
    kl_cmd_say("Warning: %s. The container opens all the same; 'kluis rewrap --verify' repairs it.",
               sentence);
}

enum kl_code kl_stream_decrypt(struct kl_cmd *cmd, struct kl_err *err)
{
    struct kl_vault_client *client = NULL;
    struct ends ends;
    uint64_t bytes = 0;
    const struct kl_unseal_options options = {
        .verify_first = kl_cmd_flag(cmd, "verify-first"),
        .stream = &ends.stream,
        .warn = warn,
    };
    enum kl_code code = kl_cmd_client(cmd, &client, err);

    if (code != KL_OK)
        return code;
    const struct kl_kek kek = kl_vault_kek(client);

    code = open_ends(cmd, &ends, err);
    /* What cannot be taken back goes out in order, so that it is a beginning and not islands. */
    ends.stream.in_order = ends.file == NULL || kl_outfile_direct(ends.file);
    if (code == KL_OK)
        code = kl_unseal(&kek, &options, ends.in, output_of(&ends), &bytes, err);
    return close_ends(&ends, code, err);
}
