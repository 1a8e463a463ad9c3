// SPDX-License-Identifier: Apache-2.0
// What the store takes and gives, as words of a command line and as JSON with the names of the
// contract.
#include "cli/job.h"

#include "base/text.h"
#include "cli/ctl.h"
#include "os/clock.h"
#include <errno.h>
#include <string.h>

struct viv_str viv_job_str(const char *text)
{
    return text == NULL ? (struct viv_str){NULL, 0} : (struct viv_str){text, strlen(text)};
}

// ---- JSON ----

json_t *viv_job_text(struct viv_str text)
{
    return json_stringn(text.n == 0 ? "" : text.p, text.n);
}

json_t *viv_job_json(struct viv_str text)
{
    json_t *value;
    if (text.n == 0) return json_null();
    return viv_cjson_parse(text.p, text.n, &value, NULL) == VIV_OK ? value : NULL;
}

static json_t *scope_of(const struct viv_scope *scope)
{
    json_t *object = json_object();
    viv_json_put(&object, "session", viv_job_text(scope->session));
    if (scope->frame.n > 0) viv_json_put(&object, "frame", viv_job_text(scope->frame));
    return object;
}

static void put_json(json_t **object, const char *name, struct viv_str text)
{
    if (text.n > 0) viv_json_put(object, name, viv_job_json(text));
}

static void put_int(json_t **object, const char *name, int64_t number)
{
    viv_json_put(object, name, json_integer((json_int_t)number));
}

// The members of the registration, and those of the row.
json_t *viv_job_record(const struct viv_record *record)
{
    json_t *object = viv_job_json(record->registration);
    viv_json_put(&object, "birth", viv_json_u64(record->birth));
    viv_json_put(&object, "registration_hash", viv_job_text(record->hash));
    put_int(&object, "created_ms", record->created_ms);
    put_int(&object, "updated_ms", record->updated_ms);
    put_int(&object, "due_ms", record->due_ms);
    put_int(&object, "attempt", record->attempt);
    put_int(&object, "charged", record->charged);
    viv_json_put(&object, "last_sequence", viv_json_u64(record->last_seq));
    viv_json_put(&object, "status", json_string(viv_dstate_name(record->state)));
    viv_json_put(&object, "phase", json_string(viv_phase_name(record->phase)));
    put_json(&object, "await_output", record->await_output);
    put_json(&object, "external_ref", record->external_ref);
    put_json(&object, "first_started", record->first_started);
    put_json(&object, "abandon_request", record->abandon_request);
    put_json(&object, "cancel_request", record->cancel_request);
    put_json(&object, "wait", record->wait);
    if (object != NULL) (void)json_object_del(object, "wake_target"); // the row's counts
    if (record->wake_target.session.n > 0)
        viv_json_put(&object, "wake_target", scope_of(&record->wake_target));
    return object;
}

json_t *viv_job_event(const struct viv_event *event)
{
    json_t *object = json_object();
    viv_json_put(&object, "process_id", viv_job_text(event->id));
    viv_json_put(&object, "sequence", viv_json_u64(event->seq));
    viv_json_put(&object, "type", viv_job_text(event->type));
    viv_json_put(&object, "payload", viv_job_json(event->payload));
    put_int(&object, "at_ms", event->at_ms);
    if (event->key.n > 0) viv_json_put(&object, "key", viv_job_text(event->key));
    if (event->wake_id.n > 0) viv_json_put(&object, "wake_id", viv_job_text(event->wake_id));
    if (event->semantics.n > 0) {
        json_t *semantics = viv_job_json(event->semantics);
        if (semantics == NULL || json_object_update(object, semantics) != 0) {
            json_decref(object);
            object = NULL;
        }
        json_decref(semantics);
    }
    return object;
}

bool viv_job_write(FILE *to, json_t *value)
{
    struct viv_buf line;
    viv_buf_init(&line, VIV_TAG_CLI);
    enum viv_err err = viv_cjson_write(value, &line);
    if (err == VIV_OK) err = viv_buf_append(&line, "\n", 1);
    const bool is_good = err == VIV_OK &&
                         fwrite(line.data, 1, line.len_bytes, to) == line.len_bytes &&
                         fflush(to) == 0;
    viv_buf_deinit(&line);
    return is_good;
}

int viv_job_print(const struct viv_job *job, VIV_OWN json_t *value)
{
    if (value == NULL)
        return viv_job_refuse(job, VIV_STATUS_FAILED, VIV_E_EXHAUSTED, "out of memory");
    const bool is_good = viv_job_write(stdout, value);
    json_decref(value);
    if (is_good) return VIV_STATUS_OK;
    return viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output: %s", strerror(errno));
}

