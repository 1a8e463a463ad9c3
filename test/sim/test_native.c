// SPDX-License-Identifier: Apache-2.0
// The room of programs (src/native) under a seeded schedule, against a model of what the system
// does (programs.h): processes spawn, read, write, stop, release and wait in any order, launches
// and allocations fail, owners end, and the kernel is ended with all that runs and begun again.
// native.md N116: whenever nothing can run any more, and at the end,
//
//   quotas    what scopes, environments and the room count is what their programs have reserved
//   offsets   of each stream front <= end, and nothing vanishes uncounted; what is read is what was
//             written at that offset
//   record    latched once: the same for all who wait and look; it tells what the program did
//   orphans   what a program that has exited had started is dead, but what left its group; each
//             leader is waited for once, and nobody is signalled whose number may be another's
//
// Same seed, same trace. VIV_SIM_SEEDS: how many seeds; VIV_TEST_SEED: the first.
#include "base/alloc.h"
#include "base/sim.h"
#include "cap/room.h"
#include "drive.h"
#include "native/block.h"
#include "native/program.h"
#include "proc/host.h"
#include "programs.h"
#include "sched/drive.h"
#include <dirent.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

enum {
    WORKERS_MAX = 3,
    ACTORS = 6,
    ACTIONS = 60,
    KNOWN = 512, // programs of one kernel
    LIVES = 2,   // of the kernel, in a seed
    BUF = 8192,
};
#define MS VIV_NS_PER_MS

struct known {
    viv_pid pid;
    uint64_t number;
    struct viv_native_exit exit;
    bool has_exit;
};

struct actor {
    struct viv_native_call call;
    struct viv_buf block;
    uint32_t actions_left, index; // index: of what it waits for, in known
    bool is_calling, is_alive;
    struct viv_log_cursor cursor;
    uint32_t cursor_of; // index and 1; 0: no cursor
    uint8_t buf[BUF];
};

static struct sim {
    struct viv_kernel *kernel;
    struct viv_room *cap;
    struct viv_native *native;
    struct viv_env *env;
    struct viv_sched *sched;
    struct actor actors[ACTORS];
    struct known known[KNOWN];
    uint32_t known_count;
} sim;

static struct { // of all seeds
    uint64_t steps, launched, spawned, refused, exits, records, bytes, waits, faults;
} totals;

// ---- what must be true ----

static void check_record(struct known *known, const struct viv_native_exit *exit)
{
    const struct viv_native_exit *first = &known->exit;
    if (!known->has_exit) {
        known->exit = *exit;
        known->has_exit = true;
        drive_note((uint64_t)exit->kind << 32 | (uint64_t)exit->cause << 16 |
                   (uint32_t)exit->leader.code);
        drive_note(exit->streams[0].received + exit->duration_ns);
        totals.records++;
        return;
    }
    CHECK(first->kind == exit->kind && first->cause == exit->cause);
    CHECK(first->leader.code == exit->leader.code && first->we_killed == exit->we_killed);
    CHECK(first->duration_ns == exit->duration_ns);
    CHECK(first->streams[0].received == exit->streams[0].received);
    CHECK(first->stdin_accepted == exit->stdin_accepted);
    CHECK(first->stdin_delivered == exit->stdin_delivered);
    totals.waits++;
}

static struct known *known_of(viv_pid pid)
{
    for (uint32_t i = 0; i < sim.known_count; i++)
        if (viv_pid_eq(sim.known[i].pid, pid)) return &sim.known[i];
    return NULL;
}

static void check_exited(const struct viv_program *program)
{
    const struct viv_native_exit *exit = &program->care.exit;
    struct program_facts facts;
    if (!programs_find(program->care.leader, &facts)) { // held, and never started
        CHECK(exit->kind == VIV_NATIVE_LOST);
        return;
    }
    CHECK(facts.has_ended && facts.is_reaped && facts.alive == 0);
    CHECK(exit->kind != VIV_NATIVE_LOST && exit->leader.code == facts.end.code &&
          exit->leader.signaled == facts.end.signaled);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK(exit->streams[i].received <= facts.written[i]);
        // What goes beyond the limit of output is not kept.
        const bool is_spent = program->care.output_bytes == program->care.limits.max_output_bytes;
        const bool has_all = !exit->streams[i].truncated && !is_spent;
        if (has_all) CHECK(exit->streams[i].received == facts.written[i]);
    }
    CHECK(exit->stdin_delivered <= exit->stdin_accepted);
}

