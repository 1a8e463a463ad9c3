// SPDX-License-Identifier: Apache-2.0
// Durable processes: the store that they are kept in (durable.md).
//
// A store is one environment's registry of durable processes: registrations, events, leases,
// grants, wakes. It executes nothing. A function blocks (for a disk, a server) and may be called by
// any thread but a scheduler worker. It returns VIV_OK, or a code and has changed nothing; err,
// which may be NULL, then says what was wrong. Inputs are borrowed for the call. Outputs lie in
// mem, the caller's arena, until it is reset; they are written only on success, and each may be
// NULL.
//
// Texts are UTF-8 and not terminated. JSON is RFC 8259, and canonical when it comes back. Times are
// milliseconds since the epoch.
#ifndef VIV_STORE_STORE_H
#define VIV_STORE_STORE_H

#include "store/types.h"

struct viv_store;

struct viv_store_diag {
    struct viv_diag d;
    bool retryable;
};

// Clocks of tests; NULL functions: the host's.
struct viv_store_clock {
    int64_t (*wall_ms)(void *arg);
    int64_t (*lease_ms)(void *arg);
    void *arg;
};

struct viv_store_opts {
    enum viv_tier tier;     // at least
    int64_t op_timeout_ms;  // 0: 15 s
    uint64_t max_payload;   // bytes; 0: 256 KiB
    uint64_t max_events;    // of one process; 0: 1,000,000
    uint64_t max_log_bytes; // of one process; 0: 1 GiB
    bool create;            // make it when it is not there
    bool event_feed;        // viv_store_events_feed works
    // Of a server behind a pooler, which passes no notifications on: a url that leads to it
    // straight; for one connection. n == 0: the store's own.
    struct viv_str listen_url;
    const struct viv_store_clock *clock;
};

// "memory:[NAME]": in this OS process, for tests; stores of one name are one. "sqlite:PATH".
// Errors: INVAL (url), NOTFOUND (not there, and create is off), STORE_TIER, STORE_CORRUPT,
// STORE_NEWER, IO, EXHAUSTED.
enum viv_err viv_store_open(struct viv_str url, const struct viv_store_opts *opts,
                            struct viv_store **out_store,
                            struct viv_store_diag *err) VIV_MUST_CHECK;
// No call may be running, and none may come.
void viv_store_close(VIV_OWN struct viv_store *store);
enum viv_tier viv_store_tier(const struct viv_store *store); // what it keeps, as found at opening

// The device failed, or the file was moved or replaced: every call is IO until the store is closed
// and opened again. A store that is only damaged can be read.
bool viv_store_has_failed(const struct viv_store *store);

// ---- registration and reading (2.1) ----

