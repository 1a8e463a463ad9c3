// SPDX-License-Identifier: Apache-2.0
// Orders of the controller of `viv-holder hold`, and what it does by itself: limits, retention, the
// bell. The numbers are those of the cases that sections 5, 6 and 8 have for programs of a kernel.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/pty.h"
#include "os/share.h"
#include <errno.h>
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

static enum viv_err set(uint32_t knob, uint64_t value_ns)
{
    const struct viv_hold_set order = {.knob = knob, .value = value_ns};
    return hold_order(&one, VIV_HOLD_SET, &order);
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

static bool was_killed(void)
{
    return how()->kind == VIV_NATIVE_SIGNALED && how()->code == SIGKILL &&
           (how()->flags & VIV_HOLD_EXIT_WE_KILLED) != 0;
}

// ------------------------------------------------------------------------- the end of the holder

static void n99_release_is_for_what_has_ended(void **state)
{
    (void)state;
    start("count=1000", NULL);
    CHECK(hold_order(&one, VIV_HOLD_RELEASE, NULL) == VIV_E_BUSY);
    CHECK(hold_has_file(&rig, "sock") && hold_has_file(&rig, "rec"));
    stop(0, 0);
    end();
    CHECK(hold_has_file(&rig, "sock") && hold_has_file(&rig, "rec"));
    hold_release(&rig, &one); // looks that they have gone
}

static void n99_before_a_program_there_are_no_orders(void **state)
{
    (void)state;
    const struct viv_hold_number number = {0};
    CHECK(hold_open(&rig, &one).head.type == VIV_HOLD_ATTACHED);
    CHECK(hold_has_file(&rig, "sock") && hold_has_file(&rig, "rec"));
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &number) == VIV_E_STATE);
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &number) == VIV_E_STATE);
    hold_detach(&one); // nobody will hand one over
    hold_await_nobody();
    CHECK(!hold_has_file(&rig, "sock") && !hold_has_file(&rig, "rec"));
    CHECK(hold_open(&rig, &one).head.type == VIV_HOLD_ATTACHED);
    hold_release(&rig, &one);
}

// sees: a kernel acknowledges the end.
static void let_it_lapse(bool sees)
{
    struct viv_hold_rec rec;
    void *data;
    start("exit=6", NULL);
    end();
    const struct viv_hold_number ack = {one.state.sequence};
    if (sees) {
        struct viv_hold_frame frame;
        CHECK(hold_send(&one, VIV_HOLD_ACK, &ack, NULL, 0));
        CHECK_WAIT((one.state.flags & VIV_HOLD_STATE_SEEN) != 0 || hold_next(&one, 10, &frame), 20,
                   (void)0);
    }
    CHECK(set(VIV_KNOB_RETENTION, 100 * VIV_NS_PER_MS) == VIV_OK);
    hold_detach(&one);
    hold_await_nobody();
    CHECK(!hold_has_file(&rig, "sock"));
    CHECK(hold_has_file(&rig, "rec") == !sees);
    if (sees) return;
    CHECK(hold_read_record(&rig, &rec, &data) && rec.has_end && rec.end.exit.code == 6);
    CHECK((rec.end.flags & VIV_HOLD_STATE_SEEN) == 0);
    free(data);
    hold_remove_files(&rig);
}

static void n62_an_end_that_was_seen_leaves_nothing(void **state)
{
    (void)state;
    let_it_lapse(true);
}

static void n62_an_end_that_nobody_saw_stays_written(void **state)
{
    (void)state;
    let_it_lapse(false);
}

// An acknowledgement of what was before the end is none of the end.
static void n62_an_early_acknowledgement_is_none(void **state)
{
    (void)state;
    start("await=15", "exit=0");
    CHECK(hold_says(&one, "ready"));
    const struct viv_hold_number ack = {one.state.sequence};
    CHECK(hold_send(&one, VIV_HOLD_ACK, &ack, NULL, 0));
    stop(9 * VIV_NS_PER_SEC, 0);
    end();
    CHECK(hold_send(&one, VIV_HOLD_ACK, &ack, NULL, 0));
    CHECK(set(VIV_KNOB_RETENTION, 0) == VIV_OK);
    hold_detach(&one);
    hold_await_nobody();
    CHECK(hold_has_file(&rig, "rec"));
    hold_remove_files(&rig);
}

