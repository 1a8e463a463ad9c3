// SPDX-License-Identifier: Apache-2.0
// Files below descriptor 3: the table, rights, bytes, listings, state. Begins with an empty folder.
#include "wasi_raw.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DIR = 3 };

static void table(void)
{
    u32 fd[3], n;
    struct fdstat st;
    make_file(DIR, "a", "0123456789");
    for (int i = 0; i < 3; i++)
        EXPECT(open_at(DIR, "a", 0, R_READ | R_SEEK, 0, &fd[i]), E_OK);
    EXPECT(fd[0], 4);
    EXPECT(fd[1], 5);
    EXPECT(fd[2], 6);
    EXPECT(raw_fd_close(4), E_OK);
    EXPECT(raw_fd_close(4), E_BADF);
    EXPECT(open_at(DIR, "a", 0, R_READ, 0, &fd[0]), E_OK);
    EXPECT(fd[0], 4); // the lowest free one
    EXPECT(raw_fd_renumber(6, 4), E_OK);
    EXPECT(raw_fd_fdstat_get(6, P(&st)), E_BADF);
    EXPECT(raw_fd_fdstat_get(4, P(&st)), E_OK);
    EXPECT(st.base, R_READ | R_SEEK);
    EXPECT(raw_fd_renumber(4, 4), E_OK);
    EXPECT(raw_fd_renumber(4, 6), E_BADF);
    char buf[4];
    EXPECT(read_fd(4, buf, 4, &n), E_OK);
    EXPECT(n, 4);
    EXPECT(raw_fd_renumber(DIR, 5), E_OK); // a preopened directory moves with its name
    u32 prestat[2];
    EXPECT(raw_fd_prestat_get(5, P(prestat)), E_OK);
    EXPECT(raw_fd_prestat_get(DIR, P(prestat)), E_BADF);
    EXPECT(prestat[1], 1);
    EXPECT(raw_fd_prestat_dir_name(5, P(buf), 0), E_NAMETOOLONG);
    EXPECT(raw_fd_prestat_dir_name(5, P(buf), 4), E_OK);
    EXPECT(buf[0], '.');
    EXPECT(raw_fd_close(0), E_OK);
    EXPECT(open_at(5, "a", 0, R_READ, 0, &fd[0]), E_OK);
    EXPECT(fd[0], 0);
}

static void many(void)
{
    u32 fd, last = 0, error = E_OK;
    make_file(DIR, "a", "x");
    for (u32 i = 0; error == E_OK && i < 2000; i++) {
        error = open_at(DIR, "a", 0, R_READ, 0, &fd);
        if (error == E_OK) last = fd;
    }
    EXPECT(error, E_MFILE);
    EXPECT(last, 1023);
    EXPECT(open_at(DIR, "new", CREAT, R_WRITE, 0, &fd), E_MFILE); // and nothing was made
    struct filestat st;
    EXPECT(raw_path_filestat_get(DIR, 0, S("new"), P(&st)), E_NOENT);
    EXPECT(raw_fd_close(500), E_OK);
    EXPECT(open_at(DIR, "a", 0, R_READ, 0, &fd), E_OK);
    EXPECT(fd, 500);
}

