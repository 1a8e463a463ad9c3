// SPDX-License-Identifier: Apache-2.0
// Registrations: 1. the text is parsed and brought into its normal form by the shape; 2. what needs
// more than a shape is looked at; 3. hash and canonical text; 4. the fields that the core asks for.
// What a store kept has the normal form already.
#include "store/regis.h"

#include "store/output.h"
#include "store/regis_shape.h"
#include <stdatomic.h>
#include <string.h>

// ---- types of the core (1.5) ----

enum { CORE_TYPES = 10, CANCEL_GRACE_MS = 10000 };

struct viv_store__core {
    struct viv_store__type types[CORE_TYPES];
    json_t *output; // the selector of the terminal ones
};

#define OPEN_OBJECT "{\"type\":\"object\",\"additionalProperties\":true"
static const struct {
    const char *name, *schema;
    enum viv_dstate state;
} core_types[CORE_TYPES] = {
    {"process.cancel_requested",
     "{\"type\":\"object\",\"properties\":{\"reason\":{\"type\":\"string\"},"
     "\"by\":{\"type\":\"string\"}}}",
     VIV_RUNNING},
    {"process.completed", OPEN_OBJECT ",\"required\":[\"await_output\"]}", VIV_COMPLETED},
    {"process.failed", OPEN_OBJECT ",\"required\":[\"await_output\"]}", VIV_FAILED},
    {"process.cancelled", OPEN_OBJECT ",\"required\":[\"await_output\"]}", VIV_CANCELLED},
    {"process.abandoned", OPEN_OBJECT ",\"required\":[\"await_output\"]}", VIV_ABANDONED},
    {"process.attempt_started", OPEN_OBJECT "}", VIV_RUNNING},
    {"process.attempt_ended", OPEN_OBJECT "}", VIV_RUNNING},
    {"process.step", OPEN_OBJECT ",\"required\":[\"key\",\"value\"]}", VIV_RUNNING},
    {"process.checkpoint", OPEN_OBJECT "}", VIV_RUNNING},
    {"process.promise_settled", OPEN_OBJECT "}", VIV_RUNNING},
};

enum viv_err viv_store__core_new(struct viv_store__core **out_core)
{
    struct viv_store__core *core = viv_try_calloc(1, sizeof *core, VIV_TAG_STORE);
    if (core == NULL) return VIV_E_EXHAUSTED;
    core->output = json_pack("{ss}", "pointer", "/await_output");
    enum viv_err err = core->output == NULL ? VIV_E_EXHAUSTED : VIV_OK;
    for (size_t i = 0; i < CORE_TYPES && err == VIV_OK; i++) {
        struct viv_store__type *type = &core->types[i];
        *type = (struct viv_store__type){.name = core_types[i].name,
                                         .state = core_types[i].state,
                                         .output = core->output,
                                         .needs_key = true,
                                         .is_core = true,
                                         .is_anybodys = i == 0};
        err = viv_cjson_parse(core_types[i].schema, strlen(core_types[i].schema), &type->schema,
                              NULL);
    }
    if (err != VIV_OK) {
        viv_store__core_free(core);
        return err;
    }
    *out_core = core;
    return VIV_OK;
}

void viv_store__core_free(VIV_OWN struct viv_store__core *core)
{
    if (core == NULL) return;
    for (size_t i = 0; i < CORE_TYPES; i++)
        json_decref(core->types[i].schema);
    json_decref(core->output);
    viv_free(core, sizeof *core, VIV_TAG_STORE);
}

static bool is_named(const struct viv_store__type *type, struct viv_str name)
{
    return strlen(type->name) == name.n && memcmp(type->name, name.p, name.n) == 0;
}

static const struct viv_store__type *find_core(const struct viv_store__core *core,
                                               struct viv_str name)
{
    for (size_t i = 0; i < CORE_TYPES; i++)
        if (is_named(&core->types[i], name)) return &core->types[i];
    return NULL;
}

