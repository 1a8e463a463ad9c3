// SPDX-License-Identifier: Apache-2.0
// A connection and its requests, within this room. All fields belong to its process, except where
// said.
#ifndef VIV_CTL_CONN_INT_H
#define VIV_CTL_CONN_INT_H

#include "ctl/frame.h"
#include "ctl/server.h"
#include "sched/io.h"

#define VIV_CTL_OUT_BYTES_MAX (256u << 10) // queued for a client that does not read
// With more than that queued nothing is read either. Between the two only answers are queued: a
// client that sends while it does not read is served until it reads.
#define VIV_CTL_OUT_BYTES_HARD (1u << 20)

struct viv_ctl_server {
    struct viv_ctl_server_config config; // immutable
    struct viv_sched *sched;
    _Atomic uint32_t procs;    // of the server; futex of viv_ctl_server_stop
    _Atomic uint32_t conns;    // of them, connections
    _Atomic uint64_t quiet_ns; // when the last one went
    _Atomic bool is_stopping;
};

struct viv_ctl_conn;
struct viv_ctl_req {
    struct viv_ctl_conn *conn;
    uint32_t number;
    const struct viv_ctl_verb *verb;
    json_t *args;
    void *state;
    struct viv_buf input;
    uint64_t wake_ns;
    bool input_ended, is_over;
};

struct viv_ctl_conn {
    struct viv_ctl_server *server;
    int fd;
    struct viv_io_wait wait;
    _Atomic bool is_ready; // set by I/O
    struct viv_proc *proc; // its own; from its first slice on
    uint32_t armed;        // events
    struct viv_buf in, out;
    size_t out_at;     // sent of `out`
    bool is_readable;  // not known to be dry
    bool said_hello;   // the client did
    bool wants_room;   // a request waits for it
    bool is_over;      // nothing is read any more; what is queued is sent
    bool is_broken;    // nor that
    uint64_t until_ns; // closed then, whatever it waits for
    struct viv_ctl_req *reqs[VIV_CTL_REQS_MAX];
    uint32_t req_count;
};

// ---- conn.c ----
// A process for a descriptor, which is the connection's from a success on. Errors: those of
// viv_host_spawn.
enum viv_err viv_ctl__conn_spawn(struct viv_ctl_server *server, int fd) VIV_MUST_CHECK;
// Queued; when memory is out the connection is broken.
void viv_ctl__send(struct viv_ctl_conn *conn, const struct viv_frame *frame);
void viv_ctl__send_error(struct viv_ctl_conn *conn, uint32_t request, enum viv_err err,
                         const char *detail);

// ---- req.c ----
// What a frame means for the requests. Errors: INVAL, TOOBIG, FULL, EXHAUSTED: of the connection.
enum viv_err viv_ctl__req_frame(struct viv_ctl_conn *conn,
                                const struct viv_frame *frame) VIV_MUST_CHECK;
bool viv_ctl__req_step_all(struct viv_ctl_conn *conn); // true: there is more to do
uint64_t viv_ctl__req_wake_ns(const struct viv_ctl_conn *conn);
void viv_ctl__req_fail_all(struct viv_ctl_conn *conn, enum viv_err err, const char *detail);
void viv_ctl__req_drop_all(struct viv_ctl_conn *conn); // nobody is told

// ---- server.c ----
void viv_ctl__server_enter(struct viv_ctl_server *server, bool is_conn);
void viv_ctl__server_leave(struct viv_ctl_server *server, bool is_conn);

#endif
