// SPDX-License-Identifier: Apache-2.0
// The policy text: each error with its line and column, all refused (case 61); profiles, limits and
// flags as the contract lists them; printing and reading back; size; allocation failures.
#include "policy_kit.h"
#include <stdio.h>
#include <string.h>

typedef enum viv_err (*add_fn)(struct viv_policy *policy, const struct viv_policy_source *source,
                               struct viv_policy_error *out_error);

static enum viv_err add(add_fn fn, struct viv_policy *policy, const char *text,
                        struct viv_policy_error *error)
{
    struct viv_policy_source source = {
        .text = text, .len_bytes = strlen(text), .hooks = &kit_files};
    return fn(policy, &source, error);
}

static struct viv_policy *policy_of(const char *text)
{
    struct viv_policy *policy;
    struct viv_policy_error error = {0};
    assert_int_equal(viv_policy_new(&policy), VIV_OK);
    if (add(viv_policy_parse, policy, text, &error) != VIV_OK) fail_msg("%s", error.diag.text);
    return policy;
}

// The canonical text, ended; the caller frees the buffer.
static struct viv_buf print(const struct viv_policy *policy)
{
    struct viv_buf out;
    viv_buf_init(&out, VIV_TAG_TEST);
    assert_int_equal(viv_policy_print(policy, &out), VIV_OK);
    assert_int_equal(viv_buf_append(&out, "", 1), VIV_OK);
    return out;
}

static void test_61_each_error_names_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint32_t line, column;
        enum viv_err err;
    } rows[] = {
        {"permit fs", 1, 1, VIV_E_INVAL},
        {"allow entropy\n  forbid fs", 2, 3, VIV_E_INVAL},
        {"allow nonsense", 1, 7, VIV_E_INVAL},
        {"allow", 1, 6, VIV_E_INVAL},
        {"allow net", 1, 7, VIV_E_INVAL},
        {"allow entropy=x", 1, 15, VIV_E_INVAL},
        {"# comment\n\nallow net.bind=tcp:any:80,tcp:any:99999", 3, 35, VIV_E_INVAL},
        {"allow net.bind=tcp:any:80,", 1, 27, VIV_E_INVAL},
        {"allow net.bind=,tcp:any:80", 1, 16, VIV_E_INVAL},
        {"allow net.bind=\"\"", 1, 17, VIV_E_INVAL},
        {"allow net.bind=\"tcp:any:80", 1, 16, VIV_E_INVAL},
        {"allow net.bind=tcp:\"any\":80", 1, 20, VIV_E_INVAL},
        {"allow net.bind = tcp:any:80", 1, 16, VIV_E_INVAL},
        {"allow fs grantable grantable", 1, 20, VIV_E_INVAL},
        {"allow fs unenforceable", 1, 10, VIV_E_INVAL},
        {"allow fs=/missing:r", 1, 10, VIV_E_INVAL},
        {"allow fs=/srv:rq", 1, 15, VIV_E_INVAL},
        {"allow native.spawn=git", 1, 20, VIV_E_INVAL},
        {"allow native.spawn=\"/usr/bin/git a*\"", 1, 34, VIV_E_INVAL},
        {"limit memory", 1, 13, VIV_E_INVAL},
        {"limit memories=1", 1, 7, VIV_E_INVAL},
        {"limit memory=", 1, 14, VIV_E_INVAL},
        {"limit memory=lots", 1, 14, VIV_E_INVAL},
        {"limit memory=1M kill", 1, 17, VIV_E_INVAL},
        {"limit mailbox=10 drop", 1, 18, VIV_E_INVAL},
        {"limit output=10 refuse", 1, 17, VIV_E_INVAL},
        {"limit mailbox=10 kill twice", 1, 23, VIV_E_INVAL},
        {"limit cpu=50", 1, 11, VIV_E_INVAL},
        {"limit cpu=0%", 1, 11, VIV_E_INVAL},
        {"limit wall=0s", 1, 12, VIV_E_INVAL},
        {"limit processes=1K", 1, 17, VIV_E_INVAL},
        {"limit handles=-1", 1, 15, VIV_E_INVAL},
        {"use", 1, 4, VIV_E_INVAL},
        {"use everything", 1, 5, VIV_E_INVAL},
        {"use guest open", 1, 11, VIV_E_INVAL},
        {"ceiling", 1, 8, VIV_E_INVAL},
        {"ceiling roof", 1, 9, VIV_E_INVAL},
        {"ceiling held parent", 1, 14, VIV_E_INVAL},
        {"close-on-revoke now", 1, 17, VIV_E_INVAL},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_policy *policy = policy_of("allow fs=/srv:r\nlimit memory=1M\n");
        struct viv_buf before = print(policy);
        // Good lines in front and behind do not count either.
        char text[256] = "";
        struct viv_policy_error error = {0};
        strcat(strcpy(text, rows[i].text), "\nallow msg.send\nuse open\n");
        enum viv_err err = add(viv_policy_parse, policy, text, &error);
        if (err != rows[i].err || error.line != rows[i].line || error.column != rows[i].column)
            fail_msg("%s: %s (%u:%u)", rows[i].text, error.diag.text, error.line, error.column);
        char where[64];
        snprintf(where, sizeof where, "line %u, column %u: ", rows[i].line, rows[i].column);
        assert_memory_equal(error.diag.text, where, strlen(where));
        struct viv_buf after = print(policy);
        assert_string_equal((char *)before.data, (char *)after.data);
        viv_buf_deinit(&before);
        viv_buf_deinit(&after);
        viv_policy_free(policy);
        assert_int_equal(kit_anchors, 0);
    }
}

