// SPDX-License-Identifier: Apache-2.0
// What the files of the registry share: layout, records and shards (reg_slot.c), life (reg.c),
// relations (reg_link.c), ends (reg_end.h), the walker (reg_check.c). Names with __ are for this
// folder only.
#ifndef VIV_CAP_REG_INT_H
#define VIV_CAP_REG_INT_H

#include "base/assert.h"
#include "base/spin.h"
#include "base/trie.h"
#include "cap/reg_state.h"
#include "cap/trace.h"

enum {
    RES_SEG_SLOTS = 4096, // the first of a segment is its header
    RES_SEG_BYTES = RES_SEG_SLOTS * 64,
    RES_INDEX_BITS = 24,
    RES_SEGS_MAX = (1 << RES_INDEX_BITS) / RES_SEG_SLOTS,
    RES_SHARDS_MAX = 256,
    RES_EXTS = 256,      // side records an allocation
    RES_EXT_SEGS = 8192, // two million resources that own, have children, a label, ...
    RES_SINGLE_BUCKETS = 4096,
    RES_ENTROPY = 64,   // random words drawn at once
    RES_LIST_MAX = 256, // resources listed under one hold of the lock
};

struct viv_res_single {
    struct viv_res_single *bucket_next;
    struct viv_res_single *res_next; // next singleton of the same resource
    viv_rid env, rid;
    viv_dep dep;
    viv_shared shared; // what a look-up attaches; none: not made by a process, or not yet
};

// Side record: what only some resources have. All under the relations' lock.
struct viv_res_ext {
    struct viv_spin list;              // of what it owns, and the sums below; see viv_res__lock_all
    uint32_t owned[VIV_END_RANKS];     // newest owned of each rank
    uint32_t children;                 // newest child
    uint32_t peer, log;                // instance <-> process, process <-> channel
    uint32_t owned_moves, child_moves; // how often something was moved into these lists
    uint8_t owned_height, child_height; // at most so many levels below; 0 when the lists are empty
    uint64_t below_count, below_bytes;  // owned below and paid for by the account above
    uint64_t below_chan_bytes;
    struct viv_account *account; // of a process or an environment
    struct viv_res_single *singles;
    struct viv_share *shares;    // values that name it
    struct viv_share *canonical; // that of viv_res_share_handle; one of them
    struct viv_later *later;     // ends what has outlived its owner
    struct viv_grant *derived;   // it was made through a derived handle: its node below that
    char *label;
    uint32_t rests;     // of a process: ends of what it owned that go on in later turns
    uint32_t next_free; // number of the next free side record
};

// What was taken off under the relations' lock and is to be freed without it.
struct viv_res_scrap {
    struct viv_res_single *singles;
    struct viv_grant *grants;
};

struct viv_res_weight {
    uint64_t count, bytes, chan_bytes; // chan_bytes: of `bytes`, those of channels
};

struct viv_res_shard {
    _Atomic uint32_t returned
        VIV_CACHE_ALIGNED; // stack of free slots, linked by `owner`; any thread
    // The shard's worker; in the last shard under slot_lock:
    uint32_t free VIV_CACHE_ALIGNED;
    uint32_t fresh;  // next index that was never used
    uint32_t given;  // how many have been
    uint32_t born_s; // at that turn of the worker, + 1
    uint64_t born_turn;
    _Atomic uint64_t retired;               // a part of the sum; this shard's worker writes it
    _Atomic(struct viv_res *) *segs;        // pointers are written once
    struct viv_res_counts *counts;          // immutable (counts.h)
    struct viv_spin gate VIV_CACHE_ALIGNED; // see viv_res__lock_all
};

struct viv_reg {
    // Immutable after start:
    struct viv_sched *sched;
    uint64_t start_ns;
    uint32_t shard_count, slot_max, gen_max, depth_max, handle_max, handle_gen_count;
    struct viv_res_shard *shards;
    uint32_t kind_end;
    bool is_frozen;
    bool is_bound[VIV_KIND_BUILTIN_END];
    struct viv_res_kind kinds[VIV_KINDS_MAX];

    _Atomic(struct viv_trace *) trace; // NULL: off; hardly ever written
    struct viv_account account;        // any thread
    struct viv_spin slot_lock;         // the last shard
    struct viv_res_hooks hooks;        // immutable after start

    struct viv_spin lock;   // the relations' lock: all below, and owner ... ext of every record
    uint32_t revoked_rests; // ends by revocation that go on in later turns
    struct viv_res_ext root;
    struct viv_res_ext **ext_segs;
    uint32_t ext_seg_count, ext_free, ext_free_count;
    struct viv_res_single **buckets;
    struct viv_trie shares;        // struct viv_share by value
    struct viv_transit *transits;  // handles in messages
    uint64_t entropy[RES_ENTROPY]; // drawn ahead, for shares
    uint32_t entropy_left;
};

