// SPDX-License-Identifier: Apache-2.0
// One run, from its claim to its end.
#include "store/worker_int.h"

#include "base/assert.h"
#include "store/output.h"
#include <string.h>

enum { OUTPUT_BYTES_MAX = 1 << 20 };

// ---- making and ending ----

// On the worker's clock: when it is to be killed, and why. What comes first.
static void find_limits(struct viv_run *run, const struct viv_record *record,
                        const struct viv_run__start *start)
{
    const struct viv_store__reg *reg = run->reg;
    int64_t deadline_ms = reg->deadline_ms;
    if (reg->timeout_ms >= 0) deadline_ms = viv_add_sat_i64(record->created_ms, reg->timeout_ms);
    run->kill_at_ms = INT64_MAX;
    if (reg->attempt_timeout_ms >= 0) {
        run->kill_at_ms = viv_add_sat_i64(start->sent_ms, reg->attempt_timeout_ms);
        run->kill_why = VIV_WHY_ATTEMPT_TIMEOUT;
    }
    if (deadline_ms < 0) return;
    const int64_t left_ms = deadline_ms > start->wall_ms ? deadline_ms - start->wall_ms : 0;
    const int64_t at_ms = viv_add_sat_i64(start->sent_ms, left_ms);
    if (at_ms > run->kill_at_ms) return;
    run->kill_at_ms = at_ms;
    run->kill_why = VIV_WHY_DEADLINE;
}

static enum viv_err fill(struct viv_run *run, const struct viv_claimed *claimed)
{
    struct viv_worker *worker = run->worker;
    run->lease = claimed->lease;
    run->lease.owner = worker->owner;
    VIV_TRY(viv_store__copy(&run->mem, claimed->lease.id, &run->lease.id));
    VIV_TRY(viv_store__copy(&run->mem, claimed->lease.guard, &run->lease.guard));
    VIV_TRY(viv_store__copy(&run->mem, claimed->record.registration, &run->registration));
    VIV_TRY(viv_buf_append(&run->output, claimed->output.p, claimed->output.n));
    return viv_store__reg_load(viv_store__core_of(worker->store), run->registration, &run->reg);
}

static const struct viv_launcher *find_launcher(const struct viv_worker *worker, const char *kind)
{
    for (size_t i = 0; i < worker->opts.launcher_count; i++)
        if (strcmp(worker->opts.launchers[i].kind, kind) == 0) return &worker->opts.launchers[i];
    return NULL;
}

static void dispose(VIV_OWN struct viv_run *run)
{
    viv_store__reg_drop(run->reg);
    viv_buf_deinit(&run->output);
    viv_mem_deinit(&run->mem);
    viv_free(run, sizeof *run, VIV_TAG_STORE);
}

enum viv_err viv_run__new(struct viv_worker *worker, const struct viv_claimed *claimed,
                          const struct viv_run__start *start, struct viv_run **out_run)
{
    struct viv_run *run = viv_try_calloc(1, sizeof *run, VIV_TAG_STORE);
    if (run == NULL) return VIV_E_EXHAUSTED;
    run->worker = worker;
    viv_list_init(&run->node);
    viv_list_init(&run->end_node);
    viv_list_init(&run->slot_node);
    viv_mem_init(&run->mem, VIV_TAG_STORE);
    viv_buf_init(&run->output, VIV_TAG_STORE);
    const enum viv_err err = fill(run, claimed);
    if (err != VIV_OK) {
        dispose(run);
        return err;
    }
    run->charged = claimed->record.charged;
    run->store_offset_ms = start->wall_ms - start->sent_ms;
    run->is_verdict = claimed->verdict != VIV_VERDICT_RUN;
    run->phase = run->is_verdict ? VIV_RUN_ENDED : VIV_RUN_STARTING;
    run->launcher = find_launcher(worker, run->reg->input_type);
    find_limits(run, &claimed->record, start);
    atomic_init(&run->live_until_ms, viv_worker__live_until_ms(worker, start->sent_ms));
    viv_mutex_lock(&worker->mutex);
    viv_list_append(&worker->runs, &run->node);
    if (run->is_verdict) viv_list_append(&worker->ended, &run->end_node);
    worker->run_count++;
    worker->busy_count += !run->is_verdict;
    run->slot = run->is_verdict ? VIV_SLOT_NONE : VIV_SLOT_HAS;
    viv_cond_signal(&worker->watch_cond);
    viv_mutex_unlock(&worker->mutex);
    *out_run = run;
    return VIV_OK;
}

void viv_run__free(VIV_OWN struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_lock(&worker->mutex);
    VIV_ASSERT(run->phase == VIV_RUN_ENDED && run->calls == 0);
    viv_list_remove(&run->node);
    viv_list_remove(&run->end_node);
    worker->run_count--;
    viv_mutex_unlock(&worker->mutex);
    dispose(run);
}

