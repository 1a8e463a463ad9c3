// SPDX-License-Identifier: Apache-2.0
// `viv run --audit FILE`: what was denied, granted and changed, one line of JSON each.
#ifndef VIV_CLI_RUN_AUDIT_H
#define VIV_CLI_RUN_AUDIT_H

#include "cap/audit.h"

struct viv_run_audit {
    int fd; // -1: none, or it could not be written any more
    const char *path;
    uint64_t cursor;
};

// path NULL: nothing is written. False after printing why the file cannot be made.
bool viv_run_audit_open(struct viv_run_audit *out, const char *path);
// Writes what is there now; last: also what is still being counted. Says once when it cannot.
void viv_run_audit_write(struct viv_run_audit *out, struct viv_audit *audit, bool last);
void viv_run_audit_close(struct viv_run_audit *out);

#endif
