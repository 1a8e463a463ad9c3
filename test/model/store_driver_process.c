// SPDX-License-Identifier: Apache-2.0
// The driver's operations on processes: registration, facts, events, ends, lists, feeds, retention.
#include "store_driver.h"

// ---- registration and reading ----

static enum viv_err do_register(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    bool created;
    VIV_TRY(viv_store_register(d->store, driver_text(d, call, "registration"), &d->mem, &record,
                               &created, &d->diag));
    driver_put(out, "record", driver_show_record(&record));
    driver_put(out, "created", json_boolean(created));
    return VIV_OK;
}

static enum viv_err do_get(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    VIV_TRY(viv_store_get(d->store, driver_text(d, call, "id"), &d->mem, &record, &d->diag));
    driver_put(out, "record", driver_show_record(&record));
    return VIV_OK;
}

static void read_start(struct driver *d, const json_t *call, struct viv_start *start)
{
    const json_t *grants = json_object_get(call, "grants"),
                 *events = json_object_get(call, "events");
    start->registration = driver_text(d, call, "registration");
    start->grant_count = json_array_size(grants);
    struct viv_start_grant *granted = driver_take(d, start->grant_count, sizeof *granted);
    for (size_t i = 0; i < start->grant_count; i++) {
        const json_t *grant = json_array_get(grants, i);
        granted[i] =
            (struct viv_start_grant){driver_scope(d, grant), driver_text(d, grant, "descriptor")};
    }
    start->grants = granted;
    start->event_count = json_array_size(events);
    struct viv_append *appends = driver_take(d, start->event_count, sizeof *appends);
    for (size_t i = 0; i < start->event_count; i++)
        appends[i] = driver_append(d, json_array_get(events, i));
    start->events = appends;
}

static enum viv_err do_start(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_start start = {.grants = NULL};
    struct viv_started started;
    const json_t *wanted = json_object_get(call, "lease");
    read_start(d, call, &start);
    const struct viv_start_lease lease = {driver_owner(d, wanted), driver_i64(wanted, "ttl_ms"),
                                          viv_json_get_bool(wanted, "begin") ? VIV_CLAIM_BEGIN : 0};
    if (json_is_object(wanted)) start.lease = &lease;
    VIV_TRY(viv_store_start(d->store, &start, &d->mem, &started, &d->diag));
    driver_put(out, "record", driver_show_record(&started.record));
    driver_put(out, "created", json_boolean(started.is_created));
    driver_put(out, "lease", started.has_lease ? driver_show_lease(&started.lease) : json_null());
    return VIV_OK;
}

// ---- facts ----

static enum viv_err show_fact(json_t *out, enum viv_err err, const struct viv_record *record)
{
    if (err == VIV_OK) driver_put(out, "record", driver_show_record(record));
    return err;
}

static enum viv_err do_set_external_ref(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    const enum viv_err err = viv_store_set_external_ref(
        d->store, driver_text(d, call, "id"), driver_text(d, call, "ref"), driver_fence(d, call),
        &d->mem, &record, &d->diag);
    return show_fact(out, err, &record);
}

static enum viv_err do_record_first_started(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    const enum viv_err err = viv_store_record_first_started(
        d->store, driver_text(d, call, "id"), driver_text(d, call, "started"),
        driver_fence(d, call), &d->mem, &record, &d->diag);
    return show_fact(out, err, &record);
}

static enum viv_err do_request_abandon(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    const enum viv_err err =
        viv_store_request_abandon(d->store, driver_text(d, call, "id"),
                                  driver_text(d, call, "request"), &d->mem, &record, &d->diag);
    return show_fact(out, err, &record);
}

