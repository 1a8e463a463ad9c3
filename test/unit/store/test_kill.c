// SPDX-License-Identifier: Apache-2.0
// Operations whose OS process is killed at a call (case 100): at each that changes a file of
// SQLite, and at each piece of data from or to a server. The store looks as before or as after, no
// rule is broken, and the same call again makes it look as after. VIV_TEST_ROUNDS: at every call.
#include "pg_proxy.h"
#include "shim_vfs.h"
#include "store_ops.h"

#include "harness/check.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 7, REFUSED = 8 }; // statuses of children

// True: it was killed. What the child does ends with an exit.
static bool await_child(pid_t child)
{
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status)) {
        assert_int_equal(WTERMSIG(status), SIGKILL);
        return true;
    }
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), DONE);
    return false;
}

static void call_in_child(struct rig *rig, const struct store_op *op)
{
    if (viv_store_open(str(rig->url), &rig->opts, &rig->store, NULL) != VIV_OK) _exit(REFUSED);
    _exit(op->call(rig) == VIV_OK ? DONE : REFUSED);
}

// ---- files ----

static bool kill_one(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                     uint64_t nth)
{
    store_copy_template();
    const pid_t child = fork();
    if (child == 0) {
        shim_fail(SHIM_CHANGES, nth, SHIM_KILL, false);
        call_in_child(rig, op);
    }
    const bool was_killed = await_child(child);
    store_open(rig);
    store_expect_whole(rig, op, dumps, was_killed ? VIV_STORE_OUTCOME_UNKNOWN : VIV_OK);
    viv_store_close(rig->store);
    return was_killed;
}

static void case_100_killed_at_each_call(struct rig *rig)
{
    assert_true(store_for_each_call(rig, kill_one) > 2 * store_op_count);
}

// ---- a checkpoint ----

enum { BIG = 200000, EVENTS = 40, PROBES = 12 };

// Tells how many are acknowledged; the log is moved meanwhile.
static void append_in_child(struct rig *rig, int fd)
{
    static char payload[BIG];
    memset(payload, 'x', BIG);
    payload[0] = payload[BIG - 1] = '"';
    const struct viv_append append = {.type = str("e"), .payload = {payload, BIG}};
    if (viv_store_open(str(rig->url), &rig->opts, &rig->store, NULL) != VIV_OK) _exit(REFUSED);
    for (int i = 0; i < EVENTS; i++) {
        if (viv_store_append(rig->store, str("a"), &append, &rig->mem, NULL, NULL, NULL, NULL) !=
            VIV_OK)
            _exit(REFUSED);
        if (write(fd, "", 1) != 1) _exit(REFUSED);
        viv_mem_reset(&rig->mem);
    }
    _exit(DONE);
}

// How many were acknowledged.
static uint64_t append_and_die(struct rig *rig, uint64_t nth, bool *out_was_killed)
{
    int fds[2];
    char byte;
    uint64_t count = 0;
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    if (child == 0) {
        shim_fail(SHIM_CHANGES, nth, SHIM_KILL, false);
        append_in_child(rig, fds[1]);
    }
    close(fds[1]);
    while (read(fds[0], &byte, 1) == 1)
        count++;
    close(fds[0]);
    *out_was_killed = await_child(child);
    return count;
}

static void case_100_killed_while_the_log_is_moved(struct rig *rig)
{
    bool was_killed = true;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    viv_store_close(rig->store);
    store_keep_template();
    const uint64_t step = store_rounds(0) > 0 ? 37 : 5 * 37;
    int killed = 0;
    // The log is long enough after some two thousand calls, and moved by some thousand.
    for (uint64_t nth = 1900; was_killed; nth += step) {
        store_copy_template();
        const uint64_t told = append_and_die(rig, nth, &was_killed);
        store_open(rig);
        const uint64_t found = rig_get(rig, "a").last_seq;
        assert_true(found >= told && found <= told + 1);
        store_expect_sound(rig);
        RIG_OK(rig_append(rig, "a", "e", "1", "k", NULL));
        assert_int_equal(rig_get(rig, "a").last_seq, found + 1);
        viv_store_close(rig->store);
        viv_mem_reset(&rig->mem);
        killed += was_killed;
    }
    assert_true(killed > PROBES);
    store_open(rig);
}

