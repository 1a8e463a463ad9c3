// SPDX-License-Identifier: Apache-2.0
// Names of features.
#include "native/feature.h"
#include "base/assert.h"
#include <string.h>

static const char *const names[VIV_FEATURES] = {
    [VIV_FEATURE_USERNS] = "userns",
    [VIV_FEATURE_MOUNTNS] = "mountns",
    [VIV_FEATURE_PIDNS] = "pidns",
    [VIV_FEATURE_NETNS] = "netns",
    [VIV_FEATURE_IPCNS] = "ipcns",
    [VIV_FEATURE_PROC] = "proc",
    [VIV_FEATURE_LANDLOCK] = "landlock",
    [VIV_FEATURE_SECCOMP] = "seccomp",
    [VIV_FEATURE_PIDFD_GROUP] = "pidfd_group",
    [VIV_FEATURE_CGROUP_CORE] = "cgroup.core",
    [VIV_FEATURE_CGROUP_MEMORY] = "cgroup.memory",
    [VIV_FEATURE_CGROUP_PIDS] = "cgroup.pids",
    [VIV_FEATURE_CGROUP_CPU] = "cgroup.cpu",
};

const char *viv_feature_name(enum viv_feature feature)
{
    VIV_ASSERT((unsigned)feature < VIV_FEATURES);
    return names[feature];
}

bool viv_feature_find(const char *name, enum viv_feature *out_feature)
{
    for (int i = 0; i < VIV_FEATURES_OF_LEVELS; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *out_feature = (enum viv_feature)i;
        return true;
    }
    return false;
}
