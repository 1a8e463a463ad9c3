// SPDX-License-Identifier: Apache-2.0
// The guard of a gated program (native.md 10, 117): by it the caller of a kernel that is no more
// finds what may be left, and tells it from others. What info says is held against the system.
#include "held_kit.h"

#include "harness/check.h"
#include "os/cgroup.h"
#include "os/clock.h"
#include "os/fault.h"
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEXT = 4096, NTH_MAX = 400 };

struct way {
    enum viv_native_survive survive;
    enum viv_native_sandbox level;
    const char *groups; // NULL: below the own group
};
static const struct way ways[] = {
    {VIV_NATIVE_SURVIVE_OWNER, VIV_NATIVE_SANDBOX_NONE, NULL},
    {VIV_NATIVE_SURVIVE_OWNER, VIV_NATIVE_SANDBOX_DEFAULT, NULL},
    {VIV_NATIVE_SURVIVE_OWNER, VIV_NATIVE_SANDBOX_STRICT, NULL},
    {VIV_NATIVE_SURVIVE_KERNEL, VIV_NATIVE_SANDBOX_NONE, NULL},
    {VIV_NATIVE_SURVIVE_KERNEL, VIV_NATIVE_SANDBOX_DEFAULT, NULL},
    {VIV_NATIVE_SURVIVE_OWNER, VIV_NATIVE_SANDBOX_DEFAULT, "/no/such/directory"},
    {VIV_NATIVE_SURVIVE_OWNER, VIV_NATIVE_SANDBOX_NONE, "/no/such/directory"},
};
static const struct way *way; // in use; of a kernel in a process of its own, too
static struct native_rig rig;

static void configure(struct viv_native_config *config)
{
    held_configure(config);
    config->cgroup = way->groups;
}

static void request(enum viv_native_start start)
{
    rig.level = way->level;
    rig_shell(&rig, "echo yes > ran; echo up; sleep 1000");
    rig_put_u64(&rig, VIV_NATIVE_KEY_SURVIVE, way->survive);
    rig_put_u64(&rig, VIV_NATIVE_KEY_START, start);
}

static bool has_group(void)
{
    return way->groups == NULL && rig_has_groups();
}

// With neither a group nor a namespace there is nothing that a guard could name.
static bool can_guard(void)
{
    return way->level != VIV_NATIVE_SANDBOX_NONE || has_group();
}

static bool has_run(void)
{
    return access("ran", F_OK) == 0;
}

static int set_up(void **state)
{
    CHECK(chmod(".", 0777) == 0); // the sandboxed are nobody, as a test of root
    (void)unlink("ran");
    return held_set_up(state);
}

// ---- the system's side ----

static bool read_file(const char *path, char out[TEXT])
{
    FILE *file = fopen(path, "r");
    if (file == NULL) return false;
    out[fread(out, 1, TEXT - 1, file)] = '\0';
    CHECK(fclose(file) == 0);
    return true;
}

struct seen {
    char name[64], state;
    int parent;
    unsigned long long start;
};
// False: there is no such process.
static bool look_at(int pid, struct seen *out)
{
    char path[64], text[TEXT];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_file(path, text)) return false;
    const char *end = strrchr(text, ')'); // fields 3 and 4 follow, and after 17 others the start
    CHECK(end != NULL && sscanf(text, "%*d (%63[^)]", out->name) == 1);
    return sscanf(end + 1,
                  " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
                  &out->state, &out->parent, &out->start) == 3;
}

static bool group_is_there(const struct viv_native_guard *guard)
{
    char path[PATH_MAX];
    struct stat stat_of;
    CHECK(viv_cgroup_own(path, sizeof path - sizeof guard->group - 1) == VIV_OK);
    const size_t len = strlen(path);
    (void)snprintf(path + len, sizeof path - len, "/%s", guard->group);
    return guard->group[0] != '\0' && stat(path, &stat_of) == 0 && S_ISDIR(stat_of.st_mode);
}

