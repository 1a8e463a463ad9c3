// SPDX-License-Identifier: Apache-2.0
// A policy from the options of a command line.
#include "base/alloc.h"
#include "cap/policy_options.h"
#include "policy_kit.h"
#include <string.h>

#define OK(expr) assert_int_equal((expr), VIV_OK)

static const struct viv_policy_source source = {.hooks = &kit_files};

// "allow", "fs=/srv", "no-net", NULL, ..., NULL, NULL: pairs of an option and its value.
struct line {
    const char *name, *value;
};

static struct viv_policy_options *add_all(enum viv_profile standard, const struct line *lines)
{
    struct viv_policy_options *options;
    OK(viv_policy_options_new(standard, &options));
    for (; lines->name != NULL; lines++) {
        struct viv_policy_error error;
        const struct viv_policy_option option = {
            lines->name, lines->value, lines->value != NULL ? strlen(lines->value) : 0, NULL};
        if (viv_policy_options_add(options, &option, &source, &error) != VIV_OK)
            fail_msg("%s", error.diag.text);
    }
    return options;
}

static struct viv_policy *read_text(const char *text)
{
    struct viv_policy *policy;
    struct viv_policy_error error;
    struct viv_policy_source whole = source;
    whole.text = text;
    whole.len_bytes = strlen(text);
    OK(viv_policy_new(&policy));
    if (viv_policy_parse(policy, &whole, &error) != VIV_OK) fail_msg("%s", error.diag.text);
    return policy;
}

static struct viv_capset *pack(const struct viv_policy *policy)
{
    struct viv_capset *set;
    OK(viv_capset_new(policy->caps, &set));
    return set;
}

// The options make the same policy as the text.
static void expect(enum viv_profile standard, const struct line *lines, const char *text)
{
    struct viv_policy_options *options = add_all(standard, lines);
    struct viv_policy *there, *want = read_text(text);
    OK(viv_policy_options_finish(options, &source, &there, NULL));
    struct viv_capset *a = pack(there), *b = pack(want);
    struct viv_cap_gap gap;
    if (!viv_capset_contains(a, b, &gap)) fail_msg("%s is missing", viv_cap_rows[gap.cap].name);
    if (!viv_capset_contains(b, a, &gap)) fail_msg("%s is too much", viv_cap_rows[gap.cap].name);
    assert_int_equal(viv_capset_held(a), viv_capset_held(b));
    assert_int_equal(a->grantable, b->grantable);
    for (int i = 0; i < VIV_POLICY_LIMITS; i++) {
        const struct viv_policy_bound x = viv_policy_bound_of(there, (enum viv_policy_limit)i);
        const struct viv_policy_bound y = viv_policy_bound_of(want, (enum viv_policy_limit)i);
        if (x.value != y.value || x.action != y.action)
            fail_msg("limit %s", viv_policy_limit_name((enum viv_policy_limit)i));
    }
    assert_int_equal(there->is_host, want->is_host);
    assert_int_equal(there->has_parent_ceiling, want->has_parent_ceiling);
    viv_capset_drop(a);
    viv_capset_drop(b);
    viv_policy_free(there);
    viv_policy_free(want);
    viv_policy_options_free(options);
    assert_int_equal(kit_anchors, 0);
}

#define LINES(...) ((const struct line[]){__VA_ARGS__, {NULL, NULL}})
#define NOTHING ((const struct line[]){{NULL, NULL}})
#define NO_NET "allow db.open\nallow fs=.:rwcd\nallow env.read"

static void the_commands_profile_is_in_force(void **state)
{
    (void)state;
    expect(VIV_PROFILE_OPEN, NOTHING, "use open");
    expect(VIV_PROFILE_HOST, NOTHING, "use host");
    expect(VIV_PROFILE_NONE, NOTHING, "");
    // Options that add keep it, but for `host`.
    expect(VIV_PROFILE_OPEN, LINES({"allow", "native.spawn=\"/usr/bin/git **\" grantable"}),
           "use open\nallow native.spawn=\"/usr/bin/git **\" grantable");
    expect(VIV_PROFILE_OPEN, LINES({"dir", "/srv::/data:r"}), "use open\nallow fs=/srv::/data:r");
    expect(VIV_PROFILE_HOST, LINES({"dir", "/srv"}), "allow fs=/srv");
    expect(VIV_PROFILE_HOST, LINES({"allow", "net.connect"}), "allow net.connect");
    expect(VIV_PROFILE_HOST, LINES({"env", "A=b"}), "use host");
    expect(VIV_PROFILE_HOST, LINES({"limit", "fds=5"}), "use host\nlimit fds=5");
}

