// SPDX-License-Identifier: Apache-2.0
// Birth of a Wasm process; the states are drawn in spawn.h. The child runs as an unborn process, so
// a start function that spins is preempted and one that sleeps sleeps; nothing of it runs on the
// parent's stack. Threads: viv_spawn and the birth: the parent's; viv_spawn__…: the child's. The
// state word is the only thing both write.
#include "wasm/spawn.h"

#include "base/log.h"
#include "cap/room.h"
#include "wasm/compile.h"
#include "wasm/may.h"
#include "wasm/runtime.h"
#include "wasm/spawn_int.h"
#include "wasm/trap.h"
#include "wasm/wasi.h"
#include <stdio.h>
#include <string.h>

// ---- birth ----

static void drop_birth(struct viv_birth *birth)
{
    // Acq_rel: uses of the other side come before the free.
    if (atomic_fetch_sub_explicit(&birth->refs, 1, memory_order_acq_rel) == 1)
        viv_free(birth, sizeof(*birth), VIV_TAG_WASM);
}

enum viv_birth_state viv_birth_state(const struct viv_birth *birth)
{
    // Acquire pairs with settle: err, diag and pid are there.
    return (enum viv_birth_state)atomic_load_explicit(&birth->state, memory_order_acquire);
}

void viv_birth_leave(struct viv_birth *birth)
{
    uint32_t pending = VIV_BIRTH_PENDING;
    // Seq_cst: the winner decides; while PENDING the child cannot end, and afterwards it is
    // readable for this grace period.
    if (atomic_compare_exchange_strong_explicit(&birth->state, &pending, VIV_BIRTH_ABANDONED,
                                                memory_order_seq_cst, memory_order_seq_cst))
        viv_proc_kill_unborn(birth->child);
    drop_birth(birth);
}

bool viv_birth_settle(struct viv_birth *birth, enum viv_birth_state state)
{
    uint32_t pending = VIV_BIRTH_PENDING;
    // Seq_cst: publishes the result before the wake; of this and viv_birth_leave one wins.
    bool waited = atomic_compare_exchange_strong_explicit(
        &birth->state, &pending, state, memory_order_seq_cst, memory_order_seq_cst);
    if (waited && birth->settled != NULL)
        birth->settled(birth->arg, state == VIV_BIRTH_BORN ? VIV_OK : birth->err, birth->child_pid,
                       birth->diag.text);
    else if (waited)
        (void)viv_proc_wake_pid(birth->kernel, birth->parent);
    drop_birth(birth);
    return waited;
}

// ---- the parent's side ----

static void on_life(struct viv_timer *timer)
{
    struct viv_inst *inst = VIV_CONTAINER_OF(timer, struct viv_inst, life);
    atomic_exchange_explicit(&inst->life_over, 1, memory_order_seq_cst); // before the wake
    viv_proc_wake(inst->proc);
}

// Inherited; a process that no guest started begins a unit of its own.
static struct viv_module *origin_of(const struct viv_spawn_spec *spec)
{
    const bool is_child = spec->parent != NULL && viv_proc_body(spec->parent) == &viv_wasm_body;
    return is_child ? viv_inst_of(spec->parent)->origin : spec->module;
}

static struct viv_family *family_of(const struct viv_spawn_spec *spec)
{
    return spec->parent != NULL ? viv_family_of(spec->parent) : spec->family;
}