static void test_lines(void **state)
{
    (void)state;
    struct viv_policy *policy =
        policy_of("# a comment\n"
                  "\r\n"
                  "  allow entropy   # behind a line\n"
                  "allow net.connect=tcp:*.example.com:443, \"tcp:10.0.0.0/8:80\" grantable\r\n"
                  "allow name.lookup=\n"
                  "allow name.register=\"with, comma\",\"with \"\" quote\",\"#1\" unenforced\n"
                  "allow cap.audit grantable unenforced\n"
                  "limit mailbox=10000 refuse\n"
                  "limit cpu=50%\n"
                  "ceiling parent\n"
                  "close-on-revoke");
    const struct viv_caps *caps = policy->caps;
    assert_int_equal(caps->any, VIV_CAP_BIT(VIV_CAP_ENTROPY) | VIV_CAP_BIT(VIV_CAP_CAP_AUDIT));
    assert_int_equal(caps->any_grantable, VIV_CAP_BIT(VIV_CAP_CAP_AUDIT));
    assert_int_equal(caps->any_unenforced, VIV_CAP_BIT(VIV_CAP_CAP_AUDIT));
    assert_int_equal(caps->held, caps->any | VIV_CAP_BIT(VIV_CAP_NET_CONNECT) |
                                     VIV_CAP_BIT(VIV_CAP_NAME_LOOKUP) |
                                     VIV_CAP_BIT(VIV_CAP_NAME_REGISTER));
    assert_int_equal(caps->scopes[VIV_CAP_NET_CONNECT].count, 2);
    assert_int_equal(caps->scopes[VIV_CAP_NAME_LOOKUP].count, 0);
    assert_int_equal(caps->scopes[VIV_CAP_NAME_REGISTER].count, 3);
    VIV_PATTERNS_EACH(pattern, viv_scope_patterns(&caps->scopes[VIV_CAP_NET_CONNECT]))
    assert_int_equal(pattern->flags, VIV_PATTERN_GRANTABLE);
    static const char *const names[] = {"with, comma", "with \" quote", "#1"};
    struct viv_capset *set;
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++) {
        struct viv_cap_query query = {
            .facets = 1u << VIV_SCOPE_NAMES, .name = names[i], .name_len = strlen(names[i])};
        assert_int_equal(viv_capset_check(set, VIV_CAP_NAME_REGISTER, &query), VIV_OK);
    }
    viv_capset_drop(set);
    struct viv_policy_bound bound = viv_policy_bound_of(policy, VIV_POLICY_MAILBOX);
    assert_int_equal(bound.value, 10000);
    assert_int_equal(bound.action, VIV_ACTION_REFUSE);
    assert_int_equal(viv_policy_bound_of(policy, VIV_POLICY_CPU).value, 50);
    assert_true(policy->has_parent_ceiling);
    assert_true(policy->closes_on_revoke);
    viv_policy_free(policy);
}