static const struct viv_store__type *find_signal(struct viv_str name)
{
    static const char prefix[] = "signal.";
    static const struct viv_store__type any_signal = {.name = prefix, .is_anybodys = true};
    const size_t len = sizeof prefix - 1;
    return name.n > len && memcmp(name.p, prefix, len) == 0 ? &any_signal : NULL;
}

const struct viv_store__type *viv_store__find_type(const struct viv_store__core *core,
                                                   const struct viv_store__reg *reg,
                                                   struct viv_str name,
                                                   const struct viv_store__type **out_core)
{
    const struct viv_store__type *known = find_core(core, name);
    *out_core = NULL;
    for (size_t i = 0; i < reg->type_count; i++) {
        if (!is_named(&reg->types[i], name)) continue;
        *out_core = known;
        return &reg->types[i];
    }
    return known != NULL ? known : find_signal(name);
}

// ---- 2. beyond the shape ----

static enum viv_err invalid(struct viv_diag *diag, const char *field, const char *what)
{
    return viv_diag_set(diag, VIV_E_INVAL, "%s: %s", field, what);
}

// A core type declared again keeps its state and selector: they may be spelled out.
static enum viv_err check_core_again(const struct viv_store__core *core, json_t *declared,
                                     struct viv_diag *diag)
{
    const json_t *name = json_object_get(declared, "name");
    const struct viv_str text = {json_string_value(name), json_string_length(name)};
    const struct viv_store__type *known = find_core(core, text);
    json_t *terminal = json_object_get(declared, "terminal");
    if (known == NULL || terminal == NULL) return VIV_OK;
    const char *state = json_string_value(json_object_get(terminal, "state"));
    json_t *output = json_object_get(terminal, "output");
    if (known->state == VIV_RUNNING || strcmp(state, viv_store__state_name(known->state)) != 0)
        return invalid(diag, known->name, "its terminal state cannot be another");
    if (output != NULL && !json_equal(output, core->output))
        return invalid(diag, known->name, "its selector cannot be another");
    (void)json_object_del(declared, "terminal");
    return VIV_OK;
}

static enum viv_err check_whole(const struct viv_store__core *core, json_t *normal,
                                struct viv_diag *diag)
{
    const char *disposition = json_string_value(json_object_get(normal, "disposition"));
    const char *input =
        json_string_value(json_object_get(json_object_get(normal, "input"), "type"));
    if (strcmp(disposition, "external") == 0 && strcmp(input, "external") != 0)
        return invalid(diag, "disposition", "external, with an input to execute");
    json_t *types = json_object_get(normal, "event_types");
    for (size_t i = 0; i < json_array_size(types); i++)
        VIV_TRY(check_core_again(core, json_array_get(types, i), diag));
    return VIV_OK;
}

// ---- 4. fields ----