static struct viv_inst *new_inst(const struct viv_spawn_spec *spec)
{
    struct viv_inst *inst = viv_try_calloc(1, sizeof(*inst), VIV_TAG_WASM);
    if (inst == NULL) return NULL;
    inst->entry = viv_try_strndup(spec->entry, spec->entry_len, VIV_TAG_WASM);
    inst->entry_len = spec->entry_len;
    if (spec->arg_count > 0)
        inst->args = viv_try_calloc(spec->arg_count, sizeof(wasmtime_val_t), VIV_TAG_WASM);
    if (spec->name != NULL)
        inst->bind_name = viv_try_strndup(spec->name, spec->name_len, VIV_TAG_WASM);
    inst->bind_name_len = spec->name_len;
    inst->arg_count = spec->arg_count;
    bool complete = inst->entry != NULL && (spec->arg_count == 0 || inst->args != NULL) &&
                    (spec->name == NULL || inst->bind_name != NULL);
    if (!complete) {
        viv_spawn__free_strings(inst);
        viv_free(inst, sizeof(*inst), VIV_TAG_WASM);
        return NULL;
    }
    if (spec->arg_count > 0)
        memcpy(inst->args, spec->args, spec->arg_count * sizeof(wasmtime_val_t));
    inst->runtime = spec->runtime;
    inst->module = viv_module_take(spec->module);
    inst->origin = viv_module_take(origin_of(spec));
    inst->config = viv_config_take(spec->config);
    inst->dirs = viv_dirs_take(spec->dirs);
    inst->account.limit_bytes = spec->config->max_memory_bytes;
    inst->members = viv_cap_members(spec->env);
    if (inst->members != NULL) inst->account.above = inst->members->account;
    inst->strict_entry = spec->strict_entry;
    inst->run_start = spec->run_start;
    inst->limits = (struct viv_proc_limits){
        .mailbox_count = spec->config->mailbox_count,
        .mailbox_bytes = spec->config->mailbox_bytes,
        .mailbox_policy = spec->config->mailbox_policy,
    };
    inst->timer_worker = VIV_TIMER_HERE;
    viv_ids_init(&inst->ids);
    viv_timer_init(&inst->life, on_life);
    return inst;
}

void viv_spawn__free_strings(struct viv_inst *inst)
{
    if (inst->entry != NULL) viv_free(inst->entry, inst->entry_len + 1, VIV_TAG_WASM);
    viv_free(inst->args, inst->arg_count * sizeof(wasmtime_val_t), VIV_TAG_WASM);
    if (inst->bind_name != NULL) viv_free(inst->bind_name, inst->bind_name_len + 1, VIV_TAG_WASM);
}

static void free_new_inst(struct viv_inst *inst)
{
    viv_spawn__free_strings(inst);
    viv_dirs_drop(inst->dirs);
    viv_config_drop(inst->config);
    viv_module_drop(inst->module);
    viv_module_drop(inst->origin);
    viv_free(inst, sizeof(*inst), VIV_TAG_WASM);
}

static struct viv_birth *new_birth(const struct viv_spawn_spec *spec)
{
    struct viv_birth *birth = viv_try_calloc(1, sizeof(*birth), VIV_TAG_WASM);
    if (birth == NULL) return NULL;
    birth->settled = spec->settled;
    birth->arg = spec->settled_arg;
    birth->kernel = viv_env_kernel(spec->env);
    birth->parent = spec->parent == NULL ? VIV_PID_NONE : viv_proc_pid(spec->parent);
    return birth;
}

static enum viv_err tie(const struct viv_spawn_spec *spec, struct viv_proc *child)
{
    if (spec->link) VIV_TRY(viv_proc_link_child(spec->parent, child, spec->link_tag));
    if (spec->monitor_ref == 0) return VIV_OK;
    enum viv_err err =
        viv_proc_monitor_child(spec->parent, child, spec->monitor_ref, spec->monitor_tag);
    if (err != VIV_OK) viv_proc_forget_child(spec->parent, viv_proc_pid(child), 0);
    return err;
}

static struct viv_session *session_above(const struct viv_spawn_spec *spec)
{
    if (spec->session != NULL) return spec->session;
    return spec->parent != NULL ? viv_ses_of(spec->parent)
                                : viv_env_word(spec->env, VIV_PROC_WORD_SESSION);
}

