#include "pkcs11/worker/attr.h"

#include <string.h>

void kl_attr_trim(const unsigned char *field, size_t n, char *out)
{
    while (n > 0 && (field[n - 1] == ' ' || field[n - 1] == 0))
        n--;
    memcpy(out, field, n);
    out[n] = 0;
}

CK_RV kl_attr_read(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object,
                   CK_ATTRIBUTE *attrs, CK_ULONG count)
{
    CK_RV rv = f->C_GetAttributeValue(session, object, attrs, count);
    if (rv == CKR_ATTRIBUTE_TYPE_INVALID || rv == CKR_ATTRIBUTE_SENSITIVE)
        return CKR_OK;
    return rv;
}

CK_RV kl_attr_find(CK_FUNCTION_LIST *f, CK_SESSION_HANDLE session, CK_ATTRIBUTE *match,
                   CK_ULONG count, CK_OBJECT_HANDLE *ret, CK_ULONG room, CK_ULONG *ret_count)
{
    CK_ULONG found = 0, step = 0;
    CK_RV rv = f->C_FindObjectsInit(session, match, count);
    if (rv != CKR_OK)
        return rv;
    do {
        step = 0;
        rv = f->C_FindObjects(session, ret + found, room - found, &step);
        if (step > room - found)
            rv = CKR_GENERAL_ERROR;
        found += rv == CKR_OK ? step : 0;
    } while (rv == CKR_OK && step > 0 && found < room);
    CK_RV end = f->C_FindObjectsFinal(session); /* left open it would block the session */
    if (rv == CKR_OK)
        rv = end;
    if (rv == CKR_OK)
        *ret_count = found;
    return rv;
}
