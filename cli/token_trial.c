/* kluis token test, kluis token bench. */
#include "cli/cmd_token.h"
#include "cli/out.h"
#include "cli/token_hand.h"

static const struct kl_column probe_columns[] = {
    {"Probe", "name", KL_COLUMN_TEXT},
    {"Verdict", "verdict", KL_COLUMN_TEXT},
    {"Asked", "asked", KL_COLUMN_TEXT},
    {"Answered", "answered", KL_COLUMN_TEXT},
    {"Means for kluis", "means", KL_COLUMN_TEXT},
};

static const struct kl_column rate_columns[] = {
    {"Workers", "workers", KL_COLUMN_TEXT},   {"PerSecond", "perSecond", KL_COLUMN_TEXT},
    {"P50Ms", "p50Ms", KL_COLUMN_TEXT},       {"P99Ms", "p99Ms", KL_COLUMN_TEXT},
    {"Failures", "failures", KL_COLUMN_TEXT},
};

/* JSON whole; for people the rows, and the verdict in a sentence. */
static enum kl_code show(struct kl_cmd *cmd, const json_t *report, const char *rows,
                         const struct kl_column *columns, size_t count, struct kl_err *err)
{
    if (kl_cmd_format(cmd) == KL_FORMAT_JSON)
        return kl_out_show(cmd, report, columns, count, err);
    return kl_out_list(cmd, json_object_get(report, rows), columns, count, err);
}

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));

    return text != NULL ? text : "";
}

enum kl_code kl_token_test(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) report = NULL;
    struct kl_err why = {.code = KL_OK};
    enum kl_code code = kl_hand_begin(&hand, "test", NULL, err);

    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, false, err);
    if (code != KL_OK)
        return code;
    enum kl_code verdict = kl_hand_run(&hand, &report, &why);

    if (report == NULL) {
        *err = why;
        return verdict;
    }
    code = show(cmd, report, "probes", probe_columns, KL_COUNT(probe_columns), err);
    if (code != KL_OK)
        return code;
    kl_cmd_say("Verdict: %s (%lld ok, %lld limits, %lld unfit).", text_of(report, "verdict"),
               (long long)json_integer_value(json_object_get(report, "ok")),
               (long long)json_integer_value(json_object_get(report, "limits")),
               (long long)json_integer_value(json_object_get(report, "unfit")));
    if (verdict != KL_OK)
        *err = why;
    return verdict;
}

enum kl_code kl_token_bench(struct kl_cmd *cmd, struct kl_err *err)
{
    KL_AUTO_HAND hand = {.count = 0};
    KL_AUTO(json) report = NULL;
    int64_t seconds = 2, workers = 16, size = 2048;
    enum kl_code code = kl_cmd_int(cmd, "seconds", 1, 600, &seconds, err);

    if (code == KL_OK)
        code = kl_cmd_int(cmd, "workers", 1, 256, &workers, err);
    if (code == KL_OK)
        code = kl_cmd_int(cmd, "size", 2048, 4096, &size, err);
    if (code == KL_OK)
        code = kl_hand_begin(&hand, "bench", NULL, err);
    if (code == KL_OK)
        code = kl_hand_token(cmd, &hand, false, err);
    if (code == KL_OK)
        code = kl_hand_option(&hand, "--seconds", kl_cmd_value(cmd, "seconds"), err);
    if (code == KL_OK)
        code = kl_hand_option(&hand, "--workers", kl_cmd_value(cmd, "workers"), err);
    if (code == KL_OK)
        code = kl_hand_option(&hand, "--size", kl_cmd_value(cmd, "size"), err);
    if (code == KL_OK)
        code = kl_hand_run(&hand, &report, err);
    if (code == KL_OK)
        code = show(cmd, report, "rows", rate_columns, KL_COUNT(rate_columns), err);
    if (code == KL_OK)
        kl_cmd_say("%s, %lld bits. Recommended: %s.", text_of(report, "algorithm"),
                   (long long)json_integer_value(json_object_get(report, "bits")),
                   text_of(report, "reason"));
    return code;
}

const struct kl_option kl_token_test_options[KL_TOKEN_TEST_OPTIONS] = {KL_OPT_HAND_TOKEN};

const struct kl_option kl_token_bench_options[KL_TOKEN_BENCH_OPTIONS] = {
    KL_OPT_HAND_TOKEN,
    {.name = "seconds", .argument = "N", .help = "Seconds for each row, 2 unless given."},
    {.name = "workers",
     .argument = "N",
     .help = "The most threads to try, 16 unless given: rows are 1, 2, 4 … up to it."},
    {.name = "size", .argument = "BITS", .help = "Size of the RSA key, 2048 unless given."},
};
