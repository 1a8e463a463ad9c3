// SPDX-License-Identifier: Apache-2.0
// Grants (durable.md 2.6): who sees a process. They move neither a row's time nor its place among
// the changes, and never affect what runs.
#include "store/grants.h"
#include "store/objects.h"
#include "store/page.h"
#include "store/row.h"
#include "store/shape.h"
#include <string.h>

enum { DESCRIPTOR_BYTES = 4096, IDS_MAX = 10000, GRANTS_MAX = 10000, RIGHTS = 5 };

static const char *const rights[RIGHTS + 1] = {"read", "await", "signal", "cancel", "grant", NULL};
static const char by_default[] = "[\"read\",\"await\",\"signal\",\"cancel\"]";

enum deed { GRANT, REVOKE, TRANSFER, HAS, OF_SCOPE, OF_PROCESS };

struct op_grant {
    struct viv_store__op op;
    enum deed deed;
    struct viv_str id, descriptor, after;
    struct viv_store__page page;
    struct viv_str at; // of the page: the last id passed
    const struct viv_scope *scope, *to;
    const char *scope_id, *to_id;
    const struct viv_str *ids;
    size_t count;
    bool is_live_only, has;
    struct viv_grants grants;
};

static struct op_grant *grant_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_grant, op);
}

static enum viv_err put_grant(struct viv_store__txn *txn, int64_t birth,
                              const struct viv_store__grant *grant)
{
    const struct viv_scope *scope = &grant->scope;
    const struct viv_str frame = scope->frame.n == 0 ? (struct viv_str){NULL, 0} : scope->frame;
    return viv_store__put(txn, VIV_STMT_GRANT_PUT, "zisss", grant->scope_id, birth, scope->session,
                          frame, grant->descriptor);
}

// How many grants of a process are of other scopes than this one ("": of all).
static enum viv_err count_others(struct viv_store__txn *txn, int64_t birth, const char *scope_id,
                                 size_t *out_count)
{
    struct viv_db_rows rows;
    VIV_TRY(
        viv_store__send(txn, VIV_STMT_GRANT_COUNT, "izi", birth, scope_id, (int64_t)GRANTS_MAX));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count != 1) return VIV_STORE_CORRUPT;
    *out_count = (size_t)rows.values[0].number;
    return VIV_OK;
}

enum viv_err viv_store__grants_put(struct viv_store__txn *txn, int64_t birth,
                                   const struct viv_store__grant *grants, size_t count,
                                   struct viv_diag *diag)
{
    size_t others = 0;
    const bool is_one = count == 1;
    if (count == 0) return VIV_OK;
    VIV_TRY(count_others(txn, birth, is_one ? grants[0].scope_id : "", &others));
    const bool is_room_sure = others + count <= GRANTS_MAX;
    for (size_t i = 0; i < count; i++) {
        if (!is_room_sure && !is_one)
            VIV_TRY(count_others(txn, birth, grants[i].scope_id, &others));
        if (others >= GRANTS_MAX)
            return viv_diag_set(diag, VIV_E_QUOTA, "the process has as many grants as it may");
        VIV_TRY(put_grant(txn, birth, &grants[i]));
    }
    return VIV_OK;
}

static enum viv_err run_on_one(struct op_grant *self, struct viv_store__txn *txn)
{
    struct viv_store__row row;
    VIV_TRY(viv_store__row_ask(txn, self->id, true));
    const enum viv_err err = viv_store__row_get(txn, &row);
    if (err == VIV_E_NOTFOUND && self->deed == REVOKE) return VIV_OK;
    VIV_TRY(err);
    const int64_t birth = viv_row_int(&row, VIV_PROC_birth);
    if (self->deed == REVOKE)
        return viv_store__put(txn, VIV_STMT_GRANT_DROP, "zi", self->scope_id, birth);
    const struct viv_store__grant grant = {*self->scope, self->scope_id, self->descriptor};
    return viv_store__grants_put(txn, birth, &grant, 1, viv_store__diag(&self->op));
}

