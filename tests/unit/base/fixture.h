/* What several test programs of base need: a folder that goes away, small files, a self-signed
 * certificate. One thread. */
#ifndef KL_TESTS_UNIT_BASE_FIXTURE_H
#define KL_TESTS_UNIT_BASE_FIXTURE_H

/* cmocka wants these before itself */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/** cmocka group setup and teardown: *state becomes the path of a fresh folder. */
int fixture_folder(void **state);
int fixture_folder_gone(void **state);

/** "folder/name", malloc'd. */
char *fixture_path(const char *folder, const char *name);
/** The same after writing n bytes to it. */
char *fixture_file(const char *folder, const char *name, const void *bytes, size_t n);
/** The whole file, malloc'd, with a NUL behind. */
char *fixture_read(const char *path, size_t *ret_n);

/** Write cert.pem and key.pem (P-256, SAN DNS:localhost and IP:127.0.0.1) into the folder. */
void fixture_certificate(const char *folder);

#endif
