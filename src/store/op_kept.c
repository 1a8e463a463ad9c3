// SPDX-License-Identifier: Apache-2.0
// What a run keeps for the next attempt (durable.md 2.8): steps, checkpoints; and blobs, which are
// of no process.
#include "base/hash.h"
#include "store/append.h"
#include "store/objects.h"
#include <stdio.h>
#include <string.h>

enum { CHECKPOINT_BYTES = 4 << 20, BLOB_BYTES = 64 << 20, STEP_KEY_BYTES = 500, HEX = 65 };
enum { KEY_ROOM = STEP_KEY_BYTES + 16 };

static enum viv_err hash_bytes(struct viv_str bytes, char out_hex[HEX])
{
    uint8_t digest[VIV_SHA256_BYTES];
    VIV_TRY(viv_sha256(bytes.p, bytes.n, digest));
    viv_hex_encode(digest, sizeof digest, out_hex);
    return VIV_OK;
}

// ---- steps: events of the core under a key ----

static enum viv_err step_key(struct viv_str key, char out_key[KEY_ROOM], struct viv_diag *diag)
{
    if (key.n == 0) return viv_diag_set(diag, VIV_E_INVAL, "key: empty");
    if (key.n > STEP_KEY_BYTES)
        return viv_diag_set(diag, VIV_E_TOOBIG, "key: more than %d bytes", STEP_KEY_BYTES);
    VIV_TRY(viv_store__check_text(key, "key", diag));
    if (memchr(key.p, '\0', key.n) != NULL)
        return viv_diag_set(diag, VIV_E_INVAL, "key: holds U+0000");
    (void)snprintf(out_key, KEY_ROOM, "viv:step:%.*s", (int)key.n, key.p);
    return VIV_OK;
}

struct op_step {
    struct viv_store__op op;
    struct viv_str id;
    struct viv_store__event event;
};

static struct op_step *step_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_step, op);
}

static enum viv_err load_step(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_step *self = step_of(op);
    VIV_TRY(viv_store__row_ask(txn, self->id, true));
    return viv_store__event_ask(txn, self->id, self->event.key);
}

static enum viv_err run_step(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_step *self = step_of(op);
    struct viv_store__row row;
    const enum viv_err err = viv_store__row_get(txn, &row);
    VIV_TRY(viv_store__recv(txn, &self->event.keyed));
    VIV_TRY(err);
    VIV_TRY(viv_store__event_append(txn, &row, &self->event, op->mem, viv_store__diag(op)));
    return self->event.is_replayed ? VIV_OK : viv_store__row_put_log(txn, &row);
}

enum viv_err viv_store_step_end(struct viv_store *store, struct viv_str id, struct viv_str key,
                                struct viv_str value, const struct viv_fence *fence,
                                struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    char full[KEY_ROOM];
    json_t *result;
    struct viv_mem own;
    VIV_TRY(viv_store__check_id(id, "id", diag));
    VIV_TRY(step_key(key, full, diag));
    VIV_TRY(
        viv_store__parse(value, viv_store__opts_of(store)->max_payload, "value", &result, diag));
    json_t *payload = json_pack("{ss%so}", "key", key.p, key.n, "value", result);
    if (payload == NULL) return VIV_E_EXHAUSTED;
    viv_mem_init(&own, VIV_TAG_STORE);
    struct op_step self = {.op = {.load = load_step,
                                  .run = run_step,
                                  .is_write = true,
                                  .process = id,
                                  .diag = err,
                                  .mem = &own,
                                  .is_mem_own = true},
                           .id = id,
                           .event = {.type = viv_str_of("process.step"),
                                     .key = viv_str_of(full),
                                     .payload = payload,
                                     .fence = fence,
                                     .needs_fence = true,
                                     .is_core_call = true}};
    const enum viv_err done = viv_store__do(store, &self.op);
    json_decref(payload);
    viv_mem_deinit(&own);
    return done;
}

enum viv_err viv_store_step_get(struct viv_store *store, struct viv_str id, struct viv_str key,
                                struct viv_mem *mem, struct viv_str *value,
                                struct viv_store_diag *err)
{
    struct viv_event event;
    char full[KEY_ROOM];
    json_t *payload;
    VIV_TRY(step_key(key, full, err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store_event_by_key(store, id, viv_str_of(full), mem, &event, err));
    VIV_TRY(viv_cjson_parse(event.payload.p, event.payload.n, &payload, NULL));
    struct viv_str text;
    const enum viv_err done = viv_store__text(mem, json_object_get(payload, "value"), &text);
    json_decref(payload);
    if (done == VIV_OK && value != NULL) *value = text;
    return done;
}

// ---- checkpoints ----

struct op_checkpoint {
    struct viv_store__op op;
    struct viv_str id, bytes;
    const struct viv_fence *fence;
    uint64_t ordinal;
    char hash[HEX];
    struct viv_checkpoint found;
};

static struct op_checkpoint *checkpoint_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_checkpoint, op);
}

