#include "tests/unit/wrap/support.h"

#include "wrap/rewrap.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct fake_kek kek;
static struct bytes plain, container; /* under version 1 */
static char path[256];

static int set_up(void **state)
{
    (void)state;
    fake_kek_init(&kek);
    const struct kl_seal_options options = {.key_url = KEY_V(1), .segment_log2 = 16};
    plain = pattern(70000, 1);
    container = sealed(&kek, &plain, &options);
    (void)snprintf(path, sizeof path, "%s", temp_path("container"));
    write_file(path, &container);
    kek.wraps = kek.unwraps = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    bytes_free(&plain);
    bytes_free(&container);
    return unlink(path);
}

static enum kl_code rewrap(const struct kl_rewrap_options *options, struct kl_rewrap_result *ret,
                           struct kl_err *err)
{
    static const struct kl_rewrap_options none;
    KL_AUTO(rewrap) job = NULL;
    enum kl_code code = kl_rewrap_new(&kek.kek, options != NULL ? options : &none, &job, err);
    return code == KL_OK ? kl_rewrap_file(job, path, ret, err) : code;
}

static void assert_opens(void)
{
    BYTES now = read_file(path);
    BYTES back = {.n = 0};
    struct kl_err err = {.code = KL_OK};
    if (unsealed(&kek, &now, &back, &err) != KL_OK)
        fail_msg("%s", err.text);
    assert_bytes(&plain, &back);
    assert_int_equal(now.n, container.n);
    assert_true(
        memcmp(now.at + KL_HEAD_BYTES, container.at + KL_HEAD_BYTES, now.n - KL_HEAD_BYTES) == 0);
    assert_true(memcmp(now.at, container.at, KL_CORE_BYTES) == 0);
}

static void test_wrap_rewrap__to_the_newest(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    assert_true(result.changed && !result.wiped);
    assert_string_equal(result.from, KEY_V(1));
    assert_string_equal(result.to, KEY_V(2));
    assert_int_equal(result.generation, 2);
    kek.disabled = 1;
    assert_opens();
    BYTES now = read_file(path);
    assert_true(memcmp(now.at + KL_SLOT_AT(0), container.at + KL_SLOT_AT(0), KL_SLOT_BYTES) == 0);
}

static void test_wrap_rewrap__again_is_no_work(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    BYTES before = read_file(path);
    kek.wraps = kek.unwraps = 0;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    assert_false(result.changed);
    assert_string_equal(result.to, KEY_V(2));
    assert_int_equal(kek.wraps + kek.unwraps, 0);
    BYTES after = read_file(path);
    assert_bytes(&before, &after);
}

static void test_wrap_rewrap__back_and_forth_many_times(void **state)
{
    (void)state;
    static const char *const versions[] = {"00000000000000000000000000000003",
                                           "00000000000000000000000000000001",
                                           "00000000000000000000000000000004"};
    for (unsigned i = 0; i < 7; i++) {
        const struct kl_rewrap_options options = {.version = versions[i % 3]};
        struct kl_rewrap_result result;
        assert_int_equal(rewrap(&options, &result, NULL), KL_OK);
        assert_true(result.changed);
        assert_int_equal(result.generation, i + 2);
        assert_opens();
    }
}

static void test_wrap_rewrap__another_key_and_algorithm(void **state)
{
    (void)state;
    const struct kl_rewrap_options options = {.key_url = "https://demo.vault.test/keys/other",
                                              .alg = "RSA-OAEP"};
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(&options, &result, NULL), KL_OK);
    assert_string_equal(result.to,
                        "https://demo.vault.test/keys/other/00000000000000000000000000000002");
    assert_opens();
}

static void test_wrap_rewrap__wipe_old(void **state)
{
    (void)state;
    const struct kl_rewrap_options options = {.wipe_old = true};
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(&options, &result, NULL), KL_OK);
    assert_true(result.changed && result.wiped);
    BYTES now = read_file(path);
    for (size_t i = KL_SLOT_AT(0); i < KL_SLOT_AT(1); i++)
        assert_int_equal(now.at[i], 0);
    assert_opens();
    assert_int_equal(rewrap(&options, &result, NULL), KL_OK);
    assert_false(result.changed || result.wiped);
}

/* A second run with --wipe-old after one without. */
static void test_wrap_rewrap__wipe_later(void **state)
{
    (void)state;
    const struct kl_rewrap_options options = {.wipe_old = true};
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    assert_int_equal(rewrap(&options, &result, NULL), KL_OK);
    assert_true(!result.changed && result.wiped);
    kek.disabled = 1;
    assert_opens();
}

/* A wrap that does not open must never reach the file. */
static void test_wrap_rewrap__lying_key_changes_nothing(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    struct kl_err err;
    kek.wraps_wrongly = true;
    assert_int_equal(rewrap(NULL, &result, &err), KL_WRAP_KEY);
    assert_text_has(&err, "the new wrap does not open, nothing written");
    BYTES now = read_file(path);
    assert_bytes(&now, &container);
}

static void test_wrap_rewrap__disabled_old_version(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    struct kl_err err;
    kek.disabled = 1;
    assert_int_equal(rewrap(NULL, &result, &err), KL_FORBIDDEN);
    BYTES now = read_file(path);
    assert_bytes(&now, &container);
}

