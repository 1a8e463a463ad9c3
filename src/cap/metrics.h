// SPDX-License-Identifier: Apache-2.0
// What a registry counts, for whoever exports it. Each worker counts for itself; a reading adds up,
// so while others work it is a sum of moments. What a process or an environment holds is its
// account's (account.h), what a channel has carried its own (viv_chan_stat).
#ifndef VIV_CAP_METRICS_H
#define VIV_CAP_METRICS_H

#include "cap/reg.h"
#include "gen/caps.h"

#define VIV_RES_CODES 32 // codes of failures, enum viv_err below 28

struct viv_res_metrics {
    struct {
        uint64_t created, live, bytes; // bytes: of the live ones, without their records
    } kinds[VIV_KINDS_MAX];
    uint64_t failures[VIV_RES_CODES];     // checks of handles that failed, by code
    uint64_t cascades;                    // ends of processes that had a holder
    uint64_t cascade_ns, cascade_most_ns; // time in them, and in the longest turn
    uint64_t retired;                     // waits for its grace period, or for a time
    uint64_t futures;                     // pending or not taken
    uint64_t frames, frame_bytes;         // written to channels
    uint64_t ring_overflows;              // flushes that found a wake ring full
};

// Thread: any. Cost: linear in the workers.
void viv_res_metrics(struct viv_reg *reg, struct viv_res_metrics *out);

struct viv_sessions;
// Denials of a class since the start. Thread: any.
uint64_t viv_ses_denials(const struct viv_sessions *all, enum viv_cap cap);

#endif
