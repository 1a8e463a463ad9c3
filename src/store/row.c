// SPDX-License-Identifier: Apache-2.0
// Rows, and the registrations behind them.
#include "store/row.h"

#include "base/assert.h"
#include "store/output.h"
#include <stdatomic.h>
#include <string.h>

// ---- columns ----

void viv_row_set_int(struct viv_store__row *row, enum viv_proc_column column, int64_t number)
{
    row->col[column] = (struct viv_db_value){.type = VIV_DB_INT, .number = number};
}

void viv_row_set_text(struct viv_store__row *row, enum viv_proc_column column, struct viv_str text)
{
    row->col[column] = (struct viv_db_value){.type = VIV_DB_TEXT, .text = text};
}

void viv_row_clear(struct viv_store__row *row, enum viv_proc_column column)
{
    row->col[column] = (struct viv_db_value){.type = VIV_DB_NULL};
}

enum viv_dstate viv_row_state(const struct viv_store__row *row)
{
    return (enum viv_dstate)viv_row_int(row, VIV_PROC_state);
}

bool viv_row_is_leased(const struct viv_store__txn *txn, const struct viv_store__row *row)
{
    if (!viv_row_has(row, VIV_PROC_lease_token)) return false;
    // A lease of another boot of this host has ended with it.
    const struct viv_str domain = viv_row_text(row, VIV_PROC_lease_dom);
    const char *own = viv_store__lease_domain(txn->store);
    if (domain.n != strlen(own) || memcmp(domain.p, own, domain.n) != 0) return false;
    return viv_row_int(row, VIV_PROC_lease_exp) > txn->lease_ms;
}

// The first of these that is true. Time is asked for only where it counts.
enum viv_err viv_store__row_phase(struct viv_store__txn *txn, const struct viv_store__row *row,
                                  enum viv_phase *out_phase)
{
    enum viv_phase phase = (enum viv_phase)viv_row_state(row); // QUEUED stands for RUNNING
    if (viv_row_state(row) == VIV_RUNNING) {
        if (viv_row_has(row, VIV_PROC_cancel_seq)) {
            phase = VIV_PHASE_CANCELLING;
        } else if (viv_row_has(row, VIV_PROC_wait)) {
            phase = VIV_PHASE_WAITING;
        } else {
            VIV_TRY(viv_store__know_now(txn));
            if (viv_row_is_leased(txn, row))
                phase = VIV_PHASE_RUNNING;
            else if (viv_row_int(row, VIV_PROC_due_ms) > txn->wall_ms)
                phase = viv_row_int(row, VIV_PROC_attempt) > 0 ? VIV_PHASE_BACKOFF
                                                               : VIV_PHASE_SCHEDULED;
        }
    }
    *out_phase = phase;
    return VIV_OK;
}

bool viv_row_limit_lease(const struct viv_store__txn *txn, struct viv_store__row *row)
{
    const int64_t ttl_ms = viv_row_int(row, VIV_PROC_lease_ttl);
    if (viv_row_int(row, VIV_PROC_lease_exp) - txn->lease_ms <= ttl_ms) return false;
    viv_row_set_int(row, VIV_PROC_lease_exp, viv_add_sat_i64(txn->lease_ms, ttl_ms));
    return true;
}

// ---- reading ----

enum viv_err viv_store__row_ask(struct viv_store__txn *txn, struct viv_str id, bool is_write)
{
    if (is_write) txn->is_now_known = false; // it is read after the lock
    return viv_store__send(txn, is_write ? VIV_STMT_PROC_BY_ID : VIV_STMT_PROC_READ, "s", id);
}

enum viv_err viv_store__row_get(struct viv_store__txn *txn, struct viv_store__row *out_row)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    if (rows.columns != VIV_PROC_COLUMN_COUNT) return VIV_STORE_CORRUPT;
    viv_store__row_read(rows.values, out_row);
    return VIV_OK;
}

void viv_store__row_read(const struct viv_db_value *col, struct viv_store__row *out_row)
{
    *out_row = (struct viv_store__row){.reg = NULL};
    memcpy(out_row->col, col, sizeof out_row->col);
}

