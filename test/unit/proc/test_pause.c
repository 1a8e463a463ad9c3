// SPDX-License-Identifier: Apache-2.0
// Mailbox policy `suspend` (6.6 of the contract on resources): the sender waits until the receiver
// has room, also when that sleeps in a selective receive, and can be killed meanwhile.
#include "cm.h"

#include "harness/check.h"

enum { MAX = 4, FLOOD = 20000, SENDERS = 2 };

static struct viv_proc_limits limits = {.mailbox_count = MAX,
                                        .mailbox_policy = VIV_MAILBOX_SUSPEND};

// Takes as many messages as it is told to, with the tag it waits for.
struct receiver {
    _Atomic uint32_t to_take, taken;
    int64_t tag;
    uint32_t to_send; // to itself
};

static enum viv_step receive(struct viv_proc *self, void *state, struct viv_slice *slice)
{
    struct receiver *receiver = state;
    (void)slice;
    if (viv_proc_is_paused(self)) return VIV_STEP_WAIT;
    for (; receiver->to_send > 0; receiver->to_send--)
        (void)viv_proc_send(self, viv_proc_pid(self), viv_bytes_msg_new(1, "abc", 3));
    while (atomic_load(&receiver->to_take) > 0) {
        struct viv_signal *sig = viv_mbox_take(viv_proc_mbox(self), &receiver->tag, 1);
        if (sig == NULL) break;
        atomic_fetch_sub(&receiver->to_take, 1);
        atomic_fetch_add(&receiver->taken, 1);
        viv_signal_drop(sig);
    }
    return VIV_STEP_WAIT;
}

static void destroy_nothing(struct viv_proc *self, void *state)
{
    (void)self;
    (void)state;
}

static const struct viv_body receiver_body = {
    .name = "receiver", .step = receive, .destroy = destroy_nothing};

static viv_pid start(struct viv_env *env, struct receiver *receiver)
{
    struct viv_proc *proc;
    const struct viv_proc_spec spec = {.env = env,
                                       .body = &receiver_body,
                                       .state = receiver,
                                       .prio = VIV_PRIO_NORMAL,
                                       .limits = &limits};
    assert_int_equal(viv_proc_new(&spec, &proc), VIV_OK);
    const viv_pid pid = viv_proc_pid(proc);
    viv_proc_born(proc);
    return pid;
}

struct scene {
    struct rig rig;
    struct receiver receiver;
    viv_pid to;
    struct puppet sender, other;
};

static void open_scene(struct scene *scene)
{
    *scene = (struct scene){.receiver = {.tag = 1}};
    limits.mailbox_count = MAX;
    limits.mailbox_bytes = 0;
    rig_open(&scene->rig);
    scene->to = start(scene->rig.env, &scene->receiver);
    puppet_start(&scene->rig, &scene->sender);
    puppet_start(&scene->rig, &scene->other);
    scene->sender.peer = scene->other.peer = scene->to;
    scene->sender.tag = scene->other.tag = 1;
}

// Sends until it is held up: an act that is left over is one that has not run.
static uint32_t send_until_paused(struct puppet *puppet)
{
    for (uint32_t i = 0; i < 100; i++) {
        puppet_do(puppet, act_send);
        if (puppet->act != NULL) return i;
    }
    fail_msg("never held up");
    return 0;
}

static void take(struct scene *scene, uint32_t count)
{
    atomic_store(&scene->receiver.to_take, count);
    (void)viv_proc_wake_pid(scene->rig.kernel, scene->to);
    rig_run(&scene->rig);
    assert_int_equal(atomic_load(&scene->receiver.to_take), 0);
}

static void sender_waits_until_there_is_room(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    // The one that did not fit is there: it is the sender that has to wait.
    assert_int_equal(send_until_paused(&scene.sender), MAX + 1);
    (void)viv_proc_wake_pid(scene.rig.kernel, scene.sender.pid);
    rig_run(&scene.rig);
    assert_non_null(scene.sender.act); // whoever wakes it
    take(&scene, 1);
    assert_non_null(scene.sender.act); // it is full, as it may be
    take(&scene, 1);
    assert_null(scene.sender.act); // it went on by itself: and sent
    assert_int_equal(send_until_paused(&scene.sender), 1);
    take(&scene, 5);
    assert_null(scene.sender.act);
    rig_close(&scene.rig);
}

static void a_receiver_that_waits_for_something_else_holds_it_up(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    scene.receiver.tag = 2;
    atomic_store(&scene.receiver.to_take, 1); // asleep until a 2 comes
    assert_int_equal(send_until_paused(&scene.sender), MAX + 1);
    scene.other.tag = 2;
    puppet_do(&scene.other, act_send); // wakes it, and there is still no room
    assert_int_equal(atomic_load(&scene.receiver.taken), 1);
    assert_non_null(scene.sender.act);
    scene.receiver.tag = 1;
    take(&scene, 2);
    assert_null(scene.sender.act);
    assert_null(scene.other.act);
    rig_close(&scene.rig);
}

