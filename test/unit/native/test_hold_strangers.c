// SPDX-License-Identifier: Apache-2.0
// Who may order at `viv-holder hold`, and what becomes of those who may not. The program goes on
// counting whatever is tried.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/file.h"
#include "os/local.h"
#include "os/packet.h"
#include "os/rand.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct hold_rig rig;
static struct hold_kernel one, two;

static int set_up(void **state)
{
    (void)state;
    hold_rig_open(&rig);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hold_rig_close(&rig);
    return 0;
}

static void start_counting(void)
{
    static const char *const words[] = {"count=1000", NULL};
    hold_start(&rig, &one, words);
}

// The program runs on, and its controller is heard.
static void check_unaffected(struct hold_kernel *kernel)
{
    const uint64_t before = hold_end_offset(kernel);
    const struct viv_hold_set set = {.knob = VIV_KNOB_RETENTION, .value = VIV_NS_PER_SEC};
    CHECK(hold_order(kernel, VIV_HOLD_SET, &set) == VIV_OK);
    CHECK_WAIT(hold_end_offset(kernel) > before, 20, fprintf(stderr, "it does not count\n"));
    CHECK(kernel->state.phase == VIV_NATIVE_RUNNING);
}

static void await_close(struct hold_kernel *kernel)
{
    struct viv_hold_frame frame;
    CHECK_WAIT(kernel->is_closed || (hold_next(kernel, 100, &frame), kernel->is_closed), 20,
               fprintf(stderr, "it is not closed\n"));
}

// -------------------------------------------------------------------------------------- displaced

static void n101_the_old_kernel_is_not_heard(void **state)
{
    (void)state;
    const struct viv_hold_stop stop = {.cause = VIV_CAUSE_STOP, .kills = 1};
    start_counting();
    CHECK(hold_attach(&rig, &two, 2));
    CHECK(!hold_send(&one, VIV_HOLD_STOP, &stop, NULL, 0)); // nobody reads it
    await_close(&one);
    CHECK(one.is_displaced);
    hold_detach(&one);
    CHECK(!hold_attach(&rig, &one, 1));
    CHECK(one.is_stale);
    await_close(&one);
    check_unaffected(&two);
    hold_detach(&one);
    hold_finish(&rig, &two);
}

// Another kernel of the same epoch, which cannot be; and the same one again.
static void n101_of_equal_epochs_only_the_same_kernel(void **state)
{
    (void)state;
    struct viv_hold_attach attach;
    start_counting();
    CHECK(hold_attach(&rig, &two, 5));
    hold_detach(&one);
    CHECK(hold_connect(&rig, &one));
    hold_fill_attach(&one, 5, &attach);
    attach.uuid[3] ^= 1;
    viv_hold_prove(rig.key, one.hello.nonce, attach.epoch, attach.uuid, attach.proof);
    CHECK(hold_send(&one, VIV_HOLD_ATTACH, &attach, NULL, 0));
    await_close(&one);
    CHECK(one.is_stale && !two.is_displaced);
    check_unaffected(&two);
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 5));
    await_close(&two);
    CHECK(two.is_displaced);
    check_unaffected(&one);
    hold_detach(&two);
    hold_finish(&rig, &one);
}

// Both speak while the holder is stopped: what of the old one's was carried out was answered, and
// the rest was not carried out.
static void n101_what_was_under_way_is_answered_or_dropped(void **state)
{
    (void)state;
    enum { WRITES = 40 };
    static const char *const words[] = {"echo", NULL};
    const struct viv_hold_stdin how = {.mode = VIV_STDIN_ALL};
    struct viv_hold_attach attach;
    struct viv_hold_frame frame;
    uint32_t answers = 0;
    rig.has_stdin = true;
    rig.birth.numbers.flags |= VIV_HOLD_KEEPS_STDIN;
    hold_start(&rig, &one, words);
    CHECK(hold_connect(&rig, &two));
    CHECK(kill(rig.holder, SIGSTOP) == 0);
    hold_fill_attach(&two, 2, &attach);
    CHECK(hold_send(&two, VIV_HOLD_ATTACH, &attach, NULL, 0));
    for (int i = 0; i < WRITES; i++)
        CHECK(hold_send(&one, VIV_HOLD_STDIN, &how, "x\n", 2));
    CHECK(kill(rig.holder, SIGCONT) == 0);
    CHECK_WAIT(two.state.sequence > 0 || hold_next(&two, 100, &frame), 20, (void)0);
    while (!one.is_closed) // all of it lies there, and its end
        if (hold_next(&one, 100, &frame)) answers += frame.head.type == VIV_HOLD_OK;
    CHECK(one.is_displaced && answers < WRITES);
    CHECK(two.state.stdin_accepted == 2 * answers);
    hold_detach(&one);
    hold_detach(&two);
    CHECK(hold_attach(&rig, &two, 2));
    CHECK(two.state.stdin_accepted == 2 * answers);
    hold_finish(&rig, &two);
}

