// SPDX-License-Identifier: Apache-2.0
// What a host can do for programs, as the probes found it (native/probe.h).
#ifndef VIV_NATIVE_FEATURE_H
#define VIV_NATIVE_FEATURE_H

#include "base/defs.h"

// The first eight are what levels need; a request may accept that one of them is missing.
enum viv_feature {
    VIV_FEATURE_USERNS,
    VIV_FEATURE_MOUNTNS,
    VIV_FEATURE_PIDNS,
    VIV_FEATURE_NETNS,
    VIV_FEATURE_IPCNS,
    VIV_FEATURE_PROC,
    VIV_FEATURE_LANDLOCK,
    VIV_FEATURE_SECCOMP,
    VIV_FEATURES_OF_LEVELS,
    VIV_FEATURE_PIDFD_GROUP = VIV_FEATURES_OF_LEVELS,
    VIV_FEATURE_CGROUP_CORE,
    VIV_FEATURE_CGROUP_MEMORY,
    VIV_FEATURE_CGROUP_PIDS,
    VIV_FEATURE_CGROUP_CPU,
    VIV_FEATURES
};
#define VIV_FEATURE_BIT(feature) (UINT32_C(1) << (feature))

struct viv_features {
    uint32_t have; // VIV_FEATURE_BIT
    int landlock_abi;
    struct {
        int err;           // errno of what was tried
        const char *stage; // where it failed; never NULL
    } why[VIV_FEATURES];   // of those that are missing
};

const char *viv_feature_name(enum viv_feature feature); // "cgroup.memory"
// False: no such feature of levels.
bool viv_feature_find(const char *name, enum viv_feature *out_feature);

#endif
