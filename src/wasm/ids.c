// SPDX-License-Identifier: Apache-2.0
// lunatic's numbers: a trie a kind, from number to handle. Numbers only grow, so a dropped one
// never comes back. A handle that was closed by its own name leaves a number that is unknown from
// then on.
#include "wasm/ids.h"

#include "base/alloc.h"
#include "base/limits.h"
#include "wasm/inst.h"

struct number {
    struct viv_trie_node node; // key: the id
    viv_handle hdl;
};

static struct number *number_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct number, node);
}

static viv_kind kind_of(enum viv_id_kind kind)
{
    static const viv_kind kinds[] = {[VIV_ID_CONFIG] = VIV_KIND_CONFIG,
                                     [VIV_ID_MODULE] = VIV_KIND_MODULE,
                                     [VIV_ID_TIMER] = VIV_KIND_TIMER,
                                     [VIV_ID_ERROR] = VIV_KIND_ERROR};
    return kinds[kind];
}

void viv_ids_init(struct viv_ids *ids)
{
    *ids = (struct viv_ids){0};
    ids->next[VIV_ID_ERROR] = 1; // error 0 is the permanent `timed out`
}

bool viv_ids_clear(struct viv_ids *ids, uint32_t budget)
{
    for (int kind = 0; kind < VIV_ID_KIND_COUNT; kind++) {
        for (struct viv_trie_node *node; (node = viv_trie_pop(&ids->by_id[kind])) != NULL;) {
            viv_free(number_of(node), sizeof(struct number), VIV_TAG_WASM);
            if (--budget == 0) return false;
        }
    }
    return true;
}

enum viv_err viv_ids_put(struct viv_inst *inst, enum viv_id_kind kind, viv_handle hdl,
                         uint64_t *out_id)
{
    struct viv_ids *ids = &inst->ids;
    bool is_full = ids->by_id[kind].count >= VIV_WASM_IDS_MAX;
    struct number *number = is_full ? NULL : viv_try_alloc(sizeof(*number), VIV_TAG_WASM);
    if (number == NULL) {
        viv_held_close(inst, hdl);
        return is_full ? VIV_E_QUOTA : VIV_E_EXHAUSTED;
    }
    number->hdl = hdl;
    *out_id = ids->next[kind]++;
    viv_trie_insert(&ids->by_id[kind], *out_id, &number->node);
    return VIV_OK;
}

enum viv_err viv_ids_add(struct viv_inst *inst, enum viv_id_kind kind, void *object,
                         uint64_t *out_id)
{
    viv_handle hdl;
    VIV_TRY(viv_held_add(inst, kind_of(kind), object, &hdl));
    return viv_ids_put(inst, kind, hdl, out_id);
}

viv_handle viv_ids_handle(const struct viv_ids *ids, enum viv_id_kind kind, uint64_t id)
{
    struct viv_trie_node *node = viv_trie_find(&ids->by_id[kind], id);
    return node == NULL ? (viv_handle){0} : number_of(node)->hdl;
}

void *viv_ids_find(struct viv_inst *inst, enum viv_id_kind kind, uint64_t id)
{
    viv_handle hdl = viv_ids_handle(&inst->ids, kind, id);
    void *object;
    return hdl.w != 0 && viv_held_use(inst, hdl, kind_of(kind), 0, &object) == VIV_OK ? object
                                                                                      : NULL;
}

bool viv_ids_drop(struct viv_inst *inst, enum viv_id_kind kind, uint64_t id)
{
    struct viv_trie_node *node = viv_trie_find(&inst->ids.by_id[kind], id);
    if (node == NULL) return false;
    struct number *number = number_of(node);
    void *object;
    bool is_known = viv_held_use(inst, number->hdl, kind_of(kind), 0, &object) == VIV_OK;
    viv_trie_remove(&inst->ids.by_id[kind], node);
    viv_held_close(inst, number->hdl);
    viv_free(number, sizeof(*number), VIV_TAG_WASM);
    return is_known;
}

size_t viv_ids_count(const struct viv_ids *ids, enum viv_id_kind kind)
{
    return ids->by_id[kind].count;
}

void viv_ids_sweep(struct viv_inst *inst, enum viv_id_kind kind, bool (*keep)(const void *object))
{
    struct viv_trie kept = {0}, *all = &inst->ids.by_id[kind];
    for (struct viv_trie_node *node; (node = viv_trie_pop(all)) != NULL;) {
        struct number *number = number_of(node);
        void *object;
        bool is_live = viv_held_use(inst, number->hdl, kind_of(kind), 0, &object) == VIV_OK;
        if (is_live && keep(object)) {
            viv_trie_insert(&kept, node->key, node);
        } else {
            viv_held_close(inst, number->hdl);
            viv_free(number, sizeof(*number), VIV_TAG_WASM);
        }
    }
    *all = kept;
}
