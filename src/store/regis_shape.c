// SPDX-License-Identifier: Apache-2.0
// The shape of a registration, as tables, innermost first.
#include "store/regis_shape.h"

#include "store/schema.h"
#include "store/select.h"
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 4096, RETRY_WORDS = 10, DEDUPE_BYTES = 512, HASH_CHARS = 64, TYPES_MAX = 64 };
enum { TYPE_NAME_BYTES = 128, ARGS_MAX = 8192, ATTEMPTS_MAX = 1000, TEXT_BYTES = 262144 };

#define WORDS(name, ...) static const char *const name[] = {__VA_ARGS__, NULL}
#define OBJECT_OF(list) {.kind = VIV_SHAPE_OBJECT, .fields = (list)}
#define INT_FROM(low) {.kind = VIV_SHAPE_INT, .min = (low), .max = INT64_MAX}

static const struct viv_shape any_object = {.kind = VIV_SHAPE_OBJECT};
static const struct viv_shape bool_shape = {.kind = VIV_SHAPE_BOOL};
static const struct viv_shape any_list = {
    .kind = VIV_SHAPE_LIST, .max = ARGS_MAX, .item = &viv_store__any_shape};
static const struct viv_shape text_shape = {.kind = VIV_SHAPE_TEXT, .max = TEXT_BYTES};
static const struct viv_shape word_shape = {.kind = VIV_SHAPE_TEXT, .min = 1, .max = LINE_BYTES};
static const struct viv_shape time_shape = INT_FROM(0);
static const struct viv_shape span_shape = INT_FROM(1);

// ---- input ----

static enum viv_err check_module(json_t *value, const char *path, struct viv_diag *diag)
{
    static const char prefix[] = "sha256:";
    const char *text = json_string_value(value);
    if (text != NULL && strncmp(text, prefix, sizeof prefix - 1) == 0) {
        text += sizeof prefix - 1;
        if (strlen(text) == HASH_CHARS && strspn(text, "0123456789abcdef") == HASH_CHARS)
            return VIV_OK;
    }
    return viv_diag_set(diag, VIV_E_INVAL, "%s: not sha256: and 64 lower-case hex digits", path);
}

static enum viv_err check_env(json_t *value, const char *path, struct viv_diag *diag)
{
    const char *name;
    json_t *member;
    if (!json_is_object(value)) return viv_diag_set(diag, VIV_E_INVAL, "%s: not an object", path);
    json_object_foreach(
        value, name,
        member) if (*name == '\0' || strchr(name, '=') != NULL ||
                    !json_is_string(
                        member)) return viv_diag_set(diag, VIV_E_INVAL,
                                                     "%s: \"%.60s\" is no variable with a text",
                                                     path, name);
    return VIV_OK;
}

WORDS(result_words, "exit", "stdout", "json");
static const struct viv_shape module_shape = {.kind = VIV_SHAPE_OTHER, .check = check_module};
static const struct viv_shape env_shape = {.kind = VIV_SHAPE_OTHER, .check = check_env};
static const struct viv_shape result_shape = {.kind = VIV_SHAPE_WORD, .words = result_words};
static const struct viv_shape argv_shape = {
    .kind = VIV_SHAPE_LIST, .min = 1, .max = ARGS_MAX, .item = &text_shape};
static const struct viv_shape code_shape = {
    .kind = VIV_SHAPE_LIST, .max = ARGS_MAX, .item = &module_shape};

static const struct viv_shape_field wasm_fields[] = {{"module", &module_shape, true, NULL},
                                                     {"function", &word_shape, true, NULL},
                                                     {"args", &any_list, false, "[]"},
                                                     {"env", &env_shape, false, "{}"},
                                                     {0}};
static const struct viv_shape_field beam_fields[] = {{"m", &word_shape, true, NULL},
                                                     {"f", &word_shape, true, NULL},
                                                     {"a", &any_list, false, "[]"},
                                                     {"code", &code_shape, false, "[]"},
                                                     {0}};
static const struct viv_shape_field native_fields[] = {{"argv", &argv_shape, true, NULL},
                                                       {"env", &env_shape, false, "{}"},
                                                       {"cwd", &word_shape, false, NULL},
                                                       {"stdin", &text_shape, false, "\"\""},
                                                       {"result", &result_shape, false, "\"exit\""},
                                                       {0}};
