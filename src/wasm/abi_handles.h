// SPDX-License-Identifier: Apache-2.0
// Handles of the guest ABI `viv`: a table a process, from handle to object, kind and rights.
//
//   handle   bit 31: 0 │ 20 to 30: generation │ 0 to 19: index, from 1
//   index    fresh ──add──> live ──remove──> free (generation + 1, reused first) ──add──> live …
//                                     └──after 2 048 generations──> retired, until no other is left
//
// So 0 is never a handle, a fresh index reads as the small number it is, and a number that was
// given back returns only after all others of its index. Owner's thread only.
#ifndef VIV_WASM_ABI_HANDLES_H
#define VIV_WASM_ABI_HANDLES_H

#include "wasm/ids.h"

enum { VIV_ABI_INDEX_BITS = 20, VIV_ABI_GENERATION_BITS = 11 };
// Rights of a handle; the numbers are those of the guest ABI.
enum { VIV_ABI_USE = 1, VIV_ABI_SEND = 2, VIV_ABI_RIGHTS_ALL = 3 };

struct viv_abi_entry {
    void *object; // a reference
    uint32_t rights;
    uint32_t next; // free or retired: the next one of its list, 0: none
    uint16_t generation;
    uint8_t kind; // enum viv_id_kind
    bool live;
    bool marked; // for the use of whoever checks a list of handles
};

struct viv_abi_handles {
    struct viv_abi_entry *entry; // [0] is never used
    uint32_t count, cap;         // indexes ever used, [0] included
    uint32_t free_first;         // most recently freed
    uint32_t retired_first, retired_last;
    uint32_t live[VIV_ID_KIND_COUNT];
    uint8_t index_bits, generation_bits;
};

void viv_abi_handles_init(struct viv_abi_handles *table, uint8_t index_bits,
                          uint8_t generation_bits);
void viv_abi_handles_deinit(struct viv_abi_handles *table); // it is empty
// Consumes the reference on success only. Errors: QUOTA (VIV_WASM_IDS_MAX of a kind), EXHAUSTED.
enum viv_err viv_abi_handles_add(struct viv_abi_handles *table, enum viv_id_kind kind, void *object,
                                 uint32_t rights, int64_t *out_handle) VIV_MUST_CHECK;
// NULL: not a handle of this process. Valid until the next add.
struct viv_abi_entry *viv_abi_handles_find(const struct viv_abi_handles *table, int64_t handle);
// Checks a use in the contract's order. Errors: BADHANDLE, KIND, RIGHTS.
enum viv_err viv_abi_handles_use(const struct viv_abi_handles *table, int64_t handle,
                                 enum viv_id_kind kind, uint32_t rights,
                                 void **out_object) VIV_MUST_CHECK;
// The handle is live; the reference is the caller's from now on.
void *viv_abi_handles_remove(struct viv_abi_handles *table, int64_t handle);
// Takes any object out; NULL: none left.
void *viv_abi_handles_pop(struct viv_abi_handles *table, enum viv_id_kind *out_kind);

#endif
