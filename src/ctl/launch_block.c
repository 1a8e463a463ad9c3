// SPDX-License-Identifier: Apache-2.0
// A registration's input, {argv, env?, cwd?, stdin?, result?}, as a spawn request.
//
// The store has checked its shape; what only native/ knows (lengths, control characters, names of
// variables) native/ refuses.
#include "ctl/launch_int.h"

#include "native/block.h"
#include "os/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT_RING = 1 << 20, SMALL_RING = 64 << 10, RETENTION_MS = 3600000, ENTRIES_BYTES = 4096 };

void viv_launch__refuse(struct viv_launch_refusal *refusal, const char *class, const char *code,
                        const char *fmt, ...)
{
    va_list args;
    refusal->class = class;
    refusal->code = code;
    va_start(args, fmt);
    (void)vsnprintf(refusal->message, sizeof refusal->message, fmt, args);
    va_end(args);
}

static void put(struct viv_buf *block, enum viv_native_key key, const void *data, size_t len,
                enum viv_err *err)
{
    if (*err == VIV_OK) *err = viv_block_put(block, (uint16_t)key, data, len);
}

static void put_text(struct viv_buf *block, enum viv_native_key key, const json_t *text,
                     enum viv_err *err)
{
    if (json_is_string(text))
        put(block, key, json_string_value(text), json_string_length(text), err);
}

static void put_number(struct viv_buf *block, enum viv_native_key key, uint64_t value,
                       enum viv_err *err)
{
    const bool is_long = viv_native_rows[key].type == VIV_NATIVE_TYPE_U64;
    if (*err != VIV_OK) return;
    *err = is_long ? viv_block_put_u64(block, (uint16_t)key, value)
                   : viv_block_put_u32(block, (uint16_t)key, (uint32_t)value);
}

// ---- variables: a few of the worker's own, the input's, and who it is ----

static json_t *variables_of(const json_t *input, const struct viv_lease *lease, const char *address)
{
    static const char *const passed[] = {"PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ"};
    json_t *all = json_object();
    for (size_t i = 0; i < VIV_COUNT_OF(passed); i++) {
        const char *value = getenv(passed[i]);
        if (value != NULL) (void)json_object_set_new(all, passed[i], json_string(value));
    }
    json_t *own = json_object_get(input, "env");
    if (own != NULL && json_object_update(all, own) != 0) {
        json_decref(all);
        return NULL;
    }
    viv_json_put(&all, "VIV_JOB_ID", json_stringn(lease->id.p, lease->id.n));
    viv_json_put(&all, "VIV_ATTEMPT", json_sprintf("%" PRIu32, lease->attempt));
    if (address[0] != '\0') viv_json_put(&all, "VIV_JOB_SOCKET", json_string(address));
    return all;
}

static void put_variables(struct viv_buf *block, VIV_OWN json_t *all, enum viv_err *err)
{
    const char *name;
    json_t *value;
    struct viv_buf pair;
    viv_buf_init(&pair, VIV_TAG_CTL);
    if (all == NULL) *err = VIV_E_EXHAUSTED;
    json_object_foreach(all, name, value)
    {
        viv_buf_clear(&pair);
        if (*err == VIV_OK) *err = viv_buf_append(&pair, name, strlen(name));
        if (*err == VIV_OK) *err = viv_buf_append(&pair, "=", 1);
        if (*err == VIV_OK)
            *err = viv_buf_append(&pair, json_string_value(value), json_string_length(value));
        put(block, VIV_NATIVE_KEY_ENV, pair.data, pair.len_bytes, err);
    }
    viv_buf_deinit(&pair);
    json_decref(all);
}

// ---- limits: those that native/ has; others bind nothing that a program has ----

