// SPDX-License-Identifier: Apache-2.0
// Landlock, seccomp, capabilities. What viv_os_confine calls runs in a child that shares the
// caller's memory.
#include "os/confine.h"
#include "os/os_int.h"
#include "os/raw.h"
#include <errno.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RULE_PORT = 2 /* LANDLOCK_RULE_NET_PORT */, CAPS_END = 64 };

// The kernel's structures of later versions; a shorter size tells an older one.
struct ruleset_attr {
    uint64_t files, ports, scoped;
};
struct port_attr {
    uint64_t rights, port;
};

int viv_os_landlock_abi(void)
{
    const long r =
        viv_os__is_faulted("landlock_create_ruleset")
            ? -1
            : syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return (int)viv_os__settle(r);
}

uint64_t viv_os_landlock_file_rights(int abi)
{
    // Highest bit, exclusive, of each version: refer came with 2, truncate with 3, ioctl with 5.
    static const int ends[] = {0, 13, 14, 15, 15, 16};
    const int last = VIV_COUNT_OF(ends) - 1;
    return (UINT64_C(1) << ends[abi < 0 ? 0 : abi > last ? last : abi]) - 1;
}

int viv_os_landlock_new(const struct viv_landlock *handled)
{
    const struct ruleset_attr attr = {handled->files, handled->ports, handled->scoped};
    size_t size = sizeof attr;
    if (handled->scoped == 0) size = offsetof(struct ruleset_attr, scoped);
    if (handled->scoped == 0 && handled->ports == 0) size = offsetof(struct ruleset_attr, ports);
    const long r = viv_os__is_faulted("landlock_create_ruleset")
                       ? -1
                       : syscall(SYS_landlock_create_ruleset, &attr, size, 0);
    return (int)viv_os__settle(r);
}

static int add_rule(int rules_fd, int type, const void *attr)
{
    const long r = viv_os__is_faulted("landlock_add_rule")
                       ? -1
                       : syscall(SYS_landlock_add_rule, rules_fd, type, attr, 0);
    return (int)viv_os__settle(r);
}

int viv_os_landlock_allow_path(int rules_fd, int fd, uint64_t rights)
{
    const struct landlock_path_beneath_attr attr = {.allowed_access = rights, .parent_fd = fd};
    return add_rule(rules_fd, LANDLOCK_RULE_PATH_BENEATH, &attr);
}

int viv_os_landlock_allow_port(int rules_fd, uint16_t port, uint64_t rights)
{
    const struct port_attr attr = {rights, port};
    return add_rule(rules_fd, RULE_PORT, &attr);
}

// The bounding set first, which needs a capability; a number that Linux does not know ends it.
int viv_os_drop_caps(void)
{
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0, 0, 0}, {0, 0, 0}};
    for (unsigned long cap = 0; cap < CAPS_END; cap++) {
        const int r = viv_os__is_faulted("prctl") ? -1 : prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
        if (r < 0 && errno == EINVAL && cap > 0) break;
        if (r < 0) return -errno;
    }
    long r =
        viv_os__is_faulted("prctl") ? -1 : prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (r >= 0) r = viv_os__is_faulted("capset") ? -1 : syscall(SYS_capset, &header, none);
    return (int)viv_os__settle(r);
}

VIV_RAW_CODE static long load_filter(const struct viv_confine *confine)
{
    const struct sock_fprog program = {confine->filter_length,
                                       (struct sock_filter *)(uintptr_t)confine->filter};
    return viv_raw3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, (long)&program);
}

void viv_os_confine_prepare(struct viv_confine *confine)
{
    static const char *const names[] = {"", "landlock_restrict_self", "seccomp"};
    confine->step = VIV_CONFINE_NONE;
    for (int step = VIV_CONFINE_LANDLOCK; step <= VIV_CONFINE_SECCOMP; step++) {
        const bool is_used =
            step == VIV_CONFINE_LANDLOCK ? confine->rules_fd >= 0 : confine->filter != NULL;
        const int fault = is_used ? viv_fault_check__(names[step]) : 0;
        confine->injected[step] = fault > 0 ? fault : 0;
    }
}

VIV_RAW_CODE static long do_step(const struct viv_confine *confine, int step)
{
    if (confine->injected[step] != 0) return -confine->injected[step];
    if (step == VIV_CONFINE_LANDLOCK)
        return confine->rules_fd >= 0
                   ? viv_raw3(SYS_landlock_restrict_self, confine->rules_fd, 0, 0)
                   : 0;
    return confine->filter != NULL ? load_filter(confine) : 0;
}

VIV_RAW_CODE int viv_os_confine(void *arg)
{
    struct viv_confine *confine = arg;
    for (int step = VIV_CONFINE_LANDLOCK; step <= VIV_CONFINE_SECCOMP; step++) {
        const long r = do_step(confine, step);
        if (r >= 0) continue;
        confine->step = (enum viv_confine_step)step;
        return (int)-r;
    }
    return 0;
}

int viv_os_confine_self(struct viv_confine *confine)
{
    const int r = viv_os__is_faulted("prctl") ? -1 : prctl(PR_SET_NO_NEW_PRIVS, 1L, 0, 0, 0);
    if (r < 0) return -errno;
    viv_os_confine_prepare(confine);
    return -viv_os_confine(confine);
}
