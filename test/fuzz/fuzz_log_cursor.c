// SPDX-License-Identifier: Apache-2.0
// Any bytes as a cursor, in both forms: nothing is believed but what we made, which comes back as
// it was, and one altered bit undoes it. As an id: what parses prints the same.
#include "fuzz.h"

#include "native/cursor.h"
#include "native/id.h"
#include <string.h>

static const uint8_t key[VIV_SIPHASH_KEY_BYTES] = {3, 1, 4, 1, 5};

static bool is_believed(const struct viv_log_cursor *cursor)
{
    struct viv_log_mark mark;
    bool any = false;
    for (int stream = VIV_LOG_STDOUT; stream <= VIV_LOG_MERGED; stream++)
        any |= viv_log_cursor_open(key, cursor, (enum viv_log_stream)stream, 1, &mark) == VIV_OK;
    return any;
}

static void check_text(const uint8_t *data, size_t size)
{
    struct viv_log_cursor cursor;
    struct viv_prog_id id;
    char text[VIV_LOG_CURSOR_CHARS + 1];
    const bool is_cursor = viv_log_cursor_parse((const char *)data, size, &cursor) == VIV_OK;
    const bool is_id = viv_prog_id_parse((const char *)data, size, &id) == VIV_OK;
    FUZZ_CHECK(is_cursor == is_id);
    if (!is_cursor) return;
    viv_log_cursor_format(&cursor, text);
    FUZZ_CHECK(size == VIV_LOG_CURSOR_CHARS && memcmp(text, data, size) == 0);
    FUZZ_CHECK(!is_believed(&cursor));
}

static void check_made(const uint8_t *data)
{
    struct viv_log_mark mark = {.stream = (enum viv_log_stream)(1 + data[0] % 3),
                                .flags = data[1] & 1,
                                .generation = 1},
                        back;
    struct viv_log_cursor cursor;
    memcpy(&mark.offset, data + 2, 8);
    memcpy(&mark.other, data + 10, 8);
    viv_log_cursor_make(key, &mark, &cursor);
    FUZZ_CHECK(viv_log_cursor_open(key, &cursor, mark.stream, 1, &back) == VIV_OK);
    FUZZ_CHECK(back.offset == mark.offset && back.other == mark.other && back.flags == mark.flags);
    cursor.b[data[18] % sizeof cursor.b] ^= (uint8_t)(1 << data[19] % 8);
    FUZZ_CHECK(!is_believed(&cursor));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct viv_log_cursor cursor;
    check_text(data, size);
    if (size >= 20) check_made(data);
    if (size < sizeof cursor.b) return 0;
    memcpy(cursor.b, data, sizeof cursor.b);
    FUZZ_CHECK(!is_believed(&cursor));
    return 0;
}
