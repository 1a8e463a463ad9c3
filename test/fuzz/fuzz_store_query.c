// SPDX-License-Identifier: Apache-2.0
// Any bytes as a cursor's text and as a filter. A cursor that is taken has that text again; a
// filter that is taken is run, on a store with some processes, and what it lists fits it.
#include "fuzz.h"

#include "base/alloc.h"
#include "store/list.h"
#include <string.h>

static struct viv_store *store; // for the whole run: one is made once

static struct viv_str text_of(const char *text)
{
    return (struct viv_str){text, strlen(text)};
}

static void open_store(void)
{
    static const char *const registrations[] = {
        "{\"id\":\"a\",\"input\":{\"type\":\"external\"},\"disposition\":\"external\",\"kind\":"
        "\"k\"}",
        "{\"id\":\"b\",\"input\":{\"type\":\"native\",\"argv\":[\"x\"]},\"disposition\":"
        "\"rerunnable\",\"label\":\"l\",\"policy\":{\"queue\":\"q\"}}"};
    const struct viv_store_opts opts = {.create = true};
    struct viv_mem mem;
    if (store != NULL) return;
    viv_mem_init(&mem, VIV_TAG_TEST);
    FUZZ_CHECK(viv_store_open(text_of("memory:"), &opts, &store, NULL) == VIV_OK);
    for (size_t i = 0; i < VIV_COUNT_OF(registrations); i++)
        FUZZ_CHECK(viv_store_register(store, text_of(registrations[i]), &mem, NULL, NULL, NULL) ==
                   VIV_OK);
    viv_mem_deinit(&mem);
}

static void use_cursor(struct viv_str text)
{
    struct viv_cursor cursor;
    char again[VIV_CURSOR_CHARS];
    struct viv_mem mem;
    struct viv_changes changes;
    if (viv_cursor_parse(text, &cursor) != VIV_OK) return;
    viv_cursor_format(&cursor, again);
    FUZZ_CHECK(text.n == strlen(again) && memcmp(again, text.p, text.n) == 0);
    const struct viv_feed_query query = {.after = cursor, .limit = 10};
    viv_mem_init(&mem, VIV_TAG_TEST);
    const enum viv_err err = viv_store_changes(store, &query, &mem, &changes, NULL);
    FUZZ_CHECK(err == VIV_OK || err == VIV_STORE_CURSOR);
    viv_mem_deinit(&mem);
}

static void use_filter(struct viv_str text)
{
    struct viv_mem mem;
    struct viv_records records;
    struct viv_pruned pruned;
    const struct viv_list_query query = {.filter = text, .limit = 10};
    const struct viv_prune prune = {
        .cutoff_ms = INT64_MAX, .filter = text, .limit = 10, .flags = VIV_PRUNE_DRY};
    viv_mem_init(&mem, VIV_TAG_TEST);
    const enum viv_err err = viv_store_list(store, &query, &mem, &records, NULL);
    FUZZ_CHECK(err == viv_store_prune(store, &prune, &pruned, NULL));
    if (err == VIV_OK) {
        FUZZ_CHECK(records.count <= 2 && records.next.n == 0);
        FUZZ_CHECK(pruned.processes == 0); // none has ended
    } else {
        FUZZ_CHECK(err == VIV_E_INVAL || err == VIV_E_TOOBIG || err == VIV_STORE_JSON ||
                   err == VIV_STORE_UTF8);
    }
    viv_mem_deinit(&mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct viv_str text = {(const char *)data, size};
    open_store();
    use_cursor(text);
    use_filter(text);
    return 0;
}
