// SPDX-License-Identifier: Apache-2.0
// The thread of waits (see waits.c): reads how processes stand, tells those whose wait is over, and
// finds out what others have committed. It sleeps in its poller.
#include "store/waits_int.h"

#include "os/clock.h"
#include "store/objects.h"

enum { BELL = 1 };                     // token of the back end's
#define AGAIN_NS (100 * VIV_NS_PER_MS) // after a read that may work later

// ---- looking ----

static bool is_passing(enum viv_err err)
{
    return err == VIV_E_BUSY || err == VIV_E_EXHAUSTED || err == VIV_STORE_UNAVAILABLE;
}

// What is found out about one wait: over, or when it is to be looked at again at the latest.
struct finding {
    bool is_over;
    uint64_t again_ns;
    struct viv_wait_result result;
    struct viv_event event;
};

static void find_err(struct finding *out, enum viv_err err)
{
    if (is_passing(err)) {
        out->again_ns = viv_os_now_ns() + AGAIN_NS;
    } else {
        out->is_over = true;
        out->result.err = err;
    }
}

static void find_event(struct viv_store_wait *wait, const struct viv_store__look *look,
                       struct viv_str id, struct viv_mem *mem, struct finding *out)
{
    if (look->last_seq > wait->after) {
        struct viv_events events;
        const struct viv_events_query query = {
            .after = wait->after, .type = {wait->name, wait->name_len}, .limit = 1};
        const enum viv_err err =
            viv_store_events_after(wait->waits->store, id, &query, mem, &events, NULL);
        if (err != VIV_OK) {
            find_err(out, err);
            return;
        }
        if (events.count > 0) {
            out->event = events.items[0];
            out->result.event = &out->event;
            out->is_over = true;
            return;
        }
        wait->after = look->last_seq; // up to there is none
    }
    if (look->state == VIV_RUNNING) return;
    out->is_over = true;
    out->result.err = VIV_STORE_ENDED;
    out->result.output = look->output;
}

static void find_promise(struct viv_store_wait *wait, const struct viv_store__look *look,
                         struct viv_str id, struct viv_mem *mem, struct finding *out)
{
    struct viv_promise promise;
    const struct viv_str key = {wait->name, wait->name_len};
    const enum viv_err err =
        viv_store_promise_get(wait->waits->store, id, key, mem, &promise, NULL);
    if (err != VIV_OK) {
        find_err(out, err);
    } else if (promise.outcome.n > 0) {
        out->is_over = true;
        out->result.output = promise.outcome;
    } else if (promise.due_ms >= 0) {
        const uint64_t left_ms =
            promise.due_ms > look->wall_ms ? (uint64_t)(promise.due_ms - look->wall_ms) : 1;
        out->again_ns = viv_add_sat_u64(viv_os_now_ns(), left_ms > INT64_MAX / VIV_NS_PER_MS
                                                             ? VIV_FOREVER_NS
                                                             : left_ms * VIV_NS_PER_MS);
    }
}

static void find(struct viv_store_wait *wait, const struct viv_store__look *look, struct viv_str id,
                 struct viv_mem *mem, struct finding *out)
{
    switch (wait->kind) {
    case VIV_WAIT_EVENT:
        find_event(wait, look, id, mem, out);
        return;
    case VIV_WAIT_PROMISE:
        find_promise(wait, look, id, mem, out);
        return;
    case VIV_WAIT_END:
        out->is_over = look->state != VIV_RUNNING;
        out->result.output = look->output;
        return;
    case VIV_WAIT_CHANGE:
        out->is_over = look->version > wait->after;
        out->result.version = look->version;
        return;
    }
}

// One wait of an entry that has been read. Locked, but not while it is found out.
static void settle_locked(struct viv_store__waits *waits, struct viv_store_wait *wait,
                          enum viv_err err, const struct viv_store__look *look, struct viv_mem *mem)
{
    struct finding finding = {.again_ns = VIV_FOREVER_NS};
    const struct viv_str id = {wait->entry->id, wait->entry->id_len};
    viv_list_remove(&wait->in_entry);
    viv_list_append(&wait->entry->waits, &wait->in_entry);
    wait->is_busy = true;
    viv_mutex_unlock(&waits->mutex);
    viv_mem_reset(mem);
    if (err == VIV_OK)
        find(wait, look, id, mem, &finding);
    else
        find_err(&finding, err);
    viv_mutex_lock(&waits->mutex);
    wait->is_busy = false;
    viv_cond_broadcast(&waits->idle);
    if (finding.is_over)
        viv_waits__tell_locked(waits, wait, &finding.result);
    else
        viv_waits__clock_locked(waits, wait, viv_min_u64(wait->end_ns, finding.again_ns));
}

