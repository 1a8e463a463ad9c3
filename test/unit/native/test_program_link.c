// SPDX-License-Identifier: Apache-2.0
// The connection between a kernel and a holder that lives (native.md 9): cut, made again, taken
// over by another kernel, or without anybody at its other end.
#include "held_kit.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/holder/hold_wire.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/local.h"
#include "os/packet.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
static struct native_rig rig;

enum { FDS = 256, ROUNDS = 60, PIECE_BYTES = 40000, NTH_MAX = 400, TEXT = 1 << 16 };

static char text[TEXT];
static bool was_there[FDS]; // sockets of the kernel before the program

static bool is_packet_socket(int fd)
{
    int type;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

// A kernel, and the program; from here on its connection is known.
static struct viv_native_ref start(const char *script)
{
    held_open(&rig);
    held_request(&rig, "exit"); // whatever else the kernel needs is there from now on
    struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    for (int fd = 0; fd < FDS; fd++)
        was_there[fd] = is_packet_socket(fd);
    held_request(&rig, script);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    return rig_start(&rig);
}

// The socket to its holder; -1: there is none now.
static int find_link(void)
{
    for (int fd = 0; fd < FDS; fd++)
        if (!was_there[fd] && is_packet_socket(fd)) return fd;
    return -1;
}

// Ends at once; what the holder has not read is read by it.
static void cut(void)
{
    const int fd = find_link();
    if (fd >= 0) (void)shutdown(fd, SHUT_RDWR);
}

// The holder closes it when it comes to this, and does not read what follows.
static void spoil(void)
{
    const int fd = find_link();
    if (fd >= 0) (void)send(fd, "no frame", 8, MSG_NOSIGNAL | MSG_DONTWAIT);
}

// The number of audit events of this operation since the rig opened.
static int count_events(const char *operation)
{
    char line[4096], wanted[64];
    int count = 0;
    (void)snprintf(wanted, sizeof wanted, "\"%s\"", operation);
    rig.audit_at = 0;
    while (rig_next_audit(&rig, line, sizeof line))
        count += strstr(line, wanted) != NULL;
    return count;
}

static void await_event(const char *operation, int count)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (count_events(operation) < count) {
        if (viv_os_now_ns() > end_ns) fail_msg("no %s", operation);
        rig_sleep(&rig, MS);
    }
}

static void case_100_input_arrives_once_over_many_connections(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_call call;
    char sum[64], *data = malloc(PIECE_BYTES);
    CHECK(data != NULL);
    const struct viv_native_ref ref = start("md5sum");
    FILE *md5 = popen("md5sum > held-state/sum", "w");
    CHECK(md5 != NULL);
    for (int i = 0; i < ROUNDS; i++) {
        size_t taken;
        for (int k = 0; k < PIECE_BYTES; k++)
            data[k] = (char)('a' + (i * 7 + k) % 23);
        viv_native_call_init(&call, &rig.ctx);
        if (i % 3 == 0) spoil();
        const struct viv_native_bytes bytes = {
            .data = data, .len = PIECE_BYTES, .all = true, .timeout_ns = RIG_TIMEOUT_NS};
        enum viv_err err = viv_native_write(&call, &ref, &bytes, &taken);
        if (i % 3 == 1) cut();
        if (err == VIV_E_AGAIN) err = viv_native_await(&call);
        assert_int_equal(err, VIV_OK);
        CHECK(fwrite(data, 1, PIECE_BYTES, md5) == PIECE_BYTES);
    }
    free(data);
    CHECK(pclose(md5) == 0);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, false), VIV_OK);
    spoil();
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.stdin_accepted, (uint64_t)ROUNDS * PIECE_BYTES);
    assert_int_equal(exit.stdin_delivered, exit.stdin_accepted);
    assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    FILE *file = fopen("held-state/sum", "r");
    CHECK(file != NULL && fgets(sum, sizeof sum, file) != NULL);
    (void)fclose(file);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, sum);
    assert_true(count_events("native.holder.reconnected") > ROUNDS / 3);
    held_close(&rig, &ref);
}

