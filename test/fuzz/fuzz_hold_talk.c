// SPDX-License-Identifier: Apache-2.0
// A conversation with `viv-holder hold` that has a program: whatever two kernels say, it answers
// with frames, listens to one of them at most, and stays. The program is a pipe whose other end is
// here; there is no init, and time is what the input says.
//
// Input: steps of {what, how much, bytes}: raw bytes over one of the two connections, or a frame of
// a type with these bytes as its body, zero behind them; and the passing of time.
#include "fuzz.h"

#include "base/alloc.h"
#include "native/holder/hold_int.h"
#include "os/file.h"
#include "os/packet.h"
#include <errno.h>
#include <string.h>

enum { KERNELS = 2, STEPS_MAX = 64, QUEUE_BYTES = 8192, TYPES = 40 };

static struct talk {
    struct viv_hold hold;
    int ours[KERNELS]; // ends of the connections
    int in_fd;         // the program's
    uint64_t now_ns;
    uint8_t bytes[VIV_HOLD_FRAME_BYTES_MAX];
} talk;

static void forget(struct viv_care *care, int fd, uint32_t ready_bit)
{
    (void)ready_bit;
    viv_poller_forget(VIV_CONTAINER_OF(care, struct viv_hold, care)->poller, fd);
}

static const struct viv_care_host host = {.forget = forget, .is_idle = viv_hold__is_idle};

static void connect_kernel(uint32_t i)
{
    int fds[2];
    FUZZ_CHECK(viv_os_packet_pair(fds) == 0);
    FUZZ_CHECK(viv_os_set_nonblocking(fds[0]) == 0 && viv_os_set_nonblocking(fds[1]) == 0);
    talk.ours[i] = fds[0];
    talk.hold.conns[i] = (struct viv_hold_conn){
        .state = VIV_HOLD_CONN_GREETED, .fd = fds[1], .give_up_ns = VIV_FOREVER_NS};
}

static void set_up(void)
{
    struct viv_hold *hold = &talk.hold;
    const struct viv_log_ring_config none = {.cap_bytes = 4096};
    int fds[2];
    memset(&talk, 0, sizeof talk);
    viv_care_init(&hold->care, &host);
    hold->dir_fd = hold->listen_fd = hold->memory_fd = hold->bell_fd = -1;
    hold->frame = talk.bytes;
    hold->record_ns = hold->orphan_end_ns = VIV_FOREVER_NS;
    FUZZ_CHECK(viv_poller_new(&hold->poller) == VIV_OK);
    FUZZ_CHECK(viv_os_pipe(fds) == 0 && viv_os_set_nonblocking(fds[0]) == 0 &&
               viv_os_set_nonblocking(fds[1]) == 0);
    talk.in_fd = fds[0];
    hold->care.in_fd = fds[1];
    viv_stdin_init(&hold->care.in,
                   &(struct viv_stdin_config){.bound_bytes = QUEUE_BYTES, .is_kept_open = true});
    for (uint32_t i = 0; i < 2; i++) {
        viv_log_ring_init(&hold->care.streams[i].ring, &none);
        viv_care_close_stream(&hold->care, i, false);
    }
    hold->care.has_init = true;
    hold->care.phase = VIV_NATIVE_RUNNING;
    hold->care.limits = (struct viv_care_limits){
        .max_output_bytes = 100, .max_cpu_ms = UINT64_MAX, .idle_on = 15, .stop_signal = 15};
    for (uint32_t i = 0; i < VIV_KNOBS; i++)
        hold->care.knobs[i] = VIV_FOREVER_NS;
    hold->stage = VIV_HOLD_HELD;
    hold->epoch = 1;
    talk.now_ns = 1000 * VIV_NS_PER_SEC;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        hold->conns[i].fd = -1;
    for (uint32_t i = 0; i < KERNELS; i++)
        connect_kernel(i);
    hold->conns[0].state = VIV_HOLD_CONN_ATTACHED;
}

static void tear_down(void)
{
    struct viv_hold *hold = &talk.hold;
    for (uint32_t i = 0; i < KERNELS; i++)
        viv_os_close(talk.ours[i]);
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        viv_hold__close_conn(hold, &hold->conns[i]);
    viv_care_close_all(&hold->care);
    viv_care_deinit(&hold->care);
    viv_poller_free(hold->poller);
    viv_os_close(talk.in_fd);
}