static void check_streams(struct viv_program *program)
{
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_log_view view;
        viv_log_ring_look(&program->care.streams[i].ring, &view);
        CHECK(view.front <= view.end);
        CHECK(view.evicted + view.drained == view.front);
    }
}

static void add(struct viv_native_quota *sum, const struct viv_native_quota *one)
{
    sum->live += one->live;
    sum->retained += one->retained;
    sum->ring_bytes += one->ring_bytes;
    sum->queued += one->queued;
}

static void check_equal(const struct viv_native_quota *a, const struct viv_native_quota *b)
{
    CHECK(a->live == b->live && a->retained == b->retained);
    CHECK(a->ring_bytes == b->ring_bytes && a->queued == b->queued);
}

// When nothing is under way: each program that is there is listed.
static void check_quotas(void)
{
    struct viv_native_quota scopes = {0}, tenants = {0}, programs = {0};
    const struct viv_native *native = sim.native;
    for (struct viv_list *at = native->scopes.next; at != &native->scopes; at = at->next)
        add(&scopes, &VIV_CONTAINER_OF(at, struct viv_native_scope, link)->use.used);
    for (const struct viv_native_tenant *at = native->tenants; at != NULL; at = at->next)
        add(&tenants, &at->use.used);
    for (struct viv_list *at = native->programs.next; at != &native->programs; at = at->next) {
        const struct viv_program *program = VIV_CONTAINER_OF(at, struct viv_program, in_room);
        const bool has_exited = program->care.phase == VIV_NATIVE_EXITED;
        CHECK(program->reserved.retained == 1 && program->reserved.live == !has_exited);
        add(&programs, &program->reserved);
    }
    check_equal(&scopes, &native->use.used);
    check_equal(&tenants, &native->use.used);
    check_equal(&programs, &native->use.used);
}

static void check_all(void)
{
    for (struct viv_list *at = sim.native->programs.next; at != &sim.native->programs;
         at = at->next) {
        struct viv_program *program = VIV_CONTAINER_OF(at, struct viv_program, in_room);
        struct known *known = known_of(program->pid);
        check_streams(program);
        if (program->care.phase != VIV_NATIVE_EXITED) continue;
        check_exited(program);
        if (known != NULL) check_record(known, &program->care.exit);
    }
    check_quotas();
}

// ---- what an actor does ----

static void put_u64(struct viv_buf *block, enum viv_native_key key, uint64_t value)
{
    const bool is_long = viv_native_rows[key].type == VIV_NATIVE_TYPE_U64;
    CHECK((is_long ? viv_block_put_u64(block, (uint16_t)key, value)
                   : viv_block_put_u32(block, (uint16_t)key, (uint32_t)value)) == VIV_OK);
}

static void put_knobs(struct viv_buf *block)
{
    static const char *const keys[] = {"one", "two", "three"};
    static const char prelude[3000];
    put_u64(block, VIV_NATIVE_KEY_RETENTION_MS, drive_below(4) == 0 ? 0 : drive_below(300));
    put_u64(block, VIV_NATIVE_KEY_STOP_GRACE_MS, drive_below(50));
    put_u64(block, VIV_NATIVE_KEY_EOF_LINGER_MS, drive_below(50));
    if (drive_below(3) == 0) put_u64(block, VIV_NATIVE_KEY_MAX_LIFETIME_MS, 1 + drive_below(200));
    if (drive_below(3) == 0) put_u64(block, VIV_NATIVE_KEY_IDLE_MS, 1 + drive_below(100));
    if (drive_below(8) == 0) put_u64(block, VIV_NATIVE_KEY_MAX_OUTPUT_BYTES, 1 + drive_below(9000));
    if (drive_below(4) == 0)
        CHECK(viv_block_put_text(block, VIV_NATIVE_KEY_KEY, keys[drive_below(3)]) == VIV_OK);
    if (drive_below(4) == 0)
        CHECK(viv_block_put(block, VIV_NATIVE_KEY_STDIN, prelude, sizeof prelude) == VIV_OK);
}

