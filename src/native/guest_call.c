// SPDX-License-Identifier: Apache-2.0
// Functions of the import module that do not wait.
#include "native/guest_int.h"
#include "native/native_int.h"
#include "native/owner.h"
#include "native/told.h"

#include <string.h>

enum { REFS_MAX = 1000, PAGE = 32, TEXT_MAX = 256, STATUS_BYTES_MIN = 32 };

// ---- finding ----

enum viv_err viv_native__guest_attach(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    viv_handle hdl;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_room(call, call->args[2], sizeof(uint64_t)));
    VIV_TRY(viv_native_attach(&ctx, &ref, (viv_rights)call->args[1], &hdl));
    viv_native__guest_put(call, call->args[2], &(uint64_t){hdl.w}, sizeof(uint64_t));
    return VIV_OK;
}

// A text as a C string; one that is too long or has a NUL is nobody's name. Errors: FAULT,
// NOTFOUND.
static enum viv_err read_name(const struct viv_guest_call *call, uint64_t ptr, uint64_t len,
                              char out[TEXT_MAX + 1])
{
    uint8_t *at;
    VIV_TRY(viv_guest_at(call, ptr, len, &at));
    if (len > TEXT_MAX || memchr(at, 0, len) != NULL) return VIV_E_NOTFOUND;
    memcpy(out, at, len);
    out[len] = '\0';
    return VIV_OK;
}

enum viv_err viv_native__guest_find(struct viv_guest_call *call)
{
    char key[TEXT_MAX + 1];
    viv_handle hdl;
    struct viv_native_ref ref = {.kind = VIV_NATIVE_PID};
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_room(call, call->args[2], sizeof(uint64_t)));
    VIV_TRY(read_name(call, call->args[0], call->args[1], key));
    VIV_TRY(viv_native_find_key(&ctx, key, &ref.u.pid));
    VIV_TRY(viv_native_attach(&ctx, &ref, VIV_NATIVE_RIGHTS, &hdl));
    viv_native__guest_put(call, call->args[2], &(uint64_t){hdl.w}, sizeof(uint64_t));
    return VIV_OK;
}

// ---- looking ----

// What the tree uses costs some system calls, so it is read where one program is asked for.
static void put_usage(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                      struct viv_native_layout_status *out)
{
    struct viv_native_usage usage;
    if (viv_native_usage(ctx, ref, &usage) != VIV_OK || usage.known == 0) return;
    out->sampled_ns = viv_sched_now_ns(ctx->native->sched);
    out->cpu_ns = usage.cpu_ns;
    out->memory_bytes = usage.memory_bytes;
    out->memory_peak_bytes = usage.memory_peak_bytes;
    out->pids = usage.pids;
}

// So many bytes of a status, at most. out_number NULL: with its usage. Errors: NOTFOUND, those of a
// handle.
static enum viv_err put_status(const struct viv_guest_call *call, const struct viv_native_ref *ref,
                               uint64_t ptr, uint64_t size, uint64_t *out_number)
{
    struct viv_native_status status;
    struct viv_native_layout_status out;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native_status(&ctx, ref, &status));
    viv_native__layout_status(&status, &out);
    if (out_number == NULL)
        put_usage(&ctx, ref, &out);
    else
        *out_number = status.number;
    out.size = (uint32_t)viv_min_u64(size, sizeof out);
    viv_native__guest_put(call, ptr, &out, out.size);
    return VIV_OK;
}

static enum viv_err check_size(const struct viv_guest_call *call, uint64_t size, uint64_t least)
{
    return size >= least ? VIV_OK : viv_diag_set(call->detail, VIV_E_INVAL, "size");
}

enum viv_err viv_native__guest_status(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_room(call, call->args[1], call->args[2]));
    VIV_TRY(check_size(call, call->args[2], STATUS_BYTES_MIN));
    return put_status(call, &ref, call->args[1], call->args[2], NULL);
}

// An array of statuses that grows in guest memory.
struct table {
    struct viv_guest_call *call;
    uint64_t at, size, count, max;
    uint64_t numbers[REFS_MAX];
};