// The child's session is its parent's, or one below it without the classes that its config takes
// away. The last one that was made is kept, since one parent often spawns many of a kind. Errors:
// those of viv_ses_derive and viv_room_admit.
static enum viv_err admit(const struct viv_spawn_spec *spec, struct viv_proc *child)
{
    enum { ATTEMPTS = 8 };
    struct viv_session *above = session_above(spec);
    uint64_t removed = above == NULL ? 0
                                     : viv_classes_without(spec->config->rights) &
                                           viv_capset_held(viv_ses_held(above));
    if (removed == 0) return viv_room_admit(child, spec->parent, spec->session);
    struct viv_inst *parent = spec->parent != NULL && viv_proc_body(spec->parent) == &viv_wasm_body
                                  ? viv_inst_of(spec->parent)
                                  : NULL;
    if (parent != NULL && parent->child_session != NULL && parent->child_lacks == removed)
        return viv_room_admit(child, spec->parent, parent->child_session);
    struct viv_session *session;
    enum viv_err err = VIV_E_BUSY;
    // BUSY: somebody else is changing the tree at this moment.
    for (int i = 0; i < ATTEMPTS && err == VIV_E_BUSY; i++)
        err = viv_ses_derive(above, removed, NULL, viv_cap_env(spec->env), &session);
    if (err != VIV_OK) return err;
    err = viv_room_admit(child, spec->parent, session);
    if (parent == NULL) {
        viv_ses_let_go(session); // the child keeps it open
        return err;
    }
    if (parent->child_session != NULL) viv_ses_let_go(parent->child_session);
    parent->child_session = session;
    parent->child_lacks = removed;
    return err;
}

// It leaves when its state is destroyed, whatever becomes of it.
static void join_family(const struct viv_spawn_spec *spec, struct viv_inst *inst)
{
    inst->family = family_of(spec);
    if (inst->family == NULL) return;
    viv_family_enter(inst->family);
    // Relaxed: a process that counts the others waits for none of them to be born.
    (void)atomic_fetch_add_explicit(&inst->family->procs, 1, memory_order_relaxed);
    viv_proc_set_word(inst->proc, VIV_PROC_WORD_FAMILY, inst->family);
    if (spec->parent == NULL) // Relaxed: read by the process itself.
        atomic_store_explicit(&inst->family->first, viv_proc_pid(inst->proc).w,
                              memory_order_relaxed);
}

enum viv_err viv_spawn(const struct viv_spawn_spec *spec, struct viv_birth **out_birth)
{
    enum viv_err err = VIV_E_EXHAUSTED;
    struct viv_birth *birth = new_birth(spec);
    if (birth == NULL) goto fail_birth;
    struct viv_inst *inst = new_inst(spec);
    if (inst == NULL) goto fail_inst;
    struct viv_proc_spec proc_spec = {
        .env = spec->env,
        .body = &viv_wasm_body,
        .state = inst,
        .prio = VIV_PRIO_NORMAL,
        .limits = spec->config->has_mailbox ? &inst->limits : NULL,
        .name = inst->entry,
        .parent = birth->parent,
    };
    struct viv_proc *child;
    err = viv_proc_new(&proc_spec, &child);
    if (err != VIV_OK) goto fail_proc;
    inst->proc = child;
    join_family(spec, inst);
    err = admit(spec, child);
    if (err == VIV_OK) err = tie(spec, child);
    if (err != VIV_OK) {
        viv_proc_abandon(child);
        goto fail_inst;
    }
    birth->child = child;
    birth->child_pid = viv_proc_pid(child);
    inst->birth = birth;
    if (spec->first_msg != NULL) viv_mbox_push(viv_proc_mbox(child), spec->first_msg);
    atomic_init(&birth->refs, out_birth != NULL ? 2 : 1);
    if (out_birth != NULL) *out_birth = birth;
    viv_proc_incubate(child);
    return VIV_OK;

fail_proc:
    free_new_inst(inst);
fail_inst:
    viv_free(birth, sizeof(*birth), VIV_TAG_WASM);
fail_birth:
    if (spec->first_msg != NULL) viv_signal_drop(spec->first_msg);
    return err;
}

// ---- the child's side ----