// 1. all of them are granted; 2. they move. No process has more grants then than before: the quota
// need not be looked at.
static enum viv_err run_transfer(struct op_grant *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    struct moved {
        int64_t birth;
        struct viv_str descriptor;
    } *moved = viv_mem_try_take(self->op.mem, (self->count + 1) * sizeof *moved);
    if (moved == NULL) return VIV_E_EXHAUSTED;
    for (size_t i = 0; i < self->count; i++) {
        const struct viv_str id = self->ids[i];
        VIV_TRY(viv_store__send(txn, VIV_STMT_GRANT_TAKE, "zs", self->scope_id, id));
        VIV_TRY(viv_store__recv(txn, &rows));
        if (rows.count == 0)
            return viv_diag_set(viv_store__diag(&self->op), VIV_STORE_NOT_GRANTED,
                                "%.*s is not granted there", (int)id.n, id.p);
        moved[i] = (struct moved){rows.values[1].number, rows.values[0].text};
    }
    if (strcmp(self->scope_id, self->to_id) == 0) return VIV_OK;
    for (size_t i = 0; i < self->count; i++) {
        VIV_TRY(viv_store__put(txn, VIV_STMT_GRANT_DROP, "zi", self->scope_id, moved[i].birth));
        const struct viv_store__grant grant = {*self->to, self->to_id, moved[i].descriptor};
        VIV_TRY(put_grant(txn, moved[i].birth, &grant));
    }
    return VIV_OK;
}

static enum viv_err run_has(struct op_grant *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    json_t *descriptor;
    VIV_TRY(viv_store__send(txn, VIV_STMT_GRANT_GET, "zs", self->scope_id, self->id));
    VIV_TRY(viv_store__recv(txn, &rows));
    self->has = rows.count > 0;
    self->descriptor = (struct viv_str){"", 0};
    if (!self->has) return VIV_OK;
    const struct viv_str text = rows.values[0].text;
    const enum viv_err parsed = viv_cjson_parse(text.p, text.n, &descriptor, NULL);
    if (parsed != VIV_OK) return parsed == VIV_E_EXHAUSTED ? parsed : VIV_STORE_CORRUPT;
    json_t *list = json_object_get(descriptor, "rights");
    const enum viv_err err =
        list == NULL ? viv_store__copy(self->op.mem, viv_str_of(by_default), &self->descriptor)
                     : viv_store__text(self->op.mem, list, &self->descriptor);
    json_decref(descriptor);
    return err;
}

static struct op_grant *pager_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_grant, page);
}

static enum viv_err ask_grants(struct viv_store__page *page, struct viv_store__txn *txn,
                               int64_t rows)
{
    const struct op_grant *self = pager_of(page);
    return viv_store__send(txn, VIV_STMT_GRANTS_OF_SCOPE, "zsii", self->scope_id, self->at,
                           (int64_t)self->is_live_only, rows);
}

static enum viv_err take_grant(struct viv_store__page *page, struct viv_store__txn *txn,
                               const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    struct viv_grant *grant = item;
    struct viv_store__row row;
    *grant = (struct viv_grant){.scope = *pager_of(page)->scope,
                                .scope_id = viv_str_of(pager_of(page)->scope_id)};
    VIV_TRY(viv_store__row_ask(txn, col[0].text, false));
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__copy(page->mem, col[1].text, &grant->descriptor));
    VIV_TRY(viv_store__row_record(txn, &row, page->mem, &grant->record));
    *out_bytes = sizeof *grant + grant->descriptor.n + viv_store__record_bytes(&grant->record);
    return VIV_OK;
}

static void pass_grant(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = col[0].text;
}

static const struct viv_store__page_ops grant_page = {sizeof(struct viv_grant), ask_grants,
                                                      take_grant, pass_grant};

static enum viv_err run_of_scope(struct op_grant *self, struct viv_store__txn *txn)
{
    self->at = self->after.p == NULL ? (struct viv_str){"", 0} : self->after;
    VIV_TRY(viv_store__page_read(&self->page, txn));
    self->grants = (struct viv_grants){.items = self->page.items, .count = self->page.count};
    if (self->page.has_more && self->grants.count > 0)
        self->grants.next = self->grants.items[self->grants.count - 1].record.id;
    return VIV_OK;
}

