// SPDX-License-Identifier: Apache-2.0
// What the files of the launcher of programs share.
//
//   launch_native.c  its thread, and the way of a run
//   launch_block.c   a registration's input as a spawn request
//   launch_end.c     an end as an await output
//   launch_guard.c   by what programs are found when their worker is no more, and ended
#ifndef VIV_CTL_LAUNCH_INT_H
#define VIV_CTL_LAUNCH_INT_H

#include "base/cjson.h"
#include "ctl/launch_native.h"
#include "native/native.h"
#include "native/owner.h"

enum viv_launch_result { VIV_RESULT_EXIT, VIV_RESULT_STDOUT, VIV_RESULT_JSON };

// Why a run has no program, as a failure: class and code are static.
struct viv_launch_refusal {
    const char *class, *code; // NULL: it has one
    char message[512];
};
void viv_launch__refuse(struct viv_launch_refusal *refusal, const char *class, const char *code,
                        const char *fmt, ...) VIV_PRINTF(4, 5);
// The same of an error of native/.
void viv_launch__refuse_err(struct viv_launch_refusal *refusal, enum viv_err err,
                            const char *detail);

// By what a program and all that it starts can be ended from outside: a control group, or, where
// none may be made, a pid namespace. That comes with a view of files, which has all of the host's
// but what is the kernel's own (/dev, /proc, /sys), with the host's network.
enum viv_launch_bounds { VIV_BOUNDS_GROUP, VIV_BOUNDS_NAMESPACE };
// Into the block, which may have something; address: VIV_JOB_SOCKET, "" for none. False: it is
// refused.
bool viv_launch__block(const struct viv_run *run, const char *address,
                       enum viv_launch_bounds bounds, struct viv_buf *block,
                       enum viv_launch_result *out_result, struct viv_launch_refusal *refusal);

// Of a program that has ended: the await output, appended to out. Errors: EXHAUSTED.
struct viv_launch_ending {
    const struct viv_native_exit *exit;
    enum viv_launch_result result;
    const uint8_t *text; // of stdout; of a failure, the last of stderr
    size_t len;
};
enum viv_err viv_launch__output(const struct viv_launch_ending *ending,
                                struct viv_buf *out) VIV_MUST_CHECK;

// ---- guards ----

struct viv_launch_host {
    struct viv_liveness self;
    int groups_fd; // the group below which programs have theirs; -1: none
};
enum viv_err viv_launch__host_open(struct viv_launch_host *out_host) VIV_MUST_CHECK; // Errors: IO
void viv_launch__host_close(struct viv_launch_host *host);
// Appends it. Errors: EXHAUSTED.
enum viv_err viv_launch__guard_write(const struct viv_launch_host *host,
                                     const struct viv_native_guard *guard,
                                     struct viv_buf *out) VIV_MUST_CHECK;
// Ends what is left of a former attempt, if it was on this host. Blocks, for ten seconds at most.
void viv_launch__guard_end(const struct viv_launch_host *host, struct viv_str guard);

#endif
