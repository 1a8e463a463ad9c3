// SPDX-License-Identifier: Apache-2.0
#include "cap/later.h"
#include "base/alloc.h"
#include "base/assert.h"

static void free_later(struct viv_later *later)
{
    viv_res__count_retired(later->reg, UINT64_MAX);
    viv_free(later, sizeof(*later), VIV_TAG_CAP);
}

// One of the two is through with it; the last frees it.
static void leave(struct viv_later *later, bool *is_left, const bool *is_other_left)
{
    struct viv_reg *reg = later->reg;
    viv_spin_lock(&reg->lock);
    *is_left = true;
    const bool is_last = *is_other_left;
    viv_spin_unlock(&reg->lock);
    if (is_last) free_later(later);
}

static void run(struct viv_qsbr_item *item)
{
    struct viv_later *later = VIV_CONTAINER_OF(item, struct viv_later, item);
    viv_spin_lock(&later->reg->lock);
    const bool is_dropped = later->is_dropped;
    viv_spin_unlock(&later->reg->lock);
    if (is_dropped || later->act(later))
        leave(later, &later->is_over, &later->is_let_go);
    else
        viv_qsbr_retire(viv_sched_member(), &later->item, run);
}

static void fire(struct viv_timer *timer)
{
    struct viv_later *later = VIV_CONTAINER_OF(timer, struct viv_later, timer);
    viv_qsbr_retire(viv_sched_member(), &later->item, run);
}

struct viv_later *viv_later__new(struct viv_reg *reg, bool (*act)(struct viv_later *later))
{
    struct viv_later *later = viv_try_calloc(1, sizeof(*later), VIV_TAG_CAP);
    if (later == NULL) return NULL;
    viv_timer_init(&later->timer, fire);
    later->reg = reg;
    later->act = act;
    viv_res__count_retired(reg, 1);
    return later;
}

void viv_later__start(struct viv_later *later, uint64_t deadline_ns)
{
    viv_timer_start(later->reg->sched, &later->timer, deadline_ns, VIV_TIMER_HERE);
    viv_spin_lock(&later->reg->lock);
    later->is_started = true;
    const bool is_dropped = later->is_dropped;
    viv_spin_unlock(&later->reg->lock);
    if (is_dropped) viv_later__cancel(later);
}

bool viv_later__drop(struct viv_later *later)
{
    later->is_dropped = true;
    return later->is_started;
}

void viv_later__cancel(struct viv_later *later)
{
    if (viv_timer_cancel(later->reg->sched, &later->timer))
        free_later(later); // there will be no run
    else
        leave(later, &later->is_let_go, &later->is_over);
}

void viv_later__discard(struct viv_later *later)
{
    free_later(later);
}