static void add_status(struct table *table, const struct viv_native_ref *ref)
{
    uint64_t number;
    const uint64_t ptr = table->at + table->count * table->size;
    if (put_status(table->call, ref, ptr, table->size, &number) != VIV_OK) return; // absent
    for (uint64_t i = 0; i < table->count; i++)
        if (table->numbers[i] == number) return; // overwritten by the next, or left behind the end
    table->numbers[table->count++] = number;
}

// Errors: FAULT, INVAL, TOOBIG.
static enum viv_err check_table(struct table *table, uint64_t count_at)
{
    struct viv_guest_call *call = table->call;
    if (table->max > REFS_MAX) return VIV_E_TOOBIG;
    VIV_TRY(viv_native__guest_room(call, table->at, table->size * table->max));
    VIV_TRY(viv_native__guest_room(call, count_at, sizeof(uint32_t)));
    call->charge_bytes = table->max * sizeof(struct viv_native_layout_status);
    return check_size(call, table->size, STATUS_BYTES_MIN);
}

enum viv_err viv_native__guest_status_many(struct viv_guest_call *call)
{
    const uint64_t ref_bytes = sizeof(struct viv_native_layout_ref);
    struct table table = {
        .call = call, .max = call->args[1], .at = call->args[2], .size = call->args[3]};
    const uint64_t count = table.max;
    VIV_TRY(check_table(&table, call->args[4]));
    VIV_TRY(viv_native__guest_room(call, call->args[0], count * ref_bytes));
    for (uint64_t i = 0; i < count; i++) {
        struct viv_native_ref ref;
        if (viv_native__guest_ref(call, call->args[0] + i * ref_bytes, &ref) == VIV_OK)
            add_status(&table, &ref); // any other is nobody's
    }
    call->detail->text[0] = '\0';
    viv_native__guest_put(call, call->args[4], &(uint32_t){(uint32_t)table.count},
                          sizeof(uint32_t));
    return VIV_OK;
}

enum viv_err viv_native__guest_list(struct viv_guest_call *call)
{
    char filter[TEXT_MAX + 1];
    struct viv_native_item items[PAGE];
    struct table table = {
        .call = call, .at = call->args[3], .size = call->args[4], .max = call->args[5]};
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(check_table(&table, call->args[6]));
    const enum viv_err err = read_name(call, call->args[0], call->args[1], filter);
    if (err == VIV_E_FAULT) return err;
    struct viv_native_page page = {.filter = filter, .after = call->args[2], .out_items = items};
    bool more = err == VIV_OK;
    while (more && table.count < table.max) {
        page.max = viv_min_u64(PAGE, table.max - table.count);
        const size_t count = viv_native_list(&ctx, &page);
        for (size_t i = 0; i < count; i++)
            add_status(&table,
                       &(struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = items[i].pid});
        if (count > 0) page.after = items[count - 1].number;
        more = count == page.max;
    }
    viv_native__guest_put(call, call->args[6], &(uint32_t){(uint32_t)table.count},
                          sizeof(uint32_t));
    return VIV_OK;
}

enum viv_err viv_native__guest_info(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_native_info info;
    struct viv_native_status status;
    struct viv_native_layout_info out = {.value_count = VIV_NATIVE_KEYS_END};
    _Static_assert(VIV_NATIVE_KEYS_END <= VIV_COUNT_OF(out.values), "room for every key");
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    const uint64_t size = call->args[3];
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_room(call, call->args[2], size));
    VIV_TRY(check_size(call, size, offsetof(struct viv_native_layout_info, values)));
    if (call->args[1] != 0) return viv_diag_set(call->detail, VIV_E_INVAL, "flags");
    VIV_TRY(viv_native_status(&ctx, &ref, &status));
    VIV_TRY(viv_native_info(&ctx, &ref, &info));
    out.size = (uint32_t)viv_min_u64(size, sizeof out);
    out.rung = (uint32_t)status.rung;
    out.weak = status.weak;
    out.left_out = status.left_out;
    out.incarnation = status.incarnation;
    memcpy(out.values, info.values, sizeof info.values);
    out.guard_start = info.guard.start;
    out.guard_pid = info.guard.pid;
    out.guard_group_len = (uint32_t)strlen(info.guard.group);
    _Static_assert(sizeof info.guard.group == sizeof out.guard_group, "the same text");
    memcpy(out.guard_group, info.guard.group, sizeof info.guard.group);
    viv_native__guest_put(call, call->args[2], &out, out.size);
    return VIV_OK;
}

