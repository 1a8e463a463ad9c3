// SPDX-License-Identifier: Apache-2.0
// The feeds (durable.md 2.9, 2.4): rows by their latest change, with the tombstones of those that
// were pruned; and all events.
//
// Where a back end commits in another order than that of positions, a page ends before what is not
// settled ({settled} in the statements). A caller must not miss what was committed before it asked,
// so a page with something unsettled behind it is read again, for a second at most.
#include "os/clock.h"
#include "store/append.h"
#include "store/meta.h"
#include "store/page.h"

#define SETTLE_NS VIV_NS_PER_SEC
#define LOOK_NS (5 * VIV_NS_PER_MS)

struct op_feed {
    struct viv_store__op op;
    enum viv_feed_kind kind;
    struct viv_cursor after, next;
    struct viv_store__page page;
    struct viv_store__meta meta;
    struct viv_store__place at; // the last one passed
    bool is_behind;             // there is something that is not settled
};

static struct op_feed *pager_of(struct viv_store__page *page)
{
    return VIV_CONTAINER_OF(page, struct op_feed, page);
}

// ---- changes ----

enum { POSITION, BIRTH, ID, IS_PRUNED }; // columns of CHANGES

static enum viv_err ask_changes(struct viv_store__page *page, struct viv_store__txn *txn,
                                int64_t rows)
{
    const struct viv_store__place *at = &pager_of(page)->at;
    return viv_store__send(txn, VIV_STMT_CHANGES, "iii", at->position, at->birth, rows);
}

static enum viv_err take_change(struct viv_store__page *page, struct viv_store__txn *txn,
                                const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    struct viv_change *change = item;
    struct viv_store__row row;
    *change = (struct viv_change){.is_pruned = col[IS_PRUNED].number != 0};
    if (change->is_pruned) {
        change->record.birth = (uint64_t)col[BIRTH].number;
        VIV_TRY(viv_store__copy(page->mem, col[ID].text, &change->record.id));
    } else {
        VIV_TRY(viv_store__row_ask(txn, col[ID].text, false));
        VIV_TRY(viv_store__row_get(txn, &row));
        VIV_TRY(viv_store__row_record(txn, &row, page->mem, &change->record));
    }
    *out_bytes = viv_store__record_bytes(&change->record);
    return VIV_OK;
}

static void pass_change(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = (struct viv_store__place){col[POSITION].number, col[BIRTH].number, 0};
}

static const struct viv_store__page_ops change_page = {sizeof(struct viv_change), ask_changes,
                                                       take_change, pass_change};

// ---- events: VIV_EVENT_LIST, then ----

enum { EVENT_SEQ = 0, EVENT_POSITION = 8, EVENT_BIRTH, EVENT_ID };

static enum viv_err ask_events(struct viv_store__page *page, struct viv_store__txn *txn,
                               int64_t rows)
{
    const struct viv_store__place *at = &pager_of(page)->at;
    return viv_store__send(txn, VIV_STMT_FEED, "iiii", at->position, at->birth, at->seq, rows);
}

static enum viv_err take_event(struct viv_store__page *page, struct viv_store__txn *txn,
                               const struct viv_db_value *col, void *item, uint64_t *out_bytes)
{
    (void)txn;
    VIV_TRY(viv_store__event_read(col, col[EVENT_ID].text, page->mem, item));
    *out_bytes = viv_store__event_bytes(item);
    return VIV_OK;
}

static void pass_event(struct viv_store__page *page, const struct viv_db_value *col)
{
    pager_of(page)->at = (struct viv_store__place){col[EVENT_POSITION].number,
                                                   col[EVENT_BIRTH].number, col[EVENT_SEQ].number};
}

static const struct viv_store__page_ops event_page = {sizeof(struct viv_event), ask_events,
                                                      take_event, pass_event};

// ---- both ----

static enum viv_err look_behind(struct op_feed *self, struct viv_store__txn *txn)
{
    struct viv_db_rows rows;
    const struct viv_store__place *at = &self->at;
    if (self->page.has_more || self->page.limit == 0) return VIV_OK;
    if (self->kind == VIV_FEED_CHANGES)
        VIV_TRY(viv_store__send(txn, VIV_STMT_CHANGES_BEHIND, "ii", at->position, at->birth));
    else
        VIV_TRY(
            viv_store__send(txn, VIV_STMT_FEED_BEHIND, "iii", at->position, at->birth, at->seq));
    VIV_TRY(viv_store__recv(txn, &rows));
    self->is_behind = rows.count > 0;
    return VIV_OK;
}

static enum viv_err run_feed(struct viv_store__op *op, struct viv_store__txn *txn)
{
    struct op_feed *self = VIV_CONTAINER_OF(op, struct op_feed, op);
    self->is_behind = false;
    self->next = self->after;
    VIV_TRY(viv_store__meta_read(txn, &self->meta));
    VIV_TRY(viv_store__cursor_read(&self->meta, self->kind, &self->after, &self->at,
                                   viv_store__diag(op)));
    VIV_TRY(viv_store__page_read(&self->page, txn));
    if (self->page.count > 0)
        viv_store__cursor_write(&self->meta, self->kind, &self->at, &self->next);
    return look_behind(self, txn);
}

static enum viv_err read_feed(struct viv_store *store, struct op_feed *self)
{
    const uint64_t end_ns = viv_os_now_ns() + SETTLE_NS;
    self->op.run = run_feed;
    VIV_TRY(viv_store__page_check(&self->page, viv_store__diag(&self->op)));
    for (;;) {
        VIV_TRY(viv_store__do(store, &self->op));
        if (!self->is_behind || viv_os_now_ns() >= end_ns) return VIV_OK;
        viv_os_sleep_ns(LOOK_NS);
    }
}

enum viv_err viv_store_changes(struct viv_store *store, const struct viv_feed_query *query,
                               struct viv_mem *mem, struct viv_changes *out_changes,
                               struct viv_store_diag *err)
{
    struct op_feed self = {
        .op = {.diag = err, .mem = mem},
        .kind = VIV_FEED_CHANGES,
        .after = query->after,
        .page = {.ops = &change_page, .mem = mem, .limit = query->limit, .bytes = query->bytes}};
    VIV_TRY(read_feed(store, &self));
    if (out_changes != NULL)
        *out_changes = (struct viv_changes){self.page.items, self.page.count, self.next};
    return VIV_OK;
}

enum viv_err viv_store_events_feed(struct viv_store *store, const struct viv_feed_query *query,
                                   struct viv_mem *mem, struct viv_feed *out_feed,
                                   struct viv_store_diag *err)
{
    struct op_feed self = {
        .op = {.diag = err, .mem = mem},
        .kind = VIV_FEED_EVENTS,
        .after = query->after,
        .page = {.ops = &event_page, .mem = mem, .limit = query->limit, .bytes = query->bytes}};
    if (!viv_store__opts_of(store)->event_feed)
        return viv_diag_set(viv_store__diag(&self.op), VIV_E_UNSUPPORTED,
                            "the store was opened without event_feed");
    VIV_TRY(read_feed(store, &self));
    if (out_feed != NULL)
        *out_feed = (struct viv_feed){self.page.items, self.page.count, self.next};
    return VIV_OK;
}
