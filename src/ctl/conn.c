// SPDX-License-Identifier: Apache-2.0
// A connection: a process that reads frames, steps its requests, and sends what they have queued.
//
// 1. send; 2. read and understand, unless the queue is full; 3. step every request; 4. send again;
// 5. wait for the socket, a program, or a time.
#include "ctl/conn_int.h"

#include "os/file.h"
#include "os/local.h"
#include "proc/host.h"
#include <errno.h>
#include <string.h>

#define HELLO_NS (10 * VIV_NS_PER_SEC) // until a client must have said hello
#define LINGER_NS (5 * VIV_NS_PER_SEC) // for the last words to a client that does not read
enum { READ_BYTES = 64 << 10, READS_A_TURN = 4, KEPT_BYTES = 64 << 10 };

// ---- sending ----

static size_t queued(const struct viv_ctl_conn *conn)
{
    return conn->out.len_bytes - conn->out_at;
}

void viv_ctl__send(struct viv_ctl_conn *conn, const struct viv_frame *frame)
{
    if (viv_frame_put(&conn->out, frame) != VIV_OK) conn->is_broken = true;
}

void viv_ctl__send_error(struct viv_ctl_conn *conn, uint32_t request, enum viv_err err,
                         const char *detail)
{
    json_t *value = json_object();
    viv_json_put(&value, "error", json_string(viv_err_name(err)));
    viv_json_put(&value, "code", json_integer((json_int_t)err));
    if (detail != NULL && detail[0] != '\0') viv_json_put(&value, "detail", json_string(detail));
    if (value == NULL || viv_frame_put_json(&conn->out, VIV_FRAME_ERROR, request, value) != VIV_OK)
        conn->is_broken = true; // a client must not wait for what was lost
    json_decref(value);
}

static void send_queued(struct viv_ctl_conn *conn)
{
    while (queued(conn) > 0 && !conn->is_broken) {
        const ssize_t n = viv_os_local_send(conn->fd, conn->out.data + conn->out_at, queued(conn));
        if (n == -EAGAIN) break;
        if (n < 0) conn->is_broken = true;
        if (n > 0) conn->out_at += (size_t)n;
    }
    if (queued(conn) > 0) return;
    conn->out_at = 0;
    if (conn->out.cap_bytes > KEPT_BYTES)
        viv_buf_deinit(&conn->out);
    else
        viv_buf_clear(&conn->out);
}

// What was sent makes room at the front, before more is queued.
static void close_gap(struct viv_ctl_conn *conn)
{
    if (conn->out_at == 0) return;
    memmove(conn->out.data, conn->out.data + conn->out_at, queued(conn));
    conn->out.len_bytes -= conn->out_at;
    conn->out_at = 0;
}

// ---- reading ----

static void end_with(struct viv_ctl_conn *conn, enum viv_err err, const char *detail)
{
    viv_ctl__req_drop_all(conn);
    viv_ctl__send_error(conn, 0, err, detail);
    conn->is_over = true;
    conn->until_ns = viv_sched_now_ns(conn->server->sched) + LINGER_NS;
}

