// SPDX-License-Identifier: Apache-2.0
// The class gate: whether a process may start an action of a class on an object. What is open
// already is used through its handle's rights (htab.h).
#ifndef VIV_CAP_GATE_H
#define VIV_CAP_GATE_H

#include "cap/htab.h"
#include "cap/scope.h"

// Asks the session of the instance's process. Errors: DENIED. Thread: the instance's own.
enum viv_err viv_htab_gate(struct viv_htab *tab, enum viv_cap cap,
                           const struct viv_cap_query *query) VIV_MUST_CHECK;

#endif
