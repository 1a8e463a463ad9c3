// SPDX-License-Identifier: Apache-2.0
// What a program's tree uses now, as its control group counts it. Any thread may ask: the group is
// looked up by its name, and what is read counts only if the program has not ended meanwhile, since
// an empty group may be given to another.
#include "native/held.h"

#include "os/cgroup.h"
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

static bool read_one(const struct viv_program *program, const char *file, const char *key,
                     uint64_t *out_value)
{
    char path[PATH_MAX];
    const bool is_held = program->held != NULL;
    if (is_held)
        (void)snprintf(path, sizeof path, "%s/%s", program->held->group, file);
    else
        (void)snprintf(path, sizeof path, "%llu/%s", (unsigned long long)program->cgroup_number,
                       file);
    const int base_fd = is_held ? AT_FDCWD : program->native->cgroup_fd;
    return viv_cgroup_read_u64(base_fd, path, key, out_value) >= 0;
}

static bool is_alive(struct viv_program *program)
{
    viv_spin_lock(&program->care.lock);
    const bool is_alive =
        program->care.phase == VIV_NATIVE_RUNNING || program->care.phase == VIV_NATIVE_STOPPING;
    viv_spin_unlock(&program->care.lock);
    return is_alive;
}

enum viv_err viv_native_usage(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              struct viv_native_usage *out)
{
    struct viv_program *program;
    struct viv_native_usage usage = {.known = 0};
    uint64_t cpu_us = 0;
    VIV_TRY(viv_native__find(ctx, ref, VIV_RIGHT_READ, &program));
    const bool has_group =
        program->held != NULL ? program->held->group != NULL
                              : program->has_group && ctx->native->cgroup_fd >= 0;
    if (is_alive(program) && has_group) {
        if (read_one(program, "cpu.stat", "usage_usec", &cpu_us)) usage.known |= VIV_USAGE_CPU;
        if (read_one(program, "memory.current", NULL, &usage.memory_bytes))
            usage.known |= VIV_USAGE_MEMORY;
        if (read_one(program, "memory.peak", NULL, &usage.memory_peak_bytes))
            usage.known |= VIV_USAGE_MEMORY_PEAK;
        if (read_one(program, "pids.current", NULL, &usage.pids)) usage.known |= VIV_USAGE_PIDS;
        usage.cpu_ns = (cpu_us - viv_min_u64(cpu_us, program->care.cgroup_cpu_us)) * 1000;
        if (!is_alive(program)) usage = (struct viv_native_usage){.known = 0};
    }
    viv_program__drop(program);
    *out = usage;
    return VIV_OK;
}
