// SPDX-License-Identifier: Apache-2.0
// The verbs of programs of the operating system: run, list, info, logs, input, resize, signal,
// stop, kill, release, wait, and native (what the host can do). Their service is struct
// viv_ctl_programs.
#ifndef VIV_CTL_PROGRAMS_H
#define VIV_CTL_PROGRAMS_H

#include "cap/room.h"
#include "ctl/verb.h"
#include "native/native.h"

struct viv_ctl_programs {
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    _Atomic uint32_t *word; // grows when `shutdown` was asked for; futex waiters are woken
    _Atomic bool wants_end; // it was
};

extern const struct viv_ctl_verb viv_ctl_program_verbs[];
extern const size_t viv_ctl_program_verb_count;

#endif
