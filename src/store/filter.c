// SPDX-License-Identifier: Apache-2.0
// Filters.
#include "store/filter.h"

#include "store/list.h"
#include "store/output.h"
#include <string.h>

enum { FILTER_BYTES = 16384, STATES = 5, ARGS_MAX = VIV_FILTER_ARGS + 4 };

// Arguments of VIV_FILTER_SQL, from 0.
enum {
    A_STATE = 0,
    A_DISPOSITION = STATES,
    A_QUEUE,
    A_WAITING,
    A_CANCEL,
    A_SPEC,
    A_KIND,
    A_LABEL,
    A_SESSION,
    A_SCOPE,
    A_MODULE,
    A_CAUSE,
    A_FROM,
    A_TO,
};
_Static_assert(A_TO + 1 == VIV_FILTER_ARGS, "the statement's arguments");

static const char *const phase_words[VIV_PHASE_COUNT + 1] = {
    "queued",  "completed", "failed",  "cancelled", "abandoned", "cancelling",
    "waiting", "running",   "backoff", "scheduled", NULL};
static const char *const state_words[STATES + 1] = {"running",   "completed", "failed",
                                                    "cancelled", "abandoned", NULL};
static const char *const disposition_words[] = {"rerunnable", "owner_bound", "external", NULL};

const char *viv_phase_name(enum viv_phase phase)
{
    return phase_words[phase];
}

const char *viv_dstate_name(enum viv_dstate state)
{
    return state_words[state];
}

const char *viv_disposition_name(enum viv_disposition disposition)
{
    return disposition_words[disposition - VIV_RERUNNABLE];
}

static const struct viv_shape bool_shape = {.kind = VIV_SHAPE_BOOL};
static const struct viv_shape time_shape = {.kind = VIV_SHAPE_INT, .max = INT64_MAX};
static const struct viv_shape some_text = {.kind = VIV_SHAPE_TEXT, .min = 1, .max = 2048};

static enum viv_err check_text(json_t *value, const char *path, struct viv_diag *diag)
{
    VIV_TRY(viv_store__shape_check(&some_text, value, path, diag));
    if (strlen(json_string_value(value)) == json_string_length(value)) return VIV_OK;
    return viv_diag_set(diag, VIV_E_INVAL, "%s: holds U+0000", path);
}

static const struct viv_shape text_shape = {.kind = VIV_SHAPE_OTHER, .check = check_text};
static const struct viv_shape phase_shape = {.kind = VIV_SHAPE_WORD, .words = phase_words};
static const struct viv_shape state_shape = {.kind = VIV_SHAPE_WORD, .words = state_words};
static const struct viv_shape states_shape = {
    .kind = VIV_SHAPE_LIST, .max = STATES, .item = &state_shape};
static const struct viv_shape disposition_shape = {.kind = VIV_SHAPE_WORD,
                                                   .words = disposition_words};
static const struct viv_shape_field cause_fields[] = {
    {"type", &viv_store__id_shape, true, NULL}, {"id", &viv_store__id_shape, true, NULL}, {0}};
static const struct viv_shape cause_shape = {.kind = VIV_SHAPE_OBJECT, .fields = cause_fields};
static const struct viv_shape_field fields[] = {
    {"status", &states_shape, false, NULL},
    {"phase", &phase_shape, false, NULL},
    {"waiting", &bool_shape, false, NULL},
    {"disposition", &disposition_shape, false, NULL},
    {"kind", &viv_store__id_shape, false, NULL},
    {"label", &viv_store__id_shape, false, NULL},
    {"owner_session", &viv_store__id_shape, false, NULL},
    {"scope_id", &text_shape, false, NULL},
    {"module", &text_shape, false, NULL},
    {"queue", &viv_store__id_shape, false, NULL},
    {"caused_by", &cause_shape, false, NULL},
    {"created_from_ms", &time_shape, false, NULL},
    {"created_to_ms", &time_shape, false, NULL},
    {"cancel_requested", &bool_shape, false, NULL},
    {0}};
static const struct viv_shape filter_shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};

// ---- arguments ----

static void set_int(struct viv_store__filter *filter, size_t index, int64_t number)
{
    filter->args[index] = (struct viv_db_value){.type = VIV_DB_INT, .number = number};
}

static void set_text(struct viv_store__filter *filter, size_t index, struct viv_str text)
{
    filter->args[index] = (struct viv_db_value){.type = VIV_DB_TEXT, .text = text};
}

void viv_store__filter_init(struct viv_store__filter *filter)
{
    *filter = (struct viv_store__filter){.phase = VIV_PHASE_COUNT};
    for (size_t i = 0; i < VIV_FILTER_ARGS; i++)
        set_text(filter, i, (struct viv_str){"", 0});
    for (size_t i = 0; i < STATES; i++)
        set_int(filter, A_STATE + i, (int64_t)i);
    set_int(filter, A_DISPOSITION, 0);
    set_int(filter, A_WAITING, -1);
    set_int(filter, A_CANCEL, -1);
    set_int(filter, A_SPEC, 0);
    set_int(filter, A_FROM, INT64_MIN);
    set_int(filter, A_TO, INT64_MAX);
}

