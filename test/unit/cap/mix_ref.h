// SPDX-License-Identifier: Apache-2.0
// A plain reference of the whole registry, for test_grant_model: what there is, who owns what, the
// trees of grants, and what an end or a revocation takes with it.
#ifndef VIV_TEST_UNIT_CAP_MIX_REF_H
#define VIV_TEST_UNIT_CAP_MIX_REF_H

#include "base/rng.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "harness/check.h"
#include "res_rig.h"

enum {
    HOLDERS = 4, // processes 0 to 2 in one environment, 3 in another
    RESOURCES = 24,
    ENTRIES = 48,
    SHARES = 16,
    TRANSITS = 8,
    PINS = 6,
    THINGS = 2 * RESOURCES,
    REGISTRARS = 5,
    DEPS = 5,
    NODES = ENTRIES + SHARES + TRANSITS + RESOURCES,
    GRANT_DEPTH = 12,
    DEPTH = 4, // of owners and of parents
    NO_RES = -1,
    NO_PROC = -1,
    ENV_OWNER = -1,   // -1 and -2: an environment
    RES_OWNER = 1000, // from here: a resource
    HANDLES = 24,     // indices of a process, 0 among them
    HANDLE_GENS = 3,
    LIMIT = 10, // resources of a process, its instance among them
    SLOTS = 128,
    GENS = 50,
    BIRTHS = 3000, // in one registry: no more than half of its slots are spent then
    VALUES_SEEN = 32,
    WALK_EVERY = 64,
};

enum holder_kind { NOTHING, ENTRY, SHARE, TRANSIT, DERIVED };

struct ref_node {
    enum holder_kind kind; // NOTHING: free
    int holder;            // index by kind
    int parent;            // -1: none
    viv_rights rights;
};

struct ref_res {
    bool is_used, is_live, is_reserved, is_revoked; // is_live: known, reserved ones as well
    bool is_kept;                                   // ends not for want of holds
    viv_rid rid;
    viv_kind kind;
    int owner;   // process; ENV_OWNER, ENV_OWNER - 1; RES_OWNER and more: a resource
    int parent;  // NO_RES: none
    int derived; // node; -1: none
    uint32_t holds, pins;
    uint32_t own_height, child_height; // bounds of the levels below
    int canonical;                     // share; -1: none
    int thing;                         // its object; -1: none
};

struct ref_entry {
    bool is_used, is_revoked, is_creator, has_node; // has_node: charged for one
    int proc, res, node;                            // node -1 once revoked
    uint32_t w;
    viv_rights rights;
};

struct ref_share {
    bool is_used, is_plain;
    uint64_t value;
    int res, node, env, maker; // maker: entry; -1: canonical, or closed
    int payer;                 // process; -1: others
    uint32_t uses;
    uint64_t expires_ns; // 0: never
};

struct ref_transit {
    bool is_used, is_revoked;
    struct viv_transit *transit;
    int res, node, env;
};

struct ref_pin {
    bool is_used;
    struct viv_res *pinned;
    int res;
};

struct ref_registrar {
    bool is_used;
    struct viv_registrar *registrar;
    int proc; // NO_PROC: has ended
    uint32_t left;
};

// Of an object that belongs, or belonged, to a resource.
struct ref_thing {
    bool is_used;
    int res;
};

struct mix {
    struct res_rig rig;
    struct viv_rng rng;
    viv_rid envs[2], procs[HOLDERS];
    struct viv_htab *tabs[HOLDERS];
    struct viv_account *accounts[HOLDERS];
    uint32_t next_gens[HOLDERS][HANDLES]; // of each index, when it is taken again
    struct ref_node nodes[NODES];
    struct ref_res ress[RESOURCES];
    struct ref_entry entries[ENTRIES];
    struct ref_share shares[SHARES];
    struct ref_transit transits[TRANSITS];
    struct ref_pin pins[PINS];
    struct ref_registrar registrars[REGISTRARS];
    int deps[2][DEPS]; // resources by environment, NO_RES: free
    struct thing things[THINGS];
    struct ref_thing ref_things[THINGS];
    uint32_t birth_count;
    uint64_t old_values[VALUES_SEEN];
    uint32_t old_handles[VALUES_SEEN];
    uint64_t ok_count, err_count, revoked_count, expired_count;
};

extern struct mix mix; // of the test program

#define FREE_ONE(array)                                                                            \
    ({                                                                                             \
        int at_ = -1;                                                                              \
        for (int i_ = 0; i_ < (int)VIV_COUNT_OF(array) && at_ < 0; i_++)                           \
            if (!(array)[i_].is_used) at_ = i_;                                                    \
        at_;                                                                                       \
    })

uint32_t mix_below(uint32_t bound);
int mix_env_of(int proc);
void mix_same(const char *what, enum viv_err got, enum viv_err want);
int mix_new_node(enum holder_kind kind, int holder, int parent, viv_rights rights);
bool mix_is_below(int node, int above);
uint32_t mix_depth_of(int node);
// Its holder has gone by itself.
void mix_leave(int node);
const struct viv_res_kind *mix_row_of(int res);
bool mix_may_stand_above(viv_kind child, viv_kind parent);
// Does res (NO_RES: a new one), with what is below it, fit below `above`? Above owners that are
// resources stand a process, which need not be there, and an environment.
enum viv_err mix_check_chain(int res, int above, bool is_parent, uint32_t more);
enum viv_err mix_check_owner(int res, int owner);
void mix_raise_heights(int res, bool is_parent);
// Something has left what is above; a bound falls when nothing is left there.
void mix_lower_height(int above, bool is_parent);
int mix_process_of(int owner);
// What the process pays for: its instance, what is reserved, and res with what that owns.
uint32_t mix_used(int proc);
uint32_t mix_weight(int res);
int mix_env_of_res(int res);
viv_rid mix_owner_rid(int owner);
void mix_set_owner(int res, int owner);
// Only such as have nothing below them end for want of holds, so the order does not show.
void mix_end_res(int res, bool is_revoked);
// The record is free when nothing names it any more.
void mix_settle(int res);
void mix_drop_hold(int res);
void mix_remove_share(int share, bool leaves);
void mix_revoke_below(int top);
void mix_close_entry(int entry);
struct thing *mix_some_thing(void); // one that is free, for a call that takes an object
// It is res's now (NO_RES: the call has failed, and the object has been destroyed).
void mix_settle_thing(struct thing *thing, int res);
void mix_compare_things(void);

#endif
