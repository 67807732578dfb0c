#include "pkcs11/worker/quirk.h"

#include "pkcs11/worker/attr.h"

#include <fnmatch.h>

/* Patterns as of fnmatch(3). */
static const struct row {
    const char *library, *model;
    unsigned flags;
    const char *evidence;
} rows[] = {
    {"*", "SoftHSM v*", KL_QUIRK_NEVER_SYNCS, /* also seen through p11-kit's proxy and client */
     "2.6.1: a generation wrote 73 times without one fsync; after a power cut no key was left"},
    {"*", "IBM SoftTok*", KL_QUIRK_NEVER_SYNCS,
     "openCryptoki 3.8.1: a generation under strace made five files without one fsync"},
    {"OpenSC*", "*", KL_QUIRK_LATE_READBACK,
     "0.23 with IsoApplet: SENSITIVE=0 and LOCAL=0 right after generation, right after C_Initialize"},
    {"IBM*", "IBM SoftTok*", KL_QUIRK_FORGETS_SENSITIVE,
     "openCryptoki 3.8.1: an unwrapped key reads SENSITIVE=0 though the template said 1"},
    {"tpm2-software*", "*", KL_QUIRK_NO_SESSION_OBJECTS | KL_QUIRK_FALSE_REFUSED,
     "tpm2-pkcs11 1.9.0: ATTRIBUTE_VALUE_INVALID for TOKEN=0; GENERAL_ERROR for SIGN=0 or VERIFY=0 "
     "when the TPM has made the key already, so that each key took two"},
};

unsigned kl_quirk_flags(const char *library_manufacturer, const CK_TOKEN_INFO *info)
{
    char model[sizeof info->model + 1];
    unsigned flags = 0;
    kl_attr_trim(info->model, sizeof info->model, model);
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        if (fnmatch(rows[i].library, library_manufacturer, 0) == 0 &&
            fnmatch(rows[i].model, model, 0) == 0)
            flags |= rows[i].flags;
    return flags;
}
