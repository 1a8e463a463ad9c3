// SPDX-License-Identifier: Apache-2.0
// The arena: blocks apart and aligned, big ones, resets, memory that runs out.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include <string.h>

static void blocks_are_apart_and_aligned(void **state)
{
    (void)state;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    uint8_t *blocks[1000];
    for (size_t i = 0; i < VIV_COUNT_OF(blocks); i++) {
        blocks[i] = viv_mem_try_take(&mem, i * 7 % 900);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        memset(blocks[i], (int)(i & 0xff), i * 7 % 900);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(blocks); i++)
        for (size_t j = 0; j < i * 7 % 900; j++)
            assert_int_equal(blocks[i][j], i & 0xff);
    viv_mem_deinit(&mem);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST), 0);
}

static void a_reset_keeps_one_ordinary_chunk(void **state)
{
    (void)state;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    viv_mem_reset(&mem);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 100; i++)
            assert_non_null(viv_mem_try_take(&mem, 1000));
        viv_mem_reset(&mem);
        assert_true(viv_alloc_live_bytes(VIV_TAG_TEST) < 9000);
    }
    assert_non_null(viv_mem_try_take(&mem, 1 << 20));
    viv_mem_reset(&mem);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST), 0);
    assert_null(viv_mem_try_take(&mem, SIZE_MAX));
    assert_null(viv_mem_try_copy(&mem, "", SIZE_MAX));
    viv_mem_deinit(&mem);
}

static void texts_are_terminated(void **state)
{
    (void)state;
    struct viv_mem mem;
    viv_mem_init(&mem, VIV_TAG_TEST);
    assert_string_equal(viv_mem_try_copy(&mem, "abcdef", 3), "abc");
    assert_string_equal(viv_mem_try_copy(&mem, NULL, 0), "");
    size_t len;
    assert_string_equal(viv_mem_try_printf(&mem, &len, "%d-%s", 7, "x"), "7-x");
    assert_int_equal(len, 3);
    viv_mem_deinit(&mem);
    viv_alloc_fail_nth(1);
    assert_null(viv_mem_try_printf(&mem, NULL, "x"));
    viv_alloc_fail_nth(0);
    viv_mem_deinit(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_apart_and_aligned),
        cmocka_unit_test(a_reset_keeps_one_ordinary_chunk),
        cmocka_unit_test(texts_are_terminated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
