// SPDX-License-Identifier: Apache-2.0
// Cases 97 and 98: directories. Guest: guest/conform_wasi_files.c. What is laid out for 97:
//
//   <folder>/inside/    the guest's only directory        <folder>/outside/   never to be reached
//     file              600 times 'i'                       secret, victim    4000 times 'O'
//     sub/deep/                                             empty/
//     walk/secret, walk/sub/deep/                           link -> secret
//     links, names that are swapped: below
#include "wasi_cases.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INSIDE_BYTES = 600, OUTSIDE_BYTES = 4000 };
// Time of case_097_swapped: the contract's, and the one of every day.
enum { SWAP_SECONDS_FULL = 10, SWAP_SECONDS = 3 };

static struct folder folder, inside, outside;
static struct timespec outside_time; // of every file outside

// ---- what is laid out ----

static void make_dir(const struct folder *in, const char *name)
{
    char path[PATH_MAX];
    folder_path(in, name, path);
    CHECK(mkdir(path, 0777) == 0);
}

static void make_link(const char *target, const char *name)
{
    char path[PATH_MAX];
    folder_path(&inside, name, path);
    CHECK(symlink(target, path) == 0);
}

static void lay_out_outside(void)
{
    char path[PATH_MAX];
    struct stat st;
    folder_write(&outside, "secret", 'O', OUTSIDE_BYTES);
    folder_write(&outside, "victim", 'O', OUTSIDE_BYTES);
    make_dir(&outside, "empty");
    folder_path(&outside, "link", path);
    CHECK(symlink("secret", path) == 0);
    folder_path(&outside, "victim", path);
    const struct timespec times[2] = {{1000000000, 0}, {1000000000, 0}};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0 && stat(path, &st) == 0);
    outside_time = st.st_mtim;
    folder_path(&outside, "secret", path);
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

static void lay_out(struct world *world)
{
    char path[PATH_MAX];
    folder_open(&folder);
    folder_path(&folder, "inside", inside.path);
    folder_path(&folder, "outside", outside.path);
    make_dir(&folder, "inside");
    make_dir(&folder, "outside");
    lay_out_outside();
    folder_write(&inside, "file", 'i', INSIDE_BYTES);
    make_dir(&inside, "sub");
    make_dir(&inside, "sub/deep");
    make_link("file", "link_in");
    make_link("..", "sub/link_home");
    make_link("../outside/secret", "link_rel");
    make_link("link_rel", "link_chain");
    make_link("../../outside/secret", "sub/link_up");
    make_link("../outside/new", "link_new");
    make_link("../outside", "link_dir");
    make_link(outside.path, "link_dir_abs");
    folder_path(&outside, "secret", path);
    make_link(path, "link_abs");
    folder_path(&inside, "file", path);
    make_link(path, "link_abs_in");
    give_dir(world, inside.path);
    TRY(viv_config_add_arg(world->config, "main", 4));
    TRY(viv_config_add_arg(world->config, outside.path, strlen(outside.path)));
}

static void check_outside_file(const char *name)
{
    char path[PATH_MAX], data[OUTSIDE_BYTES + 1];
    struct stat st;
    folder_path(&outside, name, path);
    CHECK(stat(path, &st) == 0);
    CHECK(st.st_size == OUTSIDE_BYTES && st.st_nlink == 1);
    CHECK(st.st_mtim.tv_sec == outside_time.tv_sec);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, data, sizeof(data)) == OUTSIDE_BYTES && close(fd) == 0);
    for (size_t i = 0; i < OUTSIDE_BYTES; i++)
        CHECK(data[i] == 'O');
}

static int count_entries(const char *path)
{
    int count = 0;
    DIR *dir = opendir(path);
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    CHECK(closedir(dir) == 0);
    return count;
}

// All is as it was laid out, and nothing is there that was not.
static void check_outside(void)
{
    char path[PATH_MAX], target[16];
    check_outside_file("secret");
    check_outside_file("victim");
    CHECK(count_entries(outside.path) == 2 + 4);
    CHECK(count_entries(folder.path) == 2 + 2);
    folder_path(&outside, "empty", path);
    CHECK(count_entries(path) == 2);
    folder_path(&outside, "link", path);
    CHECK(readlink(path, target, sizeof(target)) == 6 && memcmp(target, "secret", 6) == 0);
}

static void run_laid_out(struct world *world, const char *entry)
{
    lay_out(world);
    world_run(world, FILES_GUEST, entry);
    check_outside();
    folder_close(&folder);
}

void case_097_dots(struct world *world)
{
    run_laid_out(world, "case_097_dots");
}

