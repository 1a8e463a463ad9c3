// SPDX-License-Identifier: Apache-2.0
// Open files, and what a guest is told about one. A file is counted: by the descriptor that names
// it, by jobs that work on it, by sets of directories. The last one closes it. The kernel's own
// standard streams are not counted, since they outlive every process.
#include "wasm/wasi_int.h"

#include "sched/io.h"
#include "wasm/may.h"

struct viv_wasi_file *viv_wasi__file_new(struct viv_sched *sched, int fd, enum viv_wasi_kind kind)
{
    struct viv_wasi_file *file = viv_try_alloc(sizeof(*file), VIV_TAG_WASI);
    if (file == NULL) return NULL;
    *file = (struct viv_wasi_file){
        .kind = (uint8_t)kind, .allowed = UINT32_MAX, .fd = fd, .sched = sched};
    file->filetype = kind == VIV_WASI_DIR ? VIV_FILETYPE_DIRECTORY : VIV_FILETYPE_UNKNOWN;
    file->rights = kind == VIV_WASI_DIR ? VIV_RIGHTS_DIRECTORY : VIV_RIGHTS_STREAM;
    atomic_init(&file->refs, 1);
    return file;
}

void viv_wasi__file_describe(struct viv_wasi_file *file, const struct stat *st, int fd)
{
    file->filetype = viv_wasi__filetype(st, fd);
    file->kind = VIV_WASI_STREAM;
    file->rights = VIV_RIGHTS_STREAM;
    if (file->filetype == VIV_FILETYPE_DIRECTORY) {
        file->kind = VIV_WASI_DIR;
        file->rights = VIV_RIGHTS_DIRECTORY;
    } else if (file->filetype == VIV_FILETYPE_REGULAR || file->filetype == VIV_FILETYPE_BLOCK) {
        file->kind = VIV_WASI_REGULAR;
        file->rights = VIV_RIGHTS_REGULAR;
    } else if (file->filetype == VIV_FILETYPE_CHARACTER && !viv_os_isatty(fd)) {
        // A character device without these rights is a terminal to the C library of guests.
        file->rights |= VIV_RIGHT_FD_SEEK | VIV_RIGHT_FD_TELL;
    }
}

struct viv_wasi_file *viv_wasi__file_take(struct viv_wasi_file *file)
{
    // Relaxed: the taker holds one already.
    if (!file->is_kernels) atomic_fetch_add_explicit(&file->refs, 1, memory_order_relaxed);
    return file;
}

void viv_wasi__file_drop(struct viv_wasi_file *file)
{
    if (file == NULL || file->is_kernels) return;
    // Acq_rel: uses by other holders come before the close.
    if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) != 1) return;
    if (file->was_armed) viv_io_forget(file->sched, file->fd);
    if (file->fd >= 0) (void)viv_os_close(file->fd);
    viv_capture_drop(file->capture);
    viv_free(file, sizeof(*file), VIV_TAG_WASI);
}

uint8_t viv_wasi__filetype(const struct stat *st, int fd)
{
    switch (st->st_mode & S_IFMT) {
    case S_IFREG:
        return VIV_FILETYPE_REGULAR;
    case S_IFDIR:
        return VIV_FILETYPE_DIRECTORY;
    case S_IFLNK:
        return VIV_FILETYPE_SYMLINK;
    case S_IFBLK:
        return VIV_FILETYPE_BLOCK;
    case S_IFCHR:
        return VIV_FILETYPE_CHARACTER;
    case S_IFSOCK:
        return viv_os_is_stream_socket(fd) ? VIV_FILETYPE_SOCKET_STREAM : VIV_FILETYPE_SOCKET_DGRAM;
    default:
        return VIV_FILETYPE_UNKNOWN; // a FIFO has no type of its own in WASI
    }
}

static uint64_t ns_of(struct timespec time)
{
    return (uint64_t)time.tv_sec * VIV_NS_PER_SEC + (uint64_t)time.tv_nsec;
}

void viv_wasi__put_filestat(struct viv_inst *inst, uint8_t *at, const struct stat *st,
                            uint8_t filetype)
{
    // A file that was just written has the time in it.
    const bool sees_times = viv_may_word(inst, VIV_CAP_TIME_READ, VIV_TIME_WALL) == VIV_OK;
    viv_put_u64(at, st->st_dev);
    viv_put_u64(at + 8, st->st_ino);
    viv_put_u64(at + 16, filetype);
    viv_put_u64(at + 24, st->st_nlink);
    viv_put_u64(at + 32, (uint64_t)st->st_size);
    viv_put_u64(at + 40, sees_times ? ns_of(st->st_atim) : 0);
    viv_put_u64(at + 48, sees_times ? ns_of(st->st_mtim) : 0);
    viv_put_u64(at + 56, sees_times ? ns_of(st->st_ctim) : 0);
}

// One time of a pair: to be set, set to now, or left alone.
static struct timespec time_of(uint64_t ns, bool is_set, bool is_now)
{
    struct timespec time = {.tv_sec = (time_t)(ns / VIV_NS_PER_SEC),
                            .tv_nsec = (long)(ns % VIV_NS_PER_SEC)};
    if (is_now)
        time.tv_nsec = UTIME_NOW;
    else if (!is_set)
        time.tv_nsec = UTIME_OMIT;
    return time;
}

uint32_t viv_wasi__times(uint64_t atim, uint64_t mtim, uint32_t flags, struct timespec out_times[2])
{
    enum { ATIM = 1, ATIM_NOW = 2, MTIM = 4, MTIM_NOW = 8, ALL = 15 };
    bool both = (flags & (ATIM | ATIM_NOW)) == (ATIM | ATIM_NOW) ||
                (flags & (MTIM | MTIM_NOW)) == (MTIM | MTIM_NOW);
    if (both || (flags & ~(uint32_t)ALL) != 0) return VIV_WASI_INVAL;
    out_times[0] = time_of(atim, (flags & ATIM) != 0, (flags & ATIM_NOW) != 0);
    out_times[1] = time_of(mtim, (flags & MTIM) != 0, (flags & MTIM_NOW) != 0);
    return VIV_WASI_SUCCESS;
}
