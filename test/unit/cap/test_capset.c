// SPDX-License-Identifier: Apache-2.0
// Capability sets: any/some/none/absent squared (case 49), union and removal (the parts of 50 and
// 52 that sets decide), what may be passed on, intersection, counting, allocation failures.
#include "policy_kit.h"
#include <string.h>

static struct viv_cap_query name_query(const char *name)
{
    return (struct viv_cap_query){
        .facets = 1u << VIV_SCOPE_NAMES, .name = name, .name_len = strlen(name)};
}

static enum viv_err look_up(const struct viv_capset *set, const char *name)
{
    struct viv_cap_query query = name_query(name);
    return viv_capset_check(set, VIV_CAP_NAME_LOOKUP, &query);
}

// The list of one class of a text, as another room would hand it in.
static struct viv_capset *list_of(enum viv_cap cap, const char *patterns)
{
    return kit_set(cap, patterns);
}

static void test_49_any_some_none_absent_squared(void **state)
{
    (void)state;
    static const char *const scopes[] = {"absent", "none", "a.b", "a.*", "any"}; // narrow to wide
    static const bool contains[5][5] = {
        // child: absent none a.b a.* any
        {true, false, false, false, false}, // parent absent
        {true, true, false, false, false},  // none
        {true, true, true, false, false},   // a.b
        {true, true, true, true, false},    // a.*
        {true, true, true, true, true},     // any
    };
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            struct viv_capset *parent = kit_set(VIV_CAP_NAME_LOOKUP, scopes[i]);
            struct viv_capset *child = kit_set(VIV_CAP_NAME_LOOKUP, scopes[j]);
            struct viv_cap_gap gap = {VIV_CAP_FS, NULL};
            bool is_inside = viv_capset_contains(parent, child, &gap);
            if (is_inside != contains[i][j]) fail_msg("%s and %s", scopes[i], scopes[j]);
            if (!is_inside) {
                assert_int_equal(gap.cap, VIV_CAP_NAME_LOOKUP);
                // A pattern is named when a list is beyond a list.
                assert_int_equal(gap.pattern != NULL, j >= 2 && j < 4 && i >= 1);
            }
            viv_capset_drop(parent);
            viv_capset_drop(child);
        }
    }
}

static void test_gap_names_the_first_class_and_pattern(void **state)
{
    (void)state;
    struct viv_caps *caps;
    struct viv_capset *parent, *child;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    kit_allow(caps, VIV_CAP_NET_CONNECT, "tcp:10.0.0.0/8:*", 0, NULL);
    viv_caps_allow_any(caps, VIV_CAP_ENTROPY, 0);
    assert_int_equal(viv_capset_new(caps, &parent), VIV_OK);
    kit_allow(caps, VIV_CAP_NET_CONNECT, "tcp:10.1.0.0/16:1|tcp:11.0.0.1:1|tcp:12.0.0.1:1", 0,
              NULL);
    viv_caps_allow_any(caps, VIV_CAP_SYS_INFO, 0);
    assert_int_equal(viv_capset_new(caps, &child), VIV_OK);
    struct viv_cap_gap gap;
    assert_false(viv_capset_contains(parent, child, &gap));
    assert_int_equal(gap.cap, VIV_CAP_NET_CONNECT);
    struct viv_buf out;
    viv_buf_init(&out, VIV_TAG_TEST);
    assert_int_equal(viv_pattern_print(gap.pattern, gap.cap, &out), VIV_OK);
    assert_int_equal(out.len_bytes, strlen("tcp:11.0.0.1:1"));
    assert_memory_equal(out.data, "tcp:11.0.0.1:1", out.len_bytes);
    viv_buf_deinit(&out);
    assert_true(viv_capset_contains(child, parent, NULL));
    viv_capset_drop(parent);
    viv_capset_drop(child);
    viv_caps_free(caps);
}

