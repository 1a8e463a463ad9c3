// SPDX-License-Identifier: Apache-2.0
// Blocks of a test, and what the decoder makes of them.
#ifndef VIV_TEST_UNIT_NATIVE_REQ_KIT_H
#define VIV_TEST_UNIT_NATIVE_REQ_KIT_H

#include "cm.h"
#include "native/block.h"
#include "native/request.h"

#define KEY(name) VIV_NATIVE_KEY_##name

struct req_kit {
    struct viv_buf buf;
    struct viv_native_ceilings ceilings;
    struct viv_native_req req;
    struct viv_diag diag;
};

void req_begin(struct req_kit *kit);      // a block without a record
void req_begin_true(struct req_kit *kit); // with cmd=/bin/true
void req_put(struct req_kit *kit, enum viv_native_key key, const void *data, size_t len);
void req_text(struct req_kit *kit, enum viv_native_key key, const char *text);
void req_u32(struct req_kit *kit, enum viv_native_key key, uint32_t value);
void req_u64(struct req_kit *kit, enum viv_native_key key, uint64_t value);
void req_size(struct req_kit *kit, uint32_t rows, uint32_t columns); // pty
void req_take(struct req_kit *kit);                                  // it is decoded
// It is refused, with the detail.
void req_refused(struct req_kit *kit, enum viv_err err, const char *detail);
void req_end(struct req_kit *kit);

#endif