static void rights(void)
{
    u32 fd, sub, n;
    u64 now;
    struct fdstat st;
    char buf[4];
    make_file(DIR, "a", "0123");
    EXPECT(open_at(DIR, "a", 0, R_READ, 0, &fd), E_OK);
    EXPECT(write_fd(fd, "x", 1, &n), E_NOTCAPABLE);
    EXPECT(raw_fd_seek(fd, 0, 0, P(&now)), E_NOTCAPABLE);
    EXPECT(raw_fd_tell(fd, P(&now)), E_NOTCAPABLE);
    EXPECT(raw_fd_filestat_set_size(fd, 0), E_NOTCAPABLE);
    EXPECT(raw_fd_fdstat_set_rights(fd, R_READ | R_WRITE, 0), E_NOTCAPABLE);
    EXPECT(raw_fd_fdstat_set_rights(fd, 0, 0), E_OK);
    EXPECT(read_fd(fd, buf, 4, &n), E_NOTCAPABLE);
    EXPECT(raw_fd_fdstat_set_rights(fd, R_READ, 0), E_NOTCAPABLE);
    // what a directory does not hand on
    EXPECT(raw_path_create_directory(DIR, S("d")), E_OK);
    EXPECT(raw_path_open(DIR, 0, S("d"), DIRECTORY, R_ALL, R_READ, 0, P(&sub)), E_OK);
    EXPECT(raw_fd_fdstat_get(sub, P(&st)), E_OK);
    EXPECT(st.type, 3);
    EXPECT(st.inheriting, R_READ);
    EXPECT(st.base & R_WRITE, 0);
    EXPECT(raw_path_open(sub, 0, S("x"), CREAT, R_READ | R_WRITE, 0, 0, P(&fd)), E_NOTCAPABLE);
    EXPECT(raw_path_open(sub, 0, S("x"), CREAT, R_READ, 0, 0, P(&fd)), E_OK);
    EXPECT(raw_path_open(sub, 0, S("x"), CREAT, R_READ | (u64)1 << 60, 0, 0, P(&fd)), E_OK);
    EXPECT(raw_fd_fdstat_set_rights(sub, st.base & ~(u64)(1 << 10), R_READ), E_OK);
    EXPECT(raw_path_open(sub, 0, S("y"), CREAT, R_READ, 0, 0, P(&fd)), E_NOTCAPABLE);
    EXPECT(raw_fd_fdstat_set_rights(sub, 0, 0), E_OK);
    EXPECT(raw_path_unlink_file(sub, S("x")), E_NOTCAPABLE);
    EXPECT(raw_path_filestat_get(sub, 0, S("x"), P(buf)), E_NOTCAPABLE);
}

static void bytes(void)
{
    static char big[3 << 20], back[3 << 20];
    u32 fd, n;
    u64 now;
    for (u32 i = 0; i < sizeof(big); i++)
        big[i] = (char)(i * 7 + i / 999);
    EXPECT(open_at(DIR, "big", CREAT | EXCL, R_ALL_FILE, 0, &fd), E_OK);
    for (u32 at = 0; at < sizeof(big); at += n) {
        EXPECT(write_fd(fd, big + at, sizeof(big) - at, &n), E_OK);
        EXPECT_TRUE(n > 0);
    }
    EXPECT(raw_fd_tell(fd, P(&now)), E_OK);
    EXPECT(now, sizeof(big));
    EXPECT(raw_fd_seek(fd, 0, 0, P(&now)), E_OK);
    for (u32 at = 0; at < sizeof(back); at += n) {
        EXPECT(read_fd(fd, back + at, sizeof(back) - at, &n), E_OK);
        EXPECT_TRUE(n > 0);
    }
    EXPECT(memcmp(big, back, sizeof(big)), 0);
    EXPECT(read_fd(fd, back, 1, &n), E_OK);
    EXPECT(n, 0);
    // several vectors, of which one is empty; positioned calls leave the offset alone
    struct iov iov[3] = {{P(big), 2}, {P(big), 0}, {P(big + 2), 3}};
    EXPECT(raw_fd_pwrite(fd, P(iov), 3, 100, P(&n)), E_OK);
    EXPECT(n, 5);
    struct iov in = {P(back), 5};
    EXPECT(raw_fd_pread(fd, P(&in), 1, 100, P(&n)), E_OK);
    EXPECT(n, 5);
    EXPECT(memcmp(big, back, 5), 0);
    EXPECT(raw_fd_pread(fd, P(&in), 1, (u64)1 << 63, P(&n)), E_INVAL);
    EXPECT(raw_fd_tell(fd, P(&now)), E_OK);
    EXPECT(now, sizeof(big));
    EXPECT(raw_fd_seek(fd, (u64)-1, 0, P(&now)), E_INVAL);
    EXPECT(raw_fd_seek(fd, 0, 3, P(&now)), E_INVAL);
    EXPECT(raw_fd_seek(fd, (u64)-5, 2, P(&now)), E_OK);
    EXPECT(now, sizeof(big) - 5);
    // more than 1024 vectors: the first 1024 count
    static struct iov vectors[1500];
    for (u32 i = 0; i < 1500; i++)
        vectors[i] = (struct iov){P(big), 1};
    EXPECT(raw_fd_write(fd, P(vectors), 1500, P(&n)), E_OK);
    EXPECT(n, 1024);
    // append
    EXPECT(raw_fd_fdstat_set_flags(fd, APPEND), E_OK);
    EXPECT(raw_fd_seek(fd, 0, 0, P(&now)), E_OK);
    EXPECT(write_fd(fd, "end", 3, &n), E_OK);
    EXPECT(raw_fd_tell(fd, P(&now)), E_OK);
    EXPECT(now, sizeof(big) - 5 + 1024 + 3);
    EXPECT(raw_fd_fdstat_set_flags(fd, 2), E_NOTSUP);
    EXPECT(raw_fd_fdstat_set_flags(fd, 64), E_INVAL);
    EXPECT(raw_fd_sync(fd), E_OK);
    EXPECT(raw_fd_datasync(fd), E_OK);
    EXPECT(raw_fd_sync(DIR), E_OK);
    EXPECT(raw_fd_advise(fd, 0, 100, 3), E_OK);
    EXPECT(raw_fd_advise(fd, 0, 100, 6), E_INVAL);
    EXPECT(raw_fd_advise(DIR, 0, 100, 0), E_BADF);
    EXPECT(raw_fd_allocate(fd, 0, 10), E_OK); // never shrinks
    struct filestat st;
    EXPECT(raw_fd_filestat_get(fd, P(&st)), E_OK);
    EXPECT(st.size, sizeof(big) - 5 + 1024 + 3);
    EXPECT(raw_fd_allocate(fd, 0, 0), E_INVAL);
    EXPECT(raw_fd_filestat_set_size(fd, 7), E_OK);
    EXPECT(raw_fd_filestat_get(fd, P(&st)), E_OK);
    EXPECT(st.size, 7);
    EXPECT(raw_fd_filestat_set_size(fd, (u64)-1), E_INVAL);
    EXPECT(read_fd(DIR, back, 1, &n), E_ISDIR);
}

