// SPDX-License-Identifier: Apache-2.0
// Pipes grow with what comes through them, and shrink when nothing does (8.1). The test waits as
// long as a pipe does, 10 s.
#include "native_rig.h"

#include "os/clock.h"
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

enum { SMALL = 64 << 10, LARGE = 1 << 20, BYTES = 8 << 20 };
#define IDLE_NS (10 * VIV_NS_PER_SEC)

static struct native_rig rig;

// As the program sees its standard output.
static int pipe_bytes(const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    char path[64];
    rig_status(&rig, ref, &status);
    (void)snprintf(path, sizeof path, "/proc/%d/fd/1", status.os_pid);
    const int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    const int bytes = fcntl(fd, F_GETPIPE_SZ);
    assert_int_equal(close(fd), 0);
    return bytes;
}

static void print_on(const struct viv_native_ref *ref, uint64_t bytes)
{
    assert_int_equal(rig_write(&rig, ref, "on\n"), VIV_OK);
    rig_await_output(&rig, ref, bytes);
}

static void a_pipe_is_as_large_as_it_has_to_be(void **state)
{
    (void)state;
    rig_open(&rig);
    rig_shell(&rig, "while read on; do head -c 8388608 /dev/zero; done");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    const int first = pipe_bytes(&ref);
    assert_true(first <= SMALL);
    for (uint64_t turn = 1; turn <= 2; turn++) { // it grows again
        print_on(&ref, turn * BYTES);
        const uint64_t printed_ns = viv_os_now_ns();
        if (pipe_bytes(&ref) == first) { // this user has too many large ones
            rig_close(&rig);
            skip();
        }
        assert_int_equal(pipe_bytes(&ref), LARGE);
        if (turn == 2) break;
        while (pipe_bytes(&ref) == LARGE) {
            assert_true(viv_os_now_ns() < printed_ns + RIG_TIMEOUT_NS);
            rig_sleep(&rig, 10 * VIV_NS_PER_MS);
        }
        assert_int_equal(pipe_bytes(&ref), SMALL);
        assert_true(viv_os_now_ns() >= printed_ns + IDLE_NS - VIV_NS_PER_SEC);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_pipe_is_as_large_as_it_has_to_be)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
