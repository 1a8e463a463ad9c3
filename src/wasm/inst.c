// SPDX-License-Identifier: Apache-2.0
// The body of Wasm processes: the slice, the sequence of calls, the end.
//
//   UNBORN: spawn.c prepares and instantiates ──> INIT: _initialize or __wasm_call_ctors ──> ENTRY
//   ──> done
//
// Guest code runs only inside wasmtime_call_future_poll, on a fibre. A poll that does not finish
// means one of three things:
//   1. the epoch callback or an operation gave the slice back (inst->yielded), or the engine did in
//      the middle of its own work, such as a garbage collection (no operation): the step yields;
//   2. an operation wants work on the worker's own deep stack (op->on_worker): done, then polled
//   again;
//   3. an operation waits: a signal point; when signals came it is polled again, else the process
//   waits.
// A suspended store may go on on another worker: nothing of the worker is kept across a suspension.
// Threads: the process's own.
#include "wasm/inst.h"

#include "base/assert.h"
#include "cap/ring.h"
#include "cap/session.h"
#include "wasm/abi.h"
#include "wasm/cpu_share.h"
#include "wasm/message.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/spawn_int.h"
#include "wasm/trap.h"
#include "wasm/wasi.h"
#include <string.h>

enum { POLL_COST = 8, RELEASE_BUDGET = 256 };

void viv_inst_set_cause(struct viv_inst *inst, const char *text)
{
    if (inst->cause != NULL) viv_free(inst->cause, strlen(inst->cause) + 1, VIV_TAG_WASM);
    inst->cause = viv_try_strndup(text, strlen(text), VIV_TAG_WASM);
}

void viv_inst_end_slice(struct viv_inst *inst)
{
    if (inst->slice_over) return;
    inst->slice_over = true;
    // Compiled code keeps its deadline in a register, so the epoch has to come to it.
    wasmtime_engine_increment_epoch(inst->engine->engine);
}

enum viv_host viv_inst_exit(struct viv_inst *inst, const struct viv_reason *reason)
{
    viv_proc_set_reason(inst->proc, reason);
    return VIV_HOST_TRAP;
}

// ---- calls ----

static bool is_limit_reached(struct viv_inst *inst)
{
    const struct viv_config *config = inst->config;
    // Relaxed: set before the wake that brought us here.
    if (atomic_load_explicit(&inst->life_over, memory_order_relaxed) != 0) {
        viv_proc_set_reason(inst->proc,
                            viv_reason_newf(VIV_REASON_LIMIT, VIV_LIMIT_TIME, "time used up"));
        return true;
    }
    if (config->cpu_ns != 0 && viv_proc_cpu_ns(inst->proc) > config->cpu_ns) {
        viv_proc_set_reason(inst->proc,
                            viv_reason_newf(VIV_REASON_LIMIT, VIV_LIMIT_CPU, "CPU time used up"));
        return true;
    }
    return false;
}

static void delete_future(struct viv_inst *inst)
{
    if (inst->future == NULL) return;
    wasmtime_call_future_t *future = inst->future;
    inst->future = NULL;
    wasmtime_call_future_delete(future); // unwinds; operations are cleaned up innermost first
    VIV_ASSERT(inst->op == NULL);
}

static void call(struct viv_inst *inst, const wasmtime_val_t *args, size_t arg_count)
{
    inst->future = wasmtime_func_call_async(inst->context, &inst->func, args, arg_count, NULL, 0,
                                            &inst->trap, &inst->error);
}

// Finds an exported function; false: none of that name.
static bool find_func(struct viv_inst *inst, const char *name, size_t len)
{
    wasmtime_extern_t item;
    if (!wasmtime_instance_export_get(inst->context, &inst->instance, name, len, &item))
        return false;
    bool found = item.kind == WASMTIME_EXTERN_FUNC;
    if (found) inst->func = item.of.func;
    wasmtime_extern_delete(&item);
    return found;
}

// `_initialize`, or else `__wasm_call_ctors`, when it is () -> () and not the entry itself. False:
// none.
static bool start_init(struct viv_inst *inst)
{
    static const char *const names[] = {"_initialize", "__wasm_call_ctors"};
    if (inst->run_start) return false;
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        size_t len = strlen(names[i]);
        if (viv_spawn__check_entry(inst->module, names[i], len, NULL, 0, NULL) != VIV_OK) continue;
        if (len == inst->entry_len && memcmp(names[i], inst->entry, len) == 0) return false;
        if (!find_func(inst, names[i], len)) return false;
        call(inst, NULL, 0);
        return true;
    }
    return false;
}

