// SPDX-License-Identifier: Apache-2.0
// The state word of a record: its other bits are in reg.h.
#ifndef VIV_CAP_REG_STATE_H
#define VIV_CAP_REG_STATE_H

#include "cap/reg.h"

// More bits of viv_res.state.
#define VIV_RES_PIN_ONE UINT64_C(1)
#define VIV_RES_PHASE_MASK (UINT64_C(7) << VIV_RES_PHASE_SHIFT)
#define VIV_RES_CLAIMED (UINT64_C(1) << 47)   // exclusive: a reservation that is being initialised
#define VIV_RES_ENDED (UINT64_C(1) << 48)     // a process that has ended: owns nothing new
#define VIV_RES_REVOKED (UINT64_C(1) << 49)   // ended since what it was made through was revoked
#define VIV_RES_KEPT (UINT64_C(1) << 50)      // detached: stays without holds
#define VIV_RES_DESTROYED (UINT64_C(1) << 51) // DEAD, and its grace period is over
#define VIV_RES_NO_OBJ (UINT64_C(1) << 52)    // DYING without an object to close and destroy
#define VIV_RES_LEFT (UINT64_C(1) << 53)      // goes with its last hold, whatever its kind says
#define VIV_RES_ORPHAN (UINT64_C(1) << 54)    // has outlived its owner; until it gets another
#define VIV_RES_IN_PHASE(phase) ((uint64_t)(phase) << VIV_RES_PHASE_SHIFT)

static inline enum viv_res_phase viv_res__phase(uint64_t state)
{
    return (enum viv_res_phase)((state & VIV_RES_PHASE_MASK) >> VIV_RES_PHASE_SHIFT);
}

static inline enum viv_err viv_res__phase_err(uint64_t state)
{
    const enum viv_res_phase phase = viv_res__phase(state);
    if (phase == VIV_RES_LIVE) return VIV_OK;
    return phase == VIV_RES_RESERVED ? VIV_E_STATE : VIV_E_GONE;
}

static inline uint64_t viv_res__pins(uint64_t state)
{
    return state & VIV_RES_PIN_MAX;
}

static inline uint64_t viv_res__holds(uint64_t state)
{
    return state / VIV_RES_HOLD_ONE & VIV_RES_HOLD_MAX;
}

// Acquire pairs with the release stores of the phase: the object and the kind are seen.
static inline uint64_t viv_res__state(const struct viv_res *res)
{
    return atomic_load_explicit(&res->state, memory_order_acquire);
}

#endif
