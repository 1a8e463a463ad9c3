// SPDX-License-Identifier: Apache-2.0
// What a request may say: bad bytes, sizes, bounds, contradictions, and what it needs.
#include "native/address.h"
#include "req_kit.h"
#include <stdio.h>
#include <string.h>

static char big[200000]; // a long text, made once; tests only read it

static void n14_nul_in_each_field(void **state)
{
    (void)state;
    struct req_kit kit;
    for (uint32_t key = 1; key < VIV_NATIVE_KEYS_END; key++) {
        const struct viv_native_row *row = &viv_native_rows[key];
        uint8_t bytes[] = "/A=b\0c"; // a path, and 0 in a grant's mode is none
        size_t len = sizeof bytes - 1;
        if (row->type < VIV_NATIVE_TYPE_TEXT || row->type == VIV_NATIVE_TYPE_BYTES ||
            row->type > VIV_NATIVE_TYPE_GRANT)
            continue;
        if (row->type == VIV_NATIVE_TYPE_ENV) memcpy(bytes, "AA", 2);
        uint8_t grant[] = {0, 0, 0, 0, '/', 0, 'x'};
        req_begin(&kit);
        if (key != KEY(CMD)) req_text(&kit, KEY(CMD), "true");
        if (row->type == VIV_NATIVE_TYPE_GRANT)
            req_put(&kit, (enum viv_native_key)key, grant, sizeof grant);
        else
            req_put(&kit, (enum viv_native_key)key, bytes, len);
        req_refused(&kit, VIV_E_INVAL, row->name);
    }
    req_begin(&kit);
    req_put(&kit, KEY(CMD), "true\0", 5);
    req_refused(&kit, VIV_E_INVAL, "cmd");
}

static void n14_controls(void **state)
{
    (void)state;
    static const struct {
        enum viv_native_key key;
        const char *text, *name; // the control takes the place of `@`
    } cases[] = {{KEY(CWD), "/a@b", "cwd"},
                 {KEY(ENV), "A@B=1", "env"},
                 {KEY(HIDE), "/a@", "hide"},
                 {KEY(CMD), "@a", "cmd"}};
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        for (int byte = 1; byte <= 0x7F; byte = byte == 0x1F ? 0x7F : byte + 1) {
            char text[16];
            (void)snprintf(text, sizeof text, "%s", cases[i].text);
            *strchr(text, '@') = (char)byte;
            req_begin(&kit);
            if (cases[i].key != KEY(CMD)) req_text(&kit, KEY(CMD), "true");
            req_text(&kit, cases[i].key, text);
            req_refused(&kit, VIV_E_INVAL, cases[i].name);
        }
    }
    req_begin_true(&kit);
    req_text(&kit, KEY(ARG), "a\n\tb\x01\x7F");
    req_text(&kit, KEY(ENV), "A=\n\t");
    req_text(&kit, KEY(ARG0), "-\n");
    req_take(&kit);
    assert_string_equal(kit.req.argv[0], "-\n");
    assert_string_equal(kit.req.argv[1], "a\n\tb\x01\x7F");
    assert_null(kit.req.argv[2]);
    assert_string_equal(kit.req.fields.env.items[0].data, "A=\n\t");
    req_end(&kit);
}

static void n14_command(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin(&kit);
    req_refused(&kit, VIV_E_INVAL, "cmd");
    req_begin(&kit);
    req_text(&kit, KEY(CMD), "");
    req_refused(&kit, VIV_E_INVAL, "cmd");
    req_begin(&kit);
    req_put(&kit, KEY(CMD), big, 4096);
    req_refused(&kit, VIV_E_INVAL, "cmd");
    req_begin(&kit);
    req_put(&kit, KEY(CMD), big, 4095);
    req_take(&kit);
    assert_int_equal(kit.req.fields.cmd.len, 4095);
    req_end(&kit);
    req_begin(&kit);
    req_text(&kit, KEY(CMD), "a");
    req_text(&kit, KEY(CMD), "b");
    req_refused(&kit, VIV_E_INVAL, "cmd");
    req_begin(&kit);
    req_text(&kit, KEY(CMD), "-x"); // an ordinary name
    req_take(&kit);
    assert_string_equal(kit.req.argv[0], "-x");
    req_end(&kit);
}

