// SPDX-License-Identifier: Apache-2.0
// Every wrapper of os/file.h: what it does, what it does when its call fails or is interrupted, and
// that it leaks neither descriptors to children nor anything on failure.
#include "base/alloc.h"
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/file.h"
#include <dirent.h>
#include <errno.h>
#include <linux/openat2.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

// A folder of its own, with a file "f" of ten bytes and a pipe that holds three.
struct box {
    char path[64];
    int dir, file, pipe_in, pipe_out;
    int names; // for names not used before
};

static char name_text[32];

static const char *fresh_name(struct box *box)
{
    snprintf(name_text, sizeof name_text, "n%d", box->names++);
    return name_text;
}

static int set_up(void **state)
{
    static struct box box;
    snprintf(box.path, sizeof box.path, "viv-file-XXXXXX");
    CHECK(mkdtemp(box.path) != NULL);
    box.names = 0;
    box.dir = viv_os_open(box.path, O_RDONLY | O_DIRECTORY, 0);
    CHECK(box.dir >= 0);
    box.file = viv_os_openat(box.dir, "f", O_RDWR | O_CREAT | O_EXCL, 0600);
    CHECK(box.file >= 0);
    CHECK(viv_os_write(box.file, "0123456789", 10) == 10);
    int fds[2];
    CHECK(viv_os_pipe(fds) == 0);
    box.pipe_in = fds[0];
    box.pipe_out = fds[1];
    CHECK(viv_os_write(box.pipe_out, "abc", 3) == 3);
    *state = &box;
    return 0;
}

static int tear_down(void **state)
{
    struct box *box = *state;
    char command[128];
    viv_fault_set("*", 0, 0);
    viv_os_close(box->dir);
    viv_os_close(box->file);
    viv_os_close(box->pipe_in);
    viv_os_close(box->pipe_out);
    snprintf(command, sizeof command, "rm -rf '%s'", box->path);
    return system(command);
}

