// SPDX-License-Identifier: Apache-2.0
// From what a request asks for and what the host has to the plan of a sandbox: namespaces, the view
// of files, rules of Landlock, the seccomp program, who the program is. Everything that can be
// refused is refused here, with a typed error; the holder only carries out.
#ifndef VIV_NATIVE_SANDBOX_H
#define VIV_NATIVE_SANDBOX_H

#include "native/feature.h"
#include "native/field.h"
#include "native/holder/plan.h"
#include "native/ports.h"
#include "native/request.h"

#define VIV_SANDBOX_GRANTS_MAX 256 // as the spawn block
#define VIV_SANDBOX_HIDES_MAX 256

struct viv_sandbox_grant {
    enum viv_native_grant mode;
    const char *path; // absolute
};

// Plain fields, borrowed for the call.
struct viv_sandbox_request {
    enum viv_native_sandbox level;
    enum viv_native_net net;
    // Of net=host: the classes admit every address, or these TCP ports and nothing else; neither:
    // something that nobody can be held to.
    bool net_is_all;
    const struct viv_native_ports *ports;
    const struct viv_sandbox_grant *grants;
    uint32_t grant_count;
    const char *const *hides; // absolute
    uint32_t hide_count;
    int cwd_fd; // a directory, opened as the request may
    bool cwd_ro;
    bool runtime;
    uint32_t accepts;   // VIV_FEATURE_BIT: may be missing
    uint64_t tmp_bytes; // of each private tmpfs
    // Who: the request's user, else the kernel's.
    bool has_user;
    uint32_t uid, gid;
    const uint32_t *groups;
    uint32_t group_count;
    uint32_t kernel_uid, kernel_gid;
    const struct viv_features *features;
};

struct viv_sandbox_path {
    char *path; // resolved
    size_t path_len;
    int fd; // keeps it from being another file of the same number
    enum viv_native_grant mode;
    uint64_t device, inode;
};

struct viv_sandbox {
    // For the caller to complete: the fields of the leader, and the rung where there are no
    // namespaces.
    struct viv_plan plan;
    uint32_t left_out; // VIV_FEATURE_BIT: accepted and missing
    // What the plan points to.
    struct viv_sandbox_path *paths; // grants and cwd, ascending; then what is hidden
    uint32_t grant_count, path_count, path_room;
    char passwd[160], group[96];
    struct {
        char name[16], text[256];
    } links[8]; // of the run-time set
    uint32_t link_count;
};

// Errors, the text of diag beginning with the detail: INVAL (path, cwd, user), DENIED (path, cwd:
// hidden), UNSUPPORTED (a feature, net), TOOBIG (path, hide), EXHAUSTED (memory, fds).
enum viv_err viv_sandbox_new(const struct viv_sandbox_request *request,
                             struct viv_sandbox **out_sandbox,
                             struct viv_diag *diag) VIV_MUST_CHECK;
void viv_sandbox_free(VIV_OWN struct viv_sandbox *sandbox); // after the leader has started

#endif
