// SPDX-License-Identifier: Apache-2.0
// Threads on channels and futures, for ThreadSanitizer. Each thread has an instance of its own; who
// must wait yields until its operation is done, since there are no processes here.
//
// VIV_TEST_FRAMES: frames of case 72 (10^6; the contract names 10^8). VIV_TEST_ROUNDS: rounds of
// the mixed test.
#include "base/alloc.h"
#include "base/rng.h"
#include "cap/ring.h"
#include "chan_rig.h"
#include "harness/check.h"
#include "os/thread.h"
#include <string.h>

enum { THREADS = 17, LONG = 3 * 4096 + 77 };

static struct chan_rig rig;
static _Atomic uint64_t seed;

struct actor {
    void (*run)(struct actor *self);
    struct viv_htab *tab;
    struct viv_qsbr_member *member;
    struct viv_thread *thread;
    struct viv_rng rng;
    viv_handle chan, hdl;
    uint32_t index;
    uint64_t frames, sum, lagged;
};
static struct actor actors[THREADS];

static void run_actor(void *arg)
{
    struct actor *self = arg;
    CHECK(viv_sched_enter(rig.res.sched, &self->member) == VIV_OK);
    self->rng.state = atomic_fetch_add(&seed, 1);
    self->run(self);
    viv_sched_leave(self->member);
}

static uint32_t below(struct actor *self, uint32_t bound)
{
    return (uint32_t)viv_rng_below(&self->rng, bound);
}

// A worker's turn: nothing that was looked up is kept.
static void turn(struct actor *self)
{
    viv_qsbr_quiet(self->member, 64);
    viv_thread_yield();
}

static enum viv_err finish_op(struct actor *self, struct viv_op *op)
{
    while (viv_op_is_parked(op))
        turn(self);
    return viv_op_check(op, 0);
}

// As a process would: try, and when it does not fit, wait with the bytes handed over.
static enum viv_err write_frame(struct actor *self, const uint8_t *data, uint32_t len)
{
    enum viv_io io;
    const enum viv_err err = viv_chan_write(self->tab, self->hdl, data, len, &io);
    if (err != VIV_OK || io == VIV_IO_DONE) return err;
    struct viv_buf buf;
    struct viv_op op;
    viv_buf_init(&buf, VIV_TAG_CAP);
    CHECK(viv_buf_append(&buf, data, len) == VIV_OK);
    viv_op_init(&op, NULL);
    const enum viv_err began = viv_chan_begin(self->tab, self->hdl, &op, &buf);
    if (began != VIV_OK) return began;
    if (below(self, 16) == 0) return viv_chan_cancel(&op);
    return finish_op(self, &op);
}

// AGAIN: wait and try again. CLOSED: end of the stream.
static enum viv_err read_frame(struct actor *self, uint8_t *buf, uint32_t cap,
                               struct viv_frame *frame)
{
    enum viv_io io;
    const enum viv_err err = viv_chan_read(self->tab, self->hdl, buf, cap, frame, &io);
    if (err != VIV_OK || io == VIV_IO_DONE) return err;
    if (io == VIV_IO_END) return VIV_E_CLOSED;
    struct viv_op op;
    viv_op_init(&op, NULL);
    const enum viv_err began = viv_chan_begin(self->tab, self->hdl, &op, NULL);
    if (began != VIV_OK) return began;
    const enum viv_err waited = below(self, 16) == 0 ? viv_chan_cancel(&op) : finish_op(self, &op);
    return waited == VIV_OK || waited == VIV_E_CANCELLED ? VIV_E_AGAIN : waited;
}

static void open_all(void)
{
    chan_rig_open(&rig);
    memset(actors, 0, sizeof(actors));
    for (uint32_t i = 0; i < THREADS; i++) {
        actors[i].index = i;
        OK(viv_res_instance(rig.res.reg, &actors[i].tab));
    }
}

