// SPDX-License-Identifier: Apache-2.0
// Numbers a guest has for what it holds: one table a process, kinds side by side. lunatic's ids
// count from 0 per kind (errors from 1) and are never reused; the guest ABI `viv` sees handles of
// the same things (abi.c). An entry owns a reference; the kind's release function drops it.
#ifndef VIV_WASM_IDS_H
#define VIV_WASM_IDS_H

#include "base/err.h"
#include "base/trie.h"

enum viv_id_kind {
    VIV_ID_CONFIG, // struct viv_config
    VIV_ID_MODULE, // struct viv_module
    VIV_ID_TIMER,  // struct viv_send_timer
    VIV_ID_ERROR,  // struct viv_error_text
    VIV_ID_KIND_COUNT
};

typedef struct {
    struct viv_trie by_id[VIV_ID_KIND_COUNT];
    uint64_t next[VIV_ID_KIND_COUNT];
} viv_ids;

struct viv_inst;

void viv_ids_init(viv_ids *ids);
// Consumes the reference on success only. Errors: QUOTA (VIV_WASM_IDS_MAX of a kind), EXHAUSTED.
enum viv_err viv_ids_add(viv_ids *ids, enum viv_id_kind kind, void *object,
                         uint64_t *out_id) VIV_MUST_CHECK;
void *viv_ids_find(const viv_ids *ids, enum viv_id_kind kind, uint64_t id); // NULL: unknown
// Takes it out; the reference is the caller's. NULL: unknown.
void *viv_ids_remove(viv_ids *ids, enum viv_id_kind kind, uint64_t id);
size_t viv_ids_count(const viv_ids *ids, enum viv_id_kind kind);
// Takes any of a kind out; NULL: none left.
void *viv_ids_pop(viv_ids *ids, enum viv_id_kind kind);
// Drops the entries of a kind that need not be kept. Cost: linear.
void viv_ids_sweep(viv_ids *ids, enum viv_id_kind kind, bool (*keep)(const void *object),
                   void (*drop)(void *object));

#endif
