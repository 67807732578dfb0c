/* Wycheproof RSAES-OAEP files of tests/fixtures/wycheproof. One thread. */
#ifndef KL_TESTS_TOKEN_VECTORS_H
#define KL_TESTS_TOKEN_VECTORS_H

#include "pkcs11/token.h"

struct oaep_vector {
    int id;
    bool good; /* opens with an empty label: `valid`, no label, and hash and MGF1 of one kind */
    uint8_t plain[512], cipher[520];
    size_t plain_len, cipher_len;
};

struct oaep_file {
    uint8_t key[3000]; /* PKCS#8 */
    size_t key_len;
    struct oaep_vector *vectors;
    size_t count;
};

/** Read a file by name; fails the test when something is amiss. Free with vectors_done. */
void vectors_read(const char *name, struct oaep_file *ret);
void vectors_done(struct oaep_file *f);

/** All files: name and the algorithm that its ciphertexts are tried with. */
extern const struct oaep_file_row {
    const char *name;
    enum kl_token_alg alg;
} oaep_files[];
extern const size_t oaep_file_count;

#endif
