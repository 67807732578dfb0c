#include "keyvault/limit.h"

#include "base/clock.h"

#include <stdatomic.h>
#include <string.h>

#define AT(member) offsetof(struct kl_limit_config, member)
#define PERIOD_US  INT64_C(10000000)
#define SETS       1024
#define WAYS       8

static enum kl_code check_profile(const void *value, struct kl_err *err)
{
    static const char *const words[] = {"off", "azure", "custom"};
    for (size_t i = 0; i < KL_COUNT(words); i++)
        if (strcmp(*(char *const *)value, words[i]) == 0)
            return KL_OK;
    return kl_fail(err, KL_CONFIG, "profile", "profile is one of off, azure, custom");
}

#define BUDGET(key_, member, preset_, help_)                                                       \
    {                                                                                              \
        .key = (key_), .type = KL_CONF_INT, .offset = AT(member), .min = 1, .max = 100000000,      \
        .preset = (preset_), .help = (help_)                                                       \
    }

static const struct kl_conf_row rows[] = {
    {.key = "profile",
     .type = KL_CONF_TEXT,
     .offset = AT(profile),
     .preset = "azure",
     .check = check_profile,
     .help = "azure: Key Vault's own service limits, whatever the figures below say. custom: the "
             "figures below. off: no limits; 'kluis dev up' says so, since tests and benchmarks "
             "load a site as hard as they can."},
    BUDGET("key-operations", key_operations, "4000",
           "Operations with keys in one vault in ten seconds, in units: RSA-2048 and curves 1, "
           "RSA-3072 4, RSA-4096 8, and twice that for RSA-HSM and EC-HSM."),
    BUDGET("key-creations", key_creations, "20",
           "Keys made, imported or rotated in one vault in ten seconds; RSA-HSM and EC-HSM count "
           "twice."),
    BUDGET("secret-creations", secret_creations, "300",
           "Secrets set and certificates made in one vault in ten seconds."),
    BUDGET("requests", requests, "4000", "All other requests to one vault in ten seconds."),
    {.key = "caller-percent",
     .type = KL_CONF_INT,
     .offset = AT(caller_percent),
     .min = 1,
     .max = 100,
     .preset = "100",
     .help = "How much of a vault's budget one caller may take, in percent."},
    {.key = "subscription-percent",
     .type = KL_CONF_INT,
     .offset = AT(subscription_percent),
     .min = 100,
     .max = 100000,
     .preset = "500",
     .help = "What all vaults of one subscription may take together, in percent of one vault's "
             "budget."},
};

const struct kl_conf_section *kl_limit_conf_section(void)
{
    static const struct kl_conf_section section = {
        .kind = "limits",
        .size = sizeof(struct kl_limit_config),
        .rows = rows,
        .row_count = KL_COUNT(rows),
        .help =
            "How much a vault and a caller may ask for; more is answered 429 with Retry-After."};
    return &section;
}

enum class { KEY_OPERATION, KEY_CREATION, SECRET_CREATION, REQUEST, CLASSES };

/* Who is charged: a vault, a caller in it, a subscription. */
struct slot {
    atomic_uint_fast64_t key;   /* 0 = never used */
    atomic_int_fast64_t tat_us; /* when what was let through so far would have been spread out */
};

struct kl_limits {
    bool on;
    int64_t budget[CLASSES], caller_percent, subscription_percent;
    uint64_t salt;
    struct slot slots[SETS][WAYS];
};

enum kl_code kl_limits_new(const struct kl_limit_config *config, struct kl_limits **ret,
                           struct kl_err *err)
{
    static const int64_t azure[CLASSES] = {4000, 20, 300, 4000};
    struct kl_limits *l = calloc(1, sizeof *l);
    if (l == NULL)
        return kl_fail(err, KL_NO_MEMORY, "limits", "out of memory");
    bool custom = strcmp(config->profile, "custom") == 0;
    const int64_t own[CLASSES] = {config->key_operations, config->key_creations,
                                  config->secret_creations, config->requests};
    l->on = strcmp(config->profile, "off") != 0;
    memcpy(l->budget, custom ? own : azure, sizeof l->budget);
    l->caller_percent = custom ? config->caller_percent : 100;
    l->subscription_percent = custom ? config->subscription_percent : 500;
    kl_random(&l->salt, sizeof l->salt);
    *ret = l;
    return KL_OK;
}

void kl_limits_free(struct kl_limits *l)
{
    free(l);
}

static uint64_t mix(uint64_t h, const char *text)
{
    for (; *text != 0; text++)
        h = (h ^ (unsigned char)*text) * UINT64_C(1099511628211);
    h ^= h >> 29;
    return h * UINT64_C(0x9e3779b97f4a7c15);
}

/* Entries in use stay; where all of a set are, two keys share one: stricter for both, never
 * looser, and the table does not grow. */
