// SPDX-License-Identifier: Apache-2.0
// Every resource as a row, what its kind tells of it, and what a process uses.
#include "cap/fut.h"
#include "cap/info.h"
#include "cap/ring.h"
#include "cap/rows.h"
#include "cap/share.h"
#include "chan_rig.h"
#include <string.h>

enum { MANY = 9000 }; // more than two segments

static struct chan_rig rig;

// All rows, in pieces; how many. The one of `rid` in *out, which must be told once.
static uint32_t read_rows(struct viv_reg *reg, viv_rid rid, struct viv_res_row *out)
{
    static struct viv_res_row rows[7];
    uint64_t cursor = 0;
    uint32_t sum = 0, found = 0;
    while (cursor != VIV_RES_ROWS_END) {
        const uint32_t count = viv_res_rows(reg, &cursor, rows, VIV_COUNT_OF(rows));
        sum += count;
        for (uint32_t i = 0; i < count; i++)
            if (viv_rid_eq(rows[i].meta.id, rid)) {
                found++;
                *out = rows[i];
            }
    }
    assert_int_equal(found, rid.w != 0 ? 1 : 0);
    return sum;
}

static viv_rid rid_of(viv_handle hdl)
{
    viv_rid rid;
    OK(viv_res_entry(rig.t, hdl, &rid));
    return rid;
}

static int setup(void **state)
{
    (void)state;
    chan_rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    chan_rig_close(&rig);
    return 0;
}

static void each_resource_is_a_row(void **state)
{
    (void)state;
    struct viv_res_row row;
    const uint32_t before = read_rows(rig.res.reg, VIV_RID_NONE, &row);
    const viv_handle chan = chan_make(&rig, 64, 0, 0);
    const viv_handle reader = chan_reader(&rig, chan, VIV_CHAN_STRONG);
    assert_int_equal(read_rows(rig.res.reg, rid_of(reader), &row), before + 2);
    assert_string_equal(row.kind_name, "reader");
    assert_int_equal(row.meta.phase, VIV_RES_LIVE);
    assert_true(viv_rid_eq(row.meta.owner, rig.proc[0]));
    assert_true(viv_rid_eq(row.meta.parent, rid_of(chan)));
    assert_true(viv_rid_eq(row.proc, rig.proc[0]));
    assert_int_equal(row.meta.holds, 1);
    assert_false(row.is_orphan || row.is_derived);
    assert_int_equal(row.env.w, 0);
    OK(viv_res_close(rig.t, reader));
    OK(viv_res_close(rig.t, chan));
    res_rig_quiet(&rig.res);
    assert_int_equal(read_rows(rig.res.reg, VIV_RID_NONE, &row), before);
}

static void kinds_of_an_environment(void **state)
{
    (void)state;
    static struct viv_res_kind_sum kinds[3][VIV_KINDS_MAX];
    static struct thing things[6];
    const viv_rid envs[3] = {
        VIV_RID_NONE,
        res_rig_add(&rig.res, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, &things[0]),
        res_rig_add(&rig.res, VIV_KIND_ENVIRONMENT, VIV_RID_NONE, VIV_RID_NONE, &things[1])};
    viv_rid rids[3];
    for (int i = 0; i < 3; i++) { // two files in the first, one in the second
        const struct viv_res_spec spec = {
            .kind = VIV_KIND_FILE, .owner = envs[i < 2 ? 1 : 2], .charge_bytes = 64};
        OK(viv_res_add(rig.res.reg, &spec, &things[2 + i], &rids[i]));
    }
    memset(kinds, 0, sizeof kinds);
    for (int i = 0; i < 3; i++)
        for (uint64_t cursor = 0; cursor != VIV_RES_ROWS_END;)
            viv_res_sum_kinds(rig.res.reg, envs[i], &cursor, kinds[i]);
    assert_int_equal(kinds[0][VIV_KIND_FILE].live, 0);
    assert_int_equal(kinds[1][VIV_KIND_FILE].live, 2);
    assert_int_equal(kinds[1][VIV_KIND_FILE].bytes, 128);
    assert_int_equal(kinds[2][VIV_KIND_FILE].live, 1);
    assert_int_equal(kinds[2][VIV_KIND_FILE].bytes, 64);
    assert_int_equal(kinds[2][VIV_KIND_TIMER].live, 0);
    for (int i = 1; i < 3; i++)
        OK(viv_res_discard(rig.res.reg, envs[i])); // with what they own
    res_rig_quiet(&rig.res);
    memset(kinds, 0, sizeof kinds);
    for (uint64_t cursor = 0; cursor != VIV_RES_ROWS_END;)
        viv_res_sum_kinds(rig.res.reg, envs[1], &cursor, kinds[1]);
    assert_int_equal(kinds[1][VIV_KIND_FILE].live, 0);
}

