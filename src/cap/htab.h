// SPDX-License-Identifier: Apache-2.0
// Handle tables: the registry's view of one process. A handle is a small positive number: index in
// bits 0-19 (from 1), generation in bits 20-30.
//
// Thread, unless a function says otherwise: the instance's own, in a read section. Look-ups take no
// lock and write nothing. Order of checks, the first that fails is the answer: BADHANDLE, REVOKED,
// KIND, RIGHTS, then GONE or STATE.
//
// The structs stand here for viv_res_use, which must cost a few nanoseconds; their fields are this
// room's.
#ifndef VIV_CAP_HTAB_H
#define VIV_CAP_HTAB_H

#include "base/list.h"
#include "base/spin.h"
#include "cap/reg.h"
#include "proc/pid.h"

struct viv_session;
struct viv_share;

#define VIV_HANDLE_INDEX_BITS 20
#define VIV_HTAB_PAGE_ENTRIES 64u

// Layout of viv_htab_entry.word: rights 0-31, kind 32-45, generation 46-56, then
#define VIV_ENTRY_LIVE (UINT64_C(1) << 57)
// Bit 58 stays 0: that the pointer is to a grant is said by its lowest bit.
#define VIV_ENTRY_REVOKED (UINT64_C(1) << 59)
#define VIV_ENTRY_RESERVED (UINT64_C(1) << 60) // taken, not published
#define VIV_ENTRY_KIND_SHIFT 32
#define VIV_ENTRY_GEN_SHIFT 46
#define VIV_ENTRY_CHECKED (~UINT64_C(0xFFFFFFFF))

struct viv_htab_entry {
    _Atomic uint64_t word; // free: the next free index in bits 0-31
    _Atomic uintptr_t ref; // the record; or, | 1, a struct viv_grant, whose first field names it
};

struct viv_htab_dir {
    struct viv_qsbr_item retired;
    uint32_t capacity;
    _Atomic(struct viv_htab_entry *) pages[];
};

struct viv_htab_table {
    _Atomic(struct viv_htab_dir *) dir; // NULL: no entry yet; grows by copy and publish
    // Under the table's lock:
    uint32_t fresh;                   // next index that was never used
    uint32_t free;                    // most recently freed; 0: none
    uint32_t spent_first, spent_last; // indices whose generations are spent, oldest first
    uint32_t used;                    // entries taken
    enum viv_counter counter;
};

#define VIV_EXT_MAX 16
enum viv_ext { VIV_EXT_PROCESS, VIV_EXT_FUTURES }; // numbers of host data; up to VIV_EXT_MAX - 1

struct viv_htab {
    struct viv_htab_table handles;
    struct viv_htab_table futures;
    struct viv_spin lock;
    bool is_closed;           // under lock
    uint64_t prepaid;         // under lock: resources registrars have charged and not made
    uint32_t registrar_count; // under lock
    struct viv_list ops;      // under lock: parked operations (op.h)
    struct viv_reg *reg;
    struct viv_res *res; // of the instance itself
    viv_rid rid;
    viv_rid process;             // owns what is inserted
    struct viv_account *account; // pays for entries
    viv_rid env;                 // where its shared handles are valid; none: the runtime
    viv_pid pid;                 // of its process, for audit; none: a host's own table
    struct viv_session *session; // what its process may do; NULL: everything (a host's own table)
    struct viv_share *shares; // made through it, and paid for by its account; the relations' lock
    uint32_t guesses;         // failed attaches that are left, and since when
    uint64_t guesses_ns;
    struct {
        void *value;
        void (*drop)(void *value);
    } exts[VIV_EXT_MAX];
};

// The instance resource and its tables, empty. Errors: QUOTA, EXHAUSTED.
enum viv_err viv_res_instance(struct viv_reg *reg, struct viv_htab **out_tab) VIV_MUST_CHECK;
// Before the first insert. Errors: NOTFOUND, KIND, STATE (has another, or handles), as set_owner.
enum viv_err viv_res_set_process_id(struct viv_htab *tab, viv_rid proc) VIV_MUST_CHECK;
viv_rid viv_res_process_id(const struct viv_htab *tab); // none: unset
viv_rid viv_res_instance_id(const struct viv_htab *tab);

