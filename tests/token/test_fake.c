#include "tests/lib/fake_token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "tests/token/conformance_list.h"

static int set_up(void **state)
{
    *state = fake_token_new("fake", "domain");
    return *state != NULL ? 0 : -1;
}

static int tear_down(void **state)
{
    kl_token_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {CONFORMANCE_TESTS("test_token_fake")};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
