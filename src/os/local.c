// SPDX-License-Identifier: Apache-2.0
// Sockets with a path.
#include "os/local.h"

#include "os/file.h"
#include "os/os_int.h"
#include <stddef.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { BACKLOG = 1024 };

_Static_assert(VIV_LOCAL_PATH_MAX + 1 == sizeof(((struct sockaddr_un *)NULL)->sun_path),
               "a path and its terminator");

static int make_address(const char *path, struct sockaddr_un *out)
{
    const size_t len = strlen(path);
    if (len > VIV_LOCAL_PATH_MAX) return -ENAMETOOLONG;
    memset(out, 0, sizeof *out);
    out->sun_family = AF_UNIX;
    memcpy(out->sun_path, path, len);
    return 0;
}

static int make_socket(int type)
{
    return viv_os__settle_int(
        viv_os__is_faulted("socket") ? -1 : socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
}

static int fail(int fd, int r)
{
    VIV_IGNORE(viv_os_close(fd), "it failed already");
    return r;
}

static int listen_at(const char *path, int type)
{
    struct sockaddr_un address;
    int r = make_address(path, &address);
    if (r < 0) return r;
    const int fd = make_socket(type | SOCK_NONBLOCK);
    if (fd < 0) return fd;
    // The mode of the file that bind makes.
    r = viv_os__settle_int(viv_os__is_faulted("fchmod") ? -1 : fchmod(fd, 0600));
    if (r < 0) return fail(fd, r);
    r = viv_os__settle_int(viv_os__is_faulted("bind")
                               ? -1
                               : bind(fd, (const struct sockaddr *)&address, sizeof address));
    if (r < 0) return fail(fd, r);
    r = viv_os__settle_int(viv_os__is_faulted("listen") ? -1 : listen(fd, BACKLOG));
    if (r >= 0) return fd;
    VIV_IGNORE(viv_os_unlinkat(AT_FDCWD, path, 0), "it failed already");
    return fail(fd, r);
}

int viv_os_local_listen(const char *path)
{
    return listen_at(path, SOCK_STREAM);
}

int viv_os_local_listen_packets(const char *path)
{
    return listen_at(path, SOCK_SEQPACKET);
}

int viv_os_local_accept(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("accept4") ? -1
                                          : accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

static int connect_to(const char *path, int type)
{
    struct sockaddr_un address;
    int r = make_address(path, &address);
    if (r < 0) return r;
    const int fd = make_socket(type);
    if (fd < 0) return fd;
    do
        r = viv_os__is_faulted("connect")
                ? -1
                : connect(fd, (const struct sockaddr *)&address, sizeof address);
    while (viv_os__is_interrupted(r));
    r = viv_os__settle_int(r);
    return r < 0 ? fail(fd, r) : fd;
}

int viv_os_local_connect(const char *path)
{
    return connect_to(path, SOCK_STREAM);
}

int viv_os_local_connect_packets(const char *path)
{
    return connect_to(path, SOCK_SEQPACKET | SOCK_NONBLOCK);
}

int viv_os_local_peer(int fd, struct viv_peer *out_peer)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    const int r = viv_os__settle_int(viv_os__is_faulted("getsockopt")
                                         ? -1
                                         : getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size));
    if (r >= 0) *out_peer = (struct viv_peer){.pid = peer.pid, .uid = peer.uid};
    return r;
}

ssize_t viv_os_local_send(int fd, const void *data, size_t len)
{
    ssize_t r;
    do
        r = viv_os__is_faulted("send") ? -1 : send(fd, data, len, MSG_NOSIGNAL);
    while (viv_os__is_interrupted(r));
    return viv_os__settle(r);
}

int viv_os_local_tell(const char *path, const char *text)
{
    struct sockaddr_un address;
    const int r = make_address(path, &address);
    if (r < 0) return r;
    socklen_t len = sizeof address;
    if (path[0] == '@') { // no terminator: each byte counts
        address.sun_path[0] = '\0';
        len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    }
    const int fd = make_socket(SOCK_DGRAM | SOCK_NONBLOCK);
    if (fd < 0) return fd;
    const ssize_t sent = viv_os__settle(
        viv_os__is_faulted("sendto")
            ? -1
            : sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&address, len));
    if (sent < 0) return fail(fd, (int)sent);
    return viv_os_close(fd);
}

int viv_os_local_end(int fd)
{
    return viv_os__settle_int(viv_os__is_faulted("shutdown") ? -1 : shutdown(fd, SHUT_WR));
}

int viv_os_lock_file(int fd)
{
    int r;
    do
        r = viv_os__is_faulted("flock") ? -1 : flock(fd, LOCK_EX | LOCK_NB);
    while (viv_os__is_interrupted(r));
    return viv_os__settle_int(r);
}

void viv_os_unlock_file(int fd)
{
    (void)flock(fd, LOCK_UN); // cannot fail for a lock that is held
}
