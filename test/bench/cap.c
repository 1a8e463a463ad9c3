// SPDX-License-Identifier: Apache-2.0
// Benchmarks of sessions: the class gate of a process (any, 16 patterns, a denial with its audit
// event), what a process under a session of its own costs, what a session costs.
#include "cap.h"
#include "base/alloc.h"
#include "cap/gate.h"
#include "os/clock.h"
#include "sched/drive.h"
#include <stdio.h>
#include <string.h>

enum { BATCH = 64, PATTERNS = 16 };

struct rig {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_reg *reg;
    struct viv_audit *audit;
    struct viv_sessions *all;
    struct viv_session *root, *child;
    struct viv_proc *under_root, *under_child;
};

static uint64_t now(void *arg)
{
    (void)arg;
    return viv_os_now_ns();
}

static enum viv_step step(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    (void)proc;
    (void)state;
    (void)slice;
    return VIV_STEP_DONE;
}

static void destroy(struct viv_proc *proc, void *state)
{
    (void)proc;
    (void)state;
}

static struct viv_proc *new_proc(struct rig *rig)
{
    static const struct viv_body body = {.name = "bench", .step = step, .destroy = destroy};
    struct viv_proc *proc;
    BENCH_TRY(viv_proc_new(
        &(struct viv_proc_spec){.env = rig->env, .body = &body, .prio = VIV_PRIO_NORMAL}, &proc));
    return proc;
}

// Sixteen networks and names; only the last of each admits what is asked.
static struct viv_session *new_child(struct rig *rig)
{
    char text[4096];
    size_t len = (size_t)snprintf(text, sizeof text, "allow fs\nallow net.connect=");
    for (int i = 1; i <= PATTERNS; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%stcp:10.%d.0.0/16:80-89+443",
                                i > 1 ? "," : "", i);
    len += (size_t)snprintf(text + len, sizeof text - len, "\nallow name.lookup=");
    for (int i = 1; i <= PATTERNS; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%sservice.number%d.*",
                                i > 1 ? "," : "", i);
    struct viv_policy *policy;
    struct viv_session *child;
    const struct viv_policy_source source = {.text = text, .len_bytes = len};
    BENCH_TRY(viv_policy_new(&policy));
    BENCH_TRY(viv_policy_parse(policy, &source, NULL));
    BENCH_TRY(viv_ses_add_policy(rig->root, policy, VIV_RID_NONE, &child, NULL));
    viv_policy_free(policy);
    return child;
}

