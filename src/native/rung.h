// SPDX-License-Identifier: Apache-2.0
// How everything a program starts is held together. Shared with viv-holder.
#ifndef VIV_NATIVE_RUNG_H
#define VIV_NATIVE_RUNG_H

enum viv_rung {
    VIV_RUNG_PIDNS,  // init is pid 1 of a namespace: its end kills all
    VIV_RUNG_CGROUP, // a group of its own: killed by one write
    VIV_RUNG_TREE,   // init is a subreaper: every descendant stays below it
    VIV_RUNG_GROUP,  // the leader's process group, on request: who leaves it escapes
    VIV_RUNGS
};

#endif
