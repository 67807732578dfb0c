/* Every function of PKCS#11 2.40, wrapped: what a function has that faults can touch is named in
 * its row. */
#include "tests/fault/fault.h"

#define ROOM(len)   ((len) != NULL ? *(len) : 0)
#define BYTES(p, n) .out = (p), .out_len = (n), .room = ROOM(n), .unit = 1
#define LIST(p, n)  .out = (p), .out_len = (n), .room = ROOM(n), .unit = sizeof *(p)
#define STRUCT(p)   .out = (p)

#define WRAP(name, params, args, ...)                                                              \
    static CK_RV wrapped_##name params                                                             \
    {                                                                                              \
        struct fault_call c = {.fn = FAULT_##name, __VA_ARGS__};                                   \
        if (fault_begin(&c)) {                                                                     \
            c.rv = fault_real->name args;                                                          \
            fault_track(&c);                                                                       \
        }                                                                                          \
        return fault_end(&c);                                                                      \
    }

WRAP(C_Initialize, (void *init), (init), .rv = CKR_OK)
WRAP(C_Finalize, (void *reserved), (reserved), .rv = CKR_OK)
WRAP(C_GetInfo, (CK_INFO * info), (info), STRUCT(info))
WRAP(C_GetSlotList, (CK_BBOOL present, CK_SLOT_ID *list, CK_ULONG *n), (present, list, n),
     LIST(list, n))
WRAP(C_GetSlotInfo, (CK_SLOT_ID slot, CK_SLOT_INFO *info), (slot, info), .slot = &slot,
     STRUCT(info))
WRAP(C_GetTokenInfo, (CK_SLOT_ID slot, CK_TOKEN_INFO *info), (slot, info), .slot = &slot,
     STRUCT(info))
WRAP(C_GetMechanismList, (CK_SLOT_ID slot, CK_MECHANISM_TYPE *list, CK_ULONG *n), (slot, list, n),
     .slot = &slot, LIST(list, n))
WRAP(C_GetMechanismInfo, (CK_SLOT_ID slot, CK_MECHANISM_TYPE type, CK_MECHANISM_INFO *info),
     (slot, type, info), .slot = &slot, .asked = type, STRUCT(info))
WRAP(C_InitToken, (CK_SLOT_ID slot, CK_BYTE *pin, CK_ULONG n, CK_BYTE *label),
     (slot, pin, n, label), .slot = &slot)
WRAP(C_InitPIN, (CK_SESSION_HANDLE s, CK_BYTE *pin, CK_ULONG n), (s, pin, n), .session = s)
WRAP(C_SetPIN, (CK_SESSION_HANDLE s, CK_BYTE *old, CK_ULONG old_n, CK_BYTE *new, CK_ULONG new_n),
     (s, old, old_n, new, new_n), .session = s)
WRAP(C_OpenSession,
     (CK_SLOT_ID slot, CK_FLAGS flags, void *app, CK_NOTIFY notify, CK_SESSION_HANDLE *ret),
     (slot, flags, app, notify, ret), .slot = &slot, STRUCT(ret))
WRAP(C_CloseSession, (CK_SESSION_HANDLE s), (s), .session = s)
WRAP(C_CloseAllSessions, (CK_SLOT_ID slot), (slot), .slot = &slot)
WRAP(C_GetSessionInfo, (CK_SESSION_HANDLE s, CK_SESSION_INFO *info), (s, info), .session = s,
     STRUCT(info))
WRAP(C_GetOperationState, (CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG *n), (s, out, n),
     .session = s, BYTES(out, n))
WRAP(C_SetOperationState,
     (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_OBJECT_HANDLE key, CK_OBJECT_HANDLE auth),
     (s, in, n, key, auth), .session = s, .object = &key)
WRAP(C_Login, (CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_BYTE *pin, CK_ULONG n), (s, who, pin, n),
     .session = s, .asked = who, .pin = pin, .pin_len = n)
WRAP(C_Logout, (CK_SESSION_HANDLE s), (s), .session = s)
WRAP(C_CreateObject, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret),
     (s, t, n, ret), .session = s, .made = {ret})
WRAP(C_CopyObject,
     (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *t, CK_ULONG n,
      CK_OBJECT_HANDLE *ret),
     (s, object, t, n, ret), .session = s, .object = &object, .made = {ret})
WRAP(C_DestroyObject, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object), (s, object), .session = s,
     .object = &object)
WRAP(C_GetObjectSize, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ULONG *n), (s, object, n),
     .session = s, .object = &object)
WRAP(C_GetAttributeValue,
     (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *t, CK_ULONG n), (s, object, t, n),
     .session = s, .object = &object, .attrs = t, .attr_count = n)
WRAP(C_SetAttributeValue,
     (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object, CK_ATTRIBUTE *t, CK_ULONG n), (s, object, t, n),
     .session = s, .object = &object)
WRAP(C_FindObjectsInit, (CK_SESSION_HANDLE s, CK_ATTRIBUTE *t, CK_ULONG n), (s, t, n), .session = s)
WRAP(C_FindObjects, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE *list, CK_ULONG max, CK_ULONG *n),
     (s, list, max, n), .session = s, .out = list, .out_len = n, .room = max, .unit = sizeof *list)
WRAP(C_FindObjectsFinal, (CK_SESSION_HANDLE s), (s), .session = s)

#define INIT_WITH_KEY(name)                                                                        \
    WRAP(name, (CK_SESSION_HANDLE s, CK_MECHANISM * m, CK_OBJECT_HANDLE key), (s, m, key),         \
         .session = s, .mechanism = m, .object = &key)