static uint64_t open_fds(void)
{
    uint64_t count = 0;
    for (int fd = 0; fd < 1024; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

// ------------------------------------------------------------------- one call of each, repeatable

// Checks that a child would not inherit it, and closes it.
static long take_fd(int fd)
{
    if (fd < 0) return fd;
    CHECK((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    close(fd);
    return 0;
}

static long call_open(struct box *box)
{
    return take_fd(viv_os_open(box->path, O_RDONLY | O_DIRECTORY, 0));
}
static long call_openat(struct box *box)
{
    return take_fd(viv_os_openat(box->dir, "f", O_RDONLY, 0));
}
static long call_openat2(struct box *box)
{
    return take_fd(viv_os_openat2(box->dir, "f", O_RDONLY, 0, RESOLVE_BENEATH));
}
static long call_dup(struct box *box)
{
    return take_fd(viv_os_dup(box->file));
}
static long call_pipe(struct box *box)
{
    (void)box;
    int fds[2] = {-1, -1};
    int r = viv_os_pipe(fds);
    CHECK(r == 0 || (fds[0] == -1 && fds[1] == -1));
    if (r < 0) return r;
    take_fd(fds[0]);
    return take_fd(fds[1]);
}
static long call_close(struct box *box)
{
    return viv_os_close(dup(box->file));
}
static long call_read(struct box *box)
{
    char data[10];
    lseek(box->file, 0, SEEK_SET);
    return viv_os_read(box->file, data, sizeof data);
}
static long call_write(struct box *box)
{
    lseek(box->file, 0, SEEK_SET);
    return viv_os_write(box->file, "0123456789", 10);
}
static long call_readv(struct box *box)
{
    char a[3], b[7];
    const struct iovec iov[] = {{NULL, 0}, {a, 3}, {b, 7}};
    lseek(box->file, 0, SEEK_SET);
    return viv_os_readv(box->file, iov, 3);
}
static long call_writev(struct box *box)
{
    char a[] = "012", b[] = "3456789";
    const struct iovec iov[] = {{a, 3}, {NULL, 0}, {b, 7}};
    lseek(box->file, 0, SEEK_SET);
    return viv_os_writev(box->file, iov, 3);
}
static long call_preadv(struct box *box)
{
    char a[10] = "";
    const struct iovec iov = {a, 10};
    long n = viv_os_preadv(box->file, &iov, 1, 0);
    CHECK(n != 10 || memcmp(a, "0123456789", 10) == 0);
    return n;
}
static long call_pwritev(struct box *box)
{
    char a[] = "0123456789";
    const struct iovec iov = {a, 10};
    return viv_os_pwritev(box->file, &iov, 1, 0);
}
static long call_preadv2(struct box *box)
{
    char a[10];
    const struct iovec iov = {a, 10};
    return viv_os_preadv2(box->file, &iov, 1, 0, 0);
}
static long call_lseek(struct box *box)
{
    return (long)viv_os_lseek(box->file, -4, SEEK_END);
}
static long call_fstat(struct box *box)
{
    struct stat st;
    memset(&st, 0x55, sizeof st);
    int r = viv_os_fstat(box->file, &st);
    CHECK(r < 0 ? st.st_size == 0x5555555555555555 : st.st_size == 10);
    return r;
}
static long call_fstatat(struct box *box)
{
    struct stat st;
    memset(&st, 0x55, sizeof st);
    int r = viv_os_fstatat(box->dir, "f", &st, AT_SYMLINK_NOFOLLOW);
    CHECK(r < 0 ? st.st_size == 0x5555555555555555 : st.st_size == 10);
    return r;
}
static long call_fsync(struct box *box)
{
    return viv_os_fsync(box->file);
}
static long call_fdatasync(struct box *box)
{
    return viv_os_fdatasync(box->file);
}
static long call_ftruncate(struct box *box)
{
    return viv_os_ftruncate(box->file, 10);
}
static long call_fallocate(struct box *box)
{
    return viv_os_fallocate(box->file, 0, 0, 10);
}
static long call_fadvise(struct box *box)
{
    return viv_os_fadvise(box->file, 0, 10, POSIX_FADV_WILLNEED);
}
static long call_futimens(struct box *box)
{
    const struct timespec times[2] = {{1, 0}, {2, 0}};
    return viv_os_futimens(box->file, times);
}
static long call_utimensat(struct box *box)
{
    const struct timespec times[2] = {{1, 0}, {2, 0}};
    return viv_os_utimensat(box->dir, "f", times, 0);
}
static long call_getfl(struct box *box)
{
    int r = viv_os_fcntl_getfl(box->file);
    CHECK(r < 0 || (r & O_ACCMODE) == O_RDWR);
    return r < 0 ? r : 0;
}
static long call_setfl(struct box *box)
{
    return viv_os_fcntl_setfl(box->file, O_APPEND) != 0 ? -errno : viv_os_fcntl_setfl(box->file, 0);
}
static long call_getdents(struct box *box)
{
    char data[1024];
    lseek(box->dir, 0, SEEK_SET);
    long n = viv_os_getdents64(box->dir, data, sizeof data);
    return n > 0 ? 0 : n; // the number of bytes depends on the names
}
static long call_mkdirat(struct box *box)
{
    return viv_os_mkdirat(box->dir, fresh_name(box), 0700);
}
static long call_unlinkat(struct box *box)
{
    const char *name = fresh_name(box);
    CHECK(linkat(box->dir, "f", box->dir, name, 0) == 0);
    return viv_os_unlinkat(box->dir, name, 0);
}
static long call_renameat(struct box *box)
{
    char old[32];
    snprintf(old, sizeof old, "%s", fresh_name(box));
    CHECK(linkat(box->dir, "f", box->dir, old, 0) == 0);
    CHECK(symlinkat("x", box->dir, fresh_name(box)) == 0);
    return viv_os_renameat(box->dir, old, box->dir, name_text);
}
static long call_linkat(struct box *box)
{
    return viv_os_linkat(box->dir, "f", box->dir, fresh_name(box), 0);
}
static long call_symlinkat(struct box *box)
{
    return viv_os_symlinkat("target", box->dir, fresh_name(box));
}
static long call_readlinkat(struct box *box)
{
    char text[32];
    const char *name = fresh_name(box);
    CHECK(symlinkat("target", box->dir, name) == 0);
    long n = viv_os_readlinkat(box->dir, name, text, sizeof text);
    CHECK(n < 0 || memcmp(text, "target", 6) == 0);
    return n;
}
static long call_poll(struct box *box)
{
    return viv_os_poll_fd(box->pipe_in, POLLIN, 1000);
}
static long call_fionread(struct box *box)
{
    return viv_os_fionread(box->pipe_in);
}

static const struct {
    const char *name;
    long (*call)(struct box *box);
    long result; // when all is well
} calls[] = {
    {"open", call_open, 0},
    {"openat", call_openat, 0},
    {"openat2", call_openat2, 0},
    {"dup", call_dup, 0},
    {"pipe2", call_pipe, 0},
    {"close", call_close, 0},
    {"read", call_read, 10},
    {"write", call_write, 10},
    {"readv", call_readv, 10},
    {"writev", call_writev, 10},
    {"preadv", call_preadv, 10},
    {"pwritev", call_pwritev, 10},
    {"preadv2", call_preadv2, 10},
    {"lseek", call_lseek, 6},
    {"fstat", call_fstat, 0},
    {"fstatat", call_fstatat, 0},
    {"fsync", call_fsync, 0},
    {"fdatasync", call_fdatasync, 0},
    {"ftruncate", call_ftruncate, 0},
    {"fallocate", call_fallocate, 0},
    {"fadvise", call_fadvise, 0},
    {"futimens", call_futimens, 0},
    {"utimensat", call_utimensat, 0},
    {"fcntl", call_getfl, 0},
    {"getdents64", call_getdents, 0},
    {"mkdirat", call_mkdirat, 0},
    {"unlinkat", call_unlinkat, 0},
    {"renameat", call_renameat, 0},
    {"linkat", call_linkat, 0},
    {"symlinkat", call_symlinkat, 0},
    {"readlinkat", call_readlinkat, 6},
    {"poll", call_poll, POLLIN},
    {"ioctl", call_fionread, 3},
};

static void each_works_fails_and_is_retried(void **state)
{
    struct box *box = *state;
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        print_message("  %s\n", calls[i].name);
        uint64_t fds = open_fds();
        assert_int_equal(calls[i].call(box), calls[i].result);

        viv_fault_set(calls[i].name, 1, EIO);
        assert_int_equal(calls[i].call(box), -EIO);
        assert_true(viv_fault_hit());

        viv_fault_set(calls[i].name, 1, EINTR);
        assert_int_equal(calls[i].call(box), calls[i].result);
        assert_true(viv_fault_hit());
        assert_int_equal(open_fds(), fds);
    }
}

static void setfl_works_and_fails(void **state)
{
    struct box *box = *state;
    assert_int_equal(viv_os_fcntl_setfl(box->file, O_APPEND), 0);
    assert_true(viv_os_fcntl_getfl(box->file) & O_APPEND);
    viv_fault_set("fcntl", 1, EPERM);
    assert_int_equal(viv_os_fcntl_setfl(box->file, 0), -EPERM);
    viv_fault_set("fcntl", 1, EINTR);
    assert_int_equal(call_setfl(box), 0);
    assert_false(viv_os_fcntl_getfl(box->file) & O_APPEND);
}

static void real_errors_come_through(void **state)
{
    struct box *box = *state;
    char data[4];
    assert_int_equal(viv_os_open("/nonexistent/x", O_RDONLY, 0), -ENOENT);
    assert_int_equal(viv_os_openat(box->dir, "f", O_RDONLY | O_CREAT | O_EXCL, 0600), -EEXIST);
    assert_int_equal(viv_os_openat2(box->dir, "../x", O_RDONLY, 0, RESOLVE_BENEATH), -EXDEV);
    assert_int_equal(viv_os_close(-1), -EBADF);
    assert_int_equal(viv_os_dup(-1), -EBADF);
    assert_int_equal(viv_os_read(box->dir, data, 4), -EISDIR);
    assert_int_equal(viv_os_read(box->pipe_out, data, 4), -EBADF);
    assert_int_equal(viv_os_lseek(box->pipe_in, 0, SEEK_SET), -ESPIPE);
    assert_int_equal(viv_os_fadvise(box->pipe_in, 0, 1, POSIX_FADV_NORMAL), -ESPIPE);
    assert_int_equal(viv_os_mkdirat(box->dir, "f", 0700), -EEXIST);
    assert_int_equal(viv_os_unlinkat(box->dir, "none", 0), -ENOENT);
    assert_int_equal(viv_os_readlinkat(box->dir, "f", data, 4), -EINVAL);
    assert_int_equal(viv_os_getdents64(box->file, data, 4), -ENOTDIR);
    assert_false(viv_os_isatty(box->file));
    assert_false(viv_os_isatty(-1));
}

static void short_transfers_move_one_byte(void **state)
{
    struct box *box = *state;
    static const char *const names[] = {"read",   "write",   "readv",  "writev",
                                        "preadv", "pwritev", "preadv2"};
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        for (size_t j = 0; j < VIV_COUNT_OF(calls); j++) {
            if (strcmp(names[i], calls[j].name) != 0) continue;
            viv_fault_set(names[i], 1, VIV_FAULT_SHORT);
            assert_int_equal(calls[j].call(box), 1);
            assert_true(viv_fault_hit());
            assert_int_equal(calls[j].call(box), 10);
        }
    }
    viv_fault_set("read", 1, VIV_FAULT_SHORT);
    char none;
    assert_int_equal(viv_os_read(box->file, &none, 0), 0); // zero stays zero
}

static void poll_fd_waits_its_time(void **state)
{
    struct box *box = *state;
    char data[3];
    assert_int_equal(viv_os_read(box->pipe_in, data, 3), 3);
    assert_int_equal(viv_os_poll_fd(box->pipe_in, POLLIN, 0), 0);
    uint64_t start = check_now_ns();
    viv_fault_set("poll", 1, EINTR);
    assert_int_equal(viv_os_poll_fd(box->pipe_in, POLLIN, 3), 0);
    assert_true(check_now_ns() - start >= 2 * VIV_NS_PER_MS);
    assert_int_equal(viv_os_poll_fd(box->pipe_out, POLLOUT, -1), POLLOUT);
    assert_int_equal(viv_os_poll_fd(9999, POLLIN, -1), POLLNVAL);
}

// ------------------------------------------------------------------------------------ whole files

static void path_in(struct box *box, const char *name, char *out, size_t cap)
{
    int len = snprintf(out, cap, "%s/%s", box->path, name);
    CHECK(len > 0 && (size_t)len < cap);
}

static void make_file(const char *path, size_t len)
{
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    for (size_t i = 0; i < len; i++)
        CHECK(fputc((int)(i * 7 % 251), file) != EOF);
    fclose(file);
}

static void reads_whole_files(void **state)
{
    struct box *box = *state;
    static const size_t lens[] = {0, 1, 63, 64, 4095, 4096, 4097, 100000};
    int64_t before = viv_alloc_live_bytes(VIV_TAG_TEST);
    for (size_t i = 0; i < VIV_COUNT_OF(lens); i++) {
        char path[128];
        uint8_t *data = NULL;
        size_t len = 0;
        path_in(box, "whole", path, sizeof path);
        make_file(path, lens[i]);
        assert_int_equal(viv_os_read_file(path, lens[i], VIV_TAG_TEST, &data, &len, NULL), VIV_OK);
        assert_int_equal(len, lens[i]);
        for (size_t j = 0; j < len; j++)
            assert_int_equal(data[j], j * 7 % 251);
        if (len == 0) assert_null(data);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST) - before, len);
        viv_free(data, len, VIV_TAG_TEST);

        // Moving one byte at a time now and then changes nothing.
        viv_fault_set("read", 1, VIV_FAULT_SHORT);
        assert_int_equal(viv_os_read_file(path, 1u << 20, VIV_TAG_TEST, &data, &len, NULL), VIV_OK);
        assert_int_equal(len, lens[i]);
        for (size_t j = 0; j < len; j++)
            assert_int_equal(data[j], j * 7 % 251);
        viv_free(data, len, VIV_TAG_TEST);

        if (lens[i] == 0) continue;
        struct viv_diag diag = {""};
        data = NULL;
        assert_int_equal(viv_os_read_file(path, lens[i] - 1, VIV_TAG_TEST, &data, &len, &diag),
                         VIV_E_TOOBIG);
        assert_null(data);
        assert_non_null(strstr(diag.text, path));
    }
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST), before);
}

