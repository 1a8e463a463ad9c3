// SPDX-License-Identifier: Apache-2.0
// The audit ring (case 64): merged denials, readers that fall behind, JSON, writers on threads.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/rng.h"
#include "cap/audit.h"
#include "harness/check.h"
#include "os/thread.h"
#include <stdatomic.h>
#include <string.h>

static _Atomic uint64_t now_ns;

static uint64_t now(void *arg)
{
    (void)arg;
    return atomic_load(&now_ns);
}

static struct viv_audit *new_audit(uint32_t event_count)
{
    const struct viv_audit_config config = {.event_count = event_count, .now_ns = now};
    struct viv_audit *audit;
    atomic_store(&now_ns, 10 * VIV_NS_PER_SEC);
    assert_int_equal(viv_audit_new(&config, &audit), VIV_OK);
    return audit;
}

static void deny(struct viv_audit *audit, uint64_t pid, enum viv_cap cap, const char *object)
{
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_DENIED);
    event.pid.w = pid;
    event.cap = (uint8_t)cap;
    event.outcome = VIV_E_DENIED;
    event.operation = "open";
    viv_audit_set_object(&event, object, strlen(object));
    viv_audit_write(audit, &event);
}

static void tell(struct viv_audit *audit, enum viv_audit_kind kind)
{
    struct viv_audit_event event;
    viv_audit_init_event(&event, kind);
    viv_audit_write(audit, &event);
}

