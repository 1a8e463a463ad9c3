// SPDX-License-Identifier: Apache-2.0
// Capability sets: construction, the packed form, and the order between sets.
//
//   packed:  | masks, count | starts of k listed classes, and the end | patterns of class 1 | 2 |
//   ...
//
// Every operation on a packed set makes a new one: thaw, change, pack. Whoever reads the old one is
// not disturbed.
#include "cap/capset.h"
#include "base/assert.h"
#include "cap/retire.h"
#include <string.h>

static uint64_t bit(enum viv_cap cap)
{
    return VIV_CAP_BIT(cap);
}

// ------------------------------------------------------------------------------ under construction

enum viv_err viv_caps_new(struct viv_caps **out_caps)
{
    struct viv_caps *caps = viv_try_calloc(1, sizeof *caps, VIV_TAG_CAP);
    if (caps == NULL) return VIV_E_EXHAUSTED;
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        viv_scope_init(&caps->scopes[i]);
    *out_caps = caps;
    return VIV_OK;
}

void viv_caps_free(VIV_OWN struct viv_caps *caps)
{
    if (caps == NULL) return;
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        viv_scope_deinit(&caps->scopes[i]);
    viv_free(caps, sizeof *caps, VIV_TAG_CAP);
}

enum viv_err viv_caps_clone(const struct viv_caps *caps, struct viv_caps **out_caps)
{
    struct viv_caps *copy;
    VIV_TRY(viv_caps_new(&copy));
    copy->held = caps->held;
    copy->any = caps->any;
    copy->any_grantable = caps->any_grantable;
    copy->any_unenforced = caps->any_unenforced;
    copy->pattern_count = caps->pattern_count;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        VIV_PATTERNS_EACH(pattern, viv_scope_patterns(&caps->scopes[i]))
        {
            enum viv_err err = viv_scope_add(&copy->scopes[i], pattern, pattern->flags);
            if (err == VIV_OK) continue;
            viv_caps_free(copy);
            return err;
        }
    }
    *out_caps = copy;
    return VIV_OK;
}

static uint8_t any_flags(const struct viv_caps *caps, enum viv_cap cap)
{
    return (uint8_t)(((caps->any_grantable & bit(cap)) != 0 ? VIV_PATTERN_GRANTABLE : 0) |
                     ((caps->any_unenforced & bit(cap)) != 0 ? VIV_PATTERN_UNENFORCED : 0));
}

void viv_caps_allow_any(struct viv_caps *caps, enum viv_cap cap, uint8_t flags)
{
    struct viv_cap_scope *scope = &caps->scopes[cap];
    caps->held |= bit(cap);
    caps->any |= bit(cap);
    if ((flags & VIV_PATTERN_GRANTABLE) != 0) caps->any_grantable |= bit(cap);
    if ((flags & VIV_PATTERN_UNENFORCED) != 0) caps->any_unenforced |= bit(cap);
    caps->pattern_count -= scope->count;
    viv_scope_prune(scope, any_flags(caps, cap));
    caps->pattern_count += scope->count;
}

void viv_caps_allow_none(struct viv_caps *caps, enum viv_cap cap)
{
    caps->held |= bit(cap);
}

// Where a list stood before something was appended.
struct mark {
    size_t len_bytes;
    uint32_t count;
};

static struct mark mark_scope(const struct viv_caps *caps, enum viv_cap cap)
{
    return (struct mark){caps->scopes[cap].buf.len_bytes, caps->scopes[cap].count};
}

// Beside *any* a pattern says something only by flags that the any does not have; else it goes.
static void settle(struct viv_caps *caps, enum viv_cap cap, uint8_t flags, struct mark mark)
{
    struct viv_cap_scope *scope = &caps->scopes[cap];
    if ((caps->any & bit(cap)) != 0 && (flags & ~any_flags(caps, cap)) == 0)
        viv_scope_truncate(scope, mark.len_bytes);
    caps->held |= bit(cap);
    caps->pattern_count += scope->count - mark.count;
}

enum viv_err viv_caps_allow_text(struct viv_caps *caps, const struct viv_pattern_text *source,
                                 struct viv_diag *diag, size_t *out_at)
{
    struct mark mark = mark_scope(caps, source->cap);
    if (caps->pattern_count >= VIV_CAP_PATTERNS_MAX) {
        if (out_at != NULL) *out_at = 0;
        return viv_diag_set(diag, VIV_E_QUOTA, "more than %d patterns", VIV_CAP_PATTERNS_MAX);
    }
    VIV_TRY(viv_scope_parse(&caps->scopes[source->cap], source, diag, out_at));
    settle(caps, source->cap, source->flags, mark);
    return VIV_OK;
}

