// SPDX-License-Identifier: Apache-2.0
// WASI preview 1: what a process has of it. The handlers of the 46 functions are declared in the
// generated table of imports. The design is in WASI.md.
#ifndef VIV_WASM_WASI_H
#define VIV_WASM_WASI_H

#include "wasm/inst.h"

// Directories of a process, opened: immutable, reference-counted, shared by parent and child where
// both have the same. Thread: any.
struct viv_dirs;

// At the child's birth, on its worker: makes inst->wasi. Without inst->dirs the directories of
// inst->config are opened by their host paths, which only a process without a parent may ask for.
// Errors: DENIED, NOTFOUND, NOTDIR, UNSUPPORTED (no openat2), IO, EXHAUSTED; one line in diag.
// Blocks: in open(2) of those paths.
enum viv_err viv_wasi_new(struct viv_inst *inst, struct viv_diag *diag) VIV_MUST_CHECK;
// Closes every descriptor and drops inst->dirs. What a pool still works on is closed when it
// returns. No operation of the instance is left.
void viv_wasi_free(struct viv_inst *inst);

// On the parent's side of a spawn: the directories of a child with that config, each the parent's
// own or opened beneath one of them. *out_dirs (NULL: none) is the caller's reference; it goes into
// viv_spawn_spec.dirs. Errors: as viv_wasi_new; DENIED: outside.
enum viv_err viv_wasi_check_dirs(const struct viv_inst *parent, const struct viv_config *config,
                                 struct viv_dirs **out_dirs, struct viv_diag *diag) VIV_MUST_CHECK;
struct viv_dirs *viv_dirs_take(struct viv_dirs *dirs); // NULL is allowed in both
void viv_dirs_drop(struct viv_dirs *dirs);

#endif
