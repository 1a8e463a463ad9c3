// SPDX-License-Identifier: Apache-2.0
// cmocka with what it needs before it.
#ifndef VIV_TEST_UNIT_CTL_CM_H
#define VIV_TEST_UNIT_CTL_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define OK(expr) assert_int_equal((expr), VIV_OK)
#define ERR(expr, err) assert_int_equal((expr), VIV_E_##err)

#endif
