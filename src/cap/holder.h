// SPDX-License-Identifier: Apache-2.0
// What room cap keeps for the processes and environments of a kernel: made when one of them holds
// something for the first time.
#ifndef VIV_CAP_HOLDER_H
#define VIV_CAP_HOLDER_H

#include "cap/htab.h"
#include "proc/proc.h"

// The registry of a kernel that has not started; what a process holds ends with it from then on.
enum viv_err viv_cap_open(struct viv_kernel *kernel, struct viv_reg **out_reg) VIV_MUST_CHECK;
void viv_cap_close(struct viv_reg *reg);
// Thread: the process's own. Errors: EXHAUSTED, QUOTA, NOINSTANCE (it is ending).
enum viv_err viv_holder_table(struct viv_reg *reg, struct viv_proc *proc,
                              struct viv_htab **out_tab) VIV_MUST_CHECK;
enum viv_err viv_res_environment(struct viv_reg *reg, struct viv_env *env,
                                 viv_rid *out_rid) VIV_MUST_CHECK;

#endif
