// SPDX-License-Identifier: Apache-2.0
// Plans of sandboxes. The steps of the view, in the order in which they are mounted:
//
//   default   host tree, read-only    strict   empty root, run-time set, /etc of its own
//   both      /proc, /dev, /tmp, /var/tmp, (default) /run; grants and cwd, outer before inner; what
//   is hidden
//
// Hidden paths come last, so that they stay hidden where a grant lies around them; a grant within
// one is refused. Every path is resolved once, here; the plan has the result and the file's
// identity, which the holder compares.
#include "native/sandbox.h"
#include "base/assert.h"
#include "gen/seccomp.h"
#include "os/file.h"
#include "os/mount.h"
#include "os/ns.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#define OWN_ARCH VIV_SECCOMP_X86_64
#elif defined(__aarch64__)
#define OWN_ARCH VIV_SECCOMP_ARM64
#endif

#define READ_ONLY (VIV_MOUNT_RDONLY | VIV_MOUNT_NOSUID | VIV_MOUNT_NODEV)
#define PRIVATE (VIV_MOUNT_NOSUID | VIV_MOUNT_NODEV)
#define READS ((uint64_t)(VIV_LANDLOCK_READ_FILE | VIV_LANDLOCK_READ_DIR))
#define NODES ((uint64_t)(VIV_LANDLOCK_MAKE_CHAR | VIV_LANDLOCK_MAKE_BLOCK))
#define SCOPE_ALL 3 // abstract sockets and signals

enum { SCOPE_ABI = 6, PORTS_ABI = 4, STICKY_MODE = 01777, DIR_MODE = 0755 };
#define SMALL_BYTES (UINT64_C(1) << 20) // a root or /dev holds directories and links only

struct maker {
    const struct viv_sandbox_request *request;
    struct viv_sandbox *sandbox;
    struct viv_diag *diag;
    uint64_t all_rights; // of files, but for device nodes
};

static bool has(const struct maker *maker, enum viv_feature feature)
{
    return (maker->request->features->have & VIV_FEATURE_BIT(feature)) != 0;
}

// ---------------------------------------------------------------------------------- steps, rules

static void add_step(struct maker *maker, const struct viv_view_step *step)
{
    struct viv_plan *plan = &maker->sandbox->plan;
    VIV_ASSERT(plan->step_count < VIV_PLAN_STEPS_MAX);
    struct viv_view_step *slot = &plan->steps[plan->step_count++];
    *slot = *step;
    if (slot->source == NULL) slot->source = "";
    if (slot->target == NULL) slot->target = "";
}

static void add_rule(struct maker *maker, const char *path, uint64_t rights)
{
    struct viv_plan *plan = &maker->sandbox->plan;
    if (!has(maker, VIV_FEATURE_LANDLOCK)) return;
    VIV_ASSERT(plan->rule_count < VIV_PLAN_RULES_MAX);
    plan->rules[plan->rule_count++] = (struct viv_plan_rule){path, rights};
}

static void add_tmpfs(struct maker *maker, const char *target, uint64_t bytes, uint32_t mode)
{
    const struct viv_view_step step = {
        .op = VIV_VIEW_TMPFS, .attrs = PRIVATE, .number = bytes, .mode = mode, .target = target};
    add_step(maker, &step);
}

static void add_link(struct maker *maker, const char *target, const char *text)
{
    const struct viv_view_step step = {.op = VIV_VIEW_SYMLINK, .source = text, .target = target};
    add_step(maker, &step);
}

static void add_file(struct maker *maker, const char *target, const char *text)
{
    const struct viv_view_step step = {.op = VIV_VIEW_FILE, .source = text, .target = target};
    add_step(maker, &step);
}

// ------------------------------------------------------------------------------------------ paths

static enum viv_err refuse_open(struct maker *maker, const char *field, const char *path, int err)
{
    if (err == EMFILE || err == ENFILE) return viv_diag_set(maker->diag, VIV_E_EXHAUSTED, "fds");
    if (err == ENOMEM) return viv_diag_set(maker->diag, VIV_E_EXHAUSTED, "memory");
    return viv_diag_set(maker->diag, VIV_E_INVAL, "%s: %s: %s", field, path, strerror(err));
}

