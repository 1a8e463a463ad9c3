// SPDX-License-Identifier: Apache-2.0
// Frames: lengths, checks, sending.
#include "native/holder/wire.h"
#include "base/assert.h"
#include "os/packet.h"
#include <string.h>

enum { SIGNO_MAX = 64 };

int viv_frame_length(uint16_t type)
{
    static const uint8_t orders[VIV_FRAME_ORDERS_END] = {
        [VIV_FRAME_PLAN] = sizeof(struct viv_frame_plan),
        [VIV_FRAME_SIGNAL] = sizeof(struct viv_frame_signal),
        [VIV_FRAME_DEADMAN] = sizeof(struct viv_frame_deadman),
    };
    static const uint8_t reports[VIV_FRAME_REPORTS_END - VIV_FRAME_INIT] = {
        [VIV_FRAME_FAILED - VIV_FRAME_INIT] = sizeof(struct viv_frame_failed),
        [VIV_FRAME_EXIT - VIV_FRAME_INIT] = sizeof(struct viv_frame_exit),
        [VIV_FRAME_GONE - VIV_FRAME_INIT] = sizeof(struct viv_frame_gone),
    };
    if (type >= VIV_FRAME_PLAN && type < VIV_FRAME_ORDERS_END) return orders[type];
    if (type >= VIV_FRAME_INIT && type < VIV_FRAME_REPORTS_END)
        return reports[type - VIV_FRAME_INIT];
    return -1;
}

const char *viv_holder_stage_name(uint32_t stage)
{
    static const char *const names[VIV_HOLDER_STAGES] = {
        [VIV_HOLDER_PROTOCOL_CHECK] = "protocol",
        [VIV_HOLDER_PLAN] = "plan",
        [VIV_HOLDER_USER] = "user",
        [VIV_HOLDER_NAMESPACES] = "namespaces",
        [VIV_HOLDER_MAPS] = "maps",
        [VIV_HOLDER_REAPER] = "reaper",
        [VIV_HOLDER_PRIVATE] = "private",
        [VIV_HOLDER_VIEW] = "view",
        [VIV_HOLDER_ROOT] = "root",
        [VIV_HOLDER_LOOPBACK] = "loopback",
        [VIV_HOLDER_HOST_NAME] = "hostname",
        [VIV_HOLDER_TERMINAL] = "terminal",
        [VIV_HOLDER_LANDLOCK] = "landlock",
        [VIV_HOLDER_SECCOMP] = "seccomp",
        [VIV_HOLDER_CAPS] = "caps",
        [VIV_HOLDER_LAUNCH] = "launch",
    };
    return stage < VIV_HOLDER_STAGES ? names[stage] : "unknown";
}

static bool is_in_range(const struct viv_frame *frame)
{
    switch (frame->head.type) {
    case VIV_FRAME_SIGNAL:
        return frame->body.signal.signo >= 1 && frame->body.signal.signo <= SIGNO_MAX &&
               frame->body.signal.target < VIV_TARGETS;
    case VIV_FRAME_FAILED:
        return frame->body.failed.stage < VIV_HOLDER_STAGES && frame->body.failed.err > 0;
    case VIV_FRAME_EXIT:
        return frame->body.exit.is_signaled <= 1 && frame->body.exit.has_core <= 1;
    case VIV_FRAME_GONE:
        return frame->body.gone.cause < VIV_GONE_CAUSES;
    default:
        return true;
    }
}

bool viv_frame_decode(const void *data, size_t len_bytes, struct viv_frame *out_frame)
{
    struct viv_frame frame;
    if (len_bytes < sizeof frame.head) return false;
    memset(&frame, 0, sizeof frame);
    memcpy(&frame.head, data, sizeof frame.head);
    const int length = viv_frame_length(frame.head.type);
    if (length < 0 || frame.head.flags != 0 || frame.head.length != (uint32_t)length) return false;
    if (len_bytes != sizeof frame.head + (size_t)length) return false;
    memcpy(&frame.body, (const uint8_t *)data + sizeof frame.head, (size_t)length);
    if (!is_in_range(&frame)) return false;
    *out_frame = frame;
    return true;
}

int viv_frame_send(int fd, uint16_t type, const void *body, const int *fds, size_t fd_count)
{
    uint8_t bytes[VIV_FRAME_BYTES_MAX];
    const int length = viv_frame_length(type);
    VIV_ASSERT(length >= 0 && fd_count <= VIV_PACKET_FDS_MAX);
    const struct viv_frame_head head = {.type = type, .length = (uint32_t)length};
    memcpy(bytes, &head, sizeof head);
    if (length > 0) memcpy(bytes + sizeof head, body, (size_t)length);
    struct viv_packet packet = {
        .data = bytes, .len = sizeof head + (size_t)length, .fd_count = fd_count};
    if (fd_count > 0) memcpy(packet.fds, fds, fd_count * sizeof *fds);
    return viv_os_packet_send(fd, &packet);
}
