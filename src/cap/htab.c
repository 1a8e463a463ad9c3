// SPDX-License-Identifier: Apache-2.0
// Handle tables.
//
//   handle = gen | index ──> dir->pages[index / 64][index % 64] = { rights kind gen bits, record }
//
// Pages never move; the directory grows by copy, and the old one goes a grace period later.
// Look-ups take no lock. Changes are made under the table's lock by the owner thread and by
// registrars. An entry is taken first (reserved), then filled and published with a release store,
// so that nothing that can fail comes after the resource is there.
//
// An index is given out again at once, with the next generation; when its generations are spent it
// waits behind all others (spent list) and begins with 0 again.
#include "base/alloc.h"
#include "base/assert.h"
#include "base/sim.h"
#include "cap/counts.h"
#include "cap/grant_int.h"
#include "cap/reg_end.h"
#include "cap/trace_int.h"
#include <string.h>

#define PAGE_BYTES (VIV_HTAB_PAGE_ENTRIES * sizeof(struct viv_htab_entry))
#define GEN_MASK (UINT64_C(0x7FF) << VIV_ENTRY_GEN_SHIFT)
#define KIND_MASK UINT64_C(0x3FFF)
#define INDEX_MASK ((1u << VIV_HANDLE_INDEX_BITS) - 1)
enum { DIR_CAPACITY_FIRST = 4, CLOSE_AT_ONCE = 32 };

static size_t dir_bytes(uint32_t capacity)
{
    return sizeof(struct viv_htab_dir) + capacity * sizeof(_Atomic(struct viv_htab_entry *));
}

static uint64_t word_of(const struct viv_htab_entry *entry)
{
    // Acquire pairs with the release in store_word.
    return atomic_load_explicit(&entry->word, memory_order_acquire);
}

static void store_word(struct viv_htab_entry *entry, uint64_t word)
{
    // Release: the pointer, or what the entry meant before, comes first; pairs with viv_res_use.
    atomic_store_explicit(&entry->word, word, memory_order_release);
}

struct viv_grant *viv_htab__grant_of(const struct viv_htab_entry *entry)
{
    // Relaxed: as in viv_htab_entry_res.
    const uintptr_t ref = atomic_load_explicit(&entry->ref, memory_order_relaxed);
    return (ref & 1) != 0 ? (struct viv_grant *)(ref - 1) : NULL;
}

void viv_htab__set_grant(struct viv_htab_entry *entry, struct viv_grant *grant)
{
    // Release pairs with the lock of a registrar that finds the entry live already: the node's
    // first field is seen.
    atomic_store_explicit(&entry->ref, (uintptr_t)grant | 1, memory_order_release);
}

static uint64_t gen_of(uint64_t word)
{
    return (word & GEN_MASK) >> VIV_ENTRY_GEN_SHIFT;
}

// ---- growth ----

static void free_dir(struct viv_qsbr_item *item)
{
    struct viv_htab_dir *dir = VIV_CONTAINER_OF(item, struct viv_htab_dir, retired);
    viv_free(dir, dir_bytes(dir->capacity), VIV_TAG_CAP);
}

// The directory now; relaxed: under the lock, or when no other thread is left.
static struct viv_htab_dir *dir_locked(const struct viv_htab_table *table)
{
    return atomic_load_explicit(&table->dir, memory_order_relaxed);
}

// Puts a page where table->fresh is due, with a bigger directory if one is needed. What was not
// used is left in the two pointers. Under the lock.
static void install(struct viv_htab_table *table, struct viv_htab_entry **page,
                    struct viv_htab_dir **dir, struct viv_htab_dir **out_old)
{
    const uint32_t at = table->fresh / VIV_HTAB_PAGE_ENTRIES;
    struct viv_htab_dir *now = dir_locked(table);
    if (now == NULL || at >= now->capacity) {
        if (*dir == NULL || at >= (*dir)->capacity) return;
        for (uint32_t i = 0; now != NULL && i < now->capacity; i++) // relaxed: both only ours now
            atomic_store_explicit(&(*dir)->pages[i],
                                  atomic_load_explicit(&now->pages[i], memory_order_relaxed),
                                  memory_order_relaxed);
        *out_old = now;
        now = *dir;
        *dir = NULL;
        // Release pairs with the acquire in viv_htab_entry_at.
        atomic_store_explicit(&table->dir, now, memory_order_release);
    }
    // Relaxed load: written under this lock only. Release as above: the page is zero.
    if (atomic_load_explicit(&now->pages[at], memory_order_relaxed) != NULL) return;
    atomic_store_explicit(&now->pages[at], *page, memory_order_release);
    *page = NULL;
}

static enum viv_err grow(struct viv_htab *tab, struct viv_htab_table *table)
{
    viv_spin_lock(&tab->lock);
    const uint32_t at = table->fresh / VIV_HTAB_PAGE_ENTRIES;
    struct viv_htab_dir *old = dir_locked(table);
    uint32_t capacity = old != NULL ? old->capacity : 0;
    viv_spin_unlock(&tab->lock);