static void look_at_locked(struct viv_store__waits *waits, struct viv_waits__entry *entry)
{
    struct viv_mem looked, found;
    struct viv_store__look look = {.state = VIV_RUNNING};
    viv_mem_init(&looked, VIV_TAG_STORE);
    viv_mem_init(&found, VIV_TAG_STORE);
    viv_list_remove(&entry->dirty);
    viv_list_splice(&entry->fresh, &entry->waits);
    entry->is_looked_at = true;
    viv_mutex_unlock(&waits->mutex);
    const enum viv_err err =
        viv_store__look(waits->store, (struct viv_str){entry->id, entry->id_len}, &looked, &look);
    viv_mutex_lock(&waits->mutex);
    while (!viv_list_is_empty(&entry->fresh) && !waits->is_closing)
        settle_locked(waits, VIV_CONTAINER_OF(entry->fresh.next, struct viv_store_wait, in_entry),
                      err, &look, &found);
    viv_list_splice(&entry->waits, &entry->fresh);
    entry->is_looked_at = false;
    viv_waits__drop_entry_locked(waits, entry);
    viv_mem_deinit(&looked);
    viv_mem_deinit(&found);
}

// Those whose time has come.
static void run_clocks_locked(struct viv_store__waits *waits)
{
    const uint64_t now_ns = viv_os_now_ns();
    static const struct viv_wait_result timeout = {.err = VIV_E_TIMEOUT};
    while (waits->heap_count > 0 && waits->heap[0]->at_ns <= now_ns && !waits->is_closing) {
        struct viv_store_wait *wait = waits->heap[0];
        if (wait->end_ns <= now_ns) {
            viv_waits__tell_locked(waits, wait, &timeout);
        } else {
            viv_waits__unclock_locked(waits, wait);
            viv_waits__note_locked(waits, wait->entry);
        }
    }
}

static void tell_watch_locked(struct viv_store__waits *waits)
{
    void (*fn)(void *arg) = waits->watch;
    void *arg = waits->watch_arg;
    waits->is_changed = false;
    if (fn == NULL) return;
    waits->is_watch_busy = true;
    viv_mutex_unlock(&waits->mutex);
    fn(arg);
    viv_mutex_lock(&waits->mutex);
    waits->is_watch_busy = false;
    viv_cond_broadcast(&waits->idle);
}

// ---- what others commit ----

static void note_id(void *arg, struct viv_str id)
{
    struct viv_store__waits *waits = arg;
    viv_mutex_lock(&waits->mutex);
    struct viv_waits__entry *entry = viv_waits__find_locked(waits, id);
    if (entry != NULL) viv_waits__note_locked(waits, entry);
    waits->is_changed = true;
    viv_mutex_unlock(&waits->mutex);
}

static void note_heard(void *arg, struct viv_str id)
{
    struct viv_store__waits *waits = arg;
    if (id.n > 0) {
        note_id(waits, id);
        return;
    }
    viv_mutex_lock(&waits->mutex);
    waits->is_heard = true;
    viv_mutex_unlock(&waits->mutex);
}

// All that wait are looked at anew.
static void note_all_locked(struct viv_store__waits *waits)
{
    for (size_t i = 0; i < waits->heap_count; i++)
        viv_waits__note_locked(waits, waits->heap[i]->entry);
    waits->is_changed = true;
}

static void scan_locked(struct viv_store__waits *waits)
{
    const bool has_mark = waits->has_mark;
    waits->is_heard = false;
    waits->has_mark = true; // unless all leave while it is read
    viv_mutex_unlock(&waits->mutex);
    const enum viv_err err =
        has_mark ? viv_store__changed_after(waits->store, &waits->mark, note_id, waits)
                 : viv_store__mark_now(waits->store, &waits->mark);
    const bool is_for_good = err != VIV_OK && viv_store_has_failed(waits->store);
    viv_mutex_lock(&waits->mutex);
    // What was committed before the first mark, or before a failure, is not found by the next scan.
    if ((err == VIV_OK && !has_mark) || is_for_good) note_all_locked(waits);
    if (err == VIV_OK || is_for_good) return;
    waits->is_heard = true;
    waits->scan_ns = viv_os_now_ns() + AGAIN_NS;
    if (!has_mark) waits->has_mark = false;
}

