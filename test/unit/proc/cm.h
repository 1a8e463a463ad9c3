// SPDX-License-Identifier: Apache-2.0
// cmocka with what it needs before it, and a simulated kernel of one worker whose processes run a
// script of the test.
#ifndef VIV_TEST_UNIT_PROC_CM_H
#define VIV_TEST_UNIT_PROC_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "proc/host.h"
#include "sched/drive.h"

struct rig {
    struct viv_kernel *kernel;
    struct viv_env *env;
    uint64_t now_ns;
    uint32_t ended_count;
    viv_pid ended_last;
    enum viv_reason_kind ended_kind; // of ended_last
};

// A process that does once what `act` says when it runs with act set, and otherwise collects its
// mailbox.
struct puppet {
    struct rig *rig;
    viv_pid pid;
    void (*act)(struct viv_proc *self, struct puppet *puppet);
    bool finish;                     // ends after the next act
    const struct viv_reason *reason; // with this reason (NULL: normal)
    struct viv_signal *got[64];      // what was in the mailbox, in order
    uint32_t got_count;
    // for acts
    viv_pid peer;
    int64_t tag;
    uint64_t ref;
    enum viv_err err;
};

void rig_open(struct rig *rig);
void rig_close(struct rig *rig); // kills what lives
void rig_run(struct rig *rig);   // until nothing can run
viv_pid puppet_start(struct rig *rig, struct puppet *puppet);
// Lets the puppet act (NULL: only look at its mailbox).
void puppet_do(struct puppet *puppet, void (*act)(struct viv_proc *self, struct puppet *puppet));
void puppet_end(struct puppet *puppet, const struct viv_reason *reason);
void puppet_forget(struct puppet *puppet); // drops what it got
bool puppet_lives(const struct puppet *puppet);

// Acts.
void act_trap(struct viv_proc *self, struct puppet *puppet);      // trap exits
void act_link(struct viv_proc *self, struct puppet *puppet);      // peer, tag
void act_unlink(struct viv_proc *self, struct puppet *puppet);    // peer
void act_monitor(struct viv_proc *self, struct puppet *puppet);   // peer, ref, tag
void act_demonitor(struct viv_proc *self, struct puppet *puppet); // ref
void act_send(struct viv_proc *self, struct puppet *puppet);      // peer, tag

#endif
