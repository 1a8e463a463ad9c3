// SPDX-License-Identifier: Apache-2.0
// Output on disk: the files by themselves, and a program's.
#include "native_rig.h"

#include "base/buf.h"
#include "native/spill.h"
#include "native/spill_pack.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/file.h"
#include "os/thread.h"
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MS = 1000000, NO_LIMIT_NS = 1 };

static int open_folder(const char *name)
{
    char command[128];
    (void)snprintf(command, sizeof command, "rm -rf %s", name);
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(name, 0700), 0);
    const int fd = viv_os_open(name, O_RDONLY | O_DIRECTORY, 0);
    assert_true(fd >= 0);
    return fd;
}

static int count_files(const char *name)
{
    DIR *dir = opendir(name);
    int count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static struct viv_spill_config config(int dir_fd, uint64_t file_bytes, uint32_t files)
{
    return (struct viv_spill_config){.dir_fd = dir_fd,
                                     .digest = "0123456789abcdef",
                                     .file_bytes = file_bytes,
                                     .age_ns = UINT64_MAX,
                                     .files = files};
}

// Records of 1 000 bytes, each byte the record's number.
static void append(struct viv_spill *spill, uint32_t stream, uint64_t number)
{
    char data[1000];
    memset(data, (int)(number % 251), sizeof data);
    const struct viv_spill_record record = {.stream = (uint8_t)stream, .offset = number * 1000};
    assert_int_equal(viv_spill_append(spill, &record, data, sizeof data), 0);
}

static void files_rotate_and_are_read(void **state)
{
    (void)state;
    for (int packs = 0; packs < 2; packs++) {
        const int fd = open_folder("spill");
        struct viv_spill_config with = config(fd, 10000, 4);
        with.compresses = packs != 0;
        struct viv_spill spill;
        struct viv_spill_piece piece;
        char buf[4000];
        viv_spill_init(&spill, &with);
        for (uint64_t i = 0; i < 100; i++)
            append(&spill, 1 + i % 2, i / 2);
        assert_int_equal(viv_spill_close(&spill), 0);
        assert_int_equal(count_files("spill"), 4); // nine records each; the older ones went
        assert_int_equal(spill.newest - spill.oldest, 3);
        for (uint64_t offset = 49000; offset < 50000; offset += 333) {
            assert_int_equal(
                viv_spill_read(&with,
                               &(struct viv_spill_place){spill.oldest, spill.newest, 1, offset},
                               buf, sizeof buf, &piece),
                0);
            assert_int_equal(piece.offset, offset);
            assert_int_equal(piece.len, 50000 - offset);
            assert_int_equal(buf[0], 49);
        }
        // What was deleted: the first that is there comes instead, and where it begins is told.
        assert_int_equal(viv_spill_read(&with,
                                        &(struct viv_spill_place){spill.oldest, spill.newest, 2, 0},
                                        buf, sizeof buf, &piece),
                         0);
        assert_true(piece.offset > 0 && piece.offset % 1000 == 0);
        assert_int_equal(buf[0], piece.offset / 1000);
        assert_int_equal(
            viv_spill_read(&with, &(struct viv_spill_place){spill.oldest, spill.newest, 1, 50000},
                           buf, sizeof buf, &piece),
            0);
        assert_int_equal(piece.len, 0);
        viv_spill_remove(&spill);
        assert_int_equal(count_files("spill"), 0);
        viv_os_close(fd);
    }
}

static void files_go_when_they_are_old(void **state)
{
    (void)state;
    const int fd = open_folder("spill");
    struct viv_spill_config with = config(fd, 2000, 1000);
    with.age_ns = NO_LIMIT_NS;
    struct viv_spill spill;
    viv_spill_init(&spill, &with);
    for (uint64_t i = 0; i < 10; i++)
        append(&spill, 1, i);
    assert_int_equal(count_files("spill"), 1); // of any age: the newest stays
    assert_int_equal(viv_spill_close(&spill), 0);
    viv_os_close(fd);
}

static void case_089_a_torn_record_is_cut(void **state)
{
    (void)state;
    const int fd = open_folder("spill");
    const struct viv_spill_config with = config(fd, 1 << 20, 4);
    struct viv_spill spill;
    viv_spill_init(&spill, &with);
    for (uint64_t i = 0; i < 3; i++)
        append(&spill, 1, i);
    assert_int_equal(viv_spill_close(&spill), 0);
    struct viv_buf whole;
    viv_buf_init(&whole, VIV_TAG_TEST);
    assert_int_equal(viv_spill_load(fd, "0123456789abcdef.000001", false, &whole), 0);
    const size_t record = sizeof(struct viv_spill_record) + 1000;
    assert_int_equal(whole.len_bytes, 3 * record);
    // Cut at each byte, and with each byte wrong: what is before it is whole.
    for (size_t len = 0; len <= whole.len_bytes; len++)
        assert_int_equal(viv_spill_whole(whole.data, len), len / record * record);
    for (size_t at = 0; at < whole.len_bytes; at++) {
        whole.data[at] ^= 1;
        assert_int_equal(viv_spill_whole(whole.data, whole.len_bytes), at / record * record);
        whole.data[at] ^= 1;
    }
    viv_buf_deinit(&whole);
    viv_os_close(fd);
}

static void case_090_a_full_disk_is_told_and_cut_off(void **state)
{
    (void)state;
    const int fd = open_folder("spill");
    const struct viv_spill_config with = config(fd, 1 << 20, 4);
    struct viv_spill spill;
    viv_spill_init(&spill, &with);
    append(&spill, 1, 0);
    char data[1000] = "";
    const struct viv_spill_record record = {.stream = 1, .offset = 1000};
    viv_fault_set("writev", 1, VIV_FAULT_SHORT); // some of it, then no more
    assert_int_equal(viv_spill_append(&spill, &record, data, sizeof data), 0);
    viv_fault_set("writev", 1, ENOSPC);
    assert_int_equal(viv_spill_append(&spill, &record, data, sizeof data), -ENOSPC);
    viv_fault_set("*", 0, 0);
    append(&spill, 1, 2);
    assert_int_equal(viv_spill_close(&spill), 0);
    struct viv_buf whole;
    viv_buf_init(&whole, VIV_TAG_TEST);
    assert_int_equal(viv_spill_load(fd, "0123456789abcdef.000001", false, &whole), 0);
    assert_int_equal(viv_spill_whole(whole.data, whole.len_bytes), whole.len_bytes);
    assert_int_equal(whole.len_bytes, 3 * (sizeof(struct viv_spill_record) + 1000));
    viv_buf_deinit(&whole);
    viv_os_close(fd);
}

// ---- taking up what a kernel has left ----

static void expect_resumed(int fd, uint64_t out_end, uint64_t err_end)
{
    const struct viv_spill_config with = config(fd, 10000, 100);
    struct viv_spill spill;
    uint64_t offsets[2];
    viv_spill_init(&spill, &with);
    assert_int_equal(viv_spill_resume(&spill, offsets), 0);
    assert_int_equal(offsets[0], out_end);
    assert_int_equal(offsets[1], err_end);
    assert_int_equal(viv_spill_close(&spill), 0);
}

static void case_089_files_are_taken_up(void **state)
{
    (void)state;
    for (int packs = 0; packs < 2; packs++) {
        const int fd = open_folder("spill");
        struct viv_spill_config with = config(fd, 10000, 100);
        struct viv_spill spill, next;
        uint64_t offsets[2] = {7, 7};
        with.compresses = packs != 0;
        viv_spill_init(&spill, &with);
        assert_int_equal(viv_spill_resume(&spill, offsets), 0); // there are none
        assert_true(offsets[0] == 0 && offsets[1] == 0 && spill.newest == 0);
        append(&spill, 2, 0);
        for (uint64_t i = 0; i < 30; i++)
            append(&spill, 1, i);
        const struct viv_spill_record gap = {
            .stream = 1, .flags = VIV_SPILL_GAP, .offset = 30000, .missing = 555};
        assert_int_equal(viv_spill_append(&spill, &gap, "", 0), 0);
        // Files of others, and what is none.
        assert_int_equal(system("touch spill/fedcba9876543210.000009 spill/0123456789abcdef.x "
                                "spill/0123456789abcdef.000007.old spill/0123456789abcdef"),
                         0);
        expect_resumed(fd, 30555, 1000); // while the one before is still open
        viv_spill_init(&next, &with);
        assert_int_equal(viv_spill_resume(&next, offsets), 0);
        assert_true(next.oldest == spill.oldest && next.newest == spill.newest);
        assert_int_equal(next.size_bytes, spill.size_bytes);
        for (uint64_t i = 31; i < 60; i++) // and goes on in the same one, then in others
            append(&next, 1, i);
        assert_int_equal(viv_spill_close(&next), 0);
        assert_int_equal(viv_spill_close(&spill), 0);
        assert_true(next.newest > spill.newest);
        expect_resumed(fd, 60000, 1000);
        struct viv_spill_piece piece;
        char byte;
        for (uint64_t i = 0; i < 60; i++) {
            const struct viv_spill_place place = {1, next.newest, 1, i * 1000};
            assert_int_equal(viv_spill_read(&with, &place, &byte, 1, &piece), 0);
            assert_int_equal(piece.offset, i == 30 ? 31000 : i * 1000);
        }
        viv_os_close(fd);
    }
}

static void case_089_a_torn_end_is_cut_when_it_is_taken_up(void **state)
{
    (void)state;
    const size_t record = sizeof(struct viv_spill_record) + 1000;
    for (size_t cut = 1; cut < record; cut += cut < 60 ? 1 : 97) {
        const int fd = open_folder("spill");
        const struct viv_spill_config with = config(fd, 1 << 20, 4);
        struct viv_spill spill;
        struct viv_buf whole;
        uint64_t offsets[2];
        viv_spill_init(&spill, &with);
        for (uint64_t i = 0; i < 3; i++)
            append(&spill, 1, i);
        assert_int_equal(viv_spill_close(&spill), 0);
        assert_int_equal(truncate("spill/0123456789abcdef.000001", (off_t)(3 * record - cut)), 0);
        viv_spill_init(&spill, &with);
        assert_int_equal(viv_spill_resume(&spill, offsets), 0);
        assert_int_equal(offsets[0], 2000);
        assert_int_equal(spill.size_bytes, 2 * record);
        append(&spill, 1, 2);
        assert_int_equal(viv_spill_close(&spill), 0);
        viv_buf_init(&whole, VIV_TAG_TEST);
        assert_int_equal(viv_spill_load(fd, "0123456789abcdef.000001", false, &whole), 0);
        assert_int_equal(whole.len_bytes, 3 * record);
        assert_int_equal(viv_spill_whole(whole.data, whole.len_bytes), 3 * record);
        viv_buf_deinit(&whole);
        viv_os_close(fd);
    }
}

static void each_call_of_taking_up_fails_once(void **state)
{
    (void)state;
    static const char *const calls[] = {"openat", "getdents64", "read", "ftruncate", "lseek"};
    const int fd = open_folder("spill");
    const struct viv_spill_config with = config(fd, 10000, 100);
    struct viv_spill spill;
    uint64_t offsets[2];
    viv_spill_init(&spill, &with);
    for (uint64_t i = 0; i < 30; i++)
        append(&spill, 1, i);
    assert_int_equal(viv_spill_close(&spill), 0);
    const int fds = rig_count_fds();
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        bool was_hit = true;
        for (uint64_t n = 1; was_hit; n++) {
            viv_spill_init(&spill, &with);
            viv_fault_set(calls[i], n, ENFILE);
            const int r = viv_spill_resume(&spill, offsets);
            was_hit = viv_fault_hit();
            viv_fault_set("*", 0, 0);
            assert_int_equal(r, was_hit ? -ENFILE : 0);
            assert_int_equal(viv_spill_close(&spill), 0);
            assert_int_equal(rig_count_fds(), fds);
            if (!was_hit && n == 1) fail_msg("%s is not called", calls[i]);
        }
    }
    expect_resumed(fd, 30000, 0);
    viv_os_close(fd);
}

