// SPDX-License-Identifier: Apache-2.0
// Readiness (10, N106 without health): by descriptor and by line, on both ways of starting, late,
// in pieces, and never.
#include "native_rig.h"

#include "native/readiness.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { OUTPUT = 4096 };

static void through_init(struct viv_native_config *config)
{
    config->direct = false;
}

static void open_rig(struct native_rig *rig, int way)
{
    rig_open_with(rig, way == 0 ? NULL : through_init);
    if (way == 2) rig->level = VIV_NATIVE_SANDBOX_DEFAULT;
    assert_int_equal(chmod(".", 0777), 0);
}

static bool is_ready(struct native_rig *rig, const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    rig_status(rig, ref, &status);
    return status.ready;
}

static void await_ready(struct native_rig *rig, const struct viv_native_ref *ref)
{
    for (int i = 0; i < 30000 && !is_ready(rig, ref); i++)
        rig_sleep(rig, MS);
    assert_true(is_ready(rig, ref));
}

static void put_ready(struct native_rig *rig, enum viv_native_ready ready, uint64_t start_ms)
{
    rig_put_u64(rig, VIV_NATIVE_KEY_READY, ready);
    if (start_ms != 0) rig_put_u64(rig, VIV_NATIVE_KEY_START_MS, start_ms);
}

static void case_106_ready_by_descriptor(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, way);
        // Only the whole line counts; what follows is read and dropped, and hurts nobody.
        rig_shell(&rig, "echo $VIV_READY_FD; printf 'READY=12\\nXREADY=1\\nREADY=' >&3; echo half;"
                        "read x; echo 1 >&3; read x; echo more >&3; echo over; read x; exit 4");
        put_ready(&rig, VIV_NATIVE_READY_FD, 0);
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        const struct viv_native_ref ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 2 + 5);
        rig_sleep(&rig, 20 * MS);
        assert_false(is_ready(&rig, &ref));
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        await_ready(&rig, &ref);
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        rig_await_output(&rig, &ref, 2 + 5 + 5);
        assert_true(is_ready(&rig, &ref));
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 4);
        char out[OUTPUT];
        rig_logs(&rig, &ref, 1, out, sizeof out);
        assert_string_equal(out, "3\nhalf\nover\n");
        rig_close(&rig);
    }
}

static void case_106_ready_by_line(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, way);
        rig_shell(&rig, "echo listening on >&2; echo; printf 'now listen'; read x;"
                        "printf 'ing on port 80'; read x");
        put_ready(&rig, VIV_NATIVE_READY_LINE, 0);
        rig_put_text(&rig, VIV_NATIVE_KEY_READY_LINE, "listening on");
        rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        const struct viv_native_ref ref = rig_start(&rig);
        rig_await_output(&rig, &ref, 1 + 10);
        rig_sleep(&rig, 20 * MS);
        assert_false(is_ready(&rig, &ref)); // stderr does not count
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        await_ready(&rig, &ref);
        char out[OUTPUT];
        rig_logs(&rig, &ref, 1, out, sizeof out);
        assert_string_equal(out, "\nnow listening on port 80"); // nothing was taken
        assert_int_equal(rig_write(&rig, &ref, "\n"), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        rig_close(&rig);
    }
}

static void case_106_late_is_stopped(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, way);
        rig_shell(&rig, "trap 'echo handler; exit 9' TERM; exec 3>&-; echo up; "
                        "while :; do sleep 0.02; done");
        put_ready(&rig, VIV_NATIVE_READY_FD, 200);
        const struct viv_native_ref ref = rig_start(&rig);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_START);
        assert_int_equal(exit.leader.code, 9); // it had its grace
        assert_true(exit.duration_ns >= 200 * MS);
        assert_false(is_ready(&rig, &ref));
        const struct viv_reason *reason = viv_native_reason(&exit, NULL);
        char text[100];
        (void)viv_reason_format(reason, text, sizeof text);
        viv_reason_drop(reason);
        assert_non_null(strstr(text, "start"));
        rig_close(&rig);
    }
}

