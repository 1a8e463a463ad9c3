// SPDX-License-Identifier: Apache-2.0
// The import module `viv_native`: the operations of native.h for guests of any body, in the form of
// cap/guest.h. What they answer in guest memory: gen/native_layouts.tab.
#ifndef VIV_NATIVE_GUEST_H
#define VIV_NATIVE_GUEST_H

#include "cap/guest.h"

struct viv_native;

// The room's; as long as it is open.
const struct viv_guest_module *viv_native_guest_module(struct viv_native *native);

#endif
