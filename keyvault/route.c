#include "keyvault/route.h"

#include "keyvault/arm.h"
#include "keyvault/op_admin.h"
#include "keyvault/ops.h"

#include <strings.h>
#include <string.h>

#define MAX_NODES    512
#define MAX_SEGMENTS 10
#define MAX_ROWS     160

#define HOST(m, p, permission_, run_, handler_, audit_, summary_)                                  \
    {                                                                                              \
        .method = (m), .path = (p), .scope = KL_SCOPE_HOST, .permission = (permission_),           \
        .run = (run_), .handler = (handler_), .audit = (audit_), .summary = (summary_)             \
    }
#define OPEN(m, p, handler_, summary_)                                                             \
    {                                                                                              \
        .method = (m), .path = (p), .scope = KL_SCOPE_OPEN, .run = KL_RUN_LOOP,                    \
        .handler = (handler_), .summary = (summary_)                                               \
    }

static const struct kl_route data_routes[] = {
    /* keys */
    HOST("POST", "/keys/{name}/create", KL_MAY_KEY_CREATE, KL_RUN_JOB, kl_op_key_create,
         "KeyCreate", "Make a key, or a new version of one"),
    HOST("GET", "/keys/{name}/{version}", KL_MAY_KEY_GET, KL_RUN_LOOP, kl_op_key_get, "KeyGet",
         "Public half and attributes of a key version"),
    HOST("PATCH", "/keys/{name}/{version}", KL_MAY_KEY_UPDATE, KL_RUN_JOB, kl_op_key_update,
         "KeyUpdate", "Change attributes, tags and permitted operations"),
    HOST("POST", "/keys/{name}/rotate", KL_MAY_KEY_ROTATE, KL_RUN_JOB, kl_op_key_rotate,
         "KeyRotate", "Make a new version like the newest"),
    HOST("GET", "/keys/{name}/rotationpolicy", KL_MAY_KEY_GETROTATIONPOLICY, KL_RUN_READ,
         kl_op_rotation_get, "KeyRotationPolicyGet", "When a key rotates and who is told"),
    HOST("PUT", "/keys/{name}/rotationpolicy", KL_MAY_KEY_SETROTATIONPOLICY, KL_RUN_JOB,
         kl_op_rotation_put, "KeyRotationPolicySet", "Set when a key rotates and who is told"),
    HOST("POST", "/keys/{name}/{version}/release", KL_MAY_KEY_RELEASE, KL_RUN_LOOP,
         kl_op_key_release, "KeyRelease", "Always refused: no key leaves its token"),
    HOST("PUT", "/keys/{name}", KL_MAY_KEY_IMPORT, KL_RUN_JOB, kl_op_key_import, "KeyImport",
         "Import a private key as a JSON Web Key, or wrapped (key_hsm)"),
    HOST("GET", "/keys", KL_MAY_KEY_LIST, KL_RUN_READ, kl_op_key_list, "KeyList",
         "Keys of the vault, by pages"),
    HOST("GET", "/keys/{name}/versions", KL_MAY_KEY_LIST, KL_RUN_READ, kl_op_key_versions,
         "KeyListVersions", "Versions of a key, by pages"),
    /* operations with a key */
    HOST("POST", "/keys/{name}/{version}/encrypt", KL_MAY_KEY_ENCRYPT, KL_RUN_LOOP, kl_op_encrypt,
         "KeyEncrypt", "Encrypt a short value"),
    HOST("POST", "/keys/{name}/{version}/decrypt", KL_MAY_KEY_DECRYPT, KL_RUN_LOOP, kl_op_decrypt,
         "KeyDecrypt", "Decrypt a short value on the token"),
    HOST("POST", "/keys/{name}/{version}/wrapkey", KL_MAY_KEY_WRAP, KL_RUN_LOOP, kl_op_wrap,
         "KeyWrap", "Wrap a data key"),
    HOST("POST", "/keys/{name}/{version}/unwrapkey", KL_MAY_KEY_UNWRAP, KL_RUN_LOOP, kl_op_unwrap,
         "KeyUnwrap", "Unwrap a data key on the token"),
    HOST("POST", "/keys/{name}/{version}/sign", KL_MAY_KEY_SIGN, KL_RUN_LOOP, kl_op_sign, "KeySign",
         "Sign a digest on the token"),
    HOST("POST", "/keys/{name}/{version}/verify", KL_MAY_KEY_VERIFY, KL_RUN_LOOP, kl_op_verify,
         "KeyVerify", "Verify a signature over a digest"),
    HOST("POST", "/rng", KL_MAY_KEY_GET, KL_RUN_LOOP, kl_op_random, "RandomBytesGet",
         "Random bytes from the token"),
    /* soft delete */
    HOST("DELETE", "/keys/{name}", KL_MAY_KEY_DELETE, KL_RUN_JOB, kl_op_key_delete, "KeyDelete",
         "Delete a key with all its versions, recoverably"),
    HOST("GET", "/deletedkeys", KL_MAY_KEY_LIST, KL_RUN_READ, kl_op_deleted_list, "KeyListDeleted",
         "Deleted keys of the vault, by pages"),
    HOST("GET", "/deletedkeys/{name}", KL_MAY_KEY_GET, KL_RUN_READ, kl_op_deleted_get,
         "KeyGetDeleted", "A deleted key"),
    HOST("POST", "/deletedkeys/{name}/recover", KL_MAY_KEY_RECOVER, KL_RUN_JOB,
         kl_op_deleted_recover, "KeyRecover", "Make a deleted key usable again"),
    HOST("DELETE", "/deletedkeys/{name}", KL_MAY_KEY_PURGE, KL_RUN_JOB, kl_op_deleted_purge,
         "KeyPurge", "Destroy a deleted key for good"),
    /* backup */
    HOST("POST", "/keys/{name}/backup", KL_MAY_KEY_BACKUP, KL_RUN_JOB, kl_op_key_backup,
         "KeyBackup", "All versions of a key as a sealed blob"),
    HOST("POST", "/keys/restore", KL_MAY_KEY_RESTORE, KL_RUN_JOB, kl_op_key_restore, "KeyRestore",
         "Bring a key back from a sealed blob"),
    HOST("POST", "/keys/reseal", KL_MAY_KEY_BACKUP, KL_RUN_JOB, kl_op_key_reseal, "KeyReseal",
         "A sealed blob under the current domain key; nothing is restored"),
    /* secrets */
    HOST("PUT", "/secrets/{name}", KL_MAY_SECRET_SET, KL_RUN_JOB, kl_op_secret_set, "SecretSet",
         "Set a secret, or a new version of one"),
    HOST("GET", "/secrets/{name}/{version}", KL_MAY_SECRET_GET, KL_RUN_READ, kl_op_secret_get,
         "SecretGet", "Value and attributes of a secret"),
    HOST("PATCH", "/secrets/{name}/{version}", KL_MAY_SECRET_SET, KL_RUN_JOB, kl_op_secret_update,
         "SecretUpdate", "Change attributes, content type and tags of a secret"),
    HOST("GET", "/secrets", KL_MAY_SECRET_LIST, KL_RUN_READ, kl_op_secret_list, "SecretList",
         "Secrets of the vault, without values, by pages"),
    HOST("GET", "/secrets/{name}/versions", KL_MAY_SECRET_LIST, KL_RUN_READ, kl_op_secret_versions,
         "SecretListVersions", "Versions of a secret, without values, by pages"),
    HOST("DELETE", "/secrets/{name}", KL_MAY_SECRET_DELETE, KL_RUN_JOB, kl_op_secret_delete,
         "SecretDelete", "Delete a secret with all its versions, recoverably"),
    HOST("GET", "/deletedsecrets", KL_MAY_SECRET_LIST, KL_RUN_READ, kl_op_deleted_secret_list,
         "SecretListDeleted", "Deleted secrets of the vault, by pages"),
    HOST("GET", "/deletedsecrets/{name}", KL_MAY_SECRET_GET, KL_RUN_READ, kl_op_deleted_secret_get,
         "SecretGetDeleted", "A deleted secret, without its value"),
    HOST("POST", "/deletedsecrets/{name}/recover", KL_MAY_SECRET_RECOVER, KL_RUN_JOB,
         kl_op_deleted_secret_recover, "SecretRecover", "Make a deleted secret usable again"),
    HOST("DELETE", "/deletedsecrets/{name}", KL_MAY_SECRET_PURGE, KL_RUN_JOB,
         kl_op_deleted_secret_purge, "SecretPurge", "Destroy a deleted secret for good"),
    HOST("POST", "/secrets/{name}/backup", KL_MAY_SECRET_BACKUP, KL_RUN_JOB, kl_op_secret_backup,
         "SecretBackup", "All versions of a secret as a sealed blob"),
    HOST("POST", "/secrets/restore", KL_MAY_SECRET_RESTORE, KL_RUN_JOB, kl_op_secret_restore,
         "SecretRestore", "Bring a secret back from a sealed blob"),
    /* certificates */
    HOST("POST", "/certificates/{name}/create", KL_MAY_CERTIFICATE_CREATE, KL_RUN_JOB,
         kl_op_certificate_create, "CertificateCreate", "Make a key and a certificate for it"),
    HOST("POST", "/certificates/{name}/import", KL_MAY_CERTIFICATE_IMPORT, KL_RUN_JOB,
         kl_op_certificate_import, "CertificateImport",
         "Import a certificate with its private key, PKCS#12 or PEM"),
    HOST("GET", "/certificates/{name}/{version}", KL_MAY_CERTIFICATE_GET, KL_RUN_JOB,
         kl_op_certificate_get, "CertificateGet", "A certificate with its policy"),
    HOST("PATCH", "/certificates/{name}/{version}", KL_MAY_CERTIFICATE_UPDATE, KL_RUN_JOB,
         kl_op_certificate_update, "CertificateUpdate", "Change attributes, tags and policy"),
    HOST("GET", "/certificates/{name}/policy", KL_MAY_CERTIFICATE_GET, KL_RUN_JOB,
         kl_op_certificate_policy_get, "CertificatePolicyGet", "What new versions are made like"),
    HOST("PATCH", "/certificates/{name}/policy", KL_MAY_CERTIFICATE_UPDATE, KL_RUN_JOB,
         kl_op_certificate_policy_update, "CertificatePolicyUpdate",
         "Change what new versions are made like"),
    HOST("GET", "/certificates/{name}/pending", KL_MAY_CERTIFICATE_GET, KL_RUN_JOB,
         kl_op_pending_get, "CertificatePendingGet", "The operation under way, with its request"),
    HOST("PATCH", "/certificates/{name}/pending", KL_MAY_CERTIFICATE_UPDATE, KL_RUN_JOB,
         kl_op_pending_cancel, "CertificatePendingUpdate", "Cancel the operation under way"),
    HOST("DELETE", "/certificates/{name}/pending", KL_MAY_CERTIFICATE_DELETE, KL_RUN_JOB,
         kl_op_pending_delete, "CertificatePendingDelete", "Forget the operation under way"),
    HOST("POST", "/certificates/{name}/pending/merge", KL_MAY_CERTIFICATE_CREATE, KL_RUN_JOB,
         kl_op_pending_merge, "CertificatePendingMerge",
         "Bring in the certificate that somebody else signed"),
    HOST("GET", "/certificates", KL_MAY_CERTIFICATE_LIST, KL_RUN_READ, kl_op_certificate_list,
         "CertificateList", "Certificates of the vault, by pages"),
    HOST("GET", "/certificates/{name}/versions", KL_MAY_CERTIFICATE_LIST, KL_RUN_READ,
         kl_op_certificate_versions, "CertificateListVersions", "Versions of a certificate"),
    HOST("DELETE", "/certificates/{name}", KL_MAY_CERTIFICATE_DELETE, KL_RUN_JOB,
         kl_op_certificate_delete, "CertificateDelete",
         "Delete a certificate with its key and secret, recoverably"),
    HOST("POST", "/certificates/{name}/backup", KL_MAY_CERTIFICATE_BACKUP, KL_RUN_JOB,
         kl_op_certificate_backup, "CertificateBackup",
         "All versions with key, secret and policy as a sealed blob"),
    HOST("POST", "/certificates/restore", KL_MAY_CERTIFICATE_RESTORE, KL_RUN_JOB,
         kl_op_certificate_restore, "CertificateRestore", "Bring back what a sealed blob holds"),
    HOST("GET", "/deletedcertificates", KL_MAY_CERTIFICATE_LIST, KL_RUN_READ,
         kl_op_deleted_certificate_list, "CertificateListDeleted",
         "Deleted certificates of the vault, by pages"),
    HOST("GET", "/deletedcertificates/{name}", KL_MAY_CERTIFICATE_GET, KL_RUN_READ,
         kl_op_deleted_certificate_get, "CertificateGetDeleted", "A deleted certificate"),
    HOST("POST", "/deletedcertificates/{name}/recover", KL_MAY_CERTIFICATE_RECOVER, KL_RUN_JOB,
         kl_op_deleted_certificate_recover, "CertificateRecover",
         "Make a deleted certificate usable again"),
    HOST("DELETE", "/deletedcertificates/{name}", KL_MAY_CERTIFICATE_PURGE, KL_RUN_JOB,
         kl_op_deleted_certificate_purge, "CertificatePurge",
         "Destroy a deleted certificate for good"),
    HOST("GET", "/certificates/issuers", KL_MAY_CERTIFICATE_LISTISSUERS, KL_RUN_JOB,
         kl_op_issuer_list, "CertificateIssuersList", "Issuers that the vault knows"),
    HOST("GET", "/certificates/issuers/{name}", KL_MAY_CERTIFICATE_GETISSUERS, KL_RUN_JOB,
         kl_op_issuer_get, "CertificateIssuerGet", "An issuer, without its password"),
    HOST("PUT", "/certificates/issuers/{name}", KL_MAY_CERTIFICATE_SETISSUERS, KL_RUN_JOB,
         kl_op_issuer_put, "CertificateIssuerSet", "Set an issuer"),
    HOST("PATCH", "/certificates/issuers/{name}", KL_MAY_CERTIFICATE_SETISSUERS, KL_RUN_JOB,
         kl_op_issuer_update, "CertificateIssuerUpdate", "Change an issuer"),
    HOST("DELETE", "/certificates/issuers/{name}", KL_MAY_CERTIFICATE_DELETEISSUERS, KL_RUN_JOB,
         kl_op_issuer_delete, "CertificateIssuerDelete", "Forget an issuer"),
    HOST("GET", "/certificates/contacts", KL_MAY_CERTIFICATE_MANAGECONTACTS, KL_RUN_JOB,
         kl_op_contacts_get, "CertificateContactsGet", "Whom to tell about certificates"),
    HOST("PUT", "/certificates/contacts", KL_MAY_CERTIFICATE_MANAGECONTACTS, KL_RUN_JOB,
         kl_op_contacts_put, "CertificateContactsSet", "Set whom to tell"),
    HOST("DELETE", "/certificates/contacts", KL_MAY_CERTIFICATE_MANAGECONTACTS, KL_RUN_JOB,
         kl_op_contacts_delete, "CertificateContactsDelete", "Forget whom to tell"),
    /* health */
    OPEN("GET", "/healthz", kl_op_healthz, "Is the process alive"),
    OPEN("GET", "/readyz", kl_op_readyz, "Is every token usable"),
    OPEN("GET", "/metrics", kl_op_metrics, "Counters as Prometheus text"),
};

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
#define PUT     2 /* its place among them */
#define METHODS (sizeof methods / sizeof methods[0])

