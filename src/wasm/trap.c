// SPDX-License-Identifier: Apache-2.0
// Traps to reasons. What decides, in this order: the cause a host function noted, the engine's trap
// code, its error. Threads: the process's own.
#include "wasm/trap.h"

#include "base/buf.h"
#include "base/text.h"
#include <stdio.h>
#include <string.h>

static const char *const trap_names[] = {
    [WASMTIME_TRAP_CODE_STACK_OVERFLOW] = "stack_overflow",
    [WASMTIME_TRAP_CODE_MEMORY_OUT_OF_BOUNDS] = "memory_out_of_bounds",
    [WASMTIME_TRAP_CODE_HEAP_MISALIGNED] = "heap_misaligned",
    [WASMTIME_TRAP_CODE_TABLE_OUT_OF_BOUNDS] = "table_out_of_bounds",
    [WASMTIME_TRAP_CODE_INDIRECT_CALL_TO_NULL] = "indirect_call_to_null",
    [WASMTIME_TRAP_CODE_BAD_SIGNATURE] = "bad_signature",
    [WASMTIME_TRAP_CODE_INTEGER_OVERFLOW] = "integer_overflow",
    [WASMTIME_TRAP_CODE_INTEGER_DIVISION_BY_ZERO] = "integer_division_by_zero",
    [WASMTIME_TRAP_CODE_BAD_CONVERSION_TO_INTEGER] = "bad_conversion_to_integer",
    [WASMTIME_TRAP_CODE_UNREACHABLE_CODE_REACHED] = "unreachable",
    [WASMTIME_TRAP_CODE_NULL_REFERENCE] = "null_reference",
    [WASMTIME_TRAP_CODE_ARRAY_OUT_OF_BOUNDS] = "array_out_of_bounds",
    [WASMTIME_TRAP_CODE_CAST_FAILURE] = "cast_failure",
};

static const char *trap_name(wasmtime_trap_code_t code)
{
    const char *name = code < VIV_COUNT_OF(trap_names) ? trap_names[code] : NULL;
    return name != NULL ? name : "trap";
}

static void name_frame(const wasm_frame_t *frame, char *out, size_t cap)
{
    const wasm_name_t *name = wasmtime_frame_func_name(frame);
    if (name != NULL)
        (void)viv_text_clean(out, cap, name->data, viv_min_u64(name->size, 200));
    else
        (void)snprintf(out, cap, "func[%u]", wasm_frame_func_index(frame));
}

// " in f (a.wasm+0x1f3)" of the innermost frame, and the lines of all of them.
static void write_frames(struct viv_inst *inst, const wasm_frame_vec_t *frames, char *where,
                         size_t where_cap, struct viv_buf *lines)
{
    where[0] = '\0';
    size_t count = viv_min_u64(frames->size, VIV_BACKTRACE_FRAMES_MAX);
    const char *module = viv_module_name(inst->module);
    for (size_t i = 0; i < count; i++) {
        char name[256];
        name_frame(frames->data[i], name, sizeof(name));
        size_t offset = wasm_frame_module_offset(frames->data[i]);
        if (i == 0) (void)snprintf(where, where_cap, " in %s (%s+0x%zx)", name, module, offset);
        if (viv_buf_printf(lines, " %2zu: %s (%s+0x%zx)\n", i, name, module, offset) != VIV_OK)
            return;
    }
    if (frames->size > count)
        VIV_IGNORE(viv_buf_printf(lines, "     … %zu more\n", frames->size - count), "a detail");
}

static const struct viv_reason *make(enum viv_reason_kind kind, int32_t code, const char *text,
                                     const struct viv_buf *lines)
{
    return viv_reason_new(kind, code, text, strlen(text), lines->data, lines->len_bytes);
}

