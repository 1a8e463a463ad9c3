// SPDX-License-Identifier: Apache-2.0
// What the files of proc/ share: the process, the kernel, the environment, the table.
#ifndef VIV_PROC_PROC_INT_H
#define VIV_PROC_PROC_INT_H

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "base/sim.h"
#include "base/spin.h"
#include "proc/proc.h"

enum viv_phase {
    VIV_PHASE_UNBORN,
    VIV_PHASE_ALIVE,
    VIV_PHASE_LEAVE,     // 1. leave table and names, close the inbox
    VIV_PHASE_RELEASE,   // 2. body's release, end hook, mailbox
    VIV_PHASE_LOG,       // 3. failure hook
    VIV_PHASE_LINKS,     // 4. exit signals
    VIV_PHASE_WATCH,     // 5. own monitors withdrawn, down signals
    VIV_PHASE_FREE,      // 6. memory
    VIV_PHASE_STILLBORN, // ended before birth: 2, then memory
};

struct viv_proc {
    struct viv_task task; // first: the scheduler hands it back
    // immutable after birth
    viv_pid pid;
    struct viv_env *env;
    const struct viv_body *body;
    void *state;
    const struct viv_proc_limits *limits; // NULL: the environment's
    const char *name;
    viv_pid parent; // who started it; none: nobody
    uint64_t born_ns;
    // any worker (atomic)
    _Atomic(struct viv_signal *) inbox; // stack, newest first; &viv_proc__closed once ended
    _Atomic uint32_t killed;            // a kill is pending
    _Atomic uint32_t has_names;         // names may be bound to it
    _Atomic uint64_t queued_count;      // policies refuse and suspend only: messages in the inbox
    _Atomic uint64_t queued_bytes;
    _Atomic bool is_pause_listed;       // it waits for room on the list of some receiver
    _Atomic(struct viv_pause *) pauses; // stack of senders that wait for room (pause.c)
    struct viv_signal kill_sig;         // reserved: a kill never allocates
    _Atomic(void *) words[VIV_PROC_WORDS];
    // this process only
    struct viv_signal *held; // taken from the inbox, not yet handled (suspended), oldest first
    struct viv_mbox mbox;
    struct viv_trie links;    // struct viv_link by peer
    struct viv_trie monitors; // struct viv_monitor by ref
    struct viv_trie watchers; // struct viv_monitor by mix(peer, ref)
    const struct viv_reason *reason;
    uint64_t links_told;
    uint64_t last_ref;
    uint32_t link_seq;
    uint32_t suspends;
    uint16_t flags;
    uint8_t phase; // enum viv_phase
    uint8_t send_pause;
    bool tells_room;  // its mailbox has the policy suspend, and had messages
    viv_pid pause_on; // the receiver whose mailbox it waits for, or none
    // this process writes, others read as a hint (relaxed)
    _Atomic uint64_t reductions, cpu_ns, sent, received, memory_bytes, mbox_count, mbox_bytes;
    struct viv_timer alarm;
    union {
        struct viv_list names;     // under env->names_lock
        struct viv_qsbr_item free; // after the end
    };
};

struct viv_table_entry {
    _Atomic(struct viv_proc *) proc;
    uint32_t serial, next_free;
};

struct viv_slot_cache {
    VIV_CACHE_ALIGNED uint32_t count;
    uint32_t slot[64];
};

struct viv_table {
    _Atomic(struct viv_table_entry *) segment[1u << (VIV_PID_SLOT_BITS - 12)];
    struct viv_spin lock; // guards the rest
    uint32_t free_first, free_last;
    _Atomic uint32_t fresh;        // slots from here on were never used
    struct viv_slot_cache *caches; // one a worker, used by it alone
    uint32_t cache_count;
};

struct viv_env {
    struct viv_kernel *kernel;
    struct viv_env *next; // under kernel->env_lock
    uint32_t number;
    struct viv_env_limits limits;
    struct viv_proc_limits proc_limits;
    _Atomic(void *) words[VIV_PROC_WORDS]; // read at every turn, hence not beside the counters
    VIV_CACHE_ALIGNED _Atomic uint64_t proc_count;
    _Atomic uint64_t timer_count;
    struct viv_spin names_lock;
    struct viv_trie names; // struct name (names.c) by hash
};

