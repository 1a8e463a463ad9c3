// SPDX-License-Identifier: Apache-2.0
// Pseudo-terminals. 0 or a descriptor, or a negated errno.
#ifndef VIV_OS_PTY_H
#define VIV_OS_PTY_H

#include "base/err.h"

// A new terminal: the controlling side, which does not block, and the program's side.
int viv_os_pty_open(int *out_master, int *out_slave);
int viv_os_pty_resize(int fd, uint16_t rows, uint16_t columns); // SIGWINCH follows on a change
int viv_os_pty_size(int fd, uint16_t *out_rows, uint16_t *out_columns);
int viv_os_pty_make_raw(int fd); // bytes pass as they are
// The character that stands for the end of input, when the terminal is in canonical mode; else
// -EINVAL.
int viv_os_pty_eof_char(int fd, uint8_t *out_char);
// The state of a terminal, to be put back later.
#define VIV_TTY_STATE_BYTES 64
struct viv_tty_state {
    _Alignas(8) uint8_t bytes[VIV_TTY_STATE_BYTES];
};
int viv_os_tty_save(int fd, struct viv_tty_state *out_state);
int viv_os_tty_restore(int fd, const struct viv_tty_state *state);

#endif
