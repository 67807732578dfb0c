#include "pkcs11/worker/spki.h"

#include "pkcs11/worker/mech.h"

#include <string.h>

static const uint8_t rsa_algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
static const uint8_t ec_oid[] = {0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01};
static const uint8_t p256_oid[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384_oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t p521_oid[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};

static const struct {
    const uint8_t *oid;
    size_t len;
} curves[] = {
    [KL_CURVE_P256] = {p256_oid, sizeof p256_oid},
    [KL_CURVE_P384] = {p384_oid, sizeof p384_oid},
    [KL_CURVE_P521] = {p521_oid, sizeof p521_oid},
};

/* Bytes of tag and length in front of n bytes of content, n < 65536. */
static size_t head_len(size_t n)
{
    return n < 0x80 ? 2 : n < 0x100 ? 3 : 4;
}

static uint8_t *put_head(uint8_t *p, uint8_t tag, size_t n)
{
    *p++ = tag;
    if (n >= 0x100) {
        *p++ = 0x82;
        *p++ = (uint8_t)(n >> 8);
    } else if (n >= 0x80) {
        *p++ = 0x81;
    }
    *p++ = (uint8_t)n;
    return p;
}

static uint8_t *put_bytes(uint8_t *p, const uint8_t *bytes, size_t n)
{
    memcpy(p, bytes, n);
    return p + n;
}

static void strip(const uint8_t **bytes, size_t *n)
{
    while (*n > 0 && **bytes == 0) {
        (*bytes)++;
        (*n)--;
    }
}

static uint8_t *put_integer(uint8_t *p, const uint8_t *bytes, size_t n)
{
    size_t pad = bytes[0] >= 0x80;
    p = put_head(p, 0x02, n + pad);
    if (pad)
        *p++ = 0;
    return put_bytes(p, bytes, n);
}

size_t kl_spki_put_rsa(const uint8_t *n, size_t n_len, const uint8_t *e, size_t e_len,
                       uint8_t out[static KL_SPKI_MAX])
{
    strip(&n, &n_len);
    strip(&e, &e_len);
    if (n_len == 0 || e_len == 0 || n_len > 512 || e_len > 8)
        return 0;
    size_t n_int = n_len + (n[0] >= 0x80), e_int = e_len + (e[0] >= 0x80);
    size_t pair = head_len(n_int) + n_int + head_len(e_int) + e_int;
    size_t bits = 1 + head_len(pair) + pair;
    size_t all = sizeof rsa_algorithm + head_len(bits) + bits;
    uint8_t *p = put_head(out, 0x30, all);
    p = put_bytes(p, rsa_algorithm, sizeof rsa_algorithm);
    p = put_head(p, 0x03, bits);
    *p++ = 0;
    p = put_head(p, 0x30, pair);
    p = put_integer(p, n, n_len);
    p = put_integer(p, e, e_len);
    return (size_t)(p - out);
}

size_t kl_spki_put_ec(enum kl_curve curve, const uint8_t *point, size_t point_len,
                      uint8_t out[static KL_SPKI_MAX])
{
    size_t bare = 1 + 2 * kl_curve_bytes(curve), oid_len;
    const uint8_t *oid = kl_spki_curve_oid(curve, &oid_len);
    if (oid == NULL)
        return 0;
    if (point_len == bare + head_len(bare) && point[0] == 0x04) {
        uint8_t head[4];
        size_t n = (size_t)(put_head(head, 0x04, bare) - head);
        if (memcmp(head, point, n) != 0)
            return 0;
        point += n;
        point_len -= n;
    }
    if (point_len != bare || point[0] != 0x04)
        return 0;
    size_t algorithm = sizeof ec_oid + oid_len, bits = 1 + bare;
    uint8_t *p = put_head(out, 0x30, 2 + algorithm + head_len(bits) + bits);
    p = put_head(p, 0x30, algorithm);
    p = put_bytes(p, ec_oid, sizeof ec_oid);
    p = put_bytes(p, oid, oid_len);
    p = put_head(p, 0x03, bits);
    *p++ = 0;
    p = put_bytes(p, point, point_len);
    return (size_t)(p - out);
}

const uint8_t *kl_spki_curve_oid(enum kl_curve curve, size_t *ret_len)
{
    if (curve <= KL_CURVE_NONE || (size_t)curve >= KL_COUNT(curves))
        return NULL;
    *ret_len = curves[curve].len;
    return curves[curve].oid;
}

enum kl_curve kl_spki_curve_of(const uint8_t *params, size_t n)
{
    for (size_t i = KL_CURVE_P256; i < KL_COUNT(curves); i++)
        if (n == curves[i].len && memcmp(params, curves[i].oid, n) == 0)
            return (enum kl_curve)i;
    return KL_CURVE_NONE;
}

const uint8_t *kl_spki_point(enum kl_curve curve, const uint8_t *spki, size_t n, size_t *ret_len)
{
    uint8_t again[KL_SPKI_MAX];
    size_t bare = 1 + 2 * kl_curve_bytes(curve);
    if (curve == KL_CURVE_NONE || n < bare)
        return NULL;
    const uint8_t *point = spki + n - bare;
    if (kl_spki_put_ec(curve, point, bare, again) != n || memcmp(again, spki, n) != 0)
        return NULL;
    *ret_len = bare;
    return point;
}