static const struct viv_shape_field host_fields[] = {
    {"name", &word_shape, true, NULL}, {"args", &viv_store__any_shape, false, "null"}, {0}};
static const struct viv_shape_field external_fields[] = {
    {"metadata", &viv_store__any_shape, false, "null"}, {0}};
static const struct viv_shape_variant inputs[] = {
    {"wasm", wasm_fields}, {"beam", beam_fields},         {"native", native_fields},
    {"host", host_fields}, {"external", external_fields}, {0}};
static const struct viv_shape input_shape = {.kind = VIV_SHAPE_UNION, .variants = inputs};

// ---- scopes, provenance ----

// An empty frame is no frame.
static enum viv_err check_frame(json_t *value, const char *path, struct viv_diag *diag)
{
    if (json_is_string(value) && json_string_length(value) == 0) return VIV_OK;
    return viv_store__shape_check(&viv_store__id_shape, value, path, diag);
}

static const struct viv_shape frame_shape = {.kind = VIV_SHAPE_OTHER, .check = check_frame};
static const struct viv_shape_field scope_fields[] = {
    {"session", &viv_store__id_shape, true, NULL}, {"frame", &frame_shape, false, "\"\""}, {0}};
static const struct viv_shape scope_shape = OBJECT_OF(scope_fields);

static const struct viv_shape_field process_fields[] = {
    {"process_id", &viv_store__id_shape, true, NULL}, {0}};
static const struct viv_shape_field process_event_fields[] = {
    {"process_id", &viv_store__id_shape, true, NULL}, {"sequence", &span_shape, true, NULL}, {0}};
static const struct viv_shape_field node_fields[] = {
    {"session", &viv_store__id_shape, true, NULL}, {"node", &viv_store__id_shape, true, NULL}, {0}};
static const struct viv_shape_field outside_fields[] = {
    {"system", &viv_store__id_shape, true, NULL}, {"id", &viv_store__id_shape, true, NULL}, {0}};
static const struct viv_shape_variant causes[] = {{"process", process_fields},
                                                  {"process_event", process_event_fields},
                                                  {"scope_node", node_fields},
                                                  {"external", outside_fields},
                                                  {0}};
static const struct viv_shape cause_shape = {.kind = VIV_SHAPE_UNION, .variants = causes};
static const struct viv_shape_field provenance_fields[] = {
    {"owner_scope", &scope_shape, false, "{\"session\":\"root\"}"},
    {"profile", &viv_store__id_shape, false, "\"default\""},
    {"caused_by", &cause_shape, false, NULL},
    {0}};
static const struct viv_shape provenance_shape = OBJECT_OF(provenance_fields);

// ---- policy ----

static int compare_items(const void *a, const void *b)
{
    return strcmp(json_string_value(*(json_t *const *)a), json_string_value(*(json_t *const *)b));
}

WORDS(retry_words, "*", "lost", "invalid_request", "unavailable", "permission_denied", "timeout",
      "execution", "external", "resource_limit", "internal");
static const struct viv_shape retry_word = {.kind = VIV_SHAPE_WORD, .words = retry_words};
static const struct viv_shape retry_list = {
    .kind = VIV_SHAPE_LIST, .max = RETRY_WORDS, .item = &retry_word};

// A set: sorted, each word once.
static enum viv_err check_retry(json_t *value, const char *path, struct viv_diag *diag)
{
    json_t *items[RETRY_WORDS];
    VIV_TRY(viv_store__shape_check(&retry_list, value, path, diag));
    const size_t count = json_array_size(value);
    for (size_t i = 0; i < count; i++)
        items[i] = json_incref(json_array_get(value, i));
    qsort(items, count, sizeof *items, compare_items);
    (void)json_array_clear(value);
    int failed = 0;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || compare_items(&items[i - 1], &items[i]) != 0)
            failed |= json_array_append(value, items[i]);
    }
    for (size_t i = 0; i < count; i++)
        json_decref(items[i]);
    return failed == 0 ? VIV_OK : VIV_E_EXHAUSTED;
}

WORDS(lapse_words, "wait", "abandon");
static const struct viv_shape retry_shape = {.kind = VIV_SHAPE_OTHER, .check = check_retry};
static const struct viv_shape lapse_shape = {.kind = VIV_SHAPE_WORD, .words = lapse_words};
static const struct viv_shape attempts_shape = {
    .kind = VIV_SHAPE_INT, .min = 1, .max = ATTEMPTS_MAX};
