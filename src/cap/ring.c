// SPDX-License-Identifier: Apache-2.0
// The wake ring. One list holds what is to be delivered, oldest first; a flush takes from its front
// while there is room, so what did not fit is the front of the next flush.
//
// The guest's memory is untrusted and may change under our hands: head is read once a flush, tail
// and capacity are our own, and every address is computed from the memory of this call.
#include "cap/ring.h"
#include "base/assert.h"
#include "cap/counts.h"
#include "cap/fut_int.h"
#include "cap/reg_int.h"

enum { TURN = 64 }; // ids delivered before the lock is let go of

static _Atomic uint32_t *word_at(uint8_t *ring, uint32_t at)
{
    return (_Atomic uint32_t *)(void *)(ring + at); // the base is 8-aligned
}

static void put(uint8_t *ring, uint32_t at, uint32_t value)
{
    // Relaxed: fields without an order of their own; see the tail.
    atomic_store_explicit(word_at(ring, at), value, memory_order_relaxed);
}

static uint32_t head_of(uint8_t *ring)
{
    // Acquire: the guest has read the slots that it gives back.
    return atomic_load_explicit(word_at(ring, VIV_RING_CURSOR_AT), memory_order_acquire);
}

static uint8_t *find_ring(struct viv_guest_mem mem, uint32_t base, uint32_t capacity)
{
    return viv_guest_at(mem, base, VIV_RING_HEAD_BYTES + UINT64_C(4) * capacity);
}

// NULL: there is none, or memory is too small for it (which the guest's must not become).
static uint8_t *ring_of(const struct viv_futs *futs, struct viv_guest_mem mem)
{
    return futs->ring_capacity != 0 ? find_ring(mem, futs->ring_base, futs->ring_capacity) : NULL;
}

// Up to TURN of them; under the lock. A head outside [tail - capacity, tail] counts as full.
static bool deliver_locked(struct viv_futs *futs, uint8_t *ring, uint32_t head)
{
    uint32_t *tail = &futs->ring_tail;
    for (uint32_t i = 0; i < TURN; i++) {
        if (futs->ready_count == 0 || *tail - head >= futs->ring_capacity) return false;
        struct viv_fut *fut = VIV_CONTAINER_OF(futs->ready.next, struct viv_fut, link);
        viv_list_remove(&fut->link);
        futs->ready_count--;
        fut->has_task = false;
        put(ring, VIV_RING_HEAD_BYTES + 4 * (*tail & (futs->ring_capacity - 1)), fut->task);
        (*tail)++;
        // Release: the slot comes before the tail.
        atomic_store_explicit(word_at(ring, VIV_RING_TAIL_AT), *tail, memory_order_release);
    }
    return true;
}

// F1 and F2; how many are left.
static uint32_t deliver(struct viv_futs *futs, uint8_t *ring, uint32_t head)
{
    uint32_t left;
    bool is_more;
    do {
        viv_spin_lock(&futs->lock);
        is_more = ring != NULL && deliver_locked(futs, ring, head);
        left = futs->ready_count;
        viv_spin_unlock(&futs->lock);
    } while (is_more);
    return left;
}

bool viv_ring_flush(struct viv_htab *tab, struct viv_guest_mem mem)
{
    struct viv_futs *futs = viv_futs__of(tab);
    if (futs == NULL) return false;
    uint8_t *ring = ring_of(futs, mem);
    const uint32_t head = ring != NULL ? head_of(ring) : 0;
    VIV_SIM_POINT();
    // Seq_cst pairs with the exchange of the resolver, who lists first: what is not seen here wakes
    // the process once more.
    if (atomic_exchange_explicit(&futs->is_signalled, 0, memory_order_seq_cst) != 0 ||
        futs->left_count != 0) {
        VIV_SIM_POINT();
        futs->left_count = deliver(futs, ring, head);
        if (ring != NULL && futs->left_count != 0)
            viv_res__count(tab->reg, VIV_COUNT_RING_OVERFLOWS, 1);
    }
    if (ring == NULL) return futs->left_count != 0;
    if (head != futs->ring_tail) put(ring, VIV_RING_FLAG_AT, 1);
    put(ring, VIV_RING_WAITING_AT, futs->left_count);
    return head != futs->ring_tail || futs->left_count != 0;
}

enum viv_fut_wait viv_fut_wait(struct viv_htab *tab, struct viv_guest_mem mem, uint64_t now_ns,
                               uint64_t deadline_ns)
{
    if (viv_ring_flush(tab, mem)) return VIV_FUT_DRAIN; // W1, W2
    VIV_SIM_POINT();
    if (now_ns >= deadline_ns) return VIV_FUT_TIMEOUT;
    // W3: whatever is listed from here on wakes the process, whose wait then does not begin.
    return VIV_FUT_PARK;
}

static void fill_head(struct viv_futs *futs, uint8_t *ring)
{
    futs->ring_tail = head_of(ring);
    put(ring, VIV_RING_VERSION_AT, 1);
    put(ring, VIV_RING_FLAG_AT, 0);
    put(ring, VIV_RING_TAIL_AT, futs->ring_tail);
    put(ring, VIV_RING_CAPACITY_AT, futs->ring_capacity);
    put(ring, VIV_RING_WAITING_AT, 0);
    put(ring, 24, 0);
    put(ring, 28, 0);
}

static void set_capacity(struct viv_futs *futs, uint32_t capacity)
{
    viv_spin_lock(&futs->lock);
    futs->ring_capacity = capacity;
    viv_spin_unlock(&futs->lock);
}

enum viv_err viv_ring_register(struct viv_htab *tab, struct viv_guest_mem mem, uint32_t base,
                               uint32_t capacity, uint32_t flags)
{
    struct viv_futs *futs = viv_futs__of(tab);
    if (futs == NULL) return VIV_E_NOINSTANCE;
    if (flags != 0) return VIV_E_INVAL;
    if (capacity == 0) {
        set_capacity(futs, 0);
        return VIV_OK;
    }
    const bool is_size = capacity >= VIV_RING_SLOTS_MIN && capacity <= VIV_RING_SLOTS_MAX &&
                         (capacity & (capacity - 1)) == 0;
    if (!is_size || base % 8 != 0) return VIV_E_INVAL;
    uint8_t *ring = find_ring(mem, base, capacity);
    if (ring == NULL) return VIV_E_FAULT;
    if (futs->ring_capacity != 0 && viv_ring_flush(tab, mem)) return VIV_E_BUSY;
    futs->ring_base = base;
    set_capacity(futs, capacity);
    fill_head(futs, ring);
    return VIV_OK;
}