// Others may have committed; after a scan that failed, only when its pause is over.
static bool wants_scan_locked(const struct viv_store__waits *waits)
{
    const bool listens = waits->count > 0 || waits->watch != NULL;
    return listens && (waits->is_heard || !waits->has_mark) && viv_os_now_ns() >= waits->scan_ns;
}

// What was committed here, to others.
static void announce_locked(struct viv_store__waits *waits)
{
    struct viv_buf ids = waits->outgoing;
    viv_buf_init(&waits->outgoing, VIV_TAG_STORE);
    viv_mutex_unlock(&waits->mutex);
    waits->backend->ops->announce(waits->backend, (const char *)ids.data, ids.len_bytes);
    viv_buf_deinit(&ids);
    viv_mutex_lock(&waits->mutex);
}

// The next moment at which something is to be done; where others are to be looked for now and
// then, also that.
static uint64_t next_locked(struct viv_store__waits *waits, bool listens, uint64_t now_ns)
{
    const uint64_t look_ns = (uint64_t)waits->backend->look_ms * VIV_NS_PER_MS;
    const uint64_t clock_ns = waits->heap_count > 0 ? waits->heap[0]->at_ns : VIV_FOREVER_NS;
    if (listens && waits->is_heard) return viv_min_u64(clock_ns, waits->scan_ns);
    if (!listens || look_ns == 0) return clock_ns;
    if (waits->looked_ns == 0) waits->looked_ns = now_ns;
    if (now_ns - waits->looked_ns >= look_ns) {
        waits->looked_ns = now_ns;
        waits->is_heard = true;
        return now_ns;
    }
    return viv_min_u64(clock_ns, waits->looked_ns + look_ns);
}

// Waits for a note, a clock, the back end's bell, or the time to look whether others have
// committed. Locked, but not while it waits.
static void sleep_locked(struct viv_store__waits *waits)
{
    struct viv_backend *backend = waits->backend;
    const bool listens = waits->count > 0 || waits->watch != NULL;
    int bell = -1;
    if (listens && backend->ops->bell != NULL) {
        viv_mutex_unlock(&waits->mutex);
        bell = backend->ops->bell(backend, note_heard, waits);
        viv_mutex_lock(&waits->mutex);
        if (wants_scan_locked(waits)) return; // told by the bell itself
    }
    const uint64_t now_ns = viv_os_now_ns(), next_ns = next_locked(waits, listens, now_ns);
    viv_mutex_unlock(&waits->mutex);
    struct viv_poll_event event;
    const bool is_armed =
        bell >= 0 && viv_poller_arm(waits->poller, bell, VIV_POLL_IN, BELL) == VIV_OK;
    const uint64_t left_ns = next_ns == VIV_FOREVER_NS ? VIV_FOREVER_NS
                             : next_ns > now_ns        ? next_ns - now_ns
                                                       : 0;
    const uint32_t rung = viv_poller_wait(waits->poller, left_ns, &event, 1);
    if (rung > 0) backend->ops->hear(backend, note_heard, waits);
    if (is_armed && rung == 0) viv_poller_forget(waits->poller, bell);
    viv_mutex_lock(&waits->mutex);
}

void viv_waits__run(void *arg)
{
    struct viv_store__waits *waits = arg;
    viv_mutex_lock(&waits->mutex);
    waits->thread_id = viv_thread_id();
    while (!waits->is_closing) {
        run_clocks_locked(waits);
        if (wants_scan_locked(waits))
            scan_locked(waits);
        else if (waits->is_changed)
            tell_watch_locked(waits);
        else if (!viv_list_is_empty(&waits->dirty))
            look_at_locked(waits,
                           VIV_CONTAINER_OF(waits->dirty.next, struct viv_waits__entry, dirty));
        else if (waits->outgoing.len_bytes > 0)
            announce_locked(waits);
        else
            sleep_locked(waits);
    }
    viv_mutex_unlock(&waits->mutex);
}
