/* The nouns of the command line, in the order of the help. A noun's own file holds its rows. */
#include "cli/table.h"

const struct kl_noun *const kl_nouns[] = {
    &kl_noun_vault,  &kl_noun_key,  &kl_noun_secret,    &kl_noun_certificate,
    &kl_noun_policy, &kl_noun_role, &kl_noun_principal, &kl_noun_token,
    &kl_noun_audit,  &kl_noun_dev,  &kl_noun_stream,    &kl_noun_self,
};
const size_t kl_noun_count = KL_COUNT(kl_nouns);
