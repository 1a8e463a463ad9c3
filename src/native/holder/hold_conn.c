// SPDX-License-Identifier: Apache-2.0
// Connections: the pair that the holder was started with, and those of its socket. One of them is
// the controller's at most. Whoever sends what is not a frame, or not its turn, is closed; the
// program does not notice.
#include "base/assert.h"
#include "native/holder/hold_int.h"
#include "os/file.h"
#include "os/local.h"
#include "os/packet.h"
#include "os/rand.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

#define ATTACH_NS (5 * VIV_NS_PER_SEC)
#define LISTEN_PAUSE_NS (100 * VIV_NS_PER_MS)
enum { FRAMES_A_TURN = 16, CALLERS_A_TURN = 16 };

// ------------------------------------------------------------------------------------ connections

struct viv_hold_conn *viv_hold__controller(struct viv_hold *hold)
{
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        if (hold->conns[i].state == VIV_HOLD_CONN_ATTACHED) return &hold->conns[i];
    return NULL;
}

void viv_hold__close_conn(struct viv_hold *hold, struct viv_hold_conn *conn)
{
    const enum viv_hold_conn_state state = conn->state;
    if (state == VIV_HOLD_CONN_NONE) return;
    viv_poller_forget(hold->poller, conn->fd);
    VIV_IGNORE(viv_os_close(conn->fd), "a socket");
    *conn = (struct viv_hold_conn){.fd = -1};
    if (state == VIV_HOLD_CONN_GREETED) return;
    if (hold->stage < VIV_HOLD_HELD) hold->is_over = true; // nobody will start the program
    hold->orphan_end_ns = 0;                               // the clock is set by who looks at it
}

static void begin(struct viv_hold_conn *conn, int fd, enum viv_hold_conn_state state)
{
    VIV_ASSERT(conn->state == VIV_HOLD_CONN_NONE);
    *conn = (struct viv_hold_conn){.state = state, .fd = fd, .give_up_ns = VIV_FOREVER_NS};
}

static void close_fds(struct viv_packet *packet)
{
    for (size_t i = 0; i < packet->fd_count; i++)
        VIV_IGNORE(viv_os_close(packet->fds[i]), "nobody asked for it");
    packet->fd_count = 0;
}

void viv_hold__adopt_pair(struct viv_hold *hold, int fd)
{
    begin(&hold->conns[0], fd, VIV_HOLD_CONN_OPENING);
}

// 0 or a negated errno; what has no room waits for some. Who has gone is told nothing: the end of
// its frames ends the connection.
static int send_frame(struct viv_hold_conn *conn, const struct viv_hold_sent *frame)
{
    if (conn->is_deaf) return 0;
    const int r = viv_hold_frame_send(conn->fd, frame);
    conn->is_deaf = r == -EPIPE || r == -ECONNRESET;
    if (conn->is_deaf) return 0;
    if (r != -EAGAIN && r != -ENOBUFS && r != -ENOMEM) return r;
    conn->is_full = true;
    conn->is_armed = false; // it is waited for room, too
    return -EAGAIN;
}

// -------------------------------------------------------------------------------------- greetings

// A free place, or that of who has been greeted longest and has not attached.
static struct viv_hold_conn *find_place(struct viv_hold *hold)
{
    struct viv_hold_conn *oldest = NULL;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++) {
        struct viv_hold_conn *conn = &hold->conns[i];
        if (conn->state == VIV_HOLD_CONN_NONE) return conn;
        if (conn->state != VIV_HOLD_CONN_GREETED) continue;
        if (oldest == NULL || conn->give_up_ns < oldest->give_up_ns) oldest = conn;
    }
    VIV_ASSERT(oldest != NULL); // there is one controller only
    viv_hold__close_conn(hold, oldest);
    return oldest;
}

static bool is_welcome(int fd)
{
    struct viv_peer peer;
    return viv_os_local_peer(fd, &peer) >= 0 && (peer.uid == geteuid() || peer.uid == 0);
}

