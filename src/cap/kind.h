// SPDX-License-Identifier: Apache-2.0
// What a resource can be. The rows of gen/kinds.tab are bound to their functions by the rooms that
// have them; an embedder adds kinds from 64 on. Both before the first worker starts.
#ifndef VIV_CAP_KIND_H
#define VIV_CAP_KIND_H

#include "base/err.h"
#include "gen/kinds.h" // enum viv_builtin_kind, VIV_RIGHT_...

typedef uint16_t viv_kind; // 14 bits
typedef uint32_t viv_rights;

#define VIV_KIND_EMBEDDER 64                // the first number of an embedder
#define VIV_KINDS_MAX 256                   // a table of pointers; rooms and embedders together
#define VIV_PARENTS_ANY UINT64_MAX          // any kind with an end rank that is not lower
#define VIV_ORPHAN_NS (30 * VIV_NS_PER_SEC) // how long what is held goes on without its owner
#define VIV_END_RANKS 16                    // 0 ends first
#define VIV_RIGHTS_RESERVED UINT32_C(0xF000)

struct viv_htab; // a table of handles (cap/htab.h)
struct viv_op;   // a parked operation (cap/op.h)
#define VIV_RES_STATS_MAX 32
struct viv_res_stat { // statistics of a kind: numbers with names that live as long as the program
    uint32_t count;
    struct {
        const char *name;
        uint64_t value;
    } rows[VIV_RES_STATS_MAX];
};

enum viv_close_why {
    VIV_WHY_DISCARD,
    VIV_WHY_LAST_CLOSE,
    VIV_WHY_OWNER_END,
    VIV_WHY_PARENT_END,
    VIV_WHY_REVOKED,
    VIV_WHY_SHUTDOWN,
};

enum viv_res_sync {
    VIV_SYNC_LOCK,  // the registry's lock of that resource (viv_res_with)
    VIV_SYNC_SELF,  // the object is safe for threads
    VIV_SYNC_OWNER, // the owner's thread only
};
enum viv_res_send { VIV_SEND_NO, VIV_SEND_COPY, VIV_SEND_MOVE };
enum viv_last_close { VIV_LAST_CLOSE_REMOVE, VIV_LAST_CLOSE_KEEP };

struct viv_res_kind {
    const char *name;
    uint8_t sync;         // enum viv_res_sync
    uint8_t end_rank;     // order of release at the owner's end
    uint8_t send;         // enum viv_res_send
    uint8_t last_close;   // enum viv_last_close: what happens when the last hold goes
    uint8_t holds_parent; // 1: a resource of this kind counts as a hold on its parent
    uint16_t keep_s;      // KEEP: for how long after the last hold; 0: no limit of its own
    viv_rights rights_all;
    uint64_t parents; // bits of kinds below 64, or VIV_PARENTS_ANY
    // All may be NULL. None runs under a registry lock.
    void (*close)(void *obj, enum viv_close_why why); // once, at DYING, in a read section
    void (*destroy)(void *obj);                       // once, a grace period after the last pin
    // A handle to it is closed, or ends with its instance, while it lives; the hold goes after
    // that.
    void (*unheld)(void *obj, const struct viv_htab *tab);
    // Its owner has ended, and it goes on below the environment since somebody holds it.
    void (*orphan)(void *obj);
    enum viv_err (*cancel)(void *obj, struct viv_op *op);
    enum viv_err (*stat)(void *obj, struct viv_res_stat *out); // any thread; it is pinned
    uint64_t (*host_holds)(const void *obj); // for the walker: those of no handle and no child
};

extern const struct viv_res_kind viv_res_builtin_kinds[VIV_KIND_BUILTIN_END];

#endif
