// SPDX-License-Identifier: Apache-2.0
// Patterns: each type with five objects inside and five outside (case 49), containment of pairs,
// printing, refusals, host patterns and special networks (58), rights of directories (59), commands
// (60).
#include "policy_kit.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

enum { EACH = 5 };

static bool admits(enum viv_cap cap, const char *patterns, const struct viv_cap_query *query)
{
    struct viv_capset *set = kit_set(cap, patterns);
    enum viv_err err = viv_capset_check(set, cap, query);
    viv_capset_drop(set);
    assert_true(err == VIV_OK || err == VIV_E_DENIED);
    return err == VIV_OK;
}

// ------------------------------------------------------------------- names, nodes, hosts, verbs

struct name_case {
    const char *cap, *patterns;
    enum viv_scope_type type;
    const char *inside[EACH], *outside[EACH];
};

static const struct name_case name_cases[] = {
    {"name.register",
     "a.b|c.*|single",
     VIV_SCOPE_NAMES,
     {"a.b", "c.d", "c.d.e", "c.x", "single"},
     {"a", "a.b.c", "c", "cd", "a.bc"}},
    {"dist.connect",
     "app@db.example.com|*.inner.net|web@*",
     VIV_SCOPE_NODES,
     {"app@db.example.com", "x@h.inner.net", "y@a.b.inner.net", "web@h", "web@10.0.0.1"},
     {"app@db.example.org", "x@inner.net.evil", "webb@h", "web", "app@DB.example.com"}},
    {"net.resolve",
     "*.example.com|one.org",
     VIV_SCOPE_HOSTS,
     {"a.example.com", "a.b.example.com", "one.org", "A.EXAMPLE.COM", "one.org."},
     {"example.com", "badexample.com", "a.example.com.evil", "two.org", "x.one.org"}},
    {"ctl.control",
     "stop|kill|trace|reload|drain-all",
     VIV_SCOPE_VERBS,
     {"stop", "kill", "trace", "reload", "drain-all"},
     {"sto", "stopp", "halt", "STOP", ""}},
};

static void test_49_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(name_cases); i++) {
        const struct name_case *row = &name_cases[i];
        for (int j = 0; j < 2 * EACH; j++) {
            const char *name = j < EACH ? row->inside[j] : row->outside[j - EACH];
            struct viv_cap_query query = {
                .facets = 1u << row->type, .name = name, .name_len = strlen(name)};
            if (admits(kit_cap(row->cap), row->patterns, &query) != (j < EACH))
                fail_msg("%s=%s and %s", row->cap, row->patterns, name);
        }
    }
}

// ------------------------------------------------------------------------------- sets and numbers

struct number_case {
    const char *cap, *patterns;
    enum viv_scope_type type;
    uint64_t inside[EACH], outside[EACH];
};

static const struct number_case number_cases[] = {
    // #shard.index.generation; generation in the upper half, shard from bit 24.
    {"chan.read",
     "#0.1.1|#0.2.1|#1.1.1|#2.3.7|#255.16777215.4294967295",
     VIV_SCOPE_RIDS,
     {UINT64_C(0x100000001), UINT64_C(0x100000002), UINT64_C(0x101000001), UINT64_C(0x702000003),
      UINT64_MAX},
     {0, 1, UINT64_C(0x200000001), UINT64_C(0x100000003), UINT64_C(0x702000004)}},
    {"res.send",
     "channel|reader|writer|stream|63",
     VIV_SCOPE_KINDS,
     {6, 7, 8, 13, 63},
     {0, 1, 5, 14, 64}},
    {"cap.delegate",
     "proc.spawn|net.connect|fs|time.read|native.mode",
     VIV_SCOPE_CLASSES,
     {0, 22, 25, 27, 53},
     {1, 21, 23, 26, 64}},
    {"native.signal",
     "term|SIGHUP|9|usr1|64",
     VIV_SCOPE_SIGNALS,
     {15, 1, 9, 10, 64},
     {0, 2, 12, 63, 65}},
    {"proc.spawn",
     "wasm|beam|native|host|wasm",
     VIV_SCOPE_BODIES,
     {0, 1, 2, 3, 0},
     {4, 5, 6, 63, 64}},
    {"native.mode",
     "persist|scope|env|path|unbounded",
     VIV_SCOPE_WORDS,
     {0, 2, 4, 5, 7},
     {1, 3, 6, 8, 64}},
    {"chan.create",
     "64K",
     VIV_SCOPE_MAX,
     {0, 1, 1024, 65535, 65536},
     {65537, 65538, 131072, UINT64_C(1) << 32, UINT64_MAX}},
};

