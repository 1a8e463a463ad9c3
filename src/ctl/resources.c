// SPDX-License-Identifier: Apache-2.0
// The verbs res and audit.
//
// res {ref, env, kind, orphans, handles}: an event a resource; with `handles`, that of a process is
// followed by {handle: …} for each it has. The answer counts the resources.
// audit {follow}: an event each, as lines of an audit file; one that follows looks five times a
// second, since what writes the ring must not wait for, or know, its readers.
#include "ctl/resources.h"

#include "cap/room.h"
#include <stdio.h>
#include <string.h>

enum { ROWS = 16, HANDLES = 16, EVENTS = 16, RIGHTS = 32 };
#define FOLLOW_NS (200 * VIV_NS_PER_MS)

static struct viv_reg *reg_of(const struct viv_ctl_req *req)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    return viv_room_reg(programs->cap);
}

// ---- as JSON ----

static json_t *rid_text(viv_rid rid)
{
    char text[VIV_RID_TEXT_BYTES];
    return rid.w != 0 ? json_string(viv_rid_format(rid, text)) : json_null();
}

static json_t *pid_text(struct viv_reg *reg, viv_rid proc)
{
    char text[VIV_PID_TEXT_BYTES];
    viv_pid pid;
    if (proc.w == 0 || viv_res_pid(reg, proc, &pid) != VIV_OK) return json_null();
    return json_string(viv_pid_format(pid, text));
}

static const char *phase_name(uint8_t phase)
{
    static const char *const names[] = {"free", "reserved", "live", "dying", "dead"};
    return names[phase % VIV_COUNT_OF(names)];
}

static void put_stat(struct viv_reg *reg, viv_rid rid, json_t **value)
{
    struct viv_res_stat stat;
    if (viv_res_stat(reg, rid, &stat) != VIV_OK || stat.count == 0) return;
    json_t *inner = json_object();
    for (uint32_t i = 0; i < stat.count; i++)
        viv_json_put(&inner, stat.rows[i].name, viv_json_u64(stat.rows[i].value));
    viv_json_put(value, "stat", inner);
}

static json_t *row_json(struct viv_reg *reg, const struct viv_res_row *row)
{
    const struct viv_res_meta *meta = &row->meta;
    json_t *value = json_object();
    viv_json_put(&value, "rid", rid_text(meta->id));
    viv_json_put(&value, "kind", json_string(row->kind_name));
    viv_json_put(&value, "phase", json_string(phase_name(meta->phase)));
    viv_json_put(&value, "owner", rid_text(meta->owner));
    viv_json_put(&value, "parent", rid_text(meta->parent));
    viv_json_put(&value, "pid", pid_text(reg, row->proc));
    viv_json_put(&value, "holds", json_integer(meta->holds));
    viv_json_put(&value, "pins", json_integer(meta->pins));
    viv_json_put(&value, "bytes", viv_json_u64(meta->charge_bytes));
    viv_json_put(&value, "age_s", viv_json_u64(row->age_s));
    viv_json_put(&value, "label", viv_ctl__text(row->label));
    viv_json_put(&value, "shares", json_integer(row->shares));
    viv_json_put(&value, "orphan", json_boolean(row->is_orphan));
    viv_json_put(&value, "derived", json_boolean(row->is_derived));
    if (meta->phase == VIV_RES_LIVE) put_stat(reg, meta->id, &value);
    return value;
}

static json_t *rights_json(viv_rights rights)
{
    static const char *const names[] = {"read",    "write",   "wait",   "stat",
                                        "control", "destroy", "share",  "transfer",
                                        "derive",  "grant",   "revoke", "own"};
    json_t *value = json_array();
    for (uint32_t i = 0; i < RIGHTS; i++) {
        char number[8];
        if ((rights >> i & 1) == 0) continue;
        (void)snprintf(number, sizeof number, "%u", i); // those of a kind
        viv_json_add(&value, json_string(i < VIV_COUNT_OF(names) ? names[i] : number));
    }
    return value;
}

json_t *viv_ctl__handle_json(const struct viv_handle_info *info)
{
    json_t *value = json_object();
    viv_json_put(&value, "handle", viv_json_u64(info->hdl.w));
    viv_json_put(&value, "kind", json_string(info->kind_name));
    viv_json_put(&value, "rights", rights_json(info->rights));
    viv_json_put(&value, "rid", rid_text(info->rid));
    viv_json_put(&value, "owner", rid_text(info->owner));
    viv_json_put(&value, "label", viv_ctl__text(info->label));
    viv_json_put(&value, "depth", json_integer(info->grant_depth));
    viv_json_put(&value, "state",
                 json_string(info->is_revoked ? "revoked" : phase_name(info->phase)));
    viv_json_put(&value, "bytes", viv_json_u64(info->charge_bytes));
    viv_json_put(&value, "age_s", viv_json_u64(info->age_s));
    return value;
}

// ---- res ----

enum viv_err viv_ctl__find_process(const struct viv_ctl_req *req, const char *text,
                                   viv_pid *out_pid)
{
    struct viv_native_ref ref;
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    const struct viv_native_ctx ctx = viv_ctl__ctx(req);
    const enum viv_err err = viv_ctl_ref_find(&ctx, text, &ref);
    if (err == VIV_OK)
        *out_pid = ref.u.pid;
    else if (err != VIV_E_NOTFOUND || !viv_ctl_ref_parse_pid(text, out_pid) ||
             !viv_proc_exists(programs->env, *out_pid))
        return err;
    return VIV_OK;
}

