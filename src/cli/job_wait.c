// SPDX-License-Identifier: Apache-2.0
// `viv job events`, `await` and `changes`: what happens in the store, also from now on.
#include "cli/job.h"

#include "os/clock.h"
#include "store/wait.h"
#include <inttypes.h>
#include <string.h>

enum { PAGE = 200 };

static void note_change(void *arg)
{
    struct viv_job *job = arg;
    viv_mutex_lock(&job->mutex);
    job->has_changed = true;
    viv_cond_signal(&job->changed);
    viv_mutex_unlock(&job->mutex);
}

static int begin_watch(struct viv_job *job)
{
    viv_mutex_init(&job->mutex);
    viv_cond_init(&job->changed);
    const enum viv_err err = viv_store_watch(job->store, note_change, job);
    if (err != VIV_OK) return viv_job_failed(job, err);
    job->is_watching = true;
    return VIV_STATUS_OK;
}

int viv_job_pause(struct viv_job *job, uint64_t end_ns)
{
    if (!job->is_watching) return begin_watch(job);
    viv_mutex_lock(&job->mutex);
    for (uint64_t now_ns; !job->has_changed && (now_ns = viv_os_now_ns()) < end_ns;)
        (void)viv_cond_wait(&job->changed, &job->mutex,
                            end_ns == VIV_FOREVER_NS ? VIV_FOREVER_NS : end_ns - now_ns);
    job->has_changed = false;
    viv_mutex_unlock(&job->mutex);
    return VIV_STATUS_OK;
}

// ---- events ----

struct events {
    struct viv_job job;
    const char *id, *type;
    uint64_t after, count; // UINT64_MAX: not given
    bool follow;
};

// "2026-01-31T12:00:00.000Z" would need a calendar: seconds since 1970 do for a log.
static int print_event(const struct viv_job *job, const struct viv_event *event)
{
    if (job->json) return viv_job_print(job, viv_job_event(event));
    (void)printf("%6" PRIu64 "  %" PRId64 ".%03d  ", event->seq, event->at_ms / 1000,
                 (int)(event->at_ms % 1000));
    viv_job_print_text(event->type);
    (void)printf("  ");
    viv_job_print_text(event->payload);
    (void)printf("\n");
    return fflush(stdout) == 0 ? VIV_STATUS_OK : VIV_STATUS_FAILED;
}

// Where the last `count` of all events begin.
static enum viv_err find_start(struct events *self)
{
    struct viv_record record;
    struct viv_job *job = &self->job;
    if (self->after != UINT64_MAX) return VIV_OK;
    self->after = 0;
    if (self->count == UINT64_MAX || self->type != NULL) return VIV_OK;
    VIV_TRY(viv_store_get(job->store, viv_job_str(self->id), &job->mem, &record, &job->diag));
    self->after = record.last_seq > self->count ? record.last_seq - self->count : 0;
    return VIV_OK;
}

static int status_at_end(struct viv_job *job, const char *id)
{
    struct viv_record record;
    const enum viv_err err =
        viv_store_get(job->store, viv_job_str(id), &job->mem, &record, &job->diag);
    return err == VIV_OK ? viv_job_status_of(record.state) : viv_job_failed(job, err);
}

static int show_events(struct events *self)
{
    struct viv_job *job = &self->job;
    struct viv_events events = {.is_ended = false};
    uint64_t left = self->follow ? UINT64_MAX : self->count;
    enum viv_err err = find_start(self);
    if (err != VIV_OK) return viv_job_failed(job, err);
    for (uint64_t next = self->after; left > 0; next = events.next) {
        const struct viv_events_query query = {
            .after = next, .type = viv_job_str(self->type), .limit = viv_min_u64(left, PAGE)};
        viv_mem_reset(&job->mem);
        err = viv_store_events_after(job->store, viv_job_str(self->id), &query, &job->mem, &events,
                                     &job->diag);
        if (err != VIV_OK) return viv_job_failed(job, err);
        for (size_t i = 0; i < events.count; i++) {
            const int status = print_event(job, &events.items[i]);
            if (status != VIV_STATUS_OK) return status;
        }
        left -= events.count;
        if (events.is_ended || (events.count == 0 && !self->follow)) break;
        const int status = events.count == 0 ? viv_job_pause(job, VIV_FOREVER_NS) : VIV_STATUS_OK;
        if (status != VIV_STATUS_OK) return status;
    }
    return self->follow ? status_at_end(job, self->id) : VIV_STATUS_OK;
}

