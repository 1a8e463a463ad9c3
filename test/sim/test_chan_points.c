// SPDX-License-Identifier: Apache-2.0
// Wake, cancel, end and revocation at every yield point of 7.5 and 8.1, exhaustively: each
// operation is run once for every choice of what others do, and at which of its points
// (VIV_SIM_POINT). What others do has points of its own, at which the next one of them acts.
// Afterwards nobody waits whose condition holds (I21), no handle that was revoked waits (I14), and
// a task whose future has become ready has been told (I22).
//
// VIV_SIM_DEPTH: how many others act in one run (2; with 3, the most, it takes a quarter of a
// minute).
#include "base/alloc.h"
#include "base/sim.h"
#include "cap/chan.h"
#include "cap/ring.h"
#include "harness/check.h"
#include "sched/drive.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { DEPTH_MAX = 3, POINTS_MAX = 256, SMALL = 4, LONG = 5000, RING = 256, OUT = 128 };

struct other {
    struct viv_htab *tab;
    viv_handle chan, reader, writer; // weak ones
};

static struct {
    struct viv_sched *sched;
    struct viv_reg *reg;
    struct viv_htab *tab; // of the process whose operation it is; worker 0
    struct other others[DEPTH_MAX];
    // One run:
    viv_handle chan, reader, writer;
    viv_rid reader_rid, chan_rid;
    struct viv_op first, second; // first in the queue, behind it
    viv_handle fut;
    bool was_ready; // the operation itself took the future's result
    uint64_t words[64];
    uint8_t bytes[LONG];
    // Who acts when.
    uint32_t depth, acted, points;
    uint32_t at[DEPTH_MAX]; // ascending
    uint32_t what[DEPTH_MAX];
} t;

static uint64_t sim_now(void *arg)
{
    (void)arg;
    return VIV_NS_PER_SEC;
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static struct viv_guest_mem mem(void)
{
    return (struct viv_guest_mem){(uint8_t *)t.words, sizeof(t.words)};
}

static uint32_t *word_of(uint32_t at)
{
    return (uint32_t *)(void *)((uint8_t *)t.words + at);
}

// ---- what others do ----

static void other_writes(struct other *other)
{
    enum viv_io io;
    VIV_IGNORE(viv_chan_write(other->tab, other->writer, "zz", 2, &io), "it may be over");
}

static void other_reads(struct other *other)
{
    enum viv_io io;
    struct viv_frame frame;
    static uint8_t bytes[DEPTH_MAX][LONG];
    VIV_IGNORE(viv_chan_read(other->tab, other->reader, bytes[other - t.others], LONG, &frame, &io),
               "it may be over");
}

static void revoke_one(viv_handle hdl)
{
    const uint32_t index = hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
    struct viv_htab_entry *entry = viv_htab_entry_at(&t.tab->handles, index);
    atomic_fetch_or(&entry->word, VIV_ENTRY_REVOKED); // as a revoker does
    VIV_SIM_POINT();
    viv_ops_fail(t.tab, hdl, VIV_E_REVOKED);
}

static void other_revokes(struct other *other)
{
    (void)other;
    revoke_one(t.reader);
    revoke_one(t.writer);
}

static void other_drains(struct other *other)
{
    VIV_IGNORE(viv_chan_drain(other->tab, other->chan), "it may be over");
}

static void other_terminates(struct other *other)
{
    VIV_IGNORE(viv_chan_terminate(other->tab, other->chan), "it may be over");
}

static void other_ends_reader(struct other *other)
{
    (void)other;
    VIV_IGNORE(viv_res_discard(t.reg, t.reader_rid), "it may be over");
}

static void other_ends_channel(struct other *other)
{
    (void)other;
    VIV_IGNORE(viv_res_discard(t.reg, t.chan_rid), "it may be over");
}

static void other_comes_and_goes(struct other *other)
{
    viv_handle hdl;
    if (viv_chan_reader(other->tab, other->chan, VIV_CHAN_STRONG, VIV_CHAN_NEWEST, &hdl) == VIV_OK)
        CHECK(viv_res_close(other->tab, hdl) == VIV_OK);
    if (viv_chan_writer(other->tab, other->chan, VIV_CHAN_STRONG, &hdl) == VIV_OK)
        CHECK(viv_res_close(other->tab, hdl) == VIV_OK);
}

static void (*const disturbances[])(struct other *other) = {
    other_writes,     other_reads,       other_revokes,      other_drains,
    other_terminates, other_ends_reader, other_ends_channel, other_comes_and_goes};

static void on_point(void)
{
    const uint32_t point = t.points++;
    if (t.acted == t.depth || t.at[t.acted] != point) return;
    const uint32_t i = t.acted++;
    const uint32_t worker = viv_worker_index(viv_worker_current());
    viv_drive_become(t.sched, i + 1);
    disturbances[t.what[i]](&t.others[i]);
    viv_drive_become(t.sched, worker);
}

// ---- operations ----

static void park(struct viv_op *op, viv_handle hdl, const char *text)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    if (text != NULL) CHECK(viv_buf_append(&buf, text, strlen(text)) == VIV_OK);
    VIV_IGNORE(viv_chan_begin(t.tab, hdl, op, &buf), "somebody may have ended it");
}

