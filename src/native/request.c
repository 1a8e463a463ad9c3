// SPDX-License-Identifier: Apache-2.0
// Decoding a spawn request. The block is not trusted.
//
// 1. Survey: the shape, every key, how often; how much room the texts take.
// 2. One allocation: items of lists, argv, texts, each with a NUL behind it.
// 3. Fill: each record on its own.
// 4. Settle: defaults, bounds, fields that contradict each other, what the request needs.
//
// So nothing is answered about a field before the whole block is known to be well formed.
#include "native/request.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "native/address.h"
#include "native/block.h"
#include "native/environ.h"
#include <string.h>

_Static_assert(sizeof(enum viv_native_survive) == sizeof(uint32_t), "words are stored as u32");

struct decoder {
    struct viv_native_req *req;
    const struct viv_native_ceilings *ceilings;
    struct viv_diag *diag;
    const void *block;
    size_t block_bytes;
    bool is_probe;
    uint32_t counts[VIV_NATIVE_KEYS_END]; // survey: records; fill: items stored
    size_t item_count, text_bytes;
    struct viv_native_text *next_item;
    char *next_text;
};

static enum viv_err refuse(const struct decoder *dec, enum viv_err err, const char *field)
{
    return viv_diag_set(dec->diag, err, "%s", field);
}

static enum viv_err refuse_key(const struct decoder *dec, enum viv_native_key key)
{
    return refuse(dec, VIV_E_INVAL, viv_native_rows[key].name);
}

bool viv_native_is_given(const struct viv_native_req *req, enum viv_native_key key)
{
    return (req->given[key / 64] >> (key % 64) & 1) != 0;
}

static void *field_at(struct viv_native_fields *fields, const struct viv_native_row *row)
{
    return (char *)fields + row->at;
}

uint64_t viv_native_number(const struct viv_native_fields *fields, enum viv_native_key key)
{
    const struct viv_native_row *row = &viv_native_rows[key];
    const char *at = (const char *)fields + row->at;
    uint32_t half;
    uint64_t whole;
    VIV_ASSERT(row->type >= VIV_NATIVE_TYPE_U32 && row->type <= VIV_NATIVE_TYPE_SET);
    if (row->type == VIV_NATIVE_TYPE_BOOL) return *(const bool *)at;
    if (row->type == VIV_NATIVE_TYPE_U64) {
        memcpy(&whole, at, sizeof whole);
        return whole;
    }
    memcpy(&half, at, sizeof half);
    return half;
}

static void set_number(struct viv_native_fields *fields, const struct viv_native_row *row,
                       uint64_t value)
{
    void *at = field_at(fields, row);
    const uint32_t half = (uint32_t)value;
    if (row->type == VIV_NATIVE_TYPE_BOOL)
        *(bool *)at = value != 0;
    else if (row->type == VIV_NATIVE_TYPE_U64)
        memcpy(at, &value, sizeof value);
    else
        memcpy(at, &half, sizeof half);
}

static bool is_number(const struct viv_native_row *row)
{
    return row->type >= VIV_NATIVE_TYPE_U32 && row->type <= VIV_NATIVE_TYPE_SET;
}

// ---- 1, 2 ----

static enum viv_err survey_record(struct decoder *dec, const struct viv_block_record *record)
{
    const bool is_known = record->key > 0 && record->key < VIV_NATIVE_KEYS_END;
    if (!is_known)
        return record->key >= VIV_BLOCK_SKIP_FROM ? VIV_OK : refuse(dec, VIV_E_INVAL, "block");
    const struct viv_native_row *row = &viv_native_rows[record->key];
    if (dec->is_probe && (row->flags & VIV_NATIVE_ROW_PROBE) == 0)
        return refuse(dec, VIV_E_INVAL, row->name);
    if (++dec->counts[record->key] > row->count_max)
        return refuse(dec,
                      (row->flags & VIV_NATIVE_ROW_REPEATS) != 0 &&
                              (row->flags & VIV_NATIVE_ROW_TOOBIG) != 0
                          ? VIV_E_TOOBIG
                          : VIV_E_INVAL,
                      row->name);
    dec->req->given[record->key / 64] |= UINT64_C(1) << (record->key % 64);
    if (is_number(row)) return VIV_OK;
    dec->text_bytes += (size_t)record->len + 1;
    if ((row->flags & VIV_NATIVE_ROW_REPEATS) != 0) dec->item_count++;
    return VIV_OK;
}

