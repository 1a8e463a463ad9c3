// SPDX-License-Identifier: Apache-2.0
// Ways out of a directory, none of which may lead anywhere; and directories of children. The test
// has laid out: 3 = inside, beside it outside/secret; links and a swapping name are made by it.
#include "wasi_raw.h"

enum { DIR = 3 };

// Every function on a path, none of which may reach what is there.
static void refuse_everywhere(const char *path)
{
    u32 fd, n;
    char buf[64];
    struct filestat st;
    printf("%s\n", path);
    EXPECT(open_at(DIR, path, 0, R_READ, 0, &fd), E_PERM);
    EXPECT(open_at(DIR, path, CREAT, R_WRITE, 0, &fd), E_PERM);
    EXPECT(open_at(DIR, path, DIRECTORY, R_READDIR, 0, &fd), E_PERM);
    EXPECT(raw_path_filestat_get(DIR, FOLLOW, S(path), P(&st)), E_PERM);
    EXPECT(raw_path_filestat_get(DIR, 0, S(path), P(&st)), E_PERM);
    EXPECT(raw_path_filestat_set_times(DIR, 0, S(path), 1, 1, 5), E_PERM);
    EXPECT(raw_path_filestat_set_times(DIR, FOLLOW, S(path), 1, 1, 5), E_PERM);
    EXPECT(raw_path_readlink(DIR, S(path), P(buf), 64, P(&n)), E_PERM);
    EXPECT(raw_path_create_directory(DIR, S(path)), E_PERM);
    EXPECT(raw_path_remove_directory(DIR, S(path)), E_PERM);
    EXPECT(raw_path_unlink_file(DIR, S(path)), E_PERM);
    EXPECT(raw_path_rename(DIR, S(path), DIR, S("stolen")), E_PERM);
    EXPECT(raw_path_rename(DIR, S("own"), DIR, S(path)), E_PERM);
    EXPECT(raw_path_link(DIR, 0, S(path), DIR, S("stolen")), E_PERM);
    EXPECT(raw_path_link(DIR, FOLLOW, S(path), DIR, S("stolen")), E_PERM);
    EXPECT(raw_path_link(DIR, 0, S("own"), DIR, S(path)), E_PERM);
    EXPECT(raw_path_symlink(S("own"), DIR, S(path)), E_PERM);
}

static void escapes(void)
{
    u32 fd, n;
    char buf[64];
    struct filestat st;
    make_file(DIR, "own", "own");
    EXPECT(raw_path_create_directory(DIR, S("d")), E_OK);
    refuse_everywhere("../outside/secret");
    refuse_everywhere("d/../../outside/secret");
    refuse_everywhere("/etc/passwd");
    refuse_everywhere("link_dir/secret");     // symbolic link to ../outside
    refuse_everywhere("link_abs_dir/secret"); // absolute symbolic link
    refuse_everywhere("d/../link_dir/secret");
    refuse_everywhere("..");
    refuse_everywhere("d/../..");
    // a last component that leads out: followed never, acted upon as the link it is
    EXPECT(open_at(DIR, "link_file", 0, R_READ, 0, &fd), E_PERM);
    EXPECT(open_at(DIR, "link_file", CREAT | TRUNC, R_WRITE, 0, &fd), E_PERM);
    EXPECT(raw_path_filestat_get(DIR, FOLLOW, S("link_file"), P(&st)), E_PERM);
    EXPECT(raw_path_filestat_set_times(DIR, FOLLOW, S("link_file"), 1, 1, 5), E_PERM);
    EXPECT(raw_path_link(DIR, FOLLOW, S("link_file"), DIR, S("stolen")), E_PERM);
    EXPECT(open_at(DIR, "link_dir", DIRECTORY, R_READDIR, 0, &fd), E_PERM);
    EXPECT(open_at(DIR, "link_dir/", DIRECTORY, R_READDIR, 0, &fd), E_PERM);
    EXPECT(raw_path_filestat_get(DIR, 0, S("link_dir/"), P(&st)), E_PERM);
    EXPECT(raw_path_link(DIR, 0, S("link_dir/"), DIR, S("stolen")), E_NOTDIR);
    EXPECT(raw_path_remove_directory(DIR, S("link_dir/")), E_NOTDIR);
    EXPECT(raw_path_unlink_file(DIR, S("link_dir/")), E_NOTDIR);
    EXPECT(raw_path_filestat_get(DIR, 0, S("link_file"), P(&st)), E_OK);
    EXPECT(st.type, 7);
    // what a guest makes itself is no better
    EXPECT(raw_path_symlink(S("../outside"), DIR, S("mine")), E_OK);
    EXPECT(open_at(DIR, "mine/secret", 0, R_READ, 0, &fd), E_PERM);
    // magic links of /proc, which the test has given as 4
    EXPECT(open_at(4, "self/root/etc/passwd", 0, R_READ, 0, &fd), E_LOOP);
    EXPECT(open_at(4, "self/cwd", DIRECTORY, R_READDIR, 0, &fd), E_LOOP);
    EXPECT(open_at(4, "self/fd/3", 0, R_READDIR, 0, &fd), E_LOOP);
    // `..` that stays inside is fine
    EXPECT(open_at(DIR, "d/../own", 0, R_READ, 0, &fd), E_OK);
    EXPECT(read_fd(fd, buf, 64, &n), E_OK);
    EXPECT(n, 3);
    EXPECT(raw_path_filestat_get(DIR, 0, S("d/.."), P(&st)), E_OK);
    EXPECT(st.type, 3);
}