static void shares_derivation_and_label(void **state)
{
    (void)state;
    struct viv_res_row row;
    viv_shared shared;
    viv_handle there, reader, hdl;
    const viv_handle chan = chan_make(&rig, 64, 0, 0);
    const struct viv_share_opts opts = {
        .rights = VIV_RIGHT_READ | VIV_RIGHT_DERIVE | VIV_RIGHT_CHANNEL_WEAK_READER, .uses = 2};
    OK(viv_res_share(rig.t, chan, &opts, &shared));
    OK(viv_res_row(rig.res.reg, rid_of(chan), &row));
    assert_int_equal(row.shares, 1);
    OK(viv_res_attach(rig.tab[1], shared, &there));
    OK(viv_chan_reader(rig.tab[1], there, VIV_CHAN_WEAK, VIV_CHAN_DEFAULT, &reader));
    viv_rid rid;
    OK(viv_res_entry(rig.tab[1], reader, &rid));
    OK(viv_res_row(rig.res.reg, rid, &row));
    assert_true(row.is_derived);
    struct viv_handle_info infos[2];
    uint32_t cursor = 0, count;
    OK(viv_res_handles(rig.res.reg, rig.proc[1], &cursor, infos, 2, &count));
    assert_int_equal(count, 2);
    assert_int_equal(infos[0].grant_depth, 2); // share, entry
    assert_int_equal(infos[1].grant_depth, 0); // its own creation
    static struct thing thing;
    const struct viv_res_spec spec = {.kind = VIV_KIND_FILE, .label = "notes.txt"};
    OK(viv_res_insert(rig.t, &spec, &thing, VIV_RIGHT_READ, &hdl));
    OK(viv_res_row(rig.res.reg, rid_of(hdl), &row));
    assert_string_equal(row.label, "notes.txt");
    ERR(viv_res_row(rig.res.reg, VIV_RID_NONE, &row), NOTFOUND);
}

static void what_is_ending_is_shown(void **state)
{
    (void)state;
    struct viv_res_row row;
    struct viv_res *pinned;
    const viv_handle chan = chan_make(&rig, 64, 0, 0);
    const viv_rid rid = rid_of(chan);
    OK(viv_res_pin(rig.res.reg, rid, VIV_KIND_CHANNEL, &pinned));
    OK(viv_res_discard(rig.res.reg, rid));
    (void)read_rows(rig.res.reg, rid, &row);
    assert_int_equal(row.meta.phase, VIV_RES_DYING);
    assert_int_equal(row.meta.pins, 1);
    assert_int_equal(row.meta.owner.w, 0);
    struct viv_res_stat stat;
    ERR(viv_res_stat(rig.res.reg, rid, &stat), NOTFOUND);
    viv_res_unpin(pinned);
    (void)read_rows(rig.res.reg, rid, &row);
    assert_int_equal(row.meta.phase, VIV_RES_DEAD); // its handle is there
    OK(viv_res_close(rig.t, chan));
}

static void many_come_in_pieces(void **state)
{
    (void)state;
    static struct thing things[MANY];
    static viv_rid rids[MANY];
    struct viv_res_row row;
    const uint32_t before = read_rows(rig.res.reg, VIV_RID_NONE, &row);
    for (int i = 0; i < MANY; i++)
        rids[i] = res_rig_add(&rig.res, KIND, VIV_RID_NONE, VIV_RID_NONE, &things[i]);
    assert_int_equal(read_rows(rig.res.reg, rids[MANY - 1], &row), before + MANY);
    for (int i = 0; i < MANY; i++)
        OK(viv_res_discard(rig.res.reg, rids[i]));
    res_rig_quiet(&rig.res);
    // A call looks at a bounded number of records, and then says that there is more.
    uint64_t cursor = 0;
    uint32_t calls = 0, sum = 0;
    for (; cursor != VIV_RES_ROWS_END; calls++)
        sum += viv_res_rows(rig.res.reg, &cursor, &row, 1);
    assert_int_equal(sum, before);
    assert_true(calls > 2);
}

