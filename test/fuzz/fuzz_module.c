// SPDX-License-Identifier: Apache-2.0
// Any bytes as a module, in both formats: read, checked, compiled, and run when they load.
#include "fuzz_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) return 0;
    kit_open();
    uint8_t *bytes = viv_try_alloc(size, VIV_TAG_MODULE);
    FUZZ_CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    struct viv_module *module;
    struct viv_diag diag = {{0}};
    if (viv_compile_source(
            viv_runtime_wasm(kit.runtime),
            &(struct viv_module_source){
                .name = "fuzz", .bytes = bytes, .len_bytes = size, .mode = VIV_WASM_MANY},
            true, &module, &diag) != VIV_OK) {
        FUZZ_CHECK(diag.text[0] != '\0'); // every refusal says why
        return 0;
    }
    for (uint32_t i = 0; i < viv_module_export_count(module) && i < 4; i++) {
        const struct viv_wasm_export *export = viv_module_export(module, i);
        char name[64];
        if (export->kind != VIV_EXTERN_FUNC || export->name_len >= sizeof(name)) continue;
        memcpy(name, export->name, export->name_len);
        name[export->name_len] = '\0';
        kit_run(module, name, NULL, 20);
    }
    viv_module_drop(module);
    return 0;
}
