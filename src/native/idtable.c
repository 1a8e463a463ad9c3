// SPDX-License-Identifier: Apache-2.0
// An open table of slots {tag, entry}, probed linearly from the hash on.
//
//   tag 0: never used, a probe ends here     tag, no entry: removed, a probe goes on
//
// 1. The hash is SipHash-2-4-128 of the id under a key of this table; its first half is the tag.
// 2. A slot with the tag leads to an entry, which is compared whole: hash, then the id in constant
//    time. A reader may meet a slot between two stores; that comparison is what it believes.
// 3. A look-up that finds nothing compares with some entry all the same, so that both take as long.
// 4. Writers hold the lock. A larger array is filled and then published; the old one is retired.
#include "native/idtable.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/spin.h"
#include "base/text.h"
#include "cap/retire.h"
#include "native/secret.h"
#include <string.h>

enum { FIRST_SLOTS = 64 };

struct viv_prog_entry {
    struct viv_qsbr_item item;
    struct viv_prog_ids *ids;
    struct viv_prog_id *id; // a secret cell
    void *obj;
    uint64_t hash[2];
};

struct slot {
    _Atomic uint64_t tag;
    _Atomic(struct viv_prog_entry *) entry;
};

struct array {
    struct viv_qsbr_item item;
    uint64_t mask;
    struct slot slots[];
};

struct viv_prog_ids {
    uint8_t key[VIV_SIPHASH_KEY_BYTES];
    struct viv_prog_random random;
    _Atomic(struct array *) array;
    struct viv_spin lock;
    struct viv_secrets secrets;   // under the lock
    struct viv_prog_entry *decoy; // of an empty table; nobody's id
    uint64_t used_slots;          // under the lock: with a tag
    _Atomic uint64_t count;
};

static size_t array_bytes(uint64_t slots)
{
    return sizeof(struct array) + (size_t)slots * sizeof(struct slot);
}

static void free_array(struct viv_qsbr_item *item)
{
    struct array *array = VIV_CONTAINER_OF(item, struct array, item);
    viv_free(array, array_bytes(array->mask + 1), VIV_TAG_NATIVE);
}

static struct array *new_array(uint64_t slots)
{
    struct array *array = viv_try_calloc(1, array_bytes(slots), VIV_TAG_NATIVE);
    if (array != NULL) array->mask = slots - 1;
    return array;
}

static struct array *array_of(struct viv_prog_ids *ids)
{
    return atomic_load_explicit(&ids->array, memory_order_acquire); // pairs with grow_locked
}

static void hash_id(const struct viv_prog_ids *ids, const struct viv_prog_id *id, uint64_t hash[2])
{
    viv_siphash_128(ids->key, id->b, sizeof id->b, hash);
    hash[0] |= hash[0] == 0; // 0 is no tag
}

// ---- look-up ----

static struct viv_prog_entry *entry_at(const struct slot *slot)
{
    return atomic_load_explicit(&slot->entry, memory_order_acquire); // pairs with put_locked
}

static uint64_t tag_at(const struct slot *slot)
{
    return atomic_load_explicit(&slot->tag, memory_order_acquire); // pairs with put_locked
}

// The slot with the hash, or NULL; *out_near is then some entry that was met.
static struct slot *probe(struct array *array, const uint64_t hash[2],
                          struct viv_prog_entry **out_near)
{
    for (uint64_t i = hash[0];; i++) {
        struct slot *slot = &array->slots[i & array->mask];
        const uint64_t tag = tag_at(slot);
        if (tag == 0) return NULL; // there is always one
        struct viv_prog_entry *entry = entry_at(slot);
        if (entry == NULL) continue;
        *out_near = entry;
        if (tag == hash[0] && entry->hash[0] == hash[0] && entry->hash[1] == hash[1]) return slot;
    }
}

// Some entry behind the place where a probe ended.
static struct viv_prog_entry *find_near(struct viv_prog_ids *ids, struct array *array, uint64_t at)
{
    enum { LOOKS = 8 };
    for (uint64_t i = 0; i < LOOKS; i++) {
        struct viv_prog_entry *entry = entry_at(&array->slots[(at + i) & array->mask]);
        if (entry != NULL) return entry;
    }
    return ids->decoy;
}

void *viv_prog_ids_find(struct viv_prog_ids *ids, const struct viv_prog_id *id)
{
    uint64_t hash[2];
    struct viv_prog_entry *entry = NULL;
    struct array *array = array_of(ids);
    hash_id(ids, id, hash);
    const bool has_slot = probe(array, hash, &entry) != NULL;
    if (entry == NULL) entry = find_near(ids, array, hash[0]);
    const bool is_same = viv_prog_id_eq(entry->id, id);
    return has_slot && is_same ? entry->obj : NULL;
}

