// SPDX-License-Identifier: Apache-2.0
// Bytes of a held program: stdin, the terminal, output, the bell, readiness. The numbers are those
// of the cases that section 8 has for programs of a kernel.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include "os/share.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct hold_rig rig;
static struct hold_kernel one;

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

static void start(const char *word, const char *then)
{
    const char *const words[] = {word, then, NULL};
    hold_start(&rig, &one, words);
}

static void stop(uint64_t grace_ns, int32_t signo)
{
    const struct viv_hold_stop order = {
        .cause = VIV_CAUSE_STOP, .grace_ns = grace_ns, .signo = signo};
    CHECK(hold_order(&one, VIV_HOLD_STOP, &order) == VIV_OK);
}

static void end(void)
{
    hold_await_phase(&one, VIV_NATIVE_EXITED);
}

static const struct viv_hold_exit *how(void)
{
    return &one.state.exit;
}

// ---------------------------------------------------------------------------------- stdin,
// terminal

static struct viv_hold_answer write_stdin(enum viv_stdin_mode mode, uint32_t framing,
                                          const char *text)
{
    const struct viv_hold_stdin order = {.mode = (uint32_t)mode, .framing = framing};
    return hold_ask(&one, VIV_HOLD_STDIN, &order, text, strlen(text));
}

static void keep_stdin(void)
{
    rig.has_stdin = true;
    rig.birth.numbers.flags |= VIV_HOLD_KEEPS_STDIN;
}

static void n81_n88_input_and_its_end(void **state)
{
    (void)state;
    const struct viv_hold_number drains = {1};
    keep_stdin();
    rig.birth.texts[VIV_HOLD_TEXT_PRELUDE] = (struct viv_hold_text){"first ", 6};
    start("echo", "exit=0");
    struct viv_hold_answer answer = write_stdin(VIV_STDIN_ALL, 0, "second ");
    CHECK(answer.err == VIV_OK && answer.taken == 7 && answer.accepted == 13);
    answer = write_stdin(VIV_STDIN_ALL, 1 + VIV_NATIVE_FRAMING_LINE, "line");
    CHECK(answer.err == VIV_OK && answer.taken == 4 && answer.accepted == 18);
    CHECK(write_stdin(VIV_STDIN_ALL, 1 + VIV_NATIVE_FRAMING_LINE, "a\nb").err == VIV_E_INVAL);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &drains) == VIV_OK);
    CHECK(write_stdin(VIV_STDIN_ALL, 0, "late").err == VIV_E_CLOSED);
    end();
    CHECK(hold_says(&one, "first second line\n"));
    CHECK(how()->stdin_accepted == 18 && how()->stdin_delivered == 18 && how()->received[0] == 18);
    hold_release(&rig, &one);
}

// A program that reads nothing: what does not fit is told, and a close now drops what waits.
static void n84_a_full_queue_is_closed(void **state)
{
    (void)state;
    static char bytes[4096 + 1];
    const struct viv_hold_number now = {0};
    struct viv_hold_answer answer;
    uint64_t sum = 0;
    memset(bytes, 'x', 4096);
    keep_stdin();
    rig.birth.numbers.stdin_queue_bytes = 8192;
    start("deaf", NULL);
    do {
        answer = write_stdin(VIV_STDIN_ALL, 0, bytes);
        sum += answer.taken;
    } while (answer.err == VIV_OK && sum < (1 << 20));
    CHECK(answer.err == VIV_E_FULL && answer.taken == 0 && answer.accepted == sum);
    CHECK(answer.delivered < answer.accepted);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &now) == VIV_OK);
    CHECK(write_stdin(VIV_STDIN_SOME, 0, "x").err == VIV_E_CLOSED);
    stop(0, 0);
    end();
    // Its pipe may have taken more between the answer and the close.
    CHECK(how()->stdin_accepted == sum && how()->stdin_delivered >= answer.delivered);
    CHECK(how()->stdin_delivered <= sum);
    hold_release(&rig, &one);
}

static void n86_without_a_pipe_there_is_no_input(void **state)
{
    (void)state;
    const struct viv_hold_resize size = {30, 100};
    start("deaf", NULL);
    CHECK(write_stdin(VIV_STDIN_ALL, 0, "x").err == VIV_E_CLOSED);
    CHECK(hold_order(&one, VIV_HOLD_RESIZE, &size) == VIV_E_UNSUPPORTED);
    CHECK(one.state.stdin_state == VIV_STDIN_NONE);
    hold_finish(&rig, &one);
}

static void use_terminal(void)
{
    rig.has_terminal = true;
    rig.birth.numbers.flags |= VIV_HOLD_HAS_TERMINAL;
}

