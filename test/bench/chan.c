// SPDX-License-Identifier: Apache-2.0
// Benchmarks of channels between two host processes: frames a second on one worker and on two, and
// round trips over two channels. Futures, host side.
#include "cap/chan.h"
#include "base/alloc.h"
#include "cap/ring.h"
#include "os/clock.h"
#include "proc/host.h"
#include "res.h"

enum { CAPACITY = 65536, FRAME = 64, SLICE_FRAMES = 1000 };

struct rig {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_qsbr_member *member;
    struct viv_reg *reg;
    _Atomic uint32_t done;
};

// A process with its handles. One side of a benchmark.
struct side {
    struct rig *rig;
    struct viv_htab *tab;
    viv_handle reader, writer;
    struct viv_op op;
    bool is_parked;
    uint64_t left;
    uint64_t ended_ns;
};

static void open_rig(struct rig *rig, uint64_t workers)
{
    const struct viv_kernel_config config = {.worker_count = (uint32_t)workers};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    BENCH_TRY(viv_kernel_new(&config, &rig->kernel));
    BENCH_TRY(viv_env_new(rig->kernel, 1, &limits, &rig->env));
    BENCH_TRY(viv_kernel_start(rig->kernel));
    BENCH_TRY(viv_sched_enter(viv_kernel_sched(rig->kernel), &rig->member));
    struct viv_res_config res = {.sched = viv_kernel_sched(rig->kernel)};
    viv_account_limits_none(&res.limits);
    BENCH_TRY(viv_res_new(&res, &rig->reg));
    BENCH_TRY(viv_chan_bind(rig->reg));
    atomic_init(&rig->done, 0);
}

static void close_rig(struct rig *rig)
{
    BENCH_TRY(viv_kernel_stop(rig->kernel, 10 * VIV_NS_PER_SEC));
    viv_res_free(rig->reg);
    viv_sched_leave(rig->member);
    viv_kernel_free(rig->kernel);
}

static void open_side(struct rig *rig, struct side *side, uint64_t count)
{
    *side = (struct side){.rig = rig, .left = count};
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS};
    struct viv_account *account;
    viv_rid proc;
    BENCH_TRY(viv_res_add(rig->reg, &spec, NULL, &proc));
    BENCH_TRY(viv_res_open_account(rig->reg, proc, NULL, &account));
    BENCH_TRY(viv_res_instance(rig->reg, &side->tab));
    BENCH_TRY(viv_res_set_process_id(side->tab, proc));
    viv_op_init(&side->op, NULL);
}

// A channel of `from`'s, with its writer there and its reader at `to`.
static void connect(struct side *from, struct side *to)
{
    const struct viv_chan_opts opts = {.capacity_bytes = CAPACITY};
    viv_handle chan, there;
    viv_rid rid;
    BENCH_TRY(viv_chan_create(from->tab, &opts, &chan));
    BENCH_TRY(viv_res_entry(from->tab, chan, &rid));
    BENCH_TRY(viv_res_insert_id(to->tab, rid, VIV_RIGHTS_COMMON | VIV_RIGHT_CHANNEL_STRONG_READER,
                                &there));
    BENCH_TRY(viv_chan_writer(from->tab, chan, VIV_CHAN_STRONG, &from->writer));
    BENCH_TRY(viv_chan_reader(to->tab, there, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &to->reader));
}

// True while the operation is not done.
static bool is_waiting(struct viv_proc *self, struct side *side)
{
    if (!side->is_parked) {
        side->op.proc = self;
        return false;
    }
    const enum viv_err err = viv_op_check(&side->op, 0);
    if (err == VIV_E_AGAIN) return true;
    BENCH_TRY(err);
    side->is_parked = false;
    return false;
}

static void park(struct side *side, viv_handle hdl, const void *data, size_t len)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    if (len != 0) BENCH_TRY(viv_buf_append(&buf, data, len));
    BENCH_TRY(viv_chan_begin(side->tab, hdl, &side->op, &buf));
    side->is_parked = true;
}

