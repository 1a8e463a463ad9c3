// SPDX-License-Identifier: Apache-2.0
// The view of files: the steps of a plan, carried out in a mount namespace of one's own.
#ifndef VIV_NATIVE_HOLDER_VIEW_H
#define VIV_NATIVE_HOLDER_VIEW_H

#include "native/holder/plan.h"

// Builds the view and makes it the root. 0, or a negated errno; *out_step is the step that failed,
// or the number of steps when entering the new root did.
int viv_view_enter(const struct viv_plan *plan, uint32_t *out_step);
// A ruleset for the new root, or -1 in *out_fd for none. *out_rule: the rule that failed.
int viv_view_open_rules(const struct viv_plan *plan, int *out_fd, uint32_t *out_rule);

#endif
