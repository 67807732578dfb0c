#include "tests/fault/fault.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PIN_TRIES 3

static void pause_ms(uint64_t ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0)
        ;
}

/* The part of what came out that carries meaning: of several attributes the longest. NULL = none.
 */
static uint8_t *output(struct fault_call *c, CK_ULONG **ret_len)
{
    CK_ATTRIBUTE *longest = NULL;
    for (CK_ULONG i = 0; i < c->attr_count; i++) {
        CK_ATTRIBUTE *a = &c->attrs[i];
        if (a->pValue != NULL && a->ulValueLen != CK_UNAVAILABLE_INFORMATION &&
            (longest == NULL || a->ulValueLen > longest->ulValueLen))
            longest = a;
    }
    *ret_len = longest != NULL ? &longest->ulValueLen : c->out_len;
    return longest != NULL ? longest->pValue : c->out_len != NULL ? c->out : NULL;
}

static size_t output_bytes(struct fault_call *c, uint8_t **ret)
{
    CK_ULONG *len;
    *ret = output(c, &len);
    if (*ret == NULL || c->rv != CKR_OK)
        return 0;
    return *len * (c->attr_count > 0 || c->unit == 0 ? 1 : c->unit);
}

static bool before_return(struct fault_call *c, const struct fault_rule *r)
{
    c->rv = r->number;
    return false;
}

static void after_return(struct fault_call *c, const struct fault_rule *r)
{
    c->rv = r->number;
}

static bool before_sleep(struct fault_call *c, const struct fault_rule *r)
{
    (void)c;
    pause_ms(r->number);
    return true;
}

static bool before_hang(struct fault_call *c, const struct fault_rule *r)
{
    (void)c, (void)r;
    while (pause() != 0)
        ;
    return true;
}

static bool before_abort(struct fault_call *c, const struct fault_rule *r)
{
    (void)c, (void)r;
    abort();
}

static bool before_exit(struct fault_call *c, const struct fault_rule *r)
{
    (void)c;
    _exit((int)r->number);
}

static bool before_drop_sessions(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    fault_track_close_all();
    c->rv = CKR_SESSION_HANDLE_INVALID;
    return false;
}

static bool before_logout(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    (void)fault_real->C_Logout(c->session != 0 ? c->session : fault_track_session());
    return true;
}

/* What the token itself must do: setting up an operation is not among it. */
static bool before_delay(struct fault_call *c, const struct fault_rule *r)
{
    static const enum fault_fn on_device[] = {
        FAULT_C_Login,         FAULT_C_CreateObject, FAULT_C_DestroyObject,   FAULT_C_Encrypt,
        FAULT_C_EncryptFinal,  FAULT_C_Decrypt,      FAULT_C_DecryptFinal,    FAULT_C_Sign,
        FAULT_C_SignFinal,     FAULT_C_SignRecover,  FAULT_C_Verify,          FAULT_C_VerifyFinal,
        FAULT_C_VerifyRecover, FAULT_C_GenerateKey,  FAULT_C_GenerateKeyPair, FAULT_C_WrapKey,
        FAULT_C_UnwrapKey,     FAULT_C_DeriveKey,    FAULT_C_GenerateRandom};
    for (size_t i = 0; i < FAULT_COUNT(on_device); i++)
        if (on_device[i] == c->fn)
            pause_ms(r->number);
    return true;
}

static void after_shorten(struct fault_call *c, const struct fault_rule *r)
{
    CK_ULONG *len;
    if (output(c, &len) != NULL && c->rv == CKR_OK)
        *len -= r->number < *len ? r->number : *len;
}

static void after_wrong_length(struct fault_call *c, const struct fault_rule *r)
{
    CK_ULONG *len;
    (void)output(c, &len);
    if (len != NULL && c->rv == CKR_OK)
        *len = r->number;
}

static void after_flip(struct fault_call *c, const struct fault_rule *r)
{
    uint8_t *bytes;
    size_t n = output_bytes(c, &bytes);
    if (n > 0)
        bytes[r->number / 8 % n] ^= (uint8_t)(1u << r->number % 8);
}