enum viv_err viv_store__row_know(struct viv_store__txn *txn, struct viv_store__row *row)
{
    if (row->reg != NULL) return VIV_OK;
    const int64_t birth = viv_row_int(row, VIV_PROC_birth);
    struct viv_store__cache *cache = viv_store__cache_of(txn->store);
    struct viv_store__reg *reg = viv_store__cache_find(cache, birth, &row->created_ms);
    const bool is_new = reg == NULL;
    if (is_new) {
        struct viv_db_rows rows;
        VIV_TRY(viv_store__send(txn, VIV_STMT_SPEC_GET, "i", birth));
        VIV_TRY(viv_store__recv(txn, &rows));
        if (rows.count != 1) return VIV_STORE_CORRUPT;
        VIV_TRY(viv_store__reg_load(viv_store__core_of(txn->store), rows.values[0].text, &reg));
        row->created_ms = rows.values[1].number;
    }
    row->reg = reg;
    return viv_store__hold(txn, &(struct viv_store__held){birth, row->created_ms, reg, is_new});
}

enum viv_err viv_store__row_made(struct viv_store__txn *txn, struct viv_store__row *row,
                                 struct viv_store__reg *reg)
{
    row->reg = viv_store__reg_take(reg);
    row->created_ms = txn->wall_ms;
    return viv_store__hold(txn, &(struct viv_store__held){viv_row_int(row, VIV_PROC_birth),
                                                          row->created_ms, reg, true});
}

// ---- writing ----

static const enum viv_proc_column put_columns[] = {
    VIV_PROC_birth,         VIV_PROC_state,       VIV_PROC_exec,        VIV_PROC_last_seq,
    VIV_PROC_log_bytes,     VIV_PROC_updated_ms,  VIV_PROC_position,    VIV_PROC_attempt,
    VIV_PROC_charged,       VIV_PROC_streak,      VIV_PROC_due_ms,      VIV_PROC_lease_owner,
    VIV_PROC_lease_inc,     VIV_PROC_lease_live,  VIV_PROC_lease_token, VIV_PROC_fence,
    VIV_PROC_lease_claimed, VIV_PROC_lease_ttl,   VIV_PROC_lease_exp,   VIV_PROC_lease_dom,
    VIV_PROC_open_attempt,  VIV_PROC_guard,       VIV_PROC_cancel_seq,  VIV_PROC_abandon,
    VIV_PROC_first_started, VIV_PROC_ext_ref,     VIV_PROC_wait,        VIV_PROC_wake_session,
    VIV_PROC_wake_frame,    VIV_PROC_terminal_seq};
static const enum viv_proc_column log_columns[] = {
    VIV_PROC_birth, VIV_PROC_last_seq, VIV_PROC_log_bytes, VIV_PROC_updated_ms, VIV_PROC_position};

static enum viv_err put_columns_of(struct viv_store__txn *txn, struct viv_store__row *row,
                                   enum viv_stmt stmt, const enum viv_proc_column *columns,
                                   size_t count)
{
    struct viv_db_value values[VIV_PROC_COLUMN_COUNT];
    for (size_t i = 0; i < count; i++)
        values[i] = row->col[columns[i]];
    return viv_store__put_values(txn, stmt, values, count);
}

// Whether a sweep may find something to do for it, so that it stands in the queue's indexes (4.3).
static bool is_queued(const struct viv_store__row *row)
{
    const bool is_asked = viv_row_has(row, VIV_PROC_abandon);
    if (viv_row_state(row) != VIV_RUNNING) return false;
    if (!row->reg->is_ours) return is_asked;
    if (row->reg->disposition == VIV_RERUNNABLE || !viv_row_has(row, VIV_PROC_first_started))
        return true;
    return is_asked || viv_row_has(row, VIV_PROC_cancel_seq) ||
           (row->reg->abandons_lapsed && viv_row_has(row, VIV_PROC_lease_token));
}

enum viv_err viv_store__row_put(struct viv_store__txn *txn, struct viv_store__row *row)
{
    VIV_TRY(viv_store__row_know(txn, row));
    viv_row_set_int(row, VIV_PROC_exec, is_queued(row));
    return put_columns_of(txn, row, VIV_STMT_PROC_PUT, put_columns, VIV_COUNT_OF(put_columns));
}

enum viv_err viv_store__row_put_log(struct viv_store__txn *txn, struct viv_store__row *row)
{
    return put_columns_of(txn, row, VIV_STMT_PROC_GROW, log_columns, VIV_COUNT_OF(log_columns));
}

