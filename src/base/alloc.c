// SPDX-License-Identifier: Apache-2.0
// Tagged allocation: a thin layer that counts bytes per tag and can be told to fail.
//
//   viv_try_alloc ──> due to fail? ──no──> mimalloc (or libc) ──> live[tag] += size, in this
//   thread's block
//
// Each thread counts in a block of its own, which only it writes; a reader adds all blocks up. A
// block may go negative, because memory is freed by other threads than the one that allocated it;
// the sum is exact.
//
// A block goes through three states: fresh (not on the list), listed, done. `done` begins when the
// thread's exit handler has folded the block into `finished`; what the thread still does after that
// (exit handlers of others) is counted in `finished` directly, so that no dead block stays on the
// list.
//
// Global state, because memory is the process's and not a kernel's: the list, the folded counters,
// the injection counter of tests.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/spin.h"
#include <stdatomic.h>
#include <string.h>
#include <threads.h>

#if VIV_SANITIZE
#include <stdlib.h>
#else
#include <mimalloc.h>
#endif

enum { STATE_FRESH, STATE_LISTED, STATE_DONE };
enum { FILL_FRESH = 0xA5, FILL_FREED = 0xDD };

struct thread_block {
    uint64_t fail_left; // fallible allocations until one fails; 0: off
    int state;
    bool fail_hit;
    struct viv_list link;                // under all_lock
    _Atomic int64_t live[VIV_TAG_COUNT]; // written by the owner only
} VIV_CACHE_ALIGNED;

// Initial-exec: one addition to the thread pointer, also in code built to go into a shared object.
static _Thread_local struct thread_block self __attribute__((tls_model("initial-exec")));

static struct viv_spin all_lock = {0, VIV_LOCK_ALLOC};
static struct viv_list all_blocks = {&all_blocks, &all_blocks}; // under all_lock
static _Atomic int64_t finished[VIV_TAG_COUNT];
static once_flag exit_key_once = ONCE_FLAG_INIT;
static tss_t exit_key;
static bool exit_key_is_valid;

static _Atomic uint64_t fail_left_global;
static _Atomic bool fail_hit_global;

// ---------------------------------------------------------------------------------------- counting

// Exit handler of a thread: moves its counters to `finished`.
static void fold_block(void *arg)
{
    struct thread_block *block = arg;
    viv_spin_lock(&all_lock);
    viv_list_remove(&block->link);
    for (size_t i = 0; i < VIV_TAG_COUNT; i++) {
        // Relaxed: the lock orders this against readers, and the owner is the thread running this.
        int64_t live = atomic_load_explicit(&block->live[i], memory_order_relaxed);
        atomic_fetch_add_explicit(&finished[i], live, memory_order_relaxed);
        atomic_store_explicit(&block->live[i], 0, memory_order_relaxed);
    }
    viv_spin_unlock(&all_lock);
    block->state = STATE_DONE;
}

static void make_exit_key(void)
{
    exit_key_is_valid = tss_create(&exit_key, fold_block) == thrd_success;
}

static VIV_COLD void enlist_self(void)
{
    call_once(&exit_key_once, make_exit_key);
    if (!exit_key_is_valid || tss_set(exit_key, &self) != thrd_success) {
        self.state = STATE_DONE; // nobody would fold it: count in `finished`, slower but right
        return;
    }
    viv_spin_lock(&all_lock);
    viv_list_append(&all_blocks, &self.link);
    viv_spin_unlock(&all_lock);
    self.state = STATE_LISTED;
}

static VIV_COLD void add_live_slow(enum viv_tag tag, int64_t bytes)
{
    if (self.state == STATE_FRESH) enlist_self();
    // Relaxed: counters order nothing.
    if (self.state == STATE_LISTED) {
        int64_t live = atomic_load_explicit(&self.live[tag], memory_order_relaxed);
        atomic_store_explicit(&self.live[tag], live + bytes, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&finished[tag], bytes, memory_order_relaxed);
    }
}

static inline void add_live(enum viv_tag tag, int64_t bytes)
{
    VIV_DEBUG_ASSERT((unsigned)tag < VIV_TAG_COUNT);
    if (VIV_UNLIKELY(self.state != STATE_LISTED)) {
        add_live_slow(tag, bytes);
        return;
    }
    // Relaxed, and a load and a store rather than an addition: the owner is the only writer.
    int64_t live = atomic_load_explicit(&self.live[tag], memory_order_relaxed);
    atomic_store_explicit(&self.live[tag], live + bytes, memory_order_relaxed);
}

