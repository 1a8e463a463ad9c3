// SPDX-License-Identifier: Apache-2.0
// Loss of power under a store in a file (case 101). What the store asks of its files is recorded
// once; then, as often as is wanted, it is cut at some moment, and a disk is made of it on which
// what was not synced is there, is not, or is torn. VIV_TEST_ROUNDS: so many cuts (the contract's
// 10,000).
#include "shim_vfs.h"
#include "store_ops.h"

#include "harness/check.h"
#include "store/admin.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { CUTS = 300, CUTS_OF_EACH = 50, STEPS_MAX = 64 };

// What was asked of the store, in its order.
struct step {
    const struct store_op *op; // NULL: the log was moved
    size_t moment;             // how many calls of files there had been when it was acknowledged
    const char *dump;          // how the store looked then; in `lasting`
};

struct history {
    struct viv_mem lasting;
    struct step steps[STEPS_MAX]; // the first: nothing was asked yet
    int count;
};

static void run(const char *command)
{
    if (system(command) != 0) fail_msg("%s", command);
}

static void note_step(struct rig *rig, struct history *history, const struct store_op *op)
{
    CHECK(history->count < STEPS_MAX);
    struct step *step = &history->steps[history->count++];
    step->op = op;
    step->moment = shim_recorded();
    const char *dump = store_dump(rig);
    step->dump = viv_mem_try_copy(&history->lasting, dump, strlen(dump));
    CHECK(step->dump != NULL);
    viv_mem_reset(&rig->mem);
}