enum param {
    PARAM_NONE,
    PARAM_VERSION, /* and any other word in braces */
    PARAM_NAME,
    PARAM_SUBSCRIPTION,
    PARAM_GROUP,
    PARAM_LOCATION,
    PARAMS
};

/* Which words in braces are more than any parameter, and where the segment goes. */
static const struct {
    const char *word;
    size_t offset;
} params[PARAMS] = {
    [PARAM_VERSION] = {"{version}", offsetof(struct kl_route_match, version)},
    [PARAM_NAME] = {"{name}", offsetof(struct kl_route_match, name)},
    [PARAM_SUBSCRIPTION] = {"{subscription}", offsetof(struct kl_route_match, subscription)},
    [PARAM_GROUP] = {"{group}", offsetof(struct kl_route_match, place)},
    [PARAM_LOCATION] = {"{location}", offsetof(struct kl_route_match, place)},
};

/* One place in the tree of segments. Words point into the rows. */
struct node {
    const char *word;
    size_t word_len;
    struct node *child, *sibling; /* literal words below, and beside */
    struct node *parameter;       /* what matches any segment */
    enum param takes;             /* what `parameter` fills */
    uint16_t rows[METHODS];       /* index + 1, 0 = none */
};

static struct node nodes[MAX_NODES];
static size_t node_count;
static const struct kl_route *rows[MAX_ROWS];
static size_t row_count;

