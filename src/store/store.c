// SPDX-License-Identifier: Apache-2.0
// A store's handle: its connections, and the queue of operations that change it.
//
// The caller does the work. Who finds the writing connection free takes what waits (its own
// operation and others'), runs all of it in one transaction, commits, and tells the others; so a
// lone caller pays no change of threads, and callers that come together share one commit. Reads
// take one of the reading connections; where there is none they wait with the writes.
//
// An operation that fails after it has written, or a transaction that fails as a whole, is rolled
// back; the operations that were in it run again, each by itself. What a server could not do now is
// tried again until the deadline.
//
// Threads: any; what is in struct viv_store is under its mutex, but for what never changes.
#include "store/store_int.h"

#include "base/assert.h"
#include "os/clock.h"
#include "os/rand.h"
#include "store/row.h"
#include "store/waits.h"
#include <string.h>

enum { BATCH_MAX = 256, SERVER_BATCH_MAX = 64, READERS_MAX = 16 };
enum { TIMEOUT_MS = 15000, RETRY_MS = 5, RETRY_MS_MAX = 500 };
enum { PAYLOAD_BYTES = 262144, EVENTS_MAX = 1000000 };
#define LOG_BYTES_MAX (UINT64_C(1) << 30)

struct lane {
    struct viv_db *db; // NULL: not connected yet
    bool is_busy;
};

struct viv_store {
    struct viv_backend *backend;
    struct viv_store__core *core;
    struct viv_store__cache *cache;
    struct viv_store__waits *waits;
    struct viv_store_opts opts; // with its defaults
    struct viv_mutex mutex;     // of all below
    struct viv_cond reader_free;
    struct lane writer, readers[READERS_MAX];
    struct viv_store__op *first, **last; // wait for the writer
};

const struct viv_store__core *viv_store__core_of(const struct viv_store *store)
{
    return store->core;
}

const struct viv_store_opts *viv_store__opts_of(const struct viv_store *store)
{
    return &store->opts;
}

const char *viv_store__lease_domain(const struct viv_store *store)
{
    return store->backend->lease_domain;
}

struct viv_store__cache *viv_store__cache_of(struct viv_store *store)
{
    return store->cache;
}

struct viv_store__waits *viv_store__waits_of(struct viv_store *store)
{
    return store->waits;
}

bool viv_store_has_failed(const struct viv_store *store)
{
    // Relaxed: see viv_backend_note.
    return atomic_load_explicit(&store->backend->health, memory_order_relaxed) == VIV_HEALTH_FAILED;
}

enum viv_tier viv_store_tier(const struct viv_store *store)
{
    return store->backend->tier;
}

// ---- one transaction ----

// Sends what every operation looks at, then receives it: one exchange with a server.
static enum viv_err load_ahead(struct viv_store__txn *txn, struct viv_store__op *ops)
{
    for (struct viv_store__op *op = ops; op != NULL; op = op->next) {
        txn->op = op;
        txn->is_loading = true;
        op->err = op->load == NULL ? VIV_OK : op->load(op, txn);
        txn->is_loading = false;
        if (txn->db_err != VIV_OK) return txn->db_err;
    }
    for (struct viv_store__op *op = ops; op != NULL; op = op->next)
        for (uint32_t i = 0; i < op->loaded_count; i++)
            VIV_TRY(viv_store__settle(txn, txn->db->ops->recv(txn->db, &op->loaded[i])));
    return VIV_OK;
}

// Whether the transaction is good for more: false when it is lost, or has a half of an operation.
static bool run_op(struct viv_store__op *op, struct viv_store__txn *txn, bool is_loaded)
{
    txn->op = op;
    txn->has_written = false;
    if (txn->is_tight && op->is_write && !op->is_vital) {
        op->err =
            viv_diag_set(viv_store__diag(op), VIV_STORE_NO_SPACE,
                         "no space is left; only what ends, keeps or frees something is done");
        return true;
    }
    if (!is_loaded) op->err = op->load == NULL ? VIV_OK : op->load(op, txn);
    if (op->err == VIV_OK) op->err = op->run(op, txn);
    if (op->err == VIV_STORE_CORRUPT) viv_store__note_damage(txn, txn->store->backend);
    return txn->db_err == VIV_OK && (op->err == VIV_OK || !txn->has_written);
}

