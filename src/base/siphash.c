// SPDX-License-Identifier: Apache-2.0
// SipHash-2-4: see hash.h. A file of its own, since viv-holder has it without the libraries that
// the other hashes need.
#include "base/hash.h"

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t word_at(const uint8_t *at, size_t len)
{
    uint64_t word = 0; // little-endian
    for (size_t i = len; i > 0; i--)
        word = word << 8 | at[i - 1];
    return word;
}

static void sip_rounds(struct sip *sip, uint32_t count)
{
    for (; count > 0; count--) {
        sip->v0 += sip->v1;
        sip->v1 = viv_rotl_u64(sip->v1, 13) ^ sip->v0;
        sip->v0 = viv_rotl_u64(sip->v0, 32);
        sip->v2 += sip->v3;
        sip->v3 = viv_rotl_u64(sip->v3, 16) ^ sip->v2;
        sip->v0 += sip->v3;
        sip->v3 = viv_rotl_u64(sip->v3, 21) ^ sip->v0;
        sip->v2 += sip->v1;
        sip->v1 = viv_rotl_u64(sip->v1, 17) ^ sip->v2;
        sip->v2 = viv_rotl_u64(sip->v2, 32);
    }
}

static void sip_word(struct sip *sip, uint64_t word)
{
    sip->v3 ^= word;
    sip_rounds(sip, 2);
    sip->v0 ^= word;
}

static uint64_t sip_fold(const struct sip *sip)
{
    return sip->v0 ^ sip->v1 ^ sip->v2 ^ sip->v3;
}

// Up to the finalisation. The constants spell "somepseudorandomlygeneratedbytes".
static struct sip sip_absorb(const uint8_t *key, const uint8_t *at, size_t len, uint64_t variant)
{
    const uint64_t k0 = word_at(key, 8), k1 = word_at(key + 8, 8);
    struct sip sip = {k0 ^ UINT64_C(0x736f6d6570736575),
                      k1 ^ UINT64_C(0x646f72616e646f6d) ^ variant,
                      k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};
    size_t left = len;
    for (; left >= 8; left -= 8, at += 8)
        sip_word(&sip, word_at(at, 8));
    sip_word(&sip, word_at(at, left) | (uint64_t)len << 56);
    return sip;
}

uint64_t viv_siphash_64(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const void *data,
                        size_t len_bytes)
{
    struct sip sip = sip_absorb(key, data, len_bytes, 0);
    sip.v2 ^= 0xFF;
    sip_rounds(&sip, 4);
    return sip_fold(&sip);
}

void viv_siphash_128(const uint8_t key[VIV_SIPHASH_KEY_BYTES], const void *data, size_t len_bytes,
                     uint64_t out_hash[2])
{
    struct sip sip = sip_absorb(key, data, len_bytes, 0xEE);
    sip.v2 ^= 0xEE;
    sip_rounds(&sip, 4);
    out_hash[0] = sip_fold(&sip);
    sip.v1 ^= 0xDD;
    sip_rounds(&sip, 4);
    out_hash[1] = sip_fold(&sip);
}
