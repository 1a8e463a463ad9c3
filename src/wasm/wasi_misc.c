// SPDX-License-Identifier: Apache-2.0
// WASI without files: arguments, environment, clocks, randomness, the process; and what all calls
// begin with. Threads: the process's own.
#include "base/err.h"
#include "gen/wasm_imports.h"
#include "os/clock.h"
#include "os/rand.h"
#include "wasm/import.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <string.h>

bool viv_wasi__mem(struct viv_inst *inst, struct viv_guest_mem *out_mem)
{
    *out_mem = viv_guest_mem(inst);
    if (VIV_LIKELY(out_mem->base != NULL)) return true;
    (void)viv_host_trap(inst, "the module exports no 32-bit `memory`");
    return false;
}

enum viv_host viv_wasi__sync(struct viv_inst *inst, wasmtime_val_raw_t *raw,
                             uint32_t (*body)(struct viv_inst *inst, struct viv_guest_mem mem,
                                              const wasmtime_val_raw_t *args))
{
    struct viv_guest_mem mem;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    raw[0].i32 = (int32_t)body(inst, mem, raw);
    return VIV_HOST_OK;
}

// ---- arguments and environment ----

// A string of the list as the guest sees it, with its terminator: `first` or `first=second`.
static uint64_t pair_bytes(const struct viv_pair *pair)
{
    return pair->first_len + 1 + (pair->second == NULL ? 0 : pair->second_len + 1);
}

// Arguments are for the process; variables are shown as far as it may read them.
static bool is_shown(struct viv_inst *inst, const struct viv_pair *pair)
{
    return pair->second == NULL ||
           viv_may_name(inst, VIV_CAP_ENV_READ, pair->first, pair->first_len) == VIV_OK;
}

static uint64_t list_bytes(struct viv_inst *inst, const struct viv_pairs *pairs,
                           uint32_t *out_count)
{
    uint64_t sum = 0;
    *out_count = 0;
    for (uint32_t i = 0; i < pairs->count; i++) {
        if (!is_shown(inst, &pairs->item[i])) continue;
        sum += pair_bytes(&pairs->item[i]);
        (*out_count)++;
    }
    return sum;
}

static uint32_t list_sizes(struct viv_inst *inst, struct viv_guest_mem mem,
                           const wasmtime_val_raw_t *args, const struct viv_pairs *pairs)
{
    uint32_t count;
    uint32_t count_ptr = (uint32_t)args[0].i32, bytes_ptr = (uint32_t)args[1].i32;
    if (!viv_guest_in(mem, count_ptr, 4) || !viv_guest_in(mem, bytes_ptr, 4)) return VIV_WASI_FAULT;
    uint64_t bytes = list_bytes(inst, pairs, &count);
    viv_put_u32(mem.base + count_ptr, count);
    viv_put_u32(mem.base + bytes_ptr, (uint32_t)bytes);
    return VIV_WASI_SUCCESS;
}

static uint32_t list_get(struct viv_inst *inst, struct viv_guest_mem mem,
                         const wasmtime_val_raw_t *args, const struct viv_pairs *pairs)
{
    uint32_t list_ptr = (uint32_t)args[0].i32, text_ptr = (uint32_t)args[1].i32;
    uint32_t count;
    uint64_t bytes = list_bytes(inst, pairs, &count);
    if (!viv_guest_in(mem, list_ptr, (uint64_t)count * 4) || !viv_guest_in(mem, text_ptr, bytes))
        return VIV_WASI_FAULT;
    viv_host_charge_bytes(inst, bytes);
    for (uint32_t i = 0; i < pairs->count; i++) {
        const struct viv_pair *pair = &pairs->item[i];
        if (!is_shown(inst, pair)) continue;
        uint8_t *text = mem.base + text_ptr;
        viv_put_u32(mem.base + list_ptr, text_ptr);
        list_ptr += 4;
        memcpy(text, pair->first, pair->first_len + 1);
        if (pair->second != NULL) {
            text[pair->first_len] = '=';
            memcpy(text + pair->first_len + 1, pair->second, pair->second_len + 1);
        }
        text_ptr += (uint32_t)pair_bytes(pair);
    }
    return VIV_WASI_SUCCESS;
}

static uint32_t args_get(struct viv_inst *inst, struct viv_guest_mem mem,
                         const wasmtime_val_raw_t *args)
{
    return list_get(inst, mem, args, &inst->config->args);
}

enum viv_host viv_wasm__wasi_args_get(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, args_get);
}

static uint32_t args_sizes_get(struct viv_inst *inst, struct viv_guest_mem mem,
                               const wasmtime_val_raw_t *args)
{
    return list_sizes(inst, mem, args, &inst->config->args);
}

enum viv_host viv_wasm__wasi_args_sizes_get(struct viv_inst *inst,
                                            wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, args_sizes_get);
}

