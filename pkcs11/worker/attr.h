/* Attributes and blank-padded text of PKCS#11. Pure, apart from the reading calls. */
#ifndef KL_PKCS11_WORKER_ATTR_H
#define KL_PKCS11_WORKER_ATTR_H

#include "base/err.h"

#include <p11-kit/pkcs11.h>
#include <stdbool.h>

/** Rows of a template on the stack. */
#define KL_ATTR(type, pointer, length)                                                             \
    (CK_ATTRIBUTE)                                                                                 \
    {                                                                                              \
        (type), (void *)(pointer), (CK_ULONG)(length)                                              \
    }
#define KL_ATTR_VALUE(type, lvalue) KL_ATTR(type, &(lvalue), sizeof(lvalue))

/** Drop trailing blanks and NULs of a fixed field; out gets n + 1 bytes at most, NUL-terminated. */
void kl_attr_trim(const unsigned char *field, size_t n, char *out);

/** C_GetAttributeValue where single attributes may be missing: those have ulValueLen
 * CK_UNAVAILABLE_INFORMATION afterwards. Only an error that concerns the whole call is returned.
 * Source: PKCS#11 2.40 section 5.7.5. */
CK_RV kl_attr_read(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                   CK_ATTRIBUTE *attrs, CK_ULONG count);

/** The attribute was there and n bytes long. */
static inline bool kl_attr_has(const CK_ATTRIBUTE *a, size_t n)
{
    return a->ulValueLen == n;
}

/** Up to `room` handles of objects that match; *ret_count may be less than there are. Always ends
 * the search. */
CK_RV kl_attr_find(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_ATTRIBUTE *match,
                   CK_ULONG count, CK_OBJECT_HANDLE *ret, CK_ULONG room, CK_ULONG *ret_count);

#endif
