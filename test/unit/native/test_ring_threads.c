// SPDX-License-Identifier: Apache-2.0
// One writer, three cursors and a drainer on one ring (N68, N75's shape), for ThreadSanitizer: each
// byte arrives once or is counted, and nothing of a later lap is ever believed. The same of an
// index, and of two rings that are merged.
// VIV_TEST_BYTES: what the writer writes (48 MiB). VIV_TEST_ROUNDS: appends of the index (300,000).
#include "base/alloc.h"
#include "harness/check.h"
#include "native/read.h"
#include "os/thread.h"
#include "ring_kit.h"
#include "sched/drive.h"
#include <string.h>

// Reads take longer than the writer needs to come round.
enum { CURSORS = 3, CAP = 1 << 20, READ = 1 << 20 };

static struct viv_log_ring ring;
static struct viv_sched *sched;
static _Atomic bool is_written;
static uint64_t total_bytes;

struct reader {
    struct viv_thread *thread;
    bool is_drainer;
    uint64_t got, gap;
};
static struct reader readers[CURSORS + 1];

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset / 61 * 31 + offset); // laps differ
}

static void check_bytes(const uint8_t *data, uint64_t from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        CHECK(data[i] == byte_at(from + i));
}

static void look_at_index(uint64_t offset)
{
    struct viv_log_entry entry;
    struct viv_log_view view;
    viv_log_ring_look(&ring, &view);
    CHECK(view.front <= view.end);
    if (!viv_log_ring_find_run(&ring, offset, &entry)) return;
    CHECK(entry.sequence > 0 && entry.time_ns == entry.sequence * 1000);
    CHECK(entry.newlines <= entry.offset);
}

static void run_reader(void *arg)
{
    struct reader *self = arg;
    struct viv_qsbr_member *member;
    uint8_t *out = viv_alloc(READ, VIV_TAG_TEST);
    uint64_t next = 0;
    CHECK(viv_sched_enter(sched, &member) == VIV_OK);
    for (bool is_last = false;;) {
        // Acquire pairs with the writer's release: what is seen then is everything.
        const bool is_done = atomic_load_explicit(&is_written, memory_order_acquire);
        uint64_t from = next;
        const size_t len = self->is_drainer ? viv_log_ring_drain(&ring, out, READ, &from)
                                            : viv_log_ring_copy(&ring, &from, out, READ);
        check_bytes(out, from, len);
        self->gap += from > next && !self->is_drainer ? from - next : 0;
        self->got += len;
        next = self->is_drainer ? 0 : from + len;
        look_at_index(from);
        viv_qsbr_quiet(member, 64);
        if (len == 0 && is_done && is_last) break;
        is_last = is_done;
        if (len == 0 || self->is_drainer) viv_thread_yield();
    }
    viv_sched_leave(member);
    viv_free(out, READ, VIV_TAG_TEST);
}