static enum viv_step end_side(struct side *side)
{
    side->ended_ns = viv_os_now_ns();
    atomic_fetch_add(&side->rig->done, 1);
    return VIV_STEP_DONE;
}

static enum viv_step write_frames(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct side *side = arg;
    (void)slice;
    uint64_t frame[FRAME / 8] = {0};
    if (is_waiting(self, side)) return VIV_STEP_WAIT;
    for (uint32_t i = 0; i < SLICE_FRAMES; i++) {
        if (side->left == 0) return end_side(side);
        enum viv_io io;
        frame[0] = side->left--;
        BENCH_TRY(viv_chan_write(side->tab, side->writer, frame, FRAME, &io));
        if (io != VIV_IO_WAIT) continue;
        park(side, side->writer, frame, FRAME);
        if (is_waiting(self, side)) return VIV_STEP_WAIT;
    }
    return VIV_STEP_YIELD;
}

static enum viv_step read_frames(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct side *side = arg;
    (void)slice;
    if (is_waiting(self, side)) return VIV_STEP_WAIT;
    for (uint32_t i = 0; i < SLICE_FRAMES; i++) {
        if (side->left == 0) return end_side(side);
        uint64_t frame[FRAME / 8];
        struct viv_frame head;
        enum viv_io io;
        BENCH_TRY(viv_chan_read(side->tab, side->reader, frame, FRAME, &head, &io));
        if (io == VIV_IO_DONE) {
            if (frame[0] != side->left--) bench_die("a frame is missing", VIV_E_LAGGED);
            continue;
        }
        park(side, side->reader, NULL, 0);
        if (is_waiting(self, side)) return VIV_STEP_WAIT;
    }
    return VIV_STEP_YIELD;
}

static void spawn(struct rig *rig, viv_host_fn fn, struct side *side)
{
    viv_pid pid;
    BENCH_TRY(
        viv_host_spawn(&(struct viv_host_spec){.env = rig->env, .fn = fn, .arg = side}, &pid));
}

static void wait_done(struct rig *rig, uint32_t count)
{
    viv_qsbr_offline(rig->member);
    while (atomic_load(&rig->done) < count)
        viv_os_sleep_ns(200000);
    viv_qsbr_online(rig->member);
}

static double frames_once(const struct bench_options *options)
{
    struct rig rig;
    struct side from, to;
    open_rig(&rig, options->workers);
    open_side(&rig, &from, options->count);
    open_side(&rig, &to, options->count);
    connect(&from, &to);
    const uint64_t began_ns = viv_os_now_ns();
    spawn(&rig, write_frames, &from);
    spawn(&rig, read_frames, &to);
    wait_done(&rig, 2);
    close_rig(&rig);
    return (double)options->count * 1e3 / (double)(to.ended_ns - began_ns);
}

void bench_chan_frames(const struct bench_options *options)
{
    struct bench_options one = *options, two = *options;
    one.workers = 1;
    two.workers = 2;
    const struct bench_result same = {
        "host.chan_one_worker", "M/s", bench_median(frames_once, &one), 0, 5, true};
    bench_emit(options, &same);
    const struct bench_result across = {
        "host.chan_two_workers", "M/s", bench_median(frames_once, &two), 0, 3, true};
    bench_emit(options, &across);
}

// One of two that send a frame to and fro; `left` round trips. The one with both to write first
// begins.
static enum viv_step play(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct side *side = arg;
    (void)slice;
    if (is_waiting(self, side)) return VIV_STEP_WAIT;
    for (uint32_t i = 0; i < SLICE_FRAMES; i++) {
        if (side->left == 0) return end_side(side);
        uint64_t frame[FRAME / 8];
        struct viv_frame head;
        enum viv_io io;
        BENCH_TRY(viv_chan_read(side->tab, side->reader, frame, FRAME, &head, &io));
        if (io == VIV_IO_DONE) {
            side->left--;
            BENCH_TRY(viv_chan_write(side->tab, side->writer, frame, FRAME, &io));
            continue;
        }
        park(side, side->reader, NULL, 0);
        if (is_waiting(self, side)) return VIV_STEP_WAIT;
    }
    return VIV_STEP_YIELD;
}