    struct viv_htab_entry *page = viv_try_calloc(1, PAGE_BYTES, VIV_TAG_CAP);
    if (page == NULL) return VIV_E_EXHAUSTED;
    struct viv_htab_dir *dir = NULL;
    if (at >= capacity) {
        capacity = capacity == 0 ? DIR_CAPACITY_FIRST : capacity * 2;
        dir = viv_try_calloc(1, dir_bytes(capacity), VIV_TAG_CAP);
        if (dir == NULL) {
            viv_free(page, PAGE_BYTES, VIV_TAG_CAP);
            return VIV_E_EXHAUSTED;
        }
        dir->capacity = capacity;
    }
    old = NULL;
    viv_spin_lock(&tab->lock);
    install(table, &page, &dir, &old);
    viv_spin_unlock(&tab->lock);
    viv_free(page, PAGE_BYTES, VIV_TAG_CAP);
    if (dir != NULL) viv_free(dir, dir_bytes(dir->capacity), VIV_TAG_CAP);
    if (old != NULL) viv_qsbr_retire(viv_sched_member(), &old->retired, free_dir);
    return VIV_OK;
}

// ---- taking and freeing entries ----

// AGAIN: a page is missing.
static enum viv_err take_index(const struct viv_htab *tab, struct viv_htab_table *table,
                               uint32_t *out_index)
{
    uint32_t index = table->free;
    uint64_t gen = 0;
    if (index != 0) {
        const uint64_t word = word_of(viv_htab_entry_at(table, index));
        table->free = (uint32_t)word & INDEX_MASK;
        gen = word & GEN_MASK;
    } else if (table->fresh < tab->reg->handle_max) {
        if (viv_htab_entry_at(table, table->fresh) == NULL) return VIV_E_AGAIN;
        index = table->fresh++;
    } else if (table->spent_first != 0) {
        index = table->spent_first;
        table->spent_first = (uint32_t)word_of(viv_htab_entry_at(table, index)) & INDEX_MASK;
        if (table->spent_first == 0) table->spent_last = 0;
    } else {
        return VIV_E_EXHAUSTED;
    }
    store_word(viv_htab_entry_at(table, index), gen | VIV_ENTRY_RESERVED);
    table->used++;
    *out_index = index;
    return VIV_OK;
}

static enum viv_err try_take(struct viv_htab *tab, struct viv_htab_table *table,
                             uint32_t *out_index)
{
    if (tab->is_closed) return VIV_E_NOINSTANCE;
    VIV_TRY(viv_account_charge(tab->account, table->counter, 1));
    const enum viv_err err = take_index(tab, table, out_index);
    if (err != VIV_OK) viv_account_credit(tab->account, table->counter, 1);
    return err;
}

enum viv_err viv_htab__take(struct viv_htab *tab, struct viv_htab_table *table, uint32_t *out_index)
{
    for (;;) {
        VIV_SIM_POINT();
        viv_spin_lock(&tab->lock);
        const enum viv_err err = try_take(tab, table, out_index);
        viv_spin_unlock(&tab->lock);
        if (err != VIV_E_AGAIN) return err;
        VIV_TRY(grow(tab, table));
    }
}

// An entry that is no longer taken; gen: the one it shall have next. Under the lock.
static void put_index(const struct viv_htab *tab, struct viv_htab_table *table, uint32_t index,
                      uint64_t gen)
{
    struct viv_htab_entry *entry = viv_htab_entry_at(table, index);
    table->used--;
    if (gen < tab->reg->handle_gen_count) {
        store_word(entry, gen << VIV_ENTRY_GEN_SHIFT | table->free);
        table->free = index;
        return;
    }
    store_word(entry, 0);
    if (table->spent_last != 0)
        store_word(viv_htab_entry_at(table, table->spent_last), index);
    else
        table->spent_first = index;
    table->spent_last = index;
}

void viv_htab__untake(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index)
{
    viv_spin_lock(&tab->lock);
    put_index(tab, table, index, gen_of(word_of(viv_htab_entry_at(table, index))));
    viv_account_credit(tab->account, table->counter, 1);
    viv_spin_unlock(&tab->lock);
}

// A revoker may have marked the entry meanwhile: the bit stays.
static void fill_entry(struct viv_htab_entry *entry, const struct viv_htab_fill *fill, uint64_t gen)
{
    const uintptr_t ref = fill->grant != NULL ? (uintptr_t)fill->grant | 1 : (uintptr_t)fill->res;
    atomic_store_explicit(&entry->ref, ref, memory_order_relaxed); // relaxed: before the word
    const uint64_t live = fill->rights | (uint64_t)fill->res->kind << VIV_ENTRY_KIND_SHIFT |
                          gen << VIV_ENTRY_GEN_SHIFT | VIV_ENTRY_LIVE;
    if (fill->grant == NULL) {
        store_word(entry, live);
        return;
    }
    uint64_t word = word_of(entry);
    // Release: as store_word. Acquire on failure: what the revoker did comes before.
    while (!atomic_compare_exchange_weak_explicit(&entry->word, &word,
                                                  live | (word & VIV_ENTRY_REVOKED),
                                                  memory_order_release, memory_order_acquire))
        continue;
}

