// SPDX-License-Identifier: Apache-2.0
// Output on disk of programs that outlive their kernel (native.md 8.10 with 9): each kernel writes
// on where the last one was killed.
#include "held_kit.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "native/spill.h"
#include "os/clock.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum { RING_BYTES = 4096, FILE_BYTES = 65536, NUMBERS = 40000, TEXT = 1 << 19, NTH_MAX = 400 };
// 0 to 39999, a line each.
enum { NUMBER_BYTES = 10 * 2 + 90 * 3 + 900 * 4 + 9000 * 5 + 30000 * 6 };

static struct native_rig rig;
static char text[TEXT];

// ---- the files ----

struct content { // of stdout, as the files have it
    size_t len;
    uint64_t missing; // in gap records
    uint32_t gaps, files;
    bool is_whole;
};

static void add_file(struct content *content, const char *name, char *out, size_t cap)
{
    static uint8_t bytes[2 << 20];
    char path[512];
    (void)snprintf(path, sizeof path, "held-state/spilled/%s", name);
    FILE *file = fopen(path, "r");
    CHECK(file != NULL);
    const size_t len = fread(bytes, 1, sizeof bytes, file);
    CHECK(fclose(file) == 0);
    content->files++;
    content->is_whole = content->is_whole && viv_spill_whole(bytes, len) == len;
    for (size_t at = 0; at + sizeof(struct viv_spill_record) <= len;) {
        struct viv_spill_record record;
        memcpy(&record, bytes + at, sizeof record);
        at += sizeof record;
        if (record.magic != VIV_SPILL_MAGIC || record.length > len - at) break; // torn
        if (record.stream == 1) {
            // Each byte once, in order.
            assert_int_equal(record.offset, content->len + content->missing);
            CHECK(content->len + record.length <= cap);
            memcpy(out + content->len, bytes + at, record.length);
            content->len += record.length;
            content->missing += record.missing;
            content->gaps += (record.flags & VIV_SPILL_GAP) != 0;
        }
        at += record.length;
    }
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int no_dots(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static struct content load_files(char *out, size_t cap)
{
    struct content content = {.is_whole = true};
    struct dirent **names;
    const int count = scandir("held-state/spilled", &names, no_dots, by_name);
    for (int i = 0; i < count; i++) {
        add_file(&content, names[i]->d_name, out, cap);
        free(names[i]);
    }
    if (count >= 0) free(names);
    return content;
}

static void await_file_bytes(size_t bytes)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (load_files(text, sizeof text).len < bytes) {
        assert_true(viv_os_now_ns() < end_ns);
        rig_sleep(&rig, 2 * MS);
    }
}

static void expect_numbers(size_t len)
{
    char line[16];
    size_t at = 0;
    for (int i = 0; at < len; i++) {
        const size_t n = (size_t)snprintf(line, sizeof line, "%d\n", i);
        if (memcmp(text + at, line, n) != 0) fail_msg("line %d", i);
        at += n;
    }
    assert_int_equal(at, len);
}

static void request(const char *script, bool required)
{
    held_request(&rig, script);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, RING_BYTES);
    rig_put_text(&rig, VIV_NATIVE_KEY_SPILL_DIR, "spilled");
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_FILE_BYTES, FILE_BYTES);
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_FILES, 1000);
    rig_put_u64(&rig, VIV_NATIVE_KEY_SPILL_REQUIRED, required);
}

// ---- required ----

static void print_numbers(struct told *told)
{
    request("seq 0 39999", true);
    held_begin(&rig, told);
    await_file_bytes(20000);
}

static void write_on(struct told *told)
{
    CHECK(held_rejoin(&rig) == 1);
    told->acknowledged += 60000;
    await_file_bytes(told->acknowledged);
}

