// SPDX-License-Identifier: Apache-2.0
// The cache on disk: hits, entries that must not be trusted, room, many writers, and folders that
// fail.
#include "rig.h"

#include "base/alloc.h"
#include "base/log.h"
#include "harness/check.h"
#include "os/fault.h"
#include "wasm/cache.h"
#include "wasm/compile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char WAT[] = "(module (func (export \"f\") (param i32) (result i32) (local.get 0)))";

static char dir[600];
static uint32_t lines; // "compiling again" of the log

static void count_lines(void *arg, const char *line, size_t len)
{
    (void)arg;
    lines += memmem(line, len, "compiling again", 15) != NULL;
}

static int set_up(void **state)
{
    (void)state;
    rig_make_dir(dir, sizeof dir);
    viv_log_set_level(VIV_LOG_INFO);
    viv_log_set_sink(count_lines, NULL);
    lines = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    viv_log_set_sink(NULL, NULL);
    (void)chmod(dir, 0700);
    rig_remove_dir(dir);
    return 0;
}

// Loads with a room of its own, so that nothing but the disk is shared. mode picks the variant.
static void load_in(const char *cache_dir, const char *wat, enum viv_wasm_mode mode)
{
    struct viv_wasm *wasm = rig_wasm(cache_dir);
    struct viv_module *module = NULL;
    struct viv_diag diag = {.text = ""};
    if (rig_load(wasm, wat, mode, &module, &diag) != VIV_OK) fail_msg("%s", diag.text);
    viv_module_drop(module);
    viv_wasm_free(wasm);
}

static void load(void)
{
    load_in(dir, WAT, VIV_WASM_MANY);
}

// Files in the folder; the path of the last one.
static uint32_t count_files(char out_path[1024])
{
    DIR *open_dir = opendir(dir);
    assert_non_null(open_dir);
    uint32_t count = 0;
    for (struct dirent *entry; (entry = readdir(open_dir)) != NULL;) {
        if (entry->d_name[0] == '.') continue;
        count++;
        if (out_path != NULL) (void)snprintf(out_path, 1024, "%s/%s", dir, entry->d_name);
    }
    (void)closedir(open_dir);
    return count;
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    return st;
}

static void a_second_load_reads_what_the_first_wrote(void **state)
{
    (void)state;
    char path[1024];
    load();
    assert_int_equal(count_files(path), 1);
    assert_non_null(strstr(path, ".cwasm"));
    struct stat first = stat_of(path);
    assert_int_equal(first.st_mode & 0777, 0600);
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    load();
    struct stat second = stat_of(path);
    assert_true(second.st_ino == first.st_ino && second.st_mtim.tv_sec == 1000);
    assert_true(second.st_atim.tv_sec > 1000); // marked as read
    load_in(dir, WAT, VIV_WASM_FAST);
    load_in(dir, "(module)", VIV_WASM_MANY);
    assert_int_equal(count_files(NULL), 3); // mode and bytes are in the key
    load_in(NULL, "(module (memory 1))", VIV_WASM_MANY);
    assert_int_equal(count_files(NULL), 3);
    assert_int_equal(lines, 0);
}

// Changes the entry, loads, and expects a new one in its place.
static void expect_recompiled(const char *path)
{
    lines = 0;
    load();
    struct stat st = stat_of(path);
    assert_true(S_ISREG(st.st_mode) && st.st_nlink == 1);
    assert_int_equal(count_files(NULL), 1);
    assert_int_equal(lines, 1);
    lines = 0;
    load();
    assert_int_equal(lines, 0); // the new one is good
}

static void flip_byte(const char *path, off_t at)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= 0x40;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    (void)close(fd);
}

static void damaged_entries_are_compiled_again(void **state)
{
    (void)state;
    char path[1024];
    load();
    assert_int_equal(count_files(path), 1);
    off_t size = stat_of(path).st_size;
    off_t places[] = {0, 8, 12, 16, 48, 56, 88, size / 2, size - 1};
    for (size_t i = 0; i < VIV_COUNT_OF(places); i++) {
        flip_byte(path, places[i]);
        expect_recompiled(path);
    }
    off_t cuts[] = {0, 1, 87, 88, 89, size / 2, size - 1};
    for (size_t i = 0; i < VIV_COUNT_OF(cuts); i++) {
        assert_int_equal(truncate(path, cuts[i]), 0);
        expect_recompiled(path);
    }
    assert_int_equal(truncate(path, size + 1), 0);
    expect_recompiled(path);
}

