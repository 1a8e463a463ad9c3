// SPDX-License-Identifier: Apache-2.0
#include "ring_kit.h"
#include "cap/retire.h"
#include <string.h>

void ring_open(struct viv_log_ring *ring, uint64_t cap)
{
    viv_log_ring_init(ring, &(struct viv_log_ring_config){
                                .cap_bytes = cap, .has_index = true, .retire = viv_cap_retire});
}

size_t ring_push(struct viv_log_ring *ring, const void *data, size_t len, uint64_t now_ns,
                 uint64_t *sequence)
{
    const uint8_t *at = data;
    size_t left = len;
    while (left > 0) {
        struct iovec space[2];
        const size_t room = viv_log_ring_room(ring, left, space);
        if (room == 0) break;
        const size_t first = room < space[0].iov_len ? room : space[0].iov_len;
        memcpy(space[0].iov_base, at, first);
        if (room > first) memcpy(space[1].iov_base, at + first, room - first);
        viv_log_ring_commit(ring, room, now_ns, ++*sequence);
        at += room;
        left -= room;
    }
    return len - left;
}

size_t ring_text(struct viv_log_ring *ring, const char *text)
{
    return ring_push(ring, text, strlen(text), 0, &(uint64_t){ring->sequence});
}

struct viv_log_view ring_look(struct viv_log_ring *ring)
{
    struct viv_log_view view;
    viv_log_ring_look(ring, &view);
    return view;
}

void ring_check(struct viv_log_ring *ring)
{
    const struct viv_log_view view = ring_look(ring);
    assert_int_equal(view.end, view.end - view.front + view.evicted + view.drained);
    assert_true(view.end - view.front <= ring->cap);
}
