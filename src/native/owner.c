// SPDX-License-Identifier: Apache-2.0
// What is in force for a program, and who owns it.
#include "native/owner.h"

#include "native/program.h"

static bool is_number(const struct viv_native_row *row)
{
    return row->type == VIV_NATIVE_TYPE_U32 || row->type == VIV_NATIVE_TYPE_U64 ||
           row->type == VIV_NATIVE_TYPE_BOOL || row->type == VIV_NATIVE_TYPE_WORD ||
           row->type == VIV_NATIVE_TYPE_SET;
}

static uint64_t to_ms(uint64_t ns)
{
    return ns == VIV_FOREVER_NS ? VIV_NATIVE_NONE : ns / VIV_NS_PER_MS;
}

enum viv_err viv_native_info(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                             struct viv_native_info *out)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    *out = (struct viv_native_info){
        .argv = program->req.argv, .cwd = program->req.fields.cwd.data, .guard = program->guard};
    for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++)
        if (is_number(&viv_native_rows[key]))
            out->values[key] = viv_native_number(&program->req.fields, (enum viv_native_key)key);
    viv_spin_lock(&program->care.lock);
    out->values[VIV_NATIVE_KEY_MAX_LIFETIME_MS] = to_ms(program->care.knobs[VIV_KNOB_LIFETIME]);
    out->values[VIV_NATIVE_KEY_IDLE_MS] = to_ms(program->care.knobs[VIV_KNOB_IDLE]);
    out->values[VIV_NATIVE_KEY_RETENTION_MS] = to_ms(program->care.knobs[VIV_KNOB_RETENTION]);
    out->values[VIV_NATIVE_KEY_STOP_GRACE_MS] = to_ms(program->care.knobs[VIV_KNOB_GRACE]);
    out->values[VIV_NATIVE_KEY_OVERFLOW] = program->overflow;
    out->values[VIV_NATIVE_KEY_DEADMAN] = program->deadman_ms;
    viv_spin_unlock(&program->care.lock);
    viv_program__drop(program);
    return VIV_OK;
}

static enum viv_err give(const struct viv_native_ctx *ctx, struct viv_program *program, viv_pid to)
{
    viv_rid owner;
    if (program->req.fields.survive != VIV_NATIVE_SURVIVE_OWNER) return VIV_E_INVAL;
    viv_spin_lock(&program->care.lock);
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    viv_spin_unlock(&program->care.lock);
    if (has_ended || program->resource.w == 0) return VIV_E_STATE;
    if (viv_proc_find(ctx->native->kernel, program->scope->tenant->env, to) == NULL)
        return VIV_E_NOTFOUND;
    VIV_TRY(viv_room_process(ctx->native->cap, to, &owner));
    return viv_res_set_owner(viv_room_reg(ctx->native->cap), program->resource, owner);
}

enum viv_err viv_native_give_away(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, viv_pid to)
{
    struct viv_program *program;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    const enum viv_err err = give(ctx, program, to);
    viv_program__drop(program);
    return err;
}
