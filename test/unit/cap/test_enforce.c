// SPDX-License-Identifier: Apache-2.0
// What bodies are held to (case 57, its table), and limits as data.
#include "base/alloc.h"
#include "cap/enforce.h"
#include "policy_kit.h"
#include <string.h>

#define OK(expr) assert_int_equal((expr), VIV_OK)

// A kernel of today, and one that offers nothing.
static const struct viv_enforce_probe full = {.landlock_abi = 5,
                                              .has_namespaces = true,
                                              .has_seccomp = true,
                                              .has_cgroup_memory = true,
                                              .has_cgroup_cpu = true,
                                              .has_cgroup_pids = true};
static const struct viv_enforce_probe bare;

static struct viv_policy *read_policy(const char *text)
{
    struct viv_policy *policy;
    struct viv_policy_error error;
    const struct viv_policy_source source = {
        .text = text, .len_bytes = strlen(text), .hooks = &kit_files};
    OK(viv_policy_new(&policy));
    if (viv_policy_parse(policy, &source, &error) != VIV_OK) fail_msg("%s", error.diag.text);
    return policy;
}

// The refusal, or "" when all can be enforced.
static const char *judge(uint32_t body, const struct viv_enforce_probe *probe, const char *text)
{
    static struct viv_diag diag;
    struct viv_policy *policy = read_policy(text);
    struct viv_capset *set;
    struct viv_limits limits;
    if (body == VIV_BODY_NATIVE) viv_policy_add_native_floor(policy);
    OK(viv_capset_new(policy->caps, &set));
    viv_limits_of_policy(policy, &limits);
    const struct viv_enforce_ask ask = {.body = body,
                                        .probe = *probe,
                                        .set = set,
                                        .limits = &limits,
                                        .limits_set = policy->limits_set};
    diag.text[0] = '\0';
    const enum viv_err err = viv_enforce_check(&ask, &diag);
    assert_int_equal(err, diag.text[0] != '\0' ? VIV_E_UNENFORCEABLE : VIV_OK);
    viv_capset_drop(set);
    viv_policy_free(policy);
    return diag.text;
}

#define NET_ANY "\nallow net.bind\nallow net.connect\nallow net.resolve"

static void case57_native_with_a_host_pattern(void **state)
{
    (void)state;
    assert_string_equal(
        judge(VIV_BODY_NATIVE, &full, "allow net.connect=tcp:*.example.com:443"),
        "net.bind: a program with a network has all of it: net.bind, net.connect, net.resolve");
    assert_string_equal(
        judge(VIV_BODY_NATIVE, &full,
              "allow net.bind\nallow net.resolve\nallow net.connect=tcp:*.example.com:443"),
        "net.connect=tcp:*.example.com:443: a program is held to TCP ports only, not to addresses, "
        "names or UDP");
    assert_string_equal(judge(VIV_BODY_NATIVE, &full,
                              "allow net.bind\nallow net.resolve\n"
                              "allow net.connect=tcp:*.example.com:443 unenforced"),
                        "");
}

