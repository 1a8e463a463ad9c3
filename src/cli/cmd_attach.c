// SPDX-License-Identifier: Apache-2.0
// `viv attach`: a running program's output from now on, and with --stdin our input for it. Three
// requests on one connection: its end, its output, its input. Leaving ends nothing.
#include "cli/ctl.h"

#include "os/file.h"
#include "os/pty.h"
#include "os/signal.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { INPUT_BYTES = 32 << 10, KEYS_MAX = 8, FD_COUNT = 3 };
enum { FD_SOCKET, FD_SIGNAL, FD_INPUT };

struct attach {
    const char *ref, *keys_text;
    bool wants_input, json;
    struct viv_ctl_client *client;
    uint32_t wait, logs, input; // requests
    bool has_terminal;          // the program
    bool is_raw;                // our terminal is
    struct viv_tty_state tty;
    uint8_t keys[KEYS_MAX];
    size_t key_count, keys_seen;
    bool input_is_open, has_status, is_eof, has_left;
    int status, signal;
};

// "ctrl-]", or "ctrl-p,ctrl-q".
static bool parse_keys(struct attach *attach)
{
    const char *at = attach->keys_text;
    for (;;) {
        if (attach->key_count == KEYS_MAX) return false;
        if (strncmp(at, "ctrl-", 5) == 0 && at[5] >= '@' && at[5] <= 0x7E)
            attach->keys[attach->key_count++] = (uint8_t)at[5] & 0x1F, at += 6;
        else if (at[0] > ' ' && at[0] < 0x7F && at[0] != ',')
            attach->keys[attach->key_count++] = (uint8_t)*at++;
        else
            return false;
        if (*at == '\0') return true;
        if (*at++ != ',') return false;
    }
}

// ---- from the daemon ----

static bool take_result(struct attach *attach, const struct viv_frame *frame)
{
    json_t *value;
    if (frame->request == attach->logs) attach->is_eof = true;
    if (frame->request != attach->wait) return true;
    if (viv_json_parse(frame->payload, frame->len, &value) != VIV_OK) return false;
    attach->has_status = true;
    attach->status = (int)viv_json_get_u64(value, "status", VIV_STATUS_FAILED);
    const bool is_good = !attach->json || viv_cli_print_json(value);
    json_decref(value);
    return is_good;
}

