// SPDX-License-Identifier: Apache-2.0
// `viv job step KEY -- COMMAND`: within a run, what COMMAND printed, which it is run for only if no
// attempt has done so before. It is recorded after it ended with 0, so it may run again when the
// attempt is lost in between: at least once, and never after it was recorded.
#include "cli/job.h"

#include "os/child.h"
#include "os/file.h"
#include "os/launch.h"
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OUTPUT_BYTES = 192 << 10, NOT_FOUND = 127, NOT_EXECUTABLE = 126, SIGNALED = 128 };
extern char **environ;

static enum viv_err get_step(struct viv_job *job, const char *key, json_t **out_text)
{
    json_t *answer, *value = NULL;
    json_t *args = json_object();
    viv_job_put(&args, "key", viv_job_str(key));
    VIV_TRY(viv_job_ask(job, "step_get", args, &answer));
    const json_t *text = json_object_get(answer, "value");
    const enum viv_err err =
        viv_cjson_parse(json_string_value(text), json_string_length(text), &value, NULL);
    json_decref(answer);
    if (err == VIV_OK) *out_text = value;
    return err;
}

static enum viv_err record(struct viv_job *job, const char *key, const struct viv_buf *output)
{
    json_t *answer = NULL, *args = json_object();
    const char *bytes = output->len_bytes == 0 ? "" : (const char *)output->data;
    json_t *text = json_stringn(bytes, output->len_bytes);
    struct viv_buf value;
    viv_buf_init(&value, VIV_TAG_CLI);
    if (text == NULL || viv_cjson_write(text, &value) != VIV_OK) {
        json_decref(args);
        args = NULL;
    }
    json_decref(text);
    viv_job_put(&args, "key", viv_job_str(key));
    viv_job_put(&args, "value", (struct viv_str){(const char *)value.data, value.len_bytes});
    viv_buf_deinit(&value);
    VIV_TRY(viv_job_ask(job, "step_end", args, &answer));
    json_decref(answer);
    return VIV_OK;
}

// ---- the command ----

static void launch_at(struct viv_launch_room *room, const char *path, char **args, int out_fd,
                      struct viv_launch_result *out_result)
{
    const struct viv_launch launch = {.path = path,
                                      .exe_fd = -1,
                                      .argv = (const char *const *)args,
                                      .envp = (const char *const *)environ,
                                      .fds = {STDIN_FILENO, out_fd, STDERR_FILENO},
                                      .fd_count = 3,
                                      .cwd_fd = -1,
                                      .cgroup_fd = -1,
                                      .dies_with_parent = true,
                                      .umask = 022};
    viv_os_launch(room, &launch, out_result);
}

// As a shell finds it.
static void launch(struct viv_launch_room *room, char **args, int out_fd,
                   struct viv_launch_result *out_result)
{
    const char *path = getenv("PATH");
    if (strchr(args[0], '/') != NULL) {
        launch_at(room, args[0], args, out_fd, out_result);
        return;
    }
    *out_result = (struct viv_launch_result){.stage = VIV_STAGE_EXEC, .err = ENOENT};
    for (const char *at = path == NULL ? "/usr/bin:/bin" : path; at != NULL && *at != '\0';) {
        char full[4200];
        const size_t len = strcspn(at, ":");
        (void)snprintf(full, sizeof full, "%.*s%s%s", (int)len, at, len > 0 ? "/" : "./", args[0]);
        launch_at(room, full, args, out_fd, out_result);
        if (out_result->stage != VIV_STAGE_EXEC ||
            (out_result->err != ENOENT && out_result->err != ENOTDIR))
            return;
        at += len + (at[len] == ':');
    }
}

// All that it prints; false: more than is recorded.
static bool read_all(int fd, struct viv_buf *output)
{
    char piece[4096];
    for (ssize_t n; (n = viv_os_read(fd, piece, sizeof piece)) > 0;)
        if (output->len_bytes + (size_t)n > OUTPUT_BYTES ||
            viv_buf_append(output, piece, (size_t)n) != VIV_OK)
            return false;
    return true;
}

static int run_command(const struct viv_job *job, char **args, struct viv_buf *output)
{
    int fds[2];
    struct viv_launch_room *room;
    struct viv_launch_result result;
    struct viv_child_end end;
    if (viv_os_pipe(fds) < 0 || viv_launch_room_new(&room) != VIV_OK)
        return viv_job_failed(job, VIV_E_EXHAUSTED);
    launch(room, args, fds[1], &result);
    VIV_IGNORE(viv_os_close(fds[1]), "the command's");
    viv_launch_room_free(room);
    if (result.stage != VIV_STAGE_NONE)
        return viv_job_refuse(job, result.err == ENOENT ? NOT_FOUND : NOT_EXECUTABLE,
                              result.err == ENOENT ? VIV_E_NOPROGRAM : VIV_E_NOEXEC,
                              VIV_SHOWN ": %s", args[0], strerror(result.err));
    const bool is_whole = read_all(fds[0], output);
    VIV_IGNORE(viv_os_close(fds[0]), "the command then sees that nobody reads");
    int waited = -EAGAIN;
    while (waited == -EAGAIN && viv_os_poll_fd(result.pidfd, POLLIN, -1) > 0)
        waited = viv_os_child_reap(result.pidfd, &end);
    VIV_IGNORE(viv_os_close(result.pidfd), "it has ended");
    if (waited < 0)
        return viv_job_refuse(job, VIV_STATUS_FAILED, VIV_E_IO, "how the command ended is lost");
    if (!is_whole)
        return viv_job_refuse(job, VIV_STATUS_FAILED, VIV_E_TOOBIG,
                              "the command prints more than 192 KiB");
    return end.signaled ? SIGNALED + end.code : end.code;
}

static int print_output(const void *data, size_t len)
{
    const bool is_good = fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0;
    return is_good ? VIV_STATUS_OK
                   : viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output: %s",
                                   strerror(errno));
}

static int do_step(struct viv_job *job, const char *key, char **command)
{
    json_t *text = NULL;
    struct viv_buf output;
    enum viv_err err = get_step(job, key, &text);
    if (err == VIV_OK) {
        const char *value = json_string_value(text);
        const int status = value != NULL
                               ? print_output(value, json_string_length(text))
                               : viv_job_print(job, json_incref(text)); // recorded by other means
        json_decref(text);
        return status;
    }
    if (err != VIV_E_NOTFOUND) return viv_job_failed(job, err);
    viv_buf_init(&output, VIV_TAG_CLI);
    int status = run_command(job, command, &output);
    if (status == VIV_STATUS_OK) {
        err = record(job, key, &output);
        status =
            err == VIV_OK ? print_output(output.data, output.len_bytes) : viv_job_failed(job, err);
    }
    viv_buf_deinit(&output);
    return status;
}

int viv_job_step(int count, char **args)
{
    struct viv_job job = {.command = "job step", .may_ask = true};
    const struct viv_cli_option table[] = {{"json", 0, VIV_CLI_FLAG, &job.json}};
    const struct viv_cli_command command = {"job step", table, VIV_COUNT_OF(table),
                                            2,          -1,    "KEY -- COMMAND"};
    const char *address = getenv("VIV_JOB_SOCKET");
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if (address == NULL || address[0] == '\0')
        return viv_job_refuse(&job, VIV_STATUS_USAGE, VIV_E_UNSUPPORTED,
                              "not within a run of viv worker (VIV_JOB_SOCKET is not set)");
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) status = do_step(&job, args[0], args + 1);
    viv_job_close(&job);
    return status;
}
