// SPDX-License-Identifier: Apache-2.0
// Namespaces, and who one is. For programs with one thread: the calls change the calling process.
// >= 0 or the negated errno.
#ifndef VIV_OS_NS_H
#define VIV_OS_NS_H

#include "base/defs.h"
#include <sched.h>
#include <sys/types.h>

// Forks a sibling (a child of the caller's parent) into new namespaces, CLONE_NEW… flags. 0 in the
// sibling; its number in the caller, with *out_pidfd.
pid_t viv_os_fork_sibling(uint64_t namespaces, int *out_pidfd);
// In a new user namespace: uid and gid are seen as what they are, no other is mapped.
int viv_os_map_identity(uid_t uid, gid_t gid);
// For good. Of a privileged process; it can open its own files of /proc afterwards.
int viv_os_become_user(uid_t uid, gid_t gid, const gid_t *groups, size_t group_count);
int viv_os_set_dumpable(bool is_dumpable);
int viv_os_set_host_name(const char *name);
int viv_os_raise_loopback(void); // the interface lo of an own network namespace

#endif