// Resolves what fd has open, which becomes the sandbox's.
static enum viv_err add_path(struct maker *maker, const char *field, VIV_OWN int fd,
                             enum viv_native_grant mode)
{
    struct viv_sandbox *sandbox = maker->sandbox;
    struct stat stat;
    char path[PATH_MAX];
    int r = viv_os_fstat(fd, &stat);
    if (r >= 0 && stat.st_nlink == 0) r = -ENOENT;
    if (r >= 0) r = viv_os_path_of(fd, path, sizeof path);
    char *copy = r >= 0 ? viv_try_strndup(path, strlen(path), VIV_TAG_NATIVE) : NULL;
    if (r >= 0 && copy == NULL) r = -ENOMEM;
    if (r < 0) {
        VIV_IGNORE(viv_os_close(fd), "a path");
        return refuse_open(maker, field, "what it names", -r);
    }
    VIV_ASSERT(sandbox->path_count < sandbox->path_room);
    sandbox->paths[sandbox->path_count++] = (struct viv_sandbox_path){.path = copy,
                                                                      .path_len = strlen(copy),
                                                                      .fd = fd,
                                                                      .mode = mode,
                                                                      .device = stat.st_dev,
                                                                      .inode = stat.st_ino};
    return VIV_OK;
}

static bool is_within(const struct viv_sandbox_path *inner, const char *outer, size_t outer_len)
{
    if (outer_len == 1) return true; // the root
    return inner->path_len >= outer_len && memcmp(inner->path, outer, outer_len) == 0 &&
           (inner->path[outer_len] == '\0' || inner->path[outer_len] == '/');
}

static enum viv_err add_grants(struct maker *maker)
{
    const struct viv_sandbox_request *request = maker->request;
    for (uint32_t i = 0; i < request->grant_count; i++) {
        const struct viv_sandbox_grant *grant = &request->grants[i];
        if (grant->path[0] != '/')
            return viv_diag_set(maker->diag, VIV_E_INVAL, "path: %s: not absolute", grant->path);
        const int fd = viv_os_open(grant->path, O_PATH, 0);
        if (fd < 0) return refuse_open(maker, "path", grant->path, -fd);
        VIV_TRY(add_path(maker, "path", fd, grant->mode));
    }
    const int cwd_fd = viv_os_dup(request->cwd_fd);
    if (cwd_fd < 0) return refuse_open(maker, "cwd", "its descriptor", -cwd_fd);
    return add_path(maker, "cwd", cwd_fd,
                    request->cwd_ro ? VIV_NATIVE_GRANT_RO : VIV_NATIVE_GRANT_RW);
}

// What does not exist, or lies where the program could not reach it, hides nothing.
static enum viv_err add_hides(struct maker *maker)
{
    for (uint32_t i = 0; i < maker->request->hide_count; i++) {
        const char *path = maker->request->hides[i];
        if (path[0] != '/')
            return viv_diag_set(maker->diag, VIV_E_INVAL, "hide: %s: not absolute", path);
        const int fd = viv_os_open(path, O_PATH, 0);
        if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
            return refuse_open(maker, "hide", path, -fd);
        if (fd < 0) continue;
        VIV_TRY(add_path(maker, "hide", fd, VIV_NATIVE_GRANT_RO));
    }
    return VIV_OK;
}

