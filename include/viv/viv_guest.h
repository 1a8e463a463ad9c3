// SPDX-License-Identifier: Apache-2.0
//
// viv_guest.h: the guest ABI `viv`, revision 1, for programs in C11 or C++ compiled to 32-bit
// WebAssembly. No libc is needed.
//
//     clang --target=wasm32-wasi -O2 -I include -o app.wasm app.c     then: viv run app.wasm
//
// Without libc: add -ffreestanding -nostdlib -mbulk-memory.
//
// A process is one instance of a module with its own memory and mailbox, named by a pid. Processes
// share nothing; they send messages, link to and monitor each other, and start others. The module
// must export its memory as `memory` (compilers do).
//
// Every function returns a number >= 0, or a negative error -VIV_E_…; none ever traps. On an error
// nothing has happened and nothing was written. Times are nanoseconds. Strings are UTF-8, given
// with their length in bytes, without terminator. Any function that is given memory answers
// -VIV_E_FAULT when the memory is not the program's, and -VIV_E_INVAL for text that is not UTF-8;
// any function may answer -VIV_E_EXHAUSTED when the host is out of memory. These three are not
// repeated below.
//
// A pid, a monitor reference and a handle are int64_t > 0; 0 is never one. Pids are never reused. A
// handle stands for something the process holds (a module, a timer) until viv_close; its number
// means nothing to another process.
#ifndef VIV_VIV_GUEST_H
#define VIV_VIV_GUEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define VIV_STATIC_ASSERT(holds, text) static_assert(holds, text)
extern "C" {
#else
#define VIV_STATIC_ASSERT(holds, text) _Static_assert(holds, text)
#endif

#if !defined(__wasm32__)
#error "viv_guest.h is for programs compiled to 32-bit WebAssembly (clang --target=wasm32-wasi)"
#endif

// An imported function of the host, and an exported one of the program:
// VIV_EXPORT("worker") void worker(int64_t job) { … } can be the entry of a process.
#define VIV_IMPORT(name) __attribute__((import_module("viv"), import_name(name)))
#define VIV_EXPORT(name) __attribute__((export_name(name), visibility("default")))

// ---- numbers ----

// Errors: a function returns the negative. The numbers never change.
enum {
    VIV_E_BADHANDLE = 1,    // not a handle of this process: never was, or closed
    VIV_E_KIND = 2,         // a handle of another kind
    VIV_E_RIGHTS = 3,       // the handle lacks a right
    VIV_E_DENIED = 4,       // the process lacks a right
    VIV_E_NOTFOUND = 6,     // no such name, export, message, handle in the message
    VIV_E_STATE = 7,        // not now: for example spawning from a start function
    VIV_E_BUSY = 9,         // the host cannot now; try again later
    VIV_E_QUOTA = 10,       // a limit is reached
    VIV_E_EXHAUSTED = 11,   // the host is out of memory
    VIV_E_EXISTS = 12,      // the name is taken by another live process
    VIV_E_INVAL = 14,       // an argument out of its domain
    VIV_E_TOOBIG = 15,      // longer than a message or a reason may be
    VIV_E_FULL = 17,        // the receiver's mailbox refuses; later there may be room
    VIV_E_TIMEOUT = 22,     // nothing came in time
    VIV_E_UNSUPPORTED = 24, // not in this build of the host
    VIV_E_FAULT = 26,       // a range reaches outside the program's memory
    VIV_E_MODULE = 27       // the module is refused or its start failed; VIV_INFO_ERROR says why
};

#define VIV_FOREVER (-1)            // as a timeout: no limit
#define VIV_MS INT64_C(1000000)     // nanoseconds of a millisecond
#define VIV_SEC INT64_C(1000000000) // and of a second

// What a received message is (viv_msg.kind).
enum {
    VIV_DATA = 0, // sent by a process; from: the sender
    VIV_EXIT = 1, // a linked process has ended, or viv_exit was called on us; from: who.
                  // Only after viv_trap_exits(1)
    VIV_DOWN = 2, // a monitored process has ended; from: who; ref: the monitor's reference
    VIV_TIMER = 3 // a timer of our own; ref: its handle, which still has to be closed
};

// Why a process ended (viv_end.kind), and what viv_exit may claim.
enum {
    VIV_END_NORMAL = 0,   // its entry function returned
    VIV_END_SHUTDOWN = 1, // asked to go, and went
    VIV_END_KILLED = 2,
    VIV_END_NOPROC = 3,       // it did not exist when the link or monitor was made
    VIV_END_NOCONNECTION = 4, // its node is gone
    VIV_END_ERROR = 5,        // text begins "class: "
    VIV_END_TRAP = 6,         // code: the engine's trap code, -1: the host's; detail: backtrace
    VIV_END_EXITED = 7,       // code: as given to exit or viv_exit
    VIV_END_SIGNALED = 8,     // an OS program; code: the signal, + 256 with a core dump
    VIV_END_LIMIT = 9, // code: 1 memory, 2 CPU time or fuel, 3 life time, 4 mailbox, 5 output
    VIV_END_TERM = 10  // detail: a BEAM term in external term format
};

// Rights of a process. A child's are never more than its parent's.
enum {
    VIV_RIGHT_SPAWN = 1,
    VIV_RIGHT_COMPILE = 2,
    VIV_RIGHT_CONFIG = 4,
    VIV_RIGHT_CONNECT = 8,
    VIV_RIGHT_LISTEN = 16,
    VIV_RIGHT_FILES = 32,
    VIV_RIGHT_NAMES = 64,
    VIV_RIGHT_KILL = 128,
    VIV_RIGHTS_ALL = 255
};

// Rights of a handle.
enum { VIV_HANDLE_USE = 1, VIV_HANDLE_SEND = 2 };

// Log levels.
enum {
    VIV_LOG_ERROR = 0,
    VIV_LOG_WARN = 1,
    VIV_LOG_INFO = 2,
    VIV_LOG_DEBUG = 3,
    VIV_LOG_TRACE = 4
};

// ---- structures ----

// What viv_receive says of a message. 48 bytes.
struct viv_msg {
    uint32_t kind;         // VIV_DATA … VIV_TIMER
    uint32_t handle_count; // handles in it, for viv_take: index 0 … handle_count - 1
    int64_t tag;   // as sent; of a link, monitor or timer: as given when it was made; 0: none
    int64_t from;  // pid; 0: nobody's
    int64_t ref;   // of a DOWN or TIMER, else 0
    uint64_t size; // bytes of the payload
    uint64_t reserved;
};

// Head of the payload of an EXIT or DOWN; behind it lie the text and then the detail. 16 bytes.
struct viv_end {
    uint32_t kind; // VIV_END_…
    int32_t code;
    uint32_t text_len, detail_len; // bytes
};

// Limits of a process, 0: no limit. 56 bytes.
struct viv_limits {
    uint64_t memory_bytes;
    uint64_t fuel_units; // of 100 000 instructions, about
    uint64_t cpu_ns, life_ns;
    uint64_t mailbox_count, mailbox_bytes;
    uint64_t output_bytes;
};

// What a process has used. 64 bytes. The two times are 0 for a process without clocks.
struct viv_usage {
    uint64_t memory_bytes, memory_peak_bytes;
    uint64_t cpu_ns, age_ns;
    uint64_t mailbox_count, mailbox_bytes; // messages waiting
    uint64_t sent, received;               // messages so far
};

// What is to be spawned; begin with VIV_SPAWN_INIT. 80 bytes.
struct viv_spawn {
    uint32_t size;     // of this structure
    uint32_t flags;    // VIV_SPAWN_LINK | VIV_SPAWN_MONITOR
    int64_t module;    // handle, with right VIV_HANDLE_USE
    int64_t tag;       // of the EXIT and DOWN messages that tell of the child's end
    const char *entry; // name of an exported function: no result, every parameter i32 or i64
    uint32_t entry_len;
    // The child's first message (tag 0): bytes, and handles that leave the caller when the child is
    // born. Neither: there is no such message.
    const void *init;
    uint32_t init_len;
    const int64_t *handles;
    uint32_t handle_count;
    const struct viv_limits *limits; // the smaller of these and the caller's; NULL: the caller's
    const char *name;                // registered before its first instruction; length 0: none
    uint32_t name_len;
    uint32_t rights;     // the child gets these AND the caller's
    const int64_t *args; // for the entry's parameters, one each, cut to the parameter's type
    uint32_t arg_count;
    int64_t ref; // out: the monitor's reference, 0 without VIV_SPAWN_MONITOR
};
enum { VIV_SPAWN_LINK = 1, VIV_SPAWN_MONITOR = 2 };
#define VIV_SPAWN_INIT                                                                             \
    {sizeof(struct viv_spawn), 0,    0, 0, NULL, 0, NULL, 0, NULL, 0, NULL, NULL, 0,               \
     VIV_RIGHTS_ALL,           NULL, 0, 0}

VIV_STATIC_ASSERT(sizeof(struct viv_msg) == 48, "viv_msg is 48 bytes");
VIV_STATIC_ASSERT(sizeof(struct viv_end) == 16, "viv_end is 16 bytes");
VIV_STATIC_ASSERT(sizeof(struct viv_limits) == 56, "viv_limits is 56 bytes");
VIV_STATIC_ASSERT(sizeof(struct viv_usage) == 64, "viv_usage is 64 bytes");
VIV_STATIC_ASSERT(sizeof(struct viv_spawn) == 80, "viv_spawn is 80 bytes");
VIV_STATIC_ASSERT(offsetof(struct viv_spawn, entry) == 24, "viv_spawn.entry is at 24");
VIV_STATIC_ASSERT(offsetof(struct viv_spawn, limits) == 48, "viv_spawn.limits is at 48");
VIV_STATIC_ASSERT(offsetof(struct viv_spawn, args) == 64, "viv_spawn.args is at 64");
VIV_STATIC_ASSERT(offsetof(struct viv_spawn, ref) == 72, "viv_spawn.ref is at 72");

// ---- messages ----

// The revision of this ABI that the host has: 1.
VIV_IMPORT("version") int32_t viv_version(void);

// The caller's pid.
VIV_IMPORT("self") int64_t viv_self(void);

// Sends len bytes, and handles, under a tag of the caller's choice (0: none) to a process. 0; also
// when there is no such process: then the message is gone. Messages from one sender arrive in the
// order sent. Handles leave the caller unless VIV_SEND_DUP is set; each needs right VIV_HANDLE_SEND
// and must be a module (INVAL). VIV_SEND_TERM: the bytes are a term in external term format, and a
// BEAM receiver gets the term; others get the bytes.
// Errors: BADHANDLE (also one named twice), RIGHTS, INVAL, QUOTA (over 1 024 handles), TOOBIG (over
// 256 MiB), FULL.
enum { VIV_SEND_DUP = 1, VIV_SEND_TERM = 2 };
VIV_IMPORT("send")
int32_t viv_send(int64_t pid, int64_t tag, const void *data, size_t len, const int64_t *handles,
                 size_t handle_count, int32_t flags);

// Takes the oldest message (tag_count 0), or the oldest whose tag is in the list (a tag 0 in it
// matches nothing), and waits up to timeout nanoseconds for one; 0: only looks, VIV_FOREVER: no
// limit. 0, and *msg and the first buf_len bytes of the payload are written. It is the current
// message for viv_read and viv_take until the next receive succeeds. Other messages stay.
// Errors: TIMEOUT; INVAL (over 65 536 tags); DENIED (a timeout is a sleep: class time.timer).
VIV_IMPORT("receive")
int32_t viv_receive(const int64_t *tags, size_t tag_count, int64_t timeout, void *buf,
                    size_t buf_len, struct viv_msg *msg);

// Copies bytes of the current message's payload from offset on; returns how many, fewer than len
// only at its end.
// Errors: NOTFOUND (no current message), INVAL (offset < 0).
VIV_IMPORT("read") int32_t viv_read(int64_t offset, void *buf, size_t len);

// Takes handle `index` out of the current message; returns it as a handle of the caller's.
// Errors: NOTFOUND (none there, or taken), QUOTA (65 536 of a kind; it stays in the message).
VIV_IMPORT("take") int64_t viv_take(uint32_t index);

// ---- modules and processes ----

// A handle of a module. VIV_MODULE_BYTES: src is a module in binary or text format (right COMPILE;
// takes as long as compiling does, while other processes run). VIV_MODULE_NAME: src is a name given
// by the operator (viv run --module NAME=FILE). VIV_MODULE_OWN: the caller's own; src is not looked
// at.
// Errors: DENIED, MODULE (why: viv_info VIV_INFO_ERROR), NOTFOUND, INVAL (kind), QUOTA, BUSY or
// FULL (compilers).
enum { VIV_MODULE_BYTES = 0, VIV_MODULE_NAME = 1, VIV_MODULE_OWN = 2 };
VIV_IMPORT("module") int64_t viv_module(const void *src, size_t len, int32_t kind);

// Starts a process and waits until it has been born: instantiated, its start function run. 0, *pid
// and spec->ref are written. Link and monitor exist before its first instruction. Needs right
// SPAWN, with a name also NAMES.
// Errors: BADHANDLE, KIND, RIGHTS (module, handles), DENIED, NOTFOUND (no such export), INVAL (its
// type, flags, size), EXISTS (the name is taken), QUOTA (processes; memory; length of the name),
// MODULE (instantiation failed), STATE.
VIV_IMPORT("spawn") int32_t viv_spawn(struct viv_spawn *spec, int64_t *pid);

// Links both ways: when one ends not normally, the other ends with the same reason, or
// (viv_trap_exits) gets an EXIT message with this tag. A pid that is nobody's: EXIT with
// VIV_END_NOPROC. Again: sets the tag. 0.
VIV_IMPORT("link") int32_t viv_link(int64_t pid, int64_t tag);
// Undoes it, both ways. 0, also without a link.
VIV_IMPORT("unlink") int32_t viv_unlink(int64_t pid);

// From now on the end of pid is told by one DOWN message with this tag; returns the reference it
// will carry. Every call is a monitor of its own. A pid that is nobody's: DOWN with VIV_END_NOPROC.
VIV_IMPORT("monitor") int64_t viv_monitor(int64_t pid, int64_t tag);
// After this no DOWN with the reference is received, even one that was waiting. 0.
VIV_IMPORT("demonitor") int32_t viv_demonitor(int64_t ref);

// on != 0: exits of links, normal ones too, and viv_exit become EXIT messages; 0: they end the
// process (normal ones nothing). Returns the former setting, 0 or 1; it is 0 at birth.
VIV_IMPORT("trap_exits") int32_t viv_trap_exits(int32_t on);

// Ends a process: pid gets an exit signal with a reason of that kind (VIV_END_…), code and text. It
// can trap it, unless the kind is VIV_END_KILLED; VIV_END_NORMAL does nothing to one that does not
// trap. The caller's own pid: it ends here and now, and the call does not return. Others need right
// KILL. 0, also when there is no such process. Text: one line, cut at 16 KiB; of VIV_END_ERROR it
// should begin "class: "; of VIV_END_TERM it is the term, at most 16 KiB.
// Errors: DENIED, INVAL (kind; the code of VIV_END_LIMIT; no term), TOOBIG (term).
VIV_IMPORT("exit")
int32_t viv_exit(int64_t pid, int32_t kind, int32_t code, const char *text, size_t len);

// ---- names ----

// Names of the environment, up to 4 096 bytes; they go when their process ends. register and
// unregister need right NAMES.
// register binds: 0. Errors: DENIED, EXISTS, NOTFOUND (no such process), QUOTA (names; length).
// unregister: 0. Errors: DENIED, NOTFOUND, QUOTA.
// whereis: the pid, 0: none. Errors: QUOTA.
VIV_IMPORT("register") int32_t viv_register(const char *name, size_t len, int64_t pid);
VIV_IMPORT("unregister") int32_t viv_unregister(const char *name, size_t len);
VIV_IMPORT("whereis") int64_t viv_whereis(const char *name, size_t len);

// ---- timers, handles ----

// A TIMER message with this tag to the caller after delay nanoseconds, at most a millisecond late
// on an idle machine. Returns the timer's handle, to be closed even after it has fired.
// Errors: INVAL (delay < 0), QUOTA.
VIV_IMPORT("timer") int64_t viv_timer(int64_t delay, int64_t tag);

// Gives a handle back. Of a timer: 1 when it had not fired and now will not; else 0.
// Errors: BADHANDLE.
VIV_IMPORT("close") int32_t viv_close(int64_t handle);

// A second handle of the same module with these of its rights (VIV_HANDLE_…).
// Errors: BADHANDLE, KIND (a timer), RIGHTS (one that the handle lacks), QUOTA.
VIV_IMPORT("dup") int64_t viv_dup(int64_t handle, int32_t rights);

// ---- information ----

// Writes what fits of one of these and returns the bytes there are: VIV_INFO_LIMITS struct
// viv_limits, VIV_INFO_USAGE struct viv_usage, VIV_INFO_ERROR text of the last error (0 bytes: none
// yet), VIV_INFO_RIGHTS uint32_t VIV_RIGHT_….
// Errors: INVAL.
enum { VIV_INFO_LIMITS = 1, VIV_INFO_USAGE = 2, VIV_INFO_ERROR = 3, VIV_INFO_RIGHTS = 4 };
VIV_IMPORT("info") int32_t viv_info(int32_t what, void *buf, size_t len);

// A line in the kernel's log, with pid and name before it; shown from the level on that VIV_LOG
// names when the kernel is started (warn by default). At most 4 096 bytes; over 1 000 lines a
// second are counted instead. 0.
// Errors: INVAL.
VIV_IMPORT("log") int32_t viv_log(int32_t level, const char *text, size_t len);

// ---- functions as processes ----

// VIV_MAIN(f): put it once at file scope of a program that uses viv_spawn_fn. It makes f, void
// f(void), the program's main function, and exports the trampoline through which a function of this
// program becomes the entry of a process.
#define VIV_TRAMPOLINE "viv_call"
#ifdef __cplusplus
#define VIV_EXTERN_C_ extern "C"
#else
#define VIV_EXTERN_C_
#endif
#if __STDC_HOSTED__
#define VIV_MAIN_(f)                                                                               \
    int main(void)                                                                                 \
    {                                                                                              \
        f();                                                                                       \
        return 0;                                                                                  \
    }
#else // -ffreestanding: no libc's _start calls main
#define VIV_MAIN_(f)                                                                               \
    VIV_EXTERN_C_ VIV_EXPORT("_start") void _start(void);                                          \
    VIV_EXTERN_C_ void _start(void)                                                                \
    {                                                                                              \
        f();                                                                                       \
    }
#endif
#define VIV_MAIN(f)                                                                                \
    VIV_EXTERN_C_ VIV_EXPORT(VIV_TRAMPOLINE) void viv_call_(uint32_t index, int64_t arg);          \
    VIV_EXTERN_C_ void viv_call_(uint32_t index, int64_t arg)                                      \
    {                                                                                              \
        ((void (*)(int64_t))(uintptr_t)index)(arg);                                                \
    }                                                                                              \
    VIV_MAIN_(f)                                                                                   \
    VIV_STATIC_ASSERT(1, "takes the semicolon")

// Spawns fn(arg) of this program as a process with what else spec says (flags, tag, limits, name,
// rights, init); fills in module, entry and arguments. The child has a fresh memory: it sees the
// program's initial data, not what the caller changed, so arg is a number, not a pointer. (C++ with
// global constructors: link with -Wl,--export=__wasm_call_ctors, or they do not run in children.)
// Returns its pid, or an error of viv_module or viv_spawn.
static inline int64_t viv_spawn_fn_with(struct viv_spawn *spec, void (*fn)(int64_t), int64_t arg)
{
    int64_t args[2];
    int64_t pid = 0;
    int32_t err;
    int64_t module = viv_module(NULL, 0, VIV_MODULE_OWN);
    if (module < 0) return module;
    args[0] = (int64_t)(uintptr_t)fn;
    args[1] = arg;
    spec->size = sizeof(*spec);
    spec->module = module;
    spec->entry = VIV_TRAMPOLINE;
    spec->entry_len = sizeof(VIV_TRAMPOLINE) - 1;
    spec->args = args;
    spec->arg_count = 2;
    err = viv_spawn(spec, &pid);
    viv_close(module);
    spec->args = NULL;
    spec->arg_count = 0;
    return err < 0 ? err : pid;
}

// The same without anything else: not linked, not monitored, the caller's limits and rights.
static inline int64_t viv_spawn_fn(void (*fn)(int64_t), int64_t arg)
{
    struct viv_spawn spec = VIV_SPAWN_INIT;
    return viv_spawn_fn_with(&spec, fn, arg);
}

#ifdef __cplusplus
}
#endif

#endif
