// SPDX-License-Identifier: Apache-2.0
// Functions on descriptors, other than moving bytes. What only asks about or changes the descriptor
// runs in place; what may reach a disk runs on the dirty I/O pool. Threads: the process's own;
// work_… a pool thread.
#include "base/err.h"
#include "gen/wasm_imports.h"
#include "wasm/wasi_int.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static uint32_t result_of(int host)
{
    return host < 0 ? viv_wasi__errno(-host) : VIV_WASI_SUCCESS;
}

// A job on the entry's file; NULL without memory.
static struct viv_wasi_job *job_on(const struct viv_wasi_fd *entry,
                                   uint32_t (*work)(struct viv_wasi_job *job))
{
    struct viv_wasi_job *job = viv_wasi__job_new(0);
    if (job == NULL) return NULL;
    job->work = work;
    job->file[0] = viv_wasi__file_take(entry->file);
    return job;
}

static enum viv_host run_or_fail(struct viv_inst *inst, wasmtime_val_t *result,
                                 struct viv_wasi_job *job)
{
    if (job == NULL) return viv_wasi__done(result, VIV_WASI_NOMEM);
    return viv_wasi__job_run(inst, result, job);
}

// ---- closing and renumbering ----

static uint32_t work_close(struct viv_wasi_job *job)
{
    viv_wasi__file_drop(job->file[0]);
    job->file[0] = NULL;
    return VIV_WASI_SUCCESS;
}

// A file that was written to may have to reach its server when it is closed; that is the pool's.
// NULL: nothing has to be waited for.
static struct viv_wasi_job *closing_job(const struct viv_wasi_fd *entry)
{
    if (entry->file->kind != VIV_WASI_REGULAR || !entry->file->was_written) return NULL;
    return job_on(entry, work_close); // its reference will be the last
}

static enum viv_host closed(struct viv_inst *inst, struct viv_wasi_job *job, wasmtime_val_t *result)
{
    if (job == NULL) return viv_wasi__done(result, VIV_WASI_SUCCESS);
    return viv_wasi__job_run(inst, result, job);
}