// ---- the record ----

// The JSON of the event that a column names: the semantics of the last one, or the payload.
static enum viv_err find_in_event(struct viv_store__txn *txn, struct viv_store__row *row,
                                  enum viv_proc_column seq_column, json_t **out_event,
                                  int64_t *out_at_ms)
{
    struct viv_db_rows rows;
    VIV_TRY(viv_store__send(txn, VIV_STMT_EVENT_BY_SEQ, "ii", viv_row_int(row, VIV_PROC_birth),
                            viv_row_int(row, seq_column)));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    const enum {
        AT_MS = 4,
        PAYLOAD = 5,
        SEMANTICS = 6
    } column = seq_column == VIV_PROC_terminal_seq ? SEMANTICS : PAYLOAD;
    const struct viv_str text = rows.values[column].text;
    *out_at_ms = rows.values[AT_MS].number;
    const enum viv_err err = viv_cjson_parse(text.p, text.n, out_event, NULL);
    return err == VIV_OK || err == VIV_E_EXHAUSTED ? err : VIV_STORE_CORRUPT;
}

enum viv_err viv_store__row_output(struct viv_store__txn *txn, struct viv_store__row *row,
                                   struct viv_mem *mem, struct viv_str *out_text)
{
    json_t *semantics;
    int64_t at_ms;
    if (!viv_row_has(row, VIV_PROC_terminal_seq)) return VIV_OK;
    VIV_TRY(find_in_event(txn, row, VIV_PROC_terminal_seq, &semantics, &at_ms));
    json_t *output = json_object_get(json_object_get(semantics, "terminal"), "await_output");
    const enum viv_err err =
        output == NULL ? VIV_STORE_CORRUPT : viv_store__text(mem, output, out_text);
    json_decref(semantics);
    return err;
}

static enum viv_err read_cancel(struct viv_store__txn *txn, struct viv_store__row *row,
                                struct viv_mem *mem, struct viv_str *out_text)
{
    json_t *request;
    int64_t at_ms;
    if (!viv_row_has(row, VIV_PROC_cancel_seq)) return VIV_OK;
    VIV_TRY(find_in_event(txn, row, VIV_PROC_cancel_seq, &request, &at_ms));
    const int64_t sequence = viv_row_int(row, VIV_PROC_cancel_seq);
    const bool is_whole = json_object_set_new(request, "sequence", json_integer(sequence)) == 0 &&
                          json_object_set_new(request, "at_ms", json_integer(at_ms)) == 0;
    const enum viv_err err = is_whole ? viv_store__text(mem, request, out_text) : VIV_E_EXHAUSTED;
    json_decref(request);
    return err;
}

static enum viv_err copy_texts(const struct viv_store__row *row, struct viv_mem *mem,
                               struct viv_record *record)
{
    const struct viv_store__reg *reg = row->reg;
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_id), &record->id));
    VIV_TRY(
        viv_store__copy(mem, (struct viv_str){reg->text, reg->text_len}, &record->registration));
    VIV_TRY(viv_store__copy(mem, viv_str_of(reg->hash), &record->hash));
    VIV_TRY(viv_store__copy(mem, viv_str_of(reg->kind), &record->kind));
    VIV_TRY(viv_store__copy(mem, viv_str_of(reg->label), &record->label));
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_wake_session),
                            &record->wake_target.session));
    VIV_TRY(
        viv_store__copy(mem, viv_row_text(row, VIV_PROC_wake_frame), &record->wake_target.frame));
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_ext_ref), &record->external_ref));
    VIV_TRY(
        viv_store__copy(mem, viv_row_text(row, VIV_PROC_first_started), &record->first_started));
    VIV_TRY(viv_store__copy(mem, viv_row_text(row, VIV_PROC_abandon), &record->abandon_request));
    return viv_store__copy(mem, viv_row_text(row, VIV_PROC_wait), &record->wait);
}

