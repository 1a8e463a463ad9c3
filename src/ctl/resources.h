// SPDX-License-Identifier: Apache-2.0
// What the processes of the kernel hold: the verbs res and audit, and the member `holds` of info.
// Reading stops no worker: locks are held for a row, and each step is a bounded number of rows.
#ifndef VIV_CTL_RESOURCES_H
#define VIV_CTL_RESOURCES_H

#include "cap/audit.h"
#include "cap/info.h"
#include "cap/rows.h"
#include "ctl/programs_int.h"

// ---- res: {ref, env, kind, orphans, handles}: an event a resource ----
struct viv_ctl_res {
    uint64_t cursor; // of the rows
    viv_rid proc;    // of `ref`
    viv_rid shown;   // whose handles are being told
    uint32_t handle; // of them, the next
    uint64_t count;
    bool has_begun;
    viv_kind kind; // 0: all
};
bool viv_ctl__res(struct viv_ctl_req *req, void *state);

// ---- audit: {follow}: an event each ----
struct viv_ctl_audit {
    uint64_t cursor;
    bool has_begun;
};
bool viv_ctl__audit(struct viv_ctl_req *req, void *state);

// A process of the environment: as operators name programs, or any by its pid. Errors: as
// viv_ctl_ref_find.
enum viv_err viv_ctl__find_process(const struct viv_ctl_req *req, const char *text,
                                   viv_pid *out_pid) VIV_MUST_CHECK;
json_t *viv_ctl__handle_json(const struct viv_handle_info *info); // NULL: out of memory

// ---- info: what a process holds, gathered in pieces ----
struct viv_ctl_holds {
    viv_pid pid;
    viv_rid proc;
    bool has_begun, is_denials_read;
    uint64_t cursor;    // of the audit ring
    uint64_t looked_at; // events of it
    struct viv_res_cursor owned;
    uint64_t shares;
    struct {
        uint64_t count, bytes;
    } kinds[VIV_KINDS_MAX];
    uint64_t denials;
    struct viv_audit_event last; // of them
};
// False: there is more, and the step is to be called again. True with an object, or NULL: out of
// memory, or it has ended.
bool viv_ctl__holds(const struct viv_ctl_req *req, struct viv_ctl_holds *holds, json_t **out_value);

#endif