static void n15_arguments(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin_true(&kit);
    req_put(&kit, KEY(ARG), big, 131071);
    req_take(&kit);
    assert_int_equal(kit.req.fields.arg.items[0].len, 131071);
    assert_int_equal(strlen(kit.req.argv[1]), 131071);
    req_end(&kit);
    req_begin_true(&kit);
    req_put(&kit, KEY(ARG), big, 131072);
    req_refused(&kit, VIV_E_TOOBIG, "arg");

    for (uint32_t count = 8192; count <= 8193; count++) {
        req_begin_true(&kit);
        for (uint32_t i = 0; i < count; i++)
            req_text(&kit, KEY(ARG), "x");
        if (count > 8192) {
            req_refused(&kit, VIV_E_TOOBIG, "arg");
            continue;
        }
        req_take(&kit);
        assert_string_equal(kit.req.argv[8192], "x");
        assert_null(kit.req.argv[8193]);
        req_end(&kit);
    }
}

// argv[0] "true" (5 + 8), NULL (8), 7 arguments of 131,071 (131,072 + 8), one of the rest.
static void n15_vectors(void **state)
{
    (void)state;
    const size_t rest = (1u << 20) - 21 - (size_t)7 * 131080 - 9;
    struct req_kit kit;
    for (size_t more = 0; more < 2; more++) {
        req_begin(&kit);
        req_text(&kit, KEY(CMD), "true");
        for (uint32_t i = 0; i < 7; i++)
            req_put(&kit, KEY(ARG), big, 131071);
        req_put(&kit, KEY(ARG), big, rest + more);
        if (more == 1) {
            req_refused(&kit, VIV_E_TOOBIG, "arg");
            continue;
        }
        req_take(&kit);
        req_end(&kit);
    }
}

static void n15_prelude(void **state)
{
    (void)state;
    struct req_kit kit;
    const size_t len = 4u << 20;
    uint8_t *data = viv_calloc(1, len + 1, VIV_TAG_TEST);
    req_begin_true(&kit);
    req_put(&kit, KEY(STDIN), data, len);
    req_take(&kit);
    assert_int_equal(kit.req.fields.std_in.len, len);
    req_end(&kit);
    req_begin_true(&kit);
    req_put(&kit, KEY(STDIN), data, len + 1);
    req_refused(&kit, VIV_E_TOOBIG, "stdin");
    viv_free(data, len + 1, VIV_TAG_TEST);
}

static void n16_environment(void **state)
{
    (void)state;
    static const char *const malformed[] = {"=x", "A", "1A=x", "A-B=x", "A B=x", "\xC3\xA4=x", ""};
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(malformed); i++) {
        req_begin_true(&kit);
        req_text(&kit, KEY(ENV), malformed[i]);
        req_refused(&kit, VIV_E_INVAL, "env");
    }
    req_begin_true(&kit); // a duplicate
    req_text(&kit, KEY(ENV), "A=1");
    req_text(&kit, KEY(ENV), "B=1");
    req_text(&kit, KEY(ENV), "A=2");
    req_refused(&kit, VIV_E_INVAL, "env");

    char *line = viv_alloc(2 + 65537, VIV_TAG_TEST); // a value of 64 KiB, and one more
    memset(line, 'v', 2 + 65537);
    memcpy(line, "A=", 2);
    for (size_t len = 65536; len <= 65537; len++) {
        req_begin_true(&kit);
        req_put(&kit, KEY(ENV), line, 2 + len);
        if (len > 65536) {
            req_refused(&kit, VIV_E_INVAL, "env");
            continue;
        }
        req_take(&kit);
        req_end(&kit);
    }
    memset(line, 'K', 257); // a name of 256 bytes, and one more
    for (size_t len = 256; len <= 257; len++) {
        line[len] = '=';
        req_begin_true(&kit);
        req_put(&kit, KEY(ENV), line, len + 1);
        if (len > 256) {
            req_refused(&kit, VIV_E_INVAL, "env");
            continue;
        }
        req_take(&kit);
        assert_int_equal(kit.req.fields.env.items[0].key_len, 256);
        line[len] = 'K';
        req_end(&kit);
    }
    viv_free(line, 2 + 65537, VIV_TAG_TEST);
}

