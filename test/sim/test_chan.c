// SPDX-License-Identifier: Apache-2.0
// Channels and futures of host processes under a seeded schedule (see test_kernel.c): wake, cancel,
// close, revocation, kill and the end of the channel fall between any two steps of a transfer, a
// wait, a registration and a flush. When nothing can run any more:
//
//   I21  nobody waits whose operation is done, whose read would find something, or whose write is
//        the first and fits; no future has become ready without its task being told
//   E6   and after all have ended, nothing is charged and no byte is left
//
// Same seed, same trace. VIV_SIM_SEEDS: how many seeds; VIV_TEST_SEED: the first.
#include "base/alloc.h"
#include "cap/chan.h"
#include "cap/ring.h"
#include "drive.h"
#include "proc/host.h"
#include "sched/drive.h"
#include <string.h>

enum {
    WORKERS_MAX = 3,
    ACTORS = 8,
    CHANNELS = 2,
    ACTIONS = 60,
    FRAME = 3,    // bytes of a guest's frame
    CAPACITY = 8, // and the most of a writer's
    SLOTS = 4,    // futures of a guest under way
    RING = 256,
    RING_SLOTS = 8,
    OUT = 128,
};

enum role { READER, WRITER, GUEST, ROLES };

struct actor {
    viv_pid pid;
    viv_rid proc;
    struct viv_htab *tab;
    enum role role;
    bool is_alive, is_waiting, is_parked, is_over;
    uint32_t chan_index, actions_left;
    viv_handle chan, hdl; // hdl.w 0: none
    struct viv_op op;
    // A guest:
    viv_handle reader, writer;
    viv_handle futs[SLOTS]; // w 0: none
    uint64_t words[64];
};

struct sim {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_sched *sched;
    struct viv_reg *reg;
    struct viv_htab *host; // makes the channels
    viv_handle channels[CHANNELS];
    struct actor actors[ACTORS];
};

static struct sim *sim; // the fibres and the hook get no argument

// ---- what processes do to each other ----

static void revoke_from(struct actor *victim, viv_handle hdl)
{
    const uint32_t index = hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
    struct viv_htab_entry *entry = viv_htab_entry_at(&victim->tab->handles, index);
    if (hdl.w == 0 || entry == NULL) return;
    atomic_fetch_or(&entry->word, VIV_ENTRY_REVOKED); // as a revoker does
    VIV_SIM_POINT();
    viv_ops_fail(victim->tab, hdl, VIV_E_REVOKED);
}

static void disturb(struct viv_proc *self)
{
    struct actor *victim = &sim->actors[drive_below(ACTORS)];
    const uint32_t what = drive_below(64);
    if (!victim->is_alive) return;
    if (what == 0)
        (void)viv_proc_kill(viv_proc_env(self), victim->pid);
    else if (what < 10 && victim->role != GUEST)
        revoke_from(victim, victim->hdl);
    else if (what < 10 && victim->role == GUEST)
        revoke_from(victim, drive_below(2) == 0 ? victim->reader : victim->writer);
    else if (what == 10)
        viv_proc_wake(viv_proc_find(viv_proc_kernel(self), NULL, victim->pid) != NULL
                          ? viv_proc_find(viv_proc_kernel(self), NULL, victim->pid)
                          : self); // for nothing
}

static void end_channel(struct actor *self)
{
    const uint32_t what = drive_below(400);
    if (what == 0)
        VIV_IGNORE(viv_chan_terminate(self->tab, self->chan), "it may be gone");
    else if (what == 1)
        VIV_IGNORE(viv_chan_drain(self->tab, self->chan), "it may be over");
}

// ---- readers and writers ----

static void open_end(struct actor *self)
{
    const enum viv_err err =
        self->role == READER
            ? viv_chan_reader(self->tab, self->chan, drive_below(2), drive_below(3), &self->hdl)
            : viv_chan_writer(self->tab, self->chan, drive_below(2), &self->hdl);
    self->is_over = err != VIV_OK;
    drive_note((uint64_t)err | 1u << 16);
}