// The client tells which protocols it speaks; we choose, or refuse.
static enum viv_err greet(struct viv_ctl_conn *conn, const struct viv_frame *frame)
{
    json_t *hello;
    if (frame->type != VIV_FRAME_HELLO || frame->request != 0) return VIV_E_INVAL;
    VIV_TRY(viv_json_parse(frame->payload, frame->len, &hello));
    const uint64_t min = viv_json_get_u64(hello, "min", 0);
    const uint64_t max = viv_json_get_u64(hello, "max", 0);
    json_decref(hello);
    if (min > VIV_CTL_PROTOCOL || max < VIV_CTL_PROTOCOL) return VIV_E_UNSUPPORTED;
    json_t *answer = json_object();
    viv_json_put(&answer, "protocol", json_integer(VIV_CTL_PROTOCOL));
    if (answer == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err = viv_frame_put_json(&conn->out, VIV_FRAME_HELLO, 0, answer);
    json_decref(answer);
    conn->said_hello = true;
    conn->until_ns = VIV_FOREVER_NS;
    return err;
}

static void understand(struct viv_ctl_conn *conn)
{
    size_t at = 0;
    while (!conn->is_over) {
        struct viv_frame frame;
        size_t used;
        enum viv_err err =
            viv_frame_take(conn->in.data + at, conn->in.len_bytes - at, &frame, &used);
        if (err == VIV_E_AGAIN) break;
        if (err == VIV_OK) {
            err = conn->said_hello ? viv_ctl__req_frame(conn, &frame) : greet(conn, &frame);
            at += used;
        }
        if (err != VIV_OK) end_with(conn, err, conn->said_hello ? "frame" : "protocol");
    }
    if (at == conn->in.len_bytes || conn->is_over) {
        viv_buf_deinit(&conn->in); // an idle connection has no buffer
    } else {
        memmove(conn->in.data, conn->in.data + at, conn->in.len_bytes - at);
        conn->in.len_bytes -= at;
    }
}

// The end of what a client sends is its end: it need not be told anything any more.
static void read_once(struct viv_ctl_conn *conn)
{
    if (viv_buf_reserve(&conn->in, READ_BYTES) != VIV_OK) {
        conn->is_broken = true;
        return;
    }
    const ssize_t n = viv_os_read(conn->fd, conn->in.data + conn->in.len_bytes, READ_BYTES);
    if (n == -EAGAIN)
        conn->is_readable = false;
    else if (n <= 0)
        conn->is_broken = true;
    else
        conn->in.len_bytes += (size_t)n;
    understand(conn);
}

static bool may_read(const struct viv_ctl_conn *conn)
{
    return !conn->is_over && !conn->is_broken && queued(conn) < VIV_CTL_OUT_BYTES_MAX;
}

// ---- its process ----

static void on_ready(struct viv_io_wait *wait, uint32_t events)
{
    struct viv_ctl_conn *conn = VIV_CONTAINER_OF(wait, struct viv_ctl_conn, wait);
    (void)events;
    // Seq_cst: published before the wake (sched.h).
    atomic_store_explicit(&conn->is_ready, true, memory_order_seq_cst);
    viv_proc_wake(conn->proc); // it disarms before it ends
}

static void arm(struct viv_ctl_conn *conn)
{
    const uint32_t wanted =
        (may_read(conn) ? VIV_POLL_IN : 0) | (queued(conn) > 0 ? VIV_POLL_OUT : 0);
    if (wanted == conn->armed) return;
    (void)viv_io_disarm(conn->server->sched, &conn->wait);
    conn->armed = wanted;
    if (viv_io_arm(conn->server->sched, &conn->wait, conn->fd, wanted) != VIV_OK)
        conn->is_broken = true;
}

static bool is_done(const struct viv_ctl_conn *conn)
{
    if (conn->is_broken) return true;
    if (conn->is_over && queued(conn) == 0 && conn->req_count == 0) return true;
    return viv_sched_now_ns(conn->server->sched) >= conn->until_ns;
}

// True: there is more to do now.
static bool turn(struct viv_ctl_conn *conn)
{
    send_queued(conn);
    close_gap(conn);
    for (int i = 0; i < READS_A_TURN && conn->is_readable && may_read(conn); i++)
        read_once(conn);
    conn->wants_room = false;
    bool has_more = viv_ctl__req_step_all(conn);
    send_queued(conn);
    has_more |= conn->is_readable && may_read(conn);
    return has_more || (conn->wants_room && queued(conn) < VIV_CTL_OUT_BYTES_MAX);
}

static enum viv_step step_conn(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct viv_ctl_conn *conn = arg;
    conn->proc = self;
    // Seq_cst pairs with on_ready.
    if (atomic_exchange_explicit(&conn->is_ready, false, memory_order_seq_cst)) {
        conn->armed = 0;
        conn->is_readable = true;
    }
    // Acquire pairs with the release of the stop.
    if (!conn->is_over && atomic_load_explicit(&conn->server->is_stopping, memory_order_acquire)) {
        viv_ctl__req_fail_all(conn, VIV_E_CANCELLED, "the daemon ends");
        conn->is_over = true;
        conn->until_ns = viv_sched_now_ns(conn->server->sched) + LINGER_NS;
    }
    const bool has_more = turn(conn);
    slice->left = 0;
    if (is_done(conn)) return VIV_STEP_DONE;
    if (has_more) return VIV_STEP_YIELD;
    arm(conn);
    viv_proc_set_alarm(self, viv_min_u64(conn->until_ns, viv_ctl__req_wake_ns(conn)));
    return conn->is_broken ? VIV_STEP_YIELD : VIV_STEP_WAIT;
}

static void free_conn(void *arg)
{
    struct viv_ctl_conn *conn = arg;
    viv_ctl__req_drop_all(conn);
    (void)viv_io_disarm(conn->server->sched, &conn->wait);
    viv_io_forget(conn->server->sched, conn->fd);
    VIV_IGNORE(viv_os_close(conn->fd), "a socket");
    viv_buf_deinit(&conn->in);
    viv_buf_deinit(&conn->out);
    struct viv_ctl_server *server = conn->server;
    viv_free(conn, sizeof *conn, VIV_TAG_CTL);
    viv_ctl__server_leave(server, true);
}

enum viv_err viv_ctl__conn_spawn(struct viv_ctl_server *server, int fd)
{
    struct viv_ctl_conn *conn = viv_try_calloc(1, sizeof *conn, VIV_TAG_CTL);
    if (conn == NULL) return VIV_E_EXHAUSTED;
    conn->server = server;
    conn->fd = fd;
    conn->is_readable = true;
    conn->until_ns = viv_sched_now_ns(server->sched) + HELLO_NS;
    viv_io_init(&conn->wait, on_ready);
    viv_buf_init(&conn->in, VIV_TAG_CTL);
    viv_buf_init(&conn->out, VIV_TAG_CTL);
    const struct viv_host_spec spec = {
        .env = server->config.env, .fn = step_conn, .arg = conn, .free_arg = free_conn};
    viv_pid pid;
    viv_ctl__server_enter(server, true); // before it can leave
    const enum viv_err err = viv_host_spawn(&spec, &pid);
    if (err == VIV_OK) return VIV_OK;
    viv_ctl__server_leave(server, true);
    viv_free(conn, sizeof *conn, VIV_TAG_CTL);
    return err;
}
