// SPDX-License-Identifier: Apache-2.0
// `viv job grant`, `scope-delete` and `prune`: who sees processes, and what goes.
#include "cli/job.h"

#include "store/objects.h"
#include <inttypes.h>
#include <string.h>

enum { PRUNE_PAGE = 1000 };

// ---- grant ----

struct granting {
    struct viv_job job;
    const char *rights, *from;
    bool revoke;
};

// "read,await" as {"rights":["read","await"]}, in job->mem.
static enum viv_err describe(struct granting *self, struct viv_str *out_text)
{
    struct viv_buf text;
    json_t *object = json_object(), *list = json_array();
    *out_text = viv_job_str("{}");
    for (const char *at = self->rights; at != NULL && *at != '\0';) {
        const size_t len = strcspn(at, ",");
        viv_json_add(&list, json_stringn(at, len));
        at += len + (at[len] == ',');
    }
    if (self->rights != NULL)
        viv_json_put(&object, "rights", list);
    else
        json_decref(list);
    viv_buf_init(&text, VIV_TAG_CLI);
    enum viv_err err = object == NULL ? VIV_E_INVAL : viv_cjson_write(object, &text);
    json_decref(object);
    if (err == VIV_OK) {
        out_text->p = viv_mem_try_copy(&self->job.mem, text.data, text.len_bytes);
        out_text->n = text.len_bytes;
        if (out_text->p == NULL) err = VIV_E_EXHAUSTED;
    }
    viv_buf_deinit(&text);
    return err;
}

static int grant(struct granting *self, char **args)
{
    struct viv_job *job = &self->job;
    struct viv_scope scope, from;
    struct viv_str descriptor;
    const struct viv_str id = viv_job_str(args[0]);
    if (!viv_job_scope(job, args[1], &scope)) return VIV_STATUS_USAGE;
    if (self->from != NULL && !viv_job_scope(job, self->from, &from)) return VIV_STATUS_USAGE;
    enum viv_err err = VIV_OK;
    if (self->revoke) {
        err = viv_store_revoke(job->store, &scope, id, &job->diag);
    } else if (self->from != NULL) {
        err = viv_store_transfer(job->store, &from, &scope, &id, 1, &job->diag);
    } else {
        err = describe(self, &descriptor);
        if (err == VIV_OK) err = viv_store_grant(job->store, &scope, id, descriptor, &job->diag);
    }
    return err == VIV_OK ? VIV_STATUS_OK : viv_job_failed(job, err);
}

int viv_job_grant(int count, char **args)
{
    struct granting self = {.job = {.command = "job grant"}};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"rights", 0, VIV_CLI_TEXT, &self.rights},
                                           {"revoke", 0, VIV_CLI_FLAG, &self.revoke},
                                           {"transfer", 0, VIV_CLI_TEXT, &self.from}};
    const struct viv_cli_command command = {"job grant", table, VIV_COUNT_OF(table),
                                            2,           2,     "ID SCOPE"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if ((self.rights != NULL) + self.revoke + (self.from != NULL) > 1)
        return viv_cli_error(VIV_STATUS_USAGE,
                             "job grant: --rights, --revoke and --transfer exclude each other "
                             "(viv help job)");
    self.job.id = args[0];
    int status = viv_job_open(&self.job, false);
    if (status == VIV_STATUS_OK) status = grant(&self, args);
    viv_job_close(&self.job);
    return status;
}

// ---- scope-delete ----

static json_t *ids_of(const struct viv_ids *ids)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ids->count; i++)
        viv_json_add(&list, viv_job_text(ids->items[i]));
    return list;
}

static void print_ids(const char *what, const struct viv_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        (void)printf("%s ", what);
        viv_job_print_text(ids->items[i]);
        (void)printf("\n");
    }
}

static int delete_scope(struct viv_job *job, const char *session, uint32_t flags)
{
    struct viv_scope_report report;
    const enum viv_err err = viv_store_scope_delete(job->store, viv_job_str(session), flags,
                                                    &job->mem, &report, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    if (job->json) {
        json_t *object = json_object();
        viv_json_put(&object, "session", json_string(session));
        viv_json_put(&object, "revoked_grant_count", viv_json_u64(report.revoked_grant_count));
        viv_json_put(&object, "deleted_wake_count", viv_json_u64(report.deleted_wake_count));
        viv_json_put(&object, "orphaned_process_ids", ids_of(&report.orphaned));
        viv_json_put(&object, "preserved_process_ids", ids_of(&report.preserved));
        return viv_job_print(job, object);
    }
    (void)printf("grants %" PRIu64 ", wakes %" PRIu64 "\n", report.revoked_grant_count,
                 report.deleted_wake_count);
    print_ids("orphaned", &report.orphaned);
    print_ids("preserved", &report.preserved);
    return VIV_STATUS_OK;
}

int viv_job_scope_delete(int count, char **args)
{
    bool cancel = false, drop = false;
    struct viv_job job = {.command = "job scope-delete"};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job),
                                           {"cancel", 0, VIV_CLI_FLAG, &cancel},
                                           {"drop-wakes", 0, VIV_CLI_FLAG, &drop}};
    const struct viv_cli_command command = {"job scope-delete", table, VIV_COUNT_OF(table), 1, 1,
                                            "one SESSION"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK)
        status = delete_scope(&job, args[0],
                              (cancel ? VIV_SCOPE_CANCEL_ORPHANS : 0) |
                                  (drop ? VIV_SCOPE_DROP_WAKES : 0));
    viv_job_close(&job);
    return status;
}

