// SPDX-License-Identifier: Apache-2.0
// The handle table of the guest ABI `viv`; the layout is drawn in the header. Threads: the
// process's own.
#include "wasm/abi_handles.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "base/limits.h"

enum { FIRST_CAP = 16 };

void viv_abi_handles_init(struct viv_abi_handles *table, uint8_t index_bits,
                          uint8_t generation_bits)
{
    VIV_ASSERT(index_bits + generation_bits <= 31);
    *table = (struct viv_abi_handles){
        .count = 1, .index_bits = index_bits, .generation_bits = generation_bits};
}

void viv_abi_handles_deinit(struct viv_abi_handles *table)
{
    viv_free(table->entry, table->cap * sizeof(struct viv_abi_entry), VIV_TAG_WASM);
    table->entry = NULL;
    table->cap = 0;
}

static int64_t handle_of(const struct viv_abi_handles *table, uint32_t index)
{
    return (int64_t)index | (int64_t)table->entry[index].generation << table->index_bits;
}

static enum viv_err grow(struct viv_abi_handles *table)
{
    uint32_t cap = table->cap == 0 ? FIRST_CAP : table->cap * 2;
    struct viv_abi_entry *grown =
        viv_try_realloc(table->entry, table->cap * sizeof(struct viv_abi_entry),
                        cap * sizeof(struct viv_abi_entry), VIV_TAG_WASM);
    if (grown == NULL) return VIV_E_EXHAUSTED;
    table->entry = grown;
    table->cap = cap;
    return VIV_OK;
}

// The most recently freed index, else a fresh one, else the one retired longest.
static enum viv_err take_index(struct viv_abi_handles *table, uint32_t *out_index)
{
    uint32_t index = table->free_first;
    if (index != 0) {
        table->free_first = table->entry[index].next;
    } else if (table->count < UINT32_C(1) << table->index_bits) {
        if (table->count >= table->cap) VIV_TRY(grow(table));
        index = table->count++;
        table->entry[index] = (struct viv_abi_entry){0};
    } else if (table->retired_first != 0) {
        index = table->retired_first;
        table->retired_first = table->entry[index].next;
        if (table->retired_first == 0) table->retired_last = 0;
        table->entry[index].generation = 0;
    } else {
        return VIV_E_EXHAUSTED;
    }
    *out_index = index;
    return VIV_OK;
}

enum viv_err viv_abi_handles_add(struct viv_abi_handles *table, enum viv_id_kind kind, void *object,
                                 uint32_t rights, int64_t *out_handle)
{
    if (table->live[kind] >= VIV_WASM_IDS_MAX) return VIV_E_QUOTA;
    uint32_t index;
    VIV_TRY(take_index(table, &index));
    struct viv_abi_entry *entry = &table->entry[index];
    *entry = (struct viv_abi_entry){.object = object,
                                    .rights = rights & VIV_ABI_RIGHTS_ALL,
                                    .generation = entry->generation,
                                    .kind = (uint8_t)kind,
                                    .live = true};
    table->live[kind]++;
    *out_handle = handle_of(table, index);
    return VIV_OK;
}

struct viv_abi_entry *viv_abi_handles_find(const struct viv_abi_handles *table, int64_t handle)
{
    uint64_t bits = (uint64_t)handle;
    uint64_t index = bits & ((UINT64_C(1) << table->index_bits) - 1);
    if (index >= table->count || index == 0) return NULL;
    struct viv_abi_entry *entry = &table->entry[index];
    return entry->live && bits >> table->index_bits == entry->generation ? entry : NULL;
}

enum viv_err viv_abi_handles_use(const struct viv_abi_handles *table, int64_t handle,
                                 enum viv_id_kind kind, uint32_t rights, void **out_object)
{
    const struct viv_abi_entry *entry = viv_abi_handles_find(table, handle);
    if (entry == NULL) return VIV_E_BADHANDLE;
    if (entry->kind != kind) return VIV_E_KIND;
    if ((entry->rights & rights) != rights) return VIV_E_RIGHTS;
    *out_object = entry->object;
    return VIV_OK;
}

static void free_index(struct viv_abi_handles *table, uint32_t index)
{
    struct viv_abi_entry *entry = &table->entry[index];
    if (entry->generation + 1u < UINT32_C(1) << table->generation_bits) {
        entry->generation++;
        entry->next = table->free_first;
        table->free_first = index;
        return;
    }
    entry->next = 0;
    if (table->retired_last != 0)
        table->entry[table->retired_last].next = index;
    else
        table->retired_first = index;
    table->retired_last = index;
}

static void *remove_entry(struct viv_abi_handles *table, uint32_t index)
{
    struct viv_abi_entry *entry = &table->entry[index];
    void *object = entry->object;
    entry->object = NULL;
    entry->live = false;
    table->live[entry->kind]--;
    free_index(table, index);
    return object;
}

void *viv_abi_handles_remove(struct viv_abi_handles *table, int64_t handle)
{
    VIV_ASSERT(viv_abi_handles_find(table, handle) != NULL);
    uint64_t index = (uint64_t)handle & ((UINT64_C(1) << table->index_bits) - 1);
    return remove_entry(table, (uint32_t)index);
}

void *viv_abi_handles_pop(struct viv_abi_handles *table, enum viv_id_kind *out_kind)
{
    while (table->count > 1) {
        uint32_t index = table->count - 1;
        const struct viv_abi_entry *entry = &table->entry[index];
        if (!entry->live) {
            table->count--; // nothing is added any more
            continue;
        }
        *out_kind = (enum viv_id_kind)entry->kind;
        return remove_entry(table, index);
    }
    return NULL;
}