enum viv_err viv_caps_allow_flagged(struct viv_caps *caps, enum viv_cap cap,
                                    const struct viv_pattern *pattern, uint8_t flags)
{
    struct mark mark = mark_scope(caps, cap);
    if ((viv_cap_rows[cap].types >> pattern->type & 1) == 0) return VIV_E_INVAL;
    if (caps->pattern_count >= VIV_CAP_PATTERNS_MAX) return VIV_E_QUOTA;
    VIV_TRY(viv_scope_add(&caps->scopes[cap], pattern, flags));
    settle(caps, cap, flags, mark);
    return VIV_OK;
}

enum viv_err viv_caps_allow(struct viv_caps *caps, enum viv_cap cap,
                            const struct viv_pattern *pattern)
{
    return viv_caps_allow_flagged(caps, cap, pattern, pattern->flags);
}

void viv_caps_remove(struct viv_caps *caps, enum viv_cap cap)
{
    struct viv_cap_scope *scope = &caps->scopes[cap];
    caps->held &= ~bit(cap);
    caps->any &= ~bit(cap);
    caps->any_grantable &= ~bit(cap);
    caps->any_unenforced &= ~bit(cap);
    caps->pattern_count -= scope->count;
    viv_scope_deinit(scope);
    viv_scope_init(scope);
}

// ------------------------------------------------------------------------------------------ packed

static bool has_flag(const struct viv_cap_scope *scope, uint8_t flag)
{
    VIV_PATTERNS_EACH(pattern, viv_scope_patterns(scope))
    if ((pattern->flags & flag) != 0) return true;
    return false;
}

static void fill_masks(struct viv_capset *set, const struct viv_caps *caps)
{
    set->any = caps->any;
    set->any_grantable = caps->any_grantable;
    set->any_unenforced = caps->any_unenforced;
    set->grantable = caps->any_grantable;
    set->listed = 0;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        if (caps->scopes[i].count == 0) continue;
        set->listed |= bit((enum viv_cap)i);
        if (has_flag(&caps->scopes[i], VIV_PATTERN_GRANTABLE))
            set->grantable |= bit((enum viv_cap)i);
    }
    set->none = caps->held & ~caps->any & ~set->listed;
}

enum viv_err viv_capset_new(const struct viv_caps *caps, struct viv_capset **out_set)
{
    struct viv_capset masks = {0};
    fill_masks(&masks, caps);
    size_t count = (size_t)__builtin_popcountll(masks.listed);
    size_t head_bytes = (sizeof masks + (count + 1) * sizeof(uint32_t) + 7) & ~(size_t)7;
    size_t size_bytes = head_bytes;
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        size_bytes += caps->scopes[i].buf.len_bytes;
    if (size_bytes > UINT32_MAX) return VIV_E_EXHAUSTED;
    struct viv_capset *set = viv_try_alloc(size_bytes, VIV_TAG_CAP);
    if (set == NULL) return VIV_E_EXHAUSTED;
    memset(set, 0, head_bytes);
    fill_masks(set, caps);
    atomic_init(&set->ref_count, 1);
    set->size_bytes = (uint32_t)size_bytes;
    size_t at = head_bytes, slot = 0;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const struct viv_cap_scope *scope = &caps->scopes[i];
        if (scope->count == 0) continue;
        set->starts[slot++] = (uint32_t)at;
        memcpy((uint8_t *)set + at, scope->buf.data, scope->buf.len_bytes);
        at += scope->buf.len_bytes;
        VIV_PATTERNS_EACH(pattern, viv_scope_patterns(scope))
        if (pattern->anchor != NULL) viv_anchor_take(pattern->anchor);
    }
    set->starts[slot] = (uint32_t)at;
    VIV_ASSERT(slot == count && at == size_bytes);
    *out_set = set;
    return VIV_OK;
}

struct viv_capset *viv_capset_take(struct viv_capset *set)
{
    // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
    const uint32_t before = atomic_fetch_add_explicit(&set->ref_count, 1, memory_order_relaxed);
    VIV_ASSERT(before > 0);
    return set;
}