// Grants and cwd must lie in the view and not be hidden; the last of them is cwd.
static enum viv_err check_grants(struct maker *maker)
{
    const struct viv_sandbox *sandbox = maker->sandbox;
    for (uint32_t i = 0; i < sandbox->grant_count; i++) {
        const struct viv_sandbox_path *grant = &sandbox->paths[i];
        const char *field = i + 1 == sandbox->grant_count ? "cwd" : "path";
        if (grant->path_len == 1)
            return viv_diag_set(maker->diag, VIV_E_INVAL, "%s: the root", field);
        if (is_within(grant, "/proc", 5) || is_within(grant, "/dev/pts", 8))
            return viv_diag_set(maker->diag, VIV_E_DENIED, "%s: %s", field, grant->path);
        for (uint32_t j = sandbox->grant_count; j < sandbox->path_count; j++)
            if (is_within(grant, sandbox->paths[j].path, sandbox->paths[j].path_len))
                return viv_diag_set(maker->diag, VIV_E_DENIED, "%s: %s is hidden", field,
                                    grant->path);
    }
    return VIV_OK;
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(((const struct viv_sandbox_path *)a)->path,
                  ((const struct viv_sandbox_path *)b)->path);
}

// Of two grants of one path, the one that gives more: rw gives what exec gives, exec what ro does.
static enum viv_native_grant wider(enum viv_native_grant a, enum viv_native_grant b)
{
    if (a == VIV_NATIVE_GRANT_RW || b == VIV_NATIVE_GRANT_RW) return VIV_NATIVE_GRANT_RW;
    return a == VIV_NATIVE_GRANT_EXEC ? a : b;
}

static enum viv_err resolve_paths(struct maker *maker)
{
    struct viv_sandbox *sandbox = maker->sandbox;
    const struct viv_sandbox_request *request = maker->request;
    if (request->grant_count > VIV_SANDBOX_GRANTS_MAX)
        return viv_diag_set(maker->diag, VIV_E_TOOBIG, "path");
    if (request->hide_count > VIV_SANDBOX_HIDES_MAX)
        return viv_diag_set(maker->diag, VIV_E_TOOBIG, "hide");
    sandbox->path_room = request->grant_count + 1 + request->hide_count;
    sandbox->paths = viv_try_calloc(sandbox->path_room, sizeof *sandbox->paths, VIV_TAG_NATIVE);
    if (sandbox->paths == NULL) return viv_diag_set(maker->diag, VIV_E_EXHAUSTED, "memory");
    VIV_TRY(add_grants(maker));
    sandbox->grant_count = sandbox->path_count;
    sandbox->plan.cwd = sandbox->paths[sandbox->path_count - 1].path;
    VIV_TRY(add_hides(maker));
    VIV_TRY(check_grants(maker));
    qsort(sandbox->paths, sandbox->grant_count, sizeof *sandbox->paths, compare_paths);
    return VIV_OK;
}

// ------------------------------------------------------------------------------------------- view

static void add_devices(struct maker *maker)
{
    static const char *const devices[] = {"/dev/null",   "/dev/zero",    "/dev/full",
                                          "/dev/random", "/dev/urandom", "/dev/tty"};
    add_tmpfs(maker, "/dev", SMALL_BYTES, DIR_MODE);
    for (size_t i = 0; i < VIV_COUNT_OF(devices); i++) {
        const struct viv_view_step step = {.op = VIV_VIEW_BIND,
                                           .may_miss = true,
                                           .attrs = VIV_MOUNT_NOSUID | VIV_MOUNT_NOEXEC,
                                           .source = devices[i],
                                           .target = devices[i]};
        add_step(maker, &step);
    }
    add_link(maker, "/dev/fd", "/proc/self/fd");
    add_link(maker, "/dev/stdin", "/proc/self/fd/0");
    add_link(maker, "/dev/stdout", "/proc/self/fd/1");
    add_link(maker, "/dev/stderr", "/proc/self/fd/2");
    add_link(maker, "/dev/ptmx", "pts/ptmx");
    const struct viv_view_step pts = {
        .op = VIV_VIEW_PTS, .attrs = VIV_MOUNT_NOSUID | VIV_MOUNT_NOEXEC, .target = "/dev/pts"};
    add_step(maker, &pts);
    add_tmpfs(maker, "/dev/shm", maker->request->tmp_bytes, STICKY_MODE);
}