enum viv_err viv_htab__publish(struct viv_htab *tab, struct viv_htab_table *table, uint32_t index,
                               const struct viv_htab_fill *fill, viv_handle *out_hdl)
{
    struct viv_htab_entry *entry = viv_htab_entry_at(table, index);
    const uint64_t gen = gen_of(word_of(entry));
    VIV_SIM_POINT(); // a revoker may find the node, an end close the table
    viv_spin_lock(&tab->lock);
    const bool is_closed = tab->is_closed;
    if (is_closed) {
        put_index(tab, table, index, gen);
        viv_account_credit(tab->account, table->counter, 1);
    } else {
        fill_entry(entry, fill, gen);
    }
    viv_spin_unlock(&tab->lock);
    if (is_closed) return VIV_E_NOINSTANCE;
    viv_res__trace_tab(tab, tab->reg, VIV_TRACE_SLOT_ASSIGNED, fill->res);
    *out_hdl = (viv_handle){(uint32_t)gen << VIV_HANDLE_INDEX_BITS | index};
    return VIV_OK;
}

enum viv_err viv_htab__publish_grant(struct viv_htab *tab, uint32_t index, struct viv_grant *node,
                                     struct viv_res *res, viv_handle *out_hdl)
{
    const struct viv_htab_fill fill = {.res = res, .grant = node, .rights = node->rights};
    const enum viv_err err = viv_htab__publish(tab, &tab->handles, index, &fill, out_hdl);
    if (err == VIV_OK) return VIV_OK;
    viv_grant__abandon(tab, node);
    VIV_IGNORE(viv_res__drop_hold(res, false), "never the end of it");
    return err;
}

viv_handle viv_htab__set_revoked(struct viv_htab *tab, uint32_t index)
{
    struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, index);
    // Both: uses that begin after the revocation has returned see the bit; the publication came
    // before.
    const uint64_t word =
        atomic_fetch_or_explicit(&entry->word, VIV_ENTRY_REVOKED, memory_order_acq_rel);
    return (viv_handle){(uint32_t)gen_of(word) << VIV_HANDLE_INDEX_BITS | index};
}

// The entry of a live handle; NULL: BADHANDLE.
static struct viv_htab_entry *find(const struct viv_htab_table *table, viv_handle hdl)
{
    const uint32_t index = hdl.w & INDEX_MASK;
    struct viv_htab_entry *entry = index != 0 ? viv_htab_entry_at(table, index) : NULL;
    if (entry == NULL) return NULL;
    const uint64_t word = word_of(entry);
    const bool is_it =
        (word & VIV_ENTRY_LIVE) != 0 && gen_of(word) == hdl.w >> VIV_HANDLE_INDEX_BITS;
    return is_it ? entry : NULL;
}

// Takes the entry's node from it. The pointer is changed under the lock, where registrars follow
// it.
static void leave_tree(struct viv_htab *tab, struct viv_htab_entry *entry)
{
    struct viv_grant *grant = viv_htab__grant_of(entry);
    if (VIV_LIKELY(grant == NULL)) return;
    viv_spin_lock(&tab->lock);
    // Relaxed: own thread and the lock.
    atomic_store_explicit(&entry->ref, (uintptr_t)grant->res, memory_order_relaxed);
    viv_spin_unlock(&tab->lock);
    viv_grant__abandon(tab, grant);
}

// Frees a live entry; the hold becomes the caller's.
static void free_entry(struct viv_htab *tab, struct viv_htab_table *table, viv_handle hdl)
{
    const uint32_t index = hdl.w & INDEX_MASK;
    struct viv_htab_entry *entry = viv_htab_entry_at(table, index);
    leave_tree(tab, entry);
    viv_res__trace_tab(tab, tab->reg, VIV_TRACE_SLOT_DETACHED, viv_htab_entry_res(entry));
    VIV_SIM_POINT();
    viv_spin_lock(&tab->lock);
    put_index(tab, table, index, gen_of(word_of(entry)) + 1);
    viv_account_credit(tab->account, table->counter, 1);
    viv_spin_unlock(&tab->lock);
}

// ---- the instance ----

static void drop_exts(struct viv_htab *tab)
{
    for (uint32_t i = 0; i < VIV_EXT_MAX; i++) {
        viv_spin_lock(&tab->lock);
        void *value = tab->exts[i].value;
        tab->exts[i].value = NULL;
        viv_spin_unlock(&tab->lock);
        if (value != NULL && tab->exts[i].drop != NULL) tab->exts[i].drop(value);
    }
}

