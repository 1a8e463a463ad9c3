// SPDX-License-Identifier: Apache-2.0
// The driver's operations on what hangs on a process: grants, wakes, promises, checkpoints, steps;
// on blobs; and waits, which only look.
#include "store_driver.h"

// ---- grants ----

static enum viv_err do_grant(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_scope scope = driver_scope(d, json_object_get(call, "scope"));
    (void)out;
    return viv_store_grant(d->store, &scope, driver_text(d, call, "id"),
                           driver_text(d, call, "descriptor"), &d->diag);
}

static enum viv_err do_revoke(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_scope scope = driver_scope(d, json_object_get(call, "scope"));
    (void)out;
    return viv_store_revoke(d->store, &scope, driver_text(d, call, "id"), &d->diag);
}

static enum viv_err do_transfer(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_scope from = driver_scope(d, json_object_get(call, "from"));
    const struct viv_scope to = driver_scope(d, json_object_get(call, "to"));
    size_t count;
    (void)out;
    const struct viv_str *ids = driver_texts(d, call, "ids", &count);
    return viv_store_transfer(d->store, &from, &to, ids, count, &d->diag);
}

static enum viv_err do_has_grant(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_scope scope = driver_scope(d, json_object_get(call, "scope"));
    struct viv_str rights;
    bool has;
    VIV_TRY(viv_store_has_grant(d->store, &scope, driver_text(d, call, "id"), &d->mem, &has,
                                &rights, &d->diag));
    driver_put(out, "has", json_boolean(has));
    driver_put(out, "rights", driver_show_text(rights));
    return VIV_OK;
}

static void put_grants(json_t *out, const struct viv_grants *grants, bool with_records)
{
    json_t *items = json_array();
    for (size_t i = 0; i < grants->count; i++) {
        const struct viv_grant *grant = &grants->items[i];
        json_t *item = json_object();
        driver_put(item, "session", driver_show_text(grant->scope.session));
        driver_put(item, "frame", driver_show_text(grant->scope.frame));
        driver_put(item, "scope_id", driver_show_text(grant->scope_id));
        driver_put(item, "descriptor", driver_show_text(grant->descriptor));
        if (with_records) driver_put(item, "record", driver_show_record(&grant->record));
        (void)json_array_append_new(items, item);
    }
    driver_put(out, "grants", items);
}

static enum viv_err do_grants_of_scope(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_scope scope = driver_scope(d, json_object_get(call, "scope"));
    const struct viv_grants_query query = {.is_live_only = viv_json_get_bool(call, "live_only"),
                                           .after = driver_text(d, call, "after"),
                                           .limit = driver_u64(call, "limit")};
    struct viv_grants grants;
    VIV_TRY(viv_store_grants_of_scope(d->store, &scope, &query, &d->mem, &grants, &d->diag));
    put_grants(out, &grants, true);
    driver_put(out, "next", driver_show_text(grants.next));
    return VIV_OK;
}

static enum viv_err do_grants_of_process(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_grants grants;
    VIV_TRY(viv_store_grants_of_process(d->store, driver_text(d, call, "id"), &d->mem, &grants,
                                        &d->diag));
    put_grants(out, &grants, false);
    return VIV_OK;
}

static json_t *show_ids(const struct viv_ids *ids)
{
    json_t *items = json_array();
    for (size_t i = 0; i < ids->count; i++)
        (void)json_array_append_new(items, driver_show_text(ids->items[i]));
    return items;
}

static enum viv_err do_scope_delete(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_scope_report report;
    const uint32_t flags = (viv_json_get_bool(call, "cancel") ? VIV_SCOPE_CANCEL_ORPHANS : 0u) |
                           (viv_json_get_bool(call, "drop") ? VIV_SCOPE_DROP_WAKES : 0u);
    VIV_TRY(viv_store_scope_delete(d->store, driver_text(d, call, "session"), flags, &d->mem,
                                   &report, &d->diag));
    driver_put(out, "revoked", json_integer((json_int_t)report.revoked_grant_count));
    driver_put(out, "dropped", json_integer((json_int_t)report.deleted_wake_count));
    driver_put(out, "orphaned", show_ids(&report.orphaned));
    driver_put(out, "preserved", show_ids(&report.preserved));
    return VIV_OK;
}

