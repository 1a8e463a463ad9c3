// SPDX-License-Identifier: Apache-2.0
// What the processes of an environment use together and no account counts: a CPU share, which comes
// back with each window, and output, which never does. Memory, handles and the like are the
// account's (account.h). Thread: any.
#ifndef VIV_CAP_MEMBERS_H
#define VIV_CAP_MEMBERS_H

#include "cap/account.h"

#define VIV_CPU_WINDOW_NS (UINT64_C(100) * 1000 * 1000)

struct viv_members {
    // Before the first process:
    struct viv_account *account;
    uint64_t cpu_percent; // of one core in a window; VIV_UNLIMITED
    uint64_t output_max;  // bytes; VIV_UNLIMITED
    // Any thread:
    _Atomic uint64_t window_end_ns, cpu_used_ns; // of the window
    _Atomic uint64_t output_used;
};

void viv_members_init(struct viv_members *members, struct viv_account *account);
// Whether a member may run now; *out_end_ns: when the window ends, and it should ask again.
bool viv_members_has_cpu(struct viv_members *members, uint64_t now_ns, uint64_t *out_end_ns);
// What ran over is taken from the windows that follow.
void viv_members_add_cpu(struct viv_members *members, uint64_t ns);
// Before bytes are written; false, and nothing is taken: they would go over the limit.
bool viv_members_take_output(struct viv_members *members, uint64_t bytes);
void viv_members_give_output(struct viv_members *members, uint64_t bytes); // that were not written

#endif
