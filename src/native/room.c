// SPDX-License-Identifier: Apache-2.0
// The room for one kernel: what is known of this host when it opens, environments, and the end,
// which stops every program before the kernel stops.
#include "native/audit.h"
#include "native/held.h"

#include "base/log.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/file.h"
#include "os/tree.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define LAUNCH_NS (10 * VIV_NS_PER_SEC)
#define SHUTDOWN_NS (10 * VIV_NS_PER_SEC)
#define KILLED_NS (5 * VIV_NS_PER_SEC) // what SIGKILL may take

static const struct viv_native_quota scope_default = {8, 32, UINT64_C(64) << 20, 8};
static const struct viv_native_quota env_default = {256, 1024, UINT64_C(1) << 30, 1024};
static const struct viv_native_quota total_default = {16384, 131072, UINT64_C(8) << 30, 4096};
static const char *const env_pass_default[] = {"LANG", "LC_ALL", "LC_CTYPE", "TZ", NULL};

// --------------------------------------------------------------------------- the kind `child`

// What is to outlive its owners is left alone; its step sees that the kernel stops.
static void stop_from_outside(struct viv_program *program, enum viv_native_cause cause,
                              uint64_t grace_max_ns)
{
    viv_spin_lock(&program->care.lock);
    const bool is_handed = program->is_handed;
    const uint64_t own_ns = program->care.knobs[VIV_KNOB_GRACE];
    viv_spin_unlock(&program->care.lock);
    if (is_handed) {
        viv_program__wake(program);
        return;
    }
    const struct viv_native_orders order = {.stop = cause,
                                            .grace_ns = viv_min_u64(own_ns, grace_max_ns)};
    (void)viv_program__order_stop(program, &order);
}

static void close_child(void *obj, enum viv_close_why why)
{
    struct viv_program *program = obj;
    const bool is_owned = program->req.fields.survive == VIV_NATIVE_SURVIVE_OWNER;
    if (why == VIV_WHY_OWNER_END || why == VIV_WHY_PARENT_END)
        stop_from_outside(program, is_owned ? VIV_CAUSE_OWNER : VIV_CAUSE_ENV_END, UINT64_MAX);
    else if (why == VIV_WHY_SHUTDOWN)
        stop_from_outside(program, VIV_CAUSE_KERNEL_END, program->native->shutdown_ns);
}

static void note_unheld(void *obj, const struct viv_htab *tab)
{
    const struct viv_native_deed deed = {.operation = "native.detach", .tab = tab};
    viv_native__audit_deed(obj, &deed);
}

static void destroy_child(void *obj)
{
    viv_program__drop(obj);
}

// ------------------------------------------------------------------------------------- this host

static void read_limits(struct viv_native *native)
{
    struct rlimit files = {1024, 1024};
    VIV_IGNORE(getrlimit(RLIMIT_NOFILE, &files), "the least a system gives");
    native->nofile[0] = files.rlim_cur;
    native->nofile[1] = files.rlim_max;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) files.rlim_cur = native->nofile[0];
    native->fd_max = files.rlim_cur;
    viv_os_cpu_set(&native->cpus);
}

enum { NUMBERS_BYTES = 18, KERNELS_MAX = 100 }; // of one process

// A number of a process says something within one boot and one pid namespace.
static void name_numbers(char out_text[NUMBERS_BYTES])
{
    char boot[VIV_BOOT_ID_BYTES] = "00000000";
    struct stat stat = {.st_ino = 0};
    VIV_IGNORE(viv_os_fstatat(AT_FDCWD, "/proc/self/ns/pid", &stat, 0), "0 for all then");
    VIV_IGNORE(viv_os_boot_id(boot), "0 for all then");
    (void)snprintf(out_text, NUMBERS_BYTES, "%.8s.%08x", boot, (unsigned)stat.st_ino);
}

// The process of this number has ended, or is known to be another one, by its start in ticks modulo
// 2^32. Any doubt is false.
static bool has_ended(pid_t pid, uint32_t start)
{
    struct viv_proc_stat stat;
    if (viv_os_pid_is_gone(pid)) return true;
    return start != 0 && viv_os_proc_stat(pid, &stat) == 0 && (uint32_t)stat.start != start;
}

