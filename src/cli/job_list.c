// SPDX-License-Identifier: Apache-2.0
// `viv job list` and `show`.
#include "cli/ctl.h"
#include "cli/job.h"
#include "cli/table.h"
#include "os/clock.h"
#include "store/queue.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 7, PAGE = 500 };

struct listing {
    struct viv_job job;
    const char *status, *phase, *label, *kind, *queue, *since, *after;
    uint64_t count;
    struct viv_cli_table table;
};

static bool make_filter(struct listing *self, struct viv_buf *out)
{
    int64_t since_ms;
    json_t *filter = json_object();
    if (self->status != NULL) viv_json_put(&filter, "status", json_pack("[s]", self->status));
    if (self->phase != NULL) viv_json_put(&filter, "phase", json_string(self->phase));
    if (self->label != NULL) viv_json_put(&filter, "label", json_string(self->label));
    if (self->kind != NULL) viv_json_put(&filter, "kind", json_string(self->kind));
    if (self->queue != NULL) viv_json_put(&filter, "queue", json_string(self->queue));
    if (self->since != NULL) {
        if (!viv_job_time(&self->job, "--since", self->since, &since_ms)) {
            json_decref(filter);
            return false;
        }
        viv_json_put(&filter, "created_from_ms", json_integer((json_int_t)since_ms));
    }
    const bool is_good = filter != NULL && viv_cjson_write(filter, out) == VIV_OK;
    json_decref(filter);
    if (!is_good)
        (void)viv_job_refuse(&self->job, VIV_STATUS_USAGE, VIV_E_INVAL, "a filter is no text");
    return is_good;
}

static int print_row(struct listing *self, const struct viv_record *record)
{
    char age[16], attempt[16], texts[3][160];
    if (self->job.json) return viv_job_print(&self->job, viv_job_record(record));
    const struct viv_str shown[] = {record->id, record->kind, record->label};
    for (size_t i = 0; i < VIV_COUNT_OF(shown); i++)
        (void)snprintf(texts[i], sizeof texts[i], "%.*s", (int)shown[i].n,
                       shown[i].n == 0 ? "" : shown[i].p);
    const int64_t now_ms = (int64_t)(viv_os_wall_ns() / VIV_NS_PER_MS);
    const int64_t age_ms = now_ms > record->created_ms ? now_ms - record->created_ms : 0;
    (void)snprintf(attempt, sizeof attempt, "%u", record->attempt);
    const char *const cells[COLUMNS] = {texts[0],
                                        viv_phase_name(record->phase),
                                        viv_disposition_name(record->disposition),
                                        attempt,
                                        viv_cli_age((uint64_t)age_ms, age),
                                        record->kind.n > 0 ? texts[1] : NULL,
                                        record->label.n > 0 ? texts[2] : NULL};
    return viv_cli_table_add(&self->table, cells) == VIV_OK ? VIV_STATUS_OK : VIV_STATUS_FAILED;
}

static int print_pages(struct listing *self, struct viv_str filter)
{
    struct viv_job *job = &self->job;
    char after[256] = "";
    if (self->after != NULL) (void)snprintf(after, sizeof after, "%s", self->after);
    for (uint64_t left = self->count; left > 0;) {
        struct viv_records records;
        const struct viv_list_query query = {
            .filter = filter, .after = viv_job_str(after), .limit = viv_min_u64(left, PAGE)};
        viv_mem_reset(&job->mem);
        const enum viv_err err =
            viv_store_list(job->store, &query, &job->mem, &records, &job->diag);
        if (err != VIV_OK) return viv_job_failed(job, err);
        for (size_t i = 0; i < records.count; i++) {
            const int status = print_row(self, &records.items[i]);
            if (status != VIV_STATUS_OK) return status;
        }
        left -= records.count;
        if (records.next.n == 0) break;
        (void)snprintf(after, sizeof after, "%.*s", (int)records.next.n, records.next.p);
    }
    return VIV_STATUS_OK;
}

static int list(struct listing *self)
{
    static const char *const titles[COLUMNS] = {"ID",  "PHASE", "DISPOSITION", "ATTEMPT",
                                                "AGE", "KIND",  "LABEL"};
    struct viv_buf filter;
    int status = viv_job_open(&self->job, false);
    if (status != VIV_STATUS_OK) return status;
    viv_buf_init(&filter, VIV_TAG_CLI);
    viv_cli_table_init(&self->table, COLUMNS);
    if (!make_filter(self, &filter) || viv_cli_table_add(&self->table, titles) != VIV_OK)
        status = VIV_STATUS_USAGE;
    else
        status = print_pages(self, (struct viv_str){(const char *)filter.data, filter.len_bytes});
    if (status == VIV_STATUS_OK && !self->job.json) viv_cli_table_print(&self->table);
    viv_cli_table_deinit(&self->table);
    viv_buf_deinit(&filter);
    return status;
}

