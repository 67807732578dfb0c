/* The rows of the conformance suite, for a cmocka group whose state is a struct kl_token *. */
#ifndef KL_TESTS_TOKEN_CONFORMANCE_LIST_H
#define KL_TESTS_TOKEN_CONFORMANCE_LIST_H

#include "tests/token/conformance.h"

#define CONFORMANCE_ROW(prefix, name)                                                              \
    {                                                                                              \
        prefix "__" #name, conformance__##name, NULL, NULL, NULL                                   \
    }
#define CONFORMANCE_TESTS(prefix)                                                                  \
    CONFORMANCE_ROW(prefix, a_new_key_decrypts_with_every_alg),                                    \
        CONFORMANCE_ROW(prefix, a_new_key_signs_with_every_alg),                                   \
        CONFORMANCE_ROW(prefix, every_curve_signs),                                                \
        CONFORMANCE_ROW(prefix, bad_ciphertexts_all_look_the_same),                                \
        CONFORMANCE_ROW(prefix, a_plain_text_that_begins_with_zeros_comes_back_whole),             \
        CONFORMANCE_ROW(prefix, another_fingerprint_is_another_key),                               \
        CONFORMANCE_ROW(prefix, find_shows_the_public_key),                                        \
        CONFORMANCE_ROW(prefix, an_id_is_given_once),                                              \
        CONFORMANCE_ROW(prefix, a_destroyed_key_is_gone_and_destroying_again_is_fine),             \
        CONFORMANCE_ROW(prefix, random_bytes_come_in_the_wanted_number),                           \
        CONFORMANCE_ROW(prefix, the_mac_depends_on_the_input_only),                                \
        CONFORMANCE_ROW(prefix, a_domain_key_goes_out_and_comes_back),                             \
        CONFORMANCE_ROW(prefix, a_fixed_key_stays),                                                \
        CONFORMANCE_ROW(prefix, a_damaged_blob_leaves_nothing_behind),                             \
        CONFORMANCE_ROW(prefix, list_shows_every_key_once),                                        \
        CONFORMANCE_ROW(prefix, many_calls_are_answered_once_each),                                \
        CONFORMANCE_ROW(prefix, too_much_input_is_refused)

#endif