int viv_job_events(int count, char **args)
{
    struct events self = {
        .job = {.command = "job events"}, .after = UINT64_MAX, .count = UINT64_MAX};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(self.job),
                                           {"follow", 'f', VIV_CLI_FLAG, &self.follow},
                                           {"after", 0, VIV_CLI_COUNT, &self.after},
                                           {"type", 0, VIV_CLI_TEXT, &self.type},
                                           {"lines", 'n', VIV_CLI_COUNT, &self.count}};
    const struct viv_cli_command command = {"job events", table, VIV_COUNT_OF(table), 1, 1,
                                            "one ID"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    self.id = self.job.id = args[0];
    int status = viv_job_open(&self.job, false);
    if (status == VIV_STATUS_OK) status = show_events(&self);
    viv_job_close(&self.job);
    return status;
}

// ---- await ----

static int print_output(const struct viv_job *job, const struct viv_record *record)
{
    json_t *output = viv_job_json(record->await_output);
    if (job->json) {
        json_t *object = json_object();
        viv_json_put(&object, "id", viv_job_text(record->id));
        viv_json_put(&object, "status", json_string(viv_dstate_name(record->state)));
        viv_json_put(&object, "await_output", output);
        return viv_job_print(job, object);
    }
    json_t *value = json_incref(json_object_get(output, "value"));
    if (value == NULL) return viv_job_print(job, output);
    json_decref(output);
    return viv_job_print(job, value);
}

// Of job->id: its state, and its output if it has ended.
static enum viv_err get_end(struct viv_job *job, uint64_t timeout_ms, struct viv_record *out_record)
{
    json_t *value;
    const struct viv_str id = viv_job_str(job->id);
    if (job->door == NULL) return viv_store_get(job->store, id, &job->mem, out_record, &job->diag);
    json_t *args = json_object();
    viv_job_put(&args, "id", id);
    viv_json_put(&args, "timeout_ms", viv_json_u64(timeout_ms));
    VIV_TRY(viv_job_ask(job, "await", args, &value));
    const json_t *output = json_object_get(value, "await_output");
    *out_record =
        (struct viv_record){.id = id,
                            .state = (enum viv_dstate)viv_json_get_u64(value, "state", 0),
                            .await_output = {viv_mem_try_copy(&job->mem, json_string_value(output),
                                                              json_string_length(output)),
                                             json_string_length(output)}};
    json_decref(value);
    return out_record->await_output.p == NULL ? VIV_E_EXHAUSTED : VIV_OK;
}

struct awaiting {
    int count, left;
    char **ids;
    bool *ended; // those whose output was printed
    bool is_any;
    int status; // the highest of them
};

static enum viv_err look(struct viv_job *job, struct awaiting *self)
{
    for (int i = 0; i < self->count && self->left > 0; i++) {
        struct viv_record record;
        if (self->ended[i]) continue;
        viv_mem_reset(&job->mem);
        job->id = self->ids[i];
        VIV_TRY(get_end(job, 0, &record));
        if (record.state == VIV_RUNNING) continue;
        self->ended[i] = true;
        self->left = self->is_any ? 0 : self->left - 1;
        const int printed = print_output(job, &record);
        const int own = printed != VIV_STATUS_OK ? printed : viv_job_status_of(record.state);
        if (own > self->status) self->status = own;
    }
    return VIV_OK;
}

// Until the last one that was looked at has ended, or for a second, when the others are looked at.
static int pause_within(struct viv_job *job, uint64_t end_ns)
{
    struct viv_record record;
    const uint64_t now_ns = viv_os_now_ns();
    const uint64_t left_ms = now_ns >= end_ns ? 0 : (end_ns - now_ns) / VIV_NS_PER_MS + 1;
    const enum viv_err err = get_end(job, viv_min_u64(left_ms, 1000), &record);
    return err == VIV_OK ? VIV_STATUS_OK : viv_job_failed(job, err);
}