static void close_end(struct actor *self)
{
    if (self->hdl.w != 0) CHECK(viv_res_close(self->tab, self->hdl) == VIV_OK);
    self->hdl.w = 0;
}

static void park(struct actor *self, const uint8_t *data, uint32_t len)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    if (len != 0) CHECK(viv_buf_append(&buf, data, len) == VIV_OK);
    const enum viv_err err = viv_chan_begin(self->tab, self->hdl, &self->op, &buf);
    self->is_parked = err == VIV_OK;
    if (err != VIV_OK) close_end(self); // revoked, closed, terminated
}

static void transfer(struct actor *self)
{
    uint8_t data[CAPACITY] = {0};
    const uint32_t len = 1 + drive_below(CAPACITY);
    struct viv_frame frame;
    enum viv_io io = VIV_IO_DONE;
    const enum viv_err err =
        self->role == READER ? viv_chan_read(self->tab, self->hdl, data, sizeof(data), &frame, &io)
                             : viv_chan_write(self->tab, self->hdl, data, len, &io);
    drive_note((uint64_t)err << 8 | io);
    if (err == VIV_OK && io == VIV_IO_WAIT)
        park(self, data, self->role == WRITER ? len : 0);
    else if ((err != VIV_OK && err != VIV_E_LAGGED) || io == VIV_IO_END)
        close_end(self);
}

// True when it must wait.
static bool is_waiting(struct actor *self)
{
    if (!self->is_parked) return false;
    const enum viv_err err =
        drive_below(16) == 0 ? viv_chan_cancel(&self->op) : viv_op_check(&self->op, drive.now_ns);
    drive_note((uint64_t)err | 1u << 17);
    self->is_parked = err == VIV_E_AGAIN;
    return self->is_parked;
}

static void act(struct viv_proc *proc, struct actor *self)
{
    disturb(proc);
    end_channel(self);
    if (self->hdl.w != 0 && drive_below(20) == 0) close_end(self);
    if (self->hdl.w == 0) open_end(self);
    if (self->hdl.w != 0) transfer(self);
    if (self->is_parked && drive_below(4) == 0) {
        self->op.deadline_ns = drive.now_ns + drive_below(5) * VIV_NS_PER_MS;
        viv_proc_set_alarm(proc, self->op.deadline_ns);
    }
}

static enum viv_step step_end(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    (void)slice;
    self->is_waiting = false;
    for (uint32_t i = 0; i < 8; i++) {
        self->op.proc = proc;
        if (is_waiting(self)) {
            self->is_waiting = true;
            return VIV_STEP_WAIT;
        }
        self->op.deadline_ns = VIV_FOREVER_NS;
        if (self->is_over || self->actions_left-- == 0) return VIV_STEP_DONE;
        act(proc, self);
    }
    return VIV_STEP_YIELD;
}

// ---- guests ----

static struct viv_guest_mem mem_of(struct actor *self)
{
    return (struct viv_guest_mem){(uint8_t *)self->words, sizeof(self->words)};
}

static uint32_t *word_of(struct actor *self, uint32_t at)
{
    return (uint32_t *)(void *)((uint8_t *)self->words + at);
}

static void poll_slot(struct actor *self, uint32_t slot)
{
    const struct viv_fut_result result =
        viv_fut_poll(self->tab, mem_of(self), self->futs[slot], slot, OUT, 64);
    drive_note((uint64_t)viv_fut_word(result));
    if (result.status != VIV_FUT_PENDING) self->futs[slot].w = 0;
}

