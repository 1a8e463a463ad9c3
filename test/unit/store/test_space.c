// SPDX-License-Identifier: Apache-2.0
// A store on a device that is full (case 102): a small file system of its own, mounted where only
// this test sees it.
#include "store_ops.h"

#include "harness/check.h"
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { RESERVE = 8 << 20, ROUNDS = 2000 };
#define SIZE "size=24m"

static void run(const char *command)
{
    if (system(command) != 0) fail_msg("%s", command);
}

static void write_file(const char *path, const char *text)
{
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    CHECK(close(fd) == 0);
}

// Mounts of its own; who is not root becomes it, in a namespace of users.
static void enter_namespace(void)
{
    char map[64];
    const bool is_root = geteuid() == 0;
    const unsigned uid = geteuid(), gid = getegid();
    CHECK(unshare(CLONE_NEWNS | (is_root ? 0 : CLONE_NEWUSER)) == 0);
    if (!is_root) {
        (void)snprintf(map, sizeof map, "0 %u 1", uid);
        write_file("/proc/self/uid_map", map);
        write_file("/proc/self/setgroups", "deny");
        (void)snprintf(map, sizeof map, "0 %u 1", gid);
        write_file("/proc/self/gid_map", map);
    }
    CHECK(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
}

static bool has_reserve(void)
{
    struct stat found;
    return stat("store/s.db.reserve", &found) == 0 && found.st_size == RESERVE &&
           (size_t)found.st_blocks * 512 >= RESERVE;
}

static void mount_template(struct rig *rig)
{
    run("mkdir store");
    CHECK(mount("none", "store", "tmpfs", 0, SIZE) == 0);
    run("cp template/* store");
    store_open(rig);
    assert_true(has_reserve());
}

static void unmount(struct rig *rig)
{
    viv_store_close(rig->store);
    CHECK(umount("store") == 0);
    CHECK(rmdir("store") == 0);
}

// Takes all that is left, but for some pages.
static void fill(int pages_left)
{
    struct statvfs found;
    CHECK(statvfs("store", &found) == 0);
    const int fd = open("store/filler", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const off_t bytes = (off_t)(found.f_bavail - (fsblkcnt_t)pages_left) * (off_t)found.f_bsize;
    CHECK(fd >= 0 && posix_fallocate(fd, 0, bytes) == 0);
    CHECK(close(fd) == 0);
}

// The log grows with every event, until it cannot.
static void exhaust(struct rig *rig)
{
    enum viv_err err = VIV_OK;
    fill(3);
    for (int i = 0; err == VIV_OK; i++) {
        assert_true(i < 1000);
        const struct viv_str bytes = {"0123456789abcdef", (size_t)(i % 16) + 1};
        err = viv_store_blob_put(rig->store, bytes, &rig->mem, NULL, &rig->diag);
    }
    RIG_ERR(err, VIV_STORE_NO_SPACE);
    assert_false(has_reserve());
    assert_false(viv_store_has_failed(rig->store));
}

static void case_102_what_is_vital_goes_on(struct rig *rig)
{
    store_make_template(rig);
    for (size_t i = 0; i < store_op_count; i++) {
        const struct store_op *op = &store_ops[i];
        mount_template(rig);
        exhaust(rig);
        const char *before = store_dump(rig);
        const enum viv_err err = op->call(rig);
        if (err != (op->is_vital ? VIV_OK : VIV_STORE_NO_SPACE))
            fail_msg("%s: %s (%s)", op->name, viv_err_name(err), rig->diag.d.text);
        if ((strcmp(store_dump(rig), before) == 0) == op->is_vital &&
            strcmp(op->name, "blob_gc") != 0) // whose blobs are new
            fail_msg("%s: %s", op->name, store_dump(rig));
        store_expect_sound(rig);
        CHECK(unlink("store/filler") == 0); // and without restart all goes on
        const enum viv_err again = op->call(rig);
        if (again != VIV_OK && again != op->again)
            fail_msg("%s again: %s (%s)", op->name, viv_err_name(again), rig->diag.d.text);
        RIG_OK(rig_append(rig, "dead", "f", "1", NULL, NULL));
        assert_true(has_reserve());
        viv_mem_reset(&rig->mem);
        unmount(rig);
    }
    store_copy_template();
    store_open(rig);
}

// The first to find no space is one of these: it works all the same.
static void case_102_the_first_that_finds_none(struct rig *rig)
{
    store_make_template(rig);
    for (size_t i = 0; i < store_op_count; i++) {
        const struct store_op *op = &store_ops[i];
        mount_template(rig);
        fill(0);
        const enum viv_err err = op->call(rig);
        if (err != (op->is_vital ? VIV_OK : VIV_STORE_NO_SPACE))
            fail_msg("%s: %s (%s)", op->name, viv_err_name(err), rig->diag.d.text);
        store_expect_sound(rig);
        viv_mem_reset(&rig->mem);
        unmount(rig);
    }
    store_copy_template();
    store_open(rig);
}

// A worker's renewals, for as long as it takes.
static void case_102_renewals_go_on(struct rig *rig)
{
    size_t renew = 0;
    while (strcmp(store_ops[renew].name, "renew") != 0)
        renew++;
    store_make_template(rig);
    mount_template(rig);
    exhaust(rig);
    for (int i = 0; i < store_rounds(ROUNDS); i++) {
        RIG_OK(store_ops[renew].call(rig));
        viv_mem_reset(&rig->mem);
    }
    RIG_ERR(rig_append(rig, "idle", "f", "1", NULL, NULL), VIV_STORE_NO_SPACE);
    // Nor does opening need space.
    viv_store_close(rig->store);
    store_open(rig);
    RIG_OK(store_ops[renew].call(rig));
    RIG_ERR(rig_append(rig, "idle", "f", "1", NULL, NULL), VIV_STORE_NO_SPACE);
    store_expect_sound(rig);
    unmount(rig);
    store_copy_template();
    store_open(rig);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_102_what_is_vital_goes_on, RIG_SQLITE),
        RIG_ONLY_CASE(case_102_the_first_that_finds_none, RIG_SQLITE),
        RIG_ONLY_CASE(case_102_renewals_go_on, RIG_SQLITE),
    };
    enter_namespace();
    return rig_run(cases, VIV_COUNT_OF(cases));
}
