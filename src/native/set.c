// SPDX-License-Identifier: Apache-2.0
// What may change of a program that is there: its knobs, its label, what its rings do when they are
// full. Values are stored here, under the program's lock, and the step is told which.
//
// The label alone is written under two locks, the room's and the program's, and read under either:
// lists look at labels under the first, a status under the second.
#include "native/held.h"

#include <string.h>

static enum viv_err find_knob(enum viv_native_key key, uint32_t *out_index)
{
    static const struct {
        enum viv_native_key key;
        uint32_t index;
    } knobs[] = {
        {VIV_NATIVE_KEY_MAX_LIFETIME_MS, VIV_KNOB_LIFETIME},
        {VIV_NATIVE_KEY_IDLE_MS, VIV_KNOB_IDLE},
        {VIV_NATIVE_KEY_RETENTION_MS, VIV_KNOB_RETENTION},
        {VIV_NATIVE_KEY_STOP_GRACE_MS, VIV_KNOB_GRACE},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(knobs); i++) {
        if (knobs[i].key != key) continue;
        *out_index = knobs[i].index;
        return VIV_OK;
    }
    return VIV_E_INVAL;
}

static void store(struct viv_program *program, enum viv_native_key key, uint32_t index,
                  uint64_t value)
{
    viv_spin_lock(&program->care.lock);
    struct viv_native_orders *orders = &program->orders;
    if (key == VIV_NATIVE_KEY_DEADMAN) {
        program->deadman_ms = value;
        orders->has_deadman = true;
    } else if (key == VIV_NATIVE_KEY_OVERFLOW) {
        // Of one that has exited the rings stay what they were.
        if (program->care.phase != VIV_NATIVE_EXITED) program->overflow = (uint32_t)value;
        orders->has_overflow = true;
    } else {
        program->care.knobs[index] =
            value > UINT64_MAX / VIV_NS_PER_MS ? VIV_FOREVER_NS : value * VIV_NS_PER_MS;
        orders->knobs |= 1u << index;
    }
    viv_spin_unlock(&program->care.lock);
    viv_program__wake(program);
}

static enum viv_err bring(const struct viv_native_ctx *ctx, enum viv_native_key key,
                          uint64_t *value)
{
    struct viv_native_ceilings ceilings;
    if (key == VIV_NATIVE_KEY_OVERFLOW) // a word: one of the list, not brought to another
        return *value <= VIV_NATIVE_OVERFLOW_BACKPRESSURE ? VIV_OK : VIV_E_INVAL;
    if (viv_native__is_unbounded(ctx))
        viv_native_ceilings_hard(&ceilings);
    else
        viv_native_ceilings_guest(&ceilings);
    return viv_native_bring(key, &ceilings, value);
}

enum viv_err viv_native_set(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                            enum viv_native_key key, uint64_t value)
{
    struct viv_program *program;
    uint32_t index = VIV_KNOBS;
    if (key != VIV_NATIVE_KEY_DEADMAN && key != VIV_NATIVE_KEY_OVERFLOW)
        VIV_TRY(find_knob(key, &index));
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    const enum viv_err err = bring(ctx, key, &value);
    if (err == VIV_OK) store(program, key, index, value);
    viv_program__drop(program);
    return err;
}

// ---- the label ----

static void put_label(struct viv_program *program, const char label[VIV_LABEL_SIZE])
{
    viv_spin_lock(&program->native->lock);
    viv_spin_lock(&program->care.lock);
    memcpy(program->label, label, VIV_LABEL_SIZE);
    program->orders.has_label = true;
    // The step of one that has exited has ended; its holder is told from here.
    const bool has_ended = program->care.phase == VIV_NATIVE_EXITED;
    if (has_ended && program->is_handed) viv_held__tell_label_locked(program);
    viv_spin_unlock(&program->care.lock);
    viv_spin_unlock(&program->native->lock);
    if (!has_ended) viv_program__wake(program);
}

enum viv_err viv_native_set_label(const struct viv_native_ctx *ctx,
                                  const struct viv_native_ref *ref, const void *data,
                                  size_t len_bytes)
{
    struct viv_program *program;
    char label[VIV_LABEL_SIZE] = "";
    if (len_bytes > viv_native_rows[VIV_NATIVE_KEY_LABEL].max) return VIV_E_INVAL;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_CHILD_STOP, &program));
    const struct viv_native_text *cmd = &program->req.fields.cmd;
    if (viv_label_clean(label, data, len_bytes) == 0)
        (void)viv_label_of_command(label, cmd->data, cmd->len);
    put_label(program, label);
    viv_program__drop(program);
    return VIV_OK;
}
