// SPDX-License-Identifier: Apache-2.0
// Control groups of programs: made, limited, and taken back. One without limits is kept when it is
// empty, for the next program: making and removing a directory costs a tenth of a launch.
//
// Threads: get on a spawner's, put on a worker or a spawner.
#include "native/program.h"

#include "os/cgroup.h"
#include "os/file.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define HELD_DIRECTORY "viv-held"
enum { PERCENT_US = 1000, PERIOD_US = 100000 };

static int write_number(int fd, const char *file, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return viv_cgroup_write(fd, file, text);
}

static bool is_limited(uint64_t value)
{
    return value != VIV_NATIVE_NONE;
}

static int limit_memory(const struct viv_program *program)
{
    int r =
        write_number(program->care.cgroup_fd, "memory.max", program->req.fields.max_memory_bytes);
    if (r >= 0) r = write_number(program->care.cgroup_fd, "memory.oom.group", 1);
    if (r >= 0)
        VIV_IGNORE(write_number(program->care.cgroup_fd, "memory.swap.max", 0), "no swap here");
    return r;
}

// What the controllers can hold to; *out_has_limits: whether there is any.
static int set_limits(const struct viv_program *program, bool *out_has_limits)
{
    const struct viv_native_fields *fields = &program->req.fields;
    const uint32_t has = program->native->cgroup_controllers;
    const bool memory = is_limited(fields->max_memory_bytes) && (has & VIV_CGROUP_MEMORY) != 0;
    const bool pids = is_limited(fields->max_pids) && (has & VIV_CGROUP_PIDS) != 0;
    const bool cpu = is_limited(fields->cpu_percent);
    *out_has_limits = memory || pids || cpu;
    int r = memory ? limit_memory(program) : 0;
    if (r >= 0 && pids) r = write_number(program->care.cgroup_fd, "pids.max", fields->max_pids);
    if (r >= 0 && cpu) {
        char text[64];
        (void)snprintf(text, sizeof text, "%llu %d",
                       (unsigned long long)fields->cpu_percent * PERCENT_US, PERIOD_US);
        r = viv_cgroup_write(program->care.cgroup_fd, "cpu.max", text);
    }
    return r;
}

static void name_of(uint64_t number, char out[24])
{
    (void)snprintf(out, 24, "%llu", (unsigned long long)number);
}

static void remove_spare(const struct viv_native *native, const struct viv_native_spare *spare)
{
    char name[24];
    name_of(spare->number, name);
    VIV_IGNORE(viv_os_close(spare->fd), "a directory");
    VIV_IGNORE(viv_cgroup_remove(native->cgroup_fd, name), "removed with the rest at the end");
}

// Somebody has removed it.
static bool is_lost(int fd)
{
    return viv_cgroup_is_populated(fd) < 0;
}

static bool take_spare(struct viv_program *program)
{
    struct viv_native *native = program->native;
    viv_spin_lock(&native->lock);
    const bool found = native->spare_count > 0;
    const struct viv_native_spare spare =
        found ? native->spares[--native->spare_count] : (struct viv_native_spare){0};
    viv_spin_unlock(&native->lock);
    if (!found) return false;
    if (is_lost(spare.fd)) {
        remove_spare(native, &spare);
        return false;
    }
    program->care.cgroup_fd = spare.fd;
    program->cgroup_number = spare.number;
    program->care.cgroup_cpu_us = spare.cpu_us;
    return true;
}

static bool wants_limits(const struct viv_program *program)
{
    const struct viv_native_fields *fields = &program->req.fields;
    return is_limited(fields->max_memory_bytes) || is_limited(fields->max_pids) ||
           is_limited(fields->cpu_percent);
}

static bool is_held(const struct viv_program *program)
{
    return program->req.fields.survive == VIV_NATIVE_SURVIVE_KERNEL;
}

void viv_native__name_group(const struct viv_program *program,
                            char out[VIV_NATIVE_GUARD_GROUP_BYTES])
{
    _Static_assert(sizeof program->native->cgroup_name + sizeof "/18446744073709551615" <=
                       VIV_NATIVE_GUARD_GROUP_BYTES,
                   "room for every name");
    out[0] = '\0';
    if (program->care.cgroup_fd < 0) return;
    if (is_held(program))
        (void)snprintf(out, VIV_NATIVE_GUARD_GROUP_BYTES, HELD_DIRECTORY "/%s", program->digest);
    else
        (void)snprintf(out, VIV_NATIVE_GUARD_GROUP_BYTES, "%s/%llu", program->native->cgroup_name,
                       (unsigned long long)program->cgroup_number);
}

