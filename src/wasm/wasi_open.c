// SPDX-License-Identifier: Apache-2.0
// path_open. Everything that can be refused is refused, and everything the result needs is
// allocated, before the file is opened or made. Opening never waits: O_NONBLOCK is set, and cleared
// again for regular files. Threads: work_open a pool thread, the rest the process's own.
#include "base/text.h"
#include "gen/wasm_imports.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <errno.h>
#include <linux/openat2.h>
#include <string.h>

enum { OPEN_CREAT = 1, OPEN_DIRECTORY = 2, OPEN_EXCL = 4, OPEN_TRUNC = 8, OPEN_ALL = 15 };
enum { LOOKUP_FOLLOW = 1 };

struct request {
    uint32_t dir, lookup, path, path_len, oflags, fdflags, out_ptr;
    uint64_t rights, inheriting;
};

static uint32_t host_flags(const struct request *ask)
{
    enum {
        READS = VIV_RIGHT_FD_READ | VIV_RIGHT_FD_READDIR,
        WRITES = VIV_RIGHT_FD_WRITE | VIV_RIGHT_FD_ALLOCATE | VIV_RIGHT_FD_FILESTAT_SET_SIZE
    };
    int flags = O_RDONLY;
    if ((ask->oflags & OPEN_DIRECTORY) != 0)
        flags = O_RDONLY | O_DIRECTORY;
    else if ((ask->rights & WRITES) != 0)
        flags = (ask->rights & READS) != 0 ? O_RDWR : O_WRONLY;
    if ((ask->oflags & OPEN_CREAT) != 0) flags |= O_CREAT;
    if ((ask->oflags & OPEN_CREAT) != 0 && (ask->oflags & OPEN_EXCL) != 0) flags |= O_EXCL;
    if ((ask->oflags & OPEN_TRUNC) != 0) flags |= O_TRUNC;
    if ((ask->fdflags & VIV_FDFLAG_APPEND) != 0) flags |= O_APPEND;
    if ((ask->fdflags & VIV_FDFLAG_DSYNC) != 0) flags |= O_DSYNC;
    if ((ask->fdflags & (VIV_FDFLAG_SYNC | VIV_FDFLAG_RSYNC)) != 0) flags |= O_SYNC;
    if ((ask->lookup & LOOKUP_FOLLOW) == 0) flags |= O_NOFOLLOW;
    return (uint32_t)(flags | O_NONBLOCK | O_NOCTTY);
}

// Looks at what was opened; closes it on an error. 0 or -errno.
static int look_at(int fd, uint32_t flags, struct stat *out_st)
{
    int host = viv_os_fstat(fd, out_st);
    if (host == 0 && S_ISREG(out_st->st_mode))
        host = viv_os_fcntl_setfl(fd, (int)flags & (O_APPEND | O_DSYNC | O_SYNC));
    if (host < 0) (void)viv_os_close(fd);
    return host;
}

static uint32_t work_open(struct viv_wasi_job *job)
{
    uint32_t mode = (job->flags & O_CREAT) != 0 ? 0666 : 0;
    int fd = viv_wasi__open_beneath(job->file[0]->fd, job->path[0], job->flags, mode, 0);
    if (fd < 0) return viv_wasi__path_errno(-fd);
    int host = look_at(fd, job->flags, &job->st);
    if (host < 0) return viv_wasi__errno(-host);
    job->fd = fd;
    return VIV_WASI_SUCCESS;
}

// Puts the open file into the table, for which there is room.
static uint32_t finish_open(struct viv_inst *inst, struct viv_guest_mem mem,
                            struct viv_wasi_job *job)
{
    struct viv_wasi_file *file = job->file[1];
    viv_wasi__file_describe(file, &job->st, job->fd);
    file->fd = job->fd;
    file->is_nonblock = file->kind == VIV_WASI_STREAM;
    struct viv_wasi_fd entry = {.file = file,
                                .rights = job->rights & file->rights,
                                .inheriting = job->inheriting,
                                .flags = (uint16_t)job->fdflags};
    job->fd = -1;
    job->file[1] = NULL;
    uint32_t fd = 0, error = viv_wasi__add(inst, &entry, &fd);
    if (error == VIV_WASI_SUCCESS) viv_put_u32(mem.base + job->out[0], fd);
    return error;
}

