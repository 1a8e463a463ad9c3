// SPDX-License-Identifier: Apache-2.0
// The nodes of the derivation trees, for the files of this room. All of a tree is under the
// relations' lock; what is called `_locked` or says so expects it to be held.
#ifndef VIV_CAP_GRANT_INT_H
#define VIV_CAP_GRANT_INT_H

#include "cap/grant.h"
#include "cap/htab_int.h"

enum viv_grant_kind {
    VIV_GRANT_EMPTY,   // its holder has gone; stays while two or more hang on it
    VIV_GRANT_ENTRY,   // a handle
    VIV_GRANT_SHARE,   // a shared handle
    VIV_GRANT_TRANSIT, // a handle in a message
    VIV_GRANT_DERIVED, // a resource that was made through the handle above
};

enum {
    VIV_GRANT_REVOKED = 1,  // off the tree; its holder still has it
    VIV_GRANT_REVOKING = 2, // what is below it is being revoked: nothing may be derived there
    VIV_GRANT_CREATOR = 8,  // of a creator's handle
    VIV_GRANT_PLAIN = 4,    // an unlimited share, among the first of the list it was put in
};

struct viv_grant {
    struct viv_res *res;                   // of an entry: found through the entry; kept by it
    struct viv_grant *parent;              // NULL: a creator's, or that has gone; or off the tree
    struct viv_grant *child, *prev, *next; // next: also of those to be freed
    union {
        struct viv_htab *tab;        // ENTRY
        struct viv_share *share;     // SHARE
        struct viv_transit *transit; // TRANSIT
        struct viv_res *derived;     // DERIVED
    } holder;
    viv_rights rights;
    uint32_t index; // ENTRY: of its entry
    uint8_t kind;   // enum viv_grant_kind
    uint8_t flags;
};
_Static_assert(sizeof(struct viv_grant) == 64, "a node is a cache line");

// What makes a node below a handle's: prepared before the lock is taken, so that only REVOKED and
// INVAL are left to go wrong.
struct viv_derivation {
    struct viv_htab *tab;
    struct viv_htab_entry *via;
    uint32_t via_index;
    struct viv_grant *node; // the new one; the caller fills in kind, holder and rights
    struct viv_grant *root; // for a creator's handle from which nothing has been derived yet
};
// The handle has been checked. Charges the root to the instance. Errors: QUOTA, EXHAUSTED.
enum viv_err viv_grant__prepare(struct viv_htab *tab, struct viv_htab_entry *via,
                                uint32_t via_index,
                                struct viv_derivation *out_derivation) VIV_MUST_CHECK;
// Links the node. Errors: REVOKED, INVAL (depth). Locked.
enum viv_err viv_grant__derive_locked(struct viv_derivation *derivation) VIV_MUST_CHECK;
// Frees and gives back what has not been used; nothing after a derive_locked that went well.
void viv_grant__undo(struct viv_derivation *derivation);

struct viv_grant *viv_grant__new(void); // NULL: no memory
// Puts node below above. Errors: REVOKED, INVAL. Locked.
enum viv_err viv_grant__link(struct viv_grant *above, struct viv_grant *node) VIV_MUST_CHECK;
// The holder is going; what hangs on the node stays where it can be revoked. Nodes that are not
// needed any more go to *scrap. Locked.
void viv_grant__leave(struct viv_grant *node, struct viv_grant **scrap);
void viv_grant__free(struct viv_grant **scrap);
// The handle of a node is closed: a revocation that is under way is brought to its end, the node
// leaves, and the instance gets its charge back. Under no lock.
void viv_grant__abandon(struct viv_htab *tab, struct viv_grant *node);
bool viv_grant__is_below(const struct viv_grant *node, const struct viv_grant *above); // or is it

// Revokes what is below `top`, a bounded number of nodes a call; true when nothing is left there.
// Under no lock. begin says (locked) that nothing may be derived there from now on.
void viv_grant__revoke_begin(struct viv_grant *top);
// find(arg) gives the node under the lock, NULL when it has gone (then there is nothing left).
bool viv_grant__revoke_some(struct viv_reg *reg, struct viv_grant *(*find)(void *arg), void *arg,
                            uint32_t *budget);

// For the walker.
bool viv_grant__is_of(const struct viv_grant *node, const struct viv_htab *tab, uint32_t index);
// The node and all above it: rights within those above, on the list of the one above, unlimited
// shares first, no empty node that is not needed (I13).
bool viv_grant__is_sound(const struct viv_grant *node);

// ---- share.c ----
struct viv_share;
struct viv_share_scrap {
    struct viv_share *shares;
    struct viv_grant *grants;
};
// Takes a share off everything but the tree. Locked; then free it without the lock.
void viv_share__pull(struct viv_reg *reg, struct viv_share *share, struct viv_share_scrap *scrap);
void viv_share__free(struct viv_reg *reg, struct viv_share_scrap *scrap);
// The shares of a resource that has ended, a few at a time; true when none is left. Under no lock.
bool viv_share__strip(struct viv_reg *reg, struct viv_res *res);
// The shares a process has made and that stay: its account's superior pays from now on.
void viv_share__disown(struct viv_htab *tab);
const struct viv_share *viv_share__next(const struct viv_share *share); // of its resource; locked

// ---- transit.c, for the walker ----
void viv_transit__each(struct viv_reg *reg,
                       void (*visit)(void *arg, const struct viv_res *res,
                                     const struct viv_grant *node),
                       void *arg);
// ---- share.c, for the walker ----
struct viv_share_view {
    const struct viv_grant *grant;
    const struct viv_res *res;
    struct viv_account *account;
    bool is_canonical;
};
void viv_share__each(struct viv_reg *reg,
                     void (*visit)(void *arg, const struct viv_share_view *view), void *arg);

#endif
