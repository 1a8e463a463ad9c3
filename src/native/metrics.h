// SPDX-License-Identifier: Apache-2.0
// What the room counts, for whoever exports it (`native_…`). While others work, a reading is a sum
// of moments.
#ifndef VIV_NATIVE_METRICS_H
#define VIV_NATIVE_METRICS_H

#include "native/exit.h"

#define VIV_NATIVE_RESULTS 80 // enum viv_err of a spawn

struct viv_native;
struct viv_native_metrics {
    uint64_t live, retained, launch_queue; // programs, programs, launches; as the quotas count
    uint64_t ring_bytes;                   // reserved
    uint64_t spawns[VIV_NATIVE_RESULTS];   // by result
    uint64_t spawn_ns;                     // of the good ones, from the request to the answer
    uint64_t exits[VIV_CAUSES];            // by cause
    uint64_t log_bytes[2];                 // read from stdout, stderr
    uint64_t dropped_bytes;                // evicted from rings, of programs that have exited
    uint64_t audit_failed;                 // records that lack their detail
    // Of the listed programs:
    uint64_t stdin_queued; // bytes
    uint64_t unkillable, weak;
};

// Thread: any. Cost: linear in the programs.
void viv_native_metrics(struct viv_native *native, struct viv_native_metrics *out);

#endif
