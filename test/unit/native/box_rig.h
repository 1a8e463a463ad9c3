// SPDX-License-Identifier: Apache-2.0
// Runs programs through `viv-holder init`, as the kernel would, without a kernel process.
#ifndef VIV_TEST_UNIT_NATIVE_BOX_RIG_H
#define VIV_TEST_UNIT_NATIVE_BOX_RIG_H

#include "native/init_link.h"
#include "native/sandbox.h"

enum { BOX_NOBODY = 65534, BOX_OUTPUT_BYTES = 1 << 16, BOX_ARGS = 48 };

// One for a test: a folder of its own that belongs to nobody, and what the host can do.
struct box {
    struct viv_launch_room *room;
    int holder_fd;
    uint32_t kernel_uid, kernel_gid;
    char dir[64];   // below /tmp
    char prog[512]; // the path of viv-box-prog
    struct viv_features features;
};
void box_open(struct box *box);
void box_close(struct box *box); // removes the folder
// Runs fn as root and, in a child, as nobody: two kernels.
void box_for_each_user(void (*fn)(struct box *box));

// One program. Prepared, changed by the test, started, waited for.
struct box_run {
    struct box *box;
    struct viv_sandbox_request request;
    const char *argv[BOX_ARGS], *envp[8];
    const char *path;                      // default: viv-box-prog
    void (*change)(struct viv_plan *plan); // NULL, or the last word about the plan
    const cpu_set_t *cpus;                 // NULL: those of the test
    int terminal_fd;                       // -1, or what becomes 0, 1, 2 and controls
    int ready_fd;                          // -1, or what becomes descriptor 3
    int stdin_fd;                          // -1: /dev/null, or what becomes 0
    int cgroup_fd;                         // -1; else rung cgroup
    bool is_inside;                        // init too
    bool leaves_output;                    // to somebody else
    // After box_start.
    enum viv_err err; // of planning, or what a failure report means
    struct viv_diag diag;
    struct viv_init_link link;
    int outer_fd, init_fd, leader_fd, master_fd, output_fd;
    struct viv_sandbox *sandbox;
    // What has been reported.
    bool is_init_known, is_ready, is_started, is_failed, has_exit, is_gone, is_closed,
        is_unkillable;
    struct viv_frame_failed failed;
    struct viv_frame_exit exit;
    enum viv_gone_cause cause;
    char output[BOX_OUTPUT_BYTES];
    size_t output_len;
};
// Words are the arguments of viv-box-prog; NULL ends them.
void box_prepare(struct box *box, struct box_run *run, enum viv_native_sandbox level,
                 const char *const *words);
// Plans, starts, and reads reports until the leader runs, is gated and ready, or something failed.
void box_start(struct box_run *run);
// Reads reports and output until the expression of the flag holds.
void box_await(struct box_run *run, const bool *flag);
void box_await_output(struct box_run *run, const char *text);
// To the end: acknowledges, reads everything, waits for the children of the launch.
void box_finish(struct box_run *run);
// All of it.
void box_go(struct box_run *run);
// Checks that the output has the line.
void box_expect(const struct box_run *run, const char *line);
bool box_has(const struct box_run *run, const char *line);
// Nothing of any program is left: no child, no descriptor more than before.
size_t box_count_fds(void);

#endif