static void after_strip_zeros(struct fault_call *c, const struct fault_rule *r)
{
    CK_ULONG *len;
    (void)r;
    uint8_t *bytes = output(c, &len);
    if (bytes == NULL || c->rv != CKR_OK || (c->attr_count == 0 && c->unit != 1))
        return;
    CK_ULONG zeros = 0;
    while (zeros < *len && bytes[zeros] == 0)
        zeros++;
    *len -= zeros;
    memmove(bytes, bytes + zeros, *len);
}

static void after_garbage(struct fault_call *c, const struct fault_rule *r)
{
    uint8_t *bytes;
    size_t n = output_bytes(c, &bytes);
    uint64_t x = 0x9e3779b97f4a7c15u + atomic_load(&r->seen);
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        bytes[i] = (uint8_t)(x >> 24);
    }
}

static bool before_permute(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->object != NULL)
        *c->object = fault_track_other(c->session, *c->object);
    return true;
}

static void after_permute(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    CK_OBJECT_HANDLE *list = c->out;
    for (CK_ULONG i = 0; c->fn == FAULT_C_FindObjects && c->rv == CKR_OK && i < *c->out_len / 2;
         i++) {
        CK_OBJECT_HANDLE swap = list[i];
        list[i] = list[*c->out_len - 1 - i];
        list[*c->out_len - 1 - i] = swap;
    }
}

static void after_find_nothing(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->fn != FAULT_C_FindObjects || c->rv != CKR_OK)
        return;
    memset(c->out, 0, *c->out_len * sizeof(CK_OBJECT_HANDLE));
    *c->out_len = 0;
}

static void after_find_endless(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    CK_OBJECT_HANDLE *list = c->out;
    if (c->fn != FAULT_C_FindObjects || c->rv != CKR_OK)
        return;
    for (; *c->out_len < c->room; ++*c->out_len)
        list[*c->out_len] = fault_track_found();
}

static void after_find_duplicates(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    CK_OBJECT_HANDLE *list = c->out;
    if (c->fn != FAULT_C_FindObjects || c->rv != CKR_OK)
        return;
    CK_ULONG n = *c->out_len, more = n < c->room - n ? n : c->room - n;
    memcpy(list + n, list, more * sizeof *list);
    *c->out_len = n + more;
}

static bool before_lose(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->made[0] == NULL)
        fault_track_lose(c->session != 0 ? c->session : fault_track_session());
    return true;
}

static void after_lose(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->made[0] != NULL && c->rv == CKR_OK)
        fault_track_lose(c->session);
}

static bool before_hide(struct fault_call *c, const struct fault_rule *r)
{
    bool asks = c->fn == FAULT_C_GetMechanismInfo && c->asked == r->number;
    if (!asks && (c->mechanism == NULL || c->mechanism->mechanism != r->number))
        return true;
    c->rv = CKR_MECHANISM_INVALID;
    return false;
}

static void after_hide(struct fault_call *c, const struct fault_rule *r)
{
    CK_MECHANISM_TYPE *list = c->out;
    CK_ULONG kept = 0;
    if (c->fn != FAULT_C_GetMechanismList || c->rv != CKR_OK || list == NULL)
        return;
    for (CK_ULONG i = 0; i < *c->out_len; i++)
        if (list[i] != r->number)
            list[kept++] = list[i];
    *c->out_len = kept;
}

static void after_lie(struct fault_call *c, const struct fault_rule *r)
{
    if (c->fn == FAULT_C_GetMechanismInfo && c->asked == r->number) {
        *(CK_MECHANISM_INFO *)c->out = (CK_MECHANISM_INFO){
            .ulMinKeySize = 1, .ulMaxKeySize = 16384, .flags = CKF_HW | 0x7ff00};
        c->rv = CKR_OK;
    }
    if (c->fn != FAULT_C_GetMechanismList || c->rv != CKR_OK)
        return;
    CK_MECHANISM_TYPE *list = c->out;
    if (list != NULL && *c->out_len == c->room)
        c->rv = CKR_BUFFER_TOO_SMALL;
    else if (list != NULL)
        list[*c->out_len] = r->number;
    ++*c->out_len;
}

static bool before_slot_id(struct fault_call *c, const struct fault_rule *r)
{
    if (c->slot == NULL)
        return true;
    CK_SLOT_ID real = fault_track_slot();
    if (*c->slot == r->number) {
        *c->slot = real;
        return true;
    }
    c->rv = CKR_SLOT_ID_INVALID;
    return *c->slot != real;
}

