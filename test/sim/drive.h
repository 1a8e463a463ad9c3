// SPDX-License-Identifier: Apache-2.0
// What the seeded simulations share: the workers of a kernel as fibres, switched at the points of
// base/sim.h as a seed says, simulated time, and the loop over seeds. The same seed gives the same
// schedule, which the trace shows.
#ifndef VIV_TEST_SIM_DRIVE_H
#define VIV_TEST_SIM_DRIVE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/check.h"
#include "proc/kernel.h"
#include "sched/sched.h"

enum { DRIVE_WORKERS_MAX = 4 };

struct drive {
    uint64_t now_ns, trace, steps;
    uint32_t worker_count;
    // Set by the test, if at all:
    uint32_t rounds;          // of all workers that must be idle; enough for grace periods: 100
    bool has_jobs;            // jobs of the dirty pools run, too
    void (*after_turn)(void); // of a worker, or a part of it
};

extern struct drive drive; // of the seed that runs: fibres and hooks get no argument

uint32_t drive_below(uint32_t bound);
void drive_note(uint64_t what); // into the trace

// For struct viv_sched_env.
uint64_t drive_now(void *arg);
enum viv_err drive_random(void *arg, void *out, size_t len_bytes); // the same for the same seed

// A new seed: chooses how many workers and how often they are interrupted.
void drive_begin(uint64_t seed, uint32_t workers_max, uint32_t chance_max);
// With the kernel's scheduler started; from here on its workers are interrupted. The calling
// context is worker 0's.
void drive_open(struct viv_sched *sched);
// Runs the workers until none has anything to do and no timer is left that comes within ns
// (VIV_FOREVER_NS: none at all).
void drive_run(uint64_t ns);
void drive_close(void); // they are not interrupted any more

// One after the other, each tenth twice: run's trace must be the same. VIV_SIM_SEEDS: how many;
// VIV_TEST_SEED: the first. A failed check prints how to repeat it.
void drive_seeds(uint64_t count, void (*run)(uint64_t seed));
uint64_t drive_seed_count(uint64_t count); // as VIV_SIM_SEEDS says
uint64_t drive_first_seed(void);

#endif
