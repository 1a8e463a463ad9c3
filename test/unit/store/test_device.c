// SPDX-License-Identifier: Apache-2.0
// A device that fails, or has no space, under a store in a file: cases 102, 103, and files that are
// moved. VIV_TEST_ROUNDS: every call of every operation fails, instead of some.
#include "shim_vfs.h"
#include "store_ops.h"

#include "os/fault.h"
#include "store/wait.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void run(const char *command)
{
    if (system(command) != 0) fail_msg("%s", command);
}

// ---- 103 ----

static void expect_failed_for_good(struct rig *rig)
{
    struct viv_record record;
    const uint64_t synced = shim_count(SHIM_SYNC), written = shim_count(SHIM_WRITE);
    assert_true(viv_store_has_failed(rig->store));
    RIG_ERR(viv_store_get(rig->store, str("idle"), &rig->mem, &record, &rig->diag), VIV_E_IO);
    assert_non_null(strstr(rig->diag.d.text, "open it again"));
    RIG_ERR(rig_append(rig, "idle", "f", "1", NULL, NULL), VIV_E_IO);
    viv_store_close(rig->store);
    assert_int_equal(shim_count(SHIM_SYNC), synced); // none that might be believed
    assert_int_equal(shim_count(SHIM_WRITE), written);
}

// True: there was an nth call.
static bool fail_one(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                     uint64_t nth)
{
    const enum shim_how how = nth % 2 == 0 ? SHIM_EIO : SHIM_SHORT;
    store_copy_template();
    store_open(rig);
    shim_fail(SHIM_CHANGES, nth, how, false);
    const enum viv_err err = op->call(rig);
    const bool was_hit = shim_was_hit();
    shim_fail(0, 0, how, false);
    if (was_hit) {
        if (err != VIV_STORE_OUTCOME_UNKNOWN && err != VIV_E_IO)
            fail_msg("%s: %s", op->name, viv_err_name(err));
        expect_failed_for_good(rig);
        store_open(rig);
    } else {
        RIG_OK(err);
    }
    store_expect_whole(rig, op, dumps, err);
    viv_store_close(rig->store);
    return was_hit;
}

static void case_103_each_write_and_sync_fails(struct rig *rig)
{
    assert_true(store_for_each_call(rig, fail_one) > 2 * store_op_count);
}

// ---- 102, one call at a time: there is space again as soon as the reserve is gone ----

static bool fill_one(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                     uint64_t nth)
{
    store_copy_template();
    store_open(rig);
    shim_fail(SHIM_BIT(SHIM_WRITE) | SHIM_BIT(SHIM_TRUNCATE), nth, SHIM_FULL, false);
    const enum viv_err err = op->call(rig);
    const bool was_hit = shim_was_hit();
    shim_fail(0, 0, SHIM_FULL, false);
    RIG_OK(err);
    assert_false(viv_store_has_failed(rig->store));
    assert_int_equal(access("store/s.db.reserve", F_OK), 0); // it was made again at once
    store_expect_whole(rig, op, dumps, err);
    viv_store_close(rig->store);
    return was_hit;
}

static void case_102_each_write_finds_no_space(struct rig *rig)
{
    assert_true(store_for_each_call(rig, fill_one) > store_op_count);
}

// For good: what was asked is not done, and nothing is broken.
static bool fill_for_good(struct rig *rig, const struct store_op *op, const char *const dumps[2],
                          uint64_t nth)
{
    store_copy_template();
    store_open(rig);
    shim_fail(SHIM_BIT(SHIM_WRITE) | SHIM_BIT(SHIM_TRUNCATE), nth, SHIM_FULL, true);
    const enum viv_err err = op->call(rig);
    const bool was_hit = shim_was_hit();
    if (was_hit) {
        assert_int_equal(err, VIV_STORE_NO_SPACE);
        if (strcmp(store_dump(rig), dumps[0]) != 0) fail_msg("%s: half", op->name);
    }
    shim_fail(0, 0, SHIM_FULL, false);
    store_expect_whole(rig, op, dumps, err);
    viv_store_close(rig->store);
    return was_hit;
}

static void case_102_no_write_finds_space_any_more(struct rig *rig)
{
    assert_true(store_for_each_call(rig, fill_for_good) > store_op_count);
}

