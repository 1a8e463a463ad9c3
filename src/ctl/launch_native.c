// SPDX-License-Identifier: Apache-2.0
// The launcher of programs: its thread, and the way of a run (launch_native.h).
//
// Invariants
//   1. A job is on the list until its run is told to have ended; the list and the orders in jobs
//      are under the mutex. Everything else of a job is the thread's, or, before it is on the list
//      and between GATED and the order that follows, of who spawns it.
//   2. Nothing is called with the mutex held but native/, which does not block.
#include "ctl/launch_int.h"

#include "base/list.h"
#include "os/thread.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TTL_MS = 30000, LOOKS_OF_TTL = 12, OUTPUT_BYTES = 1 << 20 };

enum state { NEW, SPAWNING, GATED, STARTING, RUNNING, REFUSED };
struct job {
    struct viv_list node;
    struct viv_run *run;
    struct viv_buf block;
    char address[VIV_LAUNCH_ADDRESS_BYTES]; // of its door; "": none is open
    enum viv_launch_bounds bounds;          // which it asks for
    enum viv_launch_result result;
    struct viv_native_call call;
    struct viv_native_ref ref;
    struct viv_native_guard guard;
    struct viv_launch_refusal refusal;
    int64_t deadman_ms; // as init has it
    bool has_exit;
    enum state state;
    // Orders, under the mutex; what was passed on is taken back.
    bool start, cancel, kill;
};

struct viv_launch_native {
    struct viv_launch_config config;
    struct viv_native_ctx ctx;
    struct viv_launch_host host;
    uint64_t look_ns; // how often leases are looked at while something runs
    struct viv_thread *thread;
    _Atomic uint32_t word;   // raised for the thread
    _Atomic uint32_t opened; // 0: the thread has not entered; 1: it has; 2: it could not
    struct viv_mutex mutex;
    struct viv_cond gated; // a job has become GATED or REFUSED
    struct viv_list jobs;
    uint32_t count;
    bool is_closing;
    enum viv_launch_bounds bounds; // of the next job
};

static void wake(struct viv_launch_native *launch)
{
    atomic_fetch_add_explicit(&launch->word, 1, memory_order_seq_cst); // read before the wait
    viv_futex_wake(&launch->word, UINT32_MAX);
}

static void tell(const struct viv_launch_native *launch, const struct job *job, const char *reason)
{
    const struct viv_lease *lease = viv_run_lease(job->run);
    const struct viv_launch_event event = {.is_end = reason != NULL,
                                           .id = lease->id,
                                           .attempt = lease->attempt,
                                           .os_pid = job->guard.pid,
                                           .reason = reason};
    if (launch->config.told != NULL) launch->config.told(launch->config.arg, &event);
}

static void tell_refusal(const struct viv_launch_native *launch, const struct job *job)
{
    char text[sizeof job->refusal.message + 64];
    (void)snprintf(text, sizeof text, "%s: %s", job->refusal.code, job->refusal.message);
    tell(launch, job, text);
}

static enum viv_err open_door(const struct viv_launch_native *launch, struct job *job)
{
    const struct viv_launch_door *door = &launch->config.door;
    return door->open == NULL ? VIV_OK : door->open(door->arg, job->run, job->address);
}

// Before its run is told to have ended.
static void close_door(const struct viv_launch_native *launch, struct job *job)
{
    const struct viv_launch_door *door = &launch->config.door;
    if (job->address[0] != '\0') door->close(door->arg, job->run);
    job->address[0] = '\0';
}

static void free_job(VIV_OWN struct job *job)
{
    viv_buf_deinit(&job->block);
    viv_free(job, sizeof *job, VIV_TAG_CTL);
}

// ---- the thread: one step of one job; the mutex is held ----

static void refuse_locked(struct viv_launch_native *launch, struct job *job, enum viv_err err)
{
    viv_launch__refuse_err(&job->refusal, err, job->call.diag.text);
    job->state = REFUSED;
    viv_list_remove(&job->node);
    launch->count--;
    viv_cond_broadcast(&launch->gated);
}

// Where no group may be made, its block asks for a namespace from now on; root has none as itself.
static bool try_namespace_locked(struct viv_launch_native *launch, struct job *job,
                                 enum viv_err err)
{
    const bool wants_guard = err == VIV_E_UNSUPPORTED && strcmp(job->call.diag.text, "guard") == 0;
    if (!wants_guard || job->bounds == VIV_BOUNDS_NAMESPACE || geteuid() == 0) return false;
    launch->bounds = job->bounds = VIV_BOUNDS_NAMESPACE;
    viv_buf_clear(&job->block);
    if (!viv_launch__block(job->run, job->address, job->bounds, &job->block, &job->result,
                           &job->refusal))
        return false;
    job->state = NEW;
    wake(launch);
    return true;
}