enum viv_err viv_spawn__check_entry(const struct viv_module *module, const char *name,
                                    size_t name_len, const wasmtime_val_t *args, uint32_t arg_count,
                                    struct viv_diag *diag)
{
    int shown = (int)viv_min_u64(name_len, 100);
    const struct viv_wasm_export *export = viv_module_find_export(module, name, name_len);
    if (export == NULL) return viv_diag_set(diag, VIV_E_NOTFOUND, "no export `%.*s`", shown, name);
    struct viv_wasm_type type;
    if (viv_module_export_type(module, export, &type) != VIV_OK)
        return viv_diag_set(diag, VIV_E_KIND, "export `%.*s` is no function", shown, name);
    if (type.result_count != 0)
        return viv_diag_set(diag, VIV_E_INVAL, "function `%.*s` has results", shown, name);
    bool fits = type.param_count == arg_count;
    for (uint32_t i = 0; fits && i < arg_count; i++) {
        char letter = args[i].kind == WASMTIME_I32 ? 'i' : args[i].kind == WASMTIME_I64 ? 'I' : 'V';
        fits = type.params[i] == letter;
    }
    if (fits) return VIV_OK;
    char text[200];
    viv_wasm_type_text(type.params, type.results, text, sizeof(text));
    return viv_diag_set(diag, VIV_E_INVAL,
                        "function `%.*s` has type %s, not that of the %u arguments", shown, name,
                        text, arg_count);
}

static enum viv_step fail(struct viv_inst *inst, enum viv_err err)
{
    struct viv_birth *birth = inst->birth;
    inst->birth = NULL;
    birth->err = err;
    (void)viv_birth_settle(birth, VIV_BIRTH_FAILED);
    return VIV_STEP_DONE;
}

bool viv_spawn__failed(struct viv_inst *inst)
{
    const struct viv_reason *reason = viv_proc_reason(inst->proc);
    if (reason != NULL)
        viv_trap_clear(inst);
    else
        viv_proc_set_reason(inst->proc, reason = viv_trap_reason(inst));
    if (inst->birth != NULL) {
        (void)viv_reason_format(reason, inst->birth->diag.text, sizeof(inst->birth->diag.text));
        (void)fail(inst, VIV_E_MODULE);
    }
    return false;
}

// A compile that an unborn child waits for. RUNNING ──done──> DONE; RUNNING ──child ends──> LEFT.
enum { COMPILE_RUNNING, COMPILE_DONE, COMPILE_LEFT };
struct viv_compile_wait {
    struct viv_compile_req req;
    struct viv_proc *proc;
    _Atomic uint32_t state;
};

static void free_compile(struct viv_compile_wait *wait)
{
    viv_module_drop(wait->req.out_module);
    viv_free(wait, sizeof(*wait), VIV_TAG_WASM);
}

static void on_compiled(struct viv_compile_req *req)
{
    struct viv_compile_wait *wait = VIV_CONTAINER_OF(req, struct viv_compile_wait, req);
    struct viv_proc *proc = wait->proc;
    uint32_t running = COMPILE_RUNNING;
    // Seq_cst: publishes the result before the wake; a child that is alive here is readable for
    // this grace period.
    if (atomic_compare_exchange_strong_explicit(&wait->state, &running, COMPILE_DONE,
                                                memory_order_seq_cst, memory_order_seq_cst))
        viv_proc_wake(proc);
    else
        free_compile(wait);
}

void viv_spawn__release(struct viv_inst *inst)
{
    struct viv_compile_wait *wait = inst->compile;
    inst->compile = NULL;
    uint32_t running = COMPILE_RUNNING;
    if (wait != NULL) {
        bool cancelled = viv_compile_cancel(viv_runtime_wasm(inst->runtime), &wait->req);
        if (cancelled ||
            !atomic_compare_exchange_strong_explicit(&wait->state, &running, COMPILE_LEFT,
                                                     memory_order_seq_cst, memory_order_seq_cst))
            free_compile(wait);
    }
    if (inst->birth != NULL) { // killed, or over a limit, before it was born
        char *text = inst->birth->diag.text;
        const struct viv_reason *reason = viv_proc_reason(inst->proc);
        if (reason != NULL)
            (void)viv_reason_format(reason, text, sizeof(inst->birth->diag.text));
        else
            (void)snprintf(text, sizeof(inst->birth->diag.text), "killed");
        (void)fail(inst, VIV_E_CANCELLED);
    }
}

