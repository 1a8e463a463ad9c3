// SPDX-License-Identifier: Apache-2.0
// How the program fares, as it is sent: everything at once, since that is little, and a kernel that
// missed the last one needs nothing else.
#include "native/holder/hold_int.h"
#include <string.h>

static uint32_t flags_of(const struct viv_hold *hold)
{
    const struct viv_care *care = &hold->care;
    return (care->ready_flag ? VIV_HOLD_STATE_READY : 0u) |
           (care->has_exit ? VIV_HOLD_STATE_EXIT : 0u) |
           (care->unkillable ? VIV_HOLD_STATE_UNKILLABLE : 0u) |
           (care->is_frozen ? VIV_HOLD_STATE_FROZEN : 0u) |
           (hold->was_seen ? VIV_HOLD_STATE_SEEN : 0u);
}

static uint32_t ends_of(struct viv_hold *hold)
{
    uint32_t ends = 0;
    for (uint32_t i = 0; i < 2; i++)
        // Relaxed: own thread's. The message that tells it comes after the bytes.
        if (atomic_load_explicit(&hold->care.streams[i].is_eof, memory_order_relaxed))
            ends |= VIV_READY_STREAM(i);
    return ends;
}

void viv_hold__pack(struct viv_hold *hold, struct viv_hold_state *out)
{
    struct viv_care *care = &hold->care;
    *out = (struct viv_hold_state){
        .sequence = hold->state.sequence,
        .phase = (uint32_t)care->phase,
        .flags = flags_of(hold),
        .stdin_state = (uint32_t)care->in.state,
        .stdin_accepted = care->in.accepted,
        .stdin_delivered = care->in.delivered,
        .stdin_queued = viv_stdin_queued(&care->in),
        .stdin_bound = care->in.bound_bytes,
        .output_bytes = care->output_bytes,
        // Relaxed: own thread's.
        .touched_ns = atomic_load_explicit(&care->touched_ns, memory_order_relaxed),
        .deadman_ns = hold->deadman_ns,
        .leader = hold->leader,
        .eof = ends_of(hold),
    };
    memcpy(out->knobs_ns, care->knobs, sizeof out->knobs_ns);
    viv_hold_exit_pack(&care->exit, &out->exit);
}

_Static_assert(VIV_KNOBS == 4 &&
                   sizeof(uint64_t[VIV_KNOBS]) == sizeof(((struct viv_hold_state *)NULL)->knobs_ns),
               "the knobs of a state");

// What changes all the time, or by order only, is no news.
static bool is_news(const struct viv_hold_state *before, const struct viv_hold_state *now)
{
    struct viv_hold_state quiet = *now;
    quiet.output_bytes = before->output_bytes;
    quiet.touched_ns = before->touched_ns;
    quiet.deadman_ns = before->deadman_ns;
    memcpy(quiet.knobs_ns, before->knobs_ns, sizeof quiet.knobs_ns);
    return memcmp(&quiet, before, sizeof quiet) != 0;
}

void viv_hold__look_at_state(struct viv_hold *hold)
{
    struct viv_hold_state now;
    viv_hold__pack(hold, &now);
    if (!is_news(&hold->state, &now)) return;
    now.sequence++;
    hold->state = now;
    if (hold->stage == VIV_HOLD_ENDED && hold->end_sequence == 0) hold->end_sequence = now.sequence;
}
