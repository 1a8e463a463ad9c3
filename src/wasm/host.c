// SPDX-License-Identifier: Apache-2.0
// Trampolines between the engine and host functions, guest memory, waiting operations, jobs for
// dirty pools.
//
// An operation is the env of an engine continuation. The engine polls it when the process runs
// again and drops it when the call is over or the guest is unwound; its finaliser is the only place
// where it is freed. Operations of nested calls form a stack (inst->op), the outermost in the
// instance itself, so that the usual wait allocates nothing.
#include "wasm/host.h"

#include "base/assert.h"
#include "base/log.h"
#include "base/text.h"
#include "wasm/import.h"
#include "wasm/inst.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { SYNC_COST = 1, ASYNC_COST = 4 };

// ---- traps ----

enum viv_host viv_host_trap(struct viv_inst *inst, const char *fmt, ...)
{
    char text[512];
    const struct viv_import *import = inst->import;
    int head = snprintf(text, sizeof(text), "%s::%s: ", import->module, import->name);
    VIV_ASSERT(head > 0 && (size_t)head < sizeof(text));
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text + head, sizeof(text) - (size_t)head, fmt, args);
    va_end(args);
    viv_inst_set_cause(inst, text);
    return VIV_HOST_TRAP;
}

static wasm_trap_t *make_trap(const struct viv_inst *inst)
{
    const char *text = inst->cause != NULL ? inst->cause : "ended";
    return wasmtime_trap_new(text, strlen(text));
}

// ---- trampolines ----

// False: it belongs to a family whose time is over, and ends here.
static bool may_act(struct viv_inst *inst)
{
    if (VIV_LIKELY(inst->family == NULL) || viv_family_is_live(inst->family)) return true;
    viv_proc_set_reason(inst->proc, viv_reason_of(VIV_REASON_KILLED));
    return false;
}

static struct viv_inst *inst_of_caller(wasmtime_caller_t *caller)
{
    return wasmtime_context_get_data(wasmtime_caller_context(caller));
}

wasm_trap_t *viv_host__call_sync(void *env, wasmtime_caller_t *caller,
                                 wasmtime_val_raw_t *args_and_results, size_t num_args_and_results)
{
    (void)num_args_and_results;
    const struct viv_import *import = env;
    struct viv_inst *inst = inst_of_caller(caller);
    inst->import = import;
    inst->start_caller = caller;
    viv_host_charge(inst, SYNC_COST);
    if (VIV_UNLIKELY(!may_act(inst))) return make_trap(inst);
    enum viv_host result = import->sync(inst, args_and_results);
    return VIV_LIKELY(result == VIV_HOST_OK) ? NULL : make_trap(inst);
}

static bool is_finished(void *env)
{
    (void)env;
    return true;
}

static bool resume_op(void *env)
{
    struct viv_wait *op = env;
    op->inst->import = op->import;
    op->inst->start_caller = op->caller;
    enum viv_host result = may_act(op->inst) ? op->resume(op) : VIV_HOST_TRAP;
    if (result == VIV_HOST_WAIT) return false;
    if (result == VIV_HOST_TRAP) *op->trap = make_trap(op->inst);
    return true;
}

static void finish_op(void *env)
{
    struct viv_wait *op = env;
    struct viv_inst *inst = op->inst;
    if (op->cleanup != NULL) op->cleanup(op);
    if (op->deadline_ns != VIV_FOREVER_NS) viv_proc_clear_alarm(inst->proc);
    VIV_ASSERT(inst->op == op); // innermost first, also when a future is deleted
    inst->op = op->outer;
    if (op == &inst->first_op)
        inst->first_op_used = false;
    else
        viv_free(op, sizeof(*op), VIV_TAG_WASM);
}