static bool counts_fuel(const struct viv_inst *inst)
{
    return inst->config->max_fuel_units != 0;
}

// The compiled variant; NULL: *out_step says what to do.
static const struct viv_variant *find_variant(struct viv_inst *inst, enum viv_step *out_step)
{
    enum viv_wasm_mode mode = viv_module_mode(inst->module);
    const struct viv_variant *variant = viv_module_variant(inst->module, mode, counts_fuel(inst));
    if (variant != NULL) return variant;
    *out_step = VIV_STEP_WAIT;
    struct viv_compile_wait *wait = inst->compile;
    if (wait == NULL) {
        wait = viv_try_calloc(1, sizeof(*wait), VIV_TAG_WASM);
        enum viv_err err = VIV_E_EXHAUSTED;
        if (wait != NULL) {
            wait->proc = inst->proc;
            wait->req = (struct viv_compile_req){.module = inst->module,
                                                 .mode = mode,
                                                 .fuel = counts_fuel(inst),
                                                 .env = viv_env_number(viv_proc_env(inst->proc)),
                                                 .done = on_compiled};
            inst->compile = wait;
            err = viv_compile_post(viv_runtime_wasm(inst->runtime), &wait->req);
        }
        if (err == VIV_OK) return viv_module_variant(inst->module, mode, counts_fuel(inst));
        inst->compile = NULL;
        viv_free(wait, sizeof(*wait), VIV_TAG_WASM);
        *out_step = fail(
            inst, viv_diag_set(&inst->birth->diag, err, "cannot compile: %s", viv_err_text(err)));
        return NULL;
    }
    if (atomic_load_explicit(&wait->state, memory_order_acquire) != COMPILE_DONE)
        return NULL; // spurious wake
    inst->birth->diag = wait->req.diag;
    enum viv_err err = wait->req.err == VIV_OK ? VIV_E_MODULE : wait->req.err;
    inst->compile = NULL;
    free_compile(wait);
    *out_step = fail(inst, err);
    return NULL;
}

static wasmtime_error_t *on_epoch(wasmtime_context_t *context, void *data, uint64_t *delta,
                                  wasmtime_update_deadline_kind_t *kind)
{
    (void)context;
    struct viv_inst *inst = data;
    inst->yielded = true;
    *delta = 1;
    *kind = WASMTIME_UPDATE_DEADLINE_YIELD;
    return NULL;
}

// In mode `fast` the engine keeps the memory, and nobody is asked when it grows: what it may become
// is charged to the environment at birth, if that has a limit.
static enum viv_err reserve_memory(struct viv_inst *inst, struct viv_diag *diag)
{
    struct viv_account *above = inst->account.above;
    const uint64_t most = viv_min_u64(viv_module_binary(inst->module)->memory_max_bytes,
                                      inst->config->max_memory_bytes);
    if (viv_module_mode(inst->module) != VIV_WASM_FAST || above == NULL ||
        viv_account_max(above, VIV_COUNTER_MEMORY_BYTES) == VIV_UNLIMITED)
        return VIV_OK;
    if (viv_account_charge(above, VIV_COUNTER_MEMORY_BYTES, most) != VIV_OK)
        return viv_slots_over_limit(
            viv_add_sat_u64(viv_account_used(above, VIV_COUNTER_MEMORY_BYTES), most),
            viv_account_max(above, VIV_COUNTER_MEMORY_BYTES), "the limit of all processes", diag);
    inst->reserved_bytes = most;
    return VIV_OK;
}

