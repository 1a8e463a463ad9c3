// SPDX-License-Identifier: Apache-2.0
// One audit record for each spawn and each deed (13), what is in it and what never is, records that
// are required, and the counters.
#include "native_rig.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "cap/holder.h"
#include "harness/check.h"
#include "native/metrics.h"
#include "proc/host.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MS VIV_NS_PER_MS
enum {
    LINE = 32768,
    OUTPUT = 4096,
};

static char line[LINE];

static void expect(struct native_rig *rig, const char *operation, const char *outcome)
{
    rig_expect_audit(rig, operation, outcome, line, sizeof line);
}

static void expect_none(struct native_rig *rig)
{
    if (rig_next_audit(rig, line, sizeof line)) fail_msg("one too many: %s", line);
}

static void has(const char *part)
{
    if (strstr(line, part) == NULL) fail_msg("no %s in %s", part, line);
}

static void case_023_each_deed_has_one_record(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_exit exit;
    rig_open(&rig);
    rig_request(&rig, "sleep", "1000", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_START, VIV_NATIVE_START_HELD);
    struct viv_native_ref ref = rig_start(&rig);
    expect(&rig, "native.spawn", "OK");
    struct viv_native_call call;
    viv_native_call_init(&call, &rig.ctx);
    assert_int_equal(viv_native_start(&call, &ref), VIV_E_AGAIN);
    assert_int_equal(viv_native_await(&call), VIV_OK);
    expect(&rig, "native.start", "OK");
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGCONT, true), VIV_OK);
    expect(&rig, "native.signal", "OK");
    has("\"signal\":18");
    assert_int_equal(rig_stop(&rig, &ref, VIV_NATIVE_OWN_GRACE, &exit), VIV_OK);
    expect(&rig, "native.stop", "OK");
    expect(&rig, "native.exit", "OK");
    has("\"kind\":\"signaled\",\"cause\":\"stop\",\"signal\":15");
    assert_int_equal(viv_native_release(&rig.ctx, &ref), VIV_OK);
    expect(&rig, "native.release", "OK");
    rig_request(&rig, "sleep", "1000", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RETENTION_MS, 20);
    ref = rig_start(&rig);
    expect(&rig, "native.spawn", "OK");
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    expect(&rig, "native.kill", "OK");
    expect(&rig, "native.exit", "OK");
    has("\"cause\":\"kill\"");
    struct viv_native_status status;
    for (int i = 0; i < 3000 && viv_native_status(&rig.ctx, &ref, &status) == VIV_OK; i++)
        rig_sleep(&rig, MS);
    for (int i = 0; i < 3000 && !rig_next_audit(&rig, line, sizeof line); i++)
        rig_sleep(&rig, MS);
    has("\"operation\":\"native.expiry\"");
    assert_int_equal(viv_native_signal(&rig.ctx, &ref, SIGCONT, true), VIV_E_NOTFOUND);
    expect_none(&rig); // what nobody can see leaves nothing
    rig_close(&rig);
}

// The digest of the arguments, each with its 0, in hexadecimal.
// Attaches, and waits to be told what to do with the handle: 2 closes it, 3 ends with it.
static struct {
    struct native_rig *rig;
    struct viv_native_ref ref;
    _Atomic uint32_t state;
} holder;

static enum viv_step hold(struct viv_proc *proc, void *arg, struct viv_slice *slice)
{
    static viv_handle handle;
    struct viv_native_ctx ctx = holder.rig->ctx;
    struct viv_htab *tab = viv_holder_find_htab(proc);
    (void)arg;
    (void)slice;
    ctx.proc = proc;
    switch (atomic_load(&holder.state)) {
    case 0:
        CHECK(viv_native_attach(&ctx, &holder.ref, VIV_RIGHT_READ, &handle) == VIV_OK);
        atomic_store(&holder.state, 1);
        return VIV_STEP_WAIT;
    case 2:
        CHECK(viv_res_close(tab, handle) == VIV_OK);
        CHECK(viv_native_attach(&ctx, &holder.ref, VIV_RIGHT_READ, &handle) == VIV_OK);
        atomic_store(&holder.state, 1);
        return VIV_STEP_WAIT;
    case 3:
        return VIV_STEP_DONE;
    default:
        return VIV_STEP_WAIT;
    }
}

static void tell_holder(uint32_t state, viv_pid pid)
{
    atomic_store(&holder.state, state);
    CHECK(viv_proc_wake_pid(holder.rig->kernel, pid));
}

