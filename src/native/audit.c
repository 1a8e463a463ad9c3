// SPDX-License-Identifier: Apache-2.0
// Audit events of programs. A detail is put together in a piece of memory of its own, as members of
// a JSON object, and then kept at its length.
#include "native/audit.h"

#include "base/assert.h"
#include "base/hash.h"
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    PATH_BYTES_SHOWN = 1024,
    NAMES_BYTES_SHOWN = 4096, // of variables; all are counted
    ARGS_BYTES_SHOWN = 4096,  // with `audit.args`
};

struct text {
    size_t len;
    bool is_cut;
    char data[VIV_AUDIT_DETAIL_MAX];
};

VIV_PRINTF(2, 3) static void put(struct text *text, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const size_t room = sizeof text->data - text->len;
    const int len = vsnprintf(text->data + text->len, room, fmt, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room)
        text->is_cut = true;
    else
        text->len += (size_t)len;
}

static void put_string(struct text *text, const char *bytes, size_t len)
{
    const size_t room = sizeof text->data - text->len;
    const size_t used = viv_audit_escape(text->data + text->len, room, bytes, len);
    if (used == 0) text->is_cut = true;
    text->len += used;
}

static void put_key(struct text *text, const char *key)
{
    put(text, "%s\"%s\":", text->len > 0 ? "," : "", key);
}

static void put_member(struct text *text, const char *key, const char *value, size_t max)
{
    VIV_ASSERT(value != NULL);
    put_key(text, key);
    put_string(text, value, strnlen(value, max));
}

// ------------------------------------------------------------------------------ what was asked for

static void put_who(struct text *text, const struct viv_program *program, const char *unit)
{
    char pid[VIV_PID_TEXT_BYTES];
    put_member(text, "unit", unit, VIV_NATIVE_UNIT_BYTES_MAX);
    if (!viv_pid_eq(program->pid, VIV_PID_NONE))
        put_member(text, "program", viv_pid_format(program->pid, pid), sizeof pid);
    if (program->digest[0] != '\0')
        put_member(text, "digest", program->digest, sizeof program->digest);
    if (program->number != 0) put(text, ",\"number\":%" PRIu64, program->number);
}

// Of the arguments, each with the 0 that ends it. False: no memory.
static bool put_args(struct text *text, const struct viv_program *program)
{
    uint8_t digest[VIV_SHA256_BYTES];
    char hex[2 * VIV_SHA256_BYTES + 1];
    struct viv_sha256 *sha;
    if (viv_sha256_new(&sha) != VIV_OK) return false;
    for (char **arg = program->req.argv; *arg != NULL; arg++)
        viv_sha256_update(sha, *arg, strlen(*arg) + 1);
    viv_sha256_final(sha, digest);
    viv_hex_encode(digest, sizeof digest, hex);
    put_member(text, "argv_sha256", hex, sizeof hex);
    if (!program->native->audit.shows_args) return true;
    put_key(text, "argv");
    size_t left = ARGS_BYTES_SHOWN;
    put(text, "[");
    for (char **arg = program->req.argv; *arg != NULL && left > 0; arg++) {
        const size_t len = strnlen(*arg, left);
        if (arg != program->req.argv) put(text, ",");
        put_string(text, *arg, len);
        left -= len;
    }
    put(text, "]");
    return true;
}

static void put_names(struct text *text, const struct viv_native_list *env)
{
    size_t shown = 0;
    put_key(text, "env");
    put(text, "[");
    for (uint32_t i = 0; i < env->count; i++) {
        shown += env->items[i].key_len;
        if (shown > NAMES_BYTES_SHOWN) break;
        if (i > 0) put(text, ",");
        put_string(text, env->items[i].data, env->items[i].key_len);
    }
    put(text, "],\"env_count\":%u", env->count);
}

static void put_limits(struct text *text, const struct viv_native_fields *fields)
{
    static const enum viv_native_key keys[] = {
        VIV_NATIVE_KEY_MAX_MEMORY_BYTES, VIV_NATIVE_KEY_MAX_CPU_MS,
        VIV_NATIVE_KEY_CPU_PERCENT,      VIV_NATIVE_KEY_MAX_PIDS,
        VIV_NATIVE_KEY_MAX_OPEN_FILES,   VIV_NATIVE_KEY_MAX_FILE_BYTES,
        VIV_NATIVE_KEY_MAX_CORE_BYTES,   VIV_NATIVE_KEY_MAX_OUTPUT_BYTES,
        VIV_NATIVE_KEY_MAX_LIFETIME_MS,  VIV_NATIVE_KEY_IDLE_MS,
        VIV_NATIVE_KEY_RING_BYTES};
    const char *comma = "";
    put_key(text, "limits");
    put(text, "{");
    for (size_t i = 0; i < VIV_COUNT_OF(keys); i++) {
        const uint64_t value = viv_native_number(fields, keys[i]);
        if (value == VIV_NATIVE_NONE) continue;
        put(text, "%s\"%s\":%" PRIu64, comma, viv_native_rows[keys[i]].name, value);
        comma = ",";
    }
    put(text, "}");
}

