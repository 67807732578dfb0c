/* A model on a scratch database with fake tokens, for the test_model_… programs, and a store that
 * can be made to fail or to die at a chosen commit. */
#ifndef KL_TESTS_MODEL_SUPPORT_H
#define KL_TESTS_MODEL_SUPPORT_H

#include "keyvault/model/model.h"
#include "keyvault/store/store.h"
#include "tests/lib/fake_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct site {
    char folder[64], database[128];
    struct kl_token *token;
    struct kl_model *m;
    struct kl_vault *open, *safe; /* 7 days without, 10 days with purge protection */
    struct kl_err err;
};

/** New folder, token and database; two vaults. */
void site_begin(struct site *s);
/** The same on a token that never made a MAC. */
void site_begin_without_mac(struct site *s);
/** Close the model and open the same database again, as after a restart. Vaults are looked up again
 * (NULL when gone). */
void site_restart(struct site *s);
void site_end(struct site *s);

/** A test that runs on a new `site` (struct site *), which is gone afterwards. */
#define site_test(function, site)                                                                  \
    cmocka_unit_test_prestate_setup_teardown(function, site_setup, site_teardown, site)
int site_setup(void **state);
int site_teardown(void **state);

/** Use a vault's newest snapshot from now on. */
void site_reload(struct site *s);

/** A P-256 key, or RSA-2048 where the case needs it; fails the test unless it works. */
struct kl_key_version *site_key(struct site *s, struct kl_vault *v, const char *name);
enum kl_code site_try_key(struct site *s, struct kl_vault *v, const char *name);
/** Code of finding the newest version of a key. */
enum kl_code site_find(struct site *s, struct kl_vault *v, const char *name);
enum kl_code site_delete(struct site *s, struct kl_vault *v, const char *name);
enum kl_code site_recover(struct site *s, struct kl_vault *v, const char *name);
enum kl_code site_purge(struct site *s, struct kl_vault *v, const char *name);
struct kl_reconcile_report site_reconcile(struct site *s);

/** Run SQL on the database file behind the model's back. */
void site_sql(struct site *s, const char *sql);
/** First column of the first row as a number. */
int64_t site_sql_number(struct site *s, const char *sql);

#define assert_code(expected, actual)                                                              \
    assert_string_equal(kl_code_name(expected), kl_code_name(actual))
#define assert_ok(actual) assert_code(KL_OK, actual)

enum store_fault {
    STORE_WELL,
    STORE_REFUSE,     /* this one commit fails with KL_NO_SPACE and does nothing */
    STORE_DIE_BEFORE, /* the commit does nothing, and nothing works any more */
    STORE_DIE_AFTER,  /* the commit takes effect, but nobody hears of it, and nothing works any more
                       */
    STORE_LIE,        /* the commit takes effect and answers KL_IO; the store goes on */
};

/** The n-th commit from now (1 = the next) does this. */
void store_fault(enum store_fault kind, unsigned n);
/** Was it reached? */
bool store_fault_hit(void);
/** Commits so far. */
unsigned store_commits(void);

/** SQLite with the faults above. */
extern const struct kl_store_ops faulty_store;

#endif
