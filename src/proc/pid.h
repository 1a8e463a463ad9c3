// SPDX-License-Identifier: Apache-2.0
// Process identifiers: slot in bits 0-27 (from 1), serial in bits 28-59 (from 0). Never reused; 0
// is none.
#ifndef VIV_PROC_PID_H
#define VIV_PROC_PID_H

#include "base/defs.h"
#include "base/limits.h"

typedef struct {
    uint64_t w;
} viv_pid;

#define VIV_PID_NONE ((viv_pid){0})
#define VIV_PID_TEXT_BYTES 32 // "<0.N.S>" and the terminator

static inline bool viv_pid_eq(viv_pid a, viv_pid b)
{
    return a.w == b.w;
}

static inline uint32_t viv_pid_slot(viv_pid pid)
{
    return (uint32_t)(pid.w & ((UINT64_C(1) << VIV_PID_SLOT_BITS) - 1));
}

static inline uint32_t viv_pid_serial(viv_pid pid)
{
    return (uint32_t)(pid.w >> VIV_PID_SLOT_BITS);
}

static inline viv_pid viv_pid_make(uint32_t slot, uint32_t serial)
{
    return (viv_pid){(uint64_t)serial << VIV_PID_SLOT_BITS | slot};
}

// Writes "<0.slot.serial>"; returns out.
const char *viv_pid_format(viv_pid pid, char out[VIV_PID_TEXT_BYTES]);

#endif
