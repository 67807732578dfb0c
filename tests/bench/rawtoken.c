/* rawtoken: what a PKCS#11 token does by itself, without kluis, so that a benchmark can print both
 * sides of one run.
 *
 *   rawtoken MODULE LABEL PIN-FILE make BITS              a key pair named "bench" on the token
 *   rawtoken MODULE LABEL PIN-FILE decrypt THREADS SECONDS   C_Decrypt, RSA-OAEP with SHA-1
 *   rawtoken MODULE LABEL PIN-FILE raw THREADS SECONDS       C_Decrypt, CKM_RSA_X_509 (what
 * RSA-OAEP-256 costs where the token has no SHA-256) rawtoken MODULE LABEL PIN-FILE encrypt THREADS
 * SECONDS   C_Encrypt, RSA-OAEP with SHA-1 rawtoken MODULE LABEL PIN-FILE list C_Initialize, login
 * and one listing of all keys
 *
 * Prints one JSON object. Each thread has its own session. Test program: any refusal of the token
 * ends it.
 */
#include <dlfcn.h>
#include <p11-kit/pkcs11.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MAX_THREADS = 64, MAX_SLOTS = 64, MAX_MODULUS = 512, LIST_BATCH = 512 };

struct bench {
    CK_FUNCTION_LIST *p11;
    CK_SLOT_ID slot;
    CK_OBJECT_HANDLE private_key, public_key;
    CK_MECHANISM mechanism;
    bool encrypts;
    CK_BYTE input[MAX_MODULUS];
    CK_ULONG input_len;
    atomic_bool stop;
};

struct lane {
    pthread_t thread;
    struct bench *bench;
    unsigned long count;
};

static CK_RSA_PKCS_OAEP_PARAMS oaep_sha1 = {CKM_SHA_1, CKG_MGF1_SHA1, CKZ_DATA_SPECIFIED, NULL, 0};