static void test_49_numbers(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(number_cases); i++) {
        const struct number_case *row = &number_cases[i];
        for (int j = 0; j < 2 * EACH; j++) {
            uint64_t number = j < EACH ? row->inside[j] : row->outside[j - EACH];
            struct viv_cap_query query = {.facets = 1u << row->type, .number = number};
            if (admits(kit_cap(row->cap), row->patterns, &query) != (j < EACH))
                fail_msg("%s=%s and %#llx", row->cap, row->patterns, (unsigned long long)number);
        }
    }
}

static void test_49_relations(void **state)
{
    (void)state;
    enum { SELF = 1, CHILD = 2, BELOW = 4, ENV = 8, SESSION = 16 };
    // A process of the environment that is nothing else, one of the session, a grandchild, a child
    // (which is a descendant too), the process itself, a process of elsewhere.
    static const uint32_t who[] = {ENV, ENV | SESSION, ENV | BELOW, ENV | BELOW | CHILD, ENV | SELF,
                                   0};
    static const struct {
        const char *pattern;
        bool admits[6];
    } rows[] = {
        {"self", {false, false, false, false, true, false}},
        {"children", {false, false, false, true, true, false}},
        {"descendants", {false, false, true, true, true, false}},
        {"env", {true, true, true, true, true, false}},
        {"session", {false, true, false, false, true, false}},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        for (size_t j = 0; j < VIV_COUNT_OF(who); j++) {
            struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_RELATION, .relation = who[j]};
            if (admits(VIV_CAP_PROC_LINK, rows[i].pattern, &query) != rows[i].admits[j])
                fail_msg("%s and %u", rows[i].pattern, who[j]);
        }
    }
}

// -------------------------------------------------------------------------------------- addresses

// "tcp 10.0.0.1 80", "tcp host=a.example.com 80", "tcp host=a.example.com@10.0.0.1 80", "unix /p".
static struct viv_cap_query address(const char *text, char *scratch)
{
    static const struct {
        const char *name;
        uint16_t proto;
    } protos[] = {{"tcp", 1}, {"udp", 2}, {"unix", 4}, {"http", 8}, {"quic", 16}};
    struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_ADDRESS};
    char proto[8], where[128];
    unsigned port = 0;
    assert_true(sscanf(text, "%7s %127s %u", proto, where, &port) >= 2);
    for (size_t i = 0; i < VIV_COUNT_OF(protos); i++)
        if (strcmp(proto, protos[i].name) == 0) query.proto = protos[i].proto;
    assert_int_not_equal(query.proto, 0);
    query.port = (uint16_t)port;
    if (query.proto == 4) {
        query.path = strcpy(scratch, where);
        query.path_len = strlen(where);
        return query;
    }
    char *addr = where;
    if (strncmp(where, "host=", 5) == 0) {
        addr = strchr(where, '@');
        if (addr != NULL) *addr++ = '\0';
        query.name = strcpy(scratch, where + 5);
        query.name_len = strlen(scratch);
        if (addr == NULL) return query;
    }
    query.has_addr = true;
    if (strchr(addr, ':') != NULL) {
        assert_int_equal(inet_pton(AF_INET6, addr, query.addr), 1);
        return query;
    }
    query.addr[10] = query.addr[11] = 0xFF;
    assert_int_equal(inet_pton(AF_INET, addr, query.addr + 12), 1);
    return query;
}

