// SPDX-License-Identifier: Apache-2.0
// System-call injection for tests: makes the nth call of one name fail with an errno. Compiled in
// everywhere; off, it costs one relaxed load a call. VIV_FAULT_SHORT instead of an errno makes a
// read or write partial (1 byte).
#ifndef VIV_OS_FAULT_H
#define VIV_OS_FAULT_H

#include "base/defs.h"

#define VIV_FAULT_SHORT (-1)

// name: "openat2", "epoll_ctl", "mmap" … or "*" for any; nth from 1, counted from now over all
// threads; 0 turns it off.
void viv_fault_set(const char *name, uint64_t nth, int errno_value);
bool viv_fault_hit(void); // has it failed since?
// For os/ only: 0, or the errno to fail with.
int viv_fault_check__(const char *name);

#endif
