// SPDX-License-Identifier: Apache-2.0
// The audit file. Threads: the main thread.
#include "cli/run_audit.h"

#include "cli/cli.h"
#include "os/file.h"
#include <fcntl.h>
#include <string.h>

bool viv_run_audit_open(struct viv_run_audit *out, const char *path)
{
    *out = (struct viv_run_audit){.fd = -1, .path = path};
    if (path == NULL) return true;
    out->fd = viv_os_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (out->fd >= 0) return true;
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: --audit: cannot write %s: %s", path,
                        strerror(-out->fd));
    return false;
}

static bool write_all(int fd, const char *text, size_t len, int *out_errno)
{
    while (len > 0) {
        ssize_t written = viv_os_write(fd, text, len);
        if (written < 0) {
            *out_errno = (int)-written;
            return false;
        }
        text += written;
        len -= (size_t)written;
    }
    return true;
}

void viv_run_audit_write(struct viv_run_audit *out, struct viv_audit *audit, bool last)
{
    if (out->fd < 0) return;
    if (last) viv_audit_flush(audit);
    struct viv_audit_event event;
    while (out->fd >= 0 && viv_audit_read(audit, &out->cursor, &event)) {
        char line[VIV_AUDIT_JSON_MAX];
        size_t len;
        int error;
        if (viv_audit_json(&event, line, sizeof(line), &len) != VIV_OK) continue;
        if (write_all(out->fd, line, len, &error)) continue;
        (void)viv_cli_error(VIV_STATUS_FAILED, "--audit: cannot write %s: %s", out->path,
                            strerror(error));
        viv_run_audit_close(out);
    }
}

void viv_run_audit_close(struct viv_run_audit *out)
{
    if (out->fd >= 0) (void)viv_os_close(out->fd);
    out->fd = -1;
}
