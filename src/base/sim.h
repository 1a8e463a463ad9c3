// SPDX-License-Identifier: Apache-2.0
// Points where the seeded simulator may switch to another simulated worker. Nothing outside the sim
// preset.
#ifndef VIV_BASE_SIM_H
#define VIV_BASE_SIM_H

#include "base/defs.h"

#if VIV_SIM
extern void (*viv_sim_point_hook)(void); // NULL outside a simulation; defined in base/sim.c
extern uint32_t
    viv_sim_locks_held; // spin locks of the simulated worker: while any is held, none is switched
#define VIV_SIM_POINT()                                                                            \
    do {                                                                                           \
        if (viv_sim_point_hook != NULL && viv_sim_locks_held == 0) viv_sim_point_hook();           \
    } while (0)
#else
#define VIV_SIM_POINT() ((void)0)
#endif

#endif