void viv_capset_publish(struct viv_capset *set)
{
    // Relaxed: whoever drops the set has its count from someone who came after this.
    atomic_store_explicit(&set->is_published, true, memory_order_relaxed);
}

static void free_set(struct viv_capset *set)
{
    for (int i = 0; i < VIV_CAP_COUNT; i++)
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, (enum viv_cap)i))
    viv_anchor_drop(pattern->anchor);
    viv_free(set, set->size_bytes, VIV_TAG_CAP);
}

static void free_retired(struct viv_qsbr_item *item)
{
    free_set(VIV_CONTAINER_OF(item, struct viv_capset, retired));
}

void viv_capset_drop(VIV_OWN struct viv_capset *set)
{
    if (set == NULL) return;
    // Release with the acquire of whoever drops last: all reads are before the free.
    if (atomic_fetch_sub_explicit(&set->ref_count, 1, memory_order_acq_rel) != 1) return;
    // Relaxed: ordered by the count.
    if (atomic_load_explicit(&set->is_published, memory_order_relaxed))
        viv_cap_retire(&set->retired, free_retired);
    else
        free_set(set);
}

struct viv_patterns viv_capset_patterns(const struct viv_capset *set, enum viv_cap cap)
{
    if ((set->listed & bit(cap)) == 0) return (struct viv_patterns){NULL, NULL};
    unsigned slot = (unsigned)__builtin_popcountll(set->listed & (bit(cap) - 1));
    const void *first = (const uint8_t *)set + set->starts[slot];
    const void *end = (const uint8_t *)set + set->starts[slot + 1];
    return (struct viv_patterns){first, end};
}

enum viv_err viv_capset_thaw(const struct viv_capset *set, struct viv_caps **out_caps)
{
    struct viv_caps *caps;
    VIV_TRY(viv_caps_new(&caps));
    caps->held = viv_capset_held(set);
    caps->any = set->any;
    caps->any_grantable = set->any_grantable;
    caps->any_unenforced = set->any_unenforced;
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, (enum viv_cap)i))
        {
            enum viv_err err = viv_caps_allow(caps, (enum viv_cap)i, pattern);
            if (err == VIV_OK) continue;
            viv_caps_free(caps);
            return err;
        }
    }
    *out_caps = caps;
    return VIV_OK;
}

enum viv_err viv_capset__check_listed(const struct viv_capset *set, enum viv_cap cap,
                                      const struct viv_cap_query *query)
{
    if ((unsigned)cap >= VIV_CAP_COUNT) return VIV_E_UNSUPPORTED;
    if (query == NULL) return VIV_E_DENIED;
    return viv_patterns_find(viv_capset_patterns(set, cap), query) != NULL ? VIV_OK : VIV_E_DENIED;
}

// ------------------------------------------------------------------------------ order between sets

bool viv_capset_contains(const struct viv_capset *parent, const struct viv_capset *child,
                         struct viv_cap_gap *out_gap)
{
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        enum viv_cap cap = (enum viv_cap)i;
        struct viv_cap_gap gap = {cap, NULL};
        if ((viv_capset_held(child) & bit(cap)) == 0 || (parent->any & bit(cap)) != 0) continue;
        if ((viv_capset_held(parent) & bit(cap)) != 0 && (child->any & bit(cap)) == 0) {
            gap.pattern = viv_patterns_gap(viv_capset_patterns(parent, cap),
                                           viv_capset_patterns(child, cap), 0);
            if (gap.pattern == NULL) continue;
        }
        if (out_gap != NULL) *out_gap = gap;
        return false;
    }
    return true;
}

bool viv_capset_may_grant(const struct viv_capset *set, enum viv_cap cap, bool is_any,
                          struct viv_patterns scope)
{
    if (!viv_cap_rows[cap].is_delegable) return false;
    if ((set->any_grantable & bit(cap)) != 0) return true;
    if (is_any || (set->grantable & bit(cap)) == 0) return false;
    return viv_patterns_gap(viv_capset_patterns(set, cap), scope, VIV_PATTERN_GRANTABLE) == NULL;
}

// Whether a pattern of the list has these flags and makes the pattern needless.
static bool is_covered(struct viv_patterns list, const struct viv_pattern *pattern, uint8_t flags)
{
    VIV_PATTERNS_EACH(there, list)
    if ((flags & ~there->flags) == 0 && viv_pattern_covers(there, pattern)) return true;
    return false;
}