static void with_state(struct viv_native_config *native)
{
    native->state_dir = "state";
}

static void a_program_spills_all_that_it_prints(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    struct viv_native_status status;
    (void)viv_os_close(open_folder("state"));
    rig_open_with(&rig, with_state);
    rig_shell(&rig, "i=0; while [ $i -lt 2000 ]; do echo out$i; echo err$i >&2; i=$((i+1)); done");
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "here");
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_KEEP, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 1 << 20);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.spill_errno, 0);
    const int fd = viv_os_open("state/here", O_RDONLY | O_DIRECTORY, 0);
    struct viv_spill_config with = config(fd, 0, 0);
    with.digest = status.digest;
    for (uint32_t stream = 1; stream <= 2; stream++) {
        uint64_t offset = 0;
        struct viv_spill_piece piece;
        static char all[1 << 20];
        do {
            assert_int_equal(viv_spill_read(&with, &(struct viv_spill_place){1, 1, stream, offset},
                                            all + offset, sizeof all - offset, &piece),
                             0);
            assert_int_equal(piece.offset, offset);
            offset += piece.len;
        } while (piece.len > 0);
        assert_int_equal(offset, exit.streams[stream - 1].received);
        static char ring[1 << 20];
        assert_int_equal(rig_logs(&rig, &ref, stream, ring, sizeof ring), offset);
        assert_memory_equal(all, ring, offset);
    }
    viv_os_close(fd);
    rig_close(&rig);
    assert_int_equal(count_files("state/here"), 1); // kept
    // Without keep it goes with the release.
    rig_open_with(&rig, with_state);
    rig_request(&rig, "echo", "gone", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "there");
    const struct viv_native_ref other = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &other, NULL), VIV_OK);
    assert_int_equal(count_files("state/there"), 1);
    rig_close(&rig);
    assert_int_equal(count_files("state/there"), 0);
}

