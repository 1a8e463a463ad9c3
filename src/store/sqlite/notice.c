// SPDX-License-Identifier: Apache-2.0
// The watched file beside a store. What it says does not matter: that it was written does.
#include "store/sqlite/notice.h"

#include "base/log.h"
#include "os/clock.h"
#include "os/file.h"
#include <fcntl.h>
#include <stdio.h>
#include <sys/uio.h>

enum { PATH_BYTES = 4200 };

void viv_notice_init(struct viv_notice *notice)
{
    *notice = (struct viv_notice){.wake_fd = -1, .watch_fd = -1};
}

static void name_file(char out[PATH_BYTES], const char *path)
{
    (void)snprintf(out, PATH_BYTES, "%s.wake", path);
}

void viv_notice_open(struct viv_notice *notice, const char *path)
{
    char wake[PATH_BYTES];
    name_file(wake, path);
    notice->wake_fd = viv_os_open(wake, O_RDWR | O_CREAT | O_NOFOLLOW, 0600);
    if (notice->wake_fd < 0)
        VIV_LOG(VIV_LOG_WARN, "%s cannot be opened: others see changes later", wake);
}

bool viv_notice_watch(struct viv_notice *notice, const char *path)
{
    char wake[PATH_BYTES];
    name_file(wake, path);
    notice->watch_fd = viv_os_watch_file(wake);
    if (notice->watch_fd < 0)
        VIV_LOG(VIV_LOG_WARN, "%s cannot be watched: what others change is looked for", wake);
    return notice->watch_fd >= 0;
}

void viv_notice_close(struct viv_notice *notice)
{
    if (notice->watch_fd >= 0) VIV_IGNORE(viv_os_close(notice->watch_fd), "a watch");
    if (notice->wake_fd >= 0) VIV_IGNORE(viv_os_close(notice->wake_fd), "holds nothing");
    viv_notice_init(notice);
}

void viv_notice_tell(const struct viv_notice *notice)
{
    uint64_t now_ns = viv_os_now_ns();
    const struct iovec part = {&now_ns, sizeof now_ns};
    if (notice->wake_fd >= 0)
        VIV_IGNORE(viv_os_pwritev(notice->wake_fd, &part, 1, 0), "others look now and then");
}

void viv_notice_hear(const struct viv_notice *notice)
{
    char events[4096];
    while (viv_os_read(notice->watch_fd, events, sizeof events) > 0) {
    }
}