static const struct {
    const char *pattern;
    const char *inside[EACH], *outside[EACH];
} address_cases[] = {
    {"tcp:10.0.0.0/8:80",
     {"tcp 10.0.0.0 80", "tcp 10.255.255.255 80", "tcp ::ffff:10.1.2.3 80", "tcp 10.0.0.1 80",
      "tcp 10.128.0.1 80"},
     {"udp 10.0.0.1 80", "tcp 11.0.0.0 80", "tcp 9.255.255.255 80", "tcp 10.0.0.1 81",
      "tcp ::a00:1 80"}},
    {"tcp:[2001:db8::]/32:80-89+443",
     {"tcp 2001:db8::1 80", "tcp 2001:db8:ffff::1 89", "tcp 2001:db8::1 443", "tcp 2001:db8:: 85",
      "tcp 2001:db8::ffff 81"},
     {"tcp 2001:db9::1 80", "tcp 2001:db8::1 79", "tcp 2001:db8::1 90", "tcp 1.2.3.4 80",
      "tcp 2001:db8::1 444"}},
    {"any:public:*",
     {"tcp 8.8.8.8 1", "udp 1.1.1.1 65535", "quic 2606:4700::1 443", "http 172.32.0.1 80",
      "tcp 11.0.0.1 0"},
     {"tcp 10.0.0.1 1", "tcp ::ffff:192.168.1.1 1", "udp 127.0.0.1 1", "tcp fe80::1 1",
      "tcp 224.0.0.1 1"}},
    {"udp:private:53",
     {"udp 10.0.0.1 53", "udp 172.16.0.1 53", "udp 172.31.255.255 53", "udp 192.168.0.1 53",
      "udp fd00::1 53"},
     {"udp 172.32.0.1 53", "udp 172.15.0.1 53", "udp 8.8.8.8 53", "udp 127.0.0.1 53",
      "udp 169.254.0.1 53"}},
    {"tcp:loopback:*",
     {"tcp 127.0.0.1 1", "tcp 127.255.0.1 2", "tcp ::1 3", "tcp ::ffff:127.0.0.1 4",
      "tcp 127.0.0.0 5"},
     {"tcp 128.0.0.1 1", "tcp 0.0.0.0 2", "tcp ::2 3", "tcp :: 4", "udp 127.0.0.1 1"}},
    {"tcp:linklocal:80",
     {"tcp 169.254.0.1 80", "tcp 169.254.169.254 80", "tcp fe80::1 80", "tcp febf::1 80",
      "tcp ::ffff:169.254.1.1 80"},
     {"tcp 169.253.0.1 80", "tcp 169.255.0.1 80", "tcp fec0::1 80", "tcp 10.0.0.1 80",
      "tcp fe80::1 81"}},
    {"tcp:any:8080",
     {"tcp 0.0.0.0 8080", "tcp 127.0.0.1 8080", "tcp :: 8080", "tcp 10.0.0.1 8080",
      "tcp host=a.b 8080"},
     {"udp 0.0.0.0 8080", "tcp 0.0.0.0 8081", "quic 1.2.3.4 8080", "unix /a", "tcp 1.2.3.4 808"}},
    {"tcp:*.example.com:443",
     {"tcp host=a.example.com 443", "tcp host=a.b.example.com 443",
      "tcp host=a.example.com@93.184.216.34 443", "tcp host=A.Example.Com 443",
      "tcp host=a.example.com@2606:4700::1 443"},
     {"tcp host=example.com 443", "tcp host=a.example.com 80", "tcp 93.184.216.34 443",
      "tcp host=a.example.com@10.0.0.1 443", "tcp host=aexample.com 443"}},
    {"unix:/run/app/*",
     {"unix /run/app/a", "unix /run/app/b.sock", "unix /run/app/c/d", "unix /run/app/..x",
      "unix /run/app/.x"},
     {"unix /run/app", "unix /run/apps/a", "unix /run/app/../x", "unix /run/x", "unix run/app/a"}},
};

static void test_49_addresses(void **state)
{
    (void)state;
    char scratch[128];
    for (size_t i = 0; i < VIV_COUNT_OF(address_cases); i++) {
        for (int j = 0; j < 2 * EACH; j++) {
            const char *text =
                j < EACH ? address_cases[i].inside[j] : address_cases[i].outside[j - EACH];
            struct viv_cap_query query = address(text, scratch);
            if (admits(VIV_CAP_NET_CONNECT, address_cases[i].pattern, &query) != (j < EACH))
                fail_msg("%s and %s", address_cases[i].pattern, text);
        }
    }
}

static void test_58_resolved_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *patterns, *object;
        bool admits;
    } rows[] = {
        {"tcp:*.example.com:80", "tcp host=x.example.com@127.0.0.1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@::ffff:10.0.0.1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@169.254.0.1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@224.0.0.1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@ff02::1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@0.0.0.0 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@:: 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@::1 80", false},
        {"tcp:*.example.com:80", "tcp host=x.example.com@8.8.8.8 80", true},
        // An address pattern beside it admits what the host pattern does not.
        {"tcp:*.example.com:80|tcp:private:80", "tcp host=x.example.com@10.0.0.1 80", true},
        {"tcp:*.example.com:80|tcp:127.0.0.0/8:80", "tcp host=x.example.com@127.0.0.1 80", true},
        {"tcp:*.example.com:80|tcp:private:81", "tcp host=x.example.com@10.0.0.1 80", false},
    };
    char scratch[128];
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_cap_query query = address(rows[i].object, scratch);
        if (admits(VIV_CAP_NET_CONNECT, rows[i].patterns, &query) != rows[i].admits)
            fail_msg("%s and %s", rows[i].patterns, rows[i].object);
    }
}

// -------------------------------------------------------------------------- directories, commands

