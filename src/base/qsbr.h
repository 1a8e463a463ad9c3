// SPDX-License-Identifier: Apache-2.0
// Quiescent-state-based reclamation: readers pay nothing, memory is recycled one grace period after
// it was retired, on the thread that retired it.
//
// 1. Every thread that reads shared structures is a member and is either online or offline.
// 2. An online member announces, between two uses, that it holds no reference (viv_qsbr_quiet).
// 3. An item retired in epoch e may be freed once every online member has announced an epoch > e.
//
// Own rather than liburcu because reclamation must run on the retiring worker (no helper thread, so
// that the seeded simulator stays deterministic) and the packaged liburcu offers no polled grace
// periods. See docs/decisions/002-grace-periods.md.
#ifndef VIV_BASE_QSBR_H
#define VIV_BASE_QSBR_H

#include "base/defs.h"
#include "base/err.h"

struct viv_qsbr;        // the domain: one a kernel
struct viv_qsbr_member; // one a thread

// Embedded in what is retired.
struct viv_qsbr_item {
    struct viv_qsbr_item *next;
    void (*free)(struct viv_qsbr_item *item);
    uint64_t epoch;
};

enum viv_err viv_qsbr_new(struct viv_qsbr **out_domain) VIV_MUST_CHECK;
void viv_qsbr_free(struct viv_qsbr *domain); // no members left

// Joins online. Errors: EXHAUSTED.
enum viv_err viv_qsbr_join(struct viv_qsbr *domain,
                           struct viv_qsbr_member **out_member) VIV_MUST_CHECK;
// Frees what this member retired; waits (spinning, then yielding) for the grace period. The member
// is gone.
void viv_qsbr_leave(struct viv_qsbr_member *member);

// No references held from here on; also frees what has become free, at most `budget` items. Cost: a
// few ns when nothing is pending.
void viv_qsbr_quiet(struct viv_qsbr_member *member, uint32_t budget);
// Around a wait: an offline member does not hold up grace periods and must not read.
void viv_qsbr_offline(struct viv_qsbr_member *member);
void viv_qsbr_online(struct viv_qsbr_member *member);
// Thread: the member's own, online.
void viv_qsbr_retire(struct viv_qsbr_member *member, struct viv_qsbr_item *item,
                     void (*free_item)(struct viv_qsbr_item *item));
// Items retired by this member and not yet freed.
size_t viv_qsbr_pending(const struct viv_qsbr_member *member);

#endif
