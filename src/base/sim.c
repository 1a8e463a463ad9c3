// SPDX-License-Identifier: Apache-2.0
// The hook behind VIV_SIM_POINT. Global on purpose: only the single-threaded simulator sets it.
#include "base/sim.h"

#if VIV_SIM
void (*viv_sim_point_hook)(void) = NULL;
uint32_t viv_sim_locks_held = 0;
#endif
