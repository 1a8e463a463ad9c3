// SPDX-License-Identifier: Apache-2.0
// Any JSON as the policy of a registration, of which a module's policy is made as a text. What is
// taken holds no class that the launcher never gives away, whatever names and patterns say; what is
// refused says why.
#include "fuzz.h"

#include "ctl/launch_wasm_int.h"

static const enum viv_cap never[] = {
    VIV_CAP_NIF_LOAD,    VIV_CAP_NATIVE_SPAWN, VIV_CAP_NATIVE_SIGNAL, VIV_CAP_NATIVE_TTY,
    VIV_CAP_NATIVE_MODE, VIV_CAP_DIST_CONNECT, VIV_CAP_DIST_ACCEPT,   VIV_CAP_DIST_SPAWN,
    VIV_CAP_DIST_SEND,   VIV_CAP_CTL_READ,     VIV_CAP_CTL_CONTROL,   VIV_CAP_CTL_ENV,
    VIV_CAP_CTL_HALT};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value;
    struct viv_policy *policy;
    struct viv_capset *set;
    struct viv_launch_refusal refusal = {.code = NULL};
    if (viv_cjson_parse(data, size, &value, NULL) != VIV_OK) return 0;
    const enum viv_err err = viv_launch__policy_read(value, &policy, &refusal);
    json_decref(value);
    if (err != VIV_OK) {
        FUZZ_CHECK(refusal.code != NULL && refusal.message[0] != '\0');
        return 0;
    }
    FUZZ_CHECK(viv_capset_new(policy->caps, &set) == VIV_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(never); i++)
        FUZZ_CHECK((viv_capset_held(set) >> never[i] & 1) == 0);
    viv_capset_drop(set);
    viv_policy_free(policy);
    return 0;
}