static void orders_are_carried_out_after_it_was_cut(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_status status;
    const struct viv_native_ref ref =
        start("trap 'echo usr1' USR1; trap 'echo term; exit 4' TERM; echo up;"
              "while :; do sleep 0.01; done");
    rig_await_output(&rig, &ref, 3);
    cut();
    await_event("native.holder.reconnected", 1);
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGUSR1, true), VIV_OK);
    rig_await_output(&rig, &ref, 8); // it is told of output, too
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
    spoil();
    assert_int_equal(rig_stop(&rig, &ref, 5 * VIV_NS_PER_SEC, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 4);
    assert_int_equal(exit.cause, VIV_CAUSE_STOP);
    (void)rig_logs(&rig, &ref, 1, text, sizeof text);
    assert_string_equal(text, "up\nusr1\nterm\n");
    held_close(&rig, &ref);
}

// Each order alone, in flight while the holder closes the connection.
static void each_order_that_may_be_repeated_is(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_status status;
    struct viv_native_ref ref = start("echo up; sleep 1000");
    spoil();
    assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_STOP_GRACE_MS, 50), VIV_OK);
    assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_MAX_LIFETIME_MS, 100), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_LIFETIME);
    held_close(&rig, &ref);
    ref = start("echo up; while :; do sleep 0.01; done");
    rig_status(&rig, &ref, &status);
    spoil();
    assert_int_equal(viv_proc_suspend(rig.env, status.pid), VIV_OK);
    await_event("native.holder.reconnected", 1);
    spoil();
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.cause, VIV_CAUSE_KILL);
    held_close(&rig, &ref);
    ref = start("cat; exit 6");
    spoil();
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, true), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 6);
    held_close(&rig, &ref);
}

// ---- another kernel ----

static int dir_of_holders(void)
{
    const int fd = open(held_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static int knock(const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    char path[80];
    rig_status(&rig, ref, &status);
    const int dir_fd = dir_of_holders();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/%s.sock", dir_fd, status.digest);
    const int fd = viv_os_local_connect_packets(path);
    CHECK(fd >= 0);
    CHECK(close(dir_fd) == 0);
    return fd;
}

static void hear(int fd, struct viv_hold_frame *out_frame)
{
    uint8_t bytes[2048];
    struct viv_packet packet = {.data = bytes, .len = sizeof bytes};
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    CHECK(poll(&wait, 1, 10000) == 1);
    const ssize_t n = viv_os_packet_receive(fd, &packet);
    CHECK(n > 0 && viv_hold_frame_decode(bytes, (size_t)n, out_frame));
    for (size_t i = 0; i < packet.fd_count; i++)
        CHECK(close(packet.fds[i]) == 0);
}

// As the kernel after this one would.
static int take_over(const struct viv_native_ref *ref)
{
    struct viv_hold_frame frame;
    struct viv_hold_attach attach = {.protocol = VIV_HOLD_PROTOCOL};
    uint8_t key[VIV_HOLD_KEY_BYTES];
    const int fd = knock(ref);
    FILE *file = fopen("held-state/native/key", "r");
    CHECK(file != NULL && fread(key, 1, sizeof key, file) == sizeof key);
    (void)fclose(file);
    file = fopen("held-state/native/epoch", "r");
    CHECK(file != NULL && fread(&attach.epoch, sizeof attach.epoch, 1, file) == 1);
    (void)fclose(file);
    attach.epoch++;
    hear(fd, &frame);
    assert_int_equal(frame.head.type, VIV_HOLD_HELLO);
    viv_hold_prove(key, frame.body.hello.nonce, attach.epoch, attach.uuid, attach.proof);
    CHECK(viv_hold_frame_send(
              fd, &(struct viv_hold_sent){.type = VIV_HOLD_ATTACH, .body = &attach}) >= 0);
    hear(fd, &frame);
    assert_int_equal(frame.head.type, VIV_HOLD_ATTACHED);
    return fd;
}

static void end_it(int fd)
{
    struct viv_hold_frame frame = {.byte_count = 0};
    const struct viv_hold_stop stop = {.cause = VIV_CAUSE_KILL, .kills = 1, .forgets = 1};
    CHECK(viv_hold_frame_send(fd, &(struct viv_hold_sent){.type = VIV_HOLD_STOP, .body = &stop}) >=
          0);
    hear(fd, &frame);
    held_await_no_files();
    CHECK(close(fd) == 0);
    CHECK(waitpid(-1, NULL, 0) > 0); // its init is the child of the kernel that started it
}

static void case_101_a_later_kernel_is_left_with_it(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    const struct viv_native_ref ref = start("sleep 1000");
    const int fd = take_over(&ref);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_LOST);
    assert_int_equal(count_events("native.holder.displaced"), 1);
    assert_int_equal(count_events("native.holder.reconnected"), 0);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    rig_sleep(&rig, 50 * MS);
    assert_int_equal(held_count_files(), 2); // the program is another's, and lives
    end_it(fd);
    rig_close(&rig);
}

// It did not hear that it was displaced: the holder says STALE.
static void case_101_stale_when_it_calls_again(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_peer peer;
    const struct viv_native_ref ref = start("sleep 1000");
    int fd = knock(&ref);
    CHECK(viv_os_local_peer(fd, &peer) >= 0);
    CHECK(close(fd) == 0);
    CHECK(kill(peer.pid, SIGSTOP) == 0);
    cut();
    rig_sleep(&rig, 20 * MS); // it calls, and waits behind the later one or before it
    CHECK(kill(peer.pid, SIGCONT) == 0);
    fd = take_over(&ref);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_LOST);
    end_it(fd);
    rig_close(&rig);
}

