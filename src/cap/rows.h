// SPDX-License-Identifier: Apache-2.0
// Every resource of a runtime as a row, for people and tools. Nothing is stopped for it: the locks
// of the registry are held for one row at a time, and what begins or ends meanwhile may be missing
// or shown. What one process holds is info.h's.
//
// Thread: any with a member, in a read section.
#ifndef VIV_CAP_ROWS_H
#define VIV_CAP_ROWS_H

#include "cap/reg.h"

#define VIV_RES_ROW_SHARES_MAX 1000 // shares counted a row

struct viv_res_row {
    struct viv_res_meta meta; // owner, parent, born_s: of one that is not ending
    const char *kind_name;
    viv_rid env, proc; // the nearest above, or itself; none: it has none, or is ending
    uint64_t age_s;
    uint32_t shares; // values that name it
    bool is_orphan;  // it has outlived its owner, since somebody holds it
    bool is_derived; // it was made through a derived handle, and ends with that
    char label[VIV_RES_LABEL_MAX + 1];
};

// Up to n rows from *cursor on (0 to begin), in the order of the records; 0 when through. Looks at
// a bounded number of records: fewer than n, or none with *cursor not VIV_RES_ROWS_END, means only
// that there is more to look at.
#define VIV_RES_ROWS_END UINT64_MAX
uint32_t viv_res_rows(struct viv_reg *reg, uint64_t *cursor, struct viv_res_row *out, uint32_t n);
// One of them. Errors: NOTFOUND.
enum viv_err viv_res_row(struct viv_reg *reg, viv_rid rid, struct viv_res_row *out) VIV_MUST_CHECK;

// What an environment's resources are, by kind: for whoever exports it by environment. Adds what
// it finds from *cursor on to `kinds`, as viv_res_rows does. env: its resource; none: what is in no
// environment.
struct viv_res_kind_sum {
    uint64_t live, bytes; // bytes: without their records
};
void viv_res_sum_kinds(struct viv_reg *reg, viv_rid env, uint64_t *cursor,
                       struct viv_res_kind_sum kinds[VIV_KINDS_MAX]);

// What its kind tells of it; nothing for most. Errors: those of viv_res_pin, of the kind.
enum viv_err viv_res_stat(struct viv_reg *reg, viv_rid rid,
                          struct viv_res_stat *out) VIV_MUST_CHECK;

#define VIV_RID_TEXT_BYTES 32
// "#shard.index.generation", as patterns write it; "-" for none.
const char *viv_rid_format(viv_rid rid, char out[VIV_RID_TEXT_BYTES]);

#endif
