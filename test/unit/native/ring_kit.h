// SPDX-License-Identifier: Apache-2.0
// Rings of a test: bytes pushed as a program's step does, numbers read back.
#ifndef VIV_TEST_UNIT_NATIVE_RING_KIT_H
#define VIV_TEST_UNIT_NATIVE_RING_KIT_H

#include "cm.h"
#include "native/ring.h"

void ring_open(struct viv_log_ring *ring, uint64_t cap);
// As many of the bytes as the ring takes, in appends of what there is room for; each has the next
// sequence after *sequence.
size_t ring_push(struct viv_log_ring *ring, const void *data, size_t len, uint64_t now_ns,
                 uint64_t *sequence);
size_t ring_text(struct viv_log_ring *ring, const char *text); // at time 0
struct viv_log_view ring_look(struct viv_log_ring *ring);
// received = retained + evicted + drained, and retained <= cap.
void ring_check(struct viv_log_ring *ring);

#endif