void viv_store__filter_deinit(struct viv_store__filter *filter)
{
    json_decref(filter->value);
}

// The states of the set, and of the phase; the first of them fills the places that are left.
static void read_states(struct viv_store__filter *filter)
{
    bool wanted[STATES] = {false};
    size_t count = 0;
    const json_t *status = json_object_get(filter->value, "status");
    const char *phase = json_string_value(json_object_get(filter->value, "phase"));
    for (size_t i = 0; i < STATES; i++) {
        wanted[i] = status == NULL;
        for (size_t k = 0; k < json_array_size(status); k++)
            if (strcmp(json_string_value(json_array_get(status, k)), state_words[i]) == 0)
                wanted[i] = true;
    }
    for (size_t i = 0; phase != NULL && i < VIV_PHASE_COUNT; i++)
        if (strcmp(phase, phase_words[i]) == 0) filter->phase = (enum viv_phase)i;
    if (filter->phase != VIV_PHASE_COUNT) {
        const bool is_end =
            filter->phase >= VIV_PHASE_COMPLETED && filter->phase <= VIV_PHASE_ABANDONED;
        const size_t only = is_end ? (size_t)filter->phase : VIV_RUNNING;
        for (size_t i = 0; i < STATES; i++)
            wanted[i] = wanted[i] && i == only;
    }
    for (size_t i = 0; i < STATES; i++)
        if (wanted[i]) set_int(filter, A_STATE + count++, (int64_t)i);
    filter->is_empty = count == 0;
    for (size_t i = count; i < STATES; i++)
        set_int(filter, A_STATE + i, filter->args[A_STATE].number);
}

static void read_disposition(struct viv_store__filter *filter)
{
    const char *word = json_string_value(json_object_get(filter->value, "disposition"));
    for (size_t i = 0; word != NULL && disposition_words[i] != NULL; i++)
        if (strcmp(word, disposition_words[i]) == 0)
            set_int(filter, A_DISPOSITION, (int64_t)i + VIV_RERUNNABLE);
}

// Kept as TYPE:ID, see SPEC_PUT.
static enum viv_err read_cause(struct viv_store__filter *filter, struct viv_mem *mem)
{
    struct viv_str text;
    const json_t *cause = json_object_get(filter->value, "caused_by");
    if (cause == NULL) return VIV_OK;
    text.p =
        viv_mem_try_printf(mem, &text.n, "%s:%s", json_string_value(json_object_get(cause, "type")),
                           json_string_value(json_object_get(cause, "id")));
    if (text.p == NULL) return VIV_E_EXHAUSTED;
    set_text(filter, A_CAUSE, text);
    set_int(filter, A_SPEC, 1);
    return VIV_OK;
}

static void read_members(struct viv_store__filter *filter)
{
    static const struct {
        const char *name;
        size_t arg;
    } members[] = {{"queue", A_QUEUE},    {"waiting", A_WAITING},
                   {"kind", A_KIND},      {"cancel_requested", A_CANCEL},
                   {"label", A_LABEL},    {"owner_session", A_SESSION},
                   {"scope_id", A_SCOPE}, {"created_from_ms", A_FROM},
                   {"module", A_MODULE},  {"created_to_ms", A_TO}};
    for (size_t i = 0; i < VIV_COUNT_OF(members); i++) {
        const json_t *member = json_object_get(filter->value, members[i].name);
        if (member == NULL) continue;
        if (members[i].arg > A_SPEC) set_int(filter, A_SPEC, 1);
        if (json_is_string(member))
            set_text(filter, members[i].arg,
                     (struct viv_str){json_string_value(member), json_string_length(member)});
        else
            set_int(filter, members[i].arg,
                    json_is_integer(member) ? json_integer_value(member) : json_is_true(member));
    }
}

enum viv_err viv_store__filter_read(struct viv_store__filter *filter, struct viv_str text,
                                    struct viv_mem *mem, struct viv_diag *diag)
{
    if (text.n == 0) return VIV_OK;
    VIV_TRY(viv_store__parse(text, FILTER_BYTES, "filter", &filter->value, diag));
    VIV_TRY(viv_store__shape_check(&filter_shape, filter->value, "filter", diag));
    read_states(filter);
    read_disposition(filter);
    read_members(filter);
    return read_cause(filter, mem);
}

enum viv_err viv_store__filter_send(struct viv_store__txn *txn, enum viv_stmt stmt,
                                    const struct viv_store__filter *filter, struct viv_str text,
                                    const int64_t *numbers, size_t count)
{
    struct viv_db_value args[ARGS_MAX];
    size_t used = VIV_FILTER_ARGS;
    memcpy(args, filter->args, sizeof filter->args);
    if (text.p != NULL) args[used++] = (struct viv_db_value){.type = VIV_DB_TEXT, .text = text};
    for (size_t i = 0; i < count; i++)
        args[used++] = (struct viv_db_value){.type = VIV_DB_INT, .number = numbers[i]};
    return viv_store__send_values(txn, stmt, args, used);
}