// While the test swaps `swap` (a directory with a file `secret`, or a link to ../outside) and
// `file` (likewise), until it makes a file `stop`. Whatever succeeds must have happened inside.
static void swapped(void)
{
    u32 fd, n, sub, reads = 0, refusals = 0;
    char buf[64];
    struct filestat st;
    static const char *const paths[] = {"swap/secret", "file"};
    do {
        for (int i = 0; i < 2; i++) {
            u32 error = open_at(DIR, paths[i], 0, R_READ, 0, &fd);
            refusals += error != E_OK;
            if (error != E_OK) continue;
            EXPECT(read_fd(fd, buf, 64, &n), E_OK);
            EXPECT(n, 6);
            EXPECT(memcmp(buf, "inside", 6), 0);
            EXPECT(raw_fd_close(fd), E_OK);
            reads++;
        }
        if (raw_path_filestat_get(DIR, FOLLOW, S("swap/secret"), P(&st)) == E_OK)
            EXPECT(st.size, 6);
        if (open_at(DIR, "swap", DIRECTORY, R_READDIR, 0, &sub) == E_OK) {
            if (raw_path_open(sub, 0, S("secret"), 0, R_READ, 0, 0, P(&fd)) == E_OK) {
                EXPECT(read_fd(fd, buf, 64, &n), E_OK);
                EXPECT(memcmp(buf, "inside", 6), 0);
                EXPECT(raw_fd_close(fd), E_OK);
            }
            EXPECT(raw_fd_close(sub), E_OK);
        }
        // effects: the test looks whether any of them came out
        if (open_at(DIR, "swap/new", CREAT, R_WRITE, 0, &fd) == E_OK) {
            (void)write_fd(fd, "x", 1, &n);
            EXPECT(raw_fd_close(fd), E_OK);
        }
        (void)raw_path_unlink_file(DIR, S("swap/new"));
        (void)raw_path_create_directory(DIR, S("swap/dir"));
        (void)raw_path_remove_directory(DIR, S("swap/dir"));
        (void)raw_path_link(DIR, FOLLOW, S("file"), DIR, S("linked"));
        if (open_at(DIR, "linked", 0, R_READ, 0, &fd) == E_OK) {
            EXPECT(read_fd(fd, buf, 64, &n), E_OK);
            EXPECT(memcmp(buf, "inside", 6), 0);
            EXPECT(raw_fd_close(fd), E_OK);
        }
        (void)raw_path_unlink_file(DIR, S("linked"));
    } while (raw_path_filestat_get(DIR, 0, S("stop"), P(&st)) == E_NOENT);
    printf("%u reads, %u refusals\n", reads, refusals);
    EXPECT_TRUE(reads > 0);
}