static enum viv_err run_of_process(struct op_grant *self, struct viv_store__txn *txn)
{
    struct viv_store__row row;
    struct viv_db_rows rows;
    VIV_TRY(viv_store__row_ask(txn, self->id, false));
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(
        viv_store__send(txn, VIV_STMT_GRANTS_OF_PROCESS, "i", viv_row_int(&row, VIV_PROC_birth)));
    VIV_TRY(viv_store__recv(txn, &rows));
    self->grants = (struct viv_grants){.count = 0};
    self->grants.items =
        viv_mem_try_take(self->op.mem, (rows.count + 1) * sizeof *self->grants.items);
    if (self->grants.items == NULL) return VIV_E_EXHAUSTED;
    for (; self->grants.count < rows.count; self->grants.count++) {
        const struct viv_db_value *col = rows.values + self->grants.count * rows.columns;
        struct viv_grant *item = &self->grants.items[self->grants.count];
        *item = (struct viv_grant){.scope_id = {NULL, 0}};
        VIV_TRY(viv_store__copy(self->op.mem, col[0].text, &item->scope.session));
        VIV_TRY(viv_store__copy(self->op.mem, col[1].text, &item->scope.frame));
        VIV_TRY(viv_store__copy(self->op.mem, col[2].text, &item->scope_id));
        VIV_TRY(viv_store__copy(self->op.mem, col[3].text, &item->descriptor));
    }
    return VIV_OK;
}

static enum viv_err run_grant(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_grant *self = grant_of(op);
    switch (self->deed) {
    case GRANT:
    case REVOKE:
        return run_on_one(self, txn);
    case TRANSFER:
        return run_transfer(self, txn);
    case HAS:
        return run_has(self, txn);
    case OF_SCOPE:
        return run_of_scope(self, txn);
    case OF_PROCESS:
        return run_of_process(self, txn);
    }
    return VIV_E_INVAL;
}

// ---- calls ----

static enum viv_err check_scope(const struct viv_scope *scope, struct viv_mem *mem,
                                const char **out_id, struct viv_diag *diag)
{
    VIV_TRY(viv_store__check_id(scope->session, "session", diag));
    if (scope->frame.n > 0) VIV_TRY(viv_store__check_id(scope->frame, "frame", diag));
    *out_id = viv_store__scope_id(mem, scope->session, scope->frame);
    return *out_id == NULL ? VIV_E_EXHAUSTED : VIV_OK;
}

static enum viv_err do_grant(struct viv_store *store, struct op_grant *self)
{
    struct viv_diag *diag = viv_store__diag(&self->op);
    self->op.run = run_grant;
    self->op.is_write = self->deed <= TRANSFER;
    if (self->deed != TRANSFER && self->deed != OF_SCOPE)
        VIV_TRY(viv_store__check_id(self->id, "id", diag));
    if (self->scope != NULL) VIV_TRY(check_scope(self->scope, self->op.mem, &self->scope_id, diag));
    if (self->to != NULL) VIV_TRY(check_scope(self->to, self->op.mem, &self->to_id, diag));
    return viv_store__do(store, &self->op);
}

static const struct viv_shape right_shape = {.kind = VIV_SHAPE_WORD, .words = rights};
static const struct viv_shape rights_shape = {
    .kind = VIV_SHAPE_LIST, .max = RIGHTS, .item = &right_shape};
static const struct viv_shape_field fields[] = {{"kind", &viv_store__id_shape, false, NULL},
                                                {"label", &viv_store__id_shape, false, NULL},
                                                {"rights", &rights_shape, false, by_default},
                                                {0}};
static const struct viv_shape descriptor_shape = {.kind = VIV_SHAPE_OBJECT, .fields = fields};

static enum viv_err read_descriptor(struct viv_str text, struct viv_mem *mem,
                                    struct viv_str *out_text, struct viv_diag *diag)
{
    json_t *value;
    VIV_TRY(viv_store__parse(text, DESCRIPTOR_BYTES, "descriptor", &value, diag));
    enum viv_err err = viv_store__shape_check(&descriptor_shape, value, "descriptor", diag);
    if (err == VIV_OK) err = viv_store__text(mem, value, out_text);
    json_decref(value);
    return err;
}