// ---- acting ----

enum viv_err viv_native__guest_give_away(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    return viv_native_give_away(&ctx, &ref, (viv_pid){call->args[1]});
}

// A text does not fit into a number: its address and length do.
static enum viv_err set_label(struct viv_guest_call *call, const struct viv_native_ref *ref,
                              uint64_t value)
{
    uint8_t *at;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    const uint64_t len = value >> 32;
    VIV_TRY(viv_guest_at(call, value & UINT32_MAX, len, &at));
    return viv_native_set_label(&ctx, ref, at, (size_t)len);
}

enum viv_err viv_native__guest_set(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    const uint64_t key = call->args[1];
    if (key >= VIV_NATIVE_KEYS_END) return viv_diag_set(call->detail, VIV_E_INVAL, "key");
    const enum viv_err err =
        key == VIV_NATIVE_KEY_LABEL
            ? set_label(call, &ref, call->args[2])
            : viv_native_set(&ctx, &ref, (enum viv_native_key)key, call->args[2]);
    if (err != VIV_E_INVAL || key == VIV_NATIVE_KEY_NONE) return err;
    return viv_diag_set(call->detail, err, "%s", viv_native_rows[key].name);
}

enum viv_err viv_native__guest_close_stdin(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    if (call->args[1] > 1) return viv_diag_set(call->detail, VIV_E_INVAL, "mode");
    return viv_native_close_stdin(&ctx, &ref, call->args[1] == 1);
}

enum viv_err viv_native__guest_signal(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    if (call->args[2] > 1) return viv_diag_set(call->detail, VIV_E_INVAL, "target");
    return viv_native_signal(&ctx, &ref, (int)call->args[1], call->args[2] == 1);
}

enum viv_err viv_native__guest_resize(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    const uint64_t rows = call->args[1], columns = call->args[2];
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    if (rows < 1 || rows > UINT16_MAX || columns < 1 || columns > UINT16_MAX)
        return viv_diag_set(call->detail, VIV_E_INVAL, "size");
    return viv_native_resize(&ctx, &ref, (uint16_t)rows, (uint16_t)columns);
}

enum viv_err viv_native__guest_release(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    return viv_native_release(&ctx, &ref);
}

// ---- being told ----

enum viv_err viv_native__guest_watch(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    return viv_native_watch(&ctx, &ref, (uint32_t)call->args[1], (int64_t)call->args[2]);
}

enum viv_err viv_native__guest_unwatch(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    const enum viv_err err = viv_native_unwatch(&ctx, &ref, (int64_t)call->args[1]);
    if (err == VIV_E_AGAIN) call->deadline_ns = 0; // signals are handled before the next try
    return err;
}

enum viv_err viv_native__guest_follow(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    struct viv_log_cursor copy;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    const int32_t credit = (int32_t)call->args[4];
    struct viv_native_follow how = {.stream = (uint32_t)call->args[1],
                                    .form = (uint32_t)call->args[3],
                                    .credit = credit < 0 ? 0u - (uint32_t)credit : (uint32_t)credit,
                                    .is_auto = credit < 0};
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    VIV_TRY(viv_native__guest_cursor(call, call->args[2], &copy, &how.cursor));
    return viv_native_follow(&ctx, &ref, &how);
}

enum viv_err viv_native__guest_credit(struct viv_guest_call *call)
{
    struct viv_native_ref ref;
    const struct viv_native_ctx ctx = viv_native__guest_ctx(call);
    VIV_TRY(viv_native__guest_ref(call, call->args[0], &ref));
    return viv_native_credit(&ctx, &ref, (uint32_t)call->args[1], (uint32_t)call->args[2]);
}
