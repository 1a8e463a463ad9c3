// SPDX-License-Identifier: Apache-2.0
// Clocks of the host. Everything above os/ that wants simulated time asks the scheduler instead
// (sched/env.h).
#ifndef VIV_OS_CLOCK_H
#define VIV_OS_CLOCK_H

#include "base/err.h"

uint64_t viv_os_now_ns(void);  // monotonic
uint64_t viv_os_wall_ns(void); // since the Unix epoch
uint64_t viv_os_boot_ns(void); // since the host began, suspended or not
// 36 characters that name this boot of the host, and a terminator. Errors: IO.
#define VIV_BOOT_ID_BYTES 37
enum viv_err viv_os_boot_id(char out_text[VIV_BOOT_ID_BYTES]) VIV_MUST_CHECK;
uint64_t viv_os_thread_cpu_ns(void);    // CPU time of the calling thread
uint64_t viv_os_monotonic_res_ns(void); // resolution of the monotonic clock
uint64_t viv_os_wall_res_ns(void);
void viv_os_sleep_ns(uint64_t ns); // Blocks.

#endif