static void test_limits_by_default(void **state)
{
    (void)state;
    const uint64_t none = UINT64_MAX, mib = 1 << 20;
    static const enum viv_policy_action free_of_choice = VIV_ACTION_NONE;
    const struct {
        enum viv_policy_limit limit;
        const char *name;
        uint64_t value;
        enum viv_policy_action action;
    } rows[] = {
        {VIV_POLICY_MEMORY, "memory", 256 * mib, free_of_choice},
        {VIV_POLICY_CPU, "cpu", none, free_of_choice},
        {VIV_POLICY_CPU_TIME, "cpu_time", none, free_of_choice},
        {VIV_POLICY_WALL, "wall", none, free_of_choice},
        {VIV_POLICY_PROCESSES, "processes", 1048576, free_of_choice},
        {VIV_POLICY_NATIVE, "native", 64, free_of_choice},
        {VIV_POLICY_HANDLES, "handles", 262144, free_of_choice},
        {VIV_POLICY_RESOURCES, "resources", 1000000, free_of_choice},
        {VIV_POLICY_RESOURCE_BYTES, "resource_bytes", 256 * mib, free_of_choice},
        {VIV_POLICY_CHANNEL_BYTES, "channel_bytes", 64 * mib, free_of_choice},
        {VIV_POLICY_SHARES, "shares", 1024, free_of_choice},
        {VIV_POLICY_FUTURES, "futures", 4096, free_of_choice},
        {VIV_POLICY_TIMERS, "timers", 65536, free_of_choice},
        {VIV_POLICY_FDS, "fds", 1024, free_of_choice},
        {VIV_POLICY_MAILBOX, "mailbox", none, VIV_ACTION_KILL},
        {VIV_POLICY_MAILBOX_BYTES, "mailbox_bytes", 1024 * mib, VIV_ACTION_KILL},
        {VIV_POLICY_OUTPUT, "output", none, VIV_ACTION_KILL},
    };
    assert_int_equal(VIV_COUNT_OF(rows), VIV_POLICY_LIMITS);
    struct viv_policy *guest = policy_of("use guest"), *empty = policy_of("");
    struct viv_policy *open = policy_of("use open"), *all = policy_of("use all");
    struct viv_policy *host = policy_of("use host");
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        enum viv_policy_limit limit = rows[i].limit;
        bool is_processes = limit == VIV_POLICY_PROCESSES;
        uint64_t in_open = limit == VIV_POLICY_MEMORY ? 4096 * mib - 1 : rows[i].value;
        assert_string_equal(viv_policy_limit_name(limit), rows[i].name);
        assert_int_equal(viv_policy_bound_of(guest, limit).value, rows[i].value);
        assert_int_equal(viv_policy_bound_of(guest, limit).action, rows[i].action);
        assert_int_equal(viv_policy_bound_of(empty, limit).value, rows[i].value);
        assert_int_equal(viv_policy_bound_of(open, limit).value, in_open);
        assert_int_equal(viv_policy_bound_of(host, limit).value, is_processes ? 1048576 : none);
        assert_int_equal(viv_policy_bound_of(all, limit).value, is_processes ? 1048576 : none);
    }
    enum viv_policy_limit beyond;
    assert_true(viv_policy_limits_within(open, guest, NULL));
    assert_false(viv_policy_limits_within(guest, open, &beyond));
    assert_int_equal(beyond, VIV_POLICY_MEMORY);
    viv_policy_free(guest);
    viv_policy_free(empty);
    viv_policy_free(open);
    viv_policy_free(all);
    viv_policy_free(host);
}