// Its object stays for this read section, whoever ends it meanwhile.
static void tell_unheld(const struct viv_htab *tab, const struct viv_res *res)
{
    const struct viv_res_kind *kind = viv_res_kind(tab->reg, res->kind);
    if (VIV_LIKELY(kind == NULL || kind->unheld == NULL)) return;
    if (viv_res__phase(viv_res__state(res)) == VIV_RES_LIVE) kind->unheld(res->obj, tab);
}

// Frees up to CLOSE_AT_ONCE live entries from *from on; their holds become the caller's.
static uint32_t free_entries(struct viv_htab *tab, struct viv_htab_table *table, uint32_t *from,
                             uint32_t *budget, struct viv_res **out_ress)
{
    uint32_t indices[CLOSE_AT_ONCE], count = 0;
    for (; *from < table->fresh && *budget > 0 && count < CLOSE_AT_ONCE; (*from)++, (*budget)--) {
        struct viv_htab_entry *entry = viv_htab_entry_at(table, *from);
        if ((word_of(entry) & VIV_ENTRY_LIVE) == 0) continue;
        out_ress[count] = viv_htab_entry_res(entry);
        viv_res__trace_tab(tab, tab->reg, VIV_TRACE_SLOT_DETACHED, out_ress[count]);
        indices[count++] = *from;
        leave_tree(tab, entry);
    }
    if (count == 0) return 0;
    VIV_SIM_POINT();
    viv_spin_lock(&tab->lock);
    for (uint32_t i = 0; i < count; i++)
        put_index(tab, table, indices[i],
                  gen_of(word_of(viv_htab_entry_at(table, indices[i]))) + 1);
    viv_account_credit(tab->account, table->counter, count);
    viv_spin_unlock(&tab->lock);
    return count;
}

bool viv_htab__close_some(struct viv_htab *tab, struct viv_htab_table *table, uint32_t *from,
                          uint32_t *budget)
{
    struct viv_res *ress[CLOSE_AT_ONCE];
    while (*from < table->fresh) {
        if (*budget == 0) return false;
        const uint32_t count = free_entries(tab, table, from, budget, ress);
        for (uint32_t i = 0; i < count; i++) {
            tell_unheld(tab, ress[i]);
            viv_res__unhold_within(ress[i], budget);
        }
    }
    return true;
}

// Owned by the instance's process, and of a kind that may outlive it.
static bool may_linger(struct viv_htab *tab, uint64_t word, const struct viv_res *res)
{
    const viv_kind kind = (viv_kind)(word >> VIV_ENTRY_KIND_SHIFT & KIND_MASK);
    if (kind != VIV_KIND_CHANNEL && kind != VIV_KIND_LOG) return false;
    return viv_rid_eq(viv_res_owner(tab->reg, viv_res_id(res)), tab->process);
}

bool viv_htab__close_lingering(struct viv_htab *tab, uint32_t *from, uint32_t *budget)
{
    for (; *from < tab->handles.fresh; (*from)++, (*budget)--) {
        if (*budget == 0) return false;
        const struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, *from);
        const uint64_t word = word_of(entry);
        if ((word & VIV_ENTRY_LIVE) == 0) continue;
        struct viv_res *res = viv_htab_entry_res(entry);
        if (!may_linger(tab, word, res)) continue;
        free_entry(tab, &tab->handles,
                   (viv_handle){(uint32_t)gen_of(word) << VIV_HANDLE_INDEX_BITS | *from});
        VIV_IGNORE(viv_res__drop_hold(res, false), "its owner ends it, if nobody else holds it");
    }
    return true;
}

bool viv_htab__shut(struct viv_htab *tab)
{
    viv_spin_lock(&tab->lock);
    const bool was_open = !tab->is_closed;
    tab->is_closed = true;
    const uint64_t prepaid = tab->prepaid;
    tab->prepaid = 0;
    viv_account_credit(tab->account, VIV_COUNTER_HANDLES, prepaid);
    viv_account_credit(tab->account, VIV_COUNTER_RESOURCES, prepaid);
    viv_account_credit(tab->account, VIV_COUNTER_RESOURCE_BYTES, prepaid * VIV_RES_OVERHEAD_BYTES);
    viv_spin_unlock(&tab->lock);
    return was_open;
}

// E1, E2 and E4 for this instance, as far as the cascade has not been here before (cascade.c).
// What another thread has taken and not published it gives back itself.
static void close_instance(void *obj, enum viv_close_why why)
{
    struct viv_htab *tab = obj;
    const struct viv_res_hooks *hooks = &tab->reg->hooks;
    uint32_t budget = UINT32_MAX, future = 1, handle = 1;
    (void)why;
    if (viv_htab__shut(tab) && hooks->fail_ops != NULL)
        hooks->fail_ops(hooks->arg, tab, (viv_handle){0}, VIV_E_CANCELLED);
    (void)viv_htab__close_some(tab, &tab->futures, &future, &budget);
    (void)viv_htab__close_some(tab, &tab->handles, &handle, &budget);
    viv_share__disown(tab);
    drop_exts(tab);
}