static void n16_256_variables(void **state)
{
    (void)state;
    struct req_kit kit;
    for (uint32_t count = 256; count <= 257; count++) {
        req_begin_true(&kit);
        for (uint32_t i = 0; i < count; i++) {
            char text[16];
            (void)snprintf(text, sizeof text, "V%u=", i);
            req_text(&kit, KEY(ENV), text);
        }
        if (count > 256) {
            req_refused(&kit, VIV_E_INVAL, "env");
            continue;
        }
        req_take(&kit);
        req_end(&kit);
    }
}

static void n16_reserved(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool is_reserved;
    } cases[] = {{"PATH=x", true},
                 {"LD_PRELOAD=x", true},
                 {"LD_=x", true},
                 {"DYLD_X=x", true},
                 {"VIV_PID=x", true},
                 {"BASH_ENV=x", true},
                 {"ENV=x", true},
                 {"BASH_FUNC_f=x", true},
                 {"SHELLOPTS=x", true},
                 {"BASHOPTS=x", true},
                 {"PS4=x", true},
                 {"PROMPT_COMMAND=x", true},
                 {"IFS=x", true},
                 {"ZDOTDIR=x", true},
                 {"GCONV_PATH=x", true},
                 {"LOCPATH=x", true},
                 {"GLIBC_TUNABLES=x", true},
                 {"NODE_OPTIONS=x", true},
                 {"NODE_PATH=x", true},
                 {"PERL5OPT=x", true},
                 {"PERL5LIB=x", true},
                 {"PERL5DB=x", true},
                 {"PYTHONHOME=x", true},
                 {"PYTHONPATH=x", true},
                 {"PYTHONSTARTUP=x", true},
                 {"PYTHONINSPECT=x", true},
                 {"RUBYOPT=x", true},
                 {"RUBYLIB=x", true},
                 {"JAVA_TOOL_OPTIONS=", true},
                 {"JDK_JAVA_OPTIONS=", true},
                 {"_JAVA_OPTIONS=x", true},
                 {"GIT_SSH=x", true},
                 {"GIT_SSH_COMMAND=x", true},
                 {"GIT_EXTERNAL_DIFF=", true},
                 {"GIT_CONFIG_COUNT=", true},
                 {"HOSTALIASES=x", true},
                 {"RES_OPTIONS=x", true},
                 {"LOCALDOMAIN=x", true},
                 {"PATHS=x", false},
                 {"APATH=x", false},
                 {"LD=x", false},
                 {"VIV=x", false},
                 {"GIT_CONFIG=x", false},
                 {"path=x", false},
                 {"ENVX=x", false},
                 {"GIT_SSHX=x", false}};
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        req_begin_true(&kit);
        req_text(&kit, KEY(ENV), "A=1");
        req_text(&kit, KEY(ENV), cases[i].line);
        req_take(&kit);
        assert_false(kit.req.fields.env.items[0].is_reserved);
        if (kit.req.fields.env.items[1].is_reserved != cases[i].is_reserved)
            fail_msg("%s", cases[i].line);
        assert_int_equal(kit.req.needs, cases[i].is_reserved ? VIV_NATIVE_NEED_ENV : 0);
        req_end(&kit);
    }
    assert_string_equal(viv_native_need_name(VIV_NATIVE_NEED_ENV), "env");
}

