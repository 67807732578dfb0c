/* Who a name means: principals by display name, client id or object id. Not thread safe. */
#ifndef KL_CLI_PRINCIPAL_H
#define KL_CLI_PRINCIPAL_H

#include "base/encoding.h"
#include "cli/command.h"

/** The object id of `who`: a GUID is looked up as object id or client id and, when the caller may
 * not list principals, taken as object id; a name must match exactly one principal, or (for callers
 * who may not list them) one policy of the vault `vault` (may be NULL). KL_NOT_FOUND, KL_USAGE when
 *  ambiguous. */
enum kl_code kl_principal_find(struct kl_cmd *cmd, const char *who, const char *vault,
                               char ret[static KL_UUID_LEN + 1], struct kl_err *err) KL_MUST_USE;

#endif
