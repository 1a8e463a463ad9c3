// SPDX-License-Identifier: Apache-2.0
// What the files wasi*.c share: numbers of the interface, open files, the descriptor table, jobs
// for the dirty pool, turns at a shared stream. Threads: of a process's table its own; a file may
// also be in use by a pool.
#ifndef VIV_WASM_WASI_INT_H
#define VIV_WASM_WASI_INT_H

#include "base/limits.h"
#include "base/list.h"
#include "base/spin.h"
#include "os/file.h"
#include "wasm/held.h"
#include "wasm/inst.h"
#include "wasm/wasi.h"
#include "wasm/wasi_stdio.h"

// Errnos, as in witx; those not named here come from the table in wasi_errno.c.
enum {
    VIV_WASI_SUCCESS = 0,
    VIV_WASI_ACCES = 2,
    VIV_WASI_AGAIN = 6,
    VIV_WASI_BADF = 8,
    VIV_WASI_DQUOT = 19,
    VIV_WASI_FAULT = 21,
    VIV_WASI_ILSEQ = 25,
    VIV_WASI_INVAL = 28,
    VIV_WASI_IO = 29,
    VIV_WASI_ISDIR = 31,
    VIV_WASI_MFILE = 33,
    VIV_WASI_NAMETOOLONG = 37,
    VIV_WASI_NOENT = 44,
    VIV_WASI_NOMEM = 48,
    VIV_WASI_NOTDIR = 54,
    VIV_WASI_NOTSOCK = 57,
    VIV_WASI_NOTSUP = 58,
    VIV_WASI_PERM = 63,
    VIV_WASI_PIPE = 64,
    VIV_WASI_SPIPE = 70,
    VIV_WASI_NOTCAPABLE = 76
};

enum {
    VIV_RIGHT_FD_DATASYNC = 1 << 0,
    VIV_RIGHT_FD_READ = 1 << 1,
    VIV_RIGHT_FD_SEEK = 1 << 2,
    VIV_RIGHT_FD_FDSTAT_SET_FLAGS = 1 << 3,
    VIV_RIGHT_FD_SYNC = 1 << 4,
    VIV_RIGHT_FD_TELL = 1 << 5,
    VIV_RIGHT_FD_WRITE = 1 << 6,
    VIV_RIGHT_FD_ADVISE = 1 << 7,
    VIV_RIGHT_FD_ALLOCATE = 1 << 8,
    VIV_RIGHT_PATH_CREATE_DIRECTORY = 1 << 9,
    VIV_RIGHT_PATH_CREATE_FILE = 1 << 10,
    VIV_RIGHT_PATH_LINK_SOURCE = 1 << 11,
    VIV_RIGHT_PATH_LINK_TARGET = 1 << 12,
    VIV_RIGHT_PATH_OPEN = 1 << 13,
    VIV_RIGHT_FD_READDIR = 1 << 14,
    VIV_RIGHT_PATH_READLINK = 1 << 15,
    VIV_RIGHT_PATH_RENAME_SOURCE = 1 << 16,
    VIV_RIGHT_PATH_RENAME_TARGET = 1 << 17,
    VIV_RIGHT_PATH_FILESTAT_GET = 1 << 18,
    VIV_RIGHT_PATH_FILESTAT_SET_SIZE = 1 << 19,
    VIV_RIGHT_PATH_FILESTAT_SET_TIMES = 1 << 20,
    VIV_RIGHT_FD_FILESTAT_GET = 1 << 21,
    VIV_RIGHT_FD_FILESTAT_SET_SIZE = 1 << 22,
    VIV_RIGHT_FD_FILESTAT_SET_TIMES = 1 << 23,
    VIV_RIGHT_PATH_SYMLINK = 1 << 24,
    VIV_RIGHT_PATH_REMOVE_DIRECTORY = 1 << 25,
    VIV_RIGHT_PATH_UNLINK_FILE = 1 << 26,
    VIV_RIGHT_POLL_FD_READWRITE = 1 << 27,
    VIV_RIGHTS_WASI_ALL = (1 << 30) - 1, // with sock_shutdown and sock_accept
    // What applies to a kind of file.
    VIV_RIGHTS_STREAM = VIV_RIGHT_FD_READ | VIV_RIGHT_FD_WRITE | VIV_RIGHT_FD_FDSTAT_SET_FLAGS |
                        VIV_RIGHT_FD_SYNC | VIV_RIGHT_FD_DATASYNC | VIV_RIGHT_FD_FILESTAT_GET |
                        VIV_RIGHT_FD_FILESTAT_SET_TIMES | VIV_RIGHT_POLL_FD_READWRITE,
    VIV_RIGHTS_REGULAR = VIV_RIGHTS_STREAM | VIV_RIGHT_FD_SEEK | VIV_RIGHT_FD_TELL |
                         VIV_RIGHT_FD_ADVISE | VIV_RIGHT_FD_ALLOCATE |
                         VIV_RIGHT_FD_FILESTAT_SET_SIZE,
    VIV_RIGHTS_DIRECTORY =
        VIV_RIGHT_FD_FDSTAT_SET_FLAGS | VIV_RIGHT_FD_SYNC | VIV_RIGHT_FD_DATASYNC |
        VIV_RIGHT_FD_ADVISE | VIV_RIGHT_PATH_CREATE_DIRECTORY | VIV_RIGHT_PATH_CREATE_FILE |
        VIV_RIGHT_PATH_LINK_SOURCE | VIV_RIGHT_PATH_LINK_TARGET | VIV_RIGHT_PATH_OPEN |
        VIV_RIGHT_FD_READDIR | VIV_RIGHT_PATH_READLINK | VIV_RIGHT_PATH_RENAME_SOURCE |
        VIV_RIGHT_PATH_RENAME_TARGET | VIV_RIGHT_PATH_FILESTAT_GET |
        VIV_RIGHT_PATH_FILESTAT_SET_SIZE | VIV_RIGHT_PATH_FILESTAT_SET_TIMES |
        VIV_RIGHT_FD_FILESTAT_GET | VIV_RIGHT_FD_FILESTAT_SET_TIMES | VIV_RIGHT_PATH_SYMLINK |
        VIV_RIGHT_PATH_REMOVE_DIRECTORY | VIV_RIGHT_PATH_UNLINK_FILE | VIV_RIGHT_POLL_FD_READWRITE
};

