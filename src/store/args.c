// SPDX-License-Identifier: Apache-2.0
// Checks of arguments, and texts in the caller's arena.
#include "base/text.h"
#include "store/shape.h"
#include "store/store_int.h"
#include <string.h>

enum viv_err viv_store__check_id(struct viv_str id, const char *name, struct viv_diag *diag)
{
    if (id.n > VIV_STORE_ID_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "%s: longer than 255 bytes", name);
    if (!viv_utf8_is_valid(id.p, id.n))
        return viv_diag_set(diag, VIV_STORE_UTF8, "%s: not UTF-8", name);
    if (!viv_store__is_id(id.p, id.n))
        return viv_diag_set(diag, VIV_E_INVAL, "%s: blank or not printable", name);
    return VIV_OK;
}

enum viv_err viv_store__check_text(struct viv_str text, const char *name, struct viv_diag *diag)
{
    return viv_utf8_is_valid(text.p, text.n)
               ? VIV_OK
               : viv_diag_set(diag, VIV_STORE_UTF8, "%s: not UTF-8", name);
}

enum viv_err viv_store__parse(struct viv_str text, size_t max_bytes, const char *name,
                              json_t **out_value, struct viv_diag *diag)
{
    struct viv_cjson_error error;
    if (text.n > max_bytes)
        return viv_diag_set(diag, VIV_E_TOOBIG, "%s: more than %zu bytes", name, max_bytes);
    const enum viv_err err = viv_cjson_parse(text.p, text.n, out_value, &error);
    if (err == VIV_OK || err == VIV_E_EXHAUSTED) return err;
    return viv_diag_set(diag, err, "%s: %s at byte %zu", name, error.what, error.offset_bytes);
}

enum viv_err viv_store__text(struct viv_mem *mem, json_t *value, struct viv_str *out_text)
{
    struct viv_buf text;
    viv_buf_init(&text, VIV_TAG_STORE);
    enum viv_err err = viv_cjson_write(value, &text);
    if (err == VIV_OK)
        err = viv_store__copy(mem, (struct viv_str){(const char *)text.data, text.len_bytes},
                              out_text);
    viv_buf_deinit(&text);
    return err;
}

enum viv_err viv_store__copy(struct viv_mem *mem, struct viv_str text, struct viv_str *out_copy)
{
    const char *copy = viv_mem_try_copy(mem, text.p, text.n);
    if (copy == NULL) return VIV_E_EXHAUSTED;
    *out_copy = (struct viv_str){copy, text.n};
    return VIV_OK;
}