static uint64_t value_of(const struct viv_res_stat *stat, const char *name)
{
    for (uint32_t i = 0; i < stat->count; i++)
        if (strcmp(stat->rows[i].name, name) == 0) return stat->rows[i].value;
    fail_msg("no %s", name);
    return 0;
}

static void a_kind_tells_of_its_objects(void **state)
{
    (void)state;
    struct viv_res_stat stat;
    const viv_handle chan = chan_make(&rig, 8, 2, 0); // refuses
    (void)chan_reader(&rig, chan, VIV_CHAN_STRONG);
    const viv_handle writer = chan_writer(&rig, chan, VIV_CHAN_WEAK);
    DONE(chan_write(&rig, writer, "12345"));
    CODE(chan_write(&rig, writer, "67890"), FULL);
    OK(viv_res_stat(rig.res.reg, rid_of(chan), &stat));
    assert_int_equal(value_of(&stat, "capacity"), 8);
    assert_int_equal(value_of(&stat, "frames_in"), 1);
    assert_int_equal(value_of(&stat, "bytes_in"), 5);
    assert_int_equal(value_of(&stat, "owed_bytes"), 5);
    assert_int_equal(value_of(&stat, "refused"), 1);
    assert_int_equal(value_of(&stat, "next_seq"), 1);
    assert_int_equal(value_of(&stat, "strong_readers"), 1);
    assert_int_equal(value_of(&stat, "weak_readers"), 0);
    assert_int_equal(value_of(&stat, "weak_writers"), 1);
    assert_int_equal(value_of(&stat, "strong_writers"), 0);
    OK(viv_res_stat(rig.res.reg, rid_of(writer), &stat)); // tells nothing
    assert_int_equal(stat.count, 0);
    ERR(viv_res_stat(rig.res.reg, VIV_RID_NONE, &stat), NOTFOUND);
}

static void what_a_process_uses(void **state)
{
    (void)state;
    struct viv_usage_info rows[VIV_COUNTERS];
    uint32_t count;
    const viv_handle a = chan_make(&rig, 64, 0, 0);
    OK(viv_res_close(rig.t, chan_make(&rig, 64, 0, 0)));
    OK(viv_res_usage(rig.res.reg, rig.proc[0], rows, &count));
    assert_int_equal(count, VIV_COUNTERS);
    assert_string_equal(rows[VIV_COUNTER_HANDLES].name, "handles");
    assert_int_equal(rows[VIV_COUNTER_HANDLES].used, 1);
    assert_int_equal(rows[VIV_COUNTER_HANDLES].peak, 2);
    viv_account_set_max(rig.account[0], VIV_COUNTER_HANDLES, 5);
    OK(viv_res_usage(rig.res.reg, rig.proc[0], rows, &count));
    assert_int_equal(rows[VIV_COUNTER_HANDLES].limit, 5);
    OK(viv_res_usage(rig.res.reg, rid_of(a), rows, &count)); // no account of its own
    assert_int_equal(count, 0);
    ERR(viv_res_usage(rig.res.reg, VIV_RID_NONE, rows, &count), NOTFOUND);
}

static uint32_t read_pending(struct viv_future_info *out, uint32_t n)
{
    uint32_t cursor = 0, count = 0, sum = 0;
    do { // one by one
        OK(viv_res_pending(rig.res.reg, rig.proc[0], &cursor, out + sum, 1, &count));
        sum += count;
    } while (count > 0 && sum < n);
    return sum;
}