static const char *text_of(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

static int64_t number_of(const json_t *object, const char *name, int64_t by_default)
{
    const json_t *value = json_object_get(object, name);
    return value == NULL ? by_default : json_integer_value(value);
}

static void read_type(const struct viv_store__core *core, const json_t *declared,
                      struct viv_store__type *type)
{
    const json_t *terminal = json_object_get(declared, "terminal");
    const json_t *wake = json_object_get(declared, "wake");
    const json_t *dedupe = json_object_get(wake, "dedupe");
    const char *no_target = text_of(wake, "no_target");
    *type = (struct viv_store__type){.name = text_of(declared, "name"),
                                     .schema = json_object_get(declared, "schema"),
                                     .output = json_object_get(terminal, "output"),
                                     .when = json_object_get(wake, "when"),
                                     .input = json_object_get(wake, "input"),
                                     .dedupe = json_object_get(wake, "dedupe"),
                                     .refuses_no_target =
                                         no_target != NULL && strcmp(no_target, "refuse") == 0};
    if (json_is_string(dedupe)) type->dedupe = NULL; // "event"
    if (terminal != NULL) (void)viv_store__state_of_name(text_of(terminal, "state"), &type->state);
    const struct viv_str name = {type->name, strlen(type->name)};
    const struct viv_store__type *known = find_core(core, name);
    type->needs_key = type->state != VIV_RUNNING;
    type->is_anybodys = find_signal(name) != NULL;
    if (known == NULL) return;
    type->is_core = true;
    type->needs_key = known->needs_key;
    type->is_anybodys = known->is_anybodys;
    type->state = known->state;
    type->output = known->output;
}

static void read_cause(struct viv_store__reg *reg, const json_t *cause)
{
    static const char *const ids[] = {"process_id", "node", "id"};
    reg->caused_type = text_of(cause, "type");
    for (size_t i = 0; i < VIV_COUNT_OF(ids) && reg->caused_id == NULL; i++)
        reg->caused_id = text_of(cause, ids[i]);
}

static void read_fields(const struct viv_store__core *core, struct viv_store__reg *reg)
{
    const json_t *normal = reg->normal, *policy = json_object_get(normal, "policy");
    const json_t *input = json_object_get(normal, "input");
    const json_t *provenance = json_object_get(normal, "provenance");
    const json_t *scope = json_object_get(provenance, "owner_scope");
    const json_t *target = json_object_get(normal, "wake_target");
    const char *disposition = text_of(normal, "disposition");
    reg->id = text_of(normal, "id");
    reg->kind = text_of(normal, "kind");
    reg->label = text_of(normal, "label");
    reg->queue = text_of(policy, "queue");
    if (reg->queue == NULL) reg->queue = "default";
    reg->session = scope == NULL ? "root" : text_of(scope, "session");
    reg->frame = text_of(scope, "frame");
    reg->module = text_of(input, "module");
    reg->input_type = text_of(input, "type");
    reg->wake_session = text_of(target, "session");
    reg->wake_frame = text_of(target, "frame");
    read_cause(reg, json_object_get(provenance, "caused_by"));
    reg->disposition = *disposition == 'r'   ? VIV_RERUNNABLE
                       : *disposition == 'o' ? VIV_OWNER_BOUND
                                             : VIV_EXTERNAL;
    reg->start_at_ms = number_of(policy, "start_at_ms", -1);
    reg->deadline_ms = number_of(policy, "deadline_ms", -1);
    reg->timeout_ms = number_of(policy, "timeout_ms", -1);
    reg->attempt_timeout_ms = number_of(policy, "attempt_timeout_ms", -1);
    reg->cancel_grace_ms = number_of(policy, "cancel_grace_ms", CANCEL_GRACE_MS);
    viv_store__retry_read(policy, &reg->retry);
    reg->is_strict = json_is_true(json_object_get(policy, "strict"));
    reg->is_ours = reg->disposition != VIV_EXTERNAL && strcmp(reg->input_type, "external") != 0;
    reg->abandons_lapsed = text_of(policy, "on_lapse") != NULL; // but for its default
    const json_t *types = json_object_get(normal, "event_types");
    for (size_t i = 0; i < reg->type_count; i++)
        read_type(core, json_array_get(types, i), &reg->types[i]);
}

// ---- 3. one registration ----

static size_t size_of(size_t type_count)
{
    return sizeof(struct viv_store__reg) + type_count * sizeof(struct viv_store__type);
}

static enum viv_err hash_normal(struct viv_store__reg *reg)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_STORE);
    enum viv_err err = viv_cjson_write(reg->normal, &text);
    if (err == VIV_OK) err = viv_cjson_hash(reg->normal, reg->hash + 2);
    if (err == VIV_OK) {
        memcpy(reg->hash, "1:", 2);
        reg->text_len = text.len_bytes;
        reg->text = viv_try_strndup((const char *)text.data, text.len_bytes, VIV_TAG_STORE);
        if (reg->text == NULL) err = VIV_E_EXHAUSTED;
    }
    viv_buf_deinit(&text);
    return err;
}

