// SPDX-License-Identifier: Apache-2.0
// `viv logs`: what a program has printed, and with -f what it prints. Bytes pass as they are,
// unless they are shown on a terminal, cut to the last lines, or told their times: then by lines.
#include "cli/ctl.h"

#include "base/text.h"
#include "native/label.h"
#include "os/clock.h"
#include "os/file.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 64 << 10, TAIL_MAX = 1 << 20 };

struct logs {
    const char *ref, *stream;
    bool follow, times, raw, json;
    uint64_t tail, since_ns; // UINT64_MAX: not given
    bool by_lines, escapes;
    bool holds;              // lines are kept until what was there has come
    bool has_caught_up;      // it has
    char **kept;             // the last `tail` lines, a ring
    size_t *kept_len;        // bytes of each
    uint64_t kept_count;     // ever
    struct viv_buf lines[2]; // unfinished, of each stream
    bool is_mid_line[2];     // a part of the line has been printed
    char time[40];           // of the bytes to come
};

static bool print(const void *data, size_t len)
{
    return len == 0 || fwrite(data, 1, len, stdout) == len;
}

// ---- lines ----

static bool print_json_line(const struct logs *logs, uint32_t stream, const uint8_t *data,
                            size_t len)
{
    struct viv_buf text;
    json_t *value = json_object();
    viv_buf_init(&text, VIV_TAG_CLI);
    viv_json_put(&value, "stream", json_string(stream == 1 ? "out" : "err"));
    if (logs->time[0] != '\0') viv_json_put(&value, "time", json_string(logs->time));
    const bool is_text = viv_utf8_is_valid(data, len);
    if (!is_text && viv_label_escape(&text, data, len) != VIV_OK) viv_buf_clear(&text);
    viv_json_put(&value, "line",
                 is_text ? json_stringn((const char *)data, len)
                         : json_stringn((const char *)text.data, text.len_bytes));
    const bool is_good = value != NULL && viv_cli_print_json(value);
    json_decref(value);
    viv_buf_deinit(&text);
    return is_good;
}

// Tabs stay; what steers a terminal does not.
static bool print_escaped(const uint8_t *data, size_t len)
{
    struct viv_buf text;
    bool is_good = true;
    viv_buf_init(&text, VIV_TAG_CLI);
    while (len > 0 && is_good) {
        const uint8_t *tab = memchr(data, '\t', len);
        const size_t piece = tab != NULL ? (size_t)(tab - data) : len;
        viv_buf_clear(&text);
        is_good = viv_label_escape(&text, data, piece) == VIV_OK &&
                  print(text.data, text.len_bytes) && (tab == NULL || print("\t", 1));
        data += piece + (tab != NULL);
        len -= piece + (tab != NULL);
    }
    viv_buf_deinit(&text);
    return is_good;
}

static bool print_line(struct logs *logs, uint32_t stream, const uint8_t *data, size_t len,
                       bool is_whole)
{
    bool *is_mid = &logs->is_mid_line[stream - 1];
    if (logs->json) return print_json_line(logs, stream, data, len);
    bool is_good = true;
    if (logs->times && !*is_mid)
        is_good = printf("%s ", logs->time[0] != '\0' ? logs->time : "-") > 0;
    *is_mid = !is_whole;
    is_good = is_good && (logs->escapes ? print_escaped(data, len) : print(data, len));
    return is_good && (!is_whole || print("\n", 1));
}

// While lines are held, a line is printed into memory and the oldest is let go.
static bool keep_line(struct logs *logs, uint32_t stream, const uint8_t *data, size_t len,
                      bool is_whole)
{
    const size_t room = len + sizeof logs->time + 4;
    if (logs->tail == 0) return true;
    char *line = viv_try_alloc(room, VIV_TAG_CLI);
    if (line == NULL) return false;
    const size_t at = (size_t)(logs->kept_count++ % logs->tail);
    if (logs->kept[at] != NULL) viv_free(logs->kept[at], logs->kept_len[at], VIV_TAG_CLI);
    line[0] = (char)stream;
    line[1] = is_whole ? 1 : 0;
    memcpy(line + 2, logs->time, sizeof logs->time);
    if (len > 0) memcpy(line + 2 + sizeof logs->time, data, len);
    logs->kept[at] = line;
    logs->kept_len[at] = room;
    return true;
}

