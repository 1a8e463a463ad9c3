// SPDX-License-Identifier: Apache-2.0
// Every operation that changes a store: see store_ops.h.
#include "store_ops.h"

#include "base/hash.h"
#include "harness/check.h"
#include "store/admin.h"
#include "store/list.h"
#include <stdio.h>
#include <stdlib.h>

enum { TTL_MS = 100000, NO_PID = 0x3ffffe };
#define TYPES "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}},{\"name\":\"f\"}]"
#define HOST "{\"type\":\"host\",\"reason\":\"r\"}"
#define SUCCESS "{\"type\":\"success\",\"value\":[1]}"

static const char *const store_ids[] = {"dead", "done", "held", "idle", "new"};

static struct { // of the last furnishing; tests run one after the other
    struct viv_lease held, dead;
    char promise[33], wake_id[80];
} kept;

static struct viv_str fresh(struct rig *rig, const char *id)
{
    return rig_registration(rig, id, "rerunnable",
                            "\"kind\":\"k\"," TYPES ",\"wake_target\":{\"session\":\"s\"}");
}

void store_furnish(struct rig *rig)
{
    const struct viv_scope scope = {.session = str("s")};
    struct viv_owner gone = {.owner_id = str("gone")};
    struct viv_wakes wakes;
    struct viv_promise promise;
    const struct viv_promise_spec spec = {.key = str("w"), .due_ms = -1};
    for (size_t i = 0; i < VIV_COUNT_OF(store_ids) - 1; i++) // but for the new one
        RIG_OK(viv_store_register(rig->store, fresh(rig, store_ids[i]), &rig->mem, NULL, NULL,
                                  &rig->diag));
    RIG_OK(viv_store_grant(rig->store, &scope, str("idle"), str("{}"), &rig->diag));
    RIG_OK(rig_append(rig, "idle", "e", "{\"x\":1}", "first", NULL));
    const struct viv_wakes_query query = {.limit = 1};
    RIG_OK(viv_store_wakes_take(rig->store, &query, &rig->mem, &wakes, &rig->diag));
    assert_int_equal(wakes.count, 1);
    (void)snprintf(kept.wake_id, sizeof kept.wake_id, "%.*s", (int)wakes.items[0].wake_id.n,
                   wakes.items[0].wake_id.p);
    RIG_OK(rig_claim(rig, "held", "me", "1", TTL_MS, &kept.held));
    RIG_OK(
        viv_store_promise_create(rig->store, str("held"), &spec, &rig->mem, &promise, &rig->diag));
    memcpy(kept.promise, promise.token, sizeof kept.promise);
    RIG_OK(viv_liveness_self(&gone.liveness));
    gone.liveness.pid = NO_PID;
    RIG_OK(viv_store_claim(rig->store, str("dead"), &gone, TTL_MS, 0, &rig->mem, &kept.dead,
                           &rig->diag));
    kept.held.id = str("held");
    kept.held.owner = (struct viv_owner){.owner_id = str("me"), .incarnation = str("1")};
    kept.held.guard = kept.dead.guard = (struct viv_str){NULL, 0};
    kept.dead.id = str("dead");
    kept.dead.owner.owner_id = str("gone");
    RIG_OK(rig_complete(rig, "done", SUCCESS, HOST, NULL));
    RIG_OK(viv_store_blob_put(rig->store, str("bytes"), &rig->mem, NULL, &rig->diag));
    atomic_fetch_add(&rig->wall_ms, 1000);
}

void store_furnish_free(struct rig *rig)
{
    store_furnish(rig);
    RIG_OK(viv_store_release(rig->store, &kept.held, NULL, NULL, &rig->diag));
    RIG_OK(viv_store_release(rig->store, &kept.dead, NULL, NULL, &rig->diag));
}

// ---- operations ----

static enum viv_err do_register(struct rig *rig)
{
    return viv_store_register(rig->store, fresh(rig, "new"), &rig->mem, NULL, NULL, &rig->diag);
}