static void test_values_of_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum viv_policy_limit limit;
        uint64_t value;
        enum viv_policy_action action;
    } rows[] = {
        {"memory=64M", VIV_POLICY_MEMORY, 64 << 20, VIV_ACTION_NONE},
        {"memory=none", VIV_POLICY_MEMORY, UINT64_MAX, VIV_ACTION_NONE},
        {"cpu=150%", VIV_POLICY_CPU, 150, VIV_ACTION_NONE},
        {"cpu_time=250ms", VIV_POLICY_CPU_TIME, 250000000, VIV_ACTION_NONE},
        {"wall=2m", VIV_POLICY_WALL, UINT64_C(120000000000), VIV_ACTION_NONE},
        {"wall=5", VIV_POLICY_WALL, UINT64_C(5000000000), VIV_ACTION_NONE},
        {"processes=0", VIV_POLICY_PROCESSES, 0, VIV_ACTION_NONE},
        {"mailbox=10000 kill", VIV_POLICY_MAILBOX, 10000, VIV_ACTION_KILL},
        {"mailbox=10000 suspend", VIV_POLICY_MAILBOX, 10000, VIV_ACTION_SUSPEND},
        {"mailbox=1", VIV_POLICY_MAILBOX, 1, VIV_ACTION_KILL},
        {"mailbox_bytes=1K refuse", VIV_POLICY_MAILBOX_BYTES, 1024, VIV_ACTION_REFUSE},
        {"output=1G drop", VIV_POLICY_OUTPUT, 1 << 30, VIV_ACTION_DROP},
        {"output=1G", VIV_POLICY_OUTPUT, 1 << 30, VIV_ACTION_KILL},
    };
    struct viv_policy *policy = policy_of("use all");
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        assert_int_equal(add(viv_policy_limit, policy, rows[i].text, NULL), VIV_OK);
        struct viv_policy_bound bound = viv_policy_bound_of(policy, rows[i].limit);
        assert_int_equal(bound.value, rows[i].value);
        assert_int_equal(bound.action, rows[i].action);
    }
    viv_policy_free(policy);
}

static uint64_t classes(const char *names)
{
    uint64_t mask = 0;
    while (*names != '\0') {
        size_t len = strcspn(names, " ");
        int cap = viv_cap_find(names, len);
        if (cap < 0) fail_msg("no class %s", names);
        mask |= UINT64_C(1) << cap;
        names += len + (names[len] == ' ');
    }
    return mask;
}

static void test_profiles(void **state)
{
    (void)state;
    const uint64_t guest_any =
        classes("proc.config msg.send name.register name.lookup chan.create chan.read chan.write "
                "res.share res.attach res.send res.receive singleton.register singleton.lookup "
                "time.read time.timer entropy mod.load mod.publish log.write metrics.write");
    const uint64_t guest_some = classes("proc.spawn proc.link proc.signal proc.inspect");
    const uint64_t open_any =
        guest_any | classes("net.bind net.connect net.resolve net.tls db.open env.read");
    const uint64_t every = (UINT64_C(1) << 54) - 1;
    const struct {
        const char *text;
        uint64_t any, some;
        bool is_host;
    } rows[] = {
        {"use none", 0, 0, false},
        {"use guest", guest_any, guest_some, false},
        {"use guest\nuse guest", guest_any, guest_some, false},
        {"use open", open_any, guest_some | classes("fs"), false},
        {"use host", every, 0, true},
        {"use all", every, 0, false},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_policy *policy = policy_of(rows[i].text);
        struct viv_capset *set;
        assert_int_equal(viv_capset_new(policy->caps, &set), VIV_OK);
        assert_int_equal(set->any, rows[i].any);
        assert_int_equal(set->listed, rows[i].some);
        assert_int_equal(set->none | set->grantable, 0);
        assert_int_equal(policy->is_host, rows[i].is_host);
        viv_capset_drop(set);
        viv_policy_free(policy);
    }
    assert_int_equal(kit_anchors, 0);
    // What this build cannot do is not in `all`.
    struct viv_policy *policy;
    struct viv_policy_source source = {
        .text = "all", .len_bytes = 3, .enforceable = every & ~classes("nif.load")};
    assert_int_equal(viv_policy_new(&policy), VIV_OK);
    assert_int_equal(viv_policy_use(policy, &source, NULL), VIV_OK);
    assert_int_equal(policy->caps->any, every & ~classes("nif.load"));
    viv_policy_free(policy);
}

