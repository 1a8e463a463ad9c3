// SPDX-License-Identifier: Apache-2.0
// `viv-holder init`: the parent of one program, and the only one that knows the truth about it.
#ifndef VIV_NATIVE_HOLDER_INIT_H
#define VIV_NATIVE_HOLDER_INIT_H

// Lives until the program and its tree have ended; `socket_fd` is the kernel's. Returns the status
// to end with: 0, or 1 after a failure that was reported. Consumes the descriptor.
int viv_holder_init(int socket_fd);

#endif