static bool is_left(const struct viv_native_guard *guard)
{
    struct seen init;
    const bool lives = look_at(guard->pid, &init) && init.start == guard->start &&
                       init.state != 'Z'; // its parent may be slow to wait for it
    return lives || group_is_there(guard);
}

static void get_guard(const struct viv_native_ref *ref, struct viv_native_guard *out)
{
    struct viv_native_info info;
    CHECK(viv_native_info(&rig.ctx, ref, &info) == VIV_OK);
    *out = info.guard;
}

static void check_true(const struct viv_native_guard *guard)
{
    struct seen init;
    CHECK(look_at(guard->pid, &init));
    CHECK(strcmp(init.name, "viv-holder") == 0 && init.parent == getpid());
    CHECK(init.start == guard->start && guard->start > 0);
    CHECK(group_is_there(guard) == (guard->group[0] != '\0'));
}

static void check_complete(const struct viv_native_guard *guard)
{
    check_true(guard);
    CHECK((guard->group[0] != '\0') == has_group());
}

// The one child of the process that the guard names.
static int find_leader(const struct viv_native_guard *guard)
{
    int leader = 0;
    struct seen seen;
    DIR *dir = opendir("/proc");
    CHECK(dir != NULL);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        const int pid = atoi(entry->d_name);
        if (pid <= 0 || !look_at(pid, &seen) || seen.parent != guard->pid) continue;
        CHECK(leader == 0);
        leader = pid;
    }
    CHECK(closedir(dir) == 0);
    return leader;
}

// What the guard names is what holds the leader.
static void check_holds(const struct viv_native_guard *guard)
{
    char path[64], groups[TEXT], part[TEXT];
    const int leader = find_leader(guard);
    CHECK(leader > 0);
    (void)snprintf(path, sizeof path, "/proc/%d/cgroup", leader);
    CHECK(read_file(path, groups));
    (void)snprintf(part, sizeof part, "/%s\n", guard->group);
    if (guard->group[0] != '\0') CHECK(strstr(groups, part) != NULL);
}

// ---- the guard ----

static enum viv_err start(const struct viv_native_ref *ref)
{
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    const enum viv_err err = viv_native_start(&call, ref);
    return err == VIV_E_AGAIN ? viv_native_await(&call) : err;
}

static void close_way(const struct viv_native_ref *ref)
{
    if (way->survive == VIV_NATIVE_SURVIVE_KERNEL) {
        held_close(&rig, ref);
    } else {
        CHECK(viv_native_release(&rig.ctx, ref) == VIV_OK);
        rig_close(&rig);
    }
}

static void expect_no_guard(void)
{
    struct viv_native_spawned spawned;
    assert_int_equal(rig_spawn(&rig, &spawned), VIV_E_UNSUPPORTED);
    assert_string_equal(rig.diag.text, "guard");
    assert_false(has_run());
}

static void case_117_info_tells_it_before_and_after_the_start(void **state)
{
    (void)state;
    for (way = ways; way < ways + VIV_COUNT_OF(ways); way++) {
        struct viv_native_guard before, after;
        rig_open_with(&rig, configure);
        request(VIV_NATIVE_START_GATED);
        if (!can_guard()) {
            expect_no_guard();
            rig_close(&rig);
            continue;
        }
        const struct viv_native_ref ref = rig_start(&rig);
        get_guard(&ref, &before);
        check_complete(&before);
        assert_int_equal(find_leader(&before), 0);
        assert_false(has_run());
        assert_int_equal(start(&ref), VIV_OK);
        rig_await_output(&rig, &ref, 3);
        assert_true(has_run());
        check_true(&before);
        check_holds(&before);
        get_guard(&ref, &after);
        assert_memory_equal(&after, &before, sizeof before);
        assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
        get_guard(&ref, &after);
        assert_memory_equal(&after, &before, sizeof before);
        close_way(&ref);
        assert_false(is_left(&before));
        CHECK(unlink("ran") == 0);
    }
}