static bool start_entry(struct viv_inst *inst)
{
    struct viv_diag diag;
    enum viv_err err = viv_spawn__check_entry(inst->module, inst->entry, inst->entry_len,
                                              inst->args, inst->arg_count, &diag);
    if (err == VIV_OK && !find_func(inst, inst->entry, inst->entry_len))
        err = viv_diag_set(&diag, VIV_E_NOTFOUND, "no such export");
    if (err != VIV_OK) {
        viv_proc_set_reason(inst->proc,
                            viv_reason_newf(VIV_REASON_ERROR, 0, "entry: %s", diag.text));
        return false;
    }
    call(inst, inst->args, inst->arg_count);
    return true;
}

// The next call after the last one ended well; false: the process is done.
static bool start_next(struct viv_inst *inst)
{
    if (inst->phase == VIV_INST_UNBORN) {
        inst->phase = VIV_INST_INIT;
        if (start_init(inst)) return true;
    }
    if (inst->phase == VIV_INST_INIT) {
        inst->phase = VIV_INST_ENTRY;
        return start_entry(inst);
    }
    return false;
}

static bool failed(const struct viv_inst *inst)
{
    return inst->trap != NULL || inst->error != NULL;
}

// A call has returned or was unwound. True: the process goes on.
static bool finish_call(struct viv_inst *inst)
{
    delete_future(inst);
    if (failed(inst)) {
        if (inst->phase == VIV_INST_UNBORN) return viv_spawn__failed(inst);
        // An end that the guest or a limit brought about is the reason; else the trap is.
        if (viv_proc_reason(inst->proc) != NULL)
            viv_trap_clear(inst);
        else
            viv_proc_set_reason(inst->proc, viv_trap_reason(inst));
        return false;
    }
    if (inst->phase == VIV_INST_UNBORN && !viv_spawn__instantiated(inst)) return false;
    return start_next(inst);
}

// ---- the slice ----

static enum viv_step after_poll(struct viv_inst *inst, bool *out_again)
{
    *out_again = false;
    if (!viv_slots_stack_is_intact(&inst->account))
        VIV_PANIC("the stack of a Wasm process was overrun by the host");
    if (is_limit_reached(inst)) return VIV_STEP_DONE;
    if (inst->yielded || inst->op == NULL || viv_proc_take_send_pause(inst->proc)) {
        inst->slice->left = inst->slice->left < 0 ? inst->slice->left : 0;
        // A kill need not wait for the next turn.
        if (viv_proc_is_killed(inst->proc) && viv_proc_handle_signals(inst->proc) == VIV_POINT_END)
            return VIV_STEP_DONE;
        return VIV_STEP_YIELD;
    }
    *out_again = inst->op != NULL && inst->op->on_worker != NULL;
    if (*out_again) return VIV_STEP_YIELD;
    if (viv_proc_reason(inst->proc) != NULL) return VIV_STEP_DONE;
    if (!viv_proc_has_signals(inst->proc)) return VIV_STEP_WAIT;
    enum viv_point point = viv_proc_handle_signals(inst->proc);
    if (point == VIV_POINT_END) return VIV_STEP_DONE;
    *out_again = point == VIV_POINT_GO;
    return VIV_STEP_WAIT;
}

static enum viv_step run_guest(struct viv_inst *inst)
{
    for (;;) {
        if (inst->op != NULL && inst->op->on_worker != NULL) {
            void (*work)(struct viv_wait *op) = inst->op->on_worker;
            inst->op->on_worker = NULL;
            work(inst->op);
        }
        if (inst->has_futures) (void)viv_ring_flush(inst->tab, viv_guest_mem(inst));
        wasmtime_context_set_epoch_deadline(inst->context, 1);
        inst->yielded = inst->slice_over = false;
        inst->slice->left -= POLL_COST;
        if (wasmtime_call_future_poll(inst->future)) {
            if (!finish_call(inst)) return VIV_STEP_DONE;
            continue;
        }
        bool again;
        enum viv_step step = after_poll(inst, &again);
        if (!again) return step;
    }
}

