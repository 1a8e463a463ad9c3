// SPDX-License-Identifier: Apache-2.0
// The kernel's side of the warden: a `viv-holder` that ends the control groups of programs when the
// kernel is gone, which its socket tells. One that has died is replaced before the next launch.
#include "native/native_int.h"

#include "os/child.h"
#include "os/file.h"
#include "os/packet.h"

static void forget(struct viv_native *native)
{
    int *const fds[] = {&native->warden_fd, &native->warden_pidfd};
    for (size_t i = 0; i < VIV_COUNT_OF(fds); i++) {
        if (*fds[i] >= 0) VIV_IGNORE(viv_os_close(*fds[i]), "nothing is lost with it");
        *fds[i] = -1;
    }
}

static bool is_on_duty(const struct viv_native *native)
{
    return native->warden_pidfd >= 0 && viv_os_child_has_ended(native->warden_pidfd) == 0;
}

static void start(struct viv_native *native, struct viv_launch_room *room)
{
    int fds[2];
    const int null_fd = viv_os_open("/dev/null", O_RDWR, 0);
    if (null_fd < 0 || viv_os_packet_pair(fds) < 0) {
        if (null_fd >= 0) VIV_IGNORE(viv_os_close(null_fd), "it is /dev/null");
        return; // without descriptors nothing is launched either
    }
    const char *const argv[] = {"viv-holder", "warden", native->cgroup_name, NULL};
    const char *const envp[] = {NULL};
    const struct viv_launch launch = {
        .exe_fd = native->holder_fd,
        .argv = argv,
        .envp = envp,
        .fds = {null_fd, null_fd, null_fd, fds[1]},
        .fd_count = 4,
        .cwd_fd = native->cgroup_base_fd,
        .cgroup_fd = -1,
        .new_session = true,
        .no_new_privs = true,
        .umask = 077,
    };
    struct viv_launch_result result;
    viv_os_launch(room, &launch, &result);
    VIV_IGNORE(viv_os_close(fds[1]), "the warden has it");
    VIV_IGNORE(viv_os_close(null_fd), "it is /dev/null");
    // Relaxed: own thread's.
    native->warden_pidfd = atomic_load_explicit(&result.pidfd, memory_order_relaxed);
    native->warden_fd = fds[0];
    if (result.stage != VIV_STAGE_NONE) forget(native);
}

void viv_native__post_warden(struct viv_native *native, struct viv_launch_room *room)
{
    viv_mutex_lock(&native->holder_lock);
    if (native->holder_fd < 0 && native->holder != NULL) {
        const int fd = viv_os_open(native->holder, O_RDONLY, 0);
        native->holder_fd = fd >= 0 ? fd : -1;
    }
    if (native->holder_fd >= 0 && native->cgroup_fd >= 0 && !is_on_duty(native)) {
        if (native->warden_pidfd >= 0) viv_os_child_await(native->warden_pidfd);
        forget(native);
        start(native, room);
    }
    viv_mutex_unlock(&native->holder_lock);
}

void viv_native__end_warden(struct viv_native *native)
{
    if (native->warden_pidfd < 0) return;
    VIV_IGNORE(viv_os_close(native->warden_fd), "which tells it");
    native->warden_fd = -1;
    viv_os_child_await(native->warden_pidfd);
    forget(native);
}
