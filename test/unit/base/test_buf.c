// SPDX-License-Identifier: Apache-2.0
// Growth, formatting at the edge of the capacity, and failures that change nothing.
#include "base/buf.h"
#include "cm.h"
#include <string.h>

static void assert_holds(const struct viv_buf *buf, const char *text)
{
    assert_int_equal(buf->len_bytes, strlen(text));
    if (*text != '\0') assert_memory_equal(buf->data, text, strlen(text));
}

static void appends(void **state)
{
    (void)state;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    assert_null(buf.data);
    assert_int_equal(viv_buf_append(&buf, NULL, 0), VIV_OK);
    assert_null(buf.data);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(viv_buf_append(&buf, "abcdefg", 7), VIV_OK);
    assert_int_equal(buf.len_bytes, 7000);
    assert_true(buf.cap_bytes >= 7000 && buf.cap_bytes <= 14000);
    for (size_t i = 0; i < 1000; i++)
        assert_memory_equal(buf.data + i * 7, "abcdefg", 7);

    size_t cap = buf.cap_bytes;
    viv_buf_clear(&buf);
    assert_int_equal(buf.len_bytes, 0);
    assert_int_equal(buf.cap_bytes, cap);
    viv_buf_deinit(&buf);
    assert_null(buf.data);
    assert_int_equal(buf.cap_bytes, 0);
    viv_buf_deinit(&buf); // harmless
}

static void formats_at_every_fill(void **state)
{
    (void)state;
    for (size_t fill = 0; fill < 200; fill++) {
        struct viv_buf buf;
        viv_buf_init(&buf, VIV_TAG_TEST);
        for (size_t i = 0; i < fill; i++)
            assert_int_equal(viv_buf_append(&buf, ".", 1), VIV_OK);
        assert_int_equal(viv_buf_printf(&buf, "%d-%s", 1234567, "end"), VIV_OK);
        assert_int_equal(buf.len_bytes, fill + 11);
        assert_memory_equal(buf.data + fill, "1234567-end", 11);
        viv_buf_deinit(&buf);
    }
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    assert_int_equal(viv_buf_printf(&buf, "%s", ""), VIV_OK);
    assert_holds(&buf, "");
    viv_buf_deinit(&buf);
}

static enum viv_err fill_some(struct viv_buf *buf)
{
    VIV_TRY(viv_buf_append(buf, "one", 3));
    VIV_TRY(viv_buf_printf(buf, "%0100d", 2));
    VIV_TRY(viv_buf_reserve(buf, 10000));
    return VIV_OK;
}

static void failures_change_nothing(void **state)
{
    (void)state;
    int64_t before = viv_alloc_live_bytes(VIV_TAG_TEST);
    uint64_t nth = 1;
    for (;; nth++) {
        struct viv_buf buf;
        viv_buf_init(&buf, VIV_TAG_TEST);
        viv_alloc_fail_nth(nth);
        enum viv_err err = fill_some(&buf);
        bool hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, hit ? VIV_E_EXHAUSTED : VIV_OK);
        if (nth == 1) assert_int_equal(buf.len_bytes, 0);
        if (nth == 2) assert_holds(&buf, "one");
        if (nth == 3) assert_int_equal(buf.len_bytes, 103);
        viv_buf_deinit(&buf);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_TEST), before);
        if (!hit) break;
    }
    assert_int_equal(nth, 4); // three allocations, then success
}

static void refuses_the_impossible(void **state)
{
    (void)state;
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_TEST);
    assert_int_equal(viv_buf_append(&buf, "x", 1), VIV_OK);
    assert_int_equal(viv_buf_reserve(&buf, SIZE_MAX), VIV_E_EXHAUSTED);
    assert_holds(&buf, "x");
    viv_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends),
        cmocka_unit_test(formats_at_every_fill),
        cmocka_unit_test(failures_change_nothing),
        cmocka_unit_test(refuses_the_impossible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