// The last call of a commit is the one that brings it to the disk.
static void case_103_a_sync_fails(struct rig *rig)
{
    struct viv_event event;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    shim_fail(SHIM_BIT(SHIM_SYNC), 1, SHIM_EIO, false);
    RIG_ERR(rig_append(rig, "a", "e", "1", "k", NULL), VIV_STORE_OUTCOME_UNKNOWN);
    assert_true(shim_was_hit());
    assert_string_equal(shim_hit_suffix(), "-wal");
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str("a")};
    RIG_ERR(viv_store_wait(rig->store, &spec, 1000, &rig->mem, &waited), VIV_E_IO);
    assert_true(viv_store_has_failed(rig->store));
    rig_reopen(rig);
    assert_false(viv_store_has_failed(rig->store));
    RIG_OK(rig_append(rig, "a", "e", "1", "k", &event));
    assert_int_equal(event.seq, 1);
    assert_int_equal(rig_get(rig, "a").last_seq, 1);
}

// What was acknowledged is in the log, whatever becomes of the database it is moved to.
static void case_103_a_checkpoint_fails(struct rig *rig)
{
    enum { EVENTS = 60, BIG = 200000 };
    static char payload[BIG + 3];
    uint64_t done = 0;
    memset(payload, 'x', BIG + 2);
    payload[0] = payload[BIG + 1] = '"';
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (int round = 0; round < 3; round++) {
        const struct {
            unsigned calls;
            uint64_t nth;
        } faults[] = {
            {SHIM_BIT(SHIM_SYNC), 4}, {SHIM_BIT(SHIM_WRITE), 900}, {SHIM_BIT(SHIM_SYNC), 29}};
        shim_fail(faults[round].calls, faults[round].nth, SHIM_EIO, true);
        enum viv_err err = VIV_OK;
        for (int i = 0; i < EVENTS && err == VIV_OK; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "k%d-%d", round, i);
            err = rig_append(rig, "a", "e", payload, key, NULL);
            done += err == VIV_OK;
            viv_mem_reset(&rig->mem);
        }
        assert_true(shim_was_hit() && err != VIV_OK);
        shim_fail(0, 0, SHIM_EIO, false);
        rig_reopen(rig);
        assert_true(rig_get(rig, "a").last_seq >= done);
        assert_true(rig_get(rig, "a").last_seq <= done + (err == VIV_STORE_OUTCOME_UNKNOWN));
        done = rig_get(rig, "a").last_seq;
        store_expect_sound(rig);
    }
}

// ---- the system's own calls: files beside the database ----

// Opened or not, nothing is lost or left behind, and the next one works.
static void each_system_call_of_opening_fails_once(struct rig *rig)
{
    bool was_hit = true;
    int failed = 0;
    store_make_template(rig);
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < 200);
        store_copy_template();
        if (n % 2 == 0) run("rm -f store/s.db.lock store/s.db.reserve store/s.db.wake");
        viv_fault_set("*", n, EIO);
        const enum viv_err err = viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag);
        was_hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        failed += err != VIV_OK;
        if (err != VIV_OK && (!was_hit || err != VIV_E_IO))
            fail_msg("call %d: %s: %s", (int)n, viv_err_name(err), rig->diag.d.text);
        if (err == VIV_OK) viv_store_close(rig->store);
        store_open(rig);
        RIG_OK(rig_append(rig, "idle", "f", "1", NULL, NULL));
        assert_int_equal(access("store/s.db.reserve", F_OK), 0);
        viv_store_close(rig->store);
        viv_mem_reset(&rig->mem);
    }
    assert_true(failed >= 4); // the lock, its file system, the files, the boot
    store_copy_template();
    store_open(rig);
}

static void each_system_call_of_an_append_fails_once(struct rig *rig)
{
    bool was_hit = true;
    int failed = 0;
    uint64_t done = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    for (uint64_t n = 1; was_hit; n++) {
        assert_true(n < 100);
        viv_fault_set("*", n, EIO);
        const enum viv_err err = rig_append(rig, "a", "e", "1", NULL, NULL);
        was_hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        done += err == VIV_OK;
        failed += err != VIV_OK;
        if (err != VIV_OK) RIG_ERR(err, VIV_E_IO);
        rig_reopen(rig); // a file that cannot be looked at is taken to be another
        assert_int_equal(rig_get(rig, "a").last_seq, done);
    }
    assert_true(failed >= 4); // the lock, and a look at each file
}

