// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for channels and futures: each operation with its first, second, ... allocation
// failing until none does. It answers EXHAUSTED and nothing has changed, or it succeeds.
#include "base/alloc.h"
#include "cap/ring.h"
#include "chan_rig.h"
#include <string.h>

static struct chan_rig rig;
static viv_handle chan, writer, reader;
static uint64_t memory[64];
static const struct viv_guest_mem mem = {(uint8_t *)memory, sizeof(memory)};
enum { ARGS = 0, OUT = 256 };

static enum viv_err do_create(void)
{
    const struct viv_chan_opts opts = {.capacity_bytes = 64};
    viv_handle hdl;
    return viv_chan_create(rig.t, &opts, &hdl);
}

static enum viv_err do_reader(void)
{
    viv_handle hdl;
    return viv_chan_reader(rig.t, chan, VIV_CHAN_STRONG, VIV_CHAN_DEFAULT, &hdl);
}

static enum viv_err do_writer(void)
{
    viv_handle hdl;
    return viv_chan_writer(rig.t, chan, VIV_CHAN_STRONG, &hdl);
}

// The descriptors are used up.
static enum viv_err do_write(void)
{
    const int code = chan_write(&rig, writer, "x");
    return code >= 0 ? (enum viv_err)code : VIV_E_STATE;
}

static enum viv_err do_reserve(void)
{
    struct viv_chan_slot slot;
    enum viv_io io;
    VIV_TRY(viv_chan_reserve(rig.t, writer, 1, &slot, &io));
    return viv_chan_commit(&slot, true);
}

// A write that is parked and served at once needs a descriptor.
static enum viv_err do_begin(void)
{
    struct viv_op op;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    viv_op_init(&op, NULL);
    VIV_TRY(viv_chan_begin(rig.t, writer, &op, &buf));
    assert_false(viv_op_is_parked(&op));
    return viv_op_check(&op, 0);
}

static enum viv_err do_downgrade(void)
{
    // The table's first page is full, so the new handle needs another.
    viv_handle hdl;
    return viv_chan_downgrade(rig.t, reader, &hdl);
}

static enum viv_err do_futs(void)
{
    return viv_futs_open(rig.tab[1], NULL);
}

static enum viv_err do_fut_new(void)
{
    viv_handle hdl;
    struct viv_fut *fut;
    VIV_TRY(viv_fut_new(rig.t, NULL, NULL, &hdl, &fut));
    viv_fut_resolve(fut, VIV_OK, NULL);
    return VIV_OK;
}

// A guest's operation, from start to its result.
static enum viv_err do_guest(uint32_t op, uint32_t len)
{
    const struct viv_fut_result made = viv_fut_create(rig.t, mem, op, ARGS, len);
    if (made.status == VIV_FUT_FAILED) return (enum viv_err)made.value;
    const struct viv_fut_result got =
        viv_fut_poll(rig.t, mem, (viv_handle){made.value}, 0, OUT, 64);
    return got.status == VIV_FUT_FAILED ? (enum viv_err)got.value : VIV_OK;
}

static enum viv_err do_guest_create(void)
{
    memset(memory, 0, sizeof(memory));
    memory[0] = 16;
    return do_guest(VIV_GUESTOP_CHAN_CREATE, 12);
}

static enum viv_err do_guest_reader(void)
{
    memory[0] = chan.w;
    return do_guest(VIV_GUESTOP_CHAN_READER, 8);
}

static enum viv_err do_guest_write(void)
{
    memory[0] = writer.w | UINT64_C(1) << 32;
    return do_guest(VIV_GUESTOP_CHAN_WRITE, 9);
}

static enum viv_err do_guest_sleep(void)
{
    memory[0] = 0;
    return do_guest(VIV_GUESTOP_SLEEP, 8);
}

struct sweep {
    const char *name;
    enum viv_err (*act)(void);
    uint32_t least; // allocations it is known to make
};

static void prepare(void)
{
    chan_rig_open(&rig);
    OK(viv_futs_open(rig.t, NULL));
    chan = chan_make(&rig, 64, VIV_CHAN_PARK, 0);
    writer = chan_writer(&rig, chan, VIV_CHAN_STRONG);
    reader = chan_reader(&rig, chan, VIV_CHAN_STRONG);
    for (uint32_t i = 0; i < 4; i++)
        DONE(chan_write(&rig, writer, "x"));
    for (uint32_t i = 0; i < 15; i++) // with writer, all ids that there is room for
        (void)chan_writer(&rig, chan, VIV_CHAN_WEAK);
    viv_handle hdl;
    do {
        OK(viv_res_dup(rig.t, chan, 0, &hdl));
    } while (hdl.w < VIV_HTAB_PAGE_ENTRIES - 1); // the first page of the table
    res_rig_quiet(&rig.res);
}

// True when the operation went through without reaching the nth allocation.
static bool run_once(const struct sweep *sweep, uint64_t nth)
{
    prepare();
    const uint64_t records = viv_res_record_count(rig.res.reg);
    const uint64_t bytes = viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES);
    const uint64_t handles = viv_account_used(rig.account[0], VIV_COUNTER_HANDLES);
    const struct viv_chan_stat before = chan_stat(&rig, chan);
    viv_alloc_fail_nth(nth);
    const enum viv_err err = sweep->act();
    const bool has_failed = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    if (has_failed) {
        if (err != VIV_E_EXHAUSTED)
            fail_msg("%s, allocation %u: %s", sweep->name, (unsigned)nth, viv_err_name(err));
        res_rig_quiet(&rig.res);
        assert_int_equal(viv_res_record_count(rig.res.reg), records);
        assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_RESOURCE_BYTES), bytes);
        assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_HANDLES), handles);
        assert_int_equal(viv_account_used(rig.account[0], VIV_COUNTER_FUTURES), 0);
        const struct viv_chan_stat after = chan_stat(&rig, chan);
        assert_memory_equal(&after, &before, sizeof(after));
        res_rig_check(&rig.res);
        OK(sweep->act()); // and now it works
    } else {
        OK(err);
    }
    chan_rig_close(&rig);
    return !has_failed;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    static const struct sweep sweeps[] = {
        {"create", do_create, 4},
        {"reader", do_reader, 2},
        {"writer", do_writer, 3},
        {"write", do_write, 1},
        {"reserve", do_reserve, 1},
        {"begin", do_begin, 1},
        {"downgrade", do_downgrade, 1},
        {"futs", do_futs, 1},
        {"fut_new", do_fut_new, 2},
        {"guest chan_create", do_guest_create, 5},
        {"guest chan_reader", do_guest_reader, 3},
        {"guest chan_write", do_guest_write, 3},
        {"guest sleep", do_guest_sleep, 2},
    };
    for (uint32_t i = 0; i < VIV_COUNT_OF(sweeps); i++) {
        uint64_t nth = 1;
        while (!run_once(&sweeps[i], nth))
            nth++;
        if (nth - 1 < sweeps[i].least)
            fail_msg("%s: only %u allocations failed", sweeps[i].name, (unsigned)(nth - 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_allocation_fails)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