static struct node *node_new(void)
{
    return node_count < MAX_NODES ? &nodes[node_count++] : NULL;
}

static struct node *literal_below(struct node *n, const char *word, size_t len)
{
    for (struct node *c = n->child; c != NULL; c = c->sibling)
        if (c->word_len == len && strncasecmp(c->word, word, len) == 0)
            return c;
    return NULL;
}

static struct node *grow_literal(struct node *n, const char *word, size_t len)
{
    struct node *c = literal_below(n, word, len);
    if (c != NULL)
        return c;
    c = node_new();
    if (c == NULL)
        return NULL;
    c->word = word;
    c->word_len = len;
    c->sibling = n->child;
    n->child = c;
    return c;
}

static struct node *grow_parameter(struct node *n, enum param takes)
{
    if (n->parameter == NULL) {
        n->parameter = node_new();
        n->takes = takes;
    }
    return n->takes == takes ? n->parameter : NULL;
}

static bool is_word(const char *segment, size_t len, const char *word)
{
    return len == strlen(word) && strncmp(segment, word, len) == 0;
}

static enum param param_of(const char *segment, size_t len)
{
    enum param p = PARAMS - 1;
    while (p > PARAM_VERSION && !is_word(segment, len, params[p].word))
        p--;
    return p;
}