static bool release_lines(struct logs *logs)
{
    bool is_good = true;
    if (!logs->holds) return true;
    logs->holds = false;
    const uint64_t count = viv_min_u64(logs->kept_count, logs->tail);
    for (uint64_t i = logs->kept_count - count; i < logs->kept_count; i++) {
        const size_t at = (size_t)(i % logs->tail);
        char *line = logs->kept[at];
        const size_t len = logs->kept_len[at] - sizeof logs->time - 4;
        char now[sizeof logs->time];
        memcpy(now, logs->time, sizeof now);
        memcpy(logs->time, line + 2, sizeof now);
        is_good =
            is_good && print_line(logs, (uint32_t)line[0],
                                  (const uint8_t *)line + 2 + sizeof logs->time, len, line[1] == 1);
        memcpy(logs->time, now, sizeof now);
        viv_free(line, logs->kept_len[at], VIV_TAG_CLI);
        logs->kept[at] = NULL;
    }
    return is_good && fflush(stdout) == 0;
}

static bool put_line(struct logs *logs, uint32_t stream, const uint8_t *data, size_t len,
                     bool is_whole)
{
    return logs->holds ? keep_line(logs, stream, data, len, is_whole)
                       : print_line(logs, stream, data, len, is_whole);
}

static bool flush_partial(struct logs *logs)
{
    bool is_good = true;
    for (uint32_t i = 0; i < 2; i++) {
        struct viv_buf *line = &logs->lines[i];
        if (line->len_bytes > 0)
            is_good = is_good && put_line(logs, i + 1, line->data, line->len_bytes, false);
        viv_buf_clear(line);
    }
    return is_good;
}

static bool take_lines(struct logs *logs, uint32_t stream, const uint8_t *data, size_t len)
{
    struct viv_buf *line = &logs->lines[stream - 1];
    while (len > 0) {
        const uint8_t *newline = memchr(data, '\n', len);
        const size_t piece = newline != NULL ? (size_t)(newline - data) : len;
        if (viv_buf_append(line, data, piece) != VIV_OK) return false;
        const bool is_whole = newline != NULL;
        if (is_whole || line->len_bytes > LINE_BYTES_MAX) {
            if (!put_line(logs, stream, line->data, line->len_bytes, is_whole)) return false;
            viv_buf_clear(line);
        }
        data += piece + is_whole;
        len -= piece + is_whole;
    }
    return true;
}

// ---- frames ----

static void set_time(struct logs *logs, const json_t *value)
{
    logs->time[0] = '\0';
    if (!json_is_integer(value)) return;
    const long long ms = json_integer_value(value);
    const time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char text[32];
    if (gmtime_r(&seconds, &tm) == NULL) return;
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(logs->time, sizeof logs->time, "%.24s.%03dZ", text, (int)(ms % 1000));
}

static bool take_event(struct logs *logs, const struct viv_frame *frame)
{
    json_t *event;
    bool is_good = true;
    if (viv_json_parse(frame->payload, frame->len, &event) != VIV_OK) return true;
    const json_t *gap = json_object_get(event, "gap");
    const json_t *time = json_object_get(event, "time_ms");
    const bool is_asked_for = logs->has_caught_up || logs->tail == UINT64_MAX; // else before -n
    if (gap != NULL && !logs->holds && is_asked_for) viv_cli_tell_gap("logs", gap);
    if (time != NULL) set_time(logs, time);
    if (viv_json_get_bool(event, "caught_up")) {
        logs->has_caught_up = true;
        is_good = flush_partial(logs) && release_lines(logs);
    }
    json_decref(event);
    return is_good;
}

// The exit status.
static int relay(struct logs *logs, struct viv_ctl_client *client)
{
    struct viv_frame frame;
    struct viv_diag diag = {""};
    for (;;) {
        enum viv_err err = viv_ctl_client_try_next(client, &frame);
        if (err == VIV_E_AGAIN) { // nothing more for now: what there is, is shown
            if ((!logs->holds && !flush_partial(logs)) || fflush(stdout) != 0) break;
            err = viv_ctl_client_next(client, &frame);
        }
        if (err == VIV_OK && frame.type == VIV_FRAME_ERROR)
            err = viv_ctl_client_error(&frame, &diag);
        if (err != VIV_OK) {
            (void)fflush(stdout);
            return viv_cli_failed("logs", logs->ref, err, &diag);
        }
        bool is_good = true;
        if (frame.type == VIV_FRAME_DATA)
            is_good = logs->by_lines ? take_lines(logs, frame.stream, frame.payload, frame.len)
                                     : print(frame.payload, frame.len);
        else if (frame.type == VIV_FRAME_EVENT)
            is_good = take_event(logs, &frame);
        if (frame.type == VIV_FRAME_RESULT) {
            if (!flush_partial(logs) || !release_lines(logs) || fflush(stdout) != 0) break;
            return VIV_STATUS_OK;
        }
        if (!is_good) break;
    }
    return viv_cli_error(VIV_STATUS_FAILED, "logs: cannot write to standard output");
}

