// SPDX-License-Identifier: Apache-2.0
// Selectors (durable.md 1.4): what of a payload is meant. A selector is looked at once, when it is
// registered; selecting then trusts its form.
#ifndef VIV_STORE_SELECT_H
#define VIV_STORE_SELECT_H

#include "base/cjson.h"

// Errors: INVAL (form, pointer, template, a name that is no field).
enum viv_err viv_store__selector_check(json_t *selector, const char *path,
                                       struct viv_diag *diag) VIV_MUST_CHECK;
// A new reference. Errors: STORE_SELECTOR (a pointer that does not match), TOOBIG (a template that
// says more than 1 MiB, or takes more than 10,000 parts), EXHAUSTED.
enum viv_err viv_store__select(json_t *selector, json_t *payload, json_t **out_value,
                               struct viv_diag *diag) VIV_MUST_CHECK;
// Of `when`: null, false, "", [] and {} are false; any number is true.
bool viv_store__is_true(const json_t *value);
// Strings verbatim, all else canonical. Errors: EXHAUSTED.
enum viv_err viv_store__string_form(json_t *value, struct viv_buf *out) VIV_MUST_CHECK;

#endif