// add, and a handle to it. The process becomes the owner (spec->owner before it is set). Errors: as
// viv_res_add, NOINSTANCE, INVAL (rights the kind does not have).
enum viv_err viv_res_insert(struct viv_htab *tab, const struct viv_res_spec *spec,
                            VIV_OWN void *obj, viv_rights rights,
                            viv_handle *out_hdl) VIV_MUST_CHECK;
// A handle through which something is made, and what must be true of it.
struct viv_res_via {
    viv_handle hdl;
    viv_kind kind;
    viv_rights need;
};
// Makes a child of the resource behind a handle, through that handle: checks it, then inserts with
// its resource as the parent. What is made through a derived handle ends (why REVOKED) when that is
// revoked. Errors: those of a handle, as viv_res_insert.
enum viv_err viv_res_insert_below(struct viv_htab *tab, const struct viv_res_via *via,
                                  const struct viv_res_spec *spec, VIV_OWN void *obj,
                                  viv_rights rights, viv_handle *out_hdl) VIV_MUST_CHECK;
// One more handle to a resource; for the host only. Errors: NOTFOUND, QUOTA, NOINSTANCE, EXHAUSTED,
// INVAL (rights).
enum viv_err viv_res_insert_id(struct viv_htab *tab, viv_rid rid, viv_rights rights,
                               viv_handle *out_hdl) VIV_MUST_CHECK;
// Errors: BADHANDLE.
enum viv_err viv_res_entry(const struct viv_htab *tab, viv_handle hdl,
                           viv_rid *out_rid) VIV_MUST_CHECK;
// What a handle is and allows, whatever has become of its resource. Errors: BADHANDLE.
enum viv_err viv_res_look(const struct viv_htab *tab, viv_handle hdl, viv_kind *out_kind,
                          viv_rights *out_rights) VIV_MUST_CHECK;
// As viv_res_with, after the checks of a handle.
enum viv_err viv_res_with_handle(struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                                 viv_rights need, viv_res_fn fn, void *ctx) VIV_MUST_CHECK;
// Needs DESTROY; frees handle and resource together. Errors: those of a handle, INVAL, BUSY.
enum viv_err viv_res_remove_handle(struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                                   void **out_obj) VIV_MUST_CHECK;
// Frees the handle; the resource stays with its owner, even without holds. Errors: BADHANDLE.
enum viv_err viv_res_detach_slot(struct viv_htab *tab, viv_handle hdl,
                                 viv_rid *out_rid) VIV_MUST_CHECK;
// Frees the handle, and with the last hold the resource, if its kind says so. Errors: BADHANDLE.
enum viv_err viv_res_close(struct viv_htab *tab, viv_handle hdl) VIV_MUST_CHECK;
// One more handle with some of the rights. Errors: BADHANDLE, REVOKED, RIGHTS, GONE, QUOTA,
// EXHAUSTED, NOINSTANCE.
enum viv_err viv_res_dup(struct viv_htab *tab, viv_handle hdl, viv_rights rights,
                         viv_handle *out_hdl) VIV_MUST_CHECK;

struct viv_fut; // cap/fut.h
// Futures are numbered apart from handles. Each is a resource of kind future that the process owns.
// Errors: QUOTA, NOINSTANCE, EXHAUSTED.
enum viv_err viv_res_insert_future(struct viv_htab *tab, VIV_OWN struct viv_fut *fut,
                                   viv_handle *out_hdl) VIV_MUST_CHECK;
// Errors: BADHANDLE, GONE.
enum viv_err viv_res_future_state(const struct viv_htab *tab, viv_handle hdl,
                                  struct viv_fut **out_fut) VIV_MUST_CHECK;
