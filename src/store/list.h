// SPDX-License-Identifier: Apache-2.0
// Operations on many processes: lists, the feeds of changes and events, retention, and what starts
// or ends several things at once. Rules of calls: store/store.h.
#ifndef VIV_STORE_LIST_H
#define VIV_STORE_LIST_H

#include "store/store.h"

// "queued", "completed", …; "running", "completed", …; "rerunnable", …
const char *viv_phase_name(enum viv_phase phase);
const char *viv_dstate_name(enum viv_dstate state);
const char *viv_disposition_name(enum viv_disposition disposition);

// ---- start, append_many (2.1, 2.3) ----

struct viv_start_grant {
    struct viv_scope scope;
    struct viv_str descriptor; // JSON
};
struct viv_start_lease {
    struct viv_owner owner;
    int64_t ttl_ms;
    uint32_t flags; // VIV_CLAIM_BEGIN
};
struct viv_start {
    struct viv_str registration;
    const struct viv_start_grant *grants;
    size_t grant_count;                  // at most 10,000
    const struct viv_start_lease *lease; // NULL: none
    const struct viv_append *events;
    size_t event_count; // at most 10,000
};
struct viv_started {
    struct viv_record record;
    bool is_created;
    bool has_lease; // wanted, and of a process that was there before: if it could be claimed
    struct viv_lease lease;
};
// All of it or nothing. For a process that is there, grants are replaced and events are replayed by
// their keys. Errors: as register, grant, claim and append; STORE_KEY_REQUIRED: an event without a
// key for a process that is there.
enum viv_err viv_store_start(struct viv_store *store, const struct viv_start *start,
                             struct viv_mem *mem, struct viv_started *started,
                             struct viv_store_diag *err) VIV_MUST_CHECK;