static void after_slot_id(struct fault_call *c, const struct fault_rule *r)
{
    CK_SLOT_ID *list = c->out;
    if (c->fn != FAULT_C_GetSlotList || c->rv != CKR_OK || list == NULL)
        return;
    CK_SLOT_ID real = fault_track_slot();
    for (CK_ULONG i = 0; i < *c->out_len; i++)
        if (list[i] == real)
            list[i] = r->number;
}

static void put_padded(unsigned char *field, size_t n, const char *text)
{
    size_t len = strlen(text);
    memset(field, ' ', n);
    memcpy(field, text, len < n ? len : n);
}

static CK_TOKEN_INFO *token_info(struct fault_call *c)
{
    bool whole = c->fn == FAULT_C_GetTokenInfo && c->rv == CKR_OK;
    CK_TOKEN_INFO *info = whole ? c->out : NULL;
    return info != NULL && (info->flags & CKF_TOKEN_INITIALIZED) != 0 ? info : NULL;
}

static void after_serial(struct fault_call *c, const struct fault_rule *r)
{
    CK_TOKEN_INFO *info = token_info(c);
    if (info != NULL)
        put_padded(info->serialNumber, sizeof info->serialNumber, r->text);
}

static void after_label(struct fault_call *c, const struct fault_rule *r)
{
    CK_TOKEN_INFO *info = token_info(c);
    if (info != NULL)
        put_padded(info->label, sizeof info->label, r->text);
}

static bool before_pin_count(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->fn != FAULT_C_Login || c->asked != CKU_USER)
        return true;
    size_t n = strlen(c->script->pin);
    if (fault_wrong_pins() >= PIN_TRIES) {
        c->rv = CKR_PIN_LOCKED;
        return false;
    }
    if (n == 0 || (c->pin != NULL && c->pin_len == n && memcmp(c->pin, c->script->pin, n) == 0))
        return true;
    fault_set_wrong_pins(fault_wrong_pins() + 1);
    c->rv = CKR_PIN_INCORRECT;
    return false;
}

