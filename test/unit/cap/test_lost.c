// SPDX-License-Identifier: Apache-2.0
// close-on-revoke: what was made by a class goes when its session loses that class.
#include "cap/lost.h"
#include "ses_rig.h"
#include <string.h>

static struct ses_rig rig;

static int set_up(void **state)
{
    (void)state;
    ses_rig_prepare(&rig);
    ses_rig_open(&rig, "use all\n");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    ses_rig_close(&rig);
    return 0;
}

static struct viv_session *session;

static struct actor under(const char *policy)
{
    session = ses_rig_child(&rig, rig.root, policy);
    return ses_rig_spawn(&rig, session);
}

static viv_rid add(const struct actor *actor, viv_kind kind, viv_rid parent)
{
    const struct viv_res_spec spec = {.kind = kind, .parent = parent};
    viv_handle hdl;
    viv_rid rid;
    OK(viv_res_insert(actor->tab, &spec, NULL, VIV_RIGHTS_COMMON, &hdl));
    OK(viv_res_entry(actor->tab, hdl, &rid));
    return rid;
}

static bool is_open(viv_rid rid)
{
    struct viv_res_meta meta;
    return viv_res_metadata(rig.reg, rid, &meta) == VIV_OK && meta.phase == VIV_RES_LIVE;
}

#define ALLOWED "allow fs\nallow time.timer\nallow db.open\nallow chan.create\n"

static void what_was_made_by_it_is_closed(void **state)
{
    (void)state;
    struct viv_lost lost = {0};
    const viv_rid none = VIV_RID_NONE;
    const struct actor actor = under(ALLOWED "close-on-revoke\n");
    const viv_rid dir = add(&actor, VIV_KIND_DIR, none), file = add(&actor, VIV_KIND_FILE, dir);
    const viv_rid alone = add(&actor, VIV_KIND_FILE, none);
    const viv_rid timer = add(&actor, VIV_KIND_TIMER, none);
    const viv_rid base = add(&actor, VIV_KIND_DATABASE, none);
    const viv_rid module = add(&actor, VIV_KIND_MODULE, none); // loaded code is not a thing open
    assert_false(viv_lost_close(&lost, actor.proc));
    OK(viv_ses_shrink(session, VIV_CAP_FS));
    while (viv_lost_close(&lost, actor.proc))
        continue;
    assert_false(is_open(dir) || is_open(file) || is_open(alone));
    assert_true(is_open(timer) && is_open(base) && is_open(module));
    assert_false(viv_lost_close(&lost, actor.proc));
    // From above, and two at once.
    OK(viv_ses_shrink(rig.root, VIV_CAP_TIME_TIMER));
    OK(viv_ses_shrink(rig.root, VIV_CAP_DB_OPEN));
    while (viv_lost_close(&lost, actor.proc))
        continue;
    assert_false(is_open(timer) || is_open(base));
    assert_true(is_open(module));
    viv_ses_drop(session);
}

static void without_the_line_it_stays(void **state)
{
    (void)state;
    struct viv_lost lost = {0};
    const struct actor actor = under(ALLOWED);
    const viv_rid file = add(&actor, VIV_KIND_FILE, VIV_RID_NONE);
    assert_false(viv_lost_close(&lost, actor.proc));
    OK(viv_ses_shrink(session, VIV_CAP_FS));
    assert_false(viv_lost_close(&lost, actor.proc));
    assert_true(is_open(file));
    viv_ses_drop(session);
}

static void a_part_is_not_lost(void **state)
{
    (void)state;
    struct viv_lost lost = {0};
    const struct actor actor = under("allow chan.create=1K,2K\nclose-on-revoke\n");
    const viv_rid chan = add(&actor, VIV_KIND_READER, VIV_RID_NONE);
    assert_false(viv_lost_close(&lost, actor.proc));
    OK(viv_ses_shrink(rig.root, VIV_CAP_FS)); // it never had that
    assert_false(viv_lost_close(&lost, actor.proc));
    assert_true(is_open(chan));
    viv_ses_drop(session);
}

// A table that was made, and much in it: in pieces, and nothing is forgotten.
static void much_goes_in_pieces(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    struct viv_lost lost = {0};
    const struct actor actor = under(ALLOWED "close-on-revoke\n");
    static viv_rid rids[MANY];
    viv_rid dir = VIV_RID_NONE;
    for (int i = 0; i < MANY; i++) {
        if (i % 100 == 0) dir = add(&actor, VIV_KIND_DIR, VIV_RID_NONE);
        rids[i] = i % 3 == 0   ? add(&actor, VIV_KIND_TIMER, VIV_RID_NONE)
                  : i % 3 == 1 ? add(&actor, VIV_KIND_FILE, dir)
                               : add(&actor, VIV_KIND_FILE, VIV_RID_NONE);
    }
    assert_false(viv_lost_close(&lost, actor.proc));
    OK(viv_ses_shrink(session, VIV_CAP_FS));
    int calls = 0;
    while (viv_lost_close(&lost, actor.proc))
        calls++;
    assert_in_range(calls, MANY / 4096, MANY);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(is_open(rids[i]), i % 3 == 0);
    viv_ses_drop(session);
}

static void classes_of_kinds(void **state)
{
    (void)state;
    assert_int_equal(viv_lost_class_of(VIV_KIND_FILE), VIV_CAP_FS);
    assert_int_equal(viv_lost_class_of(VIV_KIND_STREAM), VIV_CAP_NET_CONNECT);
    assert_int_equal(viv_lost_class_of(VIV_KIND_CHANNEL), VIV_CAP_CHAN_CREATE);
    assert_int_equal(viv_lost_class_of(VIV_KIND_PROCESS), VIV_CAP_COUNT);
    assert_int_equal(viv_lost_class_of(0), VIV_CAP_COUNT);
    assert_int_equal(viv_lost_class_of(200), VIV_CAP_COUNT); // an embedder's
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_was_made_by_it_is_closed),
        TEST(without_the_line_it_stays),
        TEST(a_part_is_not_lost),
        TEST(much_goes_in_pieces),
        TEST(classes_of_kinds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