static void test_single_arguments(void **state)
{
    (void)state;
    struct viv_policy *policy = policy_of("use host");
    struct viv_policy_error error;
    viv_policy_remove(policy, VIV_CAP_NET_CONNECT);
    assert_false(policy->is_host); // something was taken from it
    assert_int_equal(policy->caps->held, VIV_CAP_ALL & ~VIV_CAP_BIT(VIV_CAP_NET_CONNECT));
    viv_policy_free(policy);
    policy = policy_of("");
    assert_int_equal(add(viv_policy_use, policy, "guest", &error), VIV_OK);
    assert_int_equal(
        add(viv_policy_allow, policy, "native.spawn=\"/usr/bin/git log **\" grantable", &error),
        VIV_OK);
    assert_int_equal(policy->caps->scopes[VIV_CAP_NATIVE_SPAWN].count, 1);
    // One argument is one line, and no comment.
    assert_int_equal(add(viv_policy_allow, policy, "entropy\nallow fs", &error), VIV_E_INVAL);
    assert_int_equal(error.column, 8);
    assert_int_equal(add(viv_policy_allow, policy, "sys.info # x", &error), VIV_E_INVAL);
    assert_int_equal(add(viv_policy_limit, policy, "memory=1M\n", &error), VIV_E_INVAL);
    assert_int_equal(add(viv_policy_use, policy, "open#", &error), VIV_E_INVAL);
    assert_int_equal(add(viv_policy_allow, policy, "", &error), VIV_E_INVAL);
    assert_int_equal(policy->caps->held & VIV_CAP_BIT(VIV_CAP_SYS_INFO), 0);
    viv_policy_add_native_floor(policy);
    assert_int_equal(policy->caps->any & classes("time.read time.timer entropy sys.info"),
                     classes("time.read time.timer entropy sys.info"));
    viv_policy_free(policy);
    assert_int_equal(kit_anchors, 0);
}

static void test_print_reads_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "use guest",
        "use open",
        "use host",
        "use all\nlimit memory=1M",
        "allow name.lookup=\nallow name.register=\"a b\",\"c,d\",\"#e\",\"f\"\"g\",h grantable",
        "allow net.connect=tcp:*.a.b:1-2+4,any:[::1]:*,unix:/x/* unenforced",
        "allow net.connect\nallow net.connect=tcp:any:1 grantable\nallow net.bind grantable",
        "allow proc.signal=env,kill,exit\nallow native.signal=term,63",
        "allow fs=/srv::/x:r,/data grantable unenforced\nallow fs=.:rx",
        "allow native.spawn=\"/usr/bin/git {int} {path:/srv} * **\"",
        "allow chan.create=64K\nallow chan.read=\"#1.2.3\",\"#1.2.4\"",
        "limit cpu=75%\nlimit wall=1500ms\nlimit cpu_time=3h\nlimit memory=12345",
        "limit mailbox=5 suspend\nlimit output=2T drop\nlimit fds=none",
        "ceiling parent\nclose-on-revoke",
    };
    for (size_t i = 0; i < VIV_COUNT_OF(texts); i++) {
        struct viv_policy *policy = policy_of(texts[i]);
        struct viv_buf once = print(policy);
        struct viv_policy *again = policy_of((char *)once.data);
        struct viv_buf twice = print(again);
        assert_string_equal((char *)once.data, (char *)twice.data);
        struct viv_capset *a, *b;
        assert_int_equal(viv_capset_new(policy->caps, &a), VIV_OK);
        assert_int_equal(viv_capset_new(again->caps, &b), VIV_OK);
        assert_true(viv_capset_contains(a, b, NULL) && viv_capset_contains(b, a, NULL));
        assert_int_equal(viv_capset_held(a), viv_capset_held(b));
        assert_int_equal(a->grantable, b->grantable);
        for (int limit = 0; limit < VIV_POLICY_LIMITS; limit++)
            assert_int_equal(viv_policy_bound_of(policy, (enum viv_policy_limit)limit).value,
                             viv_policy_bound_of(again, (enum viv_policy_limit)limit).value);
        viv_capset_drop(a);
        viv_capset_drop(b);
        viv_buf_deinit(&once);
        viv_buf_deinit(&twice);
        viv_policy_free(policy);
        viv_policy_free(again);
    }
    assert_int_equal(kit_anchors, 0);
}

