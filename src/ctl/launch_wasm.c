// SPDX-License-Identifier: Apache-2.0
// The launcher of modules: its thread, and the way of a run (launch_wasm.h).
//
//   worker's threads           launcher's thread                    the family
//   prepare: reads the module
//   spawn ──order──>           session, first process ─────────────> born, runs
//   kill, cancel ──order──>    wakes or kills its members
//                              output, end of the run <──gone──      the last member goes
//
// Invariants
//   1. A job is on the list until its run is told to have ended; the list and the orders in jobs
//      are under the mutex. The rest of a job is the thread's, or, before it is on the list, of
//      who prepares it.
//   2. The thread is a member of its job's family until the first process is one, so a family goes
//      once. Afterwards the job keeps the family's memory, nothing else.
//   3. A kill takes effect before the thread hears of it: the family is closed by who orders it.
#include "ctl/launch_wasm_int.h"

#include "base/assert.h"
#include "cap/room.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct job {
    struct viv_durable_run durable;
    struct viv_list node;
    struct viv_launch_wasm *launch;
    struct viv_launch__program program;
    struct viv_session *session;
    struct viv_birth *birth; // NULL: not wanted any more
    struct viv_launch_refusal refusal;
    bool is_started;
    // Written by the worker of the first process before it is gone:
    enum viv_err birth_err;
    char birth_text[sizeof(struct viv_diag)];
    // Orders, under the mutex:
    bool kill, wake, is_gone;
};

struct viv_launch_wasm {
    struct viv_launch_wasm_config config;
    struct viv_launch__modules modules; // the worker's thread
    struct viv_thread *thread;
    _Atomic uint32_t word;   // raised for the thread
    _Atomic uint32_t opened; // 0: the thread has not entered; 1: it has; 2: it could not
    struct viv_mutex mutex;
    struct viv_list jobs;
    uint32_t count;
    bool is_closing;
};

static void wake(struct viv_launch_wasm *launch)
{
    atomic_fetch_add_explicit(&launch->word, 1, memory_order_seq_cst); // read before the wait
    viv_futex_wake(&launch->word, UINT32_MAX);
}

static void tell(const struct job *job, const char *reason)
{
    const struct viv_launch_wasm_config *config = &job->launch->config;
    const struct viv_lease *lease = viv_run_lease(job->durable.run);
    const struct viv_launch_event event = {
        .is_end = reason != NULL, .id = lease->id, .attempt = lease->attempt, .reason = reason};
    if (config->told != NULL) config->told(config->arg, &event);
}

static void free_job(VIV_OWN struct job *job)
{
    if (job->session != NULL) viv_ses_let_go(job->session);
    viv_launch__program_free(&job->program);
    viv_durable_run_deinit(&job->durable);
    viv_family_deinit(&job->durable.family);
    viv_free(job, sizeof *job, VIV_TAG_CTL);
}

// ---- what the family calls ----

static bool is_live(const void *arg)
{
    const struct job *job = arg;
    return viv_run_is_live(job->durable.run);
}

static void note_gone(void *arg)
{
    struct job *job = arg;
    struct viv_launch_wasm *launch = job->launch;
    viv_mutex_lock(&launch->mutex);
    job->is_gone = true;
    // Within the mutex: the thread frees neither job nor launcher before it has it.
    wake(launch);
    viv_mutex_unlock(&launch->mutex);
}

static void note_ended(void *arg)
{
    struct job *job = arg;
    viv_durable_run_ended_one(&job->durable);
}

static void note_settled(void *arg, enum viv_err err, viv_pid pid, const char *text)
{
    struct job *job = arg;
    (void)pid;
    job->birth_err = err;
    if (err != VIV_OK) (void)snprintf(job->birth_text, sizeof job->birth_text, "%s", text);
}

// ---- the thread ----

