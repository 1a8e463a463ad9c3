// SPDX-License-Identifier: Apache-2.0
// Shared by the verbs of programs.
#ifndef VIV_CTL_PROGRAMS_INT_H
#define VIV_CTL_PROGRAMS_INT_H

#include "ctl/programs.h"
#include "ctl/ref.h"
#include "native/outside.h"
#include "native/owner.h"

// The state of a verb that waits for one program. First member of others.
struct viv_ctl_wait {
    struct viv_native_call call;
    struct viv_native_ref ref;
    bool has_begun;
};

// The call is ready, the program of argument `ref` found; false: the request has failed.
bool viv_ctl__begin(struct viv_ctl_req *req, struct viv_ctl_wait *wait);
void viv_ctl__init_call(struct viv_ctl_req *req, struct viv_ctl_wait *wait);
void viv_ctl__end(struct viv_ctl_req *req, void *state); // struct viv_ctl_wait first

struct viv_native_ctx viv_ctl__ctx(const struct viv_ctl_req *req);
// Text as it is when it is UTF-8, else with \xHH. NULL: out of memory.
json_t *viv_ctl__text(const char *text);
// What status tells. NULL: out of memory.
json_t *viv_ctl__status(const struct viv_native_status *status);
// The same of this program, with what it uses now. NULL: out of memory.
json_t *viv_ctl__program(const struct viv_native_ctx *ctx, const struct viv_native_status *status);
// What it was asked to be: arguments, cwd, in_force, guard.
void viv_ctl__add_info(const struct viv_native_info *info, json_t **value);
// Of one that is not this kernel's: number, digest, label, phase, environment, why. NULL: as above.
json_t *viv_ctl__outsider(const struct viv_native_outsider *outsider);
json_t *viv_ctl__exit(const struct viv_native_exit *exit);

// ---- logs.c ----
struct viv_ctl_logs {
    struct viv_ctl_wait wait;
    struct viv_log_cursor cursor;
    bool has_cursor, follows, with_times, has_caught_up;
    uint32_t stream;         // VIV_LOG_
    uint64_t left;           // bytes of what was there at the beginning
    uint64_t wall_offset_ns; // of the program
    uint64_t told_ns;        // time of the last run that was told
};
bool viv_ctl__logs(struct viv_ctl_req *req, void *state);

#endif
