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
#include "os/fault.h"
#include "proc/host.h"
#include "sched/dirty.h"
#include "wasm/slots.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
    TOLD = 77,
    LIBC_TOLD = 71,  // EX_OSERR: the C library could not learn its directories
    EVERY_MAX = 400, // failures one by one; then, and with new kernels, in random steps
    STEP_MAX = 29,
    NEW_STEP_MAX = 12,
    CALLS_MAX = 40,
    WAIT_SECONDS = 30,
};

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
    if (getenv("VIV_TEST_VERBOSE") != NULL) (void)fwrite(line, 1, len, stderr);
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

// ---- threads: the pools start theirs on demand, so all are demanded before anything is counted
// ----

struct crowd {
    struct viv_job jobs[64];
    _Atomic uint32_t here, done;
    uint32_t count;
};
static struct crowd crowd; // of one pool at a time

static void stand_in_crowd(struct viv_job *job)
{
    (void)job;
    atomic_fetch_add(&crowd.here, 1);
    CHECK_WAIT(atomic_load(&crowd.here) == crowd.count, WAIT_SECONDS, {});
}

static void leave_crowd(struct viv_job *job)
{
    (void)job;
    atomic_fetch_add(&crowd.done, 1);
}

static void start_pools(struct world *world)
{
    struct viv_sched *sched = viv_kernel_sched(world->kernel->kernel);
    for (int pool = 0; pool < VIV_DIRTY_COUNT; pool++) {
        memset(&crowd, 0, sizeof(crowd));
        crowd.count = viv_dirty_thread_max(sched, (enum viv_dirty)pool);
        CHECK(crowd.count <= VIV_COUNT_OF(crowd.jobs));
        for (uint32_t i = 0; i < crowd.count; i++) {
            crowd.jobs[i] = (struct viv_job){.run = stand_in_crowd, .done = leave_crowd};
            CHECK(viv_dirty_post(sched, (enum viv_dirty)pool, &crowd.jobs[i]) == VIV_OK);
        }
        CHECK_WAIT(atomic_load(&crowd.done) == crowd.count, WAIT_SECONDS, {});
    }
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

// What fails during a tour.
struct failure {
    uint64_t alloc_nth; // 0: no allocation
    const char *call;   // NULL: no system call
    uint64_t call_nth;
    int errno_value;
};

static void expect_told(const struct guest_run *run, const struct failure *failure)
{
    bool told = run->was_born &&
                (run->kind == VIV_REASON_NORMAL ||
                 (run->kind == VIV_REASON_EXITED && (run->code == TOLD || run->code == LIBC_TOLD)));
    if (!run->was_born) told = run->birth_err == VIV_E_EXHAUSTED;
    if (!told && strstr(run->text, "memory") == NULL)
        fail_msg("allocation %llu, call %s %llu: %s, %s", (unsigned long long)failure->alloc_nth,
                 failure->call != NULL ? failure->call : "", (unsigned long long)failure->call_nth,
                 run->was_born ? "ended" : "not born", run->text);
}

// True when it has failed.
static bool run_tour(struct world *world, const struct failure *failure)
{
    char folder[512];
    rig_make_dir(folder, sizeof(folder));
    if (failure->call != NULL)
        viv_fault_set(failure->call, failure->call_nth, failure->errno_value);
    struct guest_run *run = start(world, "tour", folder, failure->alloc_nth);
    guest_wait(run, WAIT_SECONDS);
    bool hit = (failure->alloc_nth != 0 && viv_alloc_fail_hit()) ||
               (failure->call != NULL && viv_fault_hit());
    viv_alloc_fail_nth_global(0);
    viv_fault_set("*", 0, 0);
    if (getenv("VIV_TEST_VERBOSE") != NULL)
        fprintf(stderr, "%llu, %s %llu: %s\n", (unsigned long long)failure->alloc_nth,
                failure->call != NULL ? failure->call : "", (unsigned long long)failure->call_nth,
                run->text);
    if (!hit && !(run->was_born && run->kind == VIV_REASON_NORMAL))
        fail_msg("without a failure the tour ends with %s", run->text);
    expect_told(run, failure);
    rig_remove_dir(folder);
    return hit;
}

static void warm_up(struct world *world)
{
    for (int i = 0; i < 3; i++)
        (void)run_tour(world, &(struct failure){0});
    for (int i = 0; i < 50; i++) { // until what the tours left on its way has gone
        expect_pair(world);
        check_nap();
    }
    remember(world);
}

static void tags_now(int64_t tags[VIV_TAG_COUNT])
{
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        tags[tag] = viv_alloc_live_bytes((enum viv_tag)tag);
}

static void expect_tags(const int64_t before[VIV_TAG_COUNT], const char *what, uint64_t nth)
{
    int64_t now[VIV_TAG_COUNT];
    tags_now(now);
    for (int tag = 0; tag < VIV_TAG_COUNT; tag++)
        if (now[tag] != before[tag])
            fail_msg("%s %llu: %lld bytes too many under %s", what, (unsigned long long)nth,
                     (long long)(now[tag] - before[tag]), viv_alloc_tag_name((enum viv_tag)tag));
}

// All in one kernel that has seen a tour: what is left would add up.
static void every_allocation_of_a_tour_may_fail(void **state)
{
    (void)state;
    static struct world world;
    int64_t before[VIV_TAG_COUNT];
    tags_now(before);
    struct viv_rng rng = {check_seed()};
    rig_engine_signals(); // guests trap
    open_world(&world);
    start_pools(&world);
    warm_up(&world);
    uint64_t nth = 1;
    while (run_tour(&world, &(struct failure){.alloc_nth = nth})) {
        CHECK_WAIT(is_as_before(&world), WAIT_SECONDS, print_difference(&world, nth));
        nth += nth < EVERY_MAX ? 1 : 1 + viv_rng_below(&rng, STEP_MAX);
    }
    assert_true(nth > 100); // the tour was one
    CHECK_WAIT(is_as_before(&world), WAIT_SECONDS, print_difference(&world, nth));
    assert_int_equal(slots_now(&world), world.slot_count);
    close_world(&world);
    expect_tags(before, "at the end of", nth);
}

// In a kernel of its own, so that what happens only once (threads of pools, first slots, first
// descriptors) fails too.
static bool tour_in_new_world(const struct failure *failure)
{
    static struct world world;
    int64_t before[VIV_TAG_COUNT];
    int descriptors = open_descriptors();
    tags_now(before);
    open_world(&world);
    bool hit = run_tour(&world, failure);
    expect_pair(&world);
    close_world(&world);
    expect_tags(before, failure->call != NULL ? failure->call : "allocation",
                failure->call != NULL ? failure->call_nth : failure->alloc_nth);
    assert_int_equal(open_descriptors(), descriptors);
    return hit;
}

static void allocations_of_a_first_tour_may_fail(void **state)
{
    (void)state;
    struct viv_rng rng = {check_seed()};
    rig_engine_signals(); // guests trap
    uint64_t nth = 1;
    while (tour_in_new_world(&(struct failure){.alloc_nth = nth}))
        nth += 1 + viv_rng_below(&rng, NEW_STEP_MAX);
}

static void system_calls_of_a_first_tour_may_fail(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int errno_value;
    } calls[] = {{"mmap", ENOMEM},      {"mprotect", ENOMEM},       {"madvise", ENOMEM},
                 {"epoll_ctl", ENOMEM}, {"pthread_create", EAGAIN}, {"epoll_wait", EINTR},
                 {"futex", EINTR},      {"openat2", ENOMEM},        {"getdents64", ENOMEM}};
    struct viv_rng rng = {check_seed()};
    rig_engine_signals(); // guests trap
    for (size_t i = 0; i < VIV_COUNT_OF(calls); i++) {
        uint64_t nth = 1;
        struct failure failure = {.call = calls[i].name, .errno_value = calls[i].errno_value};
        do {
            failure.call_nth = nth;
            nth += nth <= 4 ? 1 : 1 + viv_rng_below(&rng, NEW_STEP_MAX);
        } while (tour_in_new_world(&failure) && nth < CALLS_MAX);
    }
}

