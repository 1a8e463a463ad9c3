// SPDX-License-Identifier: Apache-2.0
// What the files of the import module `viv_durable` share.
//
//   durable.c         runs; the thread that wakes who waits
//   durable_call.c    a guest's call: arguments, the way to the store and back, answers
//   durable_module.c  the table, and functions that need no store
//   durable_own.c     work of a run's own: its log, steps, checkpoints, promises, waits
//   durable_other.c   work on other processes
//
//   call ──> op ──dirty pool──> work: calls of the store ─┬─> done ──wakes──> call: answers
//                                                         └─> a wait ──told──> thread ──wakes──┘
#ifndef VIV_CTL_DURABLE_INT_H
#define VIV_CTL_DURABLE_INT_H

#include "base/mem.h"
#include "cap/gate.h"
#include "cap/guest.h"
#include "ctl/durable.h"
#include "sched/dirty.h"
#include "store/wait.h"

enum { VIV_DURABLE_TEXTS = 3, VIV_DURABLE_NUMBERS = 2 };

struct viv_durable__op;
struct viv_durable {
    struct viv_durable_config config;
    struct viv_guest_module module;
    struct viv_thread *thread;
    _Atomic uint32_t word;
    _Atomic uint32_t opened; // 0: the thread has not entered; 1: it has; 2: it could not
    struct viv_mutex mutex;
    // Under the mutex:
    struct viv_list told;  // ops whose process is to be woken
    struct viv_list ended; // ops whose wait is to be cancelled, and that are to be freed
    uint32_t op_count;     // that are not freed
    bool is_stopping;
};

// Arguments of a call: texts lie in the guest's memory, the rest are numbers of call->args.
struct viv_durable__in {
    struct viv_str text[VIV_DURABLE_TEXTS];
    int64_t number[VIV_DURABLE_NUMBERS];
    viv_handle handle;
    size_t text_count, number_count, bytes_at, word_at; // SIZE_MAX: has none
};

// What a function is, and what it takes.
struct viv_durable__spec {
    // The arguments in their order: t a text (pointer, length), n a number, h a handle, o room for
    // bytes (pointer, room, where the length goes), q where 64 bits go.
    const char *takes;
    // On a thread that may block. AGAIN: a wait was started. Errors are the call's.
    enum viv_err (*work)(struct viv_durable__op *op);
    // With the answer, on the process's thread; NULL: nothing more.
    enum viv_err (*finish)(struct viv_guest_call *call, struct viv_durable__op *op);
    bool is_own;  // of a durable run, about itself; else `cap` is asked
    bool is_wait; // ends when the run is asked to end; its timeout is the last number
    enum viv_cap cap;
    viv_rights need; // of the handle
};

struct viv_durable__op {
    struct viv_job job;
    struct viv_durable *durable;
    const struct viv_durable__spec *spec;
    struct viv_durable_run *run; // NULL: of no run. Not touched once is_left
    struct viv_family *family;   // of run; while is_posted
    viv_pid pid;
    struct viv_str id;             // of the process that it is about: own, or the handle's; in mem
    const struct viv_fence *fence; // of the run
    struct viv_str scope;          // session that it sees processes by; in mem
    struct viv_str text[VIV_DURABLE_TEXTS];
    int64_t number[VIV_DURABLE_NUMBERS];
    struct viv_mem mem; // of whoever works on it
    // The answer, there once is_done:
    enum viv_err err;
    struct viv_store_diag diag;
    struct viv_str out;
    uint64_t value;
    viv_rights rights; // of a handle to `out`
    struct viv_store_wait *wait;
    struct viv_list run_node; // among the run's waits; its mutex
    bool is_parked;           // counted among its run's; the run's mutex
    bool looks;               // its timeout is 0: no request to cancel ends it
    // Under the mutex of durable:
    struct viv_list node; // among told or ended
    bool is_posted, is_done, is_left;
};

// ---- durable.c: the slot of a run ----
void viv_durable__park(struct viv_durable__op *op); // its process waits
// Whether its process may go on: the run has a slot. False: it is woken when that may be so.
bool viv_durable__unpark(struct viv_durable__op *op);

// ---- durable_call.c ----
// Reads the arguments that `takes` names. Errors: FAULT, TOOBIG.
enum viv_err viv_durable__read(const struct viv_guest_call *call, const char *takes,
                               struct viv_durable__in *out) VIV_MUST_CHECK;
enum viv_err viv_durable__call(struct viv_guest_call *call, const struct viv_durable__spec *spec);
void viv_durable__drop(VIV_OWN void *op);
void viv_durable__free(VIV_OWN struct viv_durable__op *op); // it is left and not posted
// Writes an answer of bytes. Errors: TOOSMALL (the length is written).
enum viv_err viv_durable__put_bytes(const struct viv_guest_call *call, size_t first_arg,
                                    struct viv_str bytes) VIV_MUST_CHECK;
void viv_durable__put_u64(const struct viv_guest_call *call, size_t arg, uint64_t value);
// Starts the wait that the work is about; AGAIN when it is on its way. Errors: as
// viv_store_wait_start.
enum viv_err viv_durable__wait(struct viv_durable__op *op, const struct viv_wait_spec *spec,
                               int64_t timeout_ms) VIV_MUST_CHECK;
void viv_durable__wake_thread(struct viv_durable *durable);

// A key of no bytes is none, which the store says with no pointer.
static inline struct viv_str viv_durable__key(struct viv_str key)
{
    return key.n > 0 ? key : (struct viv_str){NULL, 0};
}

// ---- handles: resources of kind durable ----
struct viv_durable__handle {
    size_t id_len;
    char id[];
};
enum viv_err viv_durable__bind(struct viv_reg *reg) VIV_MUST_CHECK;
// finish of start and open: a handle to the process `out` with the rights.
enum viv_err viv_durable__make_handle(struct viv_guest_call *call,
                                      struct viv_durable__op *op) VIV_MUST_CHECK;

// ---- work ----
enum viv_err viv_durable__append(struct viv_durable__op *op);
enum viv_err viv_durable__step_get(struct viv_durable__op *op);
enum viv_err viv_durable__step_end(struct viv_durable__op *op);
enum viv_err viv_durable__checkpoint_put(struct viv_durable__op *op);
enum viv_err viv_durable__checkpoint_get(struct viv_durable__op *op);
enum viv_err viv_durable__sleep(struct viv_durable__op *op);
enum viv_err viv_durable__promise_create(struct viv_durable__op *op);
enum viv_err viv_durable__promise_await(struct viv_durable__op *op);
enum viv_err viv_durable__promise_settle(struct viv_durable__op *op);
enum viv_err viv_durable__wait_signal(struct viv_durable__op *op);

enum viv_err viv_durable__start(struct viv_durable__op *op);
enum viv_err viv_durable__open(struct viv_durable__op *op);
enum viv_err viv_durable__await(struct viv_durable__op *op);
enum viv_err viv_durable__events(struct viv_durable__op *op);
enum viv_err viv_durable__signal(struct viv_durable__op *op);
enum viv_err viv_durable__cancel(struct viv_durable__op *op);
enum viv_err viv_durable__grant(struct viv_durable__op *op);
enum viv_err viv_durable__wake_ack(struct viv_durable__op *op);

#endif
