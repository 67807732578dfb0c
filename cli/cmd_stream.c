/* kluis encrypt, decrypt, inspect, rewrap: the rows; stream_crypt.c and stream_container.c do the
 * work. */
#include "cli/cmd_stream.h"

#include "cli/table.h"

#include <limits.h>

static const char *const algorithms[] = {"RSA-OAEP-256", "RSA-OAEP", NULL};
static const char *const segments[] = {"64K", "1M", "4M", NULL};

#define KEY_HELP                                                                                   \
    "The key's URL, https://VAULT/keys/NAME. With /VERSION behind it, that version instead of "    \
    "the newest."

#define OUTPUT_FILE                                                                                \
    {                                                                                              \
        .name = "out", .argument = "FILE", .complete = KL_COMPLETE_FILE,                           \
        .help = "Write to FILE, which appears under its name only when it is complete. Without "   \
                "it, or with -, to standard output."                                               \
    }
#define THREADS                                                                                    \
    {                                                                                              \
        .name = "threads", .argument = "N",                                                        \
        .help = "Segments worked on at the same time. Without it, one per processor."              \
    }

static const struct kl_option encrypt_options[] = {
    {.name = "key", .letter = 'k', .argument = "URL", .required = true, .help = KEY_HELP},
    OUTPUT_FILE,
    {.name = "algorithm",
     .letter = 'a',
     .argument = "WORD",
     .choices = algorithms,
     .help = "How the key wraps the data key. RSA-OAEP-256 without it."},
    {.name = "segment",
     .argument = "SIZE",
     .choices = segments,
     .help = "Bytes that are encrypted and verified as one. 1M without it."},
    THREADS,
};

static const struct kl_option decrypt_options[] = {
    OUTPUT_FILE,
    {.name = "verify-first",
     .kind = KL_OPTION_FLAG,
     .help = "Read the file twice: write nothing before all of it is verified."},
    THREADS,
};

static const struct kl_option rewrap_options[] = {
    {.name = "to-version",
     .argument = "VERSION",
     .help = "The version of the key to wrap under. Without it, the newest."},
    {.name = "key",
     .letter = 'k',
     .argument = "URL",
     .help = "Wrap under this key instead of the one that each file names."},
    {.name = "algorithm",
     .letter = 'a',
     .argument = "WORD",
     .choices = algorithms,
     .help = "How the key wraps the data key. Without it, as the file has it."},
    {.name = "wipe-old",
     .kind = KL_OPTION_FLAG,
     .help = "Overwrite the old wrap once the new one has opened the file."},
    {.name = "verify",
     .kind = KL_OPTION_FLAG,
     .help = "Also open files that say that they are done, and check every new wrap by unwrapping "
             "it (the first 100 are checked without it)."},
};

static const struct kl_command commands[] = {
    {.verb = "encrypt",
     .summary = "encrypt a file or stream under a fresh data key that the service wraps",
     .text =
         "Reads FILE or standard input and writes a container. The data key is made here, wrapped "
         "by the key on the token before anything is read or written, and forgotten at the end.\n"
         "\n"
         "Any stream will do: tar, pg_dump, zfs send. Memory use does not grow with it.",
     .example = "tar c /etc | kluis encrypt --key https://demo.vault.localhost:8443/keys/backup "
                "--out etc.klrc",
     .options = encrypt_options,
     .option_count = KL_COUNT(encrypt_options),
     .positional = "[FILE]",
     .positional_max = 1,
     .remote = true,
     .run = kl_stream_encrypt},
    {.verb = "decrypt",
     .summary = "decrypt a container",
     .text =
         "Needs no key name: the container names the key version that opens it. Only hosts that "
         "KLUIS_URL and KLUIS_VAULT_URL vouch for are asked.\n"
         "\n"
         "Bytes are written only after they verified. On a pipe, what came out before a failure "
         "is an intact beginning, and the exit code says that it is not all; with --out nothing "
         "appears unless all of it is intact.",
     .example = "kluis decrypt etc.klrc | tar x -C /restore\n"
                "kluis decrypt --out etc.tar etc.klrc",
     .options = decrypt_options,
     .option_count = KL_COUNT(decrypt_options),
     .positional = "[FILE]",
     .positional_max = 1,
     .remote = true,
     .run = kl_stream_decrypt},
    {.verb = "inspect",
     .summary = "show what a container says about itself",
     .text =
         "Reads the header and both wrap slots. Needs neither the service nor a key, so it shows "
         "what is written there, not that it is authentic; decrypt proves that.",
     .example = "kluis inspect etc.klrc\n"
                "kluis inspect -o json etc.klrc",
     .positional = "FILE",
     .positional_min = 1,
     .positional_max = 1,
     .lists = true,
     .run = kl_stream_inspect},
    {.verb = "rewrap",
     .summary = "put containers under another version of their key, without touching the data",
     .text =
         "Unwraps each data key with the version that the file names, wraps it under the newest "
         "(or --to-version), and writes that beside the old wrap. The encrypted data stays as it "
         "is, byte for byte. A file that is there already is left alone, so a job that was "
         "interrupted is simply started again.\n"
         "\n"
         "Goes on past files that fail, names each, and ends with exit code 1 if there were any.",
     .example = "kluis key rotate --name backup\n"
                "kluis rewrap /backups/*.klrc\n"
                "# the old version may be disabled now",
     .options = rewrap_options,
     .option_count = KL_COUNT(rewrap_options),
     .positional = "FILE…",
     .positional_min = 1,
     .positional_max = UINT_MAX,
     .lists = true,
     .remote = true,
     .run = kl_stream_rewrap},
};

const struct kl_noun kl_noun_stream = {
    .summary = "encrypted streams and containers",
    .commands = commands,
    .command_count = KL_COUNT(commands),
};