static void note_spawned_locked(struct viv_launch_native *launch, struct job *job, enum viv_err err)
{
    struct viv_native_info info;
    if (err == VIV_E_AGAIN) return;
    if (err != VIV_OK) {
        if (!try_namespace_locked(launch, job, err)) refuse_locked(launch, job, err);
        return;
    }
    job->ref = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = job->call.spawned.pid};
    if (viv_native_info(&launch->ctx, &job->ref, &info) == VIV_OK) job->guard = info.guard;
    job->state = GATED;
    viv_cond_broadcast(&launch->gated);
}

static void await_end(struct job *job)
{
    const enum viv_err err = viv_native_wait(&job->call, &job->ref, VIV_FOREVER_NS);
    job->state = RUNNING;
    job->has_exit = err != VIV_E_AGAIN;
}

// One that could not be started ends, too; what it is told is why. Cancelled: it has ended before
// its start was told, maybe after it did much; its end says more.
static void note_started(struct job *job, enum viv_err err)
{
    if (err == VIV_E_AGAIN) return;
    if (err != VIV_OK && err != VIV_E_CANCELLED) {
        viv_launch__refuse_err(&job->refusal, err, job->call.diag.text);
        job->kill = true;
    }
    await_end(job);
}

static void pass_orders_locked(struct viv_launch_native *launch, struct job *job)
{
    if (job->state < GATED) return;
    if (job->cancel)
        VIV_IGNORE(viv_native_signal(&launch->ctx, &job->ref, SIGTERM, false), "it has ended");
    if (job->kill)
        VIV_IGNORE(viv_native_order_stop(&launch->ctx, &job->ref, SIGKILL, 0), "it has ended");
    job->cancel = job->kill = false;
    const int64_t live_ms = viv_run_live_until_ms(job->run);
    if (live_ms <= job->deadman_ms) return; // one that is lost is killed by the worker
    if (viv_native_set(&launch->ctx, &job->ref, VIV_NATIVE_KEY_DEADMAN, (uint64_t)live_ms) ==
        VIV_OK)
        job->deadman_ms = live_ms;
}

static void step_locked(struct viv_launch_native *launch, struct job *job)
{
    switch (job->state) {
    case NEW:
        viv_native_call_init(&job->call, &launch->ctx);
        job->call.word = &launch->word;
        job->state = SPAWNING;
        note_spawned_locked(launch, job,
                            viv_native_spawn(&job->call, job->block.data, job->block.len_bytes));
        break;
    case SPAWNING:
        note_spawned_locked(launch, job, viv_native_poll(&job->call));
        break;
    case GATED:
        if (job->start) {
            job->state = STARTING;
            note_started(job, viv_native_start(&job->call, &job->ref));
        } else if (job->kill) {
            await_end(job);
        }
        break;
    case STARTING:
        note_started(job, viv_native_poll(&job->call));
        break;
    case RUNNING:
        job->has_exit = job->has_exit || viv_native_poll(&job->call) != VIV_E_AGAIN;
        break;
    case REFUSED:
        break;
    }
    if (job->state != REFUSED) pass_orders_locked(launch, job);
}

// ---- the thread: ends ----

// Of what the result is made, or else the failure's message. No ring is larger than the buffer.
static size_t read_output(struct viv_launch_native *launch, const struct job *job, uint8_t *buf)
{
    struct viv_native_logs logs;
    size_t len = 0;
    const bool is_normal = viv_native_exit_status(&job->call.exit) == 0;
    if (is_normal && job->result == VIV_RESULT_EXIT) return 0;
    do {
        if (viv_native_read_logs(&launch->ctx, &job->ref, is_normal ? 1 : 2, buf + len,
                                 OUTPUT_BYTES - len, &logs) != VIV_OK)
            break;
        len += logs.len;
    } while (logs.len > 0 && len < OUTPUT_BYTES);
    return len;
}

static void end_with_output(struct viv_launch_native *launch, struct job *job)
{
    struct viv_buf output, text;
    viv_buf_init(&output, VIV_TAG_CTL);
    viv_buf_init(&text, VIV_TAG_CTL);
    struct viv_launch_ending ending = {.exit = &job->call.exit, .result = job->result};
    enum viv_err err = viv_buf_reserve(&text, OUTPUT_BYTES);
    if (err == VIV_OK) {
        ending.len = read_output(launch, job, text.data);
        ending.text = text.data;
        err = viv_launch__output(&ending, &output);
    }
    viv_buf_deinit(&text);
    if (err != VIV_OK) viv_buf_clear(&output); // the worker says that its end is not known
    viv_run_ended(job->run, (struct viv_str){(const char *)output.data, output.len_bytes});
    viv_buf_deinit(&output);
}