static double ping_pong_once(const struct bench_options *options)
{
    struct rig rig;
    struct side a, b;
    enum viv_io io;
    open_rig(&rig, options->workers);
    open_side(&rig, &a, options->count);
    open_side(&rig, &b, options->count);
    connect(&a, &b);
    connect(&b, &a);
    const uint64_t frame[FRAME / 8] = {0};
    BENCH_TRY(viv_chan_write(a.tab, a.writer, frame, FRAME, &io));
    const uint64_t began_ns = viv_os_now_ns();
    spawn(&rig, play, &a);
    spawn(&rig, play, &b);
    wait_done(&rig, 2);
    close_rig(&rig);
    return (double)(a.ended_ns - began_ns) / (double)options->count;
}

void bench_chan_ping_pong(const struct bench_options *options)
{
    struct bench_options two = *options;
    two.workers = 2;
    const struct bench_result result = {
        "host.chan_ping_pong", "ns", bench_median(ping_pong_once, &two), 0, 2000, false};
    bench_emit(options, &result);
}

// ---- futures, host side: one instance, no processes ----

static void open_futures(struct rig *rig, struct side *side)
{
    open_rig(rig, 1);
    open_side(rig, side, 0);
    BENCH_TRY(viv_fut_bind(rig->reg));
    BENCH_TRY(viv_futs_open(side->tab, NULL));
}

static uint32_t check_future(struct viv_fut_result result, enum viv_fut_status want)
{
    if (result.status != (uint32_t)want) bench_die("future", (enum viv_err)result.value);
    return result.value;
}

static double future_at_once(const struct bench_options *options)
{
    struct rig rig;
    struct side side;
    uint64_t memory[8] = {0}; // a sleep of no time: nothing but the future itself
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    open_futures(&rig, &side);
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        const struct viv_fut_result made = viv_fut_create(side.tab, mem, VIV_GUESTOP_SLEEP, 0, 8);
        const viv_handle fut = {check_future(made, VIV_FUT_READY)};
        (void)check_future(viv_fut_poll(side.tab, mem, fut, 0, 0, 0), VIV_FUT_READY);
        if (i % 64 == 0) viv_qsbr_quiet(rig.member, UINT32_MAX);
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

static double future_woken(const struct bench_options *options)
{
    struct rig rig;
    struct side side;
    uint64_t memory[16] = {0};
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    uint32_t *head = (uint32_t *)(void *)((uint8_t *)memory + VIV_RING_CURSOR_AT);
    open_futures(&rig, &side);
    BENCH_TRY(viv_ring_register(side.tab, mem, 0, 8, 0));
    const uint64_t began_ns = viv_os_now_ns();
    for (uint64_t i = 0; i < options->count; i++) {
        viv_handle hdl;
        struct viv_fut *fut;
        BENCH_TRY(viv_fut_new(side.tab, NULL, NULL, &hdl, &fut));
        (void)check_future(viv_fut_poll(side.tab, mem, hdl, 1, 0, 0), VIV_FUT_PENDING);
        viv_fut_resolve(fut, VIV_OK, NULL);
        if (!viv_ring_flush(side.tab, mem)) bench_die("flush", VIV_E_STATE);
        (*head)++;
        (void)check_future(viv_fut_poll(side.tab, mem, hdl, 1, 0, 0), VIV_FUT_READY);
        if (i % 64 == 0) viv_qsbr_quiet(rig.member, UINT32_MAX);
    }
    const uint64_t took_ns = viv_os_now_ns() - began_ns;
    close_rig(&rig);
    return (double)took_ns / (double)options->count;
}

void bench_futures(const struct bench_options *options)
{
    const struct bench_result at_once = {
        "host.future_at_once", "ns", bench_median(future_at_once, options), 0, 150, false};
    bench_emit(options, &at_once);
    const struct bench_result woken = {
        "host.future_woken", "ns", bench_median(future_woken, options), 0, 1000, false};
    bench_emit(options, &woken);
}
