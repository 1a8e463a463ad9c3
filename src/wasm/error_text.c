// SPDX-License-Identifier: Apache-2.0
// lunatic::error: texts behind error ids, and the way functions report failure. Error 0 is
// permanent: it reads `timed out`. Threads: the process's own.
#include "wasm/error_text.h"

#include "gen/wasm_imports.h"
#include "wasm/inst.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char timed_out_text[] = "timed out";

struct viv_error_text *viv_error_text_new(const char *text, size_t len)
{
    struct viv_error_text *error = viv_try_alloc(sizeof(*error) + len, VIV_TAG_WASM);
    if (error == NULL) return NULL;
    error->len = (uint32_t)len;
    memcpy(error->text, text, len);
    return error;
}

void viv_error_text_free(struct viv_error_text *error)
{
    viv_free(error, sizeof(*error) + error->len, VIV_TAG_WASM);
}

bool viv_error_report(struct viv_inst *inst, uint32_t id_ptr, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    size_t used = len < 0 ? 0 : viv_min_u64((uint64_t)len, sizeof(text) - 1);
    uint8_t *out;
    if (!viv_guest_range(inst, id_ptr, 8, &out)) return false;
    struct viv_error_text *error = viv_error_text_new(text, used);
    uint64_t id;
    enum viv_err err =
        error == NULL ? VIV_E_EXHAUSTED : viv_ids_add(inst, VIV_ID_ERROR, error, &id);
    if (err != VIV_OK) {
        (void)viv_host_trap(inst, "cannot report `%.200s`: %s", text, viv_err_text(err));
        return false;
    }
    viv_put_u64(out, id);
    return true;
}

// The text of an error id; false after noting the trap.
static bool find_text(struct viv_inst *inst, int64_t id, const char **out_text, uint32_t *out_len)
{
    if (id == 0) {
        *out_text = timed_out_text;
        *out_len = sizeof(timed_out_text) - 1;
        return true;
    }
    const struct viv_error_text *error = viv_ids_find(inst, VIV_ID_ERROR, (uint64_t)id);
    if (error == NULL) {
        (void)viv_host_trap(inst, "unknown error %lld", (long long)id);
        return false;
    }
    *out_text = error->text;
    *out_len = error->len;
    return true;
}

enum viv_host viv_wasm__error_string_size(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *text;
    uint32_t len;
    if (!find_text(inst, v[0].i64, &text, &len)) return VIV_HOST_TRAP;
    v[0].i32 = (int32_t)len;
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__error_to_string(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    const char *text;
    uint32_t len;
    uint8_t *out;
    if (!find_text(inst, v[0].i64, &text, &len)) return VIV_HOST_TRAP;
    if (!viv_guest_range(inst, (uint32_t)v[1].i32, len, &out)) return VIV_HOST_TRAP;
    memcpy(out, text, len);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__error_drop(struct viv_inst *inst, wasmtime_val_raw_t *v)
{
    if (v[0].i64 == 0) return VIV_HOST_OK;
    if (!viv_ids_drop(inst, VIV_ID_ERROR, (uint64_t)v[0].i64))
        return viv_host_trap(inst, "unknown error %lld", (long long)v[0].i64);
    return VIV_HOST_OK;
}
