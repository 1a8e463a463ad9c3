// SPDX-License-Identifier: Apache-2.0
// What a guest may start: questions to the session of its process (cap/gate.h), in the words of the
// imports. A refusal is written to the audit. Also the rights that lunatic and the guest ABI `viv`
// know, which are views of classes. Threads: the process's own.
#ifndef VIV_WASM_MAY_H
#define VIV_WASM_MAY_H

#include "cap/gate.h"
#include "wasm/host.h"
#include "wasm/inst.h"

// Errors of all: DENIED.
enum viv_err viv_may(struct viv_inst *inst, enum viv_cap cap) VIV_MUST_CHECK; // no object
enum viv_err viv_may_name(struct viv_inst *inst, enum viv_cap cap, const char *name,
                          size_t len) VIV_MUST_CHECK;
enum viv_err viv_may_word(struct viv_inst *inst, enum viv_cap cap, uint32_t word) VIV_MUST_CHECK;
// A wait that ends in time is a sleep: class time.timer, word mono. Neither is one that looks once
// (0) or that has no end (2^63 and more).
enum viv_err viv_may_wait(struct viv_inst *inst, uint64_t timeout_ns) VIV_MUST_CHECK;
// Files at all; what may be done below which directory lies in the rights of its descriptors.
enum viv_err viv_may_files(struct viv_inst *inst) VIV_MUST_CHECK;
enum viv_err viv_may_spawn(struct viv_inst *inst, const struct viv_module *module) VIV_MUST_CHECK;
// Classes with a relation. A process that is not there stands as any other of the environment, so
// that a refusal does not tell who exists.
enum viv_err viv_may_reach(struct viv_inst *inst, enum viv_cap cap, viv_pid pid) VIV_MUST_CHECK;
// Whether the process can be sent handles, or is absent. Errors: UNSUPPORTED.
enum viv_err viv_may_take_handles(const struct viv_inst *inst, viv_pid pid) VIV_MUST_CHECK;
// signal: VIV_PROC_EXIT …
enum viv_err viv_may_signal(struct viv_inst *inst, viv_pid pid, uint32_t signal) VIV_MUST_CHECK;
// Notes the trap `permission denied: CLASS OBJECT`; returns VIV_HOST_TRAP.
enum viv_host viv_may_trap(struct viv_inst *inst, enum viv_cap cap, const char *object, size_t len);
enum viv_host viv_may_trap_pid(struct viv_inst *inst, enum viv_cap cap, viv_pid pid);

enum { VIV_TIME_WALL, VIV_TIME_MONO, VIV_TIME_CPU }; // words of time.read and time.timer
enum { VIV_MOD_BYTES };                              // word of mod.load

// The rights (config.h) whose classes a session holds with some object; NULL: all.
uint32_t viv_rights_of(const struct viv_session *session);
// The classes that a session loses with rights that are not among `rights`.
uint64_t viv_classes_without(uint32_t rights);

#endif