enum { // types of files
    VIV_FILETYPE_UNKNOWN = 0,
    VIV_FILETYPE_BLOCK = 1,
    VIV_FILETYPE_CHARACTER = 2,
    VIV_FILETYPE_DIRECTORY = 3,
    VIV_FILETYPE_REGULAR = 4,
    VIV_FILETYPE_SOCKET_DGRAM = 5,
    VIV_FILETYPE_SOCKET_STREAM = 6,
    VIV_FILETYPE_SYMLINK = 7
};
enum { // flags of a descriptor
    VIV_FDFLAG_APPEND = 1,
    VIV_FDFLAG_DSYNC = 2,
    VIV_FDFLAG_NONBLOCK = 4,
    VIV_FDFLAG_RSYNC = 8,
    VIV_FDFLAG_SYNC = 16,
    VIV_FDFLAG_ALL = 31
};

enum { VIV_WASI_PATH_MAX = 4096, VIV_WASI_SMALL_WRITE = 4096 };

// ---- turns at a stream that several processes share: first come, first served ----
struct viv_turn_node {
    struct viv_list list;
    struct viv_proc *proc;
    _Atomic uint32_t granted;
};
struct viv_turn {
    struct viv_spin lock;
    struct viv_turn_node *owner; // under lock
    struct viv_list waiting;     // under lock
};
void viv_turn_init(struct viv_turn *turn);
// Takes the turn when nobody has it or waits for it.
bool viv_turn_try(struct viv_turn *turn, struct viv_turn_node *node) VIV_MUST_CHECK;
// The same, or else queues; proc is woken when the turn is node's.
bool viv_turn_wait(struct viv_turn *turn, struct viv_turn_node *node,
                   struct viv_proc *proc) VIV_MUST_CHECK;
bool viv_turn_is_mine(struct viv_turn_node *node);
void viv_turn_move(struct viv_turn *turn, struct viv_turn_node *from, struct viv_turn_node *to);
void viv_turn_leave(struct viv_turn *turn, struct viv_turn_node *node); // owner or waiting

