// SPDX-License-Identifier: Apache-2.0
// What the operations of reading answer: bytes, gaps, end of file, lines, both streams in order.
#include "base/alloc.h"
#include "cap/retire.h"
#include "native/read.h"
#include "ring_kit.h"
#include <stdio.h>
#include <string.h>

enum { MS = 1000000 };

static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {7};
static struct viv_log_ring rings[2];
static struct viv_log_source out_source = {
    .ring = &rings[0], .key = key, .stream = VIV_LOG_STDOUT, .generation = 1};
static struct viv_log_source err_source = {
    .ring = &rings[1], .key = key, .stream = VIV_LOG_STDERR, .generation = 1};
static char buf[70000];
static struct viv_log_chunk chunk;

static void open_rings(uint64_t cap)
{
    ring_open(&rings[0], cap);
    ring_open(&rings[1], cap);
    out_source.is_at_end = err_source.is_at_end = false;
}

static void close_rings(void)
{
    viv_log_ring_deinit(&rings[0]);
    viv_log_ring_deinit(&rings[1]);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

static void put(uint32_t ring, const char *text, uint64_t now_ns, uint64_t sequence)
{
    sequence--;
    assert_int_equal(ring_push(&rings[ring], text, strlen(text), now_ns, &sequence), strlen(text));
}

static void read_since(const struct viv_log_cursor *cursor, size_t max, const char *expected)
{
    OK(viv_log_read_since(&out_source, cursor, buf, max, &chunk, NULL));
    assert_int_equal(chunk.len, strlen(expected));
    assert_memory_equal(buf, expected, chunk.len);
}

static void assert_gap(uint64_t evicted, uint64_t drained, uint64_t dropped)
{
    assert_int_equal(chunk.gap.evicted, evicted);
    assert_int_equal(chunk.gap.drained, drained);
    assert_int_equal(chunk.dropped, dropped);
}

static uint64_t offset_of(const struct viv_log_cursor *cursor)
{
    struct viv_log_mark mark;
    OK(viv_log_cursor_open(key, cursor, VIV_LOG_STDOUT, 1, &mark));
    return mark.offset;
}

static void n63_evicted(void **state)
{
    (void)state;
    open_rings(4);
    read_since(NULL, 10, "");
    const struct viv_log_cursor zero = chunk.next;
    put(0, "abcdef", 0, 1);
    read_since(NULL, 10, "cdef");
    assert_int_equal(offset_of(&chunk.next), 6);
    assert_gap(0, 0, 2);
    read_since(&zero, 10, "cdef");
    assert_int_equal(chunk.offset, 2);
    assert_gap(2, 0, 2);
    const struct viv_log_cursor six = chunk.next;
    put(0, "ghijkl", 0, 9);
    read_since(&six, 10, "ijkl"); // the chain goes on
    assert_gap(2, 0, 8);
    close_rings();
}

static void n64_drained(void **state)
{
    (void)state;
    open_rings(16);
    read_since(NULL, 10, "");
    const struct viv_log_cursor zero = chunk.next;
    put(0, "hello", 0, 1);
    viv_log_read_logs(&out_source, buf, sizeof buf, &chunk);
    assert_int_equal(chunk.len, 5);
    assert_memory_equal(buf, "hello", 5);
    assert_gap(0, 0, 0);
    read_since(&zero, 10, "");
    assert_gap(0, 5, 0);
    assert_int_equal(offset_of(&chunk.next), 5);
    viv_log_read_logs(&out_source, buf, sizeof buf, &chunk);
    assert_int_equal(chunk.len, 0);
    close_rings();
}

static void n65_max(void **state)
{
    (void)state;
    open_rings(16);
    put(0, "0123456789", 0, 1);
    read_since(NULL, 0, "");
    assert_int_equal(offset_of(&chunk.next), 0);
    read_since(NULL, 4, "0123");
    assert_int_equal(offset_of(&chunk.next), 4);
    const struct viv_log_cursor four = chunk.next;
    read_since(&four, 100, "456789");
    assert_int_equal(offset_of(&chunk.next), 10);
    close_rings();
}

static void n71_eof_only_behind_the_last_byte(void **state)
{
    (void)state;
    open_rings(16);
    put(0, "abc", 0, 1);
    read_since(NULL, 10, "abc");
    assert_false(chunk.is_eof);
    out_source.is_at_end = true;
    read_since(NULL, 2, "ab");
    assert_false(chunk.is_eof);
    const struct viv_log_cursor two = chunk.next;
    read_since(&two, 10, "c");
    assert_true(chunk.is_eof);
    viv_log_read_logs(&out_source, buf, 2, &chunk);
    assert_false(chunk.is_eof);
    viv_log_read_logs(&out_source, buf, 2, &chunk);
    assert_true(chunk.is_eof);
    close_rings();
}

static void n67_beyond_the_end_or_of_the_other(void **state)
{
    (void)state;
    struct viv_diag diag;
    struct viv_log_cursor cursor;
    struct viv_log_lines lines = {.out = buf};
    open_rings(16);
    put(0, "abc", 0, 1);
    struct viv_log_mark mark = {.stream = VIV_LOG_STDOUT, .generation = 1, .offset = 4};
    viv_log_cursor_make(key, &mark, &cursor);
    ERR(viv_log_read_since(&out_source, &cursor, buf, 10, &chunk, &diag), INVAL);
    assert_string_equal(diag.text, "cursor");
    ERR(viv_log_read_lines(&out_source, &cursor, &lines, &chunk, &diag), INVAL);
    mark.offset = 3;
    viv_log_cursor_make(key, &mark, &cursor);
    OK(viv_log_read_since(&out_source, &cursor, buf, 10, &chunk, &diag));
    ERR(viv_log_read_since(&err_source, &cursor, buf, 10, &chunk, &diag), INVAL);
    close_rings();
}

// ---- lines ----

static struct viv_log_line found[64];
static uint32_t found_count;

static void read_lines(const struct viv_log_cursor *cursor, size_t max_bytes, uint32_t max_lines,
                       size_t line_max)
{
    struct viv_log_lines lines = {
        .out = buf, .max_bytes = max_bytes, .line_max = line_max, .lines = found, .max = max_lines};
    OK(viv_log_read_lines(&out_source, cursor, &lines, &chunk, NULL));
    found_count = lines.count;
}

static void assert_line(uint32_t i, const char *text, uint64_t number, uint64_t time_ns,
                        const char *flags)
{
    assert_true(i < found_count);
    assert_int_equal(found[i].len, strlen(text));
    assert_memory_equal(buf + found[i].at, text, found[i].len);
    assert_int_equal(found[i].number, number);
    assert_int_equal(found[i].time_ns, time_ns);
    assert_int_equal(found[i].is_cut, strchr(flags, 'c') != NULL);
    assert_int_equal(found[i].is_partial, strchr(flags, 'p') != NULL);
}

static void n77_crlf_empty_and_unfinished_lines(void **state)
{
    (void)state;
    open_rings(4096);
    put(0, "one\r\n\n", 5, 1);
    put(0, "three", 5 + MS, 2);
    put(0, "3\nfo", 5 + 3 * MS, 3);
    read_lines(NULL, 100, 64, 8192);
    assert_int_equal(found_count, 4);
    assert_line(0, "one\r", 1, 5, "");
    assert_line(1, "", 2, 5, "");
    assert_line(2, "three3", 3, 5 + MS, ""); // the time of its first byte
    assert_line(3, "fo", 4, 5 + 3 * MS, "p");
    assert_int_equal(offset_of(&chunk.next), 13);
    struct viv_log_cursor next = chunk.next;
    put(0, "ur", 5 + 4 * MS, 4);
    out_source.is_at_end = true; // no newline at the end
    read_lines(&next, 100, 64, 8192);
    assert_int_equal(found_count, 1);
    assert_line(0, "four", 4, 5 + 3 * MS, "");
    assert_true(chunk.is_eof);
    read_lines(NULL, 100, 2, 8192); // as many as asked for
    assert_int_equal(found_count, 2);
    assert_int_equal(offset_of(&chunk.next), 6);
    assert_false(chunk.is_eof);
    read_lines(NULL, 8, 64, 8192); // as much as fits: whole lines
    assert_int_equal(found_count, 2);
    assert_int_equal(offset_of(&chunk.next), 6);
    close_rings();
}

static void n77_long_lines_come_in_pieces(void **state)
{
    (void)state;
    static char line[1 << 20];
    uint64_t sequence = 1, len = 0;
    open_rings(2 << 20);
    memset(line, 'x', sizeof line);
    put(0, "a\n", 0, 1);
    assert_int_equal(ring_push(&rings[0], line, sizeof line, 1, &sequence), sizeof line);
    put(0, "\nz\n", 1, sequence + 1);
    out_source.is_at_end = true;
    read_lines(NULL, 10, 64, 8192); // the buffer holds less than the line: not begun
    assert_int_equal(found_count, 1);
    struct viv_log_cursor next = chunk.next;
    while (len < sizeof line) {
        read_lines(&next, sizeof buf, 64, 8192);
        for (uint32_t i = 0; i < found_count && found[i].number == 2; i++) {
            assert_true(found[i].is_cut && found[i].len <= 8192);
            len += found[i].len;
        }
        next = chunk.next;
    }
    assert_int_equal(len, sizeof line);
    assert_true(chunk.is_eof);
    assert_line(found_count - 1, "z", 3, 1, "");
    close_rings();
}

static void n77_the_front_cuts_a_line(void **state)
{
    (void)state;
    open_rings(8);
    put(0, "one\ntwo\nthree\n", 0, 1); // "o\nthree\n" is left
    read_lines(NULL, 100, 64, 8192);
    assert_int_equal(found_count, 2);
    assert_line(0, "o", 2, 0, "c");
    assert_line(1, "three", 3, 0, "");
    struct viv_log_cursor next = chunk.next;
    put(0, "4444444\n", 0, 20); // the byte before the cursor is gone, and yet a line begins there
    read_lines(&next, 100, 64, 8192);
    assert_line(0, "4444444", 4, 0, "");
    viv_log_read_logs(&out_source, buf, 3, &chunk);
    read_lines(NULL, 100, 64, 8192);
    assert_line(0, "4444", 4, 0, "c");
    close_rings();
}

static void n77_numbers_without_an_index(void **state)
{
    (void)state;
    open_rings(8);
    viv_log_ring_deinit(&rings[0]);
    viv_log_ring_init(&rings[0],
                      &(struct viv_log_ring_config){.cap_bytes = 8, .retire = viv_cap_retire});
    put(0, "1\n2\n3\n4\n5\n6\n", 77, 1);
    read_lines(NULL, 100, 64, 8192);
    assert_int_equal(found_count, 4);
    assert_line(0, "3", 3, 0, "c"); // what was before is unknown
    assert_line(3, "6", 6, 0, "");
    close_rings();
}

static void n77_tail(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t lines, offset;
    } cases[] = {
        {"1\n2\n3\n", 0, 6}, {"1\n2\n3\n", 1, 4}, {"1\n2\n3\n", 2, 2},
        {"1\n2\n3\n", 3, 0}, {"1\n2\n3\n", 9, 0}, {"1\n2\n3", 1, 4},
        {"1\n\n\n", 2, 2},   {"\n", 1, 0},        {"", 3, 0},
    };
    struct viv_log_cursor cursor;
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        open_rings(4096);
        if (cases[i].text[0] != '\0') put(0, cases[i].text, 0, 1);
        viv_log_tail(&out_source, cases[i].lines, &cursor);
        assert_int_equal(offset_of(&cursor), cases[i].offset);
        close_rings();
    }
    open_rings(1 << 20); // more than one piece back
    for (uint64_t i = 0; i < 10000; i++) {
        char line[16];
        (void)snprintf(line, sizeof line, "%04u\n", (unsigned)i);
        put(0, line, i, i + 1);
    }
    viv_log_tail(&out_source, 7000, &cursor);
    assert_int_equal(offset_of(&cursor), 3000 * 5);
    read_lines(&cursor, 100, 1, 100);
    assert_line(0, "3000", 3001, 0, "");
    put(0, "x\n", 10000, 10001);
    viv_log_tail(&out_source, 1, &cursor);
    OK(viv_log_read_since(&out_source, &cursor, buf, 10, &chunk, NULL));
    assert_int_equal(chunk.dropped, 0); // a chain of its own
    close_rings();
}

