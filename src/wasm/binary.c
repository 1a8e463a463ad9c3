// SPDX-License-Identifier: Apache-2.0
// Reader of the binary format: the sections type, import, function, table, memory and export.
// Every read goes through a cursor that turns bad at its end and stays bad; counts are checked
// against what is left before anything is allocated, and nothing recurses.
#include "wasm/binary.h"

#include "base/alloc.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PREAMBLE_BYTES 8u
#define ITEMS_MAX 1000000u // types, functions, imports, exports: as the engine's limits
#define WASM_PAGE_LOG2 16u

enum section {
    SECTION_TYPE = 1,
    SECTION_IMPORT,
    SECTION_FUNCTION,
    SECTION_TABLE,
    SECTION_MEMORY,
    SECTION_EXPORT = 7
};

struct cursor {
    const uint8_t *at, *end;
    bool bad;
};

// What is needed while reading only.
struct reader {
    const uint8_t *bytes;
    struct viv_binary *out;
    uint32_t *type_at; // of each type; 0: no function type
    uint32_t type_count, type_cap;
    uint32_t *func_type; // type index of each function, imported ones first
    uint32_t func_count, func_cap;
    bool no_memory; // an allocation failed
};

// ---- primitives ----

static uint8_t read_u8(struct cursor *c)
{
    if (c->at == c->end) {
        c->bad = true;
        return 0;
    }
    return *c->at++;
}

static uint64_t read_leb(struct cursor *c, uint32_t bits)
{
    uint64_t value = 0;
    for (uint32_t shift = 0; shift < bits; shift += 7) {
        uint8_t byte = read_u8(c);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            if (bits < 64 && value >> bits != 0) c->bad = true;
            return value;
        }
    }
    c->bad = true;
    return 0;
}

static uint32_t read_u32(struct cursor *c)
{
    return (uint32_t)read_leb(c, 32);
}

// A count of items that take at least one byte each.
static uint32_t read_count(struct cursor *c)
{
    uint32_t count = read_u32(c);
    if (count > ITEMS_MAX || count > (size_t)(c->end - c->at)) c->bad = true;
    return c->bad ? 0 : count;
}

static const char *read_name(struct cursor *c, uint32_t *out_len)
{
    uint32_t len = read_u32(c);
    const char *name = (const char *)c->at;
    if (c->bad || len > (size_t)(c->end - c->at) || !viv_utf8_is_valid(name, len)) {
        c->bad = true;
        *out_len = 0;
        return "";
    }
    c->at += len;
    *out_len = len;
    return name;
}

static void skip_heap_type(struct cursor *c) // s33: an index, or one byte of an abstract type
{
    for (uint32_t i = 0; i < 5; i++)
        if ((read_u8(c) & 0x80) == 0) return;
    c->bad = true;
}

// The letter of a value type; 0 when it is none.
static char read_value_type(struct cursor *c)
{
    uint8_t byte = read_u8(c);
    switch (byte) {
    case 0x7f:
        return 'i';
    case 0x7e:
        return 'I';
    case 0x7d:
        return 'f';
    case 0x7c:
        return 'F';
    case 0x7b:
        return 'V';
    case 0x63: // (ref null ht)
    case 0x64: // (ref ht)
        skip_heap_type(c);
        return 'r';
    default:
        if (byte >= 0x69 && byte <= 0x74) return 'r'; // the short forms, exnref to noexnref
        c->bad = true;
        return 0;
    }
}

struct limits {
    uint64_t min, max; // max UINT64_MAX: none
    uint32_t page_log2;
};

static struct limits read_limits(struct cursor *c)
{
    enum { HAS_MAX = 1, IS_64 = 4, HAS_PAGE = 8, KNOWN = 15 };
    struct limits limits = {.max = UINT64_MAX, .page_log2 = WASM_PAGE_LOG2};
    uint8_t flags = read_u8(c);
    if ((flags & ~KNOWN) != 0) c->bad = true;
    uint32_t bits = (flags & IS_64) != 0 ? 64 : 32;
    limits.min = read_leb(c, bits);
    if ((flags & HAS_MAX) != 0) limits.max = read_leb(c, bits);
    if ((flags & HAS_PAGE) != 0) limits.page_log2 = read_u32(c);
    if (limits.page_log2 > WASM_PAGE_LOG2) {
        limits.page_log2 = WASM_PAGE_LOG2;
        c->bad = true;
    }
    return limits;
}

