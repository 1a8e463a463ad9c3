// SPDX-License-Identifier: Apache-2.0
// What the registry and the sessions count: each number against what was done.
#include "cap/metrics.h"
#include "cap/ring.h"
#include "cap/share.h"
#include "chan_rig.h"
#include "proc/host.h"
#include "sched/drive.h"
#include "ses_rig.h"
#include <string.h>

static struct viv_res_metrics read_all(struct viv_reg *reg)
{
    static struct viv_res_metrics metrics;
    viv_res_metrics(reg, &metrics);
    return metrics;
}

static void resources_by_kind(void **state)
{
    (void)state;
    struct res_rig rig;
    struct thing things[4] = {{0}};
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    assert_int_equal(read_all(rig.reg).kinds[VIV_KIND_FILE].created, 0);
    const struct viv_res_spec spec = {.kind = VIV_KIND_FILE, .charge_bytes = 100};
    viv_rid rids[3];
    for (int i = 0; i < 3; i++)
        OK(viv_res_add(rig.reg, &spec, &things[i], &rids[i]));
    const viv_rid dir = res_rig_add(&rig, VIV_KIND_DIR, VIV_RID_NONE, VIV_RID_NONE, &things[3]);
    OK(viv_res_discard(rig.reg, rids[0]));
    ERR(viv_res_discard(rig.reg, rids[0]), NOTFOUND);
    struct viv_res_metrics metrics = read_all(rig.reg);
    assert_int_equal(metrics.kinds[VIV_KIND_FILE].created, 3);
    assert_int_equal(metrics.kinds[VIV_KIND_FILE].live, 2);
    assert_int_equal(metrics.kinds[VIV_KIND_FILE].bytes, 2 * 128); // 100, in units of 64
    assert_int_equal(metrics.kinds[VIV_KIND_DIR].live, 1);
    assert_int_equal(metrics.kinds[VIV_KIND_DIR].bytes, 0);
    assert_int_equal(metrics.kinds[VIV_KIND_TIMER].created, 0);
    assert_int_equal(metrics.retired, 1); // the grace period has not passed
    res_rig_quiet(&rig);
    assert_int_equal(read_all(rig.reg).retired, 0);
    OK(viv_res_discard(rig.reg, dir));
    OK(viv_res_discard(rig.reg, rids[1]));
    OK(viv_res_discard(rig.reg, rids[2]));
    metrics = read_all(rig.reg);
    assert_int_equal(metrics.kinds[VIV_KIND_FILE].created, 3);
    assert_int_equal(metrics.kinds[VIV_KIND_FILE].live + metrics.kinds[VIV_KIND_FILE].bytes, 0);
    res_rig_close(&rig);
}

static void failures_by_code(void **state)
{
    (void)state;
    struct chan_rig rig;
    void *obj;
    chan_rig_open(&rig);
    const viv_handle chan = chan_make(&rig, 64, 0, 0);
    const viv_handle none = {chan.w + 7};
    viv_handle less, out;
    OK(viv_res_dup(rig.t, chan, VIV_RIGHT_STAT, &less));
    OK(viv_res_use(rig.t, chan, VIV_KIND_CHANNEL, 0, &obj)); // counts nothing
    for (int i = 0; i < 3; i++)
        ERR(viv_res_use(rig.t, none, VIV_KIND_CHANNEL, 0, &obj), BADHANDLE);
    ERR(viv_res_use(rig.t, chan, VIV_KIND_FILE, 0, &obj), KIND);
    ERR(viv_res_use(rig.t, less, VIV_KIND_CHANNEL, VIV_RIGHT_READ, &obj), RIGHTS);
    ERR(viv_res_dup(rig.t, less, VIV_RIGHT_READ, &out), RIGHTS);
    OK(viv_res_revoke(rig.t, chan));
    ERR(viv_res_use(rig.t, less, VIV_KIND_CHANNEL, 0, &obj), REVOKED);
    const struct viv_res_metrics metrics = read_all(rig.res.reg);
    assert_int_equal(metrics.failures[VIV_E_BADHANDLE], 3);
    assert_int_equal(metrics.failures[VIV_E_KIND], 1);
    assert_int_equal(metrics.failures[VIV_E_RIGHTS], 2);
    assert_int_equal(metrics.failures[VIV_E_REVOKED], 1);
    assert_int_equal(metrics.failures[VIV_OK], 0);
    chan_rig_close(&rig);
}

static void frames_and_bytes_of_channels(void **state)
{
    (void)state;
    struct chan_rig rig;
    chan_rig_open(&rig);
    const viv_handle chan = chan_make(&rig, 8, 1, 0); // drops what does not fit
    const viv_handle reader = chan_reader(&rig, chan, VIV_CHAN_STRONG);
    const viv_handle writer = chan_writer(&rig, chan, VIV_CHAN_STRONG);
    DONE(chan_write(&rig, writer, "12345"));
    IO(chan_write(&rig, writer, "67890"), DROPPED); // not written
    assert_string_equal(chan_read(&rig, reader), "12345");
    DONE(chan_write(&rig, writer, ""));
    DONE(chan_write(&rig, writer, "12345678"));
    const struct viv_res_metrics metrics = read_all(rig.res.reg);
    assert_int_equal(metrics.frames, 3);
    assert_int_equal(metrics.frame_bytes, 13);
    assert_true(metrics.kinds[VIV_KIND_CHANNEL].bytes >= 8); // it has grown
    OK(viv_res_close(rig.t, chan));
    OK(viv_res_close(rig.t, reader));
    OK(viv_res_close(rig.t, writer));
    res_rig_quiet(&rig.res);
    assert_int_equal(read_all(rig.res.reg).kinds[VIV_KIND_CHANNEL].bytes, 0);
    chan_rig_close(&rig);
}

static void denials_by_class(void **state)
{
    (void)state;
    struct ses_rig rig;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "use all\n");
    struct viv_session *session = ses_rig_child(&rig, rig.root, "allow chan.read\n");
    const struct actor actor = ses_rig_spawn(&rig, session);
    const struct viv_cap_query nothing = {0};
    OK(viv_htab_gate(actor.tab, VIV_CAP_CHAN_READ, &nothing));
    for (int i = 0; i < 5; i++)
        ERR(viv_htab_gate(actor.tab, VIV_CAP_ENTROPY, &nothing), DENIED);
    ERR(viv_cap_check(actor.proc, VIV_CAP_FS, &nothing), DENIED);
    assert_int_equal(viv_ses_denials(rig.all, VIV_CAP_ENTROPY), 5);
    assert_int_equal(viv_ses_denials(rig.all, VIV_CAP_FS), 1);
    assert_int_equal(viv_ses_denials(rig.all, VIV_CAP_CHAN_READ), 0);
    // The process has a holder: its end is a cascade.
    assert_int_equal(read_all(rig.reg).cascades, 0);
    assert_true(viv_proc_kill(rig.env, actor.pid));
    ses_rig_run(&rig);
    ses_rig_quiet(&rig);
    const struct viv_res_metrics metrics = read_all(rig.reg);
    assert_int_equal(metrics.cascades, 1);
    assert_true(metrics.cascade_most_ns <= metrics.cascade_ns);
    viv_ses_drop(session);
    ses_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resources_by_kind),
        cmocka_unit_test(failures_by_code),
        cmocka_unit_test(frames_and_bytes_of_channels),
        cmocka_unit_test(denials_by_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
