// SPDX-License-Identifier: Apache-2.0
// SHA-256 against the published vectors (FIPS 180-4, NIST examples); properties of the table hash.
#include "base/alloc.h"
#include "base/hash.h"
#include "base/rng.h"
#include "cm.h"
#include "harness/check.h"
#include <string.h>

static void assert_digest(const uint8_t *digest, const char *expected)
{
    char text[2 * VIV_SHA256_BYTES + 1];
    viv_hex_encode(digest, VIV_SHA256_BYTES, text);
    assert_string_equal(text, expected);
}

static const char digest_of_million_a[] =
    "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

static void known_vectors(void **state)
{
    (void)state;
    static const struct {
        const char *text, *digest;
    } cases[] = {
        {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        uint8_t digest[VIV_SHA256_BYTES];
        assert_int_equal(viv_sha256(cases[i].text, strlen(cases[i].text), digest), VIV_OK);
        assert_digest(digest, cases[i].digest);
    }
}

static void pieces_add_up(void **state)
{
    (void)state;
    struct viv_sha256 *sha;
    uint8_t digest[VIV_SHA256_BYTES];
    char piece[997];
    memset(piece, 'a', sizeof piece);
    assert_int_equal(viv_sha256_new(&sha), VIV_OK);
    viv_sha256_update(sha, NULL, 0);
    for (size_t left = 1000000; left > 0;) {
        size_t len = left < sizeof piece ? left : sizeof piece;
        viv_sha256_update(sha, piece, len);
        left -= len;
    }
    viv_sha256_final(sha, digest);
    assert_digest(digest, digest_of_million_a);
}

static void assert_sip(size_t len, const char *hex64, const char *hex128)
{
    uint8_t key[VIV_SIPHASH_KEY_BYTES], data[64];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)i;
        if (i < sizeof key) key[i] = (uint8_t)i;
    }
    char text[33];
    const uint64_t short_hash = viv_siphash_64(key, data, len);
    uint64_t hash[2];
    viv_siphash_128(key, data, len, hash);
    viv_hex_encode((const uint8_t *)&short_hash, 8,
                   text); // both in the order of the authors' bytes
    assert_string_equal(text, hex64);
    viv_hex_encode((const uint8_t *)hash, 16, text);
    assert_string_equal(text, hex128);
}

// The vectors that the authors publish with their reference: key 00 … 0f, input 00, 01, …
static void siphash_known_vectors(void **state)
{
    (void)state;
    assert_sip(0, "310e0edd47db6f72", "a3817f04ba25a8e66df67214c7550293");
    assert_sip(1, "fd67dc93c539f874", "da87c1d86b99af44347659119b22fc45");
    assert_sip(2, "5a4fa9d909806c0d", "8177228da4a45dc7fca38bdef60affe4");
    assert_sip(3, "2d7efbd796666785", "9c70b60c5267a94e5f33b6b02985ed51");
    assert_sip(8, "6224939a79f5f593", "3b62a9ba6258f5610f83e264f31497b4");
    assert_sip(15, "e545be4961ca29a1", "5493e99933b0a8117e08ec0f97cfc3d9");
}

static void equality_looks_at_all_bytes(void **state)
{
    (void)state;
    uint8_t a[32] = {1}, b[32] = {1};
    assert_true(viv_is_equal_ct(a, b, sizeof a));
    assert_true(viv_is_equal_ct(a, b, 0));
    b[31] = 1;
    assert_false(viv_is_equal_ct(a, b, sizeof a));
    assert_true(viv_is_equal_ct(a, b, 31));
}

static void allocation_failure(void **state)
{
    (void)state;
    struct viv_sha256 *sha = NULL;
    int64_t before = viv_alloc_live_bytes_all();
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_sha256_new(&sha), VIV_E_EXHAUSTED);
    assert_null(sha);
    uint8_t digest[VIV_SHA256_BYTES];
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_sha256("a", 1, digest), VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    assert_int_equal(viv_alloc_live_bytes_all(), before);
}

static void hex(void **state)
{
    (void)state;
    char text[9];
    viv_hex_encode((const uint8_t[]){0x00, 0x9f, 0xa0, 0xff}, 4, text);
    assert_string_equal(text, "009fa0ff");
    viv_hex_encode(NULL, 0, text);
    assert_string_equal(text, "");
}

static void mixer_is_a_bijection_that_spreads(void **state)
{
    (void)state;
    // Values published with SplitMix64: the outputs for seed 1234567.
    struct viv_rng rng = {1234567};
    assert_true(viv_rng_next(&rng) == UINT64_C(6457827717110365317));
    assert_true(viv_rng_next(&rng) == UINT64_C(3203168211198807973));
    assert_true(viv_rng_next(&rng) == UINT64_C(9817491932198370423));
    assert_true(viv_mix_u64(0) == 0);
    for (uint64_t i = 0; i < 10000; i++) {
        assert_true(viv_rng_below(&rng, 7) < 7);
        assert_true(viv_rng_below(&rng, 1) == 0);
    }
}

static void every_bit_matters(void **state)
{
    (void)state;
    struct viv_rng rng = {check_seed()};
    uint8_t data[80];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)viv_rng_next(&rng);
    uint64_t flips = 0, count = 0;
    for (size_t len = 1; len <= sizeof data; len++) {
        uint64_t base = viv_hash_bytes(data, len, 1);
        for (size_t bit = 0; bit < len * 8; bit++) {
            data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            uint64_t other = viv_hash_bytes(data, len, 1);
            data[bit / 8] ^= (uint8_t)(1u << (bit % 8));
            assert_true(base != other);
            flips += (uint64_t)__builtin_popcountll(base ^ other);
            count++;
        }
        assert_true(viv_hash_bytes(data, len, 2) != base);     // the seed
        assert_true(viv_hash_bytes(data, len - 1, 1) != base); // the length
    }
    // Half of 64 bits change on average; the mean of 25 920 trials lies far inside these bounds.
    double mean = (double)flips / (double)count;
    assert_true(mean > 31.5 && mean < 32.5);
}

static void zeros_and_alignment(void **state)
{
    (void)state;
    uint8_t zeros[64] = {0};
    for (size_t a = 0; a <= sizeof zeros; a++)
        for (size_t b = 0; b < a; b++)
            assert_true(viv_hash_bytes(zeros, a, 0) != viv_hash_bytes(zeros, b, 0));
    char at_even[40] = " the same text at another place", at_odd[41];
    memcpy(at_odd + 1, at_even, 40);
    assert_true(viv_hash_bytes(at_even, 31, 9) == viv_hash_bytes(at_odd + 1, 31, 9));
    assert_true(viv_hash_bytes(NULL, 0, 3) == viv_hash_bytes("x", 0, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_vectors),
        cmocka_unit_test(pieces_add_up),
        cmocka_unit_test(siphash_known_vectors),
        cmocka_unit_test(equality_looks_at_all_bytes),
        cmocka_unit_test(allocation_failure),
        cmocka_unit_test(hex),
        cmocka_unit_test(mixer_is_a_bijection_that_spreads),
        cmocka_unit_test(every_bit_matters),
        cmocka_unit_test(zeros_and_alignment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
