// SPDX-License-Identifier: Apache-2.0
// A blocking client. Frames that come while an upload waits for room are kept for who asks next.
#include "ctl/client.h"

#include "os/file.h"
#include "os/local.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 128 << 10 };

struct viv_ctl_client {
    int fd;
    struct viv_peer peer;
    uint32_t last_request;
    size_t sent;       // of DATA, not taken
    struct viv_buf in; // from `at` on not understood yet
    size_t at;
    struct viv_buf out;
};

// ---- bytes ----

static enum viv_err flush(struct viv_ctl_client *client)
{
    size_t at = 0;
    while (at < client->out.len_bytes) {
        const ssize_t n =
            viv_os_local_send(client->fd, client->out.data + at, client->out.len_bytes - at);
        if (n < 0) return n == -EPIPE || n == -ECONNRESET ? VIV_E_CLOSED : VIV_E_IO;
        at += (size_t)n;
    }
    viv_buf_clear(&client->out);
    return VIV_OK;
}

static enum viv_err send_frame(struct viv_ctl_client *client, const struct viv_frame *frame)
{
    VIV_TRY(viv_frame_put(&client->out, frame));
    return flush(client);
}

static enum viv_err fill(struct viv_ctl_client *client, bool blocks)
{
    if (!blocks && viv_os_poll_fd(client->fd, POLLIN, 0) == 0) return VIV_E_AGAIN;
    if (client->at > 0) {
        memmove(client->in.data, client->in.data + client->at, client->in.len_bytes - client->at);
        client->in.len_bytes -= client->at;
        client->at = 0;
    }
    VIV_TRY(viv_buf_reserve(&client->in, READ_BYTES));
    const ssize_t n = viv_os_read(client->fd, client->in.data + client->in.len_bytes, READ_BYTES);
    if (n == 0 || n == -ECONNRESET) return VIV_E_CLOSED;
    if (n < 0) return VIV_E_IO;
    client->in.len_bytes += (size_t)n;
    return VIV_OK;
}

// ---- frames ----

static enum viv_err peek(struct viv_ctl_client *client, bool blocks, struct viv_frame *out_frame,
                         size_t *out_used)
{
    for (;;) {
        const enum viv_err err = viv_frame_take(
            client->in.data + client->at, client->in.len_bytes - client->at, out_frame, out_used);
        if (err != VIV_E_AGAIN) return err;
        VIV_TRY(fill(client, blocks));
    }
}

static enum viv_err next(struct viv_ctl_client *client, bool blocks, struct viv_frame *out_frame)
{
    size_t used;
    VIV_TRY(peek(client, blocks, out_frame, &used));
    client->at += used;
    if (out_frame->type == VIV_FRAME_TAKEN) {
        const uint8_t *at = out_frame->payload;
        const size_t taken =
            (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 | (size_t)at[3] << 24;
        client->sent -= (size_t)viv_min_u64(taken, client->sent);
    }
    return VIV_OK;
}

enum viv_err viv_ctl_client_next(struct viv_ctl_client *client, struct viv_frame *out_frame)
{
    return next(client, true, out_frame);
}

enum viv_err viv_ctl_client_try_next(struct viv_ctl_client *client, struct viv_frame *out_frame)
{
    return next(client, false, out_frame);
}

enum viv_err viv_ctl_client_error(const struct viv_frame *frame, struct viv_diag *diag)
{
    json_t *value;
    enum viv_err err = VIV_E_INTERNAL;
    if (diag != NULL) diag->text[0] = '\0';
    if (viv_json_parse(frame->payload, frame->len, &value) != VIV_OK) return err;
    const uint64_t code = viv_json_get_u64(value, "code", 0);
    const char *detail = viv_json_get_text(value, "detail");
    if (code > 0 && code < UINT16_MAX) err = (enum viv_err)code;
    if (detail != NULL) (void)viv_diag_set(diag, err, "%s", detail);
    json_decref(value);
    return err;
}

// ---- requests ----

enum viv_err viv_ctl_client_call(struct viv_ctl_client *client, const char *verb,
                                 VIV_OWN json_t *args, uint32_t *out_request)
{
    json_t *call = json_object();
    viv_json_put(&call, "verb", json_string(verb));
    if (args != NULL) viv_json_put(&call, "args", args);
    if (call == NULL) return VIV_E_EXHAUSTED;
    const uint32_t request = client->last_request + 1;
    enum viv_err err = viv_frame_put_json(&client->out, VIV_FRAME_CALL, request, call);
    json_decref(call);
    if (err == VIV_OK) err = flush(client);
    if (err != VIV_OK) return err;
    client->last_request = *out_request = request;
    return VIV_OK;
}

size_t viv_ctl_client_window(const struct viv_ctl_client *client)
{
    return VIV_CTL_WINDOW_BYTES - client->sent;
}

enum viv_err viv_ctl_client_send(struct viv_ctl_client *client, uint32_t request, const void *data,
                                 size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const uint32_t piece = (uint32_t)viv_min_u64(len, VIV_CTL_DATA_BYTES_MAX);
        client->sent += piece;
        VIV_TRY(send_frame(
            client, &(struct viv_frame){
                        .type = VIV_FRAME_DATA, .request = request, .payload = at, .len = piece}));
        at += piece;
        len -= piece;
    }
    return VIV_OK;
}