static void put_left_out(struct text *text, const struct viv_program *program)
{
    const char *comma = "";
    put_key(text, "left_out");
    put(text, "[");
    for (uint32_t i = 0; i < VIV_FEATURES; i++) {
        if ((program->left_out & VIV_FEATURE_BIT(i)) == 0) continue;
        put(text, "%s\"%s\"", comma, viv_feature_name((enum viv_feature)i));
        comma = ",";
    }
    put(text, "]");
}

// False: no memory. A request that could not be read tells nothing.
static bool put_request(struct text *text, const struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    if (program->req.argv == NULL) return true;
    const char *cwd = fields->cwd.data != NULL ? fields->cwd.data : ".";
    put_member(text, "command", program->exe != NULL ? program->exe : fields->cmd.data,
               PATH_BYTES_SHOWN);
    if (!put_args(text, program)) return false;
    put_names(text, &fields->env);
    put_member(text, "cwd", cwd, PATH_BYTES_SHOWN);
    put_limits(text, fields);
    put_member(text, "sandbox", viv_native_rows[VIV_NATIVE_KEY_SANDBOX].words[fields->sandbox],
               PATH_BYTES_SHOWN);
    put_left_out(text, program);
    return true;
}

static struct viv_audit_detail *keep(const struct text *text, bool is_good)
{
    struct viv_audit_detail *detail = NULL;
    if (!is_good || text->is_cut || viv_audit_detail_new(text->data, text->len, &detail) != VIV_OK)
        return NULL;
    return detail;
}

// NULL: no memory.
static struct viv_audit_detail *describe_spawn(const struct viv_program *program, const char *unit,
                                               const char *why)
{
    struct text *text = viv_try_alloc(sizeof *text, VIV_TAG_NATIVE);
    if (text == NULL) return NULL;
    text->len = 0;
    text->is_cut = false;
    put_who(text, program, unit);
    const bool is_good = put_request(text, program);
    if (why[0] != '\0') put_member(text, "error", why, PATH_BYTES_SHOWN);
    struct viv_audit_detail *detail = keep(text, is_good);
    viv_free(text, sizeof *text, VIV_TAG_NATIVE);
    return detail;
}

// -------------------------------------------------------------------------------------- the events

static void init_event(struct viv_audit_event *event, const char *operation, enum viv_err outcome)
{
    viv_audit_init_event(event, VIV_AUDIT_PROGRAM);
    event->operation = operation;
    event->outcome = outcome;
}

static void set_caller(struct viv_audit_event *event, const struct viv_native_ctx *ctx)
{
    const struct viv_session *session = viv_native__session(ctx);
    event->pid = ctx->proc != NULL ? viv_proc_pid(ctx->proc) : VIV_PID_NONE;
    event->environment = viv_env_number(ctx->env);
    if (session != NULL) event->session = viv_ses_id(session);
}

static void write_event(struct viv_native *native, const struct viv_audit_event *event)
{
    if (event->detail == NULL) viv_native__count(&native->counts.audit_failed, 1);
    viv_audit_write(viv_room_audit(native->cap), event);
    if (native->audit.written != NULL) native->audit.written(native->audit.arg);
}

enum viv_err viv_native__audit_intent(struct viv_program *program)
{
    const struct viv_native_audit *audit = &program->native->audit;
    if (!audit->is_required) return VIV_OK;
    program->audit = describe_spawn(program, program->scope->unit, "");
    if (program->audit != NULL && audit->reserve != NULL)
        program->audit_is_reserved = audit->reserve(audit->arg) == VIV_OK;
    if (program->audit != NULL && (audit->reserve == NULL || program->audit_is_reserved))
        return VIV_OK;
    return viv_diag_set(&program->launch_diag, VIV_E_DENIED, "audit");
}

void viv_native__audit_spawn(struct viv_program *program, const char *unit, enum viv_err err,
                             const struct viv_diag *diag)
{
    struct viv_audit_event event;
    init_event(&event, "native.spawn", err);
    event.pid = program->caller;
    event.environment = program->environment;
    event.is_reserved = program->audit_is_reserved;
    if (program->session != NULL) event.session = viv_ses_id(program->session);
    event.cap = (uint8_t)(program->refused != 0 ? program->refused : VIV_CAP_NATIVE_SPAWN);
    const char *command = program->exe != NULL ? program->exe : program->req.fields.cmd.data;
    if (command != NULL) viv_audit_set_object(&event, command, strlen(command));
    event.detail = program->audit;
    program->audit = NULL;
    // What is known by now; what was made ahead is there in case that there is no memory.
    struct viv_audit_detail *fresh = describe_spawn(program, unit, diag->text);
    if (fresh != NULL) {
        viv_audit_detail_drop(event.detail);
        event.detail = fresh;
    }
    write_event(program->native, &event);
    viv_native__count_spawn(program->native, err);
}

