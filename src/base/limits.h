// SPDX-License-Identifier: Apache-2.0
// Every bound of the kernel, with the reason for its size. Guest-visible ones are those of the
// contract.
#ifndef VIV_BASE_LIMITS_H
#define VIV_BASE_LIMITS_H

#define VIV_WORKERS_MAX 256          // four words of the idle mask
#define VIV_RING_SLOTS 256           // run queue ring: a few cache lines; the rest overflows
#define VIV_PID_SLOT_BITS 28         // a pid must fit a BEAM term
#define VIV_PROCS_PER_SEGMENT 4096   // table segment: one allocation of 48 KiB
#define VIV_DIRTY_IO_THREADS 10      // as OTP: enough to hide disk latency
#define VIV_DIRTY_QUEUE_MAX 65536    // jobs waiting for a pool; more is refused
#define VIV_NAME_BYTES_MAX 4096      // a registered name
#define VIV_ENV_PROCS_MAX 1048576    // default processes an environment
#define VIV_ENV_NAMES_MAX 100000     // default names an environment
#define VIV_ENV_TIMERS_MAX 1000000   // default pending timers an environment
#define VIV_REASON_TEXT_MAX 16384    // text and backtrace kept of a reason
#define VIV_SLICE_REDUCTIONS 4000    // budget of a slice, as OTP
#define VIV_SLICE_COPY_BYTES 1048576 // bytes copied that end a slice
#define VIV_MAILBOX_BYTES_MAX (UINT64_C(1) << 30) // default, policy kill

#define VIV_WASM_MODULE_BYTES_MAX (64u << 20)
#define VIV_WAT_BYTES_MAX (16u << 20)
#define VIV_WASM_MEMORIES_MAX 16
#define VIV_WASM_TABLES_MAX 16
#define VIV_WASM_TABLE_ELEMS_MAX 1000000
#define VIV_WASM_STACK_BYTES (512u << 10) // the guest's part, as the reference
#define VIV_WASM_FIBER_BYTES (640u << 10) // plus 128 KiB for host functions
#define VIV_WASM_IDS_MAX 65536            // resources a process, per kind
#define VIV_WASM_CATCH_DEPTH_MAX 128
#define VIV_MSG_BYTES_MAX (UINT64_C(256) << 20)
#define VIV_MSG_RESOURCES_MAX 1024
#define VIV_RECEIVE_TAGS_MAX 65536
#define VIV_CONFIG_TEXT_MAX (1u << 20)
#define VIV_CONFIG_DIRS_MAX 64
#define VIV_METRICS_MAX 10000
#define VIV_WASI_FDS_MAX 1024
#define VIV_WASI_IOVS_MAX 1024
#define VIV_WASI_POLL_MAX 4096
#define VIV_CAPTURE_BYTES_MAX (16u << 20)
#define VIV_BACKTRACE_FRAMES_MAX 20
#define VIV_CACHE_BYTES_MAX (UINT64_C(1) << 30)

#endif