// ---- types ----

static void skip_field(struct cursor *c)
{
    if (c->at < c->end && (*c->at == 0x78 || *c->at == 0x77)) // i8, i16
        c->at++;
    else
        (void)read_value_type(c);
    if (read_u8(c) > 1) c->bad = true; // mutability
}

static void skip_values(struct cursor *c)
{
    uint32_t count = read_count(c);
    if (count > VIV_WASM_TYPE_MAX) c->bad = true;
    for (uint32_t i = 0; i < count && !c->bad; i++)
        (void)read_value_type(c);
}

// Doubles an array of u32 when it is full.
static bool reserve_u32(struct reader *r, uint32_t **array, uint32_t count, uint32_t *cap)
{
    if (count < *cap) return true;
    uint32_t grown_cap = *cap != 0 ? 2 * *cap : 64;
    uint32_t *grown = viv_try_realloc(*array, *cap * sizeof(uint32_t), grown_cap * sizeof(uint32_t),
                                      VIV_TAG_MODULE);
    if (grown == NULL) {
        r->no_memory = true;
        return false;
    }
    *array = grown;
    *cap = grown_cap;
    return true;
}

static void read_sub_type(struct reader *r, struct cursor *c)
{
    uint8_t form = read_u8(c);
    if (form == 0x50 || form == 0x4f) { // sub, sub final: the supertypes
        uint32_t count = read_count(c);
        for (uint32_t i = 0; i < count && !c->bad; i++)
            (void)read_u32(c);
        form = read_u8(c);
    }
    uint32_t type_at = 0;
    if (form == 0x60) {
        type_at = (uint32_t)(c->at - r->bytes);
        skip_values(c);
        skip_values(c);
    } else if (form == 0x5f) {
        uint32_t count = read_count(c);
        for (uint32_t i = 0; i < count && !c->bad; i++)
            skip_field(c);
    } else if (form == 0x5e) {
        skip_field(c);
    } else {
        c->bad = true;
    }
    if (c->bad || r->type_count == ITEMS_MAX ||
        !reserve_u32(r, &r->type_at, r->type_count, &r->type_cap)) {
        c->bad = true;
        return;
    }
    r->type_at[r->type_count++] = type_at;
}

static void read_types(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    for (uint32_t i = 0; i < count && !c->bad; i++) {
        uint32_t group_count = 1;
        if (c->at < c->end && *c->at == 0x4e) { // a group of types that refer to each other
            c->at++;
            group_count = read_count(c);
        }
        for (uint32_t j = 0; j < group_count && !c->bad; j++)
            read_sub_type(r, c);
    }
}

static uint32_t func_type_at(const struct reader *r, struct cursor *c, uint32_t type_index)
{
    uint32_t type_at = type_index < r->type_count ? r->type_at[type_index] : 0;
    if (type_at == 0) c->bad = true;
    return type_at;
}

static void add_func(struct reader *r, struct cursor *c, uint32_t type_index)
{
    if (c->bad || r->func_count == ITEMS_MAX ||
        !reserve_u32(r, &r->func_type, r->func_count, &r->func_cap)) {
        c->bad = true;
        return;
    }
    r->func_type[r->func_count++] = type_index;
}

// ---- sections ----

static void read_import(struct reader *r, struct cursor *c, struct viv_wasm_import *import)
{
    import->module = read_name(c, &import->module_len);
    import->name = read_name(c, &import->name_len);
    uint8_t kind = read_u8(c);
    switch (kind) {
    case 0: {
        uint32_t type_index = read_u32(c);
        import->kind = VIV_EXTERN_FUNC;
        import->type_at = func_type_at(r, c, type_index);
        add_func(r, c, type_index);
        break;
    }
    case 1:
        import->kind = VIV_EXTERN_TABLE;
        (void)read_value_type(c);
        (void)read_limits(c);
        break;
    case 2:
        import->kind = VIV_EXTERN_MEMORY;
        (void)read_limits(c);
        break;
    case 3:
        import->kind = VIV_EXTERN_GLOBAL;
        (void)read_value_type(c);
        (void)read_u8(c);
        break;
    case 4:
        import->kind = VIV_EXTERN_TAG;
        (void)read_u8(c);
        (void)read_u32(c);
        break;
    default:
        c->bad = true;
    }
}