static void it_can_be_killed_meanwhile(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    (void)send_until_paused(&scene.sender);
    assert_true(viv_proc_kill(scene.rig.env, scene.sender.pid));
    rig_run(&scene.rig);
    assert_false(puppet_lives(&scene.sender));
    take(&scene, 3); // whoever waited is gone, and nothing happens
    rig_close(&scene.rig);
}

static void it_goes_on_when_the_receiver_ends(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    (void)send_until_paused(&scene.sender);
    (void)send_until_paused(&scene.other);
    assert_true(viv_proc_kill(scene.rig.env, scene.to));
    rig_run(&scene.rig);
    assert_null(scene.sender.act);
    assert_null(scene.other.act);
    rig_close(&scene.rig);
}

static void several_go_on_when_there_is_room_for_all(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    (void)send_until_paused(&scene.sender);
    (void)send_until_paused(&scene.other);
    take(&scene, 6); // all there are
    assert_null(scene.sender.act);
    assert_null(scene.other.act);
    rig_close(&scene.rig);
}

static void bytes_count_as_well(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    limits.mailbox_count = 0;
    limits.mailbox_bytes = 7; // messages of three
    assert_int_equal(send_until_paused(&scene.sender), 3);
    take(&scene, 1);
    assert_null(scene.sender.act);
    rig_close(&scene.rig);
}

static void nobody_waits_for_himself(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    scene.receiver.to_send = 2 * MAX;
    take(&scene, 2 * MAX);
    assert_int_equal(atomic_load(&scene.receiver.taken), 2 * MAX);
    rig_close(&scene.rig);
}

static void without_memory_it_only_gives_way(void **state)
{
    (void)state;
    struct scene scene;
    open_scene(&scene);
    for (int i = 0; i <= MAX; i++)
        puppet_do(&scene.sender, act_send); // it is to wait from now on
    scene.sender.act = act_trap;            // allocates nothing
    viv_alloc_fail_nth(1);
    (void)viv_proc_wake_pid(scene.rig.kernel, scene.sender.pid);
    rig_run(&scene.rig);
    viv_alloc_fail_nth(0);
    assert_null(scene.sender.act);
    rig_close(&scene.rig);
}

// ---- with threads ----

static viv_pid flood_to;

static enum viv_step flood(struct viv_proc *self, void *arg, struct viv_slice *slice)
{
    uint32_t *left = arg;
    (void)slice;
    while (*left > 0 && !viv_proc_take_send_pause(self)) {
        (*left)--;
        (void)viv_proc_send(self, flood_to, viv_bytes_msg_new(1, "abc", 3));
    }
    return *left > 0 ? VIV_STEP_YIELD : VIV_STEP_DONE;
}

static void nobody_is_forgotten(void **state)
{
    (void)state;
    struct viv_kernel *kernel;
    struct viv_env *env;
    struct viv_env_limits env_limits;
    struct viv_qsbr_member *member;
    static struct receiver receiver;
    static uint32_t left[SENDERS];
    limits.mailbox_count = MAX;
    limits.mailbox_bytes = 0;
    receiver = (struct receiver){.tag = 1, .to_take = SENDERS * FLOOD};
    assert_int_equal(
        viv_kernel_new(&(struct viv_kernel_config){.worker_count = 2 + SENDERS}, &kernel), VIV_OK);
    viv_env_limits_default(&env_limits);
    assert_int_equal(viv_env_new(kernel, 1, &env_limits, &env), VIV_OK);
    assert_int_equal(viv_kernel_start(kernel), VIV_OK);
    assert_int_equal(viv_sched_enter(viv_kernel_sched(kernel), &member), VIV_OK);
    flood_to = start(env, &receiver);
    for (int i = 0; i < SENDERS; i++) {
        viv_pid pid;
        left[i] = FLOOD;
        const struct viv_host_spec spec = {.env = env, .fn = flood, .arg = &left[i]};
        assert_int_equal(viv_host_spawn(&spec, &pid), VIV_OK);
    }
    viv_sched_leave(member);
    CHECK_WAIT(atomic_load(&receiver.taken) == SENDERS * FLOOD, 60, {});
    assert_int_equal(viv_kernel_stop(kernel, 5 * VIV_NS_PER_SEC), VIV_OK);
    viv_kernel_free(kernel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sender_waits_until_there_is_room),
        cmocka_unit_test(a_receiver_that_waits_for_something_else_holds_it_up),
        cmocka_unit_test(it_can_be_killed_meanwhile),
        cmocka_unit_test(it_goes_on_when_the_receiver_ends),
        cmocka_unit_test(several_go_on_when_there_is_room_for_all),
        cmocka_unit_test(bytes_count_as_well),
        cmocka_unit_test(nobody_waits_for_himself),
        cmocka_unit_test(without_memory_it_only_gives_way),
        cmocka_unit_test(nobody_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
