// SPDX-License-Identifier: Apache-2.0
// "Fail the Nth" for the registry: each operation with its first, second, ... allocation failing
// until none does. It answers EXHAUSTED and nothing has changed, or it succeeds.
#include "base/alloc.h"
#include "cap/share.h"
#include "cap/transit.h"
#include "res_rig.h"
#include <string.h>

static struct res_rig rig;
static struct viv_htab *tab;
static viv_rid proc, chan;
static viv_handle made, derived; // of chan; for sweeps that need a handle
static viv_shared shared;
static struct viv_transit *transit;
static struct thing things[4];

static enum viv_err do_new(void)
{
    struct viv_reg *reg;
    const enum viv_err err = viv_res_new(&rig.config, &reg);
    if (err == VIV_OK) viv_res_free(reg);
    return err;
}

static enum viv_err do_add(void)
{
    const struct viv_res_spec spec = {.kind = KIND, .owner = chan, .parent = proc, .label = "x"};
    viv_rid rid;
    return viv_res_add(rig.reg, &spec, &things[0], &rid);
}

static enum viv_err do_set_parent(void)
{
    return viv_res_set_parent(rig.reg, chan, proc);
}

static enum viv_err do_instance(void)
{
    struct viv_htab *out;
    return viv_res_instance(rig.reg, &out);
}

static enum viv_err do_insert(void)
{
    const struct viv_res_spec spec = {.kind = KIND, .label = "x"};
    viv_handle hdl;
    return viv_res_insert(tab, &spec, &things[0], 0, &hdl);
}

static enum viv_err do_insert_id(void)
{
    viv_handle hdl;
    return viv_res_insert_id(tab, chan, 0, &hdl);
}

static enum viv_err do_future(void)
{
    viv_handle hdl;
    return viv_res_insert_future(tab, (struct viv_fut *)&things[0], &hdl);
}

static enum viv_err do_registrar(void)
{
    struct viv_registrar *registrar;
    const enum viv_err err = viv_res_registrar(tab, 3, &registrar);
    if (err == VIV_OK) viv_res_registrar_free(registrar);
    return err;
}

static enum viv_err do_singleton(void)
{
    return viv_res_register_singleton(rig.reg, VIV_RID_NONE, (viv_dep){"x"}, chan);
}

static enum viv_err do_account(void)
{
    struct viv_account *account;
    return viv_res_open_account(rig.reg, proc, NULL, &account);
}

static enum viv_err do_log(void)
{
    return viv_res_set_log_channel(rig.reg, proc, chan);
}

static enum viv_err do_dup(void)
{
    viv_handle hdl;
    return viv_res_dup(tab, made, VIV_RIGHTS_COMMON, &hdl);
}

static enum viv_err do_share(void)
{
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .uses = 3};
    viv_shared out;
    return viv_res_share(tab, made, &opts, &out);
}

static enum viv_err do_share_ttl(void)
{
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ, .ttl_ns = VIV_NS_PER_SEC};
    viv_shared out;
    return viv_res_share(tab, made, &opts, &out);
}

static enum viv_err do_share_handle(void)
{
    viv_shared out;
    return viv_res_share_handle(rig.reg, chan, &out);
}

static enum viv_err do_attach(void)
{
    viv_handle hdl;
    return viv_res_attach(tab, shared, &hdl);
}

static enum viv_err do_export(void)
{
    struct viv_transit *out;
    const enum viv_err err = viv_res_export(tab, made, VIV_RIGHT_READ, VIV_EXPORT_KEEP, &out);
    if (err == VIV_OK) viv_res_transit_drop(out);
    return err;
}

static enum viv_err do_import(void)
{
    viv_handle hdl;
    const enum viv_err err = viv_res_import(tab, transit, &hdl);
    if (err == VIV_OK) transit = NULL;
    return err;
}

static enum viv_err do_insert_below(void)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_READER};
    const struct viv_res_via via = {derived, VIV_KIND_CHANNEL, VIV_RIGHT_READ};
    viv_handle hdl;
    return viv_res_insert_below(tab, &via, &spec, &things[0], VIV_RIGHT_READ, &hdl);
}

