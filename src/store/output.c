// SPDX-License-Identifier: Apache-2.0
// Await outputs.
#include "store/output.h"

#include "store/select.h"
#include <string.h>

static const char *const classes[] = {"invalid_request", "unavailable", "permission_denied",
                                      "timeout",         "execution",   "external",
                                      "resource_limit",  "internal",    NULL};
static const char *const writers[] = {"owner_drain", "sweep", "reconciled_request", NULL};
static const struct viv_shape class_shape = {.kind = VIV_SHAPE_WORD, .words = classes};
static const struct viv_shape writer_shape = {.kind = VIV_SHAPE_WORD, .words = writers};
static const struct viv_shape text_shape = {.kind = VIV_SHAPE_TEXT, .max = INT64_MAX};
static const struct viv_shape time_shape = {
    .kind = VIV_SHAPE_INT, .min = INT64_MIN, .max = INT64_MAX};

static const struct viv_shape_field owner_fields[] = {
    {"owner_id", &viv_store__id_shape, true, NULL},
    {"incarnation", &viv_store__id_shape, false, NULL},
    {0}};
static const struct viv_shape owner_shape = {.kind = VIV_SHAPE_OBJECT, .fields = owner_fields};
static const struct viv_shape_field evidence_fields[] = {{"writer", &writer_shape, true, NULL},
                                                         {"owner", &owner_shape, false, NULL},
                                                         {"at_ms", &time_shape, true, NULL},
                                                         {0}};
static const struct viv_shape evidence_shape = {.kind = VIV_SHAPE_OBJECT,
                                                .fields = evidence_fields};
static const struct viv_shape_field success_fields[] = {
    {"value", &viv_store__any_shape, true, NULL},
    {"control", &viv_store__any_shape, false, NULL},
    {0}};
static const struct viv_shape_field failure_fields[] = {
    {"class", &class_shape, true, NULL},
    {"code", &text_shape, true, NULL},
    {"message", &text_shape, true, NULL},
    {"raw", &viv_store__any_shape, false, NULL},
    {"control", &viv_store__any_shape, false, NULL},
    {0}};
static const struct viv_shape_field cancelled_fields[] = {
    {"message", &text_shape, true, NULL},
    {"raw", &viv_store__any_shape, false, NULL},
    {"control", &viv_store__any_shape, false, NULL},
    {0}};
static const struct viv_shape_field abandoned_fields[] = {
    {"evidence", &evidence_shape, true, NULL},
    {"control", &viv_store__any_shape, false, NULL},
    {0}};
static const struct viv_shape_variant outputs[] = {{"success", success_fields},
                                                   {"failure", failure_fields},
                                                   {"cancelled", cancelled_fields},
                                                   {"abandoned", abandoned_fields},
                                                   {0}};
const struct viv_shape viv_store__output_shape = {.kind = VIV_SHAPE_UNION, .variants = outputs};

static const struct {
    const char *state, *output;
} names[] = {[VIV_RUNNING] = {"running", NULL},
             [VIV_COMPLETED] = {"completed", "success"},
             [VIV_FAILED] = {"failed", "failure"},
             [VIV_CANCELLED] = {"cancelled", "cancelled"},
             [VIV_ABANDONED] = {"abandoned", "abandoned"}};

const char *viv_store__state_name(enum viv_dstate state)
{
    return names[state].state;
}

enum viv_err viv_store__state_of_name(const char *name, enum viv_dstate *out_state)
{
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        if (strcmp(names[i].state, name) != 0) continue;
        *out_state = (enum viv_dstate)i;
        return VIV_OK;
    }
    return VIV_E_INVAL;
}

// RUNNING: none of them.
static enum viv_dstate find_state(const json_t *output)
{
    const char *type = json_string_value(json_object_get(output, "type"));
    for (size_t i = VIV_COMPLETED; type != NULL && i < VIV_COUNT_OF(names); i++)
        if (strcmp(names[i].output, type) == 0) return (enum viv_dstate)i;
    return VIV_RUNNING;
}

enum viv_dstate viv_store__state_of_output(const json_t *output)
{
    return find_state(output);
}

static json_t *wrap(enum viv_dstate state, json_t *selected, const char *form, size_t len)
{
    if (state == VIV_COMPLETED) return json_pack("{sssO}", "type", "success", "value", selected);
    if (state == VIV_CANCELLED)
        return json_pack("{sssosO}", "type", "cancelled", "message", json_stringn(form, len), "raw",
                         selected);
    return json_pack("{sssssssosO}", "type", "failure", "class", "execution", "code",
                     "process_failed", "message", json_stringn(form, len), "raw", selected);
}

enum viv_err viv_store__output_of(enum viv_dstate state, json_t *selected, json_t **out_output,
                                  struct viv_diag *diag)
{
    const enum viv_dstate found = find_state(selected);
    if (found != VIV_RUNNING) {
        const enum viv_err err =
            viv_store__shape_check(&viv_store__output_shape, selected, "output", diag);
        if (err == VIV_E_INVAL || err == VIV_E_TOOBIG) return VIV_STORE_OUTPUT;
        VIV_TRY(err);
        if (found != state)
            return viv_diag_set(diag, VIV_STORE_OUTPUT, "output: %s does not end as %s",
                                names[found].output, names[state].state);
        *out_output = json_incref(selected);
        return VIV_OK;
    }
    struct viv_buf form;
    viv_buf_init(&form, VIV_TAG_STORE);
    enum viv_err err = viv_store__string_form(selected, &form);
    if (err == VIV_OK) {
        json_t *output =
            wrap(state, selected, form.data == NULL ? "" : (const char *)form.data, form.len_bytes);
        if (output == NULL)
            err = VIV_E_EXHAUSTED;
        else
            *out_output = output;
    }
    viv_buf_deinit(&form);
    return err;
}