static enum viv_err load_checkpoint(struct viv_store__op *op, struct viv_store__txn *txn)
{
    return viv_store__row_ask(txn, checkpoint_of(op)->id, op->is_write);
}

static enum viv_err note_checkpoint(struct op_checkpoint *self, struct viv_store__txn *txn,
                                    struct viv_store__row *row)
{
    char key[48];
    (void)snprintf(key, sizeof key, "viv:ckpt:%llu", (unsigned long long)self->ordinal);
    json_t *payload = json_pack("{sIsIss}", "ordinal", (json_int_t)self->ordinal, "bytes",
                                (json_int_t)self->bytes.n, "sha256", self->hash);
    if (payload == NULL) return VIV_E_EXHAUSTED;
    const enum viv_err err =
        viv_store__event_note(txn, row, "process.checkpoint", key, payload, self->op.mem);
    json_decref(payload);
    return err;
}

static enum viv_err put_checkpoint(struct op_checkpoint *self, struct viv_store__txn *txn,
                                   struct viv_store__row *row, int64_t before)
{
    const int64_t birth = viv_row_int(row, VIV_PROC_birth);
    VIV_TRY(note_checkpoint(self, txn, row));
    VIV_TRY(viv_store__put(txn, VIV_STMT_CHECKPOINT_PUT, "iizb", birth, (int64_t)self->ordinal,
                           self->hash, self->bytes));
    if (before >= 0) // this one and the one before it stay
        VIV_TRY(viv_store__put(txn, VIV_STMT_CHECKPOINT_DROP, "ii", birth, before));
    return viv_store__row_put_log(txn, row);
}

static enum viv_err run_put(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_checkpoint *self = checkpoint_of(op);
    struct viv_diag *diag = viv_store__diag(op);
    struct viv_store__row row;
    struct viv_db_rows rows;
    VIV_TRY(viv_store__row_get(txn, &row));
    VIV_TRY(viv_store__row_know(txn, &row));
    VIV_TRY(
        viv_store__send(txn, VIV_STMT_CHECKPOINT_NEWEST, "i", viv_row_int(&row, VIV_PROC_birth)));
    VIV_TRY(viv_store__recv(txn, &rows));
    for (size_t i = 0; i < rows.count; i++) {
        if (rows.values[2 * i].number != (int64_t)self->ordinal) continue;
        const struct viv_str hash = rows.values[2 * i + 1].text;
        if (hash.n == HEX - 1 && memcmp(hash.p, self->hash, hash.n) == 0) return VIV_OK; // again
        return viv_diag_set(diag, VIV_STORE_KEY_CONFLICT, "ordinal: it has other bytes");
    }
    if (viv_row_state(&row) != VIV_RUNNING)
        return viv_diag_set(diag, VIV_STORE_TERMINAL, "the process has ended");
    if (self->fence == NULL) return viv_diag_set(diag, VIV_STORE_FENCED, "a fence is needed");
    VIV_TRY(viv_store__fence_check(txn, &row, self->fence, diag));
    const int64_t newest = rows.count > 0 ? rows.values[0].number : -1;
    if ((int64_t)self->ordinal < newest)
        return viv_diag_set(diag, VIV_E_INVAL, "ordinal: below the newest, %lld",
                            (long long)newest);
    return put_checkpoint(self, txn, &row, newest);
}

static enum viv_err run_get(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_checkpoint *self = checkpoint_of(op);
    struct viv_store__row row;
    struct viv_db_rows rows;
    VIV_TRY(viv_store__row_get(txn, &row));
    const int64_t birth = viv_row_int(&row, VIV_PROC_birth);
    int64_t ordinal = (int64_t)viv_min_u64(self->ordinal, INT64_MAX);
    if (self->ordinal == VIV_CHECKPOINT_NEWEST) {
        VIV_TRY(viv_store__send(txn, VIV_STMT_CHECKPOINT_NEWEST, "i", birth));
        VIV_TRY(viv_store__recv(txn, &rows));
        if (rows.count == 0) return VIV_E_NOTFOUND;
        ordinal = rows.values[0].number;
    }
    VIV_TRY(viv_store__send(txn, VIV_STMT_CHECKPOINT_GET, "ii", birth, ordinal));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    self->found.ordinal = (uint64_t)rows.values[0].number;
    return viv_store__copy(op->mem, rows.values[1].text, &self->found.bytes);
}

