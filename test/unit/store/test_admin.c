// SPDX-License-Identifier: Apache-2.0
// The check of a store: sound ones pass, and each rule finds what breaks it; a copy while the store
// is in use.
#include "store_rig.h"

#include "base/alloc.h"
#include "harness/check.h"
#include "os/fault.h"
#include "store/admin.h"
#include "store/list.h"
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char success[] = "{\"type\":\"success\",\"value\":1}";
static const char host[] = "{\"type\":\"host\",\"reason\":\"r\"}";
static const char types[] =
    "\"event_types\":[{\"name\":\"e\",\"wake\":{\"input\":\"payload\"}},{\"name\":\"done\","
    "\"terminal\":{\"state\":\"failed\",\"output\":\"payload\"}}],"
    "\"wake_target\":{\"session\":\"terminal\"}";

static void fill(struct rig *rig)
{
    struct viv_lease lease;
    const struct viv_append done = {
        .type = str("done"), .payload = str("1"), .key = str("k"), .authority = str(host)};
    const struct viv_scope scope = {.session = str("s")};
    static const char *const ids[] = {"runs", "leased", "completed", "failed", "pruned"};
    for (size_t i = 0; i < VIV_COUNT_OF(ids); i++) {
        rig_register(rig, ids[i], "rerunnable", types);
        RIG_OK(rig_append(rig, ids[i], "e", "{\"terminal\":{\"state\":\"completed\"}}", "a", NULL));
        RIG_OK(viv_store_grant(rig->store, &scope, str(ids[i]), str("{}"), &rig->diag));
    }
    RIG_OK(rig_complete(rig, "pruned", success, host, NULL));
    RIG_OK(viv_store_prune(rig->store, &(struct viv_prune){.cutoff_ms = INT64_MAX, .limit = 10},
                           NULL, &rig->diag));
    rig_register(rig, "pruned", "rerunnable", types); // another life
    RIG_OK(rig_claim(rig, "leased", "me", NULL, 1000, &lease));
    RIG_OK(rig_complete(rig, "completed", success, host, NULL));
    RIG_OK(viv_store_append(rig->store, str("failed"), &done, &rig->mem, NULL, NULL, NULL,
                            &rig->diag));
}

static struct viv_findings check(struct rig *rig)
{
    struct viv_findings findings;
    RIG_OK(viv_store_check(rig->store, &rig->mem, &findings, &rig->diag));
    return findings;
}

static void a_sound_store_passes(struct rig *rig)
{
    struct viv_findings findings;
    assert_int_equal(check(rig).count, 0);
    fill(rig);
    findings = check(rig);
    if (findings.count > 0) fail_msg("%s", findings.items[0].text.p);
    const enum viv_err err = viv_store_check_file(str(rig->url), &rig->mem, &findings, &rig->diag);
    if (rig->backend == RIG_SQLITE)
        RIG_OK(err);
    else
        RIG_ERR(err, VIV_E_UNSUPPORTED);
    assert_int_equal(findings.count, 0);
}

static void change(const char *sql)
{
    sqlite3 *handle;
    char *text = NULL;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, NULL),
                     SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &text) != SQLITE_OK) fail_msg("%s: %s", sql, text);
    assert_true(sqlite3_changes(handle) > 0);
    (void)sqlite3_close(handle);
}