// Groups of kernels that have ended without a warden.
static void end_orphan(void *arg, int base_fd, const char *name)
{
    char numbers[NUMBERS_BYTES] = "";
    int pid = 0, len = 0;
    unsigned start, index;
    const int count =
        sscanf(name, "viv-%17[0-9a-f.]-%d-%x-%u%n", numbers, &pid, &start, &index, &len);
    if (count != 4 || name[len] != '\0' || strcmp(numbers, arg) != 0 || pid <= 0) return;
    if (has_ended(pid, start))
        VIV_IGNORE(viv_cgroup_end(base_fd, name), "the next kernel tries again");
}

// A directory that no other kernel of this process has. The descriptor, or a negated errno.
static int make_group(struct viv_native *native, int base_fd, const char *numbers)
{
    struct viv_proc_stat stat = {.start = 0};
    VIV_IGNORE(viv_os_proc_stat(getpid(), &stat), "0: its number alone says that it has ended");
    int r = -EEXIST;
    for (unsigned i = 0; i < KERNELS_MAX && r == -EEXIST; i++) {
        (void)snprintf(native->cgroup_name, sizeof native->cgroup_name, "viv-%s-%d-%x-%u", numbers,
                       getpid(), (unsigned)stat.start, i);
        r = viv_cgroup_make_new(base_fd, native->cgroup_name);
    }
    return r;
}

// The directory below which programs get their groups; without one they cannot have any.
static void open_group(struct viv_native *native, const char *base)
{
    char own[PATH_MAX];
    if (base == NULL && viv_cgroup_own(own, sizeof own) == VIV_OK) base = own;
    if (base == NULL) return;
    const int base_fd = viv_os_open(base, O_RDONLY | O_DIRECTORY, 0);
    if (base_fd < 0) return;
    char numbers[NUMBERS_BYTES];
    name_numbers(numbers);
    viv_cgroup_each(base_fd, end_orphan, numbers);
    native->cgroup_fd = make_group(native, base_fd, numbers);
    native->cgroup_base_fd = base_fd;
    if (native->cgroup_fd < 0) {
        VIV_LOG(VIV_LOG_INFO, "no control groups below %s: %s", base, strerror(-native->cgroup_fd));
        return;
    }
    VIV_IGNORE(viv_cgroup_delegate(native->cgroup_fd,
                                   VIV_CGROUP_CPU | VIV_CGROUP_MEMORY | VIV_CGROUP_PIDS),
               "what is there is read back");
    native->cgroup_controllers = viv_cgroup_controllers(native->cgroup_fd);
}

void viv_native__need_group(struct viv_native *native)
{
    viv_mutex_lock(&native->holder_lock);
    if (!native->has_sought_group) open_group(native, native->cgroup);
    native->has_sought_group = true;
    viv_mutex_unlock(&native->holder_lock);
}

static void close_group(struct viv_native *native)
{
    viv_native__drop_spares(native);
    viv_native__end_warden(native); // which removes what is left
    if (native->cgroup_fd >= 0) {
        VIV_IGNORE(viv_os_close(native->cgroup_fd), "a directory");
        const int r = viv_cgroup_end(native->cgroup_base_fd, native->cgroup_name);
        if (r < 0)
            VIV_LOG(VIV_LOG_WARN, "cannot remove the control group %s: %s", native->cgroup_name,
                    strerror(-r));
    }
    if (native->cgroup_base_fd >= 0)
        VIV_IGNORE(viv_cgroup_remove(native->cgroup_base_fd, "viv-held"), "somebody uses it");
    int *const fds[] = {&native->held_group_fd, &native->cgroup_base_fd};
    for (size_t i = 0; i < VIV_COUNT_OF(fds); i++)
        if (*fds[i] >= 0) VIV_IGNORE(viv_os_close(*fds[i]), "likewise");
}

// -------------------------------------------------------------------------------------- the room

static const struct viv_native_quota *or_default(const struct viv_native_quota *quota,
                                                 const struct viv_native_quota *by_default)
{
    return quota->live == 0 && quota->retained == 0 ? by_default : quota;
}

