/* The parts of the fault module: a PKCS#11 module that passes every call on to a real one and, by a
 * script, breaks some of them. README.md is the grammar. Thread safe, as any module. */
#ifndef KL_TESTS_FAULT_FAULT_H
#define KL_TESTS_FAULT_FAULT_H

#include <p11-kit/pkcs11.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* All functions of PKCS#11 2.40 that take part, in the order of the count file. */
#define FAULT_FUNCTIONS(F)                                                                         \
    F(C_Initialize)                                                                                \
    F(C_Finalize)                                                                                  \
    F(C_GetInfo)                                                                                   \
    F(C_GetSlotList)                                                                               \
    F(C_GetSlotInfo)                                                                               \
    F(C_GetTokenInfo)                                                                              \
    F(C_GetMechanismList)                                                                          \
    F(C_GetMechanismInfo)                                                                          \
    F(C_InitToken)                                                                                 \
    F(C_InitPIN)                                                                                   \
    F(C_SetPIN)                                                                                    \
    F(C_OpenSession)                                                                               \
    F(C_CloseSession)                                                                              \
    F(C_CloseAllSessions)                                                                          \
    F(C_GetSessionInfo)                                                                            \
    F(C_GetOperationState)                                                                         \
    F(C_SetOperationState)                                                                         \
    F(C_Login)                                                                                     \
    F(C_Logout)                                                                                    \
    F(C_CreateObject)                                                                              \
    F(C_CopyObject)                                                                                \
    F(C_DestroyObject)                                                                             \
    F(C_GetObjectSize)                                                                             \
    F(C_GetAttributeValue)                                                                         \
    F(C_SetAttributeValue)                                                                         \
    F(C_FindObjectsInit)                                                                           \
    F(C_FindObjects)                                                                               \
    F(C_FindObjectsFinal)                                                                          \
    F(C_EncryptInit)                                                                               \
    F(C_Encrypt)                                                                                   \
    F(C_EncryptUpdate)                                                                             \
    F(C_EncryptFinal)                                                                              \
    F(C_DecryptInit)                                                                               \
    F(C_Decrypt)                                                                                   \
    F(C_DecryptUpdate)                                                                             \
    F(C_DecryptFinal)                                                                              \
    F(C_DigestInit)                                                                                \
    F(C_Digest)                                                                                    \
    F(C_DigestUpdate)                                                                              \
    F(C_DigestKey)                                                                                 \
    F(C_DigestFinal)                                                                               \
    F(C_SignInit)                                                                                  \
    F(C_Sign)                                                                                      \
    F(C_SignUpdate)                                                                                \
    F(C_SignFinal)                                                                                 \
    F(C_SignRecoverInit)                                                                           \
    F(C_SignRecover)                                                                               \
    F(C_VerifyInit)                                                                                \
    F(C_Verify)                                                                                    \
    F(C_VerifyUpdate)                                                                              \
    F(C_VerifyFinal)                                                                               \
    F(C_VerifyRecoverInit)                                                                         \
    F(C_VerifyRecover)                                                                             \
    F(C_DigestEncryptUpdate)                                                                       \
    F(C_DecryptDigestUpdate)                                                                       \
    F(C_SignEncryptUpdate)                                                                         \
    F(C_DecryptVerifyUpdate)                                                                       \
    F(C_GenerateKey)                                                                               \
    F(C_GenerateKeyPair)                                                                           \
    F(C_WrapKey)                                                                                   \
    F(C_UnwrapKey)                                                                                 \
    F(C_DeriveKey)                                                                                 \
    F(C_SeedRandom)                                                                                \
    F(C_GenerateRandom)                                                                            \
    F(C_GetFunctionStatus)                                                                         \
    F(C_CancelFunction)                                                                            \
    F(C_WaitForSlotEvent)

enum fault_fn {
#define F(name) FAULT_##name,
    FAULT_FUNCTIONS(F)
#undef F
        FAULT_FN_COUNT,
    FAULT_ANY = FAULT_FN_COUNT
};

struct fault_call;
struct fault_rule;

/* One row of the table of actions (act.c). */
struct fault_action {
    const char *name;
    enum fault_arg { FAULT_NONE, FAULT_NUMBER, FAULT_RV, FAULT_MECHANISM, FAULT_TEXT } arg;
    /* Both may be NULL. before: false = c->rv is the answer, the real function is not called. */
    bool (*before)(struct fault_call *c, const struct fault_rule *r);
    void (*after)(struct fault_call *c, const struct fault_rule *r);
};

