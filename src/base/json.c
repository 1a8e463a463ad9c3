// SPDX-License-Identifier: Apache-2.0
// JSON. The library's allocator is set before main, so that no value is made by another one.
#include "base/json_int.h"

#include <string.h>

// ---- memory: the size of a block stands before it, since the library does not tell it ----

enum { SIZE_ROOM = 16 }; // keeps the alignment

// Whether memory was out on this thread since the parser began, which it does not always tell; a
// thread's own, since the library hands no argument through.
static _Thread_local bool ran_out;

static void *allocate(size_t size_bytes)
{
    if (size_bytes > SIZE_MAX - SIZE_ROOM) return NULL;
    size_t *block = viv_try_alloc(size_bytes + SIZE_ROOM, VIV_TAG_JSON);
    ran_out |= block == NULL;
    if (block == NULL) return NULL;
    *block = size_bytes + SIZE_ROOM;
    return (char *)block + SIZE_ROOM;
}

static void release(void *data)
{
    if (data == NULL) return;
    void *block = (char *)data - SIZE_ROOM;
    viv_free(block, *(const size_t *)block, VIV_TAG_JSON);
}

static void use_our_memory(void) __attribute__((constructor));
static void use_our_memory(void)
{
    json_set_alloc_funcs(allocate, release);
}

// ---- reading ----

// Nesting is looked at before the parser recurses. Brackets in strings do not count.
static bool is_shallow(const char *text, size_t len)
{
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (in_string && c == '\\') {
            i++;
        } else if (c == '"') {
            in_string = !in_string;
        } else if (!in_string && (c == '{' || c == '[')) {
            if (++depth > VIV_JSON_DEPTH_MAX) return false;
        } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

enum viv_err viv_json__load(const char *text, size_t len, size_t flags, json_t **out_value,
                            json_error_t *error)
{
    ran_out = false;
    json_t *value = json_loadb(text, len, flags, error);
    if (ran_out) { // it goes on after some failures, and a character is missing then
        json_decref(value);
        return VIV_E_EXHAUSTED;
    }
    if (value == NULL) return VIV_E_INVAL;
    *out_value = value;
    return VIV_OK;
}

enum viv_err viv_json_parse(const void *data, size_t len_bytes, json_t **out_value)
{
    json_error_t error;
    if (!is_shallow(data, len_bytes)) return VIV_E_INVAL;
    return viv_json__load(data, len_bytes, JSON_REJECT_DUPLICATES, out_value, &error);
}

const char *viv_json_get_text(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

uint64_t viv_json_get_u64(const json_t *object, const char *name, uint64_t by_default)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_integer(value) || json_integer_value(value) < 0) return by_default;
    return (uint64_t)json_integer_value(value);
}

bool viv_json_get_bool(const json_t *object, const char *name)
{
    return json_is_true(json_object_get(object, name));
}

// ---- writing ----

static int append(const char *text, size_t len, void *arg)
{
    return viv_buf_append(arg, text, len) == VIV_OK ? 0 : -1;
}

enum viv_err viv_json_write(const json_t *value, struct viv_buf *out)
{
    const size_t before = out->len_bytes;
    if (json_dump_callback(value, append, out, JSON_COMPACT | JSON_ENCODE_ANY) == 0) return VIV_OK;
    out->len_bytes = before;
    return VIV_E_EXHAUSTED;
}

void viv_json_put(json_t **object, const char *name, VIV_OWN json_t *value)
{
    if (*object != NULL && json_object_set_new(*object, name, value) == 0) return;
    if (*object == NULL) json_decref(value); // else the library has let go of it
    json_decref(*object);
    *object = NULL;
}

void viv_json_add(json_t **array, VIV_OWN json_t *value)
{
    if (*array != NULL && json_array_append_new(*array, value) == 0) return;
    if (*array == NULL) json_decref(value);
    json_decref(*array);
    *array = NULL;
}

json_t *viv_json_u64(uint64_t value)
{
    if (value == UINT64_MAX) return json_null();
    return json_integer((json_int_t)viv_min_u64(value, INT64_MAX));
}