static void n87_a_terminal_is_resized(void **state)
{
    (void)state;
    const struct viv_hold_resize size = {33, 101};
    uint16_t rows, columns;
    use_terminal();
    start("await=28", "tty"); // SIGWINCH
    CHECK(hold_says(&one, "ready"));
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2) && one.tty_fd >= 0);
    CHECK(hold_order(&one, VIV_HOLD_RESIZE, &size) == VIV_OK);
    CHECK(viv_os_pty_size(one.tty_fd, &rows, &columns) == 0 && rows == 33 && columns == 101);
    end();
    CHECK(hold_says(&one, "caught 28") && hold_says(&one, "tty: 1 1 1 33x101"));
    CHECK(one.state.eof == 3);
    CHECK(hold_order(&one, VIV_HOLD_RESIZE, &size) == VIV_OK); // nobody minds
    hold_release(&rig, &one);
}

static void n87_end_of_input_of_a_terminal(void **state)
{
    (void)state;
    const struct viv_hold_number drains = {1};
    use_terminal();
    start("echo", "exit=0");
    CHECK(write_stdin(VIV_STDIN_ALL, 0, "typed").err == VIV_OK); // without an end of line
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &drains) == VIV_OK);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &drains) == VIV_OK);
    end();
    CHECK(how()->kind == VIV_NATIVE_EXITED_BY_ITSELF && how()->code == 0);
    CHECK(hold_says(&one, "typed"));
    hold_release(&rig, &one);
}

static void n87_a_raw_terminal_has_none(void **state)
{
    (void)state;
    const struct viv_hold_number drains = {1};
    use_terminal();
    start("await=15", "exit=0");
    CHECK(hold_says(&one, "ready"));
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2));
    CHECK(viv_os_pty_make_raw(one.tty_fd) == 0);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &drains) == VIV_E_UNSUPPORTED);
    CHECK(write_stdin(VIV_STDIN_ALL, 0, "x").err == VIV_OK);
    hold_finish(&rig, &one);
}

// ------------------------------------------------------------------------------- output, readiness

static void n74_output_is_closed(void **state)
{
    (void)state;
    const struct viv_hold_number both = {3};
    start("count=1000", NULL); // which gets SIGPIPE
    CHECK(hold_says(&one, "\n3\n"));
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_OUTPUT, &both) == VIV_OK);
    end();
    CHECK(how()->kind == VIV_NATIVE_SIGNALED && how()->code == SIGPIPE);
    CHECK((how()->flags & VIV_HOLD_EXIT_TRUNCATED) != 0 && one.state.eof == 3);
    hold_release(&rig, &one);
}

// The ring is full, the pipe takes the rest, and nobody reads.
static void n73_the_end_needs_no_reader(void **state)
{
    (void)state;
    static uint8_t bytes[100000];
    uint64_t offset = 0;
    rig.birth.numbers.ring_bytes = 64 << 10;
    rig.birth.numbers.flags |= VIV_HOLD_BACKPRESSURE;
    start("spew=100000", "exit=5");
    end();
    CHECK(how()->code == 5 && how()->received[0] == sizeof bytes && how()->evicted[0] == 0);
    CHECK(hold_read(&one, 0, &offset, bytes, sizeof bytes, 20) == sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        CHECK(bytes[i] == i % 251);
    hold_release(&rig, &one);
}

static bool is_rung(int timeout_ms)
{
    return viv_os_poll_fd(one.bell_fd, POLLIN, timeout_ms) > 0;
}

static struct viv_log_memory *memory(void)
{
    return one.memory;
}

static void move_saved(uint64_t saved)
{
    atomic_store(&memory()->heads[0].saved, saved);
    CHECK(hold_send(&one, VIV_HOLD_MOVED, NULL, NULL, 0));
}

static void await_end(uint64_t offset)
{
    struct viv_hold_frame frame;
    CHECK_WAIT(hold_end_offset(&one) == offset, 20, (void)hold_next(&one, 5, &frame));
    (void)hold_next(&one, 100, &frame); // and it stays so
    CHECK(hold_end_offset(&one) == offset);
}

// The word is the kernel's, and may be anything.
static void n104_what_is_not_saved_is_not_evicted(void **state)
{
    (void)state;
    const uint64_t ring = 64 << 10;
    rig.birth.numbers.ring_bytes = ring;
    rig.birth.numbers.flags |= VIV_HOLD_KEEPS_UNSAVED;
    start("spew=1000000", "exit=5");
    await_end(ring); // nothing is
    CHECK(atomic_load(&memory()->heads[0].evicted) == 0);
    move_saved(ring / 2);
    await_end(ring + ring / 2);
    CHECK(atomic_load(&memory()->heads[0].evicted) == ring / 2);
    move_saved(0); // back: it waits
    await_end(ring + ring / 2);
    move_saved(ring - 1);
    await_end(2 * ring - 1);
    move_saved(UINT64_MAX - 1); // more than there is: all of it, and no more
    end();
    CHECK(how()->code == 5 && how()->received[0] == 1000000);
    CHECK(how()->evicted[0] >= ring - 1 && how()->evicted[0] < 1000000);
    hold_release(&rig, &one);
}

static void n80_the_bell_is_for_who_sleeps(void **state)
{
    (void)state;
    start("count=1000", NULL);
    CHECK(hold_says(&one, "\n50\n"));
    CHECK(!is_rung(0)); // nobody slept
    atomic_exchange(&memory()->reader_sleeps, 1);
    CHECK(is_rung(20000));
    CHECK(atomic_load(&memory()->reader_sleeps) == 0); // rung once
    CHECK(viv_os_bell_empty(one.bell_fd) >= 0);
    const uint64_t before = hold_end_offset(&one);
    CHECK_WAIT(hold_end_offset(&one) > before + 40, 20, (void)0);
    CHECK(!is_rung(0));
    // The end of the stream is something new, too.
    const struct viv_hold_number frozen = {1};
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &frozen) == VIV_OK);
    atomic_exchange(&memory()->reader_sleeps, 1);
    VIV_IGNORE(viv_os_bell_empty(one.bell_fd), "what came before it stood still");
    stop(0, 0);
    CHECK(is_rung(20000));
    end();
    hold_release(&rig, &one);
}

