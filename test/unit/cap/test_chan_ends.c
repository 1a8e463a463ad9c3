// SPDX-License-Identifier: Apache-2.0
// Channels of several processes when one of them ends, or what came from a handle is revoked: the
// numbered cases 29 and 39 to 41 with real channels. The processes only count their turns; the test
// acts for them between turns.
#include "base/alloc.h"
#include "cap/chan.h"
#include "cap/grant.h"
#include "cap/holder.h"
#include "cap/ring.h"
#include "cap/rows.h"
#include "cap/share.h"
#include "proc/host.h"
#include "res_rig.h"
#include "sched/drive.h"
#include <string.h>

enum { PROCS = 3 };

static struct viv_kernel *kernel;
static struct viv_cap_kernel *cap;
static struct viv_env *env;
static uint64_t now_ns;
static struct {
    viv_pid pid;
    struct viv_proc *proc;
    struct viv_htab *tab;
    uint32_t turns;
} procs[PROCS];

static uint64_t sim_now(void *arg)
{
    (void)arg;
    return now_ns;
}

static viv_rid orphan; // the last that was told

static void orphaned(void *arg, viv_pid pid, viv_rid rid)
{
    (void)arg;
    assert_true(pid.w != VIV_PID_NONE.w);
    orphan = rid;
}

static void fail_ops(void *arg, struct viv_htab *tab, viv_handle hdl, enum viv_err err)
{
    (void)arg;
    viv_ops_fail(tab, hdl, err);
}

static enum viv_step wait_always(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    (void)proc;
    (void)slice;
    ++*(uint32_t *)arg;
    return VIV_STEP_WAIT;
}

// Until nobody has anything to do; grace periods pass.
static void run(void)
{
    struct viv_qsbr_member *member = viv_sched_member();
    do {
        while (viv_drive_turn(viv_kernel_sched(kernel), 0) != VIV_TURN_IDLE)
            continue;
        while (viv_qsbr_pending(member) > 0)
            viv_qsbr_quiet(member, UINT32_MAX);
    } while (viv_drive_turn(viv_kernel_sched(kernel), 0) != VIV_TURN_IDLE);
}

static void open_cap(void)
{
    struct viv_res_config config = {0};
    viv_account_limits_none(&config.limits);
    OK(viv_cap_open(kernel, &config, &cap));
    OK(viv_chan_bind(viv_cap_reg(cap)));
    OK(viv_fut_bind(viv_cap_reg(cap)));
    viv_cap_set_hooks(cap, &(struct viv_holder_hooks){.orphaned = orphaned});
    viv_res_set_hooks(viv_cap_reg(cap), &(struct viv_res_hooks){.fail_ops = fail_ops});
}

