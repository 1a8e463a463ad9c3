// SPDX-License-Identifier: Apache-2.0
// JSON, by jansson, in our own memory (tag JSON), which tests can make fail. A value is counted:
// json_decref. Thread: a value belongs to one thread at a time.
#ifndef VIV_BASE_JSON_H
#define VIV_BASE_JSON_H

#include "base/buf.h"
#include <jansson.h>

#define VIV_JSON_DEPTH_MAX 32 // the parser recurses

// One object or array, valid UTF-8, no name twice. Errors: INVAL, EXHAUSTED.
enum viv_err viv_json_parse(const void *data, size_t len_bytes, json_t **out_value) VIV_MUST_CHECK;
// Appends it in one line. Errors: EXHAUSTED.
enum viv_err viv_json_write(const json_t *value, struct viv_buf *out) VIV_MUST_CHECK;

// Adds to an object. When either is NULL, or memory is out, the object is given up: *object is
// NULL, which is looked at once, at the end.
void viv_json_put(json_t **object, const char *name, VIV_OWN json_t *value);
// Likewise, to an array.
void viv_json_add(json_t **array, VIV_OWN json_t *value);
// A number; what does not fit is the greatest there is. A duration or size without end is null.
json_t *viv_json_u64(uint64_t value);

// Members of an object; NULL, by_default when there is none of that type.
const char *viv_json_get_text(const json_t *object, const char *name);
uint64_t viv_json_get_u64(const json_t *object, const char *name, uint64_t by_default);
bool viv_json_get_bool(const json_t *object, const char *name);

#endif