void *viv_prog_ids_find_text(struct viv_prog_ids *ids, const char *text, size_t len)
{
    // What is malformed stands for some id, which costs what a good one does.
    char digits[VIV_PROG_ID_CHARS];
    struct viv_prog_id id;
    memset(digits, 'a', sizeof digits);
    if (len > 0) memcpy(digits, text, viv_min_u64(len, sizeof digits));
    const bool is_id = viv_base32_decode(digits, sizeof digits, id.b, sizeof id.b) == VIV_OK &&
                       len == sizeof digits;
    void *obj = viv_prog_ids_find(ids, &id);
    viv_wipe(&id, sizeof id);
    viv_wipe(digits, sizeof digits);
    return is_id ? obj : NULL;
}

uint64_t viv_prog_ids_count(struct viv_prog_ids *ids)
{
    return atomic_load_explicit(&ids->count, memory_order_relaxed); // for people
}

// ---- change ----

static struct array *own_array(struct viv_prog_ids *ids)
{
    return atomic_load_explicit(&ids->array, memory_order_relaxed); // under the lock
}

// The first slot without an entry. True: it had no tag before.
static bool put_locked(struct array *array, struct viv_prog_entry *entry)
{
    uint64_t i = entry->hash[0];
    while (entry_at(&array->slots[i & array->mask]) != NULL)
        i++;
    struct slot *slot = &array->slots[i & array->mask];
    const bool is_fresh = tag_at(slot) == 0;
    // Release: with what the entry holds; the tag last, since it is what a probe looks for.
    atomic_store_explicit(&slot->entry, entry, memory_order_release);
    atomic_store_explicit(&slot->tag, entry->hash[0], memory_order_release);
    return is_fresh;
}

// A quarter of the slots at least has no tag, so that probes end. Errors: EXHAUSTED.
static enum viv_err reserve_locked(struct viv_prog_ids *ids, struct array **out_old)
{
    struct array *old = own_array(ids);
    const uint64_t slots = old->mask + 1;
    *out_old = NULL;
    if (ids->used_slots + 1 <= slots / 4 * 3) return VIV_OK;
    // Relaxed: changes under the lock only.
    const uint64_t count = atomic_load_explicit(&ids->count, memory_order_relaxed);
    struct array *array = new_array(count + 1 > slots / 8 * 3 ? 2 * slots : slots);
    if (array == NULL) return VIV_E_EXHAUSTED;
    for (uint64_t i = 0; i < slots; i++) {
        struct viv_prog_entry *entry = entry_at(&old->slots[i]);
        if (entry != NULL) (void)put_locked(array, entry);
    }
    ids->used_slots = count;
    // Release: with its entries.
    atomic_store_explicit(&ids->array, array, memory_order_release);
    *out_old = old;
    return VIV_OK;
}

static void free_entry(struct viv_qsbr_item *item)
{
    struct viv_prog_entry *entry = VIV_CONTAINER_OF(item, struct viv_prog_entry, item);
    struct viv_prog_ids *ids = entry->ids;
    viv_spin_lock(&ids->lock);
    viv_secrets_give(&ids->secrets, entry->id);
    viv_spin_unlock(&ids->lock);
    viv_free(entry, sizeof *entry, VIV_TAG_NATIVE);
}

// With a cell, and no id yet. NULL: no memory.
static struct viv_prog_entry *new_entry(struct viv_prog_ids *ids, void *obj)
{
    struct viv_prog_entry *entry = viv_try_alloc(sizeof *entry, VIV_TAG_NATIVE);
    if (entry == NULL) return NULL;
    viv_spin_lock(&ids->lock);
    void *cell = viv_secrets_take(&ids->secrets);
    viv_spin_unlock(&ids->lock);
    *entry = (struct viv_prog_entry){.ids = ids, .id = cell, .obj = obj};
    if (cell != NULL) return entry;
    viv_free(entry, sizeof *entry, VIV_TAG_NATIVE);
    return NULL;
}

// Errors: EXISTS, EXHAUSTED.
static enum viv_err insert(struct viv_prog_ids *ids, struct viv_prog_entry *entry)
{
    struct viv_prog_entry *near = NULL;
    struct array *old = NULL;
    hash_id(ids, entry->id, entry->hash);
    viv_spin_lock(&ids->lock);
    enum viv_err err = probe(own_array(ids), entry->hash, &near) != NULL ? VIV_E_EXISTS : VIV_OK;
    if (err == VIV_OK) err = reserve_locked(ids, &old);
    if (err == VIV_OK) {
        ids->used_slots += put_locked(own_array(ids), entry);
        // Relaxed: a sum.
        atomic_fetch_add_explicit(&ids->count, 1, memory_order_relaxed);
    }
    viv_spin_unlock(&ids->lock);
    if (old != NULL) viv_cap_retire(&old->item, free_array);
    return err;
}

