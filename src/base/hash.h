// SPDX-License-Identifier: Apache-2.0
// Mixing and hashing of keys (not cryptographic), SipHash, SHA-256 through OpenSSL.
#ifndef VIV_BASE_HASH_H
#define VIV_BASE_HASH_H

#include "base/err.h"

// Bijective mixer of 64 bits (the finaliser of SplitMix64).
static inline uint64_t viv_mix_u64(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline uint64_t viv_rotl_u64(uint64_t x, unsigned count) // count: 1 to 63
{
    return (x << count) | (x >> (64 - count));
}

uint64_t viv_hash_bytes(const void *data, size_t len_bytes, uint64_t seed);

// SipHash-2-4 (Aumasson, Bernstein 2012): keyed, for tables that outsiders fill and for short
// authenticators. The 128-bit form is the authors' later variant.
#define VIV_SIPHASH_KEY_BYTES 16
uint64_t viv_siphash_64(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const void *data,
                        size_t len_bytes);
void viv_siphash_128(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const void *data, size_t len_bytes,
                     uint64_t out_hash[2]);
// In a time that depends on the length only.
bool viv_is_equal_ct(const void *a, const void *b, size_t len_bytes);
void viv_wipe(void *secret, size_t len_bytes); // zeroes that the compiler keeps

#define VIV_SHA256_BYTES 32
// Incremental; final frees the state. Errors: EXHAUSTED.
struct viv_sha256;
enum viv_err viv_sha256_new(struct viv_sha256 **out_state) VIV_MUST_CHECK;
void viv_sha256_update(struct viv_sha256 *state, const void *data, size_t len_bytes);
void viv_sha256_final(VIV_OWN struct viv_sha256 *state, uint8_t out_digest[VIV_SHA256_BYTES]);
enum viv_err viv_sha256(const void *data, size_t len_bytes,
                        uint8_t out_digest[VIV_SHA256_BYTES]) VIV_MUST_CHECK;
// Lower-case hexadecimal, 2 * len + 1 bytes with the terminator.
void viv_hex_encode(const uint8_t *data, size_t len_bytes, char *out_text);

#endif
