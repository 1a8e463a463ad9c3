// SPDX-License-Identifier: Apache-2.0
// Ids: text, digest, minting.
#include "base/alloc.h"
#include "cm.h"
#include "native/id.h"
#include "os/rand.h"
#include <stdlib.h>
#include <string.h>

static enum viv_err fill(void *arg, void *out, size_t len)
{
    (void)arg;
    return viv_os_random(out, len);
}

static enum viv_err fill_nothing(void *arg, void *out, size_t len)
{
    (void)arg;
    (void)out;
    (void)len;
    return VIV_E_IO;
}

static void assert_text(const struct viv_prog_id *id, const char *expected)
{
    char text[VIV_PROG_ID_CHARS + 1];
    struct viv_prog_id back;
    viv_prog_id_format(id, text);
    assert_string_equal(text, expected);
    OK(viv_prog_id_parse(expected, strlen(expected), &back));
    assert_true(viv_prog_id_eq(id, &back));
}

static void n1_vectors(void **state)
{
    (void)state;
    struct viv_prog_id id;
    memset(&id, 0, sizeof id);
    assert_text(&id, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    memset(&id, 0xFF, sizeof id);
    assert_text(&id, "777777777777777777777777777777777777777777777777777q");
    for (size_t i = 0; i < sizeof id.b; i++)
        id.b[i] = (uint8_t)i;
    assert_text(&id, "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq");
}

static void n2_malformed(void **state)
{
    (void)state;
    static const char good[] = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq";
    struct viv_prog_id id;
    char text[64];
    OK(viv_prog_id_parse(good, 52, &id));
    ERR(viv_prog_id_parse(good, 51, &id), INVAL);
    ERR(viv_prog_id_parse(good, 53, &id), INVAL);
    ERR(viv_prog_id_parse(good, 0, &id), INVAL);
    static const char wrong[] = "A1089=-_ \x80\xFFZ";
    for (size_t at = 0; at < 52; at++) {
        for (size_t i = 0; i < sizeof wrong; i++) { // the NUL too
            memcpy(text, good, sizeof good);
            text[at] = wrong[i];
            ERR(viv_prog_id_parse(text, 52, &id), INVAL);
        }
    }
    memcpy(text, good, sizeof good);
    for (char last = 'a'; last <= 'z'; last++) { // the filler: one bit and four zeros
        text[51] = last;
        const enum viv_err err = viv_prog_id_parse(text, 52, &id);
        assert_int_equal(err, last == 'a' || last == 'q' ? VIV_OK : VIV_E_INVAL);
    }
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct viv_prog_id));
}

static void n3_a_million_ids(void **state)
{
    (void)state;
    enum { COUNT = 1000000 };
    const struct viv_prog_random random = {.fill = fill};
    struct viv_prog_id *ids = viv_alloc(COUNT * sizeof *ids, VIV_TAG_TEST);
    char text[VIV_PROG_ID_CHARS + 1];
    for (size_t i = 0; i < COUNT; i++) {
        OK(viv_prog_id_mint(&random, &ids[i], NULL));
        viv_prog_id_format(&ids[i], text);
        assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz234567"), VIV_PROG_ID_CHARS);
        assert_true(text[51] == 'a' || text[51] == 'q');
    }
    qsort(ids, COUNT, sizeof *ids, compare);
    for (size_t i = 1; i < COUNT; i++)
        assert_false(viv_prog_id_eq(&ids[i - 1], &ids[i]));
    viv_free(ids, COUNT * sizeof *ids, VIV_TAG_TEST);
}

static void n4_no_entropy(void **state)
{
    (void)state;
    const struct viv_prog_random random = {.fill = fill_nothing};
    struct viv_diag diag;
    struct viv_prog_id id;
    ERR(viv_prog_id_mint(&random, &id, &diag), EXHAUSTED);
    assert_string_equal(diag.text, "entropy");
}

// SHA-256 of 32 zero bytes begins so.
static void digest_is_that_of_the_bytes(void **state)
{
    (void)state;
    const struct viv_prog_id id = {{0}};
    char text[VIV_PROG_DIGEST_CHARS + 1];
    OK(viv_prog_id_digest(&id, text));
    assert_string_equal(text, "66687aadf862bd77");
    viv_alloc_fail_nth(1);
    ERR(viv_prog_id_digest(&id, text), EXHAUSTED);
    viv_alloc_fail_nth(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n1_vectors),
        cmocka_unit_test(n2_malformed),
        cmocka_unit_test(n3_a_million_ids),
        cmocka_unit_test(n4_no_entropy),
        cmocka_unit_test(digest_is_that_of_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