static const struct viv_shape factor_shape = {.kind = VIV_SHAPE_NUMBER, .min = 1, .max = 1000};
static const struct viv_shape jitter_shape = {.kind = VIV_SHAPE_NUMBER, .min = 0, .max = 1};
static const struct viv_shape_field backoff_fields[] = {{"initial_ms", &time_shape, false, "1000"},
                                                        {"factor", &factor_shape, false, "2"},
                                                        {"max_ms", &time_shape, false, "300000"},
                                                        {"jitter", &jitter_shape, false, "0.2"},
                                                        {0}};
static const struct viv_shape backoff_shape = OBJECT_OF(backoff_fields);
static const struct viv_shape_field policy_fields[] = {
    {"queue", &viv_store__id_shape, false, "\"default\""},
    {"start_at_ms", &time_shape, false, NULL},
    {"deadline_ms", &time_shape, false, NULL},
    {"timeout_ms", &span_shape, false, NULL},
    {"attempt_timeout_ms", &span_shape, false, NULL},
    {"max_attempts", &attempts_shape, false, "5"},
    {"on_lapse", &lapse_shape, false, "\"wait\""},
    {"retry_on", &retry_shape, false, "[\"lost\",\"unavailable\"]"},
    {"backoff", &backoff_shape, false, "{}"},
    {"cancel_grace_ms", &time_shape, false, "10000"},
    {"strict", &bool_shape, false, "false"},
    {"limits", &any_object, false, "{}"},
    {"caps", &any_object, false, "{}"},
    {0}};
static const struct viv_shape policy_object = OBJECT_OF(policy_fields);

static enum viv_err check_policy(json_t *value, const char *path, struct viv_diag *diag)
{
    VIV_TRY(viv_store__shape_check(&policy_object, value, path, diag));
    if (json_object_get(value, "deadline_ms") != NULL &&
        json_object_get(value, "timeout_ms") != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "%s: deadline_ms and timeout_ms together", path);
    return VIV_OK;
}

static const struct viv_shape policy_shape = {.kind = VIV_SHAPE_OTHER, .check = check_policy};

// ---- event types ----

static const struct viv_shape dedupe_text = {.kind = VIV_SHAPE_TEXT, .min = 1, .max = DEDUPE_BYTES};

// "event", {"selector": S}, {"const": "…"}
static enum viv_err check_dedupe(json_t *value, const char *path, struct viv_diag *diag)
{
    const char *word = json_string_value(value);
    if (word != NULL && strcmp(word, "event") == 0) return VIV_OK;
    json_t *selector = json_object_get(value, "selector");
    json_t *constant = json_object_get(value, "const");
    if (json_object_size(value) == 1 && selector != NULL)
        return viv_store__selector_check(selector, path, diag);
    if (json_object_size(value) == 1 && constant != NULL)
        return viv_store__shape_check(&dedupe_text, constant, path, diag);
    return viv_diag_set(diag, VIV_E_INVAL, "%s: not \"event\", a selector or a const", path);
}

static enum viv_err check_selector(json_t *value, const char *path, struct viv_diag *diag)
{
    return viv_store__selector_check(value, path, diag);
}

WORDS(state_words, "completed", "failed", "cancelled");
WORDS(target_words, "record", "refuse");
static const struct viv_shape selector_shape = {.kind = VIV_SHAPE_OTHER, .check = check_selector};
static const struct viv_shape dedupe_shape = {.kind = VIV_SHAPE_OTHER, .check = check_dedupe};
static const struct viv_shape state_shape = {.kind = VIV_SHAPE_WORD, .words = state_words};
static const struct viv_shape target_shape = {.kind = VIV_SHAPE_WORD, .words = target_words};
static const struct viv_shape_field terminal_fields[] = {
    {"state", &state_shape, true, NULL}, {"output", &selector_shape, false, NULL}, {0}};
static const struct viv_shape terminal_object = OBJECT_OF(terminal_fields);
static const struct viv_shape_field wake_fields[] = {
    {"when", &selector_shape, false, NULL},
    {"input", &selector_shape, true, NULL},
    {"dedupe", &dedupe_shape, false, "\"event\""},
    {"no_target", &target_shape, false, "\"record\""},
    {0}};