// A reader that is far behind goes on in the files, and comes back to the ring.
static void what_the_ring_forgot_is_read_from_disk(void **state)
{
    (void)state;
    struct native_rig rig;
    (void)viv_os_close(open_folder("state"));
    rig_open_with(&rig, with_state);
    rig_shell(&rig, "printf first; read go; i=0; while [ $i -lt 3000 ]; do echo line$i; "
                    "i=$((i+1)); [ $((i % 50)) != 0 ] || sleep 0.01; done");
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "here");
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_ZSTD, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_FILE_BYTES, 65536);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 16384); // the spill has that much time
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 5);
    static char buf[4096], expected[65536], all[65536];
    struct viv_native_read read = {.stream = 1, .buf = buf, .max = sizeof buf};
    struct viv_log_chunk chunk;
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_int_equal(chunk.len, 5);
    const struct viv_log_cursor first = chunk.next;
    struct viv_log_cursor cursor = first;
    assert_int_equal(rig_write(&rig, &ref, "go\n"), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    size_t len = 0, sum = 0;
    for (int i = 0; i < 3000; i++)
        len += (size_t)snprintf(expected + len, sizeof expected - len, "line%d\n", i);
    read.cursor = &cursor;
    uint64_t missing = 0;
    do {
        assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
        missing += chunk.gap.evicted;
        assert_int_equal(missing, 0);
        memcpy(all + sum, buf, chunk.len);
        sum += chunk.len;
        cursor = chunk.next;
    } while (!chunk.is_eof);
    assert_int_equal(sum, len);
    assert_memory_equal(all, expected, len);
    // A call that is taken back while the disk is asked.
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    read.cursor = &first;
    assert_int_equal(viv_native_read_since(&call, &ref, &read, &chunk), VIV_E_AGAIN);
    viv_native_cancel(&call);
    rig_close(&rig);
}