struct sweep {
    const char *name;
    enum viv_err (*act)(void);
    uint32_t least; // allocations it is known to make
    bool consumes;  // things[0]
    bool derives;   // needs handles
};

// What the sweeps of handles find: a handle of a channel, one derived from it, a share, a handle in
// a message; and the first page of entries full.
static void derive_some(const struct sweep *sweep)
{
    viv_handle filler;
    const struct viv_share_opts opts = {.rights = VIV_RIGHT_READ};
    transit = NULL;
    if (!sweep->derives) return;
    OK(viv_res_insert_id(tab, chan, VIV_RIGHTS_COMMON, &made));
    if (sweep->act == do_dup || sweep->act == do_share || sweep->act == do_share_ttl ||
        sweep->act == do_export || sweep->act == do_share_handle)
        return; // the first that is derived from it
    OK(viv_res_dup(tab, made, VIV_RIGHTS_COMMON, &derived));
    OK(viv_res_share(tab, made, &opts, &shared));
    OK(viv_res_export(tab, made, VIV_RIGHT_READ, VIV_EXPORT_KEEP, &transit));
    for (uint32_t i = 3; i < VIV_HTAB_PAGE_ENTRIES; i++)
        OK(viv_res_insert_id(tab, proc, 0, &filler));
}

// True when the operation went through without reaching the nth allocation.
static bool run_once(const struct sweep *sweep, uint64_t nth)
{
    memset(things, 0, sizeof(things));
    res_rig_prepare(&rig);
    res_rig_open(&rig);
    OK(viv_res_instance(rig.reg, &tab));
    proc = chan = VIV_RID_NONE;
    if (sweep->act != do_instance) {
        proc = res_rig_add(&rig, VIV_KIND_PROCESS, VIV_RID_NONE, VIV_RID_NONE, &things[1]);
        chan = res_rig_add(&rig, sweep->act == do_log || sweep->derives ? VIV_KIND_CHANNEL : KIND,
                           VIV_RID_NONE, VIV_RID_NONE, &things[2]);
    }
    derive_some(sweep);
    res_rig_quiet(&rig);
    const uint64_t records = viv_res_record_count(rig.reg);
    const uint64_t used = viv_account_used(viv_res_account(rig.reg), VIV_COUNTER_RESOURCE_BYTES);
    viv_alloc_fail_nth(nth);
    const enum viv_err err = sweep->act();
    const bool has_failed = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    if (has_failed) {
        if (err != VIV_E_EXHAUSTED)
            fail_msg("%s, allocation %u: %s", sweep->name, (unsigned)nth, viv_err_name(err));
        res_rig_quiet(&rig);
        assert_int_equal(viv_res_record_count(rig.reg), records);
        assert_int_equal(viv_account_used(viv_res_account(rig.reg), VIV_COUNTER_RESOURCE_BYTES),
                         used);
        if (sweep->consumes) assert_int_equal(things[0].destroys, 1);
        res_rig_check(&rig);
        OK(sweep->act()); // and now it works
    } else {
        OK(err);
    }
    if (transit != NULL) viv_res_transit_drop(transit);
    res_rig_close(&rig);
    return !has_failed;
}

static void every_allocation_fails(void **state)
{
    (void)state;
    static const struct sweep sweeps[] = {
        {"new", do_new, 4, false, false},
        {"add", do_add, 2, true, false},
        {"set_parent", do_set_parent, 1, false, false},
        {"instance", do_instance, 1, false, false},
        {"insert", do_insert, 3, true, false},
        {"insert_id", do_insert_id, 2, false, false},
        {"future", do_future, 2, true, false},
        {"registrar", do_registrar, 3, false, false},
        {"singleton", do_singleton, 2, false, false},
        {"account", do_account, 2, false, false},
        {"log", do_log, 1, false, false},
        {"dup", do_dup, 2, false, true},
        {"share", do_share, 4, false, true},
        {"share with ttl", do_share_ttl, 5, false, true},
        {"share_handle", do_share_handle, 3, false, true},
        {"attach", do_attach, 2, false, true},
        {"export", do_export, 3, false, true},
        {"import", do_import, 1, false, true},
        {"insert_below", do_insert_below, 2, true, true},
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
