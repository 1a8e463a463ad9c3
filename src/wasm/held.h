// SPDX-License-Identifier: Apache-2.0
// What a guest holds, as resources of the registry: modules, configs, timers, error texts, files
// and directories. Each has a handle in the process's table; the numbers that lunatic and WASI give
// their guests are maps onto handles (ids.h, wasi.c) and confer nothing.
//
//   kind            object                    owner            ends with
//   module          struct viv_module         the environment  its last handle or message
//   config, error   struct viv_config, …      the process      its handle
//   timer           struct viv_send_timer     the process      its handle; one for another process
//   fires file, dir       struct viv_wasi_fd        the process      its handle
//
// Threads: the process's own, except viv_held_bind.
#ifndef VIV_WASM_HELD_H
#define VIV_WASM_HELD_H

#include "cap/htab.h"

struct viv_inst;
struct viv_transit;

enum { VIV_HELD_KINDS = 6 };

// Gives the kinds above their functions. Errors: EXISTS.
enum viv_err viv_held_bind(struct viv_reg *reg) VIV_MUST_CHECK;

// Makes inst->tab. Errors: EXHAUSTED, QUOTA, NOINSTANCE.
enum viv_err viv_held_open(struct viv_inst *inst) VIV_MUST_CHECK;
// Counts a handle that came by other means; closes it when there are too many of its kind. Errors:
// QUOTA.
enum viv_err viv_held_count(struct viv_inst *inst, viv_handle hdl) VIV_MUST_CHECK;
// Whether the process may hold no more of a kind: VIV_WASM_IDS_MAX, or a limit of timers or fds.
bool viv_held_is_full(struct viv_inst *inst, viv_kind kind);
// The process ends: what it still holds does not count any more.
void viv_held_forget_all(struct viv_inst *inst);
// A new resource of the process, with all rights. Errors: QUOTA (also: full of that kind),
// EXHAUSTED, NOINSTANCE (the process is ending).
enum viv_err viv_held_add(struct viv_inst *inst, viv_kind kind, VIV_OWN void *object,
                          viv_handle *out_hdl) VIV_MUST_CHECK;
// The object, valid until the slice ends or the handle is closed. Errors: those of viv_res_use.
enum viv_err viv_held_use(const struct viv_inst *inst, viv_handle hdl, viv_kind kind,
                          viv_rights need, void **out_object) VIV_MUST_CHECK;
// Errors: BADHANDLE.
enum viv_err viv_held_look(const struct viv_inst *inst, viv_handle hdl, viv_kind *out_kind,
                           viv_rights *out_rights) VIV_MUST_CHECK;
bool viv_held_is_sendable(viv_kind kind);
enum viv_err viv_held_dup(struct viv_inst *inst, viv_handle hdl, viv_rights rights,
                          viv_handle *out_hdl) VIV_MUST_CHECK; // Errors: those of viv_res_dup
void viv_held_close(struct viv_inst *inst, viv_handle hdl);    // nothing when it is none
// Into a message, and out of one: on success *transit is NULL. keep: the process keeps its handle;
// else it goes with viv_held_sent when the message is on its way. Errors: those of viv_res_export
// and viv_res_import.
enum viv_err viv_held_export(struct viv_inst *inst, viv_handle hdl, bool keep,
                             struct viv_transit **out_transit) VIV_MUST_CHECK;
void viv_held_sent(struct viv_inst *inst, viv_handle hdl);
enum viv_err viv_held_import(struct viv_inst *inst, struct viv_transit **transit,
                             viv_handle *out_hdl) VIV_MUST_CHECK;
// Sets inst->timer_worker: one wheel while any timer is held, so that equal deadlines fire in the
// order they were set.
void viv_held_choose_wheel(struct viv_inst *inst);

#endif
