// SPDX-License-Identifier: Apache-2.0
// What a process holds, as the member `holds` of info: its session, what it uses, handles, owned
// resources by kind, futures, log channel, denials. What may be much is read in pieces, a few a
// step; the rest is bounded: 500 handles, 200 futures and 48 KiB of policy, so that it fits a
// frame.
#include "ctl/resources.h"

#include "cap/gate.h"
#include "cap/room.h"
#include "proc/proc.h"
#include <stdio.h>
#include <string.h>

enum {
    DENIALS_A_STEP = 512,
    OWNED_A_STEP = 64,
    HANDLES_MAX = 500,
    FUTURES_MAX = 200,
    HANDLES = 16
};
enum { POLICY_BYTES_MAX = 48 << 10 };

struct place {
    struct viv_reg *reg;
    struct viv_audit *audit;
    struct viv_kernel *kernel;
};

static struct place place_of(const struct viv_ctl_req *req)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    return (struct place){.reg = viv_room_reg(programs->cap),
                          .audit = viv_room_audit(programs->cap),
                          .kernel = viv_env_kernel(programs->env)};
}

// ---- in pieces ----

// What was in the ring when it began; true: through.
static bool read_denials(const struct place *place, struct viv_ctl_holds *holds)
{
    struct viv_audit_event event;
    for (int i = 0; i < DENIALS_A_STEP; i++) {
        if (holds->looked_at++ >= VIV_AUDIT_EVENTS) return true;
        if (!viv_audit_read(place->audit, &holds->cursor, &event)) return true;
        if (event.kind != VIV_AUDIT_DENIED || event.pid.w != holds->pid.w) continue;
        holds->denials += event.count;
        holds->last = event;
    }
    return false;
}

static bool read_owned(const struct place *place, struct viv_ctl_holds *holds)
{
    viv_rid rids[OWNED_A_STEP];
    struct viv_res_row row;
    const uint32_t count =
        viv_res_owned(place->reg, holds->proc, &holds->owned, rids, OWNED_A_STEP);
    for (uint32_t i = 0; i < count; i++) {
        if (viv_res_row(place->reg, rids[i], &row) != VIV_OK) continue;
        holds->kinds[row.meta.kind].count++;
        holds->kinds[row.meta.kind].bytes += row.meta.charge_bytes;
        holds->shares += row.shares;
    }
    return count == 0;
}

// ---- as JSON ----