// ---- files that are moved ----

static void a_file_is_moved_or_replaced(struct rig *rig)
{
    static const char *const commands[] = {
        "mv store/s.db store/away", "rm store/s.db-wal", "rm store/s.db-shm",
        "cp store/s.db store/other && mv store/other store/s.db", "rm -r store"};
    for (size_t i = 0; i < VIV_COUNT_OF(commands); i++) {
        viv_store_close(rig->store);
        run("rm -rf store && mkdir -m 700 store");
        store_open(rig);
        rig_register(rig, "a", "rerunnable", RIG_TYPES);
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
        run(commands[i]);
        RIG_ERR(rig_append(rig, "a", "e", "1", NULL, NULL), VIV_E_IO);
        if (i < 4) assert_true(viv_store_has_failed(rig->store)); // the last: no lock to be had
        RIG_ERR(rig_append(rig, "a", "e", "1", NULL, NULL), VIV_E_IO);
    }
    viv_store_close(rig->store);
    run("mkdir -m 700 store");
    store_open(rig);
}

// Who only waits hears of it when others write.
static void a_waiter_hears_that_the_file_is_another(struct rig *rig)
{
    struct viv_waited waited;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_END, .id = str("a")};
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    RIG_ERR(viv_store_wait(rig->store, &spec, 10, &rig->mem, &waited), VIV_E_TIMEOUT);
    run("(sleep 0.3; mv store/s.db store/away; echo 12345678 > store/s.db.wake) &");
    RIG_ERR(viv_store_wait(rig->store, &spec, 20000, &rig->mem, &waited), VIV_E_IO);
    assert_true(viv_store_has_failed(rig->store));
    run("mv store/away store/s.db");
    rig_reopen(rig);
    assert_int_equal(rig_get(rig, "a").state, VIV_RUNNING);
}

// Descriptors of this process by the end of what they have open.
static int count_open(const char *end)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        char link[64], path[512] = "";
        (void)snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        const ssize_t len = readlink(link, path, sizeof path - 1);
        const size_t want = strlen(end);
        count += len >= (ssize_t)want && strcmp(path + (size_t)len - want, end) == 0;
    }
    return count;
}

// Handles that hold the old one do not write beside those that hold the new one.
static void a_lock_file_that_is_removed_is_made_again(struct rig *rig)
{
    struct viv_store *first = rig->store, *other;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    run("rm store/s.db.lock");
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &other, &rig->diag));
    for (int i = 0; i < 10; i++) {
        rig->store = i % 2 == 0 ? first : other;
        RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    }
    assert_int_equal(count_open(".lock"), 2);
    assert_int_equal(count_open(".lock (deleted)"), 0);
    run("rm store/s.db.lock");
    RIG_OK(rig_append(rig, "a", "e", "1", NULL, NULL));
    run("[ -e store/s.db.lock ]");
    assert_int_equal(rig_get(rig, "a").last_seq, 11);
    viv_store_close(other);
    rig->store = first;
    store_expect_sound(rig);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_103_each_write_and_sync_fails, RIG_SQLITE),
        RIG_ONLY_CASE(case_102_each_write_finds_no_space, RIG_SQLITE),
        RIG_ONLY_CASE(case_102_no_write_finds_space_any_more, RIG_SQLITE),
        RIG_ONLY_CASE(case_103_a_sync_fails, RIG_SQLITE),
        RIG_ONLY_CASE(case_103_a_checkpoint_fails, RIG_SQLITE),
        RIG_ONLY_CASE(each_system_call_of_opening_fails_once, RIG_SQLITE),
        RIG_ONLY_CASE(each_system_call_of_an_append_fails_once, RIG_SQLITE),
        RIG_ONLY_CASE(a_file_is_moved_or_replaced, RIG_SQLITE),
        RIG_ONLY_CASE(a_waiter_hears_that_the_file_is_another, RIG_SQLITE),
        RIG_ONLY_CASE(a_lock_file_that_is_removed_is_made_again, RIG_SQLITE),
    };
    shim_install();
    return rig_run(cases, VIV_COUNT_OF(cases));
}
