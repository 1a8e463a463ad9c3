// SPDX-License-Identifier: Apache-2.0
// Ends of resources, for the files of this room (reg_end.c).
#ifndef VIV_CAP_REG_END_H
#define VIV_CAP_REG_END_H

#include "cap/reg_int.h"

enum {
    // Resources ended in one turn of a worker (a millisecond), and between two looks at the clock.
    VIV_RES_END_MAX = 8192,
    VIV_RES_END_PIECE = 512,
};

// An end that is under way.
struct viv_res_ending {
    struct viv_reg *reg;
    uint32_t top; // of the stack of claimed records
    // What goes back to an account (R6) with the next that is another's, or at the end of a piece.
    struct viv_account *account;
    struct viv_res_weight owed;
    struct viv_res_scrap scrap;
};

// R1: DYING if it is LIVE or RESERVED. The winner must call viv_res__end.
bool viv_res__claim(struct viv_res *res, uint64_t more_bits);
// On a worker, what is more than VIV_RES_END_MAX below it ends in later turns.
void viv_res__end(struct viv_reg *reg, struct viv_res *res, enum viv_close_why why);
// The same with another bound, which counts down.
void viv_res__end_within(struct viv_reg *reg, struct viv_res *res, enum viv_close_why why,
                         uint32_t *budget);
// Whether there is something of that: of what the process owned; by revocation. Under no lock.
bool viv_res__has_rest(struct viv_reg *reg, const struct viv_res *proc);
bool viv_res__has_revoked_rest(struct viv_reg *reg);
// In pieces: *budget counts down with each resource. True: through.
bool viv_res__end_some(struct viv_res_ending *ending, uint32_t *budget);
// What a process owns that has ENDED, of end ranks below rank_end, in the order of release. False
// with *out_lingering: that goes on below the owner's owner.
bool viv_res__end_owned_some(struct viv_res_ending *ending, struct viv_res *owner,
                             uint32_t rank_end, struct viv_res **out_lingering, uint32_t *budget);
// Drops a hold. True: it was the last, and the resource is DYING now (the caller ends it); never
// without may_end, which takes back a hold that led to nothing.
bool viv_res__drop_hold(struct viv_res *res, bool may_end);
void viv_res__unhold(struct viv_res *res); // and ends it with LAST_CLOSE when it was the last
// Likewise, and about so much of it in this turn.
void viv_res__unhold_within(struct viv_res *res, uint32_t *budget);
void viv_res__keep(struct viv_res *res); // it stays without holds
// It goes with its last hold. True: nobody holds it, and it is DYING now (the caller ends it).
bool viv_res__leave(struct viv_res *res);
enum viv_err viv_res__remove(struct viv_res *res, void **out_obj) VIV_MUST_CHECK;

#endif
