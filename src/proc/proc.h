// SPDX-License-Identifier: Apache-2.0
// Processes of every kind: birth, signals, the slice, the end. A body is a table of functions; this
// room knows nothing of Wasm values or terms.
//
//   new ──> born ──> slices: handle signals, body->step ──> end: leave table, release, tell links,
//   tell monitors, free
//
// Invariants: only the process itself (on the worker that runs it) touches its mailbox, links and
// monitors. Others push signals into its inbox: one atomic operation. From one sender signals
// arrive in the order sent. Nothing follows a down. A struct viv_proc * found through a pid is
// valid until the caller's next quiescent state (base/qsbr.h).
#ifndef VIV_PROC_PROC_H
#define VIV_PROC_PROC_H

#include "proc/kernel.h"
#include "proc/signal.h"
#include "sched/timer.h"

struct viv_proc;

enum viv_step {
    VIV_STEP_YIELD, // has more to do
    VIV_STEP_WAIT,  // until a signal, timer or viv_proc_wake; wake-ups may be spurious
    VIV_STEP_DONE,  // ended with the reason set by viv_proc_set_reason (else normal)
};

// What a process executes. All run on the worker that runs the process, except where said.
struct viv_body {
    const char *name;      // "wasm", "host", …
    bool takes_bytes_only; // senders refuse to send handles to it
    // One slice; pending signals have been handled. Counts slice->left down by what it used.
    enum viv_step (*step)(struct viv_proc *proc, void *state, struct viv_slice *slice);
    // Optional. A message is about to enter the mailbox; true: the body consumed it.
    bool (*deliver)(struct viv_proc *proc, void *state, VIV_OWN struct viv_signal *sig);
    // Optional, for bodies that end in their own time. It is to end for this reason (exit, kill, a
    // limit); called for each such signal, also when it is ending already. The process goes on
    // until its step returns VIV_STEP_DONE. Without it the process ends at once.
    void (*end)(struct viv_proc *proc, void *state, VIV_OWN const struct viv_reason *reason);
    // Optional, for bodies whose code does not run in their step: stops it, or lets it go on. Their
    // step is called while they are suspended.
    void (*suspend)(struct viv_proc *proc, void *state, bool is_suspended);
    // Optional. Releases what the process holds for others to see (files, timers, ids) before links
    // are told. Called until it returns true; each call does a bounded amount of work.
    bool (*release)(struct viv_proc *proc, void *state);
    // Frees the state. After the links were told. Also called for a process that was never born.
    void (*destroy)(struct viv_proc *proc, void *state);
};

enum {
    VIV_PROC_TRAP_EXITS = 1u << 0,  // exits of links become EXIT signals in the mailbox
    VIV_PROC_TRAP_NORMAL = 1u << 1, // … normal ones too
};

enum viv_mailbox_policy { VIV_MAILBOX_KILL, VIV_MAILBOX_REFUSE, VIV_MAILBOX_SUSPEND };
struct viv_proc_limits {
    uint64_t mailbox_count, mailbox_bytes; // 0: none
    enum viv_mailbox_policy mailbox_policy;
    uint64_t life_ns, cpu_ns; // 0: none
};

struct viv_proc_spec {
    struct viv_env *env;
    const struct viv_body *body;
    void *state; // the body's; owned by the process from a successful viv_proc_new on
    enum viv_prio prio;
    uint32_t flags;                       // VIV_PROC_TRAP_…
    const struct viv_proc_limits *limits; // NULL: the environment's defaults
    const char *name; // for people; borrowed for as long as the process lives; may be NULL
    viv_pid parent;   // who starts it; none: nobody
};

// Makes a process that nobody can see yet. Errors: EXHAUSTED (memory, pids), QUOTA (environment).
enum viv_err viv_proc_new(const struct viv_proc_spec *spec,
                          struct viv_proc **out_proc) VIV_MUST_CHECK;
// Links the unborn child with the parent, whose slice this is (its own thread). child_tag: what the
// parent is told when the child ends. Errors: EXHAUSTED.
enum viv_err viv_proc_link_child(struct viv_proc *parent, struct viv_proc *child,
                                 int64_t child_tag) VIV_MUST_CHECK;
