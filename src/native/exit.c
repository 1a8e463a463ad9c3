// SPDX-License-Identifier: Apache-2.0
// What the end of a program means for the others, by its cause. Thread: any.
#include "native/exit.h"

#include "base/assert.h"

enum { STATUS_SIGNAL = 128, STATUS_KILLED = 137, STATUS_FAILED = 1, STATUS_LOST = 125, CORE = 256 };

// What a cause makes of the end, whatever the leader's own was.
enum verdict {
    VERDICT_OWN,      // what the leader did
    VERDICT_SHUTDOWN, // asked for; killed when it took SIGKILL
    VERDICT_KILLED,
    VERDICT_LINK,
    VERDICT_LIMIT,
    VERDICT_ERROR
};

static const struct {
    const char *name;
    enum verdict verdict;
    int limit; // enum viv_limit_kind
} causes[VIV_CAUSES] = {
    [VIV_CAUSE_NONE] = {"none", VERDICT_OWN, 0},
    [VIV_CAUSE_SELF] = {"self", VERDICT_OWN, 0},
    [VIV_CAUSE_STOP] = {"stop", VERDICT_SHUTDOWN, 0},
    [VIV_CAUSE_KILL] = {"kill", VERDICT_KILLED, 0},
    [VIV_CAUSE_LINK] = {"link", VERDICT_LINK, 0},
    [VIV_CAUSE_OWNER] = {"owner", VERDICT_SHUTDOWN, 0},
    [VIV_CAUSE_LIFETIME] = {"lifetime", VERDICT_LIMIT, VIV_LIMIT_TIME},
    [VIV_CAUSE_IDLE] = {"idle", VERDICT_LIMIT, VIV_LIMIT_TIME},
    [VIV_CAUSE_ORPHAN] = {"orphan", VERDICT_LIMIT, VIV_LIMIT_TIME},
    [VIV_CAUSE_DEADMAN] = {"deadman", VERDICT_LIMIT, VIV_LIMIT_TIME},
    [VIV_CAUSE_CPU] = {"cpu", VERDICT_LIMIT, VIV_LIMIT_CPU},
    [VIV_CAUSE_MEMORY] = {"memory", VERDICT_LIMIT, VIV_LIMIT_MEMORY},
    [VIV_CAUSE_OUTPUT] = {"output", VERDICT_LIMIT, VIV_LIMIT_OUTPUT},
    [VIV_CAUSE_MAILBOX] = {"mailbox", VERDICT_LIMIT, VIV_LIMIT_MAILBOX},
    [VIV_CAUSE_HEALTH] = {"health", VERDICT_ERROR, 0},
    [VIV_CAUSE_START] = {"start", VERDICT_LIMIT, VIV_LIMIT_TIME},
    [VIV_CAUSE_ENV_END] = {"env_end", VERDICT_SHUTDOWN, 0},
    [VIV_CAUSE_KERNEL_END] = {"kernel_end", VERDICT_SHUTDOWN, 0},
    [VIV_CAUSE_LOST] = {"lost", VERDICT_OWN, 0},
};

const char *viv_native_cause_name(enum viv_native_cause cause)
{
    return (unsigned)cause < VIV_CAUSES ? causes[cause].name : "unknown";
}

const char *viv_native_phase_name(enum viv_native_phase phase)
{
    static const char *const names[] = {"held", "starting", "running", "stopping", "exited"};
    return (unsigned)phase < VIV_COUNT_OF(names) ? names[phase] : "unknown";
}

const char *viv_rung_name(enum viv_rung rung)
{
    static const char *const names[] = {"pidns", "cgroup", "tree", "group"};
    return (unsigned)rung < VIV_COUNT_OF(names) ? names[rung] : "unknown";
}

static const struct viv_reason *own_reason(const struct viv_native_exit *exit)
{
    if (exit->kind == VIV_NATIVE_LOST) return viv_reason_newf(VIV_REASON_ERROR, 0, "native: lost");
    if (exit->kind == VIV_NATIVE_SIGNALED)
        return viv_reason_new(VIV_REASON_SIGNALED,
                              exit->leader.code + (exit->leader.core ? CORE : 0), "", 0, NULL, 0);
    if (exit->leader.code == 0) return viv_reason_of(VIV_REASON_NORMAL);
    return viv_reason_new(VIV_REASON_EXITED, exit->leader.code, "", 0, NULL, 0);
}

const struct viv_reason *viv_native_reason(const struct viv_native_exit *exit,
                                           const struct viv_reason *broken)
{
    switch (causes[exit->cause].verdict) {
    case VERDICT_OWN:
        return own_reason(exit);
    case VERDICT_SHUTDOWN:
        return viv_reason_of(exit->we_killed ? VIV_REASON_KILLED : VIV_REASON_SHUTDOWN);
    case VERDICT_KILLED:
        return viv_reason_of(VIV_REASON_KILLED);
    case VERDICT_LINK:
        return viv_reason_take(broken);
    case VERDICT_LIMIT:
        return viv_reason_newf(VIV_REASON_LIMIT, causes[exit->cause].limit, "%s",
                               causes[exit->cause].name);
    case VERDICT_ERROR:
        return viv_reason_newf(VIV_REASON_ERROR, 0, "%s: checks failed", causes[exit->cause].name);
    }
    VIV_UNREACHABLE();
}

static int own_status(const struct viv_native_exit *exit)
{
    if (exit->kind == VIV_NATIVE_LOST) return STATUS_LOST;
    return exit->leader.code + (exit->kind == VIV_NATIVE_SIGNALED ? STATUS_SIGNAL : 0);
}

int viv_native_exit_status(const struct viv_native_exit *exit)
{
    switch (causes[exit->cause].verdict) {
    case VERDICT_OWN:
    case VERDICT_LINK:
        return own_status(exit);
    case VERDICT_SHUTDOWN:
        return exit->we_killed ? STATUS_KILLED : own_status(exit);
    case VERDICT_KILLED:
    case VERDICT_LIMIT:
        return STATUS_KILLED;
    case VERDICT_ERROR:
        return STATUS_FAILED;
    }
    VIV_UNREACHABLE();
}