static void test_49_directories(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path;
        uint32_t rights;
        bool admits;
    } rows[] = {
        {"/srv/a:r", "/srv/a", VIV_DIR_READ, true},
        {"/srv/a:r", "/srv/a/f", VIV_DIR_READ, true},
        {"/srv/a:r", "/srv/a/b/c", VIV_DIR_READ, true},
        {"/srv/a::/g:r", "/g/f", VIV_DIR_READ, true},
        {".:r", "/home/me/f", VIV_DIR_READ, true},
        {".:r", "f/g", VIV_DIR_READ, true},
        {"./site::/site:r", "/site/index.html", VIV_DIR_READ, true},
        {"/srv/a:r", "/srv/ab", VIV_DIR_READ, false},
        {"/srv/a:r", "/srv", VIV_DIR_READ, false},
        {"/srv/a:r", "/srv/a/../b", VIV_DIR_READ, false},
        {"/srv/a:r", "srv/a/f", VIV_DIR_READ, false},
        {"/srv/a::/g:r", "/srv/a/f", VIV_DIR_READ, false},
        {".:r", "../f", VIV_DIR_READ, false},
        {"/srv/a:r", "/srv/a/f", 0, false},
        {"/srv/a", "/srv/a/f", VIV_DIR_WRITE | VIV_DIR_CREATE | VIV_DIR_DELETE, true},
        {"/srv/a", "/srv/a/f", VIV_DIR_EXEC, false}, // must be asked for
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                      .path = rows[i].path,
                                      .path_len = strlen(rows[i].path),
                                      .rights = rows[i].rights};
        if (admits(VIV_CAP_FS, rows[i].pattern, &query) != rows[i].admits)
            fail_msg("row %zu: %s and %s", i, rows[i].pattern, rows[i].path);
    }
}

static void test_59_each_right_alone(void **state)
{
    (void)state;
    static const char letters[] = "rwcdx";
    for (unsigned given = 0; given < 5; given++) {
        char pattern[16];
        snprintf(pattern, sizeof pattern, "/srv:%c", letters[given]);
        for (unsigned wanted = 1; wanted < 32; wanted++) {
            struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_DIRECTORY,
                                          .path = "/srv/f",
                                          .path_len = 6,
                                          .rights = wanted};
            assert_int_equal(admits(VIV_CAP_FS, pattern, &query), wanted == 1u << given);
        }
    }
}

// Arguments are parted by `|`; the file is the one at `path` unless `ino` is given.
static struct viv_cap_query command(const char *path, const char *args, uint64_t ino,
                                    const char **argv, char *scratch)
{
    struct viv_cap_query query = {.facets = 1u << VIV_SCOPE_COMMAND,
                                  .path = path,
                                  .path_len = strlen(path),
                                  .dev = 1,
                                  .ino = ino != 0 ? ino : kit_ino(path),
                                  .argv = argv};
    for (char *at = strcpy(scratch, args); *args != '\0';) {
        argv[query.argc++] = at;
        at = strchr(at, '|');
        if (at == NULL) break;
        *at++ = '\0';
    }
    return query;
}

static void test_60_commands(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *path, *args;
        uint64_t ino;
        bool admits;
    } rows[] = {
        {"/usr/bin/git log **", "/usr/bin/git", "log", 0, true},
        {"/usr/bin/git log **", "/usr/bin/git", "log|-p|x y|;", 0, true},
        {"/usr/bin/git", "/usr/bin/git", "", 0, true},
        {"/usr/bin/git show *", "/usr/bin/git", "show|HEAD", 0, true},
        {"/usr/bin/git show *", "/usr/bin/git", "show|; rm -rf /", 0, true}, // one argument
        {"/usr/bin/git -n {int}", "/usr/bin/git", "-n|-12", 0, true},
        {"/usr/bin/git -C {path:/srv/a}", "/usr/bin/git", "-C|/srv/a/b", 0, true},
        {"/usr/bin/link log", "/usr/bin/link", "log", 0, true},
        {"/usr/bin/link log", "/usr/bin/git", "log", 0, true}, // what the link leads to
        // another file
        {"/usr/bin/git log", "/usr/bin/other", "log", 0, false},
        {"/usr/bin/git log", "/usr/bin/other", "log", 9, false}, // a hard link to it
        // an extra argument, a missing one
        {"/usr/bin/git log", "/usr/bin/git", "log|-p", 0, false},
        {"/usr/bin/git", "/usr/bin/git", "log", 0, false},
        {"/usr/bin/git show *", "/usr/bin/git", "show", 0, false},
        {"/usr/bin/git show *", "/usr/bin/git", "show|a|b", 0, false},
        // `;` is no separator
        {"/usr/bin/git log", "/usr/bin/git", "log;", 0, false},
        {"/usr/bin/git log", "/usr/bin/git", "log|;", 0, false},
        // relative
        {"/usr/bin/git log", "git", "log", 9, false},
        {"/usr/bin/git log", "./git", "log", 9, false},
        // replaced: another file under the same name
        {"/usr/bin/git log", "/usr/bin/git", "log", 77, false},
        {"/usr/bin/git -n {int}", "/usr/bin/git", "-n|1;2", 0, false},
        {"/usr/bin/git -n {int}", "/usr/bin/git", "-n|-", 0, false},
        {"/usr/bin/git -C {path:/srv/a}", "/usr/bin/git", "-C|/srv/a/../b", 0, false},
        {"/usr/bin/git -C {path:/srv/a}", "/usr/bin/git", "-C|/srv/ab", 0, false},
        {"/usr/bin/git -C {path:/srv/a}", "/usr/bin/git", "-C|b", 0, false},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        const char *argv[8];
        char scratch[64];
        struct viv_cap_query query =
            command(rows[i].path, rows[i].args, rows[i].ino, argv, scratch);
        if (admits(VIV_CAP_NATIVE_SPAWN, rows[i].pattern, &query) != rows[i].admits)
            fail_msg("row %zu: %s and %s", i, rows[i].pattern, rows[i].args);
    }
}

