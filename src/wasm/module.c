// SPDX-License-Identifier: Apache-2.0
// Modules: what kind of file it is, what it imports, its references and its variants.
// Steps of loading: 1. size and kind of file; 2. text to binary; 3. the reader of binary.c;
// 4. imports. A file that step 3 cannot read goes on to the engine, whose validation then says what
// is wrong with it.
#include "wasm/module.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/text.h"
#include "wasm/slots.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_SHOWN 160 // bytes of an import's name in a message

struct viv_module {
    // immutable
    struct viv_wasm *wasm;
    char *name;
    size_t name_len;
    uint8_t *bytes;
    size_t len_bytes;
    uint8_t digest[VIV_SHA256_BYTES];
    struct viv_binary binary;
    enum viv_wasm_mode mode;
    // any thread
    _Atomic uint32_t ref_count;
    _Atomic(struct viv_variant *) variant[VIV_WASM_MODE_COUNT * 2];
};

// ---- what kind of file ----

static const uint8_t WASM_MAGIC[4] = {0, 'a', 's', 'm'};
static const uint8_t CORE_VERSION[4] = {1, 0, 0, 0};
static const uint8_t ELF_MAGIC[4] = {0x7f, 'E', 'L', 'F'};

static enum viv_err refuse(struct viv_diag *diag, const char *why, size_t offset)
{
    return viv_diag_set(diag, VIV_E_MODULE, "not a WebAssembly module: %s (offset 0x%zx)", why,
                        offset);
}

static enum viv_err check_preamble(const uint8_t *bytes, size_t len, struct viv_diag *diag)
{
    if (len == 0) return refuse(diag, "the file is empty", 0);
    for (size_t i = 0; i < sizeof WASM_MAGIC; i++) {
        if (i == len) return refuse(diag, "cut off in the magic number", i);
        if (bytes[i] != WASM_MAGIC[i]) return refuse(diag, "no magic number", i);
    }
    if (len < 8) return refuse(diag, "cut off in the version", len);
    if (memcmp(bytes + 4, CORE_VERSION, sizeof CORE_VERSION) == 0) return VIV_OK;
    if (bytes[6] == 1 && bytes[7] == 0)
        return viv_diag_set(
            diag, VIV_E_MODULE,
            "is a component, not a core module; rebuild it for the target wasm32-wasip1");
    return refuse(diag, "unknown version", 4);
}

static bool is_text(const uint8_t *bytes, size_t len)
{
    size_t at = 0;
    while (at < len && (bytes[at] == ' ' || (bytes[at] >= '\t' && bytes[at] <= '\r')))
        at++;
    if (at == len || (bytes[at] != '(' && bytes[at] != ';')) return false;
    return viv_utf8_is_valid(bytes, len);
}

// Offset of a place given as line and column, both from 1 (columns are bytes here, close enough for
// a message).
static size_t offset_of(const uint8_t *bytes, size_t len, unsigned long line, unsigned long column)
{
    size_t at = 0;
    while (line > 1 && at < len)
        if (bytes[at++] == '\n') line--;
    return at + (column > 0 ? column - 1 : 0);
}

static enum viv_err refuse_text(wasmtime_error_t *error, const uint8_t *bytes, size_t len,
                                struct viv_diag *diag)
{
    wasm_name_t message;
    wasmtime_error_message(error, &message);
    wasmtime_error_delete(error);
    static const char place_mark[] = "<anon>:";
    const char *end = message.data + message.size;
    const char *place = memmem(message.data, message.size, place_mark, sizeof place_mark - 1);
    unsigned long line = 1, column = 1;
    if (place != NULL) {
        char numbers[32] = {0};
        place += sizeof place_mark - 1;
        memcpy(numbers, place, viv_min_u64(sizeof numbers - 1, (uint64_t)(end - place)));
        char *rest;
        line = strtoul(numbers, &rest, 10);
        if (*rest == ':') column = strtoul(rest + 1, NULL, 10);
    }
    const char *first_end = memchr(message.data, '\n', message.size);
    char why[256];
    (void)viv_text_clean(why, sizeof why, message.data,
                         first_end != NULL ? (size_t)(first_end - message.data) : message.size);
    wasm_byte_vec_delete(&message);
    return viv_diag_set(diag, VIV_E_MODULE,
                        "not a WebAssembly module: %s at line %lu column %lu (offset 0x%zx)", why,
                        line, column, offset_of(bytes, len, line, column));
}