static void case_089_104_no_byte_of_a_required_spill_is_missing(void **state)
{
    (void)state;
    struct told told = {.acknowledged = 20000};
    struct viv_native_exit exit;
    held_in_a_kernel(&rig, print_numbers, &told);
    held_in_a_kernel(&rig, write_on, &told);
    // Nobody saves: it waits, having printed no more than its ring and its pipe take.
    const size_t before = load_files(text, sizeof text).len;
    viv_os_sleep_ns(100 * MS);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.streams[0].received, NUMBER_BYTES);
    const struct content content = load_files(text, sizeof text);
    assert_true(before < NUMBER_BYTES && content.files > 2);
    assert_true(content.is_whole);
    assert_int_equal(content.gaps, 0);
    assert_int_equal(content.len, NUMBER_BYTES);
    expect_numbers(content.len);
    held_close(&rig, &ref);
    assert_int_equal(load_files(text, sizeof text).files, 0); // they went with it
}

static void append_half_a_record(void)
{
    // Less than a head, so that it is no record however short the first one is.
    CHECK(system("set -- held-state/spilled/*; head -c 20 \"$1\" > held-state/half;"
                 "for f; do :; done; cat held-state/half >> \"$f\"") == 0);
}

static void case_089_a_torn_tail_is_cut_by_the_next_kernel(void **state)
{
    (void)state;
    struct told told = {.acknowledged = 20000};
    held_in_a_kernel(&rig, print_numbers, &told);
    append_half_a_record();
    assert_false(load_files(text, sizeof text).is_whole);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    const struct content content = load_files(text, sizeof text);
    assert_true(content.is_whole);
    assert_int_equal(content.len, NUMBER_BYTES);
    expect_numbers(content.len);
    held_close(&rig, &ref);
}

// ---- not required ----

static void print_and_go_on(struct told *told)
{
    request("seq 0 999; read line; seq 1000 39999; read line; echo end", false);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    await_file_bytes(3890);
    CHECK(rig_write(&rig, &ref, "go\n") == VIV_OK); // and nobody is there to write it
}

static void case_090_what_went_unwritten_is_a_gap(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    struct viv_log_chunk chunk;
    held_in_a_kernel(&rig, print_and_go_on, &told);
    viv_os_sleep_ns(300 * MS); // it prints on
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    rig_await_output(&rig, &ref, NUMBER_BYTES);
    assert_int_equal(rig_write(&rig, &ref, "end\n"), VIV_OK);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    const struct content content = load_files(text, sizeof text);
    assert_true(content.is_whole);
    assert_true(content.gaps >= 1);
    assert_int_equal(content.len + content.missing, NUMBER_BYTES + 4);
    assert_memory_equal(text + content.len - 10, "39999\nend\n", 10);
    expect_numbers(3890);
    const struct viv_native_read read = {.stream = 1, .buf = text, .max = sizeof text};
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_true(chunk.len <= RING_BYTES);
    held_close(&rig, &ref);
}

// ---- reading ----

static void remember_the_beginning(struct told *told)
{
    struct viv_log_chunk chunk;
    char byte;
    request("seq 0 9; read line; seq 10 39999; read line", true);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_await_output(&rig, &ref, 20);
    const struct viv_native_read read = {.stream = 1, .buf = &byte, .max = 1};
    CHECK(rig_read_since(&rig, &ref, &read, &chunk) == VIV_OK && chunk.len == 1);
    told->cursor = chunk.next;
    CHECK(rig_write(&rig, &ref, "go\n") == VIV_OK);
    await_file_bytes(100000);
}

static struct viv_log_cursor read_all_from(const struct viv_native_ref *ref,
                                           const struct viv_log_cursor *from, size_t at, size_t end)
{
    struct viv_log_cursor cursor = *from;
    while (at < end) {
        struct viv_log_chunk chunk;
        const struct viv_native_read read = {.stream = 1,
                                             .cursor = &cursor,
                                             .buf = text + at,
                                             .max = sizeof text - at,
                                             .wait_ns = RIG_TIMEOUT_NS};
        assert_int_equal(rig_read_since(&rig, ref, &read, &chunk), VIV_OK);
        assert_int_equal(chunk.offset, at);
        assert_true(chunk.len > 0);
        at += chunk.len;
        cursor = chunk.next;
    }
    return cursor;
}

static void case_098_a_cursor_goes_on_in_the_files_of_the_last_kernel(void **state)
{
    (void)state;
    struct told told;
    held_in_a_kernel(&rig, remember_the_beginning, &told);
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    const struct viv_native_ref ref = held_by_id(&told);
    rig_await_output(&rig, &ref, NUMBER_BYTES);
    await_file_bytes(NUMBER_BYTES);
    text[0] = '0';
    (void)read_all_from(&ref, &told.cursor, 1, NUMBER_BYTES);
    expect_numbers(NUMBER_BYTES);
    assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
    held_close(&rig, &ref);
}

