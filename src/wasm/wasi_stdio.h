// SPDX-License-Identifier: Apache-2.0
// Standard streams: the kernel's own, which all processes that inherit them share, and captured
// ones. Writes go straight to the system, in the order processes got their turn; nothing is kept
// back here, so whatever a guest was told is written has been written.
#ifndef VIV_WASM_WASI_STDIO_H
#define VIV_WASM_WASI_STDIO_H

#include "base/buf.h"
#include "proc/kernel.h"

struct viv_stdio_set;

// Looks at descriptors 0 to 2 of the program. Pipes and terminals are opened anew, so that the
// flags of what was inherited stay as they are. Errors: EXHAUSTED.
enum viv_err viv_stdio_new(struct viv_kernel *kernel,
                           struct viv_stdio_set **out_set) VIV_MUST_CHECK;
void viv_stdio_free(struct viv_stdio_set *set); // the kernel is stopped

// Output of a process and of those it spawns: one part each, in order of birth, in which stdout and
// stderr are mixed as written. Reference-counted; a config holds it (enum viv_stdio). Thread: any;
// a part is complete when its process has ended.
struct viv_capture;

// max_bytes: of all parts; then the rest is cut. pass_through: bytes also go to the inherited
// streams. NULL without memory.
struct viv_capture *viv_capture_new(uint64_t max_bytes, bool pass_through);
struct viv_capture *viv_capture_take(struct viv_capture *capture);
void viv_capture_drop(struct viv_capture *capture); // NULL is allowed
uint32_t viv_capture_part_count(struct viv_capture *capture);
// Appends the bytes of a part to out, and a line that says so where they were cut. Errors:
// EXHAUSTED, NOTFOUND.
enum viv_err viv_capture_read(struct viv_capture *capture, uint32_t part,
                              struct viv_buf *out) VIV_MUST_CHECK;

#endif