// A private tmpfs where the host has a directory; strict makes it in any case.
static void add_private(struct maker *maker, const char *path)
{
    if (maker->request->level == VIV_NATIVE_SANDBOX_DEFAULT) {
        struct stat stat;
        const int r = viv_os_fstatat(AT_FDCWD, path, &stat, AT_SYMLINK_NOFOLLOW);
        if (r < 0 || !S_ISDIR(stat.st_mode)) return;
    }
    add_tmpfs(maker, path, maker->request->tmp_bytes, STICKY_MODE);
    add_rule(maker, path, maker->all_rights);
}

// Services of the host listen on sockets in /run, and neither a read-only mount nor Landlock keeps
// from connecting to one: through the user's own service manager a program would leave the sandbox.
// What programs need of /run is shown again; how to resolve names, where the network is the host's.
static void add_run(struct maker *maker)
{
    static const char *const shown[] = {"/run/current-system", "/run/opengl-driver",
                                        "/run/systemd/resolve", "/run/resolvconf",
                                        "/run/NetworkManager"};
    enum { OF_NAMES = 2 }; // from here on
    const bool has_net = maker->request->net == VIV_NATIVE_NET_HOST;
    add_private(maker, "/run");
    for (size_t i = 0; i < (has_net ? VIV_COUNT_OF(shown) : OF_NAMES); i++) {
        struct stat stat;
        if (viv_os_fstatat(AT_FDCWD, shown[i], &stat, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (!S_ISDIR(stat.st_mode)) continue;
        const struct viv_view_step step = {.op = VIV_VIEW_BIND,
                                           .may_miss = true,
                                           .attrs = READ_ONLY,
                                           .source = shown[i],
                                           .target = shown[i]};
        add_step(maker, &step);
    }
}

// What all programs need to start, without what is of this host.
static void add_runtime(struct maker *maker)
{
    static const char *const paths[] = {"/usr",           "/bin",          "/sbin",
                                        "/lib",           "/lib64",        "/etc/ld.so.cache",
                                        "/etc/localtime", "/etc/ssl/certs"};
    struct viv_sandbox *sandbox = maker->sandbox;
    _Static_assert(VIV_COUNT_OF(paths) == VIV_COUNT_OF(sandbox->links), "each may be a link");
    for (size_t i = 0; i < VIV_COUNT_OF(paths); i++) {
        struct stat stat;
        if (viv_os_fstatat(AT_FDCWD, paths[i], &stat, AT_SYMLINK_NOFOLLOW) < 0) continue;
        if (S_ISLNK(stat.st_mode)) {
            char *text = sandbox->links[sandbox->link_count].text;
            const size_t room = sizeof sandbox->links[0].text;
            const ssize_t n = viv_os_readlinkat(AT_FDCWD, paths[i], text, room);
            if (n <= 0 || (size_t)n >= room) continue;
            text[n] = '\0';
            sandbox->link_count++;
            add_link(maker, paths[i], text);
            continue;
        }
        const struct viv_view_step step = {
            .op = VIV_VIEW_BIND, .attrs = READ_ONLY, .source = paths[i], .target = paths[i]};
        add_step(maker, &step);
        add_rule(maker, paths[i], READS | VIV_LANDLOCK_EXECUTE);
    }
    add_file(maker, "/etc/passwd", sandbox->passwd);
    add_file(maker, "/etc/group", sandbox->group);
}

static void write_names(struct maker *maker)
{
    struct viv_sandbox *sandbox = maker->sandbox;
    const unsigned uid = sandbox->plan.uid, gid = sandbox->plan.gid;
    snprintf(sandbox->passwd, sizeof sandbox->passwd,
             "viv:x:%u:%u::/tmp:/bin/sh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n",
             uid, gid);
    snprintf(sandbox->group, sizeof sandbox->group, "viv:x:%u:\nnogroup:x:65534:\n", gid);
}

static void add_root(struct maker *maker)
{
    const bool is_strict = maker->request->level == VIV_NATIVE_SANDBOX_STRICT;
    const struct viv_view_step root = {.op = is_strict ? VIV_VIEW_EMPTY : VIV_VIEW_HOST,
                                       .attrs = READ_ONLY,
                                       .number = SMALL_BYTES};
    add_step(maker, &root);
    add_rule(maker, "/", is_strict ? READS : READS | VIV_LANDLOCK_EXECUTE);
    if (is_strict && maker->request->runtime) {
        write_names(maker);
        add_runtime(maker);
    }
}

static void add_proc(struct maker *maker)
{
    struct viv_view_step step = {.op = VIV_VIEW_PROC,
                                 .attrs = PRIVATE | VIV_MOUNT_NOEXEC,
                                 .number = maker->request->level == VIV_NATIVE_SANDBOX_STRICT,
                                 .target = "/proc"};
    // Where that was accepted as missing: nothing, rather than the host's.
    if (!has(maker, VIV_FEATURE_PROC)) {
        step.op = VIV_VIEW_TMPFS;
        step.number = SMALL_BYTES;
        step.mode = DIR_MODE;
    }
    add_step(maker, &step);
    add_rule(maker, "/proc", maker->all_rights);
}

// Landlock adds up what it finds from a file to the root, so a grant inside of a wider one, or of
// the private /tmp, has that one's rights there too: what it must not have, the mount refuses.
static uint64_t grant_attrs(const struct maker *maker, enum viv_native_grant mode)
{
    if (mode == VIV_NATIVE_GRANT_RW) return PRIVATE;
    const bool may_execute =
        mode == VIV_NATIVE_GRANT_EXEC || maker->request->level == VIV_NATIVE_SANDBOX_DEFAULT;
    return may_execute ? READ_ONLY : READ_ONLY | VIV_MOUNT_NOEXEC;
}

static void bind_grants(struct maker *maker)
{
    const struct viv_sandbox *sandbox = maker->sandbox;
    for (uint32_t i = 0; i < sandbox->grant_count; i++) {
        const struct viv_sandbox_path *grant = &sandbox->paths[i];
        enum viv_native_grant mode = grant->mode;
        for (; i + 1 < sandbox->grant_count && strcmp(sandbox->paths[i + 1].path, grant->path) == 0;
             i++)
            mode = wider(mode, sandbox->paths[i + 1].mode);
        const bool is_rw = mode == VIV_NATIVE_GRANT_RW;
        const struct viv_view_step step = {.op = VIV_VIEW_BIND,
                                           .attrs = grant_attrs(maker, mode),
                                           .device = grant->device,
                                           .inode = grant->inode,
                                           .source = grant->path,
                                           .target = grant->path};
        add_step(maker, &step);
        add_rule(maker, grant->path,
                 is_rw                           ? maker->all_rights
                 : mode == VIV_NATIVE_GRANT_EXEC ? READS | VIV_LANDLOCK_EXECUTE
                                                 : READS);
    }
}

static void hide_paths(struct maker *maker)
{
    const struct viv_sandbox *sandbox = maker->sandbox;
    for (uint32_t i = sandbox->grant_count; i < sandbox->path_count; i++) {
        const struct viv_view_step step = {.op = VIV_VIEW_HIDE,
                                           .may_miss = true,
                                           .attrs = VIV_MOUNT_RDONLY | VIV_MOUNT_NOSUID,
                                           .target = sandbox->paths[i].path};
        add_step(maker, &step);
    }
}

// ------------------------------------------------------------------------------------- the rest

static enum viv_err need(struct maker *maker, enum viv_feature feature)
{
    const struct viv_features *features = maker->request->features;
    const uint32_t bit = VIV_FEATURE_BIT(feature);
    if ((features->have & bit) != 0) return VIV_OK;
    if ((maker->request->accepts & bit) == 0)
        return viv_diag_set(maker->diag, VIV_E_UNSUPPORTED, "%s: %s: %s", viv_feature_name(feature),
                            features->why[feature].stage, strerror(features->why[feature].err));
    maker->sandbox->left_out |= bit;
    return VIV_OK;
}

static enum viv_err check_features(struct maker *maker)
{
    const struct viv_sandbox_request *request = maker->request;
    for (int i = 0; i < VIV_FEATURES_OF_LEVELS; i++) {
        const enum viv_feature feature = (enum viv_feature)i;
        if (feature == VIV_FEATURE_NETNS && request->net == VIV_NATIVE_NET_HOST) continue;
        VIV_TRY(need(maker, feature));
    }
    const bool has_view = has(maker, VIV_FEATURE_MOUNTNS) && has(maker, VIV_FEATURE_USERNS);
    if (request->level == VIV_NATIVE_SANDBOX_STRICT && !has_view)
        return viv_diag_set(maker->diag, VIV_E_UNSUPPORTED, "mountns: strict needs it");
    return VIV_OK;
}

static enum viv_err choose_user(struct maker *maker)
{
    const struct viv_sandbox_request *request = maker->request;
    struct viv_plan *plan = &maker->sandbox->plan;
    plan->uid = request->kernel_uid;
    plan->gid = request->kernel_gid;
    if (request->has_user) {
        if (request->kernel_uid != 0)
            return viv_diag_set(maker->diag, VIV_E_INVAL, "user: the kernel is not privileged");
        if (request->group_count > VIV_PLAN_GROUPS_MAX)
            return viv_diag_set(maker->diag, VIV_E_INVAL, "user: too many groups");
        plan->has_user = true;
        plan->uid = request->uid;
        plan->gid = request->gid;
        plan->group_count = request->group_count;
        for (uint32_t i = 0; i < request->group_count; i++)
            plan->groups[i] = request->groups[i];
    }
    if (request->level != VIV_NATIVE_SANDBOX_NONE && plan->uid == 0)
        return viv_diag_set(maker->diag, VIV_E_INVAL, "user: root cannot be confined");
    return VIV_OK;
}

static void choose_namespaces(struct maker *maker)
{
    struct viv_plan *plan = &maker->sandbox->plan;
    plan->rung = VIV_RUNG_TREE;
    if (!has(maker, VIV_FEATURE_USERNS)) return; // accepted: the others need it
    plan->namespaces = CLONE_NEWUSER;
    if (has(maker, VIV_FEATURE_PIDNS)) {
        plan->namespaces |= CLONE_NEWPID;
        plan->rung = VIV_RUNG_PIDNS;
    }
    if (has(maker, VIV_FEATURE_MOUNTNS)) plan->namespaces |= CLONE_NEWNS;
    if (has(maker, VIV_FEATURE_IPCNS)) {
        plan->namespaces |= CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
        plan->host_name = "viv";
    }
    if (has(maker, VIV_FEATURE_NETNS) && maker->request->net == VIV_NATIVE_NET_OWN) {
        plan->namespaces |= CLONE_NEWNET;
        plan->raises_loopback = true;
    }
}

static bool is_held_to_ports(const struct viv_sandbox_request *request)
{
    return request->net == VIV_NATIVE_NET_HOST && !request->net_is_all && request->ports != NULL;
}

static enum viv_err choose_net(struct maker *maker)
{
    const struct viv_sandbox_request *request = maker->request;
    struct viv_plan *plan = &maker->sandbox->plan;
    if (request->net == VIV_NATIVE_NET_OWN) return VIV_OK;
    if (request->level == VIV_NATIVE_SANDBOX_STRICT)
        return viv_diag_set(maker->diag, VIV_E_UNSUPPORTED, "net: strict has its own");
    if (request->net_is_all) return VIV_OK;
    const bool can_limit = has(maker, VIV_FEATURE_LANDLOCK) && has(maker, VIV_FEATURE_SECCOMP) &&
                           request->features->landlock_abi >= PORTS_ABI;
    if (!is_held_to_ports(request) || !can_limit)
        return viv_diag_set(maker->diag, VIV_E_UNSUPPORTED,
                            "net: this host cannot enforce those addresses");
    plan->landlock.ports = request->ports->rights;
    for (uint32_t i = 0; i < request->ports->count; i++)
        plan->ports[plan->port_count++] = request->ports->ports[i];
    return VIV_OK;
}

static void choose_confinement(struct maker *maker)
{
    struct viv_plan *plan = &maker->sandbox->plan;
    const int abi = maker->request->features->landlock_abi;
    const bool is_strict = maker->request->level == VIV_NATIVE_SANDBOX_STRICT;
    // Without an own user namespace there are none to drop: the user is not root.
    plan->drops_caps = (plan->namespaces & CLONE_NEWUSER) != 0;
    if (has(maker, VIV_FEATURE_LANDLOCK)) {
        plan->landlock.files = viv_os_landlock_file_rights(abi);
        plan->landlock.scoped = abi >= SCOPE_ABI ? SCOPE_ALL : 0;
    }
    maker->all_rights = viv_os_landlock_file_rights(abi) & ~NODES;
    if (!has(maker, VIV_FEATURE_SECCOMP)) return;
    enum viv_seccomp_level level = is_strict ? VIV_SECCOMP_STRICT : VIV_SECCOMP_DEFAULT;
    if (is_held_to_ports(maker->request)) level = VIV_SECCOMP_TCP; // at strict there is no such net
    const struct viv_seccomp_program *program = &viv_seccomp_programs[OWN_ARCH][level];
    plan->filter = program->code;
    plan->filter_length = program->length;
}

// Without a mount namespace there is no view, and Landlock alone keeps from writing.
static void choose_view(struct maker *maker)
{
    const bool has_view = (maker->sandbox->plan.namespaces & CLONE_NEWNS) != 0;
    if (has_view) {
        add_root(maker);
        add_proc(maker);
        add_devices(maker);
        add_rule(maker, "/dev", maker->all_rights);
        add_private(maker, "/tmp");
        add_private(maker, "/var/tmp");
        if (maker->request->level == VIV_NATIVE_SANDBOX_DEFAULT) add_run(maker);
        bind_grants(maker);
        hide_paths(maker);
        return;
    }
    add_rule(maker, "/", READS | VIV_LANDLOCK_EXECUTE);
    add_rule(maker, "/dev", READS | VIV_LANDLOCK_WRITE_FILE);
    for (uint32_t i = 0; i < maker->sandbox->grant_count; i++)
        if (maker->sandbox->paths[i].mode == VIV_NATIVE_GRANT_RW)
            add_rule(maker, maker->sandbox->paths[i].path, maker->all_rights);
}

static enum viv_err make(struct maker *maker)
{
    struct viv_plan *plan = &maker->sandbox->plan;
    plan->rung = VIV_RUNG_TREE;
    plan->host_name = plan->path = plan->cwd = "";
    VIV_TRY(choose_user(maker));
    if (maker->request->level == VIV_NATIVE_SANDBOX_NONE) return VIV_OK;
    VIV_TRY(check_features(maker));
    VIV_TRY(choose_net(maker));
    VIV_TRY(resolve_paths(maker));
    choose_namespaces(maker);
    choose_confinement(maker);
    choose_view(maker);
    return VIV_OK;
}

enum viv_err viv_sandbox_new(const struct viv_sandbox_request *request,
                             struct viv_sandbox **out_sandbox, struct viv_diag *diag)
{
    struct viv_sandbox *sandbox = viv_try_calloc(1, sizeof *sandbox, VIV_TAG_NATIVE);
    if (sandbox == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "memory");
    struct maker maker = {.request = request, .sandbox = sandbox, .diag = diag};
    const enum viv_err err = make(&maker);
    if (err != VIV_OK) {
        viv_sandbox_free(sandbox);
        return err;
    }
    *out_sandbox = sandbox;
    return VIV_OK;
}

void viv_sandbox_free(struct viv_sandbox *sandbox)
{
    for (uint32_t i = 0; i < sandbox->path_count; i++) {
        struct viv_sandbox_path *path = &sandbox->paths[i];
        VIV_IGNORE(viv_os_close(path->fd), "a path");
        viv_free(path->path, path->path_len + 1, VIV_TAG_NATIVE);
    }
    viv_free(sandbox->paths, sandbox->path_room * sizeof *sandbox->paths, VIV_TAG_NATIVE);
    viv_free(sandbox, sizeof *sandbox, VIV_TAG_NATIVE);
}
