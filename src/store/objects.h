// SPDX-License-Identifier: Apache-2.0
// What hangs on a durable process: grants, wakes, steps, checkpoints, promises; and blobs. Rules of
// calls: store/store.h.
#ifndef VIV_STORE_OBJECTS_H
#define VIV_STORE_OBJECTS_H

#include "store/store.h"

// ---- grants (2.6) ----

struct viv_grant {
    struct viv_scope scope;
    struct viv_str scope_id, descriptor; // descriptor: JSON
    struct viv_record record;
};
struct viv_grants {
    struct viv_grant *items;
    size_t count;
    struct viv_str next; // the id to go on after; n == 0: these are all
};
// {"kind":…,"label":…,"rights":[…]}; replaces one that is there. rights: of read, await, signal,
// cancel, grant; when left out, all but grant. Errors: NOTFOUND, INVAL.
enum viv_err viv_store_grant(struct viv_store *store, const struct viv_scope *scope,
                             struct viv_str id, struct viv_str descriptor,
                             struct viv_store_diag *err) VIV_MUST_CHECK;
enum viv_err viv_store_revoke(struct viv_store *store, const struct viv_scope *scope,
                              struct viv_str id, struct viv_store_diag *err) VIV_MUST_CHECK;
// All or none. Errors: STORE_NOT_GRANTED (the first that `from` has not), TOOBIG.
enum viv_err viv_store_transfer(struct viv_store *store, const struct viv_scope *from,
                                const struct viv_scope *to, const struct viv_str *ids, size_t count,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
// rights: JSON list, empty when there is no grant.
enum viv_err viv_store_has_grant(struct viv_store *store, const struct viv_scope *scope,
                                 struct viv_str id, struct viv_mem *mem, bool *has,
                                 struct viv_str *rights, struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_grants_query {
    bool is_live_only;
    struct viv_str after; // id
    uint64_t limit;       // at most 10,000
    uint64_t bytes;       // 0: 4 MiB; one item is always returned
};
// By id.
enum viv_err viv_store_grants_of_scope(struct viv_store *store, const struct viv_scope *scope,
                                       const struct viv_grants_query *query, struct viv_mem *mem,
                                       struct viv_grants *out_grants,
                                       struct viv_store_diag *err) VIV_MUST_CHECK;
// By session, then scope; without records. Errors: NOTFOUND.
enum viv_err viv_store_grants_of_process(struct viv_store *store, struct viv_str id,
                                         struct viv_mem *mem, struct viv_grants *out_grants,
                                         struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- wakes (2.4, 2.8) ----

// Events with a wake that nobody has acknowledged, after a sequence. Errors: NOTFOUND.
enum viv_err viv_store_wake_events_after(struct viv_store *store, struct viv_str id,
                                         const struct viv_events_query *query, struct viv_mem *mem,
                                         struct viv_events *out_events,
                                         struct viv_store_diag *err) VIV_MUST_CHECK;
// The wake of one event; again: no effect. Errors: NOTFOUND, INVAL (no such sequence).
enum viv_err viv_store_ack_wake(struct viv_store *store, struct viv_str id, uint64_t sequence,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_wakes {
    struct viv_wake *items;
    size_t count;
};
struct viv_wakes_query {
    const struct viv_scope *scope; // NULL: of all
    uint64_t limit;                // at most 10,000
    uint64_t bytes;                // 0: 4 MiB; one wake is always returned
    int64_t visible_for_ms;        // then they can be taken again
};
// What is pending, or was taken and not acknowledged in time; by creation.
enum viv_err viv_store_wakes_take(struct viv_store *store, const struct viv_wakes_query *query,
                                  struct viv_mem *mem, struct viv_wakes *out_wakes,
                                  struct viv_store_diag *err) VIV_MUST_CHECK;
// Acknowledges it, and every event with it; again, or with a token of an earlier take: the same.
// Errors: NOTFOUND.
enum viv_err viv_store_wakes_ack(struct viv_store *store, struct viv_str wake_id,
                                 struct viv_str take_token,
                                 struct viv_store_diag *err) VIV_MUST_CHECK;
// Visible again after a delay; with a stale token: no effect. Errors: NOTFOUND.
enum viv_err viv_store_wakes_return(struct viv_store *store, struct viv_str wake_id,
                                    struct viv_str take_token, int64_t delay_ms,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- what a run keeps (2.8) ----

// The recorded value of a step: what a rerun does not do again. Errors: as append; STORE_FENCED
// (also without a fence), STORE_KEY_CONFLICT (another value is recorded).
enum viv_err viv_store_step_end(struct viv_store *store, struct viv_str id, struct viv_str key,
                                struct viv_str value, const struct viv_fence *fence,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
// value: JSON. Errors: NOTFOUND (of the process, or of the step).
enum viv_err viv_store_step_get(struct viv_store *store, struct viv_str id, struct viv_str key,
                                struct viv_mem *mem, struct viv_str *value,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
#define VIV_CHECKPOINT_NEWEST UINT64_MAX
// At most 4 MiB; the newest two are kept. Errors: STORE_FENCED, STORE_KEY_CONFLICT (other bytes),
// INVAL (an ordinal below the newest), TOOBIG.
enum viv_err viv_store_checkpoint_put(struct viv_store *store, struct viv_str id, uint64_t ordinal,
                                      struct viv_str bytes, const struct viv_fence *fence,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_checkpoint {
    uint64_t ordinal;
    struct viv_str bytes;
};
// Errors: NOTFOUND.
enum viv_err viv_store_checkpoint_get(struct viv_store *store, struct viv_str id, uint64_t ordinal,
                                      struct viv_mem *mem, struct viv_checkpoint *checkpoint,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;
// At most 64 MiB. hash: SHA-256, lower-case hexadecimal.
enum viv_err viv_store_blob_put(struct viv_store *store, struct viv_str bytes, struct viv_mem *mem,
                                struct viv_str *hash, struct viv_store_diag *err) VIV_MUST_CHECK;
// Errors: NOTFOUND, STORE_CORRUPT (the bytes have another hash).
enum viv_err viv_store_blob_get(struct viv_store *store, struct viv_str hash, struct viv_mem *mem,
                                struct viv_str *bytes, struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- promises (2.8) ----

// One that is settled comes back as it is. due_ms: when it is settled as timeout; -1: never.
// Errors: NOTFOUND, STORE_KEY_CONFLICT (another due), STORE_TERMINAL, _FENCED, _FENCE_REQUIRED;
// QUOTA.
struct viv_promise_spec {
    struct viv_str key;
    int64_t due_ms;
    const struct viv_fence *fence; // NULL: none
};
enum viv_err viv_store_promise_create(struct viv_store *store, struct viv_str id,
                                      const struct viv_promise_spec *spec, struct viv_mem *mem,
                                      struct viv_promise *promise,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;
// Who settles it: by its token (p != NULL), or by process and key.
struct viv_promise_ref {
    struct viv_str token, id, key;
};
// {"type":"value|error|timeout|cancelled|process_ended","value":…}. The first one stays; won says
// whether it was this. Errors: NOTFOUND (also an altered token), INVAL.
enum viv_err viv_store_promise_settle(struct viv_store *store, const struct viv_promise_ref *ref,
                                      struct viv_str outcome, struct viv_mem *mem,
                                      struct viv_promise *promise, bool *won,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;
// One that is due is settled by the look. Errors: NOTFOUND.
enum viv_err viv_store_promise_get(struct viv_store *store, struct viv_str id, struct viv_str key,
                                   struct viv_mem *mem, struct viv_promise *promise,
                                   struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
