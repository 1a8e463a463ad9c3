// SPDX-License-Identifier: Apache-2.0
// Hierarchical timer wheel: nine levels of 64 slots; a slot of level L spans 64^L ticks of 1 ms.
// A timer sits at the level of the highest 6-bit group in which its tick differs from the wheel's,
// so the lowest occupied level always holds the earliest timer, and advancing touches only occupied
// slots:
//
//   1. find the first occupied slot after `tick`, lowest level first;
//   2. if it begins after now: stop, tick = now;
//   3. tick = its beginning; level 0: its timers expire; higher: they are filed again, lower.
//
// Expired timers are sorted by deadline (stably) and fired one at a time under the lock, so that a
// cancel either prevents the call or comes after it. Threads: start and cancel from any; run by the
// wheel's worker.
#include "sched/timer.h"

#include "sched/sched_int.h"

enum { TIMER_IDLE, TIMER_PENDING, TIMER_FIRED };
enum { LEVEL_EXPIRED = 255 };

void viv_sched__wheel_init(struct viv_wheel *wheel, uint64_t now_ns)
{
    viv_spin_init(&wheel->lock, VIV_LOCK_WHEEL);
    wheel->tick = now_ns / VIV_TIMER_TICK_NS;
    viv_list_init(&wheel->expired);
    for (size_t level = 0; level < VIV_WHEEL_LEVELS; level++) {
        wheel->occupied[level] = 0;
        for (size_t i = 0; i < 64; i++)
            viv_list_init(&wheel->slot[level][i]);
    }
    atomic_init(&wheel->count, 0);
    atomic_init(&wheel->next_tick, UINT64_MAX);
}

// struct viv_timer begins with the two pointers of a list node.
_Static_assert(offsetof(struct viv_timer, prev) == offsetof(struct viv_list, prev), "list node");
_Static_assert(offsetof(struct viv_timer, next) == offsetof(struct viv_list, next), "list node");

static struct viv_list *node_of(struct viv_timer *timer)
{
    return (struct viv_list *)(void *)timer;
}

static struct viv_timer *timer_of(struct viv_list *node)
{
    return (struct viv_timer *)(void *)node;
}

static uint64_t tick_of_deadline(uint64_t deadline_ns)
{
    return deadline_ns / VIV_TIMER_TICK_NS + (deadline_ns % VIV_TIMER_TICK_NS != 0);
}

static void file_locked(struct viv_wheel *wheel, struct viv_timer *timer)
{
    uint64_t tick = tick_of_deadline(timer->deadline_ns);
    if (tick <= wheel->tick) {
        timer->slot_level = LEVEL_EXPIRED;
        viv_list_append(&wheel->expired, node_of(timer));
        return;
    }
    uint32_t level = (63u - (uint32_t)__builtin_clzll(tick ^ wheel->tick)) / 6u;
    VIV_ASSERT(level < VIV_WHEEL_LEVELS); // tick < 2^54, since nanoseconds fit 64 bits
    uint32_t index = (uint32_t)(tick >> (6u * level)) & 63u;
    timer->slot_level = (uint8_t)level;
    timer->slot_index = (uint8_t)index;
    viv_list_append(&wheel->slot[level][index], node_of(timer));
    wheel->occupied[level] |= UINT64_C(1) << index;
}

// The first tick at which some slot needs work; UINT64_MAX when the wheel is empty. Writes which
// slot.
static uint64_t first_slot_locked(const struct viv_wheel *wheel, uint32_t *out_level,
                                  uint32_t *out_index)
{
    for (uint32_t level = 0; level < VIV_WHEEL_LEVELS; level++) {
        if (wheel->occupied[level] == 0) continue;
        uint32_t index = (uint32_t)__builtin_ctzll(wheel->occupied[level]);
        *out_level = level;
        *out_index = index;
        uint32_t shift = 6u * (level + 1u);
        return ((wheel->tick >> shift) << shift) | ((uint64_t)index << (6u * level));
    }
    return UINT64_MAX;
}