/* Whatever a crash leaves in the slot that was being written, the other one opens, and the next run
 * repairs it. */
static void test_wrap_rewrap__torn_slot_at_every_length(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    BYTES done = read_file(path);
    for (size_t n = 0; n <= KL_SLOT_BYTES; n += 61) {
        BYTES torn = copy_of(&container);
        memcpy(torn.at + KL_SLOT_AT(1), done.at + KL_SLOT_AT(1), n);
        write_file(path, &torn);
        assert_opens();
        assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
        assert_string_equal(result.to, KEY_V(2));
        assert_opens();
    }
}

/* The newest slot's version is gone, the older slot opens: the one that opens must survive. */
static void test_wrap_rewrap__keeps_the_slot_that_opens(void **state)
{
    (void)state;
    const struct kl_rewrap_options third = {.version = "00000000000000000000000000000003"};
    struct kl_rewrap_result result;
    assert_int_equal(rewrap(NULL, &result, NULL), KL_OK);
    kek.disabled = 2;
    assert_opens();
    assert_int_equal(rewrap(&third, &result, NULL), KL_OK);
    assert_string_equal(result.from, KEY_V(1));
    assert_string_equal(result.to, KEY_V(3));
    BYTES now = read_file(path);
    assert_true(memcmp(now.at + KL_SLOT_AT(0), container.at + KL_SLOT_AT(0), KL_SLOT_BYTES) == 0);
    assert_opens();
}

/* A slot that merely claims the target and a huge generation: not believed when verifying. */
static void test_wrap_rewrap__forged_claim(void **state)
{
    (void)state;
    const struct kl_rewrap_options verify = {.verify_all = true};
    struct kl_rewrap_result result;
    BYTES forged = copy_of(&container);
    uint8_t *slot = forged.at + KL_SLOT_AT(1);
    memcpy(slot, forged.at + KL_SLOT_AT(0), KL_SLOT_BYTES);
    memset(slot + 8, 0xff, 8);
    slot[32 + strlen(KEY_V(1)) - 1] = '2';
    assert_int_equal(EVP_Digest(slot, 4064, slot + 4064, NULL, EVP_sha256(), NULL), 1);
    write_file(path, &forged);
    assert_opens();
    assert_int_equal(rewrap(&verify, &result, NULL), KL_OK);
    assert_true(result.changed);
    assert_int_equal(result.generation, 2);
    kek.disabled = 1;
    assert_opens();
}

static _Noreturn void rewrap_for_ever(void)
{
    static const struct kl_rewrap_options versions[] = {
        {.version = "00000000000000000000000000000001"},
        {.version = "00000000000000000000000000000003"}};
    for (unsigned i = 0;; i++) {
        struct kl_rewrap_result result;
        if (rewrap(&versions[i % 2], &result, NULL) != KL_OK)
            _exit(1);
    }
}

/* kill -9 at moments of its own choosing: the container opens each time, and neither slot is torn.
 */
static void test_wrap_rewrap__killed(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        int status = 0;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            rewrap_for_ever();
        (void)usleep(200 + round * 37);
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status));
        struct kl_head head;
        const int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(kl_head_read(fd, true, &head, NULL), KL_OK);
        close(fd);
        assert_int_not_equal(head.slots[0].state, KL_SLOT_BROKEN);
        assert_int_not_equal(head.slots[1].state, KL_SLOT_BROKEN);
        assert_opens();
    }
}

static void test_wrap_rewrap__locked(void **state)
{
    (void)state;
    struct kl_rewrap_result result;
    struct kl_err err;
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 4096, .l_len = 8192};
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_int_equal(rewrap(NULL, &result, &err), KL_CONFLICT);
    assert_text_has(&err, "another re-wrap");
    close(fd);
    assert_int_equal(rewrap(NULL, &result, &err), KL_OK);
}

static void test_wrap_rewrap__refuses(void **state)
{
    (void)state;
    static const struct kl_rewrap_options rows[] = {
        {.version = ""},
        {.version = "../x"},
        {.key_url = "https://x/keys/a/b/c"},
        {.key_url = KEY_V(1), .version = "1"},
        {.alg = "AES"},
    };
    struct kl_rewrap_result result;
    for (size_t i = 0; i < KL_COUNT(rows); i++)
        assert_int_equal(rewrap(&rows[i], &result, NULL), KL_BAD_INPUT);
    BYTES other = pattern(20000, 2);
    write_file(path, &other);
    assert_int_equal(rewrap(NULL, &result, NULL), KL_WRAP_FORMAT);
    BYTES now = read_file(path);
    assert_bytes(&other, &now);
}

int main(void)
{
#define ROW(name) cmocka_unit_test_setup_teardown(test_wrap_rewrap__##name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        ROW(to_the_newest),
        ROW(again_is_no_work),
        ROW(back_and_forth_many_times),
        ROW(another_key_and_algorithm),
        ROW(wipe_old),
        ROW(wipe_later),
        ROW(lying_key_changes_nothing),
        ROW(disabled_old_version),
        ROW(torn_slot_at_every_length),
        ROW(keeps_the_slot_that_opens),
        ROW(forged_claim),
        ROW(killed),
        ROW(locked),
        ROW(refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