static enum viv_err start_first(struct job *job, struct viv_diag *diag)
{
    enum { ATTEMPTS = 8 };
    const struct viv_launch_wasm_config *config = &job->launch->config;
    struct viv_session *root = viv_env_word(config->env, VIV_PROC_WORD_SESSION);
    enum viv_err err = VIV_E_BUSY;
    // BUSY: somebody else is changing the tree at this moment.
    for (int i = 0; i < ATTEMPTS && err == VIV_E_BUSY; i++)
        err = viv_ses_add_policy(root, job->program.policy, viv_cap_env(config->env), &job->session,
                                 diag);
    if (err != VIV_OK) return err;
    const struct viv_program program = {.env = config->env,
                                        .module = job->program.module,
                                        .config = job->program.config,
                                        .entry = job->program.entry,
                                        .args = job->program.values,
                                        .arg_count = job->program.value_count,
                                        .family = &job->durable.family,
                                        .session = job->session,
                                        .initialises = strcmp(job->program.entry, "_start") != 0,
                                        .is_strict = true,
                                        .settled = note_settled,
                                        .arg = job};
    return viv_runtime_start(config->runtime, &program, &job->birth);
}

static void start_job(struct job *job)
{
    struct viv_diag diag = {""};
    job->is_started = true;
    const enum viv_err err = start_first(job, &diag);
    if (err != VIV_OK)
        viv_launch__refuse(&job->refusal, "unavailable", "no_start", "%s",
                           diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    else
        tell(job, NULL);
    viv_family_leave(&job->durable.family);
}

static void leave_birth(struct job *job)
{
    if (job->birth != NULL) viv_birth_leave(job->birth);
    job->birth = NULL;
}

// One that was not born is refused, unless it ended in a way that says more.
static void find_refusal(struct job *job)
{
    const struct viv_reason *reason = job->durable.family.reason;
    if (job->refusal.code != NULL || job->birth_err == VIV_OK) return;
    const enum viv_reason_kind kind = reason != NULL ? viv_reason_kind(reason) : VIV_REASON_NORMAL;
    if (kind != VIV_REASON_NORMAL && kind != VIV_REASON_ERROR) return;
    viv_launch__refuse_birth(&job->refusal, job->birth_err, job->birth_text);
}

static void end_with_output(struct job *job)
{
    struct viv_buf output;
    const struct viv_buf *finish = &job->durable.output;
    const struct viv_reason *reason = job->durable.family.reason;
    if (reason == NULL) reason = viv_reason_of(VIV_REASON_KILLED);
    viv_buf_init(&output, VIV_TAG_CTL);
    const enum viv_err err = viv_launch__reason_output(
        reason, (struct viv_str){(const char *)finish->data, finish->len_bytes}, &output);
    if (err != VIV_OK) viv_buf_clear(&output); // the worker says that its end is not known
    viv_run_ended(job->durable.run, (struct viv_str){(const char *)output.data, output.len_bytes});
    viv_buf_deinit(&output);
}

static void tell_end(const struct job *job)
{
    char text[sizeof job->refusal.message + 64];
    const struct viv_reason *reason = job->durable.family.reason;
    if (job->refusal.code != NULL)
        (void)snprintf(text, sizeof text, "%s: %s", job->refusal.code, job->refusal.message);
    else
        (void)viv_reason_format(reason != NULL ? reason : viv_reason_of(VIV_REASON_KILLED), text,
                                sizeof text);
    tell(job, text);
}

// Off the list already: no order comes any more.
static void end_job(VIV_OWN struct job *job)
{
    leave_birth(job);
    find_refusal(job);
    tell_end(job);
    if (job->refusal.code != NULL)
        viv_run_failed(job->durable.run, job->refusal.class, job->refusal.code,
                       job->refusal.message);
    else
        end_with_output(job);
    free_job(job);
}

struct orders {
    bool start, kill, wake, is_gone;
};

static void step(struct job *job, const struct orders *orders)
{
    if (orders->start) start_job(job);
    if (orders->is_gone) return;
    if (orders->wake) viv_durable_run_wake(&job->durable);
    if (orders->kill) {
        leave_birth(job);
        viv_family_kill(&job->durable.family);
    }
}

// The job after `at` that has orders, which are taken; NULL: none.
static struct job *next_locked(struct viv_launch_wasm *launch, struct orders *out)
{
    for (struct viv_list *at = launch->jobs.next; at != &launch->jobs; at = at->next) {
        struct job *job = VIV_CONTAINER_OF(at, struct job, node);
        *out = (struct orders){!job->is_started, job->kill, job->wake, job->is_gone};
        if (!out->start && !out->kill && !out->wake && !out->is_gone) continue;
        job->kill = job->wake = false;
        if (job->is_gone) viv_list_remove(&job->node);
        return job;
    }
    return NULL;
}

static bool turn(struct viv_launch_wasm *launch)
{
    struct orders orders;
    struct job *job;
    viv_mutex_lock(&launch->mutex);
    while ((job = next_locked(launch, &orders)) != NULL) {
        viv_mutex_unlock(&launch->mutex);
        step(job, &orders);
        if (orders.is_gone) end_job(job);
        viv_mutex_lock(&launch->mutex);
        launch->count -= orders.is_gone;
    }
    const bool is_over = launch->is_closing && launch->count == 0;
    viv_mutex_unlock(&launch->mutex);
    return !is_over;
}

static void run_thread(void *arg)
{
    struct viv_launch_wasm *launch = arg;
    struct viv_qsbr_member *member;
    const enum viv_err err = viv_sched_enter(viv_kernel_sched(launch->config.kernel), &member);
    // Seq_cst: who opens waits for it.
    atomic_store_explicit(&launch->opened, err == VIV_OK ? 1 : 2, memory_order_seq_cst);
    viv_futex_wake(&launch->opened, UINT32_MAX);
    if (err != VIV_OK) return;
    for (;;) {
        // Seq_cst: read first, so that the wait below notices what comes after.
        const uint32_t seen = atomic_load_explicit(&launch->word, memory_order_seq_cst);
        if (!turn(launch)) break;
        viv_qsbr_offline(member);
        viv_futex_wait(&launch->word, seen, VIV_FOREVER_NS);
        viv_qsbr_online(member);
    }
    viv_sched_leave(member);
}

// ---- what the worker calls ----

// What prepares is a part of spawn: of a run that is killed in between nobody would be told.
static bool prepare(void *arg, struct viv_run *run)
{
    (void)arg;
    (void)run;
    return true;
}

static struct job *make_job(struct viv_launch_wasm *launch, struct viv_run *run)
{
    struct job *job = viv_try_calloc(1, sizeof *job, VIV_TAG_CTL);
    if (job == NULL) return NULL;
    job->launch = launch;
    viv_list_init(&job->node);
    job->durable.family = (struct viv_family){.env = launch->config.env,
                                              .is_live = is_live,
                                              .gone = note_gone,
                                              .ended = note_ended,
                                              .arg = job};
    viv_family_init(&job->durable.family);
    viv_durable_run_init(&job->durable, run);
    return job;
}

static void spawn(void *arg, struct viv_run *run)
{
    struct viv_launch_wasm *launch = arg;
    const struct viv_launch__from from = {launch->config.runtime, launch->config.store,
                                          &launch->modules, launch->config.is_quiet};
    struct job *job = make_job(launch, run);
    if (job == NULL) {
        viv_run_failed(run, "unavailable", "no_memory", viv_err_text(VIV_E_EXHAUSTED));
        return;
    }
    const bool is_read = viv_launch__program_read(&from, run, &job->program, &job->refusal);
    job->durable.input = job->program.args;
    if (!is_read) {
        tell_end(job);
        viv_run_failed(run, job->refusal.class, job->refusal.code, job->refusal.message);
        free_job(job);
        return;
    }
    viv_mutex_lock(&launch->mutex);
    viv_list_append(&launch->jobs, &job->node);
    launch->count++;
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

// The job of a run that has not ended; the mutex is held. NULL: it just has.
static struct job *find_locked(struct viv_launch_wasm *launch, const struct viv_run *run)
{
    for (struct viv_list *at = launch->jobs.next; at != &launch->jobs; at = at->next) {
        struct job *job = VIV_CONTAINER_OF(at, struct job, node);
        if (job->durable.run == run) return job;
    }
    return NULL;
}

static void kill_run(void *arg, struct viv_run *run)
{
    struct viv_launch_wasm *launch = arg;
    viv_mutex_lock(&launch->mutex);
    struct job *job = find_locked(launch, run);
    if (job != NULL) {
        viv_family_close(&job->durable.family);
        job->kill = true;
    }
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

static void cancel(void *arg, struct viv_run *run, struct viv_str reason)
{
    struct viv_launch_wasm *launch = arg;
    viv_mutex_lock(&launch->mutex);
    struct job *job = find_locked(launch, run);
    if (job != NULL) {
        viv_durable_run_cancel(&job->durable, reason);
        job->wake = true;
    }
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

static void resume(void *arg, struct viv_run *run)
{
    struct viv_launch_wasm *launch = arg;
    viv_mutex_lock(&launch->mutex);
    struct job *job = find_locked(launch, run);
    if (job != NULL) {
        viv_durable_run_resume(&job->durable);
        job->wake = true;
    }
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
}

void viv_launch_wasm_describe(struct viv_launch_wasm *launch, struct viv_launcher *out_launcher)
{
    *out_launcher = (struct viv_launcher){.kind = "wasm",
                                          .arg = launch,
                                          .prepare = prepare,
                                          .spawn = spawn,
                                          .cancel = cancel,
                                          .kill = kill_run,
                                          .resume = resume};
}

uint32_t viv_launch_wasm_count(struct viv_launch_wasm *launch)
{
    viv_mutex_lock(&launch->mutex);
    const uint32_t count = launch->count;
    viv_mutex_unlock(&launch->mutex);
    return count;
}

// ---- making and ending ----

static enum viv_err start_thread(struct viv_launch_wasm *launch)
{
    VIV_TRY(viv_thread_start("viv-launch-wasm", 0, run_thread, launch, &launch->thread));
    uint32_t opened;
    // Seq_cst: pairs with the thread's store.
    while ((opened = atomic_load_explicit(&launch->opened, memory_order_seq_cst)) == 0)
        viv_futex_wait(&launch->opened, 0, VIV_FOREVER_NS);
    if (opened == 1) return VIV_OK;
    viv_thread_join(launch->thread);
    return VIV_E_EXHAUSTED;
}

enum viv_err viv_launch_wasm_open(const struct viv_launch_wasm_config *config,
                                  struct viv_launch_wasm **out_launch)
{
    struct viv_launch_wasm *launch = viv_try_calloc(1, sizeof *launch, VIV_TAG_CTL);
    if (launch == NULL) return VIV_E_EXHAUSTED;
    launch->config = *config;
    viv_mutex_init(&launch->mutex);
    viv_list_init(&launch->jobs);
    const enum viv_err err = start_thread(launch);
    if (err != VIV_OK) {
        viv_free(launch, sizeof *launch, VIV_TAG_CTL);
        return err;
    }
    *out_launch = launch;
    return VIV_OK;
}

void viv_launch_wasm_close(VIV_OWN struct viv_launch_wasm *launch)
{
    if (launch == NULL) return;
    viv_mutex_lock(&launch->mutex);
    launch->is_closing = true;
    viv_mutex_unlock(&launch->mutex);
    wake(launch);
    viv_thread_join(launch->thread);
    viv_launch__modules_free(&launch->modules);
    viv_free(launch, sizeof *launch, VIV_TAG_CTL);
}
