/* Frames between the client and kluis-tokend: one SOCK_SEQPACKET message each, little-endian, every
 * length bounded.
 *
 * The client sends one CONFIG frame on lane 1, then REQUEST frames on both lanes. The worker sends
 * on lane 1 a PROGRESS frame before each step of its start, and one HELLO frame when it is up or
 * knows that it cannot come up; then REPLY frames, in any order, on the lane of their request. Pure
 * functions, no state. Whoever decodes trusts nothing: anything that does not fit exactly is
 * KL_CORRUPT, and the other side is ended.
 */
#ifndef KL_PKCS11_PROTO_H
#define KL_PKCS11_PROTO_H

#include "pkcs11/token.h"

#define KL_PROTO_MAX   (KL_TOKEN_MAX_INPUT + 2048) /* bytes of the longest frame, CONFIG included */
#define KL_PROTO_LANES 2
#define KL_LANE_SHORT  0
#define KL_LANE_MANAGE 1
#define KL_PROTO_FD_LANE                                                                           \
    3 /* descriptors of the worker: lane 0, lane 1, and a PIN given as fd:N                        \
       */
#define KL_PROTO_FD_PIN 5

/** Exit statuses of the worker beyond 0 (orderly end); what the client does next is decided by the
 * HELLO frame, these are for people. */
enum kl_worker_exit {
    KL_EXIT_START = 1, /* could not come up; HELLO says why */
    KL_EXIT_USAGE = 2,
    KL_EXIT_EXISTS = 4,      /* domain-key: the token has one already */
    KL_EXIT_UNSUPPORTED = 5, /* domain-key: the token cannot have one */
    KL_EXIT_PIN = 6,         /* the token refused a PIN */
    KL_EXIT_CONFLICT = 7,    /* domain-key: not in this state */
    KL_EXIT_MISSING = 8,     /* domain-key: no such key, or no such file */
    KL_EXIT_UNFIT = 9,       /* test: the token does not do what the service needs */
    KL_EXIT_TOKEN = 10,      /* the token stopped working; a new worker may find it well */
    KL_EXIT_PROTOCOL = 11    /* a frame that our client never sends */
};

enum kl_frame_kind {
    KL_FRAME_CONFIG = 1,
    KL_FRAME_REQUEST,
    KL_FRAME_HELLO,
    KL_FRAME_REPLY,
    KL_FRAME_PROGRESS,
    KL_FRAME_ASK_PIN, /* the worker waits for a PIN frame */
    KL_FRAME_PIN
};

/** What the worker must know of struct kl_token_config; strings NUL-terminated, "" = not given. */
struct kl_worker_config {
    char name[64];
    char module[1024];
    char uri[1024];
    char pin_source[1024];
    char init_args[1024];
    char store_dir[1024];
    char state_dir[1024];
    uint32_t workers;
    uint32_t keep_alive_ms; /* 0 = idle sessions are left alone */
    bool software_oaep;
    bool relogin;           /* keep the PIN for a login that the token lost */
    bool network;           /* Internet sockets */
    bool all_files;         /* `files` was not given: everything but `hidden` */
    char module_sha256[65]; /* lower-case hex */
    char user[64];
    char syscalls[512]; /* names parted by spaces, allowed beyond the list */
    char files[2048];   /* paths parted by newlines: what the module may use */
    char hidden[6144];  /* the same: files of the service, and what stands beside them with
                           more letters in the name (journals) */
};

/** The worker's first word. */
struct kl_hello {
    struct kl_err
        err; /* code KL_OK: up. KL_TOKEN_PIN: latched; detail = path of the latch file or "" */
    bool login_tried; /* a PIN was sent to the token */
    uint32_t threads; /* that answer lane 0 */
    bool proved;      /* a canary passed; false with code KL_OK: no key to try */
    struct kl_token_caps caps;
};

/** What a starting worker does next. */
struct kl_progress {
    bool slow; /* may take as long as making a key */
    char step[32];
};

/** Kind of a frame, or 0 when it has none of ours. */
enum kl_frame_kind kl_proto_kind(const void *frame, size_t n);

/** Each put fills frame[KL_PROTO_MAX] and returns the bytes used. Strings and inputs beyond their
 * limit are the caller's bug. */
size_t kl_proto_put_config(void *frame, const struct kl_worker_config *conf);
size_t kl_proto_put_request(void *frame, uint64_t id, const struct kl_token_request *req);
size_t kl_proto_put_hello(void *frame, const struct kl_hello *hello);
size_t kl_proto_put_progress(void *frame, const struct kl_progress *p);
/** output may be NULL when output_len is 0. */
size_t kl_proto_put_reply(void *frame, uint64_t id, const struct kl_err *err, uint64_t mechanism,
                          const void *output, size_t output_len);

/** Each get decodes a whole frame of n bytes. KL_CORRUPT for anything else than what the put
 * writes. */
enum kl_code kl_proto_get_config(const void *frame, size_t n,
                                 struct kl_worker_config *ret) KL_MUST_USE;
/** ret->input points into the frame. */
enum kl_code kl_proto_get_request(const void *frame, size_t n, uint64_t *ret_id,
                                  struct kl_token_request *ret) KL_MUST_USE;
enum kl_code kl_proto_get_hello(const void *frame, size_t n, struct kl_hello *ret) KL_MUST_USE;

/** Whatever a worker sent as capabilities: its strings end. */
void kl_proto_end_texts(struct kl_token_caps *caps);

#define KL_ASK_MAX 256
/** The worker asks for a PIN; one sentence why, or "". */
size_t kl_proto_put_ask_pin(void *frame, const char *text);
enum kl_code kl_proto_get_ask_pin(const void *frame, size_t n,
                                  char ret[static KL_ASK_MAX]) KL_MUST_USE;
/** The client hands one over, 1 to KL_PIN_MAX bytes. Both sides wipe the frame. */
size_t kl_proto_put_pin(void *frame, const void *pin, size_t n);
/** *ret points into the frame. */
enum kl_code kl_proto_get_pin(const void *frame, size_t n, const uint8_t **ret,
                              size_t *ret_len) KL_MUST_USE;
enum kl_code kl_proto_get_progress(const void *frame, size_t n,
                                   struct kl_progress *ret) KL_MUST_USE;

/** A decoded reply; output points into the frame. */
struct kl_proto_reply {
    uint64_t id;
    struct kl_err err;
    uint64_t mechanism;
    const uint8_t *output;
    size_t output_len;
};
enum kl_code kl_proto_get_reply(const void *frame, size_t n,
                                struct kl_proto_reply *ret) KL_MUST_USE;

/** On which lane a call travels. */
unsigned kl_proto_lane(enum kl_token_call call);

#endif
