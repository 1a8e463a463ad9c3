// SPDX-License-Identifier: Apache-2.0
// Shared by the files of this room: the room itself, whom its programs belong to, and what they may
// use together. A program: program.h.
#ifndef VIV_NATIVE_NATIVE_INT_H
#define VIV_NATIVE_NATIVE_INT_H

#include "base/trie.h"
#include "cap/guest.h"
#include "native/feature.h"
#include "native/idtable.h"
#include "native/keep.h"
#include "native/launcher.h"
#include "native/metrics.h"
#include "native/native.h"
#include "os/thread.h"

#define VIV_NATIVE_UNIT_BYTES_MAX 256
#define VIV_NATIVE_PROBE_USER 65534 // a privileged kernel tries sandboxes as nobody

// Counts of what is reserved, and their bounds. Under the room's lock.
struct viv_native_use {
    struct viv_native_quota used, max;
};

// An environment that may have programs.
struct viv_native_tenant {
    struct viv_native_tenant *next; // of the room, appended before its first program
    struct viv_env *env;
    int root_fd;
    char *root; // absolute
    struct viv_launch_tenant launches;
    struct viv_native_use use; // under the room's lock
    struct viv_trie by_key;    // live programs with a key; likewise
};

// (environment, unit): whose programs are seen together. Lives as long as one of its programs.
struct viv_native_scope {
    struct viv_list link; // of the room's scopes; all fields under the room's lock
    struct viv_native_tenant *tenant;
    struct viv_native_use use;
    struct viv_list programs; // by number
    uint32_t ref_count;
    char unit[VIV_NATIVE_UNIT_BYTES_MAX + 1];
};

#define VIV_NATIVE_SPARES 64 // empty control groups that are kept
struct viv_native_spare {
    int fd;
    uint64_t number, cpu_us;
};

// Numbers for metrics.h. All relaxed: they say how much, and order nothing else.
struct viv_native_counts {
    VIV_CACHE_ALIGNED _Atomic uint64_t spawns[VIV_NATIVE_RESULTS], exits[VIV_CAUSES];
    _Atomic uint64_t spawn_ns, log_bytes[2], dropped_bytes, audit_failed;
};

struct viv_native {
    // Immutable after open:
    struct viv_kernel *kernel;
    struct viv_sched *sched;
    struct viv_room *cap;
    struct viv_launcher *launcher;
    struct viv_prog_ids *ids;
    const char *const *env_pass, *const *hides; // hides: NULL: none
    uint64_t launch_ns, shutdown_ns;
    uint64_t fd_max;    // descriptors this program may have
    uint64_t nofile[2]; // RLIMIT_NOFILE as it was when the program began: soft, hard
    cpu_set_t cpus;     // as then
    bool direct;
    int state_fd; // -1: none
    struct viv_native_audit audit;
    const char *holder;   // path; NULL: none
    struct viv_keep keep; // of programs that outlive this kernel
    bool held_ok;
    struct viv_guest_module guest_module;
    // Under holder_lock until it is open, then immutable:
    struct viv_mutex holder_lock;
    int holder_fd;               // -1: not opened yet
    _Atomic bool was_probed;     // read without the lock, too
    int warden_fd, warden_pidfd; // -1: none
    struct viv_features features;
    struct viv_native_quota scope_max, env_max;
    const char *cgroup; // where that may be; NULL: the own
    // Under holder_lock until the first launch has asked for it, then immutable:
    bool has_sought_group;
    int cgroup_fd;      // where programs get theirs; -1: none can be made
    int cgroup_base_fd; // and where that is
    int held_group_fd;  // where those of programs that outlive the kernel are; -1: none
    char cgroup_name[42];
    uint32_t cgroup_controllers;
    _Atomic uint64_t cgroup_count;

    struct viv_spin lock; // NATIVE
    // Under it:
    struct viv_native_tenant *tenants;
    struct viv_list scopes;
    struct viv_native_use use;
    struct viv_trie by_pid, by_number;
    struct viv_list programs; // by number, for operators
    struct viv_list outside;  // outside.c
    uint64_t last_number;
    _Atomic bool stops; // read without the lock, too
    uint32_t spare_count;
    struct viv_native_spare spares[VIV_NATIVE_SPARES];
    _Atomic uint32_t live; // programs with a process; futex of viv_native_stop
    struct viv_native_counts counts;
};

// ---- quota.c ----
// All three or none. Errors: QUOTA, RETAINED.
enum viv_err viv_native__reserve(struct viv_native *native, struct viv_native_scope *scope,
                                 const struct viv_native_quota *amount) VIV_MUST_CHECK;
void viv_native__unreserve(struct viv_native *native, struct viv_native_scope *scope,
                           const struct viv_native_quota *amount);
// Counted. Errors: EXHAUSTED.
enum viv_err viv_native__scope(struct viv_native *native, struct viv_native_tenant *tenant,
                               const char *unit,
                               struct viv_native_scope **out_scope) VIV_MUST_CHECK;
void viv_native__scope_drop(struct viv_native *native, struct viv_native_scope *scope);

// ---- spawn.c ----
bool viv_native__is_unbounded(const struct viv_native_ctx *ctx);
struct viv_session *viv_native__session(const struct viv_native_ctx *ctx); // NULL: may do all
// Asks the caller's session; a refusal is audited. Errors: DENIED.
enum viv_err viv_native__ask(const struct viv_native_ctx *ctx, enum viv_cap cap,
                             const struct viv_cap_query *query) VIV_MUST_CHECK;

void viv_native__drop_spares(struct viv_native *native); // groups.c
// ---- room.c ----
// The directory of groups is there from now on, if this host lets one be made. Thread: a spawner's.
// Blocks.
void viv_native__need_group(struct viv_native *native);
// ---- metrics.c ----
void viv_native__count(_Atomic uint64_t *count, uint64_t more);
void viv_native__count_spawn(struct viv_native *native, enum viv_err err);

// ---- outside.c ----
struct viv_native_outsider;
// Instead of what was told of its digest. False: no memory.
bool viv_native__put_outside(struct viv_native *native, const struct viv_native_outsider *shown);
void viv_native__drop_outside(struct viv_native *native, const char *digest); // if it is there
void viv_native__free_outside(struct viv_native *native);

// ---- warden.c ----
// A warden watches from now on, if a holder is there to be one. Thread: a spawner's. Blocks.
void viv_native__post_warden(struct viv_native *native, struct viv_launch_room *room);
void viv_native__end_warden(struct viv_native *native); // it ends what is left. Blocks.

#endif
