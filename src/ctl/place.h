// SPDX-License-Identifier: Apache-2.0
// Where a user's daemon is found: socket and lock below the XDG runtime directory, its log below
// that of state. Thread: any.
#ifndef VIV_CTL_PLACE_H
#define VIV_CTL_PLACE_H

#include "base/err.h"
#include "os/local.h"

#define VIV_CTL_DIR_MAX 4096
struct viv_ctl_place {
    char dir[VIV_CTL_DIR_MAX];           // of socket and lock, 0700
    char socket[VIV_LOCAL_PATH_MAX + 1]; // control.sock
    char lock[VIV_CTL_DIR_MAX + 16];
    char state_dir[VIV_CTL_DIR_MAX]; // "": there is none
    char log[VIV_CTL_DIR_MAX + 16];
};

// $XDG_RUNTIME_DIR/viv, else /run/user/UID/viv, else /tmp/viv-UID/viv; $XDG_STATE_HOME/viv, else
// .local/state/viv of the user's home. Makes nothing. Errors: TOOBIG (the socket's path).
enum viv_err viv_ctl_place_find(struct viv_ctl_place *out, struct viv_diag *diag) VIV_MUST_CHECK;
// Both directories, for sandboxed programs not to see; NULL-terminated, and of the place.
void viv_ctl_place_hides(const struct viv_ctl_place *place, const char *out_hides[3]);
// Makes the directory of the socket, or finds that it is ours alone. Errors: PERM, IO, NOTDIR.
enum viv_err viv_ctl_place_make(const struct viv_ctl_place *place,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Makes the directory of state, with those above it. Errors: NOTFOUND (there is none), IO.
enum viv_err viv_ctl_place_make_state(const struct viv_ctl_place *place,
                                      struct viv_diag *diag) VIV_MUST_CHECK;
// Whether programs may be there that outlived a daemon, for the next one to take back.
bool viv_ctl_place_has_held(const struct viv_ctl_place *place);
// The log, to be appended to; one that has grown large is put aside first. A descriptor, of
// /dev/null where there can be no log; or a negated errno.
int viv_ctl_place_open_log(const struct viv_ctl_place *place);

#endif