static json_t *make_args(const struct logs *logs)
{
    json_t *args = viv_cli_ref_args(logs->ref);
    viv_json_put(&args, "stream", json_string(logs->stream));
    viv_json_put(&args, "follow", json_boolean(logs->follow));
    viv_json_put(&args, "times", json_boolean(logs->times || logs->json));
    if (logs->tail != UINT64_MAX) viv_json_put(&args, "tail", viv_json_u64(logs->tail));
    if (logs->since_ns != UINT64_MAX) {
        const uint64_t now_ns = viv_os_wall_ns();
        const uint64_t at_ns = now_ns - viv_min_u64(now_ns, logs->since_ns);
        viv_json_put(&args, "since_ms", viv_json_u64(at_ns / VIV_NS_PER_MS));
    }
    return args;
}

static int run(struct logs *logs)
{
    int status;
    uint32_t request;
    struct viv_ctl_client *client = viv_cli_connect("logs", false, &status);
    if (client == NULL) return status;
    const enum viv_err err = viv_ctl_client_call(client, "logs", make_args(logs), &request);
    status = err == VIV_OK ? relay(logs, client)
                           : viv_cli_failed("logs", logs->ref, err, &(struct viv_diag){""});
    viv_ctl_client_close(client);
    return status;
}

static int run_with_room(struct logs *logs)
{
    const size_t count = logs->holds ? (size_t)viv_max_u64(logs->tail, 1) : 0;
    int status = VIV_STATUS_FAILED;
    if (count > 0) {
        logs->kept = viv_try_calloc(count, sizeof *logs->kept, VIV_TAG_CLI);
        logs->kept_len = viv_try_calloc(count, sizeof *logs->kept_len, VIV_TAG_CLI);
    }
    viv_buf_init(&logs->lines[0], VIV_TAG_CLI);
    viv_buf_init(&logs->lines[1], VIV_TAG_CLI);
    if (count > 0 && (logs->kept == NULL || logs->kept_len == NULL))
        status = viv_cli_error(VIV_STATUS_FAILED, "logs: %s", viv_err_text(VIV_E_EXHAUSTED));
    else
        status = run(logs);
    for (size_t i = 0; logs->kept != NULL && logs->kept_len != NULL && i < count; i++)
        viv_free(logs->kept[i], logs->kept[i] != NULL ? logs->kept_len[i] : 0, VIV_TAG_CLI);
    viv_free(logs->kept, count * sizeof *logs->kept, VIV_TAG_CLI);
    viv_free(logs->kept_len, count * sizeof *logs->kept_len, VIV_TAG_CLI);
    viv_buf_deinit(&logs->lines[0]);
    viv_buf_deinit(&logs->lines[1]);
    return status;
}

int viv_cli_logs(int count, char **args)
{
    struct logs logs = {.stream = "both", .tail = UINT64_MAX, .since_ns = UINT64_MAX};
    const struct viv_cli_option table[] = {
        {"follow", 'f', VIV_CLI_FLAG, &logs.follow},    {"lines", 'n', VIV_CLI_COUNT, &logs.tail},
        {"since", 0, VIV_CLI_DURATION, &logs.since_ns}, {"stream", 0, VIV_CLI_TEXT, &logs.stream},
        {"times", 0, VIV_CLI_FLAG, &logs.times},        {"raw", 0, VIV_CLI_FLAG, &logs.raw},
        {"json", 0, VIV_CLI_FLAG, &logs.json}};
    const struct viv_cli_command command = {"logs", table, VIV_COUNT_OF(table), 1, 1, "one REF"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if (strcmp(logs.stream, "out") != 0 && strcmp(logs.stream, "err") != 0 &&
        strcmp(logs.stream, "both") != 0)
        return viv_cli_error(VIV_STATUS_USAGE,
                             "logs: --stream " VIV_SHOWN ": want out, err or both", logs.stream);
    if (logs.tail != UINT64_MAX && logs.tail > TAIL_MAX)
        return viv_cli_error(VIV_STATUS_USAGE, "logs: -n: at most %d lines", (int)TAIL_MAX);
    logs.ref = args[0];
    logs.escapes = !logs.raw && viv_os_isatty(STDOUT_FILENO);
    logs.holds = logs.tail != UINT64_MAX;
    logs.by_lines = logs.escapes || logs.times || logs.json || logs.holds;
    return run_with_room(&logs);
}