static void await_ready(void)
{
    struct viv_hold_frame frame;
    CHECK_WAIT((one.state.flags & VIV_HOLD_STATE_READY) != 0 || hold_next(&one, 10, &frame), 20,
               (void)0);
}

static void n106_it_says_that_it_is_ready(void **state)
{
    (void)state;
    rig.has_ready = true;
    start("await=10", "ready");
    CHECK(hold_says(&one, "ready"));
    CHECK((one.state.flags & VIV_HOLD_STATE_READY) == 0);
    const struct viv_frame_signal signal = {SIGUSR1, VIV_TARGET_GROUP};
    CHECK(hold_order(&one, VIV_HOLD_SIGNAL, &signal) == VIV_OK);
    await_ready();
    end();
    hold_release(&rig, &one);
}

static void n106_a_line_says_it(void **state)
{
    (void)state;
    rig.birth.texts[VIV_HOLD_TEXT_READY_LINE] = (struct viv_hold_text){"\n37", 3};
    start("count=5000", NULL);
    await_ready();
    CHECK(hold_says(&one, "\n37"));
    hold_finish(&rig, &one);
}

// ------------------------------------------------------------------------------------- end of file

// Somebody outside of the tree holds the pipe.
static int grab_output(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd/1", rig.leader);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static void n72_end_of_file_comes_after_who_holds_the_pipe(void **state)
{
    (void)state;
    struct viv_hold_frame frame;
    start("await=15", NULL);
    CHECK(hold_says(&one, "ready"));
    const int fd = grab_output();
    stop(9 * VIV_NS_PER_SEC, 0);
    CHECK_WAIT((one.state.flags & VIV_HOLD_STATE_EXIT) != 0 || hold_next(&one, 10, &frame), 20,
               (void)0);
    usleep(100000);
    CHECK(!hold_next(&one, 0, &frame) || one.state.phase != VIV_NATIVE_EXITED);
    CHECK(write(fd, "late", 4) == 4);
    viv_os_close(fd);
    end();
    CHECK(hold_says(&one, "late"));
    CHECK(one.state.eof == 3 && (how()->flags & VIV_HOLD_EXIT_TRUNCATED) == 0);
    hold_release(&rig, &one);
}

static void n72_but_is_not_waited_for_for_ever(void **state)
{
    (void)state;
    rig.birth.numbers.eof_linger_ms = 200;
    start("await=15", NULL);
    CHECK(hold_says(&one, "ready"));
    const int fd = grab_output();
    stop(0, 0);
    end();
    CHECK(one.state.eof == 3 && (how()->flags & VIV_HOLD_EXIT_TRUNCATED) != 0);
    viv_os_close(fd);
    hold_release(&rig, &one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n81_n88_input_and_its_end),
        TEST(n86_without_a_pipe_there_is_no_input),
        TEST(n84_a_full_queue_is_closed),
        TEST(n87_a_terminal_is_resized),
        TEST(n87_end_of_input_of_a_terminal),
        TEST(n87_a_raw_terminal_has_none),
        TEST(n72_end_of_file_comes_after_who_holds_the_pipe),
        TEST(n72_but_is_not_waited_for_for_ever),
        TEST(n73_the_end_needs_no_reader),
        TEST(n74_output_is_closed),
        TEST(n104_what_is_not_saved_is_not_evicted),
        TEST(n80_the_bell_is_for_who_sleeps),
        TEST(n106_it_says_that_it_is_ready),
        TEST(n106_a_line_says_it),
    };
    return cmocka_run_group_tests_name("native.hold_streams", tests, NULL, NULL);
}
