// SPDX-License-Identifier: Apache-2.0
// Many programs, one after the other and at once, with every kind of end; afterwards nothing is
// left: no child, descriptor, group, memory (the rig checks that when it closes), and quotas are as
// before. VIV_NATIVE_CYCLES sets how many (make soak: 100 000).
#include "native_rig.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { AT_ONCE = 8, CYCLES = 2000 };

static uint64_t cycle_count(void)
{
    const char *text = getenv("VIV_NATIVE_CYCLES");
    return text != NULL ? strtoull(text, NULL, 10) : CYCLES;
}

static void widen(struct viv_native_config *config)
{
    config->scope = config->environment = config->total =
        (struct viv_native_quota){AT_ONCE, AT_ONCE + 1, UINT64_C(1) << 30, AT_ONCE};
}

// One of the ways in which a program begins and ends, by number.
static void request(struct native_rig *rig, uint64_t way)
{
    switch (way % 8) {
    case 0:
        rig_request(rig, "true", NULL);
        break;
    case 1:
        rig_request(rig, "false", NULL);
        break;
    case 2:
        rig_shell(rig, "kill -USR1 $$");
        break;
    case 3:
        rig_request(rig, "no-such-program", NULL);
        break;
    case 4:
        rig_request(rig, "sleep", "1000", NULL); // killed
        break;
    case 5:
        rig_request(rig, "cat", NULL); // its input ends
        rig_put_u64(rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
        break;
    case 6:
        rig_shell(rig, "sleep 1000 & echo $!");
        break;
    default:
        rig_request(rig, "echo", "some output", NULL);
        rig_put_u64(rig, VIV_NATIVE_KEY_RING_BYTES, 4096);
        break;
    }
}

static void end(struct native_rig *rig, const struct viv_native_ref *ref, uint64_t way)
{
    struct viv_native_exit exit;
    if (way % 8 == 4) {
        assert_int_equal(rig_kill(rig, ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_KILL);
    } else {
        if (way % 8 == 5)
            assert_int_equal(viv_native_close_stdin(&rig->ctx, ref, way % 16 == 5), VIV_OK);
        assert_int_equal(rig_wait(rig, ref, &exit), VIV_OK);
        assert_int_equal(exit.cause, VIV_CAUSE_SELF);
    }
    const int codes[] = {0, 1, SIGUSR1, 0, SIGKILL, 0, 0, 0};
    if (exit.leader.code != codes[way % 8])
        fail_msg("way %llu: %d instead of %d", (unsigned long long)way, exit.leader.code,
                 codes[way % 8]);
    assert_int_equal(viv_native_release(&rig->ctx, ref), VIV_OK);
}

static void cycles_leave_nothing(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_ref refs[AT_ONCE];
    uint64_t ways[AT_ONCE];
    const uint64_t total = cycle_count();
    rig_open_with(&rig, widen);
    const int fds = rig_count_fds();
    int fds_after_first = 0;
    for (uint64_t way = 0; way < total;) {
        uint32_t count = 0;
        for (uint32_t i = 0; i < AT_ONCE && way < total; i++, way++) {
            struct viv_native_spawned spawned;
            request(&rig, way);
            const enum viv_err err = rig_spawn(&rig, &spawned);
            if (way % 8 == 3) {
                assert_int_equal(err, VIV_E_NOPROGRAM);
                continue;
            }
            if (err != VIV_OK) fail_msg("spawn: %s (%s)", viv_err_text(err), rig.diag.text);
            refs[count] = (struct viv_native_ref){.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
            ways[count++] = way;
        }
        for (uint32_t i = 0; i < count; i++)
            end(&rig, &refs[i], ways[i]);
        if (fds_after_first == 0) fds_after_first = rig_count_fds();
    }
    // What the first launch opened for good: a spawner's room, the holder, the warden. Of empty
    // groups there may be more or less: as many as programs ended at once.
    assert_true(rig_count_fds() <= fds_after_first + AT_ONCE);
    assert_true(fds_after_first - fds < 32);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cycles_leave_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