static enum viv_err do_request_cancel(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    uint64_t sequence;
    const struct viv_cancel cancel = {.reason = driver_text(d, call, "reason"),
                                      .by = driver_text(d, call, "by"),
                                      .flags = viv_json_get_bool(call, "now") ? VIV_CANCEL_NOW : 0};
    VIV_TRY(viv_store_request_cancel(d->store, driver_text(d, call, "id"), &cancel, &d->mem,
                                     &record, &sequence, &d->diag));
    driver_put(out, "sequence", json_integer((json_int_t)sequence));
    return show_fact(out, VIV_OK, &record);
}

static enum viv_err do_set_wait(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    const enum viv_err err =
        viv_store_set_wait(d->store, driver_text(d, call, "id"), driver_text(d, call, "wait"),
                           driver_fence(d, call), &d->mem, &record, &d->diag);
    return show_fact(out, err, &record);
}

// ---- events ----

static void put_appended(json_t *out, const struct viv_appended *item)
{
    driver_put(out, "event", driver_show_event(&item->event));
    driver_put(out, "wake", driver_show_wake(&item->wake));
    driver_put(out, "replayed", json_boolean(item->is_replayed));
}

static enum viv_err do_append(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_appended item = {.is_replayed = false};
    const struct viv_append append = driver_append(d, call);
    VIV_TRY(viv_store_append(d->store, driver_text(d, call, "id"), &append, &d->mem, &item.event,
                             &item.wake, &item.is_replayed, &d->diag));
    put_appended(out, &item);
    return VIV_OK;
}

static enum viv_err do_append_many(struct driver *d, const json_t *call, json_t *out)
{
    const json_t *list = json_object_get(call, "appends");
    const size_t count = json_array_size(list);
    struct viv_append_to *appends = driver_take(d, count, sizeof *appends);
    struct viv_appended *items;
    for (size_t i = 0; i < count; i++) {
        const json_t *each = json_array_get(list, i);
        appends[i] = (struct viv_append_to){driver_text(d, each, "id"), driver_append(d, each)};
    }
    VIV_TRY(viv_store_append_many(d->store, appends, count, &d->mem, &items, &d->diag));
    json_t *shown = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object();
        put_appended(item, &items[i]);
        (void)json_array_append_new(shown, item);
    }
    driver_put(out, "items", shown);
    return VIV_OK;
}

static void put_events(json_t *out, const struct viv_event *items, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, driver_show_event(&items[i]));
    driver_put(out, "events", list);
}

static struct viv_events_query events_query(struct driver *d, const json_t *call)
{
    return (struct viv_events_query){.after = driver_u64(call, "after"),
                                     .type = driver_text(d, call, "type"),
                                     .limit = driver_u64(call, "limit"),
                                     .bytes = driver_u64(call, "bytes")};
}

static enum viv_err do_events_after(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_events events;
    const struct viv_events_query query = events_query(d, call);
    VIV_TRY(viv_store_events_after(d->store, driver_text(d, call, "id"), &query, &d->mem, &events,
                                   &d->diag));
    put_events(out, events.items, events.count);
    const uint64_t next = events.next > INT64_MAX ? INT64_MAX : events.next; // they are the same
    driver_put(out, "next", json_integer((json_int_t)next));
    driver_put(out, "ended", json_boolean(events.is_ended));
    return VIV_OK;
}

static enum viv_err do_wake_events_after(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_events events;
    const struct viv_events_query query = events_query(d, call);
    VIV_TRY(viv_store_wake_events_after(d->store, driver_text(d, call, "id"), &query, &d->mem,
                                        &events, &d->diag));
    put_events(out, events.items, events.count);
    return VIV_OK;
}

static enum viv_err do_events_recent(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_events events;
    VIV_TRY(viv_store_events_recent(d->store, driver_text(d, call, "id"), driver_u64(call, "count"),
                                    &d->mem, &events, &d->diag));
    put_events(out, events.items, events.count);
    return VIV_OK;
}

static enum viv_err do_count_through(struct driver *d, const json_t *call, json_t *out)
{
    uint64_t count;
    VIV_TRY(viv_store_count_through(d->store, driver_text(d, call, "id"),
                                    driver_text(d, call, "type"), driver_u64(call, "through"),
                                    &count, &d->diag));
    driver_put(out, "count", json_integer((json_int_t)count));
    return VIV_OK;
}

