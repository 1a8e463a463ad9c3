// SPDX-License-Identifier: Apache-2.0
// `viv-holder hold` with a real program: kernels come, are killed and come again.
#include "cm.h"
#include "harness/check.h"
#include "hold_rig.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/packet.h"
#include "os/share.h"
#include <errno.h>
#include <poll.h>
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

// The end of a program that has exited: the holder goes, and its files with it.
static void release(struct hold_kernel *kernel)
{
    CHECK(hold_order(kernel, VIV_HOLD_RELEASE, NULL) == VIV_OK);
    hold_detach(kernel);
    CHECK(hold_await_end(rig.holder) == 0);
    (void)hold_await_end(rig.init);
    CHECK(!hold_has_file(&rig, "sock") && !hold_has_file(&rig, "rec"));
}

static void stop_and_release(struct hold_kernel *kernel)
{
    const struct viv_hold_stop stop = {.cause = VIV_CAUSE_STOP, .kills = 1};
    assert_int_equal(hold_order(kernel, VIV_HOLD_STOP, &stop), VIV_OK);
    hold_await_phase(kernel, VIV_NATIVE_EXITED);
    release(kernel);
}

static void n98_a_program_is_held(void **state)
{
    (void)state;
    static const char *const words[] = {"ids", "exit=3", NULL};
    hold_start(&rig, &one, words);
    hold_await_phase(&one, VIV_NATIVE_EXITED);
    const struct viv_hold_exit *exit = &one.state.exit;
    CHECK(exit->kind == VIV_NATIVE_EXITED_BY_ITSELF);
    CHECK(exit->cause == VIV_CAUSE_SELF);
    CHECK(exit->code == 3);
    CHECK(one.state.eof == 3);
    char text[256];
    uint64_t offset = 0;
    const size_t len = hold_read(&one, 0, &offset, text, (size_t)exit->received[0], 5);
    CHECK(len == exit->received[0]);
    CHECK(memcmp(text, "uid=", 4) == 0);
    release(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(n98_a_program_is_held, set_up, tear_down),
    };
    (void)stop_and_release;
    (void)two;
    return cmocka_run_group_tests_name("native.hold", tests, NULL, NULL);
}
