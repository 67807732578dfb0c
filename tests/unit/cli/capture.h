/* One whole command line inside the test program. One thread. */
#ifndef KL_TESTS_UNIT_CLI_CAPTURE_H
#define KL_TESTS_UNIT_CLI_CAPTURE_H

#include "tests/unit/base/fixture.h"

/* What came of it; valid until the next call. */
extern char capture_out[1 << 20], capture_err[1 << 16];

/** Run `kluis WORDS` (parted by blanks; a word never holds one) with standard input from /dev/null
 * and return its exit code. */
int capture(const char *words);

/** cmocka group teardown for fixture_folder, folders inside included. */
int capture_folder_gone(void **state);

#endif
