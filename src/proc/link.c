// SPDX-License-Identifier: Apache-2.0
// Links and monitors. Both halves are allocated when the link or monitor is made; each half is also
// the signal that will be sent, so that neither unlinking nor telling of an end can fail.
//
//   A.links[B] ── is what B is told when A ends      link:   A keeps one half, the other travels as
//   LINK B.links[A] ── is what A is told when B ends      unlink: A's half travels as UNLINK and is
//   freed by B
//
// Crossing link and unlink: an entry remembers the counter of the last LINK it sent (mine) and
// received (theirs). UNLINK says how much of the receiver's counter its sender had seen; a LINK
// that was still under way then stays in force, on both sides. Threads: the process itself.
#include "proc/proc_int.h"

#include "base/hash.h"

static struct viv_link *find_link(struct viv_proc *self, viv_pid peer)
{
    struct viv_trie_node *node = viv_trie_find(&self->links, peer.w);
    return node == NULL ? NULL : viv_proc__link_of(node);
}

static struct viv_link *new_link(viv_pid from, int64_t tag)
{
    struct viv_link *link = viv_try_calloc(1, sizeof(*link), VIV_TAG_LINK);
    if (link == NULL) return NULL;
    link->sig = (struct viv_signal){.kind = VIV_SIG_LINK, .from = from, .tag = tag};
    return link;
}

// Sends to a pid of the same environment; an absent receiver bounces with noproc.
static void send_or_bounce(struct viv_proc *self, viv_pid to, struct viv_signal *sig)
{
    struct viv_kernel *kernel = self->env->kernel;
    struct viv_proc *target = viv_proc_find(kernel, self->env, to);
    if (target == NULL || !viv_proc__push(target, sig))
        viv_proc__bounce(kernel, to, sig, viv_reason_of(VIV_REASON_NOPROC));
}

enum viv_err viv_proc_link(struct viv_proc *self, viv_pid peer, int64_t tag)
{
    if (viv_pid_eq(self->pid, peer)) return VIV_OK;
    struct viv_link *theirs = new_link(self->pid, tag);
    if (theirs == NULL) return VIV_E_EXHAUSTED;
    struct viv_link *mine = find_link(self, peer);
    if (mine == NULL) {
        mine = new_link(self->pid, tag);
        if (mine == NULL) {
            viv_signal_drop(&theirs->sig);
            return VIV_E_EXHAUSTED;
        }
        viv_trie_insert(&self->links, peer.w, &mine->node);
    }
    mine->sig.tag = tag;
    mine->mine = ++self->link_seq;
    theirs->sig.seq = mine->mine;
    send_or_bounce(self, peer, &theirs->sig);
    return VIV_OK;
}

enum viv_err viv_proc_link_child(struct viv_proc *parent, struct viv_proc *child, int64_t child_tag)
{
    struct viv_link *mine = new_link(parent->pid, 0);
    struct viv_link *theirs = new_link(child->pid, child_tag);
    if (mine == NULL || theirs == NULL) {
        if (mine != NULL) viv_signal_drop(&mine->sig);
        if (theirs != NULL) viv_signal_drop(&theirs->sig);
        return VIV_E_EXHAUSTED;
    }
    mine->mine = theirs->theirs = ++parent->link_seq;
    viv_trie_insert(&parent->links, child->pid.w, &mine->node);
    viv_trie_insert(&child->links, parent->pid.w, &theirs->node);
    return VIV_OK;
}

void viv_proc_unlink(struct viv_proc *self, viv_pid peer)
{
    struct viv_link *link = find_link(self, peer);
    if (link == NULL) return;
    viv_trie_remove(&self->links, &link->node);
    link->sig.kind = VIV_SIG_UNLINK;
    link->sig.from = self->pid;
    link->sig.seq = link->theirs;
    send_or_bounce(self, peer, &link->sig); // bounced: dropped
}

