// SPDX-License-Identifier: Apache-2.0
// Statements of a transaction, and where a store is damaged that they could not read.
#include "store/store_int.h"

#include "base/assert.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ARGS_MAX = 40, TABLE_BYTES = 24 };

// ---- statements ----

enum viv_err viv_store__settle(struct viv_store__txn *txn, enum viv_err err)
{
    if (err != VIV_OK && txn->db_err == VIV_OK) txn->db_err = err;
    return err;
}

static size_t gather(const char *types, va_list args, struct viv_db_value values[ARGS_MAX])
{
    size_t count = 0;
    for (; *types != '\0'; types++, count++) {
        struct viv_db_value *value = &values[count];
        VIV_ASSERT(count < ARGS_MAX);
        *value = (struct viv_db_value){.type = VIV_DB_NULL};
        if (*types == 'v') {
            *value = *va_arg(args, const struct viv_db_value *);
        } else if (*types == 'i') {
            value->type = VIV_DB_INT;
            value->number = va_arg(args, int64_t);
        } else if (*types == 'z') {
            value->text = viv_str_of(va_arg(args, const char *));
            if (value->text.p != NULL) value->type = VIV_DB_TEXT;
        } else {
            VIV_ASSERT(*types == 's' || *types == 'b');
            value->text = va_arg(args, struct viv_str);
            value->type = *types == 's' ? VIV_DB_TEXT : VIV_DB_BLOB;
            if (value->text.p == NULL) value->type = VIV_DB_NULL;
        }
    }
    return count;
}

// What was asked last: where a store that cannot be read is damaged.
static void remember(struct viv_store__txn *txn, enum viv_stmt stmt,
                     const struct viv_db_value *values, size_t count)
{
    struct viv_store__asked *asked = &txn->asked;
    const struct viv_db_value *key = count > 0 ? &values[0] : NULL;
    asked->stmt = stmt;
    asked->number = key != NULL && key->type == VIV_DB_INT ? key->number : 0;
    asked->text_len = 0;
    if (key == NULL || key->type != VIV_DB_TEXT) return;
    asked->text_len = viv_min_u64(key->text.n, sizeof asked->text);
    if (asked->text_len > 0) memcpy(asked->text, key->text.p, asked->text_len);
}

enum viv_err viv_store__send_values(struct viv_store__txn *txn, enum viv_stmt stmt,
                                    const struct viv_db_value *values, size_t count)
{
    if (txn->is_loading) {
        VIV_ASSERT(txn->op->loaded_count < VIV_STORE_LOADS_MAX);
        txn->op->loaded_count++;
    }
    remember(txn, stmt, values, count);
    return viv_store__settle(txn, txn->db->ops->send(txn->db, stmt, values, count, true));
}

enum viv_err viv_store__send(struct viv_store__txn *txn, enum viv_stmt stmt, const char *types, ...)
{
    struct viv_db_value values[ARGS_MAX];
    va_list args;
    va_start(args, types);
    const size_t count = gather(types, args, values);
    va_end(args);
    return viv_store__send_values(txn, stmt, values, count);
}

enum viv_err viv_store__recv(struct viv_store__txn *txn, struct viv_db_rows *out_rows)
{
    struct viv_store__op *op = txn->op;
    if (op->loaded_next < op->loaded_count) {
        *out_rows = op->loaded[op->loaded_next++];
        return VIV_OK;
    }
    return viv_store__settle(txn, txn->db->ops->recv(txn->db, out_rows));
}

enum viv_err viv_store__put_values(struct viv_store__txn *txn, enum viv_stmt stmt,
                                   const struct viv_db_value *values, size_t count)
{
    txn->has_written = true;
    remember(txn, stmt, values, count);
    return viv_store__settle(txn, txn->db->ops->send(txn->db, stmt, values, count, false));
}

enum viv_err viv_store__put(struct viv_store__txn *txn, enum viv_stmt stmt, const char *types, ...)
{
    struct viv_db_value values[ARGS_MAX];
    va_list args;
    va_start(args, types);
    const size_t count = gather(types, args, values);
    va_end(args);
    return viv_store__put_values(txn, stmt, values, count);
}

enum viv_err viv_store__note_changed(struct viv_store__txn *txn, struct viv_str id)
{
    const size_t before = txn->changed.len_bytes;
    enum viv_err err = viv_buf_append(&txn->changed, id.p, id.n);
    if (err == VIV_OK) err = viv_buf_append(&txn->changed, "", 1);
    if (err != VIV_OK) txn->changed.len_bytes = before;
    return err;
}

enum viv_err viv_store__know_now(struct viv_store__txn *txn)
{
    if (txn->is_now_known) return VIV_OK;
    VIV_TRY(viv_store__settle(txn, txn->db->ops->now(txn->db, &txn->wall_ms, &txn->lease_ms)));
    txn->is_now_known = true;
    return VIV_OK;
}

// ---- damage ----

#define SQL_OF(name, sql) [VIV_STMT_##name] = (sql),
static const char *const sql_of[VIV_STMT_COUNT] = {VIV_STMTS(SQL_OF)};

// The first table that a statement names.
static void find_table(enum viv_stmt stmt, char out[TABLE_BYTES])
{
    static const char *const before[] = {" FROM ", " INTO ", "UPDATE "};
    const char *first = NULL;
    for (size_t i = 0; i < VIV_COUNT_OF(before); i++) {
        const char *at = strstr(sql_of[stmt], before[i]);
        if (at != NULL && (first == NULL || at < first)) first = at + strlen(before[i]);
    }
    const size_t len = first == NULL ? 0 : strspn(first, "abcdefghijklmnopqrstuvwxyz_");
    (void)snprintf(out, TABLE_BYTES, "%.*s", (int)len, first == NULL ? "" : first);
}

void viv_store__note_damage(struct viv_store__txn *txn, struct viv_backend *backend)
{
    char table[TABLE_BYTES], key[4 * sizeof txn->asked.text];
    struct viv_diag *diag = viv_store__diag(txn->op);
    const char *detail = txn->db->detail.text;
    const struct viv_store__asked *asked = &txn->asked;
    viv_backend_note(backend, VIV_HEALTH_DAMAGED);
    if (diag == NULL || diag->text[0] != '\0') return;
    find_table(asked->stmt, table);
    viv_text_clean(key, sizeof key, asked->text, asked->text_len);
    if (asked->text_len == 0) (void)snprintf(key, sizeof key, "%lld", (long long)asked->number);
    (void)viv_diag_set(diag, VIV_STORE_CORRUPT, "table %s, key %s: %s", table, key,
                       txn->db_err == VIV_STORE_CORRUPT && detail[0] != '\0' ? detail
                                                                             : "it makes no sense");
}