static void test_a_command_that_nobody_opened_admits_nothing(void **state)
{
    (void)state;
    struct viv_caps *caps;
    struct viv_capset *set;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    kit_allow(caps, VIV_CAP_NATIVE_SPAWN, "/usr/bin/git **", 0, NULL);
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_COMMAND, .path = "/usr/bin/git", .path_len = 12};
    assert_int_equal(viv_capset_check(set, VIV_CAP_NATIVE_SPAWN, &query), VIV_E_DENIED);
    viv_capset_drop(set);
    viv_caps_free(caps);
}

// ------------------------------------------------------------------------------------ containment

struct pair {
    const char *cap, *parent, *child;
    bool contains;
};

static const struct pair pairs[] = {
    {"proc.link", "children", "self", true},
    {"proc.link", "descendants", "children", true},
    {"proc.link", "env", "descendants", true},
    {"proc.link", "env", "session", true},
    {"proc.link", "session", "self", true},
    {"proc.link", "children", "descendants", false},
    {"proc.link", "session", "env", false},
    {"proc.link", "descendants", "session", false},
    {"name.lookup", "a.*", "a.b", true},
    {"name.lookup", "a.*", "a.b.*", true},
    {"name.lookup", "a.*", "a.*", true},
    {"name.lookup", "*", "a.*", true},
    {"name.lookup", "a.b", "a.b", true},
    {"name.lookup", "a.b", "a.*", false},
    {"name.lookup", "a.b.*", "a.*", false},
    {"name.lookup", "a.*", "ab", false},
    {"name.lookup", "a.*", "a", false},
    {"name.lookup", "a.*", "*", false},
    {"dist.send", "*.b.c", "*.a.b.c", true},
    {"dist.send", "*.b.c", "b.*", false},
    {"net.resolve", "*.b.c", "a.b.c", true},
    {"net.resolve", "*.b.c", "*.a.b.c", true},
    {"net.resolve", "*.b.c", "b.c", false},
    {"net.resolve", "*.b.c", "*.c", false},
    {"chan.create", "1M", "1024K", true},
    {"chan.create", "1M", "1048577", false},
    {"chan.read", "#1.2.3", "#1.2.3", true},
    {"chan.read", "#1.2.3", "#1.2.4", false},
    {"res.send", "channel|stream", "stream", true},
    {"res.send", "channel|stream", "stream|channel", true},
    {"res.send", "channel", "stream", false},
    {"proc.spawn", "wasm|app.*", "wasm", true},
    {"proc.spawn", "wasm|app.*", "app.x", true},
    {"proc.spawn", "wasm|app.*", "beam", false},
    {"net.connect", "tcp:any:*", "tcp:10.0.0.0/8:80", true},
    {"net.connect", "any:any:*", "udp:*.a.b:1-2", true},
    {"net.connect", "any:any:*", "unix:/a", false},
    {"net.connect", "tcp:any:80", "any:any:80", false},
    {"net.connect", "tcp:10.0.0.0/8:*", "tcp:10.1.0.0/16:*", true},
    {"net.connect", "tcp:10.0.0.0/8:*", "tcp:10.1.2.3:1", true},
    {"net.connect", "tcp:10.0.0.0/8:*", "tcp:[::ffff:10.0.0.0]/104:1", true},
    {"net.connect", "tcp:10.0.0.0/8:*", "tcp:0.0.0.0/0:1", false},
    {"net.connect", "tcp:[::]/0:*", "tcp:[2001:db8::]/32:1", true},
    {"net.connect", "tcp:[::]/0:*", "tcp:10.0.0.1:1", false},
    {"net.connect", "tcp:private:*", "tcp:192.168.4.0/24:1", true},
    {"net.connect", "tcp:private:*", "tcp:192.0.0.0/8:1", false},
    {"net.connect", "tcp:public:*", "tcp:8.8.0.0/16:1", true},
    {"net.connect", "tcp:public:*", "tcp:8.0.0.0/5:1", false}, // 10/8 is in it
    {"net.connect", "tcp:public:*", "tcp:10.0.0.1:1", false},
    {"net.connect", "tcp:public:*", "tcp:private:1", false},
    {"net.connect", "tcp:public:*", "tcp:a.example.com:1", false},
    {"net.connect", "tcp:loopback:*", "tcp:127.0.0.1:1", true},
    {"net.connect", "tcp:127.0.0.0/8:*", "tcp:loopback:1", false}, // ::1 too
    {"net.connect", "tcp:*.a.b:443", "tcp:x.a.b:443", true},
    {"net.connect", "tcp:*.a.b:443", "tcp:x.a.b:442-443", false},
    {"net.connect", "tcp:any:1-9+20", "tcp:any:2-3+5+20", true},
    {"net.connect", "tcp:any:1-4+5-9", "tcp:any:2-8", true}, // the ranges touch
    {"net.connect", "tcp:any:1-4+6-9", "tcp:any:2-8", false},
    {"net.connect", "unix:/run/*", "unix:/run/a", true},
    {"net.connect", "unix:/run/*", "unix:/run/a/*", true},
    {"net.connect", "unix:/run/*", "unix:/run", false},
    {"net.connect", "unix:/run/a", "unix:/run/*", false},
    // One pattern must contain it alone.
    {"net.connect", "tcp:any:1-4|tcp:any:5-9", "tcp:any:2-8", false},
    {"fs", "/srv:rw", "/srv/a:r", true},
    {"fs", "/srv/a:rw", "/srv/a/b:rw", true},
    {"fs", "/:r", "/srv:r", true},
    {"fs", ".:r", "./site::/x:r", true},
    {"fs", "/srv/a:r", "/srv/ab:r", false},
    {"fs", "/srv:r", "/srv:rw", false},
    {"fs", "/srv/a:r", "/srv:r", false},
    {"fs", "/:r", "/away:r", true},
    {"fs", "/data:r", "/away:r", true}, // by where the link leads
    {"native.spawn", "/usr/bin/git **", "/usr/bin/git log *", true},
    {"native.spawn", "/usr/bin/git log **", "/usr/bin/git log", true},
    {"native.spawn", "/usr/bin/git log *", "/usr/bin/git log x", true},
    {"native.spawn", "/usr/bin/git {int}", "/usr/bin/git 12", true},
    {"native.spawn", "/usr/bin/git *", "/usr/bin/git {int}", true},
    {"native.spawn", "/usr/bin/git {path:/srv}", "/usr/bin/git {path:/srv/a}", true},
    {"native.spawn", "/usr/bin/git {path:/srv}", "/usr/bin/git /srv/a", true},
    {"native.spawn", "/usr/bin/git *", "/usr/bin/git **", false},
    {"native.spawn", "/usr/bin/git {int}", "/usr/bin/git *", false},
    {"native.spawn", "/usr/bin/git {int}", "/usr/bin/git x", false},
    {"native.spawn", "/usr/bin/git log", "/usr/bin/git log x", false},
    {"native.spawn", "/usr/bin/git log x", "/usr/bin/git log", false},
    {"native.spawn", "/usr/bin/git {path:/srv/a}", "/usr/bin/git {path:/srv}", false},
    {"native.spawn", "/usr/bin/git **", "/usr/bin/other", false},
};

