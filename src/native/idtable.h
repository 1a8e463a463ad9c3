// SPDX-License-Identifier: Apache-2.0
// From ids to programs. Look-ups take no lock and no longer for an id that is unknown, malformed or
// another's than for one that is found.
//
// Threads: any, in a reading section (a member of the kernel's QSBR domain that is online), since
// arrays and entries are retired; what find answers is valid within it. new and free: without
// others.
#ifndef VIV_NATIVE_IDTABLE_H
#define VIV_NATIVE_IDTABLE_H

#include "native/id.h"

#define VIV_PROG_MINT_TRIES 8

struct viv_prog_ids;   // the table: one a kernel
struct viv_prog_entry; // an id and its object

// The random function is kept. Errors: EXHAUSTED (`entropy`, `memory`).
enum viv_err viv_prog_ids_new(const struct viv_prog_random *random, struct viv_prog_ids **out_ids,
                              struct viv_diag *diag) VIV_MUST_CHECK;
// No entry is left, and what was retired has been freed.
void viv_prog_ids_free(struct viv_prog_ids *ids);

// A new id for the object. Errors: EXHAUSTED (`entropy`, `memory`, `ids`: each one that was minted
// collided).
enum viv_err viv_prog_ids_add(struct viv_prog_ids *ids, void *obj,
                              struct viv_prog_entry **out_entry,
                              struct viv_diag *diag) VIV_MUST_CHECK;
// For a program that had its id before this kernel. Errors: EXISTS, EXHAUSTED.
enum viv_err viv_prog_ids_adopt(struct viv_prog_ids *ids, const struct viv_prog_id *id, void *obj,
                                struct viv_prog_entry **out_entry,
                                struct viv_diag *diag) VIV_MUST_CHECK;
// Nobody finds it from now on. The entry goes after a grace period; so must the object.
void viv_prog_ids_remove(struct viv_prog_ids *ids, VIV_OWN struct viv_prog_entry *entry);
const struct viv_prog_id *viv_prog_entry_id(const struct viv_prog_entry *entry);

// NULL: not found.
void *viv_prog_ids_find(struct viv_prog_ids *ids, const struct viv_prog_id *id);
void *viv_prog_ids_find_text(struct viv_prog_ids *ids, const char *text, size_t len);
uint64_t viv_prog_ids_count(struct viv_prog_ids *ids);

#endif
