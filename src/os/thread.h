// SPDX-License-Identifier: Apache-2.0
// Threads, futex-based parking, mutexes and condition variables for the few places that may block.
#ifndef VIV_OS_THREAD_H
#define VIV_OS_THREAD_H

#include "base/err.h"
#include <sched.h>
#include <stdatomic.h>

struct viv_thread;

// Starts fn(arg) on a thread of `stack_bytes` (0: default) named `name` (15 bytes shown), all
// signals blocked except those that a fault of the thread itself raises (SIGSEGV, SIGBUS, SIGFPE,
// SIGILL, SIGTRAP, SIGABRT, SIGSYS). Errors: EXHAUSTED.
enum viv_err viv_thread_start(const char *name, size_t stack_bytes, void (*fn)(void *), void *arg,
                              struct viv_thread **out_thread) VIV_MUST_CHECK;
void viv_thread_join(VIV_OWN struct viv_thread *thread); // Blocks.
void viv_thread_yield(void);
uint64_t viv_thread_id(void); // the caller's; not 0
// Asks the host to run the calling thread promptly when it wakes, on behalf of threads that
// compute: the shortest time slice (Linux 6.12 and later let it preempt longer ones), and a better
// nice value where that is allowed. No effect is no error.
void viv_thread_make_prompt(void);

// Waits while *word == expected, at most timeout_ns (VIV_FOREVER_NS: no limit). May return early
// for no reason. Blocks.
void viv_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns);
void viv_futex_wake(_Atomic uint32_t *word, uint32_t count);

// Blocking lock and condition, built on the futex; only for dirty pools, caches and other places
// that already block.
struct viv_mutex {
    _Atomic uint32_t word;
};
struct viv_cond {
    _Atomic uint32_t seq;
};
void viv_mutex_init(struct viv_mutex *mutex);
void viv_mutex_lock(struct viv_mutex *mutex);
void viv_mutex_unlock(struct viv_mutex *mutex);
void viv_cond_init(struct viv_cond *cond);
// False on timeout.
bool viv_cond_wait(struct viv_cond *cond, struct viv_mutex *mutex, uint64_t timeout_ns);
void viv_cond_signal(struct viv_cond *cond);
void viv_cond_broadcast(struct viv_cond *cond);

// CPUs this process may use: affinity and cgroup v2 (and v1) quota, rounded up, at least 1.
uint32_t viv_os_cpu_count(void);
void viv_os_cpu_set(cpu_set_t *out_set); // its affinity alone

#endif
