// SPDX-License-Identifier: Apache-2.0
// A guest's call that goes to the store: a process may not wait for one, so the call is copied,
// made on a thread of the dirty pool, and answered when the process was woken.
//
//   posted ──work──> done ──> answered, left          left while posted: freed by who comes last
//      └──work: AGAIN──> waits ──told, or cancelled──> done
//
// Invariants
//   1. An op is the pool's while is_posted, the guest's until is_left; who is last of the two
//      hands it to be freed. A wait of the store is cancelled before that by the thread, which may
//      block: so nobody tells an op that is gone.
//   2. While it is posted it is a member of its run's family, so the run is there; and what it does
//      to the run's own process carries the fence of its lease.
#include "base/assert.h"
#include "base/cjson.h"
#include "cap/room.h"
#include "ctl/durable_int.h"
#include <string.h>

enum { TEXT_BYTES = 4 << 20, REGISTRATION_BYTES = 256 << 10 }; // a checkpoint is the longest

// ---- arguments ----

static enum viv_err read_text(const struct viv_guest_call *call, size_t at, struct viv_str *out)
{
    uint8_t *bytes;
    VIV_TRY(viv_guest_at(call, call->args[at], call->args[at + 1], &bytes));
    if (call->args[at + 1] > TEXT_BYTES) return VIV_E_TOOBIG;
    *out = (struct viv_str){(const char *)bytes, call->args[at + 1]};
    return VIV_OK;
}

enum viv_err viv_durable__read(const struct viv_guest_call *call, const char *takes,
                               struct viv_durable__in *out)
{
    size_t at = 0;
    uint8_t *bytes;
    *out = (struct viv_durable__in){.bytes_at = SIZE_MAX, .word_at = SIZE_MAX};
    for (; *takes != '\0'; takes++) {
        switch (*takes) {
        case 't':
            VIV_TRY(read_text(call, at, &out->text[out->text_count++]));
            at += 2;
            break;
        case 'n':
            out->number[out->number_count++] = (int64_t)call->args[at++];
            break;
        case 'h': // 0 is none
            out->handle.w = call->args[at] <= UINT32_MAX ? (uint32_t)call->args[at] : 0;
            at++;
            break;
        case 'o':
            VIV_TRY(viv_guest_at(call, call->args[at], call->args[at + 1], &bytes));
            VIV_TRY(viv_guest_at(call, call->args[at + 2], sizeof(uint32_t), &bytes));
            out->bytes_at = at;
            at += 3;
            break;
        default:
            VIV_TRY(viv_guest_at(call, call->args[at], sizeof(uint64_t), &bytes));
            out->word_at = at++;
            break;
        }
    }
    return VIV_OK;
}

// ---- answers ----

enum viv_err viv_durable__put_bytes(const struct viv_guest_call *call, size_t first_arg,
                                    struct viv_str bytes)
{
    uint8_t *at;
    const uint32_t len = (uint32_t)bytes.n;
    VIV_TRY(viv_guest_at(call, call->args[first_arg + 2], sizeof len, &at));
    memcpy(at, &len, sizeof len);
    if (bytes.n > call->args[first_arg + 1]) return VIV_E_TOOSMALL;
    VIV_TRY(viv_guest_at(call, call->args[first_arg], bytes.n, &at));
    if (bytes.n > 0) memcpy(at, bytes.p, bytes.n);
    return VIV_OK;
}

void viv_durable__put_u64(const struct viv_guest_call *call, size_t arg, uint64_t value)
{
    uint8_t *at;
    // There is room: memory of a guest only grows.
    if (viv_guest_at(call, call->args[arg], sizeof value, &at) == VIV_OK)
        memcpy(at, &value, sizeof value);
}

static enum viv_err answer(struct viv_guest_call *call, struct viv_durable__op *op,
                           const struct viv_durable__in *in)
{
    if (op->err != VIV_OK) {
        *call->detail = op->diag.d;
        return op->err;
    }
    if (op->spec->finish != NULL) VIV_TRY(op->spec->finish(call, op));
    if (in->bytes_at != SIZE_MAX) VIV_TRY(viv_durable__put_bytes(call, in->bytes_at, op->out));
    if (in->word_at != SIZE_MAX) viv_durable__put_u64(call, in->word_at, op->value);
    call->charge_bytes = op->out.n;
    return VIV_OK;
}

// ---- the end of an op ----