void viv_host__call_async(void *env, wasmtime_caller_t *caller, const wasmtime_val_t *args,
                          size_t nargs, wasmtime_val_t *results, size_t nresults,
                          wasm_trap_t **trap_ret, wasmtime_async_continuation_t *continuation_ret)
{
    (void)nargs;
    const struct viv_import *import = env;
    wasmtime_context_t *context = wasmtime_caller_context(caller);
    struct viv_inst *inst = wasmtime_context_get_data(context);
    inst->import = import;
    inst->start_caller = caller;
    viv_host_charge(inst, ASYNC_COST);
    wasmtime_val_t none;
    wasmtime_val_t *result = nresults == 0 ? &none : results;
    result->kind = import->result[0] == 'I' ? WASMTIME_I64 : WASMTIME_I32;
    *continuation_ret = (wasmtime_async_continuation_t){.callback = is_finished};
    struct viv_wait *before = inst->op;
    enum viv_host outcome = may_act(inst) ? import->async(inst, args, result) : VIV_HOST_TRAP;
    if (outcome == VIV_HOST_OK) return;
    if (outcome == VIV_HOST_TRAP) {
        *trap_ret = make_trap(inst);
        return;
    }
    struct viv_wait *op = inst->op;
    VIV_ASSERT(op != before && op->outer == before);
    op->result = result;
    op->trap = trap_ret;
    op->context = context;
    op->caller = caller;
    *continuation_ret =
        (wasmtime_async_continuation_t){.callback = resume_op, .env = op, .finalizer = finish_op};
}

// ---- guest memory ----

static void find_memory(struct viv_inst *inst)
{
    wasmtime_extern_t item;
    inst->memory_known = true;
    if (!wasmtime_instance_export_get(inst->context, &inst->instance, "memory", 6, &item)) return;
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        wasm_memorytype_t *type = wasmtime_memory_type(inst->context, &item.of.memory);
        inst->has_memory = !wasmtime_memorytype_is64(type);
        wasm_memorytype_delete(type);
        inst->memory = item.of.memory;
    }
    wasmtime_extern_delete(&item);
}

// A host function called by the start function runs before the instance is known to us: its caller
// finds the export.
static struct viv_guest_mem start_memory(struct viv_inst *inst)
{
    struct viv_guest_mem mem = {NULL, 0};
    wasmtime_extern_t item;
    if (!wasmtime_caller_export_get(inst->start_caller, "memory", 6, &item)) return mem;
    if (item.kind == WASMTIME_EXTERN_MEMORY) {
        wasm_memorytype_t *type = wasmtime_memory_type(inst->context, &item.of.memory);
        if (!wasmtime_memorytype_is64(type)) {
            mem.base = wasmtime_memory_data(inst->context, &item.of.memory);
            mem.size_bytes = wasmtime_memory_data_size(inst->context, &item.of.memory);
        }
        wasm_memorytype_delete(type);
    }
    wasmtime_extern_delete(&item);
    return mem;
}

struct viv_guest_mem viv_guest_mem(struct viv_inst *inst)
{
    if (VIV_UNLIKELY(!inst->memory_known)) {
        if (inst->phase == VIV_INST_UNBORN) return start_memory(inst);
        find_memory(inst);
    }
    if (!inst->has_memory) return (struct viv_guest_mem){NULL, 0};
    uint8_t *base = wasmtime_memory_data(inst->context, &inst->memory);
    return (struct viv_guest_mem){base, wasmtime_memory_data_size(inst->context, &inst->memory)};
}

bool viv_guest_range(struct viv_inst *inst, uint32_t ptr, uint64_t len, uint8_t **out_data)
{
    struct viv_guest_mem mem = viv_guest_mem(inst);
    if (VIV_LIKELY(viv_guest_in(mem, ptr, len))) {
        *out_data = mem.base + ptr;
        return true;
    }
    if (mem.base == NULL)
        (void)viv_host_trap(inst, "the module exports no 32-bit `memory`");
    else
        (void)viv_host_trap(inst, "range of %llu bytes at %u is outside the memory of %llu bytes",
                            (unsigned long long)len, ptr, (unsigned long long)mem.size_bytes);
    return false;
}

bool viv_guest_text(struct viv_inst *inst, uint32_t ptr, uint64_t len, const char **out_text)
{
    uint8_t *data;
    if (!viv_guest_range(inst, ptr, len, &data)) return false;
    if (!viv_utf8_is_valid(data, len)) {
        (void)viv_host_trap(inst, "the string is not UTF-8");
        return false;
    }
    *out_text = (const char *)data;
    return true;
}

// ---- operations ----

struct viv_wait *viv_wait_new(struct viv_inst *inst, enum viv_host (*resume)(struct viv_wait *op),
                              void (*cleanup)(struct viv_wait *op))
{
    struct viv_wait *op = &inst->first_op;
    if (inst->first_op_used) {
        op = viv_try_alloc(sizeof(*op), VIV_TAG_WASM);
        if (op == NULL) {
            (void)viv_host_trap(inst, "out of memory");
            return NULL;
        }
    }
    if (op == &inst->first_op) inst->first_op_used = true;
    *op = (struct viv_wait){.inst = inst,
                            .import = inst->import,
                            .resume = resume,
                            .cleanup = cleanup,
                            .deadline_ns = VIV_FOREVER_NS,
                            .outer = inst->op};
    inst->op = op;
    return op;
}