// A record that cannot be written is tried again, and not given up while nobody has seen the end.
static void n62_a_record_waits_for_room(void **state)
{
    (void)state;
    char path[128];
    struct viv_hold_rec rec;
    void *data;
    start("await=15", "exit=0");
    CHECK(hold_says(&one, "ready"));
    CHECK(set(VIV_KNOB_RETENTION, 0) == VIV_OK);
    snprintf(path, sizeof path, "%s/%s.new", rig.dir, rig.birth.numbers.digest);
    CHECK(mkdir(path, 0700) == 0); // is in the way
    stop(9 * VIV_NS_PER_SEC, 0);
    end();
    CHECK(hold_read_record(&rig, &rec, &data) && !rec.has_end);
    free(data);
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2)); // it is there, though its time is over
    hold_detach(&one);
    CHECK(rmdir(path) == 0);
    hold_await_nobody();
    CHECK(hold_read_record(&rig, &rec, &data) && rec.has_end);
    free(data);
    hold_remove_files(&rig);
}

// Nobody wants to know: its end is its release.
static void n62_a_program_that_is_forgotten(void **state)
{
    (void)state;
    const struct viv_hold_stop order = {.cause = VIV_CAUSE_START, .kills = 1, .forgets = 1};
    start("deaf", NULL);
    CHECK(hold_says(&one, "deaf"));
    CHECK(hold_order(&one, VIV_HOLD_STOP, &order) == VIV_OK);
    hold_detach(&one);
    hold_await_nobody();
    CHECK(!hold_has_file(&rig, "sock") && !hold_has_file(&rig, "rec"));
}

// The last words of a kernel count, though it has not read what it was told and waits for nothing.
static void n44_who_goes_at_once_is_obeyed(void **state)
{
    (void)state;
    const struct viv_hold_stop order = {.cause = VIV_CAUSE_STOP, .grace_ns = 9 * VIV_NS_PER_SEC};
    const struct viv_hold_number frozen[] = {{1}, {0}, {1}, {0}}; // events that nobody reads
    start("await=15", "exit=3");
    CHECK(hold_says(&one, "ready"));
    for (size_t i = 0; i < VIV_COUNT_OF(frozen); i++)
        CHECK(hold_send(&one, VIV_HOLD_FREEZE, &frozen[i], NULL, 0));
    CHECK(hold_send(&one, VIV_HOLD_STOP, &order, NULL, 0));
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2));
    end();
    CHECK(how()->cause == VIV_CAUSE_STOP && how()->code == 3);
    hold_release(&rig, &one);
}

// ------------------------------------------------------------------------------------ idle, limits

static void await_idles(uint32_t count)
{
    struct viv_hold_frame frame;
    CHECK_WAIT(one.idles >= count || (hold_next(&one, 10, &frame), one.idles >= count), 20,
               fprintf(stderr, "asked %u times\n", one.idles));
    CHECK(one.idles == count);
}

static void touch(uint64_t at_ns)
{
    const struct viv_hold_touch order = {at_ns};
    CHECK(hold_order(&one, VIV_HOLD_TOUCH, &order) == VIV_OK);
}

static void n61_who_is_attached_is_asked(void **state)
{
    (void)state;
    rig.birth.numbers.knobs_ns[VIV_KNOB_IDLE] = 200 * VIV_NS_PER_MS;
    start("deaf", NULL);
    await_idles(1);
    const uint64_t from_ns = viv_os_now_ns();
    touch(from_ns); // something holds it
    await_idles(2);
    CHECK(viv_os_now_ns() - from_ns >= 200 * VIV_NS_PER_MS);
    CHECK(one.state.phase == VIV_NATIVE_RUNNING);
    CHECK(set(VIV_KNOB_GRACE, 0) == VIV_OK);
    touch(1); // nothing does
    end();
    CHECK(how()->cause == VIV_CAUSE_IDLE && one.idles == 2);
    hold_release(&rig, &one);
}

static void n61_no_answer_is_one(void **state)
{
    (void)state;
    rig.birth.numbers.knobs_ns[VIV_KNOB_IDLE] = 100 * VIV_NS_PER_MS;
    start("await=15", "exit=0");
    end();
    CHECK(how()->cause == VIV_CAUSE_IDLE && one.idles == 1);
    CHECK(how()->duration_ns >= 2 * VIV_NS_PER_SEC && how()->code == 0);
    hold_release(&rig, &one);
}

