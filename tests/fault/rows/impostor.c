/* A module of PKCS#11 2.40 that passes everything on, without C_GetInterface; dlsym finds one all
 * the same, in the library that it links against. */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <stdlib.h>
#include <string.h>

int foreign_answer(void);
CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret);

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
    CK_C_GetFunctionList get;
    void *handle = dlopen(getenv("KLUIS_FAULT_MODULE"), RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, "C_GetFunctionList") : NULL;
    if (symbol == NULL || foreign_answer() != 42)
        return CKR_GENERAL_ERROR;
    memcpy(&get, &symbol, sizeof get);
    return get(ret);
}