static enum viv_err survey(struct decoder *dec)
{
    struct viv_block_walk walk;
    struct viv_block_record record;
    enum viv_err err = viv_block_open(&walk, dec->block, dec->block_bytes);
    while (err == VIV_OK) {
        err = viv_block_next(&walk, &record);
        if (err == VIV_OK) VIV_TRY(survey_record(dec, &record));
    }
    if (err != VIV_E_CLOSED) return refuse(dec, err, "block");
    for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++)
        if ((viv_native_rows[key].flags & VIV_NATIVE_ROW_REQUIRED) != 0 && dec->counts[key] == 0)
            return refuse_key(dec, (enum viv_native_key)key);
    return VIV_OK;
}

// Bounded by the block: 8 MiB of records, and few items.
static enum viv_err make_room(struct decoder *dec)
{
    struct viv_native_req *req = dec->req;
    const size_t items_bytes = dec->item_count * sizeof(struct viv_native_text);
    const size_t argv_bytes = (dec->counts[VIV_NATIVE_KEY_ARG] + 2) * sizeof(char *);
    req->mem_bytes = items_bytes + argv_bytes + dec->text_bytes;
    req->mem = viv_try_alloc(req->mem_bytes, VIV_TAG_NATIVE);
    if (req->mem == NULL) return refuse(dec, VIV_E_EXHAUSTED, "memory");
    dec->next_item = req->mem;
    req->argv = (char **)(void *)((char *)req->mem + items_bytes);
    dec->next_text = (char *)req->mem + items_bytes + argv_bytes;
    // The items of a list lie together: each list gets its part now.
    for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++) {
        const struct viv_native_row *row = &viv_native_rows[key];
        if ((row->flags & VIV_NATIVE_ROW_REPEATS) == 0) continue;
        struct viv_native_list *list = field_at(&req->fields, row);
        list->items = dec->next_item;
        dec->next_item += dec->counts[key];
    }
    return VIV_OK;
}

// ---- 3 ----

static enum viv_err fill_number(struct decoder *dec, const struct viv_native_row *row,
                                const struct viv_block_record *record)
{
    const bool is_wide = row->type == VIV_NATIVE_TYPE_U64;
    if (record->len != (is_wide ? 8 : 4)) return refuse(dec, VIV_E_INVAL, row->name);
    const uint64_t value = is_wide ? viv_block_u64(record->data) : viv_block_u32(record->data);
    const bool is_bits = row->type == VIV_NATIVE_TYPE_SET;
    const bool is_choice = row->type == VIV_NATIVE_TYPE_WORD || row->type == VIV_NATIVE_TYPE_BOOL;
    if ((is_bits && (value & ~row->max) != 0) || (is_choice && value > row->max))
        return refuse(dec, VIV_E_INVAL, row->name);
    set_number(&dec->req->fields, row, value);
    return VIV_OK;
}

static enum viv_err fill_ids(struct decoder *dec, const struct viv_native_row *row,
                             const struct viv_block_record *record)
{
    struct viv_native_ids *ids = field_at(&dec->req->fields, row);
    if (record->len % 4 != 0 || record->len < row->min || record->len > row->max)
        return refuse(dec, VIV_E_INVAL, row->name);
    ids->uid = viv_block_u32(record->data);
    ids->gid = viv_block_u32(record->data + 4);
    ids->group_count = record->len / 4 - 2;
    for (uint32_t i = 0; i < ids->group_count; i++)
        ids->groups[i] = viv_block_u32(record->data + 8 + (size_t)4 * i);
    return VIV_OK;
}

static enum viv_err fill_size(struct decoder *dec, const struct viv_native_row *row,
                              const struct viv_block_record *record)
{
    struct viv_native_size *size = field_at(&dec->req->fields, row);
    if (record->len != 8) return refuse(dec, VIV_E_INVAL, row->name);
    const uint32_t rows = viv_block_u32(record->data);
    const uint32_t columns = viv_block_u32(record->data + 4);
    if (rows == 0 || columns == 0) return refuse(dec, VIV_E_INVAL, row->name);
    size->rows = (uint32_t)viv_min_u64(rows, row->max);
    size->columns = (uint32_t)viv_min_u64(columns, row->max);
    return VIV_OK;
}

static bool has_control(const uint8_t *data, size_t len_bytes)
{
    for (size_t i = 0; i < len_bytes; i++)
        if (data[i] < 0x20 || data[i] == 0x7F) return true;
    return false;
}