// Of a program that outlives the kernel: not below what ends with that.
static int make_held_group(struct viv_program *program)
{
    struct viv_native *native = program->native;
    viv_mutex_lock(&native->holder_lock);
    if (native->held_group_fd < 0) {
        native->held_group_fd = viv_cgroup_make(native->cgroup_base_fd, HELD_DIRECTORY);
        if (native->held_group_fd >= 0)
            VIV_IGNORE(viv_cgroup_delegate(native->held_group_fd, native->cgroup_controllers),
                       "what is missing is told by the limits");
    }
    const int base_fd = native->held_group_fd;
    const int fd = base_fd < 0 ? base_fd : viv_cgroup_make(base_fd, program->digest);
    if (fd == -ENOENT &&
        base_fd >= 0) { // another kernel of this group found it empty when it ended
        VIV_IGNORE(viv_os_close(base_fd), "a directory");
        native->held_group_fd = -1;
    }
    viv_mutex_unlock(&native->holder_lock);
    return fd;
}

// The directory of groups is lost: another one takes its place, under the same number, since others
// may be about to use it.
static int remake_directory(struct viv_native *native)
{
    viv_mutex_lock(&native->holder_lock);
    const int fd = viv_cgroup_make(native->cgroup_base_fd, native->cgroup_name);
    int r = fd;
    if (fd >= 0) {
        VIV_IGNORE(viv_cgroup_delegate(fd, native->cgroup_controllers),
                   "limits say what is missing");
        r = viv_os_dup_over(fd, native->cgroup_fd);
        VIV_IGNORE(viv_os_close(fd), "it is there twice");
    }
    viv_mutex_unlock(&native->holder_lock);
    return r;
}

int viv_native__get_group(struct viv_program *program)
{
    char name[24];
    if (program->has_group && is_held(program)) {
        int fd = make_held_group(program);
        if (fd == -ENOENT) fd = make_held_group(program);
        if (fd < 0) return fd;
        program->care.cgroup_fd = fd;
        return set_limits(program, &program->is_group_limited);
    }
    if (!program->has_group || (!wants_limits(program) && take_spare(program))) return 0;
    // Relaxed: a number no other has.
    program->cgroup_number =
        atomic_fetch_add_explicit(&program->native->cgroup_count, 1, memory_order_relaxed);
    name_of(program->cgroup_number, name);
    int fd = viv_cgroup_make(program->native->cgroup_fd, name);
    if (fd == -ENOENT && remake_directory(program->native) >= 0)
        fd = viv_cgroup_make(program->native->cgroup_fd, name);
    if (fd < 0) return fd;
    program->care.cgroup_fd = fd;
    return set_limits(program, &program->is_group_limited);
}

// Wherever the kernel was that made it.
static void remove_held_group(struct viv_program *program)
{
    char path[PATH_MAX];
    if (viv_os_path_of(program->care.cgroup_fd, path, sizeof path) >= 0)
        VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, path, AT_REMOVEDIR), "its holder does it as well");
    VIV_IGNORE(viv_os_close(program->care.cgroup_fd), "a directory");
    program->care.cgroup_fd = -1;
}

void viv_native__put_group(struct viv_program *program, uint64_t cpu_us, bool is_empty)
{
    struct viv_native *native = program->native;
    if (program->care.cgroup_fd < 0) return;
    if (is_held(program)) {
        remove_held_group(program);
        return;
    }
    const struct viv_native_spare spare = {program->care.cgroup_fd, program->cgroup_number, cpu_us};
    program->care.cgroup_fd = -1;
    viv_spin_lock(&native->lock);
    // Linux 6.18 kills what is cloned into a group that was killed once, as if it had raced with
    // that.
    const bool is_good = is_empty && !program->is_group_limited &&
                         !program->care.is_group_used_up &&
                         !program->care.has_init; // which kills by itself
    // Relaxed: under the lock.
    const bool keeps = is_good && native->spare_count < VIV_NATIVE_SPARES &&
                       !atomic_load_explicit(&native->stops, memory_order_relaxed);
    if (keeps) native->spares[native->spare_count++] = spare;
    viv_spin_unlock(&native->lock);
    if (!keeps) remove_spare(native, &spare);
}

bool viv_native__is_in_service(void)
{
    char path[PATH_MAX];
    if (viv_cgroup_own(path, sizeof path) != VIV_OK) return false;
    // The unit is the last part of the path that is named like one; what is below belongs to it.
    static const char *const kinds[] = {".service", ".scope", ".slice"};
    bool is_service = false;
    for (const char *part = path; *part != '\0';) {
        const size_t len = strcspn(part, "/");
        for (size_t i = 0; i < VIV_COUNT_OF(kinds); i++) {
            const size_t tail = strlen(kinds[i]);
            const bool is_unit = len > tail && memcmp(part + len - tail, kinds[i], tail) == 0;
            if (is_unit) is_service = i == 0;
        }
        part += len + (part[len] == '/');
    }
    return is_service;
}

void viv_native__drop_spares(struct viv_native *native)
{
    while (native->spare_count > 0)
        remove_spare(native, &native->spares[--native->spare_count]);
}
