// SPDX-License-Identifier: Apache-2.0
// Commands within a run: they ask the worker that runs them, through the socket that VIV_JOB_SOCKET
// names (cli/worker_door.h). It is "PATH#TOKEN".
#include "cli/job.h"

#include "ctl/client.h"
#include "os/local.h"
#include <string.h>

int viv_job_enter(struct viv_job *job, const char *address)
{
    char path[VIV_LOCAL_PATH_MAX + 1];
    struct viv_diag diag = {""};
    const char *mark = strrchr(address, '#');
    if (!job->may_ask)
        return viv_job_refuse(job, VIV_STATUS_FAILED, VIV_E_UNSUPPORTED,
                              "not within a run (--store says which store is meant)");
    if (mark == NULL || mark == address || (size_t)(mark - address) >= sizeof path)
        return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL, "VIV_JOB_SOCKET: not PATH#TOKEN");
    (void)snprintf(path, sizeof path, "%.*s", (int)(mark - address), address);
    job->token = mark + 1;
    const enum viv_err err = viv_ctl_client_open(path, &job->door, &diag);
    if (err == VIV_OK) return VIV_STATUS_OK;
    return viv_job_refuse(job, VIV_JOB_UNAVAILABLE, VIV_STORE_UNAVAILABLE,
                          "the worker of this run is not there: %s",
                          diag.text[0] != '\0' ? diag.text : viv_err_text(err));
}

void viv_job_put(json_t **args, const char *name, struct viv_str text)
{
    if (text.p != NULL) viv_json_put(args, name, json_stringn(text.p, text.n));
}

enum viv_err viv_job_ask(struct viv_job *job, const char *verb, VIV_OWN json_t *args,
                         json_t **out_value)
{
    uint32_t request;
    struct viv_frame frame;
    viv_json_put(&args, "token", json_string(job->token));
    if (args == NULL) // out of memory, or a word is no text
        return viv_diag_set(&job->diag.d, VIV_STORE_UTF8, "an argument is not UTF-8");
    enum viv_err err = viv_ctl_client_call(job->door, verb, args, &request);
    if (err == VIV_E_TOOBIG || err == VIV_E_EXHAUSTED) return err;
    if (err == VIV_OK) err = viv_ctl_client_next(job->door, &frame);
    if (err != VIV_OK || frame.request != request)
        return viv_diag_set(&job->diag.d, VIV_STORE_UNAVAILABLE,
                            "the worker of this run has ended");
    if (frame.type == VIV_FRAME_ERROR) return viv_ctl_client_error(&frame, &job->diag.d);
    return viv_json_parse(frame.payload, frame.len, out_value);
}
