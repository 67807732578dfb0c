/* kluis-tokend run by hand: what the domain key ceremonies and the trials of a token share. The
 * command line itself loads no module and sees no PIN. Not thread safe. */
#ifndef KL_CLI_TOKEN_HAND_H
#define KL_CLI_TOKEN_HAND_H

#include "base/json.h"
#include "cli/command.h"

#define KL_HAND_WORDS 64

/** A command line under construction; every word malloc'd. */
struct kl_hand {
    char *words[KL_HAND_WORDS + 1];
    size_t count;
};

/** Free the words. */
void kl_hand_done(struct kl_hand *h);
#define KL_AUTO_HAND __attribute__((cleanup(kl_hand_done))) struct kl_hand

/** Begin with the program and its verb (`second` may be NULL). KL_NOT_FOUND without the program. */
enum kl_code kl_hand_begin(struct kl_hand *h, const char *verb, const char *second,
                           struct kl_err *err) KL_MUST_USE;
/** Add a word, and one with its value unless that is NULL or "". */
enum kl_code kl_hand_add(struct kl_hand *h, const char *word, struct kl_err *err) KL_MUST_USE;
enum kl_code kl_hand_option(struct kl_hand *h, const char *option, const char *value,
                            struct kl_err *err) KL_MUST_USE;
/** Add the token: module, URI, PINs and the like, from the options (KL_OPT_HAND_…) or from the
 * first [token …] section of the file that KLUIS_CONFIG names. KL_USAGE names what is missing. */
enum kl_code kl_hand_token(struct kl_cmd *cmd, struct kl_hand *h, bool with_so,
                           struct kl_err *err) KL_MUST_USE;

/** Run it and parse the JSON that it prints (*ret may be NULL when it prints none). KL_EXISTS,
 * KL_CONFLICT, KL_NOT_FOUND, KL_TOKEN_PIN, KL_TOKEN_UNSUPPORTED, KL_TOKEN_READBACK (a trial that
 * found the token unfit; *ret is there), else KL_IO: its own words stand on standard error. */
enum kl_code kl_hand_run(struct kl_hand *h, json_t **ret, struct kl_err *err) KL_MUST_USE;

#define KL_OPT_HAND_TOKEN                                                                          \
    {.name = "pkcs11-module",                                                                      \
     .argument = "FILE",                                                                           \
     .help = "The PKCS#11 module. Without it, that of the first token in the file that "           \
             "KLUIS_CONFIG names, with all else that stands there.",                               \
     .complete = KL_COMPLETE_FILE},                                                                \
        {.name = "pkcs11-uri",                                                                     \
         .argument = "URI",                                                                        \
         .help = "The token, as pkcs11:token=LABEL (RFC 7512). Without it, as above."},            \
        {.name = "pin-file",                                                                       \
         .argument = "FILE",                                                                       \
         .help = "Holds the user PIN. Without it, the pin-source of the configuration, else it "   \
                 "is asked for at the terminal.",                                                  \
         .complete = KL_COMPLETE_FILE},                                                            \
        {.name = "pkcs11-init-args",                                                               \
         .argument = "TEXT",                                                                       \
         .help = "String for C_Initialize, for a module that wants one (NSS)."},                   \
    {                                                                                              \
        .name = "pkcs11-store-dir", .argument = "DIR",                                             \
        .help = "Folder of a software token's store, which is synced.",                            \
        .complete = KL_COMPLETE_FOLDER                                                             \
    }

#endif