static void n77_since(void **state)
{
    (void)state;
    static const struct {
        uint64_t time_ns, offset;
    } cases[] = {{0, 0},       {10 * MS, 0}, {10 * MS + 1, 2}, {20 * MS, 2},
                 {25 * MS, 4}, {30 * MS, 4}, {30 * MS + 1, 6}, {UINT64_MAX, 6}};
    struct viv_log_cursor cursor;
    open_rings(4096);
    for (uint64_t i = 1; i <= 3; i++)
        put(0, "x\n", i * 10 * MS, i);
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        viv_log_since(&out_source, cases[i].time_ns, &cursor);
        assert_int_equal(offset_of(&cursor), cases[i].offset);
    }
    close_rings();
}

// ---- both streams ----

static struct viv_log_merged merged;
static struct viv_log_piece pieces[32];

// Pieces of one stream in a row are shown as one.
static void read_merged(const struct viv_log_cursor *cursor, size_t max, uint32_t count,
                        const char *expected)
{
    const struct viv_log_source sources[2] = {out_source, err_source};
    const struct viv_log_pieces room = {pieces, count};
    char got[1000];
    size_t len = 0;
    OK(viv_log_read_merged(sources, cursor, buf, max, &room, &merged));
    for (uint32_t i = 0; i < merged.count; i++) {
        const bool is_new = i == 0 || pieces[i].stream != pieces[i - 1].stream;
        const char *mark = pieces[i].stream == VIV_LOG_STDOUT ? ">" : "!";
        len += (size_t)snprintf(got + len, sizeof got - len, "%s%.*s", is_new ? mark : "",
                                (int)pieces[i].len, buf + pieces[i].at);
    }
    got[len] = '\0';
    assert_string_equal(got, expected);
}

