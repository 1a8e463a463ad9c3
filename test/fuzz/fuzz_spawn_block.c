// SPDX-License-Identifier: Apache-2.0
// Any bytes as a spawn block. What is taken is within its bounds, has whole texts, and gives an
// environment or says why not; what is refused names a field and leaves nothing behind.
#include "fuzz.h"

#include "base/alloc.h"
#include "native/environ.h"
#include <string.h>

static void check_text(const struct viv_native_text *text)
{
    FUZZ_CHECK(text->data == NULL || text->data[text->len] == '\0');
}

static void check_field(const struct viv_native_req *req, uint32_t key)
{
    const struct viv_native_row *row = &viv_native_rows[key];
    const char *at = (const char *)&req->fields + row->at;
    if ((row->flags & VIV_NATIVE_ROW_REPEATS) != 0) {
        const struct viv_native_list *list = (const struct viv_native_list *)(const void *)at;
        FUZZ_CHECK(list->count <= row->count_max);
        for (uint32_t i = 0; i < list->count; i++) {
            check_text(&list->items[i]);
            if (row->type != VIV_NATIVE_TYPE_BYTES)
                FUZZ_CHECK(strlen(list->items[i].data) == list->items[i].len);
        }
    } else if (row->type >= VIV_NATIVE_TYPE_TEXT && row->type <= VIV_NATIVE_TYPE_GRANT) {
        check_text((const struct viv_native_text *)(const void *)at);
    } else if (row->type >= VIV_NATIVE_TYPE_U32 && row->type <= VIV_NATIVE_TYPE_SET) {
        const uint64_t value = viv_native_number(&req->fields, (enum viv_native_key)key);
        const bool is_free = key == VIV_NATIVE_KEY_IDLE_MS || key == VIV_NATIVE_KEY_START_MS;
        FUZZ_CHECK(value >= row->min && value <= row->max);
        FUZZ_CHECK(is_free || value <= row->ceiling);
    }
}

static void check_request(const struct viv_native_req *req)
{
    static const char *const environ[] = {"TZ=UTC", NULL}, *const allowed[] = {"TZ", NULL};
    const struct viv_native_env_source source = {
        .environ = environ, .allowed = allowed, .digest = "0", .pid = {1}};
    struct viv_native_env env;
    for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++)
        check_field(req, key);
    uint32_t count = 0;
    while (req->argv[count] != NULL)
        count++;
    FUZZ_CHECK(count == req->fields.arg.count + 1);
    FUZZ_CHECK(strlen(req->label) <= VIV_LABEL_BYTES_MAX);
    FUZZ_CHECK(viv_native_search_path(req) != NULL);
    const enum viv_err err = viv_native_env_build(req, &source, &env, NULL);
    FUZZ_CHECK(err == VIV_OK || err == VIV_E_DENIED || err == VIV_E_TOOBIG);
    if (err == VIV_OK) viv_native_env_free(&env);
    if (req->probe != NULL) FUZZ_CHECK(req->probe->probe == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct viv_native_ceilings ceilings;
    struct viv_native_req req;
    struct viv_diag diag = {{0}};
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_NATIVE);
    viv_native_ceilings_guest(&ceilings);
    const enum viv_err err = viv_native_req_decode(&req, data, size, &ceilings, &diag);
    if (err == VIV_OK) {
        check_request(&req);
        viv_native_req_deinit(&req);
    } else {
        FUZZ_CHECK(err == VIV_E_INVAL || err == VIV_E_TOOBIG);
        FUZZ_CHECK(diag.text[0] != '\0');
    }
    FUZZ_CHECK(viv_alloc_live_bytes(VIV_TAG_NATIVE) == before);
    return 0;
}