static uint32_t environ_get(struct viv_inst *inst, struct viv_guest_mem mem,
                            const wasmtime_val_raw_t *args)
{
    return list_get(inst, mem, args, &inst->config->env);
}

enum viv_host viv_wasm__wasi_environ_get(struct viv_inst *inst,
                                         wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, environ_get);
}

static uint32_t environ_sizes_get(struct viv_inst *inst, struct viv_guest_mem mem,
                                  const wasmtime_val_raw_t *args)
{
    return list_sizes(inst, mem, args, &inst->config->env);
}

enum viv_host viv_wasm__wasi_environ_sizes_get(struct viv_inst *inst,
                                               wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, environ_sizes_get);
}

// ---- clocks ----

enum { CLOCK_REAL, CLOCK_MONO, CLOCK_PROCESS_CPU, CLOCK_THREAD_CPU };

static struct viv_sched *sched_of(const struct viv_inst *inst)
{
    return viv_kernel_sched(viv_proc_kernel(inst->proc));
}

// Errors: inval, notcapable.
static uint32_t check_clock(struct viv_inst *inst, uint32_t clock)
{
    static const uint32_t words[] = {[CLOCK_REAL] = VIV_TIME_WALL,
                                     [CLOCK_MONO] = VIV_TIME_MONO,
                                     [CLOCK_PROCESS_CPU] = VIV_TIME_CPU,
                                     [CLOCK_THREAD_CPU] = VIV_TIME_CPU};
    if (clock >= VIV_COUNT_OF(words)) return VIV_WASI_INVAL;
    return viv_may_word(inst, VIV_CAP_TIME_READ, words[clock]) == VIV_OK ? VIV_WASI_SUCCESS
                                                                         : VIV_WASI_NOTCAPABLE;
}

static uint32_t clock_res_get(struct viv_inst *inst, struct viv_guest_mem mem,
                              const wasmtime_val_raw_t *args)
{
    uint32_t out_ptr = (uint32_t)args[1].i32;
    if (!viv_guest_in(mem, out_ptr, 8)) return VIV_WASI_FAULT;
    uint32_t error = check_clock(inst, (uint32_t)args[0].i32);
    if (error != VIV_WASI_SUCCESS) return error;
    switch ((uint32_t)args[0].i32) {
    case CLOCK_REAL:
        viv_put_u64(mem.base + out_ptr, viv_os_wall_res_ns());
        return VIV_WASI_SUCCESS;
    case CLOCK_MONO:
    case CLOCK_PROCESS_CPU: // measured with the monotonic clock
    case CLOCK_THREAD_CPU:
        viv_put_u64(mem.base + out_ptr, viv_os_monotonic_res_ns());
        return VIV_WASI_SUCCESS;
    default:
        return VIV_WASI_INVAL;
    }
}

enum viv_host viv_wasm__wasi_clock_res_get(struct viv_inst *inst,
                                           wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, clock_res_get);
}

static uint32_t clock_time_get(struct viv_inst *inst, struct viv_guest_mem mem,
                               const wasmtime_val_raw_t *args)
{
    uint32_t out_ptr = (uint32_t)args[2].i32;
    if (!viv_guest_in(mem, out_ptr, 8)) return VIV_WASI_FAULT;
    uint32_t error = check_clock(inst, (uint32_t)args[0].i32);
    if (error != VIV_WASI_SUCCESS) return error;
    uint64_t now_ns = viv_sched_now_ns(sched_of(inst));
    switch ((uint32_t)args[0].i32) {
    case CLOCK_REAL:
        viv_put_u64(mem.base + out_ptr, viv_os_wall_ns());
        return VIV_WASI_SUCCESS;
    case CLOCK_MONO:
        viv_put_u64(mem.base + out_ptr, now_ns);
        return VIV_WASI_SUCCESS;
    case CLOCK_PROCESS_CPU:
    case CLOCK_THREAD_CPU: // with the slice under way, or a guest that waits for it to advance
                           // hangs
        viv_put_u64(mem.base + out_ptr,
                    viv_proc_cpu_ns(inst->proc) + (now_ns - inst->step_began_ns));
        return VIV_WASI_SUCCESS;
    default:
        return VIV_WASI_INVAL;
    }
}

enum viv_host viv_wasm__wasi_clock_time_get(struct viv_inst *inst,
                                            wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, clock_time_get);
}

// ---- randomness ----

enum { RANDOM_PIECE = 1 << 20, RANDOM_PTR = 0, RANDOM_LEFT = 1 };

// One piece; true: more is left.
static bool fill_piece(struct viv_inst *inst, uint64_t *ptr, uint64_t *left, uint32_t *out_error)
{
    struct viv_guest_mem mem = viv_guest_mem(inst);
    uint64_t len = viv_min_u64(*left, RANDOM_PIECE);
    *out_error = VIV_WASI_FAULT;
    if (!viv_guest_in(mem, (uint32_t)*ptr, len)) return false;
    *out_error = VIV_WASI_IO;
    if (viv_os_random(mem.base + *ptr, len) != VIV_OK) return false;
    *out_error = VIV_WASI_SUCCESS;
    viv_host_charge_bytes(inst, len);
    *ptr += len;
    *left -= len;
    return *left > 0;
}

