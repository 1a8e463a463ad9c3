// SPDX-License-Identifier: Apache-2.0
// Finding the user's daemon, and starting it when there is none. Of several that are started at
// once the lock lets one live; who started another finds that one.
#include "ctl/client.h"
#include "ctl/daemon.h"
#include "os/clock.h"
#include "os/detach.h"
#include "os/file.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

#define START_NS (20 * VIV_NS_PER_SEC)
#define PAUSE_NS (20 * VIV_NS_PER_MS)

// Waits until the daemon says that it is ready, or ends.
static void await_ready(int fd)
{
    char text[256];
    const uint64_t end_ns = viv_os_now_ns() + START_NS;
    for (;;) {
        const uint64_t now_ns = viv_os_now_ns();
        if (now_ns >= end_ns) return;
        if (viv_os_poll_fd(fd, POLLIN, (int)((end_ns - now_ns) / VIV_NS_PER_MS) + 1) <= 0) return;
        const ssize_t n = viv_os_read(fd, text, sizeof text);
        if (n == 0 || (n < 0 && n != -EAGAIN)) return;
        if (n > 0 && memchr(text, '\n', (size_t)n) != NULL) return;
    }
}

static enum viv_err start(const struct viv_ctl_place *place, struct viv_diag *diag)
{
    static const char *const argv[] = {"viv", "daemon", "--foreground", NULL};
    int fds[2];
    VIV_TRY(viv_ctl_place_make(place, diag));
    int r = viv_os_pipe(fds);
    if (r < 0) return viv_diag_set(diag, VIV_E_EXHAUSTED, "%s", strerror(-r));
    const int log_fd = viv_ctl_place_open_log(place);
    r = log_fd < 0 ? log_fd : viv_os_start_detached(argv, fds[1], log_fd);
    VIV_IGNORE(viv_os_close(fds[1]), "the daemon's");
    if (log_fd >= 0) VIV_IGNORE(viv_os_close(log_fd), "the daemon's");
    if (r >= 0) await_ready(fds[0]);
    VIV_IGNORE(viv_os_close(fds[0]), "nothing more comes");
    if (r < 0)
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "the daemon cannot be started: %s",
                            strerror(-r));
    return VIV_OK;
}

// Again for a while when it is closed or, if `passing` says so, when there is none.
static enum viv_err try_to_open(const struct viv_ctl_place *place, enum viv_err passing,
                                struct viv_ctl_client **out_client, struct viv_diag *diag)
{
    const uint64_t end_ns = viv_os_now_ns() + 2 * VIV_NS_PER_SEC;
    for (;;) {
        const enum viv_err err = viv_ctl_client_open(place->socket, out_client, diag);
        const bool may_pass = err == VIV_E_CLOSED || err == passing;
        if (err == VIV_OK || !may_pass || viv_os_now_ns() > end_ns) return err;
        viv_os_sleep_ns(PAUSE_NS);
    }
}

enum viv_err viv_ctl_connect(enum viv_ctl_start may_start, struct viv_ctl_client **out_client,
                             struct viv_diag *diag)
{
    struct viv_ctl_place place;
    VIV_TRY(viv_ctl_place_find(&place, diag));
    // One that is being killed takes clients until its last thread is gone.
    enum viv_err err = try_to_open(&place, VIV_E_CLOSED, out_client, diag);
    if (err != VIV_E_NOTFOUND) return err;
    if (may_start == VIV_CTL_FIND) return err;
    if (may_start == VIV_CTL_FIND_HELD && !viv_ctl_place_has_held(&place)) return err;
    VIV_TRY(start(&place, diag));
    // Another one, started at the same time, may have the lock and not answer yet.
    err = try_to_open(&place, VIV_E_NOTFOUND, out_client, diag);
    if (err == VIV_E_NOTFOUND)
        (void)viv_diag_set(diag, err, "the daemon did not start (%.300s says why)", place.log);
    return err;
}
