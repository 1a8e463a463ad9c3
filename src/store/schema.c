// SPDX-License-Identifier: Apache-2.0
// Schemas. One table of keywords serves both: how the operand must look, and whether a value fits.
// Every recursion goes one down in the schema, whose depth is bounded.
#include "store/schema.h"

#include "base/text.h"
#include <stdio.h>
#include <string.h>

// ---- the place in a value, from the root ----

struct place {
    const struct place *parent; // NULL: the root
    const char *name;           // NULL: index
    size_t index;
};

struct match {
    struct viv_diag *diag;
    size_t choice_steps; // below anyOf and oneOf so far
    unsigned choices;    // how many of them are around
    bool is_quiet;       // within a choice nobody is told
};

static void write_place(const struct place *place, struct viv_diag *diag)
{
    if (place == NULL) {
        diag->text[0] = '\0';
        return;
    }
    write_place(place->parent, diag);
    const size_t len = strlen(diag->text);
    char *end = diag->text + len;
    if (place->name == NULL)
        (void)snprintf(end, sizeof diag->text - len, "/%zu", place->index);
    else
        (void)snprintf(end, sizeof diag->text - len, "/%.60s", place->name);
}

static bool refuse(struct match *match, const struct place *at, const char *keyword)
{
    if (match->is_quiet || match->diag == NULL) return false;
    write_place(at, match->diag);
    const size_t len = strlen(match->diag->text);
    (void)snprintf(match->diag->text + len, sizeof match->diag->text - len,
                   "%s: does not fit \"%s\"", len == 0 ? "payload" : "", keyword);
    return false;
}

static bool fits(json_t *schema, json_t *value, const struct place *at, struct match *match);

// ---- keywords ----

// Sign of a - b. Exact, also where one is whole and the other is not.
static int compare_numbers(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b)) {
        const json_int_t x = json_integer_value(a), y = json_integer_value(b);
        return (x > y) - (x < y);
    }
    if (json_is_real(a) && json_is_real(b)) {
        const double x = json_real_value(a), y = json_real_value(b);
        return (x > y) - (x < y);
    }
    if (json_is_real(a)) return -compare_numbers(b, a);
    const json_int_t x = json_integer_value(a);
    const double y = json_real_value(b);
    if (y >= 0x1p63) return -1;
    if (y < -0x1p63) return 1;
    const json_int_t whole = (json_int_t)y; // towards zero
    if (x != whole) return x > whole ? 1 : -1;
    const double rest = y - (double)whole;
    return (rest < 0) - (rest > 0);
}

static bool is_of_type(const char *name, const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
        return strcmp(name, "null") == 0;
    case JSON_TRUE:
    case JSON_FALSE:
        return strcmp(name, "boolean") == 0;
    case JSON_INTEGER:
        return strcmp(name, "integer") == 0 || strcmp(name, "number") == 0;
    case JSON_REAL:
        return strcmp(name, "number") == 0;
    case JSON_STRING:
        return strcmp(name, "string") == 0;
    case JSON_ARRAY:
        return strcmp(name, "array") == 0;
    case JSON_OBJECT:
        return strcmp(name, "object") == 0;
    }
    return false;
}

static bool fits_type(json_t *operand, json_t *value)
{
    if (json_is_string(operand)) return is_of_type(json_string_value(operand), value);
    for (size_t i = 0; i < json_array_size(operand); i++)
        if (is_of_type(json_string_value(json_array_get(operand, i)), value)) return true;
    return false;
}

static bool is_one_of(json_t *list, json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), value)) return true;
    return false;
}

static size_t count_characters(const json_t *text)
{
    const char *bytes = json_string_value(text);
    size_t count = 0;
    for (size_t i = 0; i < json_string_length(text); i++)
        count += ((uint8_t)bytes[i] & 0xC0) != 0x80; // not a byte that continues one
    return count;
}

static size_t count_fitting(json_t *schemas, json_t *value, const struct place *at,
                            struct match *match)
{
    const bool was_quiet = match->is_quiet;
    match->is_quiet = true;
    match->choices++;
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(schemas); i++)
        count += fits(json_array_get(schemas, i), value, at, match);
    match->choices--;
    match->is_quiet = was_quiet;
    return count;
}

static bool has_all(json_t *names, json_t *object)
{
    for (size_t i = 0; i < json_array_size(names); i++)
        if (json_object_get(object, json_string_value(json_array_get(names, i))) == NULL)
            return false;
    return true;
}

// Each member by its own schema; one without is refused where there is no schema for the others.
static bool fits_members(json_t *schema, json_t *object, const struct place *at,
                         struct match *match)
{
    json_t *properties = json_object_get(schema, "properties");
    json_t *others = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *member;
    if (properties == NULL && others == NULL) return true;
    json_object_foreach(object, name, member)
    {
        const struct place inner = {at, name, 0};
        json_t *own = json_object_get(properties, name);
        if (own == NULL && others == NULL) return refuse(match, &inner, "properties");
        if (own == NULL && json_is_false(others))
            return refuse(match, &inner, "additionalProperties");
        if (!fits(own != NULL ? own : others, member, &inner, match)) return false;
    }
    return true;
}

