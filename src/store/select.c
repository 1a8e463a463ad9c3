// SPDX-License-Identifier: Apache-2.0
// Selectors: "payload", pointer, const, present, template. Recursion only through the fields of
// templates, whose depth is that of the JSON they stand in. A short template can say very much,
// when its fields are templates: what one selector may cost is bounded.
#include "store/select.h"

#include <string.h>

enum { STEPS_MAX = 10000, TEXT_BYTES_MAX = 1 << 20 }; // of one selector, with all within it

struct work {
    json_t *payload;
    size_t steps, bytes;
    struct viv_diag *diag;
};

static enum viv_err select_value(json_t *selector, struct work *work, json_t **out_value);

static enum viv_err fail(struct viv_diag *diag, const char *path, const char *what)
{
    return viv_diag_set(diag, VIV_E_INVAL, "%s: %s", path, what);
}

// ---- pointers (RFC 6901) ----

static bool is_pointer(const char *text)
{
    if (*text != '\0' && *text != '/') return false;
    for (; *text != '\0'; text++)
        if (*text == '~' && text[1] != '0' && text[1] != '1') return false;
    return true;
}

// One token, unescaped, into out; where the next one begins.
static const char *next_token(const char *at, char *out)
{
    for (at++; *at != '\0' && *at != '/'; at++) {
        if (*at == '~')
            *out++ = *++at == '0' ? '~' : '/';
        else
            *out++ = *at;
    }
    *out = '\0';
    return at;
}

static json_t *find_index(const json_t *array, const char *token)
{
    if (*token == '\0' || (token[0] == '0' && token[1] != '\0') || strlen(token) > 9) return NULL;
    size_t index = 0;
    for (; *token != '\0'; token++) {
        if (*token < '0' || *token > '9') return NULL;
        index = 10 * index + (size_t)(*token - '0');
    }
    return json_array_get(array, index);
}

// NULL in *out_value: nothing is there.
static enum viv_err find_pointer(const json_t *pointer, json_t *payload, json_t **out_value)
{
    const size_t room = json_string_length(pointer) + 1;
    char *token = viv_try_alloc(room, VIV_TAG_STORE);
    if (token == NULL) return VIV_E_EXHAUSTED;
    json_t *value = payload;
    for (const char *at = json_string_value(pointer); *at != '\0' && value != NULL;) {
        at = next_token(at, token);
        value = json_is_array(value) ? find_index(value, token) : json_object_get(value, token);
    }
    viv_free(token, room, VIV_TAG_STORE);
    *out_value = value;
    return VIV_OK;
}

// ---- templates: one pass; {{ and }} are braces ----

static size_t name_length(const char *text)
{
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        const char c = text[len];
        const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!is_letter && (len == 0 || c < '0' || c > '9')) break;
    }
    return len;
}

static enum viv_err check_template(json_t *template, json_t *fields, const char *path,
                                   struct viv_diag *diag)
{
    if (!json_is_string(template)) return fail(diag, path, "the template is no string");
    const char *text = json_string_value(template);
    if (strlen(text) != json_string_length(template))
        return fail(diag, path, "the template holds U+0000");
    for (const char *at = text; *at != '\0'; at++) {
        if (*at != '{' && *at != '}') continue;
        if (at[1] == *at) {
            at++;
            continue;
        }
        const size_t len = *at == '{' ? name_length(at + 1) : 0;
        if (len == 0 || at[1 + len] != '}') return fail(diag, path, "a brace stands alone");
        if (json_object_getn(fields, at + 1, len) == NULL)
            return viv_diag_set(diag, VIV_E_INVAL, "%s: {%.*s} is no field", path,
                                (int)(len < 60 ? len : 60), at + 1);
        at += len + 1;
    }
    return VIV_OK;
}

static enum viv_err count_work(struct work *work, size_t bytes)
{
    work->steps++;
    work->bytes += bytes;
    if (work->steps <= STEPS_MAX && work->bytes <= TEXT_BYTES_MAX) return VIV_OK;
    return viv_diag_set(work->diag, VIV_E_TOOBIG, "the template says more than %s",
                        work->steps > STEPS_MAX ? "10000 parts" : "1 MiB");
}

static enum viv_err fill_field(json_t *selector, struct work *work, struct viv_buf *out)
{
    json_t *value = NULL;
    const size_t before = out->len_bytes;
    VIV_TRY(select_value(selector, work, &value));
    enum viv_err err = viv_store__string_form(value, out);
    json_decref(value);
    if (err == VIV_OK) err = count_work(work, out->len_bytes - before);
    return err;
}