static void case64_equal_denials_are_one_event_a_second(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(0);
    struct viv_audit_event event;
    uint64_t cursor = 0;
    for (int i = 0; i < 1000; i++)
        deny(audit, 1, VIV_CAP_FS, "/etc/passwd");
    deny(audit, 2, VIV_CAP_FS, "/etc/passwd"); // not equal: process, class, object
    deny(audit, 1, VIV_CAP_DB_OPEN, "/etc/passwd");
    deny(audit, 1, VIV_CAP_FS, "/etc/passwd2");
    atomic_fetch_add(&now_ns, VIV_NS_PER_SEC - 1);
    deny(audit, 1, VIV_CAP_FS, "/etc/passwd"); // the same second
    assert_false(viv_audit_read(audit, &cursor, &event));
    atomic_fetch_add(&now_ns, 1);
    deny(audit, 1, VIV_CAP_FS, "/etc/passwd"); // the next one
    uint64_t merged = 0, others = 0;
    for (int i = 0; i < 4; i++) {
        assert_true(viv_audit_read(audit, &cursor, &event));
        assert_int_equal(event.seq, i + 1);
        assert_int_equal(event.time_ns, 10 * VIV_NS_PER_SEC);
        if (event.pid.w == 1 && event.cap == VIV_CAP_FS && event.object_len == 11)
            merged = event.count;
        else
            others += event.count;
    }
    assert_int_equal(merged, 1001);
    assert_int_equal(others, 3);
    assert_false(viv_audit_read(audit, &cursor, &event));
    viv_audit_flush(audit);
    assert_true(viv_audit_read(audit, &cursor, &event));
    assert_int_equal(event.count, 1);
    assert_int_equal(event.time_ns, 11 * VIV_NS_PER_SEC);
    viv_audit_free(audit);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

static void case64_counts_are_exact_beyond_the_open_seconds(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(65536);
    struct viv_rng rng = {7};
    static uint64_t written[2000], read[2000];
    struct viv_audit_event event;
    uint64_t cursor = 0;
    for (int i = 0; i < 30000; i++) {
        const uint64_t pid = viv_rng_below(&rng, VIV_COUNT_OF(written));
        written[pid]++;
        deny(audit, pid, VIV_CAP_FS, "/x");
        if (viv_rng_below(&rng, 100) == 0) atomic_fetch_add(&now_ns, VIV_NS_PER_SEC / 7);
    }
    viv_audit_flush(audit);
    while (viv_audit_read(audit, &cursor, &event)) {
        assert_int_equal(event.kind, VIV_AUDIT_DENIED);
        read[event.pid.w] += event.count;
    }
    assert_memory_equal(read, written, sizeof read);
    viv_audit_free(audit);
}

static void case64_overflow_shows_lost(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(8);
    struct viv_audit_event event;
    uint64_t slow = 0, fast = 0;
    for (int i = 0; i < 8; i++)
        tell(audit, VIV_AUDIT_GRANT);
    assert_true(viv_audit_read(audit, &slow, &event));
    assert_int_equal(event.seq, 1);
    for (int i = 0; i < 5; i++)
        tell(audit, VIV_AUDIT_REVOKE);
    // 13 written, 6 to 13 are there; the slow one has seen 1.
    assert_true(viv_audit_read(audit, &slow, &event));
    assert_int_equal(event.kind, VIV_AUDIT_LOST);
    assert_int_equal(event.count, 4);
    for (uint64_t seq = 6; seq <= 13; seq++) {
        assert_true(viv_audit_read(audit, &slow, &event));
        assert_int_equal(event.seq, seq);
        assert_int_equal(event.kind, seq <= 8 ? VIV_AUDIT_GRANT : VIV_AUDIT_REVOKE);
    }
    assert_false(viv_audit_read(audit, &slow, &event));
    assert_true(viv_audit_read(audit, &fast, &event));
    assert_int_equal(event.kind, VIV_AUDIT_LOST);
    assert_int_equal(event.count, 5);
    viv_audit_free(audit);
}

static void the_ring_has_the_contracts_size(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(0);
    struct viv_audit_event event;
    uint64_t cursor = 0;
    for (uint32_t i = 0; i < 65537; i++)
        tell(audit, VIV_AUDIT_GRANT);
    assert_true(viv_audit_read(audit, &cursor, &event));
    assert_int_equal(event.kind, VIV_AUDIT_LOST);
    assert_int_equal(event.count, 1);
    viv_audit_free(audit);
    viv_audit_write(NULL, &event); // nothing happens
}

static void every_allocation_fails_once(void **state)
{
    (void)state;
    const struct viv_audit_config config = {.event_count = 4, .now_ns = now};
    struct viv_audit *audit;
    viv_alloc_fail_nth(1);
    assert_int_equal(viv_audit_new(&config, &audit), VIV_E_EXHAUSTED);
    viv_alloc_fail_nth(0);
    audit = new_audit(4);
    viv_alloc_fail_nth(1); // and nothing later allocates
    for (int i = 0; i < 100; i++)
        deny(audit, (uint64_t)i, VIV_CAP_FS, "/x");
    viv_audit_flush(audit);
    assert_false(viv_alloc_fail_hit());
    viv_alloc_fail_nth(0);
    viv_audit_free(audit);
}

// ---- text ----

static void a_line_of_json(void **state)
{
    (void)state;
    struct viv_audit_event event;
    char line[VIV_AUDIT_JSON_MAX];
    size_t len;
    viv_audit_init_event(&event, VIV_AUDIT_DENIED);
    event.seq = 12;
    event.time_ns = 34;
    event.count = 56;
    event.pid = viv_pid_make(7, 8);
    event.session.b[0] = 0xAB;
    event.session.b[15] = 1;
    event.environment = 9;
    event.cap = VIV_CAP_NET_CONNECT;
    event.outcome = VIV_E_DENIED;
    event.operation = "connect";
    static const char object[] = "a\"b\\c\n\x01\x7F\xC3\xA4\xFF\xC3";
    viv_audit_set_object(&event, object, sizeof object - 1);
    assert_int_equal(viv_audit_json(&event, line, sizeof line, &len), VIV_OK);
    assert_string_equal(
        line, "{\"seq\":12,\"time_ns\":34,\"event\":\"denied\",\"pid\":\"<0.7.8>\","
              "\"session\":\"ab000000000000000000000000000001\",\"environment\":9,"
              "\"class\":\"net.connect\",\"operation\":\"connect\","
              "\"object\":\"a\\\"b\\\\c\\u000a\\u0001\\u007f\xC3\xA4\xEF\xBF\xBD\xEF\xBF\xBD\","
              "\"outcome\":\"DENIED\",\"count\":56}\n");
    assert_int_equal(len, strlen(line));
    // One byte too few, at each length.
    for (size_t cap = 0; cap <= len; cap++)
        assert_int_equal(viv_audit_json(&event, line, cap, &len), VIV_E_TOOSMALL);
    viv_audit_init_event(&event, VIV_AUDIT_LOST);
    event.count = 3;
    assert_int_equal(viv_audit_json(&event, line, sizeof line, &len), VIV_OK);
    assert_string_equal(line,
                        "{\"seq\":0,\"time_ns\":0,\"event\":\"lost\",\"pid\":null,"
                        "\"session\":null,\"environment\":0,\"class\":null,"
                        "\"operation\":null,\"object\":\"\",\"outcome\":\"OK\",\"count\":3}\n");
}

static void the_longest_line_fits(void **state)
{
    (void)state;
    struct viv_audit_event event;
    char line[VIV_AUDIT_JSON_MAX], object[400], operation[400];
    size_t len;
    memset(object, 1, sizeof object);
    memset(operation, 2, sizeof operation);
    operation[sizeof operation - 1] = '\0';
    viv_audit_init_event(&event, VIV_AUDIT_SESSION_REMOVE);
    event.seq = event.time_ns = event.count = UINT64_MAX;
    event.pid = viv_pid_make((1u << VIV_PID_SLOT_BITS) - 1, UINT32_MAX);
    memset(&event.session, 0xFF, sizeof event.session);
    event.environment = UINT32_MAX;
    event.cap = VIV_CAP_SINGLETON_REGISTER;
    event.outcome = VIV_E_UNENFORCEABLE;
    event.operation = operation;
    viv_audit_set_object(&event, object, sizeof object);
    assert_int_equal(event.object_len, VIV_AUDIT_OBJECT_MAX);
    assert_int_equal(viv_audit_json(&event, line, sizeof line, &len), VIV_OK);
    assert_true(len < sizeof line);
}

static void names_of_events(void **state)
{
    (void)state;
    static const char *const names[] = {
        "lost",       "denied",         "attach-guess",   "grant",          "delegate",
        "revoke",     "session-create", "session-change", "session-remove", "policy-load",
        "unenforced", "account-leak",   "orphan",         "control-kill",   "program"};
    assert_int_equal(VIV_COUNT_OF(names), VIV_AUDIT_KINDS);
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        assert_string_equal(viv_audit_kind_name((enum viv_audit_kind)i), names[i]);
}

static void detailed(struct viv_audit *audit, size_t len, char fill)
{
    static char text[VIV_AUDIT_DETAIL_MAX];
    struct viv_audit_event event;
    memset(text, fill, sizeof text);
    viv_audit_init_event(&event, VIV_AUDIT_PROGRAM);
    assert_int_equal(viv_audit_detail_new(text, len, &event.detail), VIV_OK);
    viv_audit_write(audit, &event);
}

static void a_detail_is_part_of_the_line_and_goes_with_its_event(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(4);
    struct viv_audit_event event;
    struct viv_audit_detail *detail;
    static char line[VIV_AUDIT_JSON_MAX];
    uint64_t cursor = 0;
    size_t len;
    viv_audit_init_event(&event, VIV_AUDIT_PROGRAM);
    assert_int_equal(viv_audit_detail_new("\"a\":1", 5, &event.detail), VIV_OK);
    viv_audit_write(audit, &event);
    assert_true(viv_audit_read_line(audit, &cursor, &event, line, &len));
    assert_null(event.detail);
    assert_int_equal(len, strlen(line));
    assert_non_null(strstr(line, ",\"count\":1,\"detail\":{\"a\":1}}\n"));
    for (int i = 0; i < 6; i++) // overwritten twice
        detailed(audit, 10, 'x');
    cursor = 0;
    assert_true(viv_audit_read(audit, &cursor, &event));
    assert_int_equal(event.kind, VIV_AUDIT_LOST);
    assert_true(viv_audit_read(audit, &cursor, &event));
    assert_null(event.detail);
    assert_int_equal(viv_audit_detail_new(line, VIV_AUDIT_DETAIL_MAX + 1, &detail), VIV_E_TOOBIG);
    viv_audit_init_event(&event, VIV_AUDIT_PROGRAM);
    assert_int_equal(viv_audit_detail_new("", 0, &event.detail), VIV_OK);
    viv_audit_write(NULL, &event); // is the owner all the same
    viv_audit_free(audit);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

static void details_have_a_bound_together(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit(0);
    struct viv_audit_event event;
    static char line[VIV_AUDIT_JSON_MAX];
    const uint64_t fit = VIV_AUDIT_DETAILS_BYTES / VIV_AUDIT_DETAIL_MAX;
    uint64_t cursor = 0;
    size_t len;
    tell(audit, VIV_AUDIT_GRANT);
    for (uint64_t i = 0; i < fit + 3; i++)
        detailed(audit, VIV_AUDIT_DETAIL_MAX, 'x');
    // The grant and the first three gave way, whatever room the ring has.
    assert_true(viv_audit_read_line(audit, &cursor, &event, line, &len));
    assert_int_equal(event.kind, VIV_AUDIT_LOST);
    assert_int_equal(event.count, 4);
    uint64_t seen = 0;
    while (viv_audit_read_line(audit, &cursor, &event, line, &len))
        seen++;
    assert_int_equal(seen, fit);
    viv_audit_free(audit);
    assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
}

static void objects_are_as_the_guest_named_them(void **state)
{
    (void)state;
    static const char *const args[] = {"log", "-1"};
    static const uint8_t v4[16] = {[10] = 0xFF, [11] = 0xFF, [12] = 10, [15] = 1};
    static const uint8_t v6[16] = {[0] = 0xFE, [1] = 0x80, [15] = 1};
    const uint32_t address = 1u << VIV_SCOPE_ADDRESS;
    struct row {
        enum viv_cap cap;
        struct viv_cap_query query;
        const char *object;
    } rows[] = {
        {VIV_CAP_FS, {.facets = 1u << VIV_SCOPE_DIRECTORY, .path = "/a/b", .path_len = 4}, "/a/b"},
        {VIV_CAP_NET_CONNECT,
         {.facets = address, .proto = VIV_NET_TCP, .port = 80, .has_addr = true},
         "tcp:10.0.0.1:80"},
        {VIV_CAP_NET_BIND,
         {.facets = address, .proto = VIV_NET_UDP, .port = 5, .has_addr = true},
         "udp:[fe80:0:0:0:0:0:0:1]:5"},
        {VIV_CAP_NET_CONNECT,
         {.facets = address, .proto = VIV_NET_UNIX, .path = "/run/x", .path_len = 6},
         "unix:/run/x"},
        {VIV_CAP_NATIVE_SPAWN,
         {.facets = 1u << VIV_SCOPE_COMMAND,
          .path = "/usr/bin/git",
          .path_len = 12,
          .argv = args,
          .argc = 2},
         "/usr/bin/git log -1"},
        {VIV_CAP_CHAN_READ,
         {.facets = 1u << VIV_SCOPE_RIDS, .number = UINT64_C(3) << 32 | 2u << 24 | 1},
         "#2.1.3"},
        {VIV_CAP_PROC_SPAWN,
         {.facets = 1u << VIV_SCOPE_BODIES | 1u << VIV_SCOPE_NAMES,
          .number = VIV_BODY_NATIVE,
          .name = "m",
          .name_len = 1},
         "native m"},
        {VIV_CAP_RES_SEND, {.facets = 1u << VIV_SCOPE_KINDS, .number = 6}, "channel"},
        {VIV_CAP_CAP_DELEGATE, {.facets = 1u << VIV_SCOPE_CLASSES, .number = 25}, "fs"},
        {VIV_CAP_PROC_SIGNAL, {.facets = 1u << VIV_SCOPE_SIGNALS, .number = 2}, "kill"},
        {VIV_CAP_NATIVE_SIGNAL, {.facets = 1u << VIV_SCOPE_SIGNALS, .number = 15}, "15"},
        {VIV_CAP_TIME_READ, {.facets = 1u << VIV_SCOPE_WORDS, .number = 1}, "mono"},
        {VIV_CAP_CHAN_CREATE, {.facets = 1u << VIV_SCOPE_MAX, .number = 4096}, "4096"},
        {VIV_CAP_NAME_LOOKUP,
         {.facets = 1u << VIV_SCOPE_NAMES, .name = "a.b", .name_len = 3},
         "a.b"},
    };
    memcpy(rows[1].query.addr, v4, 16);
    memcpy(rows[2].query.addr, v6, 16);
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++) {
        struct viv_audit_event event;
        viv_audit_init_event(&event, VIV_AUDIT_DENIED);
        viv_audit_set_query(&event, rows[i].cap, &rows[i].query);
        assert_int_equal(event.cap, rows[i].cap);
        if (event.object_len != strlen(rows[i].object) ||
            memcmp(event.object, rows[i].object, event.object_len) != 0)
            fail_msg("row %u: %.*s", (unsigned)i, (int)event.object_len, event.object);
    }
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_DENIED);
    viv_audit_set_query(&event, (enum viv_cap)77, NULL);
    assert_int_equal(event.cap, VIV_AUDIT_NO_CLASS);
}