static void free_table(struct viv_htab_table *table)
{
    struct viv_htab_dir *dir = dir_locked(table);
    if (dir == NULL) return;
    for (uint32_t i = 0; i < dir->capacity; i++) // relaxed: no other thread is left
        viv_free(atomic_load_explicit(&dir->pages[i], memory_order_relaxed), PAGE_BYTES,
                 VIV_TAG_CAP);
    free_dir(&dir->retired);
}

static void destroy_instance(void *obj)
{
    struct viv_htab *tab = obj;
    free_table(&tab->handles);
    free_table(&tab->futures);
    viv_free(tab, sizeof(*tab), VIV_TAG_CAP);
}

enum viv_err viv_htab__bind(struct viv_reg *reg)
{
    const struct viv_res_kind functions = {.close = close_instance, .destroy = destroy_instance};
    return viv_res_kind_bind(reg, VIV_KIND_INSTANCE, &functions);
}

static void init_table(struct viv_htab_table *table, enum viv_counter counter)
{
    atomic_init(&table->dir, NULL);
    table->fresh = 1; // index 0 is never a handle
    table->counter = counter;
}

enum viv_err viv_res_instance(struct viv_reg *reg, struct viv_htab **out_tab)
{
    struct viv_htab *tab = viv_try_calloc(1, sizeof(*tab), VIV_TAG_CAP);
    if (tab == NULL) return VIV_E_EXHAUSTED;
    init_table(&tab->handles, VIV_COUNTER_HANDLES);
    init_table(&tab->futures, VIV_COUNTER_FUTURES);
    viv_spin_init(&tab->lock, VIV_LOCK_HTAB);
    viv_list_init(&tab->ops);
    tab->reg = reg;
    tab->account = &reg->account;
    const struct viv_res_spec spec = {.kind = VIV_KIND_INSTANCE, .charge_bytes = sizeof(*tab)};
    const struct viv_res_birth birth = {.spec = &spec, .obj = tab, .phase = VIV_RES_LIVE};
    struct viv_res *res;
    VIV_TRY(viv_res__bear(reg, &birth, &res));
    tab->res = res;
    tab->rid = viv_res_id(res);
    *out_tab = tab;
    return VIV_OK;
}

// What it has charged would have to move with it, and what registrars have reserved as well.
static bool is_bare(struct viv_htab *tab)
{
    viv_spin_lock(&tab->lock);
    const bool is = tab->handles.used == 0 && tab->futures.used == 0 && tab->registrar_count == 0;
    viv_spin_unlock(&tab->lock);
    return is;
}

static enum viv_err link_process(struct viv_htab *tab, viv_rid proc)
{
    if (!is_bare(tab)) return VIV_E_STATE;
    VIV_TRY(viv_res__link_instance(tab->reg, tab->rid, proc, &tab->account, &tab->env));
    tab->process = proc;
    return VIV_OK;
}

enum viv_err viv_res_set_process_id(struct viv_htab *tab, viv_rid proc)
{
    if (tab->process.w == 0) return link_process(tab, proc);
    return viv_rid_eq(tab->process, proc) ? VIV_OK : VIV_E_STATE;
}

enum viv_err viv_res_set_instance_process(struct viv_reg *reg, viv_rid inst, viv_rid proc)
{
    uint64_t state;
    const struct viv_res *res = viv_res__find(reg, inst, &state);
    if (res == NULL || viv_res__phase(state) != VIV_RES_LIVE) return VIV_E_NOTFOUND;
    return res->kind == VIV_KIND_INSTANCE ? link_process(res->obj, proc) : VIV_E_KIND;
}

viv_rid viv_res_process_id(const struct viv_htab *tab)
{
    return tab->process;
}

viv_rid viv_res_instance_id(const struct viv_htab *tab)
{
    return tab->rid;
}

void viv_res_instance_drop(struct viv_htab *tab)
{
    VIV_IGNORE(viv_res_discard(tab->reg, tab->rid), "it may have ended with its process");
}

// ---- inserting ----

bool viv_htab__are_rights(const struct viv_reg *reg, viv_kind kind, viv_rights rights)
{
    const struct viv_res_kind *row = viv_res_kind(reg, kind);
    return row != NULL && (rights & ~row->rights_all) == 0;
}

struct viv_res_spec viv_htab__owned_spec(const struct viv_htab *tab,
                                         const struct viv_res_spec *spec)
{
    struct viv_res_spec owned = *spec;
    if (tab->process.w != 0) owned.owner = tab->process;
    return owned;
}