static void fill(const char *text)
{
    enum viv_io io;
    CHECK(viv_chan_write(t.tab, t.writer, text, strlen(text), &io) == VIV_OK);
    CHECK(io == VIV_IO_DONE);
}

static void nothing(void)
{
}

static void fill_up(void)
{
    fill("1234");
}

static void park_two(void)
{
    fill("123");
    park(&t.first, t.writer, "4567");
    park(&t.second, t.writer, "x");
    CHECK(viv_op_is_parked(&t.first) && viv_op_is_parked(&t.second));
}

static void start_future(void)
{
    t.words[0] = t.reader.w;
    const struct viv_fut_result result = viv_fut_create(t.tab, mem(), VIV_GUESTOP_CHAN_READ, 0, 4);
    CHECK(result.status == VIV_FUT_READY);
    t.fut.w = result.value;
}

static void poll_future(void)
{
    const struct viv_fut_result result = viv_fut_poll(t.tab, mem(), t.fut, 5, OUT, 64);
    if (result.status == VIV_FUT_PENDING) return;
    t.fut.w = 0;
    t.was_ready = true;
}

static void start_and_poll(void)
{
    start_future();
    poll_future();
    CHECK(t.fut.w != 0);
}

static void op_read(void)
{
    park(&t.first, t.reader, NULL);
}

static void op_write(void)
{
    park(&t.first, t.writer, "ab");
}

static void op_cancel(void)
{
    VIV_IGNORE(viv_chan_cancel(&t.first), "either way");
}

static void op_free_space(void)
{
    struct viv_frame frame;
    enum viv_io io;
    VIV_IGNORE(viv_chan_read(t.tab, t.reader, t.bytes, LONG, &frame, &io), "it may be over");
}

static void op_wait(void)
{
    (void)viv_fut_wait(t.tab, mem(), 0, VIV_FOREVER_NS);
}

static void op_long_write(void)
{
    enum viv_io io;
    VIV_IGNORE(viv_chan_write(t.tab, t.writer, t.bytes, LONG, &io), "it may be over");
    park(&t.first, t.reader, NULL);
}

static void op_close_reader(void)
{
    VIV_IGNORE(viv_res_close(t.tab, t.reader), "it is ours");
    t.reader.w = 0;
}

static void op_join(void)
{
    viv_handle hdl;
    if (viv_chan_reader(t.tab, t.chan, VIV_CHAN_STRONG, VIV_CHAN_NEWEST, &hdl) == VIV_OK)
        CHECK(viv_res_close(t.tab, hdl) == VIV_OK);
}

static const struct scene {
    const char *name;
    uint32_t capacity;
    void (*prepare)(void);
    void (*act)(void);
} scenes[] = {
    {"a read begins to wait", SMALL, nothing, op_read},
    {"a write begins to wait", SMALL, fill_up, op_write},
    {"the first of two writes is cancelled", SMALL, park_two, op_cancel},
    {"a read makes room for two writes", SMALL, park_two, op_free_space},
    {"a reader closes, two writes wait", SMALL, park_two, op_close_reader},
    {"a reader comes, two writes wait", SMALL, park_two, op_join},
    {"a task is registered", SMALL, start_future, poll_future},
    {"a guest begins to wait", SMALL, start_and_poll, op_wait},
    {"a long frame is written", 2 * LONG, nothing, op_long_write},
};

// ---- one run ----