static void n24_nonsense(void **state)
{
    (void)state;
    static const struct {
        enum viv_native_key key;
        uint64_t value;
    } cases[] = {{KEY(IDLE_MS), 0},         {KEY(RING_BYTES), 0}, {KEY(STDIN_QUEUE_BYTES), 0},
                 {KEY(MAX_LIFETIME_MS), 0}, {KEY(ORPHAN_MS), 0},  {KEY(SURVIVE), 3},
                 {KEY(KEEP_STDIN), 2},      {KEY(IDLE_ON), 32},   {KEY(STOP_SIGNAL), 0},
                 {KEY(STOP_SIGNAL), 65},    {KEY(UMASK), 01000},  {KEY(NET), 2},
                 {KEY(DEADMAN), 0},         {KEY(IO_FDS), 1},     {KEY(IO_FDS), 4},
                 {KEY(FRAMING), 5},         {KEY(MAX_PIDS), 0}};
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        req_begin_true(&kit);
        if (viv_native_rows[cases[i].key].type == VIV_NATIVE_TYPE_U64)
            req_u64(&kit, cases[i].key, cases[i].value);
        else
            req_u32(&kit, cases[i].key, (uint32_t)cases[i].value);
        req_refused(&kit, VIV_E_INVAL, viv_native_rows[cases[i].key].name);
    }
    req_begin_true(&kit);
    req_u32(&kit, KEY(SURVIVE), VIV_NATIVE_SURVIVE_ENV);
    req_u64(&kit, KEY(IDLE_MS), 0);
    req_refused(&kit, VIV_E_INVAL, "idle_ms");
    req_begin_true(&kit);
    req_size(&kit, 0, 80);
    req_refused(&kit, VIV_E_INVAL, "pty");
    req_begin_true(&kit);
    req_put(&kit, KEY(RING_BYTES), "1234", 4); // a u64
    req_refused(&kit, VIV_E_INVAL, "ring_bytes");
    req_begin_true(&kit);
    req_put(&kit, KEY(USER), "12345678abc", 11);
    req_refused(&kit, VIV_E_INVAL, "user");
    req_begin_true(&kit);
    req_put(&kit, KEY(PATH), "\3\0\0\0/a", 6);
    req_refused(&kit, VIV_E_INVAL, "path");
    req_begin_true(&kit);
    req_put(&kit, KEY(PATH), "\0\0\0\0a", 5);
    req_refused(&kit, VIV_E_INVAL, "path");
}

static void contradict(enum viv_native_key one, uint32_t value, enum viv_native_key other,
                       uint32_t other_value, const char *field)
{
    struct req_kit kit;
    req_begin_true(&kit);
    req_u32(&kit, one, value);
    if (other != 0) req_u32(&kit, other, other_value);
    req_refused(&kit, VIV_E_INVAL, field);
}

