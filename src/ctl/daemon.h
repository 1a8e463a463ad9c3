// SPDX-License-Identifier: Apache-2.0
// The user's daemon: a kernel that owns programs whose commands have ended, and a control socket.
// One a user: it holds a lock. It ends by itself when it has had neither programs nor clients for a
// while, by SIGTERM or SIGINT, or when it is asked to; its programs are stopped then.
#ifndef VIV_CTL_DAEMON_H
#define VIV_CTL_DAEMON_H

#include "ctl/place.h"

#define VIV_CTL_DAEMON_IDLE_NS (600 * VIV_NS_PER_SEC) // default

struct viv_ctl_daemon_config {
    const struct viv_ctl_place *place;
    const char *holder;       // path of viv-holder
    const char *root;         // directory of its environment
    uint64_t idle_ns;         // VIV_FOREVER_NS: it stays
    const char *audit;        // file that records are appended to; NULL: none
    bool audit_is_required;   // no program without a record in it
    bool held_ok;             // as in viv_native_config
    void (*ready)(void *arg); // the socket answers
    void *arg;
};
// Until it has ended. Thread: the main one, once a program: it handles signals. Blocks. Errors:
// BUSY (another one runs), EXHAUSTED, PERM, IO …, with their detail.
enum viv_err viv_ctl_daemon_run(const struct viv_ctl_daemon_config *config,
                                struct viv_diag *diag) VIV_MUST_CHECK;

enum viv_ctl_start {
    VIV_CTL_FIND,      // never
    VIV_CTL_FIND_HELD, // if programs outlived the last one
    VIV_CTL_START
};
// A client of the user's daemon. may_start: whether one is started when none runs, by running this
// executable as `viv daemon --foreground`. Blocks. Errors: those of viv_ctl_client_open; NOTFOUND:
// none runs.
struct viv_ctl_client;
enum viv_err viv_ctl_connect(enum viv_ctl_start may_start, struct viv_ctl_client **out_client,
                             struct viv_diag *diag) VIV_MUST_CHECK;

#endif