static void after_pin_count(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    CK_TOKEN_INFO *info = token_info(c);
    uint32_t wrong = fault_wrong_pins();
    if (c->fn == FAULT_C_Login && c->asked == CKU_USER && c->rv == CKR_OK)
        fault_set_wrong_pins(0);
    else if (c->fn == FAULT_C_Login && c->rv == CKR_PIN_INCORRECT && c->script->pin[0] == 0)
        fault_set_wrong_pins(wrong + 1);
    if (info == NULL)
        return;
    info->flags &=
        ~(CK_FLAGS)(CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
    if (wrong > 0)
        info->flags |= CKF_USER_PIN_COUNT_LOW;
    if (wrong == PIN_TRIES - 1)
        info->flags |= CKF_USER_PIN_FINAL_TRY;
    if (wrong >= PIN_TRIES)
        info->flags |= CKF_USER_PIN_LOCKED;
}

static bool before_max_sessions(struct fault_call *c, const struct fault_rule *r)
{
    c->rv = CKR_SESSION_COUNT;
    return c->fn != FAULT_C_OpenSession || fault_track_sessions() < r->number;
}

static void after_max_sessions(struct fault_call *c, const struct fault_rule *r)
{
    CK_TOKEN_INFO *info = token_info(c);
    if (info != NULL)
        info->ulMaxSessionCount = info->ulMaxRwSessionCount = r->number;
}

static bool before_alone(struct fault_call *c, const struct fault_rule *r)
{
    (void)c;
    if (atomic_fetch_add(&((struct fault_rule *)r)->inside, 1) > 0)
        abort();
    return true;
}

static void after_alone(struct fault_call *c, const struct fault_rule *r)
{
    (void)c;
    (void)atomic_fetch_sub(&((struct fault_rule *)r)->inside, 1);
}

/* Luna: no source of the label but CKZ_DATA_SPECIFIED; openCryptoki: no pointer to an empty one. */
static bool before_strict_oaep(struct fault_call *c, const struct fault_rule *r)
{
    (void)r;
    if (c->mechanism == NULL || c->mechanism->mechanism != CKM_RSA_PKCS_OAEP)
        return true;
    const CK_RSA_PKCS_OAEP_PARAMS *p = c->mechanism->pParameter;
    c->rv = CKR_MECHANISM_PARAM_INVALID;
    return c->mechanism->ulParameterLen == sizeof *p && p->source == CKZ_DATA_SPECIFIED &&
           p->pSourceData == NULL && p->ulSourceDataLen == 0;
}

static const struct fault_action actions[] = {
    {"return", FAULT_RV, before_return, NULL},
    {"return-after", FAULT_RV, NULL, after_return},
    {"sleep", FAULT_NUMBER, before_sleep, NULL},
    {"hang", FAULT_NONE, before_hang, NULL},
    {"abort", FAULT_NONE, before_abort, NULL},
    {"exit", FAULT_NUMBER, before_exit, NULL},
    {"drop-sessions", FAULT_NONE, before_drop_sessions, NULL},
    {"logout", FAULT_NONE, before_logout, NULL},
    {"delay-all", FAULT_NUMBER, before_delay, NULL},
    {"shorten", FAULT_NUMBER, NULL, after_shorten},
    {"wrong-length", FAULT_NUMBER, NULL, after_wrong_length},
    {"flip", FAULT_NUMBER, NULL, after_flip},
    {"strip-zeros", FAULT_NONE, NULL, after_strip_zeros},
    {"garbage", FAULT_NONE, NULL, after_garbage},
    {"permute-handles", FAULT_NONE, before_permute, after_permute},
    {"find-nothing", FAULT_NONE, NULL, after_find_nothing},
    {"find-endless", FAULT_NONE, NULL, after_find_endless},
    {"find-duplicates", FAULT_NONE, NULL, after_find_duplicates},
    {"alone", FAULT_NONE, before_alone, after_alone},
    {"strict-oaep", FAULT_NONE, before_strict_oaep, NULL},
    {"lose-object", FAULT_NONE, before_lose, after_lose},
    {"hide-mechanism", FAULT_MECHANISM, before_hide, after_hide},
    {"lie-mechanism", FAULT_MECHANISM, NULL, after_lie},
    {"slot-id", FAULT_NUMBER, before_slot_id, after_slot_id},
    {"serial", FAULT_TEXT, NULL, after_serial},
    {"label", FAULT_TEXT, NULL, after_label},
    {"pin-count", FAULT_NONE, before_pin_count, after_pin_count},
    {"max-sessions", FAULT_NUMBER, before_max_sessions, after_max_sessions},
    {"replay", FAULT_NONE, NULL, NULL},       /* replay.c */
    {"no-interface", FAULT_NONE, NULL, NULL}, /* module.c */
};

const struct fault_action *fault_action_find(const char *name)
{
    for (size_t i = 0; i < FAULT_COUNT(actions); i++)
        if (strcmp(actions[i].name, name) == 0)
            return &actions[i];
    return NULL;
}

static bool is_due(const struct fault_rule *r, uint64_t number)
{
    if (number < r->first)
        return false;
    return r->every > 0 ? number % r->every == 0 : number <= r->last;
}

static void match(struct fault_call *c, struct fault_script *s)
{
    uint64_t own, total;
    fault_count(c->fn, &own, &total);
    for (size_t i = 0; i < s->count; i++) {
        struct fault_rule *r = &s->rules[i];
        if ((r->fn != FAULT_ANY && r->fn != c->fn) || (r->past && !s->younger))
            continue;
        uint64_t number = atomic_fetch_add(&r->seen, 1) + 1;
        if (r->global)
            number = r->fn == FAULT_ANY ? total : own;
        if (is_due(r, number) && c->hit_count < FAULT_COUNT(c->hits))
            c->hits[c->hit_count++] = r;
    }
}

bool fault_begin(struct fault_call *c)
{
    struct fault_script *s = fault_script_now();
    c->script = s;
    match(c, s);
    if (s->broken) {
        c->rv = CKR_VENDOR_DEFINED;
        return false;
    }
    for (size_t i = 0; i < c->hit_count; i++)
        if (c->hits[i]->action->before != NULL && !c->hits[i]->action->before(c, c->hits[i]))
            return false;
    return true;
}

CK_RV fault_end(struct fault_call *c)
{
    for (size_t i = 0; i < c->hit_count; i++)
        if (c->hits[i]->action->after != NULL)
            c->hits[i]->action->after(c, c->hits[i]);
    return c->rv;
}
