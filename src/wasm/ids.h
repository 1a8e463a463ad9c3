// SPDX-License-Identifier: Apache-2.0
// lunatic's numbers: per kind from 0 (errors from 1), never reused, each for a handle of the
// process's table. Threads: the process's own.
#ifndef VIV_WASM_IDS_H
#define VIV_WASM_IDS_H

#include "base/trie.h"
#include "wasm/held.h"

enum viv_id_kind { VIV_ID_CONFIG, VIV_ID_MODULE, VIV_ID_TIMER, VIV_ID_ERROR, VIV_ID_KIND_COUNT };

struct viv_ids {
    struct viv_trie by_id[VIV_ID_KIND_COUNT];
    uint64_t next[VIV_ID_KIND_COUNT];
};

void viv_ids_init(struct viv_ids *ids);
// Forgets up to budget numbers; what they stood for is the registry's. True: none left.
bool viv_ids_clear(struct viv_ids *ids, uint32_t budget);
// A number for a handle that has none; on an error the handle is closed. Errors: QUOTA
// (VIV_WASM_IDS_MAX of a kind), EXHAUSTED.
enum viv_err viv_ids_put(struct viv_inst *inst, enum viv_id_kind kind, viv_handle hdl,
                         uint64_t *out_id) VIV_MUST_CHECK;
// A number for a new resource. Errors: as viv_ids_put, viv_held_add.
enum viv_err viv_ids_add(struct viv_inst *inst, enum viv_id_kind kind, VIV_OWN void *object,
                         uint64_t *out_id) VIV_MUST_CHECK;
// The object, valid until the slice ends or the number is dropped. NULL: unknown.
void *viv_ids_find(struct viv_inst *inst, enum viv_id_kind kind, uint64_t id);
viv_handle viv_ids_handle(const struct viv_ids *ids, enum viv_id_kind kind, uint64_t id); // 0: none
bool viv_ids_drop(struct viv_inst *inst, enum viv_id_kind kind, uint64_t id); // false: unknown
size_t viv_ids_count(const struct viv_ids *ids, enum viv_id_kind kind);
// Drops the numbers of a kind that need not be kept. Cost: linear.
void viv_ids_sweep(struct viv_inst *inst, enum viv_id_kind kind, bool (*keep)(const void *object));

#endif
