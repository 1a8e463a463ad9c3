// SPDX-License-Identifier: Apache-2.0
// `viv signal`, `stop`, `kill`, `release` and `wait`: one request a program, all at once.
#include "cli/ctl.h"

#include "base/alloc.h"
#include "cli/exec_options.h"
#include <stdio.h>
#include <string.h>

struct ask {
    const char *verb;
    json_t *args; // of each, without its ref; borrowed
    bool json;
    bool wants_status; // the exit status is that of the last program
};

static json_t *args_of(const struct ask *ask, const char *ref)
{
    json_t *args = viv_cli_ref_args(ref);
    if (args != NULL && ask->args != NULL) (void)json_object_update(args, ask->args);
    return args;
}

// Why it ended, when that was not its own doing.
static void tell_why(const char *ref, const json_t *exit)
{
    const char *cause = viv_json_get_text(exit, "cause");
    const char *reason = viv_json_get_text(exit, "reason");
    if (cause == NULL || reason == NULL || strcmp(cause, "self") == 0 ||
        strcmp(cause, "stop") == 0 || strcmp(cause, "kill") == 0)
        return;
    (void)viv_cli_error(0, VIV_SHOWN ": %.200s", ref, reason);
}

static int take_answer(const struct ask *ask, const char *ref, enum viv_err err,
                       const json_t *value, const struct viv_diag *diag)
{
    if (err != VIV_OK) return viv_cli_failed(ask->verb, ref, err, diag);
    if (ask->json && !viv_cli_print_json(value)) return VIV_STATUS_FAILED;
    if (!ask->wants_status) return VIV_STATUS_OK;
    if (!ask->json) tell_why(ref, value);
    return (int)viv_json_get_u64(value, "status", VIV_STATUS_FAILED);
}

struct answer {
    enum viv_err err; // AGAIN: not yet
    json_t *value;
    struct viv_diag diag;
};

// An event of a request, or its end; requests have the numbers 1, 2, 3 …
static enum viv_err take_frame(const struct viv_frame *frame, struct answer *answers, int sent)
{
    const bool is_last = frame->type == VIV_FRAME_RESULT || frame->type == VIV_FRAME_ERROR;
    if (!is_last) return VIV_E_AGAIN;
    if (frame->request == 0) return viv_ctl_client_error(frame, NULL); // of the connection
    if (frame->request > (uint32_t)sent) return VIV_E_INVAL;
    struct answer *answer = &answers[frame->request - 1];
    answer->err = frame->type == VIV_FRAME_ERROR
                      ? viv_ctl_client_error(frame, &answer->diag)
                      : viv_json_parse(frame->payload, frame->len, &answer->value);
    return VIV_OK;
}

// Asks for all of them at once, as far as a connection takes requests.
static enum viv_err collect(const struct ask *ask, struct viv_ctl_client *client, int count,
                            char **refs, struct answer *answers)
{
    int sent = 0;
    for (int done = 0; done < count;) {
        struct viv_frame frame;
        uint32_t request;
        if (sent < count && sent - done < VIV_CTL_REQS_MAX) {
            VIV_TRY(viv_ctl_client_call(client, ask->verb, args_of(ask, refs[sent]), &request));
            sent++;
            continue;
        }
        VIV_TRY(viv_ctl_client_next(client, &frame));
        const enum viv_err err = take_frame(&frame, answers, sent);
        if (err != VIV_OK && err != VIV_E_AGAIN) return err;
        done += err == VIV_OK;
    }
    return VIV_OK;
}

// Answers in the order of the programs. Of verbs without a status of their own, the first failure
// is the command's.
static int ask_all(const struct ask *ask, int count, char **refs)
{
    int status;
    struct viv_ctl_client *client = viv_cli_connect(ask->verb, false, &status);
    if (client == NULL) return status;
    struct answer *answers = viv_alloc((size_t)count * sizeof *answers, VIV_TAG_CLI);
    for (int i = 0; i < count; i++)
        answers[i] = (struct answer){.err = VIV_E_AGAIN};
    const enum viv_err all = collect(ask, client, count, refs, answers);
    int failed = VIV_STATUS_OK;
    for (int i = 0; i < count; i++) {
        struct answer *answer = &answers[i];
        const enum viv_err err = answer->err == VIV_E_AGAIN ? all : answer->err;
        status = take_answer(ask, refs[i], err, answer->value, &answer->diag);
        if (failed == VIV_STATUS_OK) failed = status;
        json_decref(answer->value);
    }
    viv_free(answers, (size_t)count * sizeof *answers, VIV_TAG_CLI);
    viv_ctl_client_close(client);
    return ask->wants_status ? status : failed;
}

