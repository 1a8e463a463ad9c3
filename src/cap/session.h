// SPDX-License-Identifier: Apache-2.0
// Sessions: who holds which capabilities. A process runs under exactly one session for life, its
// own or, as a rule, the root session of its environment. What sessions are made of, and their
// rules, are in SESSIONS.md beside this file.
//
// Thread, unless a function says otherwise: any with a member of the scheduler's QSBR domain, in a
// read section; `tab` is the caller's own table. Changes take effect for checks that start after
// the call returned. On any error nothing has changed. Whoever changes a tree has its turn: others
// that want to change it meanwhile wait for a moment and then get BUSY.
#ifndef VIV_CAP_SESSION_H
#define VIV_CAP_SESSION_H

#include "cap/audit.h"
#include "cap/capset.h"
#include "cap/htab.h"
#include "cap/limits.h"

#define VIV_SES_KEY_BYTES 32
#define VIV_SES_SIGNATURE_BYTES 64
#define VIV_SES_DEPTH_MAX 32    // as parents of any resource
#define VIV_SES_TREE_MAX 65536u // sessions of an environment: resources of a kind (6.6)

struct viv_sessions; // those of a runtime
struct viv_session;  // kept by its resource, by processes under it, by its children

// Whether `signature` is that of the payload under the key.
typedef bool (*viv_ses_verify_fn)(void *arg, const uint8_t key[VIV_SES_KEY_BYTES],
                                  const void *payload, size_t len_bytes,
                                  const uint8_t signature[VIV_SES_SIGNATURE_BYTES]);
struct viv_sessions_config {
    struct viv_reg *reg;
    struct viv_audit *audit;  // NULL: nothing is written
    viv_ses_verify_fn verify; // NULL: keys cannot be checked
    void *verify_arg;
    // Called after a session and sessions below it have come to hold less, for the topmost of them,
    // in a read section, without locks, while the tree is busy: whoever parked an operation of a
    // process within it has it look again. May be NULL.
    void (*shrunk)(void *arg, struct viv_session *session);
    void *shrunk_arg;
};
// Binds the kinds session and delegation. Errors: EXHAUSTED, STATE, EXISTS. Before the kinds
// freeze.
enum viv_err viv_sessions_new(const struct viv_sessions_config *config,
                              struct viv_sessions **out_all) VIV_MUST_CHECK;
// After viv_res_free. Waits for a grace period.
void viv_sessions_free(VIV_OWN struct viv_sessions *all);

// ---- for the host ----

struct viv_ses_root {
    viv_rid env;                     // the environment's resource, which owns the session; or none
    struct viv_env *proc_env;        // whose processes run under it from now on; NULL: none
    uint64_t mask;                   // classes with *any*; without a policy
    const struct viv_policy *policy; // or NULL
    const uint8_t *public_key;       // or NULL
    uint32_t environment;            // its number, for the audit
};
// Root session of an environment. It lives as long as its resource, and nobody can change it.
// Errors: INVAL (classes that do not exist), EXHAUSTED, QUOTA, NOTFOUND.
enum viv_err viv_ses_bootstrap(struct viv_sessions *all, const struct viv_ses_root *root,
                               struct viv_session **out_root) VIV_MUST_CHECK;