bool viv_htab__is_ended(const struct viv_htab *tab)
{
    uint64_t state;
    return tab->process.w != 0 &&
           (viv_res__find(tab->reg, tab->process, &state) == NULL ||
            viv_res__phase(state) != VIV_RES_LIVE || (state & VIV_RES_ENDED) != 0);
}

void viv_htab__abandon(struct viv_res *res)
{
    struct viv_reg *reg = viv_res__reg(res);
    if (viv_res__claim(res, 0)) viv_res__end(reg, res, VIV_WHY_OWNER_END);
    viv_res__unhold(res);
}

// add, and an entry. The object is consumed.
static enum viv_err insert(struct viv_htab *tab, struct viv_htab_table *table,
                           const struct viv_res_spec *spec, void *obj, viv_rights rights,
                           viv_handle *out_hdl)
{
    uint32_t index;
    enum viv_err err = viv_htab__take(tab, table, &index);
    if (err != VIV_OK) {
        viv_res__destroy_obj(tab->reg, spec->kind, obj);
        return err;
    }
    const struct viv_res_spec owned = viv_htab__owned_spec(tab, spec);
    const struct viv_res_birth birth = {
        .spec = &owned, .obj = obj, .phase = VIV_RES_LIVE, .holds = 1};
    struct viv_res *res;
    err = viv_res__bear(tab->reg, &birth, &res);
    if (err != VIV_OK) {
        viv_htab__untake(tab, table, index);
        return err == VIV_E_NOTFOUND && viv_htab__is_ended(tab) ? VIV_E_NOINSTANCE : err;
    }
    const struct viv_htab_fill fill = {.res = res, .rights = rights};
    err = viv_htab__publish(tab, table, index, &fill, out_hdl);
    if (err != VIV_OK) viv_htab__abandon(res);
    return err;
}

enum viv_err viv_res_insert(struct viv_htab *tab, const struct viv_res_spec *spec,
                            VIV_OWN void *obj, viv_rights rights, viv_handle *out_hdl)
{
    if (!viv_htab__are_rights(tab->reg, spec->kind, rights)) {
        viv_res__destroy_obj(tab->reg, spec->kind, obj);
        return VIV_E_INVAL;
    }
    return insert(tab, &tab->handles, spec, obj, rights, out_hdl);
}

// An entry for a resource; takes a hold of its own.
static enum viv_err insert_res(struct viv_htab *tab, struct viv_res *res, viv_rights rights,
                               viv_handle *out_hdl)
{
    uint32_t index;
    VIV_TRY(viv_htab__take(tab, &tab->handles, &index));
    enum viv_err err = viv_res__hold(res);
    if (err != VIV_OK) {
        viv_htab__untake(tab, &tab->handles, index);
        return err;
    }
    const struct viv_htab_fill fill = {.res = res, .rights = rights};
    err = viv_htab__publish(tab, &tab->handles, index, &fill, out_hdl);
    if (err != VIV_OK) VIV_IGNORE(viv_res__drop_hold(res, false), "never the end of it");
    return err;
}

enum viv_err viv_res_insert_id(struct viv_htab *tab, viv_rid rid, viv_rights rights,
                               viv_handle *out_hdl)
{
    uint64_t state;
    struct viv_res *res = viv_res__find(tab->reg, rid, &state);
    if (res == NULL || viv_res__phase(state) == VIV_RES_DYING) return VIV_E_NOTFOUND;
    if (!viv_htab__are_rights(tab->reg, res->kind, rights)) return VIV_E_INVAL;
    return insert_res(tab, res, rights, out_hdl);
}

// ---- using ----

// Live, and neither its grant nor what the resource was made through has been revoked.
static enum viv_err check_entry(const struct viv_htab_table *table, viv_handle hdl,
                                struct viv_htab_entry **out_entry)
{
    struct viv_htab_entry *entry = find(table, hdl);
    if (entry == NULL) return VIV_E_BADHANDLE;
    if ((word_of(entry) & VIV_ENTRY_REVOKED) != 0 ||
        (viv_res__state(viv_htab_entry_res(entry)) & VIV_RES_REVOKED) != 0)
        return VIV_E_REVOKED;
    *out_entry = entry;
    return VIV_OK;
}

static enum viv_err counted(const struct viv_htab *tab, enum viv_err err)
{
    if (err != VIV_OK) viv_res__count(tab->reg, VIV_COUNT_FAILURES + ((uint32_t)err & 31), 1);
    return err;
}

enum viv_err viv_htab__check_entry(const struct viv_htab *tab, viv_handle hdl,
                                   struct viv_htab_entry **out_entry)
{
    return counted(tab, check_entry(&tab->handles, hdl, out_entry));
}

static enum viv_err check_phase(const struct viv_htab_entry *entry)
{
    const uint64_t state = viv_res__state(viv_htab_entry_res(entry));
    return (state & VIV_RES_REVOKED) != 0 ? VIV_E_REVOKED : viv_res__phase_err(state);
}