static bool fits_items(json_t *operand, json_t *array, const struct place *at, struct match *match)
{
    for (size_t i = 0; i < json_array_size(array); i++) {
        const struct place inner = {at, NULL, i};
        if (!fits(operand, json_array_get(array, i), &inner, match)) return false;
    }
    return true;
}

// ---- one schema ----

enum operand {
    OP_ANY,
    OP_TYPES,
    OP_LIST,
    OP_SCHEMAS,
    OP_NUMBER,
    OP_COUNT,
    OP_SCHEMA,
    OP_NAMES,
    OP_MEMBERS
};

static const struct keyword {
    const char *name;
    enum operand operand;
} keywords[] = {
    {"type", OP_TYPES},      {"enum", OP_LIST},
    {"const", OP_ANY},       {"anyOf", OP_SCHEMAS},
    {"oneOf", OP_SCHEMAS},   {"minimum", OP_NUMBER},
    {"maximum", OP_NUMBER},  {"minLength", OP_COUNT},
    {"maxLength", OP_COUNT}, {"minItems", OP_COUNT},
    {"maxItems", OP_COUNT},  {"items", OP_SCHEMA},
    {"required", OP_NAMES},  {"properties", OP_MEMBERS},
    {"title", OP_ANY},       {"additionalProperties", OP_SCHEMA},
    {"description", OP_ANY}, {"default", OP_ANY},
    {"examples", OP_ANY},    {"format", OP_ANY},
    {"$comment", OP_ANY},
};

// The keyword that a value does not fit; NULL: none.
static const char *unfit_value(json_t *schema, json_t *value)
{
    json_t *type = json_object_get(schema, "type"), *list = json_object_get(schema, "enum");
    json_t *constant = json_object_get(schema, "const");
    if (type != NULL && !fits_type(type, value)) return "type";
    if (list != NULL && !is_one_of(list, value)) return "enum";
    if (constant != NULL && !json_equal(constant, value)) return "const";
    return NULL;
}

static const char *unfit_number(json_t *schema, json_t *value)
{
    json_t *least = json_object_get(schema, "minimum"), *most = json_object_get(schema, "maximum");
    if (least != NULL && compare_numbers(value, least) < 0) return "minimum";
    if (most != NULL && compare_numbers(value, most) > 0) return "maximum";
    return NULL;
}

static const char *unfit_count(json_t *schema, const char *min, const char *max, size_t count)
{
    const json_t *least = json_object_get(schema, min), *most = json_object_get(schema, max);
    if (least != NULL && (json_int_t)count < json_integer_value(least)) return min;
    if (most != NULL && (json_int_t)count > json_integer_value(most)) return max;
    return NULL;
}

static const char *unfit(json_t *schema, json_t *value)
{
    const char *keyword = unfit_value(schema, value);
    if (keyword != NULL) return keyword;
    if (json_is_number(value)) return unfit_number(schema, value);
    if (json_is_string(value))
        return unfit_count(schema, "minLength", "maxLength", count_characters(value));
    if (json_is_array(value))
        return unfit_count(schema, "minItems", "maxItems", json_array_size(value));
    if (json_is_object(value) && !has_all(json_object_get(schema, "required"), value))
        return "required";
    return NULL;
}

static bool fits_choices(json_t *schema, json_t *value, const struct place *at, struct match *match)
{
    json_t *any = json_object_get(schema, "anyOf"), *one = json_object_get(schema, "oneOf");
    if (any != NULL && count_fitting(any, value, at, match) == 0) return refuse(match, at, "anyOf");
    if (one != NULL && count_fitting(one, value, at, match) != 1) return refuse(match, at, "oneOf");
    return true;
}

static bool fits(json_t *schema, json_t *value, const struct place *at, struct match *match)
{
    if (match->choices > 0 && ++match->choice_steps > VIV_SCHEMA_CHOICE_STEPS_MAX) return false;
    if (json_is_boolean(schema)) return json_is_true(schema) || refuse(match, at, "false");
    const char *keyword = unfit(schema, value);
    if (keyword != NULL) return refuse(match, at, keyword);
    json_t *items = json_object_get(schema, "items");
    if (items != NULL && json_is_array(value) && !fits_items(items, value, at, match)) return false;
    if (json_is_object(value) && !fits_members(schema, value, at, match)) return false;
    return fits_choices(schema, value, at, match);
}

enum viv_err viv_store__schema_match(json_t *schema, json_t *value, struct viv_diag *diag)
{
    struct match match = {.diag = diag};
    const bool is_fit = fits(schema, value, NULL, &match);
    if (match.choice_steps > VIV_SCHEMA_CHOICE_STEPS_MAX)
        return viv_diag_set(diag, VIV_STORE_SCHEMA, "payload: more than %d choices to try",
                            VIV_SCHEMA_CHOICE_STEPS_MAX);
    return is_fit ? VIV_OK : VIV_STORE_SCHEMA;
}

