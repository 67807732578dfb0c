/* What the module exports. */
#include "tests/fault/fault.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* PKCS#11 3.0 section 5.4.5; p11-kit's header ends at 2.40. */
struct interface {
    const char *name;
    void *function_list;
    CK_FLAGS flags;
};

CK_FUNCTION_LIST *fault_real;

CK_RV C_GetInterface(const char *name, CK_VERSION *version, struct interface **ret, CK_FLAGS flags);

static void load(void)
{
    const struct fault_script *script = fault_script_now();
    const char *path = getenv("KLUIS_FAULT_MODULE");
    CK_C_GetFunctionList get;
    if (path == NULL)
        path = script->module;
    void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, "C_GetFunctionList") : NULL;
    if (symbol == NULL) {
        (void)fprintf(stderr, "kluis-fault: the real module '%s' cannot be loaded: %s\n", path,
                      dlerror());
        return;
    }
    memcpy(&get, &symbol, sizeof get);
    if (get(&fault_real) != CKR_OK)
        fault_real = NULL;
    fault_functions.C_GetFunctionList = C_GetFunctionList;
    if (script->no_interface)
        fault_functions.version = (CK_VERSION){3, 2};
}

static bool is_loaded(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, load);
    return fault_real != NULL;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
    if (!is_loaded())
        return CKR_GENERAL_ERROR;
    *ret = &fault_functions;
    return CKR_OK;
}

CK_RV C_GetInterface(const char *name, CK_VERSION *version, struct interface **ret, CK_FLAGS flags)
{
    static struct interface only = {.name = "PKCS 11", .function_list = &fault_functions};
    if (!is_loaded())
        return CKR_GENERAL_ERROR;
    if (fault_script_now()->no_interface)
        return CKR_FUNCTION_NOT_SUPPORTED;
    if ((name != NULL && strcmp(name, only.name) != 0) || version != NULL || flags != 0)
        return CKR_ARGUMENTS_BAD;
    *ret = &only;
    return CKR_OK;
}
