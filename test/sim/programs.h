// SPDX-License-Identifier: Apache-2.0
// A model of what the system does for programs, in the place of os/launch, os/child, os/tree and
// the spawner threads (native/launcher): pipes, epoll and memory are real, processes are not. A
// program of the model prints, reads, forks, leaves its group, ignores signals, is stopped, ends.
// What it does next is drawn from the seed (drive.h), whenever a turn of a worker is over.
//
// Byte `offset` of a stream is (offset + its program's number) & 255, so that a reader can tell
// whether one is missing.
#ifndef VIV_TEST_SIM_PROGRAMS_H
#define VIV_TEST_SIM_PROGRAMS_H

#include "os/child.h"

void programs_begin(void);     // none is there
void programs_turn(void);      // a launch, or something that a program does, or neither
bool programs_have_work(void); // a launch waits, or somebody lives
// What became of a program, by the number of its leader.
struct program_facts {
    uint64_t written[2];                    // into its pipes, by all of its tree
    uint32_t alive;                         // of its tree, but those that left group and session
    bool has_ended, is_reaped, has_leavers; // has_leavers: some left group and session
    struct viv_child_end end;
};
bool programs_find(pid_t leader, struct program_facts *out);
uint32_t programs_alive(void); // processes of the model
void programs_end(void);       // those that left go as well; each leader has been waited for once
uint64_t programs_launched(void);

#endif
