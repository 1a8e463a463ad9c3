// SPDX-License-Identifier: Apache-2.0
// The registry of the unit tests.
#include "res_rig.h"
#include "base/alloc.h"
#include "sched/drive.h"
#include <string.h>

static _Atomic uint32_t closes_seen; // numbers the closes of the test program

static uint64_t now(void *arg)
{
    return ((struct res_rig *)arg)->now_ns;
}

static enum viv_turn_end run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

void res_rig_close_thing(void *obj, enum viv_close_why why)
{
    struct thing *thing = obj;
    if (thing == NULL) return;
    atomic_fetch_add(&thing->closes, 1);
    thing->why = why;
    thing->order = atomic_fetch_add(&closes_seen, 1) + 1;
}

void res_rig_destroy_thing(void *obj)
{
    struct thing *thing = obj;
    if (thing != NULL) atomic_fetch_add(&thing->destroys, 1);
}

void res_rig_bind(struct viv_reg *reg)
{
    const struct viv_res_kind functions = {.close = res_rig_close_thing,
                                           .destroy = res_rig_destroy_thing};
    for (viv_kind kind = 1; kind < VIV_KIND_BUILTIN_END; kind++)
        if (kind != VIV_KIND_INSTANCE) OK(viv_res_kind_bind(reg, kind, &functions));
}

void res_rig_prepare(struct res_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    viv_account_limits_none(&rig->config.limits);
    rig->now_ns = 100 * VIV_NS_PER_SEC;
}

void res_rig_open_bare(struct res_rig *rig)
{
    const struct viv_sched_config config = {
        .worker_count = 1,
        .env = {.arg = rig, .now_ns = now, .simulated = true},
        .run = run_nothing,
    };
    OK(viv_sched_new(&config, &rig->sched));
    OK(viv_sched_start(rig->sched));
    viv_drive_become(rig->sched, 0);
    rig->config.sched = rig->sched;
    OK(viv_res_new(&rig->config, &rig->reg));
}

void res_rig_open(struct res_rig *rig)
{
    res_rig_open_bare(rig);
    res_rig_bind(rig->reg);
}

void res_rig_quiet(struct res_rig *rig)
{
    (void)rig;
    struct viv_qsbr_member *member = viv_sched_member();
    while (viv_qsbr_pending(member) > 0)
        viv_qsbr_quiet(member, UINT32_MAX);
}

void res_rig_check(struct res_rig *rig)
{
    struct viv_diag diag = {"no reason given"};
    if (viv_res_check(rig->reg, &diag) != VIV_OK) fail_msg("%s", diag.text);
}

void res_rig_close(struct res_rig *rig)
{
    res_rig_quiet(rig);
    res_rig_check(rig);
    viv_res_free(rig->reg);
    viv_sched_stop(rig->sched);
    viv_sched_free(rig->sched);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

viv_rid res_rig_add(struct res_rig *rig, viv_kind kind, viv_rid owner, viv_rid parent,
                    struct thing *thing)
{
    const struct viv_res_spec spec = {.kind = kind, .owner = owner, .parent = parent};
    viv_rid rid;
    OK(viv_res_add(rig->reg, &spec, thing, &rid));
    return rid;
}

bool res_rig_is_known(struct res_rig *rig, viv_rid rid)
{
    struct viv_res_meta meta;
    return viv_res_metadata(rig->reg, rid, &meta) == VIV_OK;
}
