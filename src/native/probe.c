// SPDX-License-Identifier: Apache-2.0
// Probes: for each feature one plan or two that must come up. A plan with is_probe is set up,
// confined and reported READY like a program's, then the holder ends.
#include "native/probe.h"
#include "base/assert.h"
#include "gen/seccomp.h"
#include "native/init_link.h"
#include "os/cgroup.h"
#include "os/child.h"
#include "os/file.h"
#include "os/mount.h"
#include "os/ns.h"
#include "os/tree.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if defined(__x86_64__)
#define OWN_ARCH VIV_SECCOMP_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH VIV_SECCOMP_ARM64
#endif

enum { PATIENCE_MS = 5000, SMALL_BYTES = 65536, DIR_MODE = 0755 };

struct prober {
    struct viv_launch_room *room;
    const struct viv_probe *probe;
    struct viv_plan *plan; // of the probe under way
    struct viv_features *features;
};

static void note(struct prober *prober, enum viv_feature feature, int err, const char *stage)
{
    prober->features->have &= ~VIV_FEATURE_BIT(feature);
    prober->features->why[feature].err = err;
    prober->features->why[feature].stage = stage;
}

// --------------------------------------------------------------------------------- one probe child

static void end_child(int pidfd)
{
    struct viv_child_end end;
    if (pidfd < 0) return;
    if (viv_os_poll_fd(pidfd, POLLIN, PATIENCE_MS) <= 0) {
        VIV_IGNORE(viv_os_child_signal(pidfd, SIGKILL), "it may have ended");
        VIV_IGNORE(viv_os_poll_fd(pidfd, POLLIN, PATIENCE_MS), "it ends or hangs");
    }
    VIV_IGNORE(viv_os_child_reap(pidfd, &end), "its status means nothing");
    VIV_IGNORE(viv_os_close(pidfd), "a pidfd");
}

// Reads reports until the other side has closed; 0, or the errno of the failure.
static int await_reports(struct viv_init_link *link, int *out_init_fd, const char **out_stage)
{
    int err = EPIPE; // neither READY nor FAILED
    *out_stage = "start";
    for (;;) {
        struct viv_init_event event;
        const int ready = viv_os_poll_fd(link->fd, POLLIN, PATIENCE_MS);
        if (ready <= 0) return ready < 0 ? -ready : ETIMEDOUT;
        viv_init_link_next(link, &event);
        if (event.type == VIV_INIT_EVENT_CLOSED) return err;
        if (event.type == VIV_INIT_EVENT_READY) err = 0;
        if (event.type == VIV_INIT_EVENT_FAILED) {
            err = event.failed.err;
            *out_stage = viv_holder_stage_name(event.failed.stage);
        }
        if (event.type == VIV_INIT_EVENT_INIT)
            *out_init_fd = event.fd;
        else if (event.fd >= 0)
            VIV_IGNORE(viv_os_close(event.fd), "a probe has neither terminal nor leader");
    }
}

static int run_child(struct prober *prober, struct viv_init_link *link, int holder_end,
                     const char **out_stage)
{
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    if (null_fd < 0) return -null_fd;
    const struct viv_init_fds fds = {{null_fd, null_fd, null_fd}, -1, -1};
    const enum viv_err err = viv_init_link_send_plan(link, prober->plan, &fds);
    VIV_IGNORE(viv_os_close(null_fd), "the message holds it");
    if (err != VIV_OK) return ENOMEM;
    const struct viv_init_start start = {.holder_fd = prober->probe->holder_fd,
                                         .socket_fd = holder_end,
                                         .cgroup_fd = -1,
                                         .cwd_fd = -1};
    struct viv_launch_result result;
    viv_init_launch(prober->room, &start, &result);
    const int pidfd = atomic_load_explicit(&result.pidfd, memory_order_relaxed); // one thread
    if (result.stage != VIV_STAGE_NONE) {
        *out_stage = viv_launch_stage_name(result.stage);
        if (pidfd >= 0) VIV_IGNORE(viv_os_close(pidfd), "it was reaped");
        return result.err;
    }
    int init_fd = -1;
    VIV_IGNORE(viv_os_close(holder_end), "the child has its own");
    const int failure = await_reports(link, &init_fd, out_stage);
    viv_init_link_close(link);
    end_child(init_fd);
    end_child(pidfd);
    return failure;
}