// ---- children ----

#define LUNATIC(space, name, result, ...)                                                          \
    __attribute__((import_module("lunatic::" space), import_name(#name))) result name(__VA_ARGS__)
LUNATIC("process", create_config, u64, void);
LUNATIC("process", spawn, u32, u64 link, u64 config, u64 module, u32 func, u32 func_len, u32 params,
        u32 params_len, u32 id);
LUNATIC("message", receive, u32, u32 tags, u32 count, u64 timeout);
LUNATIC("wasi", config_preopen_dir, void, u64 config, u32 dir, u32 len);

static u64 child_of(const char *dir)
{
    u64 config = create_config();
    if (dir != NULL) config_preopen_dir(config, S(dir));
    return config;
}

// Spawns export `func` and waits for its end; the result of spawn.
static u32 spawn_child(u64 config, const char *func)
{
    u64 id;
    u32 error = spawn(7, config, (u64)-1, S(func), P(&id), 0, P(&id));
    return error;
}

// The test calls the directory 3 by its host path in argv[2].
static void children(const char *host)
{
    char path[600];
    make_file(DIR, "own", "own");
    EXPECT(raw_path_create_directory(DIR, S("d")), E_OK);
    make_file(DIR, "d/below", "below");
    EXPECT(raw_path_symlink(S("d"), DIR, S("to_d")), E_OK);
    EXPECT(spawn_child((u64)-1, "sees_own"), 0);
    EXPECT(spawn_child(child_of(NULL), "sees_none"), 0);
    EXPECT(spawn_child(child_of(host), "sees_own"), 0);
    snprintf(path, sizeof(path), "%s/d", host);
    EXPECT(spawn_child(child_of(path), "sees_below"), 0);
    snprintf(path, sizeof(path), "%s/./nothing/../d/", host);
    EXPECT(spawn_child(child_of(path), "sees_below"), 0);
    snprintf(path, sizeof(path), "%s/to_d", host);
    EXPECT(spawn_child(child_of(path), "sees_below"), 0);
    // outside
    EXPECT(spawn_child(child_of("/etc"), "sees_none"), 1);
    EXPECT(spawn_child(child_of("/"), "sees_none"), 1);
    snprintf(path, sizeof(path), "%s/../outside", host);
    EXPECT(spawn_child(child_of(path), "sees_none"), 1);
    snprintf(path, sizeof(path), "%s/link_dir", host);
    EXPECT(spawn_child(child_of(path), "sees_none"), 1);
    snprintf(path, sizeof(path), "%s/absent", host);
    EXPECT(spawn_child(child_of(path), "sees_none"), 1);
    snprintf(path, sizeof(path), "%s/own", host); // no directory
    EXPECT(spawn_child(child_of(path), "sees_none"), 1);
    snprintf(path, sizeof(path), "%sx", host); // the same beginning, another name
    EXPECT(spawn_child(child_of(path), "sees_none"), 1);
    for (int i = 0; i < 6; i++) // normal ends are silent to links: a message is a failure
        EXPECT(receive(P(path), 0, 50), 9027);
}

#define CHILD(name) __attribute__((export_name(#name))) void name(void)

CHILD(sees_own)
{
    u32 fd;
    EXPECT(open_at(DIR, "own", 0, R_READ, 0, &fd), E_OK);
    EXPECT(open_at(DIR, "d/below", 0, R_READ, 0, &fd), E_OK);
}

CHILD(sees_below)
{
    u32 fd;
    EXPECT(open_at(DIR, "below", 0, R_READ, 0, &fd), E_OK);
    EXPECT(open_at(DIR, "../own", 0, R_READ, 0, &fd), E_PERM);
    EXPECT(open_at(5, "below", 0, R_READ, 0, &fd), E_BADF); // 4 is below
}

CHILD(sees_none)
{
    struct fdstat st;
    EXPECT(raw_fd_fdstat_get(DIR, P(&st)), E_BADF);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "escapes") == 0) escapes();
    if (strcmp(what, "swapped") == 0) swapped();
    if (strcmp(what, "children") == 0) children(argv[2]);
    return 0;
}