// ---- the runtime itself ----

static void every_allocation_of_a_runtime_may_fail(void **state)
{
    (void)state;
    bool hit = true;
    for (uint64_t nth = 1; hit; nth++) {
        int64_t before[VIV_TAG_COUNT];
        tags_now(before);
        struct viv_kernel_config config = {.worker_count = 1};
        struct viv_kernel *kernel;
        struct viv_runtime *runtime = NULL;
        assert_int_equal(viv_kernel_new(&config, &kernel), VIV_OK);
        viv_alloc_fail_nth(nth);
        struct viv_room *room = NULL;
        enum viv_err err = viv_room_open(kernel, &room);
        if (err == VIV_OK)
            err = viv_runtime_new(&(struct viv_runtime_config){.kernel = kernel, .room = room},
                                  &runtime);
        hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (room != NULL) viv_room_close(room);
        if (err == VIV_OK) viv_runtime_free(runtime);
        viv_kernel_free(kernel);
        expect_tags(before, "runtime, allocation", nth);
        assert_true(nth < 200 && (hit || nth > 5));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_of_a_runtime_may_fail),
        cmocka_unit_test(every_allocation_of_a_tour_may_fail),
        cmocka_unit_test(allocations_of_a_first_tour_may_fail),
        cmocka_unit_test(system_calls_of_a_first_tour_may_fail),
    };
    int fds[2];
    rig_engine_signals();
    viv_log_set_sink(drop_line, NULL);
    CHECK(pipe(fds) == 0 && dup2(fds[0], 0) == 0); // standard input of the guests: silent
    return cmocka_run_group_tests(tests, NULL, NULL);
}