static enum viv_err do_event_by_key(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_event event;
    VIV_TRY(viv_store_event_by_key(d->store, driver_text(d, call, "id"),
                                   driver_text(d, call, "key"), &d->mem, &event, &d->diag));
    driver_put(out, "event", driver_show_event(&event));
    return VIV_OK;
}

static struct viv_feed_query feed_query(struct driver *d, const json_t *call)
{
    return (struct viv_feed_query){.after = driver_cursor(d, call, "after"),
                                   .limit = driver_u64(call, "limit")};
}

static enum viv_err do_events_feed(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_feed feed;
    const struct viv_feed_query query = feed_query(d, call);
    VIV_TRY(viv_store_events_feed(d->store, &query, &d->mem, &feed, &d->diag));
    put_events(out, feed.items, feed.count);
    driver_put_cursor(out, &feed.next);
    return VIV_OK;
}

static enum viv_err do_complete(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_record record;
    const struct viv_complete complete = {
        .output = driver_text(d, call, "output"),
        .authority = driver_text(d, call, "authority"),
        .fence = driver_fence(d, call),
        .flags = viv_json_get_bool(call, "force") ? VIV_COMPLETE_FORCE : 0};
    const enum viv_err err = viv_store_complete(d->store, driver_text(d, call, "id"), &complete,
                                                &d->mem, &record, &d->diag);
    return show_fact(out, err, &record);
}

// ---- lists ----