enum viv_err viv_ctl_client_end(struct viv_ctl_client *client, uint32_t request)
{
    return send_frame(client, &(struct viv_frame){.type = VIV_FRAME_END, .request = request});
}

enum viv_err viv_ctl_client_cancel(struct viv_ctl_client *client, uint32_t request)
{
    return send_frame(client, &(struct viv_frame){.type = VIV_FRAME_CANCEL, .request = request});
}

enum viv_err viv_ctl_client_upload(struct viv_ctl_client *client, uint32_t request,
                                   const void *data, size_t len)
{
    const uint8_t *at = data;
    while (len > 0) {
        const size_t piece = (size_t)viv_min_u64(len, viv_ctl_client_window(client));
        VIV_TRY(viv_ctl_client_send(client, request, at, piece));
        at += piece;
        len -= piece;
        while (len > 0 && viv_ctl_client_window(client) == 0) {
            struct viv_frame frame;
            size_t used;
            VIV_TRY(peek(client, true, &frame, &used));
            if (frame.type != VIV_FRAME_TAKEN) return VIV_OK; // it ends: the rest is not wanted
            VIV_TRY(next(client, true, &frame));
        }
    }
    return viv_ctl_client_end(client, request);
}

enum viv_err viv_ctl_client_answer(struct viv_ctl_client *client, uint32_t request,
                                   json_t **out_value, struct viv_diag *diag)
{
    struct viv_frame frame;
    for (;;) {
        VIV_TRY(viv_ctl_client_next(client, &frame));
        if (frame.type == VIV_FRAME_ERROR && (frame.request == request || frame.request == 0))
            return viv_ctl_client_error(&frame, diag);
        if (frame.type == VIV_FRAME_RESULT && frame.request == request)
            return viv_json_parse(frame.payload, frame.len, out_value);
    }
}

enum viv_err viv_ctl_client_ask(struct viv_ctl_client *client, const char *verb,
                                VIV_OWN json_t *args, json_t **out_value, struct viv_diag *diag)
{
    uint32_t request;
    if (diag != NULL) diag->text[0] = '\0';
    VIV_TRY(viv_ctl_client_call(client, verb, args, &request));
    return viv_ctl_client_answer(client, request, out_value, diag);
}

// ---- connecting ----

static enum viv_err greet(struct viv_ctl_client *client, struct viv_diag *diag)
{
    struct viv_frame frame;
    json_t *hello = json_object();
    viv_json_put(&hello, "min", json_integer(VIV_CTL_PROTOCOL));
    viv_json_put(&hello, "max", json_integer(VIV_CTL_PROTOCOL));
    if (hello == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = viv_frame_put_json(&client->out, VIV_FRAME_HELLO, 0, hello);
    json_decref(hello);
    if (err == VIV_OK) err = flush(client);
    if (err == VIV_OK) err = viv_ctl_client_next(client, &frame);
    if (err != VIV_OK) return err;
    if (frame.type == VIV_FRAME_HELLO) return VIV_OK;
    if (frame.type != VIV_FRAME_ERROR) return VIV_E_INVAL;
    err = viv_ctl_client_error(&frame, NULL);
    if (err == VIV_E_UNSUPPORTED)
        (void)viv_diag_set(diag, err,
                           "the daemon speaks another protocol (viv daemon --stop ends it, with "
                           "its programs)");
    return err;
}

static enum viv_err check_peer(struct viv_ctl_client *client, const char *path,
                               struct viv_diag *diag)
{
    if (viv_os_local_peer(client->fd, &client->peer) < 0) return VIV_E_IO;
    if (client->peer.uid == geteuid() || client->peer.uid == 0) return VIV_OK;
    return viv_diag_set(diag, VIV_E_PERM, "%.300s is another user's", path);
}

enum viv_err viv_ctl_client_open(const char *path, struct viv_ctl_client **out_client,
                                 struct viv_diag *diag)
{
    if (diag != NULL) diag->text[0] = '\0';
    const int fd = viv_os_local_connect(path);
    if (fd == -ENOENT || fd == -ECONNREFUSED || fd == -ENOTDIR) return VIV_E_NOTFOUND;
    if (fd < 0)
        return viv_diag_set(diag, fd == -EACCES || fd == -EPERM ? VIV_E_PERM : VIV_E_IO,
                            "%.300s: %s", path, strerror(-fd));
    struct viv_ctl_client *client = viv_try_calloc(1, sizeof *client, VIV_TAG_CTL);
    if (client == NULL) {
        VIV_IGNORE(viv_os_close(fd), "a socket");
        return VIV_E_EXHAUSTED;
    }
    client->fd = fd;
    viv_buf_init(&client->in, VIV_TAG_CTL);
    viv_buf_init(&client->out, VIV_TAG_CTL);
    enum viv_err err = check_peer(client, path, diag);
    if (err == VIV_OK) err = greet(client, diag);
    if (err == VIV_OK)
        *out_client = client;
    else
        viv_ctl_client_close(client);
    return err;
}

void viv_ctl_client_close(struct viv_ctl_client *client)
{
    VIV_IGNORE(viv_os_close(client->fd), "a socket");
    viv_buf_deinit(&client->in);
    viv_buf_deinit(&client->out);
    viv_free(client, sizeof *client, VIV_TAG_CTL);
}

int viv_ctl_client_fd(const struct viv_ctl_client *client)
{
    return client->fd;
}

int viv_ctl_client_peer(const struct viv_ctl_client *client)
{
    return client->peer.pid;
}