// ---- open files ----
enum viv_wasi_kind {
    VIV_WASI_NULL,    // takes everything, has nothing
    VIV_WASI_CAPTURE, // output into a struct viv_capture
    VIV_WASI_STREAM,  // pipe, terminal, socket, device
    VIV_WASI_REGULAR, // also block devices
    VIV_WASI_DIR      // O_PATH: listing it opens it again
};

struct viv_capture_part;
struct viv_wasi_file {
    // immutable
    uint8_t kind;     // enum viv_wasi_kind
    uint8_t filetype; // VIV_FILETYPE_...
    bool is_kernels;  // belongs to the kernel: not counted
    bool is_nonblock; // a call returns EAGAIN instead of waiting
    uint32_t rights;  // those that apply to it
    uint32_t allowed; // of a directory given at birth: those that it admits to itself and below
    int fd;           // -1: none; closed with the file unless it is the kernel's
    struct viv_sched *sched;
    struct viv_turn *turn;         // of a stream that processes share; else NULL
    struct viv_capture *capture;   // CAPTURE; counted
    struct viv_capture_part *part; // CAPTURE
    struct viv_wasi_file *through; // CAPTURE: where bytes also go; the kernel's, or NULL
    // the process that has it
    bool was_written, was_armed;
    // any
    _Atomic uint32_t refs;
    _Atomic bool is_slow[2]; // reads, writes: RWF_NOWAIT is refused
    _Atomic bool is_at_end;  // end of input was seen by some process
};
// fd is consumed on success. NULL without memory.
struct viv_wasi_file *viv_wasi__file_new(struct viv_sched *sched, int fd, enum viv_wasi_kind kind);
struct viv_wasi_file *viv_wasi__file_take(struct viv_wasi_file *file);
void viv_wasi__file_drop(struct viv_wasi_file *file); // NULL is allowed
uint8_t viv_wasi__filetype(const struct stat *st, int fd);
// Kind, type and rights of an open descriptor, by what stat said.
void viv_wasi__file_describe(struct viv_wasi_file *file, const struct stat *st, int fd);

// ---- listing of a directory (wasi_readdir.c) ----
struct viv_wasi_listing;
void viv_wasi__listing_drop(struct viv_wasi_listing *listing); // NULL is allowed

// ---- descriptors of a process ----
// What a descriptor stands for: the object of a resource of kind file or dir, made for one number
// of one process. The rights are WASI's; those of the handle are never fewer.
struct viv_wasi_fd {
    struct viv_wasi_file *file; // NULL: closed
    struct viv_wasi_listing *listing;
    uint32_t rights, inheriting;
    uint16_t flags;   // VIV_FDFLAG_...
    uint16_t preopen; // index in the config's directories + 1; 0: none
};
struct viv_wasi_slot {
    viv_handle hdl; // 0: free
    viv_kind kind;
};
struct viv_wasi {
    struct viv_wasi_slot *slots; // by number; NULL until the guest asks for the first one
    uint32_t cap, free_from;     // no free one below
    struct viv_capture_part *part;
};
// Errors (all of these): a WASI errno. need: rights the call takes. The entry is valid until the
// slice ends, or it is closed.
uint32_t viv_wasi__find(struct viv_inst *inst, uint32_t fd, uint32_t need,
                        struct viv_wasi_fd **out_entry) VIV_MUST_CHECK;
// Gives the lowest free number; the entry's file is consumed, also on an error. Errors: mfile,
// nomem.
uint32_t viv_wasi__add(struct viv_inst *inst, const struct viv_wasi_fd *entry,
                       uint32_t *out_fd) VIV_MUST_CHECK;
// Makes room for a number more, so that a full table is known before a file is opened.
uint32_t viv_wasi__reserve(struct viv_inst *inst) VIV_MUST_CHECK;
// The number is free again; what it stood for is closed. It was found before.
void viv_wasi__close(struct viv_inst *inst, uint32_t fd);
// `to` stands for what `from` did, and `from` is free. Both were found before; what `to` stood for
// is closed.
void viv_wasi__renumber(struct viv_inst *inst, uint32_t from, uint32_t to);
void viv_wasi__fd_close(struct viv_wasi_fd *entry); // what the registry does at its end

// The directories of the config, by their host paths. Errors: as viv_wasi_new.
enum viv_err viv_dirs__open(struct viv_inst *inst, bool is_child,
                            struct viv_diag *diag) VIV_MUST_CHECK;
