// SPDX-License-Identifier: Apache-2.0
// See compile_op.h. The state word decides who frees: whoever comes last of the operation and the
// compile.
#include "wasm/compile_op.h"

#include "wasm/runtime.h"
#include <string.h>

enum { RUNNING, DONE, LEFT };

struct viv_compile_op {
    struct viv_compile_req req;
    struct viv_wasm *wasm;
    struct viv_proc *proc;
    _Atomic uint32_t state;
};

static void free_op(struct viv_compile_op *op)
{
    viv_module_drop(op->req.out_module);
    viv_free(op, sizeof(*op), VIV_TAG_WASM);
}

// Leaves RUNNING; false: the other side was first.
static bool settle(struct viv_compile_op *op, uint32_t state)
{
    uint32_t running = RUNNING;
    // Seq_cst: publishes the result before the wake; pairs with viv_compile_op_is_done.
    return atomic_compare_exchange_strong_explicit(&op->state, &running, state,
                                                   memory_order_seq_cst, memory_order_seq_cst);
}

static void on_compiled(struct viv_compile_req *req)
{
    struct viv_compile_op *op = VIV_CONTAINER_OF(req, struct viv_compile_op, req);
    struct viv_proc *proc = op->proc;
    // Who is alive at the exchange stays readable for this grace period.
    if (settle(op, DONE))
        viv_proc_wake(proc);
    else
        free_op(op);
}

enum viv_err viv_compile_op_start(struct viv_inst *inst, const void *bytes, size_t len_bytes,
                                  struct viv_compile_op **out_op, struct viv_diag *diag)
{
    struct viv_wasm *wasm = viv_runtime_wasm(inst->runtime);
    if (len_bytes > viv_wasm_module_bytes_max(wasm))
        return viv_diag_set(diag, VIV_E_MODULE, "the module is too big");
    size_t room_bytes = len_bytes > 0 ? len_bytes : 1; // one byte is no module either
    struct viv_compile_op *op = viv_try_calloc(1, sizeof(*op), VIV_TAG_WASM);
    uint8_t *copy = viv_try_alloc(room_bytes, VIV_TAG_MODULE);
    if (op == NULL || copy == NULL) {
        viv_free(copy, room_bytes, VIV_TAG_MODULE);
        viv_free(op, sizeof(*op), VIV_TAG_WASM);
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "%s", viv_err_text(VIV_E_EXHAUSTED));
    }
    copy[0] = 0;
    if (len_bytes > 0) memcpy(copy, bytes, len_bytes);
    op->wasm = wasm;
    op->proc = inst->proc;
    op->req = (struct viv_compile_req){.name = "module",
                                       .bytes = copy,
                                       .len_bytes = room_bytes,
                                       .mode = viv_module_mode(inst->module),
                                       .fuel = inst->config->max_fuel_units != 0,
                                       .env = viv_env_number(viv_proc_env(inst->proc)),
                                       .done = on_compiled};
    enum viv_err err = viv_compile_post(wasm, &op->req);
    if (err == VIV_OK) {
        *out_op = op;
        return VIV_OK;
    }
    free_op(op);
    return viv_diag_set(diag, err, "cannot compile now: %s", viv_err_text(err));
}

bool viv_compile_op_is_done(const struct viv_compile_op *op)
{
    // Acquire pairs with settle: the request's results are there.
    return atomic_load_explicit(&op->state, memory_order_acquire) == DONE;
}

enum viv_err viv_compile_op_take(struct viv_compile_op *op, struct viv_module **out_module,
                                 struct viv_diag *diag)
{
    if (op->req.err != VIV_OK) return viv_diag_set(diag, op->req.err, "%s", op->req.diag.text);
    *out_module = op->req.out_module;
    op->req.out_module = NULL;
    return VIV_OK;
}

void viv_compile_op_leave(struct viv_compile_op *op)
{
    if (viv_compile_cancel(op->wasm, &op->req) || !settle(op, LEFT)) free_op(op);
}
