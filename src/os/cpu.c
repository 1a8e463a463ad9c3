// SPDX-License-Identifier: Apache-2.0
// How many CPUs this process may use: its affinity mask, cut by the quotas of its cgroup and of all
// cgroups above it (a container's limit is set at the top of what the process can see).
//
//   /proc/self/cgroup   "0::/a/b"          version 2:  <root>/a/b/cpu.max               "50000
//   100000" or "max …"
//                       "4:cpu,cpuacct:/c" version 1:  <root>/cpu,cpuacct/c/cpu.cfs_quota_us,
//                       …period_us; -1: none
#include "os/os_int.h"
#include "os/thread.h"
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CPUS_MAX = 8192, PATH_BYTES = 1024, MEMBERSHIP_BYTES = 8192 };

static uint32_t affinity_cpus(void)
{
    unsigned long mask[CPUS_MAX / (8 * sizeof(unsigned long))] = {0};
    cpu_set_t *set = (cpu_set_t *)(void *)mask;
    if (viv_os__is_faulted("sched_getaffinity")) return 0;
    if (sched_getaffinity(0, sizeof mask, set) != 0) return 0;
    return (uint32_t)CPU_COUNT_S(sizeof mask, set);
}

// Quota over period, rounded up; 0 where either is missing or says "no limit".
static uint32_t to_cpus(long long quota, long long period)
{
    if (quota <= 0 || period <= 0) return 0;
    long long cpus = quota / period + (quota % period != 0);
    return cpus < CPUS_MAX ? (uint32_t)cpus : CPUS_MAX;
}

static uint32_t quota_v2(const char *folder)
{
    char path[PATH_BYTES], text[64];
    int len = snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (len < 0 || (size_t)len >= sizeof path) return 0;
    if (!viv_os__read_text(path, text, sizeof text)) return 0;
    char *rest;
    long long quota = strtoll(text, &rest, 10); // "max" gives 0
    return to_cpus(quota, strtoll(rest, NULL, 10));
}

static uint32_t quota_v1(const char *folder)
{
    char path[PATH_BYTES], quota[64], period[64];
    int len = snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (len < 0 || (size_t)len >= sizeof path) return 0;
    if (!viv_os__read_text(path, quota, sizeof quota)) return 0;
    len = snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (len < 0 || (size_t)len >= sizeof path) return 0;
    if (!viv_os__read_text(path, period, sizeof period)) return 0;
    return to_cpus(strtoll(quota, NULL, 10), strtoll(period, NULL, 10));
}

// The smallest quota from the folder <mount><group> up to <mount>.
static uint32_t quota_upwards(const char *mount, const char *group,
                              uint32_t (*quota_of)(const char *folder))
{
    char folder[PATH_BYTES];
    uint32_t least = 0;
    // A group outside of what this namespace shows begins with "/..": only the mount itself can be
    // read.
    if (strstr(group, "/..") != NULL) group = "";
    int len = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (len < 0 || (size_t)len >= sizeof folder) return 0;
    size_t mount_len = strlen(mount);
    for (size_t at = (size_t)len;;) {
        uint32_t cpus = quota_of(folder);
        if (cpus != 0 && (least == 0 || cpus < least)) least = cpus;
        if (at <= mount_len) return least;
        while (at > mount_len && folder[at - 1] != '/')
            at--;
        if (at > mount_len) at--; // the slash
        folder[at] = '\0';
    }
}

static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; at != NULL; at = strchr(at, ',')) {
        if (*at == ',') at++;
        if (strncmp(at, "cpu", 3) == 0 && (at[3] == ',' || at[3] == '\0')) return true;
    }
    return false;
}

// One line "id:controllers:/group", cut into its parts here.
static uint32_t quota_of_line(const char *root, char *line)
{
    char mount[PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *group = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (group == NULL) return 0;
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        uint32_t cpus = quota_upwards(root, group, quota_v2);
        if (cpus != 0) return cpus;
        int len =
            snprintf(mount, sizeof mount, "%s/unified", root); // where both versions are mounted
        if (len < 0 || (size_t)len >= sizeof mount) return 0;
        return quota_upwards(mount, group, quota_v2);
    }
    if (!names_cpu(controllers)) return 0;
    int len = snprintf(mount, sizeof mount, "%s/%s", root, controllers);
    if (len < 0 || (size_t)len >= sizeof mount) return 0;
    return quota_upwards(mount, group, quota_v1);
}

uint32_t viv_os__cgroup_cpus(const char *root, const char *membership)
{
    uint32_t least = 0;
    while (*membership != '\0') {
        char line[PATH_BYTES];
        size_t len = strcspn(membership, "\n");
        if (len < sizeof line) {
            memcpy(line, membership, len);
            line[len] = '\0';
            uint32_t cpus = quota_of_line(root, line);
            if (cpus != 0 && (least == 0 || cpus < least)) least = cpus;
        }
        membership += len;
        if (*membership == '\n') membership++;
    }
    return least;
}

uint32_t viv_os_cpu_count(void)
{
    char membership[MEMBERSHIP_BYTES];
    uint32_t cpus = affinity_cpus();
    if (viv_os__read_text("/proc/self/cgroup", membership, sizeof membership)) {
        uint32_t quota = viv_os__cgroup_cpus("/sys/fs/cgroup", membership);
        if (quota != 0 && (cpus == 0 || quota < cpus)) cpus = quota;
    }
    return cpus != 0 ? cpus : 1;
}

void viv_os_cpu_set(cpu_set_t *out_set)
{
    CPU_ZERO(out_set);
    if (!viv_os__is_faulted("sched_getaffinity") &&
        sched_getaffinity(0, sizeof *out_set, out_set) == 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        CPU_SET(cpu, out_set); // those that exist
}