static void close_all(void)
{
    for (uint32_t i = 0; i < THREADS; i++)
        viv_res_instance_drop(actors[i].tab);
    chan_rig_close(&rig);
}

static void give_channel(struct actor *to, viv_handle chan)
{
    viv_rid rid;
    OK(viv_res_entry(rig.t, chan, &rid));
    OK(viv_res_insert_id(to->tab, rid, viv_res_kind(rig.res.reg, VIV_KIND_CHANNEL)->rights_all,
                         &to->chan));
}

static void start(struct actor *actor, void (*run)(struct actor *self))
{
    actor->run = run;
    OK(viv_thread_start("channel", 0, run_actor, actor, &actor->thread));
}

static void join(uint32_t count)
{
    viv_qsbr_offline(viv_sched_member());
    for (uint32_t i = 0; i < count; i++)
        viv_thread_join(actors[i].thread);
    viv_qsbr_online(viv_sched_member());
}

// ---- case 72 ----

enum { PATTERN_READERS = 2 };
static _Atomic uint32_t readers_ready;

static void fill_pattern(uint8_t *data, uint32_t len, uint64_t number)
{
    memset(data, (int)(number * 31 % 251), len);
}

static void write_patterns(struct actor *self)
{
    uint8_t data[LONG];
    CHECK(viv_chan_writer(self->tab, self->chan, VIV_CHAN_STRONG, &self->hdl) == VIV_OK);
    const uint64_t count = check_env_u64("VIV_TEST_FRAMES", 1000000);
    while (atomic_load(&readers_ready) < PATTERN_READERS)
        turn(self);
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t len = 1 + below(self, below(self, 64) == 0 ? LONG - 1 : 128);
        fill_pattern(data, len, i);
        CHECK(write_frame(self, data, len) == VIV_OK); // without a strong reader it always fits
        if (i % 512 == 0) turn(self); // so that readers are overtaken in the middle, on any machine
    }
    CHECK(viv_res_close(self->tab, self->hdl) == VIV_OK);
}

static void read_patterns(struct actor *self)
{
    uint8_t data[LONG], want[LONG];
    struct viv_frame frame;
    atomic_fetch_add(&readers_ready, 1);
    for (;;) {
        const enum viv_err err = read_frame(self, data, sizeof(data), &frame);
        viv_qsbr_quiet(self->member, 64);
        if (err == VIV_E_CLOSED) break;
        if (err == VIV_E_LAGGED) {
            self->lagged += frame.missed_frames;
        } else if (err == VIV_OK) {
            CHECK(frame.seq == self->frames + self->lagged);
            fill_pattern(want, frame.len_bytes, frame.seq);
            CHECK(memcmp(data, want, frame.len_bytes) == 0); // not torn
            self->frames++;
        } else {
            CHECK(err == VIV_E_AGAIN);
        }
    }
}

static void case_72_no_frame_is_torn(void **state)
{
    (void)state;
    open_all();
    atomic_store(&readers_ready, 0);
    atomic_store(&seed, check_seed());
    const viv_handle chan = chan_make(&rig, 40000, VIV_CHAN_PARK, 0);
    for (uint32_t i = 0; i <= PATTERN_READERS; i++) {
        give_channel(&actors[i], chan);
        if (i != 0)
            OK(viv_chan_reader(actors[i].tab, actors[i].chan, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT,
                               &actors[i].hdl));
    }
    for (uint32_t i = 0; i <= PATTERN_READERS; i++)
        start(&actors[i], i == 0 ? write_patterns : read_patterns);
    join(PATTERN_READERS + 1);
    for (uint32_t i = 1; i <= PATTERN_READERS; i++) {
        assert_int_equal(actors[i].frames + actors[i].lagged,
                         check_env_u64("VIV_TEST_FRAMES", 1000000));
        assert_true(actors[i].frames > check_env_u64("VIV_TEST_FRAMES", 1000000) / 1000);
        assert_true(actors[i].lagged > 0);
        print_message("weak reader: %llu frames, %llu missed\n",
                      (unsigned long long)actors[i].frames, (unsigned long long)actors[i].lagged);
    }
    close_all();
}

