// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for a guest that makes a tour of the whole interface (guest/faults_tour.c): with
// each of the kernel's allocations failing once, the process ends normally or is told of memory, a
// pair of other processes goes on, and afterwards nothing is left: processes, memory of any tag,
// descriptors, slots.
#include "rig.h"

#include "base/log.h"
#include "base/rng.h"
#include "guest_run.h"
#include "harness/check.h"
#include "os/file.h"
#include "proc/host.h"
#include "wasm/slots.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOLD = 77, EVERY_MAX = 400, STRIDE_MAX = 29, FRESH_RUNS = 12, WAIT_SECONDS = 30 };

// One kernel with the pair, and what it holds while nothing else runs.
struct world {
    struct guest_kernel *kernel;
    struct viv_module *module;
    struct guest_run *ping, *pong;
    _Atomic uint64_t heard; // messages that the pair has passed on
    _Atomic uint64_t last;
    int64_t tags[VIV_TAG_COUNT];
    int descriptors;
    uint64_t slot_count, proc_count;
};

static void drop_line(void *arg, const char *line, size_t len)
{
    (void)arg;
    (void)len;
    if (getenv("VIV_TEST_VERBOSE") != NULL) fputs(line, stderr);
}

static int open_descriptors(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

// ---- the pair, and whom it tells ----

static enum viv_step step_tester(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    struct world *world = arg;
    slice->left -= 10;
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(self), NULL, 0)) != NULL;) {
        CHECK(sig->kind == VIV_SIG_MESSAGE);
        const struct viv_msg *msg = (const struct viv_msg *)(const void *)sig;
        uint64_t value = 0;
        CHECK(msg->ops->size_bytes(msg) == sizeof(value));
        msg->ops->copy(msg, 0, &value, sizeof(value));
        viv_signal_drop(sig);
        atomic_store(&world->last, value);
        atomic_fetch_add(&world->heard, 1);
    }
    return VIV_STEP_WAIT;
}

static struct viv_qsbr_member *enter(struct world *world)
{
    struct viv_qsbr_member *member;
    CHECK(viv_sched_enter(viv_kernel_sched(world->kernel->kernel), &member) == VIV_OK);
    return member;
}

static bool has_name(struct world *world, const char *name)
{
    struct viv_name_value value;
    struct viv_qsbr_member *member = enter(world);
    bool found = viv_name_get(world->kernel->env, name, strlen(name), &value) == VIV_OK;
    viv_sched_leave(member);
    return found;
}

static struct guest_run *start(struct world *world, const char *what, const char *folder,
                               uint64_t nth)
{
    const char *args[] = {what, folder, NULL}; // folder NULL: none
    struct viv_config *config = guest_config(args);
    if (folder != NULL) guest_add_dir(config, folder, ".");
    world->kernel->fail_alloc_nth = nth;
    struct guest_run *run = guest_start(world->kernel, world->module, config);
    viv_config_drop(config);
    return run;
}

static void start_pair(struct world *world)
{
    viv_pid tester;
    struct viv_qsbr_member *member = enter(world);
    struct viv_host_spec spec = {.env = world->kernel->env, .fn = step_tester, .arg = world};
    CHECK(viv_host_spawn(&spec, &tester) == VIV_OK);
    CHECK(viv_name_put(world->kernel->env, "tester", 6, (struct viv_name_value){0, tester}, true) ==
          VIV_OK);
    viv_sched_leave(member);
    world->pong = start(world, "pong", NULL, 0);
    world->ping = start(world, "ping", NULL, 0);
    CHECK_WAIT(has_name(world, "ping") && has_name(world, "pong"), WAIT_SECONDS, {});
}

// One round of the pair: the test, ping, pong, ping, the test.
static void expect_pair(struct world *world)
{
    uint64_t before = atomic_load(&world->heard);
    struct viv_qsbr_member *member = enter(world);
    struct viv_msg *msg = viv_bytes_msg_new(1, NULL, 0);
    CHECK(msg != NULL);
    CHECK(viv_env_send(world->kernel->env, VIV_PID_NONE, (viv_pid){atomic_load(&world->ping->pid)},
                       msg) == VIV_SEND_OK);
    viv_sched_leave(member);
    CHECK_WAIT(atomic_load(&world->heard) == before + 1, WAIT_SECONDS,
               fprintf(stderr, "ping %s, pong %s\n", world->ping->text, world->pong->text));
    CHECK(atomic_load(&world->last) == before + 1);
}

// ---- what is there when nothing runs ----

static uint64_t slots_now(const struct world *world)
{
    struct viv_slots_stats stats;
    viv_slots_stats(viv_wasm_slots(viv_runtime_wasm(world->kernel->runtime)), &stats);
    return stats.slot_count;
}

