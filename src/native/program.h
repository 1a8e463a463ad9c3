// SPDX-License-Identifier: Apache-2.0
// A program, within this room: what it consists of, and who may touch what of it.
//
// It is counted by: the room's tables until it is released, its process until that has ended, its
// resource in the registry, and calls that are parked on it. Its process's step reads, signals,
// waits and keeps its timers; others leave orders under its lock and wake it.
#ifndef VIV_NATIVE_PROGRAM_H
#define VIV_NATIVE_PROGRAM_H

#include "native/care/care.h"
#include "native/environ.h"
#include "native/native_int.h"
#include "native/owner.h"
#include "native/ports.h"
#include "native/spill_io.h"
#include "sched/io.h"

enum { VIV_WAITS = 6 };
enum { VIV_PROGRAM_READY_FD = 3 }; // a program's descriptor, VIV_READY_FD
struct viv_program_wait {
    struct viv_io_wait io;
    struct viv_program *program;
    uint32_t bit; // VIV_READY_
};

enum viv_native_freeze { VIV_FREEZE_NONE, VIV_FREEZE_ON, VIV_FREEZE_OFF };

// What others want of the step. Under the program's lock; the step takes all of it at once.
struct viv_native_orders {
    uint64_t group_signals, leader_signals; // bit n - 1: signal n
    enum viv_native_cause stop;             // NONE: no stop asked for
    uint64_t grace_ns;                      // of that stop
    int stop_signal;                        // of that stop; 0: its own
    bool start, kill, moved, drained, has_size, end_stdin,
        end_terminal; // moved: in the queue of stdin
    enum viv_native_freeze freeze;
    uint32_t knobs;                            // bits of those that were set
    bool has_label, has_overflow, has_deadman; // those were set
    uint32_t close_output;                     // bits of streams
    uint16_t rows, columns;
};

struct viv_program {
    // Immutable from the commit of its spawn on:
    struct viv_native *native;
    struct viv_native_scope *scope;
    struct viv_native_req req;
    struct viv_prog_entry *id; // until it is released
    char digest[17];
    uint8_t cursor_key[VIV_SIPHASH_KEY_BYTES];
    uint64_t number;
    viv_pid pid;
    viv_rid owner;    // of its resource; 0: the runtime
    viv_rid resource; // 0: none
    char *exe;        // resolved
    struct viv_session *session;
    uint32_t weak, left_out;        // as the status
    uint64_t unenforced;            // likewise
    struct viv_native_ports *ports; // it is held to with the host's network; NULL: to none
    bool has_group;                 // a control group
    uint64_t asked_ns;
    viv_pid caller; // who asked for it; none: no process
    uint32_t environment;
    enum viv_cap refused; // class that was missing; 0: none was (class 0 is not asked for here)
    struct viv_audit_detail *audit; // of its record, made ahead; until that is written
    bool audit_is_reserved;
    struct viv_native_guard guard; // the launch's, until the commit

    _Atomic uint32_t refs;
    struct viv_qsbr_item retired;

    // Under the room's lock:
    struct viv_trie_node pid_node, number_node, key_node;
    struct viv_list in_scope, in_room;
    bool is_listed, has_key; // in by_key

    // The spawn, while it lasts; the launch thread's while the job runs, else the step's:
    struct viv_launch_job job;
    struct viv_launch_result launched;
    uint64_t posted_ns;
    _Atomic bool launch_is_done;
    _Atomic uint64_t launch_began_ns; // 0: waits for its turn
    struct viv_native_call *spawner;  // under `lock`; NULL: it has ended, or was told
    struct viv_native_quota reserved;
    enum viv_err launch_err;
    struct viv_diag launch_diag;
    int child_fds[VIV_LAUNCH_FDS_MAX], cwd_fd; // 0 to 3
    int outer_fd;                              // of what became init's parent, for a moment
    bool is_init_known, is_init_ready;
    // What init told before its launch was done.
    bool has_early_exit, is_early_gone;
    struct viv_frame_exit early_exit;
    viv_pid key_holder;
    _Atomic bool launch_is_late; // it was killed for that

    // The step's; while the program is launched the launch's.
    struct viv_proc *proc;
    struct viv_care care;
    struct viv_program_wait waits[VIV_WAITS]; // one for each bit of VIV_READY_
    struct viv_program_spill *spill;          // NULL: none
    struct viv_held *held; // NULL: this kernel has all of it; else a holder (held.h)
    void *block;           // of the request, for the holder's record
    size_t block_bytes;
    int init_fd; // as init told; the launch's until it is done
    uint64_t cgroup_number;
    bool is_group_limited;
    _Atomic uint32_t ready;          // VIV_READY_ bits, set by I/O
    const struct viv_reason *broken; // of a link
    uint64_t refused_messages;
    bool is_prepared, is_starting; // held: pipes are there; the start was ordered
    bool is_launching;             // and is under way on a spawner thread, which has all
    bool is_on_hold;               // held, and no process of the system is there yet

