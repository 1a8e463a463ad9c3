// SPDX-License-Identifier: Apache-2.0
// Process table: segments of entries that never move; an entry holds the live process of its slot,
// or NULL.
//
//   pid ── slot ──> segment[slot / 4096][slot % 4096] ──> proc, valid if proc->pid == pid
//
// Free slots: a cache a worker (batches of 32), behind it one FIFO list under a lock. A slot's
// serial grows with every reservation, so a pid never comes back; after 2^32 uses a slot is
// retired. Threads: look-ups from any registered thread without a lock; the process struct outlives
// the grace period.
#include "proc/proc_int.h"

#include <stdio.h>

enum { SEGMENT = VIV_PROCS_PER_SEGMENT, BATCH = 32 };

static struct viv_table_entry *entry_of(struct viv_table *table, uint32_t slot)
{
    // Acquire pairs with the publication in add_segment_locked.
    struct viv_table_entry *segment =
        atomic_load_explicit(&table->segment[slot / SEGMENT], memory_order_acquire);
    return segment == NULL ? NULL : &segment[slot % SEGMENT];
}

enum viv_err viv_proc__table_init(struct viv_table *table, uint32_t worker_count)
{
    viv_spin_init(&table->lock, VIV_LOCK_PTABLE);
    table->free_first = table->free_last = 0;
    atomic_init(&table->fresh, 1); // slot 0 is none
    table->cache_count = worker_count;
    table->caches = viv_try_alloc_aligned(worker_count * sizeof(struct viv_slot_cache),
                                          VIV_CACHE_LINE_BYTES, VIV_TAG_PROC);
    if (table->caches == NULL) return VIV_E_EXHAUSTED;
    for (uint32_t i = 0; i < worker_count; i++)
        table->caches[i].count = 0;
    return VIV_OK;
}

void viv_proc__table_deinit(struct viv_table *table)
{
    for (size_t i = 0; i < VIV_COUNT_OF(table->segment); i++) // relaxed: no other thread is left
        viv_free(atomic_load_explicit(&table->segment[i], memory_order_relaxed),
                 SEGMENT * sizeof(struct viv_table_entry), VIV_TAG_PROC);
    viv_free(table->caches, table->cache_count * sizeof(struct viv_slot_cache), VIV_TAG_PROC);
}

// Errors: EXHAUSTED.
static enum viv_err take_fresh_locked(struct viv_table *table, uint32_t *out_slot)
{
    uint32_t slot = atomic_load_explicit(&table->fresh, memory_order_relaxed); // under lock
    if (slot >= UINT32_C(1) << VIV_PID_SLOT_BITS) return VIV_E_EXHAUSTED;
    if (entry_of(table, slot) == NULL) {
        struct viv_table_entry *segment =
            viv_try_calloc(SEGMENT, sizeof(struct viv_table_entry), VIV_TAG_PROC);
        if (segment == NULL) return VIV_E_EXHAUSTED;
        atomic_store_explicit(&table->segment[slot / SEGMENT], segment, memory_order_release);
    }
    atomic_store_explicit(&table->fresh, slot + 1,
                          memory_order_release); // readers of `fresh` see the segment
    *out_slot = slot;
    return VIV_OK;
}

static enum viv_err take_slot_locked(struct viv_table *table, uint32_t *out_slot)
{
    uint32_t slot = table->free_first;
    if (slot == 0) return take_fresh_locked(table, out_slot);
    table->free_first = entry_of(table, slot)->next_free;
    if (table->free_first == 0) table->free_last = 0;
    *out_slot = slot;
    return VIV_OK;
}

static void give_slot_locked(struct viv_table *table, uint32_t slot)
{
    entry_of(table, slot)->next_free = 0;
    if (table->free_last != 0)
        entry_of(table, table->free_last)->next_free = slot;
    else
        table->free_first = slot;
    table->free_last = slot;
}

static struct viv_slot_cache *own_cache(struct viv_table *table)
{
    const struct viv_worker *worker = viv_worker_current();
    return worker == NULL ? NULL : &table->caches[viv_worker_index(worker)];
}

