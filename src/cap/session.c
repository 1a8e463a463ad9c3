// SPDX-License-Identifier: Apache-2.0
// Sessions: birth and end, what they are, the processes under them.
//
// A session is kept by its resource, by its children, by the processes under it and by changes; a
// root is not counted by its processes, which would be a counter that every spawn writes. The last
// drop retires it: readers may still look at the set it held.
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/reg_end.h"
#include "cap/retire.h"
#include "cap/rows.h"
#include "cap/session_int.h"
#include <string.h>

enum { DESCENT_MAX = 64 }; // processes above each other that a relation looks through

// ---- memory ----

static void free_session(struct viv_qsbr_item *item)
{
    struct viv_session *session = VIV_CONTAINER_OF(item, struct viv_session, retired);
    if (session->parent == NULL) viv_free(session->tree, sizeof *session->tree, VIV_TAG_CAP);
    viv_free(session, sizeof *session, VIV_TAG_CAP);
}

struct viv_session *viv_ses_take(struct viv_session *session)
{
    // Relaxed: the caller knows that it is there.
    const uint32_t before = atomic_fetch_add_explicit(&session->ref_count, 1, memory_order_relaxed);
    VIV_ASSERT(before > 0);
    return session;
}

bool viv_ses__try_take(struct viv_session *session)
{
    // Relaxed: as above, once the count is seen not to be zero.
    uint32_t count = atomic_load_explicit(&session->ref_count, memory_order_relaxed);
    do {
        if (count == 0) return false;
    } while (!atomic_compare_exchange_weak_explicit(&session->ref_count, &count, count + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

struct viv_capset *viv_ses__take_held(const struct viv_session *session)
{
    struct viv_ses_tree *tree = session->tree;
    viv_spin_lock(&tree->lock);
    // Relaxed: written under the lock, which also keeps the set in force.
    struct viv_capset *set =
        viv_capset_take(atomic_load_explicit(&session->held, memory_order_relaxed));
    viv_spin_unlock(&tree->lock);
    return set;
}

void viv_ses_drop(VIV_OWN struct viv_session *session)
{
    while (session != NULL) {
        // Both: what others did with it is before the end.
        if (atomic_fetch_sub_explicit(&session->ref_count, 1, memory_order_acq_rel) != 1) return;
        struct viv_session *parent = session->parent;
        // Everything goes a grace period from now. Relaxed: nobody changes it any more.
        viv_capset_drop(atomic_load_explicit(&session->held, memory_order_relaxed));
        viv_capset_drop(session->own);
        viv_capset_drop(session->ceiling);
        viv_cap_retire(&session->retired, free_session);
        session = parent;
    }
}

static enum viv_err new_tree(const struct viv_ses_birth *birth, struct viv_session *root)
{
    struct viv_ses_tree *tree = viv_try_calloc(1, sizeof *tree, VIV_TAG_CAP);
    if (tree == NULL) return VIV_E_EXHAUSTED;
    tree->all = birth->all;
    tree->environment = birth->environment;
    tree->proc_env = birth->proc_env;
    tree->count = 1;
    viv_spin_init(&tree->lock, VIV_LOCK_SESSIONS);
    root->tree = tree;
    return VIV_OK;
}

enum viv_err viv_ses__new(const struct viv_ses_birth *birth, struct viv_session **out_session)
{
    struct viv_ses_id id;
    if (viv_sched_random(birth->all->sched, &id, sizeof id) != VIV_OK) return VIV_E_EXHAUSTED;
    // A parent that is known by the word of a process may go with that.
    if (birth->parent != NULL && !viv_ses__try_take(birth->parent)) return VIV_E_NOTFOUND;
    struct viv_session *session = viv_try_calloc(1, sizeof *session, VIV_TAG_CAP);
    if (session == NULL) {
        viv_ses_drop(birth->parent);
        return VIV_E_EXHAUSTED;
    }
    session->id = id;
    session->parent = birth->parent;
    if (birth->parent != NULL) {
        session->tree = birth->parent->tree;
        session->depth = birth->parent->depth + 1;
    } else if (new_tree(birth, session) != VIV_OK) {
        viv_free(session, sizeof *session, VIV_TAG_CAP);
        return VIV_E_EXHAUSTED;
    }
    viv_capset_publish(birth->own);
    session->own = viv_capset_take(birth->own);
    atomic_init(&session->held, viv_capset_take(birth->own));
    if (birth->ceiling != NULL) {
        viv_capset_publish(birth->ceiling);
        session->ceiling = viv_capset_take(birth->ceiling);
    }
    session->limits = *birth->limits;
    session->closes_on_revoke = birth->closes_on_revoke;
    if (birth->public_key != NULL)
        memcpy(session->public_key, birth->public_key, sizeof session->public_key);
    atomic_init(&session->ref_count, 1);
    viv_list_init(&session->children);
    viv_list_init(&session->link);
    viv_list_init(&session->received);
    viv_list_init(&session->given);
    *out_session = session;
    return VIV_OK;
}

enum viv_err viv_ses__has_room(const struct viv_session *parent)
{
    if (parent->depth + 1 >= VIV_SES_DEPTH_MAX) return VIV_E_LOOP;
    return parent->tree->count < VIV_SES_TREE_MAX ? VIV_OK : VIV_E_QUOTA;
}

void viv_ses__link(struct viv_session *session, viv_rid rid)
{
    session->rid = rid;
    if (session->parent == NULL) return;
    viv_list_append(&session->parent->children, &session->link);
    session->tree->count++;
}

// ---- kind session ----

static void close_session(void *obj, enum viv_close_why why)
{
    struct viv_session *session = obj;
    struct viv_env *env = session->tree->proc_env;
    (void)why;
    if (session->parent == NULL && env != NULL)
        viv_env_set_word(env, VIV_PROC_WORD_SESSION, session->tree->all->nobody);
    viv_ses__close(session);
}

static void destroy_session(void *obj)
{
    viv_ses_drop(obj);
}

static uint64_t host_holds(const void *obj)
{
    const struct viv_session *session = obj;
    return atomic_load_explicit(&session->open_count, memory_order_relaxed); // relaxed: nobody else
}

// ---- the sessions of a runtime ----

static enum viv_err new_nobody(struct viv_sessions *all)
{
    struct viv_limits limits;
    viv_limits_none(&limits);
    const struct viv_ses_birth birth = {.all = all, .own = all->empty, .limits = &limits};
    return viv_ses__new(&birth, &all->nobody);
}

static enum viv_err fill_all(struct viv_sessions *all)
{
    const struct viv_res_kind functions = {
        .close = close_session, .destroy = destroy_session, .host_holds = host_holds};
    struct viv_caps *caps;
    VIV_TRY(viv_caps_new(&caps));
    const enum viv_err err = viv_capset_new(caps, &all->empty);
    viv_caps_free(caps);
    VIV_TRY(err);
    VIV_TRY(new_nobody(all));
    VIV_TRY(viv_res_kind_bind(all->config.reg, VIV_KIND_SESSION, &functions));
    return viv_del__bind(all->config.reg);
}

enum viv_err viv_sessions_new(const struct viv_sessions_config *config,
                              struct viv_sessions **out_all)
{
    struct viv_sessions *all = viv_try_calloc(1, sizeof *all, VIV_TAG_CAP);
    if (all == NULL) return VIV_E_EXHAUSTED;
    all->config = *config;
    all->sched = config->reg->sched;
    const enum viv_err err = fill_all(all);
    if (err == VIV_OK) {
        *out_all = all;
        return VIV_OK;
    }
    viv_sessions_free(all);
    return err;
}

void viv_sessions_free(VIV_OWN struct viv_sessions *all)
{
    viv_ses_drop(all->nobody);
    viv_capset_drop(all->empty);
    viv_free(all, sizeof *all, VIV_TAG_CAP);
}

enum viv_err viv_ses_find(struct viv_sessions *all, viv_rid rid, struct viv_session **out_session)
{
    struct viv_res *res;
    VIV_TRY(viv_res_pin(all->config.reg, rid, VIV_KIND_SESSION, &res));
    *out_session = viv_res_obj(res);
    viv_res_unpin(res); // destroyed a grace period later at the earliest
    return VIV_OK;
}

void viv_ses__audit(const struct viv_session *session, viv_pid pid, enum viv_audit_kind kind,
                    enum viv_cap cap, enum viv_err outcome)
{
    struct viv_audit *audit = session->tree->all->config.audit;
    if (audit == NULL) return;
    struct viv_audit_event event;
    viv_audit_init_event(&event, kind);
    event.pid = pid;
    event.session = session->id;
    event.environment = session->tree->environment;
    if (cap < VIV_CAP_COUNT) event.cap = (uint8_t)cap;
    event.outcome = outcome;
    viv_audit_write(audit, &event);
}

// ---- what a session is ----

const struct viv_limits *viv_ses_limits(const struct viv_session *session)
{
    return &session->limits;
}

struct viv_ses_id viv_ses_id(const struct viv_session *session)
{
    return session->id;
}

uint32_t viv_ses_environment(const struct viv_session *session)
{
    return session->tree->environment;
}

struct viv_sessions *viv_ses_all(const struct viv_session *session)
{
    return session->tree->all;
}

struct viv_audit *viv_ses_audit(const struct viv_session *session)
{
    return session->tree->all->config.audit;
}

bool viv_ses_is_root(const struct viv_session *session)
{
    return session->parent == NULL;
}

bool viv_ses_closes_on_revoke(const struct viv_session *session)
{
    return session->closes_on_revoke;
}

bool viv_ses_is_within(const struct viv_session *session, const struct viv_session *below)
{
    while (below != NULL && below->depth > session->depth)
        below = below->parent;
    return below == session;
}

struct viv_capset *viv_ses_ceiling(const struct viv_session *session)
{
    const struct viv_session *at = session;
    struct viv_ses_tree *tree = session->tree;
    viv_spin_lock(&tree->lock);
    struct viv_capset *set = at->ceiling;
    // What a parent holds is its own bound, and a root's.
    if (set == NULL) {
        if (at->parent != NULL) at = at->parent;
        set = atomic_load_explicit(&at->held, memory_order_relaxed); // relaxed: under the lock
    }
    set = viv_capset_take(set);
    viv_spin_unlock(&tree->lock);
    return set;
}

// ---- processes ----

static uint64_t limit_of(const struct viv_session *session, enum viv_ses_counter counter)
{
    return session->limits
        .bounds[counter == VIV_SES_PROCESSES ? VIV_POLICY_PROCESSES : VIV_POLICY_NATIVE]
        .value;
}

// A root counts no processes: its environment does, with a limit of its own.
static bool is_counting(const struct viv_session *session, enum viv_ses_counter counter)
{
    return session != NULL && (session->parent != NULL || counter == VIV_SES_NATIVE);
}

// Up to, and without, `end`.
static void sub_until(struct viv_session *session, const struct viv_session *end,
                      enum viv_ses_counter counter)
{
    for (; session != end && is_counting(session, counter); session = session->parent) {
        // Relaxed: a count.
        const uint64_t used =
            atomic_fetch_sub_explicit(&session->used[counter], 1, memory_order_relaxed);
        VIV_ASSERT(used > 0);
    }
}

static bool add_one(struct viv_session *session, enum viv_ses_counter counter)
{
    // Relaxed: a count; nothing is read because of it.
    uint64_t used = atomic_load_explicit(&session->used[counter], memory_order_relaxed);
    do {
        if (used >= limit_of(session, counter)) return false;
    } while (!atomic_compare_exchange_weak_explicit(&session->used[counter], &used, used + 1,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static enum viv_err add_all(struct viv_session *session, enum viv_ses_counter counter)
{
    for (struct viv_session *at = session; is_counting(at, counter); at = at->parent) {
        if (add_one(at, counter)) continue;
        sub_until(session, at, counter);
        return VIV_E_QUOTA;
    }
    return VIV_OK;
}

enum viv_err viv_ses_native_add(struct viv_session *session)
{
    return add_all(session, VIV_SES_NATIVE);
}

void viv_ses_native_sub(struct viv_session *session)
{
    sub_until(session, NULL, VIV_SES_NATIVE);
}

// Keeps its resource open. Errors: GONE, EXHAUSTED.
static enum viv_err hold(struct viv_session *session)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(session->tree->all->config.reg, session->rid, &state);
    const enum viv_err err = res != NULL ? viv_res__hold(res) : VIV_E_NOTFOUND;
    if (err != VIV_OK) return err == VIV_E_NOTFOUND ? VIV_E_GONE : err;
    // Relaxed: for the walker.
    atomic_fetch_add_explicit(&session->open_count, 1, memory_order_relaxed);
    return VIV_OK;
}

void viv_ses_let_go(VIV_OWN struct viv_session *session)
{
    atomic_fetch_sub_explicit(&session->open_count, 1, memory_order_relaxed); // relaxed: as above
    // The hold keeps the record as it is, also of a resource that has ended.
    viv_res__unhold(viv_res__at(session->tree->all->config.reg, (uint32_t)session->rid.w));
    viv_ses_drop(session);
}

enum viv_err viv_ses_bind(struct viv_session *session, struct viv_proc *child)
{
    if (session->parent == NULL) {
        if (viv_env_word(viv_proc_env(child), VIV_PROC_WORD_SESSION) != session)
            viv_proc_set_word(child, VIV_PROC_WORD_SESSION, session);
        return VIV_OK;
    }
    VIV_TRY(add_all(session, VIV_SES_PROCESSES));
    const enum viv_err err = hold(session);
    if (err != VIV_OK) {
        sub_until(session, NULL, VIV_SES_PROCESSES);
        return err;
    }
    viv_proc_set_word(child, VIV_PROC_WORD_SESSION, viv_ses_take(session));
    return VIV_OK;
}

enum viv_err viv_ses_inherit(const struct viv_proc *parent, struct viv_proc *child)
{
    struct viv_session *session = viv_proc_word(parent, VIV_PROC_WORD_SESSION);
    return session == NULL ? VIV_OK : viv_ses_bind(session, child);
}

void viv_ses_unbind(struct viv_proc *proc)
{
    struct viv_session *session = viv_proc_word(proc, VIV_PROC_WORD_SESSION);
    if (session == NULL) return; // the root's: what is left to do may be done under it
    viv_proc_set_word(proc, VIV_PROC_WORD_SESSION, session->tree->all->nobody);
    if (session->parent == NULL) return;
    sub_until(session, NULL, VIV_SES_PROCESSES);
    viv_ses_let_go(session);
}

// Whether `self` has started it, or somebody who has. A chain ends where somebody has died.
static uint32_t descent(const struct viv_proc *self, const struct viv_proc *other)
{
    const viv_pid me = viv_proc_pid(self);
    uint32_t relation = VIV_REL_CHILD | VIV_REL_DESCENDANT;
    for (int i = 0; i < DESCENT_MAX && other != NULL; i++) {
        const viv_pid parent = viv_proc_parent(other);
        if (viv_pid_eq(parent, VIV_PID_NONE)) return 0;
        if (viv_pid_eq(parent, me)) return relation;
        other = viv_proc_find(viv_proc_kernel(self), NULL, parent);
        relation = VIV_REL_DESCENDANT;
    }
    return 0;
}

uint32_t viv_ses_relation(const struct viv_proc *self, const struct viv_proc *other, uint32_t known)
{
    uint32_t relation = known & (VIV_REL_CHILD | VIV_REL_DESCENDANT);
    if ((relation & VIV_REL_CHILD) != 0) relation |= VIV_REL_DESCENDANT;
    if (self == other) return relation | VIV_REL_SELF | VIV_REL_ENV | VIV_REL_SESSION;
    relation |= descent(self, other);
    if (viv_proc_env(self) != viv_proc_env(other)) return relation;
    relation |= VIV_REL_ENV;
    const struct viv_session *here = viv_ses_of(self), *there = viv_ses_of(other);
    if (here != NULL && there != NULL && viv_ses_is_within(here, there))
        relation |= VIV_REL_SESSION;
    return relation;
}

// ---- hooks ----

void viv_ses_hook_end(void *all, struct viv_proc *proc)
{
    (void)all;
    viv_ses_unbind(proc);
}

void viv_ses_hook_leak(void *all, viv_pid pid)
{
    const struct viv_sessions *sessions = all;
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_ACCOUNT_LEAK);
    event.pid = pid;
    viv_audit_write(sessions->config.audit, &event);
}

void viv_ses_hook_orphaned(void *all, viv_pid pid, viv_rid rid)
{
    const struct viv_sessions *sessions = all;
    struct viv_audit_event event;
    char text[VIV_RID_TEXT_BYTES];
    viv_audit_init_event(&event, VIV_AUDIT_ORPHAN);
    event.pid = pid;
    (void)viv_rid_format(rid, text);
    viv_audit_set_object(&event, text, strlen(text));
    viv_audit_write(sessions->config.audit, &event);
}

void viv_ses_hook_guess(void *all, const struct viv_htab *tab)
{
    const struct viv_sessions *sessions = all;
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_ATTACH_GUESS);
    event.pid = tab->pid;
    event.operation = "res_attach";
    event.outcome = VIV_E_QUOTA;
    if (tab->session != NULL) {
        event.session = viv_ses_id(tab->session);
        event.environment = viv_ses_environment(tab->session);
    }
    viv_audit_write(sessions->config.audit, &event);
}