static int set_up(void **state)
{
    (void)state;
    memset(procs, 0, sizeof(procs));
    now_ns = VIV_NS_PER_SEC;
    const struct viv_kernel_config config = {.worker_count = 1,
                                             .env = {.now_ns = sim_now, .simulated = true}};
    struct viv_env_limits limits;
    viv_env_limits_default(&limits);
    OK(viv_kernel_new(&config, &kernel));
    OK(viv_env_new(kernel, 1, &limits, &env));
    OK(viv_kernel_start(kernel));
    viv_drive_become(viv_kernel_sched(kernel), 0);
    open_cap();
    OK(viv_cap_add_env(cap, env, NULL));
    struct viv_account_limits account;
    viv_account_limits_none(&account);
    for (uint32_t i = 0; i < PROCS; i++) {
        OK(viv_host_spawn(
            &(struct viv_host_spec){.env = env, .fn = wait_always, .arg = &procs[i].turns},
            &procs[i].pid));
        run();
        procs[i].proc = viv_proc_find(kernel, env, procs[i].pid);
        OK(viv_holder_set_limits(procs[i].proc, &account)); // asserted to be zero at its end
        OK(viv_holder_htab(procs[i].proc, &procs[i].tab));
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    viv_env_kill(env);
    run();
    struct viv_diag diag = {"no reason given"};
    if (viv_res_check(viv_cap_reg(cap), &diag) != VIV_OK) fail_msg("%s", diag.text);
    viv_cap_close(cap);
    OK(viv_kernel_stop(kernel, 0));
    viv_kernel_free(kernel);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
    return 0;
}

static void kill(uint32_t i)
{
    assert_true(viv_proc_kill(env, procs[i].pid));
    run();
}

static viv_handle make(uint8_t flags)
{
    const struct viv_chan_opts opts = {.capacity_bytes = 8, .flags = flags};
    viv_handle hdl;
    OK(viv_chan_create(procs[0].tab, &opts, &hdl));
    return hdl;
}

// The first process's channel, through a share, in another.
static viv_handle give(viv_handle chan, uint32_t to)
{
    const struct viv_share_opts opts = {
        .rights = viv_res_kind(viv_cap_reg(cap), VIV_KIND_CHANNEL)->rights_all &
                  ~(viv_rights)(VIV_RIGHT_SHARE | VIV_RIGHT_TRANSFER | VIV_RIGHT_GRANT)};
    viv_shared shared;
    viv_handle hdl;
    OK(viv_res_share(procs[0].tab, chan, &opts, &shared));
    OK(viv_res_attach(procs[to].tab, shared, &hdl));
    return hdl;
}

static viv_handle reader_of(uint32_t i, viv_handle chan, enum viv_chan_strength strength)
{
    viv_handle hdl;
    OK(viv_chan_reader(procs[i].tab, chan, strength, VIV_CHAN_DEFAULT, &hdl));
    return hdl;
}

static viv_handle writer_of(uint32_t i, viv_handle chan, enum viv_chan_strength strength)
{
    viv_handle hdl;
    OK(viv_chan_writer(procs[i].tab, chan, strength, &hdl));
    return hdl;
}

// 0 done, an error, or minus the status.
static int put(uint32_t i, viv_handle writer, const char *text)
{
    enum viv_io io = VIV_IO_END;
    const enum viv_err err = viv_chan_write(procs[i].tab, writer, text, strlen(text), &io);
    return err != VIV_OK ? (int)err : -(int)io;
}

static int get(uint32_t i, viv_handle reader, const char *want)
{
    char text[16] = {0};
    struct viv_frame frame;
    enum viv_io io = VIV_IO_DROPPED;
    const enum viv_err err = viv_chan_read(procs[i].tab, reader, text, sizeof(text), &frame, &io);
    if (err == VIV_OK && io == VIV_IO_DONE) assert_string_equal(text, want);
    return err != VIV_OK ? (int)err : -(int)io;
}

static void park(uint32_t i, viv_handle hdl, struct viv_op *op, const char *text)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    if (text != NULL) OK(viv_buf_append(&buf, text, strlen(text)));
    viv_op_init(op, procs[i].proc);
    OK(viv_chan_begin(procs[i].tab, hdl, op, &buf));
    assert_true(viv_op_is_parked(op));
}

#define DONE(code) assert_int_equal((code), 0)
#define IO(code, io) assert_int_equal((code), -(int)VIV_IO_##io)
#define CODE(code, err) assert_int_equal((code), VIV_E_##err)

static void case_29_revoked_with_a_parked_read(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle writer = writer_of(0, chan, VIV_CHAN_STRONG);
    const viv_handle mine = reader_of(0, chan, VIV_CHAN_STRONG);
    const viv_handle derived = reader_of(1, there, VIV_CHAN_STRONG);
    const viv_handle derived_writer = writer_of(1, there, VIV_CHAN_WEAK);
    struct viv_op read, write;
    park(1, derived, &read, NULL);
    DONE(put(0, writer, "1234567"));
    park(1, derived_writer, &write, "ab");
    OK(viv_op_check(&read, 0)); // it was ready before
    DONE(get(1, derived, "1234567"));
    park(1, derived, &read, NULL);
    const uint32_t turns = procs[1].turns;
    OK(viv_res_revoke(procs[0].tab, chan));
    run();
    assert_true(procs[1].turns > turns); // woken
    ERR(viv_op_check(&read, 0), REVOKED);
    ERR(viv_op_check(&write, 0), REVOKED);
    CODE(get(1, derived, ""), REVOKED);
    viv_handle hdl;
    ERR(viv_chan_reader(procs[1].tab, there, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &hdl), REVOKED);
    DONE(get(0, mine, "1234567")); // nothing was consumed, and nothing stored
    IO(get(0, mine, ""), WAIT);
    DONE(put(0, writer, "on"));
    DONE(get(0, mine, "on"));
}