// What two patterns have in common; nothing when neither contains the other and they are no sets.
static enum viv_err allow_common(struct viv_caps *caps, enum viv_cap cap,
                                 const struct viv_pattern *a, const struct viv_pattern *b,
                                 uint8_t flags)
{
    if (viv_scope_type_is_set(a->type) && a->type == b->type) {
        struct viv_pattern common = *a; // sets have no data behind the head
        common.value &= b->value;
        return common.value != 0 ? viv_caps_allow_flagged(caps, cap, &common, flags) : VIV_OK;
    }
    bool is_a = viv_pattern_contains(b, a);
    const struct viv_pattern *narrow = is_a ? a : b;
    if (!is_a && !viv_pattern_contains(a, b)) return VIV_OK;
    if (is_covered(viv_scope_patterns(&caps->scopes[cap]), narrow, flags)) return VIV_OK;
    return viv_caps_allow_flagged(caps, cap, narrow, flags);
}

// The patterns of `list`, passed on no further than `flags` allow.
static enum viv_err allow_list(struct viv_caps *caps, enum viv_cap cap, struct viv_patterns list,
                               uint8_t flags)
{
    VIV_PATTERNS_EACH(pattern, list)
    VIV_TRY(viv_caps_allow_flagged(caps, cap, pattern, pattern->flags & flags));
    return VIV_OK;
}

static uint8_t set_any_flags(const struct viv_capset *set, enum viv_cap cap)
{
    return (uint8_t)(((set->any_grantable & bit(cap)) != 0 ? VIV_PATTERN_GRANTABLE : 0) |
                     ((set->any_unenforced & bit(cap)) != 0 ? VIV_PATTERN_UNENFORCED : 0));
}

static enum viv_err intersect_class(struct viv_caps *caps, const struct viv_capset *a,
                                    const struct viv_capset *b, enum viv_cap cap)
{
    struct viv_patterns in_a = viv_capset_patterns(a, cap), in_b = viv_capset_patterns(b, cap);
    bool any_a = (a->any & bit(cap)) != 0, any_b = (b->any & bit(cap)) != 0;
    viv_caps_allow_none(caps, cap);
    if (any_a && any_b)
        viv_caps_allow_any(caps, cap, set_any_flags(a, cap) & set_any_flags(b, cap));
    if (any_b) VIV_TRY(allow_list(caps, cap, in_a, set_any_flags(b, cap)));
    if (any_a) VIV_TRY(allow_list(caps, cap, in_b, set_any_flags(a, cap)));
    VIV_PATTERNS_EACH(one, in_a)
    VIV_PATTERNS_EACH(other, in_b)
    VIV_TRY(allow_common(caps, cap, one, other, one->flags & other->flags));
    return VIV_OK;
}

// Packs and frees `caps`, unless there is an error already.
static enum viv_err finish(VIV_OWN struct viv_caps *caps, enum viv_err err,
                           struct viv_capset **out_set)
{
    if (err == VIV_OK) err = viv_capset_new(caps, out_set);
    viv_caps_free(caps);
    return err;
}

enum viv_err viv_capset_intersect(const struct viv_capset *a, const struct viv_capset *b,
                                  struct viv_capset **out_set)
{
    struct viv_caps *caps;
    uint64_t both = viv_capset_held(a) & viv_capset_held(b);
    VIV_TRY(viv_caps_new(&caps));
    enum viv_err err = VIV_OK;
    for (int i = 0; i < VIV_CAP_COUNT && err == VIV_OK; i++)
        if ((both >> i & 1) != 0) err = intersect_class(caps, a, b, (enum viv_cap)i);
    return finish(caps, err, out_set);
}

// The patterns of `list` that nothing there makes needless.
static enum viv_err allow_missing(struct viv_caps *caps, enum viv_cap cap, struct viv_patterns list)
{
    VIV_PATTERNS_EACH(pattern, list)
    {
        if (is_covered(viv_scope_patterns(&caps->scopes[cap]), pattern, pattern->flags)) continue;
        VIV_TRY(viv_caps_allow(caps, cap, pattern));
    }
    return VIV_OK;
}

