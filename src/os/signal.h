// SPDX-License-Identifier: Apache-2.0
// Unix signals of the program: one handler that notes the first number, for the command line to
// wait on.
#ifndef VIV_OS_SIGNAL_H
#define VIV_OS_SIGNAL_H

#include "base/err.h"
#include <stdatomic.h>

void viv_os_ignore_sigpipe(void);
void viv_os_ignore_signals(const int *numbers, size_t number_count); // that can be ignored
// From now on each of these numbers adds 1 to *count, stores itself in *last and wakes futex
// waiters of *count; one that is ignored (as nohup and shells do for a program) stays ignored.
// The words must live as long as the program. Errors: INVAL.
enum viv_err viv_os_on_signals(const int *numbers, size_t number_count, _Atomic uint32_t *last,
                               _Atomic uint32_t *count) VIV_MUST_CHECK;

// The other way to wait for signals: they are blocked from now on, and the descriptor is readable
// when one has come. Or a negated errno. Thread: before others are started.
int viv_os_signal_fd(const int *numbers, size_t number_count);
int viv_os_signal_take(int fd); // its number; 0: none is there

// Stops this program as ^Z does, until somebody continues it.
void viv_os_stop_self(void);

#endif