// The same for a monitor with the given ref and tag.
enum viv_err viv_proc_monitor_child(struct viv_proc *parent, struct viv_proc *child, uint64_t ref,
                                    int64_t tag) VIV_MUST_CHECK;
// Withdraws both, when the birth failed; nobody is told.
void viv_proc_forget_child(struct viv_proc *parent, viv_pid child, uint64_t ref);
// From now on it exists for others and is runnable.
void viv_proc_born(struct viv_proc *proc);
// Runs the body of an unborn process, so that it can prepare itself: it calls viv_proc_publish in
// its own step when it is ready, or ends (VIV_STEP_DONE), which nobody is told.
void viv_proc_incubate(struct viv_proc *proc);
void viv_proc_publish(struct viv_proc *self);
bool viv_proc_is_born(const struct viv_proc *self);
// Kills a process that is being incubated; the caller knows that it has neither published itself
// nor ended. Any thread.
void viv_proc_kill_unborn(struct viv_proc *proc);
// Ends one that was never born nor incubated; its pid is burnt.
void viv_proc_abandon(VIV_OWN struct viv_proc *proc);

// ---- of the process whose slice this is ----
viv_pid viv_proc_pid(const struct viv_proc *proc);
struct viv_env *viv_proc_env(const struct viv_proc *proc);
viv_pid viv_proc_parent(const struct viv_proc *proc); // any thread; it may have ended long ago
struct viv_kernel *viv_proc_kernel(const struct viv_proc *proc);
void *viv_proc_state(const struct viv_proc *proc);
const struct viv_body *viv_proc_body(const struct viv_proc *proc); // any thread
struct viv_mbox *viv_proc_mbox(struct viv_proc *proc);
// What rooms above keep with the process (kernel.h). Any thread may read; set by the process, or by
// who makes it before it is born.
void *viv_proc_word(const struct viv_proc *proc, enum viv_proc_word word);
void viv_proc_set_word(struct viv_proc *proc, enum viv_proc_word word, void *value);
// Sets a word that is NULL; returns what it holds then. Thread: any, in a read section.
void *viv_proc_claim_word(struct viv_proc *proc, enum viv_proc_word word, void *value);
// Its own, or the environment's defaults.
const struct viv_proc_limits *viv_proc_get_limits(const struct viv_proc *proc);
uint32_t viv_proc_flags(const struct viv_proc *proc);
void viv_proc_set_flags(struct viv_proc *proc, uint32_t set, uint32_t clear);
// The process will end with this reason at the end of the step; the first one wins.
void viv_proc_set_reason(struct viv_proc *proc, VIV_OWN const struct viv_reason *reason);
enum viv_point {
    VIV_POINT_GO,
    VIV_POINT_SUSPENDED, // the body returns VIV_STEP_WAIT without running guest code
    VIV_POINT_END, // the reason is set; the body returns VIV_STEP_DONE without running guest code
};
// A signal point: handles everything that is in the inbox now, in order.
enum viv_point viv_proc_handle_signals(struct viv_proc *proc) VIV_MUST_CHECK;
bool viv_proc_has_signals(
    const struct viv_proc *proc); // the inbox is not empty: a hint for bodies that poll
bool viv_proc_is_killed(
    const struct viv_proc *proc); // any thread: a kill is pending; the body should stop soon
// One wake-up timer a process. Starting it again replaces it. deadline VIV_FOREVER_NS: none.
void viv_proc_set_alarm(struct viv_proc *proc, uint64_t deadline_ns);
void viv_proc_clear_alarm(struct viv_proc *proc);
bool viv_proc_is_watched(const struct viv_proc *proc); // somebody links or monitors it
uint64_t viv_proc_next_ref(struct viv_proc *proc);     // 1, 2, 3 …
void viv_proc_add_cpu_ns(struct viv_proc *proc, uint64_t ns);
uint64_t viv_proc_cpu_ns(const struct viv_proc *proc);
void viv_proc_set_memory_bytes(struct viv_proc *proc, uint64_t bytes); // what info reports
const struct viv_reason *viv_proc_reason(
    const struct viv_proc *proc); // NULL while none is set; borrowed
