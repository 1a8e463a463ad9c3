// SPDX-License-Identifier: Apache-2.0
// A script of appends, reads, drains, failing allocations and pauses on two output rings with their
// index, against plain arrays. The first byte: cap and policy. Then steps of four bytes.
#include "fuzz.h"

#include "base/alloc.h"
#include "cap/retire.h"
#include "native/read.h"
#include <string.h>

enum { STEP_BYTES = 4, LOG_BYTES = 1 << 20, READ_BYTES = 9000 };

struct log {
    struct viv_log_ring ring;
    struct viv_log_source source;
    struct viv_log_cursor cursor; // of the last read; there is one if has_cursor
    bool has_cursor;
    uint64_t end, newlines;
    uint8_t bytes[LOG_BYTES];
};
static struct rig { // 2 MiB
    struct log logs[2];
    uint64_t now_ns, sequence;
    uint8_t out[READ_BYTES];
} rig;
static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {9};

static void append(struct log *log, size_t want, uint8_t fill)
{
    struct iovec space[2];
    if (log->end + want > LOG_BYTES) return;
    const size_t room = viv_log_ring_room(&log->ring, want, space);
    FUZZ_CHECK(room <= want);
    if (room == 0) return;
    FUZZ_CHECK(space[0].iov_len + space[1].iov_len == room);
    for (size_t i = 0; i < room; i++) {
        const uint8_t byte = i % 50 == fill % 50 ? '\n' : (uint8_t)(fill + i);
        log->bytes[log->end + i] = byte;
        log->newlines += byte == '\n';
    }
    memcpy(space[0].iov_base, log->bytes + log->end, space[0].iov_len);
    memcpy(space[1].iov_base, log->bytes + log->end + space[0].iov_len, space[1].iov_len);
    viv_log_ring_commit(&log->ring, room, rig.now_ns, ++rig.sequence);
    log->end += room;
}

static void check_bytes(const struct log *log, uint64_t offset, const uint8_t *out, size_t len)
{
    FUZZ_CHECK(offset + len <= log->end);
    FUZZ_CHECK(len == 0 || memcmp(log->bytes + offset, out, len) == 0);
}

static void read_since(struct log *log, size_t max)
{
    struct viv_log_chunk chunk;
    FUZZ_CHECK(viv_log_read_since(&log->source, log->has_cursor ? &log->cursor : NULL, rig.out, max,
                                  &chunk, NULL) == VIV_OK);
    check_bytes(log, chunk.offset, rig.out, chunk.len);
    log->cursor = chunk.next;
    log->has_cursor = true;
}

static void read_lines(struct log *log, size_t max, size_t line_max)
{
    struct viv_log_line lines[16];
    struct viv_log_chunk chunk;
    struct viv_log_lines room = {
        .out = rig.out, .max_bytes = max, .line_max = line_max, .lines = lines, .max = 16};
    FUZZ_CHECK(viv_log_read_lines(&log->source, log->has_cursor ? &log->cursor : NULL, &room,
                                  &chunk, NULL) == VIV_OK);
    check_bytes(log, chunk.offset, rig.out, chunk.len);
    uint64_t number = 1, at = 0;
    for (uint32_t i = 0; i < room.count; i++) {
        for (; at < chunk.offset + lines[i].at; at++)
            number += log->bytes[at] == '\n';
        FUZZ_CHECK(lines[i].len <= line_max && lines[i].number == number);
        FUZZ_CHECK(lines[i].len == 0 || memchr(rig.out + lines[i].at, '\n', lines[i].len) == NULL);
    }
}

static void drain(struct log *log, size_t max)
{
    struct viv_log_chunk chunk;
    viv_log_read_logs(&log->source, rig.out, max, &chunk);
    check_bytes(log, chunk.offset, rig.out, chunk.len);
}