// True when the plan came up; else the feature is noted as missing.
static bool comes_up(struct prober *prober, enum viv_feature feature)
{
    struct viv_init_link link = {.fd = -1};
    int holder_end = -1;
    const char *stage = "start";
    int err = ENOMEM;
    if (viv_init_link_open(&link, &holder_end) == VIV_OK)
        err = run_child(prober, &link, holder_end, &stage);
    // Open still: the holder was not started.
    if (link.fd >= 0 && holder_end >= 0) VIV_IGNORE(viv_os_close(holder_end), "a socket");
    viv_init_link_close(&link);
    if (err != 0) note(prober, feature, err, stage);
    return err == 0;
}

// ------------------------------------------------------------------------------------- the plans

static void begin(struct prober *prober, uint64_t namespaces)
{
    struct viv_plan *plan = prober->plan;
    memset(plan, 0, sizeof *plan);
    plan->is_probe = true;
    plan->namespaces = namespaces;
    plan->rung = (namespaces & CLONE_NEWPID) != 0 ? VIV_RUNG_PIDNS : VIV_RUNG_TREE;
    plan->has_user = prober->probe->has_user;
    plan->uid = plan->has_user ? prober->probe->uid : geteuid(); // one that may map itself
    plan->gid = plan->has_user ? prober->probe->gid : getegid();
    plan->drops_caps = (namespaces & CLONE_NEWUSER) != 0;
    plan->host_name = plan->path = plan->cwd = "";
}

static void add_step(struct prober *prober, const struct viv_view_step *step)
{
    struct viv_view_step *slot = &prober->plan->steps[prober->plan->step_count++];
    *slot = *step;
    if (slot->source == NULL) slot->source = "";
    if (slot->target == NULL) slot->target = "";
}

static const struct viv_view_step host_root = {
    .op = VIV_VIEW_HOST, .attrs = VIV_MOUNT_RDONLY | VIV_MOUNT_NOSUID | VIV_MOUNT_NODEV};
static const struct viv_view_step empty_root = {.op = VIV_VIEW_EMPTY, .number = SMALL_BYTES};

// Both kinds of root, and a mount of each kind.
static bool has_mounts(struct prober *prober)
{
    const struct viv_view_step tmpfs = {
        .op = VIV_VIEW_TMPFS, .number = SMALL_BYTES, .mode = DIR_MODE, .target = "/proc"};
    const struct viv_view_step device = {
        .op = VIV_VIEW_BIND, .source = "/dev/null", .target = "/dev/null"};
    const struct viv_view_step pts = {.op = VIV_VIEW_PTS, .target = "/dev/pts"};
    begin(prober, CLONE_NEWUSER | CLONE_NEWNS);
    add_step(prober, &host_root);
    add_step(prober, &tmpfs);
    if (!comes_up(prober, VIV_FEATURE_MOUNTNS)) return false;
    begin(prober, CLONE_NEWUSER | CLONE_NEWNS);
    add_step(prober, &empty_root);
    add_step(prober, &device);
    add_step(prober, &pts);
    return comes_up(prober, VIV_FEATURE_MOUNTNS);
}

static bool has_proc(struct prober *prober)
{
    for (uint64_t subset = 0; subset <= 1; subset++) {
        const struct viv_view_step proc = {
            .op = VIV_VIEW_PROC, .number = subset, .target = "/proc"};
        begin(prober, CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID);
        add_step(prober, &empty_root);
        add_step(prober, &proc);
        if (!comes_up(prober, VIV_FEATURE_PROC)) return false;
    }
    return true;
}

static bool has_namespaces(struct prober *prober, enum viv_feature feature)
{
    if (feature == VIV_FEATURE_USERNS) {
        begin(prober, CLONE_NEWUSER);
    } else if (feature == VIV_FEATURE_PIDNS) {
        begin(prober, CLONE_NEWUSER | CLONE_NEWPID);
    } else if (feature == VIV_FEATURE_NETNS) {
        begin(prober, CLONE_NEWUSER | CLONE_NEWNET);
        prober->plan->raises_loopback = true;
    } else {
        begin(prober, CLONE_NEWUSER | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP);
        prober->plan->host_name = "viv";
    }
    return comes_up(prober, feature);
}

static bool has_landlock(struct prober *prober)
{
    const int abi = viv_os_landlock_abi();
    if (abi < 1) {
        note(prober, VIV_FEATURE_LANDLOCK, abi < 0 ? -abi : ENOSYS, "landlock");
        return false;
    }
    begin(prober, 0);
    prober->plan->landlock.files = viv_os_landlock_file_rights(abi);
    prober->plan->rule_count = 1;
    prober->plan->rules[0] = (struct viv_plan_rule){"/", VIV_LANDLOCK_READ_FILE};
    prober->features->landlock_abi = abi;
    if (comes_up(prober, VIV_FEATURE_LANDLOCK)) return true;
    prober->features->landlock_abi = 0;
    return false;
}