// ------------------------------------------------------------------------------------- who they
// are

// 0: refused at once, 1: greeted.
static int greet_as(uid_t uid)
{
    struct hold_kernel kernel;
    int status;
    const pid_t pid = hold_fork();
    if (pid == 0) {
        CHECK(setresgid(uid, uid, uid) == 0 && setresuid(uid, uid, uid) == 0);
        _exit(hold_connect(&rig, &kernel));
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void n102_another_user_is_refused(void **state)
{
    (void)state;
    char path[128];
    start_counting();
    CHECK(greet_as(BOX_NOBODY) == 0); // by the directory
    snprintf(path, sizeof path, "%s/%s.sock", rig.dir, rig.birth.numbers.digest);
    struct stat stat;
    CHECK(lstat(path, &stat) == 0 && (stat.st_mode & 0777) == 0600);
    CHECK(chmod(rig.dir, 0755) == 0);
    CHECK(greet_as(BOX_NOBODY) == 0); // by the socket
    CHECK(chmod(path, 0666) == 0);
    CHECK(greet_as(BOX_NOBODY) == 0); // by the holder
    CHECK(greet_as(0) == 1);
    check_unaffected(&one);
    hold_finish(&rig, &one);
}

// A holder that is nobody's has no right to anything; and the superuser may attach.
static void n102_root_is_heard_by_others_holders(void **state)
{
    (void)state;
    static const char *const words[] = {"ids", "count=1000", NULL};
    char path[64];
    struct stat stat;
    rig.is_nobody = true;
    CHECK(chmod(rig.dir, 0755) == 0);
    const pid_t kernel = hold_start_elsewhere(&rig, words);
    CHECK(greet_as(1234) == 0);
    CHECK(greet_as(BOX_NOBODY) == 1);
    CHECK(hold_attach(&rig, &two, 2));
    CHECK(two.state.leader == rig.leader);
    snprintf(path, sizeof path, "/proc/%d/environ", rig.holder);
    CHECK(lstat(path, &stat) == 0 && stat.st_uid == 0); // it cannot be dumped: not even its user's
    CHECK(hold_says(&two, "uid=65534 "));
    check_unaffected(&two);
    hold_kill(kernel);
    hold_finish(&rig, &two);
}

// ------------------------------------------------------------------------------------ what they
// say

// Sent over a new connection, it is closed, with no frame but the greeting.
static void expect_refusal(uint16_t type, const void *body, size_t len)
{
    uint8_t bytes[1024] = {0};
    CHECK(hold_connect(&rig, &two));
    const struct viv_frame_head head = {.type = type, .length = (uint32_t)len};
    memcpy(bytes, &head, sizeof head);
    CHECK(len <= sizeof bytes - sizeof head);
    if (len > 0) memcpy(bytes + sizeof head, body, len);
    struct viv_packet packet = {.data = bytes, .len = sizeof head + len};
    CHECK(viv_os_packet_send(two.fd, &packet) == 0);
    await_close(&two);
    CHECK(!two.is_stale && two.state.sequence == 0);
    hold_detach(&two);
}

static void try_proof(void (*change)(struct viv_hold_attach *attach))
{
    struct viv_hold_attach attach;
    CHECK(hold_connect(&rig, &two));
    hold_fill_attach(&two, 2, &attach);
    change(&attach);
    CHECK(hold_send(&two, VIV_HOLD_ATTACH, &attach, NULL, 0));
    await_close(&two);
    CHECK(!two.is_stale && two.state.sequence == 0);
    hold_detach(&two);
}

static void change_proof(struct viv_hold_attach *attach)
{
    attach->proof[15] ^= 0x80;
}
static void change_epoch(struct viv_hold_attach *attach)
{
    attach->epoch++;
}
static void change_uuid(struct viv_hold_attach *attach)
{
    attach->uuid[0] ^= 1;
}
static void change_protocol(struct viv_hold_attach *attach)
{
    attach->protocol = VIV_HOLD_PROTOCOL + 1;
}
static void forget_proof(struct viv_hold_attach *attach)
{
    memset(attach->proof, 0, sizeof attach->proof);
}

static void n102_wrong_proofs(void **state)
{
    (void)state;
    struct viv_hold_attach attach;
    uint8_t key[VIV_HOLD_KEY_BYTES];
    start_counting();
    try_proof(change_proof);
    try_proof(change_epoch);
    try_proof(change_uuid);
    try_proof(change_protocol);
    try_proof(forget_proof);
    // The key of another state directory.
    memcpy(key, rig.key, sizeof key);
    rig.key[0] ^= 1;
    CHECK(!hold_attach(&rig, &two, 2) && two.is_closed && !two.is_stale);
    hold_detach(&two);
    memcpy(rig.key, key, sizeof key);
    // What proved somebody a moment ago, on another connection.
    CHECK(hold_connect(&rig, &two));
    hold_fill_attach(&two, 2, &attach);
    hold_detach(&two);
    expect_refusal(VIV_HOLD_ATTACH, &attach, sizeof attach);
    check_unaffected(&one);
    CHECK(!one.is_displaced);
    hold_finish(&rig, &one);
}

static void n102_what_is_no_frame(void **state)
{
    (void)state;
    uint8_t body[512] = {0};
    start_counting();
    for (uint16_t type = 0; type < 256; type++) {
        const int length = viv_hold_frame_length(type);
        // Nobody has attached here: of all frames none is right, also where it is one.
        expect_refusal(type, body, length > 0 ? (size_t)length : 0);
    }
    expect_refusal(VIV_HOLD_ATTACH, body, sizeof(struct viv_hold_attach) - 1);
    expect_refusal(VIV_HOLD_ATTACH, body, sizeof(struct viv_hold_attach) + 1);
    expect_refusal(UINT16_MAX, body, 0);
    check_unaffected(&one);
    hold_finish(&rig, &one);
}

static void send_raw(struct hold_kernel *kernel, const void *data, size_t len)
{
    struct viv_packet packet = {.len = len};
    packet.data = malloc(len);
    CHECK(packet.data != NULL);
    memcpy(packet.data, data, len);
    CHECK(viv_os_packet_send(kernel->fd, &packet) == 0);
    free(packet.data);
}

static void n102_garbage(void **state)
{
    (void)state;
    static uint8_t bytes[VIV_HOLD_FRAME_BYTES_MAX + 1];
    static const size_t lengths[] = {1,           15, 16, 17, 200, 4096, 65536, sizeof bytes - 1,
                                     sizeof bytes};
    start_counting();
    CHECK(viv_os_random(bytes, sizeof bytes) == VIV_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(lengths); i++) {
        CHECK(hold_connect(&rig, &two));
        send_raw(&two, bytes, lengths[i]);
        await_close(&two);
        hold_detach(&two);
    }
    // Half of a frame, and then the end.
    const struct viv_frame_head head = {.type = VIV_HOLD_ATTACH,
                                        .length = sizeof(struct viv_hold_attach)};
    CHECK(hold_connect(&rig, &two));
    send_raw(&two, &head, sizeof head);
    await_close(&two);
    hold_detach(&two);
    check_unaffected(&one);
    hold_finish(&rig, &one);
}

// Descriptors that nobody asked for are closed: the pipe has an end.
static void n102_descriptors_nobody_asked_for(void **state)
{
    (void)state;
    struct viv_hold_attach attach;
    int pipe_fds[2];
    char byte;
    start_counting();
    CHECK(hold_connect(&rig, &two));
    hold_fill_attach(&two, 2, &attach);
    CHECK(viv_os_pipe(pipe_fds) == 0);
    const struct viv_hold_sent sent = {
        .type = VIV_HOLD_ATTACH, .body = &attach, .fds = &pipe_fds[1], .fd_count = 1};
    CHECK(viv_hold_frame_send(two.fd, &sent) == 0);
    await_close(&two);
    hold_detach(&two);
    viv_os_close(pipe_fds[1]);
    CHECK(viv_os_read(pipe_fds[0], &byte, 1) == 0);
    viv_os_close(pipe_fds[0]);
    check_unaffected(&one);
    hold_finish(&rig, &one);
}

// Also from who is attached: it has to come again.
static void n102_the_controller_talks_nonsense(void **state)
{
    (void)state;
    static const uint16_t types[] = {VIV_HOLD_OPEN,
                                     VIV_HOLD_HAND,
                                     VIV_HOLD_ATTACH,
                                     VIV_HOLD_HELLO,
                                     VIV_HOLD_STALE,
                                     VIV_HOLD_OK,
                                     0,
                                     7777};
    uint8_t body[512] = {0};
    start_counting();
    for (size_t i = 0; i < VIV_COUNT_OF(types); i++) {
        const int length = viv_hold_frame_length(types[i]);
        const struct viv_frame_head head = {.type = types[i],
                                            .length = length > 0 ? (uint32_t)length : 0};
        memcpy(body, &head, sizeof head);
        send_raw(&one, body, sizeof head + head.length);
        await_close(&one);
        CHECK(!one.is_displaced);
        hold_detach(&one);
        CHECK(hold_attach(&rig, &one, 1)); // the same epoch, the same kernel
        check_unaffected(&one);
    }
    hold_finish(&rig, &one);
}

// --------------------------------------------------------------------------------------- too many

static void n102_a_hundred_at_once(void **state)
{
    (void)state;
    enum { CALLERS = 100 };
    static struct hold_kernel callers[CALLERS];
    char path[128];
    uint32_t greeted = 0;
    struct viv_hold_frame frame;
    start_counting();
    snprintf(path, sizeof path, "%s/%s.sock", rig.dir, rig.birth.numbers.digest);
    CHECK(kill(rig.holder, SIGSTOP) == 0);
    for (int i = 0; i < CALLERS; i++) {
        memset(&callers[i], 0, sizeof callers[i]);
        callers[i].memory_fd = callers[i].bell_fd = callers[i].leader_fd = callers[i].tty_fd = -1;
        callers[i].fd = viv_os_local_connect_packets(path);
        CHECK(callers[i].fd >= 0);
    }
    CHECK(kill(rig.holder, SIGCONT) == 0);
    // A few are listened to, the others closed; who comes then is one of the few.
    CHECK(hold_attach(&rig, &two, 2));
    for (int i = 0; i < CALLERS; i++) {
        while (hold_next(&callers[i], 0, &frame)) {
        }
        greeted += !callers[i].is_closed;
        hold_detach(&callers[i]);
    }
    CHECK(greeted <= 3);
    check_unaffected(&two);
    hold_detach(&one);
    hold_finish(&rig, &two);
}

// Who says nothing is closed after a while.
static void n102_silence(void **state)
{
    (void)state;
    start_counting();
    CHECK(hold_connect(&rig, &two));
    const uint64_t from_ns = check_now_ns();
    await_close(&two);
    CHECK(check_now_ns() - from_ns > VIV_NS_PER_SEC);
    hold_detach(&two);
    check_unaffected(&one);
    hold_finish(&rig, &one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n101_the_old_kernel_is_not_heard),
        TEST(n101_of_equal_epochs_only_the_same_kernel),
        TEST(n101_what_was_under_way_is_answered_or_dropped),
        TEST(n102_wrong_proofs),
        TEST(n102_what_is_no_frame),
        TEST(n102_garbage),
        TEST(n102_descriptors_nobody_asked_for),
        TEST(n102_the_controller_talks_nonsense),
        TEST(n102_a_hundred_at_once),
        TEST(n102_silence),
    };
    const struct CMUnitTest of_root[] = {
        TEST(n102_another_user_is_refused),
        TEST(n102_root_is_heard_by_others_holders),
    };
    const int failed = cmocka_run_group_tests_name("native.hold_strangers", tests, NULL, NULL);
    if (geteuid() != 0) return failed; // nobody else can be had
    return failed | cmocka_run_group_tests_name("native.hold_users", of_root, NULL, NULL);
}
