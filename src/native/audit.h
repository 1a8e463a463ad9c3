// SPDX-License-Identifier: Apache-2.0
// What the audit ring is told of programs: one event of kind `program` for each spawn, allowed or
// not, and for each start, signal, stop, kill, release, expiry, end, attach and detach (the end of
// a handle, also of who started it), and for holders that are lost, found again, another kernel's
// or no holders of this protocol. Never in it: ids, values of variables, input, output.
//
// What an event says beyond its fields is its detail. That of a spawn is made before anything runs;
// if it cannot be made, the event is written without it and counted, and where audit is required
// nothing runs. Thread: any with a member, under no lock.
#ifndef VIV_NATIVE_AUDIT_H
#define VIV_NATIVE_AUDIT_H

#include "native/program.h"

// Before anything of the program is there. Errors: DENIED (no record can be kept, and it must).
enum viv_err viv_native__audit_intent(struct viv_program *program) VIV_MUST_CHECK;
// How the spawn came out; once. unit: of the caller, while the program is in no scope.
void viv_native__audit_spawn(struct viv_program *program, const char *unit, enum viv_err err,
                             const struct viv_diag *diag);
// A pattern of the caller's session that the program is not held to, as its policy says.
void viv_native__audit_unenforced(const struct viv_program *program,
                                  const struct viv_session *session, enum viv_cap cap,
                                  const struct viv_pattern *pattern);
// A spawn for which there was not even memory to note what was asked for.
void viv_native__audit_no_memory(const struct viv_native_ctx *ctx);

// What was done to a program, by whom (ctx NULL: by nobody), named as "native.stop". number: of a
// signal; 0 for none.
struct viv_native_deed {
    const struct viv_native_ctx *ctx;
    const char *operation;
    enum viv_err outcome;
    int signo;
    const struct viv_htab *tab; // whose holder did it, without a context; NULL
};
void viv_native__audit_deed(struct viv_program *program, const struct viv_native_deed *deed);
// Of a holder or a record that is no program of this kernel; why: in its detail.
struct viv_native_holder_event {
    const char *operation, *digest, *why;
    uint32_t environment; // 0: not known
    enum viv_err outcome;
};
void viv_native__audit_holder(struct viv_native *native,
                              const struct viv_native_holder_event *event);
void viv_native__audit_exit(struct viv_program *program); // its record is latched

#endif
