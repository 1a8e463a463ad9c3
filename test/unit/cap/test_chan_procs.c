// SPDX-License-Identifier: Apache-2.0
// Processes on real workers that wake each other: round trips over two channels, by operations and
// by futures with a ring of eight slots. No wake is lost: nothing stalls.
//
// VIV_TEST_TRIPS: round trips (10^5; the contract names 10^7).
#include "base/alloc.h"
#include "cap/chan.h"
#include "cap/holder.h"
#include "cap/ring.h"
#include "harness/check.h"
#include "proc/host.h"
#include "res_rig.h"
#include <string.h>

enum { PAIRS = 2, PLAYERS = 2 * PAIRS, RING = 256, RING_SLOTS = 8, OUT = 64 };

static struct viv_kernel *kernel;
static struct viv_cap_kernel *cap;
static struct viv_env *env;
static _Atomic uint32_t ready, done;      // players that have opened, and that are through
static _Atomic uint64_t offered[PLAYERS]; // rid of the channel that a player writes to

struct player {
    uint32_t index;
    bool is_open, is_guest, is_waiting, is_through;
    struct viv_htab *tab;
    viv_handle reader, writer;
    struct viv_op op;
    uint64_t trips, next; // next number to be read
    viv_handle fut;       // read under way; w 0: none
    uint64_t words[64];
};
static struct player players[PLAYERS];

static void fail_ops(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    (void)arg;
    viv_ops_fail(tab, hdl, err);
}

static struct viv_guest_mem mem_of(struct player *self)
{
    return (struct viv_guest_mem){(uint8_t *)self->words, sizeof(self->words)};
}

static uint32_t *word_of(struct player *self, uint32_t at)
{
    return (uint32_t *)(void *)((uint8_t *)self->words + at);
}

// Its own channel and writer; then, when the other has his, the reader there. True: open.
static bool open_player(struct viv_proc *proc, struct player *self)
{
    const struct viv_chan_opts opts = {.capacity_bytes = 64};
    viv_handle chan;
    viv_rid rid;
    if (self->tab == NULL) {
        CHECK(viv_holder_htab(proc, &self->tab) == VIV_OK);
        CHECK(viv_chan_create(self->tab, &opts, &chan) == VIV_OK);
        CHECK(viv_res_entry(self->tab, chan, &rid) == VIV_OK);
        CHECK(viv_chan_writer(self->tab, chan, VIV_CHAN_STRONG, &self->writer) == VIV_OK);
        if (self->is_guest) {
            CHECK(viv_futs_open(self->tab, proc) == VIV_OK);
            CHECK(viv_ring_register(self->tab, mem_of(self), RING, RING_SLOTS, 0) == VIV_OK);
        }
        viv_op_init(&self->op, proc);
        atomic_store(&offered[self->index], rid.w);
    }
    const uint64_t peer = atomic_load(&offered[self->index ^ 1]);
    if (peer == 0) return false;
    CHECK(viv_res_insert_id(self->tab, (viv_rid){peer},
                            VIV_RIGHTS_COMMON | VIV_RIGHT_CHANNEL_STRONG_READER, &chan) == VIV_OK);
    CHECK(viv_chan_reader(self->tab, chan, VIV_CHAN_STRONG, VIV_CHAN_OLDEST, &self->reader) ==
          VIV_OK);
    self->is_open = true;
    atomic_fetch_add(&ready, 1);
    return true;
}

static void send(struct player *self)
{
    enum viv_io io;
    CHECK(viv_chan_write(self->tab, self->writer, &self->next, sizeof(self->next), &io) == VIV_OK);
    CHECK(io == VIV_IO_DONE);
}

// The odd one sends back what it gets, the even one the next number.
static void receive(struct player *self, uint64_t number)
{
    const bool is_odd = self->index % 2 == 1;
    CHECK(number == self->next);
    self->trips--;
    if (is_odd) send(self);
    self->next++;
    if (!is_odd && self->trips != 0) send(self);
}

// ---- by operations; false: must wait ----

static bool play(struct player *self)
{
    if (self->is_waiting) {
        const enum viv_err err = viv_op_check(&self->op, 0);
        if (err == VIV_E_AGAIN) return false;
        CHECK(err == VIV_OK);
        self->is_waiting = false;
    }
    uint64_t number;
    struct viv_frame frame;
    enum viv_io io;
    CHECK(viv_chan_read(self->tab, self->reader, &number, sizeof(number), &frame, &io) == VIV_OK);
    if (io == VIV_IO_DONE) {
        receive(self, number);
        return true;
    }
    CHECK(io == VIV_IO_WAIT);
    CHECK(viv_chan_begin(self->tab, self->reader, &self->op, NULL) == VIV_OK);
    self->is_waiting = true;
    return true;
}

