// SPDX-License-Identifier: Apache-2.0
// Stores whose OS process is killed while it writes, at any time: what was acknowledged is there,
// logs have no gap, a retry under the same key is one event. Killed at each call: test_kill.c.
#include "store_rig.h"

#include "harness/check.h"
#include "os/clock.h"
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KILLS = 25 };

static void append_key(struct rig *rig, uint64_t number)
{
    char key[32];
    (void)snprintf(key, sizeof key, "k%llu", (unsigned long long)number);
    CHECK(rig_append(rig, "a", "e", "\"0123456789\"", key, NULL) == VIV_OK);
    viv_mem_reset(&rig->mem);
}

// Tells each number once its event is acknowledged, from the one given.
static void append_for_ever(struct rig *rig, uint64_t from, int fd)
{
    CHECK(viv_store_open(str(rig->url), &rig->opts, &rig->store, NULL) == VIV_OK);
    for (uint64_t number = from;; number++) {
        append_key(rig, number);
        CHECK(write(fd, &number, sizeof number) == sizeof number);
    }
}

static uint64_t run_and_kill(struct rig *rig, uint64_t from, uint64_t life_ns)
{
    int fds[2], status;
    uint64_t number, last = from - 1;
    CHECK(pipe(fds) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(fds[0]);
        append_for_ever(rig, from, fds[1]);
    }
    close(fds[1]);
    viv_os_sleep_ns(life_ns);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == SIGKILL);
    while (read(fds[0], &number, sizeof number) == sizeof number)
        last = number;
    close(fds[0]);
    return last;
}

static void expect_whole_log(struct rig *rig, uint64_t acknowledged)
{
    struct viv_events events;
    const struct viv_record record = rig_get(rig, "a");
    uint64_t next = 0;
    assert_true(record.last_seq >= acknowledged); // one more may have been committed, and not told
    assert_true(record.last_seq <= acknowledged + 1);
    while (next < record.last_seq) {
        const struct viv_events_query query = {.after = next, .limit = 1000};
        RIG_OK(
            viv_store_events_after(rig->store, str("a"), &query, &rig->mem, &events, &rig->diag));
        for (size_t i = 0; i < events.count; i++) {
            char key[32];
            (void)snprintf(key, sizeof key, "k%llu", (unsigned long long)++next);
            assert_int_equal(events.items[i].seq, next);
            rig_expect_text(events.items[i].key, key);
        }
        assert_true(events.count > 0);
        viv_mem_reset(&rig->mem);
    }
}

static void expect_sound_file(void)
{
    sqlite3 *handle;
    sqlite3_stmt *stmt;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, "PRAGMA integrity_check", -1, &stmt, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
    (void)sqlite3_finalize(stmt);
    (void)sqlite3_close(handle);
}

static void case_100_killed_while_it_appends(struct rig *rig)
{
    uint64_t acknowledged = 0;
    rig_register(rig, "a", "rerunnable", RIG_TYPES);
    viv_store_close(rig->store);
    srand(7);
    for (int i = 0; i < KILLS; i++) {
        const uint64_t life_ns = 2 * VIV_NS_PER_MS + (uint64_t)(rand() % 20000) * 1000;
        acknowledged = run_and_kill(rig, acknowledged + 1, life_ns);
        RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
        expect_whole_log(rig, acknowledged);
        append_key(rig, acknowledged + 1); // what nobody was told of: once, in any case
        acknowledged++;
        expect_whole_log(rig, acknowledged);
        assert_int_equal(rig_get(rig, "a").last_seq, acknowledged);
        viv_store_close(rig->store);
    }
    if (rig->backend == RIG_SQLITE) expect_sound_file();
    RIG_OK(viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag));
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_KEPT_CASE(case_100_killed_while_it_appends),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
