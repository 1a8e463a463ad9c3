// SPDX-License-Identifier: Apache-2.0
// Changing label and overflow of a program that is there (native.md 3), for every way of starting:
// directly, by init, by a holder.
#include "held_kit.h"

#include "harness/check.h"
#include "native/owner.h"
#include "os/clock.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 3, RING_BYTES = 65536, MANY_BYTES = 1 << 20, TEXT = 1 << 17 };

static struct native_rig rig;
static char text[TEXT];

static void without_direct(struct viv_native_config *config)
{
    config->direct = false;
}

// Ways: 0 directly, 1 by init, 2 by a holder.
static void open_way(int way)
{
    if (way == 2)
        held_open(&rig);
    else if (way == 1)
        rig_open_with(&rig, without_direct);
    else
        rig_open(&rig);
}

static void request(int way, const char *script)
{
    rig_shell(&rig, script);
    if (way == 2) rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
}

static enum viv_err set_label(const struct viv_native_ref *ref, const char *label)
{
    return viv_native_set_label(&rig.ctx, ref, label, strlen(label));
}

static enum viv_err set_overflow(const struct viv_native_ref *ref, uint64_t overflow)
{
    return viv_native_set(&rig.ctx, ref, VIV_NATIVE_KEY_OVERFLOW, overflow);
}

static void expect_label(const struct viv_native_ref *ref, const char *label)
{
    struct viv_native_status status;
    struct viv_native_item item;
    rig_status(&rig, ref, &status);
    assert_string_equal(status.label, label);
    const struct viv_native_page page = {.filter = label, .max = 1, .out_items = &item};
    assert_int_equal(viv_native_list(&rig.ctx, &page), 1);
    assert_int_equal(item.number, status.number);
}

static size_t count_with(const char *label)
{
    struct viv_native_item items[4];
    const struct viv_native_page page = {.filter = label, .max = 4, .out_items = items};
    return viv_native_list(&rig.ctx, &page);
}

static uint64_t overflow_of(const struct viv_native_ref *ref)
{
    struct viv_native_info info;
    assert_int_equal(viv_native_info(&rig.ctx, ref, &info), VIV_OK);
    return info.values[VIV_NATIVE_KEY_OVERFLOW];
}

// Of one that has ended it was closed; of others it is there.
static void close_way(int way, const struct viv_native_ref *ref)
{
    if (way == 2)
        held_close(&rig, ref);
    else
        rig_close(&rig);
}

// ---- label ----

static void case_007_025_another_label(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        char longest[129], longer[66000];
        open_way(way);
        request(way, "read line");
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        rig_put_text(&rig, VIV_NATIVE_KEY_LABEL, "before");
        const struct viv_native_ref ref = rig_start(&rig);
        expect_label(&ref, "before");
        assert_int_equal(set_label(&ref, "after"), VIV_OK);
        expect_label(&ref, "after");
        assert_int_equal(count_with("before"), 0);
        // Cleaned as at the spawn: controls, reordering marks, what is no UTF-8.
        assert_int_equal(set_label(&ref, "a\tb\x7f\xe2\x80\xae\xff!"), VIV_OK);
        expect_label(&ref, "ab\xef\xbf\xbd!");
        memset(longest, 'x', sizeof longest);
        longest[127] = '\0'; // half of a character is none
        memset(longer, 'x', sizeof longer);
        memcpy(longer + 127, "\xc3\xa9\xc3\xa9", 4);
        assert_int_equal(viv_native_set_label(&rig.ctx, &ref, longer, 131), VIV_OK);
        expect_label(&ref, longest);
        assert_int_equal(viv_native_set_label(&rig.ctx, &ref, longer, 65537), VIV_E_INVAL);
        expect_label(&ref, longest);
        assert_int_equal(set_label(&ref, "\n\t"), VIV_OK); // nothing is left
        expect_label(&ref, "sh");
        assert_int_equal(set_label(&ref, ""), VIV_OK);
        expect_label(&ref, "sh");
        assert_int_equal(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_LABEL, 0), VIV_E_INVAL);
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
        assert_int_equal(set_label(&ref, "what has ended"), VIV_OK);
        expect_label(&ref, "what has ended");
        close_way(way, &ref);
    }
}

// ---- overflow ----

static void await_full(const struct viv_native_ref *ref)
{
    rig_await_output(&rig, ref, RING_BYTES);
    rig_sleep(&rig, 50 * VIV_NS_PER_MS);
}

static void case_066_069_a_program_that_waits_goes_on(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct viv_native_exit exit;
        struct viv_native_status status;
        open_way(way);
        request(way, "yes 0123456 | head -c 1048576");
        rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, RING_BYTES);
        rig_put_u64(&rig, VIV_NATIVE_KEY_OVERFLOW, VIV_NATIVE_OVERFLOW_BACKPRESSURE);
        const struct viv_native_ref ref = rig_start(&rig);
        await_full(&ref);
        assert_int_equal(overflow_of(&ref), VIV_NATIVE_OVERFLOW_BACKPRESSURE);
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
        assert_int_equal(status.buffered[0], RING_BYTES);
        assert_int_equal(set_overflow(&ref, 2), VIV_E_INVAL);
        assert_int_equal(set_overflow(&ref, UINT64_MAX), VIV_E_INVAL);
        assert_int_equal(set_overflow(&ref, VIV_NATIVE_OVERFLOW_DROP_OLDEST), VIV_OK);
        assert_int_equal(overflow_of(&ref), VIV_NATIVE_OVERFLOW_DROP_OLDEST);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.streams[0].received, MANY_BYTES);
        assert_int_equal(exit.streams[0].evicted, MANY_BYTES - RING_BYTES);
        assert_int_equal(set_overflow(&ref, VIV_NATIVE_OVERFLOW_BACKPRESSURE), VIV_OK);
        assert_int_equal(overflow_of(&ref), VIV_NATIVE_OVERFLOW_DROP_OLDEST); // of no use any more
        close_way(way, &ref);
    }
}

