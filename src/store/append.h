// SPDX-License-Identifier: Apache-2.0
// Appending one event (durable.md 2.3): the checks in their order, and what is written. Used by
// every operation that leaves an event.
#ifndef VIV_STORE_APPEND_H
#define VIV_STORE_APPEND_H

#include "store/row.h"

// An authority to end a process (2.5), read from its JSON.
enum viv_authority_kind {
    VIV_AUTH_NONE,
    VIV_AUTH_LEASE,
    VIV_AUTH_ENGINE_KEY,
    VIV_AUTH_EXTERNAL_OWNER,
    VIV_AUTH_RECONCILED_ABANDON,
    VIV_AUTH_HOST
};

struct viv_store__event {
    // What is asked for:
    struct viv_str type, key; // key.p NULL: none
    json_t *payload;          // borrowed
    json_t *authority;        // borrowed; NULL: none
    const struct viv_scope *wake_target;
    const struct viv_fence *fence;
    bool is_forced;           // authority host may end a process that is leased
    bool needs_fence;         // without one: FENCED
    bool is_core_call;        // may use types and keys of the core
    struct viv_db_rows keyed; // what the key holds, received; count 0: nothing
    // What came of it:
    struct viv_event event;
    struct viv_wake wake; // wake_id.n == 0: none
    bool is_replayed, has_new_state;
};

// Checks what can be checked without a store: type, authority, key. Errors: INVAL, TOOBIG,
// STORE_UTF8.
enum viv_err viv_store__event_check(const struct viv_store__event *event,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
// Errors: INVAL, EXHAUSTED.
enum viv_err viv_store__authority_read(json_t *authority, enum viv_authority_kind *out_kind,
                                       struct viv_diag *diag) VIV_MUST_CHECK;

// Sends for what the key holds; only for an event with a key.
enum viv_err viv_store__event_ask(struct viv_store__txn *txn, struct viv_str id,
                                  struct viv_str key) VIV_MUST_CHECK;
// The row is changed in memory and still to be put: whole when has_new_state, else its log. Results
// lie in mem.
enum viv_err viv_store__event_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                     struct viv_store__event *event, struct viv_mem *mem,
                                     struct viv_diag *diag) VIV_MUST_CHECK;

// A request to cancel, as an event (2.2); made before the transaction. It is where it was made: the
// event points at the key.
struct viv_store__cancel {
    char key[11 + VIV_CJSON_HASH_CHARS];
    struct viv_store__event event;
};
// Errors: TOOBIG, EXHAUSTED.
enum viv_err viv_store__cancel_make(const struct viv_cancel *cancel,
                                    struct viv_store__cancel *out_cancel,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
void viv_store__cancel_end(struct viv_store__cancel *cancel);
// As event_append; the row is to be put whole, unless it is a replay.
enum viv_err viv_store__cancel_append(struct viv_store__txn *txn, struct viv_store__row *row,
                                      struct viv_store__cancel *cancel, struct viv_mem *mem,
                                      struct viv_diag *diag) VIV_MUST_CHECK;

// An event of the core, without checks: it is appended, not replayed.
enum viv_err viv_store__event_note(struct viv_store__txn *txn, struct viv_store__row *row,
                                   const char *type, const char *key, json_t *payload,
                                   struct viv_mem *mem) VIV_MUST_CHECK;
// What a row of event holds: the columns of VIV_EVENT_LIST. Errors: EXHAUSTED.
enum viv_err viv_store__event_read(const struct viv_db_value *col, struct viv_str id,
                                   struct viv_mem *mem, struct viv_event *out_event) VIV_MUST_CHECK;
static inline uint64_t viv_store__event_bytes(const struct viv_event *event) // for a page
{
    return sizeof *event + event->id.n + event->type.n + event->payload.n + event->key.n +
           event->semantics.n + event->wake_id.n;
}
// The fence against the lease (1.9). Errors: STORE_FENCED, STORE_FENCE_REQUIRED.
enum viv_err viv_store__fence_check(struct viv_store__txn *txn, const struct viv_store__row *row,
                                    const struct viv_fence *fence,
                                    struct viv_diag *diag) VIV_MUST_CHECK;
void viv_store__lease_clear(struct viv_store__row *row); // keeps the fence
// Its place among the changes and its time. Errors: of the back end.
enum viv_err viv_store__row_touch(struct viv_store__txn *txn,
                                  struct viv_store__row *row) VIV_MUST_CHECK;

#endif
