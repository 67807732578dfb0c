/* The classes of errors at every call site of the worker: what each does to the caller and to the
 * worker, once and for ever. */
#include "base/clock.h"
#include "tests/fault/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct stage stage;

/* The classes, in the order of the columns below, and what belongs to them. */
static const struct {
    const char *name;
    const char *errors[18];
} classes[] = {
    {"request",
     {"CKR_ENCRYPTED_DATA_INVALID", "CKR_ENCRYPTED_DATA_LEN_RANGE", "CKR_DATA_INVALID",
      "CKR_DATA_LEN_RANGE", "CKR_WRAPPED_KEY_INVALID", "CKR_WRAPPED_KEY_LEN_RANGE",
      "CKR_SIGNATURE_INVALID"}},
    {"ambiguous",
     {"CKR_GENERAL_ERROR", "CKR_FUNCTION_FAILED", "CKR_ARGUMENTS_BAD", "CKR_FUNCTION_REJECTED"}},
    {"suspect",
     {"CKR_DEVICE_ERROR", "CKR_FUNCTION_CANCELED", "CKR_CANCEL", "0x80000007", "0x4711"}},
    {"session",
     {"CKR_SESSION_HANDLE_INVALID", "CKR_SESSION_CLOSED", "CKR_OPERATION_ACTIVE",
      "CKR_OPERATION_NOT_INITIALIZED", "CKR_SESSION_READ_ONLY"}},
    {"handle",
     {"CKR_OBJECT_HANDLE_INVALID", "CKR_KEY_HANDLE_INVALID", "CKR_USER_NOT_LOGGED_IN",
      "CKR_WRAPPING_KEY_HANDLE_INVALID", "CKR_UNWRAPPING_KEY_HANDLE_INVALID"}},
    {"load", {"CKR_SESSION_COUNT", "CKR_DEVICE_MEMORY", "CKR_HOST_MEMORY"}},
    {"token",
     {"CKR_TOKEN_NOT_PRESENT", "CKR_DEVICE_REMOVED", "CKR_TOKEN_NOT_RECOGNIZED",
      "CKR_SLOT_ID_INVALID"}},
    {"library",
     {"CKR_CRYPTOKI_NOT_INITIALIZED", "CKR_CRYPTOKI_ALREADY_INITIALIZED", "CKR_MUTEX_BAD",
      "CKR_MUTEX_NOT_LOCKED", "CKR_CANT_LOCK"}},
    {"PIN",
     {"CKR_PIN_INCORRECT", "CKR_PIN_LOCKED", "CKR_PIN_EXPIRED", "CKR_PIN_LEN_RANGE",
      "CKR_PIN_INVALID", "CKR_USER_PIN_NOT_INITIALIZED"}},
    {"refused",
     {"CKR_MECHANISM_INVALID", "CKR_MECHANISM_PARAM_INVALID", "CKR_KEY_TYPE_INCONSISTENT",
      "CKR_FUNCTION_NOT_SUPPORTED", "CKR_KEY_SIZE_RANGE", "CKR_TEMPLATE_INCONSISTENT",
      "CKR_ATTRIBUTE_READ_ONLY", "CKR_TOKEN_WRITE_PROTECTED", "CKR_ACTION_PROHIBITED"}},
    {"ours", {"CKR_BUFFER_TOO_SMALL"}},
};

#define CLASSES KL_COUNT(classes)

/* A call site: the function, the operation that gets there, and what comes of each class, one
 * letter each: see letter() and outcome(). */
struct call_site {
    const char *function;
    enum stage_op op;
    enum { AS_IT_IS, NEW_SESSION, NEW_WORKER } in; /* what gets there */
    const char *once, *always;
};