// ---- all of it ----

enum { NUMBERS = 100000, NUMBER_BYTES = 588895 }; // of `seq`

// Checks that the files below state/here hold all numbers, and removes them.
static void expect_all_numbers(const char *digest)
{
    static char all[NUMBER_BYTES + 1], expected[NUMBER_BYTES + 16];
    const int fd = viv_os_open("state/here", O_RDONLY | O_DIRECTORY, 0);
    struct viv_spill_config with = config(fd, 0, 0);
    struct viv_spill_piece piece;
    uint64_t offset = 0;
    size_t len = 0;
    with.digest = digest;
    do {
        const struct viv_spill_place place = {1, 1, 1, offset};
        assert_int_equal(viv_spill_read(&with, &place, all + offset, sizeof all - offset, &piece),
                         0);
        assert_int_equal(piece.offset, offset); // nothing is missing
        offset += piece.len;
    } while (piece.len > 0 && offset < sizeof all);
    for (int i = 1; i <= NUMBERS; i++)
        len += (size_t)snprintf(expected + len, sizeof expected - len, "%d\n", i);
    assert_int_equal(len, NUMBER_BYTES);
    assert_int_equal(offset, len);
    assert_memory_equal(all, expected, len);
    viv_os_close(fd);
}

static struct viv_native_ref start_numbers(struct native_rig *rig, bool is_required)
{
    (void)viv_os_close(open_folder("state/here"));
    rig_request(rig, "seq", "100000", NULL);
    rig_put_text(rig, VIV_NATIVE_KEY_SPILL_DIR, "here");
    rig_put_u64(rig, VIV_NATIVE_KEY_RING_BYTES, 4096);
    rig_put_u64(rig, is_required ? VIV_NATIVE_KEY_SPILL_REQUIRED : VIV_NATIVE_KEY_OVERFLOW, 1);
    return rig_start(rig);
}

// A ring that drops waits for its files.
static void case_090_a_required_spill_has_all(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    struct viv_native_status status;
    (void)viv_os_close(open_folder("state"));
    rig_open_with(&rig, with_state);
    const struct viv_native_ref ref = start_numbers(&rig, true);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    rig_status(&rig, &ref, &status);
    assert_true(exit.streams[0].evicted > 0);
    expect_all_numbers(status.digest);
    rig_close(&rig);
}

