// SPDX-License-Identifier: Apache-2.0
// Freeing what readers without a count may still look at.
#ifndef VIV_CAP_RETIRE_H
#define VIV_CAP_RETIRE_H

#include "sched/sched.h"

// Frees the item after a grace period; at once on a thread without a member, which is the last one
// (viv_sched_free).
static inline void viv_cap_retire(struct viv_qsbr_item *item,
                                  void (*free_item)(struct viv_qsbr_item *item))
{
    struct viv_qsbr_member *member = viv_sched_member();
    if (member != NULL)
        viv_qsbr_retire(member, item, free_item);
    else
        free_item(item);
}

#endif
