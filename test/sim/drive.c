// SPDX-License-Identifier: Apache-2.0
// See drive.h. A fibre runs turns of its worker for ever; at a point inside one it may be left, and
// is taken up again there.
#include "drive.h"
#include "base/rng.h"
#include "base/sim.h"
#include "sched/drive.h"
#include <signal.h>
#include <stdlib.h>
#include <ucontext.h>

enum { STACK_BYTES = 256 << 10, STEPS_MAX = 400000 };

struct fibre {
    ucontext_t context;
    uint8_t *stack;
    bool in_turn, idle;
};

struct drive drive;
static struct {
    struct viv_rng rng;
    struct viv_sched *sched;
    struct fibre fibres[DRIVE_WORKERS_MAX];
    uint32_t current, switch_chance; // in 1/256 at a point
    ucontext_t main;
    uint64_t seed;
} own;

// ---- chance and time ----

uint32_t drive_below(uint32_t bound)
{
    return (uint32_t)viv_rng_below(&own.rng, bound);
}

void drive_note(uint64_t what)
{
    drive.trace = (drive.trace ^ what) * UINT64_C(0x100000001b3);
}

uint64_t drive_now(void *arg)
{
    (void)arg;
    return drive.now_ns;
}

enum viv_err drive_random(void *arg, void *out, size_t len_bytes)
{
    (void)arg;
    for (size_t i = 0; i < len_bytes; i++)
        ((uint8_t *)out)[i] = (uint8_t)viv_rng_next(&own.rng);
    return VIV_OK;
}

// ---- fibres ----

static void leave_fibre(void)
{
    CHECK(swapcontext(&own.fibres[own.current].context, &own.main) == 0);
}

static void on_sim_point(void)
{
    if (!own.fibres[own.current].in_turn) return;
    if (drive_below(256) < own.switch_chance) leave_fibre();
}

static void fibre_main(void)
{
    for (;;) {
        struct fibre *self = &own.fibres[own.current];
        self->in_turn = true;
        const enum viv_turn turn = viv_drive_turn(own.sched, own.current);
        self->in_turn = false;
        self->idle = turn == VIV_TURN_IDLE;
        leave_fibre();
    }
}

static void make_fibre(struct fibre *fibre)
{
    fibre->stack = malloc(STACK_BYTES);
    CHECK(fibre->stack != NULL);
    CHECK(getcontext(&fibre->context) == 0);
    fibre->context.uc_stack.ss_sp = fibre->stack;
    fibre->context.uc_stack.ss_size = STACK_BYTES;
    fibre->context.uc_link = NULL;
    fibre->in_turn = fibre->idle = false;
    makecontext(&fibre->context, fibre_main, 0);
}

static void run_fibre(uint32_t index)
{
    own.current = index;
    drive_note(index | 1u << 20);
    viv_drive_become(own.sched, index);
    CHECK(swapcontext(&own.main, &own.fibres[index].context) == 0);
    if (drive.after_turn != NULL) drive.after_turn();
}

// ---- a seed ----

void drive_begin(uint64_t seed, uint32_t workers_max, uint32_t chance_max)
{
    CHECK(workers_max <= DRIVE_WORKERS_MAX);
    drive = (struct drive){
        .now_ns = VIV_NS_PER_SEC, .trace = UINT64_C(0xcbf29ce484222325), .rounds = 1};
    own.rng = (struct viv_rng){seed};
    drive.worker_count = 1 + drive_below(workers_max);
    own.switch_chance = drive_below(chance_max);
}

void drive_open(struct viv_sched *sched)
{
    own.sched = sched;
    for (uint32_t i = 0; i < drive.worker_count; i++)
        make_fibre(&own.fibres[i]);
    viv_sim_point_hook = on_sim_point;
    viv_drive_become(sched, 0);
}

void drive_close(void)
{
    viv_sim_point_hook = NULL;
    for (uint32_t i = 0; i < drive.worker_count; i++)
        free(own.fibres[i].stack);
    viv_drive_become(own.sched, 0);
}

static bool are_all_idle(void)
{
    for (uint32_t i = 0; i < drive.worker_count; i++)
        if (own.fibres[i].in_turn || !own.fibres[i].idle) return false;
    // Again: what one did may have given another work.
    bool are_idle = true;
    for (uint32_t k = 0; k < drive.rounds; k++)
        for (uint32_t i = 0; i < drive.worker_count; i++) {
            do
                run_fibre(i);
            while (own.fibres[i].in_turn);
            are_idle = are_idle && own.fibres[i].idle;
        }
    return are_idle;
}

void drive_run(uint64_t ns)
{
    const uint64_t until_ns = viv_add_sat_u64(drive.now_ns, ns);
    for (;;) {
        CHECK(drive.steps++ < STEPS_MAX);
        run_fibre(drive_below(drive.worker_count));
        while (drive.has_jobs && drive_below(8) == 0 && viv_drive_dirty(own.sched))
            continue;
        if (!are_all_idle()) continue;
        const uint64_t next_ns = viv_drive_next_deadline_ns(own.sched);
        if (next_ns > until_ns || next_ns == VIV_FOREVER_NS) break;
        drive.now_ns = viv_max_u64(drive.now_ns + VIV_NS_PER_MS, next_ns);
    }
    viv_drive_become(own.sched, 0);
}

// ---- all seeds ----

static void on_abort(int number) // a failed check aborts
{
    (void)number;
    fprintf(stderr, "VIV_TEST_SEED=%llu VIV_SIM_SEEDS=1 repeats this\n",
            (unsigned long long)own.seed);
}

uint64_t drive_seed_count(uint64_t count)
{
    return check_env_u64("VIV_SIM_SEEDS", count);
}

uint64_t drive_first_seed(void)
{
    return check_env_u64("VIV_TEST_SEED", 1);
}

void drive_seeds(uint64_t count, void (*run)(uint64_t seed))
{
    const uint64_t first = drive_first_seed(), end = first + drive_seed_count(count);
    signal(SIGABRT, on_abort);
    for (own.seed = first; own.seed < end; own.seed++) {
        run(own.seed);
        const uint64_t trace = drive.trace;
        if (own.seed % 10 != 0) continue;
        run(own.seed);
        CHECK(drive.trace == trace); // determinism
    }
}
