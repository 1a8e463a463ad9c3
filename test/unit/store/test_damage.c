// SPDX-License-Identifier: Apache-2.0
// A store whose file is damaged (case 104): what is read is right, or CORRUPT, and what is damaged
// is not written. VIV_TEST_ROUNDS: so many bytes of each page are changed, one at a time.
#include "store_ops.h"

#include "harness/check.h"
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PAGE = 4096, VIEWS_MAX = 64 };

static void run_sql(const char *sql, const char *vfs)
{
    sqlite3 *handle;
    char *text = NULL;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, vfs), SQLITE_OK);
    if (sqlite3_exec(handle, sql, NULL, NULL, &text) != SQLITE_OK) fail_msg("%s: %s", sql, text);
    assert_int_equal(sqlite3_close(handle), SQLITE_OK);
}

// All of the store in the database file, nothing in the log; enough of it for pages of all kinds.
static void make_template(struct rig *rig)
{
    struct viv_str text = {NULL, 3000};
    char *payload = viv_mem_try_take(&rig->mem, text.n);
    assert_non_null(payload);
    memset(payload, 'y', text.n);
    payload[0] = payload[text.n - 1] = '"';
    text.p = payload;
    store_furnish(rig);
    for (int i = 0; i < 40; i++) { // two levels, and pages that overflow
        char key[16];
        (void)snprintf(key, sizeof key, "k%d", i);
        const struct viv_append append = {
            .type = str("e"), .payload = i % 8 == 0 ? text : str("[1,2,3]"), .key = str(key)};
        const struct viv_append *given = &append;
        RIG_OK(viv_store_append(rig->store, str(i % 2 == 0 ? "held" : "idle"), given, &rig->mem,
                                NULL, NULL, NULL, &rig->diag));
    }
    for (size_t i = 0; i < store_op_count; i++)
        if (strcmp(store_ops[i].name, "checkpoint") == 0) RIG_OK(store_ops[i].call(rig));
    viv_store_close(rig->store);
    run_sql("PRAGMA wal_checkpoint(TRUNCATE)", "viv-seal");
    store_keep_template();
}

static void change_byte(long at, uint8_t by)
{
    FILE *file = fopen("store/s.db", "r+b");
    CHECK(file != NULL && fseek(file, at, SEEK_SET) == 0);
    const int byte = fgetc(file);
    CHECK(byte != EOF && fseek(file, at, SEEK_SET) == 0);
    CHECK(fputc(byte ^ by, file) != EOF && fclose(file) == 0);
}