static void each_rule_finds_what_breaks_it(struct rig *rig)
{
    static const struct {
        const char *rule, *breaks, *mends;
    } rules[] = {
        {"I1", "UPDATE event SET seq=seq+7 WHERE birth=1", "UPDATE event SET seq=1 WHERE birth=1"},
        {"I1",
         "INSERT INTO event SELECT 77,seq,type,key,hash,at_ms,position,payload,semantics,"
         "wake_id FROM event WHERE birth=1",
         "DELETE FROM event WHERE birth=77"},
        {"I2", "UPDATE proc SET terminal_seq=1 WHERE id='failed'",
         "UPDATE proc SET terminal_seq=2 WHERE id='failed'"},
        {"I3", "UPDATE proc SET state=1 WHERE id='failed'",
         "UPDATE proc SET state=2 WHERE id='failed'"},
        {"I3", "UPDATE proc SET state=1 WHERE id='runs'",
         "UPDATE proc SET state=0 WHERE id='runs'"},
        {"I4", "UPDATE proc SET wait='{}' WHERE id='completed'",
         "UPDATE proc SET wait=NULL WHERE id='completed'"},
        {"I5", "DROP INDEX event_key; UPDATE event SET key='k' WHERE birth=4",
         "UPDATE event SET key='a' WHERE birth=4 AND seq=1"},
        {"I9", "UPDATE proc SET fence=0 WHERE id='leased'",
         "UPDATE proc SET fence=1 WHERE id='leased'"},
        {"I9", "UPDATE tomb SET birth=birth+100", "UPDATE tomb SET birth=birth-100"},
        {"I11", "UPDATE proc SET lease_owner=NULL WHERE id='leased'",
         "UPDATE proc SET lease_owner='me' WHERE id='leased'"},
        {"I11",
         "UPDATE proc SET fence=1,lease_owner='me',lease_exp=1,lease_dom='',lease_token=(SELECT "
         "lease_token FROM proc WHERE id='leased') WHERE id='runs'",
         "UPDATE proc SET lease_token=NULL WHERE id='runs'"},
        {"I13", "UPDATE event SET position=position+1000 WHERE birth=1",
         "UPDATE event SET position=position-1000 WHERE birth=1"},
        {"registration", "UPDATE spec SET birth=1000 WHERE birth=1",
         "UPDATE spec SET birth=1 WHERE birth=1000"}};
    fill(rig);
    for (size_t i = 0; i < VIV_COUNT_OF(rules); i++) {
        assert_int_equal(check(rig).count, 0);
        change(rules[i].breaks);
        const struct viv_findings findings = check(rig);
        bool is_found = false;
        for (size_t k = 0; k < findings.count; k++)
            is_found = is_found || (findings.items[k].rule.n == strlen(rules[i].rule) &&
                                    memcmp(findings.items[k].rule.p, rules[i].rule,
                                           findings.items[k].rule.n) == 0);
        if (!is_found) fail_msg("%s: nothing of %s", rules[i].breaks, rules[i].rule);
        change(rules[i].mends);
    }
}

static void a_copy_is_of_another_epoch(struct rig *rig)
{
    struct viv_changes changes;
    struct viv_store_opts opts = rig->opts;
    struct viv_feed_query query = {.limit = 10};
    fill(rig);
    RIG_OK(viv_store_changes(rig->store, &query, &rig->mem, &changes, &rig->diag));
    RIG_OK(viv_store_backup(str(rig->url), str("store/copy.db"), &rig->diag));
    RIG_ERR(viv_store_backup(str(rig->url), str("store/copy.db"), &rig->diag), VIV_E_EXISTS);
    RIG_ERR(viv_store_backup(str("sqlite:store/none.db"), str("store/c.db"), &rig->diag),
            VIV_E_NOTFOUND);
    RIG_ERR(viv_store_backup(str("memory:"), str("store/c.db"), &rig->diag), VIV_E_UNSUPPORTED);
    RIG_OK(rig_append(rig, "runs", "e", "2", NULL, NULL)); // not in the copy
    viv_store_close(rig->store);
    opts.create = false;
    RIG_OK(viv_store_open(str("sqlite:store/copy.db"), &opts, &rig->store, &rig->diag));
    assert_int_equal(check(rig).count, 0);
    assert_int_equal(rig_get(rig, "runs").last_seq, 1);
    assert_int_equal(rig_get(rig, "failed").state, VIV_FAILED);
    query.after = changes.next;
    RIG_ERR(viv_store_changes(rig->store, &query, &rig->mem, NULL, &rig->diag), VIV_STORE_CURSOR);
    RIG_OK(rig_append(rig, "runs", "e", "3", NULL, NULL));
}