static bool say_hello(struct viv_hold *hold, struct viv_hold_conn *conn)
{
    struct viv_hold_hello hello = {.protocol_min = VIV_HOLD_PROTOCOL,
                                   .protocol_max = VIV_HOLD_PROTOCOL,
                                   .build = VIV_HOLDER_BUILD,
                                   .generation = hold->plan.generation};
    if (viv_os_random(conn->nonce, sizeof conn->nonce) != VIV_OK) return false;
    memcpy(hello.nonce, conn->nonce, sizeof hello.nonce);
    memcpy(hello.digest, hold->rec.numbers.digest, sizeof hello.digest);
    return send_frame(conn, &(struct viv_hold_sent){.type = VIV_HOLD_HELLO, .body = &hello}) >= 0;
}

static void greet_one(struct viv_hold *hold, int fd, uint64_t now_ns)
{
    if (!is_welcome(fd)) {
        VIV_IGNORE(viv_os_close(fd), "a stranger");
        return;
    }
    struct viv_hold_conn *conn = find_place(hold);
    begin(conn, fd, VIV_HOLD_CONN_GREETED);
    conn->give_up_ns = now_ns + ATTACH_NS;
    if (!say_hello(hold, conn)) viv_hold__close_conn(hold, conn);
}

void viv_hold__greet(struct viv_hold *hold, uint64_t now_ns)
{
    int fd = 0;
    for (int i = 0; i < CALLERS_A_TURN && fd >= 0; i++) {
        fd = viv_os_local_accept(hold->listen_fd);
        if (fd >= 0) greet_one(hold, fd, now_ns);
    }
    if (fd >= 0) return; // there may be more
    hold->has_caller = false;
    const bool is_later = fd != -EAGAIN && fd != -ECONNABORTED; // no descriptor is left
    if (is_later) hold->listen_ns = now_ns + LISTEN_PAUSE_NS;
}

uint64_t viv_hold__expire(struct viv_hold *hold, uint64_t now_ns)
{
    uint64_t next_ns = hold->listen_ns > now_ns ? hold->listen_ns : VIV_FOREVER_NS;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++) {
        struct viv_hold_conn *conn = &hold->conns[i];
        if (conn->state != VIV_HOLD_CONN_GREETED) continue;
        if (now_ns >= conn->give_up_ns)
            viv_hold__close_conn(hold, conn);
        else
            next_ns = viv_min_u64(next_ns, conn->give_up_ns);
    }
    return next_ns;
}

// -------------------------------------------------------------------------------------- attaching

static bool is_equal(const uint8_t *a, const uint8_t *b, size_t len)
{
    volatile uint8_t sum = 0; // in a time that depends on the length only
    for (size_t i = 0; i < len; i++)
        sum = sum | (a[i] ^ b[i]);
    return sum == 0;
}

static bool is_proven(const struct viv_hold *hold, const struct viv_hold_conn *conn,
                      const struct viv_hold_attach *attach)
{
    uint8_t proof[VIV_HOLD_PROOF_BYTES];
    viv_hold_prove(hold->key, conn->nonce, attach->epoch, attach->uuid, proof);
    return is_equal(proof, attach->proof, sizeof proof);
}

// The state, and with it the descriptors that the controller is to have.
static int send_attached(struct viv_hold *hold, struct viv_hold_conn *conn, uint64_t request)
{
    const struct {
        uint32_t bit;
        int fd;
    } all[] = {{VIV_HOLD_FD_LEADER, hold->care.leader_fd},
               {VIV_HOLD_FD_TERMINAL, hold->care.tty_fd},
               {VIV_HOLD_FD_MEMORY, hold->memory_fd},
               {VIV_HOLD_FD_DOORBELL, hold->bell_fd}};
    int fds[VIV_COUNT_OF(all)];
    size_t count = 0;
    struct viv_hold_state state;
    viv_hold__look_at_state(hold);
    viv_hold__pack(hold, &state);
    for (size_t i = 0; i < VIV_COUNT_OF(all); i++) {
        if (all[i].fd < 0) continue;
        state.fd_mask |= 1u << all[i].bit;
        fds[count++] = all[i].fd;
    }
    conn->told = state.sequence;
    return send_frame(conn, &(struct viv_hold_sent){.type = VIV_HOLD_ATTACHED,
                                                    .request = request,
                                                    .body = &state,
                                                    .fds = fds,
                                                    .fd_count = count});
}