static enum viv_err check_one(const struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                              viv_rights need, struct viv_htab_entry **out_entry)
{
    struct viv_htab_entry *entry;
    VIV_TRY(check_entry(&tab->handles, hdl, &entry));
    const uint64_t word = word_of(entry);
    if ((word >> VIV_ENTRY_KIND_SHIFT & KIND_MASK) != kind) return VIV_E_KIND;
    if ((word & need) != need) return VIV_E_RIGHTS;
    VIV_TRY(check_phase(entry));
    *out_entry = entry;
    return VIV_OK;
}

enum viv_err viv_htab__check(const struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                             viv_rights need, struct viv_htab_entry **out_entry)
{
    return counted(tab, check_one(tab, hdl, kind, need, out_entry));
}

static enum viv_err check_any(const struct viv_htab *tab, viv_handle hdl, viv_rights need,
                              viv_rights asked, struct viv_htab_entry **out_entry)
{
    struct viv_htab_entry *entry;
    VIV_TRY(check_entry(&tab->handles, hdl, &entry));
    if (((need | asked) & ~viv_htab__rights_of(entry)) != 0) return VIV_E_RIGHTS;
    const enum viv_err err = check_phase(entry);
    // A reservation may be passed on before it is initialised.
    if (err != VIV_OK && err != VIV_E_STATE) return err;
    *out_entry = entry;
    return VIV_OK;
}

enum viv_err viv_htab__check_any(const struct viv_htab *tab, viv_handle hdl, viv_rights need,
                                 viv_rights asked, struct viv_htab_entry **out_entry)
{
    return counted(tab, check_any(tab, hdl, need, asked, out_entry));
}

enum viv_err viv_htab_use_slow(const struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                               viv_rights need, void **out_obj)
{
    struct viv_htab_entry *entry;
    VIV_TRY(viv_htab__check(tab, hdl, kind, need, &entry));
    *out_obj = viv_htab_entry_res(entry)->obj;
    return VIV_OK;
}

enum viv_err viv_res_entry(const struct viv_htab *tab, viv_handle hdl, viv_rid *out_rid)
{
    const struct viv_htab_entry *entry = find(&tab->handles, hdl);
    if (entry == NULL) return VIV_E_BADHANDLE;
    *out_rid = viv_res_id(viv_htab_entry_res(entry));
    return VIV_OK;
}

enum viv_err viv_res_look(const struct viv_htab *tab, viv_handle hdl, viv_kind *out_kind,
                          viv_rights *out_rights)
{
    const struct viv_htab_entry *entry = find(&tab->handles, hdl);
    if (entry == NULL) return VIV_E_BADHANDLE;
    *out_kind = viv_htab_entry_res(entry)->kind;
    *out_rights = viv_htab__rights_of(entry);
    return VIV_OK;
}

struct viv_res *viv_htab__res_locked(struct viv_htab *tab, viv_handle hdl)
{
    const struct viv_htab_entry *entry = find(&tab->handles, hdl);
    return entry != NULL ? viv_htab_entry_res(entry) : NULL;
}

enum viv_err viv_res_with_handle(struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                                 viv_rights need, viv_res_fn fn, void *ctx)
{
    struct viv_htab_entry *entry;
    VIV_TRY(viv_htab__check(tab, hdl, kind, need, &entry));
    if (viv_res_kind(tab->reg, kind)->sync != VIV_SYNC_LOCK) return VIV_E_INVAL;
    return viv_res__with(viv_htab_entry_res(entry), fn, ctx);
}

enum viv_err viv_res_remove_handle(struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                                   void **out_obj)
{
    struct viv_htab_entry *entry;
    VIV_TRY(viv_htab__check(tab, hdl, kind, VIV_RIGHT_DESTROY, &entry));
    if (viv_res_kind(tab->reg, kind)->sync != VIV_SYNC_LOCK) return VIV_E_INVAL;
    struct viv_res *res = viv_htab_entry_res(entry);
    const enum viv_err err = viv_res__remove(res, out_obj);
    if (err == VIV_E_NOTFOUND) return VIV_E_GONE; // another thread was faster
    VIV_TRY(err);
    free_entry(tab, &tab->handles, hdl);
    viv_res__unhold(res);
    return VIV_OK;
}

enum viv_err viv_res_detach_slot(struct viv_htab *tab, viv_handle hdl, viv_rid *out_rid)
{
    const struct viv_htab_entry *entry = find(&tab->handles, hdl);
    if (entry == NULL) return VIV_E_BADHANDLE;
    struct viv_res *res = viv_htab_entry_res(entry);
    *out_rid = viv_res_id(res);
    free_entry(tab, &tab->handles, hdl);
    viv_res__keep(res);
    viv_res__unhold(res);
    return VIV_OK;
}