static bool is_text_legal(const struct viv_native_row *row, const uint8_t *data, size_t len)
{
    if (row->type == VIV_NATIVE_TYPE_BYTES) return true;
    if (row->type == VIV_NATIVE_TYPE_TEXT || row->type == VIV_NATIVE_TYPE_GRANT)
        return !has_control(data, len);
    return len == 0 || memchr(data, 0, len) == NULL;
}

static bool must_be_absolute(enum viv_native_key key)
{
    return key == VIV_NATIVE_KEY_PATH || key == VIV_NATIVE_KEY_HIDE ||
           key == VIV_NATIVE_KEY_HEALTH_PATH;
}

// Grants begin with their mode.
static enum viv_err fill_text(struct decoder *dec, const struct viv_native_row *row,
                              const struct viv_block_record *record)
{
    if (record->len < row->min) return refuse(dec, VIV_E_INVAL, row->name);
    if (record->len > row->max)
        return refuse(dec, (row->flags & VIV_NATIVE_ROW_TOOBIG) != 0 ? VIV_E_TOOBIG : VIV_E_INVAL,
                      row->name);
    const bool is_grant = row->type == VIV_NATIVE_TYPE_GRANT;
    const uint32_t skip = is_grant ? 4 : 0;
    const uint8_t *data = record->data + skip;
    struct viv_native_text text = {.data = dec->next_text, .len = record->len - skip};
    if (!is_text_legal(row, data, text.len) ||
        (is_grant && viv_block_u32(record->data) > VIV_NATIVE_GRANT_EXEC) ||
        (must_be_absolute((enum viv_native_key)record->key) && data[0] != '/') ||
        (row->type == VIV_NATIVE_TYPE_ENV && !viv_native_env_scan(data, &text)))
        return refuse(dec, VIV_E_INVAL, row->name);
    if (is_grant) text.mode = record->data[0];
    VIV_ASSERT(dec->next_text != NULL);
    if (text.len > 0) memcpy(dec->next_text, data, text.len);
    dec->next_text[text.len] = '\0';
    dec->next_text += text.len + 1;
    if ((row->flags & VIV_NATIVE_ROW_REPEATS) == 0) {
        *(struct viv_native_text *)field_at(&dec->req->fields, row) = text;
        return VIV_OK;
    }
    struct viv_native_list *list = field_at(&dec->req->fields, row);
    // Ours: make_room gave the list its part of the memory.
    struct viv_native_text *items = (struct viv_native_text *)(uintptr_t)list->items;
    items[list->count++] = text;
    return VIV_OK;
}

static enum viv_err fill(struct decoder *dec)
{
    struct viv_block_walk walk;
    struct viv_block_record record;
    VIV_TRY(viv_block_open(&walk, dec->block, dec->block_bytes));
    while (viv_block_next(&walk, &record) == VIV_OK) {
        if (record.key >= VIV_BLOCK_SKIP_FROM) continue;
        const struct viv_native_row *row = &viv_native_rows[record.key];
        if (is_number(row))
            VIV_TRY(fill_number(dec, row, &record));
        else if (row->type == VIV_NATIVE_TYPE_IDS)
            VIV_TRY(fill_ids(dec, row, &record));
        else if (row->type == VIV_NATIVE_TYPE_SIZE)
            VIV_TRY(fill_size(dec, row, &record));
        else
            VIV_TRY(fill_text(dec, row, &record));
    }
    return viv_native_env_is_unique(&dec->req->fields.env) ? VIV_OK
                                                           : refuse_key(dec, VIV_NATIVE_KEY_ENV);
}

// ---- 4 ----

static uint64_t power_of_two(uint64_t value, uint64_t limit)
{
    uint64_t power = 1;
    while (power < value)
        power <<= 1;
    return power <= limit ? power : power >> 1;
}

enum viv_err viv_native_bring(enum viv_native_key key, const struct viv_native_ceilings *ceilings,
                              uint64_t *value)
{
    const struct viv_native_row *row = &viv_native_rows[key];
    const uint64_t limit = viv_max_u64(viv_min_u64(ceilings->max[key], row->max), row->min);
    if ((row->flags & VIV_NATIVE_ROW_EXACT) != 0)
        return *value >= row->min && *value <= row->max ? VIV_OK : VIV_E_INVAL;
    if (*value == 0 && row->min > 0) return VIV_E_INVAL;
    *value = viv_min_u64(viv_max_u64(*value, row->min), limit);
    if ((row->flags & VIV_NATIVE_ROW_POWER) != 0) *value = power_of_two(*value, limit);
    return VIV_OK;
}

