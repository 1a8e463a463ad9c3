// SPDX-License-Identifier: Apache-2.0
// Listings. The instance is pinned for as long as its table is read; entries are read one by one
// under the table's lock, since who closes one may free what it points to.
#include "cap/info.h"
#include "cap/fut_int.h"
#include "cap/grant_int.h"
#include <string.h>

struct seen {
    uint64_t word;
    viv_rid rid;
    bool is_derived;
    uint32_t depth;
};

// False: the entry is free.
static bool look(struct viv_htab *tab, uint32_t index, struct seen *out)
{
    const struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, index);
    if (entry == NULL) return false;
    viv_spin_lock(&tab->reg->lock); // of the grants
    viv_spin_lock(&tab->lock);
    // Relaxed, both: written under the lock, but for bits that say less.
    out->word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    const bool is_live = (out->word & VIV_ENTRY_LIVE) != 0 && (out->word & VIV_ENTRY_RESERVED) == 0;
    if (is_live) {
        out->is_derived = (atomic_load_explicit(&entry->ref, memory_order_relaxed) & 1) != 0;
        out->rid = viv_res_id(viv_htab_entry_res(entry));
        const struct viv_grant *node = viv_htab__grant_of(entry);
        for (; node != NULL && node->parent != NULL; node = node->parent)
            out->depth++;
    }
    viv_spin_unlock(&tab->lock);
    viv_spin_unlock(&tab->reg->lock);
    return is_live;
}

// Fills in what an entry stands for; false: it is free.
static bool describe(struct viv_htab *tab, uint32_t index, struct viv_handle_info *out)
{
    struct seen seen = {0};
    struct viv_res_meta meta = {0};
    if (!look(tab, index, &seen)) return false;
    const uint64_t word = seen.word;
    const uint32_t gen = (uint32_t)(word >> VIV_ENTRY_GEN_SHIFT) & 0x7FF;
    *out = (struct viv_handle_info){
        .hdl = {index | gen << VIV_HANDLE_INDEX_BITS},
        .kind = (viv_kind)(word >> VIV_ENTRY_KIND_SHIFT & 0x3FFF),
        .rights = (viv_rights)word,
        .is_revoked = (word & VIV_ENTRY_REVOKED) != 0,
        .is_derived = seen.is_derived,
        .grant_depth = seen.depth,
        .rid = seen.rid,
        .phase = VIV_RES_DEAD,
    };
    const struct viv_res_kind *kind = viv_res_kind(tab->reg, out->kind);
    out->kind_name = kind != NULL ? kind->name : "?";
    if (viv_res_metadata(tab->reg, out->rid, &meta) != VIV_OK) return true;
    out->phase = meta.phase;
    out->owner = meta.owner;
    out->charge_bytes = meta.charge_bytes;
    out->age_s = viv_res_age_s(tab->reg, &meta);
    VIV_IGNORE(viv_res_label(tab->reg, out->rid, out->label, sizeof(out->label)),
               "it may have ended by now");
    return true;
}

static uint32_t index_end(const struct viv_htab_table *table)
{
    // Acquire pairs with the release that published the directory.
    const struct viv_htab_dir *dir = atomic_load_explicit(&table->dir, memory_order_acquire);
    return dir != NULL ? dir->capacity * VIV_HTAB_PAGE_ENTRIES : 0;
}

// The instance of a process, pinned; NULL: it has none.
static enum viv_err pin_instance(struct viv_reg *reg, viv_rid proc, struct viv_res **out_pinned)
{
    struct viv_res_meta meta;
    *out_pinned = NULL;
    VIV_TRY(viv_res_metadata(reg, proc, &meta));
    if (meta.kind != VIV_KIND_PROCESS) return VIV_E_KIND;
    const viv_rid inst = viv_res_process_instance(reg, proc);
    if (inst.w == 0 || viv_res_pin(reg, inst, VIV_KIND_INSTANCE, out_pinned) != VIV_OK)
        *out_pinned = NULL; // it has ended by now
    return VIV_OK;
}

enum viv_err viv_res_handles(struct viv_reg *reg, viv_rid proc, uint32_t *cursor,
                             struct viv_handle_info *out, uint32_t n, uint32_t *out_count)
{
    struct viv_res *pinned;
    *out_count = 0;
    VIV_TRY(pin_instance(reg, proc, &pinned));
    if (pinned == NULL) return VIV_OK;
    struct viv_htab *tab = viv_res_obj(pinned);
    const uint32_t end = index_end(&tab->handles);
    while (*cursor < end && *out_count < n) {
        const uint32_t index = (*cursor)++;
        if (describe(tab, index, &out[*out_count])) (*out_count)++;
    }
    viv_res_unpin(pinned);
    return VIV_OK;
}

enum viv_err viv_res_owned_kinds(struct viv_reg *reg, viv_rid proc, struct viv_kind_info *out,
                                 uint32_t n, uint32_t *out_count)
{
    struct viv_kind_info kinds[VIV_KINDS_MAX] = {{0}};
    struct viv_res_cursor cursor = {0};
    struct viv_res_meta meta;
    viv_rid rids[64];
    VIV_TRY(viv_res_metadata(reg, proc, &meta));
    for (uint32_t count; (count = viv_res_owned(reg, proc, &cursor, rids, VIV_COUNT_OF(rids))) > 0;)
        for (uint32_t i = 0; i < count; i++) {
            if (viv_res_metadata(reg, rids[i], &meta) != VIV_OK) continue;
            kinds[meta.kind].count++;
            kinds[meta.kind].charge_bytes += meta.charge_bytes;
        }
    *out_count = 0;
    for (uint32_t kind = 0; kind < VIV_KINDS_MAX && *out_count < n; kind++) {
        if (kinds[kind].count == 0) continue;
        const struct viv_res_kind *row = viv_res_kind(reg, (viv_kind)kind);
        kinds[kind].kind = (viv_kind)kind;
        kinds[kind].kind_name = row != NULL ? row->name : "?";
        out[(*out_count)++] = kinds[kind];
    }
    return VIV_OK;
}