// ---- by futures ----

static bool play_guest(struct player *self)
{
    if (self->fut.w == 0) {
        self->words[0] = self->reader.w;
        const struct viv_fut_result made =
            viv_fut_create(self->tab, mem_of(self), VIV_GUESTOP_CHAN_READ, 0, 4);
        CHECK(made.status == VIV_FUT_READY);
        self->fut.w = made.value;
    } else {
        const enum viv_fut_wait wait = viv_fut_wait(self->tab, mem_of(self), 0, VIV_FOREVER_NS);
        if (wait == VIV_FUT_PARK) return false;
        CHECK(wait == VIV_FUT_DRAIN);
        uint32_t *head = word_of(self, RING + VIV_RING_CURSOR_AT);
        CHECK(*head != *word_of(self, RING + VIV_RING_TAIL_AT));
        CHECK(*word_of(self, RING + VIV_RING_HEAD_BYTES + 4 * (*head % RING_SLOTS)) == self->index);
        (*head)++;
    }
    const struct viv_fut_result got =
        viv_fut_poll(self->tab, mem_of(self), self->fut, self->index, OUT, 64);
    if (got.status == VIV_FUT_PENDING) return true;
    CHECK(got.status == VIV_FUT_READY && got.value == 16 + sizeof(uint64_t));
    self->fut.w = 0;
    receive(self, self->words[(OUT + 16) / 8]);
    return true;
}

static enum viv_step step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    enum { PLAYS = 100 };
    struct player *self = arg;
    (void)slice;
    if (!self->is_open) {
        if (!open_player(proc, self)) return VIV_STEP_YIELD;
        if (self->index % 2 == 0) send(self);
    }
    for (uint32_t i = 0; i < PLAYS; i++) {
        if (self->trips == 0) {
            if (!self->is_through) atomic_fetch_add(&done, 1);
            self->is_through = true;
            return VIV_STEP_WAIT; // its channel stays for the other
        }
        if (!(self->is_guest ? play_guest(self) : play(self))) return VIV_STEP_WAIT;
    }
    return VIV_STEP_YIELD;
}

static void print_state(void)
{
    for (uint32_t i = 0; i < PLAYERS; i++)
        fprintf(stderr, "player %u: %llu trips left, waits %d\n", i,
                (unsigned long long)players[i].trips, players[i].is_waiting);
}

static void no_round_trip_stalls(void **state)
{
    (void)state;
    const struct viv_kernel_config config = {.worker_count = 2};
    struct viv_env_limits limits;
    struct viv_res_config res = {0};
    viv_env_limits_default(&limits);
    viv_account_limits_none(&res.limits);
    OK(viv_kernel_new(&config, &kernel));
    OK(viv_env_new(kernel, 1, &limits, &env));
    OK(viv_cap_open(kernel, &res, &cap));
    OK(viv_chan_bind(viv_cap_reg(cap)));
    OK(viv_fut_bind(viv_cap_reg(cap)));
    viv_res_set_hooks(viv_cap_reg(cap), &(struct viv_res_hooks){.fail_ops = fail_ops});
    OK(viv_kernel_start(kernel));
    struct viv_qsbr_member *member;
    OK(viv_sched_enter(viv_kernel_sched(kernel), &member));
    OK(viv_cap_add_env(cap, env, NULL));
    for (uint32_t i = 0; i < PLAYERS; i++) {
        viv_pid pid;
        players[i] = (struct player){
            .index = i, .is_guest = i >= 2, .trips = check_env_u64("VIV_TEST_TRIPS", 100000)};
        OK(viv_host_spawn(&(struct viv_host_spec){.env = env, .fn = step, .arg = &players[i]},
                          &pid));
    }
    viv_qsbr_offline(member);
    CHECK_WAIT(atomic_load(&done) == PLAYERS, 50, print_state());
    viv_qsbr_online(member);
    viv_sched_leave(member);
    OK(viv_kernel_stop(kernel, 10 * VIV_NS_PER_SEC));
    viv_cap_close(cap);
    viv_kernel_free(kernel);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_round_trip_stalls)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