static void names(void)
{
    u32 fd, n;
    char buf[64];
    struct filestat st;
    static char long_name[5000];
    make_file(DIR, "a", "text");
    EXPECT(open_at(DIR, "a", CREAT | EXCL, R_READ, 0, &fd), E_EXIST);
    EXPECT(open_at(DIR, "a", DIRECTORY, R_READ, 0, &fd), E_NOTDIR);
    EXPECT(open_at(DIR, "none", 0, R_READ, 0, &fd), E_NOENT);
    EXPECT(open_at(DIR, "", 0, R_READ, 0, &fd), E_NOENT);
    EXPECT(open_at(DIR, "a", 16, R_READ, 0, &fd), E_INVAL);
    EXPECT(raw_path_open(DIR, 0, P("a\0b"), 3, 0, R_READ, 0, 0, P(&fd)), E_ILSEQ);
    memset(long_name, 'x', sizeof(long_name));
    EXPECT(raw_path_open(DIR, 0, P(long_name), 5000, 0, R_READ, 0, 0, P(&fd)), E_NAMETOOLONG);
    EXPECT(raw_path_open(DIR, 0, P(long_name), 300, 0, R_READ, 0, 0, P(&fd)), E_NAMETOOLONG);
    EXPECT(raw_path_create_directory(DIR, S("d/")), E_OK);
    EXPECT(raw_path_create_directory(DIR, S("d")), E_EXIST);
    EXPECT(raw_path_unlink_file(DIR, S("d")), E_ISDIR);
    EXPECT(raw_path_unlink_file(DIR, S("a/")), E_NOTDIR);
    EXPECT(raw_path_remove_directory(DIR, S("a")), E_NOTDIR);
    EXPECT(raw_path_rename(DIR, S("a"), DIR, S("d/b")), E_OK);
    EXPECT(raw_path_remove_directory(DIR, S("d")), E_NOTEMPTY);
    EXPECT(raw_path_filestat_get(DIR, 0, S("d/b"), P(&st)), E_OK);
    EXPECT(st.type, 4);
    EXPECT(st.size, 4);
    EXPECT(raw_path_link(DIR, 0, S("d/b"), DIR, S("hard")), E_OK);
    EXPECT(raw_path_filestat_get(DIR, 0, S("hard"), P(&st)), E_OK);
    EXPECT(st.nlink, 2);
    EXPECT(raw_path_symlink(S("d/b"), DIR, S("soft")), E_OK);
    EXPECT(raw_path_symlink(S("/d/b"), DIR, S("soft2")), E_PERM);
    EXPECT(raw_path_readlink(DIR, S("soft"), P(buf), 64, P(&n)), E_OK);
    EXPECT(n, 3);
    EXPECT(memcmp(buf, "d/b", 3), 0);
    EXPECT(raw_path_readlink(DIR, S("soft"), P(buf), 2, P(&n)), E_OK); // cut
    EXPECT(n, 2);
    EXPECT(raw_path_readlink(DIR, S("d"), P(buf), 2, P(&n)), E_INVAL);
    EXPECT(raw_path_filestat_get(DIR, 0, S("soft"), P(&st)), E_OK);
    EXPECT(st.type, 7);
    EXPECT(raw_path_filestat_get(DIR, FOLLOW, S("soft"), P(&st)), E_OK);
    EXPECT(st.type, 4);
    EXPECT(raw_path_open(DIR, 0, S("soft"), 0, R_READ, 0, 0, P(&fd)), E_LOOP);
    EXPECT(open_at(DIR, "soft", 0, R_READ | R_TIMES | R_STAT, 0, &fd), E_OK);
    EXPECT(raw_path_link(DIR, FOLLOW, S("soft"), DIR, S("hard2")), E_OK);
    EXPECT(raw_path_filestat_get(DIR, 0, S("hard2"), P(&st)), E_OK);
    EXPECT(st.type, 4);
    EXPECT(st.nlink, 3);
    EXPECT(raw_path_link(DIR, 0, S("soft"), DIR, S("soft3")), E_OK);
    EXPECT(raw_path_filestat_get(DIR, 0, S("soft3"), P(&st)), E_OK);
    EXPECT(st.type, 7);
    // times
    EXPECT(raw_path_filestat_set_times(DIR, FOLLOW, S("soft"), 1500000001, 2500000002, 5), E_OK);
    EXPECT(raw_path_filestat_get(DIR, 0, S("d/b"), P(&st)), E_OK);
    EXPECT(st.atim, 1500000001);
    EXPECT(st.mtim, 2500000002);
    EXPECT(raw_path_filestat_set_times(DIR, 0, S("soft"), 7, 8, 4), E_OK); // the link itself
    EXPECT(raw_path_filestat_get(DIR, 0, S("d/b"), P(&st)), E_OK);
    EXPECT(st.mtim, 2500000002);
    EXPECT(raw_path_filestat_get(DIR, 0, S("soft"), P(&st)), E_OK);
    EXPECT(st.mtim, 8);
    EXPECT(raw_path_filestat_set_times(DIR, 0, S("soft"), 7, 8, 3), E_INVAL);
    EXPECT(raw_fd_filestat_set_times(fd, 0, 0, 8), E_OK);
    EXPECT(raw_fd_filestat_get(fd, P(&st)), E_OK);
    EXPECT_TRUE(st.mtim > 1600000000ull * 1000000000);
    EXPECT(raw_fd_filestat_set_times(DIR, 0, 5, 4), E_OK);
    EXPECT(raw_fd_filestat_get(DIR, P(&st)), E_OK);
    EXPECT(st.mtim, 5);
    EXPECT(st.type, 3);
    EXPECT(raw_fd_filestat_set_times(fd, 0, 0, 12), E_INVAL);
}