// As a checkpoint of the store's own, sooner than it would come.
static void move_log(bool truncates)
{
    sqlite3 *handle;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, "viv-seal"),
                     SQLITE_OK);
    (void)sqlite3_db_config(handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    assert_int_equal(sqlite3_exec(handle,
                                  truncates ? "PRAGMA wal_checkpoint(TRUNCATE)"
                                            : "PRAGMA wal_checkpoint(PASSIVE)",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    (void)sqlite3_close(handle);
}

// Every operation, in an order of chance; some are refused, by what came before.
static void make_history(struct rig *rig, struct history *history)
{
    size_t order[STEPS_MAX];
    for (size_t i = 0; i < store_op_count; i++) {
        const size_t at = (size_t)rand() % (i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    *history = (struct history){.count = 0};
    viv_mem_init(&history->lasting, VIV_TAG_TEST);
    viv_store_close(rig->store);
    run("rm -rf store && mkdir -m 700 store");
    store_open(rig);
    store_furnish(rig);
    shim_record("store");
    note_step(rig, history, NULL);
    for (size_t i = 0; i < store_op_count; i++) {
        const struct store_op *op = &store_ops[order[i]];
        const enum viv_err err = op->call(rig);
        assert_true(err != VIV_E_IO && err != VIV_STORE_CORRUPT && err != VIV_E_BUSY);
        note_step(rig, history, op);
        if (rand() % 6 != 0) continue;
        move_log(rand() % 3 == 0);
        note_step(rig, history, NULL);
    }
    shim_record_stop();
}

static void end_history(struct history *history)
{
    shim_record_forget();
    viv_mem_deinit(&history->lasting);
}

// On the disk that a cut leaves. NULL: what was promised; else what was not.
static const char *judge_store(struct rig *rig, const struct history *history, int done)
{
    struct viv_findings findings;
    const struct step *last = &history->steps[done];
    const struct step *next = done + 1 < history->count ? last + 1 : NULL;
    const char *found = NULL;
    for (size_t i = 0; i < store_view_count(); i++)
        if (store_view(rig, i, &found) != VIV_OK) return rig->diag.d.text;
    found = store_dump(rig);
    if (strcmp(found, last->dump) != 0 && (next == NULL || strcmp(found, next->dump) != 0))
        return "neither as acknowledged nor as asked next";
    if (viv_store_check(rig->store, &rig->mem, &findings, &rig->diag) != VIV_OK)
        return rig->diag.d.text;
    if (findings.count > 0) return findings.items[0].text.p;
    if (next == NULL || next->op == NULL) return NULL;
    const enum viv_err err = next->op->call(rig);
    if (err == VIV_E_IO || err == VIV_STORE_CORRUPT) return viv_err_name(err);
    return strcmp(store_dump(rig), next->dump) == 0 ? NULL : "twice is not once";
}

static const char *judge_cut(struct rig *rig, const struct history *history, size_t moment,
                             uint64_t seed)
{
    struct viv_store *first = rig->store;
    int done = 0; // the last step that was acknowledged
    while (done + 1 < history->count && history->steps[done + 1].moment <= moment)
        done++;
    run("rm -rf cut && mkdir -m 700 cut");
    shim_play_loss(moment, seed, "cut");
    const enum viv_err err =
        viv_store_open(str("sqlite:cut/s.db"), &rig->opts, &rig->store, &rig->diag);
    const char *wrong = err == VIV_OK ? judge_store(rig, history, done) : rig->diag.d.text;
    if (err == VIV_OK) viv_store_close(rig->store);
    rig->store = first;
    return wrong;
}

static void case_101_whatever_the_disk_keeps(struct rig *rig)
{
    struct history history;
    srand(101);
    for (int cuts = store_rounds(CUTS); cuts > 0; cuts -= CUTS_OF_EACH) {
        make_history(rig, &history);
        const size_t first = history.steps[0].moment;
        const size_t span = history.steps[history.count - 1].moment - first;
        assert_true(span > 100);
        for (int i = 0; i < CUTS_OF_EACH; i++) {
            const size_t moment = first + (size_t)rand() % (span + 1);
            const uint64_t seed = (uint64_t)rand();
            const char *wrong = judge_cut(rig, &history, moment, seed);
            if (wrong != NULL) fail_msg("moment %zu, seed %d: %s", moment, (int)seed, wrong);
            viv_mem_reset(&rig->mem);
        }
        end_history(&history);
    }
}

// The control: of a disk that only says that it syncs, losses are found.
static void case_101_a_disk_that_lies_is_found_out(struct rig *rig)
{
    struct history history;
    int lost = 0;
    srand(102);
    shim_lie(true);
    make_history(rig, &history);
    shim_lie(false);
    const size_t last = history.steps[history.count - 1].moment;
    for (int i = 0; i < CUTS_OF_EACH; i++) {
        lost += judge_cut(rig, &history, last, (uint64_t)rand()) != NULL;
        viv_mem_reset(&rig->mem);
    }
    assert_true(lost > CUTS_OF_EACH / 4);
    end_history(&history);
}

// While a store is made: it is there when that was acknowledged; until then it can be made again.
static void case_101_a_store_that_is_being_made(struct rig *rig)
{
    viv_store_close(rig->store);
    run("rm -rf store && mkdir -m 700 store");
    shim_record("store");
    store_open(rig);
    shim_record_folder();
    const size_t made = shim_recorded();
    shim_record_stop();
    assert_true(made > 10);
    struct viv_store *first = rig->store;
    for (size_t moment = 0; moment <= made; moment++) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            run("rm -rf cut && mkdir -m 700 cut");
            shim_play_loss(moment, seed + 10 * moment, "cut");
            struct viv_store_opts opts = rig->opts;
            opts.create = moment < made;
            RIG_OK(viv_store_open(str("sqlite:cut/s.db"), &opts, &rig->store, &rig->diag));
            store_furnish(rig);
            store_expect_sound(rig);
            viv_store_close(rig->store);
            viv_mem_reset(&rig->mem);
        }
    }
    rig->store = first;
    shim_record_forget();
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_101_whatever_the_disk_keeps, RIG_SQLITE),
        RIG_ONLY_CASE(case_101_a_disk_that_lies_is_found_out, RIG_SQLITE),
        RIG_ONLY_CASE(case_101_a_store_that_is_being_made, RIG_SQLITE),
    };
    shim_install();
    return rig_run(cases, VIV_COUNT_OF(cases));
}
