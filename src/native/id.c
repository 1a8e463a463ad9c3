// SPDX-License-Identifier: Apache-2.0
// Minting, text and digest of ids. Copies that are made on the way are wiped.
#include "native/id.h"
#include "base/hash.h"
#include "base/text.h"

enum viv_err viv_prog_id_mint(const struct viv_prog_random *random, struct viv_prog_id *out_id,
                              struct viv_diag *diag)
{
    struct viv_prog_id id;
    if (random->fill(random->arg, id.b, sizeof id.b) != VIV_OK)
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "entropy");
    *out_id = id;
    viv_wipe(&id, sizeof id);
    return VIV_OK;
}

void viv_prog_id_format(const struct viv_prog_id *id, char out[VIV_PROG_ID_CHARS + 1])
{
    viv_base32_encode(id->b, sizeof id->b, out);
}

enum viv_err viv_prog_id_parse(const char *text, size_t len, struct viv_prog_id *out_id)
{
    struct viv_prog_id id;
    const enum viv_err err = viv_base32_decode(text, len, id.b, sizeof id.b);
    if (err == VIV_OK) *out_id = id;
    viv_wipe(&id, sizeof id);
    return err;
}

enum viv_err viv_prog_id_digest(const struct viv_prog_id *id, char out[VIV_PROG_DIGEST_CHARS + 1])
{
    uint8_t digest[VIV_SHA256_BYTES];
    VIV_TRY(viv_sha256(id->b, sizeof id->b, digest));
    viv_hex_encode(digest, VIV_PROG_DIGEST_CHARS / 2, out);
    return VIV_OK;
}

bool viv_prog_id_eq(const struct viv_prog_id *a, const struct viv_prog_id *b)
{
    return viv_is_equal_ct(a->b, b->b, sizeof a->b);
}