    // Under care.lock:
    struct viv_native_orders orders;
    bool release_at_exit, is_suspended, is_counted; // is_counted: below its session
    // Parked calls; readers: of each stream.
    struct viv_list writers, waiters, stoppers, starters, readers[2], both_readers;
    bool is_handed;             // a holder has it: orders and input go there
    uint32_t overflow;          // enum viv_native_overflow, in force
    uint64_t deadman_ms;        // CLOCK_BOOTTIME, in force; VIV_NATIVE_NONE
    char label[VIV_LABEL_SIZE]; // written under the room's lock, too: read under either (set.c)
    struct viv_list watches, follows; // watch.c, follow.c
    bool is_over;                     // it has exited, and its process has told all it had to
    _Atomic bool has_listeners;       // there was a watch or a follower

    // After the end:
    struct viv_timer retention;
    struct viv_qsbr_item expiry;
};

enum { // words of class native.mode, in the order of gen/caps.tab
    VIV_NATIVE_WORD_PERSIST,
    VIV_NATIVE_WORD_HOLD,
    VIV_NATIVE_WORD_SCOPE,
    VIV_NATIVE_WORD_UNSANDBOXED,
    VIV_NATIVE_WORD_ENV,
    VIV_NATIVE_WORD_PATH,
    VIV_NATIVE_WORD_USER,
    VIV_NATIVE_WORD_UNBOUNDED
};
// As init wants it: of a clock; 0: none.
static inline uint64_t viv_native__deadman_ns(uint64_t ms)
{
    return ms > UINT64_MAX / VIV_NS_PER_MS ? 0 : ms * VIV_NS_PER_MS;
}

// ---- spawn.c ----
void viv_program__init(struct viv_program *program, struct viv_native *native);
// Counts a refusal, and notes it for the record of the spawn.
void viv_native__note_refusal(struct viv_program *program, const struct viv_session *session,
                              enum viv_cap cap);

// ---- program.c: life of the object ----
struct viv_program *viv_program__take(struct viv_program *program);
void viv_program__drop(VIV_OWN struct viv_program *program); // Thread: a member
// Into the tables, with its number. Under no lock. False: the room stops, and has not seen it.
bool viv_program__list(struct viv_program *program);
// False: it was not listed any more.
bool viv_program__unlist(struct viv_program *program);
// Its key is its own until drop_key. Errors: EXISTS (*out_holder has it).
enum viv_err viv_program__take_key(struct viv_program *program, viv_pid *out_holder) VIV_MUST_CHECK;
void viv_program__drop_key(struct viv_program *program);
// Completes the calls of a list of the program's. Under no lock; wakes.
void viv_program__complete_all(struct viv_program *program, struct viv_list *calls,
                               enum viv_err err);
void viv_program__uncount(struct viv_program *program);   // below its session; once or more
void viv_program__forget_id(struct viv_program *program); // nobody finds it by its id
// Takes it out of everything; who holds it counted still may read it. False: it was out already.
bool viv_program__release(struct viv_program *program);
void viv_program__init_retention(struct viv_program *program);
// The release, retention_ns from now on.
void viv_program__expire_later(struct viv_program *program, uint64_t retention_ns);

// Leaves an order to stop; of several the earliest end counts, the first cause and signal. False:
// it has ended.
bool viv_program__order_stop(struct viv_program *program, const struct viv_native_orders *order);

// ---- find.c ----
// The program meant, if the caller may see it, counted. need: rights of a handle; other references
// need the same scope when `same_scope`. Errors: NOTFOUND, those of a handle.
enum viv_err viv_native__find(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              viv_rights need, struct viv_program **out_program) VIV_MUST_CHECK;

struct viv_native_tenant *viv_native__tenant_locked(struct viv_native *native,
                                                    const struct viv_env *env); // NULL: none
struct viv_program *viv_native__key_locked(struct viv_native_tenant *tenant, const char *key,
                                           size_t len);

// ---- logs.c ----
struct viv_log_source viv_native__source(struct viv_program *program, uint32_t stream);