static void test_check(void **state)
{
    (void)state;
    struct viv_capset *set = kit_set(VIV_CAP_NAME_LOOKUP, "a.b|c.*");
    assert_int_equal(look_up(set, "a.b"), VIV_OK);
    assert_int_equal(look_up(set, "c.d"), VIV_OK);
    assert_int_equal(look_up(set, "d"), VIV_E_DENIED);
    struct viv_cap_query query = name_query("a.b");
    assert_int_equal(viv_capset_check(set, VIV_CAP_NAME_REGISTER, &query), VIV_E_DENIED);
    assert_int_equal(viv_capset_check(set, (enum viv_cap)54, &query), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_capset_check(set, (enum viv_cap)63, &query), VIV_E_UNSUPPORTED);
    assert_int_equal(viv_capset_check(set, VIV_CAP_NAME_LOOKUP, NULL), VIV_E_DENIED);
    query.facets = 1u << VIV_SCOPE_NODES; // an object that a pattern of names says nothing about
    assert_int_equal(viv_capset_check(set, VIV_CAP_NAME_LOOKUP, &query), VIV_E_DENIED);
    viv_capset_drop(set);
    set = kit_set(VIV_CAP_NAME_LOOKUP, "any");
    assert_int_equal(look_up(set, "d"), VIV_OK);
    assert_int_equal(viv_capset_check(set, VIV_CAP_NAME_LOOKUP, NULL), VIV_OK);
    viv_capset_drop(set);
    set = kit_set(VIV_CAP_NAME_LOOKUP, "none");
    assert_int_equal(look_up(set, "a.b"), VIV_E_DENIED);
    viv_capset_drop(set);
}

static void test_50_union_is_never_less(void **state)
{
    (void)state;
    struct viv_capset *more = list_of(VIV_CAP_NAME_LOOKUP, "c.*|a.b");
    static const struct {
        const char *before;
        enum viv_err a_b, c_d, other;
        uint32_t count;
    } rows[] = {
        {"absent", VIV_OK, VIV_OK, VIV_E_DENIED, 2},
        {"none", VIV_OK, VIV_OK, VIV_E_DENIED, 2},
        {"a.*", VIV_OK, VIV_OK, VIV_E_DENIED, 2}, // a.b is in a.*
        {"any", VIV_OK, VIV_OK, VIV_OK, 0},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_capset *before = kit_set(VIV_CAP_NAME_LOOKUP, rows[i].before), *after;
        assert_int_equal(viv_capset_add(before, VIV_CAP_NAME_LOOKUP, false,
                                        viv_capset_patterns(more, VIV_CAP_NAME_LOOKUP), &after),
                         VIV_OK);
        assert_int_equal(look_up(after, "a.b"), rows[i].a_b);
        assert_int_equal(look_up(after, "c.d"), rows[i].c_d);
        assert_int_equal(look_up(after, "x"), rows[i].other);
        assert_true(viv_capset_contains(after, before, NULL));
        uint32_t count = 0;
        struct viv_patterns list = viv_capset_patterns(after, VIV_CAP_NAME_LOOKUP);
        VIV_PATTERNS_EACH(pattern, list)
        count++;
        assert_int_equal(count, rows[i].count);
        viv_capset_drop(before);
        // any on top; none on top changes nothing
        assert_int_equal(viv_capset_add(after, VIV_CAP_NAME_LOOKUP, true,
                                        (struct viv_patterns){NULL, NULL}, &before),
                         VIV_OK);
        assert_int_equal(look_up(before, "x"), VIV_OK);
        viv_capset_drop(before);
        assert_int_equal(viv_capset_add(after, VIV_CAP_NAME_LOOKUP, false,
                                        (struct viv_patterns){NULL, NULL}, &before),
                         VIV_OK);
        assert_int_equal(look_up(before, "a.b"), VIV_OK);
        assert_int_equal(look_up(before, "x"), rows[i].other);
        viv_capset_drop(before);
        viv_capset_drop(after);
    }
    viv_capset_drop(more);
}

static void test_52_remove_and_none(void **state)
{
    (void)state;
    struct viv_capset *before = kit_set(VIV_CAP_NAME_LOOKUP, "a.*"), *after;
    assert_int_equal(viv_capset_remove(before, VIV_CAP_NAME_LOOKUP, &after), VIV_OK);
    assert_int_equal(viv_capset_held(after), 0);
    assert_int_equal(look_up(after, "a.b"), VIV_E_DENIED);
    assert_int_equal(look_up(before, "a.b"), VIV_OK); // the old one is as it was
    viv_capset_drop(before);
    viv_capset_drop(after);
    before = kit_set(VIV_CAP_NAME_LOOKUP, "none");
    assert_int_equal(before->none, VIV_CAP_BIT(VIV_CAP_NAME_LOOKUP));
    viv_capset_drop(before);
}

