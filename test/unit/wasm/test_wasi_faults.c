// SPDX-License-Identifier: Apache-2.0
// Allocations and system calls that fail while guests use files and streams: the guest may be told
// or end, nothing else; afterwards no memory and no descriptor is left.
#include "rig.h"

#include "base/log.h"
#include "guest_run.h"
#include "harness/check.h"
#include "os/fault.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static struct guest_kernel *kernel;
static struct viv_module *files;
static char folder[512];

// One run in a fresh folder; returns its reason's kind, or -1 when it was not born.
static int run_case(const char *what)
{
    const char *args[] = {"files", what, NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    guest_add_dir(config, folder, ".");
    struct guest_run *run = guest_start(kernel, files, config);
    viv_config_drop(config);
    guest_wait(run, 30);
    return run->was_born ? (int)run->kind : -1;
}

static void in_fresh_folder(void (*body)(const char *what), const char *what)
{
    rig_make_dir(folder, sizeof(folder));
    body(what);
    viv_fault_set("*", 0, 0);
    viv_alloc_fail_nth_global(0);
    rig_remove_dir(folder);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

static uint64_t nth_failure;
static const char *failing_call;
static int failing_errno;

static void with_failed_call(const char *what)
{
    viv_fault_set(failing_call, nth_failure, failing_errno);
    int kind = run_case(what);
    CHECK(kind == -1 || kind == VIV_REASON_NORMAL || kind == VIV_REASON_EXITED ||
          kind == VIV_REASON_TRAP);
}

static void failed_calls_are_told(void **state)
{
    (void)state;
    static const char *const calls[] = {"openat2",  "openat",     "fstat",    "fcntl",   "preadv2",
                                        "pwritev2", "getdents64", "lseek",    "mkdirat", "renameat",
                                        "linkat",   "readlinkat", "utimensat"};
    static const int errors[] = {EIO, ENOMEM, EAGAIN, EINTR};
    static const char *const cases[] = {"names", "library"};
    rig_engine_signals(); // guests trap
    int before = open_descriptors();
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        for (size_t e = 0; e < VIV_COUNT_OF(errors); e++) {
            for (nth_failure = 1; nth_failure <= 2; nth_failure++) {
                failing_call = calls[i];
                failing_errno = errors[e];
                in_fresh_folder(with_failed_call, cases[(e + nth_failure) % 2]);
            }
        }
    }
    CHECK_WAIT(open_descriptors() == before, 10,
               fprintf(stderr, "%d descriptors, %d before\n", open_descriptors(), before));
}

// An interruption, and reads and writes that move one byte, are nothing to a guest.
static void short_transfers_change_nothing(void **state)
{
    (void)state;
    static const char *const calls[] = {"preadv2", "pwritev2", "pread", "read", "write"};
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        rig_make_dir(folder, sizeof(folder));
        viv_fault_set(calls[i], 2, VIV_FAULT_SHORT);
        CHECK(run_case("library") == VIV_REASON_NORMAL);
        viv_fault_set(calls[i], 0, 0);
        rig_remove_dir(folder);
    }
}

static void with_failed_allocation(const char *what)
{
    kernel->fail_alloc_nth = nth_failure;
    int kind = run_case(what);
    CHECK(kind == -1 || kind == VIV_REASON_NORMAL || kind == VIV_REASON_EXITED ||
          kind == VIV_REASON_TRAP);
}

static void failed_allocations_leave_nothing(void **state)
{
    (void)state;
    enum { FAILURES = 250 };
    rig_engine_signals();
    for (nth_failure = 1; nth_failure <= FAILURES; nth_failure++)
        in_fresh_folder(with_failed_allocation, nth_failure % 2 == 0 ? "names" : "library");
}

static int open_all(void **state)
{
    (void)state;
    viv_log_set_level(VIV_LOG_ERROR);
    kernel = guest_open(2);
    files = guest_load(kernel, "wasi_files");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    viv_module_drop(files);
    guest_close(kernel);
    return viv_alloc_live_bytes(VIV_TAG_WASI) == 0 ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_transfers_change_nothing),
        cmocka_unit_test(failed_calls_are_told),
        cmocka_unit_test(failed_allocations_leave_nothing),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    rig_engine_signals();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