// False: the transaction is to be rolled back.
static bool run_all(struct viv_store__op *ops, struct viv_store__txn *txn, bool is_ahead)
{
    bool is_good = !is_ahead || load_ahead(txn, ops) == VIV_OK;
    for (struct viv_store__op *op = ops; op != NULL && is_good; op = op->next)
        is_good = run_op(op, txn, is_ahead);
    return is_good;
}

// Those that did not fail by themselves fail with the transaction.
static void fail_all(struct viv_store__op *ops, const struct viv_store__txn *txn)
{
    for (struct viv_store__op *op = ops; op != NULL; op = op->next) {
        if (op->err == VIV_OK) op->err = txn->db_err;
        if (op->err == txn->db_err && op->diag != NULL && op->diag->d.text[0] == '\0')
            op->diag->d = txn->db->detail;
    }
}

// What may still be done with the store's file.
static enum viv_err check_health(struct viv_store *store, struct viv_db *db, bool is_write)
{
    // Relaxed: see viv_backend_note.
    const int health = atomic_load_explicit(&store->backend->health, memory_order_relaxed);
    if (health == VIV_HEALTH_FAILED)
        return viv_diag_set(&db->detail, VIV_E_IO,
                            "the store failed before, or its file was replaced: open it again");
    if (health == VIV_HEALTH_DAMAGED && is_write)
        return viv_diag_set(&db->detail, VIV_STORE_CORRUPT,
                            "the store is damaged, and can only be read");
    return VIV_OK;
}

// How a transaction ended: as it should; rolled back; rolled back, and it may work later; rolled
// back, and there is space now that was not there.
enum outcome { DONE, LOST, AGAIN, FREED };

// Runs them in one transaction. Those that are lost have an error.
static enum outcome run_together(struct viv_store *store, struct viv_db *db,
                                 struct viv_store__op *ops, bool is_write, uint64_t deadline_ns)
{
    struct viv_store__txn txn = {.store = store, .db = db};
    viv_buf_init(&txn.held, VIV_TAG_STORE);
    viv_buf_init(&txn.changed, VIV_TAG_STORE);
    for (struct viv_store__op *op = ops; op != NULL; op = op->next) {
        op->err = VIV_OK;
        op->loaded_count = op->loaded_next = 0;
        if (op->diag != NULL) op->diag->d.text[0] = '\0';
    }
    const struct viv_backend_ops *backend_ops = store->backend->ops;
    txn.is_tight =
        is_write && backend_ops->has_space != NULL && !backend_ops->has_space(store->backend);
    txn.db_err = check_health(store, db, is_write);
    if (txn.db_err == VIV_OK) txn.db_err = db->ops->begin(db, is_write, deadline_ns);
    const bool is_ahead = store->backend->is_server && ops->next != NULL;
    bool is_good = txn.db_err == VIV_OK && run_all(ops, &txn, is_ahead);
    if (is_good) {
        txn.db_err = db->ops->commit(db);
        is_good = txn.db_err == VIV_OK;
    }
    if (!is_good) {
        db->ops->rollback(db);
        fail_all(ops, &txn);
    }
    viv_store__let_go(&txn, is_good);
    if (is_good && txn.changed.len_bytes > 0)
        viv_store__waits_changed(store->waits, (const char *)txn.changed.data,
                                 txn.changed.len_bytes);
    viv_buf_deinit(&txn.changed);
    // What may have happened is not done again.
    if (is_good || txn.db_err == VIV_STORE_OUTCOME_UNKNOWN) return DONE;
    if (txn.db_err == VIV_STORE_NO_SPACE && backend_ops->free_space != NULL)
        return backend_ops->free_space(store->backend) ? FREED : LOST;
    if (!store->backend->is_server) return LOST;
    return txn.db_err == VIV_STORE_UNAVAILABLE || (txn.db_err == VIV_E_BUSY && ops->next == NULL)
               ? AGAIN
               : LOST;
}

