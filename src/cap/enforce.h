// SPDX-License-Identifier: Apache-2.0
// What a body can be held to. Asked when a session is given to a process of that body: what cannot
// be enforced is refused then, never ignored later.
//
// Wasm reaches the world through imports only, hence it is held to everything; so is BEAM as long
// as no native code is loaded into it. A program of the operating system is held to what the kernel
// can be told; a body of the host to nothing but its mailbox and handles.
#ifndef VIV_CAP_ENFORCE_H
#define VIV_CAP_ENFORCE_H

#include "cap/limits.h"

// What the kernel offers, as room native finds it at start. Zero: nothing.
struct viv_enforce_probe {
    uint32_t landlock_abi; // 0: none
    bool has_namespaces;   // mount, network and pid, in a user namespace of our own
    bool has_seccomp;
    bool has_cgroup_memory, has_cgroup_cpu, has_cgroup_pids;
};

struct viv_enforce_ask {
    uint32_t body; // VIV_BODY_WASM ...
    struct viv_enforce_probe probe;
    const struct viv_capset *set;
    const struct viv_limits *limits; // or NULL
    uint64_t limits_set; // bits 1 << enum viv_policy_limit: those that somebody asked for
};
// Whether the body can be held to the set and the limits. Patterns and classes marked `unenforced`
// pass. diag names the first that cannot, and why. Errors: UNENFORCEABLE.
enum viv_err viv_enforce_check(const struct viv_enforce_ask *ask,
                               struct viv_diag *diag) VIV_MUST_CHECK;

#endif
