/* The action `replay`: C_Decrypt answers a ciphertext that it has decrypted before from a table, so
 * that a slow but parallel token can be played without paying for RSA. */
#include "tests/fault/fault.h"

#include <pthread.h>
#include <string.h>

#define HELD_MAX   4096 /* sessions; a power of two */
#define TABLE_MAX  4096 /* answers; a power of two */
#define BYTES_MAX  512
#define PARAMS_MAX 64

struct held {
    CK_SESSION_HANDLE session; /* 0 = free */
    CK_MECHANISM mechanism;
    uint8_t params[PARAMS_MAX];
    CK_OBJECT_HANDLE key;
    bool waiting;
};

struct answer {
    struct held how;
    CK_ULONG in_len, out_len;
    uint8_t in[BYTES_MAX], out[BYTES_MAX];
};

static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_rwlock_t table_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct held held[HELD_MAX];
static struct answer table[TABLE_MAX];

static struct held *place_of(CK_SESSION_HANDLE session)
{
    size_t at = (session * 2654435761u) & (HELD_MAX - 1);
    for (size_t i = 0; i < HELD_MAX; i++, at = (at + 1) & (HELD_MAX - 1))
        if (held[at].session == session || held[at].session == 0)
            return &held[at];
    return NULL;
}

bool fault_replay_hold(CK_SESSION_HANDLE session, const CK_MECHANISM *m, CK_OBJECT_HANDLE key)
{
    if (m->ulParameterLen > PARAMS_MAX || session == 0)
        return false;
    (void)pthread_mutex_lock(&held_lock);
    struct held *h = place_of(session);
    if (h != NULL) {
        *h = (struct held){.session = session, .mechanism = *m, .key = key, .waiting = true};
        if (m->ulParameterLen > 0)
            memcpy(h->params, m->pParameter, m->ulParameterLen);
    }
    (void)pthread_mutex_unlock(&held_lock);
    return h != NULL;
}

static bool look(CK_SESSION_HANDLE session, bool take, struct held *ret)
{
    (void)pthread_mutex_lock(&held_lock);
    struct held *h = place_of(session);
    bool waiting = h != NULL && h->session == session && h->waiting;
    if (waiting && take) {
        *ret = *h;
        h->waiting = false;
    }
    (void)pthread_mutex_unlock(&held_lock);
    return waiting;
}

bool fault_replay_holds(CK_SESSION_HANDLE session)
{
    struct held unused;
    return look(session, false, &unused);
}

static struct answer *slot_of(const CK_BYTE *in, CK_ULONG n)
{
    uint64_t hash = 14695981039346656037u;
    for (CK_ULONG i = 0; i < n; i++)
        hash = (hash ^ in[i]) * 1099511628211u;
    return &table[(hash ^ hash >> 32) & (TABLE_MAX - 1)];
}

static bool matches(const struct answer *a, const struct held *h, const CK_BYTE *in, CK_ULONG n)
{
    return a->in_len == n && memcmp(a->in, in, n) == 0 && a->how.key == h->key &&
           a->how.mechanism.mechanism == h->mechanism.mechanism &&
           a->how.mechanism.ulParameterLen == h->mechanism.ulParameterLen &&
           memcmp(a->how.params, h->params, PARAMS_MAX) == 0;
}

static bool from_table(const struct held *h, const CK_BYTE *in, CK_ULONG n, CK_BYTE *out,
                       CK_ULONG *len)
{
    (void)pthread_rwlock_rdlock(&table_lock);
    const struct answer *a = slot_of(in, n);
    bool hit = matches(a, h, in, n) && out != NULL && *len >= a->out_len;
    if (hit) {
        memcpy(out, a->out, a->out_len);
        *len = a->out_len;
    }
    (void)pthread_rwlock_unlock(&table_lock);
    return hit;
}

static void keep(const struct held *h, const CK_BYTE *in, CK_ULONG n, const CK_BYTE *out,
                 CK_ULONG len)
{
    (void)pthread_rwlock_wrlock(&table_lock);
    struct answer *a = slot_of(in, n);
    a->how = *h;
    a->in_len = n;
    a->out_len = len;
    memcpy(a->in, in, n);
    memcpy(a->out, out, len);
    (void)pthread_rwlock_unlock(&table_lock);
}

CK_RV fault_replay_decrypt(CK_SESSION_HANDLE session, CK_BYTE *in, CK_ULONG n, CK_BYTE *out,
                           CK_ULONG *len)
{
    struct held h;
    if (!look(session, true, &h))
        return CKR_OPERATION_NOT_INITIALIZED;
    if (h.mechanism.ulParameterLen > 0)
        h.mechanism.pParameter = h.params;
    if (n <= BYTES_MAX && from_table(&h, in, n, out, len))
        return CKR_OK;
    CK_RV rv = fault_real->C_DecryptInit(session, &h.mechanism, h.key);
    if (rv == CKR_OK)
        rv = fault_real->C_Decrypt(session, in, n, out, len);
    if (rv == CKR_OK && out != NULL && n <= BYTES_MAX && *len <= BYTES_MAX)
        keep(&h, in, n, out, *len);
    return rv;
}