// What it has sent and was not read is not done any more.
static void displace(struct viv_hold *hold, struct viv_hold_conn *conn)
{
    VIV_IGNORE(send_frame(conn, &(struct viv_hold_sent){.type = VIV_HOLD_DISPLACED}),
               "it sees the end of the connection");
    viv_hold__close_conn(hold, conn);
}

// False: it is closed.
static bool attach(struct viv_hold *hold, struct viv_hold_conn *conn,
                   const struct viv_hold_frame *frame)
{
    const struct viv_hold_attach *attach = &frame->body.attach;
    if (attach->protocol != VIV_HOLD_PROTOCOL || !is_proven(hold, conn, attach)) return false;
    const bool is_same =
        attach->epoch == hold->epoch && memcmp(attach->uuid, hold->uuid, sizeof hold->uuid) == 0;
    if (attach->epoch <= hold->epoch && !is_same) {
        VIV_IGNORE(send_frame(conn, &(struct viv_hold_sent){.type = VIV_HOLD_STALE,
                                                            .request = frame->head.request}),
                   "it sees the end of the connection");
        return false;
    }
    struct viv_hold_conn *other = viv_hold__controller(hold);
    if (other != NULL) displace(hold, other);
    hold->epoch = attach->epoch;
    memcpy(hold->uuid, attach->uuid, sizeof hold->uuid);
    conn->state = VIV_HOLD_CONN_ATTACHED;
    conn->give_up_ns = VIV_FOREVER_NS;
    viv_care_drained(&hold->care); // who was there before may have died between taking and telling
    return send_attached(hold, conn, frame->head.request) >= 0;
}

// ----------------------------------------------------------------------------------------- frames

static bool flush_answer(struct viv_hold_conn *conn)
{
    const struct viv_hold_sent frame = {
        .type = VIV_HOLD_OK, .request = conn->request, .body = &conn->answer};
    const int r = send_frame(conn, &frame);
    conn->has_answer = r == -EAGAIN;
    return r >= 0 || conn->has_answer;
}

static bool answer(struct viv_hold_conn *conn, uint64_t request,
                   const struct viv_hold_answer *answer)
{
    conn->request = request;
    conn->answer = *answer;
    return flush_answer(conn);
}

// The pair's first frame.
static bool open_all(struct viv_hold *hold, struct viv_hold_conn *conn,
                     const struct viv_hold_frame *frame, struct viv_packet *packet)
{
    const struct viv_hold_open *open = &frame->body.open;
    if (frame->head.type != VIV_HOLD_OPEN || packet->fd_count != 2) return false;
    packet->fd_count = 0; // they are taken, or closed there
    const enum viv_err err = viv_hold__open(hold, open, packet->fds);
    if (err != VIV_OK) {
        const struct viv_hold_answer refusal = {.err = (uint32_t)err};
        VIV_IGNORE(answer(conn, frame->head.request, &refusal), "it sees the end of the socket");
        return false;
    }
    hold->stage = VIV_HOLD_OPENED;
    hold->epoch = open->epoch;
    memcpy(hold->uuid, open->uuid, sizeof hold->uuid);
    memcpy(hold->key, open->key, sizeof hold->key);
    conn->state = VIV_HOLD_CONN_ATTACHED;
    return send_attached(hold, conn, frame->head.request) >= 0;
}