static void reads_files_that_do_not_know_their_size(void **state)
{
    (void)state;
    uint8_t *data = NULL;
    size_t len = 0;
    assert_int_equal(
        viv_os_read_file("/proc/self/status", 1u << 20, VIV_TAG_TEST, &data, &len, NULL), VIV_OK);
    assert_true(len > 100);
    assert_memory_equal(data, "Name:", 5);
    viv_free(data, len, VIV_TAG_TEST);
    assert_int_equal(viv_os_read_file("/proc/self/status", 50, VIV_TAG_TEST, &data, &len, NULL),
                     VIV_E_TOOBIG);
}

static void says_why_it_cannot(void **state)
{
    struct box *box = *state;
    uint8_t *data = NULL;
    size_t len = 0;
    char path[128];
    struct viv_diag diag;
    assert_int_equal(viv_os_read_file("/nonexistent", 10, VIV_TAG_TEST, &data, &len, &diag),
                     VIV_E_NOTFOUND);
    assert_string_equal(diag.text, "cannot read /nonexistent: No such file or directory");
    assert_int_equal(viv_os_read_file(box->path, 10, VIV_TAG_TEST, &data, &len, &diag),
                     VIV_E_ISDIR);
    path_in(box, "f/below", path, sizeof path);
    assert_int_equal(viv_os_read_file(path, 10, VIV_TAG_TEST, &data, &len, NULL), VIV_E_NOTFOUND);
    path_in(box, "fifo", path, sizeof path);
    CHECK(mkfifo(path, 0600) == 0);
    assert_int_equal(viv_os_read_file(path, 10, VIV_TAG_TEST, &data, &len, &diag), VIV_E_IO);
    assert_non_null(strstr(diag.text, "not a regular file"));
    viv_fault_set("open", 1, EACCES);
    assert_int_equal(viv_os_read_file(path, 10, VIV_TAG_TEST, &data, &len, &diag), VIV_E_PERM);
    assert_null(data);
}

