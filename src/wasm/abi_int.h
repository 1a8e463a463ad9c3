// SPDX-License-Identifier: Apache-2.0
// What the files of the guest ABI `viv` share. Every function of it returns a number ≥ 0 or -n, n
// an enum viv_err, and never traps; all checks come before the first effect.
#ifndef VIV_WASM_ABI_INT_H
#define VIV_WASM_ABI_INT_H

#include "wasm/inst.h"

struct viv_abi {
    struct viv_signal *current; // message received last; NULL: none yet
    // The last error: told by info.
    enum viv_err err;
    const struct viv_import *err_import;
    char err_text[512]; // empty: the error's own text
    // Lines logged in the second that began at log_since_ns.
    uint64_t log_since_ns, log_count, log_dropped;
};

// NULL without memory.
struct viv_abi *viv_abi__get(struct viv_inst *inst);
// Notes an error, with a line of its own or NULL; returns what the guest gets, -n.
int32_t viv_abi__note(struct viv_inst *inst, enum viv_err err, const char *text);
// End a call with a number or an error, as wide as the function's result. Always VIV_HOST_OK.
enum viv_host viv_abi__answer(struct viv_inst *inst, wasmtime_val_raw_t *v, int64_t number);
enum viv_host viv_abi__fail(struct viv_inst *inst, wasmtime_val_raw_t *v, enum viv_err err);
enum viv_host viv_abi__answer_async(struct viv_inst *inst, wasmtime_val_t *result, int64_t number);
enum viv_host viv_abi__fail_async(struct viv_inst *inst, wasmtime_val_t *result, enum viv_err err,
                                  const char *text);
// As viv_wait_new, but without memory nothing is noted.
struct viv_wait *viv_abi__op_new(struct viv_inst *inst,
                                 enum viv_host (*resume)(struct viv_wait *op),
                                 void (*cleanup)(struct viv_wait *op));

// The host address of a range. Errors: FAULT.
enum viv_err viv_abi__range(struct viv_inst *inst, uint32_t ptr, uint64_t len,
                            uint8_t **out_data) VIV_MUST_CHECK;
// The same, and the range must be UTF-8. Errors: FAULT, INVAL.
enum viv_err viv_abi__text(struct viv_inst *inst, uint32_t ptr, uint64_t len,
                           const char **out_text) VIV_MUST_CHECK;

// Rights of a handle as guests know them.
enum { VIV_ABI_USE = 1, VIV_ABI_SEND = 2, VIV_ABI_RIGHTS_ALL = 3 };
// A handle from its number in a call; one that no handle has becomes 0.
static inline viv_handle viv_abi__handle(int64_t number)
{
    return (viv_handle){number > 0 && number <= INT32_MAX ? (uint32_t)number : 0};
}

// A list of handles that go into a message, borrowed from guest memory.
struct viv_abi_list {
    const uint8_t *at; // little endian i64s
    uint32_t count;
    bool keep; // the caller keeps its handles, too
};
struct viv_wmsg;
// A message with the bytes and what the handles stand for; the table is as before. Errors: QUOTA,
// BADHANDLE (also one named twice), INVAL (a kind that cannot be sent, or kept), RIGHTS, TOOBIG,
// EXHAUSTED.
enum viv_err viv_abi__message(struct viv_inst *inst, int64_t tag, const uint8_t *data, uint32_t len,
                              struct viv_abi_list handles,
                              struct viv_wmsg **out_msg) VIV_MUST_CHECK;
// The message is on its way: the sender's handles go.
void viv_abi__moved(struct viv_inst *inst, struct viv_abi_list handles);

enum { VIV_ABI_LIMITS_BYTES = 56, VIV_ABI_LIMIT_COUNT = 7 };
// The limits of a process, in the order of viv_limits; 0: none.
void viv_abi__limits(const struct viv_inst *inst, uint64_t out_limits[VIV_ABI_LIMIT_COUNT]);

#endif
