// SPDX-License-Identifier: Apache-2.0
// A registry over a scheduler whose turns the test decides, and objects that count what is done to
// them.
#ifndef VIV_TEST_UNIT_CAP_RES_RIG_H
#define VIV_TEST_UNIT_CAP_RES_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cap/registrar.h"

struct res_rig {
    struct viv_sched *sched;
    struct viv_reg *reg;
    uint64_t now_ns;
    struct viv_res_config config; // widths and limits; set before res_rig_open
};

// Belongs to the test; destroy only counts.
struct thing {
    int value;
    _Atomic uint32_t closes, destroys;
    enum viv_close_why why;
    uint32_t order; // which close of all it was, from 1
};

#define KIND VIV_KIND_OTHER // sync lock, stays without holds, any parent
#define OK(expr) assert_int_equal((expr), VIV_OK)
#define ERR(expr, err) assert_int_equal((expr), VIV_E_##err)

void res_rig_prepare(struct res_rig *rig); // unlimited, full widths
void res_rig_open(struct res_rig *rig);
void res_rig_open_bare(struct res_rig *rig); // no kind has functions
void res_rig_close(struct res_rig *rig);     // everything must have been destroyed then
void res_rig_quiet(struct res_rig *rig);     // lets grace periods pass
void res_rig_check(struct res_rig *rig);     // the walker agrees
// Kinds (all but instance) close and destroy things.
void res_rig_bind(struct viv_reg *reg);
void res_rig_close_thing(void *obj, enum viv_close_why why);
void res_rig_destroy_thing(void *obj);
viv_rid res_rig_add(struct res_rig *rig, viv_kind kind, viv_rid owner, viv_rid parent,
                    struct thing *thing);
bool res_rig_is_known(struct res_rig *rig, viv_rid rid); // metadata answers

#endif
