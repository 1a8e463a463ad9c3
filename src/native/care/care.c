// SPDX-License-Identifier: Apache-2.0
// Beginning and end of taking care, and what has no better place.
#include "native/care/care.h"
#include "os/tree.h"
#include <string.h>

void viv_care_init(struct viv_care *care, const struct viv_care_host *host)
{
    memset(care, 0, sizeof *care);
    care->host = host;
    for (uint32_t i = 0; i < 2; i++)
        care->streams[i].fd = -1;
    care->in_fd = care->tty_fd = care->pidfd = care->leader_fd = care->cgroup_fd = -1;
    care->link.fd = -1;
    care->stop_kill_ns = VIV_FOREVER_NS;
    viv_readiness_init(&care->readiness);
    viv_spin_init(&care->lock, VIV_LOCK_PROGRAM);
}

void viv_care_deinit(struct viv_care *care)
{
    for (uint32_t i = 0; i < 2; i++)
        viv_log_ring_deinit(&care->streams[i].ring);
    viv_stdin_deinit(&care->in);
    viv_readiness_deinit(&care->readiness);
}

void viv_care_show_leader(struct viv_care *care)
{
    pid_t number = care->leader;
    if (number == 0 && care->leader_fd >= 0) number = viv_os_pidfd_number(care->leader_fd);
    viv_spin_lock(&care->lock);
    care->shown = number > 0 ? number : 0;
    viv_spin_unlock(&care->lock);
}

uint64_t viv_care_knob(struct viv_care *care, uint32_t index)
{
    viv_spin_lock(&care->lock);
    const uint64_t value = care->knobs[index];
    viv_spin_unlock(&care->lock);
    return value;
}

void viv_care_touch(struct viv_care *care, uint32_t on, uint64_t now_ns)
{
    if ((care->limits.idle_on & on) != 0)
        // Relaxed: a clock that others read as of about now.
        atomic_store_explicit(&care->touched_ns, now_ns, memory_order_relaxed);
}
