#include "tests/token/site.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "tests/token/conformance_list.h"

static struct site site;

static int set_up(void **state)
{
    site_make(&site, true);
    *state = site_open(&site);
    return site_wait(*state, KL_TOKEN_READY, 10000) ? 0 : -1;
}

static int tear_down(void **state)
{
    kl_token_close(*state);
    site_remove(&site);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS("test_token_softhsm")};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
