// SPDX-License-Identifier: Apache-2.0
// Functions of a later step (sockets, TLS, SQLite). They link. Those that make something answer 1
// with an error id; the rest trap on the id that nobody can have. Threads: the process's own.
#include "base/assert.h"
#include "gen/wasm_imports.h"
#include "wasm/error_text.h"
#include "wasm/import.h"
#include "wasm/inst.h"

enum viv_host viv_wasm__later_error(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const struct viv_import *import = inst->import;
    VIV_ASSERT(import->err_arg >= 0 &&
               import->err_arg < import->param_count); // gen/wasm_imports.py checks it
    if (!viv_error_report(inst, (uint32_t)v[import->err_arg].i32, "%s::%s is not supported yet",
                          import->module, import->name))
        return VIV_HOST_TRAP;
    if (import->result[0] == 'I')
        v[0].i64 = 1;
    else
        v[0].i32 = 1;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__later_trap(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (inst->import->params[0] == 'I')
        return viv_host_trap(inst, "unknown id %lld", (long long)v[0].i64);
    return viv_host_trap(inst, "not supported yet");
}