static enum viv_err list(struct driver *d, const json_t *call, json_t *out, bool is_nonterminal)
{
    struct viv_records records;
    const struct viv_list_query query = {.filter = driver_text(d, call, "filter"),
                                         .after = driver_text(d, call, "after"),
                                         .limit = driver_u64(call, "limit")};
    VIV_TRY(is_nonterminal
                ? viv_store_list_nonterminal(d->store, &query, &d->mem, &records, &d->diag)
                : viv_store_list(d->store, &query, &d->mem, &records, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < records.count; i++)
        (void)json_array_append_new(items, driver_show_record(&records.items[i]));
    driver_put(out, "records", items);
    driver_put(out, "next", driver_show_text(records.next));
    return VIV_OK;
}

static enum viv_err do_list(struct driver *d, const json_t *call, json_t *out)
{
    return list(d, call, out, false);
}

static enum viv_err do_list_nonterminal(struct driver *d, const json_t *call, json_t *out)
{
    return list(d, call, out, true);
}

static enum viv_err do_unregistered(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_ids ids;
    size_t count;
    const struct viv_str *texts = driver_texts(d, call, "ids", &count);
    VIV_TRY(viv_store_unregistered(d->store, texts, count, &d->mem, &ids, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < ids.count; i++)
        (void)json_array_append_new(items, driver_show_text(ids.items[i]));
    driver_put(out, "ids", items);
    return VIV_OK;
}

static enum viv_err do_refs_summary(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_refs refs;
    VIV_TRY(viv_store_refs_summary(d->store, driver_text(d, call, "after"),
                                   driver_u64(call, "limit"), &d->mem, &refs, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < refs.count; i++) {
        json_t *item = json_array();
        (void)json_array_append_new(item, driver_show_text(refs.items[i].hash));
        (void)json_array_append_new(item, json_integer((json_int_t)refs.items[i].count));
        (void)json_array_append_new(items, item);
    }
    driver_put(out, "refs", items);
    driver_put(out, "next", driver_show_text(refs.next));
    return VIV_OK;
}

static enum viv_err do_stats(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_store_stats stats;
    (void)call;
    VIV_TRY(viv_store_stats(d->store, &stats, &d->diag));
    json_t *states = json_array();
    for (size_t i = 0; i < VIV_COUNT_OF(stats.by_state); i++)
        (void)json_array_append_new(states, json_integer((json_int_t)stats.by_state[i]));
    driver_put(out, "by_state", states);
    driver_put(out, "oldest_due_ms", json_integer(stats.oldest_due_ms));
    driver_put(out, "outbox", json_integer((json_int_t)stats.outbox));
    driver_put(out, "log_bytes", json_integer((json_int_t)stats.log_bytes));
    driver_put(out, "blobs", json_integer((json_int_t)stats.blobs));
    driver_put(out, "blob_bytes", json_integer((json_int_t)stats.blob_bytes));
    driver_put(out, "tombstones", json_integer((json_int_t)stats.tombstones));
    return VIV_OK;
}

static enum viv_err do_changes(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_changes changes;
    const struct viv_feed_query query = feed_query(d, call);
    VIV_TRY(viv_store_changes(d->store, &query, &d->mem, &changes, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < changes.count; i++) {
        const struct viv_change *change = &changes.items[i];
        json_t *item = json_object();
        if (change->is_pruned) {
            driver_put(item, "pruned", driver_show_text(change->record.id));
            driver_put(item, "birth", json_integer((json_int_t)change->record.birth));
        } else {
            driver_put(item, "record", driver_show_record(&change->record));
        }
        (void)json_array_append_new(items, item);
    }
    driver_put(out, "changes", items);
    driver_put_cursor(out, &changes.next);
    return VIV_OK;
}

static enum viv_err do_prune(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_pruned pruned;
    const struct viv_cursor up_to = driver_cursor(d, call, "up_to");
    const struct viv_prune prune = {.cutoff_ms = driver_i64(call, "cutoff_ms"),
                                    .filter = driver_text(d, call, "filter"),
                                    .up_to = json_is_string(json_object_get(call, "up_to")) ? &up_to
                                                                                            : NULL,
                                    .limit = driver_u64(call, "limit"),
                                    .flags = viv_json_get_bool(call, "dry") ? VIV_PRUNE_DRY : 0};
    VIV_TRY(viv_store_prune(d->store, &prune, &pruned, &d->diag));
    driver_put(out, "processes", json_integer((json_int_t)pruned.processes));
    driver_put(out, "events", json_integer((json_int_t)pruned.events));
    driver_put(out, "grants", json_integer((json_int_t)pruned.grants));
    driver_put(out, "acks", json_integer((json_int_t)pruned.acks));
    driver_put(out, "promises", json_integer((json_int_t)pruned.promises));
    driver_put(out, "checkpoints", json_integer((json_int_t)pruned.checkpoints));
    driver_put(out, "more", json_boolean(pruned.has_more));
    return VIV_OK;
}

static enum viv_err do_check(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_findings findings;
    (void)call;
    VIV_TRY(viv_store_check(d->store, &d->mem, &findings, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < findings.count; i++)
        (void)json_array_append_new(items, driver_show_text(findings.items[i].text));
    driver_put(out, "findings", items);
    return VIV_OK;
}

const struct driver_op driver_process_ops[] = {
    {"register", do_register},
    {"get", do_get},
    {"start", do_start},
    {"set_external_ref", do_set_external_ref},
    {"record_first_started", do_record_first_started},
    {"request_abandon", do_request_abandon},
    {"request_cancel", do_request_cancel},
    {"set_wait", do_set_wait},
    {"append", do_append},
    {"append_many", do_append_many},
    {"events_after", do_events_after},
    {"wake_events_after", do_wake_events_after},
    {"events_recent", do_events_recent},
    {"count_through", do_count_through},
    {"event_by_key", do_event_by_key},
    {"events_feed", do_events_feed},
    {"complete", do_complete},
    {"list", do_list},
    {"list_nonterminal", do_list_nonterminal},
    {"unregistered", do_unregistered},
    {"refs_summary", do_refs_summary},
    {"stats", do_stats},
    {"changes", do_changes},
    {"prune", do_prune},
    {"check", do_check},
    {NULL, NULL},
};
