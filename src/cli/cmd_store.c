// SPDX-License-Identifier: Apache-2.0
// `viv store`: makes a store, looks after it, copies it.
#include "cli/cmd_job.h"
#include "cli/ctl.h"
#include "cli/job.h"
#include "store/admin.h"
#include <inttypes.h>
#include <string.h>

struct caring {
    struct viv_job job;
    const char *to;
    uint64_t grace_ns; // UINT64_MAX: a day
};

static int print_numbers(const struct viv_job *job, VIV_OWN json_t *object)
{
    const char *name;
    json_t *value;
    if (job->json || object == NULL) return viv_job_print(job, object);
    json_object_foreach(object, name, value)
    {
        if (json_is_integer(value))
            (void)printf("%-16s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(value));
        else
            (void)printf("%-16s %s\n", name,
                         json_is_string(value) ? json_string_value(value) : "-");
    }
    json_decref(object);
    return VIV_STATUS_OK;
}

static const char *tier_name(enum viv_tier tier)
{
    static const char *const names[] = {"inline", "process", "durable", "replicated"};
    return names[tier];
}

static int init(struct caring *self)
{
    if (!self->job.json) return VIV_STATUS_OK;
    return viv_job_print(&self->job, json_pack("{ssss}", "url", self->job.found_url, "tier",
                                               tier_name(viv_store_tier(self->job.store))));
}

// ---- check ----

static int print_findings(const struct viv_job *job, const struct viv_findings *findings)
{
    for (size_t i = 0; i < findings->count; i++) {
        const struct viv_finding *finding = &findings->items[i];
        int status = VIV_STATUS_OK;
        if (job->json) {
            json_t *object = json_object();
            viv_json_put(&object, "rule", viv_job_text(finding->rule));
            viv_json_put(&object, "text", viv_job_text(finding->text));
            status = viv_job_print(job, object);
        } else {
            viv_job_print_text(finding->rule);
            (void)printf(": ");
            viv_job_print_text(finding->text);
            (void)printf("\n");
        }
        if (status != VIV_STATUS_OK) return status;
    }
    return findings->count == 0 ? VIV_STATUS_OK : VIV_STATUS_FAILED;
}

static int check(struct caring *self)
{
    struct viv_job *job = &self->job;
    struct viv_findings findings = {.count = 0};
    enum viv_err err =
        viv_store_check_file(viv_job_str(job->found_url), &job->mem, &findings, &job->diag);
    if (err != VIV_OK && err != VIV_E_UNSUPPORTED) return viv_job_failed(job, err);
    int status = print_findings(job, &findings);
    err = viv_store_check(job->store, &job->mem, &findings, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    const int own = print_findings(job, &findings);
    return status != VIV_STATUS_OK ? status : own;
}

// ---- stats, gc, backup ----

static int show_stats(struct caring *self)
{
    struct viv_store_stats stats;
    struct viv_job *job = &self->job;
    const enum viv_err err = viv_store_stats(job->store, &stats, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    json_t *object = json_object();
    for (size_t i = 0; i < VIV_COUNT_OF(stats.by_state); i++)
        viv_json_put(&object, viv_dstate_name((enum viv_dstate)i), viv_json_u64(stats.by_state[i]));
    viv_json_put(&object, "oldest_due_ms",
                 stats.oldest_due_ms < 0 ? json_null()
                                         : json_integer((json_int_t)stats.oldest_due_ms));
    viv_json_put(&object, "outbox", viv_json_u64(stats.outbox));
    viv_json_put(&object, "log_bytes", viv_json_u64(stats.log_bytes));
    viv_json_put(&object, "blobs", viv_json_u64(stats.blobs));
    viv_json_put(&object, "blob_bytes", viv_json_u64(stats.blob_bytes));
    viv_json_put(&object, "tombstones", viv_json_u64(stats.tombstones));
    viv_json_put(&object, "tier", json_string(tier_name(stats.tier)));
    viv_json_put(&object, "schema", json_integer((json_int_t)stats.schema));
    return print_numbers(job, object);
}

static int collect(struct caring *self)
{
    struct viv_blobs_gone gone;
    struct viv_job *job = &self->job;
    const int64_t grace_ms =
        self->grace_ns == UINT64_MAX ? -1 : (int64_t)(self->grace_ns / VIV_NS_PER_MS);
    const enum viv_err err = viv_store_blob_gc(job->store, grace_ms, &gone, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    return print_numbers(
        job, json_pack("{sIsI}", "blobs", (json_int_t)gone.count, "bytes", (json_int_t)gone.bytes));
}

static int back_up(struct caring *self)
{
    struct viv_job *job = &self->job;
    const enum viv_err err =
        viv_store_backup(viv_job_str(job->found_url), viv_job_str(self->to), &job->diag);
    return err == VIV_OK ? VIV_STATUS_OK : viv_job_failed(job, err);
}

// It was done when the store was opened.
static int show_version(struct caring *self)
{
    struct viv_store_stats stats;
    struct viv_job *job = &self->job;
    const enum viv_err err = viv_store_stats(job->store, &stats, &job->diag);
    if (err != VIV_OK) return viv_job_failed(job, err);
    return print_numbers(job, json_pack("{sI}", "schema", (json_int_t)stats.schema));
}

// ---- the command ----

static const struct {
    const char *name;
    int (*run)(struct caring *self);
    bool may_create, migrates;
} subcommands[] = {{"init", init, true, false},         {"check", check, false, false},
                   {"stats", show_stats, false, false}, {"gc", collect, false, false},
                   {"backup", back_up, false, false},   {"migrate", show_version, false, true}};

int viv_cli_store(int count, char **args)
{
    char name[32];
    struct caring self = {.grace_ns = UINT64_MAX};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"grace", 0, VIV_CLI_DURATION, &self.grace_ns},
                                           {"to", 0, VIV_CLI_TEXT, &self.to}};
    const struct viv_cli_command command = {
        "store", table, VIV_COUNT_OF(table),
        1,       2,     "init, check, stats, gc, backup or migrate, and a URL"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    size_t which = 0;
    while (which < VIV_COUNT_OF(subcommands) && strcmp(args[0], subcommands[which].name) != 0)
        which++;
    if (which == VIV_COUNT_OF(subcommands))
        return viv_cli_error(VIV_STATUS_USAGE,
                             "store: no subcommand " VIV_SHOWN " (viv help store)", args[0]);
    const bool is_backup = subcommands[which].run == back_up;
    if (is_backup != (self.to != NULL))
        return viv_cli_error(VIV_STATUS_USAGE, is_backup
                                                   ? "store backup: want --to FILE (viv help store)"
                                                   : "store: --to is of backup (viv help store)");
    if (self.grace_ns != UINT64_MAX && subcommands[which].run != collect)
        return viv_cli_error(VIV_STATUS_USAGE, "store: --grace is of gc (viv help store)");
    (void)snprintf(name, sizeof name, "store %s", subcommands[which].name);
    self.job.command = name;
    if (words == 2) self.job.url = args[1];
    self.job.migrates = subcommands[which].migrates;
    int status = viv_job_open(&self.job, subcommands[which].may_create);
    if (status == VIV_STATUS_OK) status = subcommands[which].run(&self);
    viv_job_close(&self.job);
    return status;
}
