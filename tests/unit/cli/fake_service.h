/* A key service that says what it is told: HTTPS with the certificates of a development site, 401
 * challenge and token endpoint as Key Vault clients meet them, and canned answers. Written from the
 * interface, not from the service. Answers are set while no request runs. */
#ifndef KL_TESTS_UNIT_CLI_FAKE_SERVICE_H
#define KL_TESTS_UNIT_CLI_FAKE_SERVICE_H

#include "tests/unit/cli/capture.h"

#include <stdint.h>

/** Start it in this folder and point the KLUIS_… variables at it; the default vault is
 * demo.vault.localhost. */
void fake_start(const char *folder);
void fake_stop(void);
/** Its port. */
uint16_t fake_port(void);

/** Answer `method` on `path` (without query) with this status and body from now on. "%PORT%" in the
 * body becomes the port. Everything without an answer is 404. */
void fake_answer(const char *method, const char *path, int status, const char *body);
/** Forget all answers. */
void fake_forget(void);

/** The newest request of this method and path: its Host header, or its body; NULL when there was
 * none. */
const char *fake_seen_host(const char *method, const char *path);
const char *fake_seen_body(const char *method, const char *path);

#endif
