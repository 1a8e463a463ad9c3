// SPDX-License-Identifier: Apache-2.0
// What the files of sessions share: the session, its tree, delegations, and changes under
// construction. SESSIONS.md says how a change is made.
#ifndef VIV_CAP_SESSION_INT_H
#define VIV_CAP_SESSION_INT_H

#include "base/list.h"
#include "base/spin.h"
#include "cap/delegate.h"
#include "cap/later.h"
#include "cap/reg_int.h"
#include "cap/session.h"

struct viv_ses_tree {
    struct viv_sessions *all; // immutable, as the next two
    uint32_t environment;
    struct viv_env *proc_env; // whose processes run under the root; may be NULL
    struct viv_spin lock;
    bool is_changing;           // under lock: someone has the turn
    struct viv_session *closed; // under lock: have ended; whoever has the turn takes them off
    uint32_t count;             // the turn's
};

enum viv_ses_counter { VIV_SES_PROCESSES, VIV_SES_NATIVE, VIV_SES_COUNTERS };

struct viv_session {
    _Atomic(struct viv_capset *) held; // first. Written under the lock; read in read sections
    // Immutable:
    struct viv_ses_tree *tree;
    struct viv_session *parent; // counted; NULL: a root
    uint32_t depth;
    bool closes_on_revoke;
    struct viv_ses_id id;
    uint8_t public_key[VIV_SES_KEY_BYTES];
    struct viv_limits limits;
    viv_rid rid; // once it has a resource
    // Any thread:
    _Atomic uint32_t ref_count;
    _Atomic uint32_t open_count;             // holds on its resource that are not of handles
    _Atomic uint64_t used[VIV_SES_COUNTERS]; // below it, itself included
    // Under the lock:
    bool is_closed; // its resource has ended: it holds nothing
    struct viv_session *closed_next;
    // The turn's; sets are also written under the lock:
    struct viv_capset *own;     // held, but for what was delegated
    struct viv_capset *ceiling; // NULL: whatever the parent holds
    struct viv_list children, link;
    struct viv_list received, given; // delegations to it; from what is its own
    struct {
        struct viv_capset *own, *ceiling, *held; // to be; NULL: as they are
        bool is_in, is_queued, is_stale;         // stale: held is to be made anew
        bool is_less;                            // it will hold less
        struct viv_session *next, *queue_next;
    } plan;
    struct viv_qsbr_item retired;
};
_Static_assert(offsetof(struct viv_session, held) == 0, "viv_ses_held reads it there");

struct viv_delegation {
    _Atomic uint32_t ref_count; // lists, handle, changes
    // Immutable:
    struct viv_session *receiver; // counted
    struct viv_capset *set;       // one class
    enum viv_cap cap;
    struct viv_later *expiry; // NULL: for ever
    // The turn's:
    struct viv_session *giver;     // counted
    struct viv_delegation *source; // it was made from; NULL: from what is the giver's own
    struct viv_list received_link, source_link; // received: alone once the receiver is no more
    struct viv_list onward;                     // made from it
    bool is_over;
    bool is_ending; // in a change
    struct viv_delegation *ending_next;
    struct viv_qsbr_item retired;
};

struct viv_sessions {
    struct viv_sessions_config config; // immutable
    struct viv_sched *sched;
    struct viv_capset *empty;
    struct viv_session *nobody;                  // holds nothing; of processes that have ended
    _Atomic uint64_t denials[VIV_CAP_COUNT + 1]; // by class; the last: of none
};

// A change of a tree: planned, then made in one step or not at all.
struct viv_ses_change {
    struct viv_ses_tree *tree;
    struct viv_session *touched;
    struct viv_session *queue_first, *queue_last;
    struct viv_delegation *ending_first, *ending_last;
    struct viv_delegation *adding;                // to be linked; NULL: none
    struct viv_capset *narrowed, *bound, *result; // the last narrowing, counted; NULL: none
    bool is_made;
};

// ---- session.c ----
struct viv_ses_birth {
    struct viv_sessions *all;
    struct viv_session *parent; // NULL: a root
    struct viv_capset *own;     // taken from
    struct viv_capset *ceiling; // taken from; NULL: the parent's holdings
    const struct viv_limits *limits;
    const uint8_t *public_key; // may be NULL
    uint32_t environment;      // of a root, as the next
    struct viv_env *proc_env;  // may be NULL
    bool closes_on_revoke;
};
enum viv_err viv_ses__new(const struct viv_ses_birth *birth,
                          struct viv_session **out_session) VIV_MUST_CHECK;
// Unless nobody counts it any more: of a session that is known for the read section only.
bool viv_ses__try_take(struct viv_session *session);
// What it holds now, counted; it may close meanwhile.
struct viv_capset *viv_ses__take_held(const struct viv_session *session);
// Puts a new session below its parent. The caller has the turn.
void viv_ses__link(struct viv_session *session, viv_rid rid);
// Whether one more fits below. Errors: QUOTA, LOOP.
enum viv_err viv_ses__has_room(const struct viv_session *parent) VIV_MUST_CHECK;
void viv_ses__audit(const struct viv_session *session, viv_pid pid, enum viv_audit_kind kind,
                    enum viv_cap cap, enum viv_err outcome);

// ---- session_change.c ----
// Takes the turn; waits for it a moment, or not at all. Errors: BUSY.
enum viv_err viv_ses__begin(struct viv_ses_tree *tree,
                            struct viv_ses_change *change) VIV_MUST_CHECK;
enum viv_err viv_ses__try_begin(struct viv_ses_tree *tree,
                                struct viv_ses_change *change) VIV_MUST_CHECK;
void viv_ses__plan_own(struct viv_ses_change *change, struct viv_session *session,
                       VIV_OWN struct viv_capset *set);
void viv_ses__plan_ceiling(struct viv_ses_change *change, struct viv_session *session,
                           VIV_OWN struct viv_capset *set);
void viv_ses__plan_end(struct viv_ses_change *change, struct viv_delegation *delegation);
// The class goes, with the delegations of it. Errors: DENIED (not held), EXHAUSTED.
enum viv_err viv_ses__plan_remove(struct viv_ses_change *change, struct viv_session *session,
                                  enum viv_cap cap) VIV_MUST_CHECK;
// A delegation that is not linked yet.
void viv_ses__plan_add(struct viv_ses_change *change, struct viv_delegation *delegation);
// Plans what follows, and makes the change. Errors: EXHAUSTED, QUOTA (patterns); nothing was done.
enum viv_err viv_ses__make(struct viv_ses_change *change) VIV_MUST_CHECK;
void viv_ses__finish(struct viv_ses_change *change); // lets go of the turn
// Its resource has ended. Never fails, never waits.
void viv_ses__close(struct viv_session *session);

// ---- delegate.c ----
enum viv_err viv_del__bind(struct viv_reg *reg) VIV_MUST_CHECK;
void viv_del__link(struct viv_delegation *delegation);
// Takes it off its lists, for good; the turn's, as the next two.
void viv_del__unlink(struct viv_delegation *delegation);
// Its receiver is no more. It ends, or stays as the root of what was made from it.
void viv_del__orphan(struct viv_delegation *delegation);
// Its giver is no more: it was made from what is this session's own.
void viv_del__rehang(struct viv_delegation *delegation, struct viv_session *giver);
struct viv_delegation *viv_del__take(struct viv_delegation *delegation);
void viv_del__drop(struct viv_delegation *delegation);

#endif
