// SPDX-License-Identifier: Apache-2.0
// The whole kernel (base, os, sched, proc) under a seeded schedule: simulated workers are fibres of
// one thread; at every VIV_SIM_POINT and after every turn the seed decides who goes on. Time is
// virtual. Host bodies act at random: send, link, unlink, monitor, spawn, end, kill, sleep,
// register, suspend; a model outside the kernel knows what must come of it:
//
//   order     of one sender's messages at one receiver none is missing, none doubled, none early
//   delivery  when nothing can run any more, whatever was sent to a process that lives has been
//   read monitors  each yields exactly one DOWN, and nothing follows it from that process links who
//   traps exits learns of the end of every process it was linked with leaks     after the end no
//   byte of the kernel is allocated
//
// Same seed, same trace: the hash of two runs is compared. VIV_SIM_SEEDS sets how many seeds (200),
// VIV_TEST_SEED the first.
#include "base/alloc.h"
#include "base/assert.h"
#include "drive.h"
#include "proc/host.h"
#include <string.h>

enum {
    ACTORS_MAX = 200,
    ACTIONS = 40, // random actions of one actor before it only listens
};

// The model's view of one actor. Indexes into `actors` stand for processes that may be dead.
struct actor {
    viv_pid pid;
    uint32_t index;
    bool alive, born;
    uint32_t actions_left;
    uint64_t alarm_ns;
    uint64_t sent_to[ACTORS_MAX];   // messages accepted for that actor
    uint64_t read_from[ACTORS_MAX]; // messages read
    bool down_from[ACTORS_MAX];     // a DOWN was read: nothing may follow
    uint64_t ref_of[ACTORS_MAX];    // monitor under way; 0: none
    bool linked[ACTORS_MAX];        // by our own doing and not undone
    uint32_t exits_read[ACTORS_MAX];
    bool dead_before_link[ACTORS_MAX];
};

struct sim {
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_sched *sched;
    struct actor *actors;
    uint32_t actor_count;
};

static struct sim *sim; // the fibres and the hook get no argument

// ---- actors ----

struct sim_message {
    uint32_t from;
    uint64_t number;
};

static void on_message(struct actor *self, const struct viv_signal *sig)
{
    size_t len;
    struct sim_message message;
    memcpy(&message, viv_bytes_msg_data((const struct viv_msg *)(const void *)sig, &len),
           sizeof(message));
    CHECK(len == sizeof(message));
    CHECK(!self->down_from[message.from]);                      // nothing after the DOWN
    CHECK(message.number == self->read_from[message.from] + 1); // order, none missing
    self->read_from[message.from] = message.number;
}

static uint32_t index_of(viv_pid pid)
{
    for (uint32_t i = 0; i < sim->actor_count; i++)
        if (viv_pid_eq(sim->actors[i].pid, pid)) return i;
    check_fail(__FILE__, __LINE__, "a signal from nobody");
}

static void on_signal(struct actor *self, struct viv_signal *sig)
{
    drive_note((uint64_t)sig->kind << 8 | self->index);
    if (sig->kind == VIV_SIG_MESSAGE) {
        on_message(self, sig);
    } else if (sig->kind == VIV_SIG_DOWN) {
        uint32_t who = index_of(sig->from);
        CHECK(self->ref_of[who] == ((struct viv_monitor *)(void *)sig)->ref);
        CHECK(!sim->actors[who].alive);
        self->ref_of[who] = 0;
        self->down_from[who] = true;
    } else if (sig->kind == VIV_SIG_EXIT) {
        uint32_t who = index_of(sig->from);
        self->exits_read[who]++;
        self->linked[who] = false;
    }
    viv_signal_drop(sig);
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice);
static void actor_ended(void *arg);

static bool spawn_actor(struct viv_proc *parent)
{
    if (sim->actor_count == ACTORS_MAX) return false;
    struct actor *actor = &sim->actors[sim->actor_count];
    memset(actor, 0, sizeof(*actor));
    actor->index = sim->actor_count;
    actor->actions_left = (uint32_t)drive_below(ACTIONS);
    actor->alive = true;
    actor->alarm_ns = VIV_FOREVER_NS;
    bool link = parent != NULL && drive_below(3) == 0;
    sim->actor_count++; // before it can run
    viv_pid pid;
    enum viv_err err = viv_host_spawn(&(struct viv_host_spec){.env = sim->env,
                                                              .parent = parent,
                                                              .link = link,
                                                              .tag = 7,
                                                              .fn = actor_step,
                                                              .arg = actor,
                                                              .free_arg = actor_ended},
                                      &pid);
    CHECK(err == VIV_OK);
    actor->pid = pid;
    if (link) {
        struct actor *mother =
            viv_proc_state(parent) != NULL ? &sim->actors[index_of(viv_proc_pid(parent))] : NULL;
        mother->linked[actor->index] = true;
    }
    return true;
}

