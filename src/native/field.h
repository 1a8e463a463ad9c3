// SPDX-License-Identifier: Apache-2.0
// Values that a field of a spawn request can have, and the row that describes a field.
// gen/native.tab lists the fields, gen/native.h makes struct viv_native_fields of these types.
#ifndef VIV_NATIVE_FIELD_H
#define VIV_NATIVE_FIELD_H

#include "base/defs.h"

// Bytes with a NUL behind them; data is NULL when the field was not given.
struct viv_native_text {
    const char *data;
    uint32_t len;
    uint16_t key_len; // of an environment variable: up to the `=`
    uint8_t mode;     // of a grant: enum viv_native_grant
    bool is_reserved; // an environment variable that needs word `env`
};
struct viv_native_list {
    const struct viv_native_text *items;
    uint32_t count;
};
enum viv_native_grant { VIV_NATIVE_GRANT_RO, VIV_NATIVE_GRANT_RW, VIV_NATIVE_GRANT_EXEC };

#define VIV_NATIVE_GROUPS_MAX 64 // what one record of 264 bytes holds
struct viv_native_ids {
    uint32_t uid, gid, group_count;
    uint32_t groups[VIV_NATIVE_GROUPS_MAX];
};
struct viv_native_size {
    uint32_t rows, columns; // 0: none
};

enum viv_native_type {
    VIV_NATIVE_TYPE_NONE, // no field has this number
    VIV_NATIVE_TYPE_U32,
    VIV_NATIVE_TYPE_U64,
    VIV_NATIVE_TYPE_BOOL,
    VIV_NATIVE_TYPE_WORD,
    VIV_NATIVE_TYPE_SET,
    VIV_NATIVE_TYPE_TEXT,
    VIV_NATIVE_TYPE_STRING,
    VIV_NATIVE_TYPE_BYTES,
    VIV_NATIVE_TYPE_ENV,
    VIV_NATIVE_TYPE_GRANT,
    VIV_NATIVE_TYPE_IDS,
    VIV_NATIVE_TYPE_SIZE
};
enum { // flags of a row
    VIV_NATIVE_ROW_REQUIRED = 1,
    VIV_NATIVE_ROW_REPEATS = 2,
    VIV_NATIVE_ROW_PROBE = 4,
    VIV_NATIVE_ROW_EXACT = 8,
    VIV_NATIVE_ROW_TOOBIG = 16,
    VIV_NATIVE_ROW_POWER = 32
};
struct viv_native_row {
    const char *name;         // in JSON, for BEAM, and as the detail of an error
    const char *const *words; // NULL behind the last
    enum viv_native_type type;
    uint32_t flags;
    uint32_t at; // in struct viv_native_fields
    uint32_t count_max;
    uint64_t min, by_default, ceiling, max;
};

#define VIV_NATIVE_NONE UINT64_MAX // no limit

#endif