void viv_durable__free(VIV_OWN struct viv_durable__op *op)
{
    viv_mem_deinit(&op->mem);
    viv_free(op, sizeof *op, VIV_TAG_CTL);
}

// It is left and not posted; the mutex is held. True: the caller frees it.
static bool end_locked(struct viv_durable__op *op)
{
    struct viv_durable *durable = op->durable;
    viv_list_remove(&op->node);
    if (op->wait != NULL) {
        viv_list_append(&durable->ended, &op->node);
        return false;
    }
    durable->op_count--;
    return true;
}

// Its process waits no more; the mutex of durable is held.
static void leave_waits_locked(struct viv_durable__op *op)
{
    struct viv_durable_run *run = op->run;
    if (run == NULL || !op->spec->is_wait) return;
    viv_mutex_lock(&run->mutex);
    viv_list_remove(&op->run_node);
    run->parked -= op->is_parked;
    op->is_parked = false;
    viv_mutex_unlock(&run->mutex);
}

void viv_durable__drop(VIV_OWN void *state)
{
    struct viv_durable__op *op = state;
    struct viv_durable *durable = op->durable;
    viv_mutex_lock(&durable->mutex);
    op->is_left = true;
    leave_waits_locked(op);
    const bool is_free = !op->is_posted && end_locked(op);
    viv_mutex_unlock(&durable->mutex);
    if (is_free)
        viv_durable__free(op);
    else
        viv_durable__wake_thread(durable);
}

// ---- on the pool ----

static void run_op(struct viv_job *job)
{
    struct viv_durable__op *op = VIV_CONTAINER_OF(job, struct viv_durable__op, job);
    const bool is_live = op->family == NULL || viv_family_is_live(op->family);
    const enum viv_err err = is_live ? op->spec->work(op) : VIV_STORE_FENCED;
    if (err != VIV_E_AGAIN) op->err = err; // else the wait says, or has said
}

// The lease is lost: nothing of the run goes on.
static bool has_lost(const struct viv_durable__op *op, enum viv_err err)
{
    return op->family != NULL && op->spec->is_own && err == VIV_STORE_FENCED;
}

static void op_done(struct viv_job *job)
{
    struct viv_durable__op *op = VIV_CONTAINER_OF(job, struct viv_durable__op, job);
    struct viv_durable *durable = op->durable;
    struct viv_family *family = op->family;
    struct viv_kernel *kernel = durable->config.kernel;
    const viv_pid pid = op->pid;
    viv_mutex_lock(&durable->mutex);
    const bool waits = op->wait != NULL; // its end comes, or came, with the wait's
    const bool is_lost = !waits && has_lost(op, op->err);
    op->is_posted = false;
    op->is_done = op->is_done || !waits;
    // The run is there: its family has a member still. Its mutex comes after ours.
    if (family != NULL && !op->is_done && !op->is_left) viv_durable__park(op);
    const bool is_free = op->is_left && end_locked(op);
    viv_mutex_unlock(&durable->mutex);
    if (is_free) viv_durable__free(op);
    if (is_lost) viv_family_kill(family);
    viv_durable__wake_thread(durable);
    (void)viv_proc_wake_pid(kernel, pid);
    if (family != NULL) viv_family_leave(family);
}

// ---- waits of the store ----

static void copy_result(struct viv_durable__op *op, const struct viv_wait_result *result)
{
    struct viv_str out = result->output;
    op->err = result->err;
    if (result->event != NULL) {
        out = result->event->payload;
        op->value = result->event->seq;
    }
    if (op->err != VIV_OK || out.n == 0) return;
    op->out = (struct viv_str){viv_mem_try_copy(&op->mem, out.p, out.n), out.n};
    if (op->out.p == NULL) op->err = VIV_E_EXHAUSTED;
}

static void note_told(void *arg, const struct viv_wait_result *result)
{
    struct viv_durable__op *op = arg;
    struct viv_durable *durable = op->durable;
    copy_result(op, result);
    viv_mutex_lock(&durable->mutex);
    op->is_done = true;
    if (!op->is_left) viv_list_append(&durable->told, &op->node);
    viv_mutex_unlock(&durable->mutex);
    viv_durable__wake_thread(durable);
}

enum viv_err viv_durable__wait(struct viv_durable__op *op, const struct viv_wait_spec *spec,
                               int64_t timeout_ms)
{
    VIV_TRY(viv_store_wait_start(op->durable->config.store, spec, timeout_ms, note_told, op,
                                 &op->wait));
    return VIV_E_AGAIN;
}

