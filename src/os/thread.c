// SPDX-License-Identifier: Apache-2.0
// Threads over pthreads, and blocking synchronisation over the futex.
//
// Mutex word: 0 free · 1 taken · 2 taken, and someone may sleep. Who has slept takes it as 2,
// because it cannot know whether others still sleep; the price is one needless wake at the end of a
// burst. Condition: a counter that every signal moves; a waiter sleeps only while it is what it was
// before the mutex was let go, so no signal falls in between. (It would have to be moved 2^32 times
// in between to be missed.)
#include "os/thread.h"
#include "base/alloc.h"
#include "os/clock.h"
#include "os/os_int.h"
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES = 16, SPINS_BEFORE_SLEEP = 100 };

struct viv_thread {
    pthread_t id;
    void (*fn)(void *);
    void *arg;
    char name[NAME_BYTES];
};

static void *run_thread(void *arg)
{
    struct viv_thread *thread = arg;
    (void)pthread_setname_np(pthread_self(), thread->name); // only for people who look
    thread->fn(thread->arg);
    return NULL;
}

// Every signal except those a fault of the thread itself raises: blocked, they would end the
// program before a handler (the Wasm engine's, a crash report's) could see them.
static void fill_blocked_set(sigset_t *set)
{
    static const int own_faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < VIV_COUNT_OF(own_faults); i++)
        sigdelset(set, own_faults[i]);
}

static int create(struct viv_thread *thread, size_t stack_bytes)
{
    if (viv_os__is_faulted("pthread_create")) return errno;
    pthread_attr_t attr;
    int r = pthread_attr_init(&attr);
    if (r != 0) return r;
    if (stack_bytes != 0) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t least = (size_t)sysconf(_SC_THREAD_STACK_MIN);
        if (stack_bytes < least) stack_bytes = least;
        stack_bytes = (stack_bytes + page - 1) & ~(page - 1);
        r = pthread_attr_setstacksize(&attr, stack_bytes);
    }
    // The new thread inherits the mask, so that no signal can reach it before it has one.
    sigset_t blocked, before;
    fill_blocked_set(&blocked);
    if (r == 0) r = pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (r == 0) {
        r = pthread_create(&thread->id, &attr, run_thread, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attr);
    return r;
}

enum viv_err viv_thread_start(const char *name, size_t stack_bytes, void (*fn)(void *), void *arg,
                              struct viv_thread **out_thread)
{
    struct viv_thread *thread = viv_try_calloc(1, sizeof *thread, VIV_TAG_OS);
    if (thread == NULL) return VIV_E_EXHAUSTED;
    thread->fn = fn;
    thread->arg = arg;
    memcpy(thread->name, name, strnlen(name, NAME_BYTES - 1));
    if (create(thread, stack_bytes) != 0) {
        viv_free(thread, sizeof *thread, VIV_TAG_OS);
        return VIV_E_EXHAUSTED;
    }
    *out_thread = thread;
    return VIV_OK;
}

void viv_thread_join(struct viv_thread *thread)
{
    pthread_join(thread->id, NULL);
    viv_free(thread, sizeof *thread, VIV_TAG_OS);
}

void viv_thread_yield(void)
{
    sched_yield();
}

uint64_t viv_thread_id(void)
{
    return (uint64_t)gettid();
}

// ------------------------------------------------------------------------------------------- futex

// 0, or the errno; timeout_ns as in viv_futex_wait.
static int wait_word(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    if (viv_os__is_faulted("futex")) return errno;
    struct timespec timeout, *limit = NULL;
    if (timeout_ns != VIV_FOREVER_NS) {
        timeout.tv_sec = (time_t)(timeout_ns / VIV_NS_PER_SEC);
        timeout.tv_nsec = (long)(timeout_ns % VIV_NS_PER_SEC);
        limit = &timeout;
    }
    long r = syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, expected, limit, NULL, 0);
    return r == 0 ? 0 : errno;
}

