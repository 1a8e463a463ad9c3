// SPDX-License-Identifier: Apache-2.0
// Durable processes: the store they are kept in (durable.md).
//
// A store is one environment's registry of durable processes: registrations, events, leases,
// grants, wakes. It executes nothing. Every function may block (a disk, a server) and may be called
// by any thread but a scheduler worker. It returns VIV_OK, or a code and has changed nothing; err,
// which may be NULL, then says what was wrong. Inputs are borrowed for the call. Outputs lie in
// mem, the caller's arena, until it is reset, and are written only on success; each may be NULL.
//
// Texts are UTF-8 and not terminated; JSON is RFC 8259, in canonical form when it comes back. Times
// are milliseconds since the epoch.
#ifndef VIV_STORE_H
#define VIV_STORE_H

#include "gen/errors.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct viv_mem; // base/mem.h
struct viv_store;

struct viv_str {
    const char *p; // may be NULL when n is 0
    size_t n;      // bytes
};

enum viv_tier { VIV_TIER_INLINE, VIV_TIER_PROCESS, VIV_TIER_DURABLE, VIV_TIER_REPLICATED };
enum viv_dstate { VIV_RUNNING, VIV_COMPLETED, VIV_FAILED, VIV_CANCELLED, VIV_ABANDONED };
enum viv_disposition { VIV_RERUNNABLE = 1, VIV_OWNER_BOUND, VIV_EXTERNAL };

#endif
