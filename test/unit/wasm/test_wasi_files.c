// SPDX-License-Identifier: Apache-2.0
// WASI on files; the checks are in guest/wasi_files.c. Each case has an empty folder as
// descriptor 3.
#include "rig.h"

#include "guest_run.h"
#include "harness/check.h"
#include "os/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static struct guest_kernel *kernel;
static struct viv_module *module;
static char folder[512];

static struct guest_run *start(const char *what)
{
    const char *args[] = {"files", what, NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    guest_add_dir(config, folder, ".");
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    return run;
}

static int make_folder(void **state)
{
    (void)state;
    rig_make_dir(folder, sizeof(folder));
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    rig_remove_dir(folder);
    return 0;
}

#define CASE(name)                                                                                 \
    static void case_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        guest_expect_normal(start(#name));                                                         \
    }
CASE(table)
CASE(many)
CASE(rights)
CASE(bytes)
CASE(names)
CASE(listing)
CASE(library)

static bool has_line(struct guest_run *run, const char *line)
{
    if (viv_capture_part_count(run->capture) == 0) return false;
    char *text = guest_output(run, 0);
    bool found = strstr(text, line) != NULL;
    guest_free_text(text);
    return found;
}

static void a_fifo_parks_and_is_killed(void **state)
{
    (void)state;
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    struct guest_run *run = start("fifo");
    CHECK_WAIT(has_line(run, "waits") || atomic_load(&run->ended) != 0, 20, );
    if (atomic_load(&run->ended) != 0) guest_expect_normal(run);
    assert_true(guest_kill(run));
    guest_wait(run, 5);
    assert_int_equal(run->kind, VIV_REASON_KILLED);
}

// The same cases where the fast paths are closed: everything goes through the pool.
static void the_pool_does_the_same(void **state)
{
    (void)state;
    for (uint64_t nth = 1; nth <= 3; nth++) {
        viv_fault_set("preadv2", nth, EOPNOTSUPP);
        guest_expect_normal(start("library"));
        viv_fault_set("preadv2", 0, 0);
    }
}

static void an_absent_directory_is_told(void **state)
{
    (void)state;
    const char *args[] = {"files", NULL};
    struct viv_config *config = guest_config(args);
    guest_add_dir(config, "no/such/place", "x");
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    guest_wait(run, 20);
    assert_false(run->was_born);
    assert_int_equal(run->birth_err, VIV_E_NOTFOUND);
    assert_string_equal(run->text,
                        "cannot open directory no/such/place: No such file or directory");
}

static void without_openat2_no_directory_is_given(void **state)
{
    (void)state;
    viv_fault_set("openat2", 1, ENOSYS);
    struct guest_run *run = start("table");
    guest_wait(run, 20);
    viv_fault_set("openat2", 0, 0);
    assert_false(run->was_born);
    assert_int_equal(run->birth_err, VIV_E_UNSUPPORTED);
    assert_non_null(strstr(run->text, "openat2"));
}

static int open_all(void **state)
{
    (void)state;
    kernel = guest_open(2);
    module = guest_load(kernel, "wasi_files");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    viv_module_drop(module);
    guest_close(kernel);
    return viv_alloc_live_bytes(VIV_TAG_WASI) == 0 ? 0 : -1;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(case_table),
        IN_FOLDER(case_many),
        IN_FOLDER(case_rights),
        IN_FOLDER(case_bytes),
        IN_FOLDER(case_names),
        IN_FOLDER(case_listing),
        IN_FOLDER(case_library),
        IN_FOLDER(a_fifo_parks_and_is_killed),
        IN_FOLDER(the_pool_does_the_same),
        IN_FOLDER(an_absent_directory_is_told),
        IN_FOLDER(without_openat2_no_directory_is_given),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    rig_engine_signals();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