static void n24_contradictions(void **state)
{
    (void)state;
    const uint32_t bare = VIV_NATIVE_SANDBOX_NONE, strict = VIV_NATIVE_SANDBOX_STRICT;
    struct req_kit kit;
    req_begin_true(&kit);
    req_size(&kit, 25, 80);
    req_u32(&kit, KEY(STDERR), VIV_NATIVE_STDERR_NULL);
    req_refused(&kit, VIV_E_INVAL, "stderr");
    req_begin_true(&kit);
    req_size(&kit, 25, 80);
    req_u32(&kit, KEY(STDOUT), VIV_NATIVE_STDOUT_NULL);
    req_refused(&kit, VIV_E_INVAL, "stdout");
    contradict(KEY(PTY_RAW), 1, 0, 0, "pty_raw");
    contradict(KEY(SANDBOX), bare, KEY(NET), VIV_NATIVE_NET_OWN, "net");
    contradict(KEY(SANDBOX), strict, KEY(NET), VIV_NATIVE_NET_HOST, "net");
    contradict(KEY(SANDBOX), bare, KEY(CWD_RO), 1, "cwd_ro");
    contradict(KEY(RUNTIME), 0, 0, 0, "runtime");
    contradict(KEY(ALLOW_SETUID), 1, 0, 0, "allow_setuid");
    contradict(KEY(HEALTH), VIV_NATIVE_HEALTH_EXEC, 0, 0, "health_exec");
    contradict(KEY(HEALTH), VIV_NATIVE_HEALTH_TCP, 0, 0, "health_addr");
    contradict(KEY(READY), VIV_NATIVE_READY_HEALTH, 0, 0, "ready");
    contradict(KEY(READY), VIV_NATIVE_READY_LINE, 0, 0, "ready_line");
    contradict(KEY(SPILL_FILES), 3, 0, 0, "spill_files");
    req_begin_true(&kit);
    req_u32(&kit, KEY(HEALTH), VIV_NATIVE_HEALTH_HTTP);
    req_text(&kit, KEY(HEALTH_ADDR), "127.0.0.1:80");
    req_refused(&kit, VIV_E_INVAL, "health_path");
    req_begin_true(&kit);
    req_u64(&kit, KEY(RESTART_DELAY_MS), 60000);
    req_refused(&kit, VIV_E_INVAL, "restart_delay_max_ms");
    req_begin_true(&kit);
    req_u32(&kit, KEY(SANDBOX), bare);
    req_put(&kit, KEY(PATH), "\1\0\0\0/a", 6);
    req_refused(&kit, VIV_E_INVAL, "path");
}

static void n24_brought_to_bounds(void **state)
{
    (void)state;
    static const struct {
        enum viv_native_key key;
        uint64_t asked, guest, hard;
    } cases[] = {
        {KEY(RING_BYTES), 1, 4096, 4096},
        {KEY(RING_BYTES), 4097, 8192, 8192},
        {KEY(RING_BYTES), UINT64_C(1) << 40, 8u << 20, 256u << 20},
        {KEY(RING_BYTES), UINT64_MAX, 8u << 20, 256u << 20},
        {KEY(STDIN_QUEUE_BYTES), 5000, 5000, 5000},
        {KEY(STDIN_QUEUE_BYTES), 1u << 30, 4u << 20, 16u << 20},
        {KEY(MAX_LIFETIME_MS), UINT64_C(100000000), 21600000, 100000000},
        {KEY(MAX_LIFETIME_MS), UINT64_MAX, 21600000, UINT64_MAX},
        {KEY(ORPHAN_MS), 1, 1000, 1000},
        {KEY(ORPHAN_MS), UINT64_MAX, 86400000, UINT64_MAX},
        {KEY(RETENTION_MS), 0, 0, 0},
        {KEY(RETENTION_MS), UINT64_MAX, 3600000, 604800000},
        {KEY(STOP_GRACE_MS), 700000, 30000, 600000},
        {KEY(EOF_LINGER_MS), 700000, 60000, 600000},
        {KEY(LINE_MAX), UINT64_MAX, 1u << 20, 1u << 20},
        {KEY(MAX_MEMORY_BYTES), 1, 1u << 20, 1u << 20},
        {KEY(SPILL_AGE_MS), 5, 5, 5},
    };
    struct req_kit kit;
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        for (int is_hard = 0; is_hard < 2; is_hard++) {
            req_begin_true(&kit);
            if (is_hard) viv_native_ceilings_hard(&kit.ceilings);
            req_text(&kit, KEY(SPILL_DIR), "logs");
            req_u64(&kit, cases[i].key, cases[i].asked);
            req_take(&kit);
            assert_int_equal(viv_native_number(&kit.req.fields, cases[i].key),
                             is_hard ? cases[i].hard : cases[i].guest);
            assert_true(viv_native_is_given(&kit.req, cases[i].key));
            assert_false(viv_native_is_given(&kit.req, KEY(NICE)));
            req_end(&kit);
        }
    }
    req_begin_true(&kit); // an environment's own ceiling holds for defaults too
    kit.ceilings.max[KEY(RING_BYTES)] = 100000;
    kit.ceilings.max[KEY(STOP_GRACE_MS)] = UINT64_MAX;
    req_u64(&kit, KEY(STOP_GRACE_MS), UINT64_MAX);
    req_size(&kit, 70000, 1);
    req_u32(&kit, KEY(NICE), 25);
    req_take(&kit);
    assert_int_equal(kit.req.fields.ring_bytes, 65536);
    assert_int_equal(kit.req.fields.stop_grace_ms, 600000);
    assert_int_equal(kit.req.fields.pty.rows, 65535);
    assert_int_equal(kit.req.fields.pty.columns, 1);
    assert_int_equal(kit.req.fields.nice, 19);
    assert_int_equal(kit.req.fields.std_err, VIV_NATIVE_STDERR_MERGE);
    req_end(&kit);
}

