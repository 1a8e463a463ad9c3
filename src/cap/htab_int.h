// SPDX-License-Identifier: Apache-2.0
// What the handle tables and the registrars share.
#ifndef VIV_CAP_HTAB_INT_H
#define VIV_CAP_HTAB_INT_H

#include "cap/gate.h"
#include "cap/htab.h"
#include "cap/reg_int.h"

// Close and destroy of kind instance; in viv_res_new.
enum viv_err viv_htab__bind(struct viv_reg *reg) VIV_MUST_CHECK;
// Charges for an entry and takes one; any thread. Errors: NOINSTANCE, QUOTA, EXHAUSTED.
enum viv_err viv_htab__take(struct viv_htab *tab, struct viv_htab_table *table,
                            uint32_t *out_index) VIV_MUST_CHECK;
// Gives a taken entry back that was never published, with its charge.
void viv_htab__untake(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index);
// Publishes a taken entry for a resource that the caller holds for it (grant: its node in the tree,
// or NULL). NOINSTANCE: closed; entry and charge are gone, hold and node are still the caller's.
struct viv_grant;
struct viv_htab_fill {
    struct viv_res *res;
    struct viv_grant *grant;
    viv_rights rights;
};
enum viv_err viv_htab__publish(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index,
                               const struct viv_htab_fill *fill,
                               viv_handle *out_hdl) VIV_MUST_CHECK;
// A live handle that is not revoked. Errors: BADHANDLE, REVOKED.
enum viv_err viv_htab__check_entry(const struct viv_htab *tab, viv_handle hdl,
                                   struct viv_htab_entry **out_entry) VIV_MUST_CHECK;
// All checks of a handle. Errors: BADHANDLE, REVOKED, KIND, RIGHTS, STATE, GONE.
enum viv_err viv_htab__check(const struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                             viv_rights need, struct viv_htab_entry **out_entry) VIV_MUST_CHECK;
// The same without the kind. Rights that are asked for must be among the handle's as well.
enum viv_err viv_htab__check_any(const struct viv_htab *tab, viv_handle hdl, viv_rights need,
                                 viv_rights asked,
                                 struct viv_htab_entry **out_entry) VIV_MUST_CHECK;
// A handle for a node that is linked and whose resource the caller holds; both become the entry's.
// index: taken. Errors: NOINSTANCE (nothing is left of any of them).
enum viv_err viv_htab__publish_grant(struct viv_htab *tab, uint32_t index, struct viv_grant *node,
                                     struct viv_res *res, viv_handle *out_hdl) VIV_MUST_CHECK;
// The node of an entry, or NULL. Thread: own, or under the table's lock.
struct viv_grant *viv_htab__grant_of(const struct viv_htab_entry *entry);
void viv_htab__set_grant(struct viv_htab_entry *entry, struct viv_grant *grant); // own thread
static inline uint32_t viv_htab__index(viv_handle hdl)
{
    return hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
}

static inline viv_rights viv_htab__rights_of(const struct viv_htab_entry *entry)
{
    // Relaxed: own thread, which has published it; bit 59 is not among them.
    return (viv_rights)atomic_load_explicit(&entry->word, memory_order_relaxed);
}
// The class gate for what is passed on; nothing is asked without a session. Errors: DENIED.
enum viv_err viv_htab__gate_kind(struct viv_htab *tab, enum viv_cap cap,
                                 viv_kind kind) VIV_MUST_CHECK;
// What is left of the rights asked for when a handle with these rights is passed on to others.
viv_rights viv_htab__passed_rights(viv_rights own, viv_rights asked);
// Says of a taken or live entry that its grant was revoked. Under the relations' lock, while its
// node is in the tree. Returns the handle.
viv_handle viv_htab__set_revoked(struct viv_htab *tab, uint32_t index);
// The resource behind a handle, or NULL; any thread.
struct viv_res *viv_htab__res_locked(struct viv_htab *tab, viv_handle hdl);
bool viv_htab__are_rights(const struct viv_reg *reg, viv_kind kind, viv_rights rights);
// The spec with the instance's process as owner.
struct viv_res_spec viv_htab__owned_spec(const struct viv_htab *tab,
                                         const struct viv_res_spec *spec);
// Its process has begun to end: nothing new may name it.
bool viv_htab__is_ended(const struct viv_htab *tab);
// A resource that was born for a handle which cannot be had: ends it.
void viv_htab__abandon(struct viv_res *res);

// E1: nothing new; registrars answer NOINSTANCE. False: it was so before.
bool viv_htab__shut(struct viv_htab *tab);
// Closes entries from *from on, looking at no more than *budget; true when through.
bool viv_htab__close_some(struct viv_htab *tab, struct viv_htab_table *table, uint32_t *from,
                          uint32_t *budget);

// Closes those on what the process owns and may leave behind, without ending it.
bool viv_htab__close_lingering(struct viv_htab *tab, uint32_t *from, uint32_t *budget);

// For the walker: what an instance has charged, and every resource its entries hold.
struct viv_htab_counts {
    uint64_t handles, futures;   // entries, reserved ones included
    uint64_t prepaid;            // resources that registrars have charged, not made
    uint64_t grants;             // entries with a node in a tree
    bool is_grant_wrong;         // a node does not say what its entry does
    struct viv_account *account; // who paid
};
struct viv_htab_counts viv_htab__each(struct viv_htab *tab,
                                      void (*visit)(void *arg, const struct viv_res *res),
                                      void *arg);

// reg_rel.c: the share that look-ups of a singleton attach; none: not made by a process, or not
// yet.
void viv_res__set_singleton_share(struct viv_reg *reg, viv_rid env, viv_dep dep, viv_shared shared);
viv_shared viv_res__singleton_share(struct viv_reg *reg, viv_rid env, viv_dep dep);

#endif
