// SPDX-License-Identifier: Apache-2.0
// cmocka with what it needs before it.
#ifndef VIV_TEST_UNIT_BASE_CM_H
#define VIV_TEST_UNIT_BASE_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
