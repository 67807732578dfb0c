/* Known deviations of modules, one table (quirk.c). Code tests a flag, never a vendor's name. Pure.
 */
#ifndef KL_PKCS11_WORKER_QUIRK_H
#define KL_PKCS11_WORKER_QUIRK_H

#include <p11-kit/pkcs11.h>

enum kl_quirk {
    KL_QUIRK_NEVER_SYNCS = 1, /* a made object is on disk only after syncfs: store_dir is needed */
    KL_QUIRK_LATE_READBACK = 2,     /* SENSITIVE reads false until the next C_Initialize */
    KL_QUIRK_FORGETS_SENSITIVE = 4, /* C_UnwrapKey ignores SENSITIVE; setting it afterwards works */
    KL_QUIRK_NO_SESSION_OBJECTS = 8, /* refuses every one */
    KL_QUIRK_FALSE_REFUSED = 16,     /* refuses usage flags that are false, after making the key */
};

/** All flags of a token in a library of this manufacturer (trimmed). */
unsigned kl_quirk_flags(const char *library_manufacturer, const CK_TOKEN_INFO *info);

#endif