static void case_023_the_end_of_a_handle_has_one_record(void **state)
{
    (void)state;
    struct native_rig rig;
    viv_pid pid;
    char by[64], text[VIV_PID_TEXT_BYTES];
    rig_open(&rig);
    rig_request(&rig, "sleep", "1000", NULL);
    holder.rig = &rig;
    holder.ref = rig_start(&rig);
    atomic_store(&holder.state, 0);
    expect(&rig, "native.spawn", "OK");
    const struct viv_host_spec spec = {.env = rig.env, .fn = hold};
    assert_int_equal(viv_host_spawn(&spec, &pid), VIV_OK);
    expect(&rig, "native.attach", "OK");
    (void)snprintf(by, sizeof by, "\"%s\"", viv_pid_format(pid, text));
    has(by);
    tell_holder(2, pid);
    expect(&rig, "native.detach", "OK");
    has(by);
    has("\"digest\"");
    expect(&rig, "native.attach", "OK");
    tell_holder(3, pid);
    expect(&rig, "native.detach", "OK");
    has(by);
    struct viv_native_status status; // closing ends nothing
    rig_status(&rig, &holder.ref, &status);
    assert_int_equal(status.phase, VIV_NATIVE_RUNNING);
    assert_int_equal(rig_kill(&rig, &holder.ref, NULL), VIV_OK);
    rig_close(&rig);
}

static void digest_of(const char *bytes, size_t len, char out[2 * VIV_SHA256_BYTES + 1])
{
    uint8_t digest[VIV_SHA256_BYTES];
    assert_int_equal(viv_sha256(bytes, len, digest), VIV_OK);
    viv_hex_encode(digest, sizeof digest, out);
}

static void case_023_what_a_record_says_and_what_it_never_says(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_spawned spawned;
    char hex[2 * VIV_SHA256_BYTES + 1], wanted[200];
    static const char argv[] = "/bin/cat\0hidden-argument";
    rig_open(&rig);
    rig.ctx.unit = "a \"unit\"";
    rig_request(&rig, "/bin/cat", "hidden-argument", NULL);
    rig_put_text(&rig, VIV_NATIVE_KEY_ENV, "SECRET=hidden-value");
    rig_put_text(&rig, VIV_NATIVE_KEY_CWD, "/tmp");
    rig_put_text(&rig, VIV_NATIVE_KEY_STDIN, "hidden-input");
    rig_put_u64(&rig, VIV_NATIVE_KEY_MAX_OPEN_FILES, 77);
    assert_int_equal(rig_spawn(&rig, &spawned), VIV_OK);
    expect(&rig, "native.spawn", "OK");
    digest_of(argv, sizeof argv, hex);
    (void)snprintf(wanted, sizeof wanted, "\"argv_sha256\":\"%s\"", hex);
    has(wanted);
    has("\"detail\":{\"unit\":\"a \\\"unit\\\"\",\"program\":\"<0.");
    has("\"env\":[\"SECRET\"],\"env_count\":1");
    has("\"cwd\":\"/tmp\"");
    has("\"max_open_files\":77");
    has("\"sandbox\":\"none\"");
    has("\"command\":\"/usr/bin/cat\"");
    assert_null(strstr(line, "hidden"));
    assert_null(strstr(line, spawned.id));
    char id_part[21] = "";
    memcpy(id_part, spawned.id, 20);
    assert_null(strstr(line, id_part));
    const struct viv_native_ref ref = {.kind = VIV_NATIVE_PID, .u.pid = spawned.pid};
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    expect(&rig, "native.exit", "OK");
    assert_null(strstr(line, "hidden"));
    rig_close(&rig);
}

static void show_args(struct viv_native_config *config)
{
    config->audit.shows_args = true;
}

static void case_023_arguments_are_shown_when_asked_for(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_with(&rig, show_args);
    rig_request(&rig, "true", "one", "t\nwo", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    expect(&rig, "native.spawn", "OK");
    has("\"argv\":[\"true\",\"one\",\"t\\u000awo\"]");
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    rig_close(&rig);
}

static void case_023_every_refusal_has_one_record(void **state)
{
    (void)state;
    struct native_rig rig;
    const struct {
        const char *cmd;
        enum viv_native_key key;
        const char *text;
        const char *outcome, *part;
    } cases[] = {
        {"no-such-program", 0, NULL, "NOPROGRAM", "\"command\":\"no-such-program\""},
        {"/usr", 0, NULL, "NOEXEC", "\"error\":\"EACCES\""},
        {"true", VIV_NATIVE_KEY_CWD, "missing-directory", "INVAL", "\"error\":\"cwd\""},
        {"true", VIV_NATIVE_KEY_CWD, "..", "ESCAPE", "\"cwd\":\"..\""},
        {"tr\tue", 0, NULL, "INVAL", "\"error\":\"cmd\""},
        {"true", VIV_NATIVE_KEY_SPILL_DIR, "/tmp", "UNSUPPORTED", "\"error\":\"spill\""},
    };
    rig_open(&rig);
    for (size_t i = 0; i < VIV_COUNT_OF(cases); i++) {
        rig_request(&rig, cases[i].cmd, NULL);
        if (cases[i].text != NULL) rig_put_text(&rig, cases[i].key, cases[i].text);
        assert_int_not_equal(rig_spawn(&rig, NULL), VIV_OK);
        expect(&rig, "native.spawn", cases[i].outcome);
        has(cases[i].part);
        expect_none(&rig);
    }
    rig_request(&rig, "true", NULL);
    rig.block.data[0] ^= 1; // no block
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_INVAL);
    expect(&rig, "native.spawn", "INVAL");
    expect_none(&rig);
    rig_close(&rig);
}