// A program that ends with its owner needs no other end: no limit by default, and no ceiling.
static bool is_idle_free(const struct viv_native_fields *fields, uint32_t key)
{
    return key == VIV_NATIVE_KEY_IDLE_MS && fields->survive == VIV_NATIVE_SURVIVE_OWNER;
}

static uint64_t default_of(const struct viv_native_fields *fields, uint32_t key)
{
    if (is_idle_free(fields, key)) return VIV_NATIVE_NONE;
    if (key == VIV_NATIVE_KEY_START_MS && fields->ready == VIV_NATIVE_READY_EXEC)
        return VIV_NATIVE_NONE;
    if (key == VIV_NATIVE_KEY_NET && fields->sandbox == VIV_NATIVE_SANDBOX_NONE)
        return VIV_NATIVE_NET_HOST;
    return viv_native_rows[key].by_default;
}

// Words first: defaults of numbers depend on them. Of the words only `net` depends on another,
// which has a smaller key.
static enum viv_err settle_numbers(struct decoder *dec)
{
    struct viv_native_fields *fields = &dec->req->fields;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++) {
            const struct viv_native_row *row = &viv_native_rows[key];
            const bool is_measure =
                row->type == VIV_NATIVE_TYPE_U32 || row->type == VIV_NATIVE_TYPE_U64;
            if (!is_number(row) || is_measure != (pass == 1)) continue;
            if (dec->counts[key] == 0) set_number(fields, row, default_of(fields, key));
            if (!is_measure || is_idle_free(fields, key)) continue;
            uint64_t value = viv_native_number(fields, (enum viv_native_key)key);
            if (viv_native_bring((enum viv_native_key)key, dec->ceilings, &value) != VIV_OK)
                return refuse_key(dec, (enum viv_native_key)key);
            set_number(fields, row, value);
        }
    }
    if (is_idle_free(fields, VIV_NATIVE_KEY_IDLE_MS) && fields->idle_ms == 0)
        return refuse_key(dec, VIV_NATIVE_KEY_IDLE_MS);
    return VIV_OK;
}

// The first field that cannot be had together with the others.
static enum viv_native_key find_stream_conflict(const struct viv_native_fields *f)
{
    const bool has_pty = f->pty.rows != 0;
    if (has_pty && f->std_out == VIV_NATIVE_STDOUT_NULL) return VIV_NATIVE_KEY_STDOUT;
    if (has_pty && f->std_err == VIV_NATIVE_STDERR_NULL) return VIV_NATIVE_KEY_STDERR;
    if (!has_pty && f->pty_raw) return VIV_NATIVE_KEY_PTY_RAW;
    if (f->io_fds != 0 && (f->io_fds != 3 || has_pty)) return VIV_NATIVE_KEY_IO_FDS;
    return VIV_NATIVE_KEY_NONE;
}

static enum viv_native_key find_sandbox_conflict(const struct viv_native_fields *f)
{
    const bool is_bare = f->sandbox == VIV_NATIVE_SANDBOX_NONE;
    const bool is_strict = f->sandbox == VIV_NATIVE_SANDBOX_STRICT;
    if (is_bare && f->net == VIV_NATIVE_NET_OWN) return VIV_NATIVE_KEY_NET;
    if (is_strict && f->net == VIV_NATIVE_NET_HOST) return VIV_NATIVE_KEY_NET;
    if (is_bare && f->path.count != 0) return VIV_NATIVE_KEY_PATH;
    if (is_bare && f->hide.count != 0) return VIV_NATIVE_KEY_HIDE;
    if (is_bare && f->cwd_ro) return VIV_NATIVE_KEY_CWD_RO;
    if (!is_strict && !f->runtime) return VIV_NATIVE_KEY_RUNTIME;
    if (!is_bare && f->allow_setuid) return VIV_NATIVE_KEY_ALLOW_SETUID;
    return VIV_NATIVE_KEY_NONE;
}