static enum viv_err random_bytes(void *arg, void *out, size_t len_bytes)
{
    return viv_sched_random(arg, out, len_bytes);
}

static void configure(struct viv_native *native, const struct viv_native_config *config)
{
    native->kernel = config->kernel;
    native->sched = viv_kernel_sched(config->kernel);
    native->cap = config->cap;
    native->direct = config->direct;
    native->holder = config->holder;
    native->state_fd =
        config->state_dir != NULL ? viv_os_open(config->state_dir, O_PATH | O_DIRECTORY, 0) : -1;
    native->cgroup = config->cgroup;
    native->cgroup_fd = native->cgroup_base_fd = native->held_group_fd = -1;
    native->held_ok = config->held_ok;
    native->holder_fd = native->warden_fd = native->warden_pidfd = -1;
    viv_mutex_init(&native->holder_lock);
    native->hides = config->hides;
    native->env_pass = config->env_pass != NULL ? config->env_pass : env_pass_default;
    native->audit = config->audit;
    native->launch_ns = config->launch_ns != 0 ? config->launch_ns : LAUNCH_NS;
    native->shutdown_ns = config->shutdown_ns != 0 ? config->shutdown_ns : SHUTDOWN_NS;
    native->scope_max = *or_default(&config->scope, &scope_default);
    native->env_max = *or_default(&config->environment, &env_default);
    native->use.max = *or_default(&config->total, &total_default);
    viv_spin_init(&native->lock, VIV_LOCK_NATIVE);
    viv_list_init(&native->scopes);
    viv_list_init(&native->programs);
    viv_list_init(&native->outside);
}

// A kernel that cannot hold runs all other programs.
static void open_keep(struct viv_native *native, const char *hold_dir)
{
    struct viv_diag diag = {0};
    viv_keep_init(&native->keep);
    if (hold_dir == NULL || native->state_fd < 0) return;
    const enum viv_err err = viv_keep_open(&native->keep, native->state_fd, hold_dir, &diag);
    if (err != VIV_OK) VIV_LOG(VIV_LOG_WARN, "no program can outlive this kernel: %s", diag.text);
}

enum viv_err viv_native_open(const struct viv_native_config *config, struct viv_native **out_native)
{
    struct viv_native *native = viv_try_calloc(1, sizeof *native, VIV_TAG_NATIVE);
    if (native == NULL) return VIV_E_EXHAUSTED;
    configure(native, config);
    const struct viv_prog_random random = {random_bytes, native->sched};
    struct viv_diag diag;
    enum viv_err err = viv_prog_ids_new(&random, &native->ids, &diag);
    if (err != VIV_OK) goto fail_ids;
    err = viv_launcher_new(native->sched, &native->launcher);
    if (err != VIV_OK) goto fail_launcher;
    err = viv_res_kind_bind(viv_room_reg(config->cap), VIV_KIND_CHILD,
                            &(struct viv_res_kind){.close = close_child,
                                                   .destroy = destroy_child,
                                                   .unheld = note_unheld});
    if (err != VIV_OK) goto fail_kind;
    read_limits(native);
    open_keep(native, config->hold_dir);
    *out_native = native;
    return VIV_OK;
fail_kind:
    viv_launcher_free(native->launcher);
fail_launcher:
    viv_prog_ids_free(native->ids);
fail_ids:
    viv_free(native, sizeof *native, VIV_TAG_NATIVE);
    return err;
}

enum viv_err viv_native_add_env(struct viv_native *native, struct viv_env *env, const char *root)
{
    struct viv_native_tenant *tenant = viv_try_calloc(1, sizeof *tenant, VIV_TAG_NATIVE);
    if (tenant == NULL) return VIV_E_EXHAUSTED;
    tenant->env = env;
    tenant->use.max = native->env_max;
    tenant->root_fd = viv_os_open(root, O_PATH | O_DIRECTORY, 0);
    enum viv_err err = tenant->root_fd < 0 ? VIV_E_NOTFOUND : VIV_OK;
    if (err == VIV_OK) {
        viv_spin_lock(&native->lock);
        if (viv_native__tenant_locked(native, env) != NULL) {
            err = VIV_E_STATE;
        } else {
            tenant->next = native->tenants;
            native->tenants = tenant;
        }
        viv_spin_unlock(&native->lock);
    }
    if (err == VIV_OK) return VIV_OK;
    if (tenant->root_fd >= 0) VIV_IGNORE(viv_os_close(tenant->root_fd), "a directory");
    viv_free(tenant, sizeof *tenant, VIV_TAG_NATIVE);
    return err;
}