// ---- nobody ----

static void case_103_its_holder_is_killed(void **state)
{
    (void)state;
    struct viv_native_exit exit;
    struct viv_native_status status;
    struct viv_peer peer;
    const struct viv_native_ref ref = start("echo up; sleep 1000");
    rig_await_output(&rig, &ref, 3);
    rig_status(&rig, &ref, &status);
    assert_true(status.os_pid > 0);
    const int fd = knock(&ref);
    CHECK(viv_os_local_peer(fd, &peer) >= 0);
    CHECK(close(fd) == 0);
    const uint64_t from_ns = viv_os_now_ns();
    CHECK(kill(peer.pid, SIGKILL) == 0);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_true(viv_os_now_ns() - from_ns < 2 * VIV_NS_PER_SEC);
    assert_int_equal(exit.kind, VIV_NATIVE_LOST);
    assert_int_equal(exit.cause, VIV_CAUSE_LOST);
    assert_int_equal(count_events("native.holder.lost"), 1);
    assert_int_equal(rig_logs(&rig, &ref, 1, text, sizeof text), 3); // still mapped
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (kill(status.os_pid, 0) == 0) {
        assert_true(viv_os_now_ns() < end_ns);
        rig_sleep(&rig, MS);
    }
    held_close(&rig, &ref);
}

// ---- what cannot be had while it is made again ----

static void each_call_of_reconnecting_fails_once(void **state)
{
    (void)state;
    static const char *const calls[] = {"socket",  "connect",   "getsockopt", "sendmsg",
                                        "recvmsg", "epoll_ctl", "fcntl"};
    struct viv_native_status status;
    const struct viv_native_ref ref = start("cat");
    int count = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        for (uint64_t n = 1; n < 4; n++) {
            viv_fault_set(calls[i], n, EMFILE);
            cut();
            await_event("native.holder.reconnected", ++count);
            viv_fault_set("*", 0, 0);
            rig_status(&rig, &ref, &status);
            if (status.phase != VIV_NATIVE_RUNNING) fail_msg("%s %d", calls[i], (int)n);
        }
    }
    assert_int_equal(rig_write(&rig, &ref, "still\n"), VIV_OK);
    rig_await_output(&rig, &ref, 6);
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    held_close(&rig, &ref);
}

static void each_allocation_of_reconnecting_fails_once(void **state)
{
    (void)state;
    struct viv_native_status status;
    const struct viv_native_ref ref = start("cat");
    bool was_hit = true;
    int count = 0;
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < NTH_MAX);
        viv_alloc_fail_nth(n);
        cut();
        const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
        for (bool is_there = false; !is_there; rig_sleep(&rig, MS)) {
            assert_true(viv_os_now_ns() < end_ns);
            // Counting allocates, so it is looked at otherwise: a write is answered.
            is_there = rig_write(&rig, &ref, "x") == VIV_OK;
        }
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        count++;
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
    }
    assert_true(count > 1);
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    held_close(&rig, &ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_100_input_arrives_once_over_many_connections, held_set_up),
        cmocka_unit_test_setup(orders_are_carried_out_after_it_was_cut, held_set_up),
        cmocka_unit_test_setup(each_order_that_may_be_repeated_is, held_set_up),
        cmocka_unit_test_setup(case_101_a_later_kernel_is_left_with_it, held_set_up),
        cmocka_unit_test_setup(case_101_stale_when_it_calls_again, held_set_up),
        cmocka_unit_test_setup(case_103_its_holder_is_killed, held_set_up),
        cmocka_unit_test_setup(each_call_of_reconnecting_fails_once, held_set_up),
        cmocka_unit_test_setup(each_allocation_of_reconnecting_fails_once, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_link", tests, NULL, NULL);
}
