// SPDX-License-Identifier: Apache-2.0
// What a body can be held to: one table of classes, one of limits, and the questions to the kernel.
//
// Each judgement is a sentence that says why not, or NULL.
#include "cap/enforce.h"
#include "base/buf.h"

// How a program of the operating system is held to a class.
enum how {
    BY_RUNTIME, // it reaches such things through the runtime only, as any body does
    BY_FILES,   // Landlock, or a mount namespace
    BY_EXEC,    // Landlock's right to execute, or a mount namespace
    BY_NET,     // a network namespace without a way out; for TCP ports Landlock
    BY_SIGNALS, // seccomp, or a pid namespace
    NEVER,      // it asks the kernel, which cannot be told
};

// All others are the runtime's: environment variables too, since it makes the environment.
static const uint8_t native_hows[VIV_CAP_COUNT] = {
    [VIV_CAP_FS] = BY_FILES,        [VIV_CAP_NATIVE_SPAWN] = BY_EXEC,
    [VIV_CAP_NET_BIND] = BY_NET,    [VIV_CAP_NET_CONNECT] = BY_NET,
    [VIV_CAP_NET_RESOLVE] = BY_NET, [VIV_CAP_NATIVE_SIGNAL] = BY_SIGNALS,
    [VIV_CAP_TIME_READ] = NEVER,    [VIV_CAP_TIME_TIMER] = NEVER,
    [VIV_CAP_ENTROPY] = NEVER,      [VIV_CAP_SYS_INFO] = NEVER,
};

enum { LANDLOCK_TRUNCATE = 3, LANDLOCK_NET = 4 }; // from this ABI on

#define NET_CLASSES                                                                                \
    (VIV_CAP_BIT(VIV_CAP_NET_BIND) | VIV_CAP_BIT(VIV_CAP_NET_CONNECT) |                            \
     VIV_CAP_BIT(VIV_CAP_NET_RESOLVE))

// ---- patterns ----

static const char *judge_directory(const struct viv_enforce_probe *probe,
                                   const struct viv_pattern *pattern)
{
    const unsigned changes = VIV_DIR_WRITE | VIV_DIR_CREATE | VIV_DIR_DELETE;
    const unsigned rights = pattern->bits & changes;
    if (probe->landlock_abi == 0 && !probe->has_namespaces)
        return "this kernel has neither Landlock nor user namespaces";
    // A mount is read-only or not; Landlock tells the ways of changing apart, truncation since 3.
    if (probe->landlock_abi == 0 && rights != 0 && rights != changes)
        return "without Landlock a directory is read-only or not";
    if (!probe->has_namespaces && (rights & VIV_DIR_WRITE) == 0 &&
        probe->landlock_abi < LANDLOCK_TRUNCATE)
        return "this kernel cannot withhold truncation";
    return NULL;
}

static const char *judge_pattern(const struct viv_enforce_probe *probe, enum how how,
                                 const struct viv_pattern *pattern)
{
    switch (how) {
    case BY_RUNTIME:
        return NULL;
    case BY_FILES:
        return judge_directory(probe, pattern);
    case BY_EXEC:
        if (probe->landlock_abi == 0 && !probe->has_namespaces)
            return "this kernel has neither Landlock nor user namespaces";
        return viv_command_is_file(pattern)
                   ? NULL
                   : "what a program starts itself is held to the file, not to the arguments";
    case BY_NET:
        if (!viv_address_is_tcp_ports(pattern))
            return "a program is held to TCP ports only, not to addresses, names or UDP";
        return probe->landlock_abi >= LANDLOCK_NET && probe->has_seccomp
                   ? NULL
                   : "this kernel cannot filter TCP ports";
    case BY_SIGNALS:
        return probe->has_seccomp ? NULL : "this kernel has no seccomp";
    case NEVER:
        return "a program asks the kernel for it";
    }
    return NULL;
}

// ---- classes that are withheld ----

static const char *judge_withheld(const struct viv_enforce_ask *ask, enum how how, uint64_t open)
{
    const struct viv_enforce_probe *probe = &ask->probe;
    switch (how) {
    case BY_RUNTIME:
        return NULL;
    case BY_FILES:
    case BY_EXEC:
        return probe->landlock_abi > 0 || probe->has_namespaces
                   ? NULL
                   : "this kernel has neither Landlock nor user namespaces";
    case BY_NET:
        if ((open & NET_CLASSES) != 0)
            return "a program with a network has all of it: net.bind, net.connect, net.resolve";
        return probe->has_namespaces ? NULL : "this kernel has no user namespaces";
    case BY_SIGNALS:
        return probe->has_seccomp || probe->has_namespaces
                   ? NULL
                   : "this kernel has neither seccomp nor user namespaces";
    case NEVER:
        return "it cannot be withheld from a program";
    }
    return NULL;
}