static void test_wrong_type_is_refused(void **state)
{
    (void)state;
    struct viv_capset *names = list_of(VIV_CAP_NAME_LOOKUP, "a"), *after;
    assert_int_equal(viv_capset_add(names, VIV_CAP_FS, false,
                                    viv_capset_patterns(names, VIV_CAP_NAME_LOOKUP), &after),
                     VIV_E_INVAL);
    viv_capset_drop(names);
}

static void test_54_what_may_be_granted(void **state)
{
    (void)state;
    struct viv_caps *caps;
    struct viv_capset *set;
    const struct viv_patterns empty = {NULL, NULL};
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, "a.*", VIV_PATTERN_GRANTABLE, NULL);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, "b.*", 0, NULL);
    viv_caps_allow_any(caps, VIV_CAP_ENTROPY, VIV_PATTERN_GRANTABLE);
    viv_caps_allow_any(caps, VIV_CAP_SYS_INFO, 0);
    viv_caps_allow_any(caps, VIV_CAP_CTL_HALT, VIV_PATTERN_GRANTABLE); // a class of operators only
    viv_caps_allow_any(caps, VIV_CAP_NAME_REGISTER, 0);
    kit_allow(caps, VIV_CAP_NAME_REGISTER, "a.*", VIV_PATTERN_GRANTABLE, NULL);
    kit_allow(caps, VIV_CAP_NAME_REGISTER, "c.*", 0, NULL); // says nothing beside any
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    struct viv_capset *in_a = list_of(VIV_CAP_NAME_LOOKUP, "a.b");
    struct viv_capset *in_b = list_of(VIV_CAP_NAME_LOOKUP, "b.b");
    struct viv_patterns a_b = viv_capset_patterns(in_a, VIV_CAP_NAME_LOOKUP);
    struct viv_patterns b_b = viv_capset_patterns(in_b, VIV_CAP_NAME_LOOKUP);
    assert_true(viv_capset_may_grant(set, VIV_CAP_NAME_LOOKUP, false, a_b));
    assert_false(viv_capset_may_grant(set, VIV_CAP_NAME_LOOKUP, false, b_b));
    assert_false(viv_capset_may_grant(set, VIV_CAP_NAME_LOOKUP, true, empty));
    assert_true(viv_capset_may_grant(set, VIV_CAP_NAME_REGISTER, false, a_b));
    assert_false(viv_capset_may_grant(set, VIV_CAP_NAME_REGISTER, false, b_b));
    assert_false(viv_capset_may_grant(set, VIV_CAP_NAME_REGISTER, true, empty));
    assert_true(viv_capset_may_grant(set, VIV_CAP_ENTROPY, true, empty));
    assert_false(viv_capset_may_grant(set, VIV_CAP_SYS_INFO, true, empty));
    assert_false(viv_capset_may_grant(set, VIV_CAP_CTL_HALT, true, empty));
    viv_capset_drop(in_a);
    viv_capset_drop(in_b);
    viv_capset_drop(set);
    viv_caps_free(caps);
}