// Lists DIR with a buffer of that size, the cookie of each answer leading to the next.
static void list_with(u32 buf_len, char seen[1002])
{
    static char buf[70000];
    u64 cookie = 0;
    u32 used;
    memset(seen, 0, 1002);
    do {
        EXPECT(raw_fd_readdir(DIR, P(buf), buf_len, cookie, P(&used)), E_OK);
        EXPECT_TRUE(used <= buf_len);
        for (u32 at = 0; at + 24 <= used;) {
            u64 next;
            u32 len;
            memcpy(&next, buf + at, 8);
            memcpy(&len, buf + at + 16, 4);
            if (at + 24 + len > used) break;
            char name[8] = {0};
            EXPECT_TRUE(len < sizeof(name));
            memcpy(name, buf + at + 24, len);
            int index = len == 1 ? 1000 : len == 2 && name[0] == '.' ? 1001 : atoi(name + 1);
            EXPECT(buf[at + 20], name[0] == '.' ? 3 : 4);
            seen[index]++;
            cookie = next;
            at += 24 + len;
        }
    } while (used == buf_len);
    for (int i = 0; i < 1002; i++)
        EXPECT(seen[i], 1);
}

static void listing(void)
{
    static char seen[1002], buf[4096];
    char name[16];
    u32 used, again;
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "f%03d", i);
        make_file(DIR, name, "");
    }
    list_with(4096, seen);
    list_with(300, seen);
    list_with(70000, seen);
    list_with(65536, seen);
    // cookie 0 begins anew; the same cookie gives the same answer
    EXPECT(raw_fd_readdir(DIR, P(buf), 200, 0, P(&used)), E_OK);
    EXPECT(used, 200);
    u64 cookie;
    memcpy(&cookie, buf, 8);
    EXPECT(raw_fd_readdir(DIR, P(buf), 100, cookie, P(&used)), E_OK);
    EXPECT(raw_fd_readdir(DIR, P(buf + 2000), 100, cookie, P(&again)), E_OK);
    EXPECT(used, again);
    EXPECT(memcmp(buf, buf + 2000, used), 0);
    EXPECT(raw_fd_readdir(DIR, P(buf), 0, 0, P(&used)), E_OK);
    EXPECT(used, 0);
    EXPECT(raw_fd_readdir(1, P(buf), 100, 0, P(&used)), E_NOTDIR);
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "f%03d", i);
        EXPECT(raw_path_unlink_file(DIR, S(name)), E_OK);
    }
    EXPECT(raw_fd_readdir(DIR, P(buf), 4096, 0, P(&used)), E_OK);
    EXPECT(used, 24 + 1 + 24 + 2);
}

