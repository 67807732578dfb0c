#include "keyvault/metrics.h"

#include "base/clock.h"
#include "keyvault/request.h"

#include <string.h>

#define MAX_ROUTES 161 /* the rows of route.c, and one for requests without a row */

static const int statuses[] = {200, 204, 400, 401, 403, 404, 409, 413, 429, 500, 503, 0};
#define STATUSES (sizeof statuses / sizeof statuses[0])

struct counters {
    atomic_ullong by_status[STATUSES];
    atomic_ullong duration_ms;
};

static struct counters requests[MAX_ROUTES];
static atomic_ullong audit_queued, audit_written, audit_failed;

static void bump(atomic_ullong *counter, unsigned long long by)
{
    (void)atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

static unsigned long long read_counter(atomic_ullong *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void kl_metrics_request(size_t route_index, int status, int64_t duration_ms)
{
    struct counters *c = &requests[route_index < MAX_ROUTES - 1 ? route_index : MAX_ROUTES - 1];
    size_t s = 0;
    while (statuses[s] != status && statuses[s] != 0)
        s++;
    bump(&c->by_status[s], 1);
    bump(&c->duration_ms, duration_ms > 0 ? (unsigned long long)duration_ms : 0);
}

void kl_metrics_audit_queued(void)
{
    bump(&audit_queued, 1);
}

void kl_metrics_audit_done(bool failed)
{
    bump(failed ? &audit_failed : &audit_written, 1);
}

static void put_head(struct kl_buf *out, const char *name, const char *type, const char *help)
{
    kl_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static const char *route_label(size_t i)
{
    const struct kl_route *r = i < kl_routes_count() ? kl_routes_at(i) : NULL;
    return r == NULL ? "none" : r->audit != NULL ? r->audit : r->path;
}

static void put_requests(struct kl_buf *out)
{
    put_head(out, "kluis_requests_total", "counter", "Answered requests by operation and status.");
    for (size_t i = 0; i < MAX_ROUTES; i++)
        for (size_t s = 0; s < STATUSES; s++) {
            unsigned long long n = read_counter(&requests[i].by_status[s]);
            if (n == 0)
                continue;
            kl_buf_printf(out,
                          "kluis_requests_total{operation=\"%s\",row=\"%zu\",status=\"%d\"} %llu\n",
                          route_label(i), i, statuses[s], n);
        }
    put_head(out, "kluis_request_duration_seconds", "summary",
             "Time from the request's last byte to its answer.");
    for (size_t i = 0; i < MAX_ROUTES; i++) {
        unsigned long long count = 0, ms = read_counter(&requests[i].duration_ms);
        for (size_t s = 0; s < STATUSES; s++)
            count += read_counter(&requests[i].by_status[s]);
        if (count == 0)
            continue;
        kl_buf_printf(
            out,
            "kluis_request_duration_seconds_sum{operation=\"%s\",row=\"%zu\"} %llu.%03llu\n"
            "kluis_request_duration_seconds_count{operation=\"%s\",row=\"%zu\"} %llu\n",
            route_label(i), i, ms / 1000, ms % 1000, route_label(i), i, count);
    }
}

static void put_tokens(struct kl_buf *out, const struct kl_service *service)
{
    static const struct {
        const char *name, *type, *help;
    } series[] = {
        {"kluis_token_ready", "gauge", "1 while the token is usable."},
        {"kluis_token_calls_total", "counter", "Calls handed to the token."},
        {"kluis_token_failures_total", "counter", "Calls that failed."},
        {"kluis_token_restarts_total", "counter", "Workers that had to be replaced."},
        {"kluis_token_last_ok_seconds", "gauge", "Unix time of the last private-key operation."},
        {"kluis_token_circuit", "gauge", "Circuit breaker: 0 closed, 1 open, 2 half open."},
        {"kluis_token_losses", "gauge", "Workers lost in a row."},
        {"kluis_token_last_canary_seconds", "gauge", "Unix time of the last canary that passed."},
        {"kluis_token_canary_age_seconds", "gauge",
         "Seconds since the last canary that passed; since 1970 when there was none."},
        {"kluis_token_last_copy_seconds", "gauge",
         "Unix time of the newest proved copy of the token's folder; 0 = none."},
    };
    for (size_t s = 0; s < KL_COUNT(series); s++) {
        put_head(out, series[s].name, series[s].type, series[s].help);
        for (size_t t = 0; t < service->token_count; t++) {
            struct kl_token_status status;
            kl_token_status(service->tokens[t], &status);
            const unsigned long long values[] = {
                status.state == KL_TOKEN_READY,
                status.calls,
                status.failures,
                status.restarts,
                (unsigned long long)status.last_ok_unix,
                (unsigned long long)status.health.circuit,
                status.health.losses,
                (unsigned long long)status.health.canary_unix,
                (unsigned long long)(kl_clock_unix() - status.health.canary_unix),
                (unsigned long long)status.health.copy_unix};
            kl_buf_printf(out, "%s{token=\"%s\"} %llu\n", series[s].name, service->tokens[t]->name,
                          values[s]);
        }
    }
}

static void put_value(struct kl_buf *out, const char *name, const char *type, const char *help,
                      unsigned long long value)
{
    put_head(out, name, type, help);
    kl_buf_printf(out, "%s %llu\n", name, value);
}

void kl_metrics_put(struct kl_buf *out, const struct kl_service *service)
{
    put_requests(out);
    put_tokens(out, service);
    unsigned long long written = read_counter(&audit_written), failed = read_counter(&audit_failed);
    unsigned long long queued = read_counter(&audit_queued), ended = written + failed;
    put_value(out, "kluis_audit_records_total", "counter", "Audit records on disk.", written);
    put_value(out, "kluis_audit_failures_total", "counter", "Audit records that failed.", failed);
    put_value(out, "kluis_audit_waiting", "gauge", "Audit records on their way to the disk.",
              queued > ended ? queued - ended : 0);
    put_value(out, "kluis_start_time_seconds", "gauge", "Unix time of the start.",
              (unsigned long long)service->started_unix);
}
