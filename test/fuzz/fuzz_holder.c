// SPDX-License-Identifier: Apache-2.0
// Any bytes as what `viv-holder init` and the kernel read from each other: the first byte chooses
// between a frame and a plan. A plan that is taken encodes to the same bytes.
#include "fuzz.h"

#include "native/holder/plan.h"
#include "native/holder/wire.h"
#include <stdlib.h>
#include <string.h>

static void try_frame(const uint8_t *data, size_t size)
{
    struct viv_frame frame;
    if (!viv_frame_decode(data, size, &frame)) return;
    FUZZ_CHECK(viv_frame_length(frame.head.type) == (int)frame.head.length);
    FUZZ_CHECK(size == sizeof frame.head + frame.head.length);
    if (frame.head.type == VIV_FRAME_FAILED)
        FUZZ_CHECK(strcmp(viv_holder_stage_name(frame.body.failed.stage), "unknown") != 0);
}

static void try_plan(const uint8_t *data, size_t size)
{
    struct viv_plan *plan = malloc(sizeof *plan);
    struct viv_buf bytes;
    FUZZ_CHECK(plan != NULL);
    viv_buf_init(&bytes, VIV_TAG_TEST);
    if (viv_plan_decode(data, size, plan) == VIV_OK) {
        FUZZ_CHECK(viv_plan_encode(plan, &bytes) == VIV_OK);
        FUZZ_CHECK(bytes.len_bytes == size && memcmp(bytes.data, data, size) == 0);
        for (uint32_t i = 0; i < plan->arg_count; i++)
            FUZZ_CHECK(strlen(plan->argv[i]) < size);
        viv_plan_deinit(plan);
    }
    viv_buf_deinit(&bytes);
    free(plan);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    if (data[0] == 0)
        try_frame(data + 1, size - 1);
    else
        try_plan(data + 1, size - 1);
    return 0;
}