static void test_intersection(void **state)
{
    (void)state;
    static const struct {
        const char *cap, *a, *b, *both; // both: as the set that must be equal to it
    } rows[] = {
        {"name.lookup", "any", "any", "any"},
        {"name.lookup", "any", "none", "none"},
        {"name.lookup", "any", "absent", "absent"},
        {"name.lookup", "any", "a.*|b", "a.*|b"},
        {"name.lookup", "none", "a.*", "none"},
        {"name.lookup", "absent", "none", "absent"},
        {"name.lookup", "a.*|b", "a.b.*|b|c", "a.b.*|b"},
        {"name.lookup", "a", "b", "none"},
        {"res.send", "channel|stream", "stream|file", "stream"},
        {"res.send", "channel", "stream", "none"},
        {"chan.create", "1M", "2M", "1M"},
        {"proc.link", "session", "descendants", "none"}, // no pattern for what they share: less
        {"net.connect", "tcp:10.0.0.0/8:*", "any:private:80|any:any:*", "tcp:10.0.0.0/8:*"},
        {"fs", "/srv:rw", "/srv/a:r|/data:r", "/srv/a:r"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        enum viv_cap cap = kit_cap(rows[i].cap);
        for (int swap = 0; swap < 2; swap++) {
            struct viv_capset *a = kit_set(cap, swap ? rows[i].b : rows[i].a);
            struct viv_capset *b = kit_set(cap, swap ? rows[i].a : rows[i].b);
            struct viv_capset *due = kit_set(cap, rows[i].both), *got;
            assert_int_equal(viv_capset_intersect(a, b, &got), VIV_OK);
            if (!viv_capset_contains(got, due, NULL) || !viv_capset_contains(due, got, NULL))
                fail_msg("%s: %s and %s", rows[i].cap, rows[i].a, rows[i].b);
            assert_int_equal(viv_capset_held(got), viv_capset_held(due));
            assert_true(viv_capset_contains(a, got, NULL) && viv_capset_contains(b, got, NULL));
            viv_capset_drop(got);
            // Without flags, narrowing is the same.
            assert_int_equal(viv_capset_narrow(a, b, &got), VIV_OK);
            assert_true(viv_capset_contains(got, due, NULL) && viv_capset_contains(due, got, NULL));
            assert_int_equal(viv_capset_held(got), viv_capset_held(due));
            viv_capset_drop(a);
            viv_capset_drop(b);
            viv_capset_drop(due);
            viv_capset_drop(got);
        }
    }
    assert_int_equal(kit_anchors, 0);
}

// A set with patterns of the four flags: plain, grantable, unenforced, both.
static struct viv_capset *flagged(const char *plain, const char *grantable, const char *unenforced,
                                  const char *both)
{
    struct viv_caps *caps;
    struct viv_capset *set;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    viv_caps_allow_none(caps, VIV_CAP_NAME_LOOKUP);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, plain, 0, NULL);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, grantable, VIV_PATTERN_GRANTABLE, NULL);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, unenforced, VIV_PATTERN_UNENFORCED, NULL);
    kit_allow(caps, VIV_CAP_NAME_LOOKUP, both, VIV_PATTERN_GRANTABLE | VIV_PATTERN_UNENFORCED,
              NULL);
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    viv_caps_free(caps);
    return set;
}

// The flags of the pattern with this text, or -1.
static int flags_of(const struct viv_capset *set, const char *text)
{
    VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, VIV_CAP_NAME_LOOKUP))
    if (strlen(text) == pattern->text_len &&
        memcmp(viv_pattern_data(pattern) + pattern->text_at, text, pattern->text_len) == 0)
        return pattern->flags;
    return -1;
}

static void test_narrowing_keeps_flags(void **state)
{
    (void)state;
    struct viv_capset *set = flagged("a", "b", "c", "d"), *bound = flagged("a|b|c|d|e", "", "", "");
    struct viv_capset *got;
    assert_int_equal(viv_capset_narrow(set, bound, &got), VIV_OK);
    assert_ptr_equal(got, set); // within: the same
    viv_capset_drop(got);
    viv_capset_drop(bound);
    bound = flagged("b|c|d", "", "", "");
    assert_int_equal(viv_capset_narrow(set, bound, &got), VIV_OK);
    assert_int_equal(flags_of(got, "a"), -1);
    assert_int_equal(flags_of(got, "b"), VIV_PATTERN_GRANTABLE);
    assert_int_equal(flags_of(got, "c"), VIV_PATTERN_UNENFORCED);
    assert_int_equal(flags_of(got, "d"), VIV_PATTERN_GRANTABLE | VIV_PATTERN_UNENFORCED);
    assert_int_equal(got->grantable, VIV_CAP_BIT(VIV_CAP_NAME_LOOKUP));
    viv_capset_drop(got);
    viv_capset_drop(set);
    // What stood for everything stands for the bound.
    struct viv_caps *caps;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    viv_caps_allow_any(caps, VIV_CAP_NAME_LOOKUP, VIV_PATTERN_GRANTABLE);
    viv_caps_allow_any(caps, VIV_CAP_ENTROPY, VIV_PATTERN_GRANTABLE);
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    viv_caps_free(caps);
    assert_int_equal(viv_capset_narrow(set, bound, &got), VIV_OK);
    assert_int_equal(viv_capset_held(got), VIV_CAP_BIT(VIV_CAP_NAME_LOOKUP));
    assert_int_equal(got->any, 0);
    assert_int_equal(flags_of(got, "b"), VIV_PATTERN_GRANTABLE);
    viv_capset_drop(got);
    viv_capset_drop(set);
    viv_capset_drop(bound);
}