static void drain_ring(struct actor *self)
{
    uint32_t *head = word_of(self, RING + VIV_RING_CURSOR_AT);
    while (*head != *word_of(self, RING + VIV_RING_TAIL_AT)) {
        const uint32_t id = *word_of(self, RING + VIV_RING_HEAD_BYTES + 4 * (*head % RING_SLOTS));
        (*head)++;
        CHECK(id < SLOTS);
        if (self->futs[id].w != 0) poll_slot(self, id);
    }
}

static void open_guest_ends(struct actor *self)
{
    if (self->reader.w == 0 || drive_below(30) == 0)
        VIV_IGNORE(
            viv_chan_reader(self->tab, self->chan, drive_below(2), drive_below(3), &self->reader),
            "the channel may be over");
    if (self->writer.w == 0 || drive_below(30) == 0)
        VIV_IGNORE(viv_chan_writer(self->tab, self->chan, drive_below(2), &self->writer),
                   "the channel may be over");
}

static void start_slot(struct actor *self, uint32_t slot)
{
    static const uint32_t ops[] = {VIV_GUESTOP_CHAN_READ, VIV_GUESTOP_CHAN_READ,
                                   VIV_GUESTOP_CHAN_WRITE, VIV_GUESTOP_CHAN_WRITE,
                                   VIV_GUESTOP_SLEEP};
    const uint32_t op = ops[drive_below(VIV_COUNT_OF(ops))];
    uint32_t len = 4;
    self->words[0] = self->reader.w;
    if (op == VIV_GUESTOP_CHAN_WRITE) {
        self->words[0] = self->writer.w | (uint64_t)FRAME << 32;
        len = 8 + FRAME;
    } else if (op == VIV_GUESTOP_SLEEP) {
        self->words[0] = drive_below(4) * VIV_NS_PER_MS;
        len = 8;
    }
    const struct viv_fut_result result = viv_fut_create(self->tab, mem_of(self), op, 0, len);
    CHECK(result.status == VIV_FUT_READY);
    self->futs[slot].w = result.value;
    poll_slot(self, slot); // registers the slot as the task
}

static void act_guest(struct viv_proc *proc, struct actor *self)
{
    const uint32_t slot = drive_below(SLOTS);
    disturb(proc);
    end_channel(self);
    open_guest_ends(self);
    if (self->futs[slot].w == 0) {
        start_slot(self, slot);
    } else if (drive_below(6) == 0) {
        (void)viv_fut_drop(self->tab, mem_of(self), self->futs[slot], OUT, 64);
        self->futs[slot].w = 0;
    }
}

static enum viv_step step_guest(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    (void)slice;
    self->is_waiting = false;
    if (viv_futs_open(self->tab, proc) == VIV_OK)
        CHECK(viv_ring_register(self->tab, mem_of(self), RING, RING_SLOTS, 0) == VIV_OK);
    for (uint32_t i = 0; i < 8; i++) {
        drain_ring(self);
        if (self->actions_left != 0) {
            self->actions_left--;
            act_guest(proc, self);
            if (drive_below(2) == 0) continue;
        }
        const enum viv_fut_wait wait =
            viv_fut_wait(self->tab, mem_of(self), drive.now_ns, VIV_FOREVER_NS);
        if (wait == VIV_FUT_PARK && (self->actions_left == 0 || drive_below(3) == 0)) {
            self->is_waiting = true;
            if (self->actions_left != 0) viv_proc_set_alarm(proc, drive.now_ns + VIV_NS_PER_MS);
            return VIV_STEP_WAIT;
        }
    }
    return VIV_STEP_YIELD;
}

// ---- birth and end ----