static void open_rig(struct rig *rig)
{
    const struct viv_kernel_config kernel = {.worker_count = 1,
                                             .env = {.now_ns = now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    BENCH_TRY(viv_kernel_new(&kernel, &rig->kernel));
    BENCH_TRY(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    BENCH_TRY(viv_kernel_start(rig->kernel));
    viv_drive_become(viv_kernel_sched(rig->kernel), 0);
    struct viv_res_config config = {.sched = viv_kernel_sched(rig->kernel)};
    viv_account_limits_none(&config.limits);
    BENCH_TRY(viv_res_new(&config, &rig->reg));
    const struct viv_audit_config audit = {.now_ns = now};
    BENCH_TRY(viv_audit_new(&audit, &rig->audit));
    const struct viv_sessions_config sessions = {.reg = rig->reg, .audit = rig->audit};
    BENCH_TRY(viv_sessions_new(&sessions, &rig->all));
    const struct viv_ses_root root = {.proc_env = rig->env, .mask = VIV_CAP_ALL};
    BENCH_TRY(viv_ses_bootstrap(rig->all, &root, &rig->root));
    rig->child = new_child(rig);
    rig->under_root = new_proc(rig);
    rig->under_child = new_proc(rig);
    BENCH_TRY(viv_ses_bind(rig->child, rig->under_child));
}

static void close_rig(struct rig *rig)
{
    viv_ses_unbind(rig->under_child);
    viv_proc_abandon(rig->under_root);
    viv_proc_abandon(rig->under_child);
    viv_ses_let_go(rig->child);
    viv_res_free(rig->reg);
    viv_sessions_free(rig->all);
    viv_audit_free(rig->audit);
    BENCH_TRY(viv_kernel_stop(rig->kernel, 0));
    viv_kernel_free(rig->kernel);
}

// Nanoseconds a check, with the answer wanted.
static double gate_once(const struct bench_options *options, bool is_child, enum viv_cap cap,
                        const struct viv_cap_query *query, enum viv_err want)
{
    struct rig rig;
    open_rig(&rig);
    const struct viv_proc *proc = is_child ? rig.under_child : rig.under_root;
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        const enum viv_err err = viv_cap_check(proc, cap, query);
        if (err != want) bench_die("gate", err);
        __asm__ volatile("" : : : "memory");
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

static double any_root(const struct bench_options *options)
{
    return gate_once(options, false, VIV_CAP_FS, NULL, VIV_OK);
}

static double any_child(const struct bench_options *options)
{
    return gate_once(options, true, VIV_CAP_FS, NULL, VIV_OK);
}

static double some_addresses(const struct bench_options *options)
{
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_ADDRESS,
                                        .proto = VIV_NET_TCP,
                                        .port = 443,
                                        .has_addr = true,
                                        .addr = {[10] = 0xFF, 0xFF, 10, PATTERNS, 1, 1}};
    return gate_once(options, true, VIV_CAP_NET_CONNECT, &query, VIV_OK);
}

static double some_names(const struct bench_options *options)
{
    static const char name[] = "service.number16.x";
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_NAMES, .name = name, .name_len = sizeof name - 1};
    return gate_once(options, true, VIV_CAP_NAME_LOOKUP, &query, VIV_OK);
}

static double denial(const struct bench_options *options)
{
    const struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                        .path = "/var/lib/some/database",
                                        .path_len = 22,
                                        .rights = VIV_DIR_READ,
                                        .operation = "open"};
    struct bench_options fewer = *options;
    fewer.count /= 20;
    return gate_once(&fewer, true, VIV_CAP_DB_OPEN, &query, VIV_E_DENIED);
}

void bench_cap_gate(const struct bench_options *options)
{
    const struct bench_result results[] = {
        {"host.cap_gate_any", "ns", bench_median(any_root, options), 0, 5, false},
        {"host.cap_gate_any_child", "ns", bench_median(any_child, options), 0, 5, false},
        {"host.cap_gate_16_addresses", "ns", bench_median(some_addresses, options), 0, 100, false},
        {"host.cap_gate_16_names", "ns", bench_median(some_names, options), 0, 100, false},
        {"host.cap_denial", "ns", bench_median(denial, options), 0, 0, false},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(results); i++)
        bench_emit(options, &results[i]);
}

static double bind_once(const struct bench_options *options, bool is_child)
{
    struct rig rig;
    open_rig(&rig);
    struct viv_proc *child = new_proc(&rig);
    const struct viv_proc *parent = is_child ? rig.under_child : rig.under_root;
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        BENCH_TRY(viv_ses_inherit(parent, child));
        viv_ses_unbind(child);
        viv_proc_set_word(child, VIV_PROC_WORD_SESSION, NULL);
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    viv_proc_abandon(child);
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

static double bind_root(const struct bench_options *options)
{
    return bind_once(options, false);
}

static double bind_child(const struct bench_options *options)
{
    return bind_once(options, true);
}

static double derive_once(const struct bench_options *options)
{
    struct rig rig;
    open_rig(&rig);
    const uint64_t count = options->count / 100;
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < count; i++) {
        struct viv_session *session;
        BENCH_TRY(viv_ses_derive(rig.child, VIV_CAP_BIT(VIV_CAP_FS), NULL, VIV_RID_NONE, &session));
        viv_ses_let_go(session);
        if (i % BATCH == 0) viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)count;
}

// Milliseconds to take a class from a session with ten thousand below it.
static double shrink_once(const struct bench_options *options)
{
    enum { BELOW = 10000 };
    struct viv_session **below = viv_calloc(BELOW, sizeof *below, VIV_TAG_TEST);
    struct rig rig;
    (void)options;
    open_rig(&rig);
    for (int i = 0; i < BELOW; i++)
        BENCH_TRY(viv_ses_derive(rig.child, 0, NULL, VIV_RID_NONE, &below[i]));
    const uint64_t began_ns = viv_os_now_ns();
    BENCH_TRY(viv_ses_shrink(rig.child, VIV_CAP_FS));
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    for (int i = 0; i < BELOW; i++)
        viv_ses_let_go(below[i]);
    close_rig(&rig);
    viv_free(below, BELOW * sizeof *below, VIV_TAG_TEST);
    return (double)took_ns / (double)VIV_NS_PER_MS;
}

void bench_cap_session(const struct bench_options *options)
{
    const struct bench_result results[] = {
        {"host.cap_inherit_root", "ns", bench_median(bind_root, options), 0, 10, false},
        {"host.cap_inherit_child", "ns", bench_median(bind_child, options), 0, 0, false},
        {"host.cap_derive", "ns", bench_median(derive_once, options), 0, 0, false},
        {"host.cap_shrink_10000_ms", "ms", bench_median(shrink_once, options), 0, 0, false},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(results); i++)
        bench_emit(options, &results[i]);
}