struct fault_rule {
    unsigned fn; /* enum fault_fn */
    uint64_t first, last, every;
    bool global; /* counted over all lives of the process */
    bool past;   /* only in processes that are older than the script */
    const struct fault_action *action;
    uint64_t number;
    char text[65];
    atomic_ullong seen; /* calls since the script was read */
    atomic_uint inside; /* calls that are under way */
};

#define FAULT_RULES_MAX 64

struct fault_script {
    struct fault_rule rules[FAULT_RULES_MAX];
    size_t count;
    char module[512], pin[65];
    bool broken; /* every call fails until it is mended */
    bool replays, no_interface;
    bool younger; /* than this process */
    struct fault_script *older;
};

/* One call on its way. What the function does not have is NULL or 0. */
struct fault_call {
    enum fault_fn fn;
    CK_RV rv;
    CK_SESSION_HANDLE session;
    CK_SLOT_ID *slot;
    CK_OBJECT_HANDLE *object; /* the key or object that goes in */
    CK_MECHANISM *mechanism;
    CK_ULONG asked;          /* C_GetMechanismInfo: the mechanism; C_Login: whose PIN */
    void *out;               /* bytes, handles, slot ids or the struct that comes out */
    CK_ULONG *out_len, room; /* in units; room as given by the caller */
    size_t unit;             /* bytes of one of them; 0 = bytes that nobody shortens */
    CK_ATTRIBUTE *attrs;     /* C_GetAttributeValue */
    CK_ULONG attr_count;
    CK_OBJECT_HANDLE *made[2]; /* objects that come out */
    const void *pin;           /* C_Login */
    CK_ULONG pin_len;
    const struct fault_script *script;
    struct fault_rule *hits[8];
    size_t hit_count;
};

/* script.c */
/* The script as it is now; never NULL, valid for good. */
struct fault_script *fault_script_now(void);
/* Its path; "" when there is none. */
const char *fault_script_path(void);

/* names.c: false when unknown. Also hexadecimal and decimal numbers. */
bool fault_name_rv(const char *name, uint64_t *ret);
bool fault_name_mechanism(const char *name, uint64_t *ret);

/* count.c */
/* Count a call; its number over all lives, and that of all calls together. */
void fault_count(enum fault_fn fn, uint64_t *ret_own, uint64_t *ret_total);
/* Wrong PINs in a row, kept with the counts. */
uint32_t fault_wrong_pins(void);
void fault_set_wrong_pins(uint32_t n);
const char *fault_fn_name(unsigned fn);

/* act.c */
const struct fault_action *fault_action_find(const char *name);
/* Count, match, do what comes before. True = call the real function and put its answer into c->rv.
 */
bool fault_begin(struct fault_call *c);
/* What comes after; the answer for the caller. */
CK_RV fault_end(struct fault_call *c);

/* replay.c: C_DecryptInit is held back until it is known that the real token must answer. False =
 * not held: the parameters are of an unknown kind. */
bool fault_replay_hold(CK_SESSION_HANDLE session, const CK_MECHANISM *m, CK_OBJECT_HANDLE key);
CK_RV fault_replay_decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG n, CK_BYTE *out,
                           CK_ULONG *len);
/* A C_DecryptInit of this session is being held back. */
bool fault_replay_holds(CK_SESSION_HANDLE session);

/* track.c: what the module has seen. */
void fault_track(struct fault_call *c);
CK_ULONG fault_track_sessions(void);
CK_SESSION_HANDLE fault_track_session(void);
/* The slot of the first initialised token of the real module. */
CK_SLOT_ID fault_track_slot(void);
/* Another object of the same class and key type as this one that was seen; itself if none was. */
CK_OBJECT_HANDLE fault_track_other(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object);
/* What C_FindObjects gave last; CK_INVALID_HANDLE = nothing yet. */
CK_OBJECT_HANDLE fault_track_found(void);
/* Close all sessions of the real token, or log out of it. */
void fault_track_close_all(void);
/* Destroy what was made last on the real token. */
void fault_track_lose(CK_SESSION_HANDLE session);

/* forward.c: the wrapped functions. */
extern CK_FUNCTION_LIST fault_functions;
/* module.c: the real module's. */
extern CK_FUNCTION_LIST *fault_real;

#endif