// ---- a server ----

// Until the server knows that the killed process is gone.
static const char wait_for_server[] =
    "DO $$ BEGIN FOR i IN 1..1000 LOOP PERFORM pg_stat_clear_snapshot(); EXIT WHEN NOT EXISTS("
    "SELECT FROM pg_stat_activity WHERE application_name='victim'); PERFORM pg_sleep(0.01); END "
    "LOOP; END $$";

static void empty_server(struct rig *rig)
{
    char sql[512];
    const char *s = rig->schema;
    (void)snprintf(sql, sizeof sql,
                   "TRUNCATE %s.proc,%s.spec,%s.event,%s.wake_ack,%s.wake,%s.grants,%s.promise,"
                   "%s.checkpoint,%s.blob,%s.tomb,%s.blob_ref",
                   s, s, s, s, s, s, s, s, s, s, s);
    rig_server_run(rig->url, sql);
    atomic_store(&rig->wall_ms, 1700000000000);
}

static void kill_on_server(struct rig *rig, struct pg_proxy *proxy, const char *url,
                           const struct store_op *op, uint64_t nth)
{
    struct rig inner = *rig;
    char before[65536];
    int fds[2];
    empty_server(rig);
    store_furnish(rig);
    (void)snprintf(before, sizeof before, "%s", store_dump(rig));
    CHECK(pipe(fds) == 0);
    (void)snprintf(inner.url, sizeof inner.url, "%s&application_name=victim", url);
    const pid_t child = fork();
    if (child == 0) {
        char byte;
        if (read(fds[0], &byte, 1) != 1) _exit(REFUSED); // until the proxy knows of it
        call_in_child(&inner, op);
    }
    pg_proxy_kill(proxy, (int)child, nth);
    CHECK(write(fds[1], "", 1) == 1);
    const bool was_killed = await_child(child);
    pg_proxy_kill(proxy, 0, 0);
    close(fds[0]);
    close(fds[1]);
    rig_server_run(rig->url, wait_for_server);
    const char *found = store_dump(rig);
    const bool is_before = strcmp(found, before) == 0;
    store_expect_sound(rig);
    const enum viv_err again = op->call(rig);
    if (again != VIV_OK && (is_before || again != op->again))
        fail_msg("%s again: %s (%s)", op->name, viv_err_name(again), rig->diag.d.text);
    const char *after = store_dump(rig);
    if (!was_killed && is_before && strcmp(before, after) != 0) fail_msg("%s: lost", op->name);
    if (!is_before && strcmp(found, after) != 0)
        fail_msg("%s at %d: half: %s, not %s", op->name, (int)nth, found, after);
    viv_mem_reset(&rig->mem);
}

static void case_100_killed_at_each_piece_of_data(struct rig *rig)
{
    char url[RIG_URL_BYTES];
    struct pg_proxy *proxy = pg_proxy_start(rig->url, url);
    const bool is_whole = store_rounds(0) > 0;
    for (size_t i = 0; i < store_op_count; i++)
        for (uint64_t n = is_whole ? 1 : 14 + i % 5; n < (is_whole ? 60 : 40);
             n += is_whole ? 1 : 11)
            kill_on_server(rig, proxy, url, &store_ops[i], n);
    pg_proxy_stop(proxy);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_100_killed_at_each_call, RIG_SQLITE),
        RIG_ONLY_CASE(case_100_killed_while_the_log_is_moved, RIG_SQLITE),
        RIG_ONLY_CASE(case_100_killed_at_each_piece_of_data, RIG_POSTGRES),
    };
    shim_install();
    return rig_run(cases, VIV_COUNT_OF(cases));
}