static void put_limits(struct viv_buf *block, const json_t *limits, enum viv_err *err)
{
    static const struct {
        const char *name;
        enum viv_native_key key;
        uint64_t unit;
    } rows[] = {{"memory", VIV_NATIVE_KEY_MAX_MEMORY_BYTES, 1},
                {"cpu", VIV_NATIVE_KEY_CPU_PERCENT, 1},
                {"cpu_time", VIV_NATIVE_KEY_MAX_CPU_MS, VIV_NS_PER_MS},
                {"wall", VIV_NATIVE_KEY_MAX_LIFETIME_MS, VIV_NS_PER_MS},
                {"processes", VIV_NATIVE_KEY_MAX_PIDS, 1},
                {"fds", VIV_NATIVE_KEY_MAX_OPEN_FILES, 1},
                {"output", VIV_NATIVE_KEY_MAX_OUTPUT_BYTES, 1}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const json_t *value = json_object_get(limits, rows[i].name);
        if (value == NULL) continue;
        const json_int_t number = json_integer_value(value);
        if (!json_is_integer(value) || number <= 0)
            *err = VIV_E_INVAL;
        else // up: a limit of less than a unit is one of a unit
            put_number(block, rows[i].key, ((uint64_t)number - 1) / rows[i].unit + 1, err);
    }
}

// ---- the whole ----

static enum viv_launch_result result_of(const json_t *input)
{
    const char *text = viv_json_get_text(input, "result");
    if (text == NULL || strcmp(text, "exit") == 0) return VIV_RESULT_EXIT;
    return strcmp(text, "json") == 0 ? VIV_RESULT_JSON : VIV_RESULT_STDOUT;
}

// To be written to as far as its user may: a directory below the root, unless a namespace has it of
// its own.
static void put_grant(struct viv_buf *block, const struct dirent64 *entry, enum viv_err *err)
{
    static const char *const own[] = {".", "..", "dev", "proc", "sys"};
    struct { // u32 mode, then the path without its end
        uint32_t mode;
        char path[NAME_MAX + 2];
    } record = {VIV_NATIVE_GRANT_RW, "/"};
    if (entry->d_type != DT_DIR) return;
    for (size_t i = 0; i < VIV_COUNT_OF(own); i++)
        if (strcmp(entry->d_name, own[i]) == 0) return;
    const int len = snprintf(record.path, sizeof record.path, "/%s", entry->d_name);
    put(block, VIV_NATIVE_KEY_PATH, &record, sizeof record.mode + (size_t)len, err);
}

