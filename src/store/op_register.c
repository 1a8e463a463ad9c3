// SPDX-License-Identifier: Apache-2.0
// register and get.
#include "store/register.h"

#include "store/append.h"
#include <string.h>

struct op_register {
    struct viv_store__op op;
    struct viv_store__reg *reg;
    struct viv_record record;
    bool is_created;
};

static struct op_register *register_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_register, op);
}

static enum viv_err load_register(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, viv_str_of(register_of(op)->reg->id), true);
}

// When a sweep is to end it: never a process that is not ours.
static int64_t deadline_of(const struct viv_store__reg *reg, int64_t now_ms)
{
    if (!reg->is_ours) return -1;
    return reg->timeout_ms < 0 ? reg->deadline_ms : viv_add_sat_i64(now_ms, reg->timeout_ms);
}

static enum viv_err put_spec(struct viv_store__txn *txn, const struct viv_store__reg *reg,
                             int64_t birth, struct viv_mem *mem)
{
    const char *scope = viv_store__scope_id(mem, viv_str_of(reg->session), viv_str_of(reg->frame));
    if (scope == NULL) return VIV_E_EXHAUSTED;
    const char *caused = NULL;
    if (reg->caused_type != NULL) {
        caused = viv_mem_try_printf(mem, NULL, "%s:%s", reg->caused_type,
                                    reg->caused_id == NULL ? "" : reg->caused_id);
        if (caused == NULL) return VIV_E_EXHAUSTED;
    }
    return viv_store__put(txn, VIV_STMT_SPEC_PUT, "izszzzzzzi", birth, reg->hash,
                          (struct viv_str){reg->text, reg->text_len}, reg->kind, reg->label,
                          reg->session, scope, reg->module, caused, txn->wall_ms);
}

// The blobs that it runs.
static enum viv_err put_refs(struct viv_store__txn *txn, const struct viv_store__reg *reg,
                             int64_t birth)
{
    static const size_t prefix = sizeof "sha256:" - 1;
    const json_t *code = json_object_get(json_object_get(reg->normal, "input"), "code");
    if (reg->module != NULL)
        VIV_TRY(viv_store__put(txn, VIV_STMT_REF_PUT, "zi", reg->module + prefix, birth));
    for (size_t i = 0; i < json_array_size(code); i++)
        VIV_TRY(viv_store__put(txn, VIV_STMT_REF_PUT, "zi",
                               json_string_value(json_array_get(code, i)) + prefix, birth));
    return VIV_OK;
}

// The row, and what stands beside it; *out_birth is 0 when somebody else was faster.
static enum viv_err insert(struct viv_store__txn *txn, const struct viv_store__reg *reg,
                           struct viv_mem *mem, int64_t *out_birth)
{
    struct viv_db_rows rows;
    struct viv_store__row row = {.reg = reg};
    viv_row_set_text(&row, VIV_PROC_id, viv_str_of(reg->id));
    VIV_TRY(viv_store__row_touch(txn, &row));
    const int64_t deadline_ms = deadline_of(reg, txn->wall_ms);
    const struct viv_db_value deadline = {.type = deadline_ms < 0 ? VIV_DB_NULL : VIV_DB_INT,
                                          .number = deadline_ms};
    txn->has_written = true;
    VIV_TRY(viv_store__send(txn, VIV_STMT_PROC_INSERT, "ziiziiivzz", reg->id,
                            (int64_t)reg->disposition, (int64_t)reg->is_ours, reg->queue,
                            txn->wall_ms, txn->position,
                            reg->start_at_ms >= 0 ? reg->start_at_ms : txn->wall_ms, &deadline,
                            reg->wake_session, reg->wake_frame));
    VIV_TRY(viv_store__recv(txn, &rows));
    *out_birth = rows.count == 0 ? 0 : rows.values[0].number;
    if (*out_birth == 0) return VIV_OK;
    VIV_TRY(put_spec(txn, reg, *out_birth, mem));
    return put_refs(txn, reg, *out_birth);
}

static enum viv_err compare(struct viv_store__txn *txn, struct viv_store__row *row,
                            const struct viv_store__reg *reg, struct viv_diag *diag)
{
    VIV_TRY(viv_store__row_know(txn, row));
    if (strcmp(row->reg->hash, reg->hash) == 0) return VIV_OK;
    viv_store__tell_recorded(txn->op, (struct viv_str){row->reg->text, row->reg->text_len});
    return viv_diag_set(diag, VIV_STORE_REGISTRATION, "%s is registered with other content",
                        reg->id);
}

enum viv_err viv_store__register(struct viv_store__txn *txn, struct viv_store__reg *reg,
                                 struct viv_mem *mem, struct viv_diag *diag,
                                 struct viv_store__row *out_row, bool *out_created)
{
    int64_t birth = 0;
    enum viv_err err = viv_store__row_get(txn, out_row);
    if (err == VIV_E_NOTFOUND) {
        VIV_TRY(insert(txn, reg, mem, &birth));
        VIV_TRY(viv_store__row_ask(txn, viv_str_of(reg->id), true));
        err = viv_store__row_get(txn, out_row);
    }
    VIV_TRY(err);
    *out_created = birth != 0;
    return birth != 0 ? viv_store__row_made(txn, out_row, reg) : compare(txn, out_row, reg, diag);
}

static enum viv_err run_register(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_register *self = register_of(op);
    struct viv_store__row row;
    VIV_TRY(
        viv_store__register(txn, self->reg, op->mem, viv_store__diag(op), &row, &self->is_created));
    return viv_store__row_record(txn, &row, op->mem, &self->record);
}

enum viv_err viv_store_register(struct viv_store *store, struct viv_str registration,
                                struct viv_mem *mem, struct viv_record *record, bool *created,
                                struct viv_store_diag *err)
{
    struct op_register self = {
        .op = {
            .load = load_register, .run = run_register, .is_write = true, .diag = err, .mem = mem}};
    VIV_TRY(viv_store__reg_new(viv_store__core_of(store), registration, &self.reg,
                               err == NULL ? NULL : &err->d));
    self.op.process = viv_str_of(self.reg->id);
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_store__reg_drop(self.reg);
    VIV_TRY(result);
    if (record != NULL) *record = self.record;
    if (created != NULL) *created = self.is_created;
    return VIV_OK;
}

// ---- get ----

struct op_get {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_record record;
};

static struct op_get *get_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_get, op);
}

static enum viv_err load_get(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, get_of(op)->id, false);
}

static enum viv_err run_get(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct viv_store__row row;
    VIV_TRY(viv_store__row_get(txn, &row));
    return viv_store__row_record(txn, &row, op->mem, &get_of(op)->record);
}

enum viv_err viv_store_get(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                           struct viv_record *record, struct viv_store_diag *err)
{
    struct op_get self = {.op = {.load = load_get, .run = run_get, .diag = err, .mem = mem},
                          .id = id};
    VIV_TRY(viv_store__check_id(id, "id", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    if (record != NULL) *record = self.record;
    return VIV_OK;
}