// Errors: TOOBIG, STORE_UTF8, STORE_JSON, INVAL; STORE_REGISTRATION: the id has another.
enum viv_err viv_store_register(struct viv_store *store, struct viv_str registration,
                                struct viv_mem *mem, struct viv_record *record, bool *created,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
// Errors: NOTFOUND.
enum viv_err viv_store_get(struct viv_store *store, struct viv_str id, struct viv_mem *mem,
                           struct viv_record *record, struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- events (2.3, 2.4) ----

// Errors: NOTFOUND, STORE_KEY_CONFLICT, _UNDECLARED, _KEY_REQUIRED, _SCHEMA, _SELECTOR, _OUTPUT,
// _TERMINAL, _AUTHORITY, _FENCED, _FENCE_REQUIRED, _NO_TARGET; QUOTA; TOOBIG, STORE_UTF8,
// STORE_JSON, INVAL.
enum viv_err viv_store_append(struct viv_store *store, struct viv_str id,
                              const struct viv_append *append, struct viv_mem *mem,
                              struct viv_event *event, struct viv_wake *wake, bool *replayed,
                              struct viv_store_diag *err) VIV_MUST_CHECK;

struct viv_events_query {
    uint64_t after;      // sequence
    struct viv_str type; // n == 0: all
    uint64_t limit;      // at most 10,000
    uint64_t bytes;      // 0: 4 MiB; one event is always returned
};
struct viv_events {
    struct viv_event *items;
    size_t count;
    uint64_t next; // the sequence to go on after
    bool is_ended; // the process has ended and there are no more
};
enum viv_err viv_store_events_after(struct viv_store *store, struct viv_str id,
                                    const struct viv_events_query *query, struct viv_mem *mem,
                                    struct viv_events *out_events,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;
enum viv_err viv_store_events_recent(struct viv_store *store, struct viv_str id, uint64_t count,
                                     struct viv_mem *mem, struct viv_events *out_events,
                                     struct viv_store_diag *err) VIV_MUST_CHECK;
// Events of a type with a sequence up to `through`.
enum viv_err viv_store_count_through(struct viv_store *store, struct viv_str id,
                                     struct viv_str type, uint64_t through, uint64_t *out_count,
                                     struct viv_store_diag *err) VIV_MUST_CHECK;
enum viv_err viv_store_event_by_key(struct viv_store *store, struct viv_str id, struct viv_str key,
                                    struct viv_mem *mem, struct viv_event *event,
                                    struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- ending (2.5) ----

#define VIV_COMPLETE_FORCE 1u
struct viv_complete {
    struct viv_str output, authority; // JSON
    const struct viv_fence *fence;    // NULL: none
    uint32_t flags;
};
// Errors: as append; STORE_LEASED (authority host, a live lease, no FORCE).
enum viv_err viv_store_complete(struct viv_store *store, struct viv_str id,
                                const struct viv_complete *complete, struct viv_mem *mem,
                                struct viv_record *record,
                                struct viv_store_diag *err) VIV_MUST_CHECK;

// ---- facts on the row (2.2) ----

// Write-once: {"backend":…,"id":…,"metadata":…}. Also of an ended process. Errors: NOTFOUND,
// STORE_EXTERNAL_REF (another is recorded), STORE_FENCED, _FENCE_REQUIRED.
enum viv_err viv_store_set_external_ref(struct viv_store *store, struct viv_str id,
                                        struct viv_str ref, const struct viv_fence *fence,
                                        struct viv_mem *mem, struct viv_record *record,
                                        struct viv_store_diag *err) VIV_MUST_CHECK;
// {"owner":{"owner_id":…},"at_ms":…}; the first one stays. Errors: as above, STORE_TERMINAL.
enum viv_err viv_store_record_first_started(struct viv_store *store, struct viv_str id,
                                            struct viv_str started, const struct viv_fence *fence,
                                            struct viv_mem *mem, struct viv_record *record,
                                            struct viv_store_diag *err) VIV_MUST_CHECK;
// {"by":…,"at_ms":…,"reason":…}; the first one stays, and ends nothing. Errors: NOTFOUND,
// STORE_TERMINAL.
enum viv_err viv_store_request_abandon(struct viv_store *store, struct viv_str id,
                                       struct viv_str request, struct viv_mem *mem,
                                       struct viv_record *record,
                                       struct viv_store_diag *err) VIV_MUST_CHECK;
// {"kind":…,"name":…,"key":…,"ordinal":…,"since_ms":…}, for who looks; n == 0 clears it. Errors:
// NOTFOUND, STORE_TERMINAL (to set), STORE_FENCED, _FENCE_REQUIRED.
enum viv_err viv_store_set_wait(struct viv_store *store, struct viv_str id, struct viv_str wait,
                                const struct viv_fence *fence, struct viv_mem *mem,
                                struct viv_record *record,
                                struct viv_store_diag *err) VIV_MUST_CHECK;
#define VIV_CANCEL_NOW 1u // and end it, if nobody has a live lease
struct viv_cancel {
    struct viv_str reason, by; // p == NULL: none
    uint32_t flags;
};
// Asks for the end: an event; the same reason again is the same request. Errors: NOTFOUND,
// STORE_TERMINAL (but not again), TOOBIG, STORE_UTF8.
enum viv_err viv_store_request_cancel(struct viv_store *store, struct viv_str id,
                                      const struct viv_cancel *cancel, struct viv_mem *mem,
                                      struct viv_record *record, uint64_t *sequence,
                                      struct viv_store_diag *err) VIV_MUST_CHECK;

#endif
