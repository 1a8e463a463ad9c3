// SPDX-License-Identifier: Apache-2.0
// What a store takes and gives (durable.md 3.1): see store/store.h.
#ifndef VIV_STORE_TYPES_H
#define VIV_STORE_TYPES_H

#include "base/err.h"
#include "base/mem.h"

struct viv_str {
    const char *p; // may be NULL when n is 0
    size_t n;      // bytes
};

struct viv_scope {
    struct viv_str session, frame; // frame.n == 0: none
};

enum viv_tier { VIV_TIER_INLINE, VIV_TIER_PROCESS, VIV_TIER_DURABLE, VIV_TIER_REPLICATED };
enum viv_dstate { VIV_RUNNING, VIV_COMPLETED, VIV_FAILED, VIV_CANCELLED, VIV_ABANDONED };
// What a process is at, of what is true the first (durable.md 1.2); the first five as in
// enum viv_dstate, but for the process that is running: see below.
enum viv_phase {
    VIV_PHASE_QUEUED,
    VIV_PHASE_COMPLETED,
    VIV_PHASE_FAILED,
    VIV_PHASE_CANCELLED,
    VIV_PHASE_ABANDONED,
    VIV_PHASE_CANCELLING, // asked to end
    VIV_PHASE_WAITING,    // says that it waits
    VIV_PHASE_RUNNING,    // has a live lease
    VIV_PHASE_BACKOFF,    // was tried, and is due again later
    VIV_PHASE_SCHEDULED,  // due later
    VIV_PHASE_COUNT
};
enum viv_disposition { VIV_RERUNNABLE = 1, VIV_OWNER_BOUND, VIV_EXTERNAL };

struct viv_liveness {
    bool is_os_process; // else opaque
    char boot_id[37];
    uint64_t pidns, start;
    int32_t pid;
};

struct viv_owner {
    struct viv_str owner_id, incarnation; // incarnation.n == 0: none
    struct viv_liveness liveness;
};

struct viv_fence {
    char token[33];
    uint64_t fence;
};

struct viv_lease {
    struct viv_str id;
    uint64_t birth;
    struct viv_owner owner;
    struct viv_fence f;
    uint32_t attempt;
    int64_t claimed_ms, expires_ms, ttl_ms; // of the lease clock
    struct viv_str guard; // JSON: by what programs of this attempt, or of one before, are found
};

struct viv_record {
    struct viv_str id, registration, hash, kind, label;
    uint64_t birth, last_seq;
    enum viv_disposition disposition;
    enum viv_dstate state;
    enum viv_phase phase; // as it was when the record was read
    int64_t created_ms, updated_ms, due_ms;
    uint32_t attempt, charged;
    struct viv_scope wake_target;
    // JSON, or empty
    struct viv_str await_output, external_ref, first_started, abandon_request, cancel_request, wait;
};

struct viv_event {
    struct viv_str id, type, payload, key, semantics, wake_id;
    uint64_t seq;
    int64_t at_ms;
};

struct viv_wake {
    struct viv_str wake_id, scope_id, id, type, dedupe_key, input, body, take_token;
    uint64_t seq;
    int64_t created_ms;
    uint32_t deliveries;
};

struct viv_append {
    struct viv_str type, payload, key, authority; // key.n == 0: none; authority: JSON, n == 0: none
    const struct viv_scope *wake_target;          // NULL: the row's
    const struct viv_fence *fence;                // NULL: none
};

struct viv_promise {
    struct viv_str id, key, outcome; // outcome: JSON; n == 0: pending
    char token[33];
    int64_t due_ms; // -1: none
};

#endif
