// SPDX-License-Identifier: Apache-2.0
// What a process holds, for people and tools: its handles by number, kind, rights, bytes. Nothing
// is stopped for it: handles that are opened and closed meanwhile may be missing or shown.
#ifndef VIV_CAP_INFO_H
#define VIV_CAP_INFO_H

#include "cap/htab.h"

struct viv_handle_info {
    viv_handle hdl;
    viv_kind kind;
    const char *kind_name;
    viv_rights rights;
    viv_rid rid, owner; // owner none: the runtime, or it has ended
    uint8_t phase;      // enum viv_res_phase
    bool is_revoked, is_derived;
    uint32_t grant_depth; // grants between it and the resource
    uint64_t charge_bytes, age_s;
    char label[VIV_RES_LABEL_MAX + 1];
};

// Up to n handles of the process from *cursor on (0 to begin), in the order of their indices; 0
// when through, and for a process that holds nothing. Thread: any with a member, in a read section.
// Errors: NOTFOUND, KIND.
enum viv_err viv_res_handles(struct viv_reg *reg, viv_rid proc, uint32_t *cursor,
                             struct viv_handle_info *out, uint32_t n,
                             uint32_t *out_count) VIV_MUST_CHECK;

struct viv_kind_info {
    viv_kind kind;
    const char *kind_name;
    uint64_t count, charge_bytes;
};
// What the process owns, by kind; only kinds that there are, in order of their numbers. Cost:
// linear in what it owns. Errors: NOTFOUND.
enum viv_err viv_res_owned_kinds(struct viv_reg *reg, viv_rid proc, struct viv_kind_info *out,
                                 uint32_t n, uint32_t *out_count) VIV_MUST_CHECK;

struct viv_usage_info {
    const char *name;           // of the limit
    uint64_t used, peak, limit; // VIV_UNLIMITED: none; peak 0: not kept
};
// What the account of a process or an environment has been charged, a row a counter; *out_count 0:
// it has none of its own, and the one above pays. Errors: NOTFOUND.
enum viv_err viv_res_usage(struct viv_reg *reg, viv_rid rid,
                           struct viv_usage_info out[VIV_COUNTERS],
                           uint32_t *out_count) VIV_MUST_CHECK;

struct viv_futures_info {
    bool is_open;           // it may have futures
    uint32_t waiting_count; // of those whose tasks are to be told
    uint32_t ring_capacity; // of its wake ring; 0: none
    uint32_t parked_count;  // operations that wait
};
struct viv_future_info {
    viv_handle hdl; // its number; apart from those of handles
    const char *op; // name of the operation in gen/guestops.tab; "host": none of it
    uint64_t age_s;
};
// Up to n futures of the process that have no result yet, else as viv_res_handles.
enum viv_err viv_res_pending(struct viv_reg *reg, viv_rid proc, uint32_t *cursor,
                             struct viv_future_info *out, uint32_t n,
                             uint32_t *out_count) VIV_MUST_CHECK;
// Errors: NOTFOUND, KIND.
enum viv_err viv_res_futures(struct viv_reg *reg, viv_rid proc,
                             struct viv_futures_info *out) VIV_MUST_CHECK;

#endif