static void publish_next_locked(struct viv_wheel *wheel)
{
    uint32_t level, index;
    uint64_t next =
        viv_list_is_empty(&wheel->expired) ? first_slot_locked(wheel, &level, &index) : 0;
    // Seq_cst: read by a worker about to park, after it set its idle bit; pairs with the wake in
    // viv_timer_start.
    atomic_store_explicit(&wheel->next_tick, next, memory_order_seq_cst);
}

// Stable merge sort of a list by deadline; the list is almost always short or sorted already.
static void sort_by_deadline(struct viv_list *head)
{
    bool sorted = true;
    for (struct viv_list *n = head->next; n != head && n->next != head; n = n->next)
        sorted = sorted && timer_of(n)->deadline_ns <= timer_of(n->next)->deadline_ns;
    if (sorted) return;
    for (size_t width = 1;; width *= 2) {
        struct viv_list out;
        viv_list_init(&out);
        size_t merges = 0;
        while (!viv_list_is_empty(head)) {
            merges++;
            struct viv_list run[2];
            for (int r = 0; r < 2; r++) {
                viv_list_init(&run[r]);
                for (size_t i = 0; i < width && !viv_list_is_empty(head); i++) {
                    struct viv_list *n = head->next;
                    viv_list_remove(n);
                    viv_list_append(&run[r], n);
                }
            }
            while (!viv_list_is_empty(&run[0]) || !viv_list_is_empty(&run[1])) {
                bool second =
                    viv_list_is_empty(&run[0]) ||
                    (!viv_list_is_empty(&run[1]) &&
                     timer_of(run[1].next)->deadline_ns < timer_of(run[0].next)->deadline_ns);
                struct viv_list *n = run[second].next;
                viv_list_remove(n);
                viv_list_append(&out, n);
            }
        }
        viv_list_splice(head, &out);
        if (merges <= 1) return;
    }
}

// Moves everything due at now_tick to the expired list.
static void advance_locked(struct viv_wheel *wheel, uint64_t now_tick)
{
    bool moved = false;
    for (;;) {
        uint32_t level = 0, index = 0;
        uint64_t begins = first_slot_locked(wheel, &level, &index);
        if (begins > now_tick) break;
        wheel->tick = begins;
        struct viv_list due;
        viv_list_init(&due);
        viv_list_splice(&due, &wheel->slot[level][index]);
        wheel->occupied[level] &= ~(UINT64_C(1) << index);
        while (!viv_list_is_empty(&due)) {
            struct viv_list *n = due.next;
            viv_list_remove(n);
            file_locked(wheel, timer_of(n)); // level 0: tick == wheel->tick, so it expires
        }
        moved = true;
    }
    if (now_tick > wheel->tick) wheel->tick = now_tick;
    if (moved) sort_by_deadline(&wheel->expired);
}

uint32_t viv_sched__wheel_run(struct viv_wheel *wheel, uint64_t now_ns, uint32_t budget)
{
    uint64_t now_tick = now_ns / VIV_TIMER_TICK_NS;
    // Relaxed: a start from another thread that this misses is followed by that thread's wake.
    if (atomic_load_explicit(&wheel->next_tick, memory_order_relaxed) > now_tick) return 0;
    uint32_t fired = 0;
    for (; fired < budget; fired++) {
        viv_spin_lock(&wheel->lock);
        if (fired == 0) advance_locked(wheel, now_tick);
        if (viv_list_is_empty(&wheel->expired)) {
            publish_next_locked(wheel);
            viv_spin_unlock(&wheel->lock);
            break;
        }
        struct viv_timer *timer = timer_of(wheel->expired.next);
        viv_list_remove(node_of(timer));
        atomic_fetch_sub_explicit(&wheel->count, 1, memory_order_relaxed); // a hint for the ticker
        // Release: who sees FIRED sees that the node is on no list.
        atomic_store_explicit(&timer->state, TIMER_FIRED, memory_order_release);
        timer->fire(timer);
        publish_next_locked(wheel);
        viv_spin_unlock(&wheel->lock);
    }
    return fired;
}

