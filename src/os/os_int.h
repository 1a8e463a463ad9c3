// SPDX-License-Identifier: Apache-2.0
// Shared by the files of os/ only: the tail of every wrapped system call, and small files of /proc
// and cgroups.
#ifndef VIV_OS_OS_INT_H
#define VIV_OS_OS_INT_H

#include "os/fault.h"
#include <errno.h>
#include <stdbool.h>
#include <sys/types.h>

// A wrapped call reads: do r = viv_os__is_faulted("name") ? -1 : call(...); while
// (viv_os__is_interrupted(r));

// Is this call to fail by injection? Then errno is set. VIV_FAULT_SHORT has no meaning here and
// passes.
static inline bool viv_os__is_faulted(const char *name)
{
    int fault = viv_fault_check__(name);
    if (VIV_LIKELY(fault <= 0)) return false;
    errno = fault;
    return true;
}

static inline bool viv_os__is_interrupted(ssize_t result)
{
    return result < 0 && errno == EINTR;
}

// The result, or the negated errno.
static inline ssize_t viv_os__settle(ssize_t result)
{
    return result < 0 ? -(ssize_t)errno : result;
}

static inline int viv_os__settle_int(int result)
{
    return result < 0 ? -errno : result;
}

// The beginning of a file as text, terminated, at most cap_bytes - 1 bytes; false when it cannot be
// read.
bool viv_os__read_text(const char *path, char *out_text, size_t cap_bytes);

// CPUs that the cgroups named by `membership` (the text of /proc/self/cgroup), mounted at `root`,
// allow, rounded up; 0: no limit.
uint32_t viv_os__cgroup_cpus(const char *root, const char *membership);

#endif