static enum viv_err fill_template(json_t *selector, struct work *work, struct viv_buf *out)
{
    json_t *fields = json_object_get(selector, "fields");
    const char *at = json_string_value(json_object_get(selector, "template"));
    while (*at != '\0') {
        const size_t plain = strcspn(at, "{}");
        VIV_TRY(count_work(work, plain));
        VIV_TRY(viv_buf_append(out, at, plain));
        at += plain;
        if (*at == '\0') break;
        if (at[1] == *at) {
            VIV_TRY(viv_buf_append(out, at, 1));
            at += 2;
            continue;
        }
        const size_t len = name_length(at + 1);
        VIV_TRY(fill_field(json_object_getn(fields, at + 1, len), work, out));
        at += len + 2;
    }
    return VIV_OK;
}

static enum viv_err select_template(json_t *selector, struct work *work, json_t **out_value)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_STORE);
    enum viv_err err = fill_template(selector, work, &text);
    json_t *value = NULL;
    if (err == VIV_OK) {
        value = json_stringn(text.data == NULL ? "" : (const char *)text.data, text.len_bytes);
        if (value == NULL) err = VIV_E_EXHAUSTED;
    }
    viv_buf_deinit(&text);
    if (err == VIV_OK) *out_value = value;
    return err;
}

// ---- selectors ----

enum viv_err viv_store__selector_check(json_t *selector, const char *path, struct viv_diag *diag)
{
    const char *word = json_string_value(selector);
    if (word != NULL)
        return strcmp(word, "payload") == 0 ? VIV_OK : fail(diag, path, "not a selector");
    if (!json_is_object(selector)) return fail(diag, path, "not a selector");
    json_t *template = json_object_get(selector, "template");
    if (template != NULL) {
        json_t *fields = json_object_get(selector, "fields");
        const size_t count = fields == NULL ? 1 : 2;
        if (json_object_size(selector) != count) return fail(diag, path, "not a selector");
        if (fields != NULL && !json_is_object(fields))
            return fail(diag, path, "fields is no object");
        const char *name;
        json_t *inner;
        json_object_foreach(fields, name, inner)
            VIV_TRY(viv_store__selector_check(inner, path, diag));
        return check_template(template, fields, path, diag);
    }
    if (json_object_size(selector) != 1) return fail(diag, path, "not a selector");
    if (json_object_get(selector, "const") != NULL) return VIV_OK;
    json_t *pointer = json_object_get(selector, "pointer");
    if (pointer == NULL) pointer = json_object_get(selector, "present");
    if (!json_is_string(pointer)) return fail(diag, path, "not a selector");
    if (strlen(json_string_value(pointer)) != json_string_length(pointer) ||
        !is_pointer(json_string_value(pointer)))
        return fail(diag, path, "not a JSON pointer");
    return VIV_OK;
}

static enum viv_err select_value(json_t *selector, struct work *work, json_t **out_value)
{
    json_t *operand, *value = work->payload;
    if (json_is_string(selector)) { // "payload"
    } else if ((operand = json_object_get(selector, "const")) != NULL) {
        value = operand;
    } else if ((operand = json_object_get(selector, "pointer")) != NULL) {
        VIV_TRY(find_pointer(operand, work->payload, &value));
        if (value == NULL)
            return viv_diag_set(work->diag, VIV_STORE_SELECTOR, "pointer %.100s does not match",
                                json_string_value(operand));
    } else if ((operand = json_object_get(selector, "present")) != NULL) {
        VIV_TRY(find_pointer(operand, work->payload, &value));
        value = value == NULL ? json_false() : json_true();
    } else {
        return select_template(selector, work, out_value);
    }
    *out_value = json_incref(value);
    return VIV_OK;
}

enum viv_err viv_store__select(json_t *selector, json_t *payload, json_t **out_value,
                               struct viv_diag *diag)
{
    struct work work = {.payload = payload, .diag = diag};
    return select_value(selector, &work, out_value);
}

bool viv_store__is_true(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_ARRAY:
        return json_array_size(value) > 0;
    case JSON_OBJECT:
        return json_object_size(value) > 0;
    case JSON_TRUE:
    case JSON_INTEGER:
    case JSON_REAL:
        return true;
    }
    return false;
}

enum viv_err viv_store__string_form(json_t *value, struct viv_buf *out)
{
    if (json_is_string(value))
        return viv_buf_append(out, json_string_value(value), json_string_length(value));
    return viv_cjson_write(value, out);
}