// What came over the connection; false: it is at its end.
static bool hear(uint32_t i)
{
    static uint8_t bytes[1024];
    for (;;) {
        struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
        struct viv_hold_frame frame;
        const ssize_t n = viv_os_packet_receive(talk.ours[i], &packet);
        if (n == -EAGAIN) return true;
        if (n <= 0) return false;
        for (size_t k = 0; k < packet.fd_count; k++)
            viv_os_close(packet.fds[k]);
        FUZZ_CHECK(viv_hold_frame_decode(bytes, (size_t)n, &frame));
        FUZZ_CHECK(frame.head.type > VIV_HOLD_HELLO); // a report, and not the greeting
    }
}

static void check(void)
{
    struct viv_hold *hold = &talk.hold;
    uint32_t controllers = 0;
    for (uint32_t i = 0; i < VIV_HOLD_CONNS; i++)
        controllers += hold->conns[i].state == VIV_HOLD_CONN_ATTACHED;
    FUZZ_CHECK(controllers <= 1);
    FUZZ_CHECK(!hold->is_over && hold->stage == VIV_HOLD_HELD && hold->files == 0);
    FUZZ_CHECK(viv_stdin_queued(&hold->care.in) <= QUEUE_BYTES);
    FUZZ_CHECK(hold->care.in.delivered <= hold->care.in.accepted);
    struct viv_hold_state state;
    viv_hold__pack(hold, &state);
    FUZZ_CHECK(viv_hold_state_is_sound(&state));
}

// A turn of the loop.
static void turn(void)
{
    struct viv_hold *hold = &talk.hold;
    uint8_t bytes[512];
    for (uint32_t i = 0; i < KERNELS; i++) {
        hold->conns[i].is_ready = hold->conns[i].fd >= 0;
        hold->conns[i].is_full = false;
    }
    (void)viv_hold__converse(hold, talk.now_ns);
    hold->care.hot = VIV_READY_IN;
    (void)viv_care_move(&hold->care, talk.now_ns);
    (void)viv_care_check(&hold->care, talk.now_ns);
    (void)viv_care_next(&hold->care);
    viv_hold__tell(hold);
    (void)viv_hold__expire(hold, talk.now_ns);
    VIV_IGNORE(viv_os_read(talk.in_fd, bytes, sizeof bytes), "the program reads slowly");
    check();
    for (uint32_t i = 0; i < KERNELS; i++) {
        if (hear(i)) continue;
        viv_os_close(talk.ours[i]);
        viv_hold__close_conn(hold, &hold->conns[i]);
        connect_kernel(i);
    }
}

static void send_raw(uint32_t i, const uint8_t *data, size_t len)
{
    struct viv_packet packet = {.len = len};
    uint8_t copy[256] = {0};
    memcpy(copy, data, len);
    packet.data = copy;
    VIV_IGNORE(viv_os_packet_send(talk.ours[i], &packet), "it may have been closed");
}

static void send_frame(uint32_t i, uint16_t type, const uint8_t *data, size_t len)
{
    uint8_t copy[1024] = {0};
    const int length = viv_hold_frame_length(type);
    memcpy(copy, data, len);
    if (length < 0) return;
    if (type == VIV_HOLD_ATTACH) { // one that knows the key
        struct viv_hold_attach attach = {.protocol = VIV_HOLD_PROTOCOL, .epoch = copy[0]};
        memset(attach.uuid, copy[1] % 2, sizeof attach.uuid);
        viv_hold_prove(talk.hold.key, talk.hold.conns[i].nonce, attach.epoch, attach.uuid,
                       attach.proof);
        memcpy(copy, &attach, sizeof attach);
    }
    const bool has_bytes = type == VIV_HOLD_STDIN && len > (size_t)length;
    const struct viv_hold_sent sent = {.type = type,
                                       .body = copy,
                                       .bytes = copy + length,
                                       .byte_count = has_bytes ? len - (size_t)length : 0};
    VIV_IGNORE(viv_hold_frame_send(talk.ours[i], &sent), "it may have been closed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    set_up();
    for (int step = 0; step < STEPS_MAX && size >= 2; step++) {
        const uint32_t what = data[0], kernel = what % KERNELS, op = what / KERNELS;
        const size_t len = data[1] < size - 2 ? data[1] : size - 2;
        data += 2;
        size -= 2;
        if (op < TYPES)
            send_frame(kernel, (uint16_t)(VIV_HOLD_OPEN + op), data, len);
        else if (op < 2 * TYPES)
            send_raw(kernel, data, len);
        else
            talk.now_ns += len * 50 * VIV_NS_PER_MS;
        data += len;
        size -= len;
        turn();
    }
    tear_down();
    return 0;
}
