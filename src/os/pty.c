// SPDX-License-Identifier: Apache-2.0
// Pseudo-terminals. The program's side is opened through the controlling side, so that no path is
// needed that could name another one.
#include "os/pty.h"

#include "os/file.h"
#include "os/os_int.h"
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

_Static_assert(sizeof(struct termios) <= VIV_TTY_STATE_BYTES, "the state of a terminal fits");

static int control(int fd, unsigned long call, void *arg)
{
    int r;
    do
        r = viv_os__is_faulted("ioctl") ? -1 : ioctl(fd, call, arg);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

static int get_mode(int fd, struct termios *out_mode)
{
    return viv_os__settle_int(viv_os__is_faulted("ioctl") ? -1 : tcgetattr(fd, out_mode));
}

static int set_mode(int fd, const struct termios *mode)
{
    int r;
    do
        r = viv_os__is_faulted("ioctl") ? -1 : tcsetattr(fd, TCSANOW, mode);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

static int open_slave(int master)
{
    int unlock = 0;
    const int r = control(master, TIOCSPTLCK, &unlock);
    if (r < 0) return r;
    int fd;
    do
        fd = viv_os__is_faulted("ioctl")
                 ? -1
                 : ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    while (viv_os__is_interrupted(fd));
    return viv_os__settle_int(fd);
}

int viv_os_pty_open(int *out_master, int *out_slave)
{
    const int master = viv_os_open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
    if (master < 0) return master;
    const int slave = open_slave(master);
    if (slave < 0) {
        VIV_IGNORE(viv_os_close(master), "nothing was written");
        return slave;
    }
    *out_master = master;
    *out_slave = slave;
    return 0;
}

int viv_os_pty_resize(int fd, uint16_t rows, uint16_t columns)
{
    struct winsize size = {.ws_row = rows, .ws_col = columns};
    return control(fd, TIOCSWINSZ, &size);
}

int viv_os_pty_size(int fd, uint16_t *out_rows, uint16_t *out_columns)
{
    struct winsize size;
    const int r = control(fd, TIOCGWINSZ, &size);
    if (r < 0) return r;
    *out_rows = size.ws_row;
    *out_columns = size.ws_col;
    return 0;
}

int viv_os_pty_make_raw(int fd)
{
    struct termios mode;
    const int r = get_mode(fd, &mode);
    if (r < 0) return r;
    cfmakeraw(&mode);
    return set_mode(fd, &mode);
}

int viv_os_pty_eof_char(int fd, uint8_t *out_char)
{
    struct termios mode;
    const int r = get_mode(fd, &mode);
    if (r < 0) return r;
    if ((mode.c_lflag & ICANON) == 0) return -EINVAL;
    *out_char = mode.c_cc[VEOF];
    return 0;
}

int viv_os_tty_save(int fd, struct viv_tty_state *out_state)
{
    struct termios mode;
    const int r = get_mode(fd, &mode);
    if (r < 0) return r;
    memcpy(out_state->bytes, &mode, sizeof mode);
    return 0;
}

int viv_os_tty_restore(int fd, const struct viv_tty_state *state)
{
    struct termios mode;
    memcpy(&mode, state->bytes, sizeof mode);
    return set_mode(fd, &mode);
}