static void test_49_containment_of_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < VIV_COUNT_OF(pairs); i++) {
        const struct pair *pair = &pairs[i];
        enum viv_cap cap = kit_cap(pair->cap);
        struct viv_capset *parent = kit_set(cap, pair->parent), *child = kit_set(cap, pair->child);
        if (viv_capset_contains(parent, child, NULL) != pair->contains)
            fail_msg("%s: %s and %s", pair->cap, pair->parent, pair->child);
        viv_capset_drop(parent);
        viv_capset_drop(child);
    }
}

// What a child admits its parent admits too: every pair of patterns of a class that stands in the
// tables of this file, against every object there.
static void check_sound(enum viv_cap cap, const char *parent, const char *child,
                        const struct viv_cap_query *queries, size_t query_count)
{
    struct viv_capset *outer = kit_set(cap, parent), *inner = kit_set(cap, child);
    bool contains = viv_capset_contains(outer, inner, NULL);
    for (size_t i = 0; i < query_count && contains; i++) {
        if (viv_capset_check(inner, cap, &queries[i]) == VIV_OK &&
            viv_capset_check(outer, cap, &queries[i]) != VIV_OK)
            fail_msg("%s admits less than %s, object %zu", parent, child, i);
    }
    viv_capset_drop(outer);
    viv_capset_drop(inner);
}

