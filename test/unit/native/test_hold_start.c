// SPDX-License-Identifier: Apache-2.0
// The start of a held program where it is not as it should be: OPEN and HAND that are refused, and
// what is left then, which is nothing.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/file.h"
#include "os/packet.h"
#include <string.h>
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
    hold_rig_close(&rig); // looks that no process and no file is left
    return 0;
}

static void expect_refusal(enum viv_err err)
{
    const struct viv_hold_frame answer = hold_open(&rig, &one);
    CHECK(answer.head.type == VIV_HOLD_OK && answer.body.answer.err == (uint32_t)err);
    hold_detach(&one);
    hold_await_nobody();
    CHECK(!hold_has_file(&rig, "rec") && !hold_has_file(&rig, "sock"));
}

static void change_protocol(struct viv_hold_open *open)
{
    open->protocol++;
}
static void change_build(struct viv_hold_open *open)
{
    open->build ^= 1;
}
static void change_length(struct viv_hold_open *open)
{
    open->birth_bytes++;
}
static void forget_length(struct viv_hold_open *open)
{
    open->birth_bytes = 0;
}

static void n23_an_open_that_is_wrong(void **state)
{
    (void)state;
    static const struct {
        void (*change)(struct viv_hold_open *open);
        enum viv_err err;
    } rows[] = {{change_protocol, VIV_E_UNSUPPORTED},
                {change_build, VIV_E_UNSUPPORTED},
                {change_length, VIV_E_INVAL},
                {forget_length, VIV_E_INVAL}};
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        rig.change_open = rows[i].change;
        expect_refusal(rows[i].err);
    }
}

static void n23_a_birth_that_is_wrong(void **state)
{
    (void)state;
    rig.birth.numbers.stream_count = 3;
    expect_refusal(VIV_E_INVAL);
    rig.birth.numbers.stream_count = 1;
    rig.birth.has_end = true;
    rig.birth.end.phase = VIV_NATIVE_EXITED;
    expect_refusal(VIV_E_INVAL);
    rig.birth.has_end = false;
}

// The other one's files stay, and it goes on.
static void n23_a_digest_that_is_taken(void **state)
{
    (void)state;
    static const char *const words[] = {"count=1000", NULL};
    hold_start(&rig, &one, words);
    const pid_t holder = rig.holder;
    const struct viv_hold_frame answer = hold_open(&rig, &two);
    CHECK(answer.head.type == VIV_HOLD_OK && answer.body.answer.err == VIV_E_EXISTS);
    hold_detach(&two);
    CHECK(hold_has_file(&rig, "rec") && hold_has_file(&rig, "sock"));
    CHECK(hold_attach(&rig, &two, 2) && two.state.leader == rig.leader);
    rig.holder = holder;
    hold_detach(&one);
    hold_finish(&rig, &two);
}

// A first frame that is none, or without what belongs to it.
static void n23_another_beginning(void **state)
{
    (void)state;
    static const uint16_t types[] = {VIV_HOLD_OPEN, VIV_HOLD_HAND,    VIV_HOLD_ATTACH,
                                     VIV_HOLD_STOP, VIV_HOLD_RELEASE, VIV_HOLD_OK};
    for (size_t i = 0; i < VIV_COUNT_OF(types); i++) {
        struct viv_hold_frame frame;
        hold_launch(&rig, &one);
        const uint8_t body[512] = {0};
        CHECK(hold_send(&one, types[i], body, NULL, 0));
        CHECK_WAIT(one.is_closed || hold_next(&one, 100, &frame), 20, (void)0);
        CHECK(one.is_closed);
        hold_detach(&one);
        hold_await_nobody();
    }
}

// Descriptors that do not fit are closed: the pipe they are of is at its end.
static void hand_wrongly(uint32_t mask, size_t count)
{
    int pipe_fds[2], fds[VIV_HOLD_FDS];
    char byte;
    struct viv_hold_frame frame;
    CHECK(viv_os_pipe(pipe_fds) == 0);
    for (size_t i = 0; i < count; i++)
        fds[i] = pipe_fds[1];
    const struct viv_hold_hand hand = {.fd_mask = mask, .rung = VIV_RUNG_TREE};
    const struct viv_hold_sent sent = {
        .type = VIV_HOLD_HAND, .request = 77, .body = &hand, .fds = fds, .fd_count = count};
    CHECK(viv_hold_frame_send(one.fd, &sent) == 0);
    CHECK_WAIT(hold_next(&one, 100, &frame) || one.is_closed, 20, (void)0);
    CHECK(!one.is_closed && frame.head.type == VIV_HOLD_OK && frame.head.request == 77);
    CHECK(frame.body.answer.err == VIV_E_INVAL);
    viv_os_close(pipe_fds[1]);
    CHECK(viv_os_read(pipe_fds[0], &byte, 1) == 0);
    viv_os_close(pipe_fds[0]);
}

static void n23_a_hand_that_is_wrong(void **state)
{
    (void)state;
    static const char *const words[] = {"exit=7", NULL};
    CHECK(hold_open(&rig, &one).head.type == VIV_HOLD_ATTACHED);
    hand_wrongly(1 << VIV_HOLD_FD_LINK | 1 << VIV_HOLD_FD_OUT, 1);
    hand_wrongly(1 << VIV_HOLD_FD_LINK, 2);
    hand_wrongly(1 << VIV_HOLD_FD_OUT, 1); // without init
    hand_wrongly(0, 0);
    CHECK(hold_hand(&rig, &one, words) == VIV_OK); // it is taken all the same
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    CHECK(one.state.exit.code == 7);
    hold_release(&rig, &one);
}

// The kernel dies between the two: nothing runs on.
static void n23_nobody_hands_over(void **state)
{
    (void)state;
    CHECK(hold_open(&rig, &one).head.type == VIV_HOLD_ATTACHED);
    CHECK(hold_has_file(&rig, "rec") && hold_has_file(&rig, "sock"));
    hold_detach(&one);
    hold_await_nobody();
    CHECK(!hold_has_file(&rig, "rec") && !hold_has_file(&rig, "sock"));
}

// Nobody is let in before there is a program: who knocks is greeted when there is one.
static void n102_early_callers_wait(void **state)
{
    (void)state;
    static const char *const words[] = {"count=1000", NULL};
    struct viv_hold_frame frame;
    CHECK(hold_open(&rig, &one).head.type == VIV_HOLD_ATTACHED);
    CHECK(hold_knock(&rig, &two));
    CHECK(!hold_next(&two, 50, &frame) && !two.is_closed);
    CHECK(hold_hand(&rig, &one, words) == VIV_OK);
    CHECK_WAIT(hold_next(&two, 100, &frame) || two.is_closed, 20, (void)0);
    CHECK(!two.is_closed && frame.head.type == VIV_HOLD_HELLO);
    CHECK(strcmp(two.hello.digest, rig.birth.numbers.digest) == 0);
    hold_detach(&two);
    hold_finish(&rig, &one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n23_an_open_that_is_wrong),  TEST(n23_a_birth_that_is_wrong),
        TEST(n23_a_digest_that_is_taken), TEST(n23_another_beginning),
        TEST(n23_a_hand_that_is_wrong),   TEST(n23_nobody_hands_over),
        TEST(n102_early_callers_wait),
    };
    return cmocka_run_group_tests_name("native.hold_start", tests, NULL, NULL);
}