static void tell_end(const struct viv_launch_native *launch, const struct job *job)
{
    char text[200];
    if (job->refusal.code != NULL) {
        tell_refusal(launch, job);
        return;
    }
    const struct viv_reason *reason = viv_native_reason(&job->call.exit, NULL);
    (void)viv_reason_format(reason, text, sizeof text);
    viv_reason_drop(reason);
    tell(launch, job, text);
}

// Off the list already: no order comes any more.
static void end_job(struct viv_launch_native *launch, VIV_OWN struct job *job)
{
    close_door(launch, job);
    tell_end(launch, job);
    if (job->refusal.code != NULL)
        viv_run_failed(job->run, job->refusal.class, job->refusal.code, job->refusal.message);
    else
        end_with_output(launch, job);
    VIV_IGNORE(viv_native_release(&launch->ctx, &job->ref), "it goes by itself later");
    free_job(job);
}

static bool turn(struct viv_launch_native *launch, bool *out_has_jobs)
{
    struct viv_list ended;
    viv_list_init(&ended);
    viv_mutex_lock(&launch->mutex);
    for (struct viv_list *at = launch->jobs.next, *next; at != &launch->jobs; at = next) {
        struct job *job = VIV_CONTAINER_OF(at, struct job, node);
        next = at->next;
        step_locked(launch, job);
        if (!job->has_exit) continue;
        viv_list_remove(&job->node);
        viv_list_append(&ended, &job->node);
    }
    viv_mutex_unlock(&launch->mutex);
    for (struct viv_list *at = ended.next, *next; at != &ended; at = next) {
        next = at->next;
        end_job(launch, VIV_CONTAINER_OF(at, struct job, node));
        viv_mutex_lock(&launch->mutex);
        launch->count--;
        viv_mutex_unlock(&launch->mutex);
    }
    viv_mutex_lock(&launch->mutex);
    *out_has_jobs = launch->count > 0;
    const bool is_over = launch->is_closing && launch->count == 0;
    viv_mutex_unlock(&launch->mutex);
    return !is_over;
}

static void run_thread(void *arg)
{
    struct viv_launch_native *launch = arg;
    struct viv_qsbr_member *member;
    bool has_jobs = false;
    const enum viv_err err = viv_sched_enter(viv_kernel_sched(launch->config.kernel), &member);
    // Seq_cst: who opens waits for it.
    atomic_store_explicit(&launch->opened, err == VIV_OK ? 1 : 2, memory_order_seq_cst);
    viv_futex_wake(&launch->opened, UINT32_MAX);
    if (err != VIV_OK) return;
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(&launch->word, memory_order_seq_cst);
        if (!turn(launch, &has_jobs)) break;
        viv_qsbr_offline(member);
        viv_futex_wait(&launch->word, seen, has_jobs ? launch->look_ns : VIV_FOREVER_NS);
        viv_qsbr_online(member);
    }
    viv_sched_leave(member);
}

// ---- what the worker calls ----

static bool prepare(void *arg, struct viv_run *run)
{
    const struct viv_launch_native *launch = arg;
    viv_launch__guard_end(&launch->host, viv_run_lease(run)->guard);
    return true;
}

// Gated, or REFUSED and off the list.
static void post_and_wait(struct viv_launch_native *launch, struct job *job)
{
    viv_mutex_lock(&launch->mutex);
    viv_list_append(&launch->jobs, &job->node);
    launch->count++;
    wake(launch);
    while (job->state != GATED && job->state != REFUSED)
        (void)viv_cond_wait(&launch->gated, &launch->mutex, VIV_FOREVER_NS);
    viv_mutex_unlock(&launch->mutex);
}

