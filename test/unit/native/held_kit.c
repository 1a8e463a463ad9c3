// SPDX-License-Identifier: Apache-2.0
#include "held_kit.h"

#include "harness/check.h"
#include "os/clock.h"
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char state_dir[] = "held-state";
char held_dir[4200];

void held_configure(struct viv_native_config *config)
{
    config->state_dir = state_dir;
    config->hold_dir = held_dir;
    config->held_ok = true;
}

void held_clear(void)
{
    char cwd[4096];
    CHECK(system("rm -rf held-state && mkdir -m 700 held-state") == 0);
    CHECK(getcwd(cwd, sizeof cwd) != NULL);
    (void)snprintf(held_dir, sizeof held_dir, "%s/%s/h", cwd, state_dir);
}

int held_set_up(void **state)
{
    (void)state;
    held_clear();
    return 0;
}

void held_open(struct native_rig *rig)
{
    rig_open_with(rig, held_configure);
}

int held_count_files(void)
{
    DIR *dir = opendir(held_dir);
    int count = 0;
    if (dir == NULL) return 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

void held_await_no_files(void)
{
    const uint64_t end_ns = viv_os_now_ns() + RIG_TIMEOUT_NS;
    while (held_count_files() > 0) {
        if (viv_os_now_ns() > end_ns) fail_msg("%d files are left", held_count_files());
        viv_os_sleep_ns(VIV_NS_PER_MS);
    }
}

void held_request(struct native_rig *rig, const char *script)
{
    rig_shell(rig, script);
    rig_put_u64(rig, VIV_NATIVE_KEY_SURVIVE, VIV_NATIVE_SURVIVE_KERNEL);
}

uint32_t held_rejoin(struct native_rig *rig)
{
    uint32_t count;
    viv_sched_leave(rig->member);
    const enum viv_err err = viv_native_rejoin(rig->native, rig->env, &count);
    CHECK(viv_sched_enter(viv_kernel_sched(rig->kernel), &rig->member) == VIV_OK);
    assert_int_equal(err, VIV_OK);
    return count;
}

struct viv_native_ref held_by_id(const struct told *told)
{
    struct viv_native_ref ref = {.kind = VIV_NATIVE_ID};
    memcpy(ref.u.id, told->id, sizeof ref.u.id);
    return ref;
}

void held_in_a_kernel(struct native_rig *rig, void (*work)(struct told *told), struct told *told)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(fds[0]);
        held_open(rig);
        work(told);
        CHECK(write(fds[1], told, sizeof *told) == (ssize_t)sizeof *told);
        (void)kill(getpid(), SIGKILL);
    }
    close(fds[1]);
    CHECK(read(fds[0], told, sizeof *told) == (ssize_t)sizeof *told);
    close(fds[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

void held_begin(struct native_rig *rig, struct told *told)
{
    struct viv_native_spawned spawned;
    const enum viv_err err = rig_spawn(rig, &spawned);
    if (err != VIV_OK) fail_msg("spawn: %s (%s)", viv_err_text(err), rig->diag.text);
    memcpy(told->id, spawned.id, sizeof told->id);
    told->number = spawned.number;
}

void held_close(struct native_rig *rig, const struct viv_native_ref *ref)
{
    assert_int_equal(viv_native_release(&rig->ctx, ref), VIV_OK);
    held_await_no_files();
    rig_close(rig);
}
