// SPDX-License-Identifier: Apache-2.0
// Await outputs (durable.md 1.3) and the states that they stand for.
#ifndef VIV_STORE_OUTPUT_H
#define VIV_STORE_OUTPUT_H

#include "store/shape.h"
#include "store/store.h" // enum viv_dstate

extern const struct viv_shape viv_store__output_shape;

// "running", "completed", …
const char *viv_store__state_name(enum viv_dstate state);
// Errors: INVAL.
enum viv_err viv_store__state_of_name(const char *name, enum viv_dstate *out_state) VIV_MUST_CHECK;
// Of a valid output.
enum viv_dstate viv_store__state_of_output(const json_t *output);
// What a terminal event of that state hands on: the selected value, if it says of what kind it is,
// must be an output of that state; else it is wrapped. A new reference. Errors: STORE_OUTPUT,
// EXHAUSTED.
enum viv_err viv_store__output_of(enum viv_dstate state, json_t *selected, json_t **out_output,
                                  struct viv_diag *diag) VIV_MUST_CHECK;

#endif