enum viv_err viv_prog_ids_adopt(struct viv_prog_ids *ids, const struct viv_prog_id *id, void *obj,
                                struct viv_prog_entry **out_entry, struct viv_diag *diag)
{
    struct viv_prog_entry *entry = new_entry(ids, obj);
    if (entry == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "memory");
    *entry->id = *id;
    const enum viv_err err = insert(ids, entry);
    if (err != VIV_OK) {
        free_entry(&entry->item);
        return viv_diag_set(diag, err, "%s", err == VIV_E_EXISTS ? "id" : "memory");
    }
    *out_entry = entry;
    return VIV_OK;
}

enum viv_err viv_prog_ids_add(struct viv_prog_ids *ids, void *obj,
                              struct viv_prog_entry **out_entry, struct viv_diag *diag)
{
    struct viv_prog_entry *entry = new_entry(ids, obj);
    if (entry == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "memory");
    const char *detail = "ids";
    enum viv_err err = VIV_E_EXISTS;
    for (uint32_t i = 0; i < VIV_PROG_MINT_TRIES && err == VIV_E_EXISTS; i++) {
        err = viv_prog_id_mint(&ids->random, entry->id, NULL);
        if (err != VIV_OK)
            detail = "entropy";
        else if ((err = insert(ids, entry)) == VIV_E_EXHAUSTED)
            detail = "memory";
    }
    if (err != VIV_OK) {
        free_entry(&entry->item);
        return viv_diag_set(diag, VIV_E_EXHAUSTED, "%s", detail);
    }
    *out_entry = entry;
    return VIV_OK;
}

void viv_prog_ids_remove(struct viv_prog_ids *ids, struct viv_prog_entry *entry)
{
    struct viv_prog_entry *near = NULL;
    viv_spin_lock(&ids->lock);
    struct slot *slot = probe(own_array(ids), entry->hash, &near);
    VIV_ASSERT(slot != NULL && near == entry);
    // Release: as in put_locked. The tag stays, so that probes go on.
    atomic_store_explicit(&slot->entry, NULL, memory_order_release);
    atomic_fetch_sub_explicit(&ids->count, 1, memory_order_relaxed); // a sum
    viv_spin_unlock(&ids->lock);
    viv_cap_retire(&entry->item, free_entry);
}

const struct viv_prog_id *viv_prog_entry_id(const struct viv_prog_entry *entry)
{
    return entry->id;
}

enum viv_err viv_prog_ids_new(const struct viv_prog_random *random, struct viv_prog_ids **out_ids,
                              struct viv_diag *diag)
{
    struct viv_prog_ids *ids = viv_try_calloc(1, sizeof *ids, VIV_TAG_NATIVE);
    const char *detail = "memory";
    if (ids == NULL) goto fail;
    ids->random = *random;
    viv_spin_init(&ids->lock, VIV_LOCK_PROG_IDS);
    viv_secrets_init(&ids->secrets);
    struct array *array = new_array(FIRST_SLOTS);
    if (array == NULL) goto fail_ids;
    atomic_init(&ids->array, array);
    ids->decoy = new_entry(ids, NULL);
    if (ids->decoy == NULL) goto fail_array;
    detail = "entropy";
    if (random->fill(random->arg, ids->key, sizeof ids->key) != VIV_OK) goto fail_decoy;
    *out_ids = ids;
    return VIV_OK;

fail_decoy:
    free_entry(&ids->decoy->item);
fail_array:
    free_array(&array->item);
    viv_secrets_deinit(&ids->secrets);
fail_ids:
    viv_free(ids, sizeof *ids, VIV_TAG_NATIVE);
fail:
    return viv_diag_set(diag, VIV_E_EXHAUSTED, "%s", detail);
}

void viv_prog_ids_free(struct viv_prog_ids *ids)
{
    VIV_ASSERT(viv_prog_ids_count(ids) == 0);
    free_entry(&ids->decoy->item);
    viv_secrets_deinit(&ids->secrets);
    free_array(&own_array(ids)->item);
    viv_wipe(ids->key, sizeof ids->key);
    viv_free(ids, sizeof *ids, VIV_TAG_NATIVE);
}
