/* kluisd: the key service. Arguments and signals; boot.c puts the service together. */
#include "keyvault/boot.h"

#include "base/log.h"
#include "base/sandbox.h"
#include "keyvault/route.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_EXISTS = 4 };

struct options {
    const char *config, *bootstrap, *secret_file;
    int check_config, print_config, sample_config, routes, version, accept_audit_loss,
        accept_older_database, accept_changed_access, help;
};

static const char usage_text[] =
    "usage: kluisd --config FILE                                     serve\n"
    "       kluisd --config FILE --bootstrap NAME --secret-file OUT  make the first principal\n"
    "       kluisd --config FILE --check-config                      is the file good?\n"
    "       kluisd --config FILE --print-config                      the file with all defaults\n"
    "       kluisd --sample-config                                   every setting, explained\n"
    "       kluisd --routes                                          every operation, as JSON\n"
    "       kluisd --version\n"
    "       kluisd --config FILE --accept-audit-loss                 serve although the end of the\n"
    "                                                                audit log is missing\n"
    "       kluisd --config FILE --accept-older-database             serve with a database that was\n"
    "                                                                put back from a copy\n"
    "       kluisd --config FILE --accept-changed-access             serve with principals and\n"
    "                                                                policies that were changed in\n"
    "                                                                the database itself\n";

static bool parse_options(int argc, char **argv, struct options *o)
{
    const struct option table[] = {
        {"config", required_argument, NULL, 'c'},
        {"bootstrap", required_argument, NULL, 'b'},
        {"secret-file", required_argument, NULL, 's'},
        {"check-config", no_argument, &o->check_config, 1},
        {"print-config", no_argument, &o->print_config, 1},
        {"sample-config", no_argument, &o->sample_config, 1},
        {"routes", no_argument, &o->routes, 1},
        {"version", no_argument, &o->version, 1},
        {"accept-audit-loss", no_argument, &o->accept_audit_loss, 1},
        {"accept-older-database", no_argument, &o->accept_older_database, 1},
        {"accept-changed-access", no_argument, &o->accept_changed_access, 1},
        {"help", no_argument, &o->help, 1},
        {NULL, 0, NULL, 0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", table, NULL)) != -1) {
        if (c == 'c')
            o->config = optarg;
        else if (c == 'b')
            o->bootstrap = optarg;
        else if (c == 's')
            o->secret_file = optarg;
        else if (c != 0)
            return false;
    }
    if (optind != argc)
        return false;
    if (o->sample_config || o->routes || o->version || o->help)
        return true;
    return o->config != NULL && (o->bootstrap == NULL) == (o->secret_file == NULL);
}

static int failed(const struct kl_err *err)
{
    (void)fprintf(stderr, "kluisd: %s\n", err->text);
    if (err->detail[0] != 0 || err->native != 0)
        kl_log_err(KL_LOG_ERROR, "start failed", err);
    return EXIT_FAILED;
}

static int print_and_free(struct kl_buf *text)
{
    bool ok = !kl_buf_failed(text) && fputs(kl_buf_text(text), stdout) >= 0 && fflush(stdout) == 0;
    kl_buf_done(text);
    return ok ? EXIT_OK : EXIT_FAILED;
}

static int sample_config(void)
{
    struct kl_buf text = KL_BUF_INIT(1 << 20);
    kl_config_sample(&text);
    return print_and_free(&text);
}

static int routes(void)
{
    struct kl_buf text = KL_BUF_INIT(1 << 20);
    struct kl_err err;
    if (kl_routes_compile(&err) != KL_OK)
        return failed(&err);
    kl_routes_print(&text);
    return print_and_free(&text);
}

static int serve(const struct kl_config *config, struct kl_mark_accept accept)
{
    struct kl_running *running = NULL;
    struct kl_err err = {.code = KL_OK};
    sigset_t wanted;
    (void)sigemptyset(&wanted);
    (void)sigaddset(&wanted, SIGTERM);
    (void)sigaddset(&wanted, SIGINT);
    (void)sigaddset(&wanted, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &wanted, NULL); /* before any thread, so that all inherit it */
    if (kl_boot(config, accept, &running, &err) != KL_OK)
        return failed(&err);
    int signal_number = 0;
    while (sigwait(&wanted, &signal_number) == 0 && signal_number == SIGHUP)
        kl_boot_reload(running);
    kl_log(KL_LOG_INFO, "stopping signal=%d", signal_number);
    kl_boot_stop(running);
    return EXIT_OK;
}

static int run_with_config(const struct options *o)
{
    struct kl_err err = {.code = KL_OK};
    KL_AUTO(config) config = NULL;
    if (kl_config_load(o->config, &config, &err) != KL_OK)
        return failed(&err);
    kl_log_setup("kluisd", kl_config_log_level(config));
    if (o->check_config)
        return EXIT_OK;
    if (o->print_config) {
        struct kl_buf text = KL_BUF_INIT(1 << 20);
        kl_config_print(config, &text);
        return print_and_free(&text);
    }
    if (o->bootstrap != NULL) {
        enum kl_code code = kl_bootstrap(config, o->bootstrap, o->secret_file, &err);
        if (code != KL_OK)
            (void)failed(&err);
        return code == KL_OK ? EXIT_OK : code == KL_EXISTS ? EXIT_EXISTS : EXIT_FAILED;
    }
    return serve(config, (struct kl_mark_accept){.audit_loss = o->accept_audit_loss != 0,
                                                 .older_database = o->accept_older_database != 0,
                                                 .changed_access = o->accept_changed_access != 0});
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct kl_err err;
    kl_wiping_allocators();
    kl_log_setup("kluisd", KL_LOG_INFO);
    if (kl_sandbox_begin(&err) != KL_OK)
        return failed(&err);
    if (!parse_options(argc, argv, &o)) {
        (void)fputs(usage_text, stderr);
        return EXIT_USAGE;
    }
    if (o.help)
        return fputs(usage_text, stdout) >= 0 ? EXIT_OK : EXIT_FAILED;
    if (o.version)
        return puts("kluisd " KLUIS_VERSION) >= 0 ? EXIT_OK : EXIT_FAILED;
    if (o.sample_config)
        return sample_config();
    if (o.routes)
        return routes();
    return run_with_config(&o);
}