static void act_send(struct viv_proc *proc, struct actor *self, struct actor *peer)
{
    for (uint64_t n = drive_below(4) + 1; n > 0; n--) {
        struct sim_message message = {self->index, self->sent_to[peer->index] + 1};
        struct viv_msg *msg = viv_bytes_msg_new(1, &message, sizeof(message));
        CHECK(msg != NULL);
        // Counted before: the receiver may run at any sim point inside.
        self->sent_to[peer->index]++;
        if (viv_proc_send(proc, peer->pid, msg) != VIV_SEND_OK) self->sent_to[peer->index]--;
    }
}

static void act_monitor(struct viv_proc *proc, struct actor *self, struct actor *peer)
{
    uint64_t ref = self->ref_of[peer->index];
    if (self->down_from[peer->index]) return; // one DOWN a peer keeps the model simple
    if (ref == 0) {
        ref = viv_proc_next_ref(proc);
        self->ref_of[peer->index] = ref;
        CHECK(viv_proc_monitor(proc, peer->pid, ref, 0) == VIV_OK);
    } else {
        (void)viv_proc_demonitor(proc, ref);
        viv_mbox_remove_down(viv_proc_mbox(proc), ref);
        self->ref_of[peer->index] = 0;
    }
}

static void act_link(struct viv_proc *proc, struct actor *self, struct actor *peer)
{
    if (peer == self) return;
    if (self->linked[peer->index]) {
        self->linked[peer->index] = false;
        peer->linked[self->index] = false; // both sides go; a link that crosses is only not checked
        viv_proc_unlink(proc, peer->pid);
    } else {
        self->linked[peer->index] = true;
        CHECK(viv_proc_link(proc, peer->pid, 9) == VIV_OK);
    }
}

static void act_name(struct viv_proc *proc)
{
    char name[8] = {'n', (char)('a' + drive_below(4))};
    struct viv_name_value value = {0, viv_proc_pid(proc)};
    enum viv_err err = viv_name_put(sim->env, name, 2, value, drive_below(2) == 0);
    CHECK(err == VIV_OK || err == VIV_E_EXISTS);
    struct viv_name_value found;
    if (err == VIV_OK && viv_name_get(sim->env, name, 2, &found) == VIV_OK) drive_note(found.pid.w);
}

// One random action; false: the actor ends.
static bool act(struct viv_proc *proc, struct actor *self)
{
    struct actor *peer = &sim->actors[drive_below(sim->actor_count)];
    if (peer->pid.w == 0) return true; // being born on another worker
    switch (drive_below(16)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
        act_send(proc, self, peer);
        return true;
    case 5:
    case 6:
        act_monitor(proc, self, peer);
        return true;
    case 7:
    case 8:
        act_link(proc, self, peer);
        return true;
    case 9:
    case 10:
        (void)spawn_actor(proc);
        return true;
    case 11:
        self->alarm_ns = drive.now_ns + drive_below(20) * VIV_NS_PER_MS;
        viv_proc_set_alarm(proc, self->alarm_ns);
        return true;
    case 12:
        act_name(proc);
        return true;
    case 13:
        if (drive_below(4) == 0) (void)viv_proc_kill(sim->env, peer->pid);
        return true;
    case 14:
        if (drive_below(2) == 0 && viv_proc_suspend(sim->env, peer->pid) == VIV_OK)
            VIV_IGNORE(viv_proc_resume(sim->env, peer->pid), "it may have ended meanwhile");
        return true;
    default:
        if (drive_below(3) != 0) return true;
        viv_proc_set_reason(proc, viv_reason_newf(VIV_REASON_ERROR, 0, "test: chance"));
        return false;
    }
}

