// SPDX-License-Identifier: Apache-2.0
// The whole of this room for one kernel: registry, holders, sessions, audit, channels, futures.
//
//   kernel_new ─ room_open ─ room_add_env … (rooms above bind their kinds) ─ kernel_start
//   … kernel_stop ─ room_close ─ rooms above ─ kernel_free
#ifndef VIV_CAP_ROOM_H
#define VIV_CAP_ROOM_H

#include "cap/holder.h"
#include "cap/session.h"

struct viv_room;

// Errors: EXHAUSTED.
enum viv_err viv_room_open(struct viv_kernel *kernel, struct viv_room **out_room) VIV_MUST_CHECK;
// Between viv_kernel_stop and viv_kernel_free. Thread: the one that stopped it. Blocks.
void viv_room_close(struct viv_room *room);
// An environment whose processes may do what the policy says, each within its limits, and together
// within those that it names (viv_limits_sums); NULL: everything, and no limits but the
// environment's own. Before its first process. Thread: any.
// Errors: EXHAUSTED, STATE (added before).
enum viv_err viv_room_add_env(struct viv_room *room, struct viv_env *env,
                              const struct viv_policy *policy) VIV_MUST_CHECK;
// The resource of a process, made on first demand: viv_res_process.
enum viv_err viv_room_process(struct viv_room *room, viv_pid pid, viv_rid *out_rid) VIV_MUST_CHECK;
struct viv_reg *viv_room_reg(const struct viv_room *room);
struct viv_audit *viv_room_audit(const struct viv_room *room);

// The unborn child of `parent` (NULL: of nobody) is given its session. session NULL: the parent's,
// else that of its environment. Errors: QUOTA (processes below a session), GONE, EXHAUSTED.
enum viv_err viv_room_admit(struct viv_proc *child, const struct viv_proc *parent,
                            struct viv_session *session) VIV_MUST_CHECK;
// The process's handle table, under the limits of its session; made on demand. Thread: its own.
// Errors: those of viv_holder_htab.
enum viv_err viv_room_htab(struct viv_proc *proc, struct viv_htab **out_tab) VIV_MUST_CHECK;

#endif
