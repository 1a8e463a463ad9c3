// SPDX-License-Identifier: Apache-2.0
// Kernels that are none, and a real `viv-holder hold` with a real program under a real init.
#ifndef VIV_TEST_UNIT_NATIVE_HOLD_RIG_H
#define VIV_TEST_UNIT_NATIVE_HOLD_RIG_H

#include "box_rig.h"
#include "native/care/care.h"
#include "native/holder/hold_rec.h"
#include "native/ring_memory.h"
#include "native/stdin.h"

// One for a test: a directory hold/ of its own, and what a program is born with.
struct hold_rig {
    struct box box;
    struct box_run run;
    char dir[80];
    int dir_fd;
    uint8_t key[VIV_HOLD_KEY_BYTES];
    struct viv_hold_rec birth; // changed by the test before the start
    bool has_stdin, has_terminal, has_ready;
    int holder_fd;   // what is started as the holder
    bool may_fail;   // it meets a fault
    bool is_nobody;  // the kernel of hold_start_elsewhere, and so the holder
    bool ends_early; // init tells that the program has gone before it is handed over
    void (*change)(struct hold_rig *rig); // the last word before the program starts, or NULL
    void (*change_open)(struct viv_hold_open *open); // the last word about OPEN, or NULL
    pid_t holder, init, leader;
};
void hold_rig_open(struct hold_rig *rig);
// Nothing is left: neither a process nor a file.
void hold_rig_close(struct hold_rig *rig);
bool hold_has_file(const struct hold_rig *rig, const char *ending);
// The record as it is on disk; false: there is none. `out_data` is freed by the caller, the texts
// lie in it.
bool hold_read_record(const struct hold_rig *rig, struct viv_hold_rec *out_rec, void **out_data);

// One connection, and what it was told.
struct hold_kernel {
    struct hold_rig *rig;
    int fd, memory_fd, bell_fd, leader_fd, tty_fd; // -1: none
    uint64_t epoch, request;
    uint8_t uuid[VIV_HOLD_UUID_BYTES];
    struct viv_hold_hello hello;
    struct viv_hold_state state; // the last that came
    uint32_t events, idles;
    bool is_closed, is_stale, is_displaced;
    void *memory;
    size_t memory_bytes;
    struct viv_log_memory_plan plan;
    struct viv_log_places places[2];
    struct viv_log_ring rings[2];
};
// A holder is started, opened, and has the program.
void hold_start(struct hold_rig *rig, struct hold_kernel *kernel, const char *const *words);
// The very first of it: a holder that has been told nothing.
void hold_launch(struct hold_rig *rig, struct hold_kernel *kernel);
// The first half of it, up to the answer to OPEN, which is given.
struct viv_hold_frame hold_open(struct hold_rig *rig, struct hold_kernel *kernel);
// The other half; the answer to HAND.
enum viv_err hold_hand(struct hold_rig *rig, struct hold_kernel *kernel, const char *const *words);
// Like hold_start, in a process of its own, which then waits to be killed.
pid_t hold_start_elsewhere(struct hold_rig *rig, const char *const *words);
void hold_kill(pid_t kernel);

// Another connection, before any greeting. False: nobody listens.
bool hold_knock(struct hold_rig *rig, struct hold_kernel *kernel);
// And up to it. False: it is refused.
bool hold_connect(struct hold_rig *rig, struct hold_kernel *kernel);
// And attached. False: refused, stale, or the connection is closed.
bool hold_attach(struct hold_rig *rig, struct hold_kernel *kernel, uint64_t epoch);
void hold_detach(struct hold_kernel *kernel); // closes everything
void hold_fill_attach(const struct hold_kernel *kernel, uint64_t epoch,
                      struct viv_hold_attach *out);

bool hold_send(struct hold_kernel *kernel, uint16_t type, const void *body, const void *bytes,
               size_t count);
// What comes within the time; events are noted. False: nothing, or the end of the connection.
bool hold_next(struct hold_kernel *kernel, int timeout_ms, struct viv_hold_frame *out_frame);
// Sends an order and waits for its answer. LOST: the connection is closed.
struct viv_hold_answer hold_ask(struct hold_kernel *kernel, uint16_t type, const void *body,
                                const void *bytes, size_t count);
enum viv_err hold_order(struct hold_kernel *kernel, uint16_t type, const void *body);
void hold_await_phase(struct hold_kernel *kernel, enum viv_native_phase phase);
// Reads from *offset on until there are `len` bytes or the time is over; how many came. Bytes that
// were evicted before are told by the offset.
size_t hold_read(struct hold_kernel *kernel, uint32_t stream, uint64_t *offset, void *out,
                 size_t len, uint32_t seconds);
// Waits until a process of the rig has ended, and for it.
int hold_await_end(pid_t pid);
// Until there is no process left: the holder, init, and what they have left.
void hold_await_nobody(void);

// ---- what tests do again and again ----
pid_t hold_fork(void); // ends with the test
// Of one that has exited: the holder goes, and its files have gone before it says so.
void hold_release(struct hold_rig *rig, struct hold_kernel *kernel);
void hold_finish(struct hold_rig *rig, struct hold_kernel *kernel); // kills it before
// Reads the stream from its beginning until it has said this; false: it does not.
bool hold_says(struct hold_kernel *kernel, const char *text);
uint64_t hold_end_offset(struct hold_kernel *kernel); // of stdout
// What `spew` of viv-box-prog prints from this offset on.
void hold_check_bytes(const uint8_t *bytes, uint64_t from, size_t len);
void hold_remove_files(struct hold_rig *rig); // which a killed holder has left

#endif