// ---- case 79 ----

enum { SMALL_FRAMES = 20000 };

static void write_small(struct actor *self)
{
    CHECK(viv_chan_writer(self->tab, self->chan, VIV_CHAN_STRONG, &self->hdl) == VIV_OK);
    for (uint32_t i = 0; i < SMALL_FRAMES; i++) {
        const uint8_t data[3] = {(uint8_t)self->index, (uint8_t)i, (uint8_t)(i >> 8)};
        enum viv_err err;
        do {
            err = write_frame(self, data, sizeof(data));
        } while (err == VIV_E_CANCELLED);
        CHECK(err == VIV_OK);
    }
}

static void read_small(struct actor *self)
{
    uint32_t next[2] = {0, 0};
    while (self->frames < 2 * SMALL_FRAMES) {
        uint8_t data[4];
        struct viv_frame frame;
        const enum viv_err err = read_frame(self, data, sizeof(data), &frame);
        viv_qsbr_quiet(self->member, 64);
        if (err == VIV_E_AGAIN) continue;
        CHECK(err == VIV_OK && frame.len_bytes == 3 && data[0] < 2);
        CHECK((uint32_t)(data[1] | data[2] << 8) == next[data[0]]++);
        self->frames++;
    }
}

static void case_79_two_writers_through_four_bytes(void **state)
{
    (void)state;
    open_all();
    atomic_store(&seed, check_seed());
    const viv_handle chan = chan_make(&rig, 4, VIV_CHAN_PARK, 0);
    const viv_handle weak = chan_reader(&rig, chan, VIV_CHAN_WEAK);
    for (uint32_t i = 0; i < 3; i++)
        give_channel(&actors[i], chan);
    OK(viv_chan_reader(actors[2].tab, actors[2].chan, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT,
                       &actors[2].hdl));
    for (uint32_t i = 0; i < 3; i++)
        start(&actors[i], i == 2 ? read_small : write_small);
    join(3);
    assert_int_equal(actors[2].frames, 2 * SMALL_FRAMES);
    struct viv_frame frame;
    CODE(chan_read_code(&rig, weak, &frame), LAGGED);
    assert_true(frame.missed_frames >= 2 * SMALL_FRAMES - 1);
    close_all();
}

// ---- writers and readers, closing and draining at random ----

enum { WRITERS = 8, READERS = 8, STRONG_READERS = 4, ROUNDS = 12, FRAMES_EACH = 2000 };
static _Atomic uint64_t stored_sum;
static _Atomic uint32_t stored_count;
static uint32_t drain_at; // frames after which a writer drains or terminates; 0: never
static bool is_abort;

static void write_mixed(struct actor *self)
{
    uint8_t data[5000];
    enum viv_err err = viv_chan_writer(self->tab, self->chan, below(self, 2), &self->hdl);
    for (uint32_t i = 0; i < FRAMES_EACH && err == VIV_OK; i++) {
        const uint32_t len = 4 + below(self, below(self, 32) == 0 ? 4990 : 60);
        const uint32_t value = below(self, 1u << 30);
        memset(data, (int)(value % 251), len);
        memcpy(data, &value, sizeof(value));
        err = write_frame(self, data, len);
        if (err == VIV_OK) {
            atomic_fetch_add(&stored_sum, value);
            const uint32_t count = atomic_fetch_add(&stored_count, 1) + 1;
            if (count == drain_at && is_abort)
                CHECK(viv_chan_terminate(self->tab, self->chan) == VIV_OK);
            else if (count == drain_at)
                CHECK(viv_chan_drain(self->tab, self->chan) == VIV_OK);
        } else if (err == VIV_E_CANCELLED) {
            err = VIV_OK;
        }
        if (err == VIV_OK && below(self, 100) == 0) { // closes, and comes again
            CHECK(viv_res_close(self->tab, self->hdl) == VIV_OK);
            err = viv_chan_writer(self->tab, self->chan, below(self, 2), &self->hdl);
        }
        if (i % 16 == 0) viv_qsbr_quiet(self->member, 64);
    }
    CHECK(err == VIV_OK || err == VIV_E_CLOSED || err == VIV_E_ABORTED);
}