void viv_proc__on_link(struct viv_proc *self, struct viv_link *link)
{
    struct viv_link *entry = find_link(self, link->sig.from);
    if (entry != NULL) {
        entry->sig.tag = link->sig.tag;
        entry->theirs = link->sig.seq;
        viv_signal_drop(&link->sig);
        return;
    }
    link->theirs = link->sig.seq;
    link->mine = 0;
    viv_trie_insert(&self->links, link->sig.from.w, &link->node);
}

void viv_proc__on_unlink(struct viv_proc *self, struct viv_link *unlink)
{
    struct viv_link *entry = find_link(self, unlink->sig.from);
    uint32_t seen = unlink->sig.seq;
    viv_signal_drop(&unlink->sig);
    if (entry == NULL) return;
    entry->theirs = 0;
    if (seen != 0 && (int32_t)(entry->mine - seen) <= 0) entry->mine = 0; // counters may wrap
    if (entry->mine != 0) return; // our LINK is still under way to it
    viv_trie_remove(&self->links, &entry->node);
    viv_signal_drop(&entry->sig);
}

bool viv_proc__take_link(struct viv_proc *self, viv_pid peer)
{
    struct viv_link *entry = find_link(self, peer);
    if (entry == NULL) return false;
    viv_trie_remove(&self->links, &entry->node);
    viv_signal_drop(&entry->sig);
    return true;
}

bool viv_proc__tell_links(struct viv_proc *self, uint32_t budget)
{
    struct viv_kernel *kernel = self->env->kernel;
    while (budget-- > 0) {
        struct viv_trie_node *node = viv_trie_pop(&self->links);
        if (node == NULL) return true;
        struct viv_link *link = viv_proc__link_of(node);
        struct viv_proc *peer = viv_proc_find(kernel, self->env, (viv_pid){node->key});
        link->sig.kind = VIV_SIG_EXIT;
        link->sig.linked = 1;
        link->sig.from = self->pid;
        link->reason = viv_reason_take(self->reason);
        if (peer == NULL || !viv_proc__push_exit(peer, &link->sig)) viv_signal_drop(&link->sig);
    }
    return false;
}

// ---- monitors ----

static uint64_t watcher_key(viv_pid watcher, uint64_t ref)
{
    return viv_mix_u64(watcher.w ^ viv_mix_u64(ref));
}

static bool is_watcher(const struct viv_trie_node *node, const void *arg)
{
    const struct viv_monitor *have =
        (const struct viv_monitor *)(const void *)((const char *)node -
                                                   offsetof(struct viv_monitor, node));
    const struct viv_monitor *want = arg;
    return have->ref == want->ref && viv_pid_eq(have->peer, want->peer);
}

// The watcher's record of its monitor.
static struct viv_monitor *new_monitor(viv_pid target, uint64_t ref)
{
    struct viv_monitor *monitor = viv_try_calloc(1, sizeof(*monitor), VIV_TAG_LINK);
    if (monitor == NULL) return NULL;
    monitor->sig.kind = VIV_SIG_DEMONITOR;
    monitor->peer = target;
    monitor->ref = ref;
    return monitor;
}

// The watched process's record of its watcher.
static struct viv_monitor *new_watcher(viv_pid watcher, uint64_t ref, int64_t tag)
{
    struct viv_monitor *monitor = new_monitor(watcher, ref);
    if (monitor != NULL)
        monitor->sig = (struct viv_signal){.kind = VIV_SIG_MONITOR, .from = watcher, .tag = tag};
    return monitor;
}

enum viv_err viv_proc_monitor(struct viv_proc *self, viv_pid peer, uint64_t ref, int64_t tag)
{
    if (viv_trie_find(&self->monitors, ref) != NULL) return VIV_OK;
    struct viv_monitor *mine = new_monitor(peer, ref);
    struct viv_monitor *theirs = new_watcher(self->pid, ref, tag);
    if (mine == NULL || theirs == NULL) {
        if (mine != NULL) viv_signal_drop(&mine->sig);
        if (theirs != NULL) viv_signal_drop(&theirs->sig);
        return VIV_E_EXHAUSTED;
    }
    viv_trie_insert(&self->monitors, ref, &mine->node);
    send_or_bounce(self, peer, &theirs->sig);
    return VIV_OK;
}