static void make_block(struct viv_buf *block)
{
    viv_buf_init(block, VIV_TAG_TEST);
    CHECK(viv_block_init(block) == VIV_OK);
    CHECK(viv_block_put_text(block, VIV_NATIVE_KEY_CMD, "/bin/sh") == VIV_OK);
    const struct {
        enum viv_native_key key;
        uint32_t value;
    } words[] = {
        {VIV_NATIVE_KEY_SANDBOX, VIV_NATIVE_SANDBOX_NONE},
        {VIV_NATIVE_KEY_CONTAIN, VIV_NATIVE_CONTAIN_GROUP},
        {VIV_NATIVE_KEY_SURVIVE, drive_below(2)},
        {VIV_NATIVE_KEY_OVERFLOW, drive_below(2)},
        {VIV_NATIVE_KEY_LINGER, drive_below(2)},
        {VIV_NATIVE_KEY_KEEP_STDIN, drive_below(2)},
        {VIV_NATIVE_KEY_INDEX, drive_below(2)},
        {VIV_NATIVE_KEY_START, drive_below(8) == 0 ? VIV_NATIVE_START_HELD : VIV_NATIVE_START_NOW},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(words); i++)
        put_u64(block, words[i].key, words[i].value);
    put_u64(block, VIV_NATIVE_KEY_RING_BYTES, 4096u << drive_below(4));
    put_u64(block, VIV_NATIVE_KEY_STDIN_QUEUE_BYTES, 4096u << drive_below(2));
    put_knobs(block);
    viv_block_finish(block);
}

static void know(const struct viv_native_spawned *spawned)
{
    totals.spawned++;
    drive_note(spawned->number << 8);
    if (sim.known_count == KNOWN || known_of(spawned->pid) != NULL) return;
    sim.known[sim.known_count++] = (struct known){.pid = spawned->pid, .number = spawned->number};
}

// The end of a call that was parked, or not.
static void finish_call(struct actor *actor, enum viv_err err)
{
    struct viv_native_call *call = &actor->call;
    actor->is_calling = false;
    drive_note((uint64_t)err << 40);
    if (actor->block.len_bytes > 0) { // a spawn
        viv_buf_deinit(&actor->block);
        viv_buf_init(&actor->block, VIV_TAG_TEST);
        if (err == VIV_OK)
            know(&call->spawned);
        else
            totals.refused++;
        return;
    }
    const bool has_record = err == VIV_OK && call->exit.duration_ns != 0;
    if (has_record && actor->index < sim.known_count)
        check_record(&sim.known[actor->index], &call->exit);
}

static void check_bytes(const struct actor *actor, const struct viv_log_chunk *chunk)
{
    totals.bytes += chunk->len;
    for (size_t i = 1; i < chunk->len; i++)
        CHECK((uint8_t)(actor->buf[i] - actor->buf[i - 1]) == 1);
    // The first byte tells the number of the leader, which is then the same for all of them.
    if (chunk->len > 0) drive_note(chunk->offset << 8 | actor->buf[0]);
}

static enum viv_err read_some(struct actor *actor, const struct viv_native_ref *ref)
{
    struct viv_log_chunk chunk;
    const bool goes_on = actor->cursor_of == actor->index + 1;
    const struct viv_native_read read = {.stream = 1,
                                         .cursor = goes_on ? &actor->cursor : NULL,
                                         .buf = actor->buf,
                                         .max = 1 + drive_below(BUF),
                                         .wait_ns = 0};
    const enum viv_err err = viv_native_read_since(&actor->call, ref, &read, &chunk);
    if (err != VIV_OK) return err;
    check_bytes(actor, &chunk);
    actor->cursor = chunk.next;
    actor->cursor_of = actor->index + 1;
    return err;
}

static enum viv_err read_all(struct actor *actor, const struct viv_native_ref *ref)
{
    struct viv_native_logs logs;
    const enum viv_err err =
        viv_native_read_logs(&actor->call.ctx, ref, 1 + drive_below(2), actor->buf, BUF, &logs);
    if (err == VIV_OK)
        for (size_t i = 1; i < logs.len; i++)
            CHECK((uint8_t)(actor->buf[i] - actor->buf[i - 1]) == 1);
    return err;
}

static enum viv_err write_some(struct actor *actor, const struct viv_native_ref *ref)
{
    size_t taken;
    const struct viv_native_bytes bytes = {.data = actor->buf,
                                           .len = 1 + drive_below(5000),
                                           .all = drive_below(2) == 0,
                                           .timeout_ns = drive_below(50) * MS};
    return viv_native_write(&actor->call, ref, &bytes, &taken);
}

static enum viv_err look(struct actor *actor, const struct viv_native_ref *ref)
{
    struct viv_native_status status;
    VIV_TRY(viv_native_status(&actor->call.ctx, ref, &status));
    CHECK(status.number == sim.known[actor->index].number);
    if (status.phase == VIV_NATIVE_EXITED) check_record(&sim.known[actor->index], &status.exit);
    return VIV_OK;
}

static enum viv_err send_signal(struct actor *actor, const struct viv_native_ref *ref)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGSTOP, SIGCONT, SIGCONT, SIGUSR1};
    return viv_native_signal(&actor->call.ctx, ref, signals[drive_below(VIV_COUNT_OF(signals))],
                             drive_below(2) == 0);
}