// ---- calls of its launcher: while one is under way the run stays ----

// It has ended, and nobody is in it: its end can be written.
static void note_end_locked(struct viv_run *run)
{
    if (run->phase != VIV_RUN_ENDED || run->calls > 0) return;
    viv_list_append(&run->worker->ended, &run->end_node);
    viv_cond_signal(&run->worker->store_cond);
}

void viv_run__leave_locked(struct viv_run *run)
{
    run->calls--;
    note_end_locked(run);
}

bool viv_run__kill_locked(struct viv_run *run, enum viv_run_why why)
{
    const bool is_first = run->phase != VIV_RUN_ENDED && !run->is_killed;
    const bool is_now = is_first && run->phase == VIV_RUN_RUNNING; // else when it has started
    // Whatever it was killed for: of a lost one nothing is written.
    if (is_first || why == VIV_WHY_LOST) run->why = why;
    run->is_killed = run->is_killed || is_first;
    run->calls += is_now;
    return is_now;
}

void viv_run__call_kill_locked(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_unlock(&worker->mutex);
    run->launcher->kill(run->launcher->arg, run);
    viv_mutex_lock(&worker->mutex);
}

void viv_run__begin(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    const struct viv_launcher *launcher = run->launcher;
    viv_mutex_lock(&worker->mutex);
    run->calls++;
    viv_mutex_unlock(&worker->mutex);
    if (launcher == NULL) {
        viv_run_failed(run, "unavailable", "no_launcher", "this worker does not run such inputs");
    } else if (launcher->prepare(launcher->arg, run)) {
        viv_mutex_lock(&worker->mutex);
        const bool is_killed = run->is_killed;
        viv_mutex_unlock(&worker->mutex);
        if (is_killed)
            viv_run_ended(run, (struct viv_str){NULL, 0});
        else
            launcher->spawn(launcher->arg, run);
    }
    viv_mutex_lock(&worker->mutex);
    if (run->phase == VIV_RUN_STARTING) {
        run->phase = VIV_RUN_RUNNING;
        if (run->is_killed) viv_run__call_kill_locked(run);
    }
    viv_run__leave_locked(run);
    viv_mutex_unlock(&worker->mutex);
}

static bool enter(struct viv_run *run, bool *flag)
{
    viv_mutex_lock(&run->worker->mutex);
    const bool is_in = run->phase == VIV_RUN_RUNNING && !run->is_killed && !*flag;
    if (is_in) *flag = true;
    run->calls += is_in;
    viv_mutex_unlock(&run->worker->mutex);
    return is_in;
}

static void leave(struct viv_run *run)
{
    viv_mutex_lock(&run->worker->mutex);
    viv_run__leave_locked(run);
    viv_mutex_unlock(&run->worker->mutex);
}

void viv_run__cancel(struct viv_run *run, struct viv_str reason)
{
    struct viv_worker *worker = run->worker;
    const int64_t now_ms = viv_worker__now_ms(worker);
    if (!enter(run, &run->is_cancelling)) return;
    viv_mutex_lock(&worker->mutex);
    run->grace_end_ms = viv_add_sat_i64(now_ms, run->reg->cancel_grace_ms);
    viv_cond_signal(&worker->watch_cond);
    viv_mutex_unlock(&worker->mutex);
    run->cancel_reason = reason;
    if (run->launcher->cancel != NULL) run->launcher->cancel(run->launcher->arg, run, reason);
    leave(run);
}

void viv_run__tell(struct viv_run *run)
{
    if (!enter(run, &run->is_told)) return;
    if (run->launcher->drain != NULL) run->launcher->drain(run->launcher->arg, run);
    leave(run);
}

// ---- slots ----

void viv_run__give_slots_locked(struct viv_worker *worker)
{
    while (!viv_list_is_empty(&worker->wanting) &&
           worker->busy_count + worker->claiming < worker->opts.slots) {
        struct viv_run *run = VIV_CONTAINER_OF(worker->wanting.next, struct viv_run, slot_node);
        viv_list_remove(&run->slot_node);
        run->slot = VIV_SLOT_HAS;
        run->is_to_resume = true;
        worker->busy_count++;
        viv_cond_signal(&worker->watch_cond);
    }
}

static void give_back_locked(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_list_remove(&run->slot_node);
    worker->busy_count -= run->slot == VIV_SLOT_HAS;
    run->slot = VIV_SLOT_NONE;
    viv_run__give_slots_locked(worker);
}

bool viv_run__resume_locked(struct viv_run *run)
{
    const bool is_now =
        run->is_to_resume && run->phase != VIV_RUN_ENDED && run->launcher->resume != NULL;
    run->is_to_resume = false;
    run->calls += is_now;
    return is_now;
}

