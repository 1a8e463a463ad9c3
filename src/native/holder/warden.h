// SPDX-License-Identifier: Apache-2.0
// The role warden: no program survives the kernel, however that ends.
#ifndef VIV_NATIVE_HOLDER_WARDEN_H
#define VIV_NATIVE_HOLDER_WARDEN_H

// Waits for the end of file on the descriptor, then ends the control group `name` of the working
// directory, with all that is in it. The exit status: 0 when it is gone.
int viv_holder_warden(int fd, const char *name);

#endif
