// SPDX-License-Identifier: Apache-2.0
// Calls without files: bad pointers everywhere, arguments, environment, clocks, randomness, ends.
#include "wasi_raw.h"

#define BAD 0xffffffffu

// Every function that has a pointer, each pointer bad in turn where it has several, with
// descriptors that are open, not open and of the wrong kind.
static void faults(void)
{
    static char buf[64];
    static struct iov good = {0, 0};
    static struct iov bad = {BAD, 1};
    u32 ok = P(buf);
    good.ptr = ok;
    for (u32 fd = 0; fd < 6; fd++) {
        EXPECT(raw_fd_fdstat_get(fd, BAD), E_FAULT);
        EXPECT(raw_fd_filestat_get(fd, BAD), E_FAULT);
        EXPECT(raw_fd_pread(fd, BAD, 1, 0, ok), E_FAULT);
        EXPECT(raw_fd_pread(fd, P(&good), 1, 0, BAD), E_FAULT);
        EXPECT(raw_fd_pread(fd, P(&bad), 1, 0, ok), E_FAULT);
        EXPECT(raw_fd_pwrite(fd, BAD, 1, 0, ok), E_FAULT);
        EXPECT(raw_fd_pwrite(fd, P(&good), 1, 0, BAD), E_FAULT);
        EXPECT(raw_fd_read(fd, BAD, 1, ok), E_FAULT);
        EXPECT(raw_fd_read(fd, P(&good), BAD, ok), E_FAULT);
        EXPECT(raw_fd_read(fd, P(&good), 1, BAD), E_FAULT);
        EXPECT(raw_fd_write(fd, BAD, 1, ok), E_FAULT);
        EXPECT(raw_fd_write(fd, BAD, 0, ok), E_FAULT);
        EXPECT(raw_fd_write(fd, P(&bad), 1, ok), E_FAULT);
        EXPECT(raw_fd_write(fd, P(&good), 1, BAD), E_FAULT);
        EXPECT(raw_fd_prestat_get(fd, BAD), E_FAULT);
        EXPECT(raw_fd_prestat_dir_name(fd, BAD, 1), E_FAULT);
        EXPECT(raw_fd_readdir(fd, BAD, 1, 0, ok), E_FAULT);
        EXPECT(raw_fd_readdir(fd, ok, BAD, 0, ok), E_FAULT);
        EXPECT(raw_fd_readdir(fd, ok, 64, 0, BAD), E_FAULT);
        EXPECT(raw_fd_seek(fd, 0, 0, BAD), E_FAULT);
        EXPECT(raw_fd_tell(fd, BAD), E_FAULT);
        EXPECT(raw_path_create_directory(fd, BAD, 1), E_FAULT);
        EXPECT(raw_path_create_directory(fd, BAD, 0), E_FAULT);
        EXPECT(raw_path_filestat_get(fd, 0, BAD, 1, ok), E_FAULT);
        EXPECT(raw_path_filestat_get(fd, 0, ok, 1, BAD), E_FAULT);
        EXPECT(raw_path_filestat_set_times(fd, 0, BAD, 1, 0, 0, 0), E_FAULT);
        EXPECT(raw_path_link(fd, 0, BAD, 1, fd, ok, 1), E_FAULT);
        EXPECT(raw_path_link(fd, 0, ok, 1, fd, BAD, 1), E_FAULT);
        EXPECT(raw_path_open(fd, 0, BAD, 1, 0, 0, 0, 0, ok), E_FAULT);
        EXPECT(raw_path_open(fd, 0, ok, 1, CREAT, 0, 0, 0, BAD), E_FAULT);
        EXPECT(raw_path_readlink(fd, BAD, 1, ok, 1, ok), E_FAULT);
        EXPECT(raw_path_readlink(fd, ok, 1, BAD, 1, ok), E_FAULT);
        EXPECT(raw_path_readlink(fd, ok, 1, ok, 1, BAD), E_FAULT);
        EXPECT(raw_path_remove_directory(fd, BAD, 1), E_FAULT);
        EXPECT(raw_path_rename(fd, BAD, 1, fd, ok, 1), E_FAULT);
        EXPECT(raw_path_rename(fd, ok, 1, fd, BAD, 1), E_FAULT);
        EXPECT(raw_path_symlink(BAD, 1, fd, ok, 1), E_FAULT);
        EXPECT(raw_path_symlink(ok, 1, fd, BAD, 1), E_FAULT);
        EXPECT(raw_path_unlink_file(fd, BAD, 1), E_FAULT);
        EXPECT(raw_sock_accept(fd, 0, BAD), E_FAULT);
        EXPECT(raw_sock_recv(fd, BAD, 1, 0, ok, ok), E_FAULT);
        EXPECT(raw_sock_recv(fd, P(&good), 1, 0, BAD, ok), E_FAULT);
        EXPECT(raw_sock_recv(fd, P(&good), 1, 0, ok, BAD), E_FAULT);
        EXPECT(raw_sock_send(fd, BAD, 1, 0, ok), E_FAULT);
        EXPECT(raw_sock_send(fd, P(&good), 1, 0, BAD), E_FAULT);
    }
    EXPECT(raw_args_get(BAD, ok), E_FAULT);
    EXPECT(raw_args_get(ok, BAD), E_FAULT);
    EXPECT(raw_args_sizes_get(BAD, ok), E_FAULT);
    EXPECT(raw_args_sizes_get(ok, BAD), E_FAULT);
    EXPECT(raw_environ_get(BAD, ok), E_FAULT);
    EXPECT(raw_environ_get(ok, BAD), E_FAULT);
    EXPECT(raw_environ_sizes_get(BAD, ok), E_FAULT);
    EXPECT(raw_environ_sizes_get(ok, BAD), E_FAULT);
    EXPECT(raw_clock_res_get(0, BAD), E_FAULT);
    EXPECT(raw_clock_time_get(0, 0, BAD), E_FAULT);
    EXPECT(raw_random_get(BAD, 1), E_FAULT);
    EXPECT(raw_random_get(BAD, 0), E_FAULT);
    EXPECT(raw_random_get(0, BAD), E_FAULT);
    EXPECT(raw_poll_oneoff(BAD, ok, 1, ok), E_FAULT);
    EXPECT(raw_poll_oneoff(ok, BAD, 1, ok), E_FAULT);
    EXPECT(raw_poll_oneoff(0, 0, 1, BAD), E_FAULT);
    EXPECT(raw_poll_oneoff(0, 0, BAD, ok), E_FAULT);
}

