// SPDX-License-Identifier: Apache-2.0
// System-call injection. One fault can be armed at a time: calls of the name are counted down, and
// the one that reaches zero fails. Global, because it is aimed at calls of any thread; only tests
// set it. Who calls while it is being set sees the old fault, the new one, or neither.
#include "os/fault.h"
#include "base/assert.h"
#include <stdatomic.h>
#include <string.h>

enum { NAME_WORDS = 4, NAME_BYTES = NAME_WORDS * sizeof(uint64_t) };

static _Atomic uint64_t calls_left; // 0: off
static _Atomic bool has_hit;
static _Atomic uint64_t armed_name[NAME_WORDS]; // its bytes; written while calls_left is 0
static _Atomic int armed_errno;                 // likewise

void viv_fault_set(const char *name, uint64_t nth, int errno_value)
{
    atomic_store_explicit(&calls_left, 0,
                          memory_order_relaxed); // relaxed: tests set it when calls are quiet
    if (nth == 0) return;
    uint64_t words[NAME_WORDS] = {0};
    size_t len = strlen(name);
    VIV_ASSERT(len < NAME_BYTES);
    memcpy(words, name, len);
    // Relaxed (all three stores): published by the last line.
    for (size_t i = 0; i < NAME_WORDS; i++)
        atomic_store_explicit(&armed_name[i], words[i], memory_order_relaxed);
    atomic_store_explicit(&armed_errno, errno_value, memory_order_relaxed);
    atomic_store_explicit(&has_hit, false,
                          memory_order_relaxed); // relaxed: ordered by the next line
    // Release pairs with the acquire in check_armed: name and errno come with the count.
    atomic_store_explicit(&calls_left, nth, memory_order_release);
}

bool viv_fault_hit(void)
{
    return atomic_load_explicit(&has_hit, memory_order_relaxed); // relaxed: stands for itself
}

static bool is_aimed_at(const char *name)
{
    char aimed[NAME_BYTES];
    // Relaxed: came with the count.
    for (size_t i = 0; i < NAME_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&armed_name[i], memory_order_relaxed);
        memcpy(aimed + i * sizeof word, &word, sizeof word);
    }
    aimed[NAME_BYTES - 1] = '\0'; // torn by a change meanwhile, it may have lost its end
    return strcmp(aimed, "*") == 0 || strcmp(aimed, name) == 0;
}

static VIV_COLD int check_armed(const char *name)
{
    uint64_t left =
        atomic_load_explicit(&calls_left, memory_order_acquire); // pairs in viv_fault_set
    if (left == 0) return 0;
    if (!is_aimed_at(name)) return 0;
    int errno_value = atomic_load_explicit(&armed_errno, memory_order_relaxed); // came with it
    // Relaxed: a counter; the thread that takes it from 1 to 0 is the one that fails.
    while (left != 0 &&
           !atomic_compare_exchange_weak_explicit(&calls_left, &left, left - 1,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
    if (left != 1) return 0;
    atomic_store_explicit(&has_hit, true, memory_order_relaxed); // relaxed: stands for itself
    return errno_value;
}

int viv_fault_check__(const char *name)
{
    // Relaxed: off is the ordinary case, and on is looked at again with acquire.
    if (VIV_LIKELY(atomic_load_explicit(&calls_left, memory_order_relaxed) == 0)) return 0;
    return check_armed(name);
}
