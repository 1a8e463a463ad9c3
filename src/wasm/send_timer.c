// SPDX-License-Identifier: Apache-2.0
// Timers that send. Two references: the handle's and the wheel's; the wheel's goes when the timer
// fires or is cancelled. Threads: fire runs on a worker under the wheel's lock; sending and freeing
// are allowed there.
#include "wasm/send_timer.h"

#include "base/alloc.h"

struct viv_send_timer {
    struct viv_timer timer;
    _Atomic uint32_t refs;
    struct viv_env *env;
    viv_pid from, to;
    struct viv_msg *msg; // NULL once sent or cancelled
    struct viv_qsbr_item late;
};

void viv_send_timer_drop(struct viv_send_timer *timer)
{
    // Acq_rel: uses of the other holder come before the free.
    if (atomic_fetch_sub_explicit(&timer->refs, 1, memory_order_acq_rel) == 1)
        viv_free(timer, sizeof(*timer), VIV_TAG_WASM);
}

// A message that nobody takes may carry resources, which cannot be dropped under a lock.
static void drop_late(struct viv_qsbr_item *item)
{
    struct viv_send_timer *timer = VIV_CONTAINER_OF(item, struct viv_send_timer, late);
    viv_signal_drop(&timer->msg->sig);
    timer->msg = NULL;
    viv_send_timer_drop(timer);
}

static void fire(struct viv_timer *base)
{
    struct viv_send_timer *timer = VIV_CONTAINER_OF(base, struct viv_send_timer, timer);
    viv_env_timer_sub(timer->env);
    if (viv_env_offer(timer->env, timer->from, timer->to, timer->msg) != VIV_SEND_OK) {
        viv_qsbr_retire(viv_sched_member(), &timer->late, drop_late);
        return;
    }
    timer->msg = NULL;
    viv_send_timer_drop(timer);
}

struct viv_send_timer *viv_send_timer_new(const struct viv_proc *from, viv_pid to)
{
    struct viv_send_timer *timer = viv_try_calloc(1, sizeof(*timer), VIV_TAG_WASM);
    if (timer == NULL) return NULL;
    viv_timer_init(&timer->timer, fire);
    atomic_init(&timer->refs, 1);
    timer->env = viv_proc_env(from);
    timer->from = viv_proc_pid(from);
    timer->to = to;
    return timer;
}

enum viv_err viv_send_timer_start(struct viv_send_timer *timer, struct viv_msg *msg,
                                  uint64_t delay_ns, uint16_t worker)
{
    struct viv_sched *sched = viv_kernel_sched(viv_env_kernel(timer->env));
    enum viv_err err = viv_env_timer_add(timer->env);
    if (err != VIV_OK) {
        viv_signal_drop(&msg->sig);
        return err;
    }
    timer->msg = msg;
    atomic_fetch_add_explicit(&timer->refs, 1,
                              memory_order_relaxed); // the wheel's; nobody fires yet
    viv_timer_start(sched, &timer->timer, viv_add_sat_u64(viv_sched_now_ns(sched), delay_ns),
                    worker);
    return VIV_OK;
}

bool viv_send_timer_cancel(struct viv_send_timer *timer)
{
    if (!viv_timer_cancel(viv_kernel_sched(viv_env_kernel(timer->env)), &timer->timer))
        return false;
    viv_signal_drop(&timer->msg->sig);
    timer->msg = NULL;
    viv_env_timer_sub(timer->env);
    viv_send_timer_drop(timer); // the wheel's reference
    return true;
}

void viv_send_timer_close(struct viv_send_timer *timer)
{
    if (viv_pid_eq(timer->from, timer->to)) (void)viv_send_timer_cancel(timer);
}

bool viv_send_timer_is_pending(const struct viv_send_timer *timer)
{
    return viv_timer_is_pending(&timer->timer);
}
