// SPDX-License-Identifier: Apache-2.0
// Canonical JSON. Reading: 1. the bytes are looked at once, without recursion: UTF-8, depth, and
// integers that are too big for the parser, which get an exponent in a copy; 2. jansson parses; 3.
// whole doubles become integers. Writing goes down the value, whose depth is bounded.
#include "base/cjson.h"

#include "base/hash.h"
#include "base/json_int.h"
#include "base/text.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLAGS = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL };
enum { WHOLE_BITS = 53, INT_DIGITS = 19, DOUBLE_CHARS = 40, POINT_MIN = -6 };

// ---- 1. the look at the bytes ----

struct scan {
    const char *text;
    size_t len, pos;
    size_t depth;
    struct viv_buf *copy; // what was passed so far, once something had to change
    size_t copied;        // of text
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Past the closing quote, or to the end.
static void skip_string(struct scan *scan)
{
    for (scan->pos++; scan->pos < scan->len; scan->pos++) {
        if (scan->text[scan->pos] == '\\')
            scan->pos++;
        else if (scan->text[scan->pos] == '"')
            break;
    }
    scan->pos++;
}

// A number: digits that fit no int64 and are no double yet are made one.
static enum viv_err pass_number(struct scan *scan)
{
    const size_t start = scan->pos;
    const bool is_negative = scan->text[start] == '-';
    size_t pos = start + is_negative;
    const size_t digits = pos;
    while (pos < scan->len && is_digit(scan->text[pos]))
        pos++;
    scan->pos = pos > start ? pos : start + 1;
    const size_t count = pos - digits;
    if (pos < scan->len && strchr(".eE", scan->text[pos]) != NULL) {
        while (pos < scan->len && strchr("+-.eE0123456789", scan->text[pos]) != NULL)
            pos++;
        scan->pos = pos;
        return VIV_OK;
    }
    if (count < INT_DIGITS) return VIV_OK;
    const char *limit = is_negative ? "9223372036854775808" : "9223372036854775807";
    if (count == INT_DIGITS && memcmp(scan->text + digits, limit, INT_DIGITS) <= 0) return VIV_OK;
    VIV_TRY(viv_buf_append(scan->copy, scan->text + scan->copied, pos - scan->copied));
    VIV_TRY(viv_buf_append(scan->copy, "e0", 2));
    scan->copied = pos;
    return VIV_OK;
}

static enum viv_err look(struct scan *scan, struct viv_cjson_error *error)
{
    while (scan->pos < scan->len) {
        const char c = scan->text[scan->pos];
        if (c == '"') {
            skip_string(scan);
        } else if (c == '-' || is_digit(c)) {
            VIV_TRY(pass_number(scan));
        } else {
            if ((c == '{' || c == '[') && ++scan->depth > VIV_CJSON_DEPTH_MAX) {
                *error = (struct viv_cjson_error){scan->pos, "nested more than 64 deep"};
                return VIV_STORE_JSON;
            }
            if ((c == '}' || c == ']') && scan->depth > 0) scan->depth--;
            scan->pos++;
        }
    }
    return VIV_OK;
}

static size_t find_bad_utf8(const uint8_t *data, size_t len)
{
    size_t pos = 0;
    uint32_t code;
    while (pos < len) {
        const size_t step = viv_utf8_decode(data + pos, len - pos, &code);
        if (step == 0) break;
        pos += step;
    }
    return pos;
}

// ---- 3. one form for equal numbers ----

static bool is_whole(double value)
{
    return fabs(value) <= (double)(UINT64_C(1) << WHOLE_BITS) && value == (double)(int64_t)value;
}

enum viv_err viv_cjson_normalise(json_t **value)
{
    if (json_is_real(*value)) {
        const double real = json_real_value(*value);
        if (!is_whole(real)) return VIV_OK;
        json_t *integer = json_integer((json_int_t)real);
        if (integer == NULL) return VIV_E_EXHAUSTED;
        json_decref(*value);
        *value = integer;
        return VIV_OK;
    }
    if (json_is_array(*value)) {
        for (size_t i = 0; i < json_array_size(*value); i++) {
            json_t *item = json_incref(json_array_get(*value, i));
            const enum viv_err err = viv_cjson_normalise(&item);
            if (json_array_set_new(*value, i, item) != 0 || err != VIV_OK) return VIV_E_EXHAUSTED;
        }
    }
    const char *name;
    json_t *member;
    json_object_foreach(*value, name, member)
    { // an array or a scalar has no members
        json_t *item = json_incref(member);
        const enum viv_err err = viv_cjson_normalise(&item);
        if (item == member)
            json_decref(item);
        else if (json_object_set_new(*value, name, item) != 0)
            return VIV_E_EXHAUSTED;
        if (err != VIV_OK) return err;
    }
    return VIV_OK;
}

// ---- 2. reading ----

static enum viv_err parse_all(struct scan *scan, json_t **out_value, struct viv_cjson_error *error)
{
    VIV_TRY(look(scan, error));
    const char *text = scan->text;
    size_t len = scan->len;
    if (scan->copied > 0) {
        VIV_TRY(viv_buf_append(scan->copy, text + scan->copied, len - scan->copied));
        text = (const char *)scan->copy->data;
        len = scan->copy->len_bytes;
    }
    json_error_t found;
    enum viv_err err = viv_json__load(text, len, FLAGS, out_value, &found);
    if (err == VIV_E_INVAL) {
        const size_t at = found.position > 0 ? (size_t)found.position : 0;
        const bool is_twice = json_error_code(&found) == json_error_duplicate_key;
        *error = (struct viv_cjson_error){at, is_twice ? "a name stands twice" : "not JSON"};
        return VIV_STORE_JSON;
    }
    VIV_TRY(err);
    err = viv_cjson_normalise(out_value);
    if (err != VIV_OK) json_decref(*out_value);
    return err;
}

enum viv_err viv_cjson_parse(const void *data, size_t len_bytes, json_t **out_value,
                             struct viv_cjson_error *error)
{
    struct viv_cjson_error unused;
    if (error == NULL) error = &unused;
    if (!viv_utf8_is_valid(data, len_bytes)) {
        *error = (struct viv_cjson_error){find_bad_utf8(data, len_bytes), "not UTF-8"};
        return VIV_STORE_UTF8;
    }
    struct viv_buf copy;
    viv_buf_init(&copy, VIV_TAG_JSON);
    struct scan scan = {.text = data, .len = len_bytes, .copy = &copy};
    json_t *value;
    const enum viv_err err = parse_all(&scan, &value, error);
    viv_buf_deinit(&copy);
    if (err == VIV_OK) *out_value = value;
    return err;
}

// ---- writing ----

static enum viv_err write_text(const char *text, size_t len, struct viv_buf *out)
{
    static const char *const shortest[32] = {
        ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"};
    VIV_TRY(viv_buf_append(out, "\"", 1));
    size_t done = 0;
    for (size_t i = 0; i < len; i++) {
        const uint8_t c = (uint8_t)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        VIV_TRY(viv_buf_append(out, text + done, i - done));
        done = i + 1;
        if (c == '"' || c == '\\')
            VIV_TRY(viv_buf_printf(out, "\\%c", c));
        else if (shortest[c] != NULL)
            VIV_TRY(viv_buf_append(out, shortest[c], 2));
        else
            VIV_TRY(viv_buf_printf(out, "\\u%04x", c));
    }
    VIV_TRY(viv_buf_append(out, text + done, len - done));
    return viv_buf_append(out, "\"", 1);
}

// The digits of a finite number that is not 0, without leading or trailing zeros, and the place of
// the point: value = 0.DIGITS * 10^point.
static size_t shortest_digits(double value, char *digits, int *out_point)
{
    char text[DOUBLE_CHARS];
    for (int precision = 0; precision < 17; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, value);
        if (strtod(text, NULL) == value) break;
    }
    size_t count = 0;
    const char *c = text;
    for (; *c != 'e'; c++)
        if (is_digit(*c)) digits[count++] = *c;
    while (count > 1 && digits[count - 1] == '0')
        count--;
    int exponent = 0;
    for (const char *digit = c + 2; *digit != '\0'; digit++)
        exponent = 10 * exponent + *digit - '0';
    *out_point = (c[1] == '-' ? -exponent : exponent) + 1;
    return count;
}

// The forms of ECMA-262's Number::toString: with a point, 0.000…, with an exponent; what is whole
// here is beyond 2^53.
static enum viv_err write_double(double value, struct viv_buf *out)
{
    char digits[DOUBLE_CHARS];
    int point;
    if (value < 0) VIV_TRY(viv_buf_append(out, "-", 1));
    const int count = (int)shortest_digits(fabs(value), digits, &point);
    if (point >= count || point <= POINT_MIN) {
        VIV_TRY(viv_buf_append(out, digits, 1));
        if (count > 1) VIV_TRY(viv_buf_printf(out, ".%.*s", count - 1, digits + 1));
        return viv_buf_printf(out, "e%+d", point - 1);
    }
    if (point <= 0) return viv_buf_printf(out, "0.%.*s%.*s", -point, "000000", count, digits);
    return viv_buf_printf(out, "%.*s.%.*s", point, digits, count - point, digits + point);
}

struct name {
    const char *text;
    size_t len;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static enum viv_err write_value(json_t *value, struct viv_buf *out);

static enum viv_err write_members(json_t *object, struct name *names, struct viv_buf *out)
{
    size_t count = 0;
    for (void *it = json_object_iter(object); it != NULL; it = json_object_iter_next(object, it)) {
        const char *text = json_object_iter_key(it);
        names[count++] = (struct name){text, strlen(text)};
    }
    qsort(names, count, sizeof *names, compare_names);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) VIV_TRY(viv_buf_append(out, ",", 1));
        VIV_TRY(write_text(names[i].text, names[i].len, out));
        VIV_TRY(viv_buf_append(out, ":", 1));
        VIV_TRY(write_value(json_object_get(object, names[i].text), out));
    }
    return VIV_OK;
}