enum viv_err viv_store_checkpoint_put(struct viv_store *store, struct viv_str id, uint64_t ordinal,
                                      struct viv_str bytes, const struct viv_fence *fence,
                                      struct viv_store_diag *err)
{
    struct viv_diag *diag = err == NULL ? NULL : &err->d;
    struct viv_mem own;
    struct op_checkpoint self = {.op = {.load = load_checkpoint,
                                        .run = run_put,
                                        .is_write = true,
                                        .process = id,
                                        .diag = err,
                                        .mem = &own},
                                 .id = id,
                                 .bytes = {bytes.p == NULL ? "" : bytes.p, bytes.n},
                                 .fence = fence,
                                 .ordinal = ordinal};
    VIV_TRY(viv_store__check_id(id, "id", diag));
    if (ordinal >= INT64_MAX) return viv_diag_set(diag, VIV_E_INVAL, "ordinal: too great");
    if (bytes.n > CHECKPOINT_BYTES)
        return viv_diag_set(diag, VIV_E_TOOBIG, "checkpoint: more than 4 MiB");
    VIV_TRY(hash_bytes(self.bytes, self.hash));
    viv_mem_init(&own, VIV_TAG_STORE);
    const enum viv_err result = viv_store__do(store, &self.op);
    viv_mem_deinit(&own);
    return result;
}

enum viv_err viv_store_checkpoint_get(struct viv_store *store, struct viv_str id, uint64_t ordinal,
                                      struct viv_mem *mem, struct viv_checkpoint *checkpoint,
                                      struct viv_store_diag *err)
{
    struct op_checkpoint self = {
        .op = {.load = load_checkpoint, .run = run_get, .diag = err, .mem = mem},
        .id = id,
        .ordinal = ordinal};
    VIV_TRY(viv_store__check_id(id, "id", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    if (checkpoint != NULL) *checkpoint = self.found;
    return VIV_OK;
}

// ---- blobs ----

struct op_blob {
    struct viv_store__op op;
    struct viv_str bytes;
    char hash[HEX];
};

static struct op_blob *blob_of(struct viv_store__op *op)
{
    return VIV_CONTAINER_OF(op, struct op_blob, op);
}

static enum viv_err run_blob_put(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_blob *self = blob_of(op);
    VIV_TRY(viv_store__know_now(txn));
    return viv_store__put(txn, VIV_STMT_BLOB_PUT, "zbi", self->hash, self->bytes, txn->wall_ms);
}

static enum viv_err run_blob_get(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_blob *self = blob_of(op);
    struct viv_db_rows rows;
    char hash[HEX];
    VIV_TRY(viv_store__send(txn, VIV_STMT_BLOB_GET, "z", self->hash));
    VIV_TRY(viv_store__recv(txn, &rows));
    if (rows.count == 0) return VIV_E_NOTFOUND;
    const struct viv_str bytes = rows.values[0].text;
    VIV_TRY(hash_bytes(bytes, hash));
    if (strcmp(hash, self->hash) != 0)
        return viv_diag_set(viv_store__diag(op), VIV_STORE_CORRUPT, "blob %s: other bytes",
                            self->hash);
    return viv_store__copy(op->mem, bytes, &self->bytes);
}

enum viv_err viv_store_blob_put(struct viv_store *store, struct viv_str bytes, struct viv_mem *mem,
                                struct viv_str *hash, struct viv_store_diag *err)
{
    struct op_blob self = {.op = {.run = run_blob_put, .is_write = true, .diag = err, .mem = mem},
                           .bytes = {bytes.p == NULL ? "" : bytes.p, bytes.n}};
    if (bytes.n > BLOB_BYTES)
        return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_TOOBIG, "blob: more than 64 MiB");
    VIV_TRY(hash_bytes(self.bytes, self.hash));
    VIV_TRY(viv_store__do(store, &self.op));
    return hash == NULL ? VIV_OK : viv_store__copy(mem, viv_str_of(self.hash), hash);
}

enum viv_err viv_store_blob_get(struct viv_store *store, struct viv_str hash, struct viv_mem *mem,
                                struct viv_str *bytes, struct viv_store_diag *err)
{
    struct op_blob self = {.op = {.run = run_blob_get, .diag = err, .mem = mem}};
    if (hash.n != HEX - 1 || memchr(hash.p, '\0', hash.n) != NULL) return VIV_E_NOTFOUND;
    memcpy(self.hash, hash.p, hash.n);
    VIV_TRY(viv_store__check_text(hash, "hash", err == NULL ? NULL : &err->d));
    VIV_TRY(viv_store__do(store, &self.op));
    if (bytes != NULL) *bytes = self.bytes;
    return VIV_OK;
}
