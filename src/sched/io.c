// SPDX-License-Identifier: Apache-2.0
// Readiness: one entry a descriptor number, with the waits armed on it. Entries live in segments
// that are made at first use and never move, so an event finds its entry without a global lock.
// Invariants: a descriptor is armed in the epoll set (one-shot) exactly while its entry has waits,
// for the union of their events. A stale event for a number that was closed and reused only causes
// a spurious ready; callers try their system call again anyway. Threads: any; ready is called by
// whoever polls.
#include "sched/io.h"

#include "base/alloc.h"
#include "sched/sched_int.h"

enum { WAIT_IDLE, WAIT_ARMED, WAIT_FIRED };
enum { EVENTS_A_POLL = 64 };

_Static_assert(offsetof(struct viv_io_wait, prev) == offsetof(struct viv_list, prev), "list node");
_Static_assert(offsetof(struct viv_io_wait, next) == offsetof(struct viv_list, next), "list node");

static struct viv_list *node_of(struct viv_io_wait *wait)
{
    return (struct viv_list *)(void *)wait;
}

static struct viv_io_wait *wait_of(struct viv_list *node)
{
    return (struct viv_io_wait *)(void *)node;
}

static struct viv_io_entry *find_entry(struct viv_sched *sched, int fd)
{
    if (fd < 0 || fd >= VIV_IO_SEGMENT * VIV_IO_SEGMENTS) return NULL;
    // Acquire pairs with the publication in make_entry.
    struct viv_io_entry *segment =
        atomic_load_explicit(&sched->io[fd / VIV_IO_SEGMENT], memory_order_acquire);
    return segment == NULL ? NULL : &segment[fd % VIV_IO_SEGMENT];
}

static struct viv_io_entry *make_entry(struct viv_sched *sched, int fd)
{
    struct viv_io_entry *entry = find_entry(sched, fd);
    if (entry != NULL || fd < 0 || fd >= VIV_IO_SEGMENT * VIV_IO_SEGMENTS) return entry;
    struct viv_io_entry *segment =
        viv_try_calloc(VIV_IO_SEGMENT, sizeof(struct viv_io_entry), VIV_TAG_SCHED);
    if (segment == NULL) return NULL;
    for (size_t i = 0; i < VIV_IO_SEGMENT; i++) {
        viv_spin_init(&segment[i].lock, VIV_LOCK_IO);
        viv_list_init(&segment[i].waits);
    }
    struct viv_io_entry *expected = NULL;
    // Release publishes the segment; who loses the race uses the winner's.
    if (!atomic_compare_exchange_strong_explicit(&sched->io[fd / VIV_IO_SEGMENT], &expected,
                                                 segment, memory_order_acq_rel,
                                                 memory_order_acquire))
        viv_free(segment, VIV_IO_SEGMENT * sizeof(struct viv_io_entry), VIV_TAG_SCHED);
    return find_entry(sched, fd);
}

void viv_sched__io_deinit(struct viv_sched *sched)
{
    for (size_t i = 0; i < VIV_IO_SEGMENTS; i++) { // relaxed: no other thread is left
        struct viv_io_entry *segment = atomic_load_explicit(&sched->io[i], memory_order_relaxed);
        viv_free(segment, VIV_IO_SEGMENT * sizeof(struct viv_io_entry), VIV_TAG_SCHED);
    }
}

static uint32_t wanted_events(const struct viv_io_entry *entry)
{
    uint32_t events = 0;
    for (struct viv_list *n = entry->waits.next; n != &entry->waits; n = n->next)
        events |= wait_of(n)->events;
    return events;
}

void viv_io_init(struct viv_io_wait *wait, void (*ready)(struct viv_io_wait *wait, uint32_t events))
{
    viv_list_init(node_of(wait));
    wait->ready = ready;
    wait->fd = -1;
    wait->events = 0;
    atomic_init(&wait->state, WAIT_IDLE);
}