void viv_timer_init(struct viv_timer *timer, void (*fire)(struct viv_timer *timer))
{
    viv_list_init(node_of(timer));
    timer->deadline_ns = 0;
    timer->fire = fire;
    timer->worker = 0;
    timer->slot_level = timer->slot_index = 0;
    atomic_init(&timer->state, TIMER_IDLE);
}

void viv_timer_start(struct viv_sched *sched, struct viv_timer *timer, uint64_t deadline_ns,
                     uint16_t worker)
{
    struct viv_worker *here = viv_worker_current();
    if (worker == VIV_TIMER_HERE) worker = here == NULL ? 0 : (uint16_t)here->index;
    VIV_ASSERT(worker < sched->worker_count);
    VIV_ASSERT(atomic_load_explicit(&timer->state, memory_order_relaxed) != TIMER_PENDING);
    struct viv_wheel *wheel = &sched->workers[worker]->wheel;
    timer->deadline_ns = deadline_ns;
    timer->worker = worker;
    viv_spin_lock(&wheel->lock);
    uint64_t before = atomic_load_explicit(&wheel->next_tick, memory_order_relaxed); // under lock
    // Relaxed: a canceller learns of the timer from its owner, not from this store.
    atomic_store_explicit(&timer->state, TIMER_PENDING, memory_order_relaxed);
    file_locked(wheel, timer);
    atomic_fetch_add_explicit(&wheel->count, 1, memory_order_relaxed); // hint
    uint64_t mine = timer->slot_level == LEVEL_EXPIRED ? 0 : tick_of_deadline(deadline_ns);
    if (mine < before) publish_next_locked(wheel);
    uint64_t after = atomic_load_explicit(&wheel->next_tick, memory_order_relaxed);
    viv_spin_unlock(&wheel->lock);
    // A parked owner sleeps until the old time; it must learn of the earlier one.
    if (after < before && (here == NULL || here->index != worker))
        viv_sched__wake_worker(sched, worker);
    viv_sched__tick_hint(sched);
}

bool viv_timer_cancel(struct viv_sched *sched, struct viv_timer *timer)
{
    // Acquire pairs with the FIRED store; an idle or fired timer needs no lock to say so, but one
    // being fired does.
    if (atomic_load_explicit(&timer->state, memory_order_acquire) == TIMER_IDLE) return false;
    struct viv_wheel *wheel = &sched->workers[timer->worker]->wheel;
    viv_spin_lock(&wheel->lock);
    bool pending = atomic_load_explicit(&timer->state, memory_order_relaxed) == TIMER_PENDING;
    if (pending) {
        viv_list_remove(node_of(timer));
        if (timer->slot_level != LEVEL_EXPIRED &&
            viv_list_is_empty(&wheel->slot[timer->slot_level][timer->slot_index]))
            wheel->occupied[timer->slot_level] &= ~(UINT64_C(1) << timer->slot_index);
        atomic_fetch_sub_explicit(&wheel->count, 1, memory_order_relaxed);      // hint
        atomic_store_explicit(&timer->state, TIMER_IDLE, memory_order_relaxed); // under lock
        // next_tick may now be too early: it costs one look, not a wrong firing; an empty wheel is
        // said at once.
        if (atomic_load_explicit(&wheel->count, memory_order_relaxed) == 0)
            publish_next_locked(wheel);
    }
    viv_spin_unlock(&wheel->lock);
    return pending;
}

bool viv_timer_is_pending(const struct viv_timer *timer)
{
    // Acquire pairs with the release of FIRED: who sees it sees what fire did before.
    return atomic_load_explicit(&timer->state, memory_order_acquire) == TIMER_PENDING;
}
