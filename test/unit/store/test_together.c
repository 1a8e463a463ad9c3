// SPDX-License-Identifier: Apache-2.0
// Several OS processes on one file (case 109): they append, claim, end and prune, each of them
// moves the log all the time, and now and then one is killed. VIV_TEST_ROUNDS: for so many seconds
// (the contract's 60).
#include "store_ops.h"

#include "harness/check.h"
#include "os/clock.h"
#include "store/admin.h"
#include "store/list.h"
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 3, SECONDS = 3, IDS = 4 };
#define LIFE_NS (250 * VIV_NS_PER_MS)
#define HOST "{\"type\":\"host\",\"reason\":\"r\"}"

// What each has been told, which outlives it.
struct told {
    _Atomic uint64_t appended[PROCESSES], moved[PROCESSES], failed;
};

struct child {
    struct rig *rig;
    struct told *told;
    int index;
    uint64_t number; // of its keys
};

// As the store does it, under the writer's lock, but all the time, and in every way.
static void move_log(struct child *self)
{
    static const char *const how[] = {"PRAGMA wal_checkpoint(PASSIVE)",
                                      "PRAGMA wal_checkpoint(RESTART)",
                                      "PRAGMA wal_checkpoint(TRUNCATE)"};
    sqlite3 *handle;
    const int fd = open("store/s.db.lock", O_RDWR | O_CLOEXEC);
    CHECK(fd >= 0 && flock(fd, LOCK_EX) == 0);
    CHECK(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, "viv-seal") == SQLITE_OK);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    CHECK(sqlite3_exec(handle, how[rand() % 3], NULL, NULL, NULL) == SQLITE_OK);
    CHECK(sqlite3_close(handle) == SQLITE_OK);
    CHECK(close(fd) == 0);
    // Relaxed: counters that are read when all have ended.
    atomic_fetch_add_explicit(&self->told->moved[self->index], 1, memory_order_relaxed);
}

static void append_to_all(struct child *self)
{
    char key[40];
    (void)snprintf(key, sizeof key, "%d-%llu", self->index, (unsigned long long)self->number++);
    CHECK(rig_append(self->rig, "shared", "e", "\"0123456789\"", key, NULL) == VIV_OK);
    atomic_fetch_add_explicit(&self->told->appended[self->index], 1, memory_order_relaxed);
}

// Two at once, in an order of chance.
static void append_crossed(struct child *self)
{
    char ids[2][8];
    struct viv_append_to appends[2];
    const int first = rand() % IDS;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(ids[i], sizeof ids[i], "p%d", (first + i * (1 + rand() % (IDS - 1))) % IDS);
        appends[i] = (struct viv_append_to){str(ids[i]), {.type = str("f"), .payload = str("[1]")}};
    }
    CHECK(viv_store_append_many(self->rig->store, appends, 2, &self->rig->mem, NULL, NULL) ==
          VIV_OK);
}

static bool is_one_of(enum viv_err err, enum viv_err a, enum viv_err b)
{
    return err == VIV_OK || err == a || err == b;
}

// One that lives and is pruned, under an id that others use as well.
static void live_a_life(struct child *self)
{
    struct rig *rig = self->rig;
    struct viv_lease lease;
    const struct viv_str text = rig_registration(rig, "mortal", "rerunnable", RIG_TYPES);
    CHECK(viv_store_register(rig->store, text, &rig->mem, NULL, NULL, NULL) == VIV_OK);
    const enum viv_err claimed = rig_claim(rig, "mortal", "me", "1", 60000, &lease);
    CHECK(is_one_of(claimed, VIV_STORE_TERMINAL, VIV_E_NOTFOUND) || claimed == VIV_STORE_LEASED);
    const struct viv_complete complete = {.output = str("{\"type\":\"success\",\"value\":1}"),
                                          .authority = str(HOST),
                                          .flags = VIV_COMPLETE_FORCE};
    const enum viv_err done =
        viv_store_complete(rig->store, str("mortal"), &complete, &rig->mem, NULL, NULL);
    CHECK(is_one_of(done, VIV_E_NOTFOUND, VIV_STORE_TERMINAL));
    const struct viv_prune prune = {.cutoff_ms = INT64_MAX, .limit = 10};
    CHECK(viv_store_prune(rig->store, &prune, NULL, NULL) == VIV_OK);
}

static void work(struct child *self)
{
    srand((unsigned)getpid());
    CHECK(viv_store_open(str(self->rig->url), &self->rig->opts, &self->rig->store, NULL) == VIV_OK);
    for (;;) {
        const int what = rand() % 10;
        if (what < 4)
            append_to_all(self);
        else if (what < 6)
            append_crossed(self);
        else if (what < 8)
            live_a_life(self);
        else
            move_log(self);
        viv_mem_reset(&self->rig->mem);
    }
}

// A child whose check fails ends with a status; one that is killed, not.
static void reap(struct told *told, pid_t child)
{
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
        atomic_fetch_add_explicit(&told->failed, 1, memory_order_relaxed);
}

static pid_t begin(struct child *self)
{
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) work(self);
    self->number += 1000000; // keys of its next life
    return child;
}

static void run_all(struct rig *rig, struct told *told, uint64_t end_ns)
{
    struct child children[PROCESSES];
    pid_t pids[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = (struct child){.rig = rig, .told = told, .index = i};
        pids[i] = begin(&children[i]);
    }
    while (viv_os_now_ns() < end_ns) {
        viv_os_sleep_ns(LIFE_NS);
        const int victim = rand() % PROCESSES;
        (void)kill(pids[victim], SIGKILL);
        reap(told, pids[victim]);
        pids[victim] = begin(&children[victim]);
    }
    for (int i = 0; i < PROCESSES; i++) {
        (void)kill(pids[i], SIGKILL);
        reap(told, pids[i]);
    }
}

static void expect_sound_file(struct rig *rig)
{
    struct viv_findings findings;
    RIG_OK(viv_store_check_file(str(rig->url), &rig->mem, &findings, &rig->diag));
    if (findings.count > 0) fail_msg("%s", findings.items[0].text.p);
    store_expect_sound(rig);
}

static void case_109_processes_that_move_the_log(struct rig *rig)
{
    struct told *told =
        mmap(NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(told != MAP_FAILED);
    uint64_t appended = 0, moved = 0, more = 0;
    rig_register(rig, "shared", "rerunnable", RIG_TYPES);
    for (int i = 0; i < IDS; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "p%d", i);
        rig_register(rig, id, "rerunnable", RIG_TYPES);
    }
    viv_store_close(rig->store);
    srand(109);
    const uint64_t seconds = (uint64_t)store_rounds(SECONDS);
    run_all(rig, told, viv_os_now_ns() + seconds * VIV_NS_PER_SEC);
    more = seconds * (VIV_NS_PER_SEC / LIFE_NS) + PROCESSES; // one each that nobody was told of
    for (int i = 0; i < PROCESSES; i++) {
        appended += told->appended[i];
        moved += told->moved[i];
    }
    assert_int_equal(told->failed, 0);
    assert_true(appended > 20 && moved > 10);
    store_open(rig);
    expect_sound_file(rig);
    const uint64_t found = rig_get(rig, "shared").last_seq;
    if (found < appended || found > appended + more)
        fail_msg("%llu events, %llu told", (unsigned long long)found, (unsigned long long)appended);
    CHECK(munmap(told, sizeof *told) == 0);
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_109_processes_that_move_the_log, RIG_SQLITE),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