static enum viv_host resume_random(struct viv_wait *op)
{
    uint32_t error;
    if (fill_piece(op->inst, &op->u[RANDOM_PTR], &op->u[RANDOM_LEFT], &error)) {
        viv_wait_yield(op->inst);
        return VIV_HOST_WAIT;
    }
    return viv_wasi__done(op->result, error);
}

enum viv_host viv_wasm__wasi_random_get(struct viv_inst *inst, const wasmtime_val_t *args,
                                        wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint64_t ptr = viv_wasi__u32(args, 0), left = viv_wasi__u32(args, 1);
    if (!viv_guest_in(mem, (uint32_t)ptr, left)) return viv_wasi__done(result, VIV_WASI_FAULT);
    if (viv_may(inst, VIV_CAP_ENTROPY) != VIV_OK)
        return viv_wasi__done(result, VIV_WASI_NOTCAPABLE);
    uint32_t error;
    if (!fill_piece(inst, &ptr, &left, &error)) return viv_wasi__done(result, error);
    struct viv_wait *op = viv_wait_new(inst, resume_random, NULL);
    if (op == NULL) return VIV_HOST_TRAP;
    op->u[RANDOM_PTR] = ptr;
    op->u[RANDOM_LEFT] = left;
    viv_wait_yield(inst);
    return VIV_HOST_WAIT;
}

// ---- the process ----

static enum viv_host resume_yield(struct viv_wait *op)
{
    return viv_wasi__done(op->result, VIV_WASI_SUCCESS);
}

enum viv_host viv_wasm__wasi_sched_yield(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    (void)args;
    (void)result;
    if (viv_wait_new(inst, resume_yield, NULL) == NULL) return VIV_HOST_TRAP;
    viv_wait_yield(inst);
    return VIV_HOST_WAIT;
}

enum viv_host viv_wasm__wasi_proc_exit(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    int32_t code = args_and_results[0].i32;
    const struct viv_reason *reason = viv_reason_of(VIV_REASON_NORMAL);
    if (code != 0) reason = viv_reason_new(VIV_REASON_EXITED, code, "", 0, NULL, 0);
    return viv_inst_exit(inst, reason);
}

enum viv_host viv_wasm__wasi_proc_raise(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    (void)inst;
    args_and_results[0].i32 = VIV_WASI_NOTSUP;
    return VIV_HOST_OK;
}

// ---- sockets: none can be open yet ----

// Are the ranges [pairs[2i], + pairs[2i+1] * size) of an array of vectors inside?
static bool are_vectors_in(struct viv_guest_mem mem, uint32_t ptr, uint32_t count)
{
    if (!viv_guest_in(mem, ptr, (uint64_t)count * 8)) return false;
    for (uint32_t i = 0; i < count && i < VIV_WASI_IOVS_MAX; i++) {
        const uint8_t *at = mem.base + ptr + 8 * (size_t)i;
        if (!viv_guest_in(mem, viv_get_u32(at), viv_get_u32(at + 4))) return false;
    }
    return true;
}

// Are the pointers of the socket function called all good?
static bool are_pointers_in(const struct viv_inst *inst, struct viv_guest_mem mem,
                            const wasmtime_val_raw_t *args)
{
    const char *name = inst->import->name;
    if (strcmp(name, "sock_accept") == 0) return viv_guest_in(mem, (uint32_t)args[2].i32, 4);
    bool is_recv = strcmp(name, "sock_recv") == 0;
    bool in = are_vectors_in(mem, (uint32_t)args[1].i32, (uint32_t)args[2].i32);
    in = in && viv_guest_in(mem, (uint32_t)args[4].i32, 4);
    return in && (!is_recv || viv_guest_in(mem, (uint32_t)args[5].i32, 2));
}

static uint32_t refuse_sock(struct viv_inst *inst, const wasmtime_val_raw_t *args)
{
    struct viv_wasi_fd *entry;
    uint32_t error = viv_wasi__find(inst, (uint32_t)args[0].i32, 0, &entry);
    return error == VIV_WASI_SUCCESS ? VIV_WASI_NOTSOCK : error;
}

static uint32_t sock_none(struct viv_inst *inst, struct viv_guest_mem mem,
                          const wasmtime_val_raw_t *args)
{
    return are_pointers_in(inst, mem, args) ? refuse_sock(inst, args) : VIV_WASI_FAULT;
}

enum viv_host viv_wasm__wasi_sock_none(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    if (strcmp(inst->import->name, "sock_shutdown") != 0)
        return viv_wasi__sync(inst, args_and_results, sock_none);
    args_and_results[0].i32 = (int32_t)refuse_sock(inst, args_and_results); // has no pointer
    return VIV_HOST_OK;
}