#define IN_OUT(name)                                                                               \
    WRAP(name, (CK_SESSION_HANDLE s, CK_BYTE * in, CK_ULONG n, CK_BYTE * out, CK_ULONG * len),     \
         (s, in, n, out, len), .session = s, BYTES(out, len))
#define IN_ONLY(name)                                                                              \
    WRAP(name, (CK_SESSION_HANDLE s, CK_BYTE * in, CK_ULONG n), (s, in, n), .session = s)
#define OUT_ONLY(name)                                                                             \
    WRAP(name, (CK_SESSION_HANDLE s, CK_BYTE * out, CK_ULONG * len), (s, out, len), .session = s,  \
         BYTES(out, len))

INIT_WITH_KEY(C_EncryptInit)
IN_OUT(C_Encrypt)
IN_OUT(C_EncryptUpdate)
OUT_ONLY(C_EncryptFinal)

static CK_RV wrapped_C_DecryptInit(CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    struct fault_call c = {.fn = FAULT_C_DecryptInit, .session = s, .mechanism = m, .object = &key};
    if (fault_begin(&c)) {
        bool held = c.script->replays && fault_replay_hold(s, m, key);
        c.rv = held ? CKR_OK : fault_real->C_DecryptInit(s, m, key);
    }
    return fault_end(&c);
}

static CK_RV wrapped_C_Decrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out,
                               CK_ULONG *len)
{
    struct fault_call c = {.fn = FAULT_C_Decrypt, .session = s, BYTES(out, len)};
    if (fault_begin(&c))
        c.rv = fault_replay_holds(s) ? fault_replay_decrypt(s, in, n, out, len)
                                     : fault_real->C_Decrypt(s, in, n, out, len);
    return fault_end(&c);
}

IN_OUT(C_DecryptUpdate)
OUT_ONLY(C_DecryptFinal)
WRAP(C_DigestInit, (CK_SESSION_HANDLE s, CK_MECHANISM *m), (s, m), .session = s, .mechanism = m)
IN_OUT(C_Digest)
IN_ONLY(C_DigestUpdate)
WRAP(C_DigestKey, (CK_SESSION_HANDLE s, CK_OBJECT_HANDLE key), (s, key), .session = s,
     .object = &key)
OUT_ONLY(C_DigestFinal)
INIT_WITH_KEY(C_SignInit)
IN_OUT(C_Sign)
IN_ONLY(C_SignUpdate)
OUT_ONLY(C_SignFinal)
INIT_WITH_KEY(C_SignRecoverInit)
IN_OUT(C_SignRecover)
INIT_WITH_KEY(C_VerifyInit)
WRAP(C_Verify, (CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *sig, CK_ULONG len),
     (s, in, n, sig, len), .session = s)
IN_ONLY(C_VerifyUpdate)
IN_ONLY(C_VerifyFinal)
INIT_WITH_KEY(C_VerifyRecoverInit)
IN_OUT(C_VerifyRecover)
IN_OUT(C_DigestEncryptUpdate)
IN_OUT(C_DecryptDigestUpdate)
IN_OUT(C_SignEncryptUpdate)
IN_OUT(C_DecryptVerifyUpdate)
WRAP(C_GenerateKey,
     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret),
     (s, m, t, n, ret), .session = s, .mechanism = m, .made = {ret})
WRAP(C_GenerateKeyPair,
     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_ATTRIBUTE *public, CK_ULONG public_n,
      CK_ATTRIBUTE *private, CK_ULONG private_n, CK_OBJECT_HANDLE *ret_public,
      CK_OBJECT_HANDLE *ret_private),
     (s, m, public, public_n, private, private_n, ret_public, ret_private), .session = s,
     .mechanism = m, .made = {ret_private, ret_public})
WRAP(C_WrapKey,
     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE with, CK_OBJECT_HANDLE key,
      CK_BYTE *out, CK_ULONG *n),
     (s, m, with, key, out, n), .session = s, .mechanism = m, .object = &key, BYTES(out, n))
WRAP(C_UnwrapKey,
     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE with, CK_BYTE *in, CK_ULONG in_n,
      CK_ATTRIBUTE *t, CK_ULONG n, CK_OBJECT_HANDLE *ret),
     (s, m, with, in, in_n, t, n, ret), .session = s, .mechanism = m, .object = &with,
     .made = {ret})
WRAP(C_DeriveKey,
     (CK_SESSION_HANDLE s, CK_MECHANISM *m, CK_OBJECT_HANDLE base, CK_ATTRIBUTE *t, CK_ULONG n,
      CK_OBJECT_HANDLE *ret),
     (s, m, base, t, n, ret), .session = s, .mechanism = m, .object = &base, .made = {ret})
IN_ONLY(C_SeedRandom)
WRAP(C_GenerateRandom, (CK_SESSION_HANDLE s, CK_BYTE *out, CK_ULONG n), (s, out, n), .session = s,
     BYTES(out, &n))
WRAP(C_GetFunctionStatus, (CK_SESSION_HANDLE s), (s), .session = s)
WRAP(C_CancelFunction, (CK_SESSION_HANDLE s), (s), .session = s)
WRAP(C_WaitForSlotEvent, (CK_FLAGS flags, CK_SLOT_ID *slot, void *reserved),
     (flags, slot, reserved), STRUCT(slot))

CK_FUNCTION_LIST fault_functions = {.version = {2, 40},
#define F(name) .name = wrapped_##name,
                                    FAULT_FUNCTIONS(F)
#undef F
};
