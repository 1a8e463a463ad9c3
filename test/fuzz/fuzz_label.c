// SPDX-License-Identifier: Apache-2.0
// Any bytes as a label. What is left is valid UTF-8 within the bound, and cleaning it again changes
// nothing; what is escaped prints as it is.
#include "fuzz.h"

#include "base/text.h"
#include "native/label.h"
#include <string.h>

static void check_label(const char *label, size_t len)
{
    char again[VIV_LABEL_SIZE];
    FUZZ_CHECK(len <= VIV_LABEL_BYTES_MAX && strlen(label) == len && viv_utf8_is_valid(label, len));
    FUZZ_CHECK(viv_label_clean(again, label, len) == len && strcmp(again, label) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char label[VIV_LABEL_SIZE];
    struct viv_buf once, twice;
    check_label(label, viv_label_clean(label, data, size));
    check_label(label, viv_label_of_command(label, (const char *)data, size));
    viv_buf_init(&once, VIV_TAG_TEST);
    viv_buf_init(&twice, VIV_TAG_TEST);
    FUZZ_CHECK(viv_label_escape(&once, data, size) == VIV_OK);
    FUZZ_CHECK(viv_utf8_is_valid(once.data, once.len_bytes) && once.len_bytes >= size);
    FUZZ_CHECK(viv_label_escape(&twice, once.data, once.len_bytes) == VIV_OK);
    FUZZ_CHECK(once.len_bytes == twice.len_bytes);
    FUZZ_CHECK(size == 0 || memcmp(once.data, twice.data, once.len_bytes) == 0);
    viv_buf_deinit(&once);
    viv_buf_deinit(&twice);
    return 0;
}