static enum viv_err suspend(const struct viv_native_ref *ref)
{
    const viv_pid pid = ref->u.pid;
    return drive_below(2) == 0 ? viv_proc_suspend(sim.env, pid) : viv_proc_resume(sim.env, pid);
}

static enum viv_err act_on(struct actor *actor, const struct viv_native_ref *ref)
{
    struct viv_native_call *call = &actor->call;
    switch (drive_below(14)) {
    case 0:
        return viv_native_stop_program(call, ref, drive_below(40) * MS, drive_below(3) == 0);
    case 1:
        return viv_native_kill(call, ref);
    case 2:
        return send_signal(actor, ref);
    case 3:
    case 4:
        return write_some(actor, ref);
    case 5:
        return viv_native_close_stdin(&call->ctx, ref, drive_below(2) == 0);
    case 6:
        return read_all(actor, ref);
    case 7:
    case 8:
        return read_some(actor, ref);
    case 9:
        return viv_native_wait(call, ref, drive_below(100) * MS);
    case 10:
        return viv_native_release(&call->ctx, ref);
    case 11:
        return viv_native_set(&call->ctx, ref, VIV_NATIVE_KEY_RETENTION_MS, drive_below(300));
    case 12:
        return drive_below(2) == 0 ? suspend(ref) : viv_native_start(call, ref);
    default:
        return look(actor, ref);
    }
}

static void act(struct actor *actor, struct viv_proc *proc)
{
    const struct viv_native_ctx ctx = {
        .native = sim.native, .env = sim.env, .proc = proc, .unit = "", .is_operator = true};
    enum viv_err err;
    const uint64_t nth = drive_below(24) == 0 ? 1 + drive_below(12) : 0;
    viv_alloc_fail_nth(0); // what is made for the request is no part of this
    viv_native_call_init(&actor->call, &ctx);
    if (sim.known_count == 0 || drive_below(4) == 0) {
        make_block(&actor->block);
        viv_alloc_fail_nth(nth);
        err = viv_native_spawn(&actor->call, actor->block.data, actor->block.len_bytes);
    } else { // one of the last as a rule
        const uint32_t back = drive_below(drive_below(4) == 0 ? sim.known_count : 8);
        actor->index = sim.known_count - 1 - (uint32_t)viv_min_u64(back, sim.known_count - 1);
        const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID,
                                           .u.pid = sim.known[actor->index].pid};
        viv_alloc_fail_nth(nth);
        err = act_on(actor, &ref);
    }
    if (nth != 0 && viv_alloc_fail_hit()) totals.faults++;
    actor->is_calling = err == VIV_E_AGAIN;
    if (!actor->is_calling) finish_call(actor, err);
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *actor = arg;
    (void)slice;
    if (actor->is_calling) {
        const enum viv_err err = viv_native_poll(&actor->call);
        if (err == VIV_E_AGAIN) return VIV_STEP_WAIT;
        finish_call(actor, err);
    }
    if (actor->actions_left == 0) return VIV_STEP_DONE;
    actor->actions_left--;
    act(actor, proc);
    viv_proc_set_alarm(proc, drive.now_ns + (1 + drive_below(20)) * MS);
    return VIV_STEP_WAIT;
}

static void actor_ends(void *arg)
{
    struct actor *actor = arg;
    if (actor->is_calling) viv_native_cancel(&actor->call);
    viv_buf_deinit(&actor->block);
    actor->is_alive = false;
}

static void start_actor(struct actor *actor)
{
    viv_pid pid;
    viv_alloc_fail_nth(0);
    memset(actor, 0, sizeof *actor);
    viv_buf_init(&actor->block, VIV_TAG_TEST);
    actor->actions_left = ACTIONS / 2 + drive_below(ACTIONS / 2);
    actor->is_alive = true;
    const struct viv_host_spec spec = {
        .env = sim.env, .fn = actor_step, .arg = actor, .free_arg = actor_ends};
    CHECK(viv_host_spawn(&spec, &pid) == VIV_OK);
}

// ---- a kernel ----