static void n78_alternating_streams(void **state)
{
    (void)state;
    open_rings(4096);
    put(0, "a", 10 * MS, 1);
    put(1, "B", 20 * MS, 2);
    put(0, "c", 30 * MS, 3);
    put(0, "cc", 30 * MS, 4);
    put(1, "D", 40 * MS, 5);
    put(0, "e", 40 * MS, 6);
    read_merged(NULL, 100, 32, ">a!B>ccc!D>e");
    assert_false(merged.is_exact);
    assert_false(merged.is_eof);
    assert_int_equal(pieces[1].time_ns, 20 * MS);
    struct viv_log_cursor next = merged.next;
    read_merged(&next, 100, 32, "");
    put(1, "F", 50 * MS, 7);
    out_source.is_at_end = true;
    read_merged(&next, 100, 32, "!F");
    assert_false(merged.is_eof);
    err_source.is_at_end = true;
    read_merged(&next, 100, 32, "!F");
    assert_true(merged.is_eof);
    read_merged(NULL, 3, 32, ">a!B>c"); // the buffer ends within a run
    next = merged.next;
    read_merged(&next, 100, 2, ">cc!D"); // as many pieces as asked for
    next = merged.next;
    read_merged(&next, 100, 32, ">e!F");
    close_rings();
}

