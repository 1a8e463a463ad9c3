// SPDX-License-Identifier: Apache-2.0
// Finds out what this host can do, by doing it: children that set up what levels need, through the
// very code that programs are started with, and end. Some hosts allow a namespace and then refuse
// everything inside.
#ifndef VIV_NATIVE_PROBE_H
#define VIV_NATIVE_PROBE_H

#include "base/buf.h"
#include "native/feature.h"
#include "os/launch.h"

struct viv_probe {
    int holder_fd; // the holder, opened
    int cgroup_fd; // a directory in which groups can be made, or -1
    bool has_user; // a privileged kernel tries as this user; any other as itself
    uint32_t uid, gid;
};
// Blocks, some milliseconds; at most 5 s a feature. Never fails: what could not be tried is
// missing, with the reason.
void viv_probe_host(struct viv_launch_room *room, const struct viv_probe *probe,
                    struct viv_features *out_features);
// A line a feature, "landlock 7" or "userns - namespaces: Operation not permitted". Errors:
// EXHAUSTED.
enum viv_err viv_features_print(const struct viv_features *features,
                                struct viv_buf *out) VIV_MUST_CHECK;

#endif