int viv_job_wait(struct viv_job *job, int count, char **ids, bool is_any, uint64_t timeout_ns)
{
    const uint64_t end_ns = viv_add_sat_u64(viv_os_now_ns(), timeout_ns);
    struct awaiting self = {.count = count, .left = count, .ids = ids, .is_any = is_any};
    self.ended = viv_try_calloc((size_t)count, sizeof *self.ended, VIV_TAG_CLI);
    enum viv_err err = self.ended == NULL ? VIV_E_EXHAUSTED : look(job, &self);
    while (err == VIV_OK && self.left > 0) {
        if (viv_os_now_ns() >= end_ns) {
            err = VIV_E_TIMEOUT;
            break;
        }
        const int status =
            job->door != NULL ? pause_within(job, end_ns) : viv_job_pause(job, end_ns);
        if (status != VIV_STATUS_OK) {
            self.status = status;
            break;
        }
        err = look(job, &self);
    }
    if (self.ended != NULL) viv_free(self.ended, (size_t)count * sizeof *self.ended, VIV_TAG_CLI);
    return err == VIV_OK ? self.status : viv_job_failed(job, err);
}

int viv_job_await(int count, char **args)
{
    bool is_any = false;
    uint64_t timeout_ns = VIV_FOREVER_NS;
    struct viv_job job = {.command = "job await", .may_ask = true};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job),
                                           {"any", 0, VIV_CLI_FLAG, &is_any},
                                           {"timeout", 0, VIV_CLI_DURATION, &timeout_ns}};
    const struct viv_cli_command command = {"job await", table, VIV_COUNT_OF(table),
                                            1,           -1,    "one ID or more"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    int status = viv_job_open(&job, false);
    // What it waits for is copied by nobody: args outlive the store.
    if (status == VIV_STATUS_OK) status = viv_job_wait(&job, words, args, is_any, timeout_ns);
    viv_job_close(&job);
    return status;
}

// ---- changes ----

static int print_change(const struct viv_job *job, const struct viv_change *change)
{
    const struct viv_record *record = &change->record;
    if (!job->json) {
        viv_job_print_text(record->id);
        (void)printf("  %s\n", change->is_pruned ? "pruned" : viv_phase_name(record->phase));
        return VIV_STATUS_OK;
    }
    if (!change->is_pruned) return viv_job_print(job, viv_job_record(record));
    json_t *object = json_object();
    viv_json_put(&object, "id", viv_job_text(record->id));
    viv_json_put(&object, "birth", viv_json_u64(record->birth));
    viv_json_put(&object, "pruned", json_true());
    return viv_job_print(job, object);
}

// Behind each page the cursor: who reads it goes on from there.
static int print_cursor(const struct viv_job *job, const struct viv_cursor *cursor)
{
    char text[VIV_CURSOR_CHARS];
    viv_cursor_format(cursor, text);
    if (job->json) return viv_job_print(job, json_pack("{ss}", "cursor", text));
    (void)printf("cursor %s\n", text);
    return fflush(stdout) == 0 ? VIV_STATUS_OK : VIV_STATUS_FAILED;
}

static int show_changes(struct viv_job *job, const char *from, bool follow)
{
    struct viv_changes changes = {.count = 0};
    struct viv_feed_query query = {.limit = PAGE};
    int status = VIV_STATUS_OK;
    if (from != NULL && viv_cursor_parse(viv_job_str(from), &query.after) != VIV_OK)
        return viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL,
                              "--cursor " VIV_SHOWN ": not a cursor", from);
    do {
        viv_mem_reset(&job->mem);
        const enum viv_err err =
            viv_store_changes(job->store, &query, &job->mem, &changes, &job->diag);
        if (err != VIV_OK) return viv_job_failed(job, err);
        for (size_t i = 0; i < changes.count && status == VIV_STATUS_OK; i++)
            status = print_change(job, &changes.items[i]);
        query.after = changes.next;
        if (status == VIV_STATUS_OK && follow && changes.count > 0)
            status = print_cursor(job, &changes.next);
        if (status == VIV_STATUS_OK && follow && changes.count == 0)
            status = viv_job_pause(job, VIV_FOREVER_NS);
    } while (status == VIV_STATUS_OK && (follow || changes.count > 0));
    return status == VIV_STATUS_OK ? print_cursor(job, &query.after) : status;
}

int viv_job_changes(int count, char **args)
{
    const char *cursor = NULL;
    bool follow = false;
    struct viv_job job = {.command = "job changes"};
    const struct viv_cli_option table[] = {VIV_JOB_OPTIONS(job),
                                           {"cursor", 0, VIV_CLI_TEXT, &cursor},
                                           {"follow", 'f', VIV_CLI_FLAG, &follow}};
    const struct viv_cli_command command = {"job changes",   table, VIV_COUNT_OF(table), 0, 0,
                                            "no other words"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    int status = viv_job_open(&job, false);
    if (status == VIV_STATUS_OK) status = show_changes(&job, cursor, follow);
    viv_job_close(&job);
    return status;
}
