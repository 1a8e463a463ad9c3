// SPDX-License-Identifier: Apache-2.0
// The verb `logs`: {ref, stream: out|err|both, follow, tail, since_ms, times}. DATA frames of both
// streams in the order of arrival; events {gap: {stream, evicted, drained}}, {time_ms} before the
// data of another time, {caught_up: true} once what was there at the beginning has been sent. It
// takes nothing away from the program, and a client that is slow only loses what is evicted.
#include "ctl/programs_int.h"

#include <string.h>

enum { CHUNK_BYTES = 32 << 10, PIECES = 64 };

static const struct {
    const char *name;
    uint32_t stream;
} streams[] = {{"both", VIV_LOG_MERGED}, {"out", VIV_LOG_STDOUT}, {"err", VIV_LOG_STDERR}};

static bool read_args(struct viv_ctl_req *req, struct viv_ctl_logs *logs)
{
    const json_t *args = viv_ctl_args(req);
    const char *name = viv_json_get_text(args, "stream");
    logs->stream = name == NULL ? VIV_LOG_MERGED : 0;
    for (size_t i = 0; name != NULL && i < VIV_COUNT_OF(streams); i++)
        if (strcmp(streams[i].name, name) == 0) logs->stream = streams[i].stream;
    logs->follows = viv_json_get_bool(args, "follow");
    logs->with_times = viv_json_get_bool(args, "times");
    if (logs->stream == 0) viv_ctl_fail(req, VIV_E_INVAL, "stream");
    return logs->stream != 0;
}

// Where it begins, and how much there is now.
static enum viv_err place(struct viv_ctl_req *req, struct viv_ctl_logs *logs)
{
    struct viv_native_status status;
    const struct viv_native_ctx *ctx = &logs->wait.call.ctx;
    const uint64_t tail = viv_json_get_u64(viv_ctl_args(req), "tail", UINT64_MAX);
    const uint64_t since_ms = viv_json_get_u64(viv_ctl_args(req), "since_ms", UINT64_MAX);
    VIV_TRY(viv_native_status(ctx, &logs->wait.ref, &status));
    logs->left = status.buffered[0] + status.buffered[1];
    logs->wall_offset_ns = status.wall_offset_ns;
    logs->has_cursor = tail != UINT64_MAX || since_ms != UINT64_MAX;
    if (since_ms != UINT64_MAX)
        return viv_native_since(ctx, &logs->wait.ref, VIV_LOG_MERGED,
                                viv_min_u64(since_ms, UINT64_MAX / VIV_NS_PER_MS) * VIV_NS_PER_MS,
                                &logs->cursor);
    if (tail != UINT64_MAX)
        return viv_native_tail(ctx, &logs->wait.ref, VIV_LOG_MERGED, tail, &logs->cursor);
    return VIV_OK;
}

static void send_gap(struct viv_ctl_req *req, const struct viv_log_gap *gap, uint32_t stream)
{
    json_t *value = json_object(), *inner = json_object();
    viv_json_put(&inner, "stream", json_string(stream == VIV_LOG_STDOUT ? "out" : "err"));
    viv_json_put(&inner, "evicted", viv_json_u64(gap->evicted));
    viv_json_put(&inner, "drained", viv_json_u64(gap->drained));
    viv_json_put(&value, "gap", inner);
    viv_ctl_send_event(req, value);
}

static void send_time(struct viv_ctl_req *req, struct viv_ctl_logs *logs, uint64_t time_ns)
{
    if (!logs->with_times || time_ns == logs->told_ns) return;
    json_t *value = json_object();
    logs->told_ns = time_ns;
    viv_json_put(&value, "time_ms",
                 time_ns == 0 ? json_null()
                              : viv_json_u64((time_ns + logs->wall_offset_ns) / VIV_NS_PER_MS));
    viv_ctl_send_event(req, value);
}

static void send_all(struct viv_ctl_req *req, struct viv_ctl_logs *logs,
                     const struct viv_log_merged *merged, const uint8_t *data,
                     const struct viv_log_piece *pieces)
{
    for (uint32_t i = 0; i < 2; i++) {
        const struct viv_log_gap *gap = &merged->gaps[i];
        if (gap->evicted + gap->drained > 0 && (logs->stream & (i + 1)) != 0)
            send_gap(req, gap, i + 1);
    }
    for (uint32_t i = 0; i < merged->count; i++) {
        if ((logs->stream & pieces[i].stream) == 0) continue;
        send_time(req, logs, pieces[i].time_ns);
        viv_ctl_send_data(req, pieces[i].stream, data + pieces[i].at, pieces[i].len);
    }
    logs->left -= viv_min_u64(logs->left, merged->len);
}

static void finish(struct viv_ctl_req *req, bool is_eof)
{
    json_t *value = json_object();
    viv_json_put(&value, "eof", json_boolean(is_eof));
    viv_ctl_finish(req, value);
}

static void catch_up(struct viv_ctl_req *req, struct viv_ctl_logs *logs)
{
    json_t *value = json_object();
    logs->has_caught_up = true;
    viv_json_put(&value, "caught_up", json_true());
    viv_ctl_send_event(req, value);
}

// One read. True: there may be more at once.
static bool read_once(struct viv_ctl_req *req, struct viv_ctl_logs *logs)
{
    uint8_t data[CHUNK_BYTES];
    struct viv_log_piece pieces[PIECES];
    struct viv_log_merged merged;
    const struct viv_native_read read = {
        .stream = VIV_LOG_MERGED,
        .cursor = logs->has_cursor ? &logs->cursor : NULL,
        .buf = data,
        .max = sizeof data,
        .wait_ns = logs->follows && logs->has_caught_up ? VIV_FOREVER_NS : 0};
    const enum viv_err err =
        viv_native_read_merged(&logs->wait.call, &logs->wait.ref, &read,
                               &(struct viv_log_pieces){pieces, PIECES}, &merged);
    if (err == VIV_E_AGAIN) return false;
    if (err != VIV_OK) { // released meanwhile, with what was left of it
        if (err == VIV_E_NOTFOUND && logs->has_cursor)
            finish(req, true);
        else
            viv_ctl_fail(req, err, NULL);
        return false;
    }
    logs->cursor = merged.next;
    logs->has_cursor = true;
    send_all(req, logs, &merged, data, pieces);
    if (!logs->has_caught_up && (logs->left == 0 || merged.len == 0)) catch_up(req, logs);
    if (merged.is_eof || (logs->has_caught_up && !logs->follows)) {
        finish(req, merged.is_eof);
        return false;
    }
    return true;
}

bool viv_ctl__logs(struct viv_ctl_req *req, void *state)
{
    struct viv_ctl_logs *logs = state;
    if (!logs->wait.has_begun) {
        if (!viv_ctl__begin(req, &logs->wait) || !read_args(req, logs)) return false;
        const enum viv_err err = place(req, logs);
        if (err != VIV_OK) {
            viv_ctl_fail(req, err, NULL);
            return false;
        }
    }
    // A read a slice: the stack is a worker's, and others want their turn.
    return viv_ctl_has_room(req) && read_once(req, logs);
}