// Replaces text by the binary format.
static enum viv_err convert_text(uint8_t **bytes, size_t *len, struct viv_diag *diag)
{
    if (*len > VIV_WAT_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "text of %zu bytes; at most %u are taken", *len,
                            (unsigned)VIV_WAT_BYTES_MAX);
    wasm_byte_vec_t binary;
    wasmtime_error_t *error = wasmtime_wat2wasm((const char *)*bytes, *len, &binary);
    if (error != NULL) return refuse_text(error, *bytes, *len, diag);
    uint8_t *copy = viv_try_alloc(binary.size, VIV_TAG_MODULE);
    if (copy != NULL) memcpy(copy, binary.data, binary.size);
    size_t copy_len = binary.size;
    wasm_byte_vec_delete(&binary);
    if (copy == NULL) return VIV_E_EXHAUSTED;
    viv_free(*bytes, *len, VIV_TAG_MODULE);
    *bytes = copy;
    *len = copy_len;
    return VIV_OK;
}

// Afterwards *bytes is the binary format of a core module.
static enum viv_err to_binary(struct viv_wasm *wasm, uint8_t **bytes, size_t *len,
                              struct viv_diag *diag)
{
    uint64_t max = viv_min_u64(viv_wasm_module_bytes_max(wasm), UINT32_MAX);
    if (*len > max)
        return viv_diag_set(diag, VIV_E_TOOBIG, "a module of %zu bytes; at most %llu are taken",
                            *len, (unsigned long long)max);
    if (*len >= sizeof ELF_MAGIC && memcmp(*bytes, ELF_MAGIC, sizeof ELF_MAGIC) == 0)
        return viv_diag_set(diag, VIV_E_MODULE,
                            "not a WebAssembly module: compiled code is not loaded (offset 0x0)");
    if (is_text(*bytes, *len)) VIV_TRY(convert_text(bytes, len, diag));
    return check_preamble(*bytes, *len, diag);
}

// What the engine says begins or ends with the place: "… (at offset 0x1f)", "Invalid input
// WebAssembly code at offset 31: …".
enum viv_err viv_module__refused(wasmtime_error_t *error, struct viv_diag *diag)
{
    char line[400];
    viv_wasm_error_line(error, line, sizeof line);
    char *mark = strstr(line, " (at offset 0x");
    if (mark != NULL) {
        unsigned long offset = strtoul(mark + strlen(" (at offset 0x"), NULL, 16);
        *mark = '\0';
        return refuse(diag, line, offset);
    }
    mark = strstr(line, " at offset ");
    char *why = mark != NULL ? strstr(mark, ": ") : NULL;
    if (why != NULL) return refuse(diag, why + 2, strtoul(mark + strlen(" at offset "), NULL, 10));
    return viv_diag_set(diag, VIV_E_MODULE, "%s", line);
}

// ---- imports ----

struct shown {
    char module[NAME_SHOWN], name[NAME_SHOWN];
};