static void use_and_policy_replace_it(void **state)
{
    (void)state;
    expect(VIV_PROFILE_OPEN, LINES({"use", "none"}), "");
    expect(VIV_PROFILE_OPEN, LINES({"use", "guest"}, {"dir", "/srv"}), "use guest\nallow fs=/srv");
    expect(VIV_PROFILE_OPEN, LINES({"dir", "/srv"}, {"use", "guest"}), "use guest\nallow fs=/srv");
    expect(VIV_PROFILE_HOST, LINES({"policy", "use guest\nceiling parent\n"}),
           "use guest\nceiling parent");
    // Several sources, in their order.
    expect(VIV_PROFILE_OPEN,
           LINES({"policy", "limit fds=1\nallow fs=/srv"}, {"limit", "fds=2"},
                 {"policy", "allow fs=/data\nlimit handles=3"}, {"limit", "handles=4"}),
           "allow fs=/srv,/data\nlimit fds=2\nlimit handles=4");
    expect(VIV_PROFILE_OPEN, LINES({"limit", "fds=2"}, {"policy", "limit fds=1"}), "limit fds=1");
}

static void no_options_take_from_profiles_only(void **state)
{
    (void)state;
    expect(VIV_PROFILE_OPEN, LINES({"no-net", NULL}),
           "use guest\nlimit memory=4294967295\n" NO_NET);
    expect(VIV_PROFILE_OPEN, LINES({"no-net", NULL}, {"no-dir", NULL}, {"no-env", NULL}),
           "use guest\nlimit memory=4294967295\nallow db.open");
    // What was given is given, whatever the order.
    expect(
        VIV_PROFILE_OPEN,
        LINES({"allow", "net.connect=tcp:any:80"}, {"no-net", NULL}, {"allow", "net.tls=client"}),
        "use guest\nlimit memory=4294967295\nallow net.connect=tcp:any:80\n"
        "allow net.tls=client\n" NO_NET);
    expect(VIV_PROFILE_NONE, LINES({"dir", "/srv"}, {"no-dir", NULL}, {"dir", "/data:r"}),
           "allow fs=/srv,/data:r");
    expect(VIV_PROFILE_NONE, LINES({"no-env", NULL}, {"env", "HOME=/x=y"}, {"env", "A="}),
           "allow env.read=HOME,A");
    // A command that has nothing to take from is still no host.
    struct viv_policy_options *options = add_all(VIV_PROFILE_HOST, LINES({"no-net", NULL}));
    struct viv_policy *policy;
    OK(viv_policy_options_finish(options, &source, &policy, NULL));
    assert_false(policy->is_host);
    assert_int_equal(policy->caps->held & VIV_CAP_BIT(VIV_CAP_NET_CONNECT), 0);
    viv_policy_free(policy);
    viv_policy_options_free(options);
}

static void short_forms_of_limits(void **state)
{
    (void)state;
    expect(VIV_PROFILE_NONE, LINES({"max-memory", "64M"}, {"max-time", "2m"}),
           "limit memory=64M\nlimit wall=120s");
    expect(VIV_PROFILE_NONE, LINES({"max-memory", "64M"}, {"limit", "memory=1M"}),
           "limit memory=1M");
    expect(VIV_PROFILE_NONE, LINES({"limit", "mailbox=5 refuse"}), "limit mailbox=5 refuse");
}

static void patterns_may_contain_anything(void **state)
{
    (void)state;
    // A comma and a blank are part of the directory's name, which is missing here.
    struct viv_policy_options *options;
    struct viv_policy_error error;
    const struct viv_policy_option option = {"dir", "/srv,/data x", 12, NULL};
    OK(viv_policy_options_new(VIV_PROFILE_NONE, &options));
    assert_int_equal(viv_policy_options_add(options, &option, &source, &error), VIV_E_INVAL);
    assert_string_equal(error.diag.text, "--dir: line 1, column 1: no such file or directory");
    viv_policy_options_free(options);
}