/* A row's path from `rest` on; the last node, or NULL. */
static struct node *grow(struct node *n, const char *rest, bool with_version)
{
    while (n != NULL && *rest == '/') {
        const char *segment = rest + 1;
        size_t len = strcspn(segment, "/");
        rest = segment + len;
        if (is_word(segment, len, "{version}") && !with_version)
            continue;
        if (segment[0] != '{')
            n = grow_literal(n, segment, len);
        else
            n = grow_parameter(n, param_of(segment, len));
    }
    return n;
}

static enum kl_code add(size_t row, bool with_version, struct kl_err *err)
{
    const struct kl_route *r = rows[row];
    struct node *n = grow(&nodes[0], r->path, with_version);
    size_t m = 0;
    while (m < METHODS && strcmp(methods[m], r->method) != 0)
        m++;
    if (n == NULL || m == METHODS)
        return kl_fail(err, KL_TOO_BIG, "route", "The row %s %s cannot be compiled", r->method,
                       r->path);
    if (n->rows[m] != 0)
        return kl_fail(err, KL_EXISTS, "route", "The row %s %s collides with %s", r->method,
                       r->path, rows[n->rows[m] - 1]->path);
    n->rows[m] = (uint16_t)(row + 1);
    return KL_OK;
}

static enum kl_code join(const struct kl_route *table, size_t count, struct kl_err *err)
{
    enum kl_code code = KL_OK;
    if (count > MAX_ROWS - row_count)
        return kl_fail(err, KL_TOO_BIG, "route", "More than %d rows", MAX_ROWS);
    for (size_t i = 0; i < count && code == KL_OK; i++) {
        rows[row_count] = &table[i];
        code = add(row_count, true, err);
        if (code == KL_OK && strstr(table[i].path, "/{version}") != NULL)
            code = add(row_count, false, err);
        row_count++;
    }
    return code;
}

