#include "pkcs11/token.h"

#include <pthread.h>

/* What kl_token_call waits on. */
struct waiting {
    pthread_mutex_t lock;
    pthread_cond_t came;
    bool done;
    struct kl_token_reply reply;
};

static void wake(void *arg, struct kl_token_reply *reply)
{
    struct waiting *w = arg;
    (void)pthread_mutex_lock(&w->lock);
    w->reply = *reply;
    reply->output = NULL;
    w->done = true;
    (void)pthread_cond_signal(&w->came);
    (void)pthread_mutex_unlock(&w->lock);
}

enum kl_code kl_token_call(struct kl_token *t, const struct kl_token_request *req,
                           struct kl_secret **ret_output, uint64_t *ret_mechanism,
                           struct kl_err *err)
{
    struct waiting w = {.lock = PTHREAD_MUTEX_INITIALIZER, .came = PTHREAD_COND_INITIALIZER};
    enum kl_code code = kl_token_submit(t, req, wake, &w, err);
    if (code != KL_OK)
        return code;
    (void)pthread_mutex_lock(&w.lock);
    while (!w.done)
        (void)pthread_cond_wait(&w.came, &w.lock);
    (void)pthread_mutex_unlock(&w.lock);
    (void)pthread_cond_destroy(&w.came);
    (void)pthread_mutex_destroy(&w.lock);
    if (w.reply.code != KL_OK) {
        if (err != NULL)
            *err = w.reply.err;
        return w.reply.code;
    }
    if (ret_mechanism != NULL)
        *ret_mechanism = w.reply.mechanism;
    if (ret_output != NULL)
        *ret_output = w.reply.output;
    else
        kl_secret_free(w.reply.output);
    return KL_OK;
}