enum viv_err viv_res_close(struct viv_htab *tab, viv_handle hdl)
{
    const struct viv_htab_entry *entry = find(&tab->handles, hdl);
    if (entry == NULL) return VIV_E_BADHANDLE;
    struct viv_res *res = viv_htab_entry_res(entry);
    free_entry(tab, &tab->handles, hdl);
    tell_unheld(tab, res);
    viv_res__unhold(res);
    return VIV_OK;
}

// ---- futures ----

enum viv_err viv_res_insert_future(struct viv_htab *tab, VIV_OWN struct viv_fut *fut,
                                   viv_handle *out_hdl)
{
    const struct viv_res_spec spec = {.kind = VIV_KIND_FUTURE};
    return insert(tab, &tab->futures, &spec, fut, VIV_RIGHTS_COMMON, out_hdl);
}

static enum viv_err check_future(const struct viv_htab *tab, viv_handle hdl,
                                 struct viv_res **out_res)
{
    struct viv_htab_entry *entry;
    VIV_TRY(check_entry(&tab->futures, hdl, &entry));
    struct viv_res *res = viv_htab_entry_res(entry);
    VIV_TRY(viv_res__phase_err(viv_res__state(res)));
    *out_res = res;
    return VIV_OK;
}

enum viv_err viv_res_future_state(const struct viv_htab *tab, viv_handle hdl,
                                  struct viv_fut **out_fut)
{
    struct viv_res *res;
    VIV_TRY(check_future(tab, hdl, &res));
    *out_fut = res->obj;
    return VIV_OK;
}

enum viv_err viv_res_remove_future(struct viv_htab *tab, viv_handle hdl, struct viv_fut **out_fut)
{
    struct viv_res *res;
    VIV_TRY(check_future(tab, hdl, &res));
    void *obj;
    const enum viv_err err = viv_res__remove(res, &obj);
    if (err == VIV_E_NOTFOUND) return VIV_E_GONE;
    VIV_TRY(err);
    *out_fut = obj;
    free_entry(tab, &tab->futures, hdl);
    viv_res__unhold(res);
    return VIV_OK;
}

// ---- host data ----

enum viv_err viv_res_insert_extension(struct viv_htab *tab, uint32_t ext, VIV_OWN void *value,
                                      void (*drop)(void *value))
{
    void *old = NULL;
    void (*drop_old)(void *value) = NULL;
    viv_spin_lock(&tab->lock);
    const bool is_closed = tab->is_closed, is_taken = ext < VIV_EXT_MAX && !is_closed;
    if (is_taken) {
        old = tab->exts[ext].value;
        drop_old = tab->exts[ext].drop;
        tab->exts[ext].value = value;
        tab->exts[ext].drop = drop;
    }
    viv_spin_unlock(&tab->lock);
    if (!is_taken) {
        if (drop != NULL && value != NULL) drop(value);
        return is_closed ? VIV_E_NOINSTANCE : VIV_E_INVAL;
    }
    if (old != NULL && drop_old != NULL) drop_old(old);
    return VIV_OK;
}

void *viv_res_extension(const struct viv_htab *tab, uint32_t ext)
{
    return ext < VIV_EXT_MAX ? tab->exts[ext].value : NULL;
}

// ---- the walker's view ----

static void each_of(const struct viv_htab_table *table,
                    void (*visit)(void *arg, const struct viv_res *res), void *arg)
{
    for (uint32_t index = 1; index < table->fresh; index++) {
        const struct viv_htab_entry *entry = viv_htab_entry_at(table, index);
        if ((word_of(entry) & VIV_ENTRY_LIVE) != 0) visit(arg, viv_htab_entry_res(entry));
    }
}

static void check_grants(struct viv_htab *tab, struct viv_htab_counts *counts)
{
    for (uint32_t index = 1; index < tab->handles.fresh; index++) {
        const struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, index);
        const uint64_t word = word_of(entry);
        if ((word & VIV_ENTRY_LIVE) == 0) continue;
        const struct viv_grant *grant = viv_htab__grant_of(entry);
        const bool is_revoked = (word & VIV_ENTRY_REVOKED) != 0;
        if (grant == NULL) {
            counts->is_grant_wrong |= is_revoked;
            continue;
        }
        counts->grants++;
        counts->is_grant_wrong |=
            !viv_grant__is_of(grant, tab, index) || grant->rights != (viv_rights)word ||
            is_revoked != ((grant->flags & VIV_GRANT_REVOKED) != 0) || !viv_grant__is_sound(grant);
    }
}

struct viv_htab_counts viv_htab__each(struct viv_htab *tab,
                                      void (*visit)(void *arg, const struct viv_res *res),
                                      void *arg)
{
    each_of(&tab->handles, visit, arg);
    each_of(&tab->futures, visit, arg);
    struct viv_htab_counts counts = {.handles = tab->handles.used,
                                     .futures = tab->futures.used,
                                     .prepaid = tab->prepaid,
                                     .account = tab->account};
    check_grants(tab, &counts);
    return counts;
}
