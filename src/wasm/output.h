// SPDX-License-Identifier: Apache-2.0
// The output of a process, standard streams and log lines together: counted before it is written,
// by the process and by all of its environment. What does not fit is not written at all; the limit
// says what becomes of the process. Threads: its own.
#ifndef VIV_WASM_OUTPUT_H
#define VIV_WASM_OUTPUT_H

#include "wasm/inst.h"

enum viv_output {
    VIV_OUTPUT_FITS,    // taken
    VIV_OUTPUT_DROPPED, // it goes on as if it had been written
    VIV_OUTPUT_ENDS,    // viv_output_end
};

enum viv_output viv_output_take(struct viv_inst *inst, uint64_t bytes);
void viv_output_give(struct viv_inst *inst, uint64_t bytes); // that were not written
// Ends the process with limit(output).
enum viv_host viv_output_end(struct viv_inst *inst);

#endif