static void read_mixed(struct actor *self)
{
    uint8_t data[5000];
    struct viv_frame frame;
    const bool is_strong = self->index < WRITERS + STRONG_READERS;
    for (;;) {
        const enum viv_err err = read_frame(self, data, sizeof(data), &frame);
        viv_qsbr_quiet(self->member, 64);
        if (err == VIV_E_CLOSED || err == VIV_E_ABORTED) break;
        CHECK(err == VIV_OK || err == VIV_E_AGAIN || (err == VIV_E_LAGGED && !is_strong));
        if (err == VIV_OK) {
            uint32_t value;
            memcpy(&value, data, sizeof(value));
            for (uint32_t i = sizeof(value); i < frame.len_bytes; i++)
                CHECK(data[i] == value % 251);
            self->sum += value;
            self->frames++;
        }
        if (is_strong || below(self, 200) != 0) continue;
        CHECK(viv_res_close(self->tab, self->hdl) == VIV_OK);
        const enum viv_err again =
            viv_chan_reader(self->tab, self->chan, below(self, 2), below(self, 3), &self->hdl);
        if (again == VIV_E_ABORTED) break;
        CHECK(again == VIV_OK);
    }
    // A strong reader that stays would hold the writers up.
    if (!is_strong) VIV_IGNORE(viv_res_close(self->tab, self->hdl), "it may be closed");
}

// The stream is kept open by a strong writer of this thread, which closes it at the end.
static void run_mixed(uint32_t round)
{
    open_all();
    atomic_store(&stored_sum, 0);
    atomic_store(&stored_count, 0);
    drain_at = round % 3 == 0 ? 0 : 1000 + round * 50;
    is_abort = round % 3 == 2;
    const viv_handle chan = chan_make(&rig, 8192, VIV_CHAN_PARK, 0);
    const viv_handle keeper = chan_writer(&rig, chan, VIV_CHAN_STRONG);
    for (uint32_t i = 0; i < WRITERS + READERS; i++) {
        give_channel(&actors[i], chan);
        if (i < WRITERS) continue;
        OK(viv_chan_reader(actors[i].tab, actors[i].chan,
                           i < WRITERS + STRONG_READERS ? VIV_CHAN_STRONG : VIV_CHAN_WEAK,
                           VIV_CHAN_DEFAULT, &actors[i].hdl));
    }
    for (uint32_t i = 0; i < WRITERS + READERS; i++)
        start(&actors[i], i < WRITERS ? write_mixed : read_mixed);
    join(WRITERS);
    for (uint32_t i = 0; i < WRITERS; i++)
        viv_res_instance_drop(actors[i].tab);
    OK(viv_res_close(rig.t, keeper));
    viv_qsbr_offline(viv_sched_member());
    for (uint32_t i = WRITERS; i < WRITERS + READERS; i++)
        viv_thread_join(actors[i].thread);
    viv_qsbr_online(viv_sched_member());
    for (uint32_t i = WRITERS; i < WRITERS + STRONG_READERS; i++) {
        if (is_abort) continue;
        assert_int_equal(actors[i].sum, atomic_load(&stored_sum));
        assert_int_equal(actors[i].frames, atomic_load(&stored_count));
    }
    assert_true(atomic_load(&stored_count) > 0);
    const struct viv_chan_stat stat = chan_stat(&rig, chan);
    if (!is_abort) assert_int_equal(stat.frames_in, atomic_load(&stored_count)); // I20
    assert_int_equal(stat.parked_reads + stat.parked_writes, 0);
    close_all();
}

