/* Every noun's rows, one declaration each; table.c puts them in order. Constants: any thread. */
#ifndef KL_CLI_TABLE_H
#define KL_CLI_TABLE_H

#include "cli/command.h"

extern const struct kl_noun kl_noun_vault;       /* cmd_vault.c */
extern const struct kl_noun kl_noun_key;         /* cmd_key.c */
extern const struct kl_noun kl_noun_secret;      /* cmd_secret.c */
extern const struct kl_noun kl_noun_certificate; /* cmd_certificate.c */
extern const struct kl_noun kl_noun_policy;      /* cmd_policy.c */
extern const struct kl_noun kl_noun_role;        /* cmd_role.c */
extern const struct kl_noun kl_noun_principal;   /* cmd_principal.c */
extern const struct kl_noun kl_noun_token;       /* cmd_token.c */
extern const struct kl_noun kl_noun_audit;       /* cmd_audit.c */
extern const struct kl_noun kl_noun_stream; /* cmd_stream.c: encrypt, decrypt, inspect, rewrap */
extern const struct kl_noun kl_noun_dev;    /* cmd_dev.c */
extern const struct kl_noun kl_noun_self;   /* cmd_self.c: login, version, completion, … */

#endif
