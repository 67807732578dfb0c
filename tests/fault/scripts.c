#include "tests/fault/scripts.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

uint64_t chance_below(struct chance *c, uint64_t limit)
{
    uint64_t x = c->state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (x ^ x >> 31) % limit;
}

static const char *const functions[] = {"C_OpenSession",
                                        "C_CloseSession",
                                        "C_GetSessionInfo",
                                        "C_GetAttributeValue",
                                        "C_FindObjectsInit",
                                        "C_FindObjects",
                                        "C_FindObjectsFinal",
                                        "C_DecryptInit",
                                        "C_Decrypt",
                                        "C_Decrypt",
                                        "C_SignInit",
                                        "C_Sign",
                                        "C_GenerateKeyPair",
                                        "C_GenerateKeyPair",
                                        "C_WrapKey",
                                        "C_UnwrapKey",
                                        "C_CreateObject",
                                        "C_DestroyObject",
                                        "C_GenerateRandom",
                                        "C_SetAttributeValue",
                                        "C_GetSlotList",
                                        "C_GetTokenInfo",
                                        "C_Login",
                                        "C_Initialize",
                                        "C_GetMechanismInfo"};

static const char *const errors[] = {"CKR_OK",
                                     "CKR_GENERAL_ERROR",
                                     "CKR_FUNCTION_FAILED",
                                     "CKR_ARGUMENTS_BAD",
                                     "CKR_DEVICE_ERROR",
                                     "CKR_DEVICE_MEMORY",
                                     "CKR_DEVICE_REMOVED",
                                     "CKR_TOKEN_NOT_PRESENT",
                                     "CKR_HOST_MEMORY",
                                     "CKR_SESSION_HANDLE_INVALID",
                                     "CKR_SESSION_CLOSED",
                                     "CKR_SESSION_COUNT",
                                     "CKR_OPERATION_ACTIVE",
                                     "CKR_OPERATION_NOT_INITIALIZED",
                                     "CKR_OBJECT_HANDLE_INVALID",
                                     "CKR_KEY_HANDLE_INVALID",
                                     "CKR_USER_NOT_LOGGED_IN",
                                     "CKR_ENCRYPTED_DATA_INVALID",
                                     "CKR_KEY_FUNCTION_NOT_PERMITTED",
                                     "CKR_MECHANISM_INVALID",
                                     "CKR_TEMPLATE_INCONSISTENT",
                                     "CKR_ATTRIBUTE_TYPE_INVALID",
                                     "CKR_BUFFER_TOO_SMALL",
                                     "CKR_CRYPTOKI_NOT_INITIALIZED",
                                     "CKR_USER_ALREADY_LOGGED_IN",
                                     "CKR_PIN_INCORRECT",
                                     "0x80000042",
                                     "0x4711"};

enum kind { PLAIN, ERROR, NUMBER, SPOILS, SPOILS_NUMBER, SWAPS, LOSES };

static const struct {
    const char *name;
    enum kind kind;
    uint64_t limit;
    unsigned weight;
} actions[] = {
    {"return", ERROR, 0, 12},
    {"return-after", ERROR, 0, 8},
    {"sleep", NUMBER, 30, 2},
    {"hang", PLAIN, 0, 1},
    {"abort", PLAIN, 0, 1},
    {"exit", NUMBER, 256, 1},
    {"drop-sessions", PLAIN, 0, 3},
    {"logout", PLAIN, 0, 3},
    {"shorten", SPOILS_NUMBER, 40, 3},
    {"wrong-length", SPOILS_NUMBER, 1 << 20, 3},
    {"flip", SPOILS_NUMBER, 4096, 4},
    {"strip-zeros", SPOILS, 0, 2},
    {"garbage", SPOILS, 0, 3},
    {"permute-handles", SWAPS, 0, 5},
    {"find-nothing", PLAIN, 0, 2},
    {"find-endless", PLAIN, 0, 2},
    {"find-duplicates", PLAIN, 0, 2},
    {"lose-object", LOSES, 0, 2},
    {"max-sessions", NUMBER, 6, 1},
    {"delay-all", NUMBER, 10, 1},
};

static size_t choose_action(struct chance *c)
{
    uint64_t all = 0, at;
    for (size_t i = 0; i < COUNT(actions); i++)
        all += actions[i].weight;
    at = chance_below(c, all);
    size_t i = 0;
    for (; at >= actions[i].weight; i++)
        at -= actions[i].weight;
    return i;
}

static void put_when(struct chance *c, char *out, size_t room)
{
    unsigned first = 1 + (unsigned)chance_below(c, 6);
    switch (chance_below(c, 5)) {
    case 0:
        (void)snprintf(out, room, "%u-", first);
        break;
    case 1:
        (void)snprintf(out, room, "%u-%u", first, first + (unsigned)chance_below(c, 4));
        break;
    case 2:
        (void)snprintf(out, room, "every:%u", 1 + first);
        break;
    case 3:
        (void)snprintf(out, room, "always");
        break;
    default:
        (void)snprintf(out, room, "%u", first);
        break;
    }
}

static void put_argument(struct chance *c, size_t action, char *out, size_t room)
{
    out[0] = 0;
    if (actions[action].kind == ERROR)
        (void)snprintf(out, room, "%s", errors[chance_below(c, COUNT(errors))]);
    else if (actions[action].limit > 0)
        (void)snprintf(out, room, "%u", (unsigned)chance_below(c, actions[action].limit));
}

/* Where an action makes sense, and where its harm could be seen. */
static const char *choose_function(struct chance *c, enum kind kind)
{
    static const char *const swapped[] = {"C_DecryptInit", "C_SignInit",    "C_GetAttributeValue",
                                          "C_WrapKey",     "C_UnwrapKey",   "C_FindObjects",
                                          "C_DecryptInit", "C_DecryptInit", "C_SignInit"};
    static const char *const making[] = {"C_GenerateKeyPair", "C_UnwrapKey", "C_CreateObject"};
    if (kind == SWAPS)
        return swapped[chance_below(c, COUNT(swapped))];
    if (kind == LOSES)
        return making[chance_below(c, COUNT(making))];
    if (chance_below(c, 12) == 0 && kind != SPOILS && kind != SPOILS_NUMBER)
        return "*";
    return functions[chance_below(c, COUNT(functions))];
}

void scripts_make(struct chance *c, struct fault_plan *ret)
{
    *ret = (struct fault_plan){.text = ""};
    for (uint64_t rules = 1 + chance_below(c, 4); rules > 0; rules--) {
        size_t action = choose_action(c), n = strlen(ret->text);
        enum kind kind = actions[action].kind;
        const char *function = choose_function(c, kind);
        char when[32], argument[64];
        put_when(c, when, sizeof when);
        put_argument(c, action, argument, sizeof argument);
        (void)snprintf(ret->text + n, sizeof ret->text - n, "%s %s %s %s\n", function, when,
                       actions[action].name, argument);
        /* a CKR_OK without the work leaves in the buffer what was there */
        bool spoils = kind == SPOILS || kind == SPOILS_NUMBER || strcmp(argument, "CKR_OK") == 0;
        bool any = function[0] == '*';
        ret->spoils_plain |= spoils && (any || strcmp(function, "C_Decrypt") == 0);
        ret->spoils_signature |= spoils && (any || strcmp(function, "C_Sign") == 0);
        ret->spoils_signature |= kind == SWAPS && strcmp(function, "C_SignInit") == 0;
    }
}