struct viv_append_to {
    struct viv_str id;
    struct viv_append append;
};
struct viv_appended {
    struct viv_event event;
    struct viv_wake wake; // wake_id.n == 0: none
    bool is_replayed;
};
// In their order, all or none. items: as many as appends (at most 10,000). Errors: as append, of
// the first that fails.
enum viv_err viv_store_append_many(struct viv_store *store, const struct viv_append_to *appends,
                                   size_t count, struct viv_mem *mem, struct viv_appended **items,
                                   struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- lists (2.1) ----

// filter: JSON, n == 0 or {}: all. {"status":[S…],"phase":P,"waiting":bool,"disposition":D,
// "kind":K,"label":L,"owner_session":S,"scope_id":S,"module":"sha256:…","queue":Q,
// "caused_by":{"type":T,"id":I},"created_from_ms":N,"created_to_ms":N,"cancel_requested":bool};
// scope_id: of the owner's scope; created_to_ms: not this one and later.
struct viv_list_query {
    struct viv_str filter;
    struct viv_str after; // id
    uint64_t limit;       // at most 10,000
    uint64_t bytes;       // 0: 4 MiB; one record is always returned
};
struct viv_records {
    struct viv_record *items;
    size_t count;
    struct viv_str next; // the id to go on after, even if there are no items; n == 0: that was all
};
// By id. Errors: INVAL (also a key that no filter has), STORE_JSON, TOOBIG.
enum viv_err viv_store_list(struct viv_store *store, const struct viv_list_query *query,
                            struct viv_mem *mem, struct viv_records *out_records,
                            struct viv_store_diag *err) VIV_MUST_CHECK;
// Of processes that have not ended; the others cost nothing. No filter. Errors: INVAL (filter).
enum viv_err viv_store_list_nonterminal(struct viv_store *store, const struct viv_list_query *query,
                                        struct viv_mem *mem, struct viv_records *out_records,
                                        struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_ids {
    struct viv_str *items;
    size_t count;
};
// Those that are not there, each once, in their order; at most 10,000.
enum viv_err viv_store_unregistered(struct viv_store *store, const struct viv_str *ids,
                                    size_t count, struct viv_mem *mem, struct viv_ids *out_ids,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_ref {
    struct viv_str hash; // of a blob
    uint64_t count;      // processes that have not ended and run it
};
struct viv_refs {
    struct viv_ref *items;
    size_t count;
    struct viv_str next; // the hash to go on after; n == 0: these are all
};
// By hash.
enum viv_err viv_store_refs_summary(struct viv_store *store, struct viv_str after, uint64_t limit,
                                    struct viv_mem *mem, struct viv_refs *out_refs,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_store_stats {
    uint64_t by_state[5];  // enum viv_dstate
    int64_t oldest_due_ms; // of those that wait for a run; -1: none
    uint64_t outbox;       // wakes that nobody has acknowledged
    uint64_t log_bytes;    // payloads
    uint64_t blobs, blob_bytes;
    uint64_t tombstones;
    enum viv_tier tier;
    int64_t schema;
};
enum viv_err viv_store_stats(struct viv_store *store, struct viv_store_stats *out_stats,
                             struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- feeds (2.4, 2.9) ----

// Where a feed is read on; zero: from the start. As text: c1. and 48 hexadecimal digits.
#define VIV_CURSOR_BYTES 24
#define VIV_CURSOR_CHARS (3 + 2 * VIV_CURSOR_BYTES + 1)
struct viv_cursor {
    uint8_t b[VIV_CURSOR_BYTES];
};
void viv_cursor_format(const struct viv_cursor *cursor, char out[VIV_CURSOR_CHARS]);
// Errors: INVAL.
enum viv_err viv_cursor_parse(struct viv_str text, struct viv_cursor *out_cursor) VIV_MUST_CHECK;

struct viv_change {
    bool is_pruned; // record then has id and birth
    struct viv_record record;
};
struct viv_changes {
    struct viv_change *items;
    size_t count;
    struct viv_cursor next;
};
struct viv_feed_query {
    struct viv_cursor after;
    uint64_t limit; // at most 10,000
    uint64_t bytes; // 0: 4 MiB; one entry is always returned
};
// Processes that changed since, each at its latest change, and those that were pruned. Errors:
// STORE_CURSOR (of another store, or older than what is kept of pruned ones: start again).
enum viv_err viv_store_changes(struct viv_store *store, const struct viv_feed_query *query,
                               struct viv_mem *mem, struct viv_changes *out_changes,
                               struct viv_store_diag *err) VIV_MUST_CHECK;
struct viv_feed {
    struct viv_event *items;
    size_t count;
    struct viv_cursor next; // of this feed only
};
// All events of the store, those of one process in their order. Errors: UNSUPPORTED (the option
// event_feed is off), STORE_CURSOR.
enum viv_err viv_store_events_feed(struct viv_store *store, const struct viv_feed_query *query,
                                   struct viv_mem *mem, struct viv_feed *out_feed,
                                   struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- retention (2.6, 2.8, 2.9) ----

#define VIV_PRUNE_DRY 1u // count only; limit does not matter
struct viv_prune {
    int64_t cutoff_ms;              // ended, and changed last before it
    struct viv_str filter;          // as of list
    const struct viv_cursor *up_to; // NULL: whatever was read of the changes
    uint64_t limit;                 // at most 1,000
    uint32_t flags;
};
struct viv_pruned {
    uint64_t processes, events, grants, acks, promises, checkpoints;
    bool has_more;
};
// Deletes processes that have ended and all that hangs on them but wakes that are not acknowledged.
// Their tombstones stay for 7 days. Errors: as list; STORE_CURSOR.
enum viv_err viv_store_prune(struct viv_store *store, const struct viv_prune *prune,
                             struct viv_pruned *out_pruned,
                             struct viv_store_diag *err) VIV_MUST_CHECK;

#define VIV_SCOPE_CANCEL_ORPHANS 1u
#define VIV_SCOPE_DROP_WAKES 2u
struct viv_scope_report {
    uint64_t revoked_grant_count, deleted_wake_count;
    struct viv_ids orphaned, preserved; // sorted; of processes that have not ended
};
// Takes all grants of a session back, of all its frames, and clears wake targets that are it.
enum viv_err viv_store_scope_delete(struct viv_store *store, struct viv_str session, uint32_t flags,
                                    struct viv_mem *mem, struct viv_scope_report *out_report,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;

struct viv_blobs_gone {
    uint64_t count, bytes;
};
// Deletes blobs that no process refers to and nobody put again for grace_ms (below 0: 24 h).
enum viv_err viv_store_blob_gc(struct viv_store *store, int64_t grace_ms,
                               struct viv_blobs_gone *out_gone,
                               struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