static bool write_all(int fd, const uint8_t *data, size_t len)
{
    while (len > 0) {
        const ssize_t n = viv_os_write(fd, data, len);
        if (n < 0) return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

// A size that could not be set is no reason to leave.
static bool is_vital(const struct attach *attach, uint32_t request)
{
    return request == 0 || request == attach->wait || request == attach->logs;
}

// What was evicted before it could be sent is not passed over.
static void take_event(const struct viv_frame *frame)
{
    json_t *event;
    if (viv_json_parse(frame->payload, frame->len, &event) != VIV_OK) return;
    const json_t *gap = json_object_get(event, "gap");
    if (gap != NULL) viv_cli_tell_gap("attach", gap);
    json_decref(event);
}

// Errors: of the connection, or of what was asked for.
static enum viv_err take_frames(struct attach *attach, struct viv_diag *diag)
{
    struct viv_frame frame;
    for (;;) {
        const enum viv_err err = viv_ctl_client_try_next(attach->client, &frame);
        if (err == VIV_E_AGAIN) return VIV_OK;
        if (err != VIV_OK) return err;
        if (frame.type == VIV_FRAME_DATA) {
            const int fd = frame.stream == 2 ? STDERR_FILENO : STDOUT_FILENO;
            if (!write_all(fd, frame.payload, frame.len)) return VIV_E_IO;
        } else if (frame.type == VIV_FRAME_EVENT) {
            take_event(&frame);
        } else if (frame.type == VIV_FRAME_ERROR && frame.request == attach->input) {
            attach->input_is_open = false; // it takes no input any more
        } else if (frame.type == VIV_FRAME_ERROR && is_vital(attach, frame.request)) {
            return viv_ctl_client_error(&frame, diag);
        } else if (frame.type == VIV_FRAME_RESULT && !take_result(attach, &frame)) {
            return VIV_E_IO;
        }
    }
}

// ---- to it ----

// How much of the input is before the detach keys; has_left once they were all typed.
static size_t before_keys(struct attach *attach, const uint8_t *data, size_t len)
{
    if (!attach->is_raw) return len;
    for (size_t i = 0; i < len; i++) {
        attach->keys_seen = data[i] == attach->keys[attach->keys_seen] ? attach->keys_seen + 1
                                                                       : data[i] == attach->keys[0];
        if (attach->keys_seen < attach->key_count) continue;
        attach->has_left = true;
        return i + 1 - viv_min_u64(i + 1, attach->key_count);
    }
    return len;
}

static enum viv_err relay_input(struct attach *attach)
{
    uint8_t data[INPUT_BYTES];
    const size_t max = (size_t)viv_min_u64(sizeof data, viv_ctl_client_window(attach->client));
    const ssize_t n = viv_os_read(STDIN_FILENO, data, max);
    if (n == -EAGAIN) return VIV_OK;
    if (n <= 0) {
        attach->input_is_open = false;
        return viv_ctl_client_end(attach->client, attach->input);
    }
    const size_t len = before_keys(attach, data, (size_t)n);
    return viv_ctl_client_send(attach->client, attach->input, data, len);
}

static enum viv_err send_size(struct attach *attach)
{
    uint16_t rows, columns;
    uint32_t request;
    if (!attach->has_terminal || viv_os_pty_size(STDIN_FILENO, &rows, &columns) < 0) return VIV_OK;
    if (rows == 0 || columns == 0) return VIV_OK; // our terminal does not know
    json_t *args = viv_cli_ref_args(attach->ref);
    viv_json_put(&args, "rows", json_integer(rows));
    viv_json_put(&args, "columns", json_integer(columns));
    return viv_ctl_client_call(attach->client, "resize", args, &request);
}

static enum viv_err take_signal(struct attach *attach, int signal_fd)
{
    const int number = viv_os_signal_take(signal_fd);
    if (number == SIGWINCH) return send_size(attach);
    if (number != 0) {
        attach->signal = number;
        attach->has_left = true;
    }
    return VIV_OK;
}

static enum viv_err loop(struct attach *attach, int signal_fd, struct viv_diag *diag)
{
    while (!attach->has_left && !(attach->has_status && attach->is_eof)) {
        struct pollfd fds[FD_COUNT] = {
            [FD_SOCKET] = {.fd = viv_ctl_client_fd(attach->client), .events = POLLIN},
            [FD_SIGNAL] = {.fd = signal_fd, .events = POLLIN},
            [FD_INPUT] = {.fd = STDIN_FILENO, .events = POLLIN}};
        const bool may_send = attach->input_is_open && viv_ctl_client_window(attach->client) > 0;
        if (viv_os_poll_fds(fds, may_send ? FD_COUNT : FD_COUNT - 1, -1) < 0) return VIV_E_IO;
        if (fds[FD_SIGNAL].revents != 0) VIV_TRY(take_signal(attach, signal_fd));
        if (fds[FD_SOCKET].revents != 0) VIV_TRY(take_frames(attach, diag));
        if (may_send && fds[FD_INPUT].revents != 0) VIV_TRY(relay_input(attach));
    }
    return VIV_OK;
}

// ---- the command ----

static enum viv_err begin(struct attach *attach, struct viv_diag *diag)
{
    json_t *info;
    VIV_TRY(viv_ctl_client_ask(attach->client, "info", viv_cli_ref_args(attach->ref), &info, diag));
    attach->has_terminal = viv_json_get_bool(info, "terminal");
    json_decref(info);
    json_t *args = viv_cli_ref_args(attach->ref);
    viv_json_put(&args, "follow", json_true());
    viv_json_put(&args, "tail", json_integer(0));
    VIV_TRY(viv_ctl_client_call(attach->client, "logs", args, &attach->logs));
    VIV_TRY(
        viv_ctl_client_call(attach->client, "wait", viv_cli_ref_args(attach->ref), &attach->wait));
    VIV_TRY(send_size(attach));
    if (!attach->wants_input) return VIV_OK;
    args = viv_cli_ref_args(attach->ref);
    viv_json_put(&args, "close", json_true());
    VIV_TRY(viv_ctl_client_call(attach->client, "input", args, &attach->input));
    attach->input_is_open = true;
    if (attach->has_terminal && viv_os_tty_save(STDIN_FILENO, &attach->tty) >= 0)
        attach->is_raw = viv_os_pty_make_raw(STDIN_FILENO) >= 0;
    return VIV_OK;
}

static int finish(const struct attach *attach, enum viv_err err, const struct viv_diag *diag)
{
    if (err != VIV_OK) return viv_cli_failed("attach", attach->ref, err, diag);
    if (attach->signal != 0) return 128 + attach->signal;
    if (!attach->has_left) return attach->status;
    (void)fprintf(stderr, "viv: left " VIV_SHOWN "; it goes on\n", attach->ref);
    return VIV_STATUS_OK;
}

int viv_cli_attach(int count, char **args)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH};
    struct attach attach = {.keys_text = "ctrl-]"};
    struct viv_diag diag = {""};
    int status;
    const struct viv_cli_option table[] = {{"stdin", 'i', VIV_CLI_FLAG, &attach.wants_input},
                                           {"detach-keys", 0, VIV_CLI_TEXT, &attach.keys_text},
                                           {"json", 0, VIV_CLI_FLAG, &attach.json}};
    const struct viv_cli_command command = {"attach", table, VIV_COUNT_OF(table), 1, 1, "one REF"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if (!parse_keys(&attach))
        return viv_cli_error(VIV_STATUS_USAGE,
                             "attach: --detach-keys " VIV_SHOWN ": want keys such as ctrl-p,ctrl-q",
                             attach.keys_text);
    attach.ref = args[0];
    attach.client = viv_cli_connect("attach", false, &status);
    if (attach.client == NULL) return status;
    const int signal_fd = viv_os_signal_fd(numbers, VIV_COUNT_OF(numbers));
    enum viv_err err = signal_fd < 0 ? VIV_E_EXHAUSTED : begin(&attach, &diag);
    if (err == VIV_OK) err = loop(&attach, signal_fd, &diag);
    if (attach.is_raw)
        VIV_IGNORE(viv_os_tty_restore(STDIN_FILENO, &attach.tty), "the terminal is gone");
    if (signal_fd >= 0) VIV_IGNORE(viv_os_close(signal_fd), "of signals");
    viv_ctl_client_close(attach.client);
    return finish(&attach, err, &diag);
}
