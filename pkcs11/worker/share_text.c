/* A share as a file that can be printed, read aloud and typed in again. */
#include "base/encoding.h"
#include "pkcs11/worker/share.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#define CHECK_BYTES 8
#define LINE_BYTES  16 /* of the secret, on one line */
#define LINES       (KL_SHARE_BYTES / LINE_BYTES)
#define TITLE       "kluis domain key share"

/* Over every value, so that a mistyped digit anywhere shows. */
static void text_check(const struct kl_share *s, uint8_t ret[static CHECK_BYTES])
{
    uint8_t input[KL_SHARE_SET_LEN + KL_KEY_ID_LEN + 3 + KL_SHARE_BYTES], hash[32] = {0};
    uint8_t *at = input;
    memcpy(at, s->set, sizeof s->set);
    at += sizeof s->set;
    memcpy(at, s->domain, sizeof s->domain);
    at += sizeof s->domain;
    *at++ = (uint8_t)s->number;
    *at++ = (uint8_t)s->count;
    *at++ = (uint8_t)s->needed;
    memcpy(at, s->bytes, sizeof s->bytes);
    (void)EVP_Digest(input, sizeof input, hash, NULL, EVP_sha256(), NULL);
    memcpy(ret, hash, CHECK_BYTES);
    kl_wipe(input, sizeof input);
}

static void put_hex(struct kl_buf *out, const char *word, const uint8_t *bytes, size_t n)
{
    char hex[2 * LINE_BYTES + 1];
    kl_hex(bytes, n, hex);
    kl_buf_printf(out, "%s:", word);
    for (size_t i = 0; i < 2 * n; i += 8)
        kl_buf_printf(out, " %.8s", hex + i);
    kl_buf_putc(out, '\n');
    kl_wipe(hex, sizeof hex);
}

void kl_share_print(const struct kl_share *s, struct kl_buf *out)
{
    uint8_t check[CHECK_BYTES];
    text_check(s, check);
    kl_buf_printf(out,
                  "# Secret. Any %u of the %u shares of this set open every key backup of the\n"
                  "# domain: keep each with another person, away from the backups.\n" TITLE ": 1\n",
                  s->needed, s->count);
    put_hex(out, "set", s->set, sizeof s->set);
    put_hex(out, "domain key", s->domain, sizeof s->domain);
    kl_buf_printf(out, "share: %u of %u\nneeded: %u\n", s->number, s->count, s->needed);
    for (size_t i = 0; i < LINES; i++) {
        char word[] = "data 1";
        word[5] = (char)('1' + i);
        put_hex(out, word, s->bytes + i * LINE_BYTES, LINE_BYTES);
    }
    put_hex(out, "check", check, sizeof check);
}

/* The value behind `word:` at the beginning of a line, without its blanks; false when there is none
 * or it is longer than any of ours. */
static bool find_value(const char *text, const char *word, char *out, size_t room)
{
    size_t n = strlen(word), used = 0;
    const char *line = text;
    while (line != NULL && (strncmp(line, word, n) != 0 || line[n] != ':')) {
        line = strchr(line, '\n');
        line += line != NULL;
    }
    if (line == NULL)
        return false;
    for (const char *c = line + n + 1; *c != '\n' && *c != '\0'; c++) {
        if (*c == ' ' || *c == '\r' || *c == '\t')
            continue;
        if (used + 1 >= room)
            return false;
        out[used++] = *c;
    }
    out[used] = '\0';
    return true;
}

static bool read_hex(const char *text, const char *word, uint8_t *out, size_t n)
{
    char value[2 * LINE_BYTES + 2];
    bool fine = find_value(text, word, value, sizeof value) && strlen(value) == 2 * n &&
                kl_unhex(value, out, n) == KL_OK;
    kl_wipe(value, sizeof value);
    return fine;
}

/* One or two digits. */
static bool take_number(const char **at, unsigned *ret)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits < 1 || digits > 2)
        return false;
    *ret = (unsigned)strtoul(*at, NULL, 10);
    *at += digits;
    return true;
}

static bool read_numbers(const char *text, struct kl_share *s)
{
    char share[16], needed[16];
    const char *at = share, *last = needed;
    if (!find_value(text, "share", share, sizeof share) || !take_number(&at, &s->number) ||
        strncmp(at, "of", 2) != 0)
        return false;
    at += 2;
    return take_number(&at, &s->count) && *at == '\0' &&
           find_value(text, "needed", needed, sizeof needed) && take_number(&last, &s->needed) &&
           *last == '\0' && s->needed >= 2 && s->needed <= s->count && s->count <= KL_SHARES_MAX &&
           s->number >= 1 && s->number <= s->count;
}

static bool read_all(const char *text, struct kl_share *s)
{
    uint8_t check[CHECK_BYTES], said[CHECK_BYTES];
    bool fine = read_hex(text, "set", s->set, sizeof s->set) &&
                read_hex(text, "domain key", s->domain, sizeof s->domain) && read_numbers(text, s);
    for (size_t i = 0; fine && i < LINES; i++) {
        char word[] = "data 1";
        word[5] = (char)('1' + i);
        fine = read_hex(text, word, s->bytes + i * LINE_BYTES, LINE_BYTES);
    }
    if (!fine || !read_hex(text, "check", said, sizeof said))
        return false;
    text_check(s, check);
    return CRYPTO_memcmp(check, said, sizeof check) == 0;
}

enum kl_code kl_share_parse(const char *text, size_t n, const char *name, struct kl_share *ret,
                            struct kl_err *err)
{
    char version[4];
    struct kl_share s = {.number = 0};
    if (strlen(text) != n || !find_value(text, TITLE, version, sizeof version) ||
        strcmp(version, "1") != 0)
        return kl_fail(err, KL_BAD_INPUT, "shares", "%s is no share of a domain key", name);
    bool fine = read_all(text, &s);
    if (fine)
        *ret = s;
    kl_wipe(&s, sizeof s);
    return fine ? KL_OK
                : kl_fail(err, KL_BAD_INPUT, "shares",
                          "%s is damaged or mistyped: its check does not fit its lines", name);
}