static enum viv_err do_start(struct rig *rig)
{
    const struct viv_start_grant grants[] = {{{.session = str("s")}, str("{}")},
                                             {{.session = str("t")}, str("{}")}};
    const struct viv_start_lease lease = {.owner = {.owner_id = str("me"), .incarnation = str("1")},
                                          .ttl_ms = TTL_MS};
    const struct viv_append event = {.type = str("e"), .payload = str("1"), .key = str("k")};
    const struct viv_start start = {.registration = fresh(rig, "new"),
                                    .grants = grants,
                                    .grant_count = 2,
                                    .lease = &lease,
                                    .events = &event,
                                    .event_count = 1};
    return viv_store_start(rig->store, &start, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_append(struct rig *rig)
{
    return rig_append(rig, "idle", "e", "{\"x\":[1,2.5,\"some text of some length\"]}", "k", NULL);
}

static enum viv_err do_append_many(struct rig *rig)
{
    const struct viv_append first = {.type = str("e"), .payload = str("1"), .key = str("k")};
    const struct viv_append second = {.type = str("f"), .payload = str("2"), .key = str("l")};
    const struct viv_append_to appends[] = {{str("idle"), first}, {str("held"), second}};
    return viv_store_append_many(rig->store, appends, 2, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_claim(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    return viv_store_claim(rig->store, str("idle"), &owner, TTL_MS, 0, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_claim_next(struct rig *rig)
{
    const struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    const struct viv_queue_query query = {.owner = &owner, .ttl_ms = TTL_MS, .limit = 10};
    return viv_store_claim_next(rig->store, &query, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_reclaim(struct rig *rig)
{
    struct viv_owner owner = {.owner_id = str("me"), .incarnation = str("1")};
    RIG_OK(viv_liveness_self(&owner.liveness));
    const struct viv_reclaim reclaim = {
        .owner = &owner, .observed = &kept.dead, .ttl_ms = TTL_MS, .flags = VIV_CLAIM_BEGIN};
    return viv_store_reclaim(rig->store, str("dead"), &reclaim, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_renew(struct rig *rig)
{
    struct viv_lease lease = kept.held;
    return viv_store_renew(rig->store, &lease, 2 * TTL_MS, str("{\"pid\":7}"), &rig->diag);
}

static enum viv_err do_renew_many(struct rig *rig)
{
    struct viv_renewed renewed;
    const struct viv_lease *leases[] = {&kept.held};
    const struct viv_renewal renewal = {leases, 1, 2 * TTL_MS};
    VIV_TRY(viv_store_renew_many(rig->store, &renewal, &renewed, NULL, &rig->diag));
    return renewed.status;
}

static enum viv_err do_release(struct rig *rig)
{
    const struct viv_release how = {
        .outcome = VIV_ATTEMPT_FAILED, .reason = str("why"), .delay_ms = 5};
    return viv_store_release(rig->store, &kept.held, &how, NULL, &rig->diag);
}

static enum viv_err do_complete(struct rig *rig)
{
    return rig_complete(rig, "held", SUCCESS, "{\"type\":\"lease\"}", &kept.held.f);
}

static enum viv_err do_complete_by_host(struct rig *rig)
{
    return rig_complete(rig, "idle",
                        "{\"type\":\"failure\",\"class\":\"execution\",\"code\":\"c\","
                        "\"message\":\"m\"}",
                        HOST, NULL);
}

static enum viv_err do_cancel(struct rig *rig)
{
    const struct viv_cancel cancel = {.reason = str("why"), .flags = VIV_CANCEL_NOW};
    return viv_store_request_cancel(rig->store, str("idle"), &cancel, &rig->mem, NULL, NULL,
                                    &rig->diag);
}

static enum viv_err do_external_ref(struct rig *rig)
{
    return viv_store_set_external_ref(rig->store, str("idle"),
                                      str("{\"backend\":\"b\",\"id\":\"i\"}"), NULL, &rig->mem,
                                      NULL, &rig->diag);
}

static enum viv_err do_first_started(struct rig *rig)
{
    return viv_store_record_first_started(rig->store, str("idle"),
                                          str("{\"at_ms\":5,\"owner\":{\"owner_id\":\"o\"}}"), NULL,
                                          &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_abandon(struct rig *rig)
{
    return viv_store_request_abandon(rig->store, str("idle"),
                                     str("{\"at_ms\":5,\"by\":\"b\",\"reason\":\"r\"}"), &rig->mem,
                                     NULL, &rig->diag);
}

static enum viv_err do_set_wait(struct rig *rig)
{
    return viv_store_set_wait(
        rig->store, str("held"),
        str("{\"key\":\"k\",\"kind\":\"event\",\"name\":\"n\",\"ordinal\":1,\"since_ms\":5}"),
        &kept.held.f, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_grant(struct rig *rig)
{
    const struct viv_scope scope = {.session = str("t"), .frame = str("f")};
    return viv_store_grant(rig->store, &scope, str("held"), str("{\"label\":\"l\"}"), &rig->diag);
}

static enum viv_err do_revoke(struct rig *rig)
{
    const struct viv_scope scope = {.session = str("s")};
    return viv_store_revoke(rig->store, &scope, str("idle"), &rig->diag);
}

static enum viv_err do_transfer(struct rig *rig)
{
    const struct viv_scope from = {.session = str("s")}, to = {.session = str("t")};
    const struct viv_str id = str("idle");
    return viv_store_transfer(rig->store, &from, &to, &id, 1, &rig->diag);
}

static enum viv_err do_scope_delete(struct rig *rig)
{
    return viv_store_scope_delete(rig->store, str("s"),
                                  VIV_SCOPE_CANCEL_ORPHANS | VIV_SCOPE_DROP_WAKES, &rig->mem, NULL,
                                  &rig->diag);
}

static enum viv_err do_ack_wake(struct rig *rig)
{
    return viv_store_ack_wake(rig->store, str("idle"), 1, &rig->diag);
}

static enum viv_err do_wakes_take(struct rig *rig)
{
    const struct viv_wakes_query query = {.limit = 10, .visible_for_ms = 1000000};
    return viv_store_wakes_take(rig->store, &query, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_wakes_ack(struct rig *rig)
{
    return viv_store_wakes_ack(rig->store, str(kept.wake_id), str(""), &rig->diag);
}

static enum viv_err do_promise_create(struct rig *rig)
{
    const struct viv_promise_spec spec = {
        .key = str("p"), .due_ms = 1800000000000, .fence = &kept.held.f};
    return viv_store_promise_create(rig->store, str("held"), &spec, &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_promise_settle(struct rig *rig)
{
    const struct viv_promise_ref ref = {.token = str(kept.promise)};
    return viv_store_promise_settle(rig->store, &ref, str("{\"type\":\"value\",\"value\":1}"),
                                    &rig->mem, NULL, NULL, &rig->diag);
}

static enum viv_err do_checkpoint(struct rig *rig)
{
    static char bytes[9000]; // more than a page
    memset(bytes, 'c', sizeof bytes);
    return viv_store_checkpoint_put(rig->store, str("held"), 1,
                                    (struct viv_str){bytes, sizeof bytes}, &kept.held.f,
                                    &rig->diag);
}

static enum viv_err do_step(struct rig *rig)
{
    return viv_store_step_end(rig->store, str("held"), str("s"), str("[1]"), &kept.held.f,
                              &rig->diag);
}

static enum viv_err do_blob_put(struct rig *rig)
{
    return viv_store_blob_put(rig->store, str("others"), &rig->mem, NULL, &rig->diag);
}

static enum viv_err do_blob_gc(struct rig *rig)
{
    return viv_store_blob_gc(rig->store, 0, NULL, &rig->diag);
}

static enum viv_err do_prune(struct rig *rig)
{
    const struct viv_prune prune = {.cutoff_ms = INT64_MAX, .limit = 10};
    return viv_store_prune(rig->store, &prune, NULL, &rig->diag);
}

const struct store_op store_ops[] = {
    {"register", do_register, VIV_OK, false},
    {"start", do_start, VIV_OK, false},
    {"append", do_append, VIV_OK, false},
    {"append_many", do_append_many, VIV_OK, false},
    {"claim", do_claim, VIV_OK, false},
    {"claim_next", do_claim_next, VIV_OK, false},
    {"reclaim", do_reclaim, VIV_STORE_LEASED, false},
    {"renew", do_renew, VIV_OK, true},
    {"renew_many", do_renew_many, VIV_OK, true},
    {"release", do_release, VIV_OK, true},
    {"complete", do_complete, VIV_OK, true},
    {"complete_by_host", do_complete_by_host, VIV_OK, true},
    {"cancel", do_cancel, VIV_OK, true},
    {"external_ref", do_external_ref, VIV_OK, false},
    {"first_started", do_first_started, VIV_OK, false},
    {"abandon", do_abandon, VIV_OK, false},
    {"set_wait", do_set_wait, VIV_OK, false},
    {"grant", do_grant, VIV_OK, false},
    {"revoke", do_revoke, VIV_OK, false},
    {"transfer", do_transfer, VIV_STORE_NOT_GRANTED, false},
    {"scope_delete", do_scope_delete, VIV_OK, false},
    {"ack_wake", do_ack_wake, VIV_OK, true},
    {"wakes_take", do_wakes_take, VIV_OK, false},
    {"wakes_ack", do_wakes_ack, VIV_OK, true},
    {"promise_create", do_promise_create, VIV_OK, false},
    {"promise_settle", do_promise_settle, VIV_OK, true},
    {"checkpoint", do_checkpoint, VIV_OK, false},
    {"step", do_step, VIV_OK, false},
    {"blob_put", do_blob_put, VIV_OK, false},
    {"blob_gc", do_blob_gc, VIV_OK, true},
    {"prune", do_prune, VIV_OK, true},
};
const size_t store_op_count = VIV_COUNT_OF(store_ops);

// ---- what can be seen ----

struct text {
    char *p;
    size_t len, room;
};

static void put(struct text *text, const char *name, struct viv_str value)
{
    CHECK(text->len + value.n + 40 < text->room);
    text->len += (size_t)snprintf(text->p + text->len, text->room - text->len, " %s=%.*s", name,
                                  (int)value.n, value.n == 0 ? "" : value.p);
}

static void put_number(struct text *text, const char *name, int64_t number)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%lld", (long long)number);
    put(text, name, str(digits));
}

static void put_record(struct text *text, const struct viv_record *record)
{
    put(text, "\nid", record->id);
    put_number(text, "state", record->state);
    put_number(text, "phase", record->phase);
    put_number(text, "last", (int64_t)record->last_seq);
    put_number(text, "created", record->created_ms);
    put_number(text, "updated", record->updated_ms);
    put_number(text, "due", record->due_ms);
    put_number(text, "attempt", record->attempt);
    put_number(text, "charged", record->charged);
    put(text, "hash", record->hash);
    put(text, "target", record->wake_target.session);
    put(text, "output", record->await_output);
    put(text, "ref", record->external_ref);
    put(text, "started", record->first_started);
    put(text, "abandon", record->abandon_request);
    put(text, "cancel", record->cancel_request);
    put(text, "wait", record->wait);
}

static enum viv_err view_record(struct rig *rig, struct text *text, struct viv_str id)
{
    struct viv_record record;
    VIV_TRY(viv_store_get(rig->store, id, &rig->mem, &record, &rig->diag));
    put_record(text, &record);
    return VIV_OK;
}

static enum viv_err view_events(struct rig *rig, struct text *text, struct viv_str id)
{
    struct viv_events events;
    VIV_TRY(viv_store_events_recent(rig->store, id, 1000, &rig->mem, &events, &rig->diag));
    for (size_t i = 0; i < events.count; i++) {
        put_number(text, "\n seq", (int64_t)events.items[i].seq);
        put(text, "type", events.items[i].type);
        put(text, "key", events.items[i].key);
        put(text, "payload", events.items[i].payload);
        put(text, "semantics", events.items[i].semantics);
        put_number(text, "at", events.items[i].at_ms);
        put(text, "wake", events.items[i].wake_id);
    }
    return VIV_OK;
}

// By other indexes than the log itself.
static enum viv_err view_keys(struct rig *rig, struct text *text, struct viv_str id)
{
    uint64_t count;
    struct viv_event event;
    struct viv_events events;
    const struct viv_events_query query = {.limit = 1000};
    VIV_TRY(viv_store_count_through(rig->store, id, str("e"), UINT64_MAX, &count, &rig->diag));
    put_number(text, "\n count", (int64_t)count);
    const enum viv_err err =
        viv_store_event_by_key(rig->store, id, str("first"), &rig->mem, &event, &rig->diag);
    if (err != VIV_OK && err != VIV_E_NOTFOUND) return err;
    put_number(text, "first", err == VIV_OK ? (int64_t)event.seq : -1);
    VIV_TRY(viv_store_wake_events_after(rig->store, id, &query, &rig->mem, &events, &rig->diag));
    put_number(text, "unacked", (int64_t)events.count);
    return VIV_OK;
}

static enum viv_err view_lease(struct rig *rig, struct text *text, struct viv_str id)
{
    struct viv_lease lease;
    const enum viv_err err = viv_store_get_lease(rig->store, id, &rig->mem, &lease, &rig->diag);
    if (err == VIV_E_NOTFOUND) return VIV_OK;
    VIV_TRY(err);
    put(text, "\n owner", lease.owner.owner_id);
    put_number(text, "fence", (int64_t)lease.f.fence);
    put_number(text, "expires", lease.expires_ms);
    put(text, "guard", lease.guard);
    return VIV_OK;
}

static enum viv_err view_grants(struct rig *rig, struct text *text, struct viv_str id)
{
    struct viv_grants grants;
    VIV_TRY(viv_store_grants_of_process(rig->store, id, &rig->mem, &grants, &rig->diag));
    for (size_t i = 0; i < grants.count; i++) {
        put(text, "\n grant", grants.items[i].scope_id);
        put(text, "as", grants.items[i].descriptor);
    }
    return VIV_OK;
}

static enum viv_err view_kept(struct rig *rig, struct text *text, struct viv_str id)
{
    struct viv_promise promise;
    struct viv_checkpoint checkpoint;
    static const char *const keys[] = {"w", "p"};
    for (size_t i = 0; i < VIV_COUNT_OF(keys); i++) {
        const enum viv_err err =
            viv_store_promise_get(rig->store, id, str(keys[i]), &rig->mem, &promise, &rig->diag);
        if (err == VIV_E_NOTFOUND) continue;
        VIV_TRY(err);
        put(text, "\n promise", str(keys[i]));
        put(text, "is", promise.outcome);
    }
    const enum viv_err err = viv_store_checkpoint_get(rig->store, id, VIV_CHECKPOINT_NEWEST,
                                                      &rig->mem, &checkpoint, &rig->diag);
    if (err == VIV_E_NOTFOUND) return VIV_OK;
    VIV_TRY(err);
    put_number(text, "\n checkpoint",
               (int64_t)viv_hash_bytes(checkpoint.bytes.p, checkpoint.bytes.n, 1));
    return VIV_OK;
}

typedef enum viv_err (*view)(struct rig *rig, struct text *text, struct viv_str id);
static const view views[] = {view_record, view_events, view_keys,
                             view_lease,  view_grants, view_kept};

static enum viv_err view_list(struct rig *rig, struct text *text)
{
    struct viv_records records;
    const struct viv_list_query all = {.limit = 1000};
    VIV_TRY(viv_store_list(rig->store, &all, &rig->mem, &records, &rig->diag));
    for (size_t i = 0; i < records.count; i++)
        put_record(text, &records.items[i]);
    return VIV_OK;
}

static enum viv_err view_stats(struct rig *rig, struct text *text)
{
    struct viv_store_stats stats;
    VIV_TRY(viv_store_stats(rig->store, &stats, &rig->diag));
    put_number(text, "\noutbox", (int64_t)stats.outbox);
    put_number(text, "log", (int64_t)stats.log_bytes);
    put_number(text, "blobs", (int64_t)stats.blobs);
    put_number(text, "tombs", (int64_t)stats.tombstones);
    return VIV_OK;
}

static enum viv_err view_changes(struct rig *rig, struct text *text)
{
    struct viv_changes changes;
    const struct viv_feed_query query = {.limit = 1000};
    VIV_TRY(viv_store_changes(rig->store, &query, &rig->mem, &changes, &rig->diag));
    for (size_t i = 0; i < changes.count; i++)
        put(text, changes.items[i].is_pruned ? "\npruned" : "\nchanged",
            changes.items[i].record.id);
    return VIV_OK;
}

static enum viv_err view_unregistered(struct rig *rig, struct text *text)
{
    struct viv_ids ids;
    struct viv_str names[VIV_COUNT_OF(store_ids)];
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        names[i] = str(store_ids[i]);
    VIV_TRY(viv_store_unregistered(rig->store, names, VIV_COUNT_OF(names), &rig->mem, &ids,
                                   &rig->diag));
    for (size_t i = 0; i < ids.count; i++)
        put(text, "\nunregistered", ids.items[i]);
    return VIV_OK;
}

typedef enum viv_err (*whole_view)(struct rig *rig, struct text *text);
static const whole_view whole_views[] = {view_list, view_stats, view_changes, view_unregistered};

size_t store_view_count(void)
{
    return VIV_COUNT_OF(whole_views) + VIV_COUNT_OF(views) * VIV_COUNT_OF(store_ids);
}

static struct text take_text(struct rig *rig)
{
    struct text text = {.room = 65536};
    text.p = viv_mem_try_take(&rig->mem, text.room);
    assert_non_null(text.p);
    text.p[0] = '\0';
    return text;
}

static enum viv_err view_at(struct rig *rig, size_t index, struct text *text)
{
    if (index < VIV_COUNT_OF(whole_views)) return whole_views[index](rig, text);
    index -= VIV_COUNT_OF(whole_views);
    const struct viv_str id = str(store_ids[index / VIV_COUNT_OF(views)]);
    const enum viv_err err = views[index % VIV_COUNT_OF(views)](rig, text, id);
    if (err == VIV_E_NOTFOUND) put(text, "\nno", id);
    return err == VIV_E_NOTFOUND ? VIV_OK : err;
}

enum viv_err store_view(struct rig *rig, size_t index, const char **out_text)
{
    struct text text = take_text(rig);
    VIV_TRY(view_at(rig, index, &text));
    *out_text = text.p;
    return VIV_OK;
}

const char *store_dump(struct rig *rig)
{
    struct text text = take_text(rig);
    for (size_t i = 0; i < store_view_count(); i++)
        RIG_OK(view_at(rig, i, &text));
    return text.p;
}

void store_expect_sound(struct rig *rig)
{
    struct viv_findings findings;
    RIG_OK(viv_store_check(rig->store, &rig->mem, &findings, &rig->diag));
    for (size_t i = 0; i < findings.count; i++)
        fail_msg("%.*s: %.*s", (int)findings.items[i].rule.n, findings.items[i].rule.p,
                 (int)findings.items[i].text.n, findings.items[i].text.p);
}

// ---- folders ----

void store_keep_template(void)
{
    CHECK(system("rm -rf template && mv store template && rm -f template/s.db.reserve") == 0);
}

void store_copy_template(void)
{
    CHECK(system("rm -rf store && cp -r template store") == 0);
}

void store_open(struct rig *rig)
{
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
}

int store_rounds(int usual)
{
    const char *text = getenv("VIV_TEST_ROUNDS");
    return text == NULL ? usual : (int)strtol(text, NULL, 10);
}

// ---- disturbing them ----

enum { CALLS_MAX = 400 };

// The store that operations are tried on, and what an operation makes of it.
const char *store_make_template(struct rig *rig)
{
    store_furnish(rig);
    const char *before = store_dump(rig);
    viv_store_close(rig->store);
    store_keep_template();
    return before;
}

static const char *after_of(struct rig *rig, const struct store_op *op)
{
    store_copy_template();
    store_open(rig);
    RIG_OK(op->call(rig));
    const char *after = store_dump(rig);
    store_expect_sound(rig);
    viv_store_close(rig->store);
    return after;
}

// Whole or not at all; and the same call makes it whole, in any case.
void store_expect_whole(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                        enum viv_err err)
{
    const char *before = dumps[0], *after = dumps[1];
    const char *found = store_dump(rig);
    const bool is_done = strcmp(found, after) == 0;
    if (!is_done && strcmp(found, before) != 0) fail_msg("%s: half: %s", op->name, found);
    if (err == VIV_OK && !is_done) fail_msg("%s: lost", op->name);
    if (err != VIV_OK && err != VIV_STORE_OUTCOME_UNKNOWN && is_done && strcmp(before, after) != 0)
        fail_msg("%s: done, but told %s", op->name, viv_err_name(err));
    store_expect_sound(rig);
    const enum viv_err again = op->call(rig);
    if (again != VIV_OK && !(is_done && again == op->again))
        fail_msg("%s again: %s (%s)", op->name, viv_err_name(again), rig->diag.d.text);
    found = store_dump(rig);
    if (strcmp(found, after) != 0) fail_msg("%s again: %s, not %s", op->name, found, after);
}

// Each operation, with what it makes of the template; then a function of every nth call of it,
// until there is no nth. Without VIV_TEST_ROUNDS one in five.
uint64_t store_for_each_call(struct rig *rig,
                             bool (*try_one)(struct rig *rig, const struct store_op *op,
                                             const char *const dumps[2], uint64_t nth))
{
    struct viv_mem lasting;
    viv_mem_init(&lasting, VIV_TAG_TEST);
    const char *before = store_make_template(rig), *dumps[2];
    const uint64_t step = store_rounds(0) > 0 ? 1 : 5;
    uint64_t hits = 0;
    dumps[0] = viv_mem_try_copy(&lasting, before, strlen(before));
    for (size_t i = 0; i < store_op_count; i++) {
        const char *after = after_of(rig, &store_ops[i]);
        dumps[1] = viv_mem_try_copy(&lasting, after, strlen(after));
        bool was_hit = true;
        for (uint64_t n = 1 + i % step; was_hit; n += step) {
            assert_true(n < CALLS_MAX);
            was_hit = try_one(rig, &store_ops[i], dumps, n);
            hits += was_hit;
            viv_mem_reset(&rig->mem);
        }
    }
    viv_mem_deinit(&lasting);
    store_copy_template();
    store_open(rig);
    return hits;
}
