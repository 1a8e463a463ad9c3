// SPDX-License-Identifier: Apache-2.0
// What others are told of the end of a program: the reason of its process, the exit status of a
// command.
#ifndef VIV_NATIVE_EXIT_H
#define VIV_NATIVE_EXIT_H

#include "native/record.h"
#include "proc/reason.h"

// The reason of its process. broken: of the link that broke, when the cause is LINK; borrowed.
const struct viv_reason *viv_native_reason(const struct viv_native_exit *exit,
                                           const struct viv_reason *broken);
// What a shell would say: the code, 128 and the signal, 137 when it was killed or over a limit, 125
// when that is not known.
int viv_native_exit_status(const struct viv_native_exit *exit);

#endif
