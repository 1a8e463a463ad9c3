// SPDX-License-Identifier: Apache-2.0
// One writer, three cursors and a drainer on one ring (N68, N75's shape), for ThreadSanitizer: each
// byte arrives once or is counted, and nothing of a later lap is ever believed.
// VIV_TEST_BYTES: what the writer writes (8 MiB).
#include "base/alloc.h"
#include "harness/check.h"
#include "os/thread.h"
#include "ring_kit.h"
#include "sched/drive.h"
#include <string.h>

enum { CURSORS = 3, CAP = 32768, READ = 20000 };

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
    static _Thread_local uint8_t out[READ]; // one a thread
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
}

static void write_all(void)
{
    static uint8_t data[7000];
    uint64_t end = 0, sequence = 0;
    while (end < total_bytes) {
        struct iovec space[2];
        const size_t want = (size_t)viv_min_u64(1 + sequence * 37 % sizeof data, total_bytes - end);
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

static enum viv_run run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void n68_three_cursors_and_a_drainer(void **state)
{
    (void)state;
    struct viv_qsbr_member *member;
    const struct viv_sched_config config = {.worker_count = 1, .run = run_nothing};
    total_bytes = check_env_u64("VIV_TEST_BYTES", 8u << 20);
    OK(viv_sched_new(&config, &sched));
    OK(viv_sched_start(sched));
    OK(viv_sched_enter(sched, &member));
    ring_open(&ring, CAP);
    for (uint32_t i = 0; i <= CURSORS; i++) {
        readers[i].is_drainer = i == CURSORS;
        OK(viv_thread_start("reader", 0, run_reader, &readers[i], &readers[i].thread));
    }
    write_all();
    atomic_store_explicit(&is_written, true, memory_order_release); // pairs with run_reader
    for (uint32_t i = 0; i <= CURSORS; i++)
        viv_thread_join(readers[i].thread);
    const struct viv_log_view view = ring_look(&ring);
    ring_check(&ring);
    assert_int_equal(view.end, total_bytes);
    assert_int_equal(view.drained, readers[CURSORS].got);
    assert_int_equal(view.front, view.end);
    assert_true(viv_log_ring_count_drained(&ring, 0, view.front) >= view.drained);
    for (uint32_t i = 0; i < CURSORS; i++) {
        fprintf(stderr, "cursor %u: %" PRIu64 " bytes, %" PRIu64 " missed\n", i, readers[i].got,
                readers[i].gap);
        // The drainer may have taken the end before a cursor came to it.
        assert_int_equal(readers[i].got + readers[i].gap, total_bytes);
    }
    viv_log_ring_deinit(&ring);
    viv_sched_leave(member);
    viv_sched_stop(sched);
    viv_sched_free(sched);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(n68_three_cursors_and_a_drainer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