static void pending_futures_by_operation_and_age(void **state)
{
    (void)state;
    static uint64_t memory[32];
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    struct viv_future_info infos[8];
    viv_handle host;
    struct viv_fut *fut;
    uint32_t cursor = 0, count;
    assert_int_equal(read_pending(infos, 8), 0); // not open
    OK(viv_futs_open(rig.t, NULL));
    assert_int_equal(read_pending(infos, 8), 0);
    memset(memory, 0xFF, 8); // sleeps for ever
    const struct viv_fut_result sleep = viv_fut_create(rig.t, mem, VIV_GUESTOP_SLEEP, 0, 8);
    assert_int_equal(sleep.status, VIV_FUT_READY);
    const viv_handle reader = chan_reader(&rig, chan_make(&rig, 64, 0, 0), VIV_CHAN_STRONG);
    memcpy(memory, &reader.w, sizeof(reader.w));
    const struct viv_fut_result read = viv_fut_create(rig.t, mem, VIV_GUESTOP_CHAN_READ, 0, 4);
    assert_int_equal(read.status, VIV_FUT_READY);
    memset(memory, 0, 16); // a channel of no capacity: refused at once, hence not pending
    const struct viv_fut_result made = viv_fut_create(rig.t, mem, VIV_GUESTOP_CHAN_CREATE, 0, 12);
    assert_int_equal(made.status, VIV_FUT_READY);
    OK(viv_fut_new(rig.t, NULL, NULL, &host, &fut));
    assert_int_equal(read_pending(infos, 8), 3);
    assert_int_equal(infos[0].hdl.w, sleep.value);
    assert_string_equal(infos[0].op, "sleep");
    assert_int_equal(infos[1].hdl.w, read.value);
    assert_string_equal(infos[1].op, "chan_read");
    assert_int_equal(infos[2].hdl.w, host.w);
    assert_string_equal(infos[2].op, "host");
    assert_true(infos[0].age_s < 60);
    viv_fut_resolve(fut, VIV_OK, NULL); // has a result, not taken
    assert_int_equal(read_pending(infos, 8), 2);
    viv_fut_drop(rig.t, mem, (viv_handle){sleep.value}, 0, 0);
    assert_int_equal(read_pending(infos, 8), 1);
    assert_string_equal(infos[0].op, "chan_read");
    ERR(viv_res_pending(rig.res.reg, rid_of(reader), &cursor, infos, 8, &count), KIND);
    ERR(viv_res_pending(rig.res.reg, VIV_RID_NONE, &cursor, infos, 8, &count), NOTFOUND);
}

static void futures_and_ring(void **state)
{
    (void)state;
    static uint64_t memory[32];
    const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
    struct viv_futures_info info;
    viv_handle hdl;
    struct viv_fut *fut;
    OK(viv_res_futures(rig.res.reg, rig.proc[0], &info));
    assert_false(info.is_open);
    OK(viv_futs_open(rig.t, NULL));
    OK(viv_ring_register(rig.t, mem, 0, 8, 0));
    OK(viv_fut_new(rig.t, NULL, NULL, &hdl, &fut));
    assert_int_equal(viv_fut_poll(rig.t, mem, hdl, 7, 128, 8).status, VIV_FUT_PENDING);
    OK(viv_res_futures(rig.res.reg, rig.proc[0], &info));
    assert_true(info.is_open);
    assert_int_equal(info.ring_capacity, 8);
    assert_int_equal(info.waiting_count, 0);
    struct viv_buf none;
    viv_buf_init(&none, VIV_TAG_CAP);
    viv_fut_resolve(fut, VIV_OK, &none);
    OK(viv_res_futures(rig.res.reg, rig.proc[0], &info));
    assert_int_equal(info.waiting_count, 1);
    assert_true(viv_ring_flush(rig.t, mem));
    OK(viv_res_futures(rig.res.reg, rig.proc[0], &info));
    assert_int_equal(info.waiting_count, 0);
    const viv_handle reader = chan_reader(&rig, chan_make(&rig, 64, 0, 0), VIV_CHAN_STRONG);
    struct viv_op op;
    chan_park(rig.t, reader, &op, NULL);
    OK(viv_res_futures(rig.res.reg, rig.proc[0], &info));
    assert_int_equal(info.parked_count, 1);
    ERR(viv_op_cancel(&op, VIV_E_CANCELLED), CANCELLED);
    assert_int_equal(viv_fut_poll(rig.t, mem, hdl, 7, 128, 8).status, VIV_FUT_READY);
    ERR(viv_res_futures(rig.res.reg, rid_of(reader), &info), KIND);
    ERR(viv_res_futures(rig.res.reg, VIV_RID_NONE, &info), NOTFOUND);
}

static void rids_as_text(void **state)
{
    (void)state;
    char text[VIV_RID_TEXT_BYTES];
    assert_string_equal(viv_rid_format(VIV_RID_NONE, text), "-");
    assert_string_equal(viv_rid_format((viv_rid){UINT64_C(7) << 32 | UINT64_C(3) << 24 | 12}, text),
                        "#3.12.7");
    assert_string_equal(viv_rid_format((viv_rid){UINT64_MAX}, text), "#255.16777215.4294967295");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_resource_is_a_row),
        TEST(kinds_of_an_environment),
        TEST(shares_derivation_and_label),
        TEST(what_is_ending_is_shown),
        TEST(many_come_in_pieces),
        TEST(a_kind_tells_of_its_objects),
        TEST(what_a_process_uses),
        TEST(pending_futures_by_operation_and_age),
        TEST(futures_and_ring),
        cmocka_unit_test(rids_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
