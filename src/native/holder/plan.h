// SPDX-License-Identifier: Apache-2.0
// The plan of one program: all that `viv-holder init` is to do, decided in the kernel process. The
// holder decides nothing; it carries out the view of files step by step, and starts the leader.
// Encoded as a sequence of numbers and strings, little-endian, strings with their length and a
// closing NUL; both ends are of one build, which the frame PLAN checks (holder/wire.h).
#ifndef VIV_NATIVE_HOLDER_PLAN_H
#define VIV_NATIVE_HOLDER_PLAN_H

#include "base/buf.h"
#include "native/rung.h"
#include "os/confine.h"
#include <sys/types.h>

enum {
    VIV_PLAN_STEPS_MAX = 640, // 256 grants, 256 hidden paths, what a level itself mounts
    VIV_PLAN_RULES_MAX = 320, // a grant each, what a level itself allows
    VIV_PLAN_PORTS_MAX = 64,
    VIV_PLAN_GROUPS_MAX = 64,
    VIV_PLAN_LIMITS_MAX = 16,     // resources of setrlimit(2)
    VIV_PLAN_ARGS_MAX = 8193,     // the request's bound, and the name
    VIV_PLAN_ENV_MAX = 336,       // 256 and 64 of the request, what the kernel adds
    VIV_PLAN_BYTES_MAX = 8 << 20, // argv and environment 1 MiB, 512 paths up to three times each
    VIV_PLAN_FILTER_MAX = 4096,   // instructions, as Linux
};

// One step of the view, in the order of the list. Paths are absolute and free of symbolic links,
// dots and double slashes; targets lie in the new root, and what is missing on the way is made.
enum viv_view_op {
    VIV_VIEW_HOST,    // the host's tree becomes the root, with `attrs` everywhere
    VIV_VIEW_EMPTY,   // an empty root; it becomes read-only after the last step
    VIV_VIEW_BIND,    // source at target, with attrs; identity as below
    VIV_VIEW_TMPFS,   // `number` bytes, `mode`
    VIV_VIEW_PROC,    // of the own pid namespace; number 1: processes only
    VIV_VIEW_PTS,     // a devpts of its own
    VIV_VIEW_SYMLINK, // source is its text
    VIV_VIEW_FILE,    // source is its text
    VIV_VIEW_HIDE,    // a directory becomes empty, anything else /dev/null
    VIV_VIEW_OPS
};
struct viv_view_step {
    enum viv_view_op op;
    bool may_miss;          // no source, or no target to hide: no error
    uint64_t attrs;         // VIV_MOUNT_…
    uint64_t device, inode; // BIND: what the source must still be; 0, 0: anything
    uint64_t number;
    uint32_t mode;
    const char *source, *target;
};

struct viv_plan_rule { // Landlock
    const char *path;  // in the new root
    uint64_t rights;
};
struct viv_plan_port {
    uint16_t port;
    uint64_t rights;
};
struct viv_plan_limit {
    uint32_t resource;
    uint64_t soft, hard;
};

struct viv_plan {
    // What init is.
    enum viv_rung rung;
    uint64_t namespaces; // CLONE_NEW…; 0: it stays where it was started
    bool has_user;       // it becomes uid, gid, groups first
    uint32_t uid, gid;   // also those of the identity map
    uint32_t group_count;
    uint32_t groups[VIV_PLAN_GROUPS_MAX];
    bool is_probe; // everything is set up, and confined, then it ends
    bool raises_loopback;
    bool drops_caps;
    const char *host_name; // "": unchanged
    // The view; no step: the host's own.
    uint32_t step_count;
    struct viv_view_step steps[VIV_PLAN_STEPS_MAX];
    // Confinement of the leader.
    struct viv_landlock landlock; // all 0: none
    uint32_t rule_count;
    struct viv_plan_rule rules[VIV_PLAN_RULES_MAX];
    uint32_t port_count;
    struct viv_plan_port ports[VIV_PLAN_PORTS_MAX];
    const struct sock_filter *filter; // seccomp; NULL: none
    uint16_t filter_length;
    // The leader.
    bool is_gated;     // it starts on order
    bool outlives;     // who started init may go: only the end of the socket says to end
    bool lingers;      // its end leaves the tree alone (linger=wait)
    bool gains;        // no_new_privs is not set (allow_setuid)
    bool has_ready_fd; // a fourth descriptor comes with the plan
    bool controls_tty; // 0 becomes its controlling terminal
    bool has_pty;      // 0, 1, 2 are a terminal of the new devpts, its master goes to the kernel
    bool pty_is_raw;
    uint16_t rows, cols;
    uint64_t deadman_ns; // CLOCK_BOOTTIME; 0: none
    uint32_t umask;
    int32_t nice;
    uint32_t limit_count;
    struct viv_plan_limit limits[VIV_PLAN_LIMITS_MAX];
    const char *path, *cwd; // in the new root; cwd "": inherited
    uint32_t arg_count, env_count;
    const char **argv, **envp; // NULL at the end
};

// Appends; asserts the bounds above. Errors: EXHAUSTED.
enum viv_err viv_plan_encode(const struct viv_plan *plan, struct viv_buf *out) VIV_MUST_CHECK;
// Strings and filter lie in data; argv and envp are allocated. Errors: INVAL, EXHAUSTED.
enum viv_err viv_plan_decode(const uint8_t *data, size_t len_bytes,
                             struct viv_plan *out_plan) VIV_MUST_CHECK;
void viv_plan_deinit(struct viv_plan *plan); // what decoding allocated

#endif
