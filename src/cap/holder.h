// SPDX-License-Identifier: Apache-2.0
// What this room keeps for the processes and environments of a kernel. A process that holds nothing
// and that nobody asks for costs the one word it has in proc/ (VIV_PROC_WORD_HOLDER); its holder,
// with the process resource, is made on first demand, and its handle table when it first needs one.
//
//   kernel ──> viv_cap_kernel ──> registry
//   environment's word ──> holder ──> resource `environment` (account)
//   process's word ─────> holder ──> resource `process` below it ──> instance: handle table
//
// At the end of a process the cascade (cascade.c) releases what it owns, in order, before its links
// are told.
#ifndef VIV_CAP_HOLDER_H
#define VIV_CAP_HOLDER_H

#include "cap/htab.h"
#include "cap/members.h"
#include "proc/proc.h"

struct viv_cap_kernel;
struct viv_holder;

// The registry of a kernel, before viv_kernel_start; installs the end hook. config NULL: no limits;
// its sched is the kernel's whatever it says. Rooms bind their kinds (viv_cap_reg) before the
// start; those of processes and environments are this room's. Errors: INVAL, EXHAUSTED.
enum viv_err viv_cap_open(struct viv_kernel *kernel, const struct viv_res_config *config,
                          struct viv_cap_kernel **out_cap) VIV_MUST_CHECK;
// Ends everything that is left. Between viv_kernel_stop and viv_kernel_free. Thread: the one that
// stopped it. Blocks.
void viv_cap_close(struct viv_cap_kernel *cap);
struct viv_reg *viv_cap_reg(struct viv_cap_kernel *cap);
// What other parts of this room do at the end of a process, after everything it held has been
// released (E5): called when its word VIV_PROC_WORD_SESSION is set. account_leak: E6 found a
// counter that is not zero. Before start.
struct viv_holder_hooks {
    void *arg;
    void (*end_session)(void *arg, struct viv_proc *proc);
    void (*account_leak)(void *arg, viv_pid pid);
    // What the process owned and others hold goes on without it.
    void (*orphaned)(void *arg, viv_pid pid, viv_rid rid);
};
void viv_cap_set_hooks(struct viv_cap_kernel *cap, const struct viv_holder_hooks *hooks);

// ---- environments ----
// Gives an environment its resource and its account, before its first process needs them. limits
// NULL: none. Errors: STATE (has them), QUOTA, EXHAUSTED.
enum viv_err viv_cap_add_env(struct viv_cap_kernel *cap, struct viv_env *env,
                             const struct viv_account_limits *limits) VIV_MUST_CHECK;
viv_rid viv_cap_env(const struct viv_env *env); // none: not added
// What its processes use together, for as long as one of them runs; NULL: not added.
struct viv_members *viv_cap_members(const struct viv_env *env);
// Kills its processes, thousands a call; once they have ended, releases what it owns itself (on a
// worker in turns, as viv_res_discard does). AGAIN: they have not yet; call again. No process may
// be started in it any more. Thread: one at a time, in a read section. Errors: NOTFOUND (not added,
// or ended).
enum viv_err viv_cap_end_env(struct viv_cap_kernel *cap, struct viv_env *env) VIV_MUST_CHECK;

// ---- processes; own thread: the process, or who makes it before it is born ----
// Its handle table, made on demand; the session of its word (else of its environment's) is copied.
// Errors: STATE (its environment was not added), QUOTA, EXHAUSTED, NOINSTANCE (it has ended).
enum viv_err viv_holder_htab(struct viv_proc *proc, struct viv_htab **out_tab) VIV_MUST_CHECK;
struct viv_htab *viv_holder_find_htab(const struct viv_proc *proc); // NULL: has none yet
// Gives it an account of its own, or new limits to that. Until then its environment's pays. The
// first time before its handle table is made. Errors: as htab, STATE (has a table and no account).
enum viv_err viv_holder_set_limits(struct viv_proc *proc,
                                   const struct viv_account_limits *limits) VIV_MUST_CHECK;
struct viv_account *viv_holder_account(const struct viv_proc *proc); // NULL: none of its own

// ---- any thread, in a read section ----
// The process resource of a pid, made on first demand. Errors: NOTFOUND (not alive), STATE, QUOTA,
// EXHAUSTED.
enum viv_err viv_res_process(struct viv_cap_kernel *cap, viv_pid pid,
                             viv_rid *out_rid) VIV_MUST_CHECK;
// And back. Errors: NOTFOUND, KIND.
enum viv_err viv_res_pid(struct viv_reg *reg, viv_rid rid, viv_pid *out_pid) VIV_MUST_CHECK;
// Why the process ended, one count for the caller; as long as its resource is there. Errors:
// NOTFOUND, KIND, STATE (it has not ended).
enum viv_err viv_res_reason(struct viv_reg *reg, viv_rid rid,
                            const struct viv_reason **out_reason) VIV_MUST_CHECK;

#endif
