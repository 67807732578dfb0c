/* A PKCS#11 module that passes everything on to the one named by $KLUIS_SHIM_MODULE, counts logins
 * in $KLUIS_SHIM_DIR/logins (one byte each), and does to one function what the file
 * $KLUIS_SHIM_DIR/fault says: "FUNCTION rv 0x30" (return this), "FUNCTION hang", "FUNCTION abort".
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST list;

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret);

static int in_folder(const char *name, int flags)
{
    char path[512];
    (void)snprintf(path, sizeof path, "%s/%s", getenv("KLUIS_SHIM_DIR"), name);
    return open(path, flags | O_CLOEXEC, 0600);
}

static CK_RV fault(const char *function)
{
    char text[128] = "", name[32] = "", what[16] = "";
    unsigned long rv = CKR_OK;
    int fd = in_folder("fault", O_RDONLY);
    if (fd < 0)
        return CKR_OK;
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0 || sscanf(text, "%31s %15s %lx", name, what, &rv) < 2 || strcmp(name, function) != 0)
        return CKR_OK;
    if (strcmp(what, "abort") == 0)
        abort();
    while (strcmp(what, "hang") == 0)
        (void)pause();
    return rv;
}

static CK_RV login(CK_SESSION_HANDLE s, CK_USER_TYPE who, CK_UTF8CHAR *pin, CK_ULONG n)
{
    int fd = in_folder("logins", O_WRONLY | O_CREAT | O_APPEND);
    if (fd < 0 || write(fd, ".", 1) != 1)
        abort();
    (void)close(fd);
    CK_RV rv = fault("C_Login");
    return rv != CKR_OK ? rv : real->C_Login(s, who, pin, n);
}

static CK_RV decrypt(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *ret)
{
    CK_RV rv = fault("C_Decrypt");
    return rv != CKR_OK ? rv : real->C_Decrypt(s, in, n, out, ret);
}

static CK_RV sign(CK_SESSION_HANDLE s, CK_BYTE *in, CK_ULONG n, CK_BYTE *out, CK_ULONG *ret)
{
    CK_RV rv = fault("C_Sign");
    return rv != CKR_OK ? rv : real->C_Sign(s, in, n, out, ret);
}

static CK_RV find_init(CK_SESSION_HANDLE s, CK_ATTRIBUTE *match, CK_ULONG n)
{
    CK_RV rv = fault("C_FindObjectsInit");
    return rv != CKR_OK ? rv : real->C_FindObjectsInit(s, match, n);
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST **ret)
{
    void *handle = dlopen(getenv("KLUIS_SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
    void *symbol = handle != NULL ? dlsym(handle, "C_GetFunctionList") : NULL;
    CK_C_GetFunctionList get;
    if (symbol == NULL)
        return CKR_GENERAL_ERROR;
    memcpy(&get, &symbol, sizeof get);
    CK_RV rv = get(&real);
    if (rv != CKR_OK)
        return rv;
    list = *real;
    list.C_Login = login;
    list.C_Decrypt = decrypt;
    list.C_Sign = sign;
    list.C_FindObjectsInit = find_init;
    *ret = &list;
    return CKR_OK;
}
