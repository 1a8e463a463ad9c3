// SPDX-License-Identifier: Apache-2.0
// What tests of `hold` do again and again.
#include "harness/check.h"
#include "hold_rig.h"
#include "os/file.h"
#include "os/share.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

size_t hold_read(struct hold_kernel *kernel, uint32_t stream, uint64_t *offset, void *out,
                 size_t len, uint32_t seconds)
{
    uint8_t *bytes = out;
    size_t done = 0;
    const uint64_t end_ns = check_now_ns() + check_limit_ns(seconds);
    while (done < len && check_now_ns() < end_ns) {
        const size_t n =
            viv_log_ring_copy(&kernel->rings[stream], offset, bytes + done, len - done);
        *offset += n;
        done += n;
        if (n == 0) check_nap();
    }
    return done;
}

int hold_await_end(pid_t pid)
{
    int status = 0;
    CHECK_WAIT(waitpid(pid, &status, WNOHANG) == pid, 30, fprintf(stderr, "process %d\n", pid));
    return status;
}

void hold_kill(pid_t kernel)
{
    CHECK(kill(kernel, SIGKILL) == 0);
    CHECK(waitpid(kernel, NULL, 0) == kernel);
}

void hold_detach(struct hold_kernel *kernel)
{
    int *const fds[] = {&kernel->fd, &kernel->memory_fd, &kernel->bell_fd, &kernel->leader_fd,
                        &kernel->tty_fd};
    for (size_t i = 0; i < VIV_COUNT_OF(fds); i++) {
        if (*fds[i] >= 0) viv_os_close(*fds[i]);
        *fds[i] = -1;
    }
    if (kernel->memory != NULL) viv_os_shared_unmap(kernel->memory, kernel->memory_bytes);
    kernel->memory = NULL;
}

pid_t hold_fork(void)
{
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) CHECK(prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0, 0, 0) == 0);
    return pid;
}

void hold_await_nobody(void)
{
    CHECK_WAIT(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, 30,
               fprintf(stderr, "somebody is left\n"));
}

void hold_release(struct hold_rig *rig, struct hold_kernel *kernel)
{
    CHECK(hold_order(kernel, VIV_HOLD_RELEASE, NULL) == VIV_OK);
    CHECK(!hold_has_file(rig, "sock") && !hold_has_file(rig, "rec"));
    hold_detach(kernel);
    CHECK(hold_await_end(rig->holder) == 0);
    hold_await_nobody();
}

void hold_finish(struct hold_rig *rig, struct hold_kernel *kernel)
{
    const struct viv_hold_stop stop = {.cause = VIV_CAUSE_STOP, .kills = 1};
    CHECK(hold_order(kernel, VIV_HOLD_STOP, &stop) == VIV_OK);
    hold_await_phase(kernel, VIV_NATIVE_EXITED);
    hold_release(rig, kernel);
}

bool hold_says(struct hold_kernel *kernel, const char *text)
{
    char bytes[8192];
    uint64_t offset = 0;
    size_t len = 0;
    const uint64_t end_ns = check_now_ns() + check_limit_ns(20);
    bytes[0] = '\0';
    while (strstr(bytes, text) == NULL && check_now_ns() < end_ns && len < sizeof bytes - 1) {
        const size_t n =
            viv_log_ring_copy(&kernel->rings[0], &offset, bytes + len, sizeof bytes - 1 - len);
        offset += n;
        len += n;
        bytes[len] = '\0';
        if (n == 0) check_nap();
    }
    if (strstr(bytes, text) != NULL) return true;
    fprintf(stderr, "no `%s` in: %s\n", text, bytes);
    return false;
}

uint64_t hold_end_offset(struct hold_kernel *kernel)
{
    struct viv_log_view view;
    viv_log_ring_look(&kernel->rings[0], &view);
    return view.end;
}

void hold_remove_files(struct hold_rig *rig)
{
    static const char *const endings[] = {"sock", "rec"};
    char path[128];
    for (size_t i = 0; i < VIV_COUNT_OF(endings); i++) {
        snprintf(path, sizeof path, "%s/%s.%s", rig->dir, rig->birth.numbers.digest, endings[i]);
        unlink(path);
    }
}

void hold_check_bytes(const uint8_t *bytes, uint64_t from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        CHECK(bytes[i] == (from + i) % 251);
}
