// SPDX-License-Identifier: Apache-2.0
// The registry: the one table of every resource of a runtime. What it is made of, and its rules,
// are in REGISTRY.md beside this file.
//
// Thread, unless a function says otherwise: any that has a member of the scheduler's QSBR domain
// (viv_sched_member), in a read section. An object (OWN) is consumed on every path: on an error its
// kind's destroy has run. On any error nothing has changed.
#ifndef VIV_CAP_REG_H
#define VIV_CAP_REG_H

#include "cap/account.h"
#include "cap/kind.h"
#include "proc/pid.h"
#include "sched/sched.h"
#include <stdatomic.h>

typedef struct {
    uint64_t w; // generation (32, from 1), shard (8), index (24); 0 is none
} viv_rid;
typedef struct {
    uint64_t w; // 64 random bits, the upper 32 not all zero; 0 is none
} viv_shared;
typedef struct {
    uint32_t w; // of one instance: cap/htab.h
} viv_handle;
typedef struct {
    uint8_t b[16];
} viv_dep;

#define VIV_RID_NONE ((viv_rid){0})

struct viv_reg;
struct viv_htab;

enum viv_res_phase { VIV_RES_FREE, VIV_RES_RESERVED, VIV_RES_LIVE, VIV_RES_DYING, VIV_RES_DEAD };

// Layout of viv_res.state.
#define VIV_RES_PIN_MAX UINT64_C(0xFFFFF) // bits 0-19
#define VIV_RES_HOLD_ONE (UINT64_C(1) << 20)
#define VIV_RES_HOLD_MAX UINT64_C(0xFFFFFF) // bits 20-43
#define VIV_RES_PHASE_SHIFT 44              // bits 44-46

// A record. Its fields are this room's; they stand here for viv_res_use (cap/htab.h).
struct viv_res {
    _Atomic uint64_t state;
    _Atomic uint32_t gen; // written on the way out of FREE only
    viv_kind kind;        // as gen
    uint16_t flags;
    void *obj; // published by the release store of the phase
    _Atomic uint32_t lock;
    uint32_t owner; // slot; 0: the runtime; its own: unlinked. All below: under the relations' lock
    union {
        struct {
            uint32_t owned_next, owned_prev, parent, sib_next, sib_prev, born_s;
        } link;
        struct { // DYING and unlinked
            struct viv_account *account;
            uint32_t below; // next of the removal's list
            uint32_t why;
        } end;
        struct viv_qsbr_item retired; // DEAD
    } u;
    uint32_t charge64; // units of 64 bytes
    uint32_t ext;      // number of the side record; 0: none
};
_Static_assert(sizeof(struct viv_res) == 64, "a record is a cache line");

#define VIV_RES_SURVIVE 1 // flag of a channel: without its owner until its last holder has gone

struct viv_res_config {
    struct viv_sched *sched;
    struct viv_account_limits limits; // of the runtime
    // Widths; 0: those of the contract. Tests shrink them.
    uint32_t slot_max;         // records a shard
    uint32_t gen_max;          // generations of a slot
    uint32_t depth_max;        // owners, and parents, above each other
    uint32_t handle_max;       // indices of a handle table, with index 0
    uint32_t handle_gen_count; // generations of an index
};

// What other parts of this room put in, before the first worker starts; all may be NULL.
struct viv_res_hooks {
    void *arg;
    // A process without tokens left has tried another shared handle. Own thread.
    void (*guess)(void *arg, const struct viv_htab *tab);
    // All parked operations of the instance that were started through the handle (0: all of them)
    // end with this error. Any thread, in a read section, under no lock.
    void (*fail_ops)(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err);
};

struct viv_res_spec {
    viv_kind kind;
    uint16_t flags;
    viv_rid owner, parent;
    uint64_t charge_bytes;
    const char *label; // at most VIV_RES_LABEL_MAX bytes, for people; NULL: none
};

struct viv_res_meta {
    viv_rid id, owner, parent;
    viv_kind kind;
    uint8_t phase; // enum viv_res_phase
    uint32_t pins, holds, born_s;
    uint64_t charge_bytes; // rounded up to 64
};

// Where an iteration stands; zero to begin.
struct viv_res_cursor {
    viv_rid next;
    uint32_t moves;
    uint8_t rank;
    bool is_begun, is_over;
};

