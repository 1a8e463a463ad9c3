// SPDX-License-Identifier: Apache-2.0
// Any bytes as JSON, and as a registration. What is taken has one canonical text, which reads back
// as the same value; a registration's normal form is the normal form of itself, and its schemas and
// selectors can be used on any payload without harm.
#include "fuzz.h"

#include "base/cjson.h"
#include "store/output.h"
#include "store/regis.h"
#include "store/schema.h"
#include "store/select.h"
#include <string.h>

static void check_canonical(json_t *value)
{
    struct viv_buf first, second;
    json_t *again;
    viv_buf_init(&first, VIV_TAG_TEST);
    viv_buf_init(&second, VIV_TAG_TEST);
    FUZZ_CHECK(viv_cjson_write(value, &first) == VIV_OK);
    FUZZ_CHECK(viv_cjson_parse(first.data, first.len_bytes, &again, NULL) == VIV_OK);
    FUZZ_CHECK(json_equal(value, again));
    FUZZ_CHECK(viv_cjson_write(again, &second) == VIV_OK);
    FUZZ_CHECK(first.len_bytes == second.len_bytes);
    FUZZ_CHECK(memcmp(first.data, second.data, first.len_bytes) == 0);
    json_decref(again);
    viv_buf_deinit(&first);
    viv_buf_deinit(&second);
}

static void use_selector(json_t *selector, json_t *payload)
{
    json_t *value;
    if (selector == NULL || viv_store__select(selector, payload, &value, NULL) != VIV_OK) return;
    (void)viv_store__is_true(value);
    check_canonical(value);
    json_decref(value);
}

static void use_types(const struct viv_store__reg *reg, json_t *payload)
{
    for (size_t i = 0; i < reg->type_count; i++) {
        const struct viv_store__type *type = &reg->types[i];
        json_t *output;
        if (type->schema != NULL) (void)viv_store__schema_match(type->schema, payload, NULL);
        use_selector(type->output, payload);
        use_selector(type->when, payload);
        use_selector(type->input, payload);
        if (type->state == VIV_RUNNING ||
            viv_store__output_of(type->state, payload, &output, NULL) != VIV_OK)
            continue;
        FUZZ_CHECK(viv_store__state_of_output(output) == type->state);
        json_decref(output);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value;
    struct viv_store__core *core;
    struct viv_store__reg *reg, *again;
    struct viv_diag diag;
    if (viv_cjson_parse(data, size, &value, NULL) != VIV_OK) return 0;
    check_canonical(value);
    FUZZ_CHECK(viv_store__core_new(&core) == VIV_OK);
    const struct viv_str text = {(const char *)data, size};
    if (viv_store__reg_new(core, text, &reg, &diag) == VIV_OK) {
        FUZZ_CHECK(viv_store__reg_load(core, (struct viv_str){reg->text, reg->text_len}, &again) ==
                   VIV_OK);
        FUZZ_CHECK(strcmp(reg->hash, again->hash) == 0);
        FUZZ_CHECK(json_equal(reg->normal, again->normal));
        use_types(reg, value);
        use_types(again, reg->normal);
        viv_store__reg_drop(again);
        viv_store__reg_drop(reg);
    }
    viv_store__core_free(core);
    json_decref(value);
    return 0;
}
