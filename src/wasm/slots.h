// SPDX-License-Identifier: Apache-2.0
// Memory for guests in mode `many`: linear memories, GC heaps and fibre stacks as slots of large
// reservations.
//
//   take ──> loaded (≤ 32) ── spare (≤ 32) ──> depot of the kind: ──> carve from a 1 GiB region
//   drop ──> (per worker, no lock)             chains of 32 (one spin lock a kind)
//
// A kind is a size: memories of 64 KiB · 2^k, k = 0 … 16, and stacks of VIV_WASM_FIBER_BYTES. Each
// kind carves its own regions, so the number of mappings grows with gigabytes, not with processes.
// Invariants: a free memory slot is zero; the low end of every stack slot is zero until something
// runs over it; a slot keeps its descriptor for life.
// Threads: any; a slot belongs to the process that took it.
#ifndef VIV_WASM_SLOTS_H
#define VIV_WASM_SLOTS_H

#include "base/err.h"
#include "cap/account.h"
#include "sched/sched.h"
#include <wasmtime.h>

struct viv_slots;
struct viv_slot;

// What a process holds. Every byte a guest can reach in its memories and GC heap is charged here;
// stacks are listed. It must outlive its slots, that is, the store. Owned by the process; only its
// thread touches it.
struct viv_slot_account {
    uint64_t used_bytes, peak_bytes;
    uint64_t limit_bytes;      // UINT64_MAX: none
    struct viv_account *above; // that of the environment, charged as well; NULL: none
    bool denied;               // something was refused for the limit's sake; the reader clears it
    struct viv_slot *stacks;   // of this room
};

// sched may be NULL: then no thread counts as a worker. Errors: EXHAUSTED.
enum viv_err viv_slots_new(struct viv_sched *sched, struct viv_slots **out_slots) VIV_MUST_CHECK;
void viv_slots_free(struct viv_slots *slots); // no slot in use, no worker running
// Makes an engine take memories and stacks here.
void viv_slots_configure(struct viv_slots *slots, wasm_config_t *config);

// Whom the calling thread charges from now on; NULL: nobody, no limit. Returns the former one, to
// be put back.
struct viv_slot_account *viv_slots_set_account(struct viv_slot_account *account);
// False: a stack of this process was overrun; the kernel cannot be trusted any more. Cost: a few
// ns.
bool viv_slots_stack_is_intact(const struct viv_slot_account *account);

// Sets diag to "needs 2 MiB, WHOSE is 64 KiB"; returns QUOTA.
enum viv_err viv_slots_over_limit(uint64_t needs_bytes, uint64_t limit_bytes, const char *whose,
                                  struct viv_diag *diag);

// From now on only the account itself is charged: what it has charged above is given back.
void viv_slots_leave_above(struct viv_slot_account *account);

// What the engine's callbacks do, for tests and benchmarks.
// Errors: QUOTA over the account's limit, TOOBIG over 4 GiB, EXHAUSTED; diag says which.
enum viv_err viv_slots_take_memory(struct viv_slots *slots, uint64_t size_bytes,
                                   struct viv_slot **out_slot,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// May move the memory. On failure it is as before.
enum viv_err viv_slots_grow_memory(struct viv_slot *slot, uint64_t size_bytes,
                                   struct viv_diag *diag) VIV_MUST_CHECK;
enum viv_err viv_slots_take_stack(struct viv_slots *slots, bool zeroed,
                                  struct viv_slot **out_slot) VIV_MUST_CHECK;
void viv_slots_drop(VIV_OWN struct viv_slot *slot);

uint8_t *viv_slot_base(const struct viv_slot *slot);
uint64_t viv_slot_size_bytes(const struct viv_slot *slot); // what the guest may touch; a stack: all
uint64_t viv_slot_capacity_bytes(const struct viv_slot *slot); // growing up to here does not move

struct viv_slots_stats {
    uint64_t reserved_bytes; // address space
    uint64_t slot_count;     // carved, free or in use
    uint64_t warm_bytes;     // pages kept resident in the depots
};
void viv_slots_stats(struct viv_slots *slots, struct viv_slots_stats *out);

#endif
