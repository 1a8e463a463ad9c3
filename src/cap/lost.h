// SPDX-License-Identifier: Apache-2.0
// Policy line `close-on-revoke`: when a session loses a class, what its processes have made by that
// class is closed, too. Each process sees to its own, at its next step, in pieces; the kernel wakes
// all that are concerned.
//
//   class lost ──> shrunk ──> wake ──> next step: viv_lost_close ──> … until it answers false
#ifndef VIV_CAP_LOST_H
#define VIV_CAP_LOST_H

#include "cap/session.h"

// Of a process; zero before its first step.
struct viv_lost {
    uint64_t seen;                // classes held, in part at least, when it was looked last
    uint64_t gone;                // lost ones whose resources are being closed
    struct viv_res_cursor cursor; // among what the process owns
    bool has_closed;              // something, in this round
};

// Closes some; true: there is more to do, and the process should not run before. Thread: the
// process's own, in a read section. Cost: a few loads when nothing was lost.
bool viv_lost_close(struct viv_lost *lost, struct viv_proc *proc);
// The class by which resources of a kind are made; VIV_CAP_COUNT: none.
enum viv_cap viv_lost_class_of(viv_kind kind);

#endif
