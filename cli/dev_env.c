/* A given token's module is told by variables of its own where its things are; a site keeps them,
 * so that it can be opened again from any shell. */
#include "cli/dev_site.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

extern char **environ;

/* By name, as the whole environment would be too much: places and log levels, never a PIN. */
static const char *const patterns[] = {
    "SOFTHSM2_CONF",
    "KRYOPTIC_CONF",
    "NSS_*",
    "TPM2_PKCS11_STORE",
    "TPM2_PKCS11_TCTI",
    "TPM2_PKCS11_BACKEND",
    "TPM2_PKCS11_LOG_LEVEL",
    "TSS2_*",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "P11_KIT_*",
    "XDG_CONFIG_HOME",
    "PKCS11SPY*",
    "PKCS11_PROXY_SOCKET",
    "OPENSC_CONF",
    "WOLFPKCS11_TOKEN_PATH",
    "YUBIHSM_PKCS11_CONF",
    "P11NETHSM_CONFIG_FILE",
    "KMS_PKCS11_CONFIG",
    "ChrystokiConfigurationPath",
    "CKNFAST_*",
    "CS_PKCS11_R*_CFG",
};

static bool belongs_to_token(const char *name)
{
    for (size_t i = 0; i < KL_COUNT(patterns); i++) {
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    }
    return false;
}

/* What was kept and is not set now. */
static enum kl_code restore(const struct kl_dev_site *s, struct kl_err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach(s->token_env, name, value)
    {
        if (json_is_string(value) && setenv(name, json_string_value(value), 0) != 0)
            return kl_fail_errno(err, "setenv", "cannot set %s", name);
    }
    return KL_OK;
}

enum kl_code kl_dev_token_environment(struct kl_dev_site *s, struct kl_err *err)
{
    enum kl_code code;

    if (s->own_token)
        return KL_OK;
    if (s->token_env == NULL)
        s->token_env = json_object();
    code = restore(s, err);
    for (char **row = environ; code == KL_OK && *row != NULL; row++) {
        const char *equals = strchr(*row, '=');
        KL_AUTO(char) name = equals != NULL ? strndup(*row, (size_t)(equals - *row)) : NULL;

        if (name != NULL && belongs_to_token(name) &&
            json_object_set_new(s->token_env, name, json_string(equals + 1)) != 0)
            code = kl_fail(err, KL_BAD_INPUT, "json", "%s is not valid UTF-8", name);
    }
    return code;
}
