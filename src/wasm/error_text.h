// SPDX-License-Identifier: Apache-2.0
// What an error id of lunatic stands for: a text. Owned by the id.
#ifndef VIV_WASM_ERROR_TEXT_H
#define VIV_WASM_ERROR_TEXT_H

#include "base/err.h"

struct viv_error_text {
    uint32_t len;
    char text[];
};

struct viv_inst;

// NULL without memory.
struct viv_error_text *viv_error_text_new(const char *text, size_t len);
void viv_error_text_free(struct viv_error_text *error);
// For functions with "→1": makes an error and its id, and writes it at `at`. False: not even that
// was possible; a trap is noted.
bool viv_error_report(struct viv_inst *inst, uint32_t id_ptr, const char *fmt, ...)
    VIV_PRINTF(3, 4);

#endif
