// SPDX-License-Identifier: Apache-2.0
// Hashing of byte strings for tables, SHA-256 for names of cached things.
//
// viv_hash_bytes takes 16 bytes a step. A step multiplies two halves of 64 bits to 128 and folds
// the product; a rotated copy of the old state is added, so that a product of zero does not erase
// it. Not cryptographic: a table that outsiders fill gives a random seed.
#include "base/hash.h"
#include "base/alloc.h"
#include "base/assert.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

static uint64_t fold_product(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t hash_step(uint64_t state, uint64_t key, const uint8_t *chunk)
{
    uint64_t a, b;
    memcpy(&a, chunk, 8);
    memcpy(&b, chunk + 8, 8);
    return fold_product(state ^ a, key ^ b) + viv_rotl_u64(state, 29) + b;
}

uint64_t viv_hash_bytes(const void *data, size_t len_bytes, uint64_t seed)
{
    const uint8_t *at = data;
    uint64_t key = viv_mix_u64(seed + UINT64_C(0x9e3779b97f4a7c15));
    uint64_t state = viv_mix_u64(key ^ len_bytes);
    size_t left = len_bytes;
    for (; left >= 16; left -= 16, at += 16)
        state = hash_step(state, key, at);
    if (left > 0) {
        uint8_t last[16] = {
            0}; // the length is in the state, so padding cannot be confused with data
        memcpy(last, at, left);
        state = hash_step(state, key, last);
    }
    return viv_mix_u64(state ^ key);
}

// ---- secrets ----

bool viv_is_equal_ct(const void *a, const void *b, size_t len_bytes)
{
    return CRYPTO_memcmp(a, b, len_bytes) == 0;
}

void viv_wipe(void *secret, size_t len_bytes)
{
    OPENSSL_cleanse(secret, len_bytes);
}

// ---- SHA-256 ----

struct viv_sha256 {
    EVP_MD_CTX *ctx;
};

enum viv_err viv_sha256_new(struct viv_sha256 **out_state)
{
    struct viv_sha256 *state = viv_try_alloc(sizeof *state, VIV_TAG_BASE);
    if (state == NULL) return VIV_E_EXHAUSTED;
    state->ctx = EVP_MD_CTX_new();
    if (state->ctx == NULL) goto fail_alloc;
    if (EVP_DigestInit_ex(state->ctx, EVP_sha256(), NULL) != 1) goto fail_ctx;
    *out_state = state;
    return VIV_OK;

fail_ctx:
    EVP_MD_CTX_free(state->ctx);
fail_alloc:
    viv_free(state, sizeof *state, VIV_TAG_BASE);
    return VIV_E_EXHAUSTED;
}

// After a successful start neither step allocates nor depends on anything outside, so a refusal is
// a misuse of the library.
void viv_sha256_update(struct viv_sha256 *state, const void *data, size_t len_bytes)
{
    if (len_bytes == 0) return;
    if (EVP_DigestUpdate(state->ctx, data, len_bytes) != 1) VIV_PANIC("SHA-256 update refused");
}

void viv_sha256_final(struct viv_sha256 *state, uint8_t out_digest[VIV_SHA256_BYTES])
{
    unsigned len = 0;
    if (EVP_DigestFinal_ex(state->ctx, out_digest, &len) != 1 || len != VIV_SHA256_BYTES)
        VIV_PANIC("SHA-256 final refused");
    EVP_MD_CTX_free(state->ctx);
    viv_free(state, sizeof *state, VIV_TAG_BASE);
}

enum viv_err viv_sha256(const void *data, size_t len_bytes, uint8_t out_digest[VIV_SHA256_BYTES])
{
    struct viv_sha256 *state;
    VIV_TRY(viv_sha256_new(&state));
    viv_sha256_update(state, data, len_bytes);
    viv_sha256_final(state, out_digest);
    return VIV_OK;
}

void viv_hex_encode(const uint8_t *data, size_t len_bytes, char *out_text)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len_bytes; i++) {
        *out_text++ = digits[data[i] >> 4];
        *out_text++ = digits[data[i] & 15];
    }
    *out_text = '\0';
}
