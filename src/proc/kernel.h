// SPDX-License-Identifier: Apache-2.0
// The kernel: scheduler, process table, environments, hooks. One a program as a rule, but nothing
// forbids more.
#ifndef VIV_PROC_KERNEL_H
#define VIV_PROC_KERNEL_H

#include "proc/pid.h"
#include "proc/reason.h"
#include "sched/sched.h"

struct viv_kernel;
struct viv_env;
struct viv_proc;

struct viv_kernel_config {
    uint32_t worker_count;    // 0: CPUs available
    struct viv_sched_env env; // zero: the host's clock and threads
};

// Errors: EXHAUSTED, INVAL.
enum viv_err viv_kernel_new(const struct viv_kernel_config *config,
                            struct viv_kernel **out_kernel) VIV_MUST_CHECK;
enum viv_err viv_kernel_start(struct viv_kernel *kernel) VIV_MUST_CHECK;
// Kills every process and waits until they have ended; none can be spawned any more. Thread: no
// worker. Blocks. Errors: TIMEOUT.
enum viv_err viv_kernel_kill_all(struct viv_kernel *kernel, uint64_t timeout_ns) VIV_MUST_CHECK;
// Kills every process, waits until they have ended (at most timeout_ns), then stops the scheduler.
// Thread: no worker. Blocks. Errors: TIMEOUT (some did not end; the kernel is stopped all the
// same).
enum viv_err viv_kernel_stop(struct viv_kernel *kernel, uint64_t timeout_ns) VIV_MUST_CHECK;
bool viv_kernel_is_stopping(const struct viv_kernel *kernel); // any thread
void viv_kernel_free(struct viv_kernel *kernel);
struct viv_sched *viv_kernel_sched(struct viv_kernel *kernel);

// Hooks, set before start. end: called in slices at the end of every process (of one that never
// was born, too), after its body's release and before links are told, until it returns true (rooms
// above release what the process holds); once a turn of the worker, so a call may take a
// millisecond. failed: once for every
// end that is not normal, on its worker.
void viv_kernel_on_end(struct viv_kernel *kernel,
                       bool (*end)(void *arg, struct viv_proc *proc,
                                   const struct viv_reason *reason),
                       void *arg);
void viv_kernel_on_failed(struct viv_kernel *kernel,
                          void (*failed)(void *arg, struct viv_proc *proc,
                                         const struct viv_reason *reason, uint64_t links_told),
                          void *arg);
// once for every end, after links and monitors were told; the last thing that happens to it.
void viv_kernel_on_ended(struct viv_kernel *kernel,
                         void (*ended)(void *arg, viv_pid pid, const struct viv_reason *reason),
                         void *arg);

uint64_t viv_kernel_proc_count(const struct viv_kernel *kernel);
// Calls visit for each live process; a process born or ended meanwhile may be missed. Thread: in a
// read section.
void viv_kernel_each_proc(struct viv_kernel *kernel,
                          void (*visit)(void *arg, struct viv_proc *proc), void *arg);
// The same in pieces: of up to n slots from *slot on (0 to begin). True: through.
bool viv_kernel_each_some(struct viv_kernel *kernel, uint32_t *slot, uint32_t n,
                          void (*visit)(void *arg, struct viv_proc *proc), void *arg);

// ---- environments: processes that see each other's pids and names ----
struct viv_env_limits {
    uint64_t proc_max, name_max, timer_max;
    uint64_t mailbox_count, mailbox_bytes; // defaults of its processes; 0: none
    uint32_t mailbox_policy;               // enum viv_mailbox_policy
};
void viv_env_limits_default(struct viv_env_limits *out);
// number: what its processes are told (environment_id). Lives as long as the kernel. Errors:
// EXHAUSTED.
enum viv_err viv_env_new(struct viv_kernel *kernel, uint32_t number,
                         const struct viv_env_limits *limits,
                         struct viv_env **out_env) VIV_MUST_CHECK;
uint32_t viv_env_number(const struct viv_env *env);
struct viv_kernel *viv_env_kernel(const struct viv_env *env);
uint64_t viv_env_proc_count(const struct viv_env *env);
// What rooms above keep with an environment, and with a process (proc.h). This room never looks at
// it; who sets a word frees it (for a process: in the end hook). Any thread; NULL at first.
enum viv_proc_word {
    VIV_PROC_WORD_HOLDER,  // what room cap knows of it
    VIV_PROC_WORD_SESSION, // what it may do
    VIV_PROC_WORD_FAMILY,  // whom it acts for, as long as it may (wasm/family.h)
    VIV_PROC_WORDS
};
void *viv_env_word(const struct viv_env *env, enum viv_proc_word word);
void viv_env_set_word(struct viv_env *env, enum viv_proc_word word, void *value);
// Kills all its processes; they end soon after. Thread: in a read section.
void viv_env_kill(struct viv_env *env);
// In pieces, as viv_kernel_each_some.
bool viv_env_kill_some(struct viv_env *env, uint32_t *slot, uint32_t n);
// Counts a pending timer of the environment. Errors: QUOTA.
enum viv_err viv_env_timer_add(struct viv_env *env) VIV_MUST_CHECK;
void viv_env_timer_sub(struct viv_env *env);

// ---- names: UTF-8 or any bytes, up to VIV_NAME_BYTES_MAX, per environment ----
struct viv_name_value {
    uint64_t node; // 0: this kernel
    viv_pid pid;
};
// Binds or rebinds; node 0 and a pid that is not alive: unbinds. exclusive: EXISTS when bound to
// another live process. Errors: QUOTA, TOOBIG, EXISTS, EXHAUSTED.
enum viv_err viv_name_put(struct viv_env *env, const void *name, size_t len,
                          struct viv_name_value value, bool exclusive) VIV_MUST_CHECK;
// Errors: NOTFOUND (unbound, reserved, or bound to the dead).
enum viv_err viv_name_get(struct viv_env *env, const void *name, size_t len,
                          struct viv_name_value *out) VIV_MUST_CHECK;
void viv_name_remove(struct viv_env *env, const void *name, size_t len);
// For get_or_spawn. VIV_OK: found, *out is written. NOTFOUND: now reserved for `by`, which must
// settle. BUSY: another process has it reserved; `by` is woken when that is settled and tries
// again. Errors: QUOTA, TOOBIG, EXHAUSTED.
enum viv_err viv_name_reserve(struct viv_env *env, const void *name, size_t len, viv_pid by,
                              struct viv_name_value *out) VIV_MUST_CHECK;
// Ends a reservation: binds to pid, or (VIV_PID_NONE) to nothing; a put meanwhile wins. Wakes the
// waiters.
void viv_name_settle(struct viv_env *env, const void *name, size_t len, viv_pid by, viv_pid pid);

#endif