static json_t *id_text(const struct viv_ses_id *id)
{
    char text[2 * sizeof id->b + 1];
    for (size_t i = 0; i < sizeof id->b; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", id->b[i]);
    return json_string(text);
}

// Lines of the policy; those that this host does not hold to, in *out_unenforced as well.
static json_t *policy_lines(const char *text, size_t len, json_t **unenforced)
{
    static const char word[] = " unenforced";
    json_t *lines = json_array();
    for (const char *at = text, *end = text + len; at < end;) {
        const char *nl = memchr(at, '\n', (size_t)(end - at));
        const size_t line = (size_t)((nl != NULL ? nl : end) - at);
        viv_json_add(&lines, json_stringn(at, line));
        if (line >= sizeof word - 1 &&
            memcmp(at + line - (sizeof word - 1), word, sizeof word - 1) == 0)
            viv_json_add(unenforced, json_stringn(at, line));
        at += line + 1;
    }
    return lines;
}

static json_t *session_json(const struct viv_session *session)
{
    struct viv_buf text;
    json_t *value = json_object(), *unenforced = json_array();
    const struct viv_ses_id id = viv_ses_id(session);
    viv_json_put(&value, "id", id_text(&id));
    viv_json_put(&value, "environment", json_integer(viv_ses_environment(session)));
    viv_json_put(&value, "source", json_string(viv_ses_is_root(session) ? "environment" : "own"));
    viv_buf_init(&text, VIV_TAG_CTL);
    const enum viv_err err = viv_ses_print(session, &text);
    const size_t len = viv_min_u64(text.len_bytes, POLICY_BYTES_MAX);
    viv_json_put(&value, "policy",
                 err == VIV_OK ? policy_lines((const char *)text.data, len, &unenforced) : NULL);
    viv_buf_deinit(&text);
    viv_json_put(&value, "unenforced", unenforced);
    return value;
}

static json_t *usage_json(const struct place *place, viv_rid rid)
{
    struct viv_usage_info rows[VIV_COUNTERS];
    uint32_t count;
    if (viv_res_usage(place->reg, rid, rows, &count) != VIV_OK || count == 0) return json_null();
    json_t *value = json_object();
    for (uint32_t i = 0; i < count; i++) {
        json_t *row = json_object();
        viv_json_put(&row, "used", viv_json_u64(rows[i].used));
        viv_json_put(&row, "peak", viv_json_u64(rows[i].peak));
        viv_json_put(&row, "limit",
                     rows[i].limit == VIV_UNLIMITED ? json_null() : viv_json_u64(rows[i].limit));
        viv_json_put(&value, rows[i].name, row);
    }
    return value;
}

static json_t *handles_json(const struct place *place, viv_rid proc, bool *out_more)
{
    struct viv_handle_info infos[HANDLES];
    uint32_t cursor = 0, count, sum = 0;
    json_t *value = json_array();
    *out_more = false;
    while (viv_res_handles(place->reg, proc, &cursor, infos, HANDLES, &count) == VIV_OK &&
           count > 0) {
        for (uint32_t i = 0; i < count && sum < HANDLES_MAX; i++, sum++)
            viv_json_add(&value, viv_ctl__handle_json(&infos[i]));
        *out_more = sum == HANDLES_MAX;
        if (*out_more) break;
    }
    return value;
}

static json_t *owned_json(const struct place *place, const struct viv_ctl_holds *holds)
{
    json_t *value = json_object();
    for (viv_kind kind = 0; kind < VIV_KINDS_MAX; kind++) {
        const struct viv_res_kind *row = viv_res_kind(place->reg, kind);
        if (holds->kinds[kind].count == 0 || row == NULL) continue;
        json_t *inner = json_object();
        viv_json_put(&inner, "count", viv_json_u64(holds->kinds[kind].count));
        viv_json_put(&inner, "bytes", viv_json_u64(holds->kinds[kind].bytes));
        viv_json_put(&value, row->name, inner);
    }
    return value;
}

static json_t *denials_json(const struct viv_ctl_holds *holds)
{
    const struct viv_audit_event *last = &holds->last;
    json_t *value = json_object();
    viv_json_put(&value, "count", viv_json_u64(holds->denials));
    if (holds->denials == 0) return value;
    char object[VIV_AUDIT_OBJECT_MAX + 1];
    memcpy(object, last->object, last->object_len);
    object[last->object_len] = '\0';
    viv_json_put(&value, "last_class",
                 last->cap < VIV_CAP_COUNT ? json_string(viv_cap_rows[last->cap].name)
                                           : json_null());
    viv_json_put(&value, "last_object", viv_ctl__text(object));
    return value;
}

static json_t *pending_json(const struct place *place, viv_rid proc, bool *out_more)
{
    struct viv_future_info infos[HANDLES];
    uint32_t cursor = 0, count, sum = 0;
    json_t *value = json_array();
    *out_more = false;
    while (viv_res_pending(place->reg, proc, &cursor, infos, HANDLES, &count) == VIV_OK &&
           count > 0) {
        for (uint32_t i = 0; i < count && sum < FUTURES_MAX; i++, sum++) {
            json_t *row = json_object();
            viv_json_put(&row, "future", json_integer(infos[i].hdl.w));
            viv_json_put(&row, "operation", json_string(infos[i].op));
            viv_json_put(&row, "age_s", viv_json_u64(infos[i].age_s));
            viv_json_add(&value, row);
        }
        *out_more = sum == FUTURES_MAX;
        if (*out_more) break;
    }
    return value;
}

static void put_futures(const struct place *place, viv_rid proc, json_t **value)
{
    char text[VIV_RID_TEXT_BYTES];
    struct viv_futures_info futures;
    bool has_more;
    viv_rid log = VIV_RID_NONE;
    if (viv_res_futures(place->reg, proc, &futures) == VIV_OK) {
        json_t *ring = json_object();
        viv_json_put(&ring, "capacity", json_integer(futures.ring_capacity));
        viv_json_put(&ring, "waiting", json_integer(futures.waiting_count));
        viv_json_put(value, "ring", ring);
        viv_json_put(value, "parked", json_integer(futures.parked_count));
        viv_json_put(value, "futures", pending_json(place, proc, &has_more));
        viv_json_put(value, "has_more_futures", json_boolean(has_more));
    }
    if (viv_res_log_channel(place->reg, proc, &log) != VIV_OK) log = VIV_RID_NONE;
    viv_json_put(value, "log_channel",
                 log.w != 0 ? json_string(viv_rid_format(log, text)) : json_null());
}

static json_t *all_json(const struct place *place, const struct viv_ctl_holds *holds)
{
    char text[VIV_RID_TEXT_BYTES];
    json_t *value = json_object();
    bool has_more;
    const struct viv_proc *proc = viv_proc_find(place->kernel, NULL, holds->pid);
    const struct viv_session *session = proc != NULL ? viv_ses_of(proc) : NULL;
    viv_json_put(&value, "rid", json_string(viv_rid_format(holds->proc, text)));
    viv_json_put(&value, "session", session != NULL ? session_json(session) : json_null());
    viv_json_put(&value, "usage", usage_json(place, holds->proc));
    viv_json_put(&value, "handles", handles_json(place, holds->proc, &has_more));
    viv_json_put(&value, "has_more_handles", json_boolean(has_more));
    viv_json_put(&value, "owned", owned_json(place, holds));
    viv_json_put(&value, "shares", viv_json_u64(holds->shares));
    put_futures(place, holds->proc, &value);
    viv_json_put(&value, "denials", denials_json(holds));
    return value;
}

bool viv_ctl__holds(const struct viv_ctl_req *req, struct viv_ctl_holds *holds, json_t **out_value)
{
    const struct viv_ctl_programs *programs = viv_ctl_service(req);
    const struct place place = place_of(req);
    *out_value = NULL;
    if (!holds->has_begun) {
        holds->has_begun = true;
        viv_audit_flush(place.audit);
        if (viv_room_process(programs->cap, holds->pid, &holds->proc) != VIV_OK) return true;
    }
    if (!holds->is_denials_read) {
        holds->is_denials_read = read_denials(&place, holds);
        return false;
    }
    if (!read_owned(&place, holds)) return false;
    *out_value = all_json(&place, holds);
    return true;
}