// ---- threads ----

enum { THREADS = 4, ROUNDS = 20000, PIDS = 40 };
static struct viv_audit *shared;
static _Atomic uint64_t denials[PIDS];
static _Atomic bool is_over;
static uint64_t seen[PIDS], told, lost;

static void write_some(void *arg)
{
    struct viv_rng rng = {(uint64_t)(uintptr_t)arg};
    for (int i = 0; i < ROUNDS; i++) {
        const uint64_t pid = viv_rng_below(&rng, PIDS);
        atomic_fetch_add(&denials[pid], 1);
        deny(shared, pid, VIV_CAP_FS, "/x");
        if (i % 10 == 0) atomic_fetch_add(&now_ns, VIV_NS_PER_SEC / 100);
    }
}

static void count_one(const struct viv_audit_event *event)
{
    if (event->kind == VIV_AUDIT_LOST) {
        lost += event->count;
        return;
    }
    CHECK(event->kind == VIV_AUDIT_DENIED && event->count > 0 && event->object_len == 2);
    CHECK(event->seq > told);
    told = event->seq;
    seen[event->pid.w] += event->count;
}

static void read_all(void *arg)
{
    uint64_t cursor = 0;
    struct viv_audit_event event;
    (void)arg;
    for (;;) {
        const bool was_over = atomic_load(&is_over);
        if (was_over) viv_audit_flush(shared);
        while (viv_audit_read(shared, &cursor, &event))
            count_one(&event);
        if (was_over) return;
    }
}