static void spawn_actor(struct actor *self)
{
    *self = (struct actor){.role = (enum role)drive_below(ROLES),
                           .actions_left = drive_below(ACTIONS),
                           .chan_index = drive_below(CHANNELS)};
    viv_op_init(&self->op, NULL);
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS};
    struct viv_account *account;
    viv_rid chan;
    CHECK(viv_res_add(sim->reg, &spec, NULL, &self->proc) == VIV_OK);
    CHECK(viv_res_open_account(sim->reg, self->proc, NULL, &account) == VIV_OK);
    CHECK(viv_res_instance(sim->reg, &self->tab) == VIV_OK);
    CHECK(viv_res_set_process_id(self->tab, self->proc) == VIV_OK);
    CHECK(viv_res_entry(sim->host, sim->channels[self->chan_index], &chan) == VIV_OK);
    CHECK(viv_res_insert_id(self->tab, chan, viv_res_kind(sim->reg, VIV_KIND_CHANNEL)->rights_all,
                            &self->chan) == VIV_OK);
    self->is_alive = true;
    const struct viv_host_spec host = {
        .env = sim->env, .fn = self->role == GUEST ? step_guest : step_end, .arg = self};
    CHECK(viv_host_spawn(&host, &self->pid) == VIV_OK);
}

static bool on_end(void *arg, struct viv_proc *proc, const struct viv_reason *reason)
{
    (void)arg;
    (void)reason;
    for (uint32_t i = 0; i < ACTORS; i++) {
        struct actor *self = &sim->actors[i];
        if (!viv_pid_eq(self->pid, viv_proc_pid(proc))) continue;
        self->is_alive = false;
        viv_ops_fail(self->tab, (viv_handle){0}, VIV_E_NOINSTANCE);
        VIV_SIM_POINT();
        CHECK(!viv_op_is_parked(&self->op));
        CHECK(viv_res_discard(sim->reg, self->proc) == VIV_OK);
        const enum viv_err err = viv_op_cancel(&self->op, VIV_E_CANCELLED); // frees its bytes
        drive_note((uint64_t)err | 1u << 18);
    }
    return true;
}

// ---- what must hold when nothing can run ----

static void check_parked(struct actor *self)
{
    struct viv_frame frame;
    enum viv_io io;
    CHECK(viv_op_is_parked(&self->op)); // done, and not woken
    if (self->role == READER) {
        CHECK(viv_chan_peek(self->tab, self->hdl, &frame, &io) == VIV_OK && io == VIV_IO_WAIT);
        return;
    }
    struct viv_chan_stat stat;
    CHECK(viv_chan_stat(self->tab, self->hdl, &stat) == VIV_OK); // not revoked meanwhile
    CHECK(!stat.is_draining && !stat.is_terminated);
}

// Some write that is parked does not fit: the first of them.
static void check_writes(uint32_t chan_index)
{
    struct viv_chan_stat stat;
    uint64_t longest = 0;
    CHECK(viv_chan_stat(sim->host, sim->channels[chan_index], &stat) == VIV_OK);
    if (stat.parked_writes == 0) return;
    for (uint32_t i = 0; i < ACTORS; i++) {
        const struct actor *self = &sim->actors[i];
        if (!self->is_alive || self->chan_index != chan_index) continue;
        if (self->role == GUEST) longest = viv_max_u64(longest, FRAME);
        if (self->role == WRITER && self->is_parked)
            longest = viv_max_u64(longest, self->op.buf.len_bytes);
    }
    CHECK(stat.owed_bytes + longest > CAPACITY);
}

static void check_guest(struct actor *self)
{
    CHECK(!viv_ring_flush(self->tab, mem_of(self)));
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        if (self->futs[slot].w == 0) continue;
        const struct viv_fut_result result =
            viv_fut_poll(self->tab, mem_of(self), self->futs[slot], slot, OUT, 64);
        CHECK(result.status == VIV_FUT_PENDING);
    }
}

static void check_quiet(void)
{
    viv_drive_become(sim->sched, 0);
    for (uint32_t i = 0; i < CHANNELS; i++)
        check_writes(i);
    for (uint32_t i = 0; i < ACTORS; i++) {
        struct actor *self = &sim->actors[i];
        if (!self->is_alive) continue;
        CHECK(self->is_waiting);
        if (self->role == GUEST)
            check_guest(self);
        else
            check_parked(self);
    }
}