enum viv_err viv_proc_monitor_child(struct viv_proc *parent, struct viv_proc *child, uint64_t ref,
                                    int64_t tag)
{
    struct viv_monitor *mine = new_monitor(child->pid, ref);
    struct viv_monitor *theirs = new_watcher(parent->pid, ref, tag);
    if (mine == NULL || theirs == NULL) {
        if (mine != NULL) viv_signal_drop(&mine->sig);
        if (theirs != NULL) viv_signal_drop(&theirs->sig);
        return VIV_E_EXHAUSTED;
    }
    viv_trie_insert(&parent->monitors, ref, &mine->node);
    viv_trie_insert(&child->watchers, watcher_key(parent->pid, ref), &theirs->node);
    return VIV_OK;
}

static void send_demonitor(struct viv_proc *self, struct viv_monitor *mine)
{
    mine->sig.kind = VIV_SIG_DEMONITOR;
    mine->sig.from = self->pid;
    struct viv_proc *target = viv_proc_find(self->env->kernel, self->env, mine->peer);
    if (target == NULL || !viv_proc__push(target, &mine->sig)) viv_signal_drop(&mine->sig);
}

bool viv_proc_demonitor(struct viv_proc *self, uint64_t ref)
{
    struct viv_trie_node *node = viv_trie_find(&self->monitors, ref);
    if (node == NULL) return false;
    viv_trie_remove(&self->monitors, node);
    send_demonitor(self, viv_proc__monitor_of(node));
    return true;
}

void viv_proc__on_monitor(struct viv_proc *self, struct viv_monitor *monitor)
{
    viv_trie_insert(&self->watchers, watcher_key(monitor->peer, monitor->ref), &monitor->node);
}

void viv_proc__on_demonitor(struct viv_proc *self, struct viv_monitor *demonitor)
{
    struct viv_monitor want = {.peer = demonitor->sig.from, .ref = demonitor->ref};
    struct viv_trie_node *node =
        viv_trie_find_equal(&self->watchers, watcher_key(want.peer, want.ref), is_watcher, &want);
    viv_signal_drop(&demonitor->sig);
    if (node == NULL) return;
    viv_trie_remove(&self->watchers, node);
    viv_signal_drop(&viv_proc__monitor_of(node)->sig);
}

bool viv_proc__take_monitor(struct viv_proc *self, uint64_t ref)
{
    struct viv_trie_node *node = viv_trie_find(&self->monitors, ref);
    if (node == NULL) return false;
    viv_trie_remove(&self->monitors, node);
    viv_signal_drop(&viv_proc__monitor_of(node)->sig);
    return true;
}

bool viv_proc__tell_watchers(struct viv_proc *self, uint32_t budget)
{
    while (budget-- > 0) {
        struct viv_trie_node *node = viv_trie_pop(&self->monitors);
        if (node != NULL) {
            send_demonitor(self, viv_proc__monitor_of(node));
            continue;
        }
        node = viv_trie_pop(&self->watchers);
        if (node == NULL) return true;
        struct viv_monitor *down = viv_proc__monitor_of(node);
        struct viv_proc *watcher = viv_proc_find(self->env->kernel, self->env, down->peer);
        down->sig.kind = VIV_SIG_DOWN;
        down->sig.from = self->pid;
        down->reason = viv_reason_take(self->reason);
        if (watcher == NULL || !viv_proc__push(watcher, &down->sig)) viv_signal_drop(&down->sig);
    }
    return false;
}

void viv_proc_forget_child(struct viv_proc *parent, viv_pid child, uint64_t ref)
{
    (void)viv_proc__take_link(parent, child);
    (void)viv_proc__take_monitor(parent, ref);
}
