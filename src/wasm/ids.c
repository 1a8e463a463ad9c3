// SPDX-License-Identifier: Apache-2.0
// Numbers of a guest: a trie a kind, from number to entry. Numbers only grow, so a dropped one
// never comes back. Threads: the process's own.
#include "wasm/ids.h"

#include "base/alloc.h"
#include "base/limits.h"

struct entry {
    struct viv_trie_node node; // key: the id
    void *object;
};

static struct entry *entry_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct entry, node);
}

void viv_ids_init(viv_ids *ids)
{
    *ids = (viv_ids){0};
    ids->next[VIV_ID_ERROR] = 1; // error 0 is the permanent `timed out`
}

enum viv_err viv_ids_add(viv_ids *ids, enum viv_id_kind kind, void *object, uint64_t *out_id)
{
    if (ids->by_id[kind].count >= VIV_WASM_IDS_MAX) return VIV_E_QUOTA;
    struct entry *entry = viv_try_alloc(sizeof(*entry), VIV_TAG_WASM);
    if (entry == NULL) return VIV_E_EXHAUSTED;
    entry->object = object;
    *out_id = ids->next[kind]++;
    viv_trie_insert(&ids->by_id[kind], *out_id, &entry->node);
    return VIV_OK;
}

void *viv_ids_find(const viv_ids *ids, enum viv_id_kind kind, uint64_t id)
{
    struct viv_trie_node *node = viv_trie_find(&ids->by_id[kind], id);
    return node == NULL ? NULL : entry_of(node)->object;
}

void *viv_ids_remove(viv_ids *ids, enum viv_id_kind kind, uint64_t id)
{
    struct viv_trie_node *node = viv_trie_find(&ids->by_id[kind], id);
    if (node == NULL) return NULL;
    viv_trie_remove(&ids->by_id[kind], node);
    struct entry *entry = entry_of(node);
    void *object = entry->object;
    viv_free(entry, sizeof(*entry), VIV_TAG_WASM);
    return object;
}

size_t viv_ids_count(const viv_ids *ids, enum viv_id_kind kind)
{
    return ids->by_id[kind].count;
}

void *viv_ids_pop(viv_ids *ids, enum viv_id_kind kind)
{
    struct viv_trie_node *node = viv_trie_pop(&ids->by_id[kind]);
    if (node == NULL) return NULL;
    struct entry *entry = entry_of(node);
    void *object = entry->object;
    viv_free(entry, sizeof(*entry), VIV_TAG_WASM);
    return object;
}

void viv_ids_sweep(viv_ids *ids, enum viv_id_kind kind, bool (*keep)(const void *object),
                   void (*drop)(void *object))
{
    struct viv_trie kept = {0};
    for (struct viv_trie_node *node; (node = viv_trie_pop(&ids->by_id[kind])) != NULL;) {
        struct entry *entry = entry_of(node);
        if (keep(entry->object)) {
            viv_trie_insert(&kept, node->key, node);
        } else {
            drop(entry->object);
            viv_free(entry, sizeof(*entry), VIV_TAG_WASM);
        }
    }
    ids->by_id[kind] = kept;
}