static void badfs(void)
{
    u32 n;
    char name[] = "x";
    EXPECT(raw_fd_close(77), E_BADF);
    EXPECT(raw_fd_sync(77), E_BADF);
    EXPECT(raw_fd_datasync(77), E_BADF);
    EXPECT(raw_fd_advise(77, 0, 0, 0), E_BADF);
    EXPECT(raw_fd_allocate(77, 0, 1), E_BADF);
    EXPECT(raw_fd_fdstat_set_flags(77, 0), E_BADF);
    EXPECT(raw_fd_fdstat_set_rights(77, 0, 0), E_BADF);
    EXPECT(raw_fd_filestat_set_size(77, 0), E_BADF);
    EXPECT(raw_fd_filestat_set_times(77, 0, 0, 0), E_BADF);
    EXPECT(raw_fd_renumber(77, 0), E_BADF);
    EXPECT(raw_fd_renumber(0, 77), E_BADF);
    EXPECT(raw_fd_renumber(0xffffffff, 0xffffffff), E_BADF);
    EXPECT(raw_path_unlink_file(77, S(name)), E_BADF);
    EXPECT(raw_path_unlink_file(1, S(name)), E_NOTDIR);
    EXPECT(raw_sock_accept(77, 0, P(&n)), E_BADF);
    EXPECT(raw_sock_accept(1, 0, P(&n)), E_NOTSOCK);
    EXPECT(raw_sock_shutdown(1, 0), E_NOTSOCK);
    EXPECT(raw_sock_shutdown(77, 0), E_BADF);
    EXPECT(raw_proc_raise(9), E_NOTSUP);
}

static void clocks(void)
{
    u64 a = 0, b = 0;
    EXPECT(raw_clock_res_get(0, P(&a)), E_OK);
    EXPECT_TRUE(a > 0);
    EXPECT(raw_clock_res_get(4, P(&a)), E_INVAL);
    EXPECT(raw_clock_time_get(4, 0, P(&a)), E_INVAL);
    EXPECT(raw_clock_time_get(0, 0, P(&a)), E_OK);
    EXPECT_TRUE(a > 1600000000ull * 1000000000);
    EXPECT(raw_clock_time_get(1, 0, P(&a)), E_OK);
    EXPECT(raw_clock_time_get(1, 0, P(&b)), E_OK);
    EXPECT_TRUE(b >= a);
    EXPECT(raw_clock_time_get(2, 0, P(&a)), E_OK);
    do // advances although nobody else runs
        EXPECT(raw_clock_time_get(2, 0, P(&b)), E_OK);
    while (b < a + 20000000);
}

