// SPDX-License-Identifier: Apache-2.0
// The queue of launches and its threads. Under the mutex: everything but what is immutable. A
// thread lets go of it while it runs a job, and is a guest of the scheduler only for `done`.
#include "native/launcher.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/log.h"
#include "os/clock.h"
#include "os/thread.h"

struct spawner {
    struct viv_launcher *launcher;
    struct viv_thread *thread;
    struct viv_launch_room *room;
    uint64_t busy_since_ns; // 0: waits for a job
};

struct viv_launcher {
    struct viv_sched *sched;
    struct viv_mutex mutex;
    struct viv_cond posted;
    struct viv_launch_tenant *turn; // last of the ring of tenants with jobs; NULL: none
    uint32_t spawner_count;
    bool stops;
    struct spawner spawners[VIV_LAUNCH_THREADS_MAX];
};

// ------------------------------------------------------------------------------------- the queue

static void put_locked(struct viv_launcher *launcher, struct viv_launch_tenant *tenant,
                       struct viv_launch_job *job)
{
    job->next = NULL;
    if (tenant->first != NULL) {
        tenant->last->next = job;
        tenant->last = job;
        return;
    }
    tenant->first = tenant->last = job;
    if (launcher->turn == NULL) {
        tenant->next = tenant;
    } else {
        tenant->next = launcher->turn->next;
        launcher->turn->next = tenant;
    }
    launcher->turn = tenant; // last in the rotation
}

// The first job of the tenant whose turn it is; NULL: none waits.
static struct viv_launch_job *take_locked(struct viv_launcher *launcher)
{
    struct viv_launch_tenant *last = launcher->turn;
    if (last == NULL) return NULL;
    struct viv_launch_tenant *tenant = last->next;
    struct viv_launch_job *job = tenant->first;
    tenant->first = job->next;
    if (tenant->first != NULL) {
        launcher->turn = tenant; // the others come first
        return job;
    }
    tenant->last = NULL;
    last->next = tenant->next;
    if (tenant == last) launcher->turn = NULL;
    tenant->next = NULL;
    return job;
}

// ------------------------------------------------------------------------------------ the threads

// A member without which nobody could be told of a launch.
static struct viv_qsbr_member *enter(struct viv_launcher *launcher)
{
    struct viv_qsbr_member *member;
    while (viv_sched_enter(launcher->sched, &member) != VIV_OK)
        viv_os_sleep_ns(VIV_NS_PER_MS);
    return member;
}

static void run_spawner(void *arg)
{
    struct spawner *spawner = arg;
    struct viv_launcher *launcher = spawner->launcher;
    struct viv_qsbr_member *member = enter(launcher);
    viv_qsbr_offline(member);
    viv_mutex_lock(&launcher->mutex);
    for (;;) {
        struct viv_launch_job *job = take_locked(launcher);
        if (job == NULL) {
            if (launcher->stops) break;
            (void)viv_cond_wait(&launcher->posted, &launcher->mutex, VIV_FOREVER_NS);
            continue;
        }
        spawner->busy_since_ns = viv_os_now_ns();
        viv_mutex_unlock(&launcher->mutex);
        job->run(job, spawner->room);
        viv_qsbr_online(member);
        job->done(job);
        viv_qsbr_offline(member);
        viv_mutex_lock(&launcher->mutex);
        spawner->busy_since_ns = 0;
    }
    viv_mutex_unlock(&launcher->mutex);
    viv_qsbr_online(member);
    viv_sched_leave(member);
}

// Errors: EXHAUSTED.
static enum viv_err start_spawner_locked(struct viv_launcher *launcher)
{
    struct spawner *spawner = &launcher->spawners[launcher->spawner_count];
    spawner->launcher = launcher;
    if (spawner->room == NULL) VIV_TRY(viv_launch_room_new(&spawner->room));
    VIV_TRY(viv_thread_start("viv-spawn", 0, run_spawner, spawner, &spawner->thread));
    launcher->spawner_count++;
    return VIV_OK;
}

// Whether no thread will take a job soon.
static bool all_are_slow_locked(const struct viv_launcher *launcher)
{
    const uint64_t now_ns = viv_os_now_ns();
    for (uint32_t i = 0; i < launcher->spawner_count; i++) {
        const uint64_t since_ns = launcher->spawners[i].busy_since_ns;
        if (since_ns == 0 || now_ns - since_ns < VIV_LAUNCH_SLOW_NS) return false;
    }
    return launcher->spawner_count < VIV_LAUNCH_THREADS_MAX;
}

enum viv_err viv_launcher_post(struct viv_launcher *launcher, struct viv_launch_tenant *tenant,
                               struct viv_launch_job *job)
{
    enum viv_err err = VIV_OK;
    viv_mutex_lock(&launcher->mutex);
    VIV_ASSERT(!launcher->stops);
    if (all_are_slow_locked(launcher)) {
        err = start_spawner_locked(launcher);
        if (launcher->spawner_count > 0) err = VIV_OK; // one of the others will do it
    }
    if (err == VIV_OK) put_locked(launcher, tenant, job);
    viv_mutex_unlock(&launcher->mutex);
    if (err == VIV_OK) viv_cond_signal(&launcher->posted);
    return err;
}

void viv_launcher_hurry(struct viv_launcher *launcher)
{
    viv_mutex_lock(&launcher->mutex);
    if (launcher->turn != NULL && all_are_slow_locked(launcher) &&
        start_spawner_locked(launcher) != VIV_OK)
        VIV_LOG(VIV_LOG_WARN, "launches wait, and no thread can be started for them");
    viv_mutex_unlock(&launcher->mutex);
}

uint32_t viv_launcher_thread_count(struct viv_launcher *launcher)
{
    viv_mutex_lock(&launcher->mutex);
    const uint32_t count = launcher->spawner_count;
    viv_mutex_unlock(&launcher->mutex);
    return count;
}

enum viv_err viv_launcher_new(struct viv_sched *sched, struct viv_launcher **out_launcher)
{
    struct viv_launcher *launcher = viv_try_calloc(1, sizeof *launcher, VIV_TAG_NATIVE);
    if (launcher == NULL) return VIV_E_EXHAUSTED;
    launcher->sched = sched;
    viv_mutex_init(&launcher->mutex);
    viv_cond_init(&launcher->posted);
    const enum viv_err err = viv_launch_room_new(&launcher->spawners[0].room);
    if (err != VIV_OK) {
        viv_free(launcher, sizeof *launcher, VIV_TAG_NATIVE);
        return err;
    }
    *out_launcher = launcher;
    return VIV_OK;
}

void viv_launcher_free(struct viv_launcher *launcher)
{
    viv_mutex_lock(&launcher->mutex);
    launcher->stops = true;
    viv_mutex_unlock(&launcher->mutex);
    viv_cond_broadcast(&launcher->posted);
    for (uint32_t i = 0; i < VIV_LAUNCH_THREADS_MAX; i++) {
        struct spawner *spawner = &launcher->spawners[i];
        if (spawner->thread != NULL) viv_thread_join(spawner->thread);
        if (spawner->room != NULL) viv_launch_room_free(spawner->room);
    }
    viv_free(launcher, sizeof *launcher, VIV_TAG_NATIVE);
}