static enum viv_err write_object(json_t *object, struct viv_buf *out)
{
    const size_t count = json_object_size(object);
    if (count == 0) return viv_buf_append(out, "{}", 2);
    struct name *names = viv_try_calloc(count, sizeof *names, VIV_TAG_JSON);
    if (names == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = viv_buf_append(out, "{", 1);
    if (err == VIV_OK) err = write_members(object, names, out);
    viv_free(names, count * sizeof *names, VIV_TAG_JSON);
    return err == VIV_OK ? viv_buf_append(out, "}", 1) : err;
}

static enum viv_err write_array(json_t *array, struct viv_buf *out)
{
    VIV_TRY(viv_buf_append(out, "[", 1));
    for (size_t i = 0; i < json_array_size(array); i++) {
        if (i > 0) VIV_TRY(viv_buf_append(out, ",", 1));
        VIV_TRY(write_value(json_array_get(array, i), out));
    }
    return viv_buf_append(out, "]", 1);
}

// Goes down at most VIV_CJSON_DEPTH_MAX times in what was parsed.
static enum viv_err write_value(json_t *value, struct viv_buf *out)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return write_object(value, out);
    case JSON_ARRAY:
        return write_array(value, out);
    case JSON_STRING:
        return write_text(json_string_value(value), json_string_length(value), out);
    case JSON_INTEGER:
        return viv_buf_printf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    case JSON_REAL:
        if (is_whole(json_real_value(value)))
            return viv_buf_printf(out, "%lld", (long long)json_real_value(value));
        return write_double(json_real_value(value), out);
    case JSON_TRUE:
        return viv_buf_append(out, "true", 4);
    case JSON_FALSE:
        return viv_buf_append(out, "false", 5);
    case JSON_NULL:
        return viv_buf_append(out, "null", 4);
    }
    return VIV_E_INVAL;
}

enum viv_err viv_cjson_write(json_t *value, struct viv_buf *out)
{
    const size_t before = out->len_bytes;
    const enum viv_err err = write_value(value, out);
    if (err != VIV_OK) out->len_bytes = before;
    return err;
}

enum viv_err viv_cjson_hash(json_t *value, char out_hex[VIV_CJSON_HASH_CHARS])
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_JSON);
    uint8_t digest[VIV_SHA256_BYTES];
    enum viv_err err = viv_cjson_write(value, &text);
    if (err == VIV_OK) err = viv_sha256(text.data, text.len_bytes, digest);
    viv_buf_deinit(&text);
    if (err == VIV_OK) viv_hex_encode(digest, sizeof digest, out_hex);
    return err;
}
