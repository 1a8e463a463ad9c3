// SPDX-License-Identifier: Apache-2.0
// Wake ring: a ring in guest memory in which the host names the tasks whose futures are ready.
//
//   base + 0 version 1 | 4 flag | 8 head (guest) | 12 tail (host) | 16 capacity | 20 waiting |
//   24, 28 zero | 32 slots; all 32 bits. Cursors run free.
//
// The host never writes head. It keeps its own tail and does not believe the guest's copy.
#ifndef VIV_CAP_RING_H
#define VIV_CAP_RING_H

#include "cap/fut.h"

#define VIV_RING_HEAD_BYTES 32
#define VIV_RING_SLOTS_MIN 8
#define VIV_RING_SLOTS_MAX 65536
enum { // offsets
    VIV_RING_VERSION_AT = 0,
    VIV_RING_FLAG_AT = 4,
    VIV_RING_CURSOR_AT = 8, // head
    VIV_RING_TAIL_AT = 12,
    VIV_RING_CAPACITY_AT = 16,
    VIV_RING_WAITING_AT = 20
};

// capacity 0: no ring any more; what was not delivered waits for the next one. The ring begins
// empty, at the head that the guest has stored. Errors: INVAL (alignment, capacity, flags other
// than 0), FAULT (not in memory), BUSY (the old ring is not empty), STATE (no futures: NOINSTANCE).
enum viv_err viv_ring_register(struct viv_htab *tab, struct viv_guest_mem mem, uint32_t base,
                               uint32_t capacity, uint32_t flags) VIV_MUST_CHECK;
// F1 to F4: delivers what is ready as far as there is room. True: there is something to drain, or
// still to be delivered.
bool viv_ring_flush(struct viv_htab *tab, struct viv_guest_mem mem);

#endif
