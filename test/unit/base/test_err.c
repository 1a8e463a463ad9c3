// SPDX-License-Identifier: Apache-2.0
// The table of errors, errno translation and the diagnosis.
#include "base/err.h"
#include "cm.h"
#include <errno.h>
#include <string.h>

static void table_is_complete(void **state)
{
    (void)state;
    static const enum viv_err some[] = {
        VIV_OK,       VIV_E_BADHANDLE, VIV_E_KIND,  VIV_E_RIGHTS, VIV_E_DENIED,  VIV_E_INVAL,
        VIV_E_MODULE, VIV_E_IO,        VIV_E_AGAIN, VIV_E_PERM,   VIV_E_TIMEOUT, VIV_E_ISDIR,
    };
    for (size_t i = 0; i < VIV_COUNT_OF(some); i++) {
        assert_non_null(viv_err_text(some[i]));
        assert_non_null(viv_err_name(some[i]));
        assert_non_null(viv_err_beam_reason(some[i]));
        assert_string_not_equal(viv_err_text(some[i]), "unknown error");
    }
    // Numbers that guests see never change.
    assert_int_equal(VIV_E_BADHANDLE, 1);
    assert_int_equal(VIV_E_NOTFOUND, 6);
    assert_int_equal(VIV_E_INVAL, 14);
    assert_int_equal(VIV_E_MODULE, 27);
    assert_int_equal(VIV_E_ESCAPE, 64);
    assert_int_equal(VIV_E_RETAINED, 65);
    assert_int_equal(VIV_E_NOPROGRAM, 66);
    assert_int_equal(VIV_E_NOEXEC, 67);
    assert_int_equal(VIV_E_IO, 68);
    assert_int_equal(VIV_E_LOST, 69);
    assert_int_equal(VIV_E_INTERNAL, 70);
    assert_int_equal(VIV_STORE_UTF8, 128); // durable.md 0, in the order of its table
    assert_int_equal(VIV_STORE_LEASED, 142);
    assert_int_equal(VIV_STORE_NOT_GRANTED, 143);
    assert_int_equal(VIV_STORE_TIER, 153);
    assert_int_equal(VIV_E_AGAIN, 200);
    assert_string_equal(viv_err_name(VIV_E_NOTFOUND), "NOTFOUND");
    assert_string_equal(viv_err_beam_reason(VIV_E_NOTFOUND), "enoent");
    assert_int_equal(viv_err_wasi(VIV_OK), 0);
    assert_int_equal(viv_err_wasi(VIV_E_NOTFOUND), 44);
    assert_int_equal(viv_err_wasi(VIV_E_BADHANDLE), 8);
    assert_string_equal(viv_err_text((enum viv_err)199), "unknown error");
}

static void errno_is_translated(void **state)
{
    (void)state;
    static const struct {
        int from;
        enum viv_err to;
    } cases[] = {
        {EAGAIN, VIV_E_AGAIN},     {EWOULDBLOCK, VIV_E_AGAIN},
        {ENOMEM, VIV_E_EXHAUSTED}, {EMFILE, VIV_E_EXHAUSTED},
        {ENOENT, VIV_E_NOTFOUND},  {EEXIST, VIV_E_EXISTS},
        {EACCES, VIV_E_PERM},      {EPERM, VIV_E_PERM},
        {EBADF, VIV_E_BADHANDLE},  {EISDIR, VIV_E_ISDIR},
        {ENOTDIR, VIV_E_NOTDIR},   {EINVAL, VIV_E_INVAL},
        {EPIPE, VIV_E_CLOSED},     {ETIMEDOUT, VIV_E_TIMEOUT},
        {EFAULT, VIV_E_IO},        {ENOSYS, VIV_E_UNSUPPORTED},
        {EIO, VIV_E_IO},           {0, VIV_E_IO},
        {99999, VIV_E_IO},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++)
        assert_int_equal(viv_err_from_errno(cases[i].from), cases[i].to);
}

static enum viv_err try_it(enum viv_err err, bool *out_passed)
{
    VIV_TRY(err);
    *out_passed = true;
    return VIV_OK;
}

static void try_leaves_with_the_error(void **state)
{
    (void)state;
    bool passed = false;
    assert_int_equal(try_it(VIV_E_BUSY, &passed), VIV_E_BUSY);
    assert_false(passed);
    assert_int_equal(try_it(VIV_OK, &passed), VIV_OK);
    assert_true(passed);
}

static void diag_is_cut_and_optional(void **state)
{
    (void)state;
    struct viv_diag diag;
    assert_int_equal(viv_diag_set(NULL, VIV_E_IO, "%d", 1), VIV_E_IO);
    assert_int_equal(viv_diag_set(&diag, VIV_E_IO, "file %s: %d", "x", 5), VIV_E_IO);
    assert_string_equal(diag.text, "file x: 5");
    char big[2000];
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(viv_diag_set(&diag, VIV_E_INVAL, "%s", big), VIV_E_INVAL);
    assert_int_equal(strlen(diag.text), sizeof diag.text - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_complete),
        cmocka_unit_test(errno_is_translated),
        cmocka_unit_test(try_leaves_with_the_error),
        cmocka_unit_test(diag_is_cut_and_optional),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