static enum viv_native_key find_health_conflict(const struct viv_native_fields *f)
{
    const bool by_exec = f->health == VIV_NATIVE_HEALTH_EXEC;
    const bool by_http = f->health == VIV_NATIVE_HEALTH_HTTP;
    const bool by_net = by_http || f->health == VIV_NATIVE_HEALTH_TCP;
    if (by_exec != (f->health_exec.data != NULL)) return VIV_NATIVE_KEY_HEALTH_EXEC;
    struct viv_native_address address;
    if (by_net != (f->health_addr.data != NULL)) return VIV_NATIVE_KEY_HEALTH_ADDR;
    if (by_net && viv_native_address_parse(f->health_addr.data, &address) != VIV_OK)
        return VIV_NATIVE_KEY_HEALTH_ADDR;
    if (by_http != (f->health_path.data != NULL)) return VIV_NATIVE_KEY_HEALTH_PATH;
    if (f->ready == VIV_NATIVE_READY_HEALTH && f->health == VIV_NATIVE_HEALTH_NONE)
        return VIV_NATIVE_KEY_READY;
    if ((f->ready == VIV_NATIVE_READY_LINE) != (f->ready_line.data != NULL))
        return VIV_NATIVE_KEY_READY_LINE;
    if (f->restart_delay_max_ms < f->restart_delay_ms) return VIV_NATIVE_KEY_RESTART_DELAY_MAX_MS;
    return VIV_NATIVE_KEY_NONE;
}

static enum viv_native_key find_spill_conflict(const struct viv_native_req *req)
{
    if (req->fields.spill_dir.data != NULL) return VIV_NATIVE_KEY_NONE;
    for (uint32_t key = VIV_NATIVE_KEY_SPILL_FILE_BYTES; key <= VIV_NATIVE_KEY_SPILL_KEEP; key++)
        if (viv_native_is_given(req, (enum viv_native_key)key)) return (enum viv_native_key)key;
    return VIV_NATIVE_KEY_NONE;
}

static enum viv_err check_conflicts(const struct decoder *dec)
{
    const struct viv_native_fields *fields = &dec->req->fields;
    const enum viv_native_key found[] = {
        find_stream_conflict(fields), find_sandbox_conflict(fields), find_health_conflict(fields),
        find_spill_conflict(dec->req)};
    for (size_t i = 0; i < VIV_COUNT_OF(found); i++)
        if (found[i] != VIV_NATIVE_KEY_NONE) return refuse_key(dec, found[i]);
    return VIV_OK;
}

static enum viv_err make_argv(struct decoder *dec)
{
    const struct viv_native_fields *f = &dec->req->fields;
    const struct viv_native_text *first = f->arg0.data != NULL ? &f->arg0 : &f->cmd;
    size_t total = first->len + 1 + 2 * sizeof(char *);
    char **argv = dec->req->argv;
    // exec wants what it will not write to as writable.
    *argv++ = (char *)(uintptr_t)first->data;
    for (uint32_t i = 0; i < f->arg.count; i++) {
        total += f->arg.items[i].len + 1 + sizeof(char *);
        *argv++ = (char *)(uintptr_t)f->arg.items[i].data;
    }
    *argv = NULL;
    for (uint32_t i = 0; i < f->env.count; i++)
        total += f->env.items[i].len + 1 + sizeof(char *);
    return total <= VIV_NATIVE_VECTOR_BYTES_MAX ? VIV_OK : refuse(dec, VIV_E_TOOBIG, "arg");
}

static uint32_t find_needs(const struct viv_native_fields *f)
{
    uint32_t needs = 0;
    if (f->pty.rows != 0) needs |= VIV_NATIVE_NEED_TTY;
    if (f->sandbox == VIV_NATIVE_SANDBOX_NONE)
        needs |= VIV_NATIVE_NEED_UNSANDBOXED;
    else if (f->net == VIV_NATIVE_NET_HOST)
        needs |= VIV_NATIVE_NEED_NET;
    if (f->survive == VIV_NATIVE_SURVIVE_ENV) needs |= VIV_NATIVE_NEED_PERSIST;
    if (f->survive == VIV_NATIVE_SURVIVE_KERNEL) needs |= VIV_NATIVE_NEED_HOLD;
    if (f->scope.data != NULL) needs |= VIV_NATIVE_NEED_SCOPE;
    if (f->allow_setuid) needs |= VIV_NATIVE_NEED_OPERATOR;
    for (uint32_t i = 0; i < f->env.count; i++)
        if (f->env.items[i].is_reserved) needs |= VIV_NATIVE_NEED_ENV;
    return needs;
}

