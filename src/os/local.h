// SPDX-License-Identifier: Apache-2.0
// Sockets of this host (AF_UNIX) with a path: streams, and such as keep message borders
// (os/packet.h); and who is at the other end. A descriptor or 0, or a negated errno.
#ifndef VIV_OS_LOCAL_H
#define VIV_OS_LOCAL_H

#include "base/defs.h"
#include <sys/types.h>

#define VIV_LOCAL_PATH_MAX 107 // bytes; more is -ENAMETOOLONG

// Does not block; only its owner may connect (0600). The path must not exist.
int viv_os_local_listen(const char *path);
int viv_os_local_accept(int fd);            // does not block
int viv_os_local_connect(const char *path); // blocks
// The same with message borders; connecting does not block, and -EAGAIN says that too many wait.
int viv_os_local_listen_packets(const char *path);
int viv_os_local_connect_packets(const char *path);

struct viv_peer {
    pid_t pid; // of a listener: who called listen
    uid_t uid;
};
int viv_os_local_peer(int fd, struct viv_peer *out_peer);
// write without SIGPIPE.
ssize_t viv_os_local_send(int fd, const void *data, size_t len);
// One datagram to the socket of this path, or, behind a @, of this abstract name.
int viv_os_local_tell(const char *path, const char *text);
// No more is sent; what was can still be read.
int viv_os_local_end(int fd);
// Takes a lock on the whole file that only one program can hold; -EWOULDBLOCK: another does.
int viv_os_lock_file(int fd);
void viv_os_unlock_file(int fd);

#endif