void case_097_absolute(struct world *world)
{
    run_laid_out(world, "case_097_absolute");
}

void case_097_symlink(struct world *world)
{
    run_laid_out(world, "case_097_symlink");
}

// ---- swapped names ----

// Pairs of names that are exchanged: the first is inside, the second a link to the outside.
static const char *const swaps[][2] = {
    {"swap", "swap2"},
    {"swap_abs", "swap_abs2"},
    {"swap_write", "swap_write2"},
    {"dir", "dir2"},
};
static _Atomic bool must_stop;

// Besides, a directory goes out of the tree and comes back, with whoever is in it.
static void *swap_names(void *arg)
{
    uint64_t *count = arg;
    const int in = open(inside.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const int out = open(outside.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    CHECK(in >= 0 && out >= 0);
    for (; !atomic_load(&must_stop); ++*count) {
        for (size_t i = 0; i < VIV_COUNT_OF(swaps); i++)
            CHECK(renameat2(in, swaps[i][0], in, swaps[i][1], RENAME_EXCHANGE) == 0);
        if (*count % 2 == 0)
            CHECK(renameat(in, "walk/sub", out, "sub") == 0);
        else
            CHECK(renameat(out, "sub", in, "walk/sub") == 0);
    }
    if (*count % 2 == 1) CHECK(renameat(out, "sub", in, "walk/sub") == 0);
    CHECK(close(in) == 0 && close(out) == 0);
    return NULL;
}

static void lay_out_swaps(void)
{
    char path[PATH_MAX];
    make_link("file", "swap");
    make_link("../outside/secret", "swap2");
    make_link("sub/../file", "swap_abs");
    folder_path(&outside, "secret", path);
    make_link(path, "swap_abs2");
    folder_write(&inside, "written", 'w', 1);
    make_link("written", "swap_write");
    make_link("../outside/victim", "swap_write2");
    make_dir(&inside, "dir");
    folder_write(&inside, "dir/secret", 'i', INSIDE_BYTES);
    make_link("../outside", "dir2");
    make_dir(&inside, "walk");
    folder_write(&inside, "walk/secret", 'i', INSIDE_BYTES);
    make_dir(&inside, "walk/sub");
    make_dir(&inside, "walk/sub/deep");
}

static uint64_t swap_seconds(void)
{
    const bool is_full =
        check_env_u64("VIV_CONFORM_FULL", 0) != 0 || check_env_u64("VIV_TIME_FACTOR", 1) > 1;
    return is_full ? SWAP_SECONDS_FULL : SWAP_SECONDS;
}

void case_097_swapped(struct world *world)
{
    uint64_t count = 0;
    pthread_t thread;
    viv_pid pids[2];
    const uint32_t readers = world->workers == 1 ? 1 : 2;
    lay_out(world);
    lay_out_swaps();
    CHECK(pthread_create(&thread, NULL, swap_names, &count) == 0);
    for (uint32_t i = 0; i < readers; i++) {
        const uint64_t args[2] = {swap_seconds() * 1000, i};
        pids[i] = world_start(world, world_module(world, FILES_GUEST), "case_097_swapped", args, 2);
    }
    for (uint32_t i = 0; i < readers; i++) {
        check_reason(world_await(world, pids[i]), VIV_REASON_NORMAL, 0);
        const uint64_t reached = world_note_u64(world, 1, i), refused = world_note_u64(world, 2, i);
        fprintf(stderr, "reached inside %" PRIu64 " times, refused %" PRIu64 "\n", reached,
                refused);
        CHECK(reached > 100 && refused > 100);
    }
    atomic_store(&must_stop, true);
    CHECK(pthread_join(thread, NULL) == 0);
    fprintf(stderr, "%" PRIu64 " rounds of swaps\n", count);
    CHECK(count > 100);
    check_outside();
    folder_close(&folder);
}

// ---- 98 ----

// The entry begins with an empty directory.
static void run_in_empty(struct world *world, const char *entry)
{
    folder_open(&folder);
    give_dir(world, folder.path);
    world_run(world, FILES_GUEST, entry);
}

void case_098(struct world *world)
{
    run_in_empty(world, "case_098");
    CHECK(count_entries(folder.path) == 2); // all are gone
    folder_close(&folder);
}

void case_098_changed(struct world *world)
{
    run_in_empty(world, "case_098_changed");
    folder_close(&folder);
}

void case_098_cut(struct world *world)
{
    run_in_empty(world, "case_098_cut");
    CHECK(count_entries(folder.path) == 2 + 5);
    folder_close(&folder);
}
