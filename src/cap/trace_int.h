// SPDX-License-Identifier: Apache-2.0
// Writing the trace, for the files of this room: one branch while it is off.
#ifndef VIV_CAP_TRACE_INT_H
#define VIV_CAP_TRACE_INT_H

#include "cap/reg_int.h"

struct viv_trace_fact { // what is known of it
    const struct viv_res *res;
    const struct viv_htab *tab;
    viv_pid pid;
    viv_rid owner;
    viv_kind kind; // without res
};
void viv_res__trace_write(struct viv_reg *reg, enum viv_trace_event event,
                          const struct viv_trace_fact *fact);
void viv_res__trace_free(struct viv_reg *reg); // while no other thread uses the registry
static inline bool viv_res__is_traced(const struct viv_reg *reg)
{
    // Relaxed: the writer loads it again.
    return VIV_UNLIKELY(atomic_load_explicit(&reg->trace, memory_order_relaxed) != NULL);
}
static inline void viv_res__trace(struct viv_reg *reg, enum viv_trace_event event,
                                  const struct viv_res *res)
{
    if (viv_res__is_traced(reg))
        viv_res__trace_write(reg, event, &(struct viv_trace_fact){.res = res});
}
static inline void viv_res__trace_tab(const struct viv_htab *tab, struct viv_reg *reg,
                                      enum viv_trace_event event, const struct viv_res *res)
{
    if (viv_res__is_traced(reg))
        viv_res__trace_write(reg, event, &(struct viv_trace_fact){.res = res, .tab = tab});
}

#endif