static void must(CK_RV rv, const char *what)
{
    if (rv != CKR_OK) {
        fprintf(stderr, "rawtoken: %s: 0x%lx\n", what, rv);
        exit(1);
    }
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_now(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1e-6;
}

static CK_FUNCTION_LIST *load(const char *module)
{
    void *handle = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    CK_FUNCTION_LIST *list = NULL;
    CK_C_GetFunctionList get;
    void *symbol = handle ? dlsym(handle, "C_GetFunctionList") : NULL;

    if (!symbol) {
        fprintf(stderr, "rawtoken: %s\n", dlerror());
        exit(1);
    }
    memcpy(&get, &symbol, sizeof get); /* ISO C has no cast from void * to a function */
    must(get(&list), "C_GetFunctionList");
    return list;
}

static CK_SLOT_ID slot_of(CK_FUNCTION_LIST *p11, const char *label)
{
    CK_SLOT_ID slots[MAX_SLOTS];
    CK_ULONG n = MAX_SLOTS;

    must(p11->C_GetSlotList(CK_TRUE, slots, &n), "C_GetSlotList");
    for (CK_ULONG i = 0; i < n; i++) {
        CK_TOKEN_INFO info;
        char padded[sizeof info.label + 1];
        snprintf(padded, sizeof padded, "%-*s", (int)sizeof info.label, label);
        if (p11->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            memcmp(info.label, padded, sizeof info.label) == 0)
            return slots[i];
    }
    fprintf(stderr, "rawtoken: no token labelled %s\n", label);
    exit(1);
}

static CK_SESSION_HANDLE open_session(const struct bench *b)
{
    CK_SESSION_HANDLE s;
    must(b->p11->C_OpenSession(b->slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &s),
         "C_OpenSession");
    return s;
}

static CK_SESSION_HANDLE login(const struct bench *b, const char *pin_file)
{
    char pin[256];
    CK_SESSION_HANDLE s = open_session(b);
    FILE *f = fopen(pin_file, "r");

    if (!f || !fgets(pin, sizeof pin, f)) {
        perror(pin_file);
        exit(1);
    }
    fclose(f);
    pin[strcspn(pin, "\r\n")] = '\0';
    must(b->p11->C_Login(s, CKU_USER, (CK_UTF8CHAR *)pin, strlen(pin)), "C_Login");
    return s;
}

static void make(const struct bench *b, CK_SESSION_HANDLE s, CK_ULONG bits)
{
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_BYTE exponent[] = {1, 0, 1}, name[] = "bench";
    CK_ATTRIBUTE public[] = {{CKA_TOKEN, &yes, 1},
                             {CKA_LABEL, name, 5},
                             {CKA_MODULUS_BITS, &bits, sizeof bits},
                             {CKA_PUBLIC_EXPONENT, exponent, sizeof exponent},
                             {CKA_ENCRYPT, &yes, 1}};
    CK_ATTRIBUTE private[] = {{CKA_TOKEN, &yes, 1},     {CKA_PRIVATE, &yes, 1},
                              {CKA_SENSITIVE, &yes, 1}, {CKA_EXTRACTABLE, &no, 1},
                              {CKA_LABEL, name, 5},     {CKA_DECRYPT, &yes, 1}};
    CK_MECHANISM generate = {CKM_RSA_PKCS_KEY_PAIR_GEN, NULL, 0};
    CK_OBJECT_HANDLE pair[2];

    must(b->p11->C_GenerateKeyPair(s, &generate, public, sizeof public / sizeof *public, private,
                                   sizeof private / sizeof *private, &pair[0], &pair[1]),
         "C_GenerateKeyPair");
}

static CK_OBJECT_HANDLE find(const struct bench *b, CK_SESSION_HANDLE s, CK_OBJECT_CLASS class)
{
    CK_BYTE name[] = "bench";
    CK_ATTRIBUTE match[] = {{CKA_CLASS, &class, sizeof class}, {CKA_LABEL, name, 5}};
    CK_OBJECT_HANDLE h = 0;
    CK_ULONG n = 0;

    must(b->p11->C_FindObjectsInit(s, match, 2), "C_FindObjectsInit");
    must(b->p11->C_FindObjects(s, &h, 1, &n), "C_FindObjects");
    must(b->p11->C_FindObjectsFinal(s), "C_FindObjectsFinal");
    if (n != 1) {
        fprintf(stderr, "rawtoken: no key named bench: run make first\n");
        exit(1);
    }
    return h;
}

static void once(struct bench *b, CK_SESSION_HANDLE s)
{
    CK_BYTE out[MAX_MODULUS];
    CK_ULONG n = sizeof out;

    if (b->encrypts) {
        must(b->p11->C_EncryptInit(s, &b->mechanism, b->public_key), "C_EncryptInit");
        must(b->p11->C_Encrypt(s, b->input, b->input_len, out, &n), "C_Encrypt");
    } else {
        must(b->p11->C_DecryptInit(s, &b->mechanism, b->private_key), "C_DecryptInit");
        must(b->p11->C_Decrypt(s, b->input, b->input_len, out, &n), "C_Decrypt");
    }
}

static void *run_lane(void *arg)
{
    struct lane *lane = arg;
    CK_SESSION_HANDLE s = open_session(lane->bench);

    while (!atomic_load_explicit(&lane->bench->stop, memory_order_relaxed)) {
        once(lane->bench, s);
        lane->count++;
    }
    return NULL;
}

/* A 32-byte input, as a DEK is; for decryption its ciphertext. */
static void prepare(struct bench *b, CK_SESSION_HANDLE s, const char *op)
{
    CK_MECHANISM oaep = {CKM_RSA_PKCS_OAEP, &oaep_sha1, sizeof oaep_sha1};
    CK_BYTE dek[32] = {1};

    b->private_key = find(b, s, CKO_PRIVATE_KEY);
    b->public_key = find(b, s, CKO_PUBLIC_KEY);
    b->encrypts = strcmp(op, "encrypt") == 0;
    b->mechanism = strcmp(op, "raw") == 0 ? (CK_MECHANISM){CKM_RSA_X_509, NULL, 0} : oaep;
    if (b->encrypts) {
        memcpy(b->input, dek, sizeof dek);
        b->input_len = sizeof dek;
        return;
    }
    b->input_len = sizeof b->input;
    must(b->p11->C_EncryptInit(s, &oaep, b->public_key), "C_EncryptInit");
    must(b->p11->C_Encrypt(s, dek, sizeof dek, b->input, &b->input_len), "C_Encrypt");
}

static void rate(struct bench *b, long threads, long seconds)
{
    struct lane lanes[MAX_THREADS] = {0};
    unsigned long total = 0;
    double start = seconds_now(), cpu = cpu_now(), took;

    for (long i = 0; i < threads; i++) {
        lanes[i].bench = b;
        if (pthread_create(&lanes[i].thread, NULL, run_lane, &lanes[i]) != 0)
            exit(1);
    }
    nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
    atomic_store(&b->stop, true);
    for (long i = 0; i < threads; i++) {
        pthread_join(lanes[i].thread, NULL);
        total += lanes[i].count;
    }
    took = seconds_now() - start;
    printf("{\"per_second\": %.1f, \"cpu_us\": %.2f}\n", (double)total / took,
           (cpu_now() - cpu) * 1e6 / (double)total);
}

static unsigned long list_class(const struct bench *b, CK_SESSION_HANDLE s, CK_OBJECT_CLASS class)
{
    CK_ATTRIBUTE match = {CKA_CLASS, &class, sizeof class};
    CK_OBJECT_HANDLE handles[LIST_BATCH];
    CK_ULONG n;
    unsigned long total = 0;

    must(b->p11->C_FindObjectsInit(s, &match, 1), "C_FindObjectsInit");
    do {
        must(b->p11->C_FindObjects(s, handles, LIST_BATCH, &n), "C_FindObjects");
        for (CK_ULONG i = 0; i < n; i++) {
            CK_BYTE id[64], label[128], point[256];
            CK_ATTRIBUTE wanted[] = {{CKA_ID, id, sizeof id},
                                     {CKA_LABEL, label, sizeof label},
                                     {CKA_EC_POINT, point, sizeof point}};
            /* a private key has no point: its type says so, the other two are filled all the same
             */
            (void)b->p11->C_GetAttributeValue(s, handles[i], wanted,
                                              class == CKO_PUBLIC_KEY ? 3 : 2);
        }
        total += n;
    } while (n > 0);
    must(b->p11->C_FindObjectsFinal(s), "C_FindObjectsFinal");
    return total;
}

int main(int argc, char **argv)
{
    static struct bench b;
    CK_C_INITIALIZE_ARGS locking = {.flags = CKF_OS_LOCKING_OK};
    CK_SESSION_HANDLE s;
    double start = seconds_now();

    if (argc < 5) {
        fprintf(stderr, "use: rawtoken MODULE LABEL PIN-FILE make|decrypt|raw|encrypt|list …\n");
        return 2;
    }
    b.p11 = load(argv[1]);
    must(b.p11->C_Initialize(&locking), "C_Initialize");
    b.slot = slot_of(b.p11, argv[2]);
    s = login(&b, argv[3]);
    if (strcmp(argv[4], "list") == 0) {
        unsigned long private = list_class(&b, s, CKO_PRIVATE_KEY);
        unsigned long public = list_class(&b, s, CKO_PUBLIC_KEY);
        printf("{\"seconds\": %.4f, \"private\": %lu, \"public\": %lu}\n", seconds_now() - start,
               private, public);
    } else if (strcmp(argv[4], "make") == 0 && argc == 6) {
        make(&b, s, strtoul(argv[5], NULL, 10));
    } else if (argc == 7) {
        long threads = strtol(argv[5], NULL, 10);
        prepare(&b, s, argv[4]);
        rate(&b, threads < 1 || threads > MAX_THREADS ? 1 : threads, strtol(argv[6], NULL, 10));
    } else {
        return 2;
    }
    must(b.p11->C_Finalize(NULL), "C_Finalize");
    return 0;
}