static void n78_gaps_of_both(void **state)
{
    (void)state;
    const struct viv_log_source sources[2] = {out_source, err_source};
    struct viv_log_mark mark = {.stream = VIV_LOG_MERGED, .generation = 1};
    struct viv_log_cursor cursor;
    open_rings(4);
    viv_log_cursor_make(key, &mark, &cursor);
    put(0, "abcdef", 0, 1);
    put(1, "UVWXYZ", 0, 11);
    assert_int_equal(viv_log_ring_consume(&rings[1], 3), 1);
    read_merged(&cursor, 100, 32, ">cdef!XYZ");
    assert_int_equal(merged.gaps[0].evicted, 2);
    assert_int_equal(merged.gaps[0].drained, 0);
    assert_int_equal(merged.gaps[1].evicted, 2);
    assert_int_equal(merged.gaps[1].drained, 1);
    mark.other = 7;
    viv_log_cursor_make(key, &mark, &cursor);
    const struct viv_log_pieces room = {pieces, 32};
    ERR(viv_log_read_merged(sources, &cursor, buf, 10, &room, &merged), INVAL);
    close_rings();
}

static void n78_one_stream_is_exact(void **state)
{
    (void)state;
    open_rings(4096);
    put(0, "ab", 0, 1);
    const struct viv_log_source sources[2] = {out_source, {.ring = NULL}};
    const struct viv_log_pieces room = {pieces, 32};
    OK(viv_log_read_merged(sources, NULL, buf, 10, &room, &merged));
    assert_true(merged.is_exact);
    assert_int_equal(merged.count, 1);
    assert_memory_equal(buf, "ab", 2);
    close_rings();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n63_evicted),
        cmocka_unit_test(n64_drained),
        cmocka_unit_test(n65_max),
        cmocka_unit_test(n71_eof_only_behind_the_last_byte),
        cmocka_unit_test(n67_beyond_the_end_or_of_the_other),
        cmocka_unit_test(n77_crlf_empty_and_unfinished_lines),
        cmocka_unit_test(n77_long_lines_come_in_pieces),
        cmocka_unit_test(n77_the_front_cuts_a_line),
        cmocka_unit_test(n77_numbers_without_an_index),
        cmocka_unit_test(n77_tail),
        cmocka_unit_test(n77_since),
        cmocka_unit_test(n78_alternating_streams),
        cmocka_unit_test(n78_gaps_of_both),
        cmocka_unit_test(n78_one_stream_is_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