static void open_sim(void)
{
    const struct viv_kernel_config config = {
        .worker_count = drive.worker_count,
        .env = {.now_ns = drive_now, .random = drive_random, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    memset(&sim, 0, sizeof sim);
    CHECK(viv_kernel_new(&config, &sim.kernel) == VIV_OK);
    sim.sched = viv_kernel_sched(sim.kernel);
    CHECK(viv_room_open(sim.kernel, &sim.cap) == VIV_OK);
    const struct viv_native_config native = {.kernel = sim.kernel,
                                             .cap = sim.cap,
                                             .direct = true,
                                             .cgroup = "/nowhere",
                                             .scope = {24, 60, 4 << 20, 6},
                                             .environment = {24, 60, 4 << 20, 6},
                                             .total = {24, 60, 4 << 20, 6}};
    CHECK(viv_native_open(&native, &sim.native) == VIV_OK);
    CHECK(viv_env_new(sim.kernel, 1, &limits, &sim.env) == VIV_OK);
    CHECK(viv_room_add_env(sim.cap, sim.env, NULL) == VIV_OK);
    CHECK(viv_native_add_env(sim.native, sim.env, "/") == VIV_OK);
    CHECK(viv_kernel_start(sim.kernel) == VIV_OK);
    viv_drive_become(sim.sched, 0);
}

static bool is_quiet(void)
{
    return sim.native->use.used.queued == 0 && !programs_have_work();
}

// Every process ends, and with it every program.
static void end_all(void)
{
    viv_alloc_fail_nth(0);
    viv_drive_become(sim.sched, 0);
    viv_env_kill(sim.env);
    for (int i = 0; viv_kernel_proc_count(sim.kernel) > 0; i++) {
        CHECK(i < 100000);
        drive_run(10 * MS);
        drive.now_ns += MS; // what lingers by itself has no timer
    }
    check_all();
    for (uint32_t i = 0; i < ACTORS; i++)
        CHECK(!sim.actors[i].is_alive);
    for (struct viv_list *at = sim.native->programs.next; at != &sim.native->programs;
         at = at->next)
        CHECK(VIV_CONTAINER_OF(at, struct viv_program, in_room)->care.phase == VIV_NATIVE_EXITED);
    drive_run(10 * VIV_NS_PER_SEC); // retention
    check_all();
}

static void close_sim(void)
{
    const struct viv_native_quota none = {0};
    viv_drive_become(sim.sched, 0);
    check_equal(&sim.native->use.used, &none);
    CHECK(viv_kernel_stop(sim.kernel, 0) == VIV_OK);
    viv_room_close(sim.cap);
    viv_native_close(sim.native);
    viv_kernel_free(sim.kernel);
}

static void run_life(void)
{
    open_sim();
    drive.after_turn = programs_turn;
    drive_open(sim.sched);
    for (uint32_t i = 0; i < ACTORS; i++)
        start_actor(&sim.actors[i]);
    const uint32_t rounds = 4 + drive_below(40); // then it ends with all that runs
    for (uint32_t i = 0; i < rounds; i++) {
        drive_run(drive_below(40) * MS);
        if (is_quiet()) check_quotas();
        for (uint32_t k = 0; k < ACTORS; k++)
            if (!sim.actors[k].is_alive) start_actor(&sim.actors[k]);
    }
    end_all();
    drive_close();
    close_sim();
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;
    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void run_seed(uint64_t seed)
{
    const int64_t live_before = viv_alloc_live_bytes_all();
    const int fds = count_fds();
    drive_begin(seed, WORKERS_MAX, 160);
    drive.rounds = 100; // grace periods pass
    programs_begin();
    for (int i = 0; i < LIVES; i++)
        run_life();
    programs_end();
    totals.steps += drive.steps;
    totals.launched += programs_launched();
    CHECK(viv_alloc_live_bytes_all() == live_before);
    CHECK(count_fds() == fds);
}

static void case_116_random_operations_faults_and_restarts(void **state)
{
    (void)state;
    const uint64_t count = drive_seed_count(40), first = drive_first_seed();
    signal(SIGPIPE, SIG_IGN);
    drive_seeds(40, run_seed);
    // Not merely failures; of a single seed one cannot say.
    CHECK(count < 20 || (totals.launched > 10 * count && totals.records > 5 * count &&
                         totals.bytes > 1000 * count && totals.waits > count));
    printf("%" PRIu64 " seeds from %" PRIu64 ": %" PRIu64 " steps, %" PRIu64 " launches, %" PRIu64
           " spawns, %" PRIu64 " refused, %" PRIu64 " records, seen again %" PRIu64
           " times, %" PRIu64 " bytes, %" PRIu64 " faults\n",
           count, first, totals.steps, totals.launched, totals.spawned, totals.refused,
           totals.records, totals.waits, totals.bytes, totals.faults);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_116_random_operations_faults_and_restarts)};
    return cmocka_run_group_tests_name("sim.native", tests, NULL, NULL);
}
