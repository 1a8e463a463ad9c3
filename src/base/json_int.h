// SPDX-License-Identifier: Apache-2.0
// What the two readers of JSON share: the parser's call, which tells memory that ran out apart.
#ifndef VIV_BASE_JSON_INT_H
#define VIV_BASE_JSON_INT_H

#include "base/json.h"

// flags: jansson's. The depth is the caller's to look at. Errors: INVAL (error is set), EXHAUSTED.
enum viv_err viv_json__load(const char *text, size_t len, size_t flags, json_t **out_value,
                            json_error_t *error) VIV_MUST_CHECK;

#endif
