// SPDX-License-Identifier: Apache-2.0
// cmocka, and texts as the store takes them.
#ifndef VIV_TEST_STORE_CM_H
#define VIV_TEST_STORE_CM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cjson.h"
#include "store/store.h"
#include <string.h>

static inline struct viv_str str(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

// A value that must be right.
static inline json_t *json(const char *text)
{
    json_t *value = NULL;
    assert_int_equal(viv_cjson_parse(text, strlen(text), &value, NULL), VIV_OK);
    return value;
}

#endif