static const struct call_site sites[] = {
    {"C_OpenSession", STAGE_DECRYPT_RAW, NEW_SESSION, "m....bXXXui", "mXXXXbXXXui"},
    {"C_DecryptInit", STAGE_DECRYPT_RAW, AS_IT_IS, "d....bXXX.i", "dmmXXbXXXui"},
    {"C_Decrypt", STAGE_DECRYPT_RAW, AS_IT_IS, "d....bXXX.i", "dmmXXbXXXui"},
    {"C_DecryptInit", STAGE_DECRYPT_NATIVE, AS_IT_IS, ".....bXXX.i", "dmmXXbXXXui"},
    {"C_Decrypt", STAGE_DECRYPT_NATIVE, AS_IT_IS, ".....bXXX.i", "dmmXXbXXXui"},
    {"C_GetAttributeValue", STAGE_DECRYPT_RAW, NEW_WORKER, "m....bXXXuu", "mmmXmbXXXuu"},
    {"C_Decrypt", STAGE_DECRYPT_BAD, AS_IT_IS, ".....bXXX.i", ".mmXXbXXXui"},
    {"C_SignInit", STAGE_SIGN_RSA, AS_IT_IS, "u....bXXX.i", "ummXXbXXXui"},
    {"C_Sign", STAGE_SIGN_RSA, AS_IT_IS, "u....bXXX.i", "ummXXbXXXui"},
    {"C_SignInit", STAGE_SIGN_EC, AS_IT_IS, "u....bXXX.i", "ummXXbXXXui"},
    {"C_Sign", STAGE_SIGN_EC, AS_IT_IS, "u....bXXX.i", "ummXXbXXXui"},
    {"C_GenerateRandom", STAGE_RANDOM, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_SignInit", STAGE_MAC, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_Sign", STAGE_MAC, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjectsInit", STAGE_MAC, NEW_WORKER, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjects", STAGE_MAC, NEW_WORKER, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_MAC, NEW_WORKER, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_FIND, NEW_WORKER, "m....bXXXuu", "mmmXmbXXXuu"},
    {"C_FindObjectsInit", STAGE_GENERATE, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjects", STAGE_GENERATE, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjectsFinal", STAGE_GENERATE, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GenerateKeyPair", STAGE_GENERATE, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_GENERATE, AS_IT_IS, "r...XbXXXri", "rXXXXbXXXri"},
    {"C_SignInit", STAGE_GENERATE, AS_IT_IS, "r...XbXXXri", "rrrXXbXXXri"},
    {"C_Sign", STAGE_GENERATE, AS_IT_IS, "r...XbXXXri", "rrrXXbXXXri"},
    {"C_FindObjectsInit", STAGE_DESTROY, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjects", STAGE_DESTROY, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_DestroyObject", STAGE_DESTROY, AS_IT_IS, "u....bXXXui", "uuuXubXXXui"},
    {"C_WrapKey", STAGE_WRAP, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjectsInit", STAGE_WRAP, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_WRAP, AS_IT_IS, "m....bXXXuu", "mmmXmbXXXuu"},
    {"C_FindObjectsInit", STAGE_UNWRAP, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_UnwrapKey", STAGE_UNWRAP, AS_IT_IS, "d...XbXXXdi", "dddXXbXXXdi"},
    {"C_CreateObject", STAGE_UNWRAP, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_UNWRAP, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_DecryptInit", STAGE_UNWRAP, AS_IT_IS, "r...XbXXXri", "rrrXXbXXXri"},
    {"C_Decrypt", STAGE_UNWRAP, AS_IT_IS, "r...XbXXXri", "rrrXXbXXXri"},
    {"C_FindObjectsInit", STAGE_LIST, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_FindObjects", STAGE_LIST, AS_IT_IS, "u...XbXXXui", "uuuXXbXXXui"},
    {"C_GetAttributeValue", STAGE_LIST, AS_IT_IS, "u....bXXXu.", "uuuXXbXXXu."},
};

static char letter(enum kl_code code)
{
    switch ((int)code) {
    case KL_OK:
        return '.';
    case KL_DECRYPT_FAILED:
    case KL_BAD_INPUT:
        return 'd';
    case KL_TOKEN_BUSY:
        return 'b';
    case KL_TOKEN_UNSUPPORTED:
        return 'u';
    case KL_TOKEN_KEY_MISSING:
        return 'm';
    case KL_TOKEN_READBACK:
        return 'r';
    case KL_INTERNAL:
        return 'i';
    case KL_TOKEN_UNAVAILABLE:
        return 'X';
    case KL_EXISTS:
        return 'e';
    case KL_TOKEN_AMBIGUOUS:
        return 'a';
    default:
        return '?';
    }
}

static pid_t worker(void)
{
    struct kl_token_status st;
    kl_token_status(stage.token, &st);
    return st.worker_pid;
}

/* X: the caller is told that the token is not available, and a new worker comes. x: he is told so,
 * and the worker stays. !: he is told something else, and the worker goes. */
static char outcome(enum kl_code code, pid_t before)
{
    struct kl_err err;
    if (code == KL_TOKEN_UNAVAILABLE) {
        int64_t until = kl_clock_mono_ms() + 3000;
        while (worker() == before && kl_clock_mono_ms() < until)
            (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        return worker() == before ? 'x' : 'X';
    }
    for (int i = 0; i < 2; i++)
        (void)stage_do(&stage, STAGE_DECRYPT_NATIVE, &err);
    return worker() == before ? letter(code) : '!';
}

/* 0 = the operation did not get to the function. */
static char run(const struct call_site *at, const char *error, bool always)
{
    char script[256];
    struct kl_err err = {.text = ""};
    if (at->op == STAGE_DESTROY)
        assert_int_equal(stage_do(&stage, STAGE_GENERATE, &err), KL_OK);
    pid_t before = worker();
    (void)snprintf(script, sizeof script, "%s%s %s return %s\n",
                   at->in == NEW_SESSION ? "C_DecryptInit 1 return CKR_SESSION_CLOSED\n" : "",
                   at->function, always ? "always" : "1", error);
    stage_script(&stage, script);
    unsigned long calls = stage_calls(&stage, at->function);
    bool signs = stage.other && at->in == NEW_WORKER && at->op == STAGE_DECRYPT_RAW;
    enum kl_code code = stage_do(&stage, signs ? STAGE_SIGN_RSA : at->op, &err);
    bool reached = stage_calls(&stage, at->function) != calls;
    stage_script(&stage, "");
    if (!reached)
        return 0;
    char got = outcome(code, before);
    if (code == KL_OK && (at->op == STAGE_GENERATE || at->op == STAGE_UNWRAP))
        assert_int_equal(stage_do(&stage, STAGE_DESTROY, &err), KL_OK);
    return got;
}

/* A canary that passed just now would speak for the token: wait until its word has expired. */
static void open_fresh(bool ambiguous)
{
    assert_true(stage_open(&stage, 20000));
    if (ambiguous)
        (void)nanosleep(&(struct timespec){.tv_nsec = 150000000}, NULL);
}

/* In the short mode one cell of four, another number of the class at each site; else everything. */
static bool is_wanted(size_t site, size_t class, size_t error)
{
    size_t count = 0;
    while (count < KL_COUNT(classes[class].errors) && classes[class].errors[count] != NULL)
        count++;
    if (getenv("KLUIS_FULL") != NULL)
        return error < count;
    return (site + class) % 4 == 0 && error == site % count;
}

static unsigned check_cell(size_t site, size_t class, size_t error, bool always)
{
    const struct call_site *at = &sites[site];
    char wanted = (always ? at->always : at->once)[class];
    const char *name = classes[class].errors[error];
    char got = 0;
    /* a canary of the new worker may have looked at the key first: then the other one */
    for (int tries = 0; got == 0 && tries < (at->in == NEW_WORKER ? 5 : 1); tries++) {
        stage.other = tries % 2 != 0;
        open_fresh(strcmp(classes[class].name, "ambiguous") == 0);
        got = run(at, name, always);
    }
    stage.other = false;
    if (got == 0)
        fail_msg("%s never gets to %s (%s)", stage_op_name(at->op), at->function, name);
    if (got == wanted)
        return 0;
    print_message("%s at %s of '%s', %s: wanted %c, got %c\n", name, at->function,
                  stage_op_name(at->op), always ? "always" : "once", wanted, got);
    return 1;
}

static void test_fault_classes__every_class_at_every_call_site(void **state)
{
    (void)state;
    unsigned cells = 0, wrong = 0;
    for (size_t i = 0; i < KL_COUNT(sites); i++)
        for (size_t c = 0; c < CLASSES; c++)
            for (size_t e = 0; e < KL_COUNT(classes[c].errors); e++) {
                if (!is_wanted(i, c, e))
                    continue;
                wrong += check_cell(i, c, e, false) + check_cell(i, c, e, true);
                cells += 2;
            }
    print_message("%u cells\n", cells);
    assert_int_equal(wrong, 0);
}

static int set_up(void **state)
{
    (void)state;
    stage_make(&stage);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    stage_remove(&stage);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_classes__every_class_at_every_call_site),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