static void writers_and_a_reader_on_threads(void **state)
{
    (void)state;
    struct viv_thread *threads[THREADS], *reader;
    shared = new_audit(65536); // none is lost: fewer events than that
    assert_int_equal(viv_thread_start("reader", 0, read_all, NULL, &reader), VIV_OK);
    for (uintptr_t i = 0; i < THREADS; i++)
        assert_int_equal(viv_thread_start("writer", 0, write_some, (void *)(i + 1), &threads[i]),
                         VIV_OK);
    for (int i = 0; i < THREADS; i++)
        viv_thread_join(threads[i]);
    atomic_store(&is_over, true);
    viv_thread_join(reader);
    assert_int_equal(lost, 0);
    for (int i = 0; i < PIDS; i++)
        assert_int_equal(seen[i], atomic_load(&denials[i]));
    viv_audit_free(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case64_equal_denials_are_one_event_a_second),
        cmocka_unit_test(case64_counts_are_exact_beyond_the_open_seconds),
        cmocka_unit_test(case64_overflow_shows_lost),
        cmocka_unit_test(the_ring_has_the_contracts_size),
        cmocka_unit_test(every_allocation_fails_once),
        cmocka_unit_test(a_line_of_json),
        cmocka_unit_test(the_longest_line_fits),
        cmocka_unit_test(names_of_events),
        cmocka_unit_test(a_detail_is_part_of_the_line_and_goes_with_its_event),
        cmocka_unit_test(details_have_a_bound_together),
        cmocka_unit_test(objects_are_as_the_guest_named_them),
        cmocka_unit_test(writers_and_a_reader_on_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
