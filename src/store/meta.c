// SPDX-License-Identifier: Apache-2.0
// The table meta, and cursors.
#include "store/meta.h"

#include "base/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VALUE_BYTES = 64 };

enum viv_err viv_store__meta_read(struct viv_store__txn *txn, struct viv_store__meta *out_meta)
{
    struct viv_db_rows rows;
    struct viv_store__meta meta = {.schema = -1};
    bool has_epoch = false;
    VIV_TRY(viv_store__send(txn, VIV_STMT_META, ""));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        char value[VALUE_BYTES], *end = value;
        const struct viv_str key = rows.values[2 * i].text, text = rows.values[2 * i + 1].text;
        (void)snprintf(value, sizeof value, "%.*s", (int)viv_min_u64(text.n, VALUE_BYTES), text.p);
        if (viv_str_is_equal(key, viv_str_of("epoch"))) {
            meta.epoch = strtoull(value, &end, 16);
            has_epoch = *end == '\0' && text.n == 16;
        } else if (viv_str_is_equal(key, viv_str_of("schema"))) {
            meta.schema = strtoll(value, NULL, 10);
        } else if (viv_str_is_equal(key, viv_str_of("tomb_low"))) {
            meta.tomb_position = strtoll(value, &end, 10);
            meta.tomb_birth = strtoll(end, NULL, 10);
        }
    }
    if (!has_epoch || meta.schema < 0) return VIV_STORE_CORRUPT;
    *out_meta = meta;
    return VIV_OK;
}

// ---- cursors ----

static void put_number(uint8_t *out, size_t bytes, uint64_t number) // the most significant first
{
    for (size_t i = 0; i < bytes; i++)
        out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
}

static int64_t get_number(const uint8_t *data, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++)
        number = number << 8 | data[i];
    return viv_to_i64(number);
}

static uint64_t upper_half_turned(const struct viv_store__meta *meta)
{
    return ~meta->epoch >> 32;
}

void viv_store__cursor_write(const struct viv_store__meta *meta, enum viv_feed_kind kind,
                             const struct viv_store__place *place, struct viv_cursor *out_cursor)
{
    uint8_t *out = out_cursor->b;
    if (kind == VIV_FEED_CHANGES) {
        put_number(out, 8, meta->epoch);
        put_number(out + 8, 8, (uint64_t)place->position);
        put_number(out + 16, 8, (uint64_t)place->birth);
    } else {
        put_number(out, 4, upper_half_turned(meta));
        put_number(out + 4, 8, (uint64_t)place->position);
        put_number(out + 12, 6, (uint64_t)place->birth);
        put_number(out + 18, 6, (uint64_t)place->seq);
    }
}

// Behind a tombstone that was dropped, changes would be missing.
static bool is_before(const struct viv_store__place *place, const struct viv_store__meta *meta)
{
    return place->position < meta->tomb_position ||
           (place->position == meta->tomb_position && place->birth < meta->tomb_birth);
}

enum viv_err viv_store__cursor_read(const struct viv_store__meta *meta, enum viv_feed_kind kind,
                                    const struct viv_cursor *cursor,
                                    struct viv_store__place *out_place, struct viv_diag *diag)
{
    static const uint8_t zero[VIV_CURSOR_BYTES];
    const uint8_t *b = cursor->b;
    struct viv_store__place place = {0};
    uint8_t own[8];
    put_number(own, 8, meta->epoch);
    if (kind == VIV_FEED_EVENTS) put_number(own, 4, upper_half_turned(meta));
    if (memcmp(b, zero, sizeof zero) == 0) {
        *out_place = place;
        return VIV_OK;
    }
    if (memcmp(b, own, kind == VIV_FEED_CHANGES ? 8 : 4) != 0)
        return viv_diag_set(diag, VIV_STORE_CURSOR, "cursor: of another store or epoch");
    if (kind == VIV_FEED_CHANGES) {
        place = (struct viv_store__place){get_number(b + 8, 8), get_number(b + 16, 8), 0};
        if (is_before(&place, meta))
            return viv_diag_set(diag, VIV_STORE_CURSOR, "cursor: older than what is kept");
    } else {
        place = (struct viv_store__place){get_number(b + 4, 8), get_number(b + 12, 6),
                                          get_number(b + 18, 6)};
    }
    *out_place = place;
    return VIV_OK;
}

// ---- as text ----

static const char prefix[] = "c1.";

void viv_cursor_format(const struct viv_cursor *cursor, char out[VIV_CURSOR_CHARS])
{
    memcpy(out, prefix, sizeof prefix);
    viv_hex_encode(cursor->b, sizeof cursor->b, out + sizeof prefix - 1);
}

static int digit_of(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

enum viv_err viv_cursor_parse(struct viv_str text, struct viv_cursor *out_cursor)
{
    struct viv_cursor cursor;
    const size_t len = sizeof prefix - 1;
    if (text.n != VIV_CURSOR_CHARS - 1 || memcmp(text.p, prefix, len) != 0) return VIV_E_INVAL;
    for (size_t i = 0; i < sizeof cursor.b; i++) {
        const int high = digit_of(text.p[len + 2 * i]), low = digit_of(text.p[len + 2 * i + 1]);
        if (high < 0 || low < 0) return VIV_E_INVAL;
        cursor.b[i] = (uint8_t)(16 * high + low);
    }
    *out_cursor = cursor;
    return VIV_OK;
}