void viv_job_print_text(struct viv_str text)
{
    char piece[512];
    for (size_t at = 0; at < text.n; at += sizeof piece - 1) {
        (void)snprintf(piece, sizeof piece, "%.*s", (int)viv_min_u64(text.n - at, sizeof piece - 1),
                       text.p + at);
        viv_cli_print_escaped(piece, 0);
    }
}

int viv_job_status_of(enum viv_dstate state)
{
    switch (state) {
    case VIV_RUNNING:
    case VIV_COMPLETED:
        return VIV_STATUS_OK;
    case VIV_FAILED:
        return VIV_JOB_FAILED;
    case VIV_CANCELLED:
        return VIV_JOB_CANCELLED;
    case VIV_ABANDONED:
        return VIV_JOB_ABANDONED;
    }
    return VIV_STATUS_FAILED;
}

// ---- scopes ----

// %25 and %2F, as a scope id is written.
static bool unescape(struct viv_mem *mem, const char *text, size_t len, struct viv_str *out)
{
    size_t used = 0;
    char *copy = viv_mem_try_take(mem, len + 1);
    if (copy == NULL) return false;
    for (size_t i = 0; i < len; i++) {
        copy[used++] = text[i];
        if (text[i] != '%') continue;
        if (len - i < 3 || (memcmp(text + i, "%25", 3) != 0 && memcmp(text + i, "%2F", 3) != 0))
            return false;
        copy[used - 1] = text[i + 2] == '5' ? '%' : '/';
        i += 2;
    }
    *out = (struct viv_str){copy, used};
    return true;
}

bool viv_job_scope(struct viv_job *job, const char *text, struct viv_scope *out_scope)
{
    struct viv_scope scope = {.session = {NULL, 0}};
    const char *slash = strchr(text, '/');
    const size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    bool is_good = unescape(&job->mem, text, len, &scope.session) && scope.session.n > 0;
    if (is_good && slash != NULL)
        is_good = strchr(slash + 1, '/') == NULL &&
                  unescape(&job->mem, slash + 1, strlen(slash + 1), &scope.frame) &&
                  scope.frame.n > 0;
    if (is_good) *out_scope = scope;
    if (!is_good)
        (void)viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL,
                             VIV_SHOWN ": want SESSION or SESSION/FRAME, with %%25 for %% and "
                                       "%%2F for /",
                             text);
    return is_good;
}

// ---- times ----

static int64_t days_of(int64_t year, int64_t month, int64_t day) // since 1970-01-01
{
    year -= month <= 2;
    const int64_t era = year / 400, of_era = year - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool read_date(const char *text, int64_t *out_ms)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    int fields[6] = {0};
    size_t field = 0;
    if (strlen(text) != sizeof form - 1) return false;
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'd') {
            if (text[i] < '0' || text[i] > '9') return false;
            fields[field] = 10 * fields[field] + (text[i] - '0');
        } else {
            if (text[i] != form[i]) return false;
            field++;
        }
    }
    if (fields[0] < 1970 || fields[1] < 1 || fields[1] > 12 || fields[2] < 1 || fields[2] > 31 ||
        fields[3] > 23 || fields[4] > 59 || fields[5] > 60)
        return false;
    const int64_t days = days_of(fields[0], fields[1], fields[2]);
    *out_ms = (((days * 24 + fields[3]) * 60 + fields[4]) * 60 + fields[5]) * 1000;
    return true;
}

bool viv_job_time(struct viv_job *job, const char *name, const char *text, int64_t *out_ms)
{
    uint64_t number;
    const int64_t now_ms = (int64_t)(viv_os_wall_ns() / VIV_NS_PER_MS);
    if (text[0] == '+' || text[0] == '-') {
        if (viv_parse_duration(text + 1, &number) == VIV_OK) {
            const int64_t span_ms = (int64_t)(number / VIV_NS_PER_MS);
            *out_ms = text[0] == '+'
                          ? now_ms + span_ms
                          : now_ms - (int64_t)viv_min_u64((uint64_t)span_ms, (uint64_t)now_ms);
            return true;
        }
    } else if (viv_parse_u64(text, &number) == VIV_OK && number <= INT64_MAX) {
        *out_ms = (int64_t)number;
        return true;
    } else if (read_date(text, out_ms)) {
        return true;
    }
    (void)viv_job_refuse(job, VIV_STATUS_USAGE, VIV_E_INVAL,
                         "%s " VIV_SHOWN ": want +10m, -10m, 2026-01-31T12:00:00Z or milliseconds "
                         "since 1970",
                         name, text);
    return false;
}