// A pause before the next attempt, so that two that met do not meet again.
static void pause_for(uint64_t wait_ms)
{
    uint32_t random = 0;
    VIV_IGNORE(viv_os_random(&random, sizeof random), "no jitter then");
    viv_os_sleep_ns((wait_ms / 2 + random % (wait_ms / 2 + 1)) * VIV_NS_PER_MS);
}

// Until it is done, cannot be, or its time is over.
static enum outcome run_until(struct viv_store *store, struct viv_db *db, struct viv_store__op *ops,
                              bool is_write)
{
    const uint64_t deadline_ns =
        viv_os_now_ns() + (uint64_t)store->opts.op_timeout_ms * VIV_NS_PER_MS;
    for (uint64_t wait_ms = RETRY_MS;; wait_ms = viv_min_u64(2 * wait_ms, RETRY_MS_MAX)) {
        const enum outcome outcome = run_together(store, db, ops, is_write, deadline_ns);
        if (outcome != AGAIN) return outcome;
        if (viv_os_now_ns() + wait_ms * VIV_NS_PER_MS >= deadline_ns) return DONE;
        pause_for(wait_ms);
    }
}

static void run_batch(struct viv_store *store, struct viv_db *db, struct viv_store__op *ops,
                      bool is_write)
{
    const enum outcome outcome = run_until(store, db, ops, is_write);
    if (outcome != FREED && (outcome != LOST || ops->next == NULL)) return;
    for (struct viv_store__op *op = ops, *next; op != NULL; op = next) {
        next = op->next;
        op->next = NULL;
        (void)run_until(store, db, op, op->is_write);
        op->next = next;
    }
}

// ---- connections and the queue ----

static enum viv_err connect_lane(struct viv_store *store, struct lane *lane, bool is_write,
                                 struct viv_store_diag *diag)
{
    if (lane->db != NULL) return VIV_OK;
    return store->backend->ops->connect(store->backend, is_write, &lane->db, diag);
}

// Where an operation stands in a server's batch: behind all with a smaller id. NULL: not in it,
// since another one is of the same process, or nobody knows of which it is.
static struct viv_store__op **find_place(struct viv_store__op **batch,
                                         const struct viv_store__op *op)
{
    if (*batch == NULL) return batch;
    if (op->process.n == 0 || (*batch)->process.n == 0) return NULL;
    for (; *batch != NULL; batch = &(*batch)->next) {
        const struct viv_str a = (*batch)->process, b = op->process;
        const int order = memcmp(a.p, b.p, viv_min_u64(a.n, b.n));
        if (order == 0 && a.n == b.n) return NULL;
        if (order > 0 || (order == 0 && a.n > b.n)) break;
    }
    return batch;
}

// Takes from the queue what can run together, the first one in any case.
static struct viv_store__op *take_batch(struct viv_store *store, bool *out_is_write)
{
    struct viv_store__op *batch = NULL, **end = &batch, **at = &store->first;
    const bool is_server = store->backend->is_server;
    const size_t max = is_server ? SERVER_BATCH_MAX : BATCH_MAX;
    *out_is_write = false;
    for (size_t count = 0; *at != NULL && count < max;) {
        struct viv_store__op *op = *at, **place = is_server ? find_place(&batch, op) : end;
        if (place == NULL) {
            at = &op->next; // for a later one
            continue;
        }
        *at = op->next;
        op->next = *place;
        *place = op;
        end = &op->next;
        op->is_taken = true;
        *out_is_write = *out_is_write || op->is_write;
        count++;
    }
    if (*at == NULL) store->last = at;
    VIV_ASSERT(batch != NULL);
    return batch;
}

