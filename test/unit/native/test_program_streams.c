// SPDX-License-Identifier: Apache-2.0
// What programs print, and how it is read while they run and afterwards.
#include "native_rig.h"

#include "os/clock.h"
#include "os/thread.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUTPUT = 65536, MS = 1000000, SOME_PROGRAMS = 300, MANY_BYTES = 60000 };

static void case_067_cursors_are_authentic(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    char buf[64];
    struct viv_log_chunk chunk;
    rig_shell(&rig, "printf 0123456789");
    const struct viv_native_ref ref = rig_start(&rig);
    const struct viv_native_ref other = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(rig_wait(&rig, &other, NULL), VIV_OK);
    struct viv_native_read read = {.stream = 1, .buf = buf, .max = 4};
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK); // N65
    assert_int_equal(chunk.len, 4);
    assert_false(chunk.is_eof);
    struct viv_log_cursor next = chunk.next;
    read.cursor = &next;
    read.max = sizeof buf;
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_memory_equal(buf, "456789", 6);
    assert_true(chunk.is_eof);
    assert_int_equal(rig_read_since(&rig, &other, &read, &chunk), VIV_E_INVAL);
    read.stream = 2;
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_E_INVAL);
    read.stream = 1;
    for (uint32_t bit = 0; bit < 8 * VIV_LOG_CURSOR_BYTES; bit++) {
        struct viv_log_cursor bad = next;
        bad.b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        read.cursor = &bad;
        assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_E_INVAL);
    }
    rig_close(&rig);
}

static void case_069_a_fast_writer_is_never_blocked(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    struct viv_native_exit exit;
    struct viv_native_status status;
    rig_request(&rig, "yes", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 65536);
    const struct viv_native_ref ref = rig_start(&rig);
    rig_await_output(&rig, &ref, 8 << 20);
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    rig_status(&rig, &ref, &status);
    assert_int_equal(exit.streams[0].received,
                     status.buffered[0] + status.evicted[0] + status.drained[0]);
    assert_true(status.buffered[0] <= 65536);
    rig_close(&rig);
}

static uint64_t program_count(void)
{
    const char *text = getenv("VIV_NATIVE_PROGRAMS");
    return text != NULL ? strtoull(text, NULL, 10) : SOME_PROGRAMS;
}

static void widen(struct viv_native_config *config)
{
    config->scope = config->environment = config->total =
        (struct viv_native_quota){64, 64, UINT64_C(1) << 30, 64};
}

// Every byte arrives, and the end of the stream comes after the last, whoever ends first.
static void case_071_every_byte_and_then_the_end(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_with(&rig, widen);
    static char buf[MANY_BYTES + 1];
    const uint64_t total = program_count();
    uint64_t random = 12345;
    for (uint64_t i = 0; i < total; i++) {
        char count[16];
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        const size_t bytes = (size_t)(random >> 33) % (MANY_BYTES + 1);
        snprintf(count, sizeof count, "%zu", bytes);
        rig_request(&rig, "head", "-c", count, "/dev/zero", NULL);
        const struct viv_native_ref ref = rig_start(&rig);
        struct viv_native_read read = {
            .stream = 1, .buf = buf, .max = sizeof buf, .wait_ns = RIG_TIMEOUT_NS};
        struct viv_log_cursor cursor;
        struct viv_log_chunk chunk;
        size_t sum = 0;
        do {
            assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
            assert_int_equal(chunk.gap.evicted + chunk.gap.drained, 0);
            sum += chunk.len;
            cursor = chunk.next;
            read.cursor = &cursor;
        } while (!chunk.is_eof);
        assert_int_equal(sum, bytes);
        assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
        assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    }
    rig_close(&rig);
}

static void case_074_one_stream_ends_early(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    char buf[64];
    struct viv_log_chunk chunk;
    rig_shell(&rig, "exec >&-; sleep 0.3; echo later >&2");
    const struct viv_native_ref ref = rig_start(&rig);
    struct viv_native_read read = {
        .stream = 1, .buf = buf, .max = sizeof buf, .wait_ns = RIG_TIMEOUT_NS};
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_true(chunk.is_eof && chunk.len == 0);
    read.stream = 2;
    assert_int_equal(rig_read_since(&rig, &ref, &read, &chunk), VIV_OK);
    assert_int_equal(chunk.len, 6);
    rig_close(&rig);
}

static void case_077_lines(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_shell(&rig, "printf 'one\\r\\n\\nthree\\nlast'");
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    char buf[256];
    struct viv_log_line rows[8];
    struct viv_log_lines lines = {.lines = rows, .max = 8};
    uint32_t count = 0;
    struct viv_log_chunk chunk;
    const struct viv_native_read read = {.stream = 1, .buf = buf, .max = sizeof buf};
    assert_int_equal(viv_native_read_lines(&rig.ctx, &ref, &read, &lines, &count, &chunk), VIV_OK);
    static const char *const expected[] = {"one\r", "", "three", "last"};
    assert_int_equal(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(rows[i].len, strlen(expected[i]));
        assert_memory_equal(buf + rows[i].at, expected[i], rows[i].len);
        assert_int_equal(rows[i].number, i + 1);
    }
    struct viv_log_cursor cursor;
    assert_int_equal(viv_native_tail(&rig.ctx, &ref, 1, 1, &cursor), VIV_OK);
    struct viv_native_read from = {.stream = 1, .cursor = &cursor, .buf = buf, .max = sizeof buf};
    assert_int_equal(rig_read_since(&rig, &ref, &from, &chunk), VIV_OK);
    assert_int_equal(chunk.len, 4);
    assert_memory_equal(buf, "last", 4);
    rig_close(&rig);
}