enum viv_err viv_store__row_record(struct viv_store__txn *txn, struct viv_store__row *row,
                                   struct viv_mem *mem, struct viv_record *out_record)
{
    VIV_TRY(viv_store__row_know(txn, row));
    enum viv_phase phase;
    VIV_TRY(viv_store__row_phase(txn, row, &phase));
    struct viv_record record = {.birth = (uint64_t)viv_row_int(row, VIV_PROC_birth),
                                .last_seq = (uint64_t)viv_row_int(row, VIV_PROC_last_seq),
                                .disposition = row->reg->disposition,
                                .state = viv_row_state(row),
                                .phase = phase,
                                .created_ms = row->created_ms,
                                .updated_ms = viv_row_int(row, VIV_PROC_updated_ms),
                                .due_ms = viv_row_int(row, VIV_PROC_due_ms),
                                .attempt = (uint32_t)viv_row_int(row, VIV_PROC_attempt),
                                .charged = (uint32_t)viv_row_int(row, VIV_PROC_charged)};
    VIV_TRY(copy_texts(row, mem, &record));
    VIV_TRY(viv_store__row_output(txn, row, mem, &record.await_output));
    VIV_TRY(read_cancel(txn, row, mem, &record.cancel_request));
    *out_record = record;
    return VIV_OK;
}

uint64_t viv_store__record_bytes(const struct viv_record *record)
{
    const struct viv_str texts[] = {record->id,
                                    record->registration,
                                    record->hash,
                                    record->kind,
                                    record->label,
                                    record->wake_target.session,
                                    record->external_ref,
                                    record->wake_target.frame,
                                    record->first_started,
                                    record->await_output,
                                    record->abandon_request,
                                    record->cancel_request,
                                    record->wait};
    uint64_t bytes = sizeof *record;
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++)
        bytes += texts[i].n;
    return bytes;
}

// ---- registrations in memory: a slot for each remainder of a birth; the newer one stays ----

enum { SLOTS = 1024 };

struct viv_store__cache {
    struct viv_mutex mutex; // of all below
    struct {
        int64_t birth, created_ms;
        struct viv_store__reg *reg; // NULL: free
    } slots[SLOTS];
};

struct viv_store__cache *viv_store__cache_new(void)
{
    struct viv_store__cache *cache = viv_try_calloc(1, sizeof *cache, VIV_TAG_STORE);
    if (cache != NULL) viv_mutex_init(&cache->mutex);
    return cache;
}

void viv_store__cache_free(VIV_OWN struct viv_store__cache *cache)
{
    if (cache == NULL) return;
    for (size_t i = 0; i < SLOTS; i++)
        viv_store__reg_drop(cache->slots[i].reg);
    viv_free(cache, sizeof *cache, VIV_TAG_STORE);
}

struct viv_store__reg *viv_store__cache_find(struct viv_store__cache *cache, int64_t birth,
                                             int64_t *out_created_ms)
{
    struct viv_store__reg *found = NULL;
    const size_t slot = (uint64_t)birth % SLOTS;
    viv_mutex_lock(&cache->mutex);
    if (cache->slots[slot].reg != NULL && cache->slots[slot].birth == birth) {
        found = viv_store__reg_take(cache->slots[slot].reg);
        *out_created_ms = cache->slots[slot].created_ms;
    }
    viv_mutex_unlock(&cache->mutex);
    return found;
}

static void add(struct viv_store__cache *cache, const struct viv_store__held *held)
{
    const size_t slot = (uint64_t)held->birth % SLOTS;
    viv_mutex_lock(&cache->mutex);
    struct viv_store__reg *old = cache->slots[slot].reg;
    cache->slots[slot].reg = viv_store__reg_take(held->reg);
    cache->slots[slot].birth = held->birth;
    cache->slots[slot].created_ms = held->created_ms;
    viv_mutex_unlock(&cache->mutex);
    viv_store__reg_drop(old);
}

enum viv_err viv_store__hold(struct viv_store__txn *txn, const struct viv_store__held *held)
{
    const enum viv_err err = viv_buf_append(&txn->held, held, sizeof *held);
    if (err != VIV_OK) viv_store__reg_drop(held->reg);
    return err;
}

void viv_store__let_go(struct viv_store__txn *txn, bool is_committed)
{
    const struct viv_store__held *held = (void *)txn->held.data;
    for (size_t i = 0; i < txn->held.len_bytes / sizeof *held; i++) {
        if (held[i].is_new && is_committed) add(viv_store__cache_of(txn->store), &held[i]);
        viv_store__reg_drop(held[i].reg);
    }
    viv_buf_deinit(&txn->held);
}