#define VIV_RES_LABEL_MAX 64
#define VIV_RES_OVERHEAD_BYTES 80 // charged for record and entry
#define VIV_RES_DEPTH_MAX 32

static inline bool viv_rid_eq(viv_rid a, viv_rid b)
{
    return a.w == b.w;
}

// Errors: INVAL, EXHAUSTED. Once.
enum viv_err viv_res_new(const struct viv_res_config *config,
                         struct viv_reg **out_reg) VIV_MUST_CHECK;
// Discards the environments, then what is left, in the order of an owner's end; asserts that
// nothing is charged any more. Thread: the last one. Blocks for a grace period.
void viv_res_free(struct viv_reg *reg);
struct viv_account *viv_res_account(struct viv_reg *reg); // the runtime's
void viv_res_set_hooks(struct viv_reg *reg, const struct viv_res_hooks *hooks);

// ---- kinds, before viv_res_freeze_kinds ----
// Adds a kind. Errors: EXISTS (name), STATE (frozen), INVAL (a parent with a lower end rank, rights
// that are reserved), EXHAUSTED.
enum viv_err viv_res_kind_register(struct viv_reg *reg, const struct viv_res_kind *kind,
                                   viv_kind *out_kind) VIV_MUST_CHECK;
// Gives a row of gen/kinds.tab its functions (close, destroy, unheld, orphan, cancel, stat of
// `functions`; the rest of it is not read). Errors: EXISTS (it has some), STATE, INVAL (no such
// row).
enum viv_err viv_res_kind_bind(struct viv_reg *reg, viv_kind kind,
                               const struct viv_res_kind *functions) VIV_MUST_CHECK;
void viv_res_freeze_kinds(struct viv_reg *reg); // before the first worker starts
const struct viv_res_kind *viv_res_kind(const struct viv_reg *reg, viv_kind kind); // NULL: none

// ---- life ----
// Errors: INVAL (kind, charge, label), EXHAUSTED, NOTFOUND (owner or parent not live), KIND (of the
// parent), LOOP, QUOTA.
enum viv_err viv_res_add(struct viv_reg *reg, const struct viv_res_spec *spec, VIV_OWN void *obj,
                         viv_rid *out_rid) VIV_MUST_CHECK;
enum viv_err viv_res_reserve(struct viv_reg *reg, const struct viv_res_spec *spec,
                             viv_rid *out_rid) VIV_MUST_CHECK;
// Errors: STATE (unknown, live, dying), KIND.
enum viv_err viv_res_initialise(struct viv_reg *reg, viv_rid rid, viv_kind kind,
                                VIV_OWN void *obj) VIV_MUST_CHECK;
// Hands the object back. For kinds with sync LOCK. Errors: NOTFOUND, KIND, INVAL (other sync),
// STATE (reserved), BUSY (pinned or borrowed).
enum viv_err viv_res_remove(struct viv_reg *reg, viv_rid rid, viv_kind kind,
                            void **out_obj) VIV_MUST_CHECK;
// Ends the resource, its children and what it owns; of more than 8,192 a worker ends the rest in
// later turns. Errors: NOTFOUND.
enum viv_err viv_res_discard(struct viv_reg *reg, viv_rid rid) VIV_MUST_CHECK;

// ---- use ----
typedef enum viv_err (*viv_res_fn)(void *obj, void *ctx);
// The result of fn under the resource's lock; fn is short and takes no registry lock. For sync
// LOCK. Errors: NOTFOUND, KIND, INVAL (other sync), STATE, GONE, BUSY (this thread is inside
// already).
enum viv_err viv_res_with(struct viv_reg *reg, viv_rid rid, viv_kind kind, viv_res_fn fn,
                          void *ctx) VIV_MUST_CHECK;
// Keeps the object in place, across slices and threads. Errors: NOTFOUND, KIND, STATE, GONE,
// EXHAUSTED.
enum viv_err viv_res_pin(struct viv_reg *reg, viv_rid rid, viv_kind kind,
                         struct viv_res **out_res) VIV_MUST_CHECK;
void viv_res_unpin(struct viv_res *res);
void *viv_res_obj(const struct viv_res *res); // of a pinned resource
viv_rid viv_res_id(const struct viv_res *res);