// The mailbox policy `suspend` of a receiver holds the process up: the body returns VIV_STEP_WAIT
// without running guest code, and is woken when there may be room or nobody to wait for. Asked at
// the begin of a step.
bool viv_proc_is_paused(struct viv_proc *proc);
// True once after a send that began a pause: the slice ends at the next opportunity.
bool viv_proc_take_send_pause(struct viv_proc *proc);
bool viv_proc_has_send_pause(const struct viv_proc *proc); // it will be true

// ---- signals; self is the process whose slice this is ----
enum viv_send {
    VIV_SEND_OK,
    VIV_SEND_ABSENT,  // no such process in the environment; the message was dropped
    VIV_SEND_REFUSED, // mailbox policy refuse; dropped
};
enum viv_send viv_proc_send(struct viv_proc *self, viv_pid to, VIV_OWN struct viv_msg *msg);
// From outside any process (timers, host threads in a read section); from may be VIV_PID_NONE.
enum viv_send viv_env_send(struct viv_env *env, viv_pid from, viv_pid to,
                           VIV_OWN struct viv_msg *msg);
// The same, but the message is consumed on OK only: for callers under a lock, where nothing may be
// dropped.
enum viv_send viv_env_offer(struct viv_env *env, viv_pid from, viv_pid to,
                            struct viv_msg *msg) VIV_MUST_CHECK;
// tag: what self and peer are told of each other (0: none). Errors: EXHAUSTED.
enum viv_err viv_proc_link(struct viv_proc *self, viv_pid peer, int64_t tag) VIV_MUST_CHECK;
void viv_proc_unlink(struct viv_proc *self, viv_pid peer);
// A second call with a ref in use changes nothing. Errors: EXHAUSTED.
enum viv_err viv_proc_monitor(struct viv_proc *self, viv_pid peer, uint64_t ref,
                              int64_t tag) VIV_MUST_CHECK;
// False: no such ref. A down signal in the mailbox stays (see viv_mbox_remove_down).
bool viv_proc_demonitor(struct viv_proc *self, uint64_t ref);
// Kill signal. False: absent. Thread: any in a read section; self may be NULL.
bool viv_proc_kill(struct viv_env *env, viv_pid pid);
// Exit signal that is not of a link. Errors: NOTFOUND, EXHAUSTED.
enum viv_err viv_proc_exit(struct viv_proc *self, viv_pid peer,
                           VIV_OWN const struct viv_reason *reason) VIV_MUST_CHECK;
// Sends itself flag changes (VIV_PROC_TRAP_…), effective at the next signal point in order. Errors:
// EXHAUSTED.
enum viv_err viv_proc_send_flags(struct viv_proc *self, uint32_t set,
                                 uint32_t clear) VIV_MUST_CHECK;
// Errors: NOTFOUND, EXHAUSTED. Suspends nest.
enum viv_err viv_proc_suspend(struct viv_env *env, viv_pid pid) VIV_MUST_CHECK;
enum viv_err viv_proc_resume(struct viv_env *env, viv_pid pid) VIV_MUST_CHECK;

// ---- any thread in a read section ----
// NULL: not alive, or of another environment (env NULL: any).
struct viv_proc *viv_proc_find(struct viv_kernel *kernel, const struct viv_env *env, viv_pid pid);
bool viv_proc_exists(struct viv_env *env, viv_pid pid);
// What the woken process shall see must have been published by a seq_cst read-modify-write before.
void viv_proc_wake(struct viv_proc *proc);
bool viv_proc_wake_pid(struct viv_kernel *kernel, viv_pid pid); // false: absent

struct viv_proc_info {
    viv_pid pid;
    uint32_t env_id;
    const char *body, *name;
    uint64_t reductions, cpu_ns, age_ns, sent, received;
    uint64_t mailbox_count, mailbox_bytes, memory_bytes;
    bool running;
};
// Counters of a running process are a moment's view. Errors: NOTFOUND.
enum viv_err viv_proc_info(struct viv_kernel *kernel, viv_pid pid,
                           struct viv_proc_info *out) VIV_MUST_CHECK;

#endif
