// SPDX-License-Identifier: Apache-2.0
// Waits: subscribe, read, park (durable.md 2.10).
//
//   wait_start ── notes the wait at its process, which is then to be looked at
//   a commit here (store.c) ── notes each process it changed that somebody waits for
//   a commit elsewhere (the back end's bell, or a look now and then) ── finds out which have
//   changed
//        │
//        v
//   the thread: reads how a process stands, and tells those whose wait is over
//
// A process is noted before it is read, and what comes while it is read notes it again: so nothing
// is missed. The thread holds no lock while it reads or tells; the wait that it is busy with is
// marked, and who cancels that one waits for it.
#include "store/waits_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "os/clock.h"
#include <string.h>

enum { WAITS_MAX = 1000000, HEAP_FIRST = 64 };

// ---- clocks: a heap ----

static void put_at(struct viv_store__waits *waits, struct viv_store_wait *wait, size_t at)
{
    waits->heap[at] = wait;
    wait->heap_at = (int64_t)at;
}

static void sift_locked(struct viv_store__waits *waits, struct viv_store_wait *wait, size_t at)
{
    for (; at > 0 && waits->heap[(at - 1) / 2]->at_ns > wait->at_ns; at = (at - 1) / 2)
        put_at(waits, waits->heap[(at - 1) / 2], at);
    for (size_t child; (child = 2 * at + 1) < waits->heap_count; at = child) {
        if (child + 1 < waits->heap_count &&
            waits->heap[child + 1]->at_ns < waits->heap[child]->at_ns)
            child++;
        if (waits->heap[child]->at_ns >= wait->at_ns) break;
        put_at(waits, waits->heap[child], at);
    }
    put_at(waits, wait, at);
}

void viv_waits__clock_locked(struct viv_store__waits *waits, struct viv_store_wait *wait,
                             uint64_t at_ns)
{
    wait->at_ns = at_ns;
    sift_locked(waits, wait,
                wait->heap_at == VIV_WAIT_NOWHERE ? waits->heap_count++ : (size_t)wait->heap_at);
}

void viv_waits__unclock_locked(struct viv_store__waits *waits, struct viv_store_wait *wait)
{
    if (wait->heap_at == VIV_WAIT_NOWHERE) return;
    const size_t at = (size_t)wait->heap_at;
    struct viv_store_wait *last = waits->heap[--waits->heap_count];
    wait->heap_at = VIV_WAIT_NOWHERE;
    if (last != wait) sift_locked(waits, last, at);
}

static bool reserve_locked(struct viv_store__waits *waits)
{
    if (waits->count < waits->heap_room) return true;
    const size_t size = sizeof(struct viv_store_wait *);
    const size_t room = waits->heap_room == 0 ? HEAP_FIRST : 2 * waits->heap_room;
    void *more = viv_try_realloc(waits->heap, waits->heap_room * size, room * size, VIV_TAG_STORE);
    if (more == NULL) return false;
    waits->heap = more;
    waits->heap_room = room;
    return true;
}

// ---- processes ----

static uint64_t hash_of(struct viv_str id)
{
    return viv_hash_bytes(id.p, id.n, 0);
}

static bool is_of(const struct viv_trie_node *node, const void *arg)
{
    const struct viv_waits__entry *entry = (const void *)node; // its first member
    const struct viv_str *id = arg;
    return entry->id_len == id->n && memcmp(entry->id, id->p, id->n) == 0;
}

struct viv_waits__entry *viv_waits__find_locked(struct viv_store__waits *waits, struct viv_str id)
{
    struct viv_trie_node *node = viv_trie_find_equal(&waits->by_id, hash_of(id), is_of, &id);
    return node == NULL ? NULL : VIV_CONTAINER_OF(node, struct viv_waits__entry, node);
}

static struct viv_waits__entry *get_locked(struct viv_store__waits *waits, struct viv_str id)
{
    struct viv_waits__entry *entry = viv_waits__find_locked(waits, id);
    if (entry != NULL) return entry;
    entry = viv_try_alloc(sizeof *entry + id.n, VIV_TAG_STORE);
    if (entry == NULL) return NULL;
    *entry = (struct viv_waits__entry){.id_len = id.n};
    memcpy(entry->id, id.p, id.n);
    viv_list_init(&entry->dirty);
    viv_list_init(&entry->waits);
    viv_list_init(&entry->fresh);
    viv_trie_insert(&waits->by_id, hash_of(id), &entry->node);
    return entry;
}