// ---- relations ----
// A consistent snapshot. Errors: NOTFOUND.
enum viv_err viv_res_metadata(struct viv_reg *reg, viv_rid rid,
                              struct viv_res_meta *out_meta) VIV_MUST_CHECK;
uint64_t viv_res_age_s(const struct viv_reg *reg, const struct viv_res_meta *meta);
// The label, cut at cap_bytes and terminated; "" for none. Errors: NOTFOUND.
enum viv_err viv_res_label(struct viv_reg *reg, viv_rid rid, char *out_text,
                           size_t cap_bytes) VIV_MUST_CHECK;
viv_rid viv_res_owner(struct viv_reg *reg, viv_rid rid); // live or none
viv_rid viv_res_parent(struct viv_reg *reg, viv_rid rid);
// Up to n (256 a call) from the cursor on, in the order of release: by end rank, newest first. 0
// when through. owner none: the runtime. Under concurrent change each live one at most once: the
// rest of a list is left out when the place in it is lost.
uint32_t viv_res_owned(struct viv_reg *reg, viv_rid owner, struct viv_res_cursor *cursor,
                       viv_rid *out_rids, uint32_t n);
uint32_t viv_res_children(struct viv_reg *reg, viv_rid parent, struct viv_res_cursor *cursor,
                          viv_rid *out_rids, uint32_t n); // newest first
// parent none: takes it off its parent. Errors: NOTFOUND, KIND, LOOP, EXHAUSTED.
enum viv_err viv_res_set_parent(struct viv_reg *reg, viv_rid rid, viv_rid parent) VIV_MUST_CHECK;
// Errors: NOTFOUND, QUOTA, LOOP, EXHAUSTED, INVAL (an instance belongs to its process).
enum viv_err viv_res_set_owner(struct viv_reg *reg, viv_rid rid, viv_rid owner) VIV_MUST_CHECK;
// Gives a process or an environment an account of its own, below the one that pays for it. It ends
// with the resource. Errors: NOTFOUND, KIND, STATE (has one, or owns something already), EXHAUSTED.
enum viv_err viv_res_open_account(struct viv_reg *reg, viv_rid rid,
                                  const struct viv_account_limits *limits,
                                  struct viv_account **out_account) VIV_MUST_CHECK;

// env none: the runtime. Errors: NOTFOUND, EXISTS (either side), EXHAUSTED.
enum viv_err viv_res_register_singleton(struct viv_reg *reg, viv_rid env, viv_dep dep,
                                        viv_rid rid) VIV_MUST_CHECK;
enum viv_err viv_res_unregister_singleton(struct viv_reg *reg, viv_rid env,
                                          viv_dep dep) VIV_MUST_CHECK;
enum viv_err viv_res_singleton(struct viv_reg *reg, viv_rid env, viv_dep dep,
                               viv_rid *out_rid) VIV_MUST_CHECK;

// 1-1; what either side was linked to is let go. Errors: NOTFOUND, KIND, EXHAUSTED.
enum viv_err viv_res_set_log_channel(struct viv_reg *reg, viv_rid proc,
                                     viv_rid chan) VIV_MUST_CHECK;
enum viv_err viv_res_log_channel(struct viv_reg *reg, viv_rid proc,
                                 viv_rid *out_chan) VIV_MUST_CHECK;
// 1-1, and proc becomes the owner of inst. Thread: the instance's own. Errors: NOTFOUND, KIND,
// QUOTA, LOOP, EXHAUSTED.
enum viv_err viv_res_set_instance_process(struct viv_reg *reg, viv_rid inst,
                                          viv_rid proc) VIV_MUST_CHECK;
viv_rid viv_res_instance_process(struct viv_reg *reg, viv_rid inst); // live or none
viv_rid viv_res_process_instance(struct viv_reg *reg, viv_rid proc);

// ---- checking ----
// Walks everything and checks the invariants of REGISTRY.md. Thread: while no other uses the
// registry. Errors: INVAL with a sentence in diag, EXHAUSTED.
enum viv_err viv_res_check(struct viv_reg *reg, struct viv_diag *diag) VIV_MUST_CHECK;
// Records that are neither free nor retired, whatever their phase. For tests.
uint64_t viv_res_record_count(struct viv_reg *reg);

#endif
