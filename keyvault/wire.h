/* JSON of the keys API <-> structs: bodies, identifiers, page tokens. No I/O, no tokens, no model
 * calls. Answers are written into buffers by hand (no tree in between); requests come as parsed
 * trees. Not thread safe per buffer. Source: reference of the Key Vault data plane, sections 3.1,
 * 4, 5. */
#ifndef KL_KEYVAULT_WIRE_H
#define KL_KEYVAULT_WIRE_H

#include "base/json.h"
#include "base/json_flat.h"
#include "keyvault/model/model.h"

#define KL_TAGS_MAX       15
#define KL_TAG_TEXT_MAX   256 /* characters of a name and of a value */
#define KL_ANSWER_CEILING ((size_t)24 << 20)

/* --- answers --- */

/** Append the identifier ORIGIN/COLLECTION/NAME[/VERSION], without quotes; version may be NULL. */
void kl_wire_put_id(struct kl_buf *out, const struct kl_origin *origin, const char *collection,
                    const char *name, const char *version);
/** "Recoverable+Purgeable" and its kin, by retention and purge protection. */
const char *kl_wire_recovery_level(const struct kl_vault *vault);

/** Append the member "attributes" but for its closing brace: what all kinds of objects have. */
void kl_wire_put_attributes(struct kl_buf *out, const struct kl_vault *vault,
                            const struct kl_key_attrs *attrs, int64_t created, int64_t updated);
/** Append ",recoveryId, deletedDate, scheduledPurgeDate"; `collection` is that of deleted ones. */
void kl_wire_put_recovery(struct kl_buf *out, const struct kl_origin *origin,
                          const char *collection, const char *name, int64_t deleted_at,
                          int64_t purge_at);

/** "generated", "attached" …: how a key came to its token. */
const char *kl_wire_origin(enum kl_key_origin origin);

/** Append a KeyBundle. */
void kl_wire_put_bundle(struct kl_buf *out, const struct kl_origin *origin,
                        const struct kl_vault *vault, const struct kl_key_version *key);
/** Append a DeletedKeyBundle. */
void kl_wire_put_deleted(struct kl_buf *out, const struct kl_origin *origin,
                         const struct kl_vault *vault, const struct kl_deleted_key *deleted);
/** Append a KeyItem; `versioned`: the identifier names the version. */
void kl_wire_put_item(struct kl_buf *out, const struct kl_origin *origin,
                      const struct kl_vault *vault, const struct kl_key_version *key,
                      bool versioned);
/** Append a DeletedKeyItem: row `i` of a deleted page. */
void kl_wire_put_deleted_item(struct kl_buf *out, const struct kl_origin *origin,
                              const struct kl_vault *vault, const struct kl_key_page *page,
                              size_t i);

/* --- requests --- */

/** The strings that a parsed request borrows live here; end with kl_wire_tags_done. */
struct kl_wire_tags {
    struct kl_buf text; /* JSON object, compact */
};
void kl_wire_tags_done(struct kl_wire_tags *t);

/** Characters, not bytes, of a UTF-8 text. */
size_t kl_wire_characters(const char *utf8);
/** Member "tags", with names and values up to text_max characters; *ret_json (in `tags`) keeps its
 * value when the member is absent or null. KL_BAD_INPUT. */
enum kl_code kl_wire_parse_tags(const json_t *body, size_t text_max, struct kl_wire_tags *tags,
                                const char **ret_json, struct kl_err *err) KL_MUST_USE;
/** Member "attributes": what is absent keeps its value, or its has_… flag. *ret_has_enabled whether
 * enabled was there. KL_BAD_INPUT. */
enum kl_code kl_wire_parse_attributes(const json_t *body, struct kl_key_attrs *ret,
                                      bool *ret_has_enabled, struct kl_err *err) KL_MUST_USE;

/** Body of create. `how->tags_json` points into `tags`. KL_BAD_INPUT naming what is wrong. */
enum kl_code kl_wire_parse_create(const json_t *body, struct kl_key_create *how,
                                  struct kl_wire_tags *tags, struct kl_err *err) KL_MUST_USE;

/** Body of import: what create has, and the JSON Web Key itself (borrowed from the body).
 * KL_BAD_INPUT. */
enum kl_code kl_wire_parse_import(const json_t *body, struct kl_key_create *how,
                                  struct kl_wire_tags *tags, const json_t **ret_jwk,
                                  struct kl_err *err) KL_MUST_USE;
/** Private key of a JSON Web Key (RFC 7518 sections 6.2.2 and 6.3.2, all CRT members) as PKCS#8
 * DER, consistent in itself. KL_BAD_INPUT without saying more than which member is missing. */
enum kl_code kl_wire_jwk_private(const json_t *jwk, enum kl_key_type type, struct kl_secret **ret,
                                 struct kl_err *err) KL_MUST_USE;

/** What Key Vault's BYOK file holds (member key_hsm, base64url of JSON, schema 1.0.0). */
struct kl_wire_byok {
    char name[KL_NAME_MAX + 1], version[KL_VERSION_LEN + 1]; /* of the key it is wrapped under */
    struct kl_secret *ciphertext;
};
/** Whether there is one, and it. Free the ciphertext. KL_BAD_INPUT.
 * Source: Key Vault documentation, keys/byok-specification.md. */
enum kl_code kl_wire_parse_byok(const json_t *jwk, struct kl_wire_byok *ret, bool *ret_present,
                                struct kl_err *err) KL_MUST_USE;

/** Body of update, with the values that the patch points to. */
struct kl_wire_patch {
    struct kl_key_patch patch;
    bool enabled;
    int64_t nbf, exp;
    unsigned ops;
    struct kl_wire_tags tags;
};
/** `type` is the key's: key_ops must fit it. End with kl_wire_tags_done(&ret->tags). */
enum kl_code kl_wire_parse_patch(const json_t *body, enum kl_key_type type,
                                 struct kl_wire_patch *ret, struct kl_err *err) KL_MUST_USE;

/** The text of member `name` as base64url into out[room]; empty or malformed is KL_BAD_INPUT. */
enum kl_code kl_wire_decode(struct kl_span text, const char *name, uint8_t *out, size_t room,
                            size_t *ret_len, struct kl_err *err) KL_MUST_USE;
/** Member `name` as base64url into out[room]; absent, empty or malformed is KL_BAD_INPUT. */
enum kl_code kl_wire_bytes(const json_t *body, const char *name, uint8_t *out, size_t room,
                           size_t *ret_len, struct kl_err *err) KL_MUST_USE;
/** Member `name` as text that must be there. */
enum kl_code kl_wire_text(const json_t *body, const char *name, const char **ret,
                          struct kl_err *err) KL_MUST_USE;

/* --- pages --- */

/** Append the $skiptoken of a listing: opaque for clients, bound to the kind of listing. */
void kl_wire_put_skiptoken(struct kl_buf *out, const char *listing, const char *marker);
/** The marker of a token that kl_wire_put_skiptoken made for the same listing. KL_BAD_INPUT. */
enum kl_code kl_wire_parse_skiptoken(const char *token, const char *listing, char *out, size_t room,
                                     struct kl_err *err) KL_MUST_USE;

#endif