static void case57_what_a_program_is_held_to(void **state)
{
    (void)state;
    static const char no_kernel[] = "this kernel has neither Landlock nor user namespaces";
    struct viv_enforce_probe landlock1 = {.landlock_abi = 1, .has_seccomp = true};
    struct viv_enforce_probe landlock3 = {.landlock_abi = 3, .has_seccomp = true};
    struct viv_enforce_probe mounts = {.has_namespaces = true};
    const struct {
        const struct viv_enforce_probe *probe;
        const char *policy, *why; // a part of the sentence; "" enforceable
    } rows[] = {
        // Everything allowed: nothing to enforce.
        {&bare, "use all", ""},
        // Nothing allowed.
        {&full, "", ""},
        {&bare, "", "net.bind: this kernel has no user namespaces"},
        {&bare, "allow native.spawn\nallow native.signal" NET_ANY, no_kernel},
        // Directories.
        {&full, "allow fs=/srv:r", ""},
        {&full, "allow fs=/srv:rw", ""},
        {&mounts, "allow fs=/srv:r", ""},
        {&mounts, "allow fs=/srv:rwcd", ""},
        {&mounts, "allow fs=/srv:rw", "without Landlock a directory is read-only or not"},
        {&landlock1, "allow fs=/srv:rw" NET_ANY, ""},
        {&landlock1, "allow fs=/srv:r" NET_ANY, "this kernel cannot withhold truncation"},
        {&landlock1, "allow fs=/srv:r unenforced" NET_ANY, ""},
        {&landlock3, "allow fs=/srv:r" NET_ANY, ""},
        {&bare, "allow fs=/srv:r" NET_ANY, no_kernel},
        // Commands.
        {&full, "allow native.spawn=\"/usr/bin/git **\"", ""},
        {&full, "allow native.spawn=\"/usr/bin/git log **\"", "not to the arguments"},
        {&full, "allow native.spawn=/usr/bin/git", "not to the arguments"},
        // Networks.
        {&full, "allow net.bind=tcp:any:80\nallow net.connect\nallow net.resolve", ""},
        {&landlock3, "allow net.bind=tcp:any:80\nallow net.connect\nallow net.resolve",
         "this kernel cannot filter TCP ports"},
        {&full, "allow net.bind=udp:any:80\nallow net.connect\nallow net.resolve", "UDP"},
        {&full, "allow net.bind=tcp:10.0.0.0/8:80\nallow net.connect\nallow net.resolve",
         "addresses"},
        {&full, "allow net.bind\nallow net.connect\nallow net.resolve=a.example.com", "names"},
        {&full, "allow net.bind\nallow net.connect", "net.resolve: a program with a network"},
        {&landlock3, "", "net.bind: this kernel has no user namespaces"},
        {&landlock3, NET_ANY, ""},
        // Clocks: the floor of a program is *any*; less than that is refused.
        {&full, "allow native.signal=term", ""},
        {&mounts, "allow native.signal=term", "this kernel has no seccomp"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const char *why = judge(VIV_BODY_NATIVE, rows[i].probe, rows[i].policy);
        if (rows[i].why[0] == '\0' ? why[0] != '\0' : strstr(why, rows[i].why) == NULL)
            fail_msg("row %u: %s", (unsigned)i, why);
    }
}

static void case57_clocks_cannot_be_withheld(void **state)
{
    (void)state;
    static const char *const classes[] = {"time.read", "time.timer", "entropy", "sys.info"};
    for (size_t i = 0; i < VIV_COUNT_OF(classes); i++) {
        struct viv_policy *policy = read_policy("");
        struct viv_capset *set;
        struct viv_diag diag;
        viv_policy_add_native_floor(policy);
        viv_policy_remove(policy, kit_cap(classes[i]));
        OK(viv_capset_new(policy->caps, &set));
        const struct viv_enforce_ask ask = {.body = VIV_BODY_NATIVE, .probe = full, .set = set};
        assert_int_equal(viv_enforce_check(&ask, &diag), VIV_E_UNENFORCEABLE);
        assert_non_null(strstr(diag.text, classes[i]));
        viv_capset_drop(set);
        viv_policy_free(policy);
    }
}

static void case57_other_bodies(void **state)
{
    (void)state;
    static const char narrow[] = "allow net.connect=tcp:*.example.com:443\nallow time.read=wall\n"
                                 "allow fs=/srv:r\nlimit memory=1M\nlimit cpu=10%";
    assert_string_equal(judge(VIV_BODY_WASM, &bare, narrow), "");
    assert_string_equal(judge(VIV_BODY_BEAM, &bare, narrow), "");
    // Native code in the runtime.
    assert_non_null(
        strstr(judge(VIV_BODY_BEAM, &full, "allow nif.load=/srv\nallow fs=/srv"), "nif.load"));
    assert_string_equal(judge(VIV_BODY_BEAM, &full, "use all"), "");
    // The host.
    assert_string_equal(judge(VIV_BODY_HOST, &full, "use host"), "");
    assert_non_null(strstr(judge(VIV_BODY_HOST, &full, ""), "nothing holds a body of the host"));
    assert_string_equal(judge(VIV_BODY_HOST, &full, "use host\nlimit mailbox=10\nlimit handles=9"),
                        "");
    assert_string_equal(judge(VIV_BODY_HOST, &full, "use host\nlimit memory=1M"),
                        "limit memory: nothing holds this body to it");
    assert_string_equal(judge(VIV_BODY_HOST, &full, "use host\nlimit memory=none"), "");
}

static void case57_limits_of_a_program(void **state)
{
    (void)state;
    struct viv_enforce_probe none = full;
    none.has_cgroup_memory = none.has_cgroup_cpu = none.has_cgroup_pids = false;
    assert_string_equal(judge(VIV_BODY_NATIVE, &full,
                              "limit memory=1M\nlimit cpu=5%\nlimit processes=3\nlimit wall=1s"),
                        "");
    assert_string_equal(judge(VIV_BODY_NATIVE, &none, "limit memory=1M"),
                        "limit memory: this kernel gives us no memory controller");
    assert_string_equal(judge(VIV_BODY_NATIVE, &none, "limit cpu=5%"),
                        "limit cpu: this kernel gives us no cpu controller");
    assert_string_equal(judge(VIV_BODY_NATIVE, &none, "limit processes=3"), ""); // pid namespace
    none.has_namespaces = false;
    none.landlock_abi = 5;
    assert_string_equal(judge(VIV_BODY_NATIVE, &none, "limit processes=3" NET_ANY),
                        "limit processes: this kernel gives us no pids controller");
    assert_string_equal(judge(VIV_BODY_NATIVE, &none, "limit output=3\nlimit cpu_time=1s" NET_ANY),
                        "");
}

// ---- limits ----

static void limits_come_from_policies(void **state)
{
    (void)state;
    struct viv_policy *policy =
        read_policy("use open\nlimit cpu=50%\nlimit mailbox=10 refuse\nlimit output=1K drop\n"
                    "limit wall=2s\nlimit fds=3");
    struct viv_limits limits;
    viv_limits_of_policy(policy, &limits);
    struct viv_account_limits account;
    viv_limits_account(&limits, &account);
    assert_int_equal(account.max[VIV_COUNTER_FDS], 3);
    assert_int_equal(account.max[VIV_COUNTER_HANDLES], 262144);
    assert_int_equal(account.max[VIV_COUNTER_RESOURCES], 1000000);
    assert_int_equal(account.max[VIV_COUNTER_MEMORY_BYTES], (UINT64_C(4) << 30) - 1);
    assert_int_equal(account.max[VIV_COUNTER_CHANNEL_BYTES], 64 << 20);
    assert_true(account.max[VIV_COUNTER_PROCESSES] == VIV_UNLIMITED); // below a session
    struct viv_proc_limits proc;
    viv_limits_proc(&limits, &proc);
    assert_int_equal(proc.mailbox_count, 10);
    assert_int_equal(proc.mailbox_bytes, 1 << 30);
    assert_int_equal(proc.mailbox_policy, VIV_MAILBOX_REFUSE);
    assert_int_equal(proc.life_ns, 2 * VIV_NS_PER_SEC);
    assert_int_equal(proc.cpu_ns, 0);
    struct viv_body_limits body;
    viv_limits_body(&limits, &body);
    assert_int_equal(body.cpu_percent, 50);
    assert_int_equal(body.output_bytes, 1024);
    assert_int_equal(body.output_action, VIV_ACTION_DROP);
    assert_int_equal(body.wall_ns, 2 * VIV_NS_PER_SEC);
    assert_true(body.cpu_time_ns == VIV_POLICY_NO_LIMIT);
    viv_policy_free(policy);
    // Without a count the policy is that of the bytes; a limit of 0 is not "none".
    policy = read_policy("limit mailbox_bytes=0 suspend");
    viv_limits_of_policy(policy, &limits);
    viv_limits_proc(&limits, &proc);
    assert_int_equal(proc.mailbox_count, 0);
    assert_int_equal(proc.mailbox_bytes, 1);
    assert_int_equal(proc.mailbox_policy, VIV_MAILBOX_SUSPEND);
    viv_policy_free(policy);
}

static void limits_of_a_child_are_its_parents_at_most(void **state)
{
    (void)state;
    struct viv_policy *wide = read_policy("use host\nlimit handles=100\nlimit mailbox=5 suspend");
    struct viv_limits parent, child;
    struct viv_diag diag;
    enum viv_policy_limit limit;
    viv_limits_of_policy(wide, &parent);
    // Defaults bend, what was asked for does not.
    struct viv_policy *policy = read_policy("limit memory=1M");
    OK(viv_limits_below(&parent, policy, &child, &diag));
    assert_int_equal(child.bounds[VIV_POLICY_MEMORY].value, 1 << 20);
    assert_int_equal(child.bounds[VIV_POLICY_HANDLES].value, 100);
    assert_int_equal(child.bounds[VIV_POLICY_MAILBOX].value, 5);
    assert_int_equal(child.bounds[VIV_POLICY_MAILBOX].action, VIV_ACTION_SUSPEND);
    assert_int_equal(child.bounds[VIV_POLICY_FDS].value, 1024);
    assert_true(viv_limits_within(&parent, &child, &limit));
    viv_policy_free(policy);
    policy = read_policy("limit handles=101");
    assert_int_equal(viv_limits_below(&parent, policy, &child, &diag), VIV_E_DENIED);
    assert_string_equal(diag.text, "limit handles is above the parent's");
    viv_policy_free(policy);
    child = parent;
    child.bounds[VIV_POLICY_MAILBOX].value = 6;
    assert_false(viv_limits_within(&parent, &child, &limit));
    assert_int_equal(limit, VIV_POLICY_MAILBOX);
    struct viv_limits none, low;
    viv_limits_none(&none);
    assert_false(viv_limits_within(&parent, &none, NULL));
    assert_true(viv_limits_within(&none, &parent, NULL));
    viv_limits_lower(&none, &parent, &low);
    assert_memory_equal(&low.bounds[VIV_POLICY_HANDLES], &parent.bounds[VIV_POLICY_HANDLES],
                        sizeof low.bounds[0]);
    viv_policy_free(wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case57_native_with_a_host_pattern),
        cmocka_unit_test(case57_what_a_program_is_held_to),
        cmocka_unit_test(case57_clocks_cannot_be_withheld),
        cmocka_unit_test(case57_other_bodies),
        cmocka_unit_test(case57_limits_of_a_program),
        cmocka_unit_test(limits_come_from_policies),
        cmocka_unit_test(limits_of_a_child_are_its_parents_at_most),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