// Each page of a copy has its seal: one byte that changes is found, wherever it is.
static void a_copy_is_sealed(struct rig *rig)
{
    enum { BLOBS = 20, BIG = 200000, PAGE = 4096 };
    static char bytes[BIG];
    uint8_t page[PAGE];
    static const uint8_t none[8];
    long pages = 0;
    fill(rig);
    for (int i = 0; i < BLOBS; i++) { // more than SQLite keeps in memory
        memset(bytes, 'a' + i, BIG);
        RIG_OK(viv_store_blob_put(rig->store, (struct viv_str){bytes, BIG}, &rig->mem, NULL,
                                  &rig->diag));
    }
    RIG_OK(viv_store_backup(str(rig->url), str("store/copy.db"), &rig->diag));
    FILE *file = fopen("store/copy.db", "rb");
    CHECK(file != NULL);
    for (; fread(page, 1, PAGE, file) == PAGE; pages++)
        assert_memory_not_equal(page + PAGE - 8, none, 8);
    CHECK(fclose(file) == 0);
    assert_true(pages > BLOBS * BIG / PAGE);
    viv_store_close(rig->store);
    RIG_OK(viv_store_open(str("sqlite:store/copy.db"), &rig->opts, &rig->store, &rig->diag));
    assert_int_equal(check(rig).count, 0);
    assert_int_equal(rig_get(rig, "runs").last_seq, 1);
}

// A copy that fails leaves nothing behind, and the next one works.
static void each_system_call_of_a_copy_fails_once(struct rig *rig)
{
    bool was_hit = true;
    int failed = 0;
    fill(rig);
    for (uint64_t n = 1; was_hit; n++) {
        struct stat found;
        assert_true(n < 1000); // each page is looked at
        viv_fault_set("*", n, EIO);
        const enum viv_err err = viv_store_backup(str(rig->url), str("store/copy.db"), &rig->diag);
        was_hit = viv_fault_hit();
        viv_fault_set("*", 0, 0);
        failed += err != VIV_OK;
        if (err == VIV_OK) {
            assert_int_equal(unlink("store/copy.db"), 0);
        } else {
            assert_true(was_hit && err == VIV_E_IO);
            assert_int_equal(stat("store/copy.db", &found), -1);
            assert_int_equal(stat("store/copy.db.part", &found), -1);
        }
        assert_int_equal(check(rig).count, 0);
    }
    assert_true(failed >= 6); // the look, random bytes, two files opened and synced, the name
}

// Each allocation, those of SQLite too.
static void each_allocation_of_a_check_fails_once(struct rig *rig)
{
    bool was_hit = true;
    int failed = 0;
    fill(rig);
    for (uint64_t n = 1; was_hit; n++) {
        struct viv_mem mem;
        struct viv_findings findings;
        viv_mem_init(&mem, VIV_TAG_TEST);
        assert_true(n < 5000);
        viv_alloc_fail_nth(n);
        enum viv_err err = viv_store_check(rig->store, &mem, &findings, NULL);
        if (err == VIV_OK) err = viv_store_check_file(str(rig->url), &mem, &findings, NULL);
        was_hit = viv_alloc_fail_hit();
        viv_alloc_fail_nth(0);
        viv_mem_deinit(&mem);
        if (err == VIV_OK || (err == VIV_E_UNSUPPORTED && rig->backend != RIG_SQLITE)) continue;
        assert_true(was_hit && err == VIV_E_EXHAUSTED);
        failed++;
        assert_int_equal(check(rig).count, 0);
    }
    assert_true(failed > (rig->backend == RIG_SQLITE ? 20 : 0));
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_CASE(a_sound_store_passes),
        RIG_ONLY_CASE(each_rule_finds_what_breaks_it, RIG_SQLITE),
        RIG_ONLY_CASE(a_copy_is_of_another_epoch, RIG_SQLITE),
        RIG_ONLY_CASE(a_copy_is_sealed, RIG_SQLITE),
        RIG_ONLY_CASE(each_system_call_of_a_copy_fails_once, RIG_SQLITE),
        RIG_CASE(each_allocation_of_a_check_fails_once),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
