/* The development site's configuration, and what its users put into their environment. */
#include "base/io.h"
#include "cli/dev_site.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void put_token_section(const struct kl_dev_site *s, struct kl_buf *out, int64_t at)
{
    kl_buf_printf(out, "\n[token %s]\nmodule = %s\n", kl_dev_token_names[at], s->module);
    if (at == 0)
        kl_buf_printf(out, "uri = %s\n", s->uri);
    else
        kl_buf_printf(out, "uri = pkcs11:token=%s\n", kl_dev_token_labels[at]);
    kl_buf_printf(out, "pin-source = %s\n", s->pin_file);
    if (s->init_args != NULL)
        kl_buf_printf(out, "init-args = %s\n", s->init_args);
    if (s->store_dir != NULL)
        kl_buf_printf(out, "store-dir = %s\n", s->store_dir);
    if (s->own_token)
        kl_buf_printf(out,
                      "store-dir = %s/" KL_DEV_SOFTHSM "\nfiles = %s/" KL_DEV_SOFTHSM_CONF "\n"
                      "workers = %ld\n",
                      s->dir, s->dir,
                      sysconf(_SC_NPROCESSORS_ONLN) > 1 ? sysconf(_SC_NPROCESSORS_ONLN) : 1L);
    else
        kl_buf_puts(
            out, "# A trial: what this module needs is not known yet. Without these lines it has "
                 "no Internet sockets, and sees no\n# files of the service.\nnetwork = yes\n"
                 "files = /\n");
}

enum kl_code kl_dev_make_config(struct kl_dev_site *s, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(65536);
    KL_AUTO(char) state = NULL;
    long long port = s->port;
    enum kl_code code = kl_dev_path(s, "state", &state, err);

    if (code == KL_OK)
        code = kl_io_make_dirs(state, 0700, err);
    if (code != KL_OK || kl_dev_has(s, KL_DEV_CONFIG))
        return code;
    kl_buf_puts(&out,
                "# Written by 'kluis dev up' and left alone since; yours to change. All keys: "
                "kluisd --sample-config\n[service]\n");
    kl_buf_printf(&out, "listen = 127.0.0.1:%lld\norigin = https://localhost:%lld\ntenant = %s\n",
                  port, port, s->tenant);
    kl_buf_printf(&out, "certificate = %s/server.pem\nprivate-key = %s/server-key.pem\n", s->dir,
                  s->dir);
    kl_buf_printf(&out, "database = %s/kluis.db\nstate-dir = %s\n", s->dir, state);
    kl_buf_puts(&out, "\n# Key Vault's limits would stop a test or benchmark that loads the site; "
                      "azure is what a service has without this line.\n[limits]\nprofile = off\n");
    kl_buf_printf(&out, "\n[audit]\npath = %s/audit.log\nhead = %s/audit.head\n", s->dir, s->dir);
    for (int64_t i = 0; i < s->tokens; i++)
        put_token_section(s, &out, i);
    return kl_dev_write(s, KL_DEV_CONFIG, &out, err);
}

/* export NAME='value', safe for any value. */
static void put_export(struct kl_buf *out, const char *name, const char *value)
{
    kl_buf_printf(out, "export %s='", name);
    for (; *value != '\0'; value++) {
        if (*value == '\'')
            kl_buf_puts(out, "'\\''");
        else
            kl_buf_putc(out, *value);
    }
    kl_buf_puts(out, "'\n");
}

static void put_path_export(const struct kl_dev_site *s, struct kl_buf *out, const char *name,
                            const char *file)
{
    struct kl_buf path = KL_BUF_INIT(8192);

    kl_buf_printf(&path, "%s/%s", s->dir, file);
    put_export(out, name, kl_buf_text(&path));
    kl_buf_done(&path);
}

static void put_token_exports(const struct kl_dev_site *s, struct kl_buf *out)
{
    const char *name;
    json_t *value;

    json_object_foreach(s->token_env, name, value) put_export(out, name, json_string_value(value));
}

enum kl_code kl_dev_write_env(struct kl_dev_site *s, struct kl_err *err)
{
    struct kl_buf out = KL_BUF_INIT(65536);
    char url[64];

    snprintf(url, sizeof(url), "https://localhost:%lld", (long long)s->port);
    put_export(&out, "KLUIS_URL", url);
    snprintf(url, sizeof(url), "https://demo.vault.localhost:%lld", (long long)s->port);
    put_export(&out, "KLUIS_VAULT_URL", url);
    put_path_export(s, &out, "KLUIS_CA", KL_DEV_CA);
    put_export(&out, "KLUIS_TENANT", s->tenant);
    put_export(&out, "KLUIS_CLIENT_ID", s->client_id);
    put_path_export(s, &out, "KLUIS_CLIENT_SECRET_FILE", KL_DEV_SECRET);
    put_path_export(s, &out, "KLUIS_CONFIG", KL_DEV_CONFIG);
    if (s->own_token)
        put_path_export(s, &out, "SOFTHSM2_CONF", KL_DEV_SOFTHSM_CONF);
    else
        put_token_exports(s, &out);
    return kl_dev_write(s, KL_DEV_ENV, &out, err);
}