void viv_native__audit_unenforced(const struct viv_program *program,
                                  const struct viv_session *session, enum viv_cap cap,
                                  const struct viv_pattern *pattern)
{
    struct viv_audit_event event;
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_NATIVE);
    viv_audit_init_event(&event, VIV_AUDIT_UNENFORCED);
    event.pid = program->caller;
    event.environment = program->environment;
    event.session = viv_ses_id(session);
    event.cap = (uint8_t)cap;
    event.operation = "native.spawn";
    if (viv_pattern_print(pattern, cap, &text) == VIV_OK)
        viv_audit_set_object(&event, text.data, text.len_bytes);
    viv_audit_write(viv_room_audit(program->native->cap), &event);
    viv_buf_deinit(&text);
}

void viv_native__audit_no_memory(const struct viv_native_ctx *ctx)
{
    struct viv_audit_event event;
    init_event(&event, "native.spawn", VIV_E_EXHAUSTED);
    set_caller(&event, ctx);
    event.cap = VIV_CAP_NATIVE_SPAWN;
    write_event(ctx->native, &event);
    viv_native__count_spawn(ctx->native, VIV_E_EXHAUSTED);
}

static void begin_event(struct viv_audit_event *event, const struct viv_program *program,
                        const char *operation, enum viv_err outcome)
{
    init_event(event, operation, outcome);
    event->environment = program->environment;
    viv_audit_set_object(event, program->exe, program->exe != NULL ? strlen(program->exe) : 0);
}

void viv_native__audit_deed(struct viv_program *program, const struct viv_native_deed *deed)
{
    struct viv_audit_event event;
    begin_event(&event, program, deed->operation, deed->outcome);
    if (deed->ctx != NULL) set_caller(&event, deed->ctx);
    if (deed->tab != NULL) event.pid = deed->tab->pid;
    if (deed->tab != NULL && deed->tab->session != NULL)
        event.session = viv_ses_id(deed->tab->session);
    if (deed->signo != 0) event.cap = VIV_CAP_NATIVE_SIGNAL;
    struct text *text = viv_try_alloc(sizeof *text, VIV_TAG_NATIVE);
    if (text != NULL) {
        text->len = 0;
        text->is_cut = false;
        put_who(text, program, program->scope->unit);
        if (deed->signo != 0) put(text, ",\"signal\":%d", deed->signo);
        event.detail = keep(text, true);
        viv_free(text, sizeof *text, VIV_TAG_NATIVE);
    }
    write_event(program->native, &event);
}

void viv_native__audit_holder(struct viv_native *native, const struct viv_native_holder_event *what)
{
    struct viv_audit_event event;
    init_event(&event, what->operation, what->outcome);
    event.environment = what->environment;
    struct text *text = viv_try_alloc(sizeof *text, VIV_TAG_NATIVE);
    if (text != NULL) {
        text->len = 0;
        text->is_cut = false;
        put_member(text, "digest", what->digest, PATH_BYTES_SHOWN);
        put_member(text, "error", what->why, PATH_BYTES_SHOWN);
        event.detail = keep(text, true);
        viv_free(text, sizeof *text, VIV_TAG_NATIVE);
    }
    write_event(native, &event);
}

void viv_native__audit_exit(struct viv_program *program)
{
    static const char *const kinds[] = {"exited", "signaled", "lost"};
    const struct viv_native_exit *exit = &program->care.exit;
    struct viv_audit_event event;
    begin_event(&event, program, "native.exit", VIV_OK);
    struct text *text = viv_try_alloc(sizeof *text, VIV_TAG_NATIVE);
    if (text != NULL) {
        text->len = 0;
        text->is_cut = false;
        put_who(text, program, program->scope->unit);
        put_member(text, "kind", kinds[exit->kind], PATH_BYTES_SHOWN);
        put_member(text, "cause", viv_native_cause_name(exit->cause), PATH_BYTES_SHOWN);
        if (exit->kind != VIV_NATIVE_LOST)
            put(text, ",\"%s\":%d", exit->kind == VIV_NATIVE_SIGNALED ? "signal" : "code",
                exit->leader.code);
        put(text, ",\"duration_ns\":%" PRIu64, exit->duration_ns);
        event.detail = keep(text, true);
        viv_free(text, sizeof *text, VIV_TAG_NATIVE);
    }
    write_event(program->native, &event);
}
