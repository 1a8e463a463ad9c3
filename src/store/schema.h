// SPDX-License-Identifier: Apache-2.0
// Schemas of event payloads: the subset of JSON Schema that durable.md 1.4 names. A schema is
// looked at once, when it is registered; matching then trusts its form.
#ifndef VIV_STORE_SCHEMA_H
#define VIV_STORE_SCHEMA_H

#include "base/cjson.h"

#define VIV_SCHEMA_BYTES_MAX 16384
#define VIV_SCHEMA_DEPTH_MAX 16
#define VIV_SCHEMA_CHOICE_STEPS_MAX 10000 // schemas tried below anyOf and oneOf

// Errors: INVAL (an unknown keyword, a wrong operand, a required property that is excluded),
// TOOBIG.
enum viv_err viv_store__schema_check(json_t *schema, const char *path,
                                     struct viv_diag *diag) VIV_MUST_CHECK;
// diag: the pointer to what does not fit, and the keyword. Errors: STORE_SCHEMA.
enum viv_err viv_store__schema_match(json_t *schema, json_t *value,
                                     struct viv_diag *diag) VIV_MUST_CHECK;

#endif