static bool is_as_before(struct world *world)
{
    expect_pair(world); // also gives the worker turns in which it frees what was retired
    if (viv_kernel_proc_count(world->kernel->kernel) != world->proc_count) return false;
    if (open_descriptors() != world->descriptors) return false;
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        if (viv_alloc_live_bytes((enum viv_tag)tag) != world->tags[tag]) return false;
    return true;
}

static void print_difference(struct world *world, uint64_t nth)
{
    fprintf(stderr, "after allocation %llu: %llu processes, %llu before; %d descriptors, %d\n",
            (unsigned long long)nth,
            (unsigned long long)viv_kernel_proc_count(world->kernel->kernel),
            (unsigned long long)world->proc_count, open_descriptors(), world->descriptors);
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        fprintf(stderr, "%s: %lld bytes more\n", viv_alloc_tag_name((enum viv_tag)tag),
                (long long)(viv_alloc_live_bytes((enum viv_tag)tag) - world->tags[tag]));
}

static void remember(struct world *world)
{
    world->proc_count = viv_kernel_proc_count(world->kernel->kernel);
    world->descriptors = open_descriptors();
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        world->tags[tag] = viv_alloc_live_bytes((enum viv_tag)tag);
    world->slot_count = slots_now(world);
}

static void open_world(struct world *world)
{
    memset(world, 0, sizeof(*world));
    world->kernel = guest_open(1);
    world->module = guest_load(world->kernel, "faults_tour");
    start_pair(world);
    expect_pair(world);
}

static void close_world(struct world *world)
{
    viv_module_drop(world->module);
    guest_close(world->kernel); // kills the pair, and waits
}

// ---- a tour ----

static void expect_told(const struct guest_run *run, uint64_t nth)
{
    bool told = run->was_born && (run->kind == VIV_REASON_NORMAL ||
                                  (run->kind == VIV_REASON_EXITED && run->code == TOLD));
    if (!run->was_born) told = run->birth_err == VIV_E_EXHAUSTED;
    if (!told && strstr(run->text, "memory") == NULL)
        fail_msg("allocation %llu: %s, %s", (unsigned long long)nth,
                 run->was_born ? "ended" : "not born", run->text);
}

// A tour with the nth allocation failing; 0: none. True when one failed.
static bool run_tour(struct world *world, uint64_t nth)
{
    char folder[512];
    rig_make_dir(folder, sizeof(folder));
    struct guest_run *run = start(world, "tour", folder, nth);
    guest_wait(run, WAIT_SECONDS);
    bool hit = nth != 0 && viv_alloc_fail_hit();
    viv_alloc_fail_nth_global(0);
    if (getenv("VIV_TEST_VERBOSE") != NULL)
        fprintf(stderr, "%llu: %s\n", (unsigned long long)nth, run->text);
    if (!hit && !(run->was_born && run->kind == VIV_REASON_NORMAL))
        fail_msg("without a failure the tour ends with %s", run->text);
    expect_told(run, nth);
    rig_remove_dir(folder);
    return hit;
}

static void warm_up(struct world *world)
{
    for (int i = 0; i < 3; i++)
        (void)run_tour(world, 0);
    for (int i = 0; i < 50; i++) { // until what the tours left on its way has gone
        expect_pair(world);
        check_nap();
    }
    remember(world);
}

static void every_allocation_of_a_tour_may_fail(void **state)
{
    (void)state;
    static struct world world;
    int64_t before[VIV_TAG_COUNT];
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        before[tag] = viv_alloc_live_bytes((enum viv_tag)tag);
    struct viv_rng rng = {check_seed()};
    rig_engine_signals(); // guests trap
    open_world(&world);
    warm_up(&world);
    uint64_t nth = 1;
    while (run_tour(&world, nth)) {
        CHECK_WAIT(is_as_before(&world), WAIT_SECONDS, print_difference(&world, nth));
        nth += nth < EVERY_MAX ? 1 : 1 + viv_rng_below(&rng, STRIDE_MAX);
    }
    print_message("a tour makes %llu allocations\n", (unsigned long long)(nth - 1));
    assert_true(nth > 100); // the tour was one
    CHECK_WAIT(is_as_before(&world), WAIT_SECONDS, print_difference(&world, nth));
    assert_int_equal(slots_now(&world), world.slot_count);
    close_world(&world);
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        assert_int_equal(viv_alloc_live_bytes((enum viv_tag)tag), before[tag]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_tour_may_fail),
    };
    int fds[2];
    rig_engine_signals();
    viv_log_set_sink(drop_line, NULL);
    CHECK(pipe(fds) == 0 && dup2(fds[0], 0) == 0); // standard input of the guests: silent
    return cmocka_run_group_tests(tests, NULL, NULL);
}