// ---- one seed ----

static void kill_all(void *arg, struct viv_proc *proc)
{
    (void)arg;
    (void)viv_proc_kill(viv_proc_env(proc), viv_proc_pid(proc));
}

static void open_sim(void)
{
    struct viv_kernel_config config = {.worker_count = drive.worker_count,
                                       .env = {.now_ns = drive_now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    CHECK(viv_kernel_new(&config, &sim->kernel) == VIV_OK);
    CHECK(viv_env_new(sim->kernel, 1, &limits, &sim->env) == VIV_OK);
    viv_kernel_on_end(sim->kernel, on_end, NULL);
    sim->sched = viv_kernel_sched(sim->kernel);
    struct viv_res_config res = {.sched = sim->sched};
    viv_account_limits_none(&res.limits);
    CHECK(viv_res_new(&res, &sim->reg) == VIV_OK);
    CHECK(viv_chan_bind(sim->reg) == VIV_OK);
    CHECK(viv_fut_bind(sim->reg) == VIV_OK);
    CHECK(viv_kernel_start(sim->kernel) == VIV_OK);
    viv_drive_become(sim->sched, 0);
    CHECK(viv_res_instance(sim->reg, &sim->host) == VIV_OK);
    for (uint32_t i = 0; i < CHANNELS; i++) {
        const struct viv_chan_opts opts = {.capacity_bytes = CAPACITY,
                                           .flags = (uint8_t)drive_below(4)};
        CHECK(viv_chan_create(sim->host, &opts, &sim->channels[i]) == VIV_OK);
    }
}

// The workers have no turns any more: what each has retired is freed here.
static void pass_grace_periods(void)
{
    for (uint32_t i = 0; i < 1000 * drive.worker_count; i++) { // not every quiet is a step
        viv_drive_become(sim->sched, i % drive.worker_count);
        viv_qsbr_quiet(viv_sched_member(), UINT32_MAX);
    }
    for (uint32_t i = 1; i < drive.worker_count; i++) {
        viv_drive_become(sim->sched, i);
        CHECK(viv_qsbr_pending(viv_sched_member()) == 0);
        viv_qsbr_offline(viv_sched_member());
    }
    viv_drive_become(sim->sched, 0);
}

static void close_sim(void)
{
    drive_close();
    viv_res_instance_drop(sim->host);
    pass_grace_periods();
    viv_res_free(sim->reg); // asserts that nothing is charged
    for (uint32_t i = 1; i < drive.worker_count; i++) {
        viv_drive_become(sim->sched, i);
        viv_qsbr_online(viv_sched_member());
    }
    CHECK(viv_kernel_stop(sim->kernel, 0) == VIV_OK);
    viv_kernel_free(sim->kernel);
}

static uint64_t steps; // of all seeds

static void run_seed(uint64_t seed)
{
    const int64_t live_before = viv_alloc_live_bytes_all();
    static struct sim state;
    state = (struct sim){0};
    sim = &state;
    drive_begin(seed, WORKERS_MAX, 160);
    open_sim();
    drive_open(sim->sched);
    for (uint32_t i = 0; i < ACTORS; i++)
        spawn_actor(&sim->actors[i]);
    drive_run(VIV_FOREVER_NS);
    check_quiet();
    viv_drive_become(sim->sched, 0);
    viv_kernel_each_proc(sim->kernel, kill_all, NULL);
    drive_run(VIV_FOREVER_NS);
    CHECK(viv_kernel_proc_count(sim->kernel) == 0);
    close_sim();
    steps += drive.steps;
    CHECK(viv_alloc_live_bytes_all() == live_before); // leaks
}

static void random_schedules(void **state)
{
    (void)state;
    drive_seeds(400, run_seed);
    printf("%llu seeds from %llu: %llu steps\n", (unsigned long long)drive_seed_count(400),
           (unsigned long long)drive_first_seed(), (unsigned long long)steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
