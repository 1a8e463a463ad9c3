// SPDX-License-Identifier: Apache-2.0
// Capability sets. A `struct viv_caps` is under construction: one owner, changed in place. A
// `struct viv_capset` is what a session holds: immutable, counted, one block, read from any thread.
//
//   class is absent            in no mask
//   none: admits nothing       in `none`
//   some: a list of patterns   in `listed`
//   any                        in `any`; also in `listed` when patterns of it have further flags
#ifndef VIV_CAP_CAPSET_H
#define VIV_CAP_CAPSET_H

#include "base/qsbr.h"
#include "cap/scope.h"

#define VIV_CAP_PATTERNS_MAX 4096 // of a set: two sets are compared in a tenth of a second

struct viv_caps {
    uint64_t held;           // the classes that are there
    uint64_t any;            // without a limit
    uint64_t any_grantable;  // whose any may be passed on
    uint64_t any_unenforced; // whose any was marked so
    uint32_t pattern_count;
    struct viv_cap_scope scopes[VIV_CAP_COUNT];
};
enum viv_err viv_caps_new(struct viv_caps **out_caps) VIV_MUST_CHECK; // Errors: EXHAUSTED
void viv_caps_free(VIV_OWN struct viv_caps *caps);                    // NULL is allowed
enum viv_err viv_caps_clone(const struct viv_caps *caps, struct viv_caps **out_caps) VIV_MUST_CHECK;
// The class with *any*. What its patterns allow under other flags stays known.
void viv_caps_allow_any(struct viv_caps *caps, enum viv_cap cap, uint8_t flags);
// The class with *none*, unless it is there already.
void viv_caps_allow_none(struct viv_caps *caps, enum viv_cap cap);
// One pattern more, from text or as it is. Never less than before. Errors: those of
// viv_scope_parse, INVAL (the class does not take this type), EXHAUSTED, QUOTA (too many patterns).
enum viv_err viv_caps_allow_text(struct viv_caps *caps, const struct viv_pattern_text *source,
                                 struct viv_diag *diag, size_t *out_at) VIV_MUST_CHECK;
enum viv_err viv_caps_allow(struct viv_caps *caps, enum viv_cap cap,
                            const struct viv_pattern *pattern) VIV_MUST_CHECK;
// The same under other flags than its own.
enum viv_err viv_caps_allow_flagged(struct viv_caps *caps, enum viv_cap cap,
                                    const struct viv_pattern *pattern,
                                    uint8_t flags) VIV_MUST_CHECK;
void viv_caps_remove(struct viv_caps *caps, enum viv_cap cap);

struct viv_capset { // immutable but for the count
    uint64_t any;   // first: the class gate reads it and seldom more
    uint64_t listed, none;
    uint64_t grantable; // something of the class may be passed on
    uint64_t any_grantable, any_unenforced;
    _Atomic uint32_t ref_count;
    uint32_t size_bytes;
    _Atomic bool is_published;    // readers that hold no count may see it
    struct viv_qsbr_item retired; // after the last drop
    uint32_t starts[];            // of the listed classes, in their order, and the end; in bytes
};
enum viv_err viv_capset_new(const struct viv_caps *caps,
                            struct viv_capset **out_set) VIV_MUST_CHECK; // Errors: EXHAUSTED
struct viv_capset *viv_capset_take(struct viv_capset *set);              // Thread: any
void viv_capset_drop(VIV_OWN struct viv_capset *set);                    // Thread: any; NULL too
// From now on it may be read in read sections without a count: after the last drop it stays for a
// grace period.
void viv_capset_publish(struct viv_capset *set); // Thread: any
// A copy that can be changed. Errors: EXHAUSTED.
enum viv_err viv_capset_thaw(const struct viv_capset *set,
                             struct viv_caps **out_caps) VIV_MUST_CHECK;

static inline uint64_t viv_capset_held(const struct viv_capset *set)
{
    return set->any | set->listed | set->none;
}
// Empty for a class without patterns.
struct viv_patterns viv_capset_patterns(const struct viv_capset *set, enum viv_cap cap);

enum viv_err viv_capset__check_listed(const struct viv_capset *set, enum viv_cap cap,
                                      const struct viv_cap_query *query);
// The class gate. Errors: DENIED; UNSUPPORTED (no such class). Thread: any. Cost: 2 ns for *any*,
// a comparison a pattern else.
static inline enum viv_err viv_capset_check(const struct viv_capset *set, enum viv_cap cap,
                                            const struct viv_cap_query *query)
{
    if (VIV_LIKELY((unsigned)cap < 64 && (set->any >> cap & 1) != 0)) return VIV_OK;
    return viv_capset__check_listed(set, cap, query);
}

// Where one set reaches beyond another: the class, and the pattern or NULL when it is the class
// itself (absent in the parent, or *any* where the parent has a list).
struct viv_cap_gap {
    enum viv_cap cap;
    const struct viv_pattern *pattern; // of the child
};
// Whether `child` holds no more than `parent`; else the first class and pattern that are more.
bool viv_capset_contains(const struct viv_capset *parent, const struct viv_capset *child,
                         struct viv_cap_gap *out_gap);
// Whether the scope (is_any, or a list) may be passed on: it lies within what is grantable, and the
// class may be delegated at all.
bool viv_capset_may_grant(const struct viv_capset *set, enum viv_cap cap, bool is_any,
                          struct viv_patterns scope);
// What both hold, and no more; exact when for each two patterns one contains the other, and for
// sets. Flags of a pattern stay when both have them; of two equally wide patterns (one directory
// under two names) it is that of `a`. Errors: EXHAUSTED, QUOTA.
enum viv_err viv_capset_intersect(const struct viv_capset *a, const struct viv_capset *b,
                                  struct viv_capset **out_set) VIV_MUST_CHECK;
// With one entitlement more: *any*, or the patterns (none of them: *none*). A pattern that is
// contained in one there is not added. Errors: INVAL (type), EXHAUSTED, QUOTA.
enum viv_err viv_capset_add(const struct viv_capset *set, enum viv_cap cap, bool is_any,
                            struct viv_patterns scope, struct viv_capset **out_set) VIV_MUST_CHECK;
// What either holds, each pattern under its own flags. Errors: EXHAUSTED, QUOTA.
enum viv_err viv_capset_union(const struct viv_capset *a, const struct viv_capset *b,
                              struct viv_capset **out_set) VIV_MUST_CHECK;
// What is left of `set` within `bound`: as intersect, but flags are those of `set`. The same set,
// counted once more, when it lies within. Errors: EXHAUSTED, QUOTA.
enum viv_err viv_capset_narrow(struct viv_capset *set, const struct viv_capset *bound,
                               struct viv_capset **out_set) VIV_MUST_CHECK;
// Without the patterns for this number in the class. out_found: whether there was one. A list
// without patterns is *none*. Errors: EXHAUSTED.
enum viv_err viv_capset_remove_rid(const struct viv_capset *set, enum viv_cap cap, uint64_t rid,
                                   bool *out_found, struct viv_capset **out_set) VIV_MUST_CHECK;
enum viv_err viv_capset_remove(const struct viv_capset *set, enum viv_cap cap,
                               struct viv_capset **out_set) VIV_MUST_CHECK;

#endif