enum viv_err viv_io_arm(struct viv_sched *sched, struct viv_io_wait *wait, int fd, uint32_t events)
{
    VIV_ASSERT(atomic_load_explicit(&wait->state, memory_order_relaxed) != WAIT_ARMED);
    if (fd < 0) return VIV_E_BADHANDLE;
    struct viv_io_entry *entry = make_entry(sched, fd);
    if (entry == NULL) return VIV_E_EXHAUSTED;
    wait->fd = fd;
    wait->events = events;
    viv_spin_lock(&entry->lock);
    viv_list_append(&entry->waits, node_of(wait));
    atomic_store_explicit(&wait->state, WAIT_ARMED, memory_order_relaxed); // under lock
    // Seq_cst: a worker that parks after this sleeps in the poller.
    atomic_fetch_add_explicit(&sched->io_armed, 1, memory_order_seq_cst);
    enum viv_err err = viv_poller_arm(sched->poller, fd, wanted_events(entry), (uint64_t)fd);
    if (err != VIV_OK) {
        viv_list_remove(node_of(wait));
        atomic_store_explicit(&wait->state, WAIT_IDLE, memory_order_relaxed); // under lock
        atomic_fetch_sub_explicit(&sched->io_armed, 1, memory_order_seq_cst);
    }
    viv_spin_unlock(&entry->lock);
    if (err == VIV_OK) viv_sched__tick_hint(sched);
    return err;
}

bool viv_io_disarm(struct viv_sched *sched, struct viv_io_wait *wait)
{
    struct viv_io_entry *entry = find_entry(sched, wait->fd);
    if (entry == NULL) return false;
    viv_spin_lock(&entry->lock);
    bool armed = atomic_load_explicit(&wait->state, memory_order_relaxed) == WAIT_ARMED;
    if (armed) {
        viv_list_remove(node_of(wait));
        atomic_store_explicit(&wait->state, WAIT_IDLE, memory_order_relaxed); // under lock
        atomic_fetch_sub_explicit(&sched->io_armed, 1, memory_order_seq_cst);
        if (viv_list_is_empty(&entry->waits)) viv_poller_forget(sched->poller, wait->fd);
    }
    viv_spin_unlock(&entry->lock);
    return armed;
}

void viv_io_forget(struct viv_sched *sched, int fd)
{
    struct viv_io_entry *entry = find_entry(sched, fd);
    if (entry == NULL) return;
    viv_spin_lock(&entry->lock);
    VIV_ASSERT(viv_list_is_empty(&entry->waits));
    viv_poller_forget(sched->poller, fd);
    viv_spin_unlock(&entry->lock);
}

static void dispatch(struct viv_sched *sched, const struct viv_poll_event *event)
{
    int fd = (int)event->token;
    struct viv_io_entry *entry = find_entry(sched, fd);
    if (entry == NULL) return;
    viv_spin_lock(&entry->lock);
    bool broken = (event->events & (VIV_POLL_HUP | VIV_POLL_ERR)) != 0;
    for (struct viv_list *n = entry->waits.next; n != &entry->waits;) {
        struct viv_io_wait *wait = wait_of(n);
        n = n->next;
        if (!broken && (wait->events & event->events) == 0) continue;
        viv_list_remove(node_of(wait));
        atomic_store_explicit(&wait->state, WAIT_FIRED, memory_order_release); // see viv_io_disarm
        atomic_fetch_sub_explicit(&sched->io_armed, 1, memory_order_seq_cst);
        wait->ready(wait, event->events);
    }
    if (!viv_list_is_empty(&entry->waits))
        VIV_IGNORE(
            viv_poller_arm(sched->poller, fd, wanted_events(entry), event->token),
            "re-arming a registered descriptor allocates nothing; a closed one has no waits");
    viv_spin_unlock(&entry->lock);
}

uint32_t viv_sched__io_poll(struct viv_sched *sched)
{
    struct viv_poll_event events[EVENTS_A_POLL];
    uint32_t count = viv_poller_wait(sched->poller, 0, events, EVENTS_A_POLL);
    for (uint32_t i = 0; i < count; i++)
        dispatch(sched, &events[i]);
    return count;
}

void viv_sched__io_sleep(struct viv_sched *sched, uint64_t timeout_ns,
                         struct viv_qsbr_member *member)
{
    struct viv_poll_event events[EVENTS_A_POLL];
    const uint32_t count = viv_poller_wait(sched->poller, timeout_ns, events, EVENTS_A_POLL);
    viv_qsbr_online(member); // what is called for the events reads shared structures
    for (uint32_t i = 0; i < count; i++)
        dispatch(sched, &events[i]);
}
