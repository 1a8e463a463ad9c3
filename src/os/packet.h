// SPDX-License-Identifier: Apache-2.0
// A pair of connected sockets that keep message borders (SOCK_SEQPACKET), with descriptors in
// messages. >= 0 or the negated errno.
#ifndef VIV_OS_PACKET_H
#define VIV_OS_PACKET_H

#include "base/defs.h"
#include <sys/types.h>
#include <sys/uio.h>

#define VIV_PACKET_FDS_MAX 16

int viv_os_packet_pair(int out_fds[2]); // both block

struct viv_packet {
    void *data;
    size_t len; // receiving: room before, length after
    int fds[VIV_PACKET_FDS_MAX];
    size_t fd_count;
};
// 0: sent whole. -EPIPE where nobody reads; no signal is raised.
int viv_os_packet_send(int fd, const struct viv_packet *packet);
// The same for a message in parts.
struct viv_packet_parts {
    const struct iovec *parts;
    size_t part_count;
    const int *fds;
    size_t fd_count;
};
int viv_os_packet_send_parts(int fd, const struct viv_packet_parts *packet);
// Room for messages of this size, where the system gives it; else sending them is -EMSGSIZE.
int viv_os_packet_widen(int fd, size_t size_bytes);
// Length, 0 at the end; the descriptors are the caller's, closed on exec. A message that does not
// fit is -EMSGSIZE, its descriptors closed.
ssize_t viv_os_packet_receive(int fd, struct viv_packet *packet);

int viv_os_packet_end(int fd); // nothing more is sent: the other end reads its end

// Bytes for somebody else, more than a message holds: a file in memory that nobody can change.
int viv_os_sealed_file(const char *name, const void *data, size_t len);

#endif