static void read_imports(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    if (count == 0 || r->out->imports != NULL) return;
    r->out->imports = viv_try_calloc(count, sizeof r->out->imports[0], VIV_TAG_MODULE);
    if (r->out->imports == NULL) {
        r->no_memory = true;
        return;
    }
    r->out->import_count = count;
    for (uint32_t i = 0; i < count && !c->bad; i++)
        read_import(r, c, &r->out->imports[i]);
}

static void read_functions(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    for (uint32_t i = 0; i < count && !c->bad; i++)
        add_func(r, c, read_u32(c));
}

static void read_tables(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    r->out->table_count = count;
    bool more = true;
    for (uint32_t i = 0; i < count && more && !c->bad; i++) {
        if (c->at < c->end && *c->at == 0x40) { // an initialiser follows the type
            c->at++;
            if (read_u8(c) != 0) c->bad = true;
            more = false;
        }
        (void)read_value_type(c);
        struct limits limits = read_limits(c);
        r->out->table_min_elems = viv_max_u64(r->out->table_min_elems, limits.min);
    }
}

static uint64_t add_pages(uint64_t sum_bytes, uint64_t pages, uint32_t page_log2)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(pages, UINT64_C(1) << page_log2, &bytes)) return UINT64_MAX;
    return viv_add_sat_u64(sum_bytes, bytes);
}

static void read_memories(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    r->out->memory_count = count;
    for (uint32_t i = 0; i < count && !c->bad; i++) {
        const struct limits limits = read_limits(c);
        r->out->memory_min_bytes =
            add_pages(r->out->memory_min_bytes, limits.min, limits.page_log2);
        r->out->memory_max_bytes =
            add_pages(r->out->memory_max_bytes, limits.max, limits.page_log2);
    }
}

static void read_exports(struct reader *r, struct cursor *c)
{
    uint32_t count = read_count(c);
    if (count == 0 || r->out->exports != NULL) return;
    r->out->exports = viv_try_calloc(count, sizeof r->out->exports[0], VIV_TAG_MODULE);
    if (r->out->exports == NULL) {
        r->no_memory = true;
        return;
    }
    r->out->export_count = count;
    for (uint32_t i = 0; i < count && !c->bad; i++) {
        struct viv_wasm_export *export = &r->out->exports[i];
        export->name = read_name(c, &export->name_len);
        uint8_t kind = read_u8(c);
        uint32_t index = read_u32(c);
        if (kind > VIV_EXTERN_TAG) c->bad = true;
        if (c->bad) return;
        export->kind = (enum viv_extern)kind;
        if (export->kind != VIV_EXTERN_FUNC) continue;
        if (index >= r->func_count)
            c->bad = true;
        else
            export->type_at = func_type_at(r, c, r->func_type[index]);
    }
}

static void read_section(struct reader *r, uint8_t id, struct cursor *c)
{
    switch (id) {
    case SECTION_TYPE:
        read_types(r, c);
        break;
    case SECTION_IMPORT:
        read_imports(r, c);
        break;
    case SECTION_FUNCTION:
        read_functions(r, c);
        break;
    case SECTION_TABLE:
        read_tables(r, c);
        break;
    case SECTION_MEMORY:
        read_memories(r, c);
        break;
    case SECTION_EXPORT:
        read_exports(r, c);
        break;
    default: // the engine reads it
        break;
    }
}

// ---- exports by name ----

static int compare_names(const char *a, size_t a_len, const char *b, size_t b_len)
{
    int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    if (order != 0 || a_len == b_len) return order;
    return a_len < b_len ? -1 : 1;
}

static int compare_indexes(const void *a, const void *b, void *exports)
{
    const struct viv_wasm_export *all = exports;
    const uint32_t *i = a, *j = b;
    return compare_names(all[*i].name, all[*i].name_len, all[*j].name, all[*j].name_len);
}

static bool sort_exports(struct viv_binary *binary)
{
    if (binary->export_count == 0) return true;
    binary->by_name = viv_try_calloc(binary->export_count, sizeof(uint32_t), VIV_TAG_MODULE);
    if (binary->by_name == NULL) return false;
    for (uint32_t i = 0; i < binary->export_count; i++)
        binary->by_name[i] = i;
    qsort_r(binary->by_name, binary->export_count, sizeof(uint32_t), compare_indexes,
            binary->exports);
    return true;
}