// A FIFO, made by the test, that nobody else has open.
static void fifo(void)
{
    u32 reader, writer, n;
    u64 now;
    char buf[8];
    struct fdstat st;
    EXPECT(open_at(DIR, "fifo", 0, R_WRITE, 0, &writer), 60); // nxio: nobody reads
    EXPECT(open_at(DIR, "fifo", 0, R_READ | R_SEEK, NONBLOCK, &reader), E_OK);
    EXPECT(open_at(DIR, "fifo", 0, R_WRITE, 0, &writer), E_OK);
    EXPECT(raw_fd_fdstat_get(reader, P(&st)), E_OK);
    EXPECT(st.type, 0);
    EXPECT(st.flags, NONBLOCK);
    EXPECT(read_fd(reader, buf, 8, &n), E_AGAIN);
    EXPECT(write_fd(writer, "abc", 3, &n), E_OK);
    EXPECT(read_fd(reader, buf, 8, &n), E_OK);
    EXPECT(n, 3);
    EXPECT(raw_fd_seek(reader, 0, 0, P(&now)), E_SPIPE);
    struct iov iov = {P(buf), 1};
    EXPECT(raw_fd_pread(reader, P(&iov), 1, 0, P(&n)), E_SPIPE);
    EXPECT(raw_fd_close(reader), E_OK);
    EXPECT(write_fd(writer, "abc", 3, &n), E_PIPE);
    EXPECT(raw_fd_close(writer), E_OK);
    // now it waits, until killed
    EXPECT(open_at(DIR, "fifo", 0, R_READ, 0, &reader), E_OK);
    EXPECT(open_at(DIR, "fifo", 0, R_WRITE, 0, &writer), E_OK);
    printf("waits\n");
    fflush(stdout);
    (void)read_fd(reader, buf, 8, &n);
    printf("read %u\n", n);
}

// The C library on top.
static void library(void)
{
    FILE *file = fopen("dir-less.txt", "w");
    EXPECT_TRUE(file != NULL);
    EXPECT(fprintf(file, "line %d\n", 1), 7);
    EXPECT(fclose(file), 0);
    file = fopen("dir-less.txt", "a+");
    EXPECT_TRUE(file != NULL);
    EXPECT(fputs("line 2\n", file) >= 0, 1);
    rewind(file);
    char line[64];
    EXPECT_TRUE(fgets(line, 64, file) != NULL);
    EXPECT_TRUE(fgets(line, 64, file) != NULL);
    EXPECT(strcmp(line, "line 2\n"), 0);
    EXPECT(fclose(file), 0);
    EXPECT(mkdir("made", 0777), 0);
    EXPECT(rename("dir-less.txt", "made/it"), 0);
    struct stat st;
    EXPECT(stat("made/it", &st), 0);
    EXPECT(st.st_size, 14);
    EXPECT(unlink("made/it"), 0);
    EXPECT(rmdir("made"), 0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "table") == 0) table();
    if (strcmp(what, "many") == 0) many();
    if (strcmp(what, "rights") == 0) rights();
    if (strcmp(what, "bytes") == 0) bytes();
    if (strcmp(what, "names") == 0) names();
    if (strcmp(what, "listing") == 0) listing();
    if (strcmp(what, "fifo") == 0) fifo();
    if (strcmp(what, "library") == 0) library();
    return 0;
}
