// SPDX-License-Identifier: Apache-2.0
// A program's spill, within this room: the step copies what is new in the rings, a thread of the
// dirty I/O pool writes it.
#ifndef VIV_NATIVE_SPILL_IO_H
#define VIV_NATIVE_SPILL_IO_H

#include "native/native_int.h"
#include "native/read.h"
#include "native/spill.h"
#include "sched/dirty.h"

struct viv_program;
struct viv_program_spill;

// Opens the directory below the state directory. Errors: UNSUPPORTED (no state directory), INVAL
// (spill), EXHAUSTED. Thread: a spawner's. Blocks.
enum viv_err viv_spill_io_open(struct viv_program *program) VIV_MUST_CHECK;
// Before the first step: the files of an earlier kernel are written on.
void viv_spill_io_resume(struct viv_program *program);
// Nothing was saved of its rings, which are others than at the opening. Thread: a spawner's.
void viv_spill_io_guard(struct viv_program *program);
// A batch is under way, which uses the program. The step's.
bool viv_spill_io_is_busy(struct viv_program *program);
bool viv_spill_io_listens(const struct viv_program *program); // it waits for output. The step's.
// Of one that outlives this kernel: it is released here, so its files may go. Thread: any.
void viv_spill_io_let_go(struct viv_program *program);
// Writes on; when to be called again. The step's.
uint64_t viv_spill_io_step(struct viv_program *program, uint64_t now_ns);
// Whether nothing is left to write, or cannot be written now. The step's.
bool viv_spill_io_is_settled(struct viv_program *program);
// The files go, unless they are to be kept, and so does the memory. Thread: any; no step runs.
void viv_spill_io_free(struct viv_program *program);
// errno of what keeps it from writing, 0: it writes. Thread: any.
int viv_spill_io_error(const struct viv_program *program);
// For readers: whether there is a spill, and which files it has.
bool viv_spill_io_files(struct viv_program *program, struct viv_spill_config *out_config,
                        uint32_t *out_oldest, uint32_t *out_newest);

#endif