static void merge(size_t max, uint32_t count)
{
    struct viv_log_piece pieces[16];
    struct viv_log_merged merged;
    const struct viv_log_source sources[2] = {rig.logs[0].source, rig.logs[1].source};
    const struct viv_log_pieces room = {pieces, count % 16};
    uint64_t next[2] = {0};
    FUZZ_CHECK(viv_log_read_merged(sources, NULL, rig.out, max, &room, &merged) == VIV_OK);
    for (uint32_t i = 0; i < merged.count; i++) {
        const uint32_t which = pieces[i].stream == VIV_LOG_STDERR;
        struct viv_log_view view;
        viv_log_ring_look(&rig.logs[which].ring, &view);
        next[which] = next[which] == 0 ? view.front : next[which];
        check_bytes(&rig.logs[which], next[which], rig.out + pieces[i].at, pieces[i].len);
        next[which] += pieces[i].len;
    }
}

static void check(struct log *log)
{
    struct viv_log_view view;
    viv_log_ring_look(&log->ring, &view);
    FUZZ_CHECK(view.end == log->end && view.newlines == log->newlines && view.front <= view.end);
    FUZZ_CHECK(view.front == view.evicted + view.drained);
    FUZZ_CHECK(view.end - view.front <= log->ring.cap);
    FUZZ_CHECK(viv_log_ring_count_drained(&log->ring, 0, view.front) >= view.drained);
}

static void look_up(struct log *log, uint64_t lines, uint64_t time_ns)
{
    struct viv_log_mark mark;
    struct viv_log_cursor cursor;
    viv_log_tail(&log->source, lines, &cursor);
    FUZZ_CHECK(viv_log_cursor_open(key, &cursor, log->source.stream, 1, &mark) == VIV_OK);
    FUZZ_CHECK(mark.offset <= log->end);
    viv_log_since(&log->source, time_ns, &cursor);
    FUZZ_CHECK(viv_log_cursor_open(key, &cursor, log->source.stream, 1, &mark) == VIV_OK);
    FUZZ_CHECK(mark.offset <= log->end);
}

static void step(const uint8_t *data)
{
    struct log *log = &rig.logs[data[0] & 1];
    const size_t amount = (size_t)(data[1] | (data[2] << 8)) % READ_BYTES;
    if (data[0] & 0x80) viv_alloc_fail_nth(1 + (data[0] >> 6 & 1));
    switch (data[0] >> 1 & 7) {
    case 0:
    case 1:
        append(log, amount, data[3]);
        break;
    case 2:
        read_since(log, amount);
        break;
    case 3:
        read_lines(log, amount, data[3] + 1u);
        break;
    case 4:
        drain(log, amount);
        break;
    case 5:
        merge(amount, data[3]);
        break;
    case 6:
        rig.now_ns += amount * 1000000;
        (void)viv_log_ring_trim(&log->ring, rig.now_ns);
        break;
    default:
        look_up(log, data[3], rig.now_ns - viv_min_u64(rig.now_ns, amount * 100000));
        if (data[3] % 8 == 0) viv_log_ring_break_run(&log->ring);
        if (data[3] % 8 == 1) viv_log_ring_add_cap(&log->ring, amount);
        if (data[3] % 8 == 2) viv_log_ring_set_backpressure(&log->ring, data[1] % 2 == 0);
    }
    viv_alloc_fail_nth(0);
    check(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_NATIVE);
    if (size == 0) return 0;
    rig.now_ns = rig.sequence = 0;
    for (uint32_t i = 0; i < 2; i++) {
        struct log *log = &rig.logs[i];
        const struct viv_log_ring_config config = {.cap_bytes = UINT64_C(1) << (data[0] & 15),
                                                   .has_index = (data[0] & 0x20) == 0,
                                                   .is_backpressure = (data[0] & 0x10) != 0,
                                                   .retire = viv_cap_retire};
        viv_log_ring_init(&log->ring, &config);
        log->source = (struct viv_log_source){.ring = &log->ring,
                                              .key = key,
                                              .stream = i == 0 ? VIV_LOG_STDOUT : VIV_LOG_STDERR,
                                              .generation = 1};
        log->has_cursor = false;
        log->end = log->newlines = 0;
    }
    for (size_t at = 1; size - at >= STEP_BYTES && at < 1200; at += STEP_BYTES)
        step(data + at);
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_deinit(&rig.logs[i].ring);
    FUZZ_CHECK(viv_alloc_live_bytes(VIV_TAG_NATIVE) == before);
    return 0;
}