static enum viv_err make(const struct viv_store__core *core, VIV_OWN json_t *normal,
                         struct viv_store__reg **out_reg)
{
    const size_t count = json_array_size(json_object_get(normal, "event_types"));
    struct viv_store__reg *reg = viv_try_calloc(1, size_of(count), VIV_TAG_STORE);
    if (reg == NULL) {
        json_decref(normal);
        return VIV_E_EXHAUSTED;
    }
    atomic_init(&reg->refs, 1);
    reg->normal = normal;
    reg->type_count = count;
    const enum viv_err err = hash_normal(reg);
    if (err != VIV_OK) {
        viv_store__reg_drop(reg);
        return err;
    }
    read_fields(core, reg);
    *out_reg = reg;
    return VIV_OK;
}

struct viv_store__reg *viv_store__reg_take(struct viv_store__reg *reg)
{
    // Relaxed: who takes one more holds one already, or the cache's lock.
    atomic_fetch_add_explicit(&reg->refs, 1, memory_order_relaxed);
    return reg;
}

void viv_store__reg_drop(VIV_OWN struct viv_store__reg *reg)
{
    if (reg == NULL) return;
    // Release and acquire: the last one sees all that the others did before they let go.
    if (atomic_fetch_sub_explicit(&reg->refs, 1, memory_order_acq_rel) != 1) return;
    if (reg->text != NULL) viv_free(reg->text, reg->text_len + 1, VIV_TAG_STORE);
    json_decref(reg->normal);
    viv_free(reg, size_of(reg->type_count), VIV_TAG_STORE);
}

enum viv_err viv_store__reg_new(const struct viv_store__core *core, struct viv_str text,
                                struct viv_store__reg **out_reg, struct viv_diag *diag)
{
    struct viv_cjson_error error;
    json_t *value;
    if (text.n > VIV_REG_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "registration: more than %u bytes",
                            VIV_REG_BYTES_MAX);
    enum viv_err err = viv_cjson_parse(text.p, text.n, &value, &error);
    if (err == VIV_E_EXHAUSTED) return err;
    if (err != VIV_OK)
        return viv_diag_set(diag, err, "registration: %s at byte %zu", error.what,
                            error.offset_bytes);
    err = viv_store__shape_check(&viv_store__registration_shape, value, "", diag);
    if (err == VIV_OK) err = check_whole(core, value, diag);
    if (err == VIV_OK) return make(core, value, out_reg);
    json_decref(value);
    return err;
}

enum viv_err viv_store__reg_load(const struct viv_store__core *core, struct viv_str text,
                                 struct viv_store__reg **out_reg)
{
    struct viv_store__reg *reg = NULL;
    const enum viv_err err = viv_store__reg_new(core, text, &reg, NULL);
    if (err == VIV_E_EXHAUSTED) return err;
    if (err != VIV_OK) return VIV_STORE_CORRUPT;
    *out_reg = reg;
    return VIV_OK;
}

// ---- scopes ----

static size_t escape(char *out, struct viv_str text)
{
    char *at = out;
    for (size_t i = 0; i < text.n; i++) {
        const char c = text.p[i];
        if (c == '%' || c == '/') {
            *at++ = '%';
            *at++ = '2';
            *at++ = c == '%' ? '5' : 'F';
        } else {
            *at++ = c;
        }
    }
    return (size_t)(at - out);
}

char *viv_store__scope_id(struct viv_mem *mem, struct viv_str session, struct viv_str frame)
{
    static const char first[] = "session:", second[] = "/frame:";
    char *text = viv_mem_try_take(mem, sizeof first + sizeof second + 3 * (session.n + frame.n));
    if (text == NULL) return NULL;
    size_t len = sizeof first - 1;
    memcpy(text, first, sizeof first);
    len += escape(text + len, session);
    if (frame.n > 0) {
        memcpy(text + len, second, sizeof second);
        len += sizeof second - 1;
        len += escape(text + len, frame);
    }
    text[len] = '\0';
    return text;
}
