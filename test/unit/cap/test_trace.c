// SPDX-License-Identifier: Apache-2.0
// Events of the trace: each against what was done (section 13 of the contract).
#include "base/alloc.h"
#include "cap/grant.h"
#include "cap/share.h"
#include "cap/trace.h"
#include "chan_rig.h"
#include "proc/host.h"
#include "sched/drive.h"
#include "ses_rig.h"
#include <string.h>

static struct chan_rig rig;
static uint64_t cursor;

static int setup(void **state)
{
    (void)state;
    chan_rig_open(&rig);
    OK(viv_res_trace_start(rig.res.reg, 0));
    cursor = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    viv_res_trace_stop(rig.res.reg);
    chan_rig_close(&rig);
    return 0;
}

// The names of all events since the last call, each with a blank behind it.
static const char *events_of(struct viv_reg *reg)
{
    static char text[1024];
    struct viv_trace_entry entry;
    text[0] = '\0';
    while (viv_res_trace_read(reg, &cursor, &entry)) {
        assert_true(strlen(text) + 20 < sizeof text);
        strcat(text, viv_trace_event_name((enum viv_trace_event)entry.event));
        strcat(text, " ");
    }
    return text;
}

#define EVENTS(text) assert_string_equal(events_of(rig.res.reg), text)

static void birth_and_end(void **state)
{
    (void)state;
    struct viv_trace_entry entry;
    struct thing thing = {0};
    viv_handle hdl;
    EVENTS("");
    const struct viv_res_spec spec = {.kind = KIND};
    OK(viv_res_insert(rig.t, &spec, &thing, VIV_RIGHT_READ, &hdl));
    viv_rid rid;
    OK(viv_res_entry(rig.t, hdl, &rid));
    uint64_t at = cursor;
    assert_true(viv_res_trace_read(rig.res.reg, &at, &entry));
    assert_int_equal(entry.event, VIV_TRACE_REGISTERED);
    assert_int_equal(entry.seq, 0);
    assert_int_equal(entry.kind, KIND);
    assert_int_equal(entry.time_ns, rig.res.now_ns);
    assert_true(viv_rid_eq(entry.rid, rid) && viv_rid_eq(entry.owner, rig.proc[0]));
    EVENTS("registered slot-assigned ");
    OK(viv_res_close(rig.t, hdl)); // of a kind that stays
    EVENTS("slot-detached ");
    OK(viv_res_discard(rig.res.reg, rid));
    EVENTS("dying closed ");
    res_rig_quiet(&rig.res);
    EVENTS("destroyed ");
}

static void reservations_pins_and_moves(void **state)
{
    (void)state;
    struct viv_reg *reg = rig.res.reg;
    struct thing thing = {0};
    struct viv_res *pinned;
    viv_rid rid, host;
    void *obj;
    OK(viv_res_reserve(reg, &(struct viv_res_spec){.kind = KIND, .owner = rig.proc[0]}, &rid));
    OK(viv_res_initialise(reg, rid, KIND, &thing));
    EVENTS("reserved initialised ");
    static struct thing other;
    host = res_rig_add(&rig.res, VIV_KIND_HOST, VIV_RID_NONE, VIV_RID_NONE, &other);
    EVENTS("registered ");
    OK(viv_res_set_owner(reg, rid, rig.proc[1]));
    EVENTS("owner-changed ");
    OK(viv_res_set_parent(reg, rid, host));
    OK(viv_res_set_parent(reg, rid, VIV_RID_NONE));
    EVENTS("parent-linked ");
    OK(viv_res_pin(reg, host, VIV_KIND_HOST, &pinned));
    OK(viv_res_discard(reg, host));
    EVENTS("host-pointer dying closed pinned-late ");
    viv_res_unpin(pinned);
    res_rig_quiet(&rig.res);
    EVENTS("destroyed ");
    OK(viv_res_remove(reg, rid, KIND, &obj));
    assert_ptr_equal(obj, &thing);
    assert_non_null(strstr(events_of(reg), "removed "));
    res_rig_quiet(&rig.res);
}

