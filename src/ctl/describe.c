// SPDX-License-Identifier: Apache-2.0
// A program as JSON: what commands print with --json, and make their tables of. Never its id.
#include "ctl/programs_int.h"

#include "base/text.h"
#include "native/feature.h"
#include "native/label.h"
#include "native/stdin.h"
#include <string.h>

json_t *viv_ctl__text(const char *text)
{
    const size_t len = strlen(text);
    if (viv_utf8_is_valid(text, len)) return json_stringn(text, len);
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CTL);
    json_t *value = viv_label_escape(&buf, text, len) == VIV_OK
                        ? json_stringn((const char *)buf.data, buf.len_bytes)
                        : NULL;
    viv_buf_deinit(&buf);
    return value;
}

static json_t *duration_ms(uint64_t ns)
{
    return viv_json_u64(ns == VIV_FOREVER_NS ? UINT64_MAX : ns / VIV_NS_PER_MS);
}

static json_t *reason_text(const struct viv_native_exit *exit)
{
    char text[200];
    const struct viv_reason *reason = viv_native_reason(exit, NULL);
    (void)viv_reason_format(reason, text, sizeof text);
    viv_reason_drop(reason);
    return viv_ctl__text(text);
}

static json_t *group(const struct viv_native_exit *exit)
{
    const struct {
        const char *name;
        uint64_t value;
    } rows[] = {{"cpu_us", exit->group_cpu_us},
                {"memory_peak_bytes", exit->group_memory_peak_bytes},
                {"pids_peak", exit->group_pids_peak},
                {"oom_kills", exit->group_oom_kills}};
    json_t *value = json_object();
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        if ((exit->group_known >> i & 1) != 0)
            viv_json_put(&value, rows[i].name, viv_json_u64(rows[i].value));
    return value;
}

static json_t *stream_end(const struct viv_native_stream_end *stream)
{
    json_t *value = json_object();
    viv_json_put(&value, "received", viv_json_u64(stream->received));
    viv_json_put(&value, "evicted", viv_json_u64(stream->evicted));
    viv_json_put(&value, "truncated", json_boolean(stream->truncated));
    return value;
}

json_t *viv_ctl__exit(const struct viv_native_exit *exit)
{
    static const char *const kinds[] = {"exited", "signaled", "lost"};
    const struct viv_child_end *leader = &exit->leader;
    json_t *value = json_object();
    viv_json_put(&value, "kind", json_string(kinds[exit->kind]));
    viv_json_put(&value, "cause", json_string(viv_native_cause_name(exit->cause)));
    viv_json_put(&value, "status", json_integer(viv_native_exit_status(exit)));
    viv_json_put(&value, "reason", reason_text(exit));
    if (exit->kind != VIV_NATIVE_LOST) {
        viv_json_put(&value, leader->signaled ? "signal" : "code", json_integer(leader->code));
        viv_json_put(&value, "core", json_boolean(leader->core));
        viv_json_put(&value, "user_us", viv_json_u64(leader->user_us));
        viv_json_put(&value, "system_us", viv_json_u64(leader->system_us));
        viv_json_put(&value, "peak_bytes", viv_json_u64(leader->peak_bytes));
    }
    viv_json_put(&value, "started_ms", duration_ms(exit->started_wall_ns));
    viv_json_put(&value, "ended_ms", duration_ms(exit->ended_wall_ns));
    viv_json_put(&value, "duration_ms", duration_ms(exit->duration_ns));
    viv_json_put(&value, "group", group(exit));
    viv_json_put(&value, "stdout", stream_end(&exit->streams[0]));
    viv_json_put(&value, "stderr", stream_end(&exit->streams[1]));
    viv_json_put(&value, "stdin_undelivered",
                 viv_json_u64(exit->stdin_accepted - exit->stdin_delivered));
    return value;
}

static json_t *stream(const struct viv_native_status *status, int i)
{
    json_t *value = json_object();
    viv_json_put(&value, "buffered", viv_json_u64(status->buffered[i]));
    viv_json_put(&value, "evicted", viv_json_u64(status->evicted[i]));
    viv_json_put(&value, "drained", viv_json_u64(status->drained[i]));
    return value;
}

static json_t *weak(const struct viv_native_status *status)
{
    static const char *const names[] = {"memory", "cpu", "pids"};
    json_t *value = json_array();
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        if ((status->weak >> i & 1) != 0) viv_json_add(&value, json_string(names[i]));
    return value;
}

static json_t *unenforced(const struct viv_native_status *status)
{
    json_t *value = json_array();
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        if ((status->unenforced >> i & 1) != 0)
            viv_json_add(&value, json_string(viv_cap_rows[i].name));
    return value;
}

static json_t *left_out(const struct viv_native_status *status)
{
    json_t *value = json_array();
    for (int i = 0; i < VIV_FEATURES; i++)
        if ((status->left_out >> i & 1) != 0)
            viv_json_add(&value, json_string(viv_feature_name((enum viv_feature)i)));
    return value;
}