static void entries_of_others_are_not_trusted(void **state)
{
    (void)state;
    char path[1024], other[1100];
    load();
    assert_int_equal(count_files(path), 1);
    assert_int_equal(chmod(path, 0620), 0);
    expect_recompiled(path);
    assert_int_equal(chmod(path, 0602), 0);
    expect_recompiled(path);
    // A symbolic link to a good entry elsewhere.
    (void)snprintf(other, sizeof other, "%s.elsewhere", dir);
    assert_int_equal(rename(path, other), 0);
    assert_int_equal(symlink(other, path), 0);
    expect_recompiled(path);
    // A second name of a file of ours.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(link(other, path), 0);
    expect_recompiled(path);
    assert_int_equal(unlink(other), 0);
    // A FIFO does not hold the reader.
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    expect_recompiled(path);
    if (geteuid() == 0) {
        assert_int_equal(chown(path, 1, 1), 0);
        expect_recompiled(path);
    }
}

static void a_folder_that_others_may_write_is_not_used(void **state)
{
    (void)state;
    assert_int_equal(chmod(dir, 0777), 0);
    load();
    assert_int_equal(count_files(NULL), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    load();
    assert_int_equal(count_files(NULL), 1);
}

static void folders_are_made_and_failures_ignored(void **state)
{
    (void)state;
    char below[700];
    (void)snprintf(below, sizeof below, "%s/a/b", dir);
    load_in(below, WAT, VIV_WASM_MANY);
    struct stat st = stat_of(below);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(count_files(NULL), 1);
    load_in("/dev/null/not/here", WAT, VIV_WASM_MANY);
    load_in("", WAT, VIV_WASM_MANY);
    rig_remove_dir(below);
}

static void failing_system_calls_lose_only_the_entry(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int error;
    } faults[] = {{"openat", EACCES}, {"write", ENOSPC},  {"write", VIV_FAULT_SHORT},
                  {"renameat", EIO},  {"read", EIO},      {"fstat", EIO},
                  {"mkdirat", EROFS}, {"getdents64", EIO}};
    for (size_t i = 0; i < VIV_COUNT_OF(faults); i++) {
        for (uint64_t nth = 1; nth < 4; nth++) {
            viv_fault_set(faults[i].name, nth, faults[i].error);
            load();
            load();
            viv_fault_set(faults[i].name, 0, 0);
            load();
            assert_int_equal(count_files(NULL), 1); // and no temporary file
            rig_remove_dir(dir);
        }
    }
}