uint32_t viv_dirs__count(const struct viv_dirs *dirs);                             // NULL: 0
struct viv_wasi_file *viv_dirs__file(const struct viv_dirs *dirs, uint32_t index); // borrowed

struct viv_wasi_file *viv_stdio__file(struct viv_stdio_set *set, uint32_t fd); // 0 to 2
struct viv_wasi_file *viv_stdio__null(struct viv_stdio_set *set);
// A new part for a process. NULL without memory.
struct viv_capture_part *viv_capture__attach(struct viv_capture *capture);
bool viv_capture__is_through(const struct viv_capture *capture);
// Without memory the bytes are cut like those over the limit.
void viv_capture__append(struct viv_capture *capture, struct viv_capture_part *part,
                         const void *data, size_t len);

// ---- calls ----
uint32_t viv_wasi__errno(int host_errno);      // positive; also of EXDEV (xdev)
uint32_t viv_wasi__path_errno(int host_errno); // of a resolution: EXDEV is an escape
// The guest's memory; false after noting the trap that it has none.
bool viv_wasi__mem(struct viv_inst *inst, struct viv_guest_mem *out_mem) VIV_MUST_CHECK;
enum viv_host viv_wasi__sync(struct viv_inst *inst, wasmtime_val_raw_t *raw,
                             uint32_t (*body)(struct viv_inst *inst, struct viv_guest_mem mem,
                                              const wasmtime_val_raw_t *args));
static inline enum viv_host viv_wasi__done(wasmtime_val_t *result, uint32_t error)
{
    result->of.i32 = (int32_t)error;
    return VIV_HOST_OK;
}
static inline uint32_t viv_wasi__u32(const wasmtime_val_t *args, size_t index)
{
    return (uint32_t)args[index].of.i32;
}
static inline uint64_t viv_wasi__u64(const wasmtime_val_t *args, size_t index)
{
    return (uint64_t)args[index].of.i64;
}
// Without the wall clock (class time.read) the times are 0.
void viv_wasi__put_filestat(struct viv_inst *inst, uint8_t *at, const struct stat *st,
                            uint8_t filetype);
// What fstflags and the two times mean. Errors: inval.
uint32_t viv_wasi__times(uint64_t atim, uint64_t mtim, uint32_t flags,
                         struct timespec out_times[2]) VIV_MUST_CHECK;

// ---- work on the dirty I/O pool ----
struct viv_wasi_job {
    struct viv_bg bg;
    size_t size_bytes;                          // of the allocation
    uint32_t (*work)(struct viv_wasi_job *job); // on a pool thread; a WASI errno
    // On the process's thread after a success: writes what came of it to the guest. May be NULL.
    uint32_t (*finish)(struct viv_inst *inst, struct viv_guest_mem mem, struct viv_wasi_job *job);
    struct viv_wasi_file *file[2]; // counted; NULL allowed
    struct viv_wasi_listing *listing;
    uint32_t error;
    int fd;          // made by work; -1: none, or taken
    uint32_t out[2]; // pointers of the guest
    uint32_t flags, rights, inheriting, fdflags;
    uint64_t arg[4];
    struct stat st;
    ssize_t count;     // bytes moved, or a negated errno of the host
    char *path[2];     // in bytes
    size_t data_bytes; // room in data
    uint8_t *data;     // in bytes, behind the paths
    uint8_t bytes[];
};
// Zeroed. NULL without memory.
struct viv_wasi_job *viv_wasi__job_new(size_t extra_bytes);
// Errors: again (the pool is full).
uint32_t viv_wasi__job_post(struct viv_inst *inst, struct viv_wasi_job *job) VIV_MUST_CHECK;
void viv_wasi__job_free(struct viv_wasi_job *job); // one that was not posted
// Posts it and waits: the whole rest of a call. Consumes job.
enum viv_host viv_wasi__job_run(struct viv_inst *inst, wasmtime_val_t *result,
                                struct viv_wasi_job *job);

// ---- paths (wasi_path.c) ----
// openat2 that stays beneath dir, again when a rename was in the way; a descriptor or -errno.
int viv_wasi__open_beneath(int dir, const char *path, uint64_t flags, uint32_t mode,
                           uint64_t resolve);
// Times of what a descriptor (O_PATH is enough) stands for; 0 or -errno.
int viv_wasi__set_times(int fd, const struct timespec times[2]);

#endif