static struct slot *slot_of(struct kl_limits *l, uint64_t key, int64_t now_us)
{
    struct slot *set = l->slots[(key >> 8) % SETS];
    key |= 1;
    for (size_t i = 0; i < WAYS; i++)
        if (atomic_load_explicit(&set[i].key, memory_order_relaxed) == key)
            return &set[i];
    for (size_t i = 0; i < WAYS; i++) {
        uint_fast64_t old = atomic_load_explicit(&set[i].key, memory_order_relaxed);
        if (atomic_load_explicit(&set[i].tat_us, memory_order_relaxed) <= now_us &&
            atomic_compare_exchange_strong(&set[i].key, &old, key))
            return &set[i];
    }
    return &set[key % WAYS];
}

/* 0 = let through, else microseconds to wait. A full period's budget may come at once. */
static int64_t charge(struct slot *slot, int64_t units, int64_t budget, int64_t now_us)
{
    int64_t cost = units * PERIOD_US / budget;
    int_fast64_t old = atomic_load_explicit(&slot->tat_us, memory_order_relaxed);
    for (;;) {
        int64_t after = (old > now_us ? old : now_us) + cost;
        if (after - now_us > PERIOD_US && old > now_us)
            return after - now_us - PERIOD_US;
        if (atomic_compare_exchange_weak_explicit(&slot->tat_us, &old, after, memory_order_relaxed,
                                                  memory_order_relaxed))
            return 0;
    }
}

static void give_back(struct slot *slot, int64_t units, int64_t budget)
{
    (void)atomic_fetch_sub_explicit(&slot->tat_us, units * PERIOD_US / budget,
                                    memory_order_relaxed);
}

static enum kl_code throttled(int64_t wait_us, int64_t *ret_wait_ms, struct kl_err *err)
{
    *ret_wait_ms = wait_us / 1000 + 1;
    return kl_fail(err, KL_THROTTLED, "limits",
                   "over the limit of its vault, caller or "
                   "subscription");
}

/* The caller first: one that is over its share takes nothing from the others. */
static enum kl_code charge_all(struct kl_limits *l, const struct kl_op *op, enum class class,
                               int64_t units, int64_t *ret_wait_ms, struct kl_err *err)
{
    int64_t now_us = kl_clock_mono_ms() * 1000, wait_us = 0;
    const uint64_t seed = l->salt + (uint64_t) class;
    const uint64_t vault = mix(seed, op->vault->id);
    const int64_t budget = l->budget[class];
    const struct {
        uint64_t key;
        int64_t budget;
    } rungs[] = {{mix(vault, op->caller.who.object_id), budget * l->caller_percent / 100 + 1},
                 {vault, budget},
                 {mix(~seed, op->vault->subscription), budget * l->subscription_percent / 100}};
    struct slot *paid[KL_COUNT(rungs)];
    size_t first = l->caller_percent < 100 ? 0 : 1;
    for (size_t i = first; i < KL_COUNT(rungs); i++) {
        paid[i] = slot_of(l, rungs[i].key, now_us);
        wait_us = charge(paid[i], units, rungs[i].budget, now_us);
        while (wait_us > 0 && i-- > first)
            give_back(paid[i], units, rungs[i].budget);
        if (wait_us > 0)
            return throttled(wait_us, ret_wait_ms, err);
    }
    return KL_OK;
}

static enum class class_of(enum kl_permission p) {
    switch (p){
        case KL_MAY_KEY_CREATE : case KL_MAY_KEY_IMPORT : case
        KL_MAY_KEY_ROTATE : return KEY_CREATION;
        case KL_MAY_KEY_ENCRYPT : case KL_MAY_KEY_DECRYPT : case KL_MAY_KEY_WRAP : case
        KL_MAY_KEY_UNWRAP : case KL_MAY_KEY_SIGN : case KL_MAY_KEY_VERIFY : return KEY_OPERATION;
        case KL_MAY_SECRET_SET : case KL_MAY_CERTIFICATE_CREATE : case
        KL_MAY_CERTIFICATE_IMPORT : return SECRET_CREATION;
        default : return REQUEST;
    }
}

enum kl_code kl_limit_request(struct kl_limits *l, const struct kl_op *op, int64_t *ret_wait_ms,
                              struct kl_err *err)
{
    if (!l->on || op->vault == NULL || op->route->scope != KL_SCOPE_HOST)
        return KL_OK;
    enum class class = class_of(op->route->permission);
    return class == KEY_OPERATION ? KL_OK : charge_all(l, op, class, 1, ret_wait_ms, err);
}

static int64_t weight_of(const struct kl_key_version *key)
{
    int64_t units = 1;
    if (key->type == KL_KEY_RSA && key->bits > 2048)
        units = key->bits > 3072 ? 8 : 4;
    return key->hsm ? 2 * units : units;
}

enum kl_code kl_limit_key(struct kl_limits *l, const struct kl_op *op, int64_t *ret_wait_ms,
                          struct kl_err *err)
{
    if (!l->on)
        return KL_OK;
    return charge_all(l, op, KEY_OPERATION, weight_of(op->key), ret_wait_ms, err);
}