static enum viv_err read_kind(struct viv_ctl_req *req, struct viv_ctl_res *res)
{
    const char *name = viv_json_get_text(viv_ctl_args(req), "kind");
    if (name == NULL) return VIV_OK;
    for (viv_kind kind = 1; kind < VIV_KINDS_MAX; kind++) {
        const struct viv_res_kind *row = viv_res_kind(reg_of(req), kind);
        if (row == NULL || row->name == NULL || strcmp(row->name, name) != 0) continue;
        res->kind = kind;
        return VIV_OK;
    }
    return VIV_E_INVAL;
}

static bool begin_res(struct viv_ctl_req *req, struct viv_ctl_res *res)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    const json_t *args = viv_ctl_args(req);
    const char *text = viv_json_get_text(args, "ref");
    const uint32_t number = viv_env_number(programs->env);
    viv_pid pid;
    res->has_begun = true;
    enum viv_err err = read_kind(req, res);
    const char *detail = "kind";
    if (err == VIV_OK && viv_json_get_u64(args, "env", number) != number) {
        err = VIV_E_NOTFOUND;
        detail = "env";
    } else if (err == VIV_OK && text != NULL) {
        err = viv_ctl__find_process(req, text, &pid);
        detail = err == VIV_E_NOTFOUND ? NULL : "ref";
        // One that has ended may be kept: what it held is not.
        if (err == VIV_OK) err = viv_room_process(programs->cap, pid, &res->proc);
    }
    if (err != VIV_OK) viv_ctl_fail(req, err, detail);
    return err == VIV_OK;
}

static bool is_wanted(const struct viv_ctl_req *req, const struct viv_ctl_res *res,
                      const struct viv_res_row *row)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    const json_t *args = viv_ctl_args(req);
    if (res->proc.w != 0 && !viv_rid_eq(res->proc, row->proc)) return false;
    if (res->kind != 0 && res->kind != row->meta.kind) return false;
    if (viv_json_get_bool(args, "orphans") && !row->is_orphan) return false;
    return json_object_get(args, "env") == NULL || viv_rid_eq(viv_cap_env(programs->env), row->env);
}

// True: there are more handles to tell.
static bool send_handles(struct viv_ctl_req *req, struct viv_ctl_res *res)
{
    struct viv_handle_info infos[HANDLES];
    uint32_t count = 0;
    const enum viv_err err =
        viv_res_handles(reg_of(req), res->shown, &res->handle, infos, HANDLES, &count);
    for (uint32_t i = 0; err == VIV_OK && i < count; i++) {
        json_t *value = json_object(), *handle = viv_ctl__handle_json(&infos[i]);
        viv_json_put(&handle, "pid", pid_text(reg_of(req), res->shown));
        viv_json_put(&value, "handle", handle);
        viv_ctl_send_event(req, value);
    }
    return err == VIV_OK && count > 0;
}

// A process is the last of what is read at once, so that its handles follow it.
static void send_rows(struct viv_ctl_req *req, struct viv_ctl_res *res)
{
    const bool with_handles = viv_json_get_bool(viv_ctl_args(req), "handles");
    struct viv_res_row row;
    for (int i = 0; i < ROWS && res->shown.w == 0; i++) {
        if (viv_res_rows(reg_of(req), &res->cursor, &row, 1) == 0) return;
        if (!is_wanted(req, res, &row)) continue;
        viv_ctl_send_event(req, row_json(reg_of(req), &row));
        res->count++;
        if (with_handles && row.meta.kind == VIV_KIND_PROCESS) res->shown = row.meta.id;
        res->handle = 0;
    }
}

bool viv_ctl__res(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_res *res = state;
    if (!res->has_begun && !begin_res(req, res)) return false;
    if (!viv_ctl_has_room(req)) return false;
    if (res->shown.w == 0)
        send_rows(req, res);
    else if (!send_handles(req, res))
        res->shown = VIV_RID_NONE;
    if (res->shown.w != 0 || res->cursor != VIV_RES_ROWS_END) return true;
    json_t *value = json_object();
    viv_json_put(&value, "count", viv_json_u64(res->count));
    viv_ctl_finish(req, value);
    return false;
}

// ---- audit ----

static bool send_event(struct viv_ctl_req *req, struct viv_ctl_audit *audit)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    char line[VIV_AUDIT_JSON_MAX];
    struct viv_audit_event event;
    json_t *value;
    size_t len;
    if (!viv_audit_read_line(viv_room_audit(programs->cap), &audit->cursor, &event, line, &len))
        return false;
    const enum viv_err err = viv_json_parse(line, len, &value);
    viv_ctl_send_event(req, err == VIV_OK ? value : NULL);
    return true;
}

bool viv_ctl__audit(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_audit *audit = state;
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    if (!audit->has_begun) viv_audit_flush(viv_room_audit(programs->cap));
    audit->has_begun = true;
    viv_ctl_wake_at(req, VIV_FOREVER_NS);
    for (int i = 0; i < EVENTS; i++) {
        if (!viv_ctl_has_room(req)) return false;
        if (send_event(req, audit)) continue;
        if (viv_json_get_bool(viv_ctl_args(req), "follow"))
            viv_ctl_wake_at(req, viv_ctl_now_ns(req) + FOLLOW_NS);
        else
            viv_ctl_finish(req, json_object());
        return false;
    }
    return true;
}