// The columns of 2.2, written down a second time.
static void defaults_are_those_of_the_contract(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin_true(&kit);
    req_take(&kit);
    const struct viv_native_fields *f = &kit.req.fields;
    assert_int_equal(f->umask, 0022);
    assert_int_equal(f->survive, VIV_NATIVE_SURVIVE_OWNER);
    assert_int_equal(f->ring_bytes, 1 << 20);
    assert_int_equal(f->overflow, VIV_NATIVE_OVERFLOW_DROP_OLDEST);
    assert_int_equal(f->std_err, VIV_NATIVE_STDERR_OWN);
    assert_int_equal(f->stdin_queue_bytes, 1 << 20);
    assert_int_equal(f->max_lifetime_ms, 6 * 3600 * 1000);
    assert_int_equal(f->idle_ms, UINT64_MAX);
    assert_int_equal(f->idle_on, VIV_NATIVE_IDLE_ON_IO | VIV_NATIVE_IDLE_ON_WAIT |
                                     VIV_NATIVE_IDLE_ON_OUTPUT | VIV_NATIVE_IDLE_ON_HELD);
    assert_int_equal(f->retention_ms, 300000);
    assert_int_equal(f->orphan_ms, 3600000);
    assert_int_equal(f->stop_signal, 15);
    assert_int_equal(f->stop_grace_ms, 5000);
    assert_int_equal(f->eof_linger_ms, 5000);
    assert_int_equal(f->sandbox, VIV_NATIVE_SANDBOX_DEFAULT);
    assert_int_equal(f->net, VIV_NATIVE_NET_OWN);
    assert_int_equal(f->line_max, 8192);
    assert_true(f->index);
    assert_int_equal(f->max_core_bytes, 0);
    assert_int_equal(f->max_memory_bytes, UINT64_MAX);
    assert_int_equal(f->restart_max, 5);
    assert_int_equal(f->start_ms, UINT64_MAX);
    assert_int_equal(kit.req.needs, 0);
    assert_string_equal(kit.req.label, "true");
    req_end(&kit);
    req_begin_true(&kit);
    req_u32(&kit, KEY(SURVIVE), VIV_NATIVE_SURVIVE_ENV);
    req_u32(&kit, KEY(READY), VIV_NATIVE_READY_FD);
    req_take(&kit);
    assert_int_equal(kit.req.fields.idle_ms, 1800000);
    assert_int_equal(kit.req.fields.start_ms, 60000);
    req_end(&kit);
}

static void health_has_a_literal_address(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "localhost:80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "::1:80",
        "[::1]",        "[::1:80",   "[]:80",      "1.2.3:80",    "[127.0.0.1]:80",  ":80"};
    struct req_kit kit;
    struct viv_native_address address;
    for (size_t i = 0; i < VIV_COUNT_OF(wrong); i++) {
        req_begin_true(&kit);
        req_u32(&kit, KEY(HEALTH), VIV_NATIVE_HEALTH_TCP);
        req_text(&kit, KEY(HEALTH_ADDR), wrong[i]);
        req_refused(&kit, VIV_E_INVAL, "health_addr");
    }
    req_begin_true(&kit);
    req_u32(&kit, KEY(HEALTH), VIV_NATIVE_HEALTH_TCP);
    req_text(&kit, KEY(HEALTH_ADDR), "127.0.0.1:8080");
    req_take(&kit);
    req_end(&kit);
    OK(viv_native_address_parse("127.0.0.1:8080", &address));
    assert_false(address.is_v6);
    assert_memory_equal(address.bytes, "\x7F\0\0\1", 4);
    assert_int_equal(address.port, 8080);
    OK(viv_native_address_parse("[fe80::1]:65535", &address));
    assert_true(address.is_v6);
    assert_memory_equal(address.bytes, "\xFE\x80\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16);
    assert_int_equal(address.port, 65535);
}