static void case_106_in_time_lives_on(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    rig_open(&rig);
    rig_shell(&rig, "echo READY=1 >&3; sleep 0.5; exit 5");
    put_ready(&rig, VIV_NATIVE_READY_FD, 250);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 5);
    assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    rig_close(&rig);
}

static void case_106_held_and_gated_begin_to_count_at_their_start(void **state)
{
    (void)state;
    for (int gated = 0; gated < 2; gated++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        open_rig(&rig, gated * 2);
        rig_shell(&rig, "echo READY=1 >&3; exit 6");
        put_ready(&rig, VIV_NATIVE_READY_FD, 150);
        rig_put_u64(&rig, VIV_NATIVE_KEY_START,
                    gated != 0 ? VIV_NATIVE_START_GATED : VIV_NATIVE_START_HELD);
        const struct viv_native_ref ref = rig_start(&rig);
        rig_sleep(&rig, 250 * MS);
        assert_false(is_ready(&rig, &ref));
        struct viv_native_call call;
        viv_native_call_init(&call, &rig.ctx);
        assert_int_equal(viv_native_start(&call, &ref), VIV_E_AGAIN);
        assert_int_equal(viv_native_await(&call), VIV_OK);
        assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
        assert_int_equal(exit.leader.code, 6);
        assert_int_equal(exit.cause, VIV_CAUSE_SELF);
        rig_close(&rig);
    }
}

static void case_028_a_ready_descriptor_is_there_only_when_asked_for(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct native_rig rig;
        struct viv_native_exit exit;
        char out[OUTPUT];
        open_rig(&rig, way);
        rig_shell(&rig, "for n in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$n ] && echo $n; done");
        put_ready(&rig, VIV_NATIVE_READY_FD, 0);
        rig_run(&rig, &exit, out, sizeof out);
        assert_string_equal(out, "3\n");
        rig_shell(&rig, "for n in 3 4 5 6 7 8 9; do [ -e /proc/self/fd/$n ] && echo $n; done;"
                        "echo $VIV_READY_FD.");
        rig_run(&rig, &exit, out, sizeof out);
        assert_string_equal(out, ".\n");
        rig_close(&rig);
    }
}

// Every way to cut a text in three, against the text as a whole.
static void a_text_in_pieces_is_found(void **state)
{
    (void)state;
    static char all[] = "aababaabab abab\nxabaabc";
    static const char *const wanted[] = {"abaabc", "a", "bab ", "aababaabab abab", "abaabd"};
    const size_t len = sizeof all - 1;
    for (size_t w = 0; w < VIV_COUNT_OF(wanted); w++)
        for (size_t i = 0; i <= len; i++)
            for (size_t j = i; j <= len; j++) {
                struct viv_readiness ready = {0};
                viv_readiness_init(&ready);
                assert_int_equal(viv_readiness_expect(&ready, wanted[w], strlen(wanted[w])),
                                 VIV_OK);
                const struct iovec parts[2] = {{all, i}, {all + i, j - i}};
                const struct iovec rest[1] = {{all + j, len - j}};
                const bool first = viv_readiness_scan(&ready, parts, j);
                const bool is_found = first || viv_readiness_scan(&ready, rest, len - j);
                assert_int_equal(is_found, strstr(all, wanted[w]) != NULL);
                viv_readiness_deinit(&ready);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_106_ready_by_descriptor),
        cmocka_unit_test(case_106_ready_by_line),
        cmocka_unit_test(case_106_late_is_stopped),
        cmocka_unit_test(case_106_in_time_lives_on),
        cmocka_unit_test(case_106_held_and_gated_begin_to_count_at_their_start),
        cmocka_unit_test(case_028_a_ready_descriptor_is_there_only_when_asked_for),
        cmocka_unit_test(a_text_in_pieces_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