// Also while the disk takes nothing: the program waits, and goes on when it does.
static void case_090_a_required_spill_waits_for_its_disk(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_status status;
    struct rlimit before;
    (void)viv_os_close(open_folder("state"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    rig_open_with(&rig, with_state);
    const struct rlimit small = {100000, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const struct viv_native_ref ref = start_numbers(&rig, true);
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    do {
        assert_true(viv_os_now_ns() < end_ns);
        rig_sleep(&rig, MS);
        rig_status(&rig, &ref, &status);
    } while (status.spill_errno == 0);
    assert_int_equal(status.spill_errno, EFBIG);
    rig_sleep(&rig, 200 * MS);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING); // it waits for room
    assert_true(status.buffered[0] + status.evicted[0] < NUMBER_BYTES);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.spill_errno, 0);
    expect_all_numbers(status.digest);
    rig_close(&rig);
}

// An end waits for no disk, and what was not written can be taken.
static void case_090_an_end_waits_for_no_disk(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_status status;
    struct rlimit before;
    char out[64];
    (void)viv_os_close(open_folder("state"));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    rig_open_with(&rig, with_state);
    const struct rlimit none = {0, before.rlim_max};
    rig_shell(&rig, "read line; echo $line");
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "here");
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_REQUIRED, 1);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(rig_write(&rig, &ref, "hello\n"), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    rig_status(&rig, &ref, &status);
    assert_int_equal(status.spill_errno, EFBIG);
    assert_int_equal(rig_logs(&rig, &ref, 1, out, sizeof out), 6);
    assert_string_equal(out, "hello\n");
    rig_close(&rig);
}

// Who takes the output takes it when it is spilled, as `viv run --spill` does.
static void case_089_what_is_taken_is_spilled_before(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_status status;
    (void)viv_os_close(open_folder("state"));
    rig_open_with(&rig, with_state);
    const struct viv_native_ref ref = start_numbers(&rig, false);
    struct viv_native_call call;
    struct viv_native_logs logs;
    static char taken[NUMBER_BYTES];
    size_t sum = 0;
    viv_native_call_init(&call, &rig.ctx);
    do {
        enum viv_err err = viv_native_wait_output(&call, &ref, 1);
        if (err == VIV_E_AGAIN) err = viv_native_await(&call);
        assert_int_equal(err, VIV_OK);
        assert_int_equal(
            viv_native_read_logs(&rig.ctx, &ref, 1, taken + sum, sizeof taken - sum, &logs),
            VIV_OK);
        sum += logs.len;
    } while (!logs.eof);
    assert_int_equal(sum, NUMBER_BYTES);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    rig_status(&rig, &ref, &status);
    expect_all_numbers(status.digest);
    rig_close(&rig);
}

static void a_spill_needs_a_place_inside(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_request(&rig, "true", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "here");
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_UNSUPPORTED);
    assert_string_equal(rig.diag.text, "spill");
    rig_close(&rig);
    (void)viv_os_close(open_folder("state"));
    assert_int_equal(symlink("/tmp", "state/link"), 0);
    rig_open_with(&rig, with_state);
    static const char *const wrong[] = {"..", "link", "link/x", "/tmp", "a/b"};
    for (size_t i = 0; i < VIV_COUNT_OF(wrong); i++) {
        rig_request(&rig, "true", NULL);
        rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, wrong[i]);
        assert_int_equal(rig_spawn(&rig, NULL), VIV_E_INVAL);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_rotate_and_are_read),
        cmocka_unit_test(files_go_when_they_are_old),
        cmocka_unit_test(case_089_a_torn_record_is_cut),
        cmocka_unit_test(case_090_a_full_disk_is_told_and_cut_off),
        cmocka_unit_test(case_089_files_are_taken_up),
        cmocka_unit_test(case_089_a_torn_end_is_cut_when_it_is_taken_up),
        cmocka_unit_test(each_call_of_taking_up_fails_once),
        cmocka_unit_test(a_program_spills_all_that_it_prints),
        cmocka_unit_test(what_the_ring_forgot_is_read_from_disk),
        cmocka_unit_test(case_090_a_required_spill_has_all),
        cmocka_unit_test(case_090_a_required_spill_waits_for_its_disk),
        cmocka_unit_test(case_090_an_end_waits_for_no_disk),
        cmocka_unit_test(case_089_what_is_taken_is_spilled_before),
        cmocka_unit_test(a_spill_needs_a_place_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
