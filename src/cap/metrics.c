// SPDX-License-Identifier: Apache-2.0
// Adding up what the workers have counted. All orders are relaxed: the numbers say how much, and
// order nothing else.
#include "cap/metrics.h"
#include "cap/counts.h"
#include "cap/reg_int.h"
#include <string.h>

void viv_res__count_shared(_Atomic uint64_t *count, uint64_t more)
{
    // Relaxed: see the head of the file.
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static uint64_t sum_of(const struct viv_reg *reg, uint32_t which)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < reg->shard_count; i++) // relaxed: see the head of the file
        sum += atomic_load_explicit(&reg->shards[i].counts->of[which], memory_order_relaxed);
    return sum;
}

void viv_res_metrics(struct viv_reg *reg, struct viv_res_metrics *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t kind = 0; kind < VIV_KINDS_MAX; kind++) {
        const uint64_t ended = sum_of(reg, VIV_COUNT_ENDED + kind);
        out->kinds[kind].created = sum_of(reg, VIV_COUNT_CREATED + kind);
        // An end that is counted on another worker before the birth is seen there.
        out->kinds[kind].live =
            out->kinds[kind].created > ended ? out->kinds[kind].created - ended : 0;
        out->kinds[kind].bytes = sum_of(reg, VIV_COUNT_BYTES + kind);
    }
    for (uint32_t code = 0; code < VIV_RES_CODES; code++)
        out->failures[code] = sum_of(reg, VIV_COUNT_FAILURES + code);
    out->cascades = sum_of(reg, VIV_COUNT_CASCADES);
    out->cascade_ns = sum_of(reg, VIV_COUNT_CASCADE_NS);
    for (uint32_t i = 0; i < reg->shard_count; i++) { // relaxed: see the head of the file
        const struct viv_res_shard *shard = &reg->shards[i];
        const uint64_t most = atomic_load_explicit(&shard->counts->of[VIV_COUNT_CASCADE_MOST_NS],
                                                   memory_order_relaxed);
        out->cascade_most_ns = viv_max_u64(out->cascade_most_ns, most);
        // Relaxed: as above.
        out->retired += atomic_load_explicit(&shard->retired, memory_order_relaxed);
    }
    out->futures = viv_account_used(&reg->account, VIV_COUNTER_FUTURES);
    out->frames = sum_of(reg, VIV_COUNT_FRAMES);
    out->frame_bytes = sum_of(reg, VIV_COUNT_FRAME_BYTES);
    out->ring_overflows = sum_of(reg, VIV_COUNT_RING_OVERFLOWS);
}

void viv_res__count_cascade(struct viv_reg *reg, uint64_t ns)
{
    _Atomic uint64_t *most = &viv_res__own_shard(reg)->counts->of[VIV_COUNT_CASCADE_MOST_NS];
    viv_res__count(reg, VIV_COUNT_CASCADE_NS, ns);
    // Relaxed: a mark for people; cascades run on workers, each with its own.
    if (atomic_load_explicit(most, memory_order_relaxed) < ns)
        atomic_store_explicit(most, ns, memory_order_relaxed);
}