const struct viv_wasm_export *viv_binary_find_export(const struct viv_binary *binary,
                                                     const char *name, size_t name_len)
{
    size_t low = 0, high = binary->export_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct viv_wasm_export *export = &binary->exports[binary->by_name[middle]];
        int order = compare_names(name, name_len, export->name, export->name_len);
        if (order == 0) return export;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

// ---- the whole ----

enum viv_err viv_binary_read(const uint8_t *bytes, size_t len_bytes, struct viv_binary *out)
{
    struct viv_binary binary = {0};
    struct reader reader = {.bytes = bytes, .out = &binary};
    struct cursor c = {.at = bytes, .end = bytes + len_bytes};
    if (len_bytes < PREAMBLE_BYTES || len_bytes > UINT32_MAX)
        c.bad = true;
    else
        c.at += PREAMBLE_BYTES;
    while (!c.bad && !reader.no_memory && c.at < c.end) {
        uint8_t id = read_u8(&c);
        uint32_t size = read_u32(&c);
        if (c.bad || size > (size_t)(c.end - c.at)) {
            c.bad = true;
            break;
        }
        struct cursor section = {.at = c.at, .end = c.at + size};
        read_section(&reader, id, &section);
        c.bad = section.bad;
        c.at += size;
    }
    if (!c.bad && !reader.no_memory) reader.no_memory = !sort_exports(&binary);
    viv_free(reader.type_at, reader.type_cap * sizeof(uint32_t), VIV_TAG_MODULE);
    viv_free(reader.func_type, reader.func_cap * sizeof(uint32_t), VIV_TAG_MODULE);
    if (reader.no_memory || c.bad) {
        viv_binary_deinit(&binary);
        return reader.no_memory ? VIV_E_EXHAUSTED : VIV_E_MODULE;
    }
    *out = binary;
    return VIV_OK;
}

void viv_binary_deinit(struct viv_binary *binary)
{
    viv_free(binary->imports, binary->import_count * sizeof binary->imports[0], VIV_TAG_MODULE);
    viv_free(binary->exports, binary->export_count * sizeof binary->exports[0], VIV_TAG_MODULE);
    viv_free(binary->by_name, binary->export_count * sizeof(uint32_t), VIV_TAG_MODULE);
    *binary = (struct viv_binary){0};
}

// ---- function types ----

static uint16_t read_values(struct cursor *c, char *out_letters)
{
    uint32_t count = read_count(c);
    if (count > VIV_WASM_TYPE_MAX) c->bad = true;
    if (c->bad) count = 0;
    for (uint32_t i = 0; i < count; i++)
        out_letters[i] = read_value_type(c);
    out_letters[count] = '\0';
    return (uint16_t)count;
}

enum viv_err viv_wasm_type(const uint8_t *bytes, size_t len_bytes, uint32_t type_at,
                           struct viv_wasm_type *out)
{
    if (type_at == 0 || type_at > len_bytes) return VIV_E_MODULE;
    struct cursor c = {.at = bytes + type_at, .end = bytes + len_bytes};
    out->param_count = read_values(&c, out->params);
    out->result_count = read_values(&c, out->results);
    return c.bad ? VIV_E_MODULE : VIV_OK;
}

static const char *letter_name(char letter)
{
    switch (letter) {
    case 'i':
        return "i32";
    case 'I':
        return "i64";
    case 'f':
        return "f32";
    case 'F':
        return "f64";
    case 'V':
        return "v128";
    default:
        return "ref";
    }
}

static size_t append_list(const char *letters, char *out_text, size_t cap_bytes, size_t at)
{
    for (const char *letter = letters; *letter != '\0' && at < cap_bytes; letter++)
        at += (size_t)snprintf(out_text + at, cap_bytes - at, "%s%s", letter == letters ? "" : ", ",
                               letter_name(*letter));
    return at;
}

void viv_wasm_type_text(const char *params, const char *results, char *out_text, size_t cap_bytes)
{
    size_t at = (size_t)snprintf(out_text, cap_bytes, "(");
    at = append_list(params, out_text, cap_bytes, at);
    if (at < cap_bytes) at += (size_t)snprintf(out_text + at, cap_bytes - at, ")");
    if (results[0] == '\0' || at >= cap_bytes) return;
    bool one = results[1] == '\0';
    at += (size_t)snprintf(out_text + at, cap_bytes - at, one ? " -> " : " -> (");
    at = append_list(results, out_text, cap_bytes, at);
    if (!one && at < cap_bytes) (void)snprintf(out_text + at, cap_bytes - at, ")");
}
