/* What every struct kl_token must do, whoever fills the table: run over the real client and over
 * the fake. */
#ifndef KL_TESTS_TOKEN_CONFORMANCE_H
#define KL_TESTS_TOKEN_CONFORMANCE_H

/** cmocka tests; *state is the struct kl_token *. */
void conformance__a_new_key_decrypts_with_every_alg(void **state);
void conformance__a_new_key_signs_with_every_alg(void **state);
void conformance__every_curve_signs(void **state);
void conformance__bad_ciphertexts_all_look_the_same(void **state);
void conformance__a_plain_text_that_begins_with_zeros_comes_back_whole(void **state);
void conformance__another_fingerprint_is_another_key(void **state);
void conformance__find_shows_the_public_key(void **state);
void conformance__an_id_is_given_once(void **state);
void conformance__a_destroyed_key_is_gone_and_destroying_again_is_fine(void **state);
void conformance__random_bytes_come_in_the_wanted_number(void **state);
void conformance__the_mac_depends_on_the_input_only(void **state);
void conformance__a_domain_key_goes_out_and_comes_back(void **state);
void conformance__a_fixed_key_stays(void **state);
void conformance__a_damaged_blob_leaves_nothing_behind(void **state);
void conformance__list_shows_every_key_once(void **state);
void conformance__many_calls_are_answered_once_each(void **state);
void conformance__too_much_input_is_refused(void **state);

#endif
