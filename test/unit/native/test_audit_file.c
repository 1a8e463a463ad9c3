// SPDX-License-Identifier: Apache-2.0
// The audit file (native.md 13): its chain, continuing one, a writer that was cut off, room that is
// set aside, and every system call failing once.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "harness/check.h"
#include "native/audit_file.h"
#include "os/fault.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char path[] = "audit-test.jsonl";
static struct viv_audit_file file;

static uint64_t now(void *arg)
{
    (void)arg;
    return VIV_NS_PER_SEC;
}

static struct viv_audit *new_audit(void)
{
    const struct viv_audit_config config = {.event_count = 64, .now_ns = now};
    struct viv_audit *audit;
    assert_int_equal(viv_audit_new(&config, &audit), VIV_OK);
    return audit;
}

static void tell(struct viv_audit *audit, const char *operation, bool is_reserved)
{
    struct viv_audit_event event;
    viv_audit_init_event(&event, VIV_AUDIT_PROGRAM);
    event.operation = operation;
    event.is_reserved = is_reserved;
    viv_audit_write(audit, &event);
}

// Follows the chain through the file; the number of lines, -1: it is broken.
static int verify(void)
{
    static char line[VIV_AUDIT_JSON_MAX + 200];
    char wanted[2 * VIV_SHA256_BYTES + 1], member[100];
    uint8_t digest[VIV_SHA256_BYTES] = {0};
    FILE *in = fopen(path, "r");
    int count = 0;
    CHECK(in != NULL);
    while (fgets(line, sizeof line, in) != NULL && count >= 0) {
        const size_t len = strlen(line) - 1;
        viv_hex_encode(digest, sizeof digest, wanted);
        (void)snprintf(member, sizeof member, ",\"prev\":\"%s\"}\n", wanted);
        const bool is_event = line[0] == '{';
        const size_t tail = strlen(member);
        if (is_event && (len + 1 < tail || strcmp(line + len + 1 - tail, member) != 0))
            count = -1;
        else
            count++;
        assert_int_equal(viv_sha256(line, len, digest), VIV_OK);
    }
    (void)fclose(in);
    return count;
}

static void write_events(struct viv_audit *audit, bool is_new, int count)
{
    assert_int_equal(viv_audit_file_open(&file, path, is_new), 0);
    for (int i = 0; i < count; i++)
        tell(audit, "native.spawn", false);
    assert_int_equal(viv_audit_file_drain(&file, audit), 0);
    viv_audit_file_close(&file);
}

static void case_115_each_line_has_the_digest_of_the_one_before(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit();
    write_events(audit, true, 5);
    assert_int_equal(verify(), 5);
    FILE *out = fopen(path, "r+"); // a changed letter breaks it
    CHECK(out != NULL);
    assert_int_equal(fseek(out, 200, SEEK_SET), 0);
    (void)fputc('#', out);
    (void)fclose(out);
    assert_int_equal(verify(), -1);
    viv_audit_free(audit);
    assert_int_equal(unlink(path), 0);
}

static void a_file_is_continued_or_replaced(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit();
    write_events(audit, true, 3);
    viv_audit_free(audit);
    audit = new_audit();
    write_events(audit, false, 2);
    assert_int_equal(verify(), 5);
    viv_audit_free(audit);
    audit = new_audit();
    write_events(audit, true, 1);
    assert_int_equal(verify(), 1);
    viv_audit_free(audit);
    // Cut off within a line: that line is part of the chain as it is.
    struct stat stat_of;
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(truncate(path, stat_of.st_size - 20), 0);
    audit = new_audit();
    assert_int_equal(viv_audit_file_open(&file, path, false), 0);
    tell(audit, "native.exit", false);
    assert_int_equal(viv_audit_file_drain(&file, audit), 0);
    viv_audit_file_close(&file);
    viv_audit_free(audit);
    FILE *in = fopen(path, "r");
    static char first[VIV_AUDIT_JSON_MAX], second[VIV_AUDIT_JSON_MAX];
    uint8_t digest[VIV_SHA256_BYTES];
    char hex[2 * VIV_SHA256_BYTES + 1];
    CHECK(in != NULL);
    CHECK(fgets(first, sizeof first, in) != NULL);
    CHECK(fgets(second, sizeof second, in) != NULL);
    (void)fclose(in);
    assert_int_equal(viv_sha256(first, strlen(first) - 1, digest), VIV_OK);
    viv_hex_encode(digest, sizeof digest, hex);
    assert_non_null(strstr(second, hex));
    assert_int_equal(unlink(path), 0);
}

static void case_115_room_is_set_aside_and_used_up(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit();
    assert_int_equal(viv_audit_file_open(&file, "/dev/full", false), 0);
    assert_int_equal(viv_audit_file_reserve(&file), VIV_E_IO);
    viv_audit_file_close(&file);
    assert_int_equal(viv_audit_file_reserve(&file), VIV_E_IO); // closed
    assert_int_equal(viv_audit_file_open(&file, path, true), 0);
    assert_int_equal(viv_audit_file_reserve(&file), VIV_OK);
    assert_int_equal(viv_audit_file_reserve(&file), VIV_OK);
    struct stat stat_of;
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_size, 0);
    assert_true((uint64_t)stat_of.st_blocks * 512 >= 2 * sizeof file.line);
    tell(audit, "native.exit", false);
    tell(audit, "native.spawn", true);
    assert_int_equal(viv_audit_file_drain(&file, audit), 0);
    assert_int_equal(file.reserved, 1);
    viv_audit_file_close(&file);
    assert_int_equal(verify(), 2);
    viv_audit_free(audit);
    assert_int_equal(unlink(path), 0);
}

static int open_and_drain(struct viv_audit *audit)
{
    int r = viv_audit_file_open(&file, path, false);
    if (r == 0) r = viv_audit_file_drain(&file, audit);
    viv_audit_file_close(&file);
    return r;
}

static void every_system_call_and_allocation_fails_once(void **state)
{
    (void)state;
    struct viv_audit *audit = new_audit();
    write_events(audit, true, 2);
    viv_audit_free(audit);
    for (int kind = 0; kind < 2; kind++) {
        bool was_hit = true;
        for (uint64_t n = 1; was_hit; n++) {
            audit = new_audit();
            tell(audit, "native.exit", false);
            tell(audit, "native.exit", false);
            if (kind == 0)
                viv_fault_set("*", n, EIO);
            else
                viv_alloc_fail_nth(n);
            const int r = open_and_drain(audit);
            was_hit = kind == 0 ? viv_fault_hit() : viv_alloc_fail_hit();
            viv_fault_set("*", 0, 0);
            viv_alloc_fail_nth(0);
            assert_int_equal(file.fd, -1);
            if (!was_hit) assert_int_equal(r, 0);
            if (r != 0) assert_true(r == -EIO || r == -ENOMEM);
            assert_true(verify() >= 2); // what was written is a chain
            viv_audit_free(audit);
            assert_int_equal(viv_alloc_live_bytes(VIV_TAG_CAP), 0);
        }
    }
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_115_each_line_has_the_digest_of_the_one_before),
        cmocka_unit_test(a_file_is_continued_or_replaced),
        cmocka_unit_test(case_115_room_is_set_aside_and_used_up),
        cmocka_unit_test(every_system_call_and_allocation_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