static void write_all(void)
{
    static uint8_t data[70000];
    uint64_t end = 0, sequence = 0;
    while (end < total_bytes) {
        struct iovec space[2];
        const size_t want =
            (size_t)viv_min_u64(1 + sequence * 3797 % sizeof data, total_bytes - end);
        const size_t room = viv_log_ring_room(&ring, want, space);
        CHECK(room > 0);
        for (size_t i = 0; i < room; i++)
            data[i] = byte_at(end + i);
        const size_t first = room < space[0].iov_len ? room : space[0].iov_len;
        memcpy(space[0].iov_base, data, first);
        memcpy(space[1].iov_base, data + first, room - first);
        sequence++;
        viv_log_ring_commit(&ring, room, sequence * 1000, sequence);
        end += room;
        (void)viv_log_ring_trim(&ring, sequence * 1000 + VIV_LOG_IDLE_NS); // as if it were idle
        if (sequence % 16 == 0) viv_qsbr_quiet(viv_sched_member(), 64);
    }
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void open_sched(struct viv_qsbr_member **out_member)
{
    const struct viv_sched_config config = {.worker_count = 1, .run = run_nothing};
    OK(viv_sched_new(&config, &sched));
    OK(viv_sched_start(sched));
    OK(viv_sched_enter(sched, out_member));
    atomic_store_explicit(&is_written, false, memory_order_relaxed); // no thread yet
    memset(readers, 0, sizeof readers);
}

static void start_readers(void (*run)(void *arg))
{
    for (uint32_t i = 0; i <= CURSORS; i++)
        OK(viv_thread_start("reader", 0, run, &readers[i], &readers[i].thread));
}

static void join_readers(void)
{
    atomic_store_explicit(&is_written, true, memory_order_release); // pairs with the readers
    for (uint32_t i = 0; i <= CURSORS; i++)
        viv_thread_join(readers[i].thread);
}

static void close_sched(struct viv_qsbr_member *member)
{
    viv_sched_leave(member);
    viv_sched_stop(sched);
    viv_sched_free(sched);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

static void n68_three_cursors_and_a_drainer(void **state)
{
    (void)state;
    struct viv_qsbr_member *member;
    total_bytes = check_env_u64("VIV_TEST_BYTES", 48u << 20);
    open_sched(&member);
    ring_open(&ring, CAP);
    readers[CURSORS].is_drainer = true;
    start_readers(run_reader);
    write_all();
    join_readers();
    const struct viv_log_view view = ring_look(&ring);
    ring_check(&ring);
    assert_int_equal(view.end, total_bytes);
    assert_int_equal(view.drained, readers[CURSORS].got);
    assert_int_equal(view.front, view.end);
    assert_true(viv_log_ring_count_drained(&ring, 0, view.front) >= view.drained);
    for (uint32_t i = 0; i < CURSORS; i++) {
        fprintf(stderr, "cursor %u: %" PRIu64 " bytes, %" PRIu64 " missed\n", i, readers[i].got,
                readers[i].gap);
        assert_int_equal(readers[i].got + readers[i].gap, total_bytes);
    }
    viv_log_ring_deinit(&ring);
    close_sched(member);
}

// ---- index ----

// Each append is one byte, one line and one run, so that an entry tells all about itself.
static void check_entry(const struct viv_log_entry *entry)
{
    CHECK(entry->sequence == entry->offset + 1);
    CHECK(entry->time_ns == entry->sequence * VIV_LOG_RUN_NS);
    CHECK(entry->newlines == entry->offset);
}

static void run_finder(void *arg)
{
    struct reader *self = arg;
    struct viv_qsbr_member *member;
    struct viv_log_view view;
    struct viv_log_entry entry;
    CHECK(viv_sched_enter(sched, &member) == VIV_OK);
    // Acquire pairs with the writer's release.
    while (!atomic_load_explicit(&is_written, memory_order_acquire)) {
        viv_log_ring_look(&ring, &view);
        CHECK(view.newlines == view.end);
        if (viv_log_ring_find_run(&ring, view.end - viv_min_u64(view.end, 60), &entry))
            check_entry(&entry);
        if (viv_log_ring_next_run(&ring, view.front, &entry)) check_entry(&entry);
        if (viv_log_ring_find_time(&ring, view.end * VIV_LOG_RUN_NS, &entry)) check_entry(&entry);
        self->got++;
        viv_qsbr_quiet(member, 64);
    }
    viv_sched_leave(member);
}

static void entries_are_whole(void **state)
{
    (void)state;
    struct viv_qsbr_member *member;
    const uint64_t rounds = check_env_u64("VIV_TEST_ROUNDS", 300000);
    uint64_t sequence = 0;
    open_sched(&member);
    ring_open(&ring, 4096); // 64 entries
    start_readers(run_finder);
    for (uint64_t i = 1; i <= rounds; i++) {
        assert_int_equal(ring_push(&ring, "\n", 1, i * VIV_LOG_RUN_NS, &sequence), 1);
        if (i % 64 == 0) viv_qsbr_quiet(member, 64);
    }
    join_readers();
    viv_log_ring_deinit(&ring);
    close_sched(member);
}

// ---- two rings ----

enum { MERGED_APPENDS = 12000, MERGED_CAP = 1 << 24 }; // as many entries as appends

static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {1};
static struct viv_log_ring both[2];

// Byte i of all appends is i % 251, whichever stream it came by.
static void run_merger(void *arg)
{
    struct reader *self = arg;
    struct viv_qsbr_member *member;
    struct viv_log_piece pieces[64];
    struct viv_log_merged merged;
    uint8_t out[64];
    const struct viv_log_source sources[2] = {
        {.ring = &both[0], .key = key, .stream = VIV_LOG_STDOUT},
        {.ring = &both[1], .key = key, .stream = VIV_LOG_STDERR}};
    const struct viv_log_pieces room = {pieces, VIV_COUNT_OF(pieces)};
    CHECK(viv_sched_enter(sched, &member) == VIV_OK);
    while (self->got < MERGED_APPENDS) {
        const struct viv_log_cursor *cursor = self->got > 0 ? &merged.next : NULL;
        CHECK(viv_log_read_merged(sources, cursor, out, sizeof out, &room, &merged) == VIV_OK);
        for (size_t i = 0; i < merged.len; i++)
            CHECK(out[i] == (self->got + i) % 251);
        self->got += merged.len;
        viv_qsbr_quiet(member, 64);
    }
    viv_sched_leave(member);
}

static void n78_merged_while_they_are_written(void **state)
{
    (void)state;
    struct viv_qsbr_member *member;
    uint64_t sequence = 0;
    open_sched(&member);
    ring_open(&both[0], MERGED_CAP);
    ring_open(&both[1], MERGED_CAP);
    start_readers(run_merger);
    for (uint32_t i = 0; i < MERGED_APPENDS; i++) {
        const uint8_t byte = (uint8_t)(i % 251);
        // Not in turn: now and then two of one stream.
        struct viv_log_ring *to = &both[(i ^ i / 3) % 2];
        assert_int_equal(ring_push(to, &byte, 1, 0, &sequence), 1);
        if (i % 64 == 0) viv_qsbr_quiet(member, 64);
    }
    join_readers();
    viv_log_ring_deinit(&both[0]);
    viv_log_ring_deinit(&both[1]);
    close_sched(member);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n68_three_cursors_and_a_drainer),
        cmocka_unit_test(entries_are_whole),
        cmocka_unit_test(n78_merged_while_they_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
