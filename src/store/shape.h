// SPDX-License-Identifier: Apache-2.0
// Shapes of JSON objects as tables: what an object may hold, what it must, and what a member is
// when it is left out. A check says which field is wrong, and brings the value into its normal
// form: members that equal their default are left out, so that a default spelled out changes no
// hash.
#ifndef VIV_STORE_SHAPE_H
#define VIV_STORE_SHAPE_H

#include "base/cjson.h"

enum viv_shape_kind {
    VIV_SHAPE_ANY,
    VIV_SHAPE_ID,     // a text by the rules of ids
    VIV_SHAPE_TEXT,   // a string of min to max bytes
    VIV_SHAPE_INT,    // min to max
    VIV_SHAPE_NUMBER, // min to max, whole or not
    VIV_SHAPE_BOOL,
    VIV_SHAPE_WORD,   // one of words
    VIV_SHAPE_OBJECT, // fields; none: any object
    VIV_SHAPE_UNION,  // fields of the one of variants that its member "type" names
    VIV_SHAPE_LIST,   // min to max items of shape item
    VIV_SHAPE_OTHER,  // asks check
};

struct viv_shape;
struct viv_shape_field {
    const char *name; // NULL ends the list
    const struct viv_shape *shape;
    bool is_required;
    const char *fallback; // JSON of the default, in its normal form; NULL: absent is nothing else
};

struct viv_shape_variant {
    const char *tag; // NULL ends the list
    const struct viv_shape_field *fields;
};

// Says what is wrong with a value, or nothing: INVAL or TOOBIG with a diag. It may bring it into
// normal form.
typedef enum viv_err (*viv_shape_fn)(json_t *value, const char *path, struct viv_diag *diag);

struct viv_shape {
    enum viv_shape_kind kind;
    int64_t min, max;
    const char *const *words; // ends with NULL
    const struct viv_shape_field *fields;
    const struct viv_shape_variant *variants;
    const struct viv_shape *item;
    viv_shape_fn check;
};

extern const struct viv_shape viv_store__id_shape;  // 1 to 255 bytes
extern const struct viv_shape viv_store__any_shape; // any value

// path: the name of the value, for messages; "" for the whole. Errors: INVAL, TOOBIG (longer, or
// more items), EXHAUSTED.
enum viv_err viv_store__shape_check(const struct viv_shape *shape, json_t *value, const char *path,
                                    struct viv_diag *diag) VIV_MUST_CHECK;

// Ids (durable.md 0): 1 to 255 bytes of UTF-8, not only white space, no control characters.
#define VIV_STORE_ID_BYTES_MAX 255
bool viv_store__is_id(const char *text, size_t len);

#endif
