// SPDX-License-Identifier: Apache-2.0
// `viv job signal`, `cancel`, `complete` and `abandon`: what is done to one process.
#include "cli/job.h"

#include "os/clock.h"
#include <string.h>

// The end of each of them: the store's answer.
static int answer(const struct viv_job *job, enum viv_err err, VIV_OWN json_t *value)
{
    if (err == VIV_OK && job->json) return viv_job_print(job, value);
    json_decref(value);
    return err == VIV_OK ? VIV_STATUS_OK : viv_job_failed(job, err);
}

static enum viv_err append_signal(struct viv_job *job, char **args, const char *payload,
                                  const char *key, json_t **out_value)
{
    bool is_replayed;
    struct viv_event event;
    struct viv_append append = {.payload = viv_job_str(payload), .key = viv_job_str(key)};
    append.type.p = viv_mem_try_printf(&job->mem, &append.type.n, "signal.%s", args[1]);
    if (append.type.p == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(viv_store_append(job->store, viv_job_str(args[0]), &append, &job->mem, &event, NULL,
                             &is_replayed, &job->diag));
    *out_value =
        json_pack("{sIsb}", "sequence", (json_int_t)event.seq, "replayed", (int)is_replayed);
    return VIV_OK;
}

static enum viv_err ask_for_signal(struct viv_job *job, char **args, const char *payload,
                                   const char *key, json_t **out_value)
{
    json_t *what = json_object();
    viv_job_put(&what, "id", viv_job_str(args[0]));
    viv_job_put(&what, "name", viv_job_str(args[1]));
    viv_job_put(&what, "payload", viv_job_str(payload));
    viv_job_put(&what, "key", viv_job_str(key));
    return viv_job_ask(job, "signal", what, out_value);
}

static int send_signal(struct viv_job *job, int count, char **args, const char *key)
{
    json_t *value = NULL;
    const char *payload = count > 2 ? args[2] : "null";
    const enum viv_err err = job->door != NULL ? ask_for_signal(job, args, payload, key, &value)
                                               : append_signal(job, args, payload, key, &value);
    return answer(job, err, value);
}

int viv_job_signal(int count, char **args)
{
    const char *key = NULL;
    struct viv_job job = {.command = "job signal", .may_ask = true};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job), {"key", 0, VIV_CLI_TEXT, &key}};
    const struct viv_cli_command command = {"job signal",    table, VIV_COUNT_OF(table), 2, 3,
                                            "ID NAME [JSON]"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    job.id = args[0];
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) status = send_signal(&job, words, args, key);
    viv_job_close(&job);
    return status;
}

static int print_state(const struct viv_job *job, enum viv_err err, const struct viv_record *record)
{
    return answer(job, err, err == VIV_OK && job->json ? viv_job_record(record) : NULL);
}

int viv_job_cancel(int count, char **args)
{
    const char *reason = NULL;
    bool now = false;
    struct viv_record record;
    struct viv_job job = {.command = "job cancel"};
    const struct viv_cli_option table[] = {
        VIV_JOB_OPTIONS(job), {"reason", 0, VIV_CLI_TEXT, &reason}, {"now", 0, VIV_CLI_FLAG, &now}};
    const struct viv_cli_command command = {"job cancel", table, VIV_COUNT_OF(table), 1, 1,
                                            "one ID"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    job.id = args[0];
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) {
        const struct viv_cancel cancel = {.reason = viv_job_str(reason),
                                          .flags = now ? VIV_CANCEL_NOW : 0};
        const enum viv_err err = viv_store_request_cancel(job.store, viv_job_str(args[0]), &cancel,
                                                          &job.mem, &record, NULL, &job.diag);
        status = print_state(&job, err, &record);
    }
    viv_job_close(&job);
    return status;
}

int viv_job_complete(int count, char **args)
{
    bool force = false;
    struct viv_record record;
    struct viv_job job = {.command = "job complete"};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job),
                                           {"force", 0, VIV_CLI_FLAG, &force}};
    const struct viv_cli_command command = {"job complete", table, VIV_COUNT_OF(table), 2, 2,
                                            "ID OUTPUT"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    job.id = args[0];
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) {
        const struct viv_complete complete = {
            .output = viv_job_str(args[1]),
            .authority = viv_job_str("{\"type\":\"host\",\"reason\":\"viv job complete\"}"),
            .flags = force ? VIV_COMPLETE_FORCE : 0};
        const enum viv_err err = viv_store_complete(job.store, viv_job_str(args[0]), &complete,
                                                    &job.mem, &record, &job.diag);
        status = print_state(&job, err, &record);
    }
    viv_job_close(&job);
    return status;
}

static int abandon(struct viv_job *job, const char *id, const char *reason)
{
    struct viv_record record;
    struct viv_buf text;
    json_t *request = json_object();
    viv_json_put(&request, "by", json_string("viv job abandon"));
    viv_json_put(&request, "at_ms", json_integer((json_int_t)(viv_os_wall_ns() / VIV_NS_PER_MS)));
    if (reason != NULL) viv_json_put(&request, "reason", json_string(reason));
    viv_buf_init(&text, VIV_TAG_CLI);
    enum viv_err err = request == NULL ? VIV_STORE_UTF8 : viv_cjson_write(request, &text);
    json_decref(request);
    if (err == VIV_OK)
        err = viv_store_request_abandon(job->store, viv_job_str(id),
                                        (struct viv_str){(const char *)text.data, text.len_bytes},
                                        &job->mem, &record, &job->diag);
    viv_buf_deinit(&text);
    return print_state(job, err, &record);
}

int viv_job_abandon(int count, char **args)
{
    const char *reason = NULL;
    struct viv_job job = {.command = "job abandon"};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job),
                                           {"reason", 0, VIV_CLI_TEXT, &reason}};
    const struct viv_cli_command command = {"job abandon", table, VIV_COUNT_OF(table), 1, 1,
                                            "one ID"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    job.id = args[0];
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) status = abandon(&job, args[0], reason);
    viv_job_close(&job);
    return status;
}