// One line of the engine's error.
static void error_line(const wasmtime_error_t *error, char *out, size_t cap)
{
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    size_t len = message.size;
    const char *end = memchr(message.data, '\n', len);
    // The context ("error while executing at …") comes first, the cause last.
    const char *cause = NULL;
    for (size_t i = 0; i + 11 < len; i++)
        if (memcmp(message.data + i, "Caused by:\n", 11) == 0) cause = message.data + i + 11;
    const char *from = message.data;
    if (cause != NULL) {
        from = cause;
        while (from < message.data + len &&
               (*from == ' ' || (*from >= '0' && *from <= '9') || *from == ':'))
            from++;
        end = memchr(from, '\n', (size_t)(message.data + len - from));
    }
    size_t line_len = end != NULL ? (size_t)(end - from) : (size_t)(message.data + len - from);
    (void)viv_text_clean(out, cap, from, line_len);
    wasm_name_delete(&message);
}

static const struct viv_reason *from_code(wasmtime_trap_code_t code, const char *where,
                                          const struct viv_buf *lines)
{
    char text[400];
    if (code == WASMTIME_TRAP_CODE_OUT_OF_FUEL)
        return make(VIV_REASON_LIMIT, VIV_LIMIT_CPU, "fuel used up", lines);
    if (code == WASMTIME_TRAP_CODE_ALLOCATION_TOO_LARGE)
        return make(VIV_REASON_LIMIT, VIV_LIMIT_MEMORY, "the GC heap cannot grow", lines);
    if (code == WASMTIME_TRAP_CODE_UNCAUGHT_EXCEPTION) {
        (void)snprintf(text, sizeof(text), "exception: nobody caught it%s", where);
        return make(VIV_REASON_ERROR, 0, text, lines);
    }
    (void)snprintf(text, sizeof(text), "%s%s", trap_name(code), where);
    return make(VIV_REASON_TRAP, (int32_t)code, text, lines);
}

static const struct viv_reason *from_error(struct viv_inst *inst, const char *where,
                                           const struct viv_buf *lines)
{
    char line[300], text[600];
    error_line(inst->error, line, sizeof(line));
    if (strstr(line, "GC heap") != NULL || (inst->account.denied && strstr(line, "memory") != NULL))
        return make(VIV_REASON_LIMIT, VIV_LIMIT_MEMORY, line, lines);
    bool thrown = strstr(line, "exception") != NULL;
    (void)snprintf(text, sizeof(text), "%s: %s%s", thrown ? "exception" : "engine", line, where);
    return make(VIV_REASON_ERROR, 0, text, lines);
}

const struct viv_reason *viv_trap_reason(struct viv_inst *inst)
{
    wasm_frame_vec_t frames = {0};
    wasmtime_trap_code_t code = 0;
    bool has_code = inst->trap != NULL && wasmtime_trap_code(inst->trap, &code);
    if (inst->trap != NULL)
        wasm_trap_trace(inst->trap, &frames);
    else
        wasmtime_error_wasm_trace(inst->error, &frames);
    char where[350];
    struct viv_buf lines;
    viv_buf_init(&lines, VIV_TAG_REASON);
    write_frames(inst, &frames, where, sizeof(where), &lines);
    const struct viv_reason *reason;
    if (inst->cause != NULL) {
        char text[900];
        (void)snprintf(text, sizeof(text), "%s%s", inst->cause, where);
        reason = make(VIV_REASON_TRAP, -1, text, &lines);
    } else if (has_code) {
        reason = from_code(code, where, &lines);
    } else if (inst->error != NULL) {
        reason = from_error(inst, where, &lines);
    } else {
        reason = make(VIV_REASON_TRAP, -1, "ended by the host", &lines);
    }
    viv_buf_deinit(&lines);
    wasm_frame_vec_delete(&frames);
    viv_trap_clear(inst);
    return reason;
}

void viv_trap_clear(struct viv_inst *inst)
{
    if (inst->trap != NULL) wasm_trap_delete(inst->trap);
    if (inst->error != NULL) wasmtime_error_delete(inst->error);
    inst->trap = NULL;
    inst->error = NULL;
    if (inst->cause != NULL) viv_free(inst->cause, strlen(inst->cause) + 1, VIV_TAG_WASM);
    inst->cause = NULL;
}
