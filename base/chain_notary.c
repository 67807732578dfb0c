#include "base/chain_notary.h"

#include "base/encoding.h"

#include <inttypes.h>
#include <pthread.h>
#include <string.h>

struct kl_chain_notary {
    struct kl_chain_signer signer;
    char *alg, *key_id;
    kl_chain_signed *done;
    void *arg;
    pthread_t thread;
    pthread_mutex_t lock; /* of the block below */
    pthread_cond_t more;
    bool asked, stop;
    struct kl_chain_point at;
};

bool kl_chain_notary_sign(struct kl_chain_notary *n, const struct kl_chain_point *at,
                          struct kl_buf *ret_members)
{
    struct kl_buf message = KL_BUF_INIT(256), signature = KL_BUF_INIT(4096);
    char hex[KL_CHAIN_HEX + 1];
    struct kl_err err = {0};
    kl_chain_put_signed(at, &message);
    bool ok = !kl_buf_failed(&message) &&
              n->signer.sign(n->signer.arg, message.bytes, message.len, &signature, &err) == KL_OK;
    if (ok) {
        kl_hex(at->chain, KL_CHAIN_BYTES, hex);
        kl_buf_printf(ret_members,
                      "\"checkpoint\":{\"seq\":%" PRIu64
                      ",\"chain\":\"%s\",\"alg\":\"%s\",\"kid\":\"%s\",\"sig\":\"",
                      at->seq, hex, n->alg, n->key_id);
        kl_b64url_put(ret_members, kl_buf_text(&signature), signature.len);
        kl_buf_puts(ret_members, "\"}");
        ok = !kl_buf_failed(ret_members) && !kl_buf_failed(&signature);
    }
    kl_buf_done(&message);
    kl_buf_done(&signature);
    return ok;
}

static void *run(void *arg)
{
    struct kl_chain_notary *n = arg;
    for (;;) {
        (void)pthread_mutex_lock(&n->lock);
        while (!n->asked && !n->stop)
            (void)pthread_cond_wait(&n->more, &n->lock);
        bool asked = n->asked;
        struct kl_chain_point at = n->at;
        n->asked = false;
        (void)pthread_mutex_unlock(&n->lock);
        if (!asked)
            return NULL;
        struct kl_buf members = KL_BUF_INIT(8192);
        bool ok = kl_chain_notary_sign(n, &at, &members);
        n->done(n->arg, &at, kl_buf_text(&members), ok ? members.len : 0);
        kl_buf_done(&members);
    }
}

struct kl_chain_notary *kl_chain_notary_new(const struct kl_chain_signer *signer,
                                            kl_chain_signed *done, void *arg)
{
    struct kl_chain_notary *n = calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    *n = (struct kl_chain_notary){.signer = *signer, .done = done, .arg = arg};
    n->alg = strdup(signer->alg);
    n->key_id = strdup(signer->key_id);
    (void)pthread_mutex_init(&n->lock, NULL);
    (void)pthread_cond_init(&n->more, NULL);
    if (n->alg != NULL && n->key_id != NULL && pthread_create(&n->thread, NULL, run, n) == 0)
        return n;
    kl_chain_notary_free(n);
    return NULL;
}

void kl_chain_notary_ask(struct kl_chain_notary *n, const struct kl_chain_point *at)
{
    (void)pthread_mutex_lock(&n->lock);
    n->at = *at;
    n->asked = true;
    (void)pthread_mutex_unlock(&n->lock);
    (void)pthread_cond_signal(&n->more);
}

void kl_chain_notary_stop(struct kl_chain_notary *n)
{
    (void)pthread_mutex_lock(&n->lock);
    n->stop = true;
    (void)pthread_mutex_unlock(&n->lock);
    (void)pthread_cond_signal(&n->more);
    (void)pthread_join(n->thread, NULL);
}

void kl_chain_notary_free(struct kl_chain_notary *n)
{
    if (n == NULL)
        return;
    (void)pthread_cond_destroy(&n->more);
    (void)pthread_mutex_destroy(&n->lock);
    free(n->alg);
    free(n->key_id);
    free(n);
}