static enum viv_err put_grants(struct viv_buf *block)
{
    _Alignas(struct dirent64) uint8_t entries[ENTRIES_BYTES];
    enum viv_err err = VIV_OK;
    ssize_t n = 1;
    const int fd = viv_os_open("/", O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return VIV_E_EXHAUSTED;
    while (err == VIV_OK && (n = viv_os_getdents64(fd, entries, sizeof entries)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct dirent64 *entry = (const void *)(entries + at);
            put_grant(block, entry, &err);
            at += entry->d_reclen;
        }
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return n < 0 ? VIV_E_IO : err;
}

static void put_bounds(struct viv_buf *block, enum viv_launch_bounds bounds, enum viv_err *err)
{
    const bool is_group = bounds == VIV_BOUNDS_GROUP;
    put_number(block, VIV_NATIVE_KEY_SANDBOX,
               is_group ? VIV_NATIVE_SANDBOX_NONE : VIV_NATIVE_SANDBOX_DEFAULT, err);
    if (is_group) return;
    put_number(block, VIV_NATIVE_KEY_NET, VIV_NATIVE_NET_HOST, err);
    if (*err == VIV_OK) *err = put_grants(block);
}

static void put_knobs(struct viv_buf *block, const struct viv_run *run,
                      enum viv_launch_result result, enum viv_err *err)
{
    const struct {
        enum viv_native_key key;
        uint64_t value;
    } knobs[] = {
        {VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_OWNER},
        {VIV_NATIVE_KEY_IDLE_MS, VIV_NATIVE_NONE},
        {VIV_NATIVE_KEY_RETENTION_MS, RETENTION_MS}, // it is released when its output was read
        {VIV_NATIVE_KEY_RING_BYTES, result == VIV_RESULT_EXIT ? SMALL_RING : OUTPUT_RING},
        {VIV_NATIVE_KEY_START, VIV_NATIVE_START_GATED},
        {VIV_NATIVE_KEY_DEADMAN, (uint64_t)viv_run_live_until_ms(run)},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(knobs); i++)
        put_number(block, knobs[i].key, knobs[i].value, err);
}

static enum viv_err write_block(const struct viv_run *run, const char *address,
                                const json_t *registration, enum viv_launch_bounds bounds,
                                struct viv_buf *block, enum viv_launch_result result)
{
    size_t i;
    json_t *word;
    const json_t *input = json_object_get(registration, "input");
    const json_t *limits = json_object_get(json_object_get(registration, "policy"), "limits");
    const json_t *argv = json_object_get(input, "argv");
    enum viv_err err = viv_block_init(block);
    json_array_foreach(argv, i, word)
        put_text(block, i == 0 ? VIV_NATIVE_KEY_CMD : VIV_NATIVE_KEY_ARG, word, &err);
    put_text(block, VIV_NATIVE_KEY_CWD, json_object_get(input, "cwd"), &err);
    const json_t *text = json_object_get(input, "stdin");
    if (json_string_length(text) > 0) put_text(block, VIV_NATIVE_KEY_STDIN, text, &err);
    put_variables(block, variables_of(input, viv_run_lease(run), address), &err);
    put_bounds(block, bounds, &err);
    put_knobs(block, run, result, &err);
    if (json_object_get(limits, "wall") == NULL)
        put_number(block, VIV_NATIVE_KEY_MAX_LIFETIME_MS, VIV_NATIVE_NONE, &err);
    put_limits(block, limits, &err);
    if (err == VIV_OK) viv_block_finish(block);
    return err;
}

bool viv_launch__block(const struct viv_run *run, const char *address,
                       enum viv_launch_bounds bounds, struct viv_buf *block,
                       enum viv_launch_result *out_result, struct viv_launch_refusal *refusal)
{
    json_t *registration = NULL;
    const struct viv_str text = viv_run_registration(run);
    enum viv_err err = viv_cjson_parse(text.p, text.n, &registration, NULL);
    const json_t *input = json_object_get(registration, "input");
    *out_result = result_of(input);
    if (err == VIV_OK) err = write_block(run, address, registration, bounds, block, *out_result);
    json_decref(registration);
    if (err == VIV_OK) return true;
    if (err == VIV_E_INVAL)
        viv_launch__refuse(refusal, "invalid_request", "bad_limit", "a limit is no whole number");
    else if (err == VIV_E_TOOBIG)
        viv_launch__refuse(refusal, "invalid_request", "too_large", "%s", viv_err_text(err));
    else
        viv_launch__refuse(refusal, "unavailable", "no_memory", "%s", viv_err_text(err));
    return false;
}

void viv_launch__refuse_err(struct viv_launch_refusal *refusal, enum viv_err err,
                            const char *detail)
{
    const char *class = "unavailable", *code = "no_start";
    if (err == VIV_E_NOPROGRAM || err == VIV_E_NOEXEC) {
        class = "invalid_request";
        code = "no_program";
    } else if (err == VIV_E_INVAL || err == VIV_E_TOOBIG) {
        class = "invalid_request";
        code = "bad_input";
    } else if (err == VIV_E_UNSUPPORTED) {
        code = strcmp(detail, "guard") == 0 ? "no_guard" : "unsupported";
    }
    viv_launch__refuse(refusal, class, code, "%s%s%s%s", viv_err_text(err),
                       detail[0] != '\0' ? " (" : "", detail, detail[0] != '\0' ? ")" : "");
}
