// SPDX-License-Identifier: Apache-2.0
// The class gate of a handle table, and what a refusal leaves behind.
#include "cap/gate.h"
#include "cap/metrics.h"
#include "cap/session_int.h"
#include "cap/trace_int.h"

void viv_gate_count(const struct viv_session *session, enum viv_cap cap)
{
    const size_t class = cap < VIV_CAP_COUNT ? (size_t)cap : VIV_CAP_COUNT;
    // Relaxed: a count.
    atomic_fetch_add_explicit(&session->tree->all->denials[class], 1, memory_order_relaxed);
}

enum viv_err viv_gate_refuse(const struct viv_session *session, viv_pid pid, enum viv_cap cap,
                             const struct viv_cap_query *query, enum viv_err err)
{
    struct viv_audit *audit = viv_ses_audit(session);
    viv_gate_count(session, cap);
    struct viv_reg *reg = session->tree->all->config.reg;
    if (viv_res__is_traced(reg))
        viv_res__trace_write(reg, VIV_TRACE_DENIED, &(struct viv_trace_fact){.pid = pid});
    if (audit == NULL) return err;
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_DENIED);
    event.pid = pid;
    event.session = viv_ses_id(session);
    event.environment = viv_ses_environment(session);
    event.outcome = err;
    viv_audit_set_query(&event, cap, query);
    viv_audit_write(audit, &event);
    return err;
}

uint64_t viv_ses_denials(const struct viv_sessions *all, enum viv_cap cap)
{
    const size_t class = cap < VIV_CAP_COUNT ? (size_t)cap : VIV_CAP_COUNT;
    return atomic_load_explicit(&all->denials[class], memory_order_relaxed); // relaxed: a count
}

enum viv_err viv_htab_gate(struct viv_htab *tab, enum viv_cap cap,
                           const struct viv_cap_query *query)
{
    const struct viv_session *session = tab->session;
    if (session == NULL) return VIV_OK;
    const enum viv_err err = viv_capset_check(viv_ses_held(session), cap, query);
    if (VIV_LIKELY(err == VIV_OK)) return VIV_OK;
    return viv_gate_refuse(session, tab->pid, cap, query, err);
}