void viv_run__call_resume_locked(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_unlock(&worker->mutex);
    run->launcher->resume(run->launcher->arg, run);
    viv_mutex_lock(&worker->mutex);
}

void viv_run_park(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_lock(&worker->mutex);
    if (run->phase != VIV_RUN_ENDED && run->slot == VIV_SLOT_HAS) {
        give_back_locked(run);
        worker->is_poked = true; // for the queue
        viv_cond_signal(&worker->store_cond);
    }
    viv_mutex_unlock(&worker->mutex);
}

bool viv_run_unpark(struct viv_run *run)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_lock(&worker->mutex);
    if (run->phase != VIV_RUN_ENDED && run->slot == VIV_SLOT_NONE) {
        run->slot = VIV_SLOT_WANTED;
        viv_list_append(&worker->wanting, &run->slot_node);
        viv_run__give_slots_locked(worker);
        if (run->slot == VIV_SLOT_HAS) run->is_to_resume = false; // its caller tells
    }
    const bool has_slot = run->slot != VIV_SLOT_WANTED;
    viv_mutex_unlock(&worker->mutex);
    return has_slot;
}

// ---- what launchers call ----

void viv_run_ended(struct viv_run *run, struct viv_str output)
{
    struct viv_worker *worker = run->worker;
    viv_mutex_lock(&worker->mutex);
    VIV_ASSERT(run->phase != VIV_RUN_ENDED);
    if (viv_buf_append(&run->output, output.p, output.n) != VIV_OK) viv_buf_clear(&run->output);
    run->phase = VIV_RUN_ENDED;
    give_back_locked(run);
    note_end_locked(run);
    viv_mutex_unlock(&worker->mutex);
}

void viv_run_failed(struct viv_run *run, const char *class, const char *code, const char *message)
{
    struct viv_mem mem;
    struct viv_str text = {NULL, 0};
    viv_mem_init(&mem, VIV_TAG_STORE);
    json_t *output = json_pack("{ssssssss}", "type", "failure", "class", class, "code", code,
                               "message", message);
    // Without memory it ends all the same: as one of which nothing is known.
    if (output != NULL) VIV_IGNORE(viv_store__text(&mem, output, &text), "the text is empty then");
    json_decref(output);
    viv_run_ended(run, text);
    viv_mem_deinit(&mem);
}

bool viv_run_is_live(const struct viv_run *run)
{
    return viv_worker__now_ms(run->worker) < viv_run_live_until_ms(run);
}

int64_t viv_run_live_until_ms(const struct viv_run *run)
{
    // Relaxed: a number by itself; an older one is an earlier deadline.
    return atomic_load_explicit(&run->live_until_ms, memory_order_relaxed);
}

bool viv_run_is_draining(const struct viv_run *run)
{
    // Relaxed: a hint.
    return atomic_load_explicit(&run->worker->is_draining, memory_order_relaxed);
}

int64_t viv_run_store_ms(const struct viv_run *run)
{
    return viv_worker__now_ms(run->worker) + run->store_offset_ms;
}

enum viv_err viv_run_check_output(struct viv_str output, struct viv_diag *diag)
{
    json_t *value = NULL;
    struct viv_cjson_error error = {0, ""};
    if (output.n > OUTPUT_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "output: more than 1 MiB");
    enum viv_err err = viv_cjson_parse(output.p, output.n, &value, &error);
    if (err != VIV_OK)
        return viv_diag_set(diag, err, "output: %s at byte %zu", error.what, error.offset_bytes);
    const char *type = viv_json_get_text(value, "type");
    if (type != NULL && strcmp(type, "abandoned") == 0)
        err = viv_diag_set(diag, VIV_STORE_AUTHORITY, "output: of a run that is at work");
    else
        err = viv_store__shape_check(&viv_store__output_shape, value, "output", diag);
    json_decref(value);
    return err;
}

const struct viv_lease *viv_run_lease(const struct viv_run *run)
{
    return &run->lease;
}

struct viv_str viv_run_registration(const struct viv_run *run)
{
    return run->registration;
}

enum viv_err viv_run_set_guard(struct viv_run *run, struct viv_str guard)
{
    struct viv_worker *worker = run->worker;
    const int64_t sent_ms = viv_worker__now_ms(worker);
    VIV_TRY(viv_store_renew(worker->store, &run->lease, worker->opts.ttl_ms, guard, NULL));
    // Relaxed: as where it is read.
    atomic_store_explicit(&run->live_until_ms, viv_worker__live_until_ms(worker, sent_ms),
                          memory_order_relaxed);
    return VIV_OK;
}

void viv_run_set_data(struct viv_run *run, void *data)
{
    run->data = data;
}

void *viv_run_get_data(const struct viv_run *run)
{
    return run->data;
}