// Runs what waits; locked, but not while it runs.
static void lead_locked(struct viv_store *store)
{
    bool is_write;
    struct viv_store__op *batch = take_batch(store, &is_write);
    store->writer.is_busy = true;
    viv_mutex_unlock(&store->mutex);
    const enum viv_err err = connect_lane(store, &store->writer, true, batch->diag);
    if (err == VIV_OK) run_batch(store, store->writer.db, batch, is_write);
    viv_mutex_lock(&store->mutex);
    store->writer.is_busy = false;
    for (struct viv_store__op *op = batch, *next; op != NULL; op = next) {
        next = op->next; // once told, it may be gone
        if (err != VIV_OK) op->err = err;
        op->is_done = true;
        viv_cond_signal(&op->done);
    }
    if (store->first != NULL) viv_cond_signal(&store->first->done); // it leads next
}

static void leave_queue_locked(struct viv_store *store, struct viv_store__op *op)
{
    struct viv_store__op **at = &store->first;
    while (*at != op)
        at = &(*at)->next;
    *at = op->next;
    if (op->next == NULL) store->last = at;
    op->err = VIV_E_BUSY;
    op->is_done = true;
}

static void wait_in_queue(struct viv_store *store, struct viv_store__op *op, uint64_t end_ns)
{
    viv_mutex_lock(&store->mutex);
    *store->last = op;
    store->last = &op->next;
    while (!op->is_done) {
        if (!store->writer.is_busy && !op->is_taken) {
            lead_locked(store);
            continue;
        }
        const uint64_t now_ns = viv_os_now_ns();
        if (op->is_taken) // by somebody who has a deadline as well
            (void)viv_cond_wait(&op->done, &store->mutex, VIV_FOREVER_NS);
        else if (now_ns >= end_ns)
            leave_queue_locked(store, op);
        else
            (void)viv_cond_wait(&op->done, &store->mutex, end_ns - now_ns);
    }
    viv_mutex_unlock(&store->mutex);
}

static struct lane *find_reader_locked(struct viv_store *store)
{
    for (uint32_t i = 0; i < store->backend->readers; i++)
        if (!store->readers[i].is_busy) return &store->readers[i];
    return NULL;
}

static void read_apart(struct viv_store *store, struct viv_store__op *op, uint64_t end_ns)
{
    struct lane *lane;
    viv_mutex_lock(&store->mutex);
    while ((lane = find_reader_locked(store)) == NULL) {
        const uint64_t now_ns = viv_os_now_ns();
        if (now_ns >= end_ns) break;
        (void)viv_cond_wait(&store->reader_free, &store->mutex, end_ns - now_ns);
    }
    if (lane != NULL) lane->is_busy = true;
    viv_mutex_unlock(&store->mutex);
    op->err = lane == NULL ? VIV_E_BUSY : connect_lane(store, lane, false, op->diag);
    if (op->err == VIV_OK) run_batch(store, lane->db, op, false);
    if (lane == NULL) return;
    viv_mutex_lock(&store->mutex);
    lane->is_busy = false;
    viv_cond_signal(&store->reader_free);
    viv_mutex_unlock(&store->mutex);
}

enum viv_err viv_store__do(struct viv_store *store, struct viv_store__op *op)
{
    const uint64_t end_ns =
        viv_add_sat_u64(viv_os_now_ns(), (uint64_t)store->opts.op_timeout_ms * VIV_NS_PER_MS);
    op->next = NULL;
    op->is_done = op->is_taken = false;
    op->err = VIV_OK;
    viv_cond_init(&op->done);
    if (op->diag != NULL) *op->diag = (struct viv_store_diag){.retryable = false};
    if (op->is_write || store->backend->readers == 0)
        wait_in_queue(store, op, end_ns);
    else
        read_apart(store, op, end_ns);
    if (op->err == VIV_OK || op->diag == NULL) return op->err;
    op->diag->retryable = op->err == VIV_E_BUSY || op->err == VIV_STORE_UNAVAILABLE;
    if (op->diag->d.text[0] == '\0')
        (void)viv_diag_set(&op->diag->d, op->err, "%s", viv_err_text(op->err));
    return op->err;
}