static void case_39_writers_process_ends(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle reader = reader_of(0, chan, VIV_CHAN_STRONG);
    const viv_handle writer = writer_of(1, there, VIV_CHAN_STRONG);
    struct viv_op parked;
    DONE(put(1, writer, "last"));
    DONE(put(1, writer, "two"));
    park(1, writer, &parked, "12345678"); // goes with its process
    kill(1);
    ERR(viv_op_cancel(&parked, VIV_E_CANCELLED), CANCELLED); // frees its bytes
    DONE(get(0, reader, "last"));
    DONE(get(0, reader, "two"));
    IO(get(0, reader, ""), END);
}

static void case_39_keepopen_serves_the_next_client(void **state)
{
    (void)state;
    const viv_handle chan = make(VIV_CHAN_KEEPOPEN), there = give(chan, 1), other = give(chan, 2);
    const viv_handle reader = reader_of(0, chan, VIV_CHAN_STRONG);
    DONE(put(1, writer_of(1, there, VIV_CHAN_STRONG), "first"));
    kill(1);
    DONE(get(0, reader, "first"));
    struct viv_op op;
    park(0, reader, &op, NULL);
    DONE(put(2, writer_of(2, other, VIV_CHAN_STRONG), "second"));
    OK(viv_op_check(&op, 0));
    DONE(get(0, reader, "second"));
}

static void case_40_readers_process_ends(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle writer = writer_of(0, chan, VIV_CHAN_STRONG);
    (void)reader_of(1, there, VIV_CHAN_STRONG);
    struct viv_op op;
    DONE(put(0, writer, "12345678"));
    park(0, writer, &op, "more");
    const uint32_t turns = procs[0].turns;
    kill(1);
    assert_int_equal(procs[0].turns, turns + 1); // woken, once
    OK(viv_op_check(&op, 0));
    DONE(put(0, writer, "and more"));
}

static void case_41_owner_ends_drains_then_gone(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle reader = reader_of(1, there, VIV_CHAN_STRONG);
    const viv_handle other = reader_of(1, there, VIV_CHAN_WEAK);
    const viv_handle writer = writer_of(1, there, VIV_CHAN_STRONG);
    const viv_handle mine = writer_of(0, chan, VIV_CHAN_STRONG);
    DONE(put(0, mine, "will"));
    DONE(put(0, mine, "last"));
    kill(0);
    CODE(put(1, writer, "no"), CLOSED);
    DONE(get(1, reader, "will"));
    DONE(get(1, other, "will"));
    DONE(get(1, reader, "last"));
    CODE(get(1, reader, ""), GONE); // drained: it has ended
    CODE(get(1, other, ""), GONE);
}

static void case_41_nothing_to_drain(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle reader = reader_of(1, there, VIV_CHAN_STRONG);
    struct viv_op op;
    park(1, reader, &op, NULL);
    kill(0);
    const enum viv_err err = viv_op_check(&op, 0);
    assert_true(err == VIV_OK || err == VIV_E_ABORTED);
    CODE(get(1, reader, ""), GONE);
}