static void shares_grants_and_parking(void **state)
{
    (void)state;
    viv_shared shared;
    viv_handle there;
    struct viv_op op;
    viv_rid rid;
    const viv_handle chan = chan_make(&rig, 64, 0, 0);
    (void)events_of(rig.res.reg);
    OK(viv_res_share(rig.t, chan, &(struct viv_share_opts){.rights = VIV_RIGHT_READ}, &shared));
    EVENTS("granted shared ");
    OK(viv_res_resolve_shared(rig.res.reg, VIV_RID_NONE, shared, &rid));
    EVENTS("resolve-shared ");
    OK(viv_res_attach(rig.tab[1], shared, &there));
    EVENTS("granted resolve-shared slot-assigned ");
    ERR(viv_res_attach(rig.tab[1], (viv_shared){1}, &there), NOTFOUND);
    EVENTS("");
    OK(viv_res_revoke(rig.t, chan));
    assert_non_null(strstr(events_of(rig.res.reg), "revoked "));
    const viv_handle reader = chan_reader(&rig, chan, VIV_CHAN_STRONG);
    const viv_handle writer = chan_writer(&rig, chan, VIV_CHAN_STRONG);
    (void)events_of(rig.res.reg);
    chan_park(rig.t, reader, &op, NULL);
    EVENTS("parked ");
    DONE(chan_write(&rig, writer, "x"));
    EVENTS("woken ");
    assert_int_equal(chan_result(&op), 0);
}

static void what_an_account_refuses(void **state)
{
    (void)state;
    struct thing thing = {0};
    viv_handle hdl;
    viv_account_set_max(rig.account[0], VIV_COUNTER_RESOURCES, 0);
    ERR(viv_res_insert(rig.t, &(struct viv_res_spec){.kind = KIND}, &thing, VIV_RIGHT_READ, &hdl),
        QUOTA);
    EVENTS("quota ");
}

static void the_oldest_are_overtaken(void **state)
{
    (void)state;
    struct viv_trace_entry entry;
    struct viv_reg *reg = rig.res.reg;
    struct viv_res *pinned;
    viv_res_trace_stop(reg);
    EVENTS("");
    OK(viv_res_trace_start(reg, 4));
    ERR(viv_res_trace_start(reg, 4), STATE);
    for (int i = 0; i < 10; i++) {
        OK(viv_res_pin(reg, rig.proc[0], VIV_KIND_PROCESS, &pinned));
        viv_res_unpin(pinned);
    }
    cursor = 0;
    assert_true(viv_res_trace_read(reg, &cursor, &entry));
    assert_int_equal(entry.seq, 6);
    EVENTS("host-pointer host-pointer host-pointer ");
    viv_res_trace_stop(reg);
    viv_alloc_fail_nth(1);
    ERR(viv_res_trace_start(reg, 0), EXHAUSTED);
    viv_alloc_fail_nth(0);
    OK(viv_res_trace_start(reg, 0));
}

static void ends_and_denials(void **state)
{
    (void)state;
    struct ses_rig ses;
    struct viv_trace_entry entry;
    ses_rig_prepare(&ses);
    ses_rig_open(&ses, "use all\n");
    struct viv_session *session = ses_rig_child(&ses, ses.root, "allow chan.read\n");
    const struct actor actor = ses_rig_spawn(&ses, session);
    OK(viv_res_trace_start(ses.reg, 0));
    cursor = 0;
    ERR(viv_cap_check(actor.proc, VIV_CAP_FS, &(struct viv_cap_query){0}), DENIED);
    assert_true(viv_res_trace_read(ses.reg, &cursor, &entry));
    assert_int_equal(entry.event, VIV_TRACE_DENIED);
    assert_int_equal(entry.pid.w, actor.pid.w);
    assert_true(viv_proc_kill(ses.env, actor.pid));
    ses_rig_run(&ses);
    const char *text = events_of(ses.reg);
    const char *start = strstr(text, "cascade-start "), *end = strstr(text, "cascade-end ");
    assert_true(start == text && end != NULL && strstr(start, "closed ") < end);
    viv_ses_drop(session);
    ses_rig_close(&ses); // with the trace on
}

static void every_event_has_a_name(void **state)
{
    (void)state;
    for (int i = 0; i < VIV_TRACE_EVENTS; i++)
        assert_true(strlen(viv_trace_event_name((enum viv_trace_event)i)) > 3);
    assert_string_equal(viv_trace_event_name(VIV_TRACE_EVENTS), "?");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(birth_and_end),
        TEST(reservations_pins_and_moves),
        TEST(shares_grants_and_parking),
        TEST(what_an_account_refuses),
        TEST(the_oldest_are_overtaken),
        cmocka_unit_test(ends_and_denials),
        cmocka_unit_test(every_event_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