static void test_49_containment_agrees_with_admission(void **state)
{
    (void)state;
    static char scratch[2 * EACH * VIV_COUNT_OF(address_cases)][128];
    struct viv_cap_query queries[VIV_COUNT_OF(scratch)];
    const char *patterns[VIV_COUNT_OF(address_cases) + 2 * VIV_COUNT_OF(pairs)];
    size_t query_count = 0, count = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(address_cases); i++) {
        patterns[count++] = address_cases[i].pattern;
        for (int j = 0; j < 2 * EACH; j++, query_count++)
            queries[query_count] =
                address(j < EACH ? address_cases[i].inside[j] : address_cases[i].outside[j - EACH],
                        scratch[query_count]);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(pairs); i++) {
        if (strcmp(pairs[i].cap, "net.connect") != 0) continue;
        patterns[count++] = pairs[i].parent;
        patterns[count++] = pairs[i].child;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < count; j++)
            check_sound(VIV_CAP_NET_CONNECT, patterns[i], patterns[j], queries, query_count);

    static const char *const names[] = {"*",  "a.*",  "a.b", "a.b.*", "a.b.c",
                                        "ab", "ab.*", "a",   "b.*"};
    struct viv_cap_query objects[2 * EACH + VIV_COUNT_OF(names)];
    for (size_t i = 0; i < VIV_COUNT_OF(objects); i++) {
        const char *name = i < EACH       ? name_cases[0].inside[i]
                           : i < 2 * EACH ? name_cases[0].outside[i - EACH]
                                          : names[i - 2 * EACH];
        objects[i] = (struct viv_cap_query){
            .facets = 1u << VIV_SCOPE_NAMES, .name = name, .name_len = strlen(name)};
    }
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        for (size_t j = 0; j < VIV_COUNT_OF(names); j++)
            check_sound(VIV_CAP_NAME_LOOKUP, names[i], names[j], objects, VIV_COUNT_OF(objects));
}

// ------------------------------------------------------------------------------ text, both ways

static void test_text_is_canonical_and_reads_back(void **state)
{
    (void)state;
    static const struct {
        const char *cap, *text, *printed;
    } rows[] = {
        {"proc.link", "descendants", "descendants"},
        {"name.lookup", "a.*", "a.*"},
        {"name.lookup", "*", "*"},
        {"dist.send", "*.b", "*.b"},
        {"net.resolve", "*.Example.COM", "*.example.com"},
        {"chan.read", "#1.2.3", "#1.2.3"},
        {"res.send", "stream|channel", "channel,stream"},
        {"native.signal", "SIGTERM|1|64", "hup,term,64"},
        {"net.tls", "noverify|server", "server,noverify"},
        {"chan.create", "2048K", "2M"},
        {"chan.create", "0", "0"},
        {"net.bind", "tcp:1.2.3.4:80+443+81", "tcp:1.2.3.4:80-81+443"},
        {"net.bind", "tcp:0.0.0.0/0:0-65535", "tcp:0.0.0.0/0:*"},
        {"net.bind", "any:[2001:DB8:0::]/32:1", "any:[2001:db8::]/32:1"},
        {"net.bind", "udp:[::ffff:10.0.0.0]/104:1", "udp:10.0.0.0/8:1"},
        {"net.bind", "quic:linklocal:1-1", "quic:linklocal:1"},
        {"net.bind", "unix:/*", "unix:/*"},
        {"net.bind", "unix:/a/b", "unix:/a/b"},
        {"fs", "/srv//a/./:wr", "/srv/a:rw"},
        {"fs", "./::/", ".::/:rwcd"},
        {"fs", "./site::/site:r", "site::/site:r"},
        {"native.spawn", "/usr/bin/git  a {int} {path:/srv} * ** ",
         "/usr/bin/git a {int} {path:/srv} * **"},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        enum viv_cap cap = kit_cap(rows[i].cap);
        const char *text = rows[i].text;
        for (int round = 0; round < 2; round++) { // sets print as several elements
            if (round == 1 && strchr(rows[i].printed, ',') != NULL) break;
            struct viv_capset *set = kit_set(cap, text);
            struct viv_buf out;
            viv_buf_init(&out, VIV_TAG_TEST);
            assert_int_equal(viv_pattern_print(viv_capset_patterns(set, cap).first, cap, &out),
                             VIV_OK);
            assert_int_equal(viv_buf_append(&out, "", 1), VIV_OK);
            assert_string_equal((char *)out.data, rows[i].printed);
            viv_buf_deinit(&out);
            viv_capset_drop(set);
            text = rows[i].printed;
        }
    }
}

