// SPDX-License-Identifier: Apache-2.0
// Canonical JSON (durable.md 0): one text for one value, so that texts can be hashed and compared.
// No white space, names sorted by bytes, the shortest escapes; integers of 64 bits in decimal;
// whole doubles up to 2^53 as integers, so 1.0 is 1 and -0 is 0; others in the fewest digits that
// read back as the same number, in the form of ECMA-262's Number::toString, but whole ones always
// with an exponent, or they would be read back as integers.
//
// What is parsed is in that form already: equal values are equal for json_equal.
#ifndef VIV_BASE_CJSON_H
#define VIV_BASE_CJSON_H

#include "base/json.h"

#define VIV_CJSON_DEPTH_MAX 64

// What was wrong, and at which byte.
struct viv_cjson_error {
    size_t offset_bytes;
    const char *what; // static
};

// Any value. An integer beyond int64 becomes a double; a name may not hold U+0000, and none may
// stand twice. error may be NULL. Errors: STORE_UTF8, STORE_JSON, EXHAUSTED.
enum viv_err viv_cjson_parse(const void *data, size_t len_bytes, json_t **out_value,
                             struct viv_cjson_error *error) VIV_MUST_CHECK;
// A value that was built, not parsed, gets the form of one that was. Errors: EXHAUSTED.
enum viv_err viv_cjson_normalise(json_t **value) VIV_MUST_CHECK;
// Appends. Errors: EXHAUSTED (out is then as before).
enum viv_err viv_cjson_write(json_t *value, struct viv_buf *out) VIV_MUST_CHECK;
// SHA-256 of the canonical text, in lower-case hexadecimal with a terminator. Errors: EXHAUSTED.
#define VIV_CJSON_HASH_CHARS 65
enum viv_err viv_cjson_hash(json_t *value, char out_hex[VIV_CJSON_HASH_CHARS]) VIV_MUST_CHECK;

#endif
