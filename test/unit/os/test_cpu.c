// SPDX-License-Identifier: Apache-2.0
// CPU quotas, read from imitations of both cgroup layouts.
#include "cm.h"
#include "harness/check.h"
#include "os/os_int.h"
#include "os/thread.h"
#include <sched.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64];

static void put(const char *folder, const char *name, const char *text)
{
    char path[512];
    int len = snprintf(path, sizeof path, "%s%s", root, folder);
    CHECK(len > 0 && (size_t)len < sizeof path);
    for (char *at = path + strlen(root) + 1; *at != '\0'; at++) {
        if (*at != '/') continue;
        *at = '\0';
        mkdir(path, 0700);
        *at = '/';
    }
    mkdir(path, 0700);
    snprintf(path + len, sizeof path - (size_t)len, "/%s", name);
    FILE *file = fopen(path, "w");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    fclose(file);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "viv-cpu-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void version_2(void **state)
{
    (void)state;
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/none\n"), 0);
    put("/a/b", "cpu.max", "max 100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/a/b\n"), 0);
    put("/a/b", "cpu.max", "400000 100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/a/b\n"), 4);
    put("/a/b", "cpu.max", "400001 100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/a/b"), 5); // rounded up
    put("/a", "cpu.max", "150000 100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/a/b\n"), 2); // the group above is smaller
    put("", "cpu.max", "1000 100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/a/b\n"), 1); // as in a container: at the mount
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/\n"), 1);
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/../x\n"), 1); // outside of the namespace
}

static void version_1(void **state)
{
    (void)state;
    static const char membership[] =
        "5:memory:/m\n4:cpu,cpuacct:/x/y\n3:cpuset:/s\n1:name=systemd:/\n";
    put("/cpu,cpuacct/x/y", "cpu.cfs_quota_us", "-1\n");
    put("/cpu,cpuacct/x/y", "cpu.cfs_period_us", "100000\n");
    put("/cpuset/s", "cpu.cfs_quota_us", "100000\n"); // not the cpu controller
    put("/cpuset/s", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, membership), 0);
    put("/cpu,cpuacct/x", "cpu.cfs_quota_us", "250000\n");
    put("/cpu,cpuacct/x", "cpu.cfs_period_us", "100000\n");
    assert_int_equal(viv_os__cgroup_cpus(root, membership), 3);
    assert_int_equal(viv_os__cgroup_cpus(root, "4:cpuacct,cpu:/x\n"), 0); // other mount, not there
}

static void both_versions_and_nonsense(void **state)
{
    (void)state;
    put("/unified/u", "cpu.max", "700000 100000");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/u\n"), 7);
    put("/cpu/c", "cpu.cfs_quota_us", "600000");
    put("/cpu/c", "cpu.cfs_period_us", "100000");
    assert_int_equal(viv_os__cgroup_cpus(root, "1:cpu:/c\n0::/u\n"), 6); // the smaller
    static const char *const nonsense[] = {
        "", "\n\n", ":", "::", "0:", "x", "0::", "1:cpu", "1:cpu:"};
    for (size_t i = 0; i < VIV_COUNT_OF(nonsense); i++)
        assert_int_equal(viv_os__cgroup_cpus(root, nonsense[i]), 0);
    put("/unified/u", "cpu.max", "");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/u\n"), 0);
    put("/unified/u", "cpu.max", "5 0");
    assert_int_equal(viv_os__cgroup_cpus(root, "0::/u\n"), 0);
    char deep[3000];
    memset(deep, 'd', sizeof deep - 1);
    memcpy(deep, "0::/", 4);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(viv_os__cgroup_cpus(root, deep), 0);
}

static void at_least_one_at_most_the_mask(void **state)
{
    (void)state;
    cpu_set_t set;
    CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
    uint32_t cpus = viv_os_cpu_count();
    assert_in_range(cpus, 1, (unsigned)CPU_COUNT(&set));
    viv_fault_set("*", 1, EPERM);
    assert_true(viv_os_cpu_count() >= 1);
    viv_fault_set("*", 0, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(version_2),
        TEST(version_1),
        TEST(both_versions_and_nonsense),
        cmocka_unit_test(at_least_one_at_most_the_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