static void randomness(void)
{
    enum { LEN = 5 << 20 };
    char *buf = calloc(LEN, 1);
    EXPECT(raw_random_get(P(buf), LEN), E_OK);
    for (u32 at = 0; at + 64 <= LEN; at += 1 << 19) {
        int zeros = 0;
        for (u32 i = 0; i < 64; i++)
            zeros += buf[at + i] == 0;
        EXPECT_TRUE(zeros < 16);
    }
    EXPECT(raw_random_get(P(buf), 0), E_OK);
}

static void sleeps(void)
{
    static u64 sub[3][6], event[3][4];
    u32 count = 7;
    u64 a, b;
    EXPECT(raw_poll_oneoff(P(sub), P(event), 0, P(&count)), E_INVAL);
    memset(sub, 0, sizeof(sub));
    sub[0][0] = 11; // relative, monotonic, 30 ms
    sub[0][2] = 1;
    sub[0][3] = 30000000;
    sub[1][0] = 12; // a clock that is not supported
    sub[1][2] = 3;
    EXPECT(raw_poll_oneoff(P(sub), P(event), 2, P(&count)), E_OK);
    EXPECT(count, 1);
    EXPECT(event[0][0], 12);
    EXPECT((uint16_t)event[0][1], E_NOTSUP);
    EXPECT(raw_clock_time_get(1, 0, P(&a)), E_OK);
    EXPECT(raw_poll_oneoff(P(sub), P(event), 1, P(&count)), E_OK);
    EXPECT(raw_clock_time_get(1, 0, P(&b)), E_OK);
    EXPECT(count, 1);
    EXPECT(event[0][0], 11);
    EXPECT((uint16_t)event[0][1], E_OK);
    EXPECT_TRUE(b - a >= 30000000);
    sub[0][3] = b + 20000000; // absolute
    sub[0][5] = 1;
    EXPECT(raw_poll_oneoff(P(sub), P(event), 1, P(&count)), E_OK);
    EXPECT(raw_clock_time_get(1, 0, P(&a)), E_OK);
    EXPECT_TRUE(a >= b + 20000000);
    EXPECT(raw_clock_time_get(0, 0, P(&a)), E_OK);
    sub[0][2] = 0; // absolute, realtime, past
    sub[0][3] = a - 1000;
    sub[2][0] = 13; // a descriptor that is not open
    sub[2][1] = 1;
    sub[2][2] = 99;
    sub[1][2] = 1;
    sub[1][3] = 1000000000;
    EXPECT(raw_poll_oneoff(P(sub), P(event), 3, P(&count)), E_OK);
    EXPECT(count, 2);
    EXPECT(event[0][0], 11);
    EXPECT(event[1][0], 13);
    EXPECT((uint16_t)event[1][1], E_BADF);
}

static void show(int argc, char **argv)
{
    extern char **environ;
    for (int i = 0; i < argc; i++)
        printf("[%s]", argv[i]);
    for (char **pair = environ; *pair != NULL; pair++)
        printf("{%s}", *pair);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "faults") == 0)
        faults();
    else if (strcmp(what, "badfs") == 0)
        badfs();
    else if (strcmp(what, "clocks") == 0)
        clocks();
    else if (strcmp(what, "random") == 0)
        randomness();
    else if (strcmp(what, "sleeps") == 0)
        sleeps();
    else if (strcmp(what, "exit") == 0)
        exit(atoi(argv[2]));
    else if (strcmp(what, "sleep") == 0) {
        static u64 sub[6], event[4];
        u32 count;
        sub[2] = 1;
        sub[3] = 10000000000;
        printf("asleep\n");
        fflush(stdout);
        EXPECT(raw_poll_oneoff(P(sub), P(event), 1, P(&count)), E_OK);
    } else if (strcmp(what, "yield") == 0) {
        for (int i = 0; i < 1000; i++)
            EXPECT(raw_sched_yield(), E_OK);
    } else
        show(argc, argv);
    return 0;
}
