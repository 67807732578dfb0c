#include "pkcs11/worker/module.h"

#include "pkcs11/worker/attr.h"
#include "pkcs11/worker/ckr.h"
#include "pkcs11/worker/trust.h"

#include <dlfcn.h>
#include <link.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* PKCS#11 3.0 section 5.4.5; p11-kit 0.24's header ends at 2.40. */
struct interface {
    const char *name;
    void *function_list;
    CK_FLAGS flags;
};
typedef CK_RV get_interface(const char *name, CK_VERSION *version, struct interface **ret,
                            CK_FLAGS flags);
typedef CK_RV get_function_list(CK_FUNCTION_LIST **ret);

/* A symbol of the module itself: dlsym also searches what the module links against, and the wrong
 * C_GetInterface was seen (OpenSC issues 3580, 2875). */
static void *own_symbol(void *handle, const char *name)
{
    struct link_map *map = NULL;
    Dl_info where;
    void *p = dlsym(handle, name);
    if (p == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || dladdr(p, &where) == 0)
        return NULL;
    return (uintptr_t)where.dli_fbase == (uintptr_t)map->l_addr ? p : NULL;
}

static CK_FUNCTION_LIST *from_interface(void *handle)
{
    void *symbol = own_symbol(handle, "C_GetInterface");
    get_interface *get;
    struct interface *found = NULL;
    if (symbol == NULL)
        return NULL;
    memcpy(&get, &symbol, sizeof get);
    if (get("PKCS 11", NULL, &found, 0) != CKR_OK || found == NULL)
        return NULL;
    return found->function_list; /* every version begins with the functions of 2.40 */
}

static CK_FUNCTION_LIST *from_function_list(void *handle)
{
    void *symbol = dlsym(handle, "C_GetFunctionList");
    get_function_list *get;
    CK_FUNCTION_LIST *list = NULL;
    if (symbol == NULL)
        return NULL;
    memcpy(&get, &symbol, sizeof get);
    return get(&list) == CKR_OK ? list : NULL;
}

static enum kl_code initialise(struct kl_module *m, const char *path, const char *init_args,
                               struct kl_err *err)
{
    static char reserved[1024]; /* a module may keep the pointer */
    CK_C_INITIALIZE_ARGS args = {.flags = CKF_OS_LOCKING_OK};
    if (init_args[0] != 0) {
        (void)snprintf(reserved, sizeof reserved, "%s", init_args);
        args.pReserved = reserved;
    }
    CK_RV rv = m->f->C_Initialize(&args);
    /* This process was exec'd and never forks: whoever initialised it before us is the module
     * itself (OpenSC issue 960 met it after a fork). */
    if (rv != CKR_OK && rv != CKR_CRYPTOKI_ALREADY_INITIALIZED)
        return kl_ckr_fail(err, KL_TOKEN_UNAVAILABLE, rv, "C_Initialize",
                           "the module %s does not initialise: look for its configuration file, "
                           "variables and folders, and whether uid %ld may read them",
                           path, (long)geteuid());
    CK_INFO info;
    if (m->f->C_GetInfo(&info) == CKR_OK)
        kl_attr_trim(info.manufacturerID, sizeof info.manufacturerID, m->manufacturer);
    return KL_OK;
}

/* By its path and not by a descriptor: modules look for their parts beside themselves. */
static enum kl_code load(const struct kl_trusted *file, void **ret, struct kl_err *err)
{
    struct link_map *map = NULL;
    void *handle = dlopen(file->path, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) {
        enum kl_code code =
            kl_fail(err, KL_CONFIG, "dlopen", "the module %s cannot be loaded", file->path);
        if (err != NULL)
            (void)snprintf(err->detail, sizeof err->detail, "%s", dlerror());
        return code;
    }
    *ret = handle;
    return kl_trust_loaded(file, map->l_ld, err);
}

enum kl_code kl_module_open(const char *path, const char *sha256, const char *init_args,
                            struct kl_module *ret, struct kl_err *err)
{
    struct kl_trusted file;
    void *handle = NULL;
    enum kl_code code = kl_trust_module(path, sha256, &file, err);
    if (code == KL_OK)
        code = load(&file, &handle, err);
    if (code != KL_OK)
        return code;
    struct kl_module m = {.f = from_interface(handle)};
    if (m.f == NULL)
        m.f = from_function_list(handle);
    if (m.f == NULL)
        return kl_fail(err, KL_CONFIG, "C_GetFunctionList", "%s is no PKCS#11 module", path);
    code = initialise(&m, path, init_args, err);
    if (code == KL_OK)
        *ret = m;
    return code;
}

void kl_module_close(struct kl_module *m)
{
    (void)m->f->C_Finalize(NULL);
}
