// SPDX-License-Identifier: Apache-2.0
#include "req_kit.h"
#include <string.h>

void req_begin(struct req_kit *kit)
{
    memset(kit, 0, sizeof *kit);
    viv_buf_init(&kit->buf, VIV_TAG_TEST);
    OK(viv_block_init(&kit->buf));
    viv_native_ceilings_guest(&kit->ceilings);
}

void req_begin_true(struct req_kit *kit)
{
    req_begin(kit);
    req_text(kit, KEY(CMD), "/bin/true");
}

void req_put(struct req_kit *kit, enum viv_native_key key, const void *data, size_t len)
{
    OK(viv_block_put(&kit->buf, (uint16_t)key, data, len));
}

void req_text(struct req_kit *kit, enum viv_native_key key, const char *text)
{
    OK(viv_block_put_text(&kit->buf, (uint16_t)key, text));
}

void req_u32(struct req_kit *kit, enum viv_native_key key, uint32_t value)
{
    OK(viv_block_put_u32(&kit->buf, (uint16_t)key, value));
}

void req_u64(struct req_kit *kit, enum viv_native_key key, uint64_t value)
{
    OK(viv_block_put_u64(&kit->buf, (uint16_t)key, value));
}

void req_size(struct req_kit *kit, uint32_t rows, uint32_t columns)
{
    uint8_t bytes[8] = {0};
    for (size_t i = 0; i < 4; i++) {
        bytes[i] = (uint8_t)(rows >> (8 * i));
        bytes[4 + i] = (uint8_t)(columns >> (8 * i));
    }
    req_put(kit, KEY(PTY), bytes, sizeof bytes);
}

static enum viv_err decode(struct req_kit *kit)
{
    viv_block_finish(&kit->buf);
    // A copy at the end of a block of its own, so that a sanitizer sees what is read beyond.
    uint8_t *copy = viv_alloc(kit->buf.len_bytes, VIV_TAG_TEST);
    memcpy(copy, kit->buf.data, kit->buf.len_bytes);
    const enum viv_err err =
        viv_native_req_decode(&kit->req, copy, kit->buf.len_bytes, &kit->ceilings, &kit->diag);
    viv_free(copy, kit->buf.len_bytes, VIV_TAG_TEST);
    return err;
}

void req_take(struct req_kit *kit)
{
    const enum viv_err err = decode(kit);
    if (err != VIV_OK) fail_msg("%s(%s)", viv_err_name(err), kit->diag.text);
}

void req_refused(struct req_kit *kit, enum viv_err err, const char *detail)
{
    const enum viv_err got = decode(kit);
    if (got != err || strcmp(kit->diag.text, detail) != 0)
        fail_msg("%s(%s) where %s(%s) is due", viv_err_name(got), kit->diag.text, viv_err_name(err),
                 detail);
    req_end(kit);
}

void req_end(struct req_kit *kit)
{
    viv_native_req_deinit(&kit->req); // nothing after a refusal
    viv_buf_deinit(&kit->buf);
}