// The directory. Errors: badf, notdir, notcapable, inval.
static uint32_t find_dir(struct viv_inst *inst, const struct request *ask,
                         struct viv_wasi_fd **out_dir)
{
    struct viv_wasi_fd *dir;
    uint32_t need = VIV_RIGHT_PATH_OPEN;
    if ((ask->oflags & OPEN_CREAT) != 0) need |= VIV_RIGHT_PATH_CREATE_FILE;
    if ((ask->oflags & OPEN_TRUNC) != 0) need |= VIV_RIGHT_PATH_FILESTAT_SET_SIZE;
    uint32_t error = viv_wasi__find(inst, ask->dir, 0, &dir);
    if (error != VIV_WASI_SUCCESS) return error;
    if (viv_may_files(inst) != VIV_OK) return VIV_WASI_NOTCAPABLE;
    if (dir->file->kind != VIV_WASI_DIR) return VIV_WASI_NOTDIR;
    // Bits that stand for no right are ignored: guest libraries set all 64.
    uint64_t wanted = (ask->rights | ask->inheriting) & VIV_RIGHTS_WASI_ALL;
    uint64_t given = dir->inheriting | ~(uint64_t)(VIV_RIGHTS_DIRECTORY | VIV_RIGHTS_REGULAR);
    if ((dir->rights & need) != need || (wanted & ~given) != 0) return VIV_WASI_NOTCAPABLE;
    if ((ask->oflags & ~(uint32_t)OPEN_ALL) != 0) return VIV_WASI_INVAL;
    if ((ask->fdflags & ~(uint32_t)VIV_FDFLAG_ALL) != 0) return VIV_WASI_INVAL;
    if ((ask->oflags & OPEN_DIRECTORY) != 0 && (ask->oflags & (OPEN_CREAT | OPEN_TRUNC)) != 0)
        return VIV_WASI_INVAL;
    *out_dir = dir;
    return VIV_WASI_SUCCESS;
}

static uint32_t make_job(struct viv_inst *inst, struct viv_guest_mem mem, const struct request *ask,
                         struct viv_wasi_job **out_job)
{
    struct viv_wasi_fd *dir;
    uint32_t error = find_dir(inst, ask, &dir);
    if (error != VIV_WASI_SUCCESS) return error;
    const uint8_t *path = mem.base + ask->path;
    if (ask->path_len >= VIV_WASI_PATH_MAX) return VIV_WASI_NAMETOOLONG;
    if (memchr(path, '\0', ask->path_len) != NULL || !viv_utf8_is_valid(path, ask->path_len))
        return VIV_WASI_ILSEQ;
    struct viv_wasi_file *dir_file = viv_wasi__file_take(dir->file);
    uint32_t given = dir->inheriting;
    error = viv_wasi__reserve(inst);
    struct viv_wasi_job *job =
        error == VIV_WASI_SUCCESS ? viv_wasi__job_new((size_t)ask->path_len + 1) : NULL;
    if (job == NULL) {
        viv_wasi__file_drop(dir_file);
        return error == VIV_WASI_SUCCESS ? VIV_WASI_NOMEM : error;
    }
    job->file[0] = dir_file;
    job->file[1] = viv_wasi__file_new(dir_file->sched, -1, VIV_WASI_NULL);
    if (job->file[1] == NULL) {
        viv_wasi__job_free(job);
        return VIV_WASI_NOMEM;
    }
    memcpy(job->bytes, path, ask->path_len);
    job->bytes[ask->path_len] = '\0';
    job->path[0] = (char *)job->bytes;
    job->work = work_open;
    job->finish = finish_open;
    job->flags = host_flags(ask);
    job->fdflags = ask->fdflags;
    job->rights = (uint32_t)ask->rights & given;
    job->inheriting = (uint32_t)ask->inheriting & given;
    job->out[0] = ask->out_ptr;
    *out_job = job;
    return VIV_WASI_SUCCESS;
}

// In place, if the directory cache knows the whole path. False: the pool has to do it.
static bool try_cached(struct viv_wasi_job *job, uint32_t *out_error)
{
    if ((job->flags & (O_CREAT | O_TRUNC)) != 0) return false;
    int fd = viv_os_openat2(job->file[0]->fd, job->path[0], job->flags, 0,
                            RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_CACHED);
    if (fd == -EAGAIN || fd == -EINVAL) return false; // EINVAL: Linux before 5.12
    int host = fd < 0 ? fd : look_at(fd, job->flags, &job->st);
    *out_error = host < 0 ? viv_wasi__path_errno(-host) : VIV_WASI_SUCCESS;
    if (host >= 0) job->fd = fd;
    return true;
}

enum viv_host viv_wasm__wasi_path_open(struct viv_inst *inst, const wasmtime_val_t *args,
                                       wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_job *job;
    struct request ask = {
        .dir = viv_wasi__u32(args, 0),
        .lookup = viv_wasi__u32(args, 1),
        .path = viv_wasi__u32(args, 2),
        .path_len = viv_wasi__u32(args, 3),
        .oflags = viv_wasi__u32(args, 4),
        .rights = viv_wasi__u64(args, 5),
        .inheriting = viv_wasi__u64(args, 6),
        .fdflags = viv_wasi__u32(args, 7),
        .out_ptr = viv_wasi__u32(args, 8),
    };
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    if (!viv_guest_in(mem, ask.path, ask.path_len) || !viv_guest_in(mem, ask.out_ptr, 4))
        return viv_wasi__done(result, VIV_WASI_FAULT);
    uint32_t error = make_job(inst, mem, &ask, &job);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    if (!try_cached(job, &error)) return viv_wasi__job_run(inst, result, job);
    if (error == VIV_WASI_SUCCESS) error = finish_open(inst, mem, job);
    viv_wasi__job_free(job);
    return viv_wasi__done(result, error);
}
