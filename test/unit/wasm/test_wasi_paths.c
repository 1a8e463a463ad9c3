// SPDX-License-Identifier: Apache-2.0
// No path leads out of a directory: a layout with ways out, a name swapped by another thread while
// a guest uses it, and children that ask for directories their parent has not. The guest's side is
// guest/wasi_paths.c.
//
//   <folder>/inside   3 of the guest        <folder>/outside/secret   never to be reached
#include "rig.h"

#include "guest_run.h"
#include "harness/check.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct guest_kernel *kernel;
static struct viv_module *module;
static char folder[400], inside[450], outside[450];

static void make_text(const char *dir, const char *name, const char *text)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void make_link(const char *target, const char *name)
{
    char path[600];
    (void)snprintf(path, sizeof(path), "%s/%s", inside, name);
    CHECK(symlink(target, path) == 0);
}

static int lay_out(void **state)
{
    (void)state;
    rig_make_dir(folder, sizeof(folder));
    (void)snprintf(inside, sizeof(inside), "%s/inside", folder);
    (void)snprintf(outside, sizeof(outside), "%s/outside", folder);
    CHECK(mkdir(inside, 0755) == 0 && mkdir(outside, 0755) == 0);
    make_text(outside, "secret", "secret");
    make_link("../outside", "link_dir");
    make_link(outside, "link_abs_dir");
    make_link("../outside/secret", "link_file");
    return 0;
}

static void remove_tree(const char *path)
{
    char command[600];
    (void)snprintf(command, sizeof(command), "rm -rf '%s'", path);
    CHECK(system(command) == 0);
}

static int clear(void **state)
{
    (void)state;
    remove_tree(folder);
    return 0;
}

// Is outside/ as it was laid out: one file, unchanged?
static void check_outside(void)
{
    char path[600], text[16] = {0};
    struct stat st;
    (void)snprintf(path, sizeof(path), "%s/secret", outside);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fread(text, 1, sizeof(text), file), 6);
    (void)fclose(file);
    assert_string_equal(text, "secret");
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_nlink, 1);
    (void)snprintf(path, sizeof(path), "%s/new", outside);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(stat(outside, &st), 0);
    assert_int_equal(st.st_nlink, 2); // no directory in it
}

static struct guest_run *start(const char *what)
{
    const char *args[] = {"paths", what, inside, NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    guest_add_dir(config, inside, "/");
    guest_add_dir(config, "/proc", "/proc");
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    return run;
}

static void no_path_leads_out(void **state)
{
    (void)state;
    guest_expect_normal(start("escapes"));
    check_outside();
}

static _Atomic bool stop_swapping;

// Exchanges `swap` and `file` with links to the outside and back, as fast as it can.
static void *swap(void *arg)
{
    int dir = open(inside, O_PATH | O_DIRECTORY);
    uint64_t *count = arg;
    for (; !atomic_load(&stop_swapping); ++*count) {
        CHECK(renameat2(dir, "swap", dir, "swap2", RENAME_EXCHANGE) == 0);
        CHECK(renameat2(dir, "file", dir, "file2", RENAME_EXCHANGE) == 0);
    }
    (void)close(dir);
    return NULL;
}

static void a_swapped_link_leads_nowhere(void **state)
{
    (void)state;
    char path[600];
    uint64_t count = 0;
    pthread_t thread;
    (void)snprintf(path, sizeof(path), "%s/swap", inside);
    assert_int_equal(mkdir(path, 0755), 0);
    make_text(path, "secret", "inside");
    make_link("../outside", "swap2");
    make_text(inside, "file", "inside");
    make_link("../outside/secret", "file2");
    atomic_store(&stop_swapping, false);
    assert_int_equal(pthread_create(&thread, NULL, swap, &count), 0);
    struct guest_run *runs[2] = {start("swapped"), start("swapped")};
    (void)sleep(2);
    make_text(inside, "stop", "");
    guest_wait(runs[0], 20);
    guest_wait(runs[1], 20);
    atomic_store(&stop_swapping, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    char *text = guest_output(runs[0], 0);
    print_message("%llu swaps; %s", (unsigned long long)count, text);
    guest_free_text(text);
    guest_expect_normal(runs[0]);
    guest_expect_normal(runs[1]);
    check_outside();
}

static void children_get_what_the_parent_has(void **state)
{
    (void)state;
    struct guest_run *run = start("children");
    guest_expect_normal(run);
    assert_int_equal(viv_capture_part_count(run->capture), 7);
    for (uint32_t i = 0; i < 7; i++) {
        char *text = guest_output(run, i);
        assert_string_equal(text, "");
        guest_free_text(text);
    }
}

// The right to files taken away: the directories of the config are not there.
static void without_the_right_there_are_no_directories(void **state)
{
    (void)state;
    const char *args[] = {"paths", "children", inside, NULL};
    struct viv_config *config = guest_config(args);
    guest_capture(config);
    guest_add_dir(config, inside, "/");
    config->rights &= ~(uint32_t)VIV_RIGHT_FILES;
    struct guest_run *run = guest_start(kernel, module, config);
    viv_config_drop(config);
    guest_wait(run, 20);
    assert_int_equal(run->kind, VIV_REASON_EXITED);
    char *text = guest_output(run, 0);
    assert_non_null(strstr(text, "is 8, not 0"));
    guest_free_text(text);
}

static int open_all(void **state)
{
    (void)state;
    kernel = guest_open(2);
    module = guest_load(kernel, "wasi_paths");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    viv_module_drop(module);
    guest_close(kernel);
    return viv_alloc_live_bytes(VIV_TAG_WASI) == 0 ? 0 : -1;
}

#define LAID_OUT(test) cmocka_unit_test_setup_teardown(test, lay_out, clear)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LAID_OUT(no_path_leads_out),
        LAID_OUT(a_swapped_link_leads_nowhere),
        LAID_OUT(children_get_what_the_parent_has),
        LAID_OUT(without_the_right_there_are_no_directories),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    rig_engine_signals();
    return cmocka_run_group_tests(tests, open_all, close_all);
}