enum viv_err viv_store__grant_read(const struct viv_scope *scope, struct viv_str descriptor,
                                   struct viv_mem *mem, struct viv_store__grant *out_grant,
                                   struct viv_diag *diag)
{
    struct viv_store__grant grant = {.scope = *scope};
    VIV_TRY(check_scope(scope, mem, &grant.scope_id, diag));
    VIV_TRY(read_descriptor(descriptor, mem, &grant.descriptor, diag));
    *out_grant = grant;
    return VIV_OK;
}

enum viv_err viv_store_grant(struct viv_store *store, const struct viv_scope *scope,
                             struct viv_str id, struct viv_str descriptor,
                             struct viv_store_diag *err)
{
    struct viv_mem own;
    viv_mem_init(&own, VIV_TAG_STORE);
    struct op_grant self = {
        .op = {.diag = err, .mem = &own}, .deed = GRANT, .id = id, .scope = scope};
    enum viv_err result =
        read_descriptor(descriptor, &own, &self.descriptor, viv_store__diag(&self.op));
    if (result == VIV_OK) result = do_grant(store, &self);
    viv_mem_deinit(&own);
    return result;
}

enum viv_err viv_store_revoke(struct viv_store *store, const struct viv_scope *scope,
                              struct viv_str id, struct viv_store_diag *err)
{
    struct viv_mem own;
    viv_mem_init(&own, VIV_TAG_STORE);
    struct op_grant self = {
        .op = {.diag = err, .mem = &own}, .deed = REVOKE, .id = id, .scope = scope};
    const enum viv_err result = do_grant(store, &self);
    viv_mem_deinit(&own);
    return result;
}

enum viv_err viv_store_transfer(struct viv_store *store, const struct viv_scope *from,
                                const struct viv_scope *to, const struct viv_str *ids, size_t count,
                                struct viv_store_diag *err)
{
    struct viv_mem own;
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    if (count > IDS_MAX) return viv_diag_set(diag, VIV_E_TOOBIG, "ids: more than %d", IDS_MAX);
    for (size_t i = 0; i < count; i++)
        VIV_TRY(viv_store__check_id(ids[i], "ids", diag));
    viv_mem_init(&own, VIV_TAG_STORE);
    struct op_grant self = {.op = {.diag = err, .mem = &own},
                            .deed = TRANSFER,
                            .scope = from,
                            .to = to,
                            .ids = ids,
                            .count = count};
    const enum viv_err result = do_grant(store, &self);
    viv_mem_deinit(&own);
    return result;
}

enum viv_err viv_store_has_grant(struct viv_store *store, const struct viv_scope *scope,
                                 struct viv_str id, struct viv_mem *mem, bool *has,
                                 struct viv_str *rights_text, struct viv_store_diag *err)
{
    struct op_grant self = {.op = {.diag = err, .mem = mem}, .deed = HAS, .id = id, .scope = scope};
    VIV_TRY(do_grant(store, &self));
    if (has != NULL) *has = self.has;
    if (rights_text != NULL) *rights_text = self.descriptor;
    return VIV_OK;
}

enum viv_err viv_store_grants_of_scope(struct viv_store *store, const struct viv_scope *scope,
                                       const struct viv_grants_query *query, struct viv_mem *mem,
                                       struct viv_grants *out_grants, struct viv_store_diag *err)
{
    struct op_grant self = {
        .op = {.diag = err, .mem = mem},
        .deed = OF_SCOPE,
        .scope = scope,
        .after = query->after,
        .page = {.ops = &grant_page, .mem = mem, .limit = query->limit, .bytes = query->bytes},
        .is_live_only = query->is_live_only};
    VIV_TRY(viv_store__page_check(&self.page, viv_store__diag(&self.op)));
    VIV_TRY(do_grant(store, &self));
    if (out_grants != NULL) *out_grants = self.grants;
    return VIV_OK;
}

enum viv_err viv_store_grants_of_process(struct viv_store *store, struct viv_str id,
                                         struct viv_mem *mem, struct viv_grants *out_grants,
                                         struct viv_store_diag *err)
{
    struct op_grant self = {.op = {.diag = err, .mem = mem}, .deed = OF_PROCESS, .id = id};
    VIV_TRY(do_grant(store, &self));
    if (out_grants != NULL) *out_grants = self.grants;
    return VIV_OK;
}