// ---- what it uses ----

static const char *const counter_names[VIV_COUNTERS] = {
    [VIV_COUNTER_RESOURCES] = "resources",
    [VIV_COUNTER_RESOURCE_BYTES] = "resource_bytes",
    [VIV_COUNTER_HANDLES] = "handles",
    [VIV_COUNTER_SHARES] = "shares",
    [VIV_COUNTER_GRANTS] = "grants",
    [VIV_COUNTER_FUTURES] = "futures",
    [VIV_COUNTER_TIMERS] = "timers",
    [VIV_COUNTER_FDS] = "fds",
    [VIV_COUNTER_CHANNEL_BYTES] = "channel_bytes",
    [VIV_COUNTER_MEMORY_BYTES] = "memory",
    [VIV_COUNTER_PROCESSES] = "processes",
    [VIV_COUNTER_NATIVE] = "native",
    [VIV_COUNTER_MAILBOX] = "mailbox",
    [VIV_COUNTER_MAILBOX_BYTES] = "mailbox_bytes",
    [VIV_COUNTER_OUTPUT_BYTES] = "output",
};

enum viv_err viv_res_usage(struct viv_reg *reg, viv_rid rid,
                           struct viv_usage_info out[VIV_COUNTERS], uint32_t *out_count)
{
    viv_spin_lock(&reg->lock);
    const struct viv_res *res = viv_res__known(reg, rid);
    const struct viv_account *account =
        res != NULL && res->ext != 0 ? viv_res__ext(reg, res->ext)->account : NULL;
    viv_spin_unlock(&reg->lock);
    if (res == NULL) return VIV_E_NOTFOUND;
    *out_count = account != NULL ? VIV_COUNTERS : 0; // this read section keeps it
    for (uint32_t i = 0; i < *out_count; i++) {
        const enum viv_counter counter = (enum viv_counter)i;
        out[i] = (struct viv_usage_info){.name = counter_names[i],
                                         .used = viv_account_used(account, counter),
                                         .peak = viv_account_peak(account, counter),
                                         .limit = viv_account_max(account, counter)};
    }
    return VIV_OK;
}

// ---- futures ----

// The future at an index, with its resource; false: none that is pending. Its object stays while
// its entry does (who takes it frees the entry first), and while the caller's read section lasts
// (who ends it destroys it after that).
static bool look_future(struct viv_htab *tab, uint32_t index, struct viv_future_info *out,
                        viv_rid *out_rid)
{
    const struct viv_htab_entry *entry = viv_htab_entry_at(&tab->futures, index);
    if (entry == NULL) return false;
    viv_spin_lock(&tab->lock);
    // Relaxed: written under the lock.
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_relaxed);
    bool is_pending = (word & VIV_ENTRY_LIVE) != 0 && (word & VIV_ENTRY_RESERVED) == 0;
    if (is_pending) {
        const struct viv_res *res = viv_htab_entry_res(entry);
        is_pending = viv_res__phase(viv_res__state(res)) == VIV_RES_LIVE;
        if (is_pending) is_pending = viv_fut__is_pending(res->obj);
        if (is_pending) out->op = viv_guestop_name(((const struct viv_fut *)res->obj)->guestop);
        *out_rid = viv_res_id(res);
    }
    viv_spin_unlock(&tab->lock);
    const uint32_t gen = (uint32_t)(word >> VIV_ENTRY_GEN_SHIFT) & 0x7FF;
    out->hdl.w = index | gen << VIV_HANDLE_INDEX_BITS;
    return is_pending;
}

enum viv_err viv_res_pending(struct viv_reg *reg, viv_rid proc, uint32_t *cursor,
                             struct viv_future_info *out, uint32_t n, uint32_t *out_count)
{
    struct viv_res *pinned;
    *out_count = 0;
    VIV_TRY(pin_instance(reg, proc, &pinned));
    if (pinned == NULL) return VIV_OK;
    struct viv_htab *tab = viv_res_obj(pinned);
    const uint32_t end = index_end(&tab->futures);
    while (*cursor < end && *out_count < n) {
        struct viv_future_info *info = &out[*out_count];
        struct viv_res_meta meta;
        viv_rid rid;
        if (!look_future(tab, (*cursor)++, info, &rid)) continue;
        if (viv_res_metadata(reg, rid, &meta) != VIV_OK) continue; // taken meanwhile
        info->age_s = viv_res_age_s(reg, &meta);
        (*out_count)++;
    }
    viv_res_unpin(pinned);
    return VIV_OK;
}

enum viv_err viv_res_futures(struct viv_reg *reg, viv_rid proc, struct viv_futures_info *out)
{
    struct viv_res *pinned;
    *out = (struct viv_futures_info){0};
    VIV_TRY(pin_instance(reg, proc, &pinned));
    if (pinned == NULL) return VIV_OK;
    viv_futs__look(viv_res_obj(pinned), out);
    viv_res_unpin(pinned);
    return VIV_OK;
}