enum viv_host viv_wasm__wasi_fd_close(struct viv_inst *inst, const wasmtime_val_t *args,
                                      wasmtime_val_t *result)
{
    struct viv_wasi_fd *entry;
    uint32_t fd = viv_wasi__u32(args, 0);
    uint32_t error = viv_wasi__find(inst, fd, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = closing_job(entry);
    viv_wasi__close(inst, fd);
    return closed(inst, job, result);
}

enum viv_host viv_wasm__wasi_fd_renumber(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    struct viv_wasi_fd *entry;
    uint32_t from = viv_wasi__u32(args, 0), to = viv_wasi__u32(args, 1);
    uint32_t error = viv_wasi__find(inst, from, 0, &entry);
    if (error == VIV_WASI_SUCCESS) error = viv_wasi__find(inst, to, 0, &entry);
    if (error != VIV_WASI_SUCCESS || from == to) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = closing_job(entry);
    viv_wasi__renumber(inst, from, to);
    return closed(inst, job, result);
}

// ---- what a descriptor is ----

static uint32_t fdstat_get(struct viv_inst *inst, struct viv_guest_mem mem,
                           const wasmtime_val_raw_t *args)
{
    struct viv_wasi_fd *entry;
    uint32_t ptr = (uint32_t)args[1].i32;
    if (!viv_guest_in(mem, ptr, 24)) return VIV_WASI_FAULT;
    uint32_t error = viv_wasi__find(inst, (uint32_t)args[0].i32, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    uint8_t *at = mem.base + ptr;
    memset(at, 0, 24);
    at[0] = entry->file->filetype;
    viv_put_u16(at + 2, entry->flags);
    viv_put_u64(at + 8, entry->rights);
    viv_put_u64(at + 16, entry->inheriting);
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_fdstat_get(struct viv_inst *inst,
                                           wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, fdstat_get);
}

static uint32_t set_flags(struct viv_inst *inst, const wasmtime_val_raw_t *args)
{
    enum { SETTABLE = VIV_FDFLAG_APPEND | VIV_FDFLAG_NONBLOCK };
    struct viv_wasi_fd *entry;
    uint32_t flags = (uint32_t)args[1].i32;
    uint32_t error =
        viv_wasi__find(inst, (uint32_t)args[0].i32, VIV_RIGHT_FD_FDSTAT_SET_FLAGS, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if ((flags & ~(uint32_t)VIV_FDFLAG_ALL) != 0) return VIV_WASI_INVAL;
    // The others may be named if they are set already, so that what was read can be written back.
    if (((flags ^ entry->flags) & ~(uint32_t)SETTABLE) != 0) return VIV_WASI_NOTSUP;
    struct viv_wasi_file *file = entry->file;
    bool changes_append = ((flags ^ entry->flags) & VIV_FDFLAG_APPEND) != 0;
    // Descriptions that were inherited keep their flags; waiting is up to us in any case.
    if (changes_append && file->kind == VIV_WASI_REGULAR && !file->is_kernels) {
        int host = viv_os_fcntl_getfl(file->fd);
        if (host < 0) return viv_wasi__errno(-host);
        host = (flags & VIV_FDFLAG_APPEND) != 0 ? host | O_APPEND : host & ~O_APPEND;
        error = result_of(viv_os_fcntl_setfl(file->fd, host));
    }
    if (error == VIV_WASI_SUCCESS) entry->flags = (uint16_t)flags;
    return error;
}

enum viv_host viv_wasm__wasi_fd_fdstat_set_flags(struct viv_inst *inst,
                                                 wasmtime_val_raw_t *args_and_results)
{
    args_and_results[0].i32 = (int32_t)set_flags(inst, args_and_results);
    return VIV_HOST_OK;
}

static uint32_t set_rights(struct viv_inst *inst, const wasmtime_val_raw_t *args)
{
    struct viv_wasi_fd *entry;
    uint64_t rights = (uint64_t)args[1].i64, inheriting = (uint64_t)args[2].i64;
    uint32_t error = viv_wasi__find(inst, (uint32_t)args[0].i32, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if ((rights & ~(uint64_t)entry->rights) != 0 ||
        (inheriting & ~(uint64_t)entry->inheriting) != 0)
        return VIV_WASI_NOTCAPABLE;
    entry->rights = (uint32_t)rights;
    entry->inheriting = (uint32_t)inheriting;
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_fdstat_set_rights(struct viv_inst *inst,
                                                  wasmtime_val_raw_t *args_and_results)
{
    args_and_results[0].i32 = (int32_t)set_rights(inst, args_and_results);
    return VIV_HOST_OK;
}

enum viv_host viv_wasm__wasi_fd_filestat_get(struct viv_inst *inst, const wasmtime_val_t *args,
                                             wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_fd *entry;
    uint32_t ptr = viv_wasi__u32(args, 1);
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    if (!viv_guest_in(mem, ptr, 64)) return viv_wasi__done(result, VIV_WASI_FAULT);
    uint32_t error =
        viv_wasi__find(inst, viv_wasi__u32(args, 0), VIV_RIGHT_FD_FILESTAT_GET, &entry);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct stat st = {.st_nlink = 1}; // of a stream that is not the system's
    if (entry->file->fd >= 0) error = result_of(viv_os_fstat(entry->file->fd, &st));
    if (error == VIV_WASI_SUCCESS)
        viv_wasi__put_filestat(inst, mem.base + ptr, &st, entry->file->filetype);
    return viv_wasi__done(result, error);
}

// ---- directories given at birth ----

static uint32_t find_preopen(struct viv_inst *inst, uint32_t fd, const struct viv_pair **out_dir)
{
    struct viv_wasi_fd *entry;
    uint32_t error = viv_wasi__find(inst, fd, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if (entry->preopen == 0) return VIV_WASI_BADF;
    *out_dir = &inst->config->dirs.item[entry->preopen - 1];
    return VIV_WASI_SUCCESS;
}

static const char *guest_name(const struct viv_pair *dir, size_t *out_len)
{
    *out_len = dir->second != NULL ? dir->second_len : dir->first_len;
    return dir->second != NULL ? dir->second : dir->first;
}

static uint32_t prestat_get(struct viv_inst *inst, struct viv_guest_mem mem,
                            const wasmtime_val_raw_t *args)
{
    size_t len;
    uint32_t ptr = (uint32_t)args[1].i32;
    if (!viv_guest_in(mem, ptr, 8)) return VIV_WASI_FAULT;
    const struct viv_pair *dir;
    uint32_t error = find_preopen(inst, (uint32_t)args[0].i32, &dir);
    if (error != VIV_WASI_SUCCESS) return error;
    (void)guest_name(dir, &len);
    viv_put_u32(mem.base + ptr, 0); // the tag of a directory
    viv_put_u32(mem.base + ptr + 4, (uint32_t)len);
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_prestat_get(struct viv_inst *inst,
                                            wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, prestat_get);
}

static uint32_t prestat_dir_name(struct viv_inst *inst, struct viv_guest_mem mem,
                                 const wasmtime_val_raw_t *args)
{
    size_t len;
    uint32_t ptr = (uint32_t)args[1].i32, cap = (uint32_t)args[2].i32;
    if (!viv_guest_in(mem, ptr, cap)) return VIV_WASI_FAULT;
    const struct viv_pair *dir;
    uint32_t error = find_preopen(inst, (uint32_t)args[0].i32, &dir);
    if (error != VIV_WASI_SUCCESS) return error;
    const char *name = guest_name(dir, &len);
    if (cap < len) return VIV_WASI_NAMETOOLONG;
    memcpy(mem.base + ptr, name, len);
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_prestat_dir_name(struct viv_inst *inst,
                                                 wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, prestat_dir_name);
}

// ---- offsets ----

static uint32_t seek(struct viv_inst *inst, uint32_t fd, int64_t offset, uint32_t whence,
                     uint64_t *out_offset)
{
    static const int host_whence[] = {SEEK_SET, SEEK_CUR, SEEK_END};
    struct viv_wasi_fd *entry;
    bool only_asks = offset == 0 && whence == 1;
    uint32_t error = viv_wasi__find(inst, fd, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if (entry->file->kind == VIV_WASI_DIR) return VIV_WASI_BADF;
    bool is_device = entry->file->filetype == VIV_FILETYPE_CHARACTER &&
                     (entry->file->rights & VIV_RIGHT_FD_SEEK) != 0;
    if (entry->file->kind != VIV_WASI_REGULAR && !is_device) return VIV_WASI_SPIPE;
    uint32_t enough = VIV_RIGHT_FD_SEEK | (only_asks ? VIV_RIGHT_FD_TELL : 0);
    if ((entry->rights & enough) == 0) return VIV_WASI_NOTCAPABLE;
    if (whence >= VIV_COUNT_OF(host_whence)) return VIV_WASI_INVAL;
    off_t now = viv_os_lseek(entry->file->fd, offset, host_whence[whence]);
    if (now < 0) return viv_wasi__errno((int)-now);
    *out_offset = (uint64_t)now;
    return VIV_WASI_SUCCESS;
}

static uint32_t seek_to(struct viv_inst *inst, struct viv_guest_mem mem,
                        const wasmtime_val_raw_t *args)
{
    uint64_t now = 0;
    uint32_t ptr = (uint32_t)args[3].i32;
    if (!viv_guest_in(mem, ptr, 8)) return VIV_WASI_FAULT;
    uint32_t error = seek(inst, (uint32_t)args[0].i32, args[1].i64, (uint32_t)args[2].i32, &now);
    if (error == VIV_WASI_SUCCESS) viv_put_u64(mem.base + ptr, now);
    return error;
}

enum viv_host viv_wasm__wasi_fd_seek(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, seek_to);
}

static uint32_t tell(struct viv_inst *inst, struct viv_guest_mem mem,
                     const wasmtime_val_raw_t *args)
{
    uint64_t now = 0;
    uint32_t ptr = (uint32_t)args[1].i32;
    if (!viv_guest_in(mem, ptr, 8)) return VIV_WASI_FAULT;
    uint32_t error = seek(inst, (uint32_t)args[0].i32, 0, 1, &now);
    if (error == VIV_WASI_SUCCESS) viv_put_u64(mem.base + ptr, now);
    return error;
}

enum viv_host viv_wasm__wasi_fd_tell(struct viv_inst *inst, wasmtime_val_raw_t *args_and_results)
{
    return viv_wasi__sync(inst, args_and_results, tell);
}

// ---- what may reach the disk ----

// A descriptor that fsync takes: a directory is held by O_PATH only. *out_opened: to be closed.
static int syncable(const struct viv_wasi_file *file, bool *out_opened)
{
    *out_opened = file->kind == VIV_WASI_DIR;
    return *out_opened ? viv_os_openat(file->fd, ".", O_RDONLY | O_DIRECTORY, 0) : file->fd;
}

static uint32_t work_sync(struct viv_wasi_job *job)
{
    bool opened;
    int fd = syncable(job->file[0], &opened);
    if (fd < 0) return viv_wasi__errno(-fd);
    int host = job->flags != 0 ? viv_os_fdatasync(fd) : viv_os_fsync(fd);
    if (opened) (void)viv_os_close(fd);
    return result_of(host);
}

static enum viv_host sync_file(struct viv_inst *inst, const wasmtime_val_t *args,
                               wasmtime_val_t *result, uint32_t right, bool data_only)
{
    struct viv_wasi_fd *entry;
    uint32_t error = viv_wasi__find(inst, viv_wasi__u32(args, 0), right, &entry);
    if (error == VIV_WASI_SUCCESS && entry->file->fd < 0) error = VIV_WASI_INVAL; // as of a pipe
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = job_on(entry, work_sync);
    if (job != NULL) job->flags = data_only;
    return run_or_fail(inst, result, job);
}

enum viv_host viv_wasm__wasi_fd_sync(struct viv_inst *inst, const wasmtime_val_t *args,
                                     wasmtime_val_t *result)
{
    return sync_file(inst, args, result, VIV_RIGHT_FD_SYNC, false);
}

enum viv_host viv_wasm__wasi_fd_datasync(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    return sync_file(inst, args, result, VIV_RIGHT_FD_DATASYNC, true);
}

static uint32_t work_advise(struct viv_wasi_job *job)
{
    static const int advices[] = {POSIX_FADV_NORMAL,   POSIX_FADV_SEQUENTIAL, POSIX_FADV_RANDOM,
                                  POSIX_FADV_WILLNEED, POSIX_FADV_DONTNEED,   POSIX_FADV_NOREUSE};
    return result_of(viv_os_fadvise(job->file[0]->fd, (off_t)job->arg[0], (off_t)job->arg[1],
                                    advices[job->flags]));
}

static uint32_t work_allocate(struct viv_wasi_job *job)
{
    return result_of(viv_os_fallocate(job->file[0]->fd, 0, (off_t)job->arg[0], (off_t)job->arg[1]));
}

static uint32_t work_set_size(struct viv_wasi_job *job)
{
    return result_of(viv_os_ftruncate(job->file[0]->fd, (off_t)job->arg[0]));
}

// A call with an offset and a length on a file that has these. Errors: badf, notcapable, inval,
// spipe.
static uint32_t find_ranged(struct viv_inst *inst, const wasmtime_val_t *args, uint32_t right,
                            uint64_t len, struct viv_wasi_fd **out_entry)
{
    struct viv_wasi_fd *entry;
    uint64_t offset = viv_wasi__u64(args, 1);
    uint32_t error = viv_wasi__find(inst, viv_wasi__u32(args, 0), 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if (entry->file->kind == VIV_WASI_DIR) return VIV_WASI_BADF;
    if (entry->file->kind != VIV_WASI_REGULAR)
        return right == VIV_RIGHT_FD_FILESTAT_SET_SIZE ? VIV_WASI_INVAL : VIV_WASI_SPIPE;
    if ((entry->rights & right) == 0) return VIV_WASI_NOTCAPABLE;
    if (offset > INT64_MAX || len > INT64_MAX - offset) return VIV_WASI_INVAL;
    *out_entry = entry;
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_advise(struct viv_inst *inst, const wasmtime_val_t *args,
                                       wasmtime_val_t *result)
{
    enum { ADVICES = 6 };
    struct viv_wasi_fd *entry;
    uint32_t error = find_ranged(inst, args, VIV_RIGHT_FD_ADVISE, viv_wasi__u64(args, 2), &entry);
    if (error == VIV_WASI_SUCCESS && viv_wasi__u32(args, 3) >= ADVICES) error = VIV_WASI_INVAL;
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = job_on(entry, work_advise);
    if (job != NULL) {
        job->arg[0] = viv_wasi__u64(args, 1);
        job->arg[1] = viv_wasi__u64(args, 2);
        job->flags = viv_wasi__u32(args, 3);
    }
    return run_or_fail(inst, result, job);
}

enum viv_host viv_wasm__wasi_fd_allocate(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    struct viv_wasi_fd *entry;
    uint32_t error = find_ranged(inst, args, VIV_RIGHT_FD_ALLOCATE, viv_wasi__u64(args, 2), &entry);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = job_on(entry, work_allocate);
    if (job != NULL) {
        job->arg[0] = viv_wasi__u64(args, 1);
        job->arg[1] = viv_wasi__u64(args, 2);
    }
    return run_or_fail(inst, result, job);
}

enum viv_host viv_wasm__wasi_fd_filestat_set_size(struct viv_inst *inst, const wasmtime_val_t *args,
                                                  wasmtime_val_t *result)
{
    struct viv_wasi_fd *entry;
    uint32_t error = find_ranged(inst, args, VIV_RIGHT_FD_FILESTAT_SET_SIZE, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = job_on(entry, work_set_size);
    if (job != NULL) job->arg[0] = viv_wasi__u64(args, 1);
    return run_or_fail(inst, result, job);
}

static uint32_t work_set_times(struct viv_wasi_job *job)
{
    struct timespec times[2];
    uint32_t error = viv_wasi__times(job->arg[0], job->arg[1], job->flags, times);
    if (error != VIV_WASI_SUCCESS) return error;
    int fd = job->file[0]->fd;
    if (job->file[0]->kind == VIV_WASI_DIR) return result_of(viv_wasi__set_times(fd, times));
    return result_of(viv_os_futimens(fd, times));
}

enum viv_host viv_wasm__wasi_fd_filestat_set_times(struct viv_inst *inst,
                                                   const wasmtime_val_t *args,
                                                   wasmtime_val_t *result)
{
    struct viv_wasi_fd *entry;
    struct timespec times[2];
    uint64_t atim = viv_wasi__u64(args, 1), mtim = viv_wasi__u64(args, 2);
    uint32_t flags = viv_wasi__u32(args, 3);
    uint32_t error =
        viv_wasi__find(inst, viv_wasi__u32(args, 0), VIV_RIGHT_FD_FILESTAT_SET_TIMES, &entry);
    if (error == VIV_WASI_SUCCESS && entry->file->fd < 0) error = VIV_WASI_INVAL;
    if (error == VIV_WASI_SUCCESS) error = viv_wasi__times(atim, mtim, flags, times);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wasi_job *job = job_on(entry, work_set_times);
    if (job != NULL) {
        job->arg[0] = atim;
        job->arg[1] = mtim;
        job->flags = flags;
    }
    return run_or_fail(inst, result, job);
}