void viv_futex_wait(_Atomic uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
    (void)wait_word(word, expected, timeout_ns); // the caller looks at the word again in any case
}

void viv_futex_wake(_Atomic uint32_t *word, uint32_t count)
{
    int limit = (int)viv_min_u64(count, INT_MAX);
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, limit, NULL, NULL, 0);
}

// ------------------------------------------------------------------------------------------- mutex

void viv_mutex_init(struct viv_mutex *mutex)
{
    atomic_init(&mutex->word, 0);
}

static VIV_COLD void lock_slow(struct viv_mutex *mutex)
{
    for (int i = 0; i < SPINS_BEFORE_SLEEP; i++) {
        uint32_t free_word = 0;
        // Relaxed load: a look before the attempt. Acquire pairs with the release in
        // viv_mutex_unlock.
        if (atomic_load_explicit(&mutex->word, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_weak_explicit(&mutex->word, &free_word, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
    // Acquire pairs with the release in viv_mutex_unlock.
    while (atomic_exchange_explicit(&mutex->word, 2, memory_order_acquire) != 0)
        viv_futex_wait(&mutex->word, 2, VIV_FOREVER_NS);
}

void viv_mutex_lock(struct viv_mutex *mutex)
{
    uint32_t free_word = 0;
    // Acquire pairs with the release in viv_mutex_unlock; a failure learns nothing.
    if (VIV_LIKELY(atomic_compare_exchange_strong_explicit(
            &mutex->word, &free_word, 1, memory_order_acquire, memory_order_relaxed)))
        return;
    lock_slow(mutex);
}

void viv_mutex_unlock(struct viv_mutex *mutex)
{
    // Release pairs with the acquires of those who lock.
    if (atomic_exchange_explicit(&mutex->word, 0, memory_order_release) == 2)
        viv_futex_wake(&mutex->word, 1);
}

// --------------------------------------------------------------------------------------- condition

void viv_cond_init(struct viv_cond *cond)
{
    atomic_init(&cond->seq, 0);
}

bool viv_cond_wait(struct viv_cond *cond, struct viv_mutex *mutex, uint64_t timeout_ns)
{
    // Relaxed: the mutex, held here and by who changes the condition, orders it.
    uint32_t seq = atomic_load_explicit(&cond->seq, memory_order_relaxed);
    viv_mutex_unlock(mutex);
    int r = wait_word(&cond->seq, seq, timeout_ns);
    viv_mutex_lock(mutex);
    return r != ETIMEDOUT;
}

void viv_cond_signal(struct viv_cond *cond)
{
    // Relaxed: what the signal is about is ordered by the mutex; the futex compares the value
    // itself.
    atomic_fetch_add_explicit(&cond->seq, 1, memory_order_relaxed);
    viv_futex_wake(&cond->seq, 1);
}

void viv_cond_broadcast(struct viv_cond *cond)
{
    atomic_fetch_add_explicit(&cond->seq, 1,
                              memory_order_relaxed); // relaxed: as in viv_cond_signal
    viv_futex_wake(&cond->seq, INT_MAX);
}

// Layout of Linux's struct sched_attr, first version (sched_setattr(2)); the C library of Debian 12
// lacks it.
struct sched_attr_v0 {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline_ns, period_ns;
};
_Static_assert(sizeof(struct sched_attr_v0) == 48, "SCHED_ATTR_SIZE_VER0");

void viv_thread_make_prompt(void)
{
    enum { SHORTEST_SLICE_NS = 100000, NICE = -10 };
    struct sched_attr_v0 attr = {
        .size = sizeof(attr), .nice = NICE, .runtime_ns = SHORTEST_SLICE_NS};
    if (syscall(SYS_sched_setattr, 0, &attr, 0) == 0) return;
    attr.nice = 0; // without the right to
    (void)syscall(SYS_sched_setattr, 0, &attr, 0);
}