static enum viv_step step_inst(struct viv_proc *proc, void *state, struct viv_slice *slice)
{
    struct viv_inst *inst = state;
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(proc));
    struct viv_worker *worker = viv_worker_current();
    inst->slice = slice;
    if (VIV_UNLIKELY(inst->family != NULL) && !viv_family_is_live(inst->family)) {
        viv_proc_set_reason(proc, viv_reason_of(VIV_REASON_KILLED));
        return VIV_STEP_DONE;
    }
    if (is_limit_reached(inst)) return VIV_STEP_DONE;
    if (!viv_cpu_share_begin(inst) || viv_proc_is_paused(proc)) return VIV_STEP_WAIT;
    if (VIV_UNLIKELY(viv_lost_close(&inst->lost, proc))) {
        slice->left = 0; // that was a slice's worth
        return VIV_STEP_YIELD;
    }
    uint64_t began_ns = viv_sched_now_ns(sched);
    inst->step_began_ns = began_ns;
    struct viv_slot_account *before = viv_slots_set_account(&inst->account);
    viv_worker_guest_begin(worker);
    enum viv_step step = VIV_STEP_YIELD;
    if (inst->future == NULL) step = viv_spawn__prepare(inst);
    if (inst->future != NULL) step = run_guest(inst);
    viv_worker_guest_end(worker);
    (void)viv_slots_set_account(before);
    const uint64_t used_ns = viv_sched_now_ns(sched) - began_ns;
    viv_proc_add_cpu_ns(proc, used_ns);
    viv_cpu_share_charge(inst, used_ns);
    viv_proc_set_memory_bytes(proc, inst->account.used_bytes);
    return step;
}

// ---- the end ----

// Whoever learns of the end may have what it had. The pages go with the store, in a moment.
static void give_back_memory(struct viv_inst *inst)
{
    if (inst->reserved_bytes != 0)
        viv_account_credit(inst->account.above, VIV_COUNTER_MEMORY_BYTES, inst->reserved_bytes);
    inst->reserved_bytes = 0;
    viv_slots_leave_above(&inst->account);
}

static bool release_inst(struct viv_proc *proc, void *state)
{
    (void)proc;
    struct viv_inst *inst = state;
    struct viv_slot_account *before = viv_slots_set_account(&inst->account);
    delete_future(inst);
    (void)viv_slots_set_account(before);
    (void)viv_timer_cancel(viv_kernel_sched(viv_proc_kernel(inst->proc)), &inst->life);
    viv_cpu_share_free(inst);
    viv_trap_clear(inst);
    if (inst->child_session != NULL) viv_ses_let_go(inst->child_session);
    inst->child_session = NULL;
    viv_spawn__release(inst);
    if (inst->scratch != NULL) viv_signal_drop(inst->scratch);
    inst->scratch = NULL;
    if (inst->abi != NULL) viv_abi_free(inst);
    if (!viv_ids_clear(&inst->ids, RELEASE_BUDGET)) return false;
    if (inst->wasi != NULL) viv_wasi_free(inst);
    inst->wasi = NULL;
    viv_held_forget_all(inst);
    give_back_memory(inst);
    return true;
}

// With the first one all of a family end.
static void leave_family(struct viv_proc *proc, struct viv_family *family)
{
    if (viv_family_is_first(family, proc)) {
        const struct viv_reason *reason = viv_proc_reason(proc);
        family->reason = reason != NULL ? viv_reason_take(reason) : NULL;
        viv_family_kill(family);
    }
    // Relaxed: as where it is counted up.
    (void)atomic_fetch_sub_explicit(&family->procs, 1, memory_order_relaxed);
    if (family->ended != NULL) family->ended(family->arg);
    viv_family_leave(family);
}

static void destroy_inst(struct viv_proc *proc, void *state)
{
    struct viv_inst *inst = state;
    if (inst->proc == NULL) inst->proc = proc; // else its timer may read it now
    while (!release_inst(proc, state))
        continue; // never born: nothing was released yet
    struct viv_slot_account *before = viv_slots_set_account(&inst->account);
    if (inst->store != NULL) wasmtime_store_delete(inst->store);
    (void)viv_slots_set_account(before);
    viv_spawn__free_strings(inst);
    viv_dirs_drop(inst->dirs);
    viv_config_drop(inst->config);
    viv_module_drop(inst->module);
    viv_module_drop(inst->origin);
    struct viv_family *family = inst->family;
    viv_free(inst, sizeof(*inst), VIV_TAG_WASM);
    if (family != NULL) leave_family(proc, family);
}

const struct viv_body viv_wasm_body = {
    .name = "wasm",
    .step = step_inst,
    .release = release_inst,
    .destroy = destroy_inst,
};
