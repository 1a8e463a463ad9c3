// SPDX-License-Identifier: Apache-2.0
// Sockets that keep message borders.
#include "os/packet.h"
#include "base/assert.h"
#include "os/file.h"
#include "os/os_int.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS_BYTES = VIV_PACKET_FDS_MAX * sizeof(int) };

// Ancillary data, aligned as its header must be.
union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(FDS_BYTES)];
};

int viv_os_packet_pair(int out_fds[2])
{
    int fds[2];
    int r;
    do
        r = viv_os__is_faulted("socketpair")
                ? -1
                : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds);
    while (viv_os__is_interrupted(r));
    if (r < 0) return -errno;
    out_fds[0] = fds[0];
    out_fds[1] = fds[1];
    return 0;
}

int viv_os_packet_send_parts(int fd, const struct viv_packet_parts *packet)
{
    VIV_ASSERT(packet->fd_count <= VIV_PACKET_FDS_MAX);
    union control control;
    struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)packet->parts, // read only
                             .msg_iovlen = packet->part_count};
    if (packet->fd_count > 0) {
        const size_t bytes = packet->fd_count * sizeof packet->fds[0];
        memset(&control, 0, sizeof control);
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(header), packet->fds, bytes);
    }
    ssize_t r;
    do
        r = viv_os__is_faulted("sendmsg") ? -1 : sendmsg(fd, &message, MSG_NOSIGNAL);
    while (viv_os__is_interrupted(r));
    return r < 0 ? -errno : 0;
}

int viv_os_packet_send(int fd, const struct viv_packet *packet)
{
    const struct iovec whole = {packet->data, packet->len};
    const struct viv_packet_parts parts = {&whole, 1, packet->fds, packet->fd_count};
    return viv_os_packet_send_parts(fd, &parts);
}

int viv_os_packet_widen(int fd, size_t size_bytes)
{
    // The system takes twice the number, for what messages cost beside their bytes.
    const int size = (int)size_bytes;
    return viv_os__settle_int(viv_os__is_faulted("setsockopt")
                                  ? -1
                                  : setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
}

// The descriptors of a message received, into packet.
static void take_fds(struct msghdr *message, struct viv_packet *packet)
{
    packet->fd_count = 0;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
         header = CMSG_NXTHDR(message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof packet->fds[0];
        VIV_ASSERT(packet->fd_count + count <= VIV_PACKET_FDS_MAX); // the room that was given
        memcpy(packet->fds + packet->fd_count, CMSG_DATA(header), count * sizeof packet->fds[0]);
        packet->fd_count += count;
    }
}

static ssize_t receive(int fd, struct msghdr *message)
{
    ssize_t r;
    do
        r = viv_os__is_faulted("recvmsg") ? -1 : recvmsg(fd, message, MSG_CMSG_CLOEXEC);
    while (viv_os__is_interrupted(r));
    return r;
}

ssize_t viv_os_packet_receive(int fd, struct viv_packet *packet)
{
    union control control;
    struct iovec iov = {packet->data, packet->len};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    ssize_t r = receive(fd, &message);
    // The other end has gone and had not read all: Linux says so once, ahead of what it had sent.
    if (r < 0 && errno == ECONNRESET) r = receive(fd, &message);
    if (r < 0) return -errno;
    take_fds(&message, packet);
    if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        for (size_t i = 0; i < packet->fd_count; i++)
            VIV_IGNORE(viv_os_close(packet->fds[i]), "nobody asked for it");
        packet->fd_count = 0;
        return -EMSGSIZE;
    }
    packet->len = (size_t)r;
    return r;
}

int viv_os_packet_end(int fd)
{
    const int r = viv_os__is_faulted("shutdown") ? -1 : shutdown(fd, SHUT_WR);
    return r < 0 ? -errno : 0;
}

int viv_os_sealed_file(const char *name, const void *data, size_t len)
{
    const int fd = viv_os__is_faulted("memfd_create")
                       ? -1
                       : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0) return -errno;
    ssize_t r = 1;
    for (size_t done = 0; done < len && r > 0; done += r > 0 ? (size_t)r : 0)
        r = viv_os_write(fd, (const uint8_t *)data + done, len - done);
    const int seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    if (r > 0)
        r = viv_os__is_faulted("fcntl") ? -errno : viv_os__settle(fcntl(fd, F_ADD_SEALS, seals));
    if (r >= 0) return fd;
    VIV_IGNORE(viv_os_close(fd), "it failed already");
    return (int)r;
}