static bool take_hand(struct viv_hold *hold, struct viv_hold_conn *conn,
                      const struct viv_hold_frame *frame, struct viv_packet *packet,
                      uint64_t now_ns)
{
    if (hold->stage != VIV_HOLD_OPENED) return false;
    const size_t count = packet->fd_count;
    packet->fd_count = 0; // they are taken, or closed there
    const enum viv_err err = viv_hold__hand(hold, &frame->body.hand, packet->fds, count, now_ns);
    return answer(conn, frame->head.request, &(struct viv_hold_answer){.err = (uint32_t)err});
}

static bool is_order(uint16_t type)
{
    return type > VIV_HOLD_ATTACH && type < VIV_HOLD_ORDERS_END;
}

// False: the connection is to be closed.
static bool take(struct viv_hold *hold, struct viv_hold_conn *conn,
                 const struct viv_hold_frame *frame, struct viv_packet *packet, uint64_t now_ns)
{
    struct viv_hold_answer result;
    if (conn->state == VIV_HOLD_CONN_OPENING) return open_all(hold, conn, frame, packet);
    if (conn->state == VIV_HOLD_CONN_ATTACHED && frame->head.type == VIV_HOLD_HAND)
        return take_hand(hold, conn, frame, packet, now_ns);
    if (packet->fd_count != 0) return false;
    if (conn->state == VIV_HOLD_CONN_GREETED)
        return frame->head.type == VIV_HOLD_ATTACH && attach(hold, conn, frame);
    if (!is_order(frame->head.type)) return false;
    if (!viv_hold__obey(hold, frame, now_ns, &result)) return true;
    return answer(conn, frame->head.request, &result);
}

// One frame. False: there is none now, or the connection is closed.
static bool receive(struct viv_hold *hold, struct viv_hold_conn *conn, uint64_t now_ns)
{
    struct viv_packet packet = {.data = hold->frame, .len = VIV_HOLD_FRAME_BYTES_MAX};
    struct viv_hold_frame frame;
    const ssize_t n = viv_os_packet_receive(conn->fd, &packet);
    if (n == -EAGAIN || n == -ENOMEM || n == -ENOBUFS) {
        conn->is_ready = false;
        return false;
    }
    bool is_good = n > 0 && viv_hold_frame_decode(hold->frame, (size_t)n, &frame);
    if (n > 0) {
        is_good = is_good && take(hold, conn, &frame, &packet, now_ns);
        close_fds(&packet);
    }
    if (!is_good) viv_hold__close_conn(hold, conn);
    return is_good;
}

bool viv_hold__converse(struct viv_hold *hold, uint64_t now_ns)
{
    bool more = false;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS && !hold->is_over; i++) {
        struct viv_hold_conn *conn = &hold->conns[i];
        if (!conn->is_ready) continue;
        if (conn->has_answer && !conn->is_full && !flush_answer(conn)) {
            viv_hold__close_conn(hold, conn);
            continue;
        }
        int left = FRAMES_A_TURN;
        while (left > 0 && !hold->is_over && !conn->has_answer && receive(hold, conn, now_ns))
            left--;
        if (conn->has_answer) conn->is_ready = false; // it is waited for room
        more = more || left == 0;
    }
    return more;
}

// ------------------------------------------------------------------------------------------- news

void viv_hold__tell(struct viv_hold *hold)
{
    struct viv_hold_conn *conn = viv_hold__controller(hold);
    viv_hold__look_at_state(hold);
    if (conn == NULL || conn->is_full || conn->has_answer || conn->told == hold->state.sequence)
        return;
    const struct viv_hold_sent event = {.type = VIV_HOLD_EVENT, .body = &hold->state};
    const int r = send_frame(conn, &event);
    if (r >= 0) conn->told = hold->state.sequence;
    if (r < 0 && r != -EAGAIN) viv_hold__close_conn(hold, conn);
}

bool viv_hold__ask_idle(struct viv_hold *hold)
{
    struct viv_hold_conn *conn = viv_hold__controller(hold);
    if (conn == NULL) return false;
    const int r = send_frame(conn, &(struct viv_hold_sent){.type = VIV_HOLD_IDLE});
    return r >= 0 || r == -EAGAIN; // one that reads nothing has as long to say so
}