static long size_of_file(void)
{
    FILE *file = fopen("store/s.db", "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    const long size = ftell(file);
    CHECK(fclose(file) == 0);
    return size;
}

struct expected {
    char *views[VIEWS_MAX];
    int corrupt, right, refused; // what was met
};

static void remember(struct rig *rig, struct expected *expected)
{
    store_copy_template();
    store_open(rig);
    assert_true(store_view_count() <= VIEWS_MAX);
    for (size_t i = 0; i < store_view_count(); i++) {
        const char *text;
        RIG_OK(store_view(rig, i, &text));
        expected->views[i] = strdup(text);
        CHECK(expected->views[i] != NULL);
    }
    store_expect_sound(rig);
    viv_store_close(rig->store);
}

static void forget(struct expected *expected)
{
    for (size_t i = 0; i < store_view_count(); i++)
        free(expected->views[i]);
}

// Every read, and one operation that writes.
static void expect_right_or_corrupt(struct rig *rig, struct expected *expected, const char *what,
                                    size_t op)
{
    bool is_damaged = false;
    const enum viv_err opened = viv_store_open(str(rig->url), &rig->opts, &rig->store, &rig->diag);
    if (opened != VIV_OK) {
        if (opened != VIV_STORE_CORRUPT)
            fail_msg("%s: opening: %s: %s", what, viv_err_name(opened), rig->diag.d.text);
        expected->refused++;
        rig->store = NULL;
        return;
    }
    for (size_t i = 0; i < store_view_count(); i++) {
        const char *text;
        const enum viv_err err = store_view(rig, i, &text);
        if (err == VIV_STORE_CORRUPT) {
            is_damaged = true;
            expected->corrupt++;
            if (strstr(rig->diag.d.text, "table ") == NULL ||
                strstr(rig->diag.d.text, ", key ") == NULL)
                fail_msg("%s: names no place: %s", what, rig->diag.d.text);
        } else if (err != VIV_OK) {
            fail_msg("%s: view %zu: %s: %s", what, i, viv_err_name(err), rig->diag.d.text);
        } else {
            expected->right++;
            if (strcmp(text, expected->views[i]) != 0)
                fail_msg("%s: view %zu: %s, not %s", what, i, text, expected->views[i]);
        }
    }
    const enum viv_err err = store_ops[op].call(rig);
    if (err != VIV_STORE_CORRUPT && (is_damaged || err != VIV_OK))
        fail_msg("%s: %s: %s: %s", what, store_ops[op].name, viv_err_name(err), rig->diag.d.text);
    viv_store_close(rig->store);
}

static void case_104_a_byte_of_each_page(struct rig *rig)
{
    struct expected expected = {.corrupt = 0};
    make_template(rig);
    remember(rig, &expected);
    srand(7);
    const int rounds = store_rounds(4);
    const long pages = size_of_file() / PAGE;
    assert_true(pages > 50); // of each table and index one at least
    for (long page = 0; page < pages; page++) {
        for (int i = 0; i < rounds; i++) {
            char what[64];
            const long at = page * PAGE + (page == 0 && i < 2 ? 20 - 3 * i : rand() % PAGE);
            const uint8_t by = (uint8_t)(i % 2 == 0 ? 1 << rand() % 8 : 1 + rand() % 255);
            store_copy_template();
            change_byte(at, by);
            (void)snprintf(what, sizeof what, "byte %ld of page %ld by %d", at % PAGE, page, by);
            expect_right_or_corrupt(rig, &expected, what, (size_t)rand() % store_op_count);
            viv_mem_reset(&rig->mem);
        }
    }
    assert_true(expected.corrupt > pages / 2 && expected.right > pages);
    assert_true(expected.refused >= rounds); // of the first page at least
    forget(&expected);
    store_copy_template();
    store_open(rig);
}

static void a_file_that_is_cut(struct rig *rig)
{
    struct expected expected = {.corrupt = 0};
    make_template(rig);
    remember(rig, &expected);
    const long size = size_of_file();
    for (long left = size - 1; left > 100; left -= size / 23 + 1) {
        char what[64];
        store_copy_template();
        CHECK(truncate("store/s.db", left) == 0);
        (void)snprintf(what, sizeof what, "%ld bytes left", left);
        expect_right_or_corrupt(rig, &expected, what, 0);
        viv_mem_reset(&rig->mem);
    }
    assert_true(expected.corrupt + expected.refused > 10);
    forget(&expected);
    store_copy_template();
    store_open(rig);
}

// Who finds damage is the operation: every other handle goes on until it meets it.
static void a_damaged_store_is_only_read(struct rig *rig)
{
    struct viv_event event;
    make_template(rig);
    store_copy_template();
    store_open(rig);
    RIG_OK(viv_store_event_by_key(rig->store, str("idle"), str("first"), &rig->mem, &event,
                                  &rig->diag));
    // What no page says: a row that makes no sense.
    sqlite3 *handle;
    assert_int_equal(sqlite3_open_v2("store/s.db", &handle, SQLITE_OPEN_READWRITE, "viv-seal"),
                     SQLITE_OK);
    assert_int_equal(sqlite3_exec(handle,
                                  "UPDATE spec SET json='{' WHERE birth=(SELECT birth FROM "
                                  "proc WHERE id='done')",
                                  NULL, NULL, NULL),
                     SQLITE_OK);
    (void)sqlite3_close(handle);
    rig_reopen(rig);
    RIG_OK(rig_append(rig, "idle", "f", "1", NULL, NULL));
    RIG_ERR(viv_store_get(rig->store, str("done"), &rig->mem, NULL, &rig->diag), VIV_STORE_CORRUPT);
    rig_expect_text(str(rig->diag.d.text), "table spec, key 2: it makes no sense");
    assert_false(viv_store_has_failed(rig->store));
    RIG_ERR(rig_append(rig, "idle", "f", "1", NULL, NULL), VIV_STORE_CORRUPT);
    rig_expect_text(str(rig->diag.d.text), "the store is damaged, and can only be read");
    assert_int_equal(rig_get(rig, "idle").state, VIV_RUNNING);
}

// A tool that knows nothing of seals may look, and move the log; what it changes is noticed.
static void other_tools(struct rig *rig)
{
    struct viv_record record;
    store_furnish(rig);
    const char *before = store_dump(rig);
    viv_store_close(rig->store);
    run_sql("SELECT count(*) FROM proc", NULL); // and moves the log as it leaves
    store_open(rig);
    assert_string_equal(store_dump(rig), before);
    RIG_OK(rig_append(rig, "idle", "f", "1", NULL, NULL));
    viv_store_close(rig->store);
    run_sql("PRAGMA wal_checkpoint(TRUNCATE)", "viv-seal");
    run_sql("UPDATE proc SET attempt=5 WHERE id='idle'", NULL);
    store_open(rig);
    RIG_ERR(viv_store_get(rig->store, str("idle"), &rig->mem, &record, &rig->diag),
            VIV_STORE_CORRUPT);
    assert_non_null(strstr(rig->diag.d.text, "not what was written"));
}

int main(void)
{
    static const struct rig_named cases[] = {
        RIG_ONLY_CASE(case_104_a_byte_of_each_page, RIG_SQLITE),
        RIG_ONLY_CASE(a_file_that_is_cut, RIG_SQLITE),
        RIG_ONLY_CASE(a_damaged_store_is_only_read, RIG_SQLITE),
        RIG_ONLY_CASE(other_tools, RIG_SQLITE),
    };
    return rig_run(cases, VIV_COUNT_OF(cases));
}