// ---- sets ----

static enum viv_err refuse(enum viv_cap cap, const struct viv_pattern *pattern, const char *why,
                           struct viv_diag *diag)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_CAP);
    const bool has_text = pattern != NULL && viv_pattern_print(pattern, cap, &text) == VIV_OK;
    const enum viv_err err = viv_diag_set(
        diag, VIV_E_UNENFORCEABLE, "%s%s%.*s: %s", viv_cap_rows[cap].name, has_text ? "=" : "",
        has_text ? (int)text.len_bytes : 0, has_text ? (char *)text.data : "", why);
    viv_buf_deinit(&text);
    return err;
}

static enum viv_err check_native(const struct viv_enforce_ask *ask, struct viv_diag *diag)
{
    const struct viv_capset *set = ask->set;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const enum viv_cap cap = (enum viv_cap)i;
        const enum how how = (enum how)native_hows[i];
        const char *why;
        if ((set->any >> i & 1) != 0) continue;
        if ((set->listed >> i & 1) == 0) {
            why = judge_withheld(ask, how, set->any | set->listed);
            if (why != NULL) return refuse(cap, NULL, why, diag);
        }
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, cap))
        {
            why = judge_pattern(&ask->probe, how, pattern);
            if (why != NULL && (pattern->flags & VIV_PATTERN_UNENFORCED) == 0)
                return refuse(cap, pattern, why, diag);
        }
    }
    return VIV_OK;
}

// A body that nothing holds: whatever is not *any* must be marked.
static enum viv_err check_free(const struct viv_enforce_ask *ask, const char *why,
                               struct viv_diag *diag)
{
    const struct viv_capset *set = ask->set;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const enum viv_cap cap = (enum viv_cap)i;
        if ((set->any >> i & 1) != 0) continue;
        if ((set->listed >> i & 1) == 0) return refuse(cap, NULL, why, diag);
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, cap))
        if ((pattern->flags & VIV_PATTERN_UNENFORCED) == 0) return refuse(cap, pattern, why, diag);
    }
    return VIV_OK;
}

// ---- limits ----

static const char *judge_native_limit(const struct viv_enforce_probe *probe,
                                      enum viv_policy_limit limit)
{
    if (limit == VIV_POLICY_MEMORY && !probe->has_cgroup_memory)
        return "this kernel gives us no memory controller";
    if (limit == VIV_POLICY_CPU && !probe->has_cgroup_cpu)
        return "this kernel gives us no cpu controller";
    if (limit == VIV_POLICY_PROCESSES && !probe->has_cgroup_pids && !probe->has_namespaces)
        return "this kernel gives us no pids controller";
    return NULL;
}

static const char *judge_free_limit(enum viv_policy_limit limit)
{
    const uint32_t held =
        1u << VIV_POLICY_MAILBOX | 1u << VIV_POLICY_MAILBOX_BYTES | 1u << VIV_POLICY_HANDLES;
    return (held >> limit & 1) != 0 ? NULL : "nothing holds this body to it";
}

static enum viv_err check_limits(const struct viv_enforce_ask *ask, bool is_free,
                                 struct viv_diag *diag)
{
    for (int i = 0; i < VIV_POLICY_LIMITS && ask->limits != NULL; i++) {
        const enum viv_policy_limit limit = (enum viv_policy_limit)i;
        const bool is_asked = (ask->limits_set >> i & 1) != 0;
        const char *why = NULL;
        if (!is_asked || ask->limits->bounds[i].value == VIV_POLICY_NO_LIMIT) continue;
        if (is_free)
            why = judge_free_limit(limit);
        else if (ask->body == VIV_BODY_NATIVE)
            why = judge_native_limit(&ask->probe, limit);
        if (why != NULL)
            return viv_diag_set(diag, VIV_E_UNENFORCEABLE, "limit %s: %s",
                                viv_policy_limit_name(limit), why);
    }
    return VIV_OK;
}

enum viv_err viv_enforce_check(const struct viv_enforce_ask *ask, struct viv_diag *diag)
{
    const bool has_nif = (viv_capset_held(ask->set) >> VIV_CAP_NIF_LOAD & 1) != 0;
    const bool is_free = ask->body == VIV_BODY_HOST || (ask->body == VIV_BODY_BEAM && has_nif);
    if (is_free) {
        VIV_TRY(check_free(ask,
                           ask->body == VIV_BODY_HOST
                               ? "nothing holds a body of the host to it"
                               : "native code in the runtime (nif.load) is not held to it",
                           diag));
    } else if (ask->body == VIV_BODY_NATIVE) {
        VIV_TRY(check_native(ask, diag));
    }
    return check_limits(ask, is_free, diag);
}