static void case_117_who_is_not_gated_has_none(void **state)
{
    (void)state;
    static const enum viv_native_start others[] = {VIV_NATIVE_START_NOW, VIV_NATIVE_START_HELD};
    static const struct viv_native_guard none;
    for (way = ways; way < ways + VIV_COUNT_OF(ways); way++)
        for (size_t i = 0; i < VIV_COUNT_OF(others); i++) {
            struct viv_native_guard guard;
            rig_open_with(&rig, configure);
            request(others[i]);
            const struct viv_native_ref ref = rig_start(&rig);
            get_guard(&ref, &guard);
            assert_memory_equal(&guard, &none, sizeof none);
            assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
            close_way(&ref);
        }
}

static void have_group(void)
{
    rig_request(&rig, "true", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
}

// Without a holder, and with one; by a group where there may be one, else by a namespace.
static const size_t swept_groups[] = {0, 3}, swept_namespaces[] = {1, 4};
// Nobody gets a program whose guard is not known.
static void each_open_of_a_spawn_fails_once(void **state)
{
    (void)state;
    const size_t *swept = rig_has_groups() ? swept_groups : swept_namespaces;
    for (size_t i = 0; i < VIV_COUNT_OF(swept_groups); i++) {
        way = &ways[swept[i]];
        bool was_hit = true;
        uint32_t failed = 0;
        for (uint64_t n = 1; was_hit; n++) {
            struct viv_native_spawned spawned;
            struct viv_native_guard guard;
            assert_true(n < NTH_MAX);
            rig_open_with(&rig, configure);
            have_group(); // which looks at the groups of others: how many opens that takes varies
            request(VIV_NATIVE_START_GATED);
            viv_fault_set("open", n, EIO);
            const enum viv_err err = rig_spawn(&rig, &spawned);
            was_hit = viv_fault_hit();
            viv_fault_set("*", 0, 0);
            if (err != VIV_OK) {
                assert_true(was_hit);
                failed += strncmp(rig.diag.text, "guard: ", 7) == 0;
                rig_close(&rig);
                held_await_no_files();
                continue;
            }
            struct viv_native_ref ref = {.kind = VIV_NATIVE_ID};
            memcpy(ref.u.id, spawned.id, sizeof ref.u.id);
            get_guard(&ref, &guard);
            check_true(&guard);
            assert_int_equal(rig_kill(&rig, &ref, NULL), VIV_OK);
            close_way(&ref);
        }
        assert_int_equal(failed, 2); // the number, and the start
    }
}

// ---- the kernel is killed ----

static void reserve(struct told *told)
{
    request(VIV_NATIVE_START_GATED);
    held_begin(&rig, told);
    const struct viv_native_ref ref = held_by_id(told);
    get_guard(&ref, &told->guard);
    check_complete(&told->guard);
    CHECK(find_leader(&told->guard) == 0);
}

static void case_117_a_kernel_that_is_killed_before_the_start(void **state)
{
    (void)state;
    for (way = ways; way < ways + VIV_COUNT_OF(ways); way++) {
        struct told told;
        if (way->groups != NULL || !can_guard()) continue; // the kit's kernels have groups
        held_in_a_kernel(&rig, reserve, &told);
        const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
        while (is_left(&told.guard)) {
            if (viv_os_now_ns() > end_ns)
                fail_msg("left: %d, %s", told.guard.pid, told.guard.group);
            viv_os_sleep_ns(VIV_NS_PER_MS);
        }
        held_await_no_files();
        assert_false(has_run());
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(case_117_info_tells_it_before_and_after_the_start, set_up),
        cmocka_unit_test_setup(case_117_who_is_not_gated_has_none, set_up),
        cmocka_unit_test_setup(each_open_of_a_spawn_fails_once, set_up),
        cmocka_unit_test_setup(case_117_a_kernel_that_is_killed_before_the_start, set_up),
    };
    return cmocka_run_group_tests_name("native.program_guard", tests, NULL, NULL);
}