static void needs_are_found(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin_true(&kit);
    req_size(&kit, 1, 1);
    req_u32(&kit, KEY(NET), VIV_NATIVE_NET_HOST);
    req_u32(&kit, KEY(SURVIVE), VIV_NATIVE_SURVIVE_KERNEL);
    req_text(&kit, KEY(SCOPE), "unit");
    req_put(&kit, KEY(USER), "\1\0\0\0\2\0\0\0\3\0\0\0", 12);
    req_take(&kit);
    assert_int_equal(kit.req.needs, VIV_NATIVE_NEED_TTY | VIV_NATIVE_NEED_NET |
                                        VIV_NATIVE_NEED_HOLD | VIV_NATIVE_NEED_SCOPE |
                                        VIV_NATIVE_NEED_USER);
    assert_int_equal(kit.req.fields.user.uid, 1);
    assert_int_equal(kit.req.fields.user.gid, 2);
    assert_int_equal(kit.req.fields.user.group_count, 1);
    assert_int_equal(kit.req.fields.user.groups[0], 3);
    req_end(&kit);
    req_begin_true(&kit);
    req_u32(&kit, KEY(SANDBOX), VIV_NATIVE_SANDBOX_NONE);
    req_u32(&kit, KEY(SURVIVE), VIV_NATIVE_SURVIVE_ENV);
    req_u32(&kit, KEY(ALLOW_SETUID), 1);
    req_take(&kit);
    assert_int_equal(kit.req.fields.net, VIV_NATIVE_NET_HOST);
    assert_int_equal(kit.req.needs, VIV_NATIVE_NEED_UNSANDBOXED | VIV_NATIVE_NEED_PERSIST |
                                        VIV_NATIVE_NEED_OPERATOR);
    req_end(&kit);
}

static void lists_keep_their_order(void **state)
{
    (void)state;
    struct req_kit kit;
    req_begin(&kit);
    req_text(&kit, KEY(ARG), "one");
    req_text(&kit, KEY(HIDE), "/h1");
    req_text(&kit, KEY(ENV), "A=1");
    req_text(&kit, KEY(CMD), "/usr/bin/cmd");
    req_put(&kit, KEY(PATH), "\2\0\0\0/p1", 7);
    req_text(&kit, KEY(ARG), "two");
    req_text(&kit, KEY(ENV), "B=2");
    req_put(&kit, KEY(PATH), "\0\0\0\0/p2", 7);
    req_text(&kit, KEY(ARG), "");
    req_take(&kit);
    const struct viv_native_fields *f = &kit.req.fields;
    assert_string_equal(kit.req.argv[0], "/usr/bin/cmd");
    assert_string_equal(kit.req.argv[1], "one");
    assert_string_equal(kit.req.argv[2], "two");
    assert_string_equal(kit.req.argv[3], "");
    assert_null(kit.req.argv[4]);
    assert_string_equal(f->env.items[1].data, "B=2");
    assert_string_equal(f->path.items[0].data, "/p1");
    assert_int_equal(f->path.items[0].mode, VIV_NATIVE_GRANT_EXEC);
    assert_string_equal(f->path.items[1].data, "/p2");
    assert_int_equal(f->path.items[1].mode, VIV_NATIVE_GRANT_RO);
    assert_string_equal(f->hide.items[0].data, "/h1");
    assert_string_equal(kit.req.label, "cmd");
    req_end(&kit);
}

