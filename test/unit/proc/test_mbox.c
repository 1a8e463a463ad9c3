// SPDX-License-Identifier: Apache-2.0
// Mailbox: order, selective receive with its save point against a plain model, marks, limits;
// reasons: each printed, each status.
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include <string.h>

static struct viv_signal *message(int64_t tag, uint32_t number)
{
    struct viv_msg *msg = viv_bytes_msg_new(tag, &number, sizeof(number));
    assert_non_null(msg);
    return &msg->sig;
}

static uint32_t number_of(const struct viv_signal *sig)
{
    size_t len;
    uint32_t number;
    memcpy(&number, viv_bytes_msg_data((const struct viv_msg *)(const void *)sig, &len),
           sizeof(number));
    return number;
}

static void selective_receive_against_a_model(void **state)
{
    (void)state;
    enum { ROUNDS = 20000, MODEL = 4096 };
    struct viv_rng rng = {check_seed()};
    struct viv_mbox mbox;
    viv_mbox_init(&mbox);
    struct {
        int64_t tag;
        uint32_t number;
    } model[MODEL];
    size_t model_len = 0;
    uint32_t next = 1;
    for (int round = 0; round < ROUNDS; round++) {
        if (viv_rng_below(&rng, 2) == 0 && model_len < MODEL) {
            int64_t tag = (int64_t)viv_rng_below(&rng, 5);
            viv_mbox_push(&mbox, message(tag, next));
            model[model_len].tag = tag;
            model[model_len++].number = next++;
            continue;
        }
        int64_t tags[3];
        size_t count = viv_rng_below(&rng, 4);
        for (size_t i = 0; i < count; i++)
            tags[i] = (int64_t)viv_rng_below(&rng, 6);
        size_t want = model_len;
        for (size_t i = 0; i < model_len && want == model_len; i++) {
            bool match = count == 0;
            for (size_t k = 0; k < count; k++)
                match = match || (tags[k] != 0 && tags[k] == model[i].tag);
            if (match) want = i;
        }
        struct viv_signal *sig = viv_mbox_take(&mbox, tags, count);
        if (want == model_len) {
            assert_null(sig);
            continue;
        }
        assert_non_null(sig);
        assert_int_equal(number_of(sig), model[want].number);
        viv_signal_drop(sig);
        memmove(&model[want], &model[want + 1], (model_len - want - 1) * sizeof(model[0]));
        model_len--;
        assert_int_equal(mbox.count, model_len);
    }
    while (!viv_mbox_clear(&mbox, 10))
        continue;
    assert_int_equal(mbox.bytes, 0);
}

static void a_mark_sees_only_what_came_later(void **state)
{
    (void)state;
    struct viv_mbox mbox;
    viv_mbox_init(&mbox);
    viv_mbox_push(&mbox, message(7, 1));
    struct viv_signal **mark = viv_mbox_mark(&mbox);
    assert_null(viv_mbox_take_after(&mbox, &mark, 7));
    viv_mbox_push(&mbox, message(8, 2));
    viv_mbox_push(&mbox, message(7, 3));
    struct viv_signal *sig = viv_mbox_take_after(&mbox, &mark, 7);
    assert_int_equal(number_of(sig), 3);
    viv_signal_drop(sig);
    for (uint32_t number = 1; number <= 2; number++) {
        sig = viv_mbox_take(&mbox, NULL, 0);
        assert_int_equal(number_of(sig), number);
        viv_signal_drop(sig);
    }
    assert_true(viv_mbox_clear(&mbox, 0));
}