static enum viv_err store_guard(struct viv_launch_native *launch, struct job *job)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_CTL);
    enum viv_err err = job->guard.pid > 0
                           ? viv_launch__guard_write(&launch->host, &job->guard, &text)
                           : VIV_E_NOTFOUND;
    if (err == VIV_OK)
        err =
            viv_run_set_guard(job->run, (struct viv_str){(const char *)text.data, text.len_bytes});
    viv_buf_deinit(&text);
    return err;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct viv_launch_native *launch = arg;
    struct job *job = viv_try_calloc(1, sizeof *job, VIV_TAG_CTL);
    if (job == NULL) {
        viv_run_failed(run, "unavailable", "no_memory", viv_err_text(VIV_E_EXHAUSTED));
        return;
    }
    viv_list_init(&job->node);
    viv_buf_init(&job->block, VIV_TAG_CTL);
    job->run = run;
    job->deadman_ms = viv_run_live_until_ms(run);
    enum viv_err err = open_door(launch, job);
    viv_mutex_lock(&launch->mutex);
    job->bounds = launch->bounds;
    viv_mutex_unlock(&launch->mutex);
    if (err != VIV_OK)
        viv_launch__refuse(&job->refusal, "unavailable", "no_socket", "%s", viv_err_text(err));
    else if (viv_launch__block(run, job->address, job->bounds, &job->block, &job->result,
                               &job->refusal))
        post_and_wait(launch, job);
    if (job->refusal.code != NULL) {
        close_door(launch, job);
        tell_refusal(launch, job);
        viv_run_failed(run, job->refusal.class, job->refusal.code, job->refusal.message);
        free_job(job);
        return;
    }
    err = store_guard(launch, job);
    if (err == VIV_OK) tell(launch, job, NULL);
    if (err != VIV_OK)
        viv_launch__refuse(&job->refusal, "unavailable", "no_guard", "%s", viv_err_text(err));
    viv_mutex_lock(&launch->mutex);
    job->start = err == VIV_OK;
    job->kill = err != VIV_OK;
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

static void order(struct viv_launch_native *launch, const struct viv_run *run, bool is_kill)
{
    viv_mutex_lock(&launch->mutex);
    for (struct viv_list *at = launch->jobs.next; at != &launch->jobs; at = at->next) {
        struct job *job = VIV_CONTAINER_OF(at, struct job, node);
        if (job->run != run) continue;
        if (is_kill)
            job->kill = true;
        else
            job->cancel = true;
    }
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

static void cancel(void *arg, struct viv_run *run, struct viv_str reason)
{
    (void)reason; // a signal has none
    order(arg, run, false);
}

static void kill_run(void *arg, struct viv_run *run)
{
    order(arg, run, true);
}

void viv_launch_native_describe(struct viv_launch_native *launch, struct viv_launcher *out_launcher)
{
    *out_launcher = (struct viv_launcher){.kind = "native",
                                          .arg = launch,
                                          .prepare = prepare,
                                          .spawn = spawn,
                                          .cancel = cancel,
                                          .kill = kill_run};
}

uint32_t viv_launch_native_count(struct viv_launch_native *launch)
{
    viv_mutex_lock(&launch->mutex);
    const uint32_t count = launch->count;
    viv_mutex_unlock(&launch->mutex);
    return count;
}

// ---- making and ending ----

static enum viv_err start_thread(struct viv_launch_native *launch)
{
    VIV_TRY(viv_thread_start("viv-launch", 0, run_thread, launch, &launch->thread));
    uint32_t opened;
    // Seq_cst: pairs with the thread's store.
    while ((opened = atomic_load_explicit(&launch->opened, memory_order_seq_cst)) == 0)
        viv_futex_wait(&launch->opened, 0, VIV_FOREVER_NS);
    if (opened == 1) return VIV_OK;
    viv_thread_join(launch->thread);
    return VIV_E_EXHAUSTED;
}

enum viv_err viv_launch_native_open(const struct viv_launch_config *config,
                                    struct viv_launch_native **out_launch)
{
    struct viv_launch_native *launch = viv_try_calloc(1, sizeof *launch, VIV_TAG_CTL);
    if (launch == NULL) return VIV_E_EXHAUSTED;
    const int64_t ttl_ms = config->ttl_ms > 0 ? config->ttl_ms : TTL_MS;
    launch->config = *config;
    launch->look_ns = (uint64_t)ttl_ms * VIV_NS_PER_MS / LOOKS_OF_TTL;
    launch->ctx = (struct viv_native_ctx){
        .native = config->native, .env = config->env, .unit = "", .is_operator = true};
    viv_mutex_init(&launch->mutex);
    viv_cond_init(&launch->gated);
    viv_list_init(&launch->jobs);
    enum viv_err err = viv_launch__host_open(&launch->host);
    if (err == VIV_OK) {
        err = start_thread(launch);
        if (err != VIV_OK) viv_launch__host_close(&launch->host);
    }
    if (err != VIV_OK) {
        viv_free(launch, sizeof *launch, VIV_TAG_CTL);
        return err;
    }
    *out_launch = launch;
    return VIV_OK;
}

void viv_launch_native_close(VIV_OWN struct viv_launch_native *launch)
{
    if (launch == NULL) return;
    viv_mutex_lock(&launch->mutex);
    launch->is_closing = true;
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
    viv_thread_join(launch->thread);
    viv_launch__host_close(&launch->host);
    viv_free(launch, sizeof *launch, VIV_TAG_CTL);
}