bool viv_native_features(const struct viv_native *native, struct viv_features *out_features)
{
    // Acquire pairs with the release of the probe: what it found is immutable then.
    const bool is_known = atomic_load_explicit(&native->was_probed, memory_order_acquire);
    if (is_known) *out_features = native->features;
    return is_known;
}

// --------------------------------------------------------------------------------------- the end

// The first listed program; counted. NULL: none.
static struct viv_program *first_program(struct viv_native *native, uint64_t after)
{
    struct viv_program *found = NULL;
    viv_spin_lock(&native->lock);
    struct viv_list *at = native->programs.next;
    while (at != &native->programs &&
           VIV_CONTAINER_OF(at, struct viv_program, in_room)->number <= after)
        at = at->next;
    if (at != &native->programs)
        found = viv_program__take(VIV_CONTAINER_OF(at, struct viv_program, in_room));
    viv_spin_unlock(&native->lock);
    return found;
}

static void order_all(struct viv_native *native, bool kill)
{
    uint64_t after = 0;
    for (struct viv_program *program; (program = first_program(native, after)) != NULL;) {
        after = program->number;
        if (kill)
            stop_from_outside(program, VIV_CAUSE_KERNEL_END, 0);
        else
            stop_from_outside(program, VIV_CAUSE_KERNEL_END, native->shutdown_ns);
        viv_program__drop(program);
    }
}

static bool wait_for_none(struct viv_native *native, uint64_t timeout_ns)
{
    const uint64_t end_ns = viv_os_now_ns() + timeout_ns;
    for (;;) {
        // Acquire pairs with the release of the last one.
        const uint32_t live = atomic_load_explicit(&native->live, memory_order_acquire);
        const uint64_t now_ns = viv_os_now_ns();
        if (live == 0) return true;
        if (now_ns >= end_ns) return false;
        viv_futex_wait(&native->live, live, end_ns - now_ns);
    }
}

void viv_native_stop(struct viv_native *native)
{
    struct viv_qsbr_member *member;
    if (viv_sched_enter(native->sched, &member) != VIV_OK) return; // the kernel's end kills
    viv_spin_lock(&native->lock);
    // Seq_cst: pairs with the step of a held program, which is woken after this.
    atomic_store_explicit(&native->stops, true, memory_order_seq_cst);
    viv_spin_unlock(&native->lock);
    order_all(native, false);
    viv_qsbr_offline(member);
    const bool is_done = wait_for_none(native, native->shutdown_ns);
    viv_qsbr_online(member);
    if (!is_done) {
        order_all(native, true);
        viv_qsbr_offline(member);
        if (!wait_for_none(native, KILLED_NS))
            VIV_LOG(VIV_LOG_WARN, "programs are left that cannot be killed");
        viv_qsbr_online(member);
    }
    for (struct viv_program *program; (program = first_program(native, 0)) != NULL;) {
        (void)viv_program__release(program);
        viv_program__drop(program);
    }
    viv_sched_leave(member);
}

void viv_native_close(struct viv_native *native)
{
    viv_launcher_free(native->launcher);
    viv_prog_ids_free(native->ids);
    viv_native__free_outside(native);
    close_group(native);
    viv_keep_close(&native->keep);
    if (native->state_fd >= 0) VIV_IGNORE(viv_os_close(native->state_fd), "a directory");
    if (native->holder_fd >= 0) VIV_IGNORE(viv_os_close(native->holder_fd), "read only");
    while (native->tenants != NULL) {
        struct viv_native_tenant *tenant = native->tenants;
        native->tenants = tenant->next;
        VIV_IGNORE(viv_os_close(tenant->root_fd), "a directory");
        viv_free(tenant, sizeof *tenant, VIV_TAG_NATIVE);
    }
    viv_free(native, sizeof *native, VIV_TAG_NATIVE);
}
