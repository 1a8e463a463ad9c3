// SPDX-License-Identifier: Apache-2.0
// Ids of programs: 32 random bytes, whose text is all that one needs to reach the program again.
// What others may see of an id is its digest. Thread: any.
#ifndef VIV_NATIVE_ID_H
#define VIV_NATIVE_ID_H

#include "base/err.h"

#define VIV_PROG_ID_BYTES 32
#define VIV_PROG_ID_CHARS 52
#define VIV_PROG_DIGEST_CHARS 16

struct viv_prog_id {
    uint8_t b[VIV_PROG_ID_BYTES];
};
// Where random bytes come from: viv_os_random, or a test.
struct viv_prog_random {
    enum viv_err (*fill)(void *arg, void *out, size_t len_bytes);
    void *arg;
};

// Errors: EXHAUSTED (detail `entropy`).
enum viv_err viv_prog_id_mint(const struct viv_prog_random *random, struct viv_prog_id *out_id,
                              struct viv_diag *diag) VIV_MUST_CHECK;
void viv_prog_id_format(const struct viv_prog_id *id, char out[VIV_PROG_ID_CHARS + 1]);
// Another length, alphabet or filler is malformed. Errors: INVAL.
enum viv_err viv_prog_id_parse(const char *text, size_t len,
                               struct viv_prog_id *out_id) VIV_MUST_CHECK;
// 16 hexadecimal digits of the SHA-256. Errors: EXHAUSTED.
enum viv_err viv_prog_id_digest(const struct viv_prog_id *id,
                                char out[VIV_PROG_DIGEST_CHARS + 1]) VIV_MUST_CHECK;
bool viv_prog_id_eq(const struct viv_prog_id *a, const struct viv_prog_id *b); // in constant time

#endif