// ---- the call ----

static enum viv_err check_class(const struct viv_guest_call *call,
                                const struct viv_durable__spec *spec, struct viv_str name)
{
    if (spec->is_own) return VIV_OK;
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_NAMES, .name = name.p, .name_len = name.n};
    return viv_cap_check(call->proc, spec->cap, &query);
}

// The process that the call is about, as far as it is named: texts lie in the guest or a handle.
static enum viv_err find_object(const struct viv_guest_call *call,
                                const struct viv_durable__spec *spec,
                                const struct viv_durable__in *in, struct viv_str *out_id)
{
    void *object;
    *out_id = (struct viv_str){NULL, 0};
    if (strchr(spec->takes, 'h') != NULL) {
        const struct viv_htab *tab = viv_holder_find_htab(call->proc);
        if (tab == NULL) return VIV_E_BADHANDLE;
        VIV_TRY(viv_res_use(tab, in->handle, VIV_KIND_DURABLE, spec->need, &object));
        const struct viv_durable__handle *handle = object;
        *out_id = (struct viv_str){handle->id, handle->id_len};
    } else if (spec->cap == VIV_CAP_DURABLE_READ && !spec->is_own) {
        *out_id = in->text[0];
    }
    return VIV_OK;
}

// start names the process in its registration, whose class is asked for once that is read.
static enum viv_err check_start(const struct viv_guest_call *call,
                                const struct viv_durable__spec *spec, struct viv_str registration)
{
    json_t *value = NULL;
    if (registration.n > REGISTRATION_BYTES) return VIV_E_TOOBIG;
    VIV_TRY(viv_cjson_parse(registration.p, registration.n, &value, NULL));
    const char *id = viv_json_get_text(value, "id");
    const enum viv_err err =
        check_class(call, spec, (struct viv_str){id, id != NULL ? strlen(id) : 0});
    json_decref(value);
    return err;
}

static enum viv_err copy(struct viv_mem *mem, struct viv_str from, struct viv_str *out)
{
    const char *text = viv_mem_try_copy(mem, from.n > 0 ? from.p : "", from.n);
    if (text == NULL) return VIV_E_EXHAUSTED;
    *out = (struct viv_str){text, from.n};
    return VIV_OK;
}

static enum viv_err fill_op(struct viv_durable__op *op, const struct viv_durable__in *in,
                            struct viv_str id)
{
    size_t scope_len;
    char *scope;
    const struct viv_lease *lease = op->run != NULL ? viv_run_lease(op->run->run) : NULL;
    if (lease != NULL && op->spec->is_own) {
        id = lease->id;
        op->fence = &lease->f;
    }
    VIV_TRY(copy(&op->mem, id, &op->id));
    scope =
        lease != NULL
            ? viv_mem_try_printf(&op->mem, &scope_len, "job:%.*s", (int)lease->id.n, lease->id.p)
            : viv_mem_try_printf(&op->mem, &scope_len, "env:%s", op->durable->config.env_name);
    if (scope == NULL) return VIV_E_EXHAUSTED;
    op->scope = (struct viv_str){scope, scope_len};
    for (size_t i = 0; i < in->text_count; i++)
        VIV_TRY(copy(&op->mem, in->text[i], &op->text[i]));
    memcpy(op->number, in->number, sizeof op->number);
    return VIV_OK;
}

// A wait of a run that was asked to end does not begin, unless it only looks.
static enum viv_err join_waits(struct viv_durable__op *op, const struct viv_durable__in *in)
{
    struct viv_durable_run *run = op->run;
    if (run == NULL || !op->spec->is_wait) return VIV_OK;
    op->looks = in->number[in->number_count - 1] == 0 && op->spec->work != viv_durable__sleep;
    viv_mutex_lock(&run->mutex);
    const bool is_cancelled = run->is_cancelled && !op->looks;
    if (!is_cancelled) viv_list_append(&run->waits, &op->run_node);
    viv_mutex_unlock(&run->mutex);
    return is_cancelled ? VIV_E_CANCELLED : VIV_OK;
}

static enum viv_err post(struct viv_durable__op *op)
{
    struct viv_durable *durable = op->durable;
    op->is_posted = true;
    if (op->family != NULL) viv_family_enter(op->family);
    const enum viv_err err =
        viv_dirty_post(viv_kernel_sched(durable->config.kernel), VIV_DIRTY_IO, &op->job);
    if (err == VIV_OK) return VIV_OK;
    op->is_posted = false;
    if (op->family != NULL) viv_family_leave(op->family);
    return err == VIV_E_FULL ? VIV_E_BUSY : err;
}