static size_t drain(const struct viv_native_ref *ref, size_t got)
{
    const size_t n = rig_logs(&rig, ref, 1, text, sizeof text);
    for (size_t i = 0; i < n; i++)
        if (text[i] != "0123456\n"[(got + i) % 8]) fail_msg("byte %zu", got + i);
    return got + n;
}

static void case_070_073_what_dropped_waits_and_loses_nothing(void **state)
{
    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct viv_native_exit exit;
        struct viv_native_status status;
        size_t got = 0;
        open_way(way);
        request(way, "read line; yes 0123456 | head -c 1048576");
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, RING_BYTES);
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(set_overflow(&ref, VIV_NATIVE_OVERFLOW_BACKPRESSURE), VIV_OK);
        assert_int_equal(rig_write(&rig, &ref, "go\n"), VIV_OK);
        await_full(&ref);
        rig_status(&rig, &ref, &status);
        assert_int_equal(status.evicted[0], 0);
        assert_int_equal(status.buffered[0], RING_BYTES);
        // Half of it with a reader; the rest when nobody reads, and it has been ended: what its
        // pipe holds then goes beyond the ring.
        const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
        while (got < MANY_BYTES / 2) {
            assert_true(viv_os_now_ns() < end_ns);
            const size_t before = got;
            got = drain(&ref, got);
            if (got == before) rig_sleep(&rig, VIV_NS_PER_MS);
        }
        rig_await_output(&rig, &ref, got + RING_BYTES);
        rig_sleep(&rig, 50 * VIV_NS_PER_MS);
        assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.streams[0].evicted, 0);
        assert_true(exit.streams[0].received > got + RING_BYTES); // the pipe was full
        assert_false(exit.streams[0].truncated);
        while (got < exit.streams[0].received) {
            const size_t before = got;
            got = drain(&ref, got);
            assert_true(got > before);
        }
        close_way(way, &ref);
    }
}

// ---- over kernels ----

static void await_in_record(const char *label)
{
    char command[128 + 64];
    (void)snprintf(command, sizeof command, "grep -aq '%s' held-state/h/*.rec", label);
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (system(command) != 0) {
        assert_true(viv_os_now_ns() < end_ns);
        viv_os_sleep_ns(5 * VIV_NS_PER_MS);
    }
}

static void change_all(struct told *told)
{
    held_request(&rig, "yes 0123456 | head -c 1048576; read line");
    rig_put_text(&rig, VIV_NATIVE_KEY_LABEL, "before");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, RING_BYTES);
    rig_put_u64(&rig, VIV_NATIVE_KEY_OVERFLOW, VIV_NATIVE_OVERFLOW_BACKPRESSURE);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    await_full(&ref);
    CHECK(set_overflow(&ref, VIV_NATIVE_OVERFLOW_DROP_OLDEST) == VIV_OK);
    CHECK(viv_native_set(&rig.ctx, &ref, VIV_NATIVE_KEY_STOP_GRACE_MS, 77) == VIV_OK);
    CHECK(set_label(&ref, "the later label") == VIV_OK);
    await_in_record("the later label");
}

static void case_098_what_was_set_outlives_the_kernel(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    struct viv_native_info info;
    held_in_a_kernel(&rig, change_all, &told);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    expect_label(&ref, "the later label");
    assert_int_equal(viv_native_info(&rig.ctx, &ref, &info), VIV_OK);
    assert_int_equal(info.values[VIV_NATIVE_KEY_OVERFLOW], VIV_NATIVE_OVERFLOW_DROP_OLDEST);
    assert_int_equal(info.values[VIV_NATIVE_KEY_STOP_GRACE_MS], 77);
    rig_await_output(&rig, &ref, MANY_BYTES); // nobody reads
    assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.streams[0].received, MANY_BYTES);
    held_close(&rig, &ref);
}

static void end_and_change(struct told *told)
{
    held_request(&rig, "exit 9");
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    CHECK(rig_wait(&rig, &ref, NULL) == VIV_OK);
    CHECK(set_label(&ref, "has ended") == VIV_OK);
    await_in_record("has ended");
}

static void case_099_so_does_the_label_of_what_has_ended(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    held_in_a_kernel(&rig, end_and_change, &told);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    expect_label(&ref, "has ended");
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 9);
    held_close(&rig, &ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_007_025_another_label, held_set_up),
        cmocka_unit_test_setup(case_066_069_a_program_that_waits_goes_on, held_set_up),
        cmocka_unit_test_setup(case_070_073_what_dropped_waits_and_loses_nothing, held_set_up),
        cmocka_unit_test_setup(case_098_what_was_set_outlives_the_kernel, held_set_up),
        cmocka_unit_test_setup(case_099_so_does_the_label_of_what_has_ended, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_set", tests, NULL, NULL);
}
