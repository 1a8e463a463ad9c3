// SPDX-License-Identifier: Apache-2.0
// The ring of the trace. Its memory goes a grace period after the stop, since writers look at the
// pointer without a lock.
#include "cap/trace.h"
#include "base/alloc.h"
#include "cap/htab.h"
#include "cap/trace_int.h"

struct viv_trace {
    struct viv_qsbr_item item;
    struct viv_spin lock; // all below
    uint64_t next;        // seq of the next entry
    uint32_t count;
    struct viv_trace_entry entries[];
};

static size_t bytes_of(uint32_t count)
{
    return sizeof(struct viv_trace) + count * sizeof(struct viv_trace_entry);
}

static void free_trace(struct viv_qsbr_item *item)
{
    struct viv_trace *trace = VIV_CONTAINER_OF(item, struct viv_trace, item);
    viv_free(trace, bytes_of(trace->count), VIV_TAG_CAP);
}

enum viv_err viv_res_trace_start(struct viv_reg *reg, uint32_t count)
{
    if (count == 0) count = VIV_TRACE_ENTRIES;
    struct viv_trace *trace = viv_try_calloc(1, bytes_of(count), VIV_TAG_CAP), *none = NULL;
    if (trace == NULL) return VIV_E_EXHAUSTED;
    viv_spin_init(&trace->lock, VIV_LOCK_TRACE);
    trace->count = count;
    // Release: whoever sees it sees it whole.
    if (atomic_compare_exchange_strong_explicit(&reg->trace, &none, trace, memory_order_release,
                                                memory_order_relaxed))
        return VIV_OK;
    viv_free(trace, bytes_of(count), VIV_TAG_CAP);
    return VIV_E_STATE;
}

void viv_res_trace_stop(struct viv_reg *reg)
{
    // Acquire pairs with start; release: nothing that this thread traced comes after.
    struct viv_trace *trace = atomic_exchange_explicit(&reg->trace, NULL, memory_order_acq_rel);
    if (trace != NULL) viv_qsbr_retire(viv_sched_member(), &trace->item, free_trace);
}

void viv_res__trace_free(struct viv_reg *reg)
{
    // Relaxed: no other thread is left.
    struct viv_trace *trace = atomic_exchange_explicit(&reg->trace, NULL, memory_order_relaxed);
    if (trace != NULL) free_trace(&trace->item);
}

static struct viv_trace *trace_of(struct viv_reg *reg)
{
    return atomic_load_explicit(&reg->trace, memory_order_acquire); // pairs with start
}

void viv_res__trace_write(struct viv_reg *reg, enum viv_trace_event event,
                          const struct viv_trace_fact *fact)
{
    struct viv_trace *trace = trace_of(reg);
    if (trace == NULL) return;
    struct viv_trace_entry entry = {.time_ns = viv_sched_now_ns(reg->sched),
                                    .worker = viv_sched_worker_here(reg->sched),
                                    .pid = fact->pid,
                                    .owner = fact->owner,
                                    .kind = fact->kind,
                                    .event = (uint8_t)event};
    if (fact->res != NULL) {
        entry.rid = viv_res_id(fact->res);
        entry.kind = fact->res->kind;
    }
    if (fact->tab != NULL) entry.pid = fact->tab->pid;
    viv_spin_lock(&trace->lock);
    entry.seq = trace->next++;
    trace->entries[entry.seq % trace->count] = entry;
    viv_spin_unlock(&trace->lock);
}

bool viv_res_trace_read(struct viv_reg *reg, uint64_t *cursor, struct viv_trace_entry *out)
{
    struct viv_trace *trace = trace_of(reg);
    if (trace == NULL) return false;
    viv_spin_lock(&trace->lock);
    const uint64_t oldest = trace->next > trace->count ? trace->next - trace->count : 0;
    const uint64_t at = viv_max_u64(*cursor, oldest);
    const bool is_there = at < trace->next;
    if (is_there) *out = trace->entries[at % trace->count];
    viv_spin_unlock(&trace->lock);
    if (is_there) *cursor = at + 1;
    return is_there;
}

const char *viv_trace_event_name(enum viv_trace_event event)
{
    static const char *const names[VIV_TRACE_EVENTS] = {
        [VIV_TRACE_REGISTERED] = "registered",
        [VIV_TRACE_RESERVED] = "reserved",
        [VIV_TRACE_INITIALISED] = "initialised",
        [VIV_TRACE_REMOVED] = "removed",
        [VIV_TRACE_SLOT_ASSIGNED] = "slot-assigned",
        [VIV_TRACE_SLOT_DETACHED] = "slot-detached",
        [VIV_TRACE_SHARED] = "shared",
        [VIV_TRACE_RESOLVE_SHARED] = "resolve-shared",
        [VIV_TRACE_PARENT_LINKED] = "parent-linked",
        [VIV_TRACE_HOST_POINTER] = "host-pointer",
        [VIV_TRACE_DYING] = "dying",
        [VIV_TRACE_CLOSED] = "closed",
        [VIV_TRACE_DESTROYED] = "destroyed",
        [VIV_TRACE_PINNED_LATE] = "pinned-late",
        [VIV_TRACE_OWNER_CHANGED] = "owner-changed",
        [VIV_TRACE_GRANTED] = "granted",
        [VIV_TRACE_REVOKED] = "revoked",
        [VIV_TRACE_DENIED] = "denied",
        [VIV_TRACE_PARKED] = "parked",
        [VIV_TRACE_WOKEN] = "woken",
        [VIV_TRACE_CASCADE_START] = "cascade-start",
        [VIV_TRACE_CASCADE_STEP] = "cascade-step",
        [VIV_TRACE_CASCADE_END] = "cascade-end",
        [VIV_TRACE_ORPHANED] = "orphaned",
        [VIV_TRACE_QUOTA] = "quota",
    };
    return event < VIV_TRACE_EVENTS ? names[event] : "?";
}