static enum viv_err begin(struct viv_guest_call *call, const struct viv_durable__spec *spec,
                          const struct viv_durable__in *in, struct viv_str id)
{
    struct viv_durable *durable = call->ctx;
    struct viv_durable_run *run = viv_durable_run_of(call->proc);
    if (spec->is_own && run == NULL) return VIV_E_NOTFOUND;
    if (durable->config.store == NULL) return VIV_E_UNSUPPORTED;
    struct viv_durable__op *op = viv_try_calloc(1, sizeof *op, VIV_TAG_CTL);
    if (op == NULL) return VIV_E_EXHAUSTED;
    op->job = (struct viv_job){.run = run_op, .done = op_done};
    op->durable = durable;
    op->spec = spec;
    op->run = run;
    op->family = run != NULL ? &run->family : NULL;
    op->pid = viv_proc_pid(call->proc);
    viv_list_init(&op->run_node);
    viv_list_init(&op->node);
    viv_mem_init(&op->mem, VIV_TAG_CTL);
    enum viv_err err = fill_op(op, in, id);
    if (err == VIV_OK) err = join_waits(op, in);
    if (err != VIV_OK) {
        viv_durable__free(op);
        return err;
    }
    viv_mutex_lock(&durable->mutex);
    durable->op_count++;
    viv_mutex_unlock(&durable->mutex);
    call->state = op; // dropped by the caller from here on
    for (size_t i = 0; i < in->text_count; i++)
        call->charge_bytes += in->text[i].n;
    VIV_TRY(post(op));
    return VIV_E_AGAIN;
}

// A wait of a run that was asked to end meanwhile.
static bool is_ended(struct viv_durable__op *op)
{
    if (op->run == NULL || !op->spec->is_wait || op->looks) return false;
    viv_mutex_lock(&op->run->mutex);
    const bool is_cancelled = op->run->is_cancelled;
    viv_mutex_unlock(&op->run->mutex);
    return is_cancelled;
}

static enum viv_err look(struct viv_guest_call *call, struct viv_durable__op *op,
                         const struct viv_durable__in *in)
{
    viv_mutex_lock(&op->durable->mutex);
    const bool is_done = op->is_done;
    viv_mutex_unlock(&op->durable->mutex);
    if (!is_done && !is_ended(op)) return VIV_E_AGAIN;
    if (!viv_durable__unpark(op)) return VIV_E_AGAIN;
    return is_done ? answer(call, op, in) : VIV_E_CANCELLED;
}

enum viv_err viv_durable__call(struct viv_guest_call *call, const struct viv_durable__spec *spec)
{
    struct viv_str id;
    struct viv_durable__in in;
    VIV_TRY(viv_durable__read(call, spec->takes, &in));
    if (call->state != NULL) return look(call, call->state, &in);
    VIV_TRY(find_object(call, spec, &in, &id));
    if (spec->cap == VIV_CAP_DURABLE_START && !spec->is_own)
        VIV_TRY(check_start(call, spec, in.text[0]));
    else
        VIV_TRY(check_class(call, spec, id));
    return begin(call, spec, &in, id);
}

// ---- handles ----

static void destroy_handle(void *object)
{
    struct viv_durable__handle *handle = object;
    viv_free(handle, sizeof *handle + handle->id_len, VIV_TAG_CTL);
}

enum viv_err viv_durable__bind(struct viv_reg *reg)
{
    static const struct viv_res_kind functions = {.destroy = destroy_handle};
    return viv_res_kind_bind(reg, VIV_KIND_DURABLE, &functions);
}

enum viv_err viv_durable__make_handle(struct viv_guest_call *call, struct viv_durable__op *op)
{
    viv_handle hdl;
    struct viv_htab *tab;
    const struct viv_res_spec spec = {.kind = VIV_KIND_DURABLE};
    VIV_TRY(viv_room_htab(call->proc, &tab));
    struct viv_durable__handle *handle = viv_try_alloc(sizeof *handle + op->out.n, VIV_TAG_CTL);
    if (handle == NULL) return VIV_E_EXHAUSTED;
    handle->id_len = op->out.n;
    memcpy(handle->id, op->out.p, op->out.n);
    VIV_TRY(viv_res_insert(tab, &spec, handle, op->rights, &hdl));
    op->value = hdl.w;
    return VIV_OK;
}