static void writers_and_readers_at_random(void **state)
{
    (void)state;
    atomic_store(&seed, check_seed());
    const uint32_t rounds = (uint32_t)check_env_u64("VIV_TEST_ROUNDS", ROUNDS);
    for (uint32_t round = 0; round < rounds; round++)
        run_mixed(round);
}

// ---- case 86 ----

enum { RESOLVERS = 16, FUTURES = 4000, RING = 1024, RING_SLOTS = 8 };
static _Atomic(struct viv_fut *) offered[RESOLVERS];

static void resolve_offers(struct actor *self)
{
    for (uint32_t done = 0; done < FUTURES / RESOLVERS;) {
        struct viv_fut *fut = atomic_exchange(&offered[self->index], NULL);
        if (fut == NULL) {
            turn(self);
            continue;
        }
        viv_fut_resolve(fut, VIV_OK, NULL);
        done++;
    }
}

static uint64_t guest_words[512];

static _Atomic uint32_t *guest_word(uint32_t at)
{
    return (_Atomic uint32_t *)(void *)((uint8_t *)guest_words + at);
}

static void case_86_resolves_from_16_threads(void **state)
{
    (void)state;
    static viv_handle futs[FUTURES];
    static uint8_t seen[FUTURES];
    const struct viv_guest_mem mem = {(uint8_t *)guest_words, sizeof(guest_words)};
    open_all();
    atomic_store(&seed, check_seed());
    memset(seen, 0, sizeof(seen));
    OK(viv_futs_open(rig.t, NULL));
    OK(viv_ring_register(rig.t, mem, RING, RING_SLOTS, 0));
    for (uint32_t i = 0; i < RESOLVERS; i++)
        start(&actors[i], resolve_offers);
    uint32_t made = 0, got = 0;
    struct viv_qsbr_member *member = viv_sched_member();
    const uint64_t end_ns = check_now_ns() + check_limit_ns(50);
    while (got < FUTURES) {
        CHECK(check_now_ns() < end_ns); // no stall
        const uint32_t slot = made % RESOLVERS;
        if (made < FUTURES && atomic_load(&offered[slot]) == NULL) {
            struct viv_fut *fut;
            OK(viv_fut_new(rig.t, NULL, NULL, &futs[made], &fut));
            // Sometimes it is resolved before the task is registered.
            const bool is_early = made % 7 == 0;
            if (is_early) atomic_store(&offered[slot], fut);
            const struct viv_fut_result result = viv_fut_poll(rig.t, mem, futs[made], made, 0, 0);
            if (result.status == VIV_FUT_READY) {
                seen[made]++;
                got++;
            }
            if (!is_early) atomic_store(&offered[slot], fut);
            made++;
        }
        (void)viv_ring_flush(rig.t, mem);
        atomic_store(guest_word(RING + VIV_RING_FLAG_AT), 0);
        uint32_t head = atomic_load(guest_word(RING + VIV_RING_CURSOR_AT));
        while (head != atomic_load(guest_word(RING + VIV_RING_TAIL_AT))) {
            const uint32_t id =
                atomic_load(guest_word(RING + VIV_RING_HEAD_BYTES + 4 * (head % RING_SLOTS)));
            atomic_store(guest_word(RING + VIV_RING_CURSOR_AT), ++head);
            assert_true(id < made);
            assert_int_equal(seen[id]++, 0); // once
            assert_int_equal(viv_fut_poll(rig.t, mem, futs[id], id, 0, 0).status, VIV_FUT_READY);
            got++;
        }
        viv_qsbr_quiet(member, 64);
    }
    join(RESOLVERS);
    assert_false(viv_ring_flush(rig.t, mem));
    close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_72_no_frame_is_torn),
        cmocka_unit_test(case_79_two_writers_through_four_bytes),
        cmocka_unit_test(writers_and_readers_at_random),
        cmocka_unit_test(case_86_resolves_from_16_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