static bool has_seccomp(struct prober *prober)
{
    for (int level = 0; level < VIV_SECCOMP_LEVELS; level++) {
        begin(prober, 0);
        prober->plan->filter = viv_seccomp_programs[OWN_ARCH][level].code;
        prober->plan->filter_length = viv_seccomp_programs[OWN_ARCH][level].length;
        if (!comes_up(prober, VIV_FEATURE_SECCOMP)) return false;
    }
    return true;
}

// ------------------------------------------------------------------------------- without a child

static void probe_cgroups(struct prober *prober)
{
    static const struct {
        enum viv_feature feature;
        uint32_t bit;
    } limits[] = {{VIV_FEATURE_CGROUP_MEMORY, VIV_CGROUP_MEMORY},
                  {VIV_FEATURE_CGROUP_PIDS, VIV_CGROUP_PIDS},
                  {VIV_FEATURE_CGROUP_CPU, VIV_CGROUP_CPU}};
    const int base = prober->probe->cgroup_fd;
    int made = base < 0 ? -ENOENT : viv_cgroup_make(base, "viv-probe");
    int r = made < 0 ? made : viv_cgroup_kill(made);
    if (made >= 0) {
        VIV_IGNORE(viv_os_close(made), "a directory");
        VIV_IGNORE(viv_cgroup_remove(base, "viv-probe"), "empty; found at the next start if not");
    }
    if (r < 0) note(prober, VIV_FEATURE_CGROUP_CORE, -r, made < 0 ? "mkdir" : "cgroup.kill");
    const uint32_t controllers = r < 0 ? 0 : viv_cgroup_controllers(base);
    for (size_t i = 0; i < VIV_COUNT_OF(limits); i++)
        if ((controllers & limits[i].bit) == 0)
            note(prober, limits[i].feature, r < 0 ? -r : ENOENT, "controllers");
}

void viv_probe_host(struct viv_launch_room *room, const struct viv_probe *probe,
                    struct viv_features *out_features)
{
    struct viv_features features = {.have = VIV_FEATURE_BIT(VIV_FEATURES) - 1};
    struct viv_plan *plan = viv_try_alloc(sizeof *plan, VIV_TAG_NATIVE);
    struct prober prober = {.room = room, .probe = probe, .plan = plan, .features = &features};
    for (int i = 0; i < VIV_FEATURES; i++)
        features.why[i].stage = "";
    for (int i = 0; plan == NULL && i < VIV_FEATURES_OF_LEVELS; i++)
        note(&prober, (enum viv_feature)i, ENOMEM, "start");
    if (plan != NULL) {
        VIV_IGNORE(has_namespaces(&prober, VIV_FEATURE_USERNS), "noted");
        VIV_IGNORE(has_mounts(&prober), "noted");
        VIV_IGNORE(has_namespaces(&prober, VIV_FEATURE_PIDNS), "noted");
        VIV_IGNORE(has_namespaces(&prober, VIV_FEATURE_NETNS), "noted");
        VIV_IGNORE(has_namespaces(&prober, VIV_FEATURE_IPCNS), "noted");
        VIV_IGNORE(has_proc(&prober), "noted");
        VIV_IGNORE(has_landlock(&prober), "noted");
        VIV_IGNORE(has_seccomp(&prober), "noted");
        viv_free(plan, sizeof *plan, VIV_TAG_NATIVE);
    }
    const int group = viv_os_pidfd_group_works();
    if (group < 0) note(&prober, VIV_FEATURE_PIDFD_GROUP, -group, "pidfd_send_signal");
    probe_cgroups(&prober);
    *out_features = features;
}

enum viv_err viv_features_print(const struct viv_features *features, struct viv_buf *out)
{
    for (int i = 0; i < VIV_FEATURES; i++) {
        const char *name = viv_feature_name((enum viv_feature)i);
        const bool is_there = (features->have & VIV_FEATURE_BIT(i)) != 0;
        if (i == VIV_FEATURE_LANDLOCK && is_there)
            VIV_TRY(viv_buf_printf(out, "%s %d\n", name, features->landlock_abi));
        else if (is_there)
            VIV_TRY(viv_buf_printf(out, "%s\n", name));
        else
            VIV_TRY(viv_buf_printf(out, "%s - %s: %s\n", name, features->why[i].stage,
                                   strerror(features->why[i].err)));
    }
    return VIV_OK;
}