static void reading_fails_clean_at_every_step(void **state)
{
    struct box *box = *state;
    char path[128];
    uint8_t *data = NULL;
    size_t len = 0;
    path_in(box, "sweep", path, sizeof path);
    make_file(path, 5000);
    int64_t before = viv_alloc_live_bytes_all();
    uint64_t fds = open_fds();

    uint64_t nth = 1;
    for (;; nth++) {
        viv_alloc_fail_nth(nth);
        enum viv_err err = viv_os_read_file(path, 10000, VIV_TAG_TEST, &data, &len, NULL);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (!hit) break;
        assert_null(data);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
        assert_int_equal(open_fds(), fds);
    }
    assert_true(nth > 1);
    viv_free(data, len, VIV_TAG_TEST);

    for (nth = 1;; nth++) {
        data = NULL;
        viv_fault_set("*", nth, EIO);
        enum viv_err err = viv_os_read_file(path, 10000, VIV_TAG_TEST, &data, &len, NULL);
        bool hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        assert_int_equal(open_fds(), fds);
        if (err == VIV_OK) { // not reached, or the close at the end, after which all is read
            assert_int_equal(len, 5000);
            viv_free(data, len, VIV_TAG_TEST);
        } else {
            assert_int_equal(err, VIV_E_IO);
            assert_null(data);
        }
        assert_int_equal(viv_alloc_live_bytes_all(), before);
        if (!hit) break;
    }
    assert_true(nth > 4); // open, fstat, read, read
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_works_fails_and_is_retried),
        TEST(setfl_works_and_fails),
        TEST(real_errors_come_through),
        TEST(short_transfers_move_one_byte),
        TEST(poll_fd_waits_its_time),
        TEST(reads_whole_files),
        TEST(reads_files_that_do_not_know_their_size),
        TEST(says_why_it_cannot),
        TEST(reading_fails_clean_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
