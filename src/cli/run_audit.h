// SPDX-License-Identifier: Apache-2.0
// `viv run --audit FILE`: what was denied, granted, changed and started, one line of JSON each.
#ifndef VIV_CLI_RUN_AUDIT_H
#define VIV_CLI_RUN_AUDIT_H

#include "native/audit_file.h"

struct viv_run_audit {
    const char *path; // NULL: none, or it could not be written any more
    struct viv_audit_file file;
};

// path NULL: nothing is written. False after printing why the file cannot be written.
bool viv_run_audit_open(struct viv_run_audit *out, const char *path);
// Writes what is there now; last: also what is still being counted. Says once when it cannot.
void viv_run_audit_write(struct viv_run_audit *out, struct viv_audit *audit, bool last);
void viv_run_audit_close(struct viv_run_audit *out);

#endif