static const struct viv_shape wake_shape = OBJECT_OF(wake_fields);

static enum viv_err check_terminal(json_t *value, const char *path, struct viv_diag *diag)
{
    VIV_TRY(viv_store__shape_check(&terminal_object, value, path, diag));
    const char *state = json_string_value(json_object_get(value, "state"));
    if (strcmp(state, "completed") != 0 && json_object_get(value, "output") == NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "%s.output: is missing", path);
    return VIV_OK;
}

static enum viv_err check_schema(json_t *value, const char *path, struct viv_diag *diag)
{
    return viv_store__schema_check(value, path, diag);
}

static const struct viv_shape type_name_shape = {
    .kind = VIV_SHAPE_TEXT, .min = 1, .max = TYPE_NAME_BYTES};

static enum viv_err check_type_name(json_t *value, const char *path, struct viv_diag *diag)
{
    VIV_TRY(viv_store__shape_check(&type_name_shape, value, path, diag));
    return viv_store__shape_check(&viv_store__id_shape, value, path, diag);
}

static const struct viv_shape name_shape = {.kind = VIV_SHAPE_OTHER, .check = check_type_name};
static const struct viv_shape schema_shape = {.kind = VIV_SHAPE_OTHER, .check = check_schema};
static const struct viv_shape terminal_shape = {.kind = VIV_SHAPE_OTHER, .check = check_terminal};
static const struct viv_shape_field type_fields[] = {{"name", &name_shape, true, NULL},
                                                     {"schema", &schema_shape, false, "true"},
                                                     {"terminal", &terminal_shape, false, NULL},
                                                     {"wake", &wake_shape, false, NULL},
                                                     {0}};
static const struct viv_shape type_object = OBJECT_OF(type_fields);

static enum viv_err check_type(json_t *value, const char *path, struct viv_diag *diag)
{
    VIV_TRY(viv_store__shape_check(&type_object, value, path, diag));
    const json_t *schema = json_object_get(value, "schema"); // {} is true, the default
    if (json_is_object(schema) && json_object_size(schema) == 0)
        (void)json_object_del(value, "schema");
    return VIV_OK;
}

static const struct viv_shape type_shape = {.kind = VIV_SHAPE_OTHER, .check = check_type};
static const struct viv_shape types_list = {
    .kind = VIV_SHAPE_LIST, .max = TYPES_MAX, .item = &type_shape};

static int compare_types(const void *a, const void *b)
{
    return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "name")),
                  json_string_value(json_object_get(*(json_t *const *)b, "name")));
}

// Sorted by name, no name twice.
static enum viv_err check_types(json_t *value, const char *path, struct viv_diag *diag)
{
    json_t *items[TYPES_MAX];
    VIV_TRY(viv_store__shape_check(&types_list, value, path, diag));
    const size_t count = json_array_size(value);
    for (size_t i = 0; i < count; i++)
        items[i] = json_incref(json_array_get(value, i));
    qsort(items, count, sizeof *items, compare_types);
    enum viv_err err = VIV_OK;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && compare_types(&items[i - 1], &items[i]) == 0)
            err = viv_diag_set(diag, VIV_E_INVAL, "%s: \"%.60s\" is declared twice", path,
                               json_string_value(json_object_get(items[i], "name")));
        (void)json_array_set_new(value, i, items[i]); // in its bounds: cannot fail
    }
    return err;
}

// ---- the whole ----

WORDS(disposition_words, "rerunnable", "owner_bound", "external");
static const struct viv_shape disposition_shape = {.kind = VIV_SHAPE_WORD,
                                                   .words = disposition_words};
static const struct viv_shape types_shape = {.kind = VIV_SHAPE_OTHER, .check = check_types};
static const struct viv_shape_field fields[] = {
    {"id", &viv_store__id_shape, true, NULL},        {"input", &input_shape, true, NULL},
    {"disposition", &disposition_shape, true, NULL}, {"event_types", &types_shape, false, "[]"},
    {"provenance", &provenance_shape, false, "{}"},  {"wake_target", &scope_shape, false, NULL},
    {"kind", &viv_store__id_shape, false, NULL},     {"label", &viv_store__id_shape, false, NULL},
    {"policy", &policy_shape, false, "{}"},          {0}};
const struct viv_shape viv_store__registration_shape = OBJECT_OF(fields);
