// SPDX-License-Identifier: Apache-2.0
// Shapes: one walk down a value and its table. As deep as the tables are nested.
#include "store/shape.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 256 };

const struct viv_shape viv_store__id_shape = {.kind = VIV_SHAPE_ID};
const struct viv_shape viv_store__any_shape = {.kind = VIV_SHAPE_ANY};

// The property White_Space of Unicode, without the control characters.
static bool is_space(uint32_t code)
{
    return code == ' ' || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool viv_store__is_id(const char *text, size_t len)
{
    if (len == 0 || len > VIV_STORE_ID_BYTES_MAX) return false;
    bool is_blank = true;
    uint32_t code;
    for (size_t pos = 0, step; pos < len; pos += step) {
        step = viv_utf8_decode((const uint8_t *)text + pos, len - pos, &code);
        if (step == 0 || code < 0x20 || code == 0x7F) return false;
        is_blank = is_blank && (is_space(code) || code == 0x85);
    }
    return !is_blank;
}

static enum viv_err fail(struct viv_diag *diag, const char *path, const char *what)
{
    return viv_diag_set(diag, VIV_E_INVAL, "%s: %s", *path == '\0' ? "value" : path, what);
}

static enum viv_err fail_size(struct viv_diag *diag, const char *path, const char *what)
{
    return viv_diag_set(diag, VIV_E_TOOBIG, "%s: %s", *path == '\0' ? "value" : path, what);
}

static void join(char out[PATH_BYTES], const char *path, const char *name)
{
    (void)snprintf(out, PATH_BYTES, "%s%s%.100s", path, *path == '\0' ? "" : ".", name);
}

// Leaves out members that equal their default.
static enum viv_err drop_default(json_t *object, const struct viv_shape_field *field)
{
    json_t *normal;
    VIV_TRY(viv_cjson_parse(field->fallback, strlen(field->fallback), &normal, NULL));
    const bool is_equal = json_equal(json_object_get(object, field->name), normal) != 0;
    json_decref(normal);
    if (is_equal) (void)json_object_del(object, field->name);
    return VIV_OK;
}

static const struct viv_shape_field *find_field(const struct viv_shape_field *fields,
                                                const char *name)
{
    for (; fields->name != NULL; fields++)
        if (strcmp(fields->name, name) == 0) return fields;
    return NULL;
}

static enum viv_err check_unknown(const struct viv_shape_field *fields, const char *tag_name,
                                  json_t *object, const char *path, struct viv_diag *diag)
{
    const char *name;
    json_t *member;
    char inner[PATH_BYTES];
    json_object_foreach(object, name, member)
    {
        if (find_field(fields, name) != NULL) continue;
        if (tag_name != NULL && strcmp(name, tag_name) == 0) continue;
        join(inner, path, name);
        return fail(diag, inner, "unknown field");
    }
    return VIV_OK;
}

static enum viv_err check_fields(const struct viv_shape_field *fields, const char *tag_name,
                                 json_t *object, const char *path, struct viv_diag *diag)
{
    char inner[PATH_BYTES];
    VIV_TRY(check_unknown(fields, tag_name, object, path, diag));
    for (const struct viv_shape_field *field = fields; field->name != NULL; field++) {
        join(inner, path, field->name);
        json_t *member = json_object_get(object, field->name);
        if (member == NULL && field->is_required) return fail(diag, inner, "is missing");
        if (member == NULL) continue;
        VIV_TRY(viv_store__shape_check(field->shape, member, inner, diag));
        if (field->fallback != NULL) VIV_TRY(drop_default(object, field));
    }
    return VIV_OK;
}

static enum viv_err check_union(const struct viv_shape *shape, json_t *value, const char *path,
                                struct viv_diag *diag)
{
    char inner[PATH_BYTES];
    join(inner, path, "type");
    const char *tag = json_string_value(json_object_get(value, "type"));
    if (tag == NULL) return fail(diag, inner, "is missing");
    for (const struct viv_shape_variant *v = shape->variants; v->tag != NULL; v++)
        if (strcmp(v->tag, tag) == 0) return check_fields(v->fields, "type", value, path, diag);
    return fail(diag, inner, "not a known type");
}

static enum viv_err check_list(const struct viv_shape *shape, json_t *value, const char *path,
                               struct viv_diag *diag)
{
    char inner[PATH_BYTES];
    const size_t count = json_array_size(value);
    if (count < (uint64_t)shape->min) return fail(diag, path, "too few items");
    if (count > (uint64_t)shape->max) return fail_size(diag, path, "too many items");
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(inner, sizeof inner, "%.200s[%zu]", path, i);
        VIV_TRY(viv_store__shape_check(shape->item, json_array_get(value, i), inner, diag));
    }
    return VIV_OK;
}