static enum viv_err make_store(struct viv_inst *inst)
{
    enum { FUEL_A_UNIT = 100000 };
    VIV_TRY(viv_wasm_engine(viv_runtime_wasm(inst->runtime), viv_module_mode(inst->module),
                            counts_fuel(inst), &inst->engine));
    inst->store = wasmtime_store_new(inst->engine->engine, inst, NULL);
    if (inst->store == NULL) return VIV_E_EXHAUSTED;
    inst->context = wasmtime_store_context(inst->store);
    const struct viv_binary *binary = viv_module_binary(inst->module);
    uint64_t tables = viv_max_u64(binary->table_count, 1);
    uint64_t elems =
        viv_min_u64(VIV_WASM_TABLE_ELEMS_MAX, inst->config->max_memory_bytes / 8 / tables);
    // In mode `many` memories and GC heaps are slots, which charge the account as they grow.
    int64_t memory_bytes = -1;
    if (viv_module_mode(inst->module) == VIV_WASM_FAST &&
        inst->config->max_memory_bytes <= INT64_MAX)
        memory_bytes = (int64_t)inst->config->max_memory_bytes;
    wasmtime_store_limiter(inst->store, memory_bytes, (int64_t)elems, 1, VIV_WASM_TABLES_MAX,
                           VIV_WASM_MEMORIES_MAX);
    wasmtime_store_epoch_deadline_callback(inst->store, on_epoch, inst, NULL);
    if (!counts_fuel(inst)) return VIV_OK;
    uint64_t fuel;
    if (__builtin_mul_overflow(inst->config->max_fuel_units, FUEL_A_UNIT, &fuel)) fuel = UINT64_MAX;
    wasmtime_error_t *error = wasmtime_context_set_fuel(inst->context, fuel);
    if (error == NULL) return VIV_OK;
    wasmtime_error_delete(error);
    return VIV_E_STATE;
}

// Its time runs from here on: a start function spends it too.
static void start_life(struct viv_inst *inst)
{
    if (inst->config->life_ns == 0) return;
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    viv_timer_start(sched, &inst->life,
                    viv_add_sat_u64(viv_sched_now_ns(sched), inst->config->life_ns),
                    VIV_TIMER_HERE);
}

enum viv_step viv_spawn__prepare(struct viv_inst *inst)
{
    enum viv_step step = VIV_STEP_WAIT;
    const struct viv_variant *variant = find_variant(inst, &step);
    if (variant == NULL) return step;
    struct viv_diag *diag = &inst->birth->diag;
    enum viv_err err = viv_module_check(inst->module, inst->config->max_memory_bytes, diag);
    if (err == VIV_OK && inst->strict_entry)
        err = viv_spawn__check_entry(inst->module, inst->entry, inst->entry_len, inst->args,
                                     inst->arg_count, diag);
    if (err == VIV_OK) err = viv_wasi_new(inst, diag);
    if (err == VIV_OK) err = reserve_memory(inst, diag);
    if (err != VIV_OK) return fail(inst, err);
    err = make_store(inst);
    if (err != VIV_OK) return fail(inst, viv_diag_set(diag, err, "%s", viv_err_text(err)));
    start_life(inst);
    inst->future = wasmtime_instance_pre_instantiate_async(
        variant->instance_pre, inst->context, &inst->instance, &inst->trap, &inst->error);
    return VIV_STEP_YIELD;
}

// Reserves the name that the child shall have; false: it is taken.
static bool reserve_name(struct viv_inst *inst)
{
    if (inst->bind_name == NULL) return true;
    struct viv_name_value taken;
    enum viv_err err = viv_name_reserve(viv_proc_env(inst->proc), inst->bind_name,
                                        inst->bind_name_len, viv_proc_pid(inst->proc), &taken);
    if (err == VIV_E_NOTFOUND) return true; // free until now, reserved for us
    if (err == VIV_OK || err == VIV_E_BUSY)
        err = viv_diag_set(&inst->birth->diag, VIV_E_EXISTS, "the name is taken");
    (void)fail(inst, err);
    return false;
}

bool viv_spawn__instantiated(struct viv_inst *inst)
{
    if (!reserve_name(inst)) return false;
    struct viv_birth *birth = inst->birth;
    inst->birth = NULL;
    viv_pid pid = viv_proc_pid(inst->proc);
    viv_proc_publish(inst->proc);
    if (inst->bind_name != NULL)
        viv_name_settle(viv_proc_env(inst->proc), inst->bind_name, inst->bind_name_len, pid, pid);
    if (viv_birth_settle(birth, VIV_BIRTH_BORN)) return true;
    viv_proc_set_reason(inst->proc, viv_reason_of(VIV_REASON_KILLED)); // the parent went first
    return false;
}