static void the_least_recently_read_makes_room(void **state)
{
    (void)state;
    struct viv_wasm_config config = rig_config();
    config.cache_dir = dir;
    load();
    char first[1024];
    assert_int_equal(count_files(first), 1);
    uint64_t size = (uint64_t)stat_of(first).st_size;
    config.cache_bytes_max = size * 5 / 2; // room for two
    struct viv_wasm *wasm = NULL;
    assert_int_equal(viv_wasm_new(&config, &wasm), VIV_OK);
    struct timespec hour_ago[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
    char stale[1100];
    (void)snprintf(stale, sizeof stale, "%s/0123.0123456789abcdef.tmp", dir);
    (void)close(open(stale, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    struct timespec day_ago[2] = {{.tv_sec = time(NULL) - 86400}, {.tv_sec = time(NULL) - 86400}};
    assert_int_equal(utimensat(AT_FDCWD, stale, day_ago, 0), 0);
    assert_int_equal(utimensat(AT_FDCWD, first, hour_ago, 0), 0);
    struct viv_module *module[3];
    struct viv_diag diag;
    static const char *const wats[] = {"(module (func (export \"a\")))",
                                       "(module (func (export \"b\")))", WAT};
    assert_int_equal(rig_load(wasm, wats[0], VIV_WASM_MANY, &module[0], &diag), VIV_OK);
    assert_int_equal(access(stale, F_OK), -1);
    assert_int_equal(count_files(NULL), 2);
    assert_int_equal(rig_load(wasm, wats[2], VIV_WASM_MANY, &module[2], &diag),
                     VIV_OK); // read: now the newest
    // Entries of one second: the first one was read last.
    assert_int_equal(rig_load(wasm, wats[1], VIV_WASM_MANY, &module[1], &diag), VIV_OK);
    assert_int_equal(count_files(NULL), 2);
    assert_int_equal(access(first, F_OK), 0);
    for (size_t i = 0; i < 3; i++)
        viv_module_drop(module[i]);
    viv_wasm_free(wasm);
}

static void many_kernels_write_one_entry(void **state)
{
    (void)state;
    enum { COUNT = 8 };
    pid_t child[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        child[i] = fork();
        assert_true(child[i] >= 0);
        if (child[i] == 0) { // a program of its own: the engine's threads do not survive a fork
            (void)execl("/proc/self/exe", "test_cache", "load", dir, (char *)NULL);
            _exit(127);
        }
    }
    for (size_t i = 0; i < COUNT; i++) {
        int status;
        assert_int_equal(waitpid(child[i], &status, 0), child[i]);
        assert_int_equal(status, 0);
    }
    assert_int_equal(count_files(NULL), 1);
    load();
    assert_int_equal(lines, 0);
}

static void the_users_folder_follows_the_environment(void **state)
{
    (void)state;
    char path[128];
    assert_int_equal(setenv("VIV_CACHE_DIR", "/x/y", 1) | setenv("XDG_CACHE_HOME", "/c", 1) |
                         setenv("HOME", "/h", 1),
                     0);
    assert_true(viv_cache_default_dir(path, sizeof path));
    assert_string_equal(path, "/x/y");
    assert_false(viv_cache_default_dir(path, 3));
    (void)unsetenv("VIV_CACHE_DIR");
    assert_true(viv_cache_default_dir(path, sizeof path));
    assert_string_equal(path, "/c/viv/wasm");
    (void)setenv("XDG_CACHE_HOME", "", 1);
    assert_true(viv_cache_default_dir(path, sizeof path));
    assert_string_equal(path, "/h/.cache/viv/wasm");
    (void)unsetenv("HOME");
    assert_false(viv_cache_default_dir(path, sizeof path));
}

static void failed_allocations_only_cost_the_hit(void **state)
{
    (void)state;
    load();
    struct viv_wasm *wasm = rig_wasm(dir);
    struct viv_engine *engine;
    assert_int_equal(viv_wasm_engine(wasm, VIV_WASM_MANY, false, &engine), VIV_OK);
    int64_t before = viv_alloc_live_bytes_all();
    for (uint64_t nth = 1;; nth++) {
        struct viv_module_source source = rig_source(WAT, sizeof WAT - 1, VIV_WASM_MANY);
        struct viv_module *module = NULL;
        struct viv_diag diag;
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_compile_source(wasm, &source, false, &module, &diag);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_true(err == VIV_OK || (hit && err == VIV_E_EXHAUSTED));
        viv_module_drop(module);
        assert_true(viv_alloc_live_bytes_all() == before);
        if (!hit) break;
    }
    viv_wasm_free(wasm);
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "load") == 0) {
        load_in(argv[2], WAT, VIV_WASM_MANY);
        _exit(0); // no test of its own: the harness need not look for one
    }
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(a_second_load_reads_what_the_first_wrote),
        CASE(damaged_entries_are_compiled_again),
        CASE(entries_of_others_are_not_trusted),
        CASE(a_folder_that_others_may_write_is_not_used),
        CASE(folders_are_made_and_failures_ignored),
        CASE(failing_system_calls_lose_only_the_entry),
        CASE(the_least_recently_read_makes_room),
        CASE(many_kernels_write_one_entry),
        CASE(the_users_folder_follows_the_environment),
        CASE(failed_allocations_only_cost_the_hit),
    };
    rig_engine_signals();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