// ---- prepare.c: on a spawner thread, everything before the clone; undo.c is its mirror ----
void viv_native__launch(struct viv_launch_job *job, struct viv_launch_room *room);
void viv_native__launched(struct viv_launch_job *job); // body.c
// A system call of ours failed with this negated errno: what the host ran out of, or what it told.
enum viv_err viv_native__host_error(struct viv_program *program, int r, const char *step);
void viv_native__undo_launch(struct viv_program *program);
void viv_native__close_child_fds(struct viv_program *program); // what the start still needs

// ---- groups.c ----
// Its control group, if it is to have one, with its limits. 0, or a negated errno.
int viv_native__get_group(struct viv_program *program);
// This kernel is in the group of a service, which a service manager ends as a whole.
bool viv_native__is_in_service(void);
// Its path below the directory that all groups are made in; "": it has none.
void viv_native__name_group(const struct viv_program *program,
                            char out[VIV_NATIVE_GUARD_GROUP_BYTES]);
// cpu_us: used in it so far. Harmless without one.
void viv_native__put_group(struct viv_program *program, uint64_t cpu_us, bool is_empty);

// ---- start.c ----
// From what was prepared to a program that has been executed. Errors: those of 4.4.
enum viv_err viv_native__start(struct viv_program *program,
                               struct viv_launch_room *room) VIV_MUST_CHECK;
// What has to be there before: who watches, what this host can do, a holder for what is to have
// one.
enum viv_err viv_native__prepare_start(struct viv_program *program,
                                       struct viv_launch_room *room) VIV_MUST_CHECK;
// The leader of one that is gated, which then goes to its holder. After an error nothing of it is
// left.
enum viv_err viv_native__start_gated(struct viv_program *program) VIV_MUST_CHECK;
bool viv_native__has_user(const struct viv_program *program); // it asks for another user

// ---- resolve.c ----
// exe and cwd of the request. Errors: DENIED, NOPROGRAM, NOEXEC, INVAL, ESCAPE, EXHAUSTED.
enum viv_err viv_native__resolve(struct viv_program *program) VIV_MUST_CHECK;

// ---- body.c ----
extern const struct viv_body viv_native_body;
// Bytes of a message, for stdin.
void viv_program__feed_message(struct viv_program *program, const struct viv_msg *msg);
// What others may still want of it is answered; its process ends.
enum viv_step viv_program__finish(struct viv_program *program, struct viv_proc *proc);
// The kernel ends, and leaves the program to its holder: its process ends alone.
enum viv_step viv_program__leave(struct viv_program *program, struct viv_proc *proc);
// Wakes the program's process, if it has one. In a read section, under no lock.
void viv_program__wake(struct viv_program *program);

// ---- birth.c: the step's ----
// Posts the launch, whose end wakes the process; posted_ns is set. Thread: who makes the process,
// or its step. Errors: QUOTA, EXHAUSTED.
enum viv_err viv_program__post_launch(struct viv_program *program) VIV_MUST_CHECK;
enum viv_step viv_program__step_starting(struct viv_program *program, struct viv_proc *proc,
                                         uint64_t now_ns);
void viv_program__start_held(struct viv_program *program, uint64_t now_ns); // an order came
// True: a held program is being launched, and belongs to its launch; look again at *out_ns.
bool viv_program__look_at_start(struct viv_program *program, uint64_t now_ns, uint64_t *out_ns);
void viv_program__note_started(struct viv_program *program); // init has started the leader
// The resource through which others hold it. Errors: NOTFOUND (its owner has ended), QUOTA,
// EXHAUSTED: it is nobody's then.
enum viv_err viv_program__own(struct viv_program *program) VIV_MUST_CHECK;

// ---- wake.c: the step's ----
void viv_program__init_care(struct viv_program *program);
// Arms what is to be waited for. Errors: EXHAUSTED.
enum viv_err viv_program__arm(struct viv_program *program) VIV_MUST_CHECK;
bool viv_program__is_watched(struct viv_program *program);    // somebody holds its idle clock
bool viv_program__has_listeners(struct viv_program *program); // somebody waits for its output
// Somebody does from now on. Under no lock. Thread: any.
void viv_program__listen(struct viv_program *program);
// Tells everybody of the news of care, and clears them.
void viv_program__tell(struct viv_program *program);

// ---- end.c: the step's ----
// What is due when nothing of the program lives any more. False: its spill is not settled yet.
bool viv_program__settle(struct viv_program *program, uint64_t now_ns);
// The second half of it: how it ended is known.
void viv_program__latch(struct viv_program *program, const struct viv_native_exit *exit);

#endif