// ---- opening and closing ----

static void fill_defaults(struct viv_store_opts *opts)
{
    if (opts->op_timeout_ms == 0) opts->op_timeout_ms = TIMEOUT_MS;
    if (opts->max_payload == 0) opts->max_payload = PAYLOAD_BYTES;
    if (opts->max_events == 0) opts->max_events = EVENTS_MAX;
    if (opts->max_log_bytes == 0) opts->max_log_bytes = LOG_BYTES_MAX;
}

static enum viv_err open_backend(struct viv_str url, const struct viv_store_opts *opts,
                                 struct viv_backend **out_backend, struct viv_store_diag *err)
{
    static const struct {
        const char *scheme;
        enum viv_err (*open)(struct viv_str rest, const struct viv_store_opts *opts,
                             struct viv_backend **out_backend, struct viv_store_diag *err);
    } schemes[] = {{"memory:", viv_store__memory_open},
                   {"sqlite:", viv_store__sqlite_open},
                   {"postgres:", viv_store__postgres_open},
                   {"postgresql:", viv_store__postgres_open}};
    for (size_t i = 0; i < VIV_COUNT_OF(schemes); i++) {
        const size_t len = strlen(schemes[i].scheme);
        if (url.n >= len && memcmp(url.p, schemes[i].scheme, len) == 0)
            return schemes[i].open((struct viv_str){url.p + len, url.n - len}, opts, out_backend,
                                   err);
    }
    return viv_diag_set(err == NULL ? NULL : &err->d, VIV_E_INVAL,
                        "url: begins with none of memory:, sqlite:, postgres:");
}

enum viv_err viv_store_open(struct viv_str url, const struct viv_store_opts *opts,
                            struct viv_store **out_store, struct viv_store_diag *err)
{
    struct viv_store *store = viv_try_calloc(1, sizeof *store, VIV_TAG_STORE);
    if (store == NULL) return VIV_E_EXHAUSTED;
    store->opts = *opts;
    fill_defaults(&store->opts);
    viv_mutex_init(&store->mutex);
    viv_cond_init(&store->reader_free);
    store->last = &store->first;
    if (err != NULL) *err = (struct viv_store_diag){.retryable = false};
    enum viv_err result = viv_store__core_new(&store->core);
    if (result == VIV_OK && (store->cache = viv_store__cache_new()) == NULL)
        result = VIV_E_EXHAUSTED;
    if (result == VIV_OK) result = open_backend(url, &store->opts, &store->backend, err);
    if (result == VIV_OK) result = viv_store__waits_new(store, store->backend, &store->waits);
    if (result == VIV_OK && store->backend->tier < opts->tier)
        result = viv_diag_set(err == NULL ? NULL : &err->d, VIV_STORE_TIER,
                              "the store cannot keep what was asked for");
    if (result != VIV_OK) {
        viv_store_close(store);
        return result;
    }
    *out_store = store;
    return VIV_OK;
}

void viv_store_close(VIV_OWN struct viv_store *store)
{
    if (store == NULL) return;
    viv_store__waits_close(store->waits); // which still reads
    VIV_ASSERT(store->first == NULL && !store->writer.is_busy);
    if (store->writer.db != NULL) store->writer.db->ops->close(store->writer.db);
    for (size_t i = 0; i < READERS_MAX; i++)
        if (store->readers[i].db != NULL) store->readers[i].db->ops->close(store->readers[i].db);
    if (store->backend != NULL) store->backend->ops->close(store->backend);
    viv_store__cache_free(store->cache);
    viv_store__core_free(store->core);
    viv_free(store, sizeof *store, VIV_TAG_STORE);
}