static void reasons_are_printed_and_have_a_status(void **state)
{
    (void)state;
    static const struct {
        enum viv_reason_kind kind;
        int32_t code;
        const char *text, *line;
        int status;
        bool normal;
    } rows[] = {
        {VIV_REASON_NORMAL, 0, "", "normal", 0, true},
        {VIV_REASON_SHUTDOWN, 0, "", "shutdown", 0, false},
        {VIV_REASON_KILLED, 0, "", "killed", 137, false},
        {VIV_REASON_NOPROC, 0, "", "noproc", 1, false},
        {VIV_REASON_NOCONNECTION, 0, "", "noconnection", 1, false},
        {VIV_REASON_ERROR, 0, "entry: no export", "error: entry: no export", 1, false},
        {VIV_REASON_TRAP, 9, "unreachable in f", "trap: unreachable in f", 134, false},
        {VIV_REASON_EXITED, 0, "", "exited(0)", 0, true},
        {VIV_REASON_EXITED, 3, "", "exited(3)", 3, false},
        {VIV_REASON_EXITED, 300, "", "exited(300)", 255, false},
        {VIV_REASON_SIGNALED, 9, "", "signaled(9)", 137, false},
        {VIV_REASON_SIGNALED, 11 + 256, "", "signaled(11) core dumped", 139, false},
        {VIV_REASON_LIMIT, VIV_LIMIT_MEMORY, "full", "limit(memory): full", 137, false},
        {VIV_REASON_LIMIT, VIV_LIMIT_CPU, "", "limit(cpu)", 137, false},
        {VIV_REASON_LIMIT, VIV_LIMIT_TIME, "", "limit(time)", 137, false},
        {VIV_REASON_LIMIT, VIV_LIMIT_MAILBOX, "", "limit(mailbox)", 137, false},
        {VIV_REASON_LIMIT, VIV_LIMIT_OUTPUT, "", "limit(output)", 137, false},
        {VIV_REASON_LIMIT, 99, "", "limit(?)", 137, false},
        {VIV_REASON_TERM, 0, "{badarg}", "term: {badarg}", 1, false},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const struct viv_reason *reason = viv_reason_new(rows[i].kind, rows[i].code, rows[i].text,
                                                         strlen(rows[i].text), "detail", 6);
        char line[100], cut[6];
        (void)viv_reason_format(reason, line, sizeof(line));
        assert_string_equal(line, rows[i].line);
        assert_int_equal(viv_reason_format(reason, cut, sizeof(cut)), 5);
        assert_int_equal(viv_reason_exit_status(reason), rows[i].status);
        assert_int_equal(viv_reason_is_normal(reason), rows[i].normal);
        size_t len;
        assert_memory_equal(viv_reason_detail(reason, &len), "detail", 6);
        viv_reason_drop(viv_reason_take(reason));
        viv_reason_drop(reason);
    }
    assert_true(viv_alloc_live_bytes(VIV_TAG_REASON) == 0);
}

static void a_reason_without_memory_is_an_error(void **state)
{
    (void)state;
    viv_alloc_fail_nth(1);
    const struct viv_reason *reason = viv_reason_newf(VIV_REASON_TRAP, 1, "%s", "x");
    viv_alloc_fail_nth(0);
    assert_int_equal(viv_reason_kind(reason), VIV_REASON_ERROR);
    assert_string_equal(viv_reason_text(reason, NULL), "memory: out of memory");
    viv_reason_drop(reason);
}

// ---- limits ----

static struct viv_proc_limits limits;

static enum viv_step idle(struct viv_proc *self, void *state, struct viv_slice *slice)
{
    (void)self;
    (void)state;
    (void)slice;
    return VIV_STEP_WAIT;
}

static void destroy_nothing(struct viv_proc *self, void *state)
{
    (void)self;
    (void)state;
}

static const struct viv_body idle_body = {.name = "idle", .step = idle, .destroy = destroy_nothing};

static viv_pid start_limited(struct rig *rig, enum viv_mailbox_policy policy)
{
    limits = (struct viv_proc_limits){.mailbox_count = 10, .mailbox_policy = policy};
    struct viv_proc_spec spec = {
        .env = rig->env, .body = &idle_body, .prio = VIV_PRIO_NORMAL, .limits = &limits};
    struct viv_proc *proc;
    assert_int_equal(viv_proc_new(&spec, &proc), VIV_OK);
    viv_pid pid = viv_proc_pid(proc);
    viv_proc_born(proc);
    rig_run(rig);
    return pid;
}

static void a_full_mailbox_does_what_its_policy_says(void **state)
{
    (void)state;
    struct rig rig;
    rig_open(&rig);
    viv_pid killed = start_limited(&rig, VIV_MAILBOX_KILL);
    for (int i = 0; i < 10; i++)
        assert_int_equal(viv_env_send(rig.env, VIV_PID_NONE, killed, viv_bytes_msg_new(1, "x", 1)),
                         VIV_SEND_OK);
    rig_run(&rig);
    assert_true(viv_proc_exists(rig.env, killed));
    assert_int_equal(viv_env_send(rig.env, VIV_PID_NONE, killed, viv_bytes_msg_new(1, "x", 1)),
                     VIV_SEND_OK);
    rig_run(&rig);
    assert_false(viv_proc_exists(rig.env, killed));
    assert_int_equal(rig.ended_kind, VIV_REASON_LIMIT);

    viv_pid refusing = start_limited(&rig, VIV_MAILBOX_REFUSE);
    for (int i = 0; i < 10; i++)
        assert_int_equal(
            viv_env_send(rig.env, VIV_PID_NONE, refusing, viv_bytes_msg_new(1, "x", 1)),
            VIV_SEND_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(
            viv_env_send(rig.env, VIV_PID_NONE, refusing, viv_bytes_msg_new(1, "x", 1)),
            VIV_SEND_REFUSED);
        rig_run(&rig); // queued or in the mailbox: it is full
    }
    assert_true(viv_proc_exists(rig.env, refusing));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(selective_receive_against_a_model),
        cmocka_unit_test(a_mark_sees_only_what_came_later),
        cmocka_unit_test(reasons_are_printed_and_have_a_status),
        cmocka_unit_test(a_reason_without_memory_is_an_error),
        cmocka_unit_test(a_full_mailbox_does_what_its_policy_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
