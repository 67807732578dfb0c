/* kluis principal credential: what a principal logs in with. */
#include "cli/client_secret.h"
#include "cli/options.h"
#include "cli/out.h"
#include "cli/principal.h"
#include "cli/target.h"
#include "cli/value.h"

#include <string.h>
#include <time.h>

static const struct kl_column columns[] = {
    {"Id", "id", KL_COLUMN_TEXT},
    {"Type", "type", KL_COLUMN_TEXT},
    {"Name", "name", KL_COLUMN_TEXT},
    {"Created", "created", KL_COLUMN_TIME},
    {"Expires", "expires", KL_COLUMN_TIME},
    {"Subject", "subject", KL_COLUMN_TEXT},
    {"Thumbprint", "thumbprint", KL_COLUMN_TEXT},
};

static enum kl_code url_of(struct kl_cmd *cmd, char **ret, struct kl_err *err)
{
    char id[KL_UUID_LEN + 1];
    enum kl_code code = kl_principal_find(cmd, kl_cmd_value(cmd, "principal"), NULL, id, err);

    return code == KL_OK ? kl_target_format(ret, err, "/kluis/v1/principals/%s/credentials", id)
                         : code;
}

static enum kl_code run_list(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) list = NULL;
    enum kl_code code = url_of(cmd, &url, err);

    if (code == KL_OK)
        code = kl_target_list(cmd, url, &list, err);
    return code == KL_OK ? kl_out_list(cmd, list, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_remove(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *id = kl_cmd_value(cmd, "id");
    KL_AUTO(char) url = NULL;
    KL_AUTO(char) whole = NULL;
    KL_AUTO(json) nothing = NULL;
    enum kl_code code =
        id != NULL && kl_uuid_valid(id)
            ? url_of(cmd, &url, err)
            : kl_fail(err, KL_USAGE, NULL, "--id is missing: 'credential list' shows the ids");

    if (code == KL_OK)
        code = kl_target_format(&whole, err, "%s/%s", url, id);
    if (code == KL_OK)
        code = kl_target_call(cmd, "DELETE", whole, NULL, &nothing, err);
    if (code == KL_OK)
        kl_cmd_say("Removed.");
    return code;
}

/* The certificate of a file that may hold a private key too: only what lies between the lines of
 * the certificate leaves this machine. */
static enum kl_code put_certificate(json_t *body, const char *path, struct kl_err *err)
{
    static const char first[] = "-----BEGIN CERTIFICATE-----", last[] = "-----END CERTIFICATE-----";
    KL_AUTO(secret) file = NULL;
    enum kl_code code = kl_value_read(path, &file, err);
    const char *text = code == KL_OK ? (const char *)kl_secret_bytes(file) : "";
    const char *begin = strstr(text, first);
    const char *end = begin != NULL ? strstr(begin, last) : NULL;

    if (code == KL_OK && end == NULL)
        code = kl_fail(err, KL_BAD_INPUT, NULL, "%s holds no PEM certificate", path);
    if (code != KL_OK)
        return code;
    (void)json_object_set_new(body, "value",
                              json_stringn(begin, (size_t)(end + strlen(last) - begin)));
    return kl_value_put_text(body, "type", "certificate", err);
}

static enum kl_code put_proof(struct kl_cmd *cmd, json_t *body, bool *ret_given, struct kl_err *err)
{
    const char *certificate = kl_cmd_value(cmd, "certificate");
    const char *subject = kl_cmd_value(cmd, "subject");

    *ret_given = certificate != NULL || subject != NULL;
    if (certificate != NULL && subject != NULL)
        return kl_fail(err, KL_USAGE, NULL, "one of --certificate and --subject, not both");
    if (certificate != NULL)
        return put_certificate(body, certificate, err);
    if (subject == NULL)
        return KL_OK;
    enum kl_code code = kl_value_put_text(body, "value", subject, err);
    return code == KL_OK ? kl_value_put_text(body, "type", "subject", err) : code;
}

/* --overlap is said as --expires is: "24h", or "+24h". */
static enum kl_code put_overlap(struct kl_cmd *cmd, json_t *body, struct kl_err *err)
{
    const char *text = kl_cmd_value(cmd, "overlap");
    char relative[64];
    int64_t until = 0, now = (int64_t)time(NULL);
    enum kl_code code;

    (void)snprintf(relative, sizeof(relative), "%s%s", text != NULL && text[0] == '+' ? "" : "+",
                   text != NULL ? text : "0m");
    code = kl_value_time("overlap", relative, &until, err);
    if (code == KL_OK)
        (void)json_object_set_new(body, "overlap", json_integer(until > now ? until - now : 0));
    return code;
}

static enum kl_code add(struct kl_cmd *cmd, json_t *body, bool secret, struct kl_err *err)
{
    struct kl_client_secret kept = {.fd = -1};
    KL_AUTO(char) url = NULL;
    KL_AUTO(json) answer = NULL;
    enum kl_code code = url_of(cmd, &url, err);

    if (code != KL_OK)
        return code;
    if (secret)
        code = kl_client_secret_begin(cmd, &kept, err);
    if (code != KL_OK)
        return code;
    code = kl_target_call(cmd, "POST", url, body, &answer, err);
    if (secret)
        code = kl_client_secret_end(&kept, code, answer, err);
    return code == KL_OK ? kl_out_show(cmd, answer, columns, KL_COUNT(columns), err) : code;
}

static enum kl_code run_add(struct kl_cmd *cmd, bool reset, struct kl_err *err)
{
    KL_AUTO(json) body = json_object();
    const char *name = kl_cmd_value(cmd, "name");
    bool proof = false;
    enum kl_code code = put_proof(cmd, body, &proof, err);

    if (code == KL_OK && reset && proof)
        code = kl_fail(err, KL_USAGE, NULL, "reset makes a secret; use add for the others");
    if (code == KL_OK && !reset && kl_cmd_value(cmd, "overlap") != NULL)
        code = kl_fail(err, KL_USAGE, NULL, "--overlap belongs to reset");
    if (code == KL_OK && name != NULL)
        code = kl_value_put_text(body, "name", name, err);
    if (code == KL_OK)
        code = kl_value_put_time(cmd, "expires", "expires", body, err);
    if (code == KL_OK && reset)
        code = put_overlap(cmd, body, err);
    return code == KL_OK ? add(cmd, body, !proof, err) : code;
}

enum kl_code kl_credential_run(struct kl_cmd *cmd, struct kl_err *err)
{
    const char *const *words;

    (void)kl_cmd_positionals(cmd, &words);
    if (strcmp(words[0], "list") == 0)
        return run_list(cmd, err);
    if (strcmp(words[0], "remove") == 0)
        return run_remove(cmd, err);
    if (strcmp(words[0], "add") == 0 || strcmp(words[0], "reset") == 0)
        return run_add(cmd, words[0][0] == 'r', err);
    return kl_fail(err, KL_USAGE, NULL, "'%.40s' is none of add, list, remove and reset", words[0]);
}

const struct kl_option kl_credential_options[] = {
    {.name = "principal",
     .argument = "NAME-OR-ID",
     .required = true,
     .help = "Whose: its name, client id or object id."},
    {.name = "name", .letter = 'n', .argument = "TEXT", .help = "A word for people."},
    {.name = "expires",
     .argument = "TIME",
     .help = "When it ends: 2027-12-31, or +90d from now. A certificate ends with itself at the "
             "latest."},
    {.name = "overlap",
     .argument = "TIME",
     .help = "With reset: how long the older secrets stay good (24h, 7d). Without it they end at "
             "once."},
    {.name = "certificate",
     .argument = "FILE",
     .help = "With add: a PEM certificate. Its private key stays where it is.",
     .complete = KL_COMPLETE_FILE},
    {.name = "subject",
     .argument = "NAME",
     .help = "With add: dns:NAME, uri:URI or ip:ADDRESS, as in the subject alternative names of a "
             "TLS client certificate."},
    {.name = "id", .argument = "ID", .help = "With remove: which one."},
    KL_OPT_CLIENT_SECRET,
};
_Static_assert(KL_COUNT(kl_credential_options) == KL_CREDENTIAL_OPTIONS,
               "the header says how many");