// ---- reg_slot.c ----
// The relations' lock as a whole. Who only puts a leaf on one owner's list, or takes it off, holds
// the gate of its own shard and the lock of that list instead; who holds the lock without the gates
// may look at nothing that such a one changes: owner and links of a record without a side record.
void viv_res__lock_all(struct viv_reg *reg);
void viv_res__unlock_all(struct viv_reg *reg);
// Of this thread; the last one is for all that are no workers.
static inline struct viv_res_shard *viv_res__own_shard(const struct viv_reg *reg)
{
    const uint32_t last = reg->shard_count - 1, index = viv_sched_worker_here(reg->sched);
    return &reg->shards[index < last ? index : last];
}
enum viv_err viv_res__slots_init(struct viv_reg *reg);
void viv_res__slots_deinit(struct viv_reg *reg);
// A free record, or NULL when memory or slots are exhausted. It stays FREE.
struct viv_res *viv_res__take_slot(struct viv_reg *reg);
void viv_res__put_slot(struct viv_reg *reg, struct viv_res *res);
// Looks a rid up; its state in out_state. NULL: unknown, free or dead.
struct viv_res *viv_res__find(struct viv_reg *reg, viv_rid rid, uint64_t *out_state);
static inline struct viv_res *viv_res__at(struct viv_reg *reg, uint32_t slot); // slot is in use
static inline struct viv_reg *viv_res__reg(const struct viv_res *res);
static inline uint32_t viv_res__slot(const struct viv_res *res);
// How many are DEAD, or wait for a time (later.h), with something to run yet; for viv_res_free.
void viv_res__count_retired(struct viv_reg *reg, uint64_t more); // modulo 2^64
bool viv_res__has_retired(struct viv_reg *reg);
// Seconds since the start; a worker looks at the clock once a turn.
uint32_t viv_res__born_s(struct viv_reg *reg);
// Side records; under the lock. Number 0 is the runtime's. grow: not under the lock.
static inline struct viv_res_ext *viv_res__ext(struct viv_reg *reg, uint32_t number);
void viv_res__ext_take(struct viv_reg *reg, struct viv_res *res); // it has none, and there is one
char *viv_res__ext_put(struct viv_reg *reg, struct viv_res *res); // the label, to be freed
enum viv_err viv_res__ext_grow(struct viv_reg *reg) VIV_MUST_CHECK;
// Slots of a shard that were ever used: [1, end) without headers. For the walker.
uint32_t viv_res__shard_end(struct viv_reg *reg, uint32_t shard);

// ---- reg.c ----
struct viv_res_birth {
    const struct viv_res_spec *spec;
    void *obj;
    enum viv_res_phase phase;
    uint32_t holds;
    struct viv_res *slot; // taken, and one resource with its overhead charged before; NULL: not so
    const struct viv_account *paid_by; // with slot: the account that was charged
};
enum viv_err viv_res__bear(struct viv_reg *reg, const struct viv_res_birth *birth,
                           struct viv_res **out_res) VIV_MUST_CHECK;
void viv_res__free_label(char *label);
void viv_res__destroy_obj(struct viv_reg *reg, viv_kind kind, void *obj);
enum viv_err viv_res__with(struct viv_res *res, viv_res_fn fn, void *ctx) VIV_MUST_CHECK;
// Takes the resource's lock; false: this thread has it. try: false also when another has it.
bool viv_res__lock(struct viv_res *res);
bool viv_res__try_lock(struct viv_res *res);
void viv_res__unlock(struct viv_res *res);
// One more hold on a LIVE or RESERVED resource. Errors: NOTFOUND, EXHAUSTED.
enum viv_err viv_res__hold(struct viv_res *res) VIV_MUST_CHECK;

// ---- reg_link.c ----
enum { VIV_RES_AMOUNTS = 3 };
// What an account is charged; the number of amounts.
size_t viv_res__amounts(struct viv_res_weight weight, struct viv_amount out[VIV_RES_AMOUNTS]);
// Links a new record and publishes it; under no lock. `label` becomes the record's.
enum viv_err viv_res__link_new(struct viv_reg *reg, struct viv_res *res,
                               const struct viv_res_birth *birth, char *label) VIV_MUST_CHECK;
// The account that pays for what `owner` owns; under the lock.
struct viv_account *viv_res__payer(struct viv_reg *reg, uint32_t owner);
struct viv_res_weight viv_res__own_weight(const struct viv_res *res);
// Without an account of its own: the sum of what is below it. Under no lock.
bool viv_res__owns_nothing(struct viv_reg *reg, const struct viv_res *res);
bool viv_res__is_unlinked(const struct viv_res *res);
// R3 and R4 of a DYING resource, under the lock: no relation names it any more. What is to be freed
// goes to *scrap. Nothing when it was done before. Returns the parent if the last hold on
// that has gone with it and it is DYING now, for the caller to end; else NULL.
struct viv_res *viv_res__unlink(struct viv_reg *reg, struct viv_res *res,
                                struct viv_res_scrap *scrap);
// The same for one that only its owner's list knows, under no lock. False: it is not so simple.
bool viv_res__unlink_leaf(struct viv_reg *reg, struct viv_res *res);