enum viv_err viv_capset_add(const struct viv_capset *set, enum viv_cap cap, bool is_any,
                            struct viv_patterns scope, struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_capset_thaw(set, &caps));
    enum viv_err err = VIV_OK;
    if (is_any) {
        viv_caps_allow_any(caps, cap, 0);
    } else {
        viv_caps_allow_none(caps, cap);
        err = allow_missing(caps, cap, scope);
    }
    return finish(caps, err, out_set);
}

static enum viv_err unite_class(struct viv_caps *caps, const struct viv_capset *more,
                                enum viv_cap cap)
{
    viv_caps_allow_none(caps, cap);
    if ((more->any & bit(cap)) != 0) viv_caps_allow_any(caps, cap, set_any_flags(more, cap));
    return allow_missing(caps, cap, viv_capset_patterns(more, cap));
}

enum viv_err viv_capset_union(const struct viv_capset *a, const struct viv_capset *b,
                              struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_capset_thaw(a, &caps));
    enum viv_err err = VIV_OK;
    for (int i = 0; i < VIV_CAP_COUNT && err == VIV_OK; i++)
        if ((viv_capset_held(b) >> i & 1) != 0) err = unite_class(caps, b, (enum viv_cap)i);
    return finish(caps, err, out_set);
}

static enum viv_err narrow_pattern(struct viv_caps *caps, enum viv_cap cap,
                                   const struct viv_pattern *pattern, struct viv_patterns bounds)
{
    VIV_PATTERNS_EACH(bound, bounds)
    if (viv_pattern_contains(bound, pattern))
        return viv_caps_allow_flagged(caps, cap, pattern, pattern->flags);
    VIV_PATTERNS_EACH(bound, bounds)
    VIV_TRY(allow_common(caps, cap, pattern, bound, pattern->flags));
    return VIV_OK;
}

static enum viv_err narrow_class(struct viv_caps *caps, const struct viv_capset *set,
                                 const struct viv_capset *bound, enum viv_cap cap)
{
    struct viv_patterns bounds = viv_capset_patterns(bound, cap);
    viv_caps_allow_none(caps, cap);
    if ((bound->any & bit(cap)) != 0) return unite_class(caps, set, cap);
    if ((set->any & bit(cap)) != 0) {
        VIV_PATTERNS_EACH(pattern, bounds)
        VIV_TRY(viv_caps_allow_flagged(caps, cap, pattern, set_any_flags(set, cap)));
    }
    VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, cap))
    VIV_TRY(narrow_pattern(caps, cap, pattern, bounds));
    return VIV_OK;
}

enum viv_err viv_capset_narrow(struct viv_capset *set, const struct viv_capset *bound,
                               struct viv_capset **out_set)
{
    struct viv_caps *caps;
    if (viv_capset_contains(bound, set, NULL)) {
        *out_set = viv_capset_take(set);
        return VIV_OK;
    }
    VIV_TRY(viv_caps_new(&caps));
    uint64_t both = viv_capset_held(set) & viv_capset_held(bound);
    enum viv_err err = VIV_OK;
    for (int i = 0; i < VIV_CAP_COUNT && err == VIV_OK; i++)
        if ((both >> i & 1) != 0) err = narrow_class(caps, set, bound, (enum viv_cap)i);
    return finish(caps, err, out_set);
}

enum viv_err viv_capset_remove_rid(const struct viv_capset *set, enum viv_cap cap, uint64_t rid,
                                   bool *out_found, struct viv_capset **out_set)
{
    struct viv_caps *caps;
    bool found = false;
    VIV_TRY(viv_capset_thaw(set, &caps));
    viv_caps_remove(caps, cap);
    enum viv_err err = VIV_OK;
    VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, cap))
    {
        if (pattern->type == VIV_SCOPE_RIDS && pattern->value == rid)
            found = true;
        else if (err == VIV_OK)
            err = viv_caps_allow(caps, cap, pattern);
    }
    if ((viv_capset_held(set) & bit(cap)) != 0) viv_caps_allow_none(caps, cap);
    if ((set->any & bit(cap)) != 0) viv_caps_allow_any(caps, cap, set_any_flags(set, cap));
    err = finish(caps, err, out_set);
    if (err == VIV_OK) *out_found = found;
    return err;
}

enum viv_err viv_capset_remove(const struct viv_capset *set, enum viv_cap cap,
                               struct viv_capset **out_set)
{
    struct viv_caps *caps;
    VIV_TRY(viv_capset_thaw(set, &caps));
    viv_caps_remove(caps, cap);
    return finish(caps, VIV_OK, out_set);
}