static void case_41_aborted_after_orphan(void **state)
{
    (void)state;
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle reader = reader_of(1, there, VIV_CHAN_STRONG);
    const viv_handle weak = reader_of(1, there, VIV_CHAN_WEAK);
    const viv_handle mine = writer_of(0, chan, VIV_CHAN_STRONG);
    struct viv_op op;
    DONE(put(0, mine, "unread"));
    DONE(get(1, weak, "unread"));
    kill(0);
    IO(get(1, weak, ""), END);
    viv_op_init(&op, procs[1].proc);
    OK(viv_chan_begin(procs[1].tab, there, &op, NULL)); // waits for drained
    now_ns += 29 * VIV_NS_PER_SEC;
    run();
    assert_true(viv_op_is_parked(&op));
    now_ns += 2 * VIV_NS_PER_SEC;
    run();
    ERR(viv_op_check(&op, 0), ABORTED);
    CODE(get(1, reader, ""), GONE);
}

static void case_41_survive_until_the_last_holder(void **state)
{
    (void)state;
    const viv_handle chan = make(VIV_CHAN_SURVIVE), there = give(chan, 1), other = give(chan, 2);
    const viv_handle reader = reader_of(1, there, VIV_CHAN_STRONG);
    const viv_handle writer = writer_of(2, other, VIV_CHAN_STRONG);
    kill(0);
    now_ns += 100 * VIV_NS_PER_SEC;
    run();
    DONE(put(2, writer, "on"));
    DONE(get(1, reader, "on"));
    struct viv_reg *reg = viv_cap_reg(cap);
    struct viv_res_row row;
    viv_rid rid;
    OK(viv_res_entry(procs[1].tab, there, &rid));
    OK(viv_res_row(reg, rid, &row));
    assert_true(row.is_orphan && viv_rid_eq(row.meta.owner, viv_cap_env(env)));
    assert_true(viv_rid_eq(orphan, rid)); // it was told
    OK(viv_res_set_owner(reg, rid, viv_res_process_id(procs[1].tab)));
    OK(viv_res_row(reg, rid, &row));
    assert_false(row.is_orphan);
    OK(viv_res_set_owner(reg, rid, viv_cap_env(env)));
    OK(viv_res_close(procs[1].tab, there));
    OK(viv_res_close(procs[2].tab, other));
    OK(viv_res_close(procs[2].tab, writer));
    IO(get(1, reader, ""), END); // there is still a reader
    const uint64_t records = viv_res_record_count(viv_cap_reg(cap));
    OK(viv_res_close(procs[1].tab, reader));
    run();
    assert_int_equal(viv_res_record_count(viv_cap_reg(cap)), records - 2); // with the channel
}

static void an_end_with_everything_under_way(void **state)
{
    (void)state;
    static uint64_t memory[64];
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    const viv_handle chan = make(0), there = give(chan, 1);
    const viv_handle reader = reader_of(1, there, VIV_CHAN_STRONG);
    struct viv_op op;
    OK(viv_futs_open(procs[1].tab, procs[1].proc));
    park(1, reader, &op, NULL);
    memory[0] = reader.w;
    (void)viv_fut_create(procs[1].tab, mem, VIV_GUESTOP_CHAN_READ, 0, 4);
    memory[0] = VIV_NS_PER_SEC;
    (void)viv_fut_create(procs[1].tab, mem, VIV_GUESTOP_SLEEP, 0, 8);
    viv_handle hdl;
    struct viv_fut *held;
    OK(viv_fut_new(procs[1].tab, NULL, NULL, &hdl, &held));
    kill(1);
    ERR(viv_op_cancel(&op, VIV_E_CANCELLED), CANCELLED); // it was cancelled before
    viv_fut_resolve(held, VIV_OK, NULL);                 // too late, and harmless
    now_ns += 2 * VIV_NS_PER_SEC;
    run();
    DONE(put(0, writer_of(0, chan, VIV_CHAN_STRONG), "12345678"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(case_29_revoked_with_a_parked_read),
        TEST(case_39_writers_process_ends),
        TEST(case_39_keepopen_serves_the_next_client),
        TEST(case_40_readers_process_ends),
        TEST(case_41_owner_ends_drains_then_gone),
        TEST(case_41_nothing_to_drain),
        TEST(case_41_aborted_after_orphan),
        TEST(case_41_survive_until_the_last_holder),
        TEST(an_end_with_everything_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
