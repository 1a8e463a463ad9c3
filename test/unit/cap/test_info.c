// SPDX-License-Identifier: Apache-2.0
// Listings of what a process holds.
#include "res_rig.h"

#include "cap/info.h"
#include <string.h>

enum { CHARGE = 640 };
static struct res_rig rig;
static struct thing things[200];
static struct thing process;
static struct viv_htab *tab;
static viv_rid proc;

static int setup(void **state)
{
    (void)state;
    memset(things, 0, sizeof(things));
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    proc = res_rig_add(&rig, VIV_KIND_PROCESS, VIV_RID_NONE, VIV_RID_NONE, &process);
    OK(viv_res_instance(rig.reg, &tab));
    OK(viv_res_set_process_id(tab, proc));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    viv_res_instance_drop(tab);
    OK(viv_res_discard(rig.reg, proc));
    res_rig_close(&rig);
    return 0;
}

static viv_handle insert(int number, viv_kind kind, viv_rights rights, const char *label)
{
    viv_handle hdl;
    const struct viv_res_spec spec = {.kind = kind, .charge_bytes = CHARGE, .label = label};
    OK(viv_res_insert(tab, &spec, &things[number], rights, &hdl));
    return hdl;
}

static void handles_are_told(void **state)
{
    (void)state;
    struct viv_handle_info info[4];
    uint32_t cursor = 0, count;
    const viv_handle file = insert(0, VIV_KIND_FILE, VIV_RIGHT_READ, "notes.txt");
    const viv_handle gone = insert(1, VIV_KIND_CHANNEL, VIV_RIGHTS_COMMON, NULL);
    const viv_handle closed = insert(2, VIV_KIND_MODULE, VIV_RIGHT_READ, NULL);
    viv_rid rid;
    OK(viv_res_entry(tab, gone, &rid));
    OK(viv_res_discard(rig.reg, rid));
    OK(viv_res_close(tab, closed));
    OK(viv_res_handles(rig.reg, proc, &cursor, info, VIV_COUNT_OF(info), &count));
    assert_int_equal(count, 2);
    assert_int_equal(info[0].hdl.w, file.w);
    assert_int_equal(info[0].kind, VIV_KIND_FILE);
    assert_string_equal(info[0].kind_name, "file");
    assert_int_equal(info[0].rights, VIV_RIGHT_READ);
    assert_int_equal(info[0].charge_bytes, CHARGE);
    assert_int_equal(info[0].phase, VIV_RES_LIVE);
    assert_true(viv_rid_eq(info[0].owner, proc));
    assert_string_equal(info[0].label, "notes.txt");
    assert_false(info[0].is_derived || info[0].is_revoked);
    assert_int_equal(info[1].hdl.w, gone.w);
    assert_true(info[1].phase != VIV_RES_LIVE);
    OK(viv_res_handles(rig.reg, proc, &cursor, info, VIV_COUNT_OF(info), &count));
    assert_int_equal(count, 0);
}

static void generations_are_told(void **state)
{
    (void)state;
    struct viv_handle_info info[1];
    uint32_t cursor = 0, count;
    OK(viv_res_close(tab, insert(0, KIND, VIV_RIGHT_STAT, NULL)));
    const viv_handle second = insert(1, KIND, VIV_RIGHT_STAT, NULL);
    OK(viv_res_handles(rig.reg, proc, &cursor, info, 1, &count));
    assert_int_equal(count, 1);
    assert_int_equal(info[0].hdl.w, second.w);
}

static void long_lists_come_in_pieces(void **state)
{
    (void)state;
    struct viv_handle_info info[7];
    uint32_t cursor = 0, count, sum = 0;
    for (int i = 0; i < (int)VIV_COUNT_OF(things); i++)
        (void)insert(i, KIND, VIV_RIGHT_STAT, NULL);
    for (;;) {
        OK(viv_res_handles(rig.reg, proc, &cursor, info, VIV_COUNT_OF(info), &count));
        if (count == 0) break;
        for (uint32_t i = 0; i < count; i++)
            assert_int_equal(info[i].hdl.w, sum + i + 1);
        sum += count;
    }
    assert_int_equal(sum, VIV_COUNT_OF(things));
}

static void kinds_are_counted(void **state)
{
    (void)state;
    struct viv_kind_info kinds[4];
    uint32_t count;
    for (int i = 0; i < 3; i++)
        (void)insert(i, VIV_KIND_FILE, VIV_RIGHT_READ, NULL);
    (void)insert(3, VIV_KIND_TIMER, VIV_RIGHT_STAT, NULL);
    OK(viv_res_owned_kinds(rig.reg, proc, kinds, VIV_COUNT_OF(kinds), &count));
    assert_int_equal(count, 3); // and its instance
    assert_int_equal(kinds[0].kind, VIV_KIND_INSTANCE);
    assert_int_equal(kinds[1].kind, VIV_KIND_TIMER);
    assert_int_equal(kinds[1].count, 1);
    assert_string_equal(kinds[2].kind_name, "file");
    assert_int_equal(kinds[2].count, 3);
    assert_int_equal(kinds[2].charge_bytes, 3 * CHARGE);
}

static void others_are_told_apart(void **state)
{
    (void)state;
    struct viv_handle_info info[1];
    struct viv_kind_info kinds[1];
    uint32_t cursor = 0, count;
    const viv_handle file = insert(0, VIV_KIND_FILE, VIV_RIGHT_READ, NULL);
    viv_rid rid;
    OK(viv_res_entry(tab, file, &rid));
    ERR(viv_res_handles(rig.reg, rid, &cursor, info, 1, &count), KIND);
    ERR(viv_res_handles(rig.reg, VIV_RID_NONE, &cursor, info, 1, &count), NOTFOUND);
    ERR(viv_res_owned_kinds(rig.reg, VIV_RID_NONE, kinds, 1, &count), NOTFOUND);
    static struct thing other;
    const viv_rid idle = res_rig_add(&rig, VIV_KIND_PROCESS, VIV_RID_NONE, VIV_RID_NONE, &other);
    OK(viv_res_handles(rig.reg, idle, &cursor, info, 1, &count));
    assert_int_equal(count, 0);
    OK(viv_res_discard(rig.reg, idle));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(handles_are_told),  TEST(generations_are_told),  TEST(long_lists_come_in_pieces),
        TEST(kinds_are_counted), TEST(others_are_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