static void put_probe(struct req_kit *kit, struct viv_buf *probe)
{
    viv_block_finish(probe);
    req_u32(kit, KEY(HEALTH), VIV_NATIVE_HEALTH_EXEC);
    req_put(kit, KEY(HEALTH_EXEC), probe->data, probe->len_bytes);
    viv_buf_deinit(probe);
}

static void probe_is_a_block_of_its_own(void **state)
{
    (void)state;
    struct req_kit kit;
    struct viv_buf probe;
    viv_buf_init(&probe, VIV_TAG_TEST);
    OK(viv_block_init(&probe));
    OK(viv_block_put_text(&probe, KEY(CMD), "curl"));
    OK(viv_block_put_text(&probe, KEY(ENV), "PATH=/x"));
    req_begin_true(&kit);
    put_probe(&kit, &probe);
    req_take(&kit);
    assert_string_equal(kit.req.probe->argv[0], "curl");
    assert_int_equal(kit.req.needs, VIV_NATIVE_NEED_ENV);
    req_end(&kit);
    viv_buf_init(&probe, VIV_TAG_TEST); // a probe has no knobs, and no probe
    OK(viv_block_init(&probe));
    OK(viv_block_put_text(&probe, KEY(CMD), "curl"));
    OK(viv_block_put_u32(&probe, KEY(HEALTH), VIV_NATIVE_HEALTH_NONE));
    req_begin_true(&kit);
    put_probe(&kit, &probe);
    req_refused(&kit, VIV_E_INVAL, "health_exec");
}

static void every_allocation_fails(void **state)
{
    (void)state;
    const int64_t before = viv_alloc_live_bytes(VIV_TAG_NATIVE);
    bool is_done = false;
    for (uint64_t nth = 1; !is_done; nth++) {
        struct req_kit kit;
        struct viv_buf probe;
        viv_buf_init(&probe, VIV_TAG_TEST);
        OK(viv_block_init(&probe));
        OK(viv_block_put_text(&probe, KEY(CMD), "curl"));
        req_begin_true(&kit);
        put_probe(&kit, &probe);
        viv_block_finish(&kit.buf);
        viv_alloc_fail_nth(nth);
        const enum viv_err err = viv_native_req_decode(&kit.req, kit.buf.data, kit.buf.len_bytes,
                                                       &kit.ceilings, &kit.diag);
        is_done = !viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        assert_int_equal(err, is_done ? VIV_OK : VIV_E_EXHAUSTED);
        if (!is_done) assert_string_equal(kit.diag.text, "memory");
        assert_true(!is_done || nth > 3); // the request's, the probe, the probe's
        req_end(&kit);
        assert_int_equal(viv_alloc_live_bytes(VIV_TAG_NATIVE), before);
    }
}

static int fill_big(void **state)
{
    (void)state;
    memset(big, 'x', sizeof big);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(n14_nul_in_each_field),
        cmocka_unit_test(n14_controls),
        cmocka_unit_test(n14_command),
        cmocka_unit_test(n15_arguments),
        cmocka_unit_test(n15_vectors),
        cmocka_unit_test(n15_prelude),
        cmocka_unit_test(n16_environment),
        cmocka_unit_test(n16_256_variables),
        cmocka_unit_test(n16_reserved),
        cmocka_unit_test(n24_nonsense),
        cmocka_unit_test(n24_contradictions),
        cmocka_unit_test(n24_brought_to_bounds),
        cmocka_unit_test(defaults_are_those_of_the_contract),
        cmocka_unit_test(health_has_a_literal_address),
        cmocka_unit_test(needs_are_found),
        cmocka_unit_test(lists_keep_their_order),
        cmocka_unit_test(probe_is_a_block_of_its_own),
        cmocka_unit_test(every_allocation_fails),
    };
    return cmocka_run_group_tests(tests, fill_big, NULL);
}