enum viv_err viv_proc__table_reserve(struct viv_table *table, viv_pid *out_pid)
{
    struct viv_slot_cache *cache = own_cache(table);
    uint32_t slot;
    if (cache == NULL || cache->count == 0) {
        viv_spin_lock(&table->lock);
        enum viv_err err = take_slot_locked(table, &slot);
        // A worker takes a batch of used slots along; fresh ones are handed out one by one, so that
        // numbers stay small.
        while (err == VIV_OK && cache != NULL && cache->count < BATCH && table->free_first != 0)
            VIV_IGNORE(take_slot_locked(table, &cache->slot[cache->count++]),
                       "the list is not empty");
        viv_spin_unlock(&table->lock);
        if (err != VIV_OK) return err;
    } else {
        slot = cache->slot[--cache->count];
    }
    // The serial is written only by who holds the slot.
    *out_pid = viv_pid_make(slot, entry_of(table, slot)->serial);
    return VIV_OK;
}

void viv_proc__table_publish(struct viv_table *table, struct viv_proc *proc)
{
    struct viv_table_entry *entry = entry_of(table, viv_pid_slot(proc->pid));
    // Release: a finder sees the whole process.
    atomic_store_explicit(&entry->proc, proc, memory_order_release);
}

void viv_proc__table_release(struct viv_table *table, viv_pid pid)
{
    uint32_t slot = viv_pid_slot(pid);
    struct viv_table_entry *entry = entry_of(table, slot);
    // Seq_cst: who finds nothing from now on may rely on the process having left before its inbox
    // closed.
    atomic_store_explicit(&entry->proc, NULL, memory_order_seq_cst);
    entry->serial++;
    if (entry->serial == 0) return; // retired: its pids are used up
    struct viv_slot_cache *cache = own_cache(table);
    if (cache != NULL && cache->count < VIV_COUNT_OF(cache->slot)) {
        cache->slot[cache->count++] = slot;
        return;
    }
    viv_spin_lock(&table->lock);
    give_slot_locked(table, slot);
    while (cache != NULL && cache->count > BATCH)
        give_slot_locked(table, cache->slot[--cache->count]);
    viv_spin_unlock(&table->lock);
}

struct viv_proc *viv_proc_find(struct viv_kernel *kernel, const struct viv_env *env, viv_pid pid)
{
    if (pid.w >> 60 != 0) return NULL;
    struct viv_table_entry *entry = entry_of(&kernel->table, viv_pid_slot(pid));
    if (entry == NULL) return NULL;
    // Seq_cst (an ordinary load on x86-64): pairs with publish and, for names.c, with release; the
    // process stays readable until our next quiescent state.
    struct viv_proc *proc = atomic_load_explicit(&entry->proc, memory_order_seq_cst);
    if (proc == NULL || !viv_pid_eq(proc->pid, pid)) return NULL;
    return env == NULL || proc->env == env ? proc : NULL;
}

bool viv_kernel_each_some(struct viv_kernel *kernel, uint32_t *slot, uint32_t n,
                          void (*visit)(void *arg, struct viv_proc *proc), void *arg)
{
    const uint32_t fresh = atomic_load_explicit(&kernel->table.fresh, memory_order_acquire);
    if (*slot == 0) *slot = 1;
    for (; *slot < fresh && n > 0; (*slot)++, n--) {
        struct viv_table_entry *entry = entry_of(&kernel->table, *slot);
        struct viv_proc *proc =
            atomic_load_explicit(&entry->proc, memory_order_acquire); // as viv_proc_find
        if (proc != NULL) visit(arg, proc);
    }
    return *slot >= fresh;
}

void viv_kernel_each_proc(struct viv_kernel *kernel,
                          void (*visit)(void *arg, struct viv_proc *proc), void *arg)
{
    uint32_t slot = 0;
    (void)viv_kernel_each_some(kernel, &slot, UINT32_MAX, visit, arg);
}

const char *viv_pid_format(viv_pid pid, char out[VIV_PID_TEXT_BYTES])
{
    (void)snprintf(out, VIV_PID_TEXT_BYTES, "<0.%u.%u>", viv_pid_slot(pid), viv_pid_serial(pid));
    return out;
}