static bool has_prefix(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

// What an unknown import says of the program's origin; "" when nothing.
static const char *origin_of(const struct viv_wasm *wasm, const struct shown *shown)
{
    if (strcmp(shown->module, "lunatic::registry") == 0 &&
        strcmp(shown->name, "get_or_put_later") == 0)
        return ": built for lunatic-rs 0.13.0, needs 0.13.1 or newer";
    if (has_prefix(shown->module, "lunatic::"))
        return ": built for another version of lunatic; this kernel has the functions of lunatic "
               "0.13.2";
    if (strcmp(shown->module, "wasi_unstable") == 0)
        return ": built for an early WASI; rebuild it for the target wasm32-wasip1";
    if (has_prefix(shown->module, "wasi:"))
        return ": built for WASI preview 2; rebuild it for the target wasm32-wasip1";
    if (strcmp(shown->module, "wasi") == 0 && strcmp(shown->name, "thread-spawn") == 0)
        return ": built with threads; rebuild it for the target wasm32-wasip1";
    if (strcmp(shown->module, "viv") == 0)
        return ": built for a newer kernel; this one has revision 1 of viv";
    (void)wasm;
    return "";
}

static const char *kind_text(enum viv_extern kind)
{
    switch (kind) {
    case VIV_EXTERN_FUNC:
        return "function";
    case VIV_EXTERN_TABLE:
        return "table";
    case VIV_EXTERN_MEMORY:
        return "memory";
    case VIV_EXTERN_GLOBAL:
        return "global";
    case VIV_EXTERN_TAG:
        return "tag";
    }
    return "?";
}

static enum viv_err refuse_type(const struct shown *shown, const struct viv_import *row,
                                const struct viv_wasm_type *type, struct viv_diag *diag)
{
    char has[160], due[160];
    viv_wasm_type_text(type->params, type->results, has, sizeof has);
    viv_wasm_type_text(row->params, row->result, due, sizeof due);
    // Before lunatic-rs 0.13 the function took two parameters.
    bool old = strcmp(shown->module, "lunatic::message") == 0 &&
               strcmp(shown->name, "send_receive_skip_search") == 0 && type->param_count == 2;
    return viv_diag_set(diag, VIV_E_MODULE, "import %s.%s has type %s, must be %s%s", shown->module,
                        shown->name, has, due,
                        old ? ": built for lunatic-rs before 0.13, needs 0.13.1 or newer" : "");
}

static enum viv_err check_import(const struct viv_module *module,
                                 const struct viv_wasm_import *import, struct viv_wasm_type *type,
                                 struct viv_diag *diag)
{
    struct shown shown;
    (void)viv_text_clean(shown.module, sizeof shown.module, import->module, import->module_len);
    (void)viv_text_clean(shown.name, sizeof shown.name, import->name, import->name_len);
    const struct viv_import *row = viv_wasm_find_import(
        module->wasm, import->module, import->module_len, import->name, import->name_len);
    if (import->kind != VIV_EXTERN_FUNC)
        return viv_diag_set(diag, VIV_E_MODULE,
                            "import %s.%s is a %s; only functions can be imported%s", shown.module,
                            shown.name, kind_text(import->kind),
                            row == NULL ? origin_of(module->wasm, &shown) : "");
    if (row == NULL)
        return viv_diag_set(diag, VIV_E_MODULE, "unknown import %s.%s%s", shown.module, shown.name,
                            origin_of(module->wasm, &shown));
    VIV_TRY(viv_wasm_type(module->bytes, module->len_bytes, import->type_at, type));
    if (strcmp(type->params, row->params) == 0 && strcmp(type->results, row->result) == 0)
        return VIV_OK;
    return refuse_type(&shown, row, type, diag);
}

static enum viv_err check_imports(const struct viv_module *module, struct viv_diag *diag)
{
    struct viv_wasm_type type;
    for (uint32_t i = 0; i < module->binary.import_count; i++)
        VIV_TRY(check_import(module, &module->binary.imports[i], &type, diag));
    return VIV_OK;
}

// ---- life ----

static enum viv_err fill_module(struct viv_module *module, const char *name, struct viv_diag *diag)
{
    module->name_len = strlen(name);
    module->name = viv_try_strndup(name, module->name_len, VIV_TAG_MODULE);
    if (module->name == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(to_binary(module->wasm, &module->bytes, &module->len_bytes, diag));
    VIV_TRY(viv_sha256(module->bytes, module->len_bytes, module->digest));
    enum viv_err err = viv_binary_read(module->bytes, module->len_bytes, &module->binary);
    if (err == VIV_E_MODULE)
        return VIV_OK; // step 3 of the head of this file; nothing is exported then
    VIV_TRY(err);
    return check_imports(module, diag);
}

static void free_module(struct viv_module *module)
{
    // Acquire pairs with the exchange in viv_module__set_variant.
    for (size_t i = 0; i < VIV_COUNT_OF(module->variant); i++)
        viv_module__free_variant(atomic_load_explicit(&module->variant[i], memory_order_acquire));
    viv_binary_deinit(&module->binary);
    viv_free(module->bytes, module->len_bytes, VIV_TAG_MODULE);
    viv_free(module->name, module->name_len + 1, VIV_TAG_MODULE);
    viv_free(module, sizeof *module, VIV_TAG_MODULE);
}

enum viv_err viv_module_new(struct viv_wasm *wasm, const struct viv_module_source *source,
                            struct viv_module **out_module, struct viv_diag *diag)
{
    struct viv_module *module = viv_try_calloc(1, sizeof *module, VIV_TAG_MODULE);
    if (module == NULL) {
        viv_free(source->bytes, source->len_bytes, VIV_TAG_MODULE);
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
    }
    module->wasm = wasm;
    module->mode = source->mode;
    module->bytes = source->bytes;
    module->len_bytes = source->len_bytes;
    atomic_init(&module->ref_count, 1);
    enum viv_err err = fill_module(module, source->name, diag);
    if (err != VIV_OK) {
        free_module(module);
        return err == VIV_E_EXHAUSTED ? viv_diag_set(diag, err, "out of memory") : err;
    }
    *out_module = module;
    return VIV_OK;
}

struct viv_module *viv_module_take(struct viv_module *module)
{
    // Relaxed: the caller holds a reference already.
    atomic_fetch_add_explicit(&module->ref_count, 1, memory_order_relaxed);
    return module;
}

void viv_module_drop(struct viv_module *module)
{
    if (module == NULL) return;
    // Release: what this holder did comes before; acquire: the last one sees what all did.
    uint32_t before = atomic_fetch_sub_explicit(&module->ref_count, 1, memory_order_acq_rel);
    VIV_ASSERT(before != 0);
    if (before == 1) free_module(module);
}

// ---- variants ----

const struct viv_variant *viv_module_variant(const struct viv_module *module,
                                             enum viv_wasm_mode mode, bool fuel)
{
    // Acquire pairs with the exchange below: the variant's fields.
    return atomic_load_explicit(&module->variant[(size_t)mode * 2 + fuel], memory_order_acquire);
}

void viv_module__set_variant(struct viv_module *module, enum viv_wasm_mode mode, bool fuel,
                             VIV_OWN struct viv_variant *variant)
{
    struct viv_variant *none = NULL;
    // Release pairs with the load in viv_module_variant. A failed exchange reads nothing through
    // the pointer: relaxed.
    if (!atomic_compare_exchange_strong_explicit(&module->variant[(size_t)mode * 2 + fuel], &none,
                                                 variant, memory_order_release,
                                                 memory_order_relaxed))
        viv_module__free_variant(variant);
}

void viv_module__free_variant(struct viv_variant *variant)
{
    if (variant == NULL) return;
    if (variant->instance_pre != NULL) wasmtime_instance_pre_delete(variant->instance_pre);
    if (variant->module != NULL) wasmtime_module_delete(variant->module);
    viv_free(variant, sizeof *variant, VIV_TAG_MODULE);
}

// ---- questions ----

struct viv_wasm *viv_module_wasm(const struct viv_module *module)
{
    return module->wasm;
}

const char *viv_module_name(const struct viv_module *module)
{
    return module->name;
}

enum viv_wasm_mode viv_module_mode(const struct viv_module *module)
{
    return module->mode;
}

const uint8_t *viv_module_digest(const struct viv_module *module)
{
    return module->digest;
}

const uint8_t *viv_module_bytes(const struct viv_module *module, size_t *out_len_bytes)
{
    *out_len_bytes = module->len_bytes;
    return module->bytes;
}

const struct viv_binary *viv_module_binary(const struct viv_module *module)
{
    return &module->binary;
}

uint32_t viv_module_export_count(const struct viv_module *module)
{
    return module->binary.export_count;
}

const struct viv_wasm_export *viv_module_export(const struct viv_module *module, uint32_t index)
{
    VIV_ASSERT(index < module->binary.export_count);
    return &module->binary.exports[index];
}

const struct viv_wasm_export *viv_module_find_export(const struct viv_module *module,
                                                     const char *name, size_t name_len)
{
    return viv_binary_find_export(&module->binary, name, name_len);
}

enum viv_err viv_module_export_type(const struct viv_module *module,
                                    const struct viv_wasm_export *export, struct viv_wasm_type *out)
{
    if (export->kind != VIV_EXTERN_FUNC) return VIV_E_KIND;
    return viv_wasm_type(module->bytes, module->len_bytes, export->type_at, out);
}

enum viv_err viv_module_check(const struct viv_module *module, uint64_t memory_limit_bytes,
                              struct viv_diag *diag)
{
    const struct viv_binary *binary = &module->binary;
    if (binary->memory_count > VIV_WASM_MEMORIES_MAX)
        return viv_diag_set(diag, VIV_E_QUOTA, "needs %u memories, the limit is %u",
                            binary->memory_count, (unsigned)VIV_WASM_MEMORIES_MAX);
    if (binary->table_count > VIV_WASM_TABLES_MAX)
        return viv_diag_set(diag, VIV_E_QUOTA, "needs %u tables, the limit is %u",
                            binary->table_count, (unsigned)VIV_WASM_TABLES_MAX);
    if (binary->memory_min_bytes > memory_limit_bytes)
        return viv_slots_over_limit(binary->memory_min_bytes, memory_limit_bytes, "the limit",
                                    diag);
    uint64_t tables = viv_max_u64(binary->table_count, 1);
    uint64_t elems = viv_min_u64(VIV_WASM_TABLE_ELEMS_MAX, memory_limit_bytes / 8 / tables);
    if (binary->table_min_elems > elems)
        return viv_diag_set(diag, VIV_E_QUOTA, "needs a table of %llu elements, the limit is %llu",
                            (unsigned long long)binary->table_min_elems, (unsigned long long)elems);
    return VIV_OK;
}