// Child session from a policy, open until viv_ses_let_go and the end of the processes under it, or
// until its owner ends. diag says what reaches beyond the parent. Errors: DENIED, BUSY, QUOTA,
// EXHAUSTED, NOTFOUND, LOOP.
enum viv_err viv_ses_add_policy(struct viv_session *parent, const struct viv_policy *policy,
                                viv_rid owner, struct viv_session **out_session,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Child session that holds what its parent holds without some classes, under lower limits (NULL:
// the parent's). Errors: as above.
enum viv_err viv_ses_derive(struct viv_session *parent, uint64_t removed_classes,
                            const struct viv_limits *limits, viv_rid owner,
                            struct viv_session **out_session) VIV_MUST_CHECK;
void viv_ses_let_go(VIV_OWN struct viv_session *session); // of add_policy and derive
// Takes a class from a session and all below it, a root included; what an operator may do. Errors:
// DENIED (not held), BUSY, EXHAUSTED.
enum viv_err viv_ses_shrink(struct viv_session *session, enum viv_cap cap) VIV_MUST_CHECK;
// The session behind a resource, for as long as the read section. Errors: NOTFOUND, KIND, GONE.
enum viv_err viv_ses_find(struct viv_sessions *all, viv_rid rid,
                          struct viv_session **out_session) VIV_MUST_CHECK;
struct viv_session *viv_ses_take(struct viv_session *session); // keeps it in memory
void viv_ses_drop(VIV_OWN struct viv_session *session);        // NULL is allowed

// ---- what a session is ----

// What it holds now, for as long as the read section.
static inline const struct viv_capset *viv_ses_held(const struct viv_session *session)
{
    // A session begins with its set (session_int.h), so that the gate is a load and a test.
    const _Atomic(struct viv_capset *) *held = (const void *)session;
    // Acquire pairs with the release that published the set.
    return atomic_load_explicit(held, memory_order_acquire);
}
const struct viv_limits *viv_ses_limits(const struct viv_session *session);
struct viv_ses_id viv_ses_id(const struct viv_session *session);
uint32_t viv_ses_environment(const struct viv_session *session);
struct viv_sessions *viv_ses_all(const struct viv_session *session);
struct viv_audit *viv_ses_audit(const struct viv_session *session); // may be NULL
bool viv_ses_is_root(const struct viv_session *session);
bool viv_ses_closes_on_revoke(const struct viv_session *session);
// Whether `below` is the session or stands below it.
bool viv_ses_is_within(const struct viv_session *session, const struct viv_session *below);
// What it holds, and its limits, as the text of a policy; for people. Errors: EXHAUSTED, QUOTA.
enum viv_err viv_ses_print(const struct viv_session *session, struct viv_buf *out) VIV_MUST_CHECK;
// What may be added or delegated to it: within this set. Counted. Thread: any.
struct viv_capset *viv_ses_ceiling(const struct viv_session *session);

// ---- processes ----

// The unborn process will run under the session. It counts, and keeps the session open, unless that
// is a root. Errors: QUOTA (processes below a session), GONE, EXHAUSTED.
enum viv_err viv_ses_bind(struct viv_session *session, struct viv_proc *child) VIV_MUST_CHECK;
// The unborn child runs under its parent's session. Errors: as above.
enum viv_err viv_ses_inherit(const struct viv_proc *parent, struct viv_proc *child) VIV_MUST_CHECK;
void viv_ses_unbind(struct viv_proc *proc); // once, when it has ended or was never born
// The session of a process; NULL: its environment has no root session, and nobody asked for rules.
static inline struct viv_session *viv_ses_of(const struct viv_proc *proc)
{
    struct viv_session *session = viv_proc_word(proc, VIV_PROC_WORD_SESSION);
    if (session != NULL) return session;
    return viv_env_word(viv_proc_env(proc), VIV_PROC_WORD_SESSION);
}
// Programs of the operating system below a session. Errors: QUOTA.
enum viv_err viv_ses_native_add(struct viv_session *session) VIV_MUST_CHECK;
void viv_ses_native_sub(struct viv_session *session);
// How another process stands to the asking one: VIV_REL_ bits. A descendant is one as long as all
// between live; `known` are the bits CHILD and DESCENDANT that the caller knows besides.
uint32_t viv_ses_relation(const struct viv_proc *self, const struct viv_proc *other,
                          uint32_t known);

// ---- hooks of the registry and of holders (cap/reg.h, cap/holder.h); `all` is the sessions ----
void viv_ses_hook_end(void *all, struct viv_proc *proc);
void viv_ses_hook_leak(void *all, viv_pid pid);
void viv_ses_hook_orphaned(void *all, viv_pid pid, viv_rid rid);
void viv_ses_hook_guess(void *all, const struct viv_htab *tab);

// ---- calls of processes; handle 0 as `ses` is the caller's own session ----

struct viv_ent { // an entitlement
    enum viv_cap cap;
    bool is_any;
    struct viv_patterns scope; // their flags do not count
};
// A child of `ses` with these entitlements (none: it is empty, and its ceiling is what the parent
// holds). The handle has every right. Needs class cap.session, and DERIVE on a handle. Errors:
// BADHANDLE, KIND, RIGHTS, GONE, DENIED (beyond the parent, class or scope), INVAL, QUOTA, BUSY,
// EXHAUSTED.
enum viv_err viv_ses_create(struct viv_htab *tab, viv_handle ses, const struct viv_ent *ents,
                            size_t count, const uint8_t *public_key,
                            viv_handle *out_hdl) VIV_MUST_CHECK;
// `ses` is above `target`, on whose handle add needs ADD and rm needs REMOVE. Errors, of all: those
// of a handle, DENIED, INVAL (a pattern the class does not take), BUSY, QUOTA, EXHAUSTED.
enum viv_err viv_ses_add_entitlement(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                     const struct viv_ent *ent) VIV_MUST_CHECK;
enum viv_err viv_ses_rm_entitlement(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                    enum viv_cap cap) VIV_MUST_CHECK;
enum viv_err viv_ses_add_resource(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                  enum viv_cap cap, viv_rid rid, bool *out_new) VIV_MUST_CHECK;
enum viv_err viv_ses_rm_resource(struct viv_htab *tab, viv_handle ses, viv_handle target,
                                 enum viv_cap cap, viv_rid rid, bool *out_removed) VIV_MUST_CHECK;
// Target and everything below it hold nothing from here on.
enum viv_err viv_ses_remove(struct viv_htab *tab, viv_handle ses, viv_handle target) VIV_MUST_CHECK;
bool viv_ses_authorise(struct viv_htab *tab, viv_handle ses, enum viv_cap cap, viv_rid rid);
// Whether the payload was signed with the session's key. Errors: UNSUPPORTED (no verifier), those
// of a handle.
enum viv_err viv_ses_authenticate(struct viv_htab *tab, viv_handle ses, const void *payload,
                                  size_t len_bytes,
                                  const uint8_t signature[VIV_SES_SIGNATURE_BYTES],
                                  bool *out_is_valid) VIV_MUST_CHECK;

// ---- checking ----

// Walks the tree: held within ceiling within the parent's holdings, links, delegations. Thread:
// while nobody changes it. Errors: INVAL with a sentence in diag.
enum viv_err viv_ses_check_tree(struct viv_session *session, struct viv_diag *diag) VIV_MUST_CHECK;

#endif