static enum viv_err check_text(const struct viv_shape *shape, json_t *value, const char *path,
                               struct viv_diag *diag)
{
    const char *text = json_string_value(value);
    const size_t len = json_string_length(value);
    switch ((int)shape->kind) {
    case VIV_SHAPE_ID:
        if (len > VIV_STORE_ID_BYTES_MAX) return fail_size(diag, path, "longer than 255 bytes");
        return viv_store__is_id(text, len) ? VIV_OK : fail(diag, path, "blank or not printable");
    case VIV_SHAPE_WORD:
        for (const char *const *word = shape->words; *word != NULL; word++)
            if (strcmp(*word, text) == 0 && strlen(*word) == len) return VIV_OK;
        return fail(diag, path, "not one of its words");
    default:
        if (len < (uint64_t)shape->min) return fail(diag, path, "too short");
        return len <= (uint64_t)shape->max ? VIV_OK : fail_size(diag, path, "too long");
    }
}

static enum viv_err check_number(const struct viv_shape *shape, const json_t *value,
                                 const char *path, struct viv_diag *diag)
{
    bool is_inside;
    if (json_is_integer(value)) {
        const json_int_t number = json_integer_value(value);
        is_inside = number >= shape->min && number <= shape->max;
    } else {
        const double number = json_real_value(value);
        is_inside = number >= (double)shape->min && number <= (double)shape->max;
    }
    return is_inside ? VIV_OK : fail(diag, path, "out of its range");
}

enum viv_err viv_store__shape_check(const struct viv_shape *shape, json_t *value, const char *path,
                                    struct viv_diag *diag)
{
    switch (shape->kind) {
    case VIV_SHAPE_ANY:
        return VIV_OK;
    case VIV_SHAPE_ID:
    case VIV_SHAPE_TEXT:
    case VIV_SHAPE_WORD:
        if (!json_is_string(value)) return fail(diag, path, "not a string");
        return check_text(shape, value, path, diag);
    case VIV_SHAPE_INT:
        if (!json_is_integer(value)) return fail(diag, path, "not a whole number");
        return check_number(shape, value, path, diag);
    case VIV_SHAPE_NUMBER:
        if (!json_is_number(value)) return fail(diag, path, "not a number");
        return check_number(shape, value, path, diag);
    case VIV_SHAPE_BOOL:
        return json_is_boolean(value) ? VIV_OK : fail(diag, path, "not true or false");
    case VIV_SHAPE_OBJECT:
        if (!json_is_object(value)) return fail(diag, path, "not an object");
        return shape->fields == NULL ? VIV_OK
                                     : check_fields(shape->fields, NULL, value, path, diag);
    case VIV_SHAPE_UNION:
        if (!json_is_object(value)) return fail(diag, path, "not an object");
        return check_union(shape, value, path, diag);
    case VIV_SHAPE_LIST:
        if (!json_is_array(value)) return fail(diag, path, "not a list");
        return check_list(shape, value, path, diag);
    case VIV_SHAPE_OTHER:
        return shape->check(value, path, diag);
    }
    return fail(diag, path, "no such shape");
}