static void open_run(const struct scene *scene)
{
    const struct viv_chan_opts opts = {.capacity_bytes = scene->capacity};
    viv_drive_become(t.sched, 0);
    CHECK(viv_chan_create(t.tab, &opts, &t.chan) == VIV_OK);
    CHECK(viv_res_entry(t.tab, t.chan, &t.chan_rid) == VIV_OK);
    CHECK(viv_chan_reader(t.tab, t.chan, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &t.reader) == VIV_OK);
    CHECK(viv_chan_writer(t.tab, t.chan, VIV_CHAN_STRONG, &t.writer) == VIV_OK);
    CHECK(viv_res_entry(t.tab, t.reader, &t.reader_rid) == VIV_OK);
    for (uint32_t i = 0; i < t.depth; i++) {
        struct other *other = &t.others[i];
        CHECK(viv_res_insert_id(other->tab, t.chan_rid,
                                viv_res_kind(t.reg, VIV_KIND_CHANNEL)->rights_all,
                                &other->chan) == VIV_OK);
        CHECK(viv_chan_reader(other->tab, other->chan, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT,
                              &other->reader) == VIV_OK);
        CHECK(viv_chan_writer(other->tab, other->chan, VIV_CHAN_WEAK, &other->writer) == VIV_OK);
    }
    viv_op_init(&t.first, NULL);
    viv_op_init(&t.second, NULL);
    t.fut.w = 0;
    t.was_ready = false;
    memset(t.words, 0, sizeof(t.words));
    CHECK(viv_ring_register(t.tab, mem(), 0, 0, 0) == VIV_OK);
    CHECK(viv_ring_register(t.tab, mem(), RING, 8, 0) == VIV_OK);
    scene->prepare();
}

static void check_read(const struct viv_op *op)
{
    struct viv_frame frame;
    enum viv_io io = VIV_IO_DROPPED;
    if (!viv_op_is_parked(op)) return;
    CHECK(viv_chan_peek(t.tab, t.reader, &frame, &io) == VIV_OK); // not revoked, not ended
    CHECK(io == VIV_IO_WAIT);
}

static void check_write(const struct viv_op *op)
{
    struct viv_chan_stat stat;
    if (!viv_op_is_parked(op)) return;
    CHECK(viv_chan_stat(t.tab, t.writer, &stat) == VIV_OK);
    CHECK(!stat.is_draining && !stat.is_terminated);
    CHECK(stat.owed_bytes + op->buf.len_bytes > stat.capacity_bytes);
}

static void check_future(void)
{
    if (t.fut.w == 0) return;
    (void)viv_ring_flush(t.tab, mem());
    const bool is_told = *word_of(RING + VIV_RING_CURSOR_AT) != *word_of(RING + VIV_RING_TAIL_AT);
    const struct viv_fut_result result = viv_fut_poll(t.tab, mem(), t.fut, 5, OUT, 64);
    if (result.status == VIV_FUT_PENDING) return;
    t.fut.w = 0;
    CHECK(is_told);
    CHECK(*word_of(RING + VIV_RING_HEAD_BYTES) == 5);
}

static void check_run(void)
{
    if (t.first.class != NULL && t.first.what == 0 && t.first.hdl.w == t.reader.w)
        check_read(&t.first);
    else if (viv_op_is_parked(&t.first))
        check_write(&t.first);
    else
        check_write(&t.second); // nobody is before it
    check_future();
}

static void close_run(void)
{
    VIV_IGNORE(viv_chan_cancel(&t.first), "either way");
    VIV_IGNORE(viv_chan_cancel(&t.second), "either way");
    if (t.fut.w != 0) (void)viv_fut_drop(t.tab, mem(), t.fut, OUT, 64);
    if (t.reader.w != 0) CHECK(viv_res_close(t.tab, t.reader) == VIV_OK);
    CHECK(viv_res_close(t.tab, t.writer) == VIV_OK);
    CHECK(viv_res_close(t.tab, t.chan) == VIV_OK);
    for (uint32_t i = 0; i < t.depth; i++) {
        CHECK(viv_res_close(t.others[i].tab, t.others[i].reader) == VIV_OK);
        CHECK(viv_res_close(t.others[i].tab, t.others[i].writer) == VIV_OK);
        CHECK(viv_res_close(t.others[i].tab, t.others[i].chan) == VIV_OK);
    }
}

static void pass_grace_periods(uint32_t rounds)
{
    for (uint32_t i = 0; i < rounds * (DEPTH_MAX + 1); i++) {
        viv_drive_become(t.sched, i % (DEPTH_MAX + 1));
        viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    }
    viv_drive_become(t.sched, 0);
}