int viv_cli_stop(int count, char **args)
{
    struct ask ask = {.verb = "stop", .args = json_object()};
    bool release = false;
    uint64_t grace_ns = UINT64_MAX - 1; // not given
    const struct viv_cli_option table[] = {{"grace", 0, VIV_CLI_DURATION, &grace_ns},
                                           {"release", 0, VIV_CLI_FLAG, &release},
                                           {"json", 0, VIV_CLI_FLAG, &ask.json}};
    const struct viv_cli_command command = {"stop", table, VIV_COUNT_OF(table), 1, -1, "REF…"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    viv_json_put(&ask.args, "release", json_boolean(release));
    if (grace_ns != UINT64_MAX - 1)
        viv_json_put(&ask.args, "grace_ms", viv_json_u64(grace_ns / VIV_NS_PER_MS));
    const int status = ask_all(&ask, words, args);
    json_decref(ask.args);
    return status;
}

int viv_cli_kill(int count, char **args)
{
    struct ask ask = {.verb = "kill"};
    const struct viv_cli_option table[] = {{"json", 0, VIV_CLI_FLAG, &ask.json}};
    const struct viv_cli_command command = {"kill", table, VIV_COUNT_OF(table), 1, -1, "REF…"};
    const int words = viv_cli_parse_args(&command, count, args);
    return words < 0 ? VIV_STATUS_USAGE : ask_all(&ask, words, args);
}

int viv_cli_wait(int count, char **args)
{
    struct ask ask = {.verb = "wait", .args = json_object(), .wants_status = true};
    uint64_t timeout_ns = VIV_FOREVER_NS;
    const struct viv_cli_option table[] = {{"timeout", 0, VIV_CLI_DURATION, &timeout_ns},
                                           {"json", 0, VIV_CLI_FLAG, &ask.json}};
    const struct viv_cli_command command = {"wait", table, VIV_COUNT_OF(table), 1, -1, "REF…"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    if (timeout_ns != VIV_FOREVER_NS)
        viv_json_put(&ask.args, "timeout_ms", viv_json_u64(timeout_ns / VIV_NS_PER_MS));
    const int status = ask_all(&ask, words, args);
    json_decref(ask.args);
    return status;
}

int viv_cli_release(int count, char **args)
{
    struct ask ask = {.verb = "release"};
    bool all = false;
    const struct viv_cli_option table[] = {{"all", 0, VIV_CLI_FLAG, &all},
                                           {"json", 0, VIV_CLI_FLAG, &ask.json}};
    const struct viv_cli_command command = {"release", table, VIV_COUNT_OF(table),
                                            0,         -1,    "REF…, or --all"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    if ((words > 0) == all)
        return viv_cli_error(VIV_STATUS_USAGE, "release: want REF…, or --all (viv help release)");
    if (!all) return ask_all(&ask, words, args);
    static char none[] = "--all";
    char *refs[] = {none};
    ask.args = json_object();
    viv_json_put(&ask.args, "all", json_true());
    const int status = ask_all(&ask, 1, refs);
    json_decref(ask.args);
    return status;
}

int viv_cli_signal(int count, char **args)
{
    struct ask ask = {.verb = "signal", .args = json_object()};
    bool leader = false;
    const struct viv_cli_option table[] = {{"leader", 0, VIV_CLI_FLAG, &leader},
                                           {"json", 0, VIV_CLI_FLAG, &ask.json}};
    const struct viv_cli_command command = {"signal", table, VIV_COUNT_OF(table), 2, 2, "SIG REF"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    const int number = viv_cli_signal_number(args[0]);
    if (number == 0)
        return viv_cli_error(VIV_STATUS_USAGE, "signal: " VIV_SHOWN ": want a signal such as TERM",
                             args[0]);
    viv_json_put(&ask.args, "signal", json_integer(number));
    viv_json_put(&ask.args, "leader", json_boolean(leader));
    const int status = ask_all(&ask, 1, args + 1);
    json_decref(ask.args);
    return status;
}