static void test_union_of_sets(void **state)
{
    (void)state;
    struct viv_capset *a = flagged("a.*", "b", "", ""), *b = flagged("a.b|b|c", "a.*", "", ""),
                      *got;
    struct viv_capset *any = kit_set(VIV_CAP_NAME_LOOKUP, "any");
    assert_int_equal(viv_capset_union(a, b, &got), VIV_OK);
    assert_true(viv_capset_contains(got, a, NULL) && viv_capset_contains(got, b, NULL));
    assert_int_equal(flags_of(got, "a.b"), -1); // a.* is there
    assert_int_equal(flags_of(got, "c"), 0);
    const struct viv_patterns in_b = viv_capset_patterns(b, VIV_CAP_NAME_LOOKUP);
    assert_false(viv_capset_may_grant(a, VIV_CAP_NAME_LOOKUP, false, in_b));
    VIV_PATTERNS_EACH(pattern, in_b)
    if ((pattern->flags & VIV_PATTERN_GRANTABLE) != 0)
        assert_true(
            viv_capset_may_grant(got, VIV_CAP_NAME_LOOKUP, false,
                                 (struct viv_patterns){pattern, viv_pattern_next(pattern)}));
    viv_capset_drop(got);
    assert_int_equal(viv_capset_union(a, any, &got), VIV_OK);
    assert_int_equal(got->any, VIV_CAP_BIT(VIV_CAP_NAME_LOOKUP));
    assert_int_equal(flags_of(got, "b"), VIV_PATTERN_GRANTABLE); // says more than the any
    viv_capset_drop(got);
    viv_capset_drop(a);
    viv_capset_drop(b);
    viv_capset_drop(any);
}

static void test_52_remove_rid(void **state)
{
    (void)state;
    struct viv_capset *set = kit_set(VIV_CAP_CHAN_READ, "#0.5.1|#0.6.1"), *got, *last;
    bool found = true;
    assert_int_equal(
        viv_capset_remove_rid(set, VIV_CAP_CHAN_READ, UINT64_C(1) << 32 | 7, &found, &got), VIV_OK);
    assert_false(found);
    assert_true(viv_capset_contains(got, set, NULL));
    viv_capset_drop(got);
    assert_int_equal(
        viv_capset_remove_rid(set, VIV_CAP_CHAN_READ, UINT64_C(1) << 32 | 5, &found, &got), VIV_OK);
    assert_true(found);
    assert_int_equal(
        viv_capset_remove_rid(got, VIV_CAP_CHAN_READ, UINT64_C(1) << 32 | 6, &found, &last),
        VIV_OK);
    assert_true(found);
    assert_int_equal(last->none, VIV_CAP_BIT(VIV_CAP_CHAN_READ));
    viv_capset_drop(last);
    viv_capset_drop(got);
    // Elsewhere nothing happens, and an absent class stays absent.
    assert_int_equal(viv_capset_remove_rid(set, VIV_CAP_CHAN_WRITE, 1, &found, &got), VIV_OK);
    assert_int_equal(viv_capset_held(got), VIV_CAP_BIT(VIV_CAP_CHAN_READ));
    viv_capset_drop(got);
    viv_capset_drop(set);
}

static void test_anchors_are_shared_and_closed(void **state)
{
    (void)state;
    struct viv_capset *set = kit_set(VIV_CAP_FS, "/srv:r|/data:rw"), *more;
    assert_int_equal(kit_anchors, 2);
    assert_int_equal(
        viv_capset_add(set, VIV_CAP_ENTROPY, true, (struct viv_patterns){NULL, NULL}, &more),
        VIV_OK);
    assert_int_equal(kit_anchors, 2);
    viv_capset_drop(set);
    assert_int_equal(kit_anchors, 2);
    viv_capset_drop(viv_capset_take(more));
    viv_capset_drop(more);
    assert_int_equal(kit_anchors, 0);
}