static enum viv_step actor_step(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    struct actor *self = arg;
    if (!self->born) {
        self->born = true;
        viv_proc_set_flags(proc, VIV_PROC_TRAP_EXITS | VIV_PROC_TRAP_NORMAL, 0);
    }
    drive_note(self->index);
    for (struct viv_signal *sig; (sig = viv_mbox_take(viv_proc_mbox(proc), NULL, 0)) != NULL;)
        on_signal(self, sig);
    slice->left -= 500;
    if (self->alarm_ns != VIV_FOREVER_NS && drive.now_ns >= self->alarm_ns)
        self->alarm_ns = VIV_FOREVER_NS;
    if (self->actions_left == 0) return VIV_STEP_WAIT;
    self->actions_left--;
    if (!act(proc, self)) return VIV_STEP_DONE;
    if (self->alarm_ns != VIV_FOREVER_NS) return VIV_STEP_WAIT; // the alarm wakes it
    return VIV_STEP_YIELD;
}

// Called when the process ends, before links and monitors are told… no: after; so `alive` is
// cleared by the end hook.
static void actor_ended(void *arg)
{
    drive_note(((struct actor *)arg)->index | 1u << 30);
}

static bool on_end(void *arg, struct viv_proc *proc, const struct viv_reason *reason)
{
    (void)arg;
    (void)reason;
    viv_pid pid = viv_proc_pid(proc);
    for (uint32_t i = 0; i < sim->actor_count; i++)
        if (viv_pid_eq(sim->actors[i].pid, pid)) sim->actors[i].alive = false;
    return true;
}

// ---- one seed ----

static void check_model(void)
{
    for (uint32_t i = 0; i < sim->actor_count; i++) {
        const struct actor *self = &sim->actors[i];
        if (!self->alive) continue;
        for (uint32_t j = 0; j < sim->actor_count; j++) {
            const struct actor *peer = &sim->actors[j];
            CHECK(self->read_from[j] == peer->sent_to[i]); // delivery
            if (peer->alive) continue;
            CHECK(self->ref_of[j] == 0); // each monitor has reported
            CHECK(!self->linked[j]);     // each link has reported
        }
    }
}

static void kill_all(void *arg, struct viv_proc *proc)
{
    (void)arg;
    (void)viv_proc_kill(viv_proc_env(proc), viv_proc_pid(proc));
}

static uint64_t steps, actors; // of all seeds

static void run_seed(uint64_t seed)
{
    int64_t live_before = viv_alloc_live_bytes_all();
    struct sim state = {0};
    sim = &state;
    drive_begin(seed, DRIVE_WORKERS_MAX, 128);
    drive.has_jobs = true;
    sim->actors = calloc(ACTORS_MAX, sizeof(struct actor));
    CHECK(sim->actors != NULL);
    struct viv_kernel_config config = {.worker_count = drive.worker_count,
                                       .env = {.now_ns = drive_now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    CHECK(viv_kernel_new(&config, &sim->kernel) == VIV_OK);
    CHECK(viv_env_new(sim->kernel, 1, &limits, &sim->env) == VIV_OK);
    viv_kernel_on_end(sim->kernel, on_end, NULL);
    sim->sched = viv_kernel_sched(sim->kernel);
    CHECK(viv_kernel_start(sim->kernel) == VIV_OK);
    drive_open(viv_kernel_sched(sim->kernel));
    for (int i = 0; i < 8; i++)
        CHECK(spawn_actor(NULL));
    drive_run(VIV_FOREVER_NS);
    check_model();
    viv_kernel_each_proc(sim->kernel, kill_all, NULL);
    drive_run(VIV_FOREVER_NS);
    CHECK(viv_kernel_proc_count(sim->kernel) == 0);
    drive_close();
    CHECK(viv_kernel_stop(sim->kernel, 0) == VIV_OK);
    viv_kernel_free(sim->kernel);
    steps += drive.steps;
    actors += sim->actor_count;
    free(sim->actors);
    CHECK(viv_alloc_live_bytes_all() == live_before); // leaks
}

static void random_schedules(void **state)
{
    (void)state;
    drive_seeds(200, run_seed);
    printf("%llu seeds from %llu: %llu steps, %llu processes\n",
           (unsigned long long)drive_seed_count(200), (unsigned long long)drive_first_seed(),
           (unsigned long long)steps, (unsigned long long)actors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
