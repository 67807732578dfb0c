#include "pkcs11/worker/litter.h"

#include "base/clock.h"
#include "base/io.h"
#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/session.h"

#include <errno.h>
#include <openssl/evp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define MARK_AT    0
#define MACHINE_AT 2
#define PID_AT     6
#define TIME_AT    10
#define DAY_S      86400
#define ROUND      64

static const CK_BBOOL yes = CK_TRUE;

static void put_number(uint8_t *to, uint32_t value)
{
    for (size_t i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
}

static uint32_t get_number(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/* machine-id(5), hashed as its page asks; a machine without one has zeros. */
static void machine(uint8_t ret[static 4])
{
    KL_AUTO(char) text = NULL;
    size_t n = 0;
    uint8_t hash[32] = {0};
    if (kl_io_read_file("/etc/machine-id", 256, &text, &n, NULL) == KL_OK)
        (void)EVP_Digest(text, n, hash, NULL, EVP_sha256(), NULL);
    memcpy(ret, hash, 4);
}

void kl_litter_id(uint8_t ret[static KL_KEY_ID_LEN])
{
    static atomic_uint serial;
    unsigned number = atomic_fetch_add(&serial, 1);
    memcpy(ret + MARK_AT, "kt", 2);
    machine(ret + MACHINE_AT);
    put_number(ret + PID_AT, (uint32_t)getpid());
    put_number(ret + TIME_AT, (uint32_t)(kl_clock_unix_ms() / 1000));
    ret[14] = (uint8_t)(number >> 8);
    ret[15] = (uint8_t)number;
}

static bool is_litter(const uint8_t *id, size_t n, bool own)
{
    uint8_t here[4];
    if (n != KL_KEY_ID_LEN || memcmp(id + MARK_AT, "kt", 2) != 0)
        return false;
    machine(here);
    if (memcmp(id + MACHINE_AT, here, sizeof here) != 0)
        return kl_clock_unix_ms() / 1000 - (int64_t)get_number(id + TIME_AT) > DAY_S;
    pid_t pid = (pid_t)get_number(id + PID_AT);
    if (pid == getpid())
        return own;
    return pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH);
}

/* One look: destroys what may go, and counts what must stay. */
static CK_RV sweep_round(struct kl_session *s, bool own, CK_ULONG *ret_seen, unsigned *ret_gone)
{
    CK_OBJECT_HANDLE found[ROUND];
    CK_ATTRIBUTE match[] = {KL_ATTR_VALUE(CKA_TOKEN, yes),
                            KL_ATTR(CKA_LABEL, KL_LITTER_LABEL, sizeof KL_LITTER_LABEL - 1)};
    CK_RV rv = kl_session_ensure(s);
    if (rv == CKR_OK)
        rv = kl_attr_find(kl_f(s), s->handle, match, KL_COUNT(match), found, ROUND, ret_seen);
    for (CK_ULONG i = 0; rv == CKR_OK && i < *ret_seen; i++) {
        uint8_t id[64];
        CK_ATTRIBUTE attr = KL_ATTR(CKA_ID, id, sizeof id);
        rv = kl_attr_read(kl_f(s), s->handle, found[i], &attr, 1);
        if (rv != CKR_OK || !is_litter(id, attr.ulValueLen, own))
            continue;
        rv = kl_f(s)->C_DestroyObject(s->handle, found[i]);
        *ret_gone += rv == CKR_OK;
    }
    return rv == CKR_OBJECT_HANDLE_INVALID ? CKR_OK : rv; /* another one was quicker */
}

CK_RV kl_litter_sweep(struct kl_session *s, bool own, unsigned *ret_count)
{
    unsigned total = 0;
    CK_RV rv = CKR_OK;
    for (unsigned gone = 1; rv == CKR_OK && gone > 0;) {
        CK_ULONG seen = 0;
        gone = 0;
        rv = sweep_round(s, own, &seen, &gone);
        total += gone;
    }
    *ret_count = total;
    return rv;
}