static void n61_nobody_is_asked_who_is_not_there(void **state)
{
    (void)state;
    struct viv_hold_rec rec;
    void *data = NULL;
    rig.birth.numbers.knobs_ns[VIV_KNOB_IDLE] = 100 * VIV_NS_PER_MS;
    start("await=15", "exit=0");
    hold_detach(&one);
    CHECK_WAIT((free(data), data = NULL, hold_read_record(&rig, &rec, &data)) && rec.has_end, 20,
               (void)0);
    free(data);
    CHECK(rec.end.exit.cause == VIV_CAUSE_IDLE);
    CHECK(hold_attach(&rig, &one, 2));
    hold_release(&rig, &one);
}

// Its output holds the clock; a longer limit counts from when something happened last.
static void n61_activity_and_another_limit(void **state)
{
    (void)state;
    rig.birth.numbers.knobs_ns[VIV_KNOB_IDLE] = 500 * VIV_NS_PER_MS;
    start("count=100000", NULL);
    CHECK(hold_says(&one, "\n8\n")); // for 800 ms at least
    CHECK(one.idles == 0);
    const struct viv_hold_number frozen = {1};
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &frozen) == VIV_OK);
    await_idles(1);
    CHECK(set(VIV_KNOB_IDLE, 900 * VIV_NS_PER_MS) == VIV_OK);
    await_idles(2); // it was asked anew
    hold_finish(&rig, &one);
}

static void n60_a_lifetime_that_is_set(void **state)
{
    (void)state;
    start("deaf", NULL);
    CHECK(hold_says(&one, "deaf"));
    CHECK(set(VIV_KNOB_GRACE, 100 * VIV_NS_PER_MS) == VIV_OK);
    CHECK(set(VIV_KNOB_LIFETIME, 1) == VIV_OK);
    end();
    CHECK(how()->cause == VIV_CAUSE_LIFETIME && was_killed());
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2));
    CHECK(one.state.knobs_ns[VIV_KNOB_LIFETIME] == 1);
    CHECK(one.state.knobs_ns[VIV_KNOB_GRACE] == 100 * VIV_NS_PER_MS);
    hold_release(&rig, &one);
}

static void n59_too_much_output(void **state)
{
    (void)state;
    rig.birth.numbers.max_output_bytes = 100000;
    start("spew=200000", "deaf");
    end();
    CHECK(how()->cause == VIV_CAUSE_OUTPUT && how()->received[0] == 100000);
    hold_release(&rig, &one);
}

// ------------------------------------------------------------------------------------ stop,
// signals

static void n44_a_stop_asks_first(void **state)
{
    (void)state;
    start("await=15", "exit=2");
    CHECK(hold_says(&one, "ready"));
    stop(20 * VIV_NS_PER_SEC, 0);
    end();
    CHECK(how()->cause == VIV_CAUSE_STOP && how()->kind == VIV_NATIVE_EXITED_BY_ITSELF);
    CHECK(how()->code == 2 && (how()->flags & VIV_HOLD_EXIT_WE_KILLED) == 0);
    hold_release(&rig, &one);
}

static void n44_a_stop_with_another_signal(void **state)
{
    (void)state;
    start("await=12", "exit=2");
    CHECK(hold_says(&one, "ready"));
    stop(20 * VIV_NS_PER_SEC, SIGUSR2);
    end();
    CHECK(how()->cause == VIV_CAUSE_STOP && how()->code == 2);
    CHECK(hold_says(&one, "caught 12"));
    hold_release(&rig, &one);
}

// The earliest end counts, whoever asked first.
static void n46_stops_share_the_earliest_end(void **state)
{
    (void)state;
    start("deaf", NULL);
    CHECK(hold_says(&one, "deaf"));
    const uint64_t from_ns = viv_os_now_ns();
    stop(60 * VIV_NS_PER_SEC, 0);
    CHECK(one.state.phase == VIV_NATIVE_STOPPING || one.state.phase == VIV_NATIVE_RUNNING);
    stop(200 * VIV_NS_PER_MS, 0);
    stop(60 * VIV_NS_PER_SEC, 0);
    end();
    CHECK(was_killed() && how()->cause == VIV_CAUSE_STOP);
    CHECK(viv_os_now_ns() - from_ns >= 200 * VIV_NS_PER_MS);
    hold_release(&rig, &one);
}