// Whoever listens there.
static pid_t holder_of(const char *digest)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t len = sizeof peer;
    const int n =
        snprintf(address.sun_path, sizeof address.sun_path, "held-state/h/%s.sock", digest);
    CHECK(n > 0 && (size_t)n < sizeof address.sun_path);
    const int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0);
    CHECK(close(fd) == 0);
    return peer.pid;
}

static void lose_the_holder(struct told *told)
{
    struct viv_native_status status;
    remember_the_beginning(told);
    const struct viv_native_ref ref = held_by_id(told);
    rig_status(&rig, &ref, &status);
    told->acknowledged = (uint64_t)holder_of(status.digest);
}

// The ring is gone with its holder; the files are not.
static void case_103_files_of_a_holder_that_was_lost(void **state)
{
    (void)state;
    struct told told;
    struct viv_native_exit exit;
    struct viv_log_chunk chunk;
    held_in_a_kernel(&rig, lose_the_holder, &told);
    CHECK(kill((pid_t)told.acknowledged, SIGKILL) == 0);
    held_open(&rig);
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (held_rejoin(&rig) != 1) // it is there until its sockets are closed
        assert_true(viv_os_now_ns() < end_ns);
    const struct viv_native_ref ref = held_by_id(&told);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.kind, VIV_NATIVE_LOST);
    const struct content content = load_files(text, sizeof text);
    assert_true(content.is_whole && content.len >= 100000 && content.gaps == 0);
    memset(text, 0, sizeof text);
    text[0] = '0';
    const struct viv_log_cursor last = read_all_from(&ref, &told.cursor, 1, content.len);
    const char *end = memrchr(text, '\n', content.len);
    expect_numbers((size_t)(end + 1 - text)); // the last line may be cut
    const struct viv_native_read read = {.stream = 1, .cursor = &last, .buf = text, .max = 1};
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_true(chunk.len == 0 && chunk.is_eof);
    held_close(&rig, &ref);
    assert_int_equal(load_files(text, sizeof text).files, 0);
}

// ---- what cannot be had ----

static void each_allocation_of_taking_it_up_fails_once(void **state)
{
    (void)state;
    struct told told;
    bool was_hit = true;
    held_in_a_kernel(&rig, print_numbers, &told);
    const struct viv_native_ref ref = held_by_id(&told);
    for (uint64_t n = 1; was_hit; n++) {
        uint32_t count;
        assert_true(n < NTH_MAX);
        held_open(&rig);
        viv_sched_leave(rig.member);
        viv_alloc_fail_nth(n);
        const enum viv_err err = viv_native_rejoin(rig.native, rig.env, &count);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        CHECK(viv_sched_enter(viv_kernel_sched(rig.kernel), &rig.member) == VIV_OK);
        assert_true(err == VIV_OK || err == VIV_E_EXHAUSTED);
        rig_close(&rig);
    }
    held_open(&rig);
    assert_int_equal(held_rejoin(&rig), 1);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    const struct content content = load_files(text, sizeof text);
    assert_true(content.is_whole && content.gaps == 0);
    assert_int_equal(content.len, NUMBER_BYTES);
    expect_numbers(content.len);
    held_close(&rig, &ref);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_089_104_no_byte_of_a_required_spill_is_missing, held_set_up),
        cmocka_unit_test_setup(case_089_a_torn_tail_is_cut_by_the_next_kernel, held_set_up),
        cmocka_unit_test_setup(case_090_what_went_unwritten_is_a_gap, held_set_up),
        cmocka_unit_test_setup(case_098_a_cursor_goes_on_in_the_files_of_the_last_kernel,
                               held_set_up),
        cmocka_unit_test_setup(case_103_files_of_a_holder_that_was_lost, held_set_up),
        cmocka_unit_test_setup(each_allocation_of_taking_it_up_fails_once, held_set_up),
    };
    return cmocka_run_group_tests_name("native.program_held_spill", tests, NULL, NULL);
}
