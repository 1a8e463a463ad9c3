// SPDX-License-Identifier: Apache-2.0
// Limits of output.
#include "wasm/output.h"

#include "cap/members.h"

static bool fits_own(const struct viv_inst *inst, uint64_t bytes)
{
    const uint64_t limit = inst->config->output_bytes; // 0: none
    return limit == 0 || (inst->output_bytes <= limit && bytes <= limit - inst->output_bytes);
}

enum viv_output viv_output_take(struct viv_inst *inst, uint64_t bytes)
{
    if (!fits_own(inst, bytes) ||
        (inst->members != NULL && !viv_members_take_output(inst->members, bytes)))
        return inst->config->drops_output ? VIV_OUTPUT_DROPPED : VIV_OUTPUT_ENDS;
    inst->output_bytes += bytes;
    return VIV_OUTPUT_FITS;
}

void viv_output_give(struct viv_inst *inst, uint64_t bytes)
{
    inst->output_bytes -= bytes;
    if (inst->members != NULL) viv_members_give_output(inst->members, bytes);
}

enum viv_host viv_output_end(struct viv_inst *inst)
{
    uint64_t limit = inst->config->output_bytes; // 0: none
    if (inst->members != NULL && (limit == 0 || inst->members->output_max < limit))
        limit = inst->members->output_max;
    return viv_inst_exit(inst, viv_reason_newf(VIV_REASON_LIMIT, VIV_LIMIT_OUTPUT,
                                               "more than %llu bytes of output",
                                               (unsigned long long)limit));
}
