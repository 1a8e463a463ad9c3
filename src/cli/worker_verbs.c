// SPDX-License-Identifier: Apache-2.0
// What programs of a run may ask for: steps of their own process with the run's fence; to start
// processes, which are granted to the scope "job:ID" of the run; and what they are granted there.
#include "cli/worker_door.h"

#include "cli/job.h"
#include "store/objects.h"
#include "store/wait.h"
#include <string.h>

enum { LOOK_MS = 250 }; // how soon a client that has gone is noticed

static struct viv_str text_of(const json_t *value)
{
    return json_is_string(value)
               ? (struct viv_str){json_string_value(value), json_string_length(value)}
               : (struct viv_str){NULL, 0};
}

static struct viv_str arg(const struct viv_door_call *call, const char *name)
{
    return text_of(json_object_get(call->args, name));
}

static enum viv_err own_scope(const struct viv_door_call *call, struct viv_scope *out_scope)
{
    *out_scope = (struct viv_scope){.session = {NULL, 0}};
    out_scope->session.p = viv_mem_try_printf(call->mem, &out_scope->session.n, "job:%.*s",
                                              (int)call->id.n, call->id.p);
    return out_scope->session.p == NULL ? VIV_E_EXHAUSTED : VIV_OK;
}

// The process that is meant, if it is the run's own or granted with this right; else there is none.
static enum viv_err reach(const struct viv_door_call *call, const char *right,
                          struct viv_str *out_id)
{
    bool has;
    struct viv_scope scope;
    struct viv_str rights;
    json_t *list;
    const struct viv_str id = arg(call, "id");
    *out_id = id;
    if (id.p != NULL && id.n == call->id.n && memcmp(id.p, call->id.p, id.n) == 0) return VIV_OK;
    VIV_TRY(own_scope(call, &scope));
    VIV_TRY(viv_store_has_grant(call->store, &scope, id, call->mem, &has, &rights, call->diag));
    if (!has) return VIV_E_NOTFOUND;
    VIV_TRY(viv_cjson_parse(rights.p, rights.n, &list, NULL));
    has = false;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *each = json_string_value(json_array_get(list, i));
        has = has || (each != NULL && strcmp(each, right) == 0);
    }
    json_decref(list);
    return has ? VIV_OK : VIV_E_DENIED;
}

static enum viv_err get_step(const struct viv_door_call *call, json_t **out_value)
{
    struct viv_str value;
    VIV_TRY(
        viv_store_step_get(call->store, call->id, arg(call, "key"), call->mem, &value, call->diag));
    *out_value = json_object();
    viv_json_put(out_value, "value", viv_job_text(value));
    return VIV_OK;
}

static enum viv_err end_step(const struct viv_door_call *call, json_t **out_value)
{
    VIV_TRY(viv_store_step_end(call->store, call->id, arg(call, "key"), arg(call, "value"),
                               &call->fence, call->diag));
    *out_value = json_object();
    return VIV_OK;
}

static enum viv_err send_signal(const struct viv_door_call *call, json_t **out_value)
{
    bool is_replayed;
    struct viv_event event;
    struct viv_str id;
    const struct viv_str name = arg(call, "name");
    struct viv_append append = {.payload = arg(call, "payload"), .key = arg(call, "key")};
    VIV_TRY(reach(call, "signal", &id));
    append.type.p =
        viv_mem_try_printf(call->mem, &append.type.n, "signal.%.*s", (int)name.n, name.p);
    if (append.type.p == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(viv_store_append(call->store, id, &append, call->mem, &event, NULL, &is_replayed,
                             call->diag));
    *out_value =
        json_pack("{sIsb}", "sequence", (json_int_t)event.seq, "replayed", (int)is_replayed);
    return VIV_OK;
}

static enum viv_err start(const struct viv_door_call *call, json_t **out_value)
{
    struct viv_started started;
    struct viv_start_grant grants[VIV_CLI_LIST_MAX + 1] = {{.descriptor = viv_job_str("{}")}};
    const json_t *list = json_object_get(call->args, "grants");
    const size_t count = json_array_size(list);
    if (count > VIV_CLI_LIST_MAX) return VIV_E_TOOBIG;
    VIV_TRY(own_scope(call, &grants[0].scope));
    for (size_t i = 0; i < count; i++) {
        const json_t *scope = json_array_get(list, i);
        grants[i + 1] =
            (struct viv_start_grant){.scope = {text_of(json_object_get(scope, "session")),
                                               text_of(json_object_get(scope, "frame"))},
                                     .descriptor = viv_job_str("{}")};
    }
    const struct viv_start what = {
        .registration = arg(call, "registration"), .grants = grants, .grant_count = count + 1};
    VIV_TRY(viv_store_start(call->store, &what, call->mem, &started, call->diag));
    *out_value = json_pack("{sb}", "created", (int)started.is_created);
    return VIV_OK;
}

static enum viv_err show(const struct viv_door_call *call, json_t **out_value)
{
    struct viv_str id;
    VIV_TRY(reach(call, "read", &id));
    return viv_job_describe(call->store, id, call->mem, call->diag, out_value);
}

// Waits for the end, for a second at most; state and output as they are then.
static enum viv_err await_end(const struct viv_door_call *call, json_t **out_value)
{
    struct viv_str id;
    struct viv_waited waited;
    struct viv_record record;
    VIV_TRY(reach(call, "await", &id));
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = id};
    uint64_t left_ms = viv_min_u64(viv_json_get_u64(call->args, "timeout_ms", 0), 1000);
    for (; left_ms > 0 && call->goes_on(call->arg); left_ms -= viv_min_u64(left_ms, LOOK_MS)) {
        const int64_t slice_ms = (int64_t)viv_min_u64(left_ms, LOOK_MS);
        const enum viv_err err = viv_store_wait(call->store, &spec, slice_ms, call->mem, &waited);
        if (err == VIV_OK) break;
        if (err != VIV_E_TIMEOUT) return err;
    }
    VIV_TRY(viv_store_get(call->store, id, call->mem, &record, call->diag));
    *out_value = json_object();
    viv_json_put(out_value, "state", json_integer((json_int_t)record.state));
    viv_json_put(out_value, "await_output", viv_job_text(record.await_output));
    return VIV_OK;
}

enum viv_err viv_door__run(const char *verb, const struct viv_door_call *call, json_t **out_value)
{
    static const struct {
        const char *name;
        enum viv_err (*run)(const struct viv_door_call *call, json_t **out_value);
    } verbs[] = {{"step_get", get_step}, {"step_end", end_step}, {"signal", send_signal},
                 {"start", start},       {"show", show},         {"await", await_end}};
    for (size_t i = 0; verb != NULL && i < VIV_COUNT_OF(verbs); i++) {
        if (strcmp(verbs[i].name, verb) != 0) continue;
        *out_value = NULL;
        VIV_TRY(verbs[i].run(call, out_value));
        return *out_value == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    }
    return VIV_E_UNSUPPORTED;
}
