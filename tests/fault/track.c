#include "tests/fault/fault.h"

#include <pthread.h>
#include <string.h>

#define KNOWN_MAX 4096

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static CK_OBJECT_HANDLE known[KNOWN_MAX], made[2], found;
static size_t known_count;
static CK_ULONG sessions;
static CK_SESSION_HANDLE session;

static void learn(CK_OBJECT_HANDLE object)
{
    for (size_t i = 0; i < known_count; i++)
        if (known[i] == object)
            return;
    if (known_count < KNOWN_MAX)
        known[known_count++] = object;
}

static void learn_found(const struct fault_call *c)
{
    const CK_OBJECT_HANDLE *list = c->out;
    for (CK_ULONG i = 0; i < *c->out_len; i++) {
        learn(list[i]);
        found = list[i];
    }
}

static void learn_made(const struct fault_call *c)
{
    made[0] = made[1] = CK_INVALID_HANDLE;
    for (size_t i = 0; i < 2 && c->made[i] != NULL; i++) {
        made[i] = *c->made[i];
        learn(made[i]);
    }
}

void fault_track(struct fault_call *c)
{
    if (c->rv != CKR_OK)
        return;
    (void)pthread_mutex_lock(&lock);
    if (c->fn == FAULT_C_OpenSession) {
        sessions++;
        session = *(CK_SESSION_HANDLE *)c->out;
    } else if (c->fn == FAULT_C_CloseSession && sessions > 0) {
        sessions--;
    } else if (c->fn == FAULT_C_CloseAllSessions || c->fn == FAULT_C_Finalize) {
        sessions = 0;
    } else if (c->fn == FAULT_C_FindObjects) {
        learn_found(c);
    } else if (c->made[0] != NULL) {
        learn_made(c);
    }
    (void)pthread_mutex_unlock(&lock);
}

static CK_ULONG read_locked(const CK_ULONG *value)
{
    (void)pthread_mutex_lock(&lock);
    CK_ULONG copy = *value;
    (void)pthread_mutex_unlock(&lock);
    return copy;
}

CK_ULONG fault_track_sessions(void)
{
    return read_locked(&sessions);
}

CK_SESSION_HANDLE fault_track_session(void)
{
    return read_locked(&session);
}

CK_OBJECT_HANDLE fault_track_found(void)
{
    return read_locked(&found);
}

CK_SLOT_ID fault_track_slot(void)
{
    CK_SLOT_ID ids[64];
    CK_ULONG count = FAULT_COUNT(ids);
    CK_TOKEN_INFO info;
    if (fault_real->C_GetSlotList(CK_TRUE, ids, &count) != CKR_OK)
        return CK_UNAVAILABLE_INFORMATION;
    for (CK_ULONG i = 0; i < count; i++)
        if (fault_real->C_GetTokenInfo(ids[i], &info) == CKR_OK &&
            (info.flags & CKF_TOKEN_INITIALIZED) != 0)
            return ids[i];
    return CK_UNAVAILABLE_INFORMATION;
}

void fault_track_close_all(void)
{
    (void)fault_real->C_CloseAllSessions(fault_track_slot());
    (void)pthread_mutex_lock(&lock);
    sessions = 0;
    (void)pthread_mutex_unlock(&lock);
}

/* Class and key type in one number; 0 when the token does not say. */
static CK_ULONG kind(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
    CK_OBJECT_CLASS class = 0;
    CK_KEY_TYPE type = 0;
    CK_ATTRIBUTE attrs[] = {{CKA_CLASS, &class, sizeof class}, {CKA_KEY_TYPE, &type, sizeof type}};
    if (fault_real->C_GetAttributeValue(s, object, attrs, FAULT_COUNT(attrs)) != CKR_OK)
        return 0;
    return 1 + (class << 16 | type);
}

CK_OBJECT_HANDLE fault_track_other(CK_SESSION_HANDLE s, CK_OBJECT_HANDLE object)
{
    CK_ULONG own = kind(s, object);
    (void)pthread_mutex_lock(&lock);
    size_t at = 0, count = known_count;
    while (at < count && known[at] != object)
        at++;
    CK_OBJECT_HANDLE other = object;
    for (size_t i = 1; own != 0 && i < count && other == object; i++)
        if (kind(s, known[(at + i) % count]) == own)
            other = known[(at + i) % count];
    (void)pthread_mutex_unlock(&lock);
    return other;
}

void fault_track_lose(CK_SESSION_HANDLE s)
{
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; i < FAULT_COUNT(made); i++) {
        if (made[i] != CK_INVALID_HANDLE)
            (void)fault_real->C_DestroyObject(s, made[i]);
        made[i] = CK_INVALID_HANDLE;
    }
    (void)pthread_mutex_unlock(&lock);
}