static void case61_errors_name_option_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *label, *text;
        enum viv_err err;
    } cases[] = {
        {"frob", "x", NULL, "--frob: line 1, column 1: no such option", VIV_E_NOTFOUND},
        {"allow", NULL, NULL, "--allow: line 1, column 1: a value is due", VIV_E_INVAL},
        {"no-net", "x", NULL, "--no-net: line 1, column 1: it has no value", VIV_E_INVAL},
        {"allow", "fs=/srv frob", NULL,
         "--allow: line 1, column 9: only `grantable` and `unenforced` may follow", VIV_E_INVAL},
        {"allow", "frob", NULL, "--allow: line 1, column 1: no such class: frob", VIV_E_INVAL},
        {"use", "frob", NULL, "--use: line 1, column 1: no such profile: frob", VIV_E_INVAL},
        {"limit", "frob=1", NULL, "--limit: line 1, column 1: no such limit: frob", VIV_E_INVAL},
        {"max-memory", "x", NULL, "--max-memory: line 1, column 1: a size such as 64M is due: x",
         VIV_E_INVAL},
        {"max-memory", "64M kill", NULL,
         "--max-memory: line 1, column 5: the limit does not have this action", VIV_E_INVAL},
        {"max-time", "0", NULL, "--max-time: line 1, column 1: a duration such as 30s is due: 0",
         VIV_E_INVAL},
        {"env", "HOME", NULL, "--env: line 1, column 1: KEY=VALUE is due", VIV_E_INVAL},
        {"env", "=x", NULL, "--env: line 1, column 1: KEY=VALUE is due", VIV_E_INVAL},
        {"dir", "", NULL, "--dir: line 1, column 1: fs: an empty pattern", VIV_E_INVAL},
        {"policy", "use guest\n  allow frob", "site.policy",
         "--policy site.policy: line 2, column 9: no such class: frob", VIV_E_INVAL},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        struct viv_policy_options *options = add_all(VIV_PROFILE_OPEN, LINES({"dir", "/srv"}));
        struct viv_policy *policy;
        struct viv_policy_error error;
        const char *value = cases[i].value;
        const struct viv_policy_option option = {cases[i].name, value,
                                                 value != NULL ? strlen(value) : 0, cases[i].label};
        assert_int_equal(viv_policy_options_add(options, &option, &source, &error), cases[i].err);
        assert_string_equal(error.diag.text, cases[i].text);
        assert_int_equal(viv_policy_options_add(options, &option, &source, NULL), cases[i].err);
        // Nothing has changed.
        OK(viv_policy_options_finish(options, &source, &policy, NULL));
        struct viv_policy *want = read_text("use open\nallow fs=/srv");
        assert_int_equal(policy->caps->held, want->caps->held);
        assert_int_equal(policy->limits_set, 0);
        viv_policy_free(want);
        viv_policy_free(policy);
        viv_policy_options_free(options);
    }
    assert_true(viv_policy_options_know("max-time"));
    assert_false(viv_policy_options_know("max-fuel"));
}

static bool run_with_failure(uint64_t nth)
{
    struct viv_policy_options *options = NULL;
    struct viv_policy *policy = NULL;
    const struct viv_policy_option dir = {"dir", "/srv", 4, NULL};
    const struct viv_policy_option use = {"use", "guest", 5, NULL};
    viv_alloc_fail_nth(nth);
    enum viv_err err = viv_policy_options_new(VIV_PROFILE_OPEN, &options);
    if (err == VIV_OK) err = viv_policy_options_add(options, &dir, &source, NULL);
    if (err == VIV_OK) err = viv_policy_options_add(options, &use, &source, NULL);
    if (err == VIV_OK) err = viv_policy_options_finish(options, &source, &policy, NULL);
    const bool has_failed = viv_alloc_fail_hit();
    viv_alloc_fail_nth(0);
    assert_int_equal(err, has_failed ? VIV_E_EXHAUSTED : VIV_OK);
    viv_policy_free(policy);
    viv_policy_options_free(options);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
    assert_int_equal(kit_anchors, 0);
    return has_failed;
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    uint64_t nth = 1;
    while (run_with_failure(nth))
        nth++;
    assert_true(nth > 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_commands_profile_is_in_force),
        cmocka_unit_test(use_and_policy_replace_it),
        cmocka_unit_test(no_options_take_from_profiles_only),
        cmocka_unit_test(short_forms_of_limits),
        cmocka_unit_test(patterns_may_contain_anything),
        cmocka_unit_test(case61_errors_name_option_line_and_column),
        cmocka_unit_test(every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
