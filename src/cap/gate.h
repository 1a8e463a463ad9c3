// SPDX-License-Identifier: Apache-2.0
// The class gate: whether a process may start an action of a class on an object. What is open
// already is used through its handle's rights (htab.h). A refusal is written to the audit ring.
//
// Thread: the process's own, in a read section. Cost: a few loads for *any*, a comparison a pattern
// else.
#ifndef VIV_CAP_GATE_H
#define VIV_CAP_GATE_H

#include "cap/session.h"

// Counts the refusal only: for who writes an event of its own.
void viv_gate_count(const struct viv_session *session, enum viv_cap cap);
// Counts and writes the refusal; returns err.
enum viv_err viv_gate_refuse(const struct viv_session *session, viv_pid pid, enum viv_cap cap,
                             const struct viv_cap_query *query, enum viv_err err);

// Asks the session of the process. Errors: DENIED, UNSUPPORTED (no such class).
static inline VIV_MUST_CHECK enum viv_err viv_cap_check(const struct viv_proc *proc,
                                                        enum viv_cap cap,
                                                        const struct viv_cap_query *query)
{
    const struct viv_session *session = viv_ses_of(proc);
    if (session == NULL) return VIV_OK;
    const enum viv_err err = viv_capset_check(viv_ses_held(session), cap, query);
    if (VIV_LIKELY(err == VIV_OK)) return VIV_OK;
    return viv_gate_refuse(session, viv_proc_pid(proc), cap, query, err);
}

// Asks the session of the instance's process. Errors: as above.
enum viv_err viv_htab_gate(struct viv_htab *tab, enum viv_cap cap,
                           const struct viv_cap_query *query) VIV_MUST_CHECK;

#endif
