// SPDX-License-Identifier: Apache-2.0
// The store of a command: --store, VIV_STORE, or a file in the directory of state; and its errors.
#include "cli/job.h"

#include "base/text.h"
#include "ctl/client.h"
#include "ctl/place.h"
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int viv_job_find_url(struct viv_job *job, bool may_create)
{
    struct viv_ctl_place place;
    struct viv_diag diag = {""};
    const char *given = job->url != NULL ? job->url : getenv("VIV_STORE");
    if (given != NULL && given[0] != '\0') {
        const int len = snprintf(job->found_url, sizeof job->found_url, "%s", given);
        if ((size_t)len < sizeof job->found_url) return VIV_STATUS_OK;
        return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_TOOBIG, "--store: too long");
    }
    enum viv_err err = viv_ctl_place_find(&place, &diag);
    if (err == VIV_OK && place.state_dir[0] == '\0') err = VIV_E_NOTFOUND;
    if (err == VIV_OK && may_create) err = viv_ctl_place_make_state(&place, &diag);
    if (err != VIV_OK)
        return viv_job_refuse(job, VIV_JOB_UNAVAILABLE, err,
                              "no directory of state (--store says where the store is)");
    (void)snprintf(job->found_url, sizeof job->found_url, "sqlite:%s/store.db", place.state_dir);
    return VIV_STATUS_OK;
}

int viv_job_open(struct viv_job *job, bool may_create)
{
    const struct viv_store_opts opts = {.create = may_create, .migrate = job->migrates};
    const char *address = job->url == NULL ? getenv("VIV_JOB_SOCKET") : NULL;
    viv_mem_init(&job->mem, VIV_TAG_CLI);
    if (address != NULL && address[0] != '\0') return viv_job_enter(job, address);
    const int status = viv_job_find_url(job, may_create);
    if (status != VIV_STATUS_OK) return status;
    const enum viv_err err =
        viv_store_open(viv_job_str(job->found_url), &opts, &job->store, &job->diag);
    if (err == VIV_OK) return VIV_STATUS_OK;
    if (err == VIV_E_INVAL)
        return viv_job_refuse(job, VIV_STATUS_USAGE, err, "--store: %s", job->diag.d.text);
    if (err == VIV_E_NOTFOUND && !may_create)
        return viv_job_refuse(job, VIV_JOB_UNAVAILABLE, err,
                              "%.300s: no store is there (viv store init makes one)",
                              job->found_url);
    return viv_job_refuse(job, VIV_JOB_UNAVAILABLE, err, "%.300s: %.300s", job->found_url,
                          job->diag.d.text[0] != '\0' ? job->diag.d.text : viv_err_text(err));
}

void viv_job_close(struct viv_job *job)
{
    if (job->door != NULL) viv_ctl_client_close(job->door);
    viv_store_close(job->store);
    viv_mem_deinit(&job->mem);
}

// ---- errors ----

// The name in JSON: that of the table in lower case, without its room.
static const char *name_of(enum viv_err err, char out[64])
{
    static const char prefix[] = "STORE_";
    const char *name = viv_err_name(err);
    if (err == VIV_E_NOTFOUND) return "not_found";
    if (err == VIV_E_TOOBIG) return "too_large";
    if (err == VIV_E_INVAL) return "invalid";
    if (strncmp(name, prefix, sizeof prefix - 1) == 0) name += sizeof prefix - 1;
    size_t len = 0;
    for (; name[len] != '\0' && len < 63; len++)
        out[len] = (char)tolower((unsigned char)name[len]);
    out[len] = '\0';
    return out;
}

json_t *viv_job_holder(const struct viv_lease *lease)
{
    json_t *object = json_object();
    viv_json_put(&object, "owner_id", viv_job_text(lease->owner.owner_id));
    if (lease->owner.incarnation.n > 0)
        viv_json_put(&object, "incarnation", viv_job_text(lease->owner.incarnation));
    viv_json_put(&object, "fence", viv_json_u64(lease->f.fence));
    viv_json_put(&object, "expires_ms", json_integer((json_int_t)lease->expires_ms));
    return object;
}

// The object is owned; names of section 1 of the contract.
static int tell(const struct viv_job *job, int status, enum viv_err err, const char *text,
                VIV_OWN json_t *object)
{
    char name[64];
    if (!job->json) {
        json_decref(object);
        return viv_cli_error(status, "%s: %s", job->command, text);
    }
    viv_json_put(&object, "error", json_string(name_of(err, name)));
    viv_json_put(&object, "text", json_string(text));
    if (object == NULL || !viv_job_write(stderr, object))
        (void)fprintf(stderr, "{\"error\":\"exhausted\"}\n");
    json_decref(object);
    return status;
}

int viv_job_refuse(const struct viv_job *job, int status, enum viv_err err, const char *fmt, ...)
{
    char text[1200];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return tell(job, status, err, text, json_object());
}

// Those of the store, as 5.3 groups them.
static int status_of(enum viv_err err)
{
    switch ((int)err) {
    case VIV_E_NOTFOUND:
        return VIV_JOB_NOT_FOUND;
    case VIV_E_INVAL:
    case VIV_E_TOOBIG:
    case VIV_STORE_UTF8:
    case VIV_STORE_JSON:
        return VIV_STATUS_USAGE;
    case VIV_STORE_REGISTRATION:
    case VIV_STORE_KEY_CONFLICT:
    case VIV_STORE_TERMINAL:
    case VIV_STORE_LEASED:
    case VIV_STORE_FENCED:
    case VIV_STORE_FENCE_REQUIRED:
    case VIV_STORE_AUTHORITY:
    case VIV_STORE_NOT_GRANTED:
    case VIV_E_DENIED:
        return VIV_JOB_REFUSED;
    case VIV_E_BUSY:
    case VIV_E_IO:
    case VIV_STORE_NO_SPACE:
    case VIV_STORE_CORRUPT:
    case VIV_STORE_OLDER:
    case VIV_STORE_NEWER:
    case VIV_STORE_UNAVAILABLE:
    case VIV_STORE_OUTCOME_UNKNOWN:
        return VIV_JOB_UNAVAILABLE;
    case VIV_E_TIMEOUT:
        return VIV_JOB_TIMEOUT;
    default:
        return VIV_STATUS_FAILED;
    }
}

int viv_job_failed(const struct viv_job *job, enum viv_err err)
{
    const char *text = job->diag.d.text[0] != '\0' ? job->diag.d.text : viv_err_text(err);
    if (err == VIV_E_NOTFOUND && job->id != NULL)
        return viv_job_refuse(job, VIV_JOB_NOT_FOUND, err, VIV_SHOWN ": no such process", job->id);
    const struct viv_str recorded = job->diag.recorded;
    json_t *object = json_object(), *value = NULL;
    if (job->diag.holder != NULL) viv_json_put(&object, "holder", viv_job_holder(job->diag.holder));
    if (recorded.n > 0 && viv_cjson_parse(recorded.p, recorded.n, &value, NULL) == VIV_OK)
        viv_json_put(&object, "recorded", value);
    return tell(job, status_of(err), err, text, object);
}