enum kl_code kl_routes_compile(struct kl_err *err)
{
    node_count = 1; /* the root */
    row_count = 0;
    memset(nodes, 0, sizeof nodes);
    enum kl_code code = join(data_routes, KL_COUNT(data_routes), err);
    if (code == KL_OK)
        code = join(kl_admin_routes, kl_admin_route_count, err);
    return code == KL_OK ? join(kl_arm_routes, kl_arm_route_count, err) : code;
}

size_t kl_routes_count(void)
{
    return row_count;
}

const struct kl_route *kl_routes_at(size_t index)
{
    return rows[index];
}

/* A path taken apart: `count` decoded segments. */
struct target {
    size_t count;
    char segments[MAX_SEGMENTS][KL_OP_SEGMENT_MAX];
};

static enum kl_code split(const char *path, struct target *t, struct kl_err *err)
{
    t->count = 0;
    while (*path == '/') {
        size_t len = strcspn(++path, "/");
        if (len == 0 && path[0] == 0)
            break; /* the slash at the end */
        if (t->count == MAX_SEGMENTS || len >= KL_OP_SEGMENT_MAX)
            return kl_fail(err, KL_BAD_INPUT, "target", "The request URI is too long");
        if (kl_percent_decode(path, len, false, t->segments[t->count]) != KL_OK)
            return kl_fail(err, KL_BAD_INPUT, "target", "The request URI has a broken escape");
        t->count++;
        path += len;
    }
    return KL_OK;
}