enum viv_host viv_wait_finish(struct viv_wait *op, enum viv_host outcome)
{
    finish_op(op);
    return outcome;
}

void viv_wait_set_timeout(struct viv_wait *op, uint64_t timeout_ns)
{
    if (timeout_ns >= UINT64_C(1) << 63) return;
    uint64_t now_ns = viv_sched_now_ns(viv_kernel_sched(viv_proc_kernel(op->inst->proc)));
    op->deadline_ns = viv_add_sat_u64(now_ns, timeout_ns);
    viv_proc_set_alarm(op->inst->proc, op->deadline_ns);
}

bool viv_wait_is_due(const struct viv_wait *op)
{
    if (op->deadline_ns == VIV_FOREVER_NS) return false;
    return viv_sched_now_ns(viv_kernel_sched(viv_proc_kernel(op->inst->proc))) >= op->deadline_ns;
}

void viv_wait_yield(struct viv_inst *inst)
{
    inst->yielded = true;
}

// ---- dirty pools ----
//
//   RUNNING ──job done──> DONE ──leave──> disposed
//      └──leave──> LEFT ──job done──> disposed

enum { BG_RUNNING, BG_DONE, BG_LEFT };

static void run_bg(struct viv_job *job)
{
    struct viv_bg *bg = VIV_CONTAINER_OF(job, struct viv_bg, job);
    if (bg->family == NULL || viv_family_is_live(bg->family)) bg->run(bg);
}

static void done_bg(struct viv_job *job)
{
    struct viv_bg *bg = VIV_CONTAINER_OF(job, struct viv_bg, job);
    struct viv_proc *proc = bg->proc;
    struct viv_family *family = bg->family;
    uint32_t running = BG_RUNNING;
    // Seq_cst: publishes the result before the wake; pairs with viv_bg_is_done and viv_bg_leave.
    // Who is alive here stays readable for this grace period, which is why a process that is not
    // born yet needs no pid.
    if (atomic_compare_exchange_strong_explicit(&bg->state, &running, BG_DONE, memory_order_seq_cst,
                                                memory_order_seq_cst))
        viv_proc_wake(proc);
    else
        bg->dispose(bg);
    if (family != NULL) viv_family_leave(family);
}

enum viv_err viv_bg_start(struct viv_inst *inst, enum viv_dirty pool, struct viv_bg *bg)
{
    bg->job.run = run_bg;
    bg->job.done = done_bg;
    bg->proc = inst->proc;
    bg->family = inst->family;
    atomic_init(&bg->state, BG_RUNNING);
    if (bg->family != NULL) viv_family_enter(bg->family);
    const enum viv_err err =
        viv_dirty_post(viv_kernel_sched(viv_proc_kernel(inst->proc)), pool, &bg->job);
    if (err != VIV_OK && inst->family != NULL) viv_family_leave(inst->family);
    return err;
}

bool viv_bg_is_done(struct viv_bg *bg)
{
    // Seq_cst: pairs with done_bg, so the result is there.
    return atomic_load_explicit(&bg->state, memory_order_seq_cst) == BG_DONE;
}

void viv_bg_leave(struct viv_bg *bg)
{
    uint32_t running = BG_RUNNING;
    // Seq_cst: of this and done_bg exactly one disposes.
    if (!atomic_compare_exchange_strong_explicit(&bg->state, &running, BG_LEFT,
                                                 memory_order_seq_cst, memory_order_seq_cst))
        bg->dispose(bg);
}

// ---- accounting ----

void viv_host_charge(struct viv_inst *inst, uint32_t reductions)
{
    struct viv_slice *slice = inst->slice;
    slice->left -= (int32_t)reductions;
    if (VIV_UNLIKELY(slice->left < 0)) viv_inst_end_slice(inst);
}

void viv_host_charge_bytes(struct viv_inst *inst, uint64_t bytes)
{
    enum { BYTES_A_REDUCTION = VIV_SLICE_COPY_BYTES / VIV_SLICE_REDUCTIONS };
    uint64_t reductions = bytes / BYTES_A_REDUCTION;
    if (reductions > 0)
        viv_host_charge(inst, (uint32_t)viv_min_u64(reductions, VIV_SLICE_REDUCTIONS));
}