// A live resource, and one that is live or reserved; NULL otherwise. Under the lock.
struct viv_res *viv_res__live(struct viv_reg *reg, viv_rid rid);
struct viv_res *viv_res__known(struct viv_reg *reg, viv_rid rid);
// The resource, or one above it (owners), is a process that has ended; under the lock.
bool viv_res__has_ended_owner(struct viv_reg *reg, const struct viv_res *res);
// Runs change(reg, arg) under the lock, again with more side records whenever it answers AGAIN.
enum viv_err viv_res__locked(struct viv_reg *reg, enum viv_err (*change)(struct viv_reg *, void *),
                             void *arg) VIV_MUST_CHECK;
// AGAIN unless there are side records for those of the two that have none (NULL: no need).
enum viv_err viv_res__need_ext(struct viv_reg *reg, const struct viv_res *a,
                               const struct viv_res *b) VIV_MUST_CHECK;
// Its side record; made when it has none, which need_ext has made sure of.
struct viv_res_ext *viv_res__some_ext(struct viv_reg *reg, struct viv_res *res);
// The object has grown by so many bytes (a multiple of 64). Errors: QUOTA, NOTFOUND (it ends).
enum viv_err viv_res__charge_more(struct viv_reg *reg, viv_rid rid, uint64_t bytes) VIV_MUST_CHECK;
void viv_res__charge_less(struct viv_reg *reg, viv_rid rid, uint64_t bytes); // gives them back
// set_owner under the lock; ext is there.
enum viv_err viv_res__move_owner(struct viv_reg *reg, struct viv_res *res,
                                 struct viv_res *owner) VIV_MUST_CHECK;

// Its owner's owner becomes its owner; the charge is only lifted. Under the lock. Errors: as
// set_owner, AGAIN.
enum viv_err viv_res__hand_up(struct viv_reg *reg, struct viv_res *res) VIV_MUST_CHECK;
// If it is of a kind that moves and the process owns it, the process's owner does from now on.
// Under no lock.
void viv_res__leave_process(struct viv_reg *reg, viv_rid rid, viv_rid proc);

// ---- reg_rel.c ----
// R3 under the lock: singletons, log channel, instance, its place below the handle it was made
// through. Shares stop resolving with the phase.
void viv_res__unpublish(struct viv_reg *reg, struct viv_res *res, struct viv_res_scrap *scrap);
void viv_res__free_scrap(struct viv_res_scrap *scrap);
// The nearest environment above; none: the runtime's. Under the lock.
viv_rid viv_res__env_of(struct viv_reg *reg, const struct viv_res *res);
// The account that pays for the instance from now on, and the environment it is in.
enum viv_err viv_res__link_instance(struct viv_reg *reg, viv_rid inst, viv_rid proc,
                                    struct viv_account **out_account,
                                    viv_rid *out_env) VIV_MUST_CHECK;

// ---- records ----

// What slot 0 of a segment holds.
struct viv_res_seg_head {
    struct viv_reg *reg;
    uint32_t first_slot; // the number of this slot
};
_Static_assert(sizeof(struct viv_res_seg_head) <= sizeof(struct viv_res), "it fits its slot");
_Static_assert(RES_SEG_BYTES == RES_SEG_SLOTS * sizeof(struct viv_res), "bytes of a segment");

static inline struct viv_res_seg_head *viv_res__seg_head(const struct viv_res *res)
{
    return (struct viv_res_seg_head *)((uintptr_t)res & ~(uintptr_t)(RES_SEG_BYTES - 1));
}

static inline struct viv_reg *viv_res__reg(const struct viv_res *res)
{
    return viv_res__seg_head(res)->reg;
}

static inline uint32_t viv_res__slot(const struct viv_res *res)
{
    const uintptr_t inside = (uintptr_t)res & (RES_SEG_BYTES - 1);
    return viv_res__seg_head(res)->first_slot + (uint32_t)(inside / sizeof(*res));
}

// NULL: there is no such record.
static inline struct viv_res *viv_res__record(struct viv_reg *reg, uint32_t slot)
{
    const uint32_t shard = slot >> RES_INDEX_BITS;
    const uint32_t index = slot & ((1u << RES_INDEX_BITS) - 1);
    if (VIV_UNLIKELY(shard >= reg->shard_count || index % RES_SEG_SLOTS == 0)) return NULL;
    // Acquire pairs with the release in add_segment: its records are zero.
    struct viv_res *seg =
        atomic_load_explicit(&reg->shards[shard].segs[index / RES_SEG_SLOTS], memory_order_acquire);
    return VIV_UNLIKELY(seg == NULL) ? NULL : &seg[index % RES_SEG_SLOTS];
}

static inline struct viv_res *viv_res__at(struct viv_reg *reg, uint32_t slot)
{
    struct viv_res *res = viv_res__record(reg, slot);
    VIV_ASSERT(res != NULL);
    return res;
}

static inline struct viv_res_ext *viv_res__ext(struct viv_reg *reg, uint32_t number)
{
    if (number == 0) return &reg->root;
    return &reg->ext_segs[(number - 1) / RES_EXTS][(number - 1) % RES_EXTS];
}

#endif