void viv_waits__drop_entry_locked(struct viv_store__waits *waits, struct viv_waits__entry *entry)
{
    if (entry->is_looked_at || !viv_list_is_empty(&entry->waits) ||
        !viv_list_is_empty(&entry->fresh))
        return;
    viv_list_remove(&entry->dirty);
    viv_trie_remove(&waits->by_id, &entry->node);
    viv_free(entry, sizeof *entry + entry->id_len, VIV_TAG_STORE);
}

void viv_waits__note_locked(struct viv_store__waits *waits, struct viv_waits__entry *entry)
{
    if (viv_list_is_empty(&entry->dirty)) viv_list_append(&waits->dirty, &entry->dirty);
}

// ---- waits ----

// Seq_cst: who commits looks without the lock, after the commit; so one who sees false committed
// before whoever waits from now on reads.
static void count_use_locked(struct viv_store__waits *waits)
{
    atomic_store_explicit(&waits->is_used, waits->count > 0 || waits->watch != NULL,
                          memory_order_seq_cst);
    if (waits->count == 0 && waits->watch == NULL) waits->has_mark = false;
}

static void drop_ref(struct viv_store__waits *waits)
{
    viv_mutex_lock(&waits->mutex);
    const bool is_last = --waits->refs == 0;
    viv_mutex_unlock(&waits->mutex);
    if (!is_last) return;
    viv_poller_free(waits->poller);
    viv_buf_deinit(&waits->outgoing);
    viv_free(waits->heap, waits->heap_room * sizeof(struct viv_store_wait *), VIV_TAG_STORE);
    viv_free(waits, sizeof *waits, VIV_TAG_STORE);
}

static void free_wait(VIV_OWN struct viv_store_wait *wait)
{
    struct viv_store__waits *waits = wait->waits;
    viv_free(wait, sizeof *wait + wait->name_len, VIV_TAG_STORE);
    drop_ref(waits);
}

// It will not be told any more by anybody else.
static void take_out_locked(struct viv_store__waits *waits, struct viv_store_wait *wait)
{
    struct viv_waits__entry *entry = wait->entry;
    viv_waits__unclock_locked(waits, wait);
    viv_list_remove(&wait->in_entry);
    wait->entry = NULL;
    waits->count--;
    count_use_locked(waits);
    viv_waits__drop_entry_locked(waits, entry);
}

// Locked, but not while the function runs.
void viv_waits__tell_locked(struct viv_store__waits *waits, struct viv_store_wait *wait,
                            const struct viv_wait_result *result)
{
    take_out_locked(waits, wait);
    wait->is_busy = true;
    viv_mutex_unlock(&waits->mutex);
    wait->fn(wait->arg, result);
    viv_mutex_lock(&waits->mutex);
    wait->is_busy = false;
    const bool is_mine = !wait->is_owned || wait->is_freed;
    viv_cond_broadcast(&waits->idle);
    if (!is_mine) return;
    viv_mutex_unlock(&waits->mutex);
    free_wait(wait);
    viv_mutex_lock(&waits->mutex);
}

// ---- for the engine ----

static enum viv_err need_thread_locked(struct viv_store__waits *waits)
{
    if (waits->is_closing) return VIV_E_CLOSED;
    if (waits->thread != NULL) return VIV_OK;
    return viv_thread_start("viv-store", 0, viv_waits__run, waits, &waits->thread);
}