// ---- wakes ----

static enum viv_err do_ack_wake(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    return viv_store_ack_wake(d->store, driver_text(d, call, "id"), driver_u64(call, "sequence"),
                              &d->diag);
}

static enum viv_err do_wakes_take(struct driver *d, const json_t *call, json_t *out)
{
    const json_t *wanted = json_object_get(call, "scope");
    const struct viv_scope scope = driver_scope(d, wanted);
    const struct viv_wakes_query query = {.scope = json_is_object(wanted) ? &scope : NULL,
                                          .limit = driver_u64(call, "limit"),
                                          .visible_for_ms = driver_i64(call, "visible_for_ms")};
    struct viv_wakes wakes;
    VIV_TRY(viv_store_wakes_take(d->store, &query, &d->mem, &wakes, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < wakes.count; i++)
        (void)json_array_append_new(items, driver_show_wake(&wakes.items[i]));
    driver_put(out, "wakes", items);
    return VIV_OK;
}

static enum viv_err do_wakes_ack(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    return viv_store_wakes_ack(d->store, driver_text(d, call, "wake_id"),
                               driver_text(d, call, "take_token"), &d->diag);
}

static enum viv_err do_wakes_return(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    return viv_store_wakes_return(d->store, driver_text(d, call, "wake_id"),
                                  driver_text(d, call, "take_token"), driver_i64(call, "delay_ms"),
                                  &d->diag);
}

// ---- promises ----

static void put_promise(json_t *out, const struct viv_promise *promise)
{
    json_t *item = json_object();
    driver_put(item, "id", driver_show_text(promise->id));
    driver_put(item, "key", driver_show_text(promise->key));
    driver_put(item, "token", json_string(promise->token));
    driver_put(item, "due_ms", json_integer(promise->due_ms));
    driver_put(item, "outcome", driver_show_text(promise->outcome));
    driver_put(out, "promise", item);
}

static enum viv_err do_promise_create(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_promise_spec spec = {.key = driver_text(d, call, "key"),
                                          .due_ms = driver_i64(call, "due_ms"),
                                          .fence = driver_fence(d, call)};
    struct viv_promise promise;
    VIV_TRY(viv_store_promise_create(d->store, driver_text(d, call, "id"), &spec, &d->mem, &promise,
                                     &d->diag));
    put_promise(out, &promise);
    return VIV_OK;
}

static enum viv_err do_promise_settle(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_promise_ref ref = {.token = driver_text(d, call, "token"),
                                        .id = driver_text(d, call, "id"),
                                        .key = driver_text(d, call, "key")};
    struct viv_promise promise;
    bool won;
    VIV_TRY(viv_store_promise_settle(d->store, &ref, driver_text(d, call, "outcome"), &d->mem,
                                     &promise, &won, &d->diag));
    put_promise(out, &promise);
    driver_put(out, "won", json_boolean(won));
    return VIV_OK;
}

static enum viv_err do_promise_get(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_promise promise;
    VIV_TRY(viv_store_promise_get(d->store, driver_text(d, call, "id"), driver_text(d, call, "key"),
                                  &d->mem, &promise, &d->diag));
    put_promise(out, &promise);
    return VIV_OK;
}

// ---- checkpoints, steps, blobs ----

static json_t *show_hex(struct driver *d, struct viv_str bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = driver_take(d, bytes.n, 2);
    for (size_t i = 0; i < bytes.n; i++) {
        text[2 * i] = digits[(uint8_t)bytes.p[i] >> 4];
        text[2 * i + 1] = digits[(uint8_t)bytes.p[i] & 15];
    }
    return json_stringn(text, 2 * bytes.n);
}

static enum viv_err do_checkpoint_put(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    return viv_store_checkpoint_put(d->store, driver_text(d, call, "id"),
                                    driver_u64(call, "ordinal"), driver_text(d, call, "bytes"),
                                    driver_fence(d, call), &d->diag);
}

static enum viv_err do_checkpoint_get(struct driver *d, const json_t *call, json_t *out)
{
    const bool is_newest = !json_is_integer(json_object_get(call, "ordinal"));
    struct viv_checkpoint checkpoint;
    VIV_TRY(
        viv_store_checkpoint_get(d->store, driver_text(d, call, "id"),
                                 is_newest ? VIV_CHECKPOINT_NEWEST : driver_u64(call, "ordinal"),
                                 &d->mem, &checkpoint, &d->diag));
    driver_put(out, "ordinal", json_integer((json_int_t)checkpoint.ordinal));
    driver_put(out, "bytes", show_hex(d, checkpoint.bytes));
    return VIV_OK;
}

static enum viv_err do_step_end(struct driver *d, const json_t *call, json_t *out)
{
    (void)out;
    return viv_store_step_end(d->store, driver_text(d, call, "id"), driver_text(d, call, "key"),
                              driver_text(d, call, "value"), driver_fence(d, call), &d->diag);
}

static enum viv_err do_step_get(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_str value;
    VIV_TRY(viv_store_step_get(d->store, driver_text(d, call, "id"), driver_text(d, call, "key"),
                               &d->mem, &value, &d->diag));
    driver_put(out, "value", driver_show_text(value));
    return VIV_OK;
}

static enum viv_err do_blob_put(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_str hash;
    VIV_TRY(viv_store_blob_put(d->store, driver_text(d, call, "bytes"), &d->mem, &hash, &d->diag));
    driver_put(out, "hash", driver_show_text(hash));
    return VIV_OK;
}

static enum viv_err do_blob_get(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_str bytes;
    VIV_TRY(viv_store_blob_get(d->store, driver_text(d, call, "hash"), &d->mem, &bytes, &d->diag));
    driver_put(out, "bytes", show_hex(d, bytes));
    return VIV_OK;
}

static enum viv_err do_blob_gc(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_blobs_gone gone;
    VIV_TRY(viv_store_blob_gc(d->store, driver_i64(call, "grace_ms"), &gone, &d->diag));
    driver_put(out, "count", json_integer((json_int_t)gone.count));
    driver_put(out, "bytes", json_integer((json_int_t)gone.bytes));
    return VIV_OK;
}

// ---- waits ----

static enum viv_err do_wait(struct driver *d, const json_t *call, json_t *out)
{
    const char *kind = viv_json_get_text(call, "kind");
    const struct viv_wait_spec spec = {.kind = kind[0] == 'p'   ? VIV_WAIT_PROMISE
                                               : kind[1] == 'n' ? VIV_WAIT_END
                                                                : VIV_WAIT_EVENT,
                                       .id = driver_text(d, call, "id"),
                                       .name = driver_text(d, call, "name"),
                                       .after = driver_u64(call, "after")};
    struct viv_waited waited = {.version = 0};
    VIV_TRY(viv_store_wait(d->store, &spec, 0, &d->mem, &waited));
    if (spec.kind == VIV_WAIT_EVENT)
        driver_put(out, "event", driver_show_event(&waited.event));
    else
        driver_put(out, "output", driver_show_text(waited.output));
    return VIV_OK;
}

const struct driver_op driver_object_ops[] = {
    {"grant", do_grant},
    {"revoke", do_revoke},
    {"transfer", do_transfer},
    {"has_grant", do_has_grant},
    {"grants_of_scope", do_grants_of_scope},
    {"grants_of_process", do_grants_of_process},
    {"scope_delete", do_scope_delete},
    {"ack_wake", do_ack_wake},
    {"wakes_take", do_wakes_take},
    {"wakes_ack", do_wakes_ack},
    {"wakes_return", do_wakes_return},
    {"promise_create", do_promise_create},
    {"promise_settle", do_promise_settle},
    {"promise_get", do_promise_get},
    {"checkpoint_put", do_checkpoint_put},
    {"checkpoint_get", do_checkpoint_get},
    {"step_end", do_step_end},
    {"step_get", do_step_get},
    {"blob_put", do_blob_put},
    {"blob_get", do_blob_get},
    {"blob_gc", do_blob_gc},
    {"wait", do_wait},
    {NULL, NULL},
};
