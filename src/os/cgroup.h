// SPDX-License-Identifier: Apache-2.0
// Control groups, version 2: directories of processes that can be killed, frozen and measured as
// one. Core files need no controller; limits need theirs in the group above.
//
// Functions that answer int: 0 or more, or a negated errno.
#ifndef VIV_OS_CGROUP_H
#define VIV_OS_CGROUP_H

#include "base/err.h"

enum { VIV_CGROUP_CPU = 1, VIV_CGROUP_MEMORY = 2, VIV_CGROUP_PIDS = 4 }; // controllers

// Directory of this program's own group, terminated. Errors: UNSUPPORTED (no version 2 mounted),
// TOOSMALL.
enum viv_err viv_cgroup_own(char *out_path, size_t cap_bytes) VIV_MUST_CHECK;
// Makes the directory `name` below the one open as base_fd, and opens it.
int viv_cgroup_make(int base_fd, const char *name);
int viv_cgroup_make_new(int base_fd, const char *name); // -EEXIST: it is there already
int viv_cgroup_remove(int base_fd, const char *name);   // -EBUSY: not empty
// The bits of its controllers that groups below it have.
uint32_t viv_cgroup_controllers(int fd);
// Gives groups below the directory these controllers, as far as it has them.
int viv_cgroup_delegate(int fd, uint32_t controllers);
int viv_cgroup_kill(int fd); // SIGKILL to all in it
int viv_cgroup_freeze(int fd, bool is_frozen);
// 1: a process is in it or below; 0: none. A watch is readable (POLLPRI) when that changes.
int viv_cgroup_is_populated(int fd);
int viv_cgroup_watch(int fd); // a descriptor of cgroup.events
int viv_cgroup_write(int fd, const char *file, const char *text);
// A number in a file: the whole text when key is NULL ("max": UINT64_MAX), else behind `key `.
int viv_cgroup_read_u64(int fd, const char *file, const char *key, uint64_t *out_value);
// Moves the calling program, or the process, into the group.
int viv_cgroup_join(int fd, int pid);

// Calls visit for each group directly below.
void viv_cgroup_each(int fd, void (*visit)(void *arg, int fd, const char *name), void *arg);
// Kills all that is in the group and the groups in it, waits until they are empty, at most ten
// seconds or so, and removes them. Blocks. 0: it is gone.
int viv_cgroup_end(int base_fd, const char *name);

#endif