void viv_store__waits_changed(struct viv_store__waits *waits, const char *ids, size_t bytes)
{
    struct viv_backend *backend = waits->backend;
    if (!backend->is_server && backend->ops->announce != NULL)
        backend->ops->announce(backend, ids, bytes);
    // Seq_cst: as it is set.
    if (!backend->is_server && !atomic_load_explicit(&waits->is_used, memory_order_seq_cst)) return;
    viv_mutex_lock(&waits->mutex);
    for (size_t at = 0; at < bytes; at += strlen(ids + at) + 1) {
        struct viv_waits__entry *entry = viv_waits__find_locked(waits, viv_str_of(ids + at));
        if (entry != NULL) viv_waits__note_locked(waits, entry);
    }
    waits->is_changed = waits->is_changed || waits->watch != NULL;
    if (backend->is_server && need_thread_locked(waits) == VIV_OK)
        VIV_IGNORE(viv_buf_append(&waits->outgoing, ids, bytes), "others look now and then");
    viv_mutex_unlock(&waits->mutex);
    viv_poller_wake(waits->poller);
}

enum viv_err viv_store__waits_new(struct viv_store *store, struct viv_backend *backend,
                                  struct viv_store__waits **out_waits)
{
    struct viv_store__waits *waits = viv_try_calloc(1, sizeof *waits, VIV_TAG_STORE);
    if (waits == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_poller_new(&waits->poller);
    if (err != VIV_OK) {
        viv_free(waits, sizeof *waits, VIV_TAG_STORE);
        return err;
    }
    waits->store = store;
    waits->backend = backend;
    waits->refs = 1;
    viv_mutex_init(&waits->mutex);
    viv_cond_init(&waits->idle);
    viv_list_init(&waits->dirty);
    viv_buf_init(&waits->outgoing, VIV_TAG_STORE);
    *out_waits = waits;
    return VIV_OK;
}

static void cancel_all_locked(struct viv_store__waits *waits)
{
    static const struct viv_wait_result cancelled = {.err = VIV_E_CANCELLED};
    while (waits->by_id.root != NULL) {
        struct viv_waits__entry *entry =
            VIV_CONTAINER_OF(waits->by_id.root, struct viv_waits__entry, node);
        VIV_ASSERT(!viv_list_is_empty(&entry->waits));
        viv_waits__tell_locked(waits,
                               VIV_CONTAINER_OF(entry->waits.next, struct viv_store_wait, in_entry),
                               &cancelled);
    }
}

void viv_store__waits_stop(struct viv_store__waits *waits)
{
    viv_mutex_lock(&waits->mutex);
    const bool is_first = !waits->is_closing;
    waits->is_closing = true;
    viv_mutex_unlock(&waits->mutex);
    if (!is_first) return;
    viv_poller_wake(waits->poller);
    if (waits->thread != NULL) viv_thread_join(waits->thread);
    if (waits->outgoing.len_bytes > 0) // of a call just before
        waits->backend->ops->announce(waits->backend, (const char *)waits->outgoing.data,
                                      waits->outgoing.len_bytes);
    viv_mutex_lock(&waits->mutex);
    waits->thread_id = viv_thread_id(); // it tells from now on
    cancel_all_locked(waits);
    viv_mutex_unlock(&waits->mutex);
}

void viv_store__waits_close(VIV_OWN struct viv_store__waits *waits)
{
    if (waits == NULL) return;
    viv_store__waits_stop(waits);
    drop_ref(waits);
}

// ---- for callers ----

static uint64_t end_of(int64_t timeout_ms)
{
    if (timeout_ms < 0 || timeout_ms > INT64_MAX / (int64_t)VIV_NS_PER_MS) return VIV_FOREVER_NS;
    return viv_add_sat_u64(viv_os_now_ns(), (uint64_t)timeout_ms * VIV_NS_PER_MS);
}

static enum viv_err add_locked(struct viv_store__waits *waits, struct viv_str id,
                               struct viv_store_wait *wait)
{
    if (waits->count >= WAITS_MAX) return VIV_E_QUOTA;
    VIV_TRY(need_thread_locked(waits));
    if (!reserve_locked(waits)) return VIV_E_EXHAUSTED;
    struct viv_waits__entry *entry = get_locked(waits, id);
    if (entry == NULL) return VIV_E_EXHAUSTED;
    wait->entry = entry;
    viv_list_append(&entry->waits, &wait->in_entry);
    viv_waits__note_locked(waits, entry);
    waits->count++;
    waits->refs++;
    count_use_locked(waits);
    return VIV_OK;
}

static enum viv_err check_spec(const struct viv_wait_spec *spec)
{
    VIV_TRY(viv_store__check_id(spec->id, "id", NULL));
    const bool is_named = spec->name.n > 0;
    switch (spec->kind) {
    case VIV_WAIT_EVENT:
        return is_named ? viv_store__check_text(spec->name, "type", NULL) : VIV_OK;
    case VIV_WAIT_PROMISE:
        return is_named ? viv_store__check_text(spec->name, "key", NULL) : VIV_E_INVAL;
    case VIV_WAIT_END:
    case VIV_WAIT_CHANGE:
        return VIV_OK;
    }
    return VIV_E_INVAL;
}

enum viv_err viv_store_wait_start(struct viv_store *store, const struct viv_wait_spec *spec,
                                  int64_t timeout_ms, viv_wait_fn *fn, void *arg,
                                  struct viv_store_wait **out_wait)
{
    struct viv_store__waits *waits = viv_store__waits_of(store);
    if (viv_store__is_of_another(store)) return VIV_E_CLOSED;
    VIV_TRY(check_spec(spec));
    if (spec->name.n > VIV_WAIT_NAME_BYTES_MAX) return VIV_E_TOOBIG;
    struct viv_store_wait *wait = viv_try_alloc(sizeof *wait + spec->name.n, VIV_TAG_STORE);
    if (wait == NULL) return VIV_E_EXHAUSTED;
    *wait = (struct viv_store_wait){.waits = waits,
                                    .fn = fn,
                                    .arg = arg,
                                    .after = spec->after,
                                    .end_ns = end_of(timeout_ms),
                                    .heap_at = VIV_WAIT_NOWHERE,
                                    .kind = spec->kind,
                                    .is_owned = out_wait != NULL,
                                    .name_len = spec->name.n};
    if (spec->name.n > 0) memcpy(wait->name, spec->name.p, spec->name.n);
    viv_list_init(&wait->in_entry);
    viv_mutex_lock(&waits->mutex);
    const enum viv_err err = add_locked(waits, spec->id, wait);
    if (err == VIV_OK && out_wait != NULL) *out_wait = wait; // before it can be told
    viv_mutex_unlock(&waits->mutex);
    if (err == VIV_OK)
        viv_poller_wake(waits->poller);
    else
        viv_free(wait, sizeof *wait + wait->name_len, VIV_TAG_STORE);
    return err;
}

void viv_store_wait_cancel(VIV_OWN struct viv_store_wait *wait)
{
    struct viv_store__waits *waits = wait->waits;
    static const struct viv_wait_result cancelled = {.err = VIV_E_CANCELLED};
    viv_mutex_lock(&waits->mutex);
    if (wait->is_busy && waits->thread_id == viv_thread_id()) { // from within its function
        wait->is_freed = true;
        viv_mutex_unlock(&waits->mutex);
        return;
    }
    while (wait->is_busy)
        (void)viv_cond_wait(&waits->idle, &waits->mutex, VIV_FOREVER_NS);
    const bool is_told = wait->entry == NULL;
    if (!is_told) take_out_locked(waits, wait);
    viv_mutex_unlock(&waits->mutex);
    if (!is_told) wait->fn(wait->arg, &cancelled);
    free_wait(wait);
}

enum viv_err viv_store_watch(struct viv_store *store, void (*fn)(void *arg), void *arg)
{
    struct viv_store__waits *waits = viv_store__waits_of(store);
    if (viv_store__is_of_another(store)) return VIV_E_CLOSED;
    viv_mutex_lock(&waits->mutex);
    const enum viv_err err = fn == NULL ? VIV_OK : need_thread_locked(waits);
    if (err == VIV_OK) {
        waits->watch = fn;
        waits->watch_arg = arg;
        count_use_locked(waits);
    }
    while (waits->is_watch_busy && waits->thread_id != viv_thread_id())
        (void)viv_cond_wait(&waits->idle, &waits->mutex, VIV_FOREVER_NS);
    viv_mutex_unlock(&waits->mutex);
    viv_poller_wake(waits->poller);
    return err;
}