static void test_refused_texts(void **state)
{
    (void)state;
    static const struct {
        const char *cap, *text;
    } rows[] = {
        {"entropy", "x"},
        {"proc.link", "siblings"},
        {"proc.link", "wasm"},
        {"name.lookup", "a*"},
        {"name.lookup", "*.a"},
        {"name.lookup", "a.*.b"},
        {"name.lookup", "a\tb"},
        {"net.resolve", "*com"},
        {"net.resolve", "a..b"},
        {"net.resolve", "10.0.0.1"},
        {"net.resolve", "a_b.*"},
        {"chan.create", "1T"},
        {"chan.create", "-1"},
        {"chan.create", "18446744073709551616"},
        {"chan.create", "18014398509481984K"},
        {"chan.create", "K"},
        {"chan.read", "1.2.3"},
        {"chan.read", "#256.1.1"},
        {"chan.read", "#1.16777216.1"},
        {"chan.read", "#1.1.0"},
        {"chan.read", "#1.1"},
        {"res.send", "hen"},
        {"res.send", "64"},
        {"cap.delegate", "net.*"},
        {"native.signal", "65"},
        {"native.signal", "0"},
        {"native.signal", "sig"},
        {"ctl.control", "Stop"},
        {"net.tls", "verify"},
        {"net.bind", "tcp"},
        {"net.bind", "tcp:any"},
        {"net.bind", "tcp:[::1]"},
        {"net.bind", "tcp::80"},
        {"net.bind", "icmp:any:1"},
        {"net.bind", "tcp:any:"},
        {"net.bind", "tcp:any:65536"},
        {"net.bind", "tcp:any:9-8"},
        {"net.bind", "tcp:any:8+"},
        {"net.bind", "tcp:10.0.0.0/33:1"},
        {"net.bind", "tcp:10.0.0.1/8:1"},
        {"net.bind", "tcp:10.0.0:1"},
        {"net.bind", "tcp:010.0.0.1:1"},
        {"net.bind", "tcp:::1:80"},
        {"net.bind", "tcp:[::1:80"},
        {"net.bind", "tcp:[1.2.3.4]:80"},
        {"net.bind", "tcp:[::]/129:80"},
        {"net.bind", "unix:run/a"},
        {"net.bind", "unix:/a/../b"},
        {"net.bind", "unix:/a*"},
        {"fs", ":r"},
        {"fs", "/srv:q"},
        {"fs", "/srv:"},
        {"fs", "/srv/../etc:r"},
        {"fs", "/srv:::r"},
        {"fs", "/missing:r"},
        {"native.spawn", "git log"},
        {"native.spawn", "./git"},
        {"native.spawn", "/usr/bin/../git"},
        {"native.spawn", "/usr/bin/git ** x"},
        {"native.spawn", "/usr/bin/git a*"},
        {"native.spawn", "/usr/bin/git {str}"},
        {"native.spawn", "/usr/bin/git {path:srv}"},
        {"native.spawn", "/usr/bin/missing"},
    };
    struct viv_caps *caps;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_diag diag = {{0}};
        struct viv_pattern_text source = {kit_cap(rows[i].cap), rows[i].text, strlen(rows[i].text),
                                          0, &kit_files};
        if (viv_caps_allow_text(caps, &source, &diag, NULL) != VIV_E_INVAL)
            fail_msg("%s=%s", rows[i].cap, rows[i].text);
        assert_true(diag.text[0] != '\0');
    }
    assert_int_equal(caps->held, 0);
    viv_caps_free(caps);
    assert_int_equal(kit_anchors, 0);
}

static void test_table_of_classes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int number;
        bool is_delegable;
    } rows[] = {
        {"proc.spawn", 0, true},    {"msg.send", 6, true},   {"cap.session", 18, true},
        {"net.connect", 22, true},  {"nif.load", 34, false}, {"native.spawn", 35, true},
        {"dist.accept", 42, false}, {"log.read", 48, true},  {"ctl.read", 49, false},
        {"ctl.control", 50, false}, {"ctl.env", 51, false},  {"ctl.halt", 52, false},
        {"native.mode", 53, true},
    };
    assert_int_equal(VIV_CAP_COUNT, 54);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        assert_int_equal(viv_cap_find(rows[i].name, strlen(rows[i].name)), rows[i].number);
        assert_int_equal(viv_cap_rows[rows[i].number].is_delegable, rows[i].is_delegable);
    }
    assert_int_equal(viv_cap_find("net", 3), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_49_names),
        cmocka_unit_test(test_49_numbers),
        cmocka_unit_test(test_49_relations),
        cmocka_unit_test(test_49_addresses),
        cmocka_unit_test(test_58_resolved_addresses),
        cmocka_unit_test(test_49_directories),
        cmocka_unit_test(test_59_each_right_alone),
        cmocka_unit_test(test_60_commands),
        cmocka_unit_test(test_a_command_that_nobody_opened_admits_nothing),
        cmocka_unit_test(test_49_containment_of_patterns),
        cmocka_unit_test(test_49_containment_agrees_with_admission),
        cmocka_unit_test(test_text_is_canonical_and_reads_back),
        cmocka_unit_test(test_refused_texts),
        cmocka_unit_test(test_table_of_classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