static void case_023_a_refusal_by_the_policy_names_the_class(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_policy(&rig, "use none\nallow native.spawn\n", NULL);
    rig_request(&rig, "true", NULL); // at level none
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_DENIED);
    assert_string_equal(rig.diag.text, "unsandboxed");
    expect(&rig, "native.spawn", "DENIED");
    has("\"class\":\"native.mode\"");
    has("\"error\":\"unsandboxed\"");
    expect_none(&rig);
    struct viv_audit_event event;
    uint64_t cursor = 0;
    viv_audit_flush(viv_room_audit(rig.cap));
    while (viv_audit_read(viv_room_audit(rig.cap), &cursor, &event))
        assert_int_not_equal(event.kind, VIV_AUDIT_DENIED); // it is the one record
    rig_close(&rig);
}

// ---- required ----

static enum viv_err full(void *arg)
{
    (void)arg;
    return VIV_E_IO;
}

static void require_and_be_full(struct viv_native_config *config)
{
    config->audit = (struct viv_native_audit){.is_required = true, .reserve = full};
}

static void case_115_no_room_for_a_record_no_program(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_with(&rig, require_and_be_full);
    (void)unlink("was-run");
    rig_request(&rig, "touch", "was-run", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_DENIED);
    assert_string_equal(rig.diag.text, "audit");
    assert_int_equal(access("was-run", F_OK), -1);
    expect(&rig, "native.spawn", "DENIED");
    has("\"error\":\"audit\"");
    expect_none(&rig);
    struct viv_native_metrics metrics;
    viv_native_metrics(rig.native, &metrics);
    assert_int_equal(metrics.live + metrics.retained + metrics.ring_bytes, 0);
    rig_close(&rig);
}

static void require(struct viv_native_config *config)
{
    config->audit.is_required = true;
}

static void case_115_a_required_record_is_there(void **state)
{
    (void)state;
    struct native_rig rig;
    rig_open_with(&rig, require);
    rig_request(&rig, "true", NULL);
    const struct viv_native_ref ref = rig_start(&rig);
    expect(&rig, "native.spawn", "OK");
    has("\"argv_sha256\"");
    assert_int_equal(rig_wait(&rig, &ref, NULL), VIV_OK);
    rig_close(&rig);
}

static void metrics_count_what_happened(void **state)
{
    (void)state;
    struct native_rig rig;
    struct viv_native_metrics metrics;
    struct viv_native_exit exit;
    rig_open(&rig);
    rig_shell(&rig, "printf 12345; printf 123 >&2");
    struct viv_native_ref ref = rig_start(&rig);
    assert_int_equal(rig_wait(&rig, &ref, &exit), VIV_OK);
    rig_request(&rig, "no-such-program", NULL);
    assert_int_equal(rig_spawn(&rig, NULL), VIV_E_NOPROGRAM);
    rig_request(&rig, "sleep", "1000", NULL);
    rig_put_u64(&rig, VIV_NATIVE_KEY_KEEP_STDIN, 1);
    rig_put_u64(&rig, VIV_NATIVE_KEY_RING_BYTES, 8192);
    ref = rig_start(&rig);
    static char big[200000];
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(rig_write(&rig, &ref, big), VIV_OK); // more than a pipe holds
    rig_sleep(&rig, 50 * MS);
    viv_native_metrics(rig.native, &metrics);
    assert_int_equal(metrics.live, 1);
    assert_int_equal(metrics.retained, 2);
    assert_int_equal(metrics.launch_queue, 0);
    assert_int_equal(metrics.spawns[VIV_OK], 2);
    assert_int_equal(metrics.spawns[VIV_E_NOPROGRAM], 1);
    assert_int_equal(metrics.exits[VIV_CAUSE_SELF], 1);
    assert_int_equal(metrics.log_bytes[0], 5);
    assert_int_equal(metrics.log_bytes[1], 3);
    assert_int_equal(metrics.ring_bytes, (UINT64_C(2) << 20) + 16384);
    assert_true(metrics.stdin_queued > 0 && metrics.stdin_queued < sizeof big);
    assert_true(metrics.spawn_ns > 0);
    assert_int_equal(metrics.audit_failed, 0);
    assert_int_equal(rig_kill(&rig, &ref, &exit), VIV_OK);
    viv_native_metrics(rig.native, &metrics);
    assert_int_equal(metrics.exits[VIV_CAUSE_KILL], 1);
    assert_int_equal(metrics.live, 0);
    assert_int_equal(metrics.stdin_queued, 0);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_023_each_deed_has_one_record),
        cmocka_unit_test(case_023_the_end_of_a_handle_has_one_record),
        cmocka_unit_test(case_023_what_a_record_says_and_what_it_never_says),
        cmocka_unit_test(case_023_arguments_are_shown_when_asked_for),
        cmocka_unit_test(case_023_every_refusal_has_one_record),
        cmocka_unit_test(case_023_a_refusal_by_the_policy_names_the_class),
        cmocka_unit_test(case_115_no_room_for_a_record_no_program),
        cmocka_unit_test(case_115_a_required_record_is_there),
        cmocka_unit_test(metrics_count_what_happened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