static void test_canonical_text(void **state)
{
    (void)state;
    struct viv_policy *policy =
        policy_of("limit memory=65536K\nallow entropy\nallow net.bind=\"tcp:any:80\",udp:any:53\n"
                  "allow fs= \nallow name.lookup=\"a b\",c grantable");
    struct viv_buf out = print(policy);
    const char *due = "allow name.lookup=\"a b\",c grantable\n"
                      "allow net.bind=tcp:any:80,udp:any:53\n"
                      "allow fs=\n"
                      "allow entropy\n"
                      "limit memory=64M\n";
    assert_memory_equal(out.data, due, strlen(due));
    viv_buf_deinit(&out);
    viv_policy_free(policy);
}

// Ten megabytes of every kind: taken or refused, in one pass.
static void test_large_texts(void **state)
{
    (void)state;
    enum { BYTES = 10 << 20 };
    static const struct {
        const char *head, *piece;
        enum viv_err err;
    } rows[] = {
        {"", "# comment\n", VIV_OK},
        {"", "limit memory=1M\n", VIV_OK},
        {"", "use open\n", VIV_OK},
        {"", "allow fs\n", VIV_OK},
        {"", "allow mod.load=bytes\n", VIV_OK},
        {"allow fs\n", "allow fs=/srv:r\n", VIV_OK},
        {"", "allow name.lookup=a\n", VIV_E_QUOTA},
        {"allow name.lookup=", "a", VIV_E_INVAL},
        {"allow name.lookup=\"", "a\"\"", VIV_E_INVAL},
        {"allow res.send=channel", ",channel", VIV_OK},
        {"", " ", VIV_OK},
        {"", "x", VIV_E_INVAL},
    };
    char *text = viv_alloc(BYTES, VIV_TAG_TEST);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        size_t len = strlen(rows[i].head), piece = strlen(rows[i].piece);
        memcpy(text, rows[i].head, len);
        for (; len + piece <= BYTES; len += piece)
            memcpy(text + len, rows[i].piece, piece);
        struct viv_policy *policy;
        struct viv_policy_error error = {0};
        struct viv_policy_source source = {.text = text, .len_bytes = len, .hooks = &kit_files};
        assert_int_equal(viv_policy_new(&policy), VIV_OK);
        enum viv_err err = viv_policy_parse(policy, &source, &error);
        if (err != rows[i].err) fail_msg("%s: %s", rows[i].piece, error.diag.text);
        viv_policy_free(policy);
    }
    viv_free(text, BYTES, VIV_TAG_TEST);
    struct viv_policy *policy;
    struct viv_policy_source source = {.text = "", .len_bytes = (size_t)VIV_POLICY_BYTES_MAX + 1};
    assert_int_equal(viv_policy_new(&policy), VIV_OK);
    assert_int_equal(viv_policy_parse(policy, &source, NULL), VIV_E_TOOBIG);
    viv_policy_free(policy);
}

static enum viv_err parse_and_print(void)
{
    static const char text[] =
        "use open\nallow name.lookup=a,b\nallow native.spawn=\"/usr/bin/git *\"";
    struct viv_policy *policy = NULL;
    struct viv_buf out;
    struct viv_policy_error error;
    viv_buf_init(&out, VIV_TAG_TEST);
    enum viv_err err = viv_policy_new(&policy);
    if (err == VIV_OK) err = add(viv_policy_parse, policy, text, &error);
    if (err == VIV_OK) err = viv_policy_print(policy, &out);
    viv_buf_deinit(&out);
    viv_policy_free(policy);
    return err;
}

static void test_every_allocation_fails_once(void **state)
{
    (void)state;
    const int64_t before = viv_alloc_live_bytes_all();
    uint64_t nth = 1;
    for (;; nth++) {
        viv_alloc_fail_nth(nth);
        enum viv_err err = parse_and_print();
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
        cmocka_unit_test(test_61_each_error_names_line_and_column),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_limits_by_default),
        cmocka_unit_test(test_values_of_limits),
        cmocka_unit_test(test_profiles),
        cmocka_unit_test(test_single_arguments),
        cmocka_unit_test(test_print_reads_back),
        cmocka_unit_test(test_canonical_text),
        cmocka_unit_test(test_large_texts),
        cmocka_unit_test(test_every_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
