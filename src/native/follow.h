// SPDX-License-Identifier: Apache-2.0
// What a program's processes nearby are told: events (watch.c) and output (follow.c). Both are
// lists of the program, emptied when it is released.
#ifndef VIV_NATIVE_FOLLOW_H
#define VIV_NATIVE_FOLLOW_H

#include "gen/native_layouts.h"
#include "native/call.h"
#include "native/told.h"
#include <string.h>

// Sends what is due. Thread: any in a read section.
void viv_program__tell_watches(struct viv_program *program);
void viv_program__end_watches(struct viv_program *program);
// As much as there is credit for. Thread: the program's step; any, once it is over.
void viv_program__tell_follows(struct viv_program *program);
void viv_program__end_follows(struct viv_program *program);
// What its request says of delivery to whoever asked for it; before it is born. Errors: EXHAUSTED.
enum viv_err viv_program__deliver(struct viv_program *program, viv_pid to) VIV_MUST_CHECK;

#endif