// The number of points that the run has passed.
static uint32_t run_once(const struct scene *scene)
{
    open_run(scene);
    t.acted = t.points = 0;
    viv_sim_point_hook = on_point;
    scene->act();
    viv_sim_point_hook = NULL;
    const uint32_t points = t.points;
    check_run();
    close_run();
    pass_grace_periods(1);
    return points;
}

static uint64_t runs;
static const struct scene *running;

// All choices for the others from `level` on, each at its point or a later one.
static void run_level(const struct scene *scene, uint32_t level, uint32_t from)
{
    const uint32_t depth = t.depth;
    for (uint32_t what = 0; what < VIV_COUNT_OF(disturbances); what++) {
        t.what[level] = what;
        for (uint32_t at = from; at < POINTS_MAX; at++) {
            t.at[level] = at;
            t.depth = level + 1;
            const uint32_t points = run_once(scene);
            runs++;
            const bool has_acted = t.acted == level + 1;
            t.depth = depth;
            if (!has_acted) break; // the run has no more points
            CHECK(points < POINTS_MAX);
            if (level + 1 < depth) run_level(scene, level + 1, at + 1);
        }
    }
}

static void print_run(void)
{
    fprintf(stderr, "%s:", running->name);
    for (uint32_t i = 0; i < t.depth; i++)
        fprintf(stderr, " %u at %u", t.what[i], t.at[i]);
    fprintf(stderr, "\n");
}

static void on_abort(int number)
{
    (void)number;
    print_run();
}

static void open_rig(void)
{
    const struct viv_sched_config config = {.worker_count = DEPTH_MAX + 1,
                                            .env = {.now_ns = sim_now, .simulated = true},
                                            .run = run_nothing};
    CHECK(viv_sched_new(&config, &t.sched) == VIV_OK);
    CHECK(viv_sched_start(t.sched) == VIV_OK);
    viv_drive_become(t.sched, 0);
    struct viv_res_config res = {.sched = t.sched};
    viv_account_limits_none(&res.limits);
    CHECK(viv_res_new(&res, &t.reg) == VIV_OK);
    CHECK(viv_chan_bind(t.reg) == VIV_OK);
    CHECK(viv_fut_bind(t.reg) == VIV_OK);
    CHECK(viv_res_instance(t.reg, &t.tab) == VIV_OK);
    CHECK(viv_futs_open(t.tab, NULL) == VIV_OK);
    for (uint32_t i = 0; i < DEPTH_MAX; i++)
        CHECK(viv_res_instance(t.reg, &t.others[i].tab) == VIV_OK);
}

static void close_rig(void)
{
    viv_res_instance_drop(t.tab);
    for (uint32_t i = 0; i < DEPTH_MAX; i++)
        viv_res_instance_drop(t.others[i].tab);
    pass_grace_periods(1000);
    for (uint32_t i = 1; i <= DEPTH_MAX; i++) {
        viv_drive_become(t.sched, i);
        CHECK(viv_qsbr_pending(viv_sched_member()) == 0);
        viv_qsbr_offline(viv_sched_member());
    }
    viv_drive_become(t.sched, 0);
    viv_res_free(t.reg); // asserts that nothing is charged
    for (uint32_t i = 1; i <= DEPTH_MAX; i++) {
        viv_drive_become(t.sched, i);
        viv_qsbr_online(viv_sched_member());
    }
    viv_sched_stop(t.sched);
    viv_sched_free(t.sched);
    CHECK(viv_alloc_live_bytes(VIV_TAG_CAP) == 0);
}

static void every_point(void **state)
{
    (void)state;
    const uint32_t depth = (uint32_t)check_env_u64("VIV_SIM_DEPTH", 2);
    CHECK(depth >= 1 && depth <= DEPTH_MAX);
    open_rig();
    for (uint32_t i = 0; i < VIV_COUNT_OF(scenes); i++) {
        const uint64_t before = runs;
        running = &scenes[i];
        t.depth = depth;
        run_level(running, 0, 0);
        print_message("%s: %llu runs\n", running->name, (unsigned long long)(runs - before));
        CHECK(runs - before > VIV_COUNT_OF(disturbances)); // it has points
    }
    close_rig();
}

int main(void)
{
    signal(SIGABRT, on_abort); // a failed check aborts
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_point)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