static void case_078_both_streams_in_the_order_of_arrival(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    rig_shell(&rig, "for i in 1 2 3 4 5; do echo o$i; sleep 0.05; echo e$i >&2; sleep 0.05; done");
    const struct viv_native_ref ref = rig_start(&rig);
    char buf[256];
    struct viv_log_piece rows[32];
    const struct viv_log_pieces pieces = {.pieces = rows, .max = 32};
    struct viv_log_merged merged;
    struct viv_native_call call;
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    viv_native_call_init(&call, &rig.ctx);
    const struct viv_native_read read = {.stream = VIV_LOG_MERGED, .buf = buf, .max = sizeof buf};
    assert_int_equal(viv_native_read_merged(&call, &ref, &read, &pieces, &merged), VIV_OK);
    assert_int_equal(merged.len, 30);
    assert_memory_equal(buf, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n", 30);
    assert_false(merged.is_exact);
    // One pipe for both: exact, without pauses.
    rig_shell(&rig, "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done");
    rig_put_u64(&rig, VIV_NATIVE_KEY_STDERR, VIV_NATIVE_STDERR_MERGE);
    const struct viv_native_ref one = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &one, NULL), VIV_OK);
    assert_int_equal(viv_native_read_merged(&call, &one, &read, &pieces, &merged), VIV_OK);
    assert_memory_equal(buf, "o1\ne1\no2\ne2\no3\ne3\no4\ne4\no5\ne5\n", 30);
    assert_true(merged.is_exact);
    rig_close(&rig);
}

static void case_084_a_program_that_does_not_read(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    static char data[1 << 20];
    struct viv_native_call call;
    struct viv_native_exit exit;
    size_t taken = 0;
    uint64_t sum = 0;
    rig_request(&rig, "sleep", "100", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_STDIN_QUEUE_BYTES, 65536);
    const struct viv_native_ref ref = rig_start(&rig);
    viv_native_call_init(&call, &rig.ctx);
    struct viv_native_bytes bytes = {.data = data, .len = 32768, .all = false};
    enum viv_err err;
    while ((err = viv_native_write(&call, &ref, &bytes, &taken)) == VIV_OK) {
        sum += taken;
        rig_sleep(&rig, 5 * MS); // the pipe takes what it can
    }
    assert_int_equal(err, VIV_E_FULL);
    bytes.all = true;
    bytes.timeout_ns = 200 * MS;
    const uint64_t begin_ns = viv_os_now_ns();
    assert_int_equal(viv_native_write(&call, &ref, &bytes, &taken), VIV_E_AGAIN);
    assert_int_equal(viv_native_await(&call), VIV_E_TIMEOUT);
    assert_true(viv_os_now_ns() - begin_ns >= 200 * MS);
    bytes.len = sizeof data;
    assert_int_equal(viv_native_write(&call, &ref, &bytes, &taken), VIV_E_TOOBIG);
    assert_int_equal(viv_native_close_stdin(&rig.ctx, &ref, true), VIV_OK);
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.stdin_accepted, sum);
    assert_true(exit.stdin_delivered < sum); // the pipe took some, and no more
    rig_close(&rig);
}

static void case_082_083_long_input_comes_back(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open(&rig);
    enum { PRELUDE = 4 << 20 };
    char *data = malloc(PRELUDE + 1);
    for (size_t i = 0; i < PRELUDE + 1; i++)
        data[i] = (char)(i * 31 % 251);
    rig_request(&rig, "cat", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 8 << 20);
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_STDIN, data, PRELUDE), VIV_OK);
    const struct viv_native_ref ref = rig_start(&rig);
    struct viv_native_exit exit;
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    assert_int_equal(exit.leader.code, 0);
    char *out = malloc(PRELUDE + 1);
    assert_int_equal(rig_logs(&rig, &ref, 1, out, PRELUDE + 1), PRELUDE);
    assert_memory_equal(out, data, PRELUDE);
    rig_request(&rig, "cat", NULL);
    assert_int_equal(viv_block_put(&rig.block, VIV_NATIVE_KEY_STDIN, data, PRELUDE + 1), VIV_OK);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_TOOBIG);
    free(data);
    free(out);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_067_cursors_are_authentic),
        cmocka_unit_test(case_069_a_fast_writer_is_never_blocked),
        cmocka_unit_test(case_071_every_byte_and_then_the_end),
        cmocka_unit_test(case_074_one_stream_ends_early),
        cmocka_unit_test(case_077_lines),
        cmocka_unit_test(case_078_both_streams_in_the_order_of_arrival),
        cmocka_unit_test(case_082_083_long_input_comes_back),
        cmocka_unit_test(case_084_a_program_that_does_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
