/* gcmbase: how fast this machine writes a file as AES-256-GCM segments, to stand beside `kluis
 * encrypt`.
 *
 *   gcmbase IN OUT THREADS     1 MiB segments, a 16-byte tag after each, segment number as nonce;
 * threads take segments in turn
 *
 * Prints one JSON object. A yardstick only: the key is fixed and nothing protects the order of
 * segments.
 */
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SEGMENT = 1 << 20, TAG = 16, MAX_THREADS = 16 };

struct job {
    int in, out;
    uint64_t segments;
    atomic_uint_fast64_t next;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void seal(EVP_CIPHER_CTX *ctx, const struct job *job, uint64_t i, uint8_t *buf)
{
    uint8_t nonce[12] = {0};
    int n, last;
    ssize_t got = pread(job->in, buf, SEGMENT, (off_t)(i * SEGMENT));

    if (got < 0)
        die("read");
    memcpy(nonce, &i, sizeof i);
    if (EVP_EncryptInit_ex(ctx, NULL, NULL, NULL, nonce) != 1 ||
        EVP_EncryptUpdate(ctx, buf, &n, buf, (int)got) != 1 ||
        EVP_EncryptFinal_ex(ctx, buf + n, &last) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, buf + got) != 1)
        die("AES-256-GCM");
    if (pwrite(job->out, buf, (size_t)got + TAG, (off_t)(i * (SEGMENT + TAG))) != got + TAG)
        die("write");
}

static void *run_lane(void *arg)
{
    struct job *job = arg;
    uint8_t *buf = malloc(SEGMENT + TAG);
    uint8_t key[32] = {1};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

    if (!buf || !ctx || EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, NULL) != 1)
        die("out of memory");
    for (uint64_t i; (i = atomic_fetch_add(&job->next, 1)) < job->segments;)
        seal(ctx, job, i, buf);
    EVP_CIPHER_CTX_free(ctx);
    free(buf);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct job job;
    pthread_t threads[MAX_THREADS];
    struct timespec start, end;
    struct stat st;
    long n = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
    double took;

    if (n < 1 || n > MAX_THREADS) {
        fprintf(stderr, "use: gcmbase IN OUT THREADS\n");
        return 2;
    }
    job.in = open(argv[1], O_RDONLY | O_CLOEXEC);
    job.out = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (job.in < 0 || job.out < 0 || fstat(job.in, &st) != 0)
        die(argv[1]);
    job.segments = ((uint64_t)st.st_size + SEGMENT - 1) / SEGMENT;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (long i = 0; i < n; i++)
        if (pthread_create(&threads[i], NULL, run_lane, &job) != 0)
            die("thread");
    for (long i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    clock_gettime(CLOCK_MONOTONIC, &end);
    took = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) * 1e-9;
    printf("{\"mib_per_second\": %.1f, \"seconds\": %.4f}\n", (double)st.st_size / 1048576 / took,
           took);
    return 0;
}