static void n52_what_was_killed_minds_no_order(void **state)
{
    (void)state;
    const struct viv_hold_stop kill_it = {.cause = VIV_CAUSE_KILL, .kills = 1};
    start("await=15", "exit=2");
    CHECK(hold_says(&one, "ready"));
    CHECK(hold_order(&one, VIV_HOLD_STOP, &kill_it) == VIV_OK);
    end();
    CHECK(was_killed() && how()->cause == VIV_CAUSE_KILL);
    // One that has ended minds no order.
    const struct viv_hold_number yes = {1};
    const struct viv_frame_signal signal = {SIGTERM, VIV_TARGET_LEADER};
    CHECK(hold_order(&one, VIV_HOLD_STOP, &kill_it) == VIV_OK);
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &yes) == VIV_OK);
    CHECK(hold_order(&one, VIV_HOLD_SIGNAL, &signal) == VIV_OK);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_STDIN, &yes) == VIV_OK);
    CHECK(hold_order(&one, VIV_HOLD_CLOSE_OUTPUT, &yes) == VIV_OK);
    CHECK((one.state.flags & VIV_HOLD_STATE_FROZEN) == 0 && how()->cause == VIV_CAUSE_KILL);
    hold_release(&rig, &one);
}

static void n42_a_signal(void **state)
{
    (void)state;
    const struct viv_frame_signal signal = {SIGUSR1, VIV_TARGET_LEADER};
    start("await=10", "exit=0");
    CHECK(hold_says(&one, "ready"));
    CHECK(hold_order(&one, VIV_HOLD_SIGNAL, &signal) == VIV_OK);
    end();
    CHECK(hold_says(&one, "caught 10"));
    CHECK(how()->cause == VIV_CAUSE_SELF);
    hold_release(&rig, &one);
}

static void await_frozen(bool is_frozen)
{
    struct viv_hold_frame frame;
    const uint32_t want = is_frozen ? VIV_HOLD_STATE_FROZEN : 0;
    CHECK_WAIT((one.state.flags & VIV_HOLD_STATE_FROZEN) == want || hold_next(&one, 10, &frame), 20,
               (void)0);
}

// Nothing is told of a program that stands still: its stop works all the same.
static void n43_frozen_and_thawed(void **state)
{
    (void)state;
    struct viv_hold_number number = {1};
    char stat_path[64], text[512] = "";
    start("count=1000", NULL);
    CHECK(hold_says(&one, "\n3\n"));
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &number) == VIV_OK);
    await_frozen(true);
    snprintf(stat_path, sizeof stat_path, "/proc/%d/stat", rig.leader);
    CHECK_WAIT(({
                   FILE *file = fopen(stat_path, "r");
                   CHECK(file != NULL && fgets(text, sizeof text, file) != NULL);
                   fclose(file);
                   strstr(text, ") T ") != NULL;
               }),
               20, fprintf(stderr, "%s\n", text));
    const uint64_t before = hold_end_offset(&one);
    number.value = 0;
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &number) == VIV_OK);
    await_frozen(false);
    CHECK_WAIT(hold_end_offset(&one) > before + 20, 20, (void)0);
    number.value = 1;
    CHECK(hold_order(&one, VIV_HOLD_FREEZE, &number) == VIV_OK);
    stop(60 * VIV_NS_PER_SEC, 0);
    end();
    CHECK(how()->kind == VIV_NATIVE_SIGNALED && how()->code == SIGTERM);
    CHECK((how()->flags & VIV_HOLD_EXIT_WE_KILLED) == 0);
    hold_release(&rig, &one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n99_release_is_for_what_has_ended),
        TEST(n99_before_a_program_there_are_no_orders),
        TEST(n62_an_end_that_was_seen_leaves_nothing),
        TEST(n62_an_end_that_nobody_saw_stays_written),
        TEST(n62_an_early_acknowledgement_is_none),
        TEST(n62_a_record_waits_for_room),
        TEST(n62_a_program_that_is_forgotten),
        TEST(n44_who_goes_at_once_is_obeyed),
        TEST(n61_who_is_attached_is_asked),
        TEST(n61_no_answer_is_one),
        TEST(n61_nobody_is_asked_who_is_not_there),
        TEST(n61_activity_and_another_limit),
        TEST(n60_a_lifetime_that_is_set),
        TEST(n59_too_much_output),
        TEST(n44_a_stop_asks_first),
        TEST(n44_a_stop_with_another_signal),
        TEST(n46_stops_share_the_earliest_end),
        TEST(n52_what_was_killed_minds_no_order),
        TEST(n42_a_signal),
        TEST(n43_frozen_and_thawed),
    };
    return cmocka_run_group_tests_name("native.hold_orders", tests, NULL, NULL);
}
