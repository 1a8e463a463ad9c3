// SPDX-License-Identifier: Apache-2.0
// A held program whose kernel does not come back, or late: orphan_ms, and what it printed
// meanwhile.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include <signal.h>
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

static void nap_ms(unsigned ms)
{
    usleep(ms * 1000);
}

static void await_record(struct viv_hold_rec *rec, void **data)
{
    *data = NULL;
    CHECK_WAIT((free(*data), *data = NULL, hold_read_record(&rig, rec, data)) && rec->has_end, 20,
               fprintf(stderr, "no end\n"));
}

static void orphan(const char *word, struct viv_hold_rec *rec)
{
    const char *const words[] = {word, "exit=4", NULL};
    void *data;
    rig.birth.numbers.orphan_ns = 300 * VIV_NS_PER_MS;
    rig.birth.numbers.knobs_ns[VIV_KNOB_GRACE] = 200 * VIV_NS_PER_MS;
    const pid_t kernel = hold_start_elsewhere(&rig, words);
    CHECK(hold_attach(&rig, &one, 2));
    CHECK(hold_says(&one, "\n"));
    hold_detach(&one);
    hold_kill(kernel);
    await_record(rec, &data);
    free(data);
    CHECK(rec->end.exit.cause == VIV_CAUSE_ORPHAN);
    CHECK(hold_attach(&rig, &one, 3));
    hold_release(&rig, &one);
}

static void n104_an_orphan_is_asked_to_end(void **state)
{
    (void)state;
    struct viv_hold_rec rec;
    orphan("await=15", &rec);
    CHECK(rec.end.exit.kind == VIV_NATIVE_EXITED_BY_ITSELF && rec.end.exit.code == 4);
    CHECK((rec.end.exit.flags & VIV_HOLD_EXIT_WE_KILLED) == 0);
    CHECK(rec.end.exit.duration_ns >= 300 * VIV_NS_PER_MS);
}

static void n104_a_deaf_orphan_is_killed(void **state)
{
    (void)state;
    struct viv_hold_rec rec;
    orphan("deaf", &rec);
    CHECK(rec.end.exit.kind == VIV_NATIVE_SIGNALED && rec.end.exit.code == SIGKILL);
    CHECK((rec.end.exit.flags & VIV_HOLD_EXIT_WE_KILLED) != 0);
    CHECK(rec.end.exit.duration_ns >= 500 * VIV_NS_PER_MS);
}

// Three times away for less than orphan_ns, together for longer.
static void n104_who_comes_back_in_time_is_no_loss(void **state)
{
    (void)state;
    static const char *const words[] = {"count=1000", NULL};
    const uint64_t orphan_ns = 1500 * VIV_NS_PER_MS;
    uint64_t longest_ns = 0;
    rig.birth.numbers.orphan_ns = orphan_ns;
    const pid_t kernel = hold_start_elsewhere(&rig, words);
    CHECK(hold_attach(&rig, &one, 2));
    hold_kill(kernel);
    for (uint64_t i = 0; i < 3; i++) {
        const uint64_t from_ns = check_now_ns();
        hold_detach(&one);
        nap_ms(600);
        CHECK(hold_attach(&rig, &one, 3 + i));
        const uint64_t away_ns = check_now_ns() - from_ns;
        longest_ns = away_ns > longest_ns ? away_ns : longest_ns;
    }
    // A machine that slept for longer proves nothing.
    CHECK(one.state.phase == VIV_NATIVE_RUNNING || longest_ns >= orphan_ns);
    hold_finish(&rig, &one);
}

// Takes everything out, as much as comes, until `len` bytes were there.
static void drain(struct hold_kernel *kernel, uint64_t len)
{
    static uint8_t bytes[1 << 16];
    uint64_t done = 0, from;
    const uint64_t end_ns = check_now_ns() + check_limit_ns(30);
    while (done < len && check_now_ns() < end_ns) {
        const size_t n = viv_log_ring_drain(&kernel->rings[0], bytes, sizeof bytes, &from);
        if (n == 0) {
            check_nap();
            continue;
        }
        CHECK(from == done);
        hold_check_bytes(bytes, from, n);
        done += n;
        CHECK(hold_send(kernel, VIV_HOLD_MOVED, NULL, NULL, 0));
    }
    CHECK(done == len);
}

static void n104_nothing_is_lost_meanwhile(void **state)
{
    (void)state;
    static const char *const words[] = {"spew=1000000", "exit=0", NULL};
    const uint64_t cap = 64 << 10;
    rig.birth.numbers.ring_bytes = cap;
    rig.birth.numbers.flags |= VIV_HOLD_BACKPRESSURE;
    hold_kill(hold_start_elsewhere(&rig, words));
    CHECK(hold_attach(&rig, &one, 2));
    CHECK_WAIT(hold_end_offset(&one) == cap, 20,
               fprintf(stderr, "%llu\n", (unsigned long long)hold_end_offset(&one)));
    hold_detach(&one);
    nap_ms(100);
    CHECK(hold_attach(&rig, &one, 3));
    CHECK(one.state.phase == VIV_NATIVE_RUNNING && one.state.output_bytes == cap);
    drain(&one, 1000000);
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    const struct viv_hold_exit *exit = &one.state.exit;
    CHECK(exit->received[0] == 1000000 && exit->evicted[0] == 0 && exit->code == 0);
    hold_release(&rig, &one);
}

// A kernel that took bytes out and was killed before it said so: the program goes on all the same.
static void n104_what_was_taken_and_not_told(void **state)
{
    (void)state;
    static const char *const words[] = {"spew=300000", "exit=0", NULL};
    static uint8_t bytes[64 << 10];
    uint64_t from;
    rig.birth.numbers.ring_bytes = sizeof bytes;
    rig.birth.numbers.flags |= VIV_HOLD_BACKPRESSURE;
    hold_start(&rig, &one, words);
    CHECK_WAIT(hold_end_offset(&one) == sizeof bytes, 20, (void)0);
    CHECK(viv_log_ring_drain(&one.rings[0], bytes, sizeof bytes, &from) == sizeof bytes);
    hold_detach(&one);
    CHECK(hold_attach(&rig, &one, 2));
    CHECK_WAIT(hold_end_offset(&one) == 2 * sizeof bytes, 20, (void)0);
    CHECK(hold_read(&one, 0, &(uint64_t){sizeof bytes}, bytes, sizeof bytes, 20) == sizeof bytes);
    hold_check_bytes(bytes, sizeof bytes, sizeof bytes);
    hold_finish(&rig, &one);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(n104_an_orphan_is_asked_to_end),         TEST(n104_a_deaf_orphan_is_killed),
        TEST(n104_who_comes_back_in_time_is_no_loss), TEST(n104_nothing_is_lost_meanwhile),
        TEST(n104_what_was_taken_and_not_told),
    };
    return cmocka_run_group_tests_name("native.hold_orphans", tests, NULL, NULL);
}