int viv_job_list(int count, char **args)
{
    struct listing self = {.job = {.command = "job list"}, .count = UINT64_MAX};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"status", 0, VIV_CLI_TEXT, &self.status},
                                           {"phase", 0, VIV_CLI_TEXT, &self.phase},
                                           {"label", 0, VIV_CLI_TEXT, &self.label},
                                           {"kind", 0, VIV_CLI_TEXT, &self.kind},
                                           {"queue", 0, VIV_CLI_TEXT, &self.queue},
                                           {"since", 0, VIV_CLI_TEXT, &self.since},
                                           {"after", 0, VIV_CLI_TEXT, &self.after},
                                           {"lines", 'n', VIV_CLI_COUNT, &self.count}};
    const struct viv_cli_command command = {"job list", table, VIV_COUNT_OF(table),
                                            0,          0,     "no other words"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    const int status = list(&self);
    viv_job_close(&self.job);
    return status;
}

// ---- show ----

static void print_line(const char *name, const json_t *object)
{
    struct viv_buf text;
    json_t *value = json_object_get(object, name);
    if (value == NULL) return;
    viv_buf_init(&text, VIV_TAG_CLI);
    (void)printf("%-18s", name);
    if (json_is_string(value))
        viv_job_print_text((struct viv_str){json_string_value(value), json_string_length(value)});
    else if (viv_cjson_write(value, &text) == VIV_OK)
        viv_job_print_text((struct viv_str){(const char *)text.data, text.len_bytes});
    (void)printf("\n");
    viv_buf_deinit(&text);
}

static int print_record(const struct viv_job *job, VIV_OWN json_t *object)
{
    static const char *const names[] = {"id",
                                        "status",
                                        "phase",
                                        "disposition",
                                        "kind",
                                        "label",
                                        "input",
                                        "policy",
                                        "provenance",
                                        "event_types",
                                        "wake_target",
                                        "created_ms",
                                        "updated_ms",
                                        "due_ms",
                                        "attempt",
                                        "charged",
                                        "holder",
                                        "last_error",
                                        "wait",
                                        "first_started",
                                        "external_ref",
                                        "cancel_request",
                                        "abandon_request",
                                        "await_output",
                                        "last_sequence",
                                        "birth",
                                        "registration_hash"};
    if (job->json || object == NULL) return viv_job_print(job, object);
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        print_line(names[i], object);
    json_decref(object);
    return VIV_STATUS_OK;
}

// The last attempt that did not succeed, as its event says.
struct looking {
    struct viv_store *store;
    struct viv_mem *mem;
    struct viv_store_diag *diag;
};
static enum viv_err find_last_error(const struct looking *at, struct viv_str id, uint32_t attempt,
                                    json_t **object)
{
    char key[64];
    struct viv_event event;
    for (uint32_t n = attempt; n > 0 && n + 1 >= attempt; n--) {
        (void)snprintf(key, sizeof key, "viv:attempt:%u:ended", n);
        const enum viv_err err =
            viv_store_event_by_key(at->store, id, viv_job_str(key), at->mem, &event, at->diag);
        if (err == VIV_E_NOTFOUND) continue;
        if (err == VIV_OK) viv_json_put(object, "last_error", viv_job_json(event.payload));
        return err;
    }
    return VIV_OK;
}

enum viv_err viv_job_describe(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                              struct viv_store_diag *diag, json_t **out_value)
{
    struct viv_record record;
    struct viv_lease lease;
    const struct looking at = {store, mem, diag};
    VIV_TRY(viv_store_get(store, id, mem, &record, diag));
    json_t *object = viv_job_record(&record);
    enum viv_err err = viv_store_get_lease(store, id, mem, &lease, diag);
    if (err == VIV_OK) viv_json_put(&object, "holder", viv_job_holder(&lease));
    if (err == VIV_OK || err == VIV_E_NOTFOUND)
        err = find_last_error(&at, id, record.attempt, &object);
    if (err == VIV_OK)
        *out_value = object;
    else
        json_decref(object);
    return err;
}

static int show(struct viv_job *job, const char *id)
{
    json_t *object = NULL;
    job->id = id;
    const enum viv_err err =
        job->door != NULL
            ? viv_job_ask(job, "show", json_pack("{ss}", "id", id), &object)
            : viv_job_describe(job->store, viv_job_str(id), &job->mem, &job->diag, &object);
    return err == VIV_OK ? print_record(job, object) : viv_job_failed(job, err);
}

int viv_job_show(int count, char **args)
{
    struct viv_job job = {.command = "job show", .may_ask = true};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job)};
    const struct viv_cli_command command = {"job show", table, VIV_COUNT_OF(table), 1, 1, "one ID"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) status = show(&job, args[0]);
    viv_job_close(&job);
    return status;
}
