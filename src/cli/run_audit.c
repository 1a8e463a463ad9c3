// SPDX-License-Identifier: Apache-2.0
// The audit file of a command. Threads: the main thread.
#include "cli/run_audit.h"

#include "cli/cli.h"
#include <string.h>

bool viv_run_audit_open(struct viv_run_audit *out, const char *path)
{
    out->path = NULL;
    if (path == NULL) return true;
    const int r = viv_audit_file_open(&out->file, path, true);
    if (r == 0) {
        out->path = path;
        return true;
    }
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: --audit: cannot write %s: %s", path, strerror(-r));
    return false;
}

void viv_run_audit_write(struct viv_run_audit *out, struct viv_audit *audit, bool last)
{
    if (out->path == NULL) return;
    if (last) viv_audit_flush(audit);
    const int r = viv_audit_file_drain(&out->file, audit);
    if (r == 0) return;
    (void)viv_cli_error(VIV_STATUS_FAILED, "--audit: cannot write %s: %s", out->path, strerror(-r));
    out->path = NULL;
}

void viv_run_audit_close(struct viv_run_audit *out)
{
    if (out->path != NULL) viv_audit_file_close(&out->file);
    out->path = NULL;
}