// ---- prune ----

struct pruning {
    struct viv_job job;
    const char *before, *status, *label, *cursor;
    bool dry_run;
};

static enum viv_err make_filter(const struct pruning *self, struct viv_buf *out)
{
    json_t *filter = json_object();
    if (self->status != NULL) viv_json_put(&filter, "status", json_pack("[s]", self->status));
    if (self->label != NULL) viv_json_put(&filter, "label", json_string(self->label));
    const enum viv_err err = filter == NULL ? VIV_E_INVAL : viv_cjson_write(filter, out);
    json_decref(filter);
    return err;
}

static void add(struct viv_pruned *sum, const struct viv_pruned *part)
{
    sum->processes += part->processes;
    sum->events += part->events;
    sum->grants += part->grants;
    sum->acks += part->acks;
    sum->promises += part->promises;
    sum->checkpoints += part->checkpoints;
}

static int print_pruned(const struct viv_job *job, const struct viv_pruned *sum)
{
    const struct {
        const char *name;
        uint64_t count;
    } counts[] = {{"processes", sum->processes}, {"events", sum->events},
                  {"grants", sum->grants},       {"acks", sum->acks},
                  {"promises", sum->promises},   {"checkpoints", sum->checkpoints}};
    json_t *object = json_object();
    for (size_t i = 0; i < VIV_COUNT_OF(counts); i++) {
        if (job->json)
            viv_json_put(&object, counts[i].name, viv_json_u64(counts[i].count));
        else
            (void)printf("%-12s %" PRIu64 "\n", counts[i].name, counts[i].count);
    }
    if (job->json) return viv_job_print(job, object);
    json_decref(object);
    return VIV_STATUS_OK;
}

static int prune(struct pruning *self, struct viv_buf *filter)
{
    struct viv_job *job = &self->job;
    struct viv_cursor cursor;
    struct viv_pruned sum = {.processes = 0}, part = {.has_more = true};
    struct viv_prune what = {.limit = PRUNE_PAGE, .flags = self->dry_run ? VIV_PRUNE_DRY : 0};
    if (!viv_job_time(job, "--before", self->before, &what.cutoff_ms)) return VIV_STATUS_USAGE;
    if (self->cursor != NULL) {
        if (viv_cursor_parse(viv_job_str(self->cursor), &cursor) != VIV_OK)
            return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL,
                                  "--cursor " VIV_SHOWN ": not a cursor", self->cursor);
        what.up_to = &cursor;
    }
    enum viv_err err = make_filter(self, filter);
    what.filter = (struct viv_str){(const char *)filter->data, filter->len_bytes};
    while (err == VIV_OK && part.has_more) {
        err = viv_store_prune(job->store, &what, &part, &job->diag);
        if (err == VIV_OK) add(&sum, &part);
    }
    return err == VIV_OK ? print_pruned(job, &sum) : viv_job_failed(job, err);
}

int viv_job_prune(int count, char **args)
{
    struct viv_buf filter;
    struct pruning self = {.job = {.command = "job prune"}};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"before", 0, VIV_CLI_TEXT, &self.before},
                                           {"status", 0, VIV_CLI_TEXT, &self.status},
                                           {"label", 0, VIV_CLI_TEXT, &self.label},
                                           {"cursor", 0, VIV_CLI_TEXT, &self.cursor},
                                           {"dry-run", 0, VIV_CLI_FLAG, &self.dry_run}};
    const struct viv_cli_command command = {"job prune", table, VIV_COUNT_OF(table),
                                            0,           0,     "no other words"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    if (self.before == NULL)
        return viv_cli_error(VIV_STATUS_USAGE, "job prune: want --before TIME (viv help job)");
    viv_buf_init(&filter, VIV_TAG_CLI);
    int status = viv_job_open(&self.job, false);
    if (status == VIV_STATUS_OK) status = prune(&self, &filter);
    viv_job_close(&self.job);
    viv_buf_deinit(&filter);
    return status;
}