// A directory under two names is two patterns, also when one contains the other.
static void test_names_of_directories_stay(void **state)
{
    (void)state;
    struct viv_capset *set = kit_set(VIV_CAP_FS, "/srv::/all:rw");
    struct viv_capset *more = kit_set(VIV_CAP_FS, "/srv/a::/part:r|/srv::/all:r"), *sum, *same;
    assert_int_equal(
        viv_capset_add(set, VIV_CAP_FS, false, viv_capset_patterns(more, VIV_CAP_FS), &sum),
        VIV_OK);
    assert_int_equal(viv_capset_intersect(sum, sum, &same), VIV_OK);
    struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                  .path = "/part/f",
                                  .path_len = 7,
                                  .rights = VIV_DIR_READ};
    assert_int_equal(viv_capset_check(set, VIV_CAP_FS, &query), VIV_E_DENIED);
    assert_int_equal(viv_capset_check(sum, VIV_CAP_FS, &query), VIV_OK);
    assert_int_equal(viv_capset_check(same, VIV_CAP_FS, &query), VIV_OK);
    assert_int_equal(kit_anchors, 3); // the narrower one of the same name was not taken over
    viv_capset_drop(set);
    viv_capset_drop(more);
    assert_int_equal(kit_anchors, 2);
    viv_capset_drop(sum);
    viv_capset_drop(same);
    assert_int_equal(kit_anchors, 0);
}

static void test_patterns_are_bounded(void **state)
{
    (void)state;
    struct viv_caps *caps;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    struct viv_pattern_text source = {VIV_CAP_NAME_LOOKUP, "n", 1, 0, NULL};
    for (int i = 0; i < VIV_CAP_PATTERNS_MAX; i++)
        assert_int_equal(viv_caps_allow_text(caps, &source, NULL, NULL), VIV_OK);
    assert_int_equal(viv_caps_allow_text(caps, &source, NULL, NULL), VIV_E_QUOTA);
    viv_caps_remove(caps, VIV_CAP_NAME_LOOKUP);
    assert_int_equal(viv_caps_allow_text(caps, &source, NULL, NULL), VIV_OK);
    viv_caps_free(caps);
}

// Makes two sets and everything that can be made of them.
static enum viv_err build_all(void)
{
    struct viv_caps *caps = NULL, *copy = NULL;
    struct viv_capset *set = NULL, *sum = NULL, *common = NULL, *rest = NULL;
    struct viv_pattern_text dir = {VIV_CAP_FS, "/srv:r", 6, 0, &kit_files};
    struct viv_pattern_text name = {VIV_CAP_NAME_LOOKUP, "a.*", 3, 0, NULL};
    enum viv_err err = viv_caps_new(&caps);
    if (err == VIV_OK) err = viv_caps_allow_text(caps, &dir, NULL, NULL);
    if (err == VIV_OK) err = viv_caps_allow_text(caps, &name, NULL, NULL);
    if (err == VIV_OK) err = viv_caps_clone(caps, &copy);
    if (err == VIV_OK) err = viv_capset_new(copy, &set);
    if (err == VIV_OK)
        err =
            viv_capset_add(set, VIV_CAP_DB_OPEN, false, viv_capset_patterns(set, VIV_CAP_FS), &sum);
    if (err == VIV_OK) err = viv_capset_intersect(set, sum, &common);
    if (err == VIV_OK) err = viv_capset_remove(sum, VIV_CAP_FS, &rest);
    viv_capset_drop(set);
    viv_capset_drop(sum);
    viv_capset_drop(common);
    viv_capset_drop(rest);
    viv_caps_free(caps);
    viv_caps_free(copy);
    return err;
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    uint64_t nth = 1;
    for (;; nth++) {
        viv_alloc_fail_nth(nth);
        enum viv_err err = build_all();
        bool has_failed = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(viv_alloc_live_bytes_all(), before);
        assert_int_equal(kit_anchors, 0);
        if (!has_failed) {
            assert_int_equal(err, VIV_OK);
            break;
        }
        assert_int_equal(err, VIV_E_EXHAUSTED);
    }
    assert_true(nth > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_49_any_some_none_absent_squared),
        cmocka_unit_test(test_gap_names_the_first_class_and_pattern),
        cmocka_unit_test(test_check),
        cmocka_unit_test(test_50_union_is_never_less),
        cmocka_unit_test(test_52_remove_and_none),
        cmocka_unit_test(test_wrong_type_is_refused),
        cmocka_unit_test(test_54_what_may_be_granted),
        cmocka_unit_test(test_intersection),
        cmocka_unit_test(test_narrowing_keeps_flags),
        cmocka_unit_test(test_union_of_sets),
        cmocka_unit_test(test_52_remove_rid),
        cmocka_unit_test(test_anchors_are_shared_and_closed),
        cmocka_unit_test(test_names_of_directories_stay),
        cmocka_unit_test(test_patterns_are_bounded),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
