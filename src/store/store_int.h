// SPDX-License-Identifier: Apache-2.0
// What the files of this room share: operations, how they run, and the transaction they run in.
//
// An operation is load, then run. load sends what the operation looks at, before anything is known;
// run receives it, decides, and writes. Nothing is written before everything is decided, so that in
// a transaction of many operations one that is refused leaves no trace and the others go on. Where
// the back end is a server, the loads of operations that run together are sent before the first
// run; only those that say of which process they are run together there.
#ifndef VIV_STORE_STORE_INT_H
#define VIV_STORE_STORE_INT_H

#include "os/thread.h"
#include "store/db.h"
#include "store/regis.h"

// The statement that was sent last, and its first argument.
struct viv_store__asked {
    enum viv_stmt stmt;
    int64_t number;
    size_t text_len; // 0: the number
    char text[48];
};

struct viv_store__txn {
    struct viv_store *store;
    struct viv_db *db;
    struct viv_store__op *op; // the one at hand
    bool is_loading;          // ahead: what is sent is counted
    enum viv_err db_err;      // the first failure of the back end: the transaction is lost
    struct viv_store__asked asked;
    bool has_written; // the operation at hand
    bool is_tight;    // only what is vital is done
    bool is_now_known;
    int64_t wall_ms, lease_ms;
    int64_t position;       // 0: not asked yet
    struct viv_buf held;    // struct viv_store__held
    struct viv_buf changed; // ids of processes, each with a final 0
};

enum { VIV_STORE_LOADS_MAX = 4 }; // statements that a load sends, of an operation with a process

struct viv_store__op {
    enum viv_err (*load)(struct viv_store__op *op, struct viv_store__txn *txn); // NULL: nothing
    enum viv_err (*run)(struct viv_store__op *op, struct viv_store__txn *txn);
    bool is_write;
    bool is_vital;          // tried even where space is short: it ends, keeps or frees something
    struct viv_str process; // the only one whose row it locks, all in load; n == 0: unknown
    struct viv_store_diag *diag; // NULL: nobody asks
    struct viv_mem *mem;         // the caller's; where results lie
    // What load asked for, where that is received ahead of run:
    struct viv_db_rows loaded[VIV_STORE_LOADS_MAX];
    uint32_t loaded_count, loaded_next;
    // The queue's:
    struct viv_store__op *next;
    struct viv_cond done;
    enum viv_err err;
    bool is_done, is_taken;
};

// Runs it, alone or together with others that wait, and waits for the end. Errors: its own; BUSY.
enum viv_err viv_store__do(struct viv_store *store, struct viv_store__op *op) VIV_MUST_CHECK;

const struct viv_store__core *viv_store__core_of(const struct viv_store *store);
const struct viv_store_opts *viv_store__opts_of(const struct viv_store *store);
const char *viv_store__lease_domain(const struct viv_store *store);
struct viv_store__cache *viv_store__cache_of(struct viv_store *store);
struct viv_store__waits *viv_store__waits_of(struct viv_store *store);

static inline struct viv_diag *viv_store__diag(const struct viv_store__op *op)
{
    return op->diag == NULL ? NULL : &op->diag->d;
}

// ---- statements ----

// One letter an argument: i int64_t, s struct viv_str, z text that ends with 0 or NULL, b bytes
// (struct viv_str), v a value of a row.
enum viv_err viv_store__send(struct viv_store__txn *txn, enum viv_stmt stmt, const char *types,
                             ...) VIV_MUST_CHECK;
enum viv_err viv_store__send_values(struct viv_store__txn *txn, enum viv_stmt stmt,
                                    const struct viv_db_value *values, size_t count) VIV_MUST_CHECK;
enum viv_err viv_store__recv(struct viv_store__txn *txn,
                             struct viv_db_rows *out_rows) VIV_MUST_CHECK;
// Writes: nothing comes back.
enum viv_err viv_store__put(struct viv_store__txn *txn, enum viv_stmt stmt, const char *types,
                            ...) VIV_MUST_CHECK;
enum viv_err viv_store__put_values(struct viv_store__txn *txn, enum viv_stmt stmt,
                                   const struct viv_db_value *values, size_t count) VIV_MUST_CHECK;
// Notes the first failure of the back end; returns err.
enum viv_err viv_store__settle(struct viv_store__txn *txn, enum viv_err err) VIV_MUST_CHECK;
// The operation at hand found that the store is damaged: it is only read from now on, and its
// diagnosis says where.
void viv_store__note_damage(struct viv_store__txn *txn, struct viv_backend *backend);
// Who waits for the process is told after the commit, here and elsewhere. Errors: EXHAUSTED.
enum viv_err viv_store__note_changed(struct viv_store__txn *txn, struct viv_str id) VIV_MUST_CHECK;
// Fills wall_ms and lease_ms.
enum viv_err viv_store__know_now(struct viv_store__txn *txn) VIV_MUST_CHECK;

static inline struct viv_str viv_str_of(const char *text) // NULL: empty
{
    return text == NULL ? (struct viv_str){NULL, 0}
                        : (struct viv_str){text, __builtin_strlen(text)};
}

static inline bool viv_str_is_equal(struct viv_str a, struct viv_str b)
{
    return a.n == b.n && (a.n == 0 || __builtin_memcmp(a.p, b.p, a.n) == 0);
}

static inline int64_t viv_add_sat_i64(int64_t a, int64_t b) // b >= 0
{
    int64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

static inline int64_t viv_to_i64(uint64_t number) // what is above behaves as the greatest
{
    return (int64_t)viv_min_u64(number, INT64_MAX);
}

// ---- checks of arguments ----

// name: the argument, for the message. Errors: INVAL, TOOBIG, STORE_UTF8.
enum viv_err viv_store__check_id(struct viv_str id, const char *name,
                                 struct viv_diag *diag) VIV_MUST_CHECK;
enum viv_err viv_store__check_text(struct viv_str text, const char *name, // STORE_UTF8
                                   struct viv_diag *diag) VIV_MUST_CHECK;
// Errors: TOOBIG, STORE_UTF8, STORE_JSON, EXHAUSTED.
enum viv_err viv_store__parse(struct viv_str text, size_t max_bytes, const char *name,
                              json_t **out_value, struct viv_diag *diag) VIV_MUST_CHECK;
// The canonical text, in mem. Errors: EXHAUSTED.
enum viv_err viv_store__text(struct viv_mem *mem, json_t *value,
                             struct viv_str *out_text) VIV_MUST_CHECK;
enum viv_err viv_store__copy(struct viv_mem *mem, struct viv_str text,
                             struct viv_str *out_copy) VIV_MUST_CHECK;

#endif