const char *viv_native_need_name(enum viv_native_need need)
{
    switch (need) {
    case VIV_NATIVE_NEED_TTY:
        return "native.tty";
    case VIV_NATIVE_NEED_NET:
        return "net";
    case VIV_NATIVE_NEED_PERSIST:
        return "persist";
    case VIV_NATIVE_NEED_HOLD:
        return "hold";
    case VIV_NATIVE_NEED_SCOPE:
        return "scope";
    case VIV_NATIVE_NEED_UNSANDBOXED:
        return "unsandboxed";
    case VIV_NATIVE_NEED_ENV:
        return "env";
    case VIV_NATIVE_NEED_USER:
        return "user";
    case VIV_NATIVE_NEED_OPERATOR:
        return "operator";
    }
    return "unknown";
}

static void make_label(struct viv_native_req *req)
{
    const struct viv_native_text *label = &req->fields.label, *cmd = &req->fields.cmd;
    if (label->data == NULL || viv_label_clean(req->label, label->data, label->len) == 0)
        (void)viv_label_of_command(req->label, cmd->data, cmd->len);
}

static enum viv_err decode(struct decoder *dec);

// A probe is a block in a block, once: within it no key asks for another.
static enum viv_err decode_probe(struct decoder *dec)
{
    const struct viv_native_text *block = &dec->req->fields.health_exec;
    if (block->data == NULL) return VIV_OK;
    dec->req->probe = viv_try_alloc(sizeof(struct viv_native_req), VIV_TAG_NATIVE);
    if (dec->req->probe == NULL) return refuse(dec, VIV_E_EXHAUSTED, "memory");
    struct decoder inner = {.req = dec->req->probe,
                            .ceilings = dec->ceilings,
                            .block = block->data,
                            .block_bytes = block->len,
                            .is_probe = true};
    const enum viv_err err = decode(&inner);
    if (err == VIV_OK) return VIV_OK;
    viv_free(dec->req->probe, sizeof(struct viv_native_req), VIV_TAG_NATIVE);
    dec->req->probe = NULL;
    return refuse(dec, err, err == VIV_E_EXHAUSTED ? "memory" : "health_exec");
}

static enum viv_err settle(struct decoder *dec)
{
    struct viv_native_req *req = dec->req;
    VIV_TRY(settle_numbers(dec));
    VIV_TRY(check_conflicts(dec));
    if (req->fields.pty.rows != 0) req->fields.std_err = VIV_NATIVE_STDERR_MERGE;
    VIV_TRY(make_argv(dec));
    VIV_TRY(decode_probe(dec));
    req->needs = find_needs(&req->fields);
    if (viv_native_is_given(req, VIV_NATIVE_KEY_USER)) req->needs |= VIV_NATIVE_NEED_USER;
    if (req->probe != NULL) req->needs |= req->probe->needs & VIV_NATIVE_NEED_ENV;
    make_label(req);
    return VIV_OK;
}

static enum viv_err decode(struct decoder *dec)
{
    memset(dec->req, 0, sizeof *dec->req);
    enum viv_err err = survey(dec);
    if (err == VIV_OK) err = make_room(dec);
    if (err == VIV_OK) err = fill(dec);
    if (err == VIV_OK) err = settle(dec);
    if (err != VIV_OK) viv_native_req_deinit(dec->req);
    return err;
}

enum viv_err viv_native_req_decode(struct viv_native_req *req, const void *block, size_t len_bytes,
                                   const struct viv_native_ceilings *ceilings,
                                   struct viv_diag *diag)
{
    struct decoder dec = {
        .req = req, .ceilings = ceilings, .diag = diag, .block = block, .block_bytes = len_bytes};
    return decode(&dec);
}

void viv_native_req_deinit(struct viv_native_req *req)
{
    if (req->probe != NULL) {
        viv_native_req_deinit(req->probe);
        viv_free(req->probe, sizeof *req->probe, VIV_TAG_NATIVE);
    }
    viv_free(req->mem, req->mem_bytes, VIV_TAG_NATIVE);
    memset(req, 0, sizeof *req);
}

void viv_native_ceilings_guest(struct viv_native_ceilings *ceilings)
{
    for (uint32_t key = 0; key < VIV_NATIVE_KEYS_END; key++)
        ceilings->max[key] = viv_native_rows[key].ceiling;
}

void viv_native_ceilings_hard(struct viv_native_ceilings *ceilings)
{
    for (uint32_t key = 0; key < VIV_NATIVE_KEYS_END; key++)
        ceilings->max[key] = viv_native_rows[key].max;
}