int64_t viv_alloc_live_bytes(enum viv_tag tag)
{
    VIV_ASSERT((unsigned)tag < VIV_TAG_COUNT);
    viv_spin_lock(&all_lock);
    // Relaxed: exact only once the other threads are quiet, and then something else has ordered
    // them.
    int64_t sum = atomic_load_explicit(&finished[tag], memory_order_relaxed);
    for (struct viv_list *link = all_blocks.next; link != &all_blocks; link = link->next) {
        struct thread_block *block = VIV_CONTAINER_OF(link, struct thread_block, link);
        sum += atomic_load_explicit(&block->live[tag], memory_order_relaxed);
    }
    viv_spin_unlock(&all_lock);
    return sum;
}

int64_t viv_alloc_live_bytes_all(void)
{
    int64_t sum = 0;
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        sum += viv_alloc_live_bytes((enum viv_tag)tag);
    return sum;
}

// --------------------------------------------------------------------------------------- injection

// Counts one fallible allocation; true when it is the one that has to fail.
static VIV_COLD bool is_due_slow(void)
{
    bool was_armed = self.fail_left != 0;
    if (was_armed) self.fail_left--;
    if (was_armed && self.fail_left == 0) {
        self.fail_hit = true;
        return true;
    }
    // Relaxed: a counter of tests; the one thread that takes it from 1 to 0 is the one that fails.
    uint64_t left = atomic_load_explicit(&fail_left_global, memory_order_relaxed);
    while (left != 0 &&
           !atomic_compare_exchange_weak_explicit(&fail_left_global, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    if (left != 1) return false;
    atomic_store_explicit(&fail_hit_global, true, memory_order_relaxed);
    return true;
}

static inline bool is_due_to_fail(void)
{
    // Relaxed: see is_due_slow. Off, it is a load of a line that nobody writes.
    if (VIV_LIKELY(
            (self.fail_left | atomic_load_explicit(&fail_left_global, memory_order_relaxed)) == 0))
        return false;
    return is_due_slow();
}

static void forget_hits(void)
{
    self.fail_hit = false;
    atomic_store_explicit(&fail_hit_global, false,
                          memory_order_relaxed); // relaxed: see is_due_slow
}

void viv_alloc_fail_nth(uint64_t nth)
{
    if (nth != 0) forget_hits();
    self.fail_left = nth;
}

void viv_alloc_fail_nth_global(uint64_t nth)
{
    if (nth != 0) forget_hits();
    atomic_store_explicit(&fail_left_global, nth, memory_order_relaxed); // relaxed: see is_due_slow
}

bool viv_alloc_fail_hit(void)
{
    // Relaxed: see is_due_slow.
    return self.fail_hit || atomic_load_explicit(&fail_hit_global, memory_order_relaxed);
}

// ----------------------------------------------------------------------------------- the allocator

#if VIV_SANITIZE

static void *raw_alloc(size_t size_bytes)
{
    return malloc(size_bytes != 0 ? size_bytes : 1);
}

static void *raw_calloc(size_t size_bytes)
{
    return calloc(1, size_bytes != 0 ? size_bytes : 1);
}

static void *raw_alloc_aligned(size_t size_bytes, size_t align_bytes)
{
    void *ptr = NULL;
    if (align_bytes < sizeof(void *)) align_bytes = sizeof(void *);
    return posix_memalign(&ptr, align_bytes, size_bytes != 0 ? size_bytes : 1) == 0 ? ptr : NULL;
}

static void raw_free(void *ptr, size_t size_bytes)
{
    (void)size_bytes;
    free(ptr);
}

#else

static void *raw_alloc(size_t size_bytes)
{
    return mi_malloc(size_bytes);
}

static void *raw_calloc(size_t size_bytes)
{
    return mi_zalloc(size_bytes);
}

static void *raw_alloc_aligned(size_t size_bytes, size_t align_bytes)
{
    return mi_malloc_aligned(size_bytes, align_bytes);
}

static void raw_free(void *ptr, size_t size_bytes)
{
    mi_free_size(ptr, size_bytes);
}

#endif

static inline void fill(void *ptr, int byte, size_t size_bytes)
{
#if VIV_DEBUG
    if (size_bytes != 0) memset(ptr, byte, size_bytes);
#else
    (void)ptr;
    (void)byte;
    (void)size_bytes;
#endif
}

static inline void *account_new(void *ptr, size_t size_bytes, enum viv_tag tag)
{
    if (VIV_LIKELY(ptr != NULL)) add_live(tag, (int64_t)size_bytes);
    return ptr;
}

static VIV_COLD VIV_NORETURN void out_of_memory(size_t size_bytes, enum viv_tag tag)
{
    VIV_PANIC("out of memory: %zu bytes for %s", size_bytes, viv_alloc_tag_name(tag));
}

void *viv_try_alloc(size_t size_bytes, enum viv_tag tag)
{
    if (is_due_to_fail()) return NULL;
    void *ptr = raw_alloc(size_bytes);
    if (VIV_DEBUG && ptr != NULL) fill(ptr, FILL_FRESH, size_bytes);
    return account_new(ptr, size_bytes, tag);
}

void *viv_try_calloc(size_t count, size_t elem_bytes, enum viv_tag tag)
{
    size_t size_bytes;
    if (__builtin_mul_overflow(count, elem_bytes, &size_bytes)) return NULL;
    if (is_due_to_fail()) return NULL;
    return account_new(raw_calloc(size_bytes), size_bytes, tag);
}

void *viv_alloc(size_t size_bytes, enum viv_tag tag)
{
    void *ptr = raw_alloc(size_bytes);
    if (VIV_UNLIKELY(ptr == NULL)) out_of_memory(size_bytes, tag);
    fill(ptr, FILL_FRESH, size_bytes);
    return account_new(ptr, size_bytes, tag);
}

void *viv_calloc(size_t count, size_t elem_bytes, enum viv_tag tag)
{
    size_t size_bytes;
    if (__builtin_mul_overflow(count, elem_bytes, &size_bytes)) out_of_memory(SIZE_MAX, tag);
    void *ptr = raw_calloc(size_bytes);
    if (VIV_UNLIKELY(ptr == NULL)) out_of_memory(size_bytes, tag);
    return account_new(ptr, size_bytes, tag);
}

void *viv_try_alloc_aligned(size_t size_bytes, size_t align_bytes, enum viv_tag tag)
{
    VIV_ASSERT(align_bytes != 0 && (align_bytes & (align_bytes - 1)) == 0);
    if (is_due_to_fail()) return NULL;
    void *ptr = raw_alloc_aligned(size_bytes, align_bytes);
    if (VIV_DEBUG && ptr != NULL) fill(ptr, FILL_FRESH, size_bytes);
    return account_new(ptr, size_bytes, tag);
}

void *viv_try_realloc(void *ptr, size_t old_bytes, size_t new_bytes, enum viv_tag tag)
{
    if (ptr == NULL) return viv_try_alloc(new_bytes, tag);
    if (is_due_to_fail()) return NULL;
#if VIV_DEBUG || VIV_SANITIZE
    // The block always moves, so that a stale pointer to it is found.
    void *fresh = raw_alloc(new_bytes);
    if (fresh == NULL) return NULL;
    fill(fresh, FILL_FRESH, new_bytes);
    memcpy(fresh, ptr, old_bytes < new_bytes ? old_bytes : new_bytes);
    fill(ptr, FILL_FREED, old_bytes);
    raw_free(ptr, old_bytes);
#else
    void *fresh = mi_realloc(ptr, new_bytes);
    if (fresh == NULL) return NULL;
#endif
    add_live(tag, (int64_t)new_bytes - (int64_t)old_bytes);
    return fresh;
}

void viv_free(void *ptr, size_t size_bytes, enum viv_tag tag)
{
    if (ptr == NULL) return;
    fill(ptr, FILL_FREED, size_bytes);
    raw_free(ptr, size_bytes);
    add_live(tag, -(int64_t)size_bytes);
}

char *viv_try_strndup(const char *text, size_t len, enum viv_tag tag)
{
    if (len == SIZE_MAX) return NULL;
    char *copy = viv_try_alloc(len + 1, tag);
    if (copy == NULL) return NULL;
    if (len != 0) memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}