// Hands the future back. Errors: BADHANDLE, GONE, BUSY (pinned).
enum viv_err viv_res_remove_future(struct viv_htab *tab, viv_handle hdl,
                                   struct viv_fut **out_fut) VIV_MUST_CHECK;

// Host data; the value before is dropped, and the last one with the instance. Errors: INVAL (the
// number; then value is dropped), NOINSTANCE (as INVAL).
enum viv_err viv_res_insert_extension(struct viv_htab *tab, uint32_t ext, VIV_OWN void *value,
                                      void (*drop)(void *value)) VIV_MUST_CHECK;
void *viv_res_extension(const struct viv_htab *tab, uint32_t ext); // NULL: absent
// Closes both tables and ends the instance; the memory goes a grace period later.
void viv_res_instance_drop(struct viv_htab *tab);

// The slow path of viv_res_use: names the reason, or OK.
enum viv_err viv_htab_use_slow(const struct viv_htab *tab, viv_handle hdl, viv_kind kind,
                               viv_rights need, void **out_obj) VIV_MUST_CHECK;

// NULL: no such entry was ever made.
static inline struct viv_htab_entry *viv_htab_entry_at(const struct viv_htab_table *table,
                                                       uint32_t index)
{
    // Acquire, here and for the page: pairs with the release stores that publish them.
    const struct viv_htab_dir *dir = atomic_load_explicit(&table->dir, memory_order_acquire);
    const uint32_t page_index = index / VIV_HTAB_PAGE_ENTRIES;
    if (VIV_UNLIKELY(dir == NULL || page_index >= dir->capacity)) return NULL;
    struct viv_htab_entry *page =
        atomic_load_explicit(&dir->pages[page_index], memory_order_acquire);
    return VIV_LIKELY(page != NULL) ? &page[index % VIV_HTAB_PAGE_ENTRIES] : NULL;
}

// The record of an entry whose word was live.
static inline struct viv_res *viv_htab_entry_res(const struct viv_htab_entry *entry)
{
    // Relaxed: ordered by the word; a grant is published by the same thread, or under the lock.
    const uintptr_t ref = atomic_load_explicit(&entry->ref, memory_order_relaxed);
    if (VIV_LIKELY((ref & 1) == 0)) return (struct viv_res *)ref;
    return *(struct viv_res **)(ref - 1);
}

// The object behind a handle, valid until the thread's next quiescent state.
static inline VIV_MUST_CHECK enum viv_err viv_res_use(const struct viv_htab *tab, viv_handle hdl,
                                                      viv_kind kind, viv_rights need,
                                                      void **out_obj)
{
    const uint32_t index = hdl.w & ((1u << VIV_HANDLE_INDEX_BITS) - 1);
    const struct viv_htab_entry *entry = viv_htab_entry_at(&tab->handles, index);
    if (VIV_UNLIKELY(entry == NULL)) return VIV_E_BADHANDLE;
    // Acquire pairs with the release that published the entry: its pointer is seen.
    const uint64_t word = atomic_load_explicit(&entry->word, memory_order_acquire);
    // A sum, so that bit 31 of a number that is no handle carries into bit 58, which then differs.
    const uint64_t want = VIV_ENTRY_LIVE +
                          ((uint64_t)(hdl.w >> VIV_HANDLE_INDEX_BITS) << VIV_ENTRY_GEN_SHIFT) +
                          ((uint64_t)kind << VIV_ENTRY_KIND_SHIFT);
    if (VIV_LIKELY((word & VIV_ENTRY_CHECKED) == want && (word & need) == need)) {
        const struct viv_res *res = viv_htab_entry_res(entry);
        // Acquire pairs with the release that published the object.
        const uint64_t state = atomic_load_explicit(&res->state, memory_order_acquire);
        if (VIV_LIKELY((state >> VIV_RES_PHASE_SHIFT & 7) == VIV_RES_LIVE)) {
            *out_obj = res->obj;
            return VIV_OK;
        }
    }
    return viv_htab_use_slow(tab, hdl, kind, need, out_obj);
}

#endif