struct viv_kernel {
    struct viv_sched *sched;
    struct viv_table table;
    struct viv_spin env_lock;
    struct viv_env *envs;
    bool (*end)(void *arg, struct viv_proc *proc, const struct viv_reason *reason);
    void *end_arg;
    void (*failed)(void *arg, struct viv_proc *proc, const struct viv_reason *reason,
                   uint64_t links_told);
    void *failed_arg;
    void (*ended)(void *arg, viv_pid pid, const struct viv_reason *reason);
    void *ended_arg;
    VIV_CACHE_ALIGNED _Atomic uint64_t proc_count;
    _Atomic uint32_t stopping; // no new processes
    _Atomic uint32_t drained;  // futex word: changes when proc_count reaches 0 while stopping
};

extern struct viv_signal
    viv_proc__closed; // marks the inbox of an ended process; never dereferenced

// proc.c: everything but the struct itself, of a process that was never born
void viv_proc__unmake(struct viv_proc *proc);
// table.c
enum viv_err viv_proc__table_init(struct viv_table *table, uint32_t worker_count);
void viv_proc__table_deinit(struct viv_table *table);
enum viv_err viv_proc__table_reserve(struct viv_table *table, viv_pid *out_pid);
void viv_proc__table_publish(struct viv_table *table, struct viv_proc *proc);
void viv_proc__table_release(struct viv_table *table, viv_pid pid);
// signal.c: false: closed; the signal is still the caller's.
// ---- pause.c ----
void viv_proc__pause(struct viv_proc *self, const struct viv_proc *to); // self sent too much
void viv_proc__tell_room(struct viv_proc *self);  // it has published what its mailbox holds
void viv_proc__end_pauses(struct viv_proc *self); // it is in the table no more

bool viv_proc__push(struct viv_proc *to, struct viv_signal *sig);
// Appends what was taken from the inbox (a chain, newest first) to `held`, oldest first.
void viv_proc__hold(struct viv_proc *self, struct viv_signal *newest);
void viv_proc__push_self(struct viv_proc *self, struct viv_signal *sig);
// For signals that may end the receiver: one that runs on and on comes to a signal point soon.
bool viv_proc__push_exit(struct viv_proc *to, struct viv_signal *sig);
// A signal that met a closed inbox, or was left in one: answers what must be answered, drops the
// rest. `reason` is the receiver's.
void viv_proc__bounce(struct viv_kernel *kernel, viv_pid receiver, struct viv_signal *sig,
                      const struct viv_reason *reason);
// link.c
void viv_proc__on_link(struct viv_proc *self, struct viv_link *link);
void viv_proc__on_unlink(struct viv_proc *self, struct viv_link *unlink);
bool viv_proc__take_link(struct viv_proc *self, viv_pid peer); // drops the entry; false: none
void viv_proc__on_monitor(struct viv_proc *self, struct viv_monitor *monitor);
void viv_proc__on_demonitor(struct viv_proc *self, struct viv_monitor *demonitor);
bool viv_proc__take_monitor(struct viv_proc *self, uint64_t ref);
bool viv_proc__tell_links(struct viv_proc *self, uint32_t budget);    // true: all told
bool viv_proc__tell_watchers(struct viv_proc *self, uint32_t budget); // true: all told
// exit.c
enum viv_turn_end viv_proc__end_slice(struct viv_proc *self, struct viv_slice *slice);
// names.c
void viv_proc__names_forget(struct viv_proc *self);
void viv_proc__names_deinit(struct viv_env *env);
// proc.c
enum viv_turn_end viv_proc__run(void *arg, struct viv_task *task, struct viv_slice *slice);

static inline struct viv_link *viv_proc__link_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct viv_link, node);
}

static inline struct viv_monitor *viv_proc__monitor_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct viv_monitor, node);
}

#endif