// ---- registration ----

static enum viv_err check_schema(json_t *schema, const char *path, unsigned depth,
                                 struct viv_diag *diag);

static bool is_type_name(const json_t *name)
{
    static const char *const names[] = {"null",   "boolean", "integer", "number",
                                        "string", "array",   "object"};
    if (!json_is_string(name)) return false;
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        if (strcmp(names[i], json_string_value(name)) == 0) return true;
    return false;
}

static bool is_list_of(json_t *list, bool (*is_item)(const json_t *))
{
    if (!json_is_array(list)) return false;
    for (size_t i = 0; i < json_array_size(list); i++)
        if (!is_item(json_array_get(list, i))) return false;
    return true;
}

static bool is_string(const json_t *value)
{
    return json_is_string(value);
}

static bool is_operand(enum operand operand, json_t *value)
{
    switch (operand) {
    case OP_ANY:
        return true;
    case OP_TYPES:
        return is_type_name(value) ||
               (is_list_of(value, is_type_name) && json_array_size(value) > 0);
    case OP_LIST:
    case OP_SCHEMAS:
        return json_is_array(value) && json_array_size(value) > 0;
    case OP_NUMBER:
        return json_is_number(value);
    case OP_COUNT:
        return json_is_integer(value) && json_integer_value(value) >= 0;
    case OP_SCHEMA:
        return json_is_object(value) || json_is_boolean(value);
    case OP_NAMES:
        return is_list_of(value, is_string);
    case OP_MEMBERS:
        return json_is_object(value);
    }
    return false;
}

static enum viv_err check_inner(enum operand operand, json_t *value, const char *path,
                                unsigned depth, struct viv_diag *diag)
{
    const char *name;
    json_t *member;
    if (operand == OP_SCHEMA) return check_schema(value, path, depth + 1, diag);
    if (operand == OP_MEMBERS)
        json_object_foreach(value, name, member)
            VIV_TRY(check_schema(member, path, depth + 1, diag));
    if (operand == OP_SCHEMAS)
        for (size_t i = 0; i < json_array_size(value); i++)
            VIV_TRY(check_schema(json_array_get(value, i), path, depth + 1, diag));
    return VIV_OK;
}

// A property that is required must be one that may be there.
static enum viv_err check_required(json_t *schema, const char *path, struct viv_diag *diag)
{
    json_t *properties = json_object_get(schema, "properties");
    json_t *others = json_object_get(schema, "additionalProperties");
    json_t *names = json_object_get(schema, "required");
    const bool is_closed = others == NULL ? properties != NULL : json_is_false(others);
    for (size_t i = 0; is_closed && i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        if (json_object_get(properties, name) == NULL)
            return viv_diag_set(diag, VIV_E_INVAL, "%s: required property \"%.60s\" is excluded",
                                path, name);
    }
    return VIV_OK;
}

static const struct keyword *find_keyword(const char *name)
{
    for (size_t i = 0; i < VIV_COUNT_OF(keywords); i++)
        if (strcmp(keywords[i].name, name) == 0) return &keywords[i];
    return NULL;
}

static enum viv_err check_schema(json_t *schema, const char *path, unsigned depth,
                                 struct viv_diag *diag)
{
    const char *name;
    json_t *operand;
    if (depth > VIV_SCHEMA_DEPTH_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "%s: schemas more than %d deep", path,
                            VIV_SCHEMA_DEPTH_MAX);
    if (json_is_boolean(schema)) return VIV_OK;
    if (!json_is_object(schema)) return viv_diag_set(diag, VIV_E_INVAL, "%s: not a schema", path);
    json_object_foreach(schema, name, operand)
    {
        const struct keyword *keyword = find_keyword(name);
        if (keyword == NULL)
            return viv_diag_set(diag, VIV_E_INVAL, "%s: keyword \"%.60s\" is not supported", path,
                                name);
        if (!is_operand(keyword->operand, operand))
            return viv_diag_set(diag, VIV_E_INVAL, "%s: wrong value of \"%s\"", path, name);
        VIV_TRY(check_inner(keyword->operand, operand, path, depth, diag));
    }
    return check_required(schema, path, diag);
}

enum viv_err viv_store__schema_check(json_t *schema, const char *path, struct viv_diag *diag)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_STORE);
    enum viv_err err = viv_cjson_write(schema, &text);
    if (err == VIV_OK && text.len_bytes > VIV_SCHEMA_BYTES_MAX)
        err = viv_diag_set(diag, VIV_E_TOOBIG, "%s: a schema of more than %d bytes", path,
                           VIV_SCHEMA_BYTES_MAX);
    viv_buf_deinit(&text);
    if (err == VIV_OK) err = check_schema(schema, path, 1, diag);
    return err;
}