json_t *viv_ctl__status(const struct viv_native_status *status)
{
    static const char *const stdin_states[] = {"none", "open", "draining", "closed"};
    char pid[VIV_PID_TEXT_BYTES];
    json_t *value = json_object();
    viv_json_put(&value, "pid", json_string(viv_pid_format(status->pid, pid)));
    viv_json_put(&value, "number", viv_json_u64(status->number));
    viv_json_put(&value, "digest", json_string(status->digest));
    viv_json_put(&value, "label", viv_ctl__text(status->label));
    viv_json_put(&value, "command", viv_ctl__text(status->command != NULL ? status->command : ""));
    viv_json_put(&value, "phase", json_string(viv_native_phase_name(status->phase)));
    viv_json_put(&value, "ready", json_boolean(status->ready));
    viv_json_put(&value, "os_pid", status->os_pid > 0 ? json_integer(status->os_pid) : json_null());
    viv_json_put(&value, "age_ms", duration_ms(status->age_ns));
    viv_json_put(&value, "idle_ms", duration_ms(status->idle_ns));
    viv_json_put(&value, "stdout", stream(status, 0));
    viv_json_put(&value, "stderr", stream(status, 1));
    viv_json_put(&value, "stdin", json_string(stdin_states[status->stdin_state % 4]));
    viv_json_put(&value, "stdin_queued", viv_json_u64(status->stdin_queued));
    viv_json_put(&value, "terminal", json_boolean(status->has_terminal));
    viv_json_put(&value, "suspended", json_boolean(status->is_suspended));
    viv_json_put(&value, "unkillable", json_boolean(status->unkillable));
    viv_json_put(&value, "sandbox",
                 json_string(viv_native_rows[VIV_NATIVE_KEY_SANDBOX].words[status->sandbox]));
    viv_json_put(&value, "contained_by", json_string(viv_rung_name(status->rung)));
    viv_json_put(&value, "weak", weak(status));
    viv_json_put(&value, "left_out", left_out(status));
    viv_json_put(&value, "unenforced", unenforced(status));
    viv_json_put(&value, "exit", status->has_exit ? viv_ctl__exit(&status->exit) : json_null());
    return value;
}

json_t *viv_ctl__outsider(const struct viv_native_outsider *outsider)
{
    json_t *value = json_object();
    const uint32_t environment = outsider->environment;
    viv_json_put(&value, "pid", json_null());
    viv_json_put(&value, "number", viv_json_u64(outsider->number));
    viv_json_put(&value, "digest", json_string(outsider->digest));
    viv_json_put(&value, "label", viv_ctl__text(outsider->label));
    viv_json_put(&value, "phase", json_string(viv_native_outside_name(outsider->kind)));
    viv_json_put(&value, "environment", environment != 0 ? json_integer(environment) : json_null());
    viv_json_put(&value, "why", viv_ctl__text(outsider->why));
    return value;
}

static bool is_number(const struct viv_native_row *row)
{
    return row->type >= VIV_NATIVE_TYPE_U32 && row->type <= VIV_NATIVE_TYPE_SET;
}

static json_t *value_in_force(const struct viv_native_row *row, uint64_t number)
{
    json_t *set;
    switch ((int)row->type) {
    case VIV_NATIVE_TYPE_U32:
    case VIV_NATIVE_TYPE_U64:
        return number == VIV_NATIVE_NONE ? json_null() : viv_json_u64(number);
    case VIV_NATIVE_TYPE_BOOL:
        return json_boolean(number != 0);
    case VIV_NATIVE_TYPE_WORD:
        return json_string(row->words[number]);
    case VIV_NATIVE_TYPE_SET:
        set = json_array();
        for (uint32_t i = 0; row->words[i] != NULL; i++)
            if ((number >> i & 1) != 0) viv_json_add(&set, json_string(row->words[i]));
        return set;
    default:
        return NULL; // no number
    }
}

static json_t *guard_of(const struct viv_native_info *info)
{
    const struct viv_native_guard *guard = &info->guard;
    if (guard->pid == 0) return json_null();
    json_t *value = json_object();
    viv_json_put(&value, "cgroup", viv_ctl__text(guard->group));
    viv_json_put(&value, "os_pid", json_integer(guard->pid));
    viv_json_put(&value, "start_ticks", viv_json_u64(guard->start));
    return value;
}

void viv_ctl__add_info(const struct viv_native_info *info, json_t **value)
{
    json_t *args = json_array(), *in_force = json_object();
    for (char *const *arg = info->argv; *arg != NULL; arg++)
        viv_json_add(&args, viv_ctl__text(*arg));
    for (int key = 1; key < VIV_NATIVE_KEYS_END; key++) {
        const struct viv_native_row *row = &viv_native_rows[key];
        if (is_number(row))
            viv_json_put(&in_force, row->name, value_in_force(row, info->values[key]));
    }
    const char *cwd = info->cwd;
    viv_json_put(value, "arguments", args);
    viv_json_put(value, "cwd", cwd != NULL ? viv_ctl__text(cwd) : json_null());
    viv_json_put(value, "in_force", in_force);
    viv_json_put(value, "guard", guard_of(info));
}

json_t *viv_ctl__program(const struct viv_native_ctx *ctx, const struct viv_native_status *status)
{
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = status->pid};
    struct viv_native_usage usage;
    json_t *value = viv_ctl__status(status);
    if (status->has_exit || viv_native_usage(ctx, &ref, &usage) != VIV_OK) return value;
    if ((usage.known & VIV_USAGE_CPU) != 0)
        viv_json_put(&value, "cpu_ms", duration_ms(usage.cpu_ns));
    if ((usage.known & VIV_USAGE_MEMORY) != 0)
        viv_json_put(&value, "mem_bytes", viv_json_u64(usage.memory_bytes));
    if ((usage.known & VIV_USAGE_MEMORY_PEAK) != 0)
        viv_json_put(&value, "mem_bytes_peak", viv_json_u64(usage.memory_peak_bytes));
    if ((usage.known & VIV_USAGE_PIDS) != 0) viv_json_put(&value, "pids", viv_json_u64(usage.pids));
    return value;
}