static const struct node *literal_child(const struct node *n, const char *segment)
{
    for (const struct node *c = n->child; c != NULL; c = c->sibling)
        if (strncasecmp(c->word, segment, c->word_len) == 0 && segment[c->word_len] == 0)
            return c;
    return NULL;
}

/* Walks the tree below n with the segments from i on; *ret_seen collects a bit for each method that
 * the path exists for. */
static const struct node *walk(const struct node *n, const struct target *t, size_t i, size_t m,
                               struct kl_route_match *ret, unsigned *ret_seen)
{
    if (i == t->count) {
        for (size_t k = 0; k < METHODS; k++)
            *ret_seen |= (n->rows[k] != 0 ? 1U : 0U) << k;
        return m < METHODS && n->rows[m] != 0 ? n : NULL;
    }
    const char *segment = t->segments[i];
    const struct node *literal = literal_child(n, segment);
    const struct node *found = NULL;
    if (literal != NULL)
        found = walk(literal, t, i + 1, m, ret, ret_seen);
    if (found == NULL && n->parameter != NULL) {
        unsigned below = 0;
        found = walk(n->parameter, t, i + 1, m, ret, &below);
        if (literal != NULL) { /* nothing is made by PUT under a name that is a word of the API */
            below &= ~(1U << PUT);
            found = m == PUT ? NULL : found;
        }
        *ret_seen |= below;
        if (found != NULL)
            (void)snprintf((char *)ret + params[n->takes].offset, KL_OP_SEGMENT_MAX, "%s", segment);
    }
    return found;
}

static void list_methods(unsigned set, char out[static KL_ALLOW_MAX])
{
    size_t len = 0;
    out[0] = 0;
    for (size_t k = 0; k < METHODS; k++)
        if ((set & (1U << k)) != 0)
            len += (size_t)snprintf(out + len, KL_ALLOW_MAX - len, "%s%s", len > 0 ? ", " : "",
                                    methods[k]);
}

enum kl_code kl_route_find(const char *method, const char *path, struct kl_route_match *ret,
                           struct kl_err *err)
{
    struct target t;
    enum kl_code code = split(path, &t, err);
    if (code != KL_OK)
        return code;
    size_t m = 0;
    while (m < METHODS && strcmp(methods[m], method) != 0)
        m++;
    unsigned seen = 0;
    ret->name[0] = ret->version[0] = ret->subscription[0] = ret->place[0] = 0;
    const struct node *n = walk(&nodes[0], &t, 0, m, ret, &seen);
    if (n == NULL && seen != 0) {
        list_methods(seen, ret->allow);
        return kl_fail(err, KL_BAD_METHOD, "route", "Method %.10s does not allow operation '%.60s'",
                       method, t.segments[t.count - 1]);
    }
    if (n == NULL)
        return kl_fail(err, KL_NO_ROUTE, "route", "The request URI names no operation");
    ret->index = n->rows[m] - 1u;
    ret->route = rows[ret->index];
    if (ret->name[0] == 0 && strstr(ret->route->path, "{name}") != NULL)
        return kl_fail(err, KL_BAD_INPUT, "route", "Operation not specified");
    return KL_OK;
}
