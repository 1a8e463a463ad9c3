// SPDX-License-Identifier: Apache-2.0
// Spawner threads: where programs are started, since starting blocks, and since the parent-death
// signal of a child follows the thread that made it, which therefore lives as long as the room.
//
//   post ──> queue of its tenant ──┐ tenants in rotation          run: may block
//   post ──> queue of its tenant ──┴──> spawner thread (1 to 8) ──┤
//                                                                 done: wakes who waits
//
// One thread as a rule; another is started when a launch lasts long, so that a file system that
// hangs stalls one launch and not all.
#ifndef VIV_NATIVE_LAUNCHER_H
#define VIV_NATIVE_LAUNCHER_H

#include "os/launch.h"
#include "sched/sched.h"

#define VIV_LAUNCH_THREADS_MAX 8
#define VIV_LAUNCH_SLOW_NS VIV_NS_PER_SEC // a launch that lasts longer gets company

// One launch. Embedded; fields belong to the launcher.
struct viv_launch_job {
    struct viv_launch_job *next;
    void (*run)(struct viv_launch_job *job, struct viv_launch_room *room); // Blocks.
    // On the same thread, in a read section; owns the job.
    void (*done)(struct viv_launch_job *job);
};
// Whose turn it is. Embedded in what launches are counted for, and outlives its jobs.
struct viv_launch_tenant {
    struct viv_launch_tenant *next; // of the rotation; NULL: no job waits
    struct viv_launch_job *first, *last;
};

struct viv_launcher;
// Errors: EXHAUSTED. No thread runs yet; one thread's room is made, while low descriptors are free.
enum viv_err viv_launcher_new(struct viv_sched *sched,
                              struct viv_launcher **out_launcher) VIV_MUST_CHECK;
// After every job is done and every child that dies with its parent has ended. Blocks.
void viv_launcher_free(VIV_OWN struct viv_launcher *launcher);
// Thread: any. Errors: EXHAUSTED (no thread, and none can be started).
enum viv_err viv_launcher_post(struct viv_launcher *launcher, struct viv_launch_tenant *tenant,
                               struct viv_launch_job *job) VIV_MUST_CHECK;
// Starts another thread if jobs wait and every thread has been busy with one for long. Whoever
// waits for a launch calls it now and then. Thread: any.
void viv_launcher_hurry(struct viv_launcher *launcher);
uint32_t viv_launcher_thread_count(struct viv_launcher *launcher);

#endif
