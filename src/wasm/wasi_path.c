// SPDX-License-Identifier: Apache-2.0
// Functions on paths, and how a path stays inside its directory.
//
//   whole path ──openat2(dir, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)──> descriptor   (stat, open,
//   read a link, follow a final link: act on what O_PATH has found)
//   parent ──the same──> descriptor, and the last component, which is no `..`: mkdirat, unlinkat,
//   renameat, linkat, symlinkat, which do not follow a last component
//
// The system resolves and checks in one step, so a link swapped meanwhile cannot lead out. EXDEV is
// an escape (perm); EAGAIN means that a rename was in the way and is tried again 16 times.
// Threads: work_… a pool thread, the rest the process's own. path_open first tries in place what
// the directory cache can answer.
#include "base/text.h"
#include "gen/wasm_imports.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <errno.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>

enum { TRIES = 16, LOOKUP_FOLLOW = 1 };

int viv_wasi__open_beneath(int dir, const char *path, uint64_t flags, uint32_t mode,
                           uint64_t resolve)
{
    resolve |= RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
    int fd = -EAGAIN;
    for (int i = 0; i < TRIES && fd == -EAGAIN; i++)
        fd = viv_os_openat2(dir, path, flags, mode, resolve);
    return fd;
}

static uint32_t result_of(int host)
{
    return host < 0 ? viv_wasi__errno(-host) : VIV_WASI_SUCCESS;
}

int viv_wasi__set_times(int fd, const struct timespec times[2])
{
    int host = viv_os_utimensat(fd, "", times, AT_EMPTY_PATH);
    if (host != -EINVAL) return host;
    char path[32]; // Linux before 5.8
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return viv_os_utimensat(AT_FDCWD, path, times, 0);
}

// What path names beneath the job's directory; a descriptor for its name only, or -errno.
static int open_named(const struct viv_wasi_job *job, int index, bool follow)
{
    return viv_wasi__open_beneath(job->file[index]->fd, job->path[index],
                                  (uint64_t)(O_PATH | (follow ? 0 : O_NOFOLLOW)), 0, 0);
}

// The directory of the last component, which stays behind in *out_last with the slashes after it.
static int open_parent(struct viv_wasi_job *job, int index, const char **out_last)
{
    char *path = job->path[index];
    size_t end = strlen(path);
    if (end == 0) return -ENOENT;
    if (path[0] == '/') return -EXDEV;
    while (path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    if (end - start == 2 && memcmp(path + start, "..", 2) == 0) return -EXDEV;
    *out_last = path + start;
    if (start > 0) path[start - 1] = '\0';
    return viv_wasi__open_beneath(job->file[index]->fd, start > 0 ? path : ".",
                                  O_PATH | O_DIRECTORY, 0, 0);
}

static bool has_slash(const char *last)
{
    return last[strlen(last) - 1] == '/';
}

// ---- what all begin with ----

struct call {
    uint32_t fd[2], right[2], ptr[2], len[2];
    bool has_fd[2], has_path[2];
    uint32_t out_ptr, out_len; // of results; checked when has_out
    uint32_t out2_ptr;         // a u32; checked when has_out2
    bool has_out, has_out2;
    uint32_t data_bytes; // room the work needs
};

static bool are_pointers_in(struct viv_guest_mem mem, const struct call *call)
{
    for (int i = 0; i < 2; i++) {
        if (call->has_path[i] && !viv_guest_in(mem, call->ptr[i], call->len[i])) return false;
    }
    if (call->has_out && !viv_guest_in(mem, call->out_ptr, call->out_len)) return false;
    return !call->has_out2 || viv_guest_in(mem, call->out2_ptr, 4);
}

static uint32_t check_text(struct viv_guest_mem mem, uint32_t ptr, uint32_t len)
{
    if (len >= VIV_WASI_PATH_MAX) return VIV_WASI_NAMETOOLONG;
    const uint8_t *text = mem.base + ptr;
    if (memchr(text, '\0', len) != NULL || !viv_utf8_is_valid(text, len)) return VIV_WASI_ILSEQ;
    return VIV_WASI_SUCCESS;
}

// Checks everything and makes the job. Errors: fault, badf, notdir, notcapable, nametoolong, ilseq,
// nomem.
static uint32_t prepare(struct viv_inst *inst, struct viv_guest_mem mem, const struct call *call,
                        struct viv_wasi_job **out_job)
{
    struct viv_wasi_fd *entry[2] = {NULL, NULL};
    size_t bytes = call->data_bytes;
    if (!are_pointers_in(mem, call)) return VIV_WASI_FAULT;
    for (int i = 0; i < 2; i++) {
        if (!call->has_fd[i]) continue;
        uint32_t error = viv_wasi__find(inst, call->fd[i], 0, &entry[i]);
        if (error != VIV_WASI_SUCCESS) return error;
        if (entry[i]->file->kind != VIV_WASI_DIR) return VIV_WASI_NOTDIR;
        if (viv_may_files(inst) != VIV_OK) return VIV_WASI_NOTCAPABLE;
        if ((entry[i]->rights & call->right[i]) != call->right[i]) return VIV_WASI_NOTCAPABLE;
    }
    for (int i = 0; i < 2; i++) {
        if (!call->has_path[i]) continue;
        uint32_t error = check_text(mem, call->ptr[i], call->len[i]);
        if (error != VIV_WASI_SUCCESS) return error;
        bytes += call->len[i] + 1;
    }
    struct viv_wasi_job *job = viv_wasi__job_new(bytes);
    if (job == NULL) return VIV_WASI_NOMEM;
    uint8_t *at = job->bytes;
    for (int i = 0; i < 2; i++) {
        if (entry[i] != NULL) job->file[i] = viv_wasi__file_take(entry[i]->file);
        if (!call->has_path[i]) continue;
        memcpy(at, mem.base + call->ptr[i], call->len[i]);
        at[call->len[i]] = '\0';
        job->path[i] = (char *)at;
        at += call->len[i] + 1;
    }
    job->data = at;
    job->data_bytes = call->data_bytes;
    job->out[0] = call->out_ptr;
    job->out[1] = call->out2_ptr;
    *out_job = job;
    return VIV_WASI_SUCCESS;
}

static enum viv_host run(struct viv_inst *inst, const struct call *call, wasmtime_val_t *result,
                         uint32_t (*work)(struct viv_wasi_job *job), uint32_t flags)
{
    struct viv_guest_mem mem;
    struct viv_wasi_job *job;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint32_t error = prepare(inst, mem, call, &job);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    job->work = work;
    job->flags = flags;
    return viv_wasi__job_run(inst, result, job);
}

// A call with one directory, and its path in the arguments from `first` on.
static struct call call_on(const wasmtime_val_t *args, size_t first, uint32_t right)
{
    struct call call = {.has_fd = {true}, .has_path = {true}};
    call.fd[0] = viv_wasi__u32(args, 0);
    call.right[0] = right;
    call.ptr[0] = viv_wasi__u32(args, first);
    call.len[0] = viv_wasi__u32(args, first + 1);
    return call;
}

// Adds a second directory and path: descriptor, pointer and length from `first` on.
static void add_second(struct call *call, const wasmtime_val_t *args, size_t first, uint32_t right)
{
    call->has_fd[1] = call->has_path[1] = true;
    call->fd[1] = viv_wasi__u32(args, first);
    call->ptr[1] = viv_wasi__u32(args, first + 1);
    call->len[1] = viv_wasi__u32(args, first + 2);
    call->right[1] = right;
}

// ---- names in a directory ----

static uint32_t work_make_dir(struct viv_wasi_job *job)
{
    const char *last;
    int parent = open_parent(job, 0, &last);
    if (parent < 0) return viv_wasi__path_errno(-parent);
    int host = viv_os_mkdirat(parent, last, 0777);
    (void)viv_os_close(parent);
    return result_of(host);
}

enum viv_host viv_wasm__wasi_path_create_directory(struct viv_inst *inst,
                                                   const wasmtime_val_t *args,
                                                   wasmtime_val_t *result)
{
    struct call call = call_on(args, 1, VIV_RIGHT_PATH_CREATE_DIRECTORY);
    return run(inst, &call, result, work_make_dir, 0);
}

static uint32_t work_unlink(struct viv_wasi_job *job)
{
    const char *last;
    int parent = open_parent(job, 0, &last);
    if (parent < 0) return viv_wasi__path_errno(-parent);
    int host = viv_os_unlinkat(parent, last, (int)job->flags);
    (void)viv_os_close(parent);
    return result_of(host);
}

enum viv_host viv_wasm__wasi_path_remove_directory(struct viv_inst *inst,
                                                   const wasmtime_val_t *args,
                                                   wasmtime_val_t *result)
{
    struct call call = call_on(args, 1, VIV_RIGHT_PATH_REMOVE_DIRECTORY);
    return run(inst, &call, result, work_unlink, AT_REMOVEDIR);
}

enum viv_host viv_wasm__wasi_path_unlink_file(struct viv_inst *inst, const wasmtime_val_t *args,
                                              wasmtime_val_t *result)
{
    struct call call = call_on(args, 1, VIV_RIGHT_PATH_UNLINK_FILE);
    return run(inst, &call, result, work_unlink, 0);
}

static uint32_t work_rename(struct viv_wasi_job *job)
{
    const char *last[2];
    int from = open_parent(job, 0, &last[0]);
    if (from < 0) return viv_wasi__path_errno(-from);
    int to = open_parent(job, 1, &last[1]);
    int host = to < 0 ? to : viv_os_renameat(from, last[0], to, last[1]);
    if (to >= 0) (void)viv_os_close(to);
    (void)viv_os_close(from);
    return to < 0 ? viv_wasi__path_errno(-to) : result_of(host);
}

enum viv_host viv_wasm__wasi_path_rename(struct viv_inst *inst, const wasmtime_val_t *args,
                                         wasmtime_val_t *result)
{
    struct call call = call_on(args, 1, VIV_RIGHT_PATH_RENAME_SOURCE);
    add_second(&call, args, 3, VIV_RIGHT_PATH_RENAME_TARGET);
    return run(inst, &call, result, work_rename, 0);
}

// ---- links ----

// Links what a final link leads to, found first, under the new name.
static int link_followed(struct viv_wasi_job *job, int to, const char *new_last)
{
    char path[32];
    int found = open_named(job, 0, true);
    if (found < 0) return found == -EXDEV ? -EPERM : found;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", found);
    int host = viv_os_linkat(AT_FDCWD, path, to, new_last, AT_SYMLINK_FOLLOW);
    (void)viv_os_close(found);
    return host;
}

static int link_named(struct viv_wasi_job *job, int to, const char *new_last)
{
    const char *last;
    int from = open_parent(job, 0, &last);
    if (from < 0) return from == -EXDEV ? -EPERM : from;
    // With a slash the system would follow a link, wherever it leads; and a directory cannot be
    // linked.
    int host = has_slash(last) ? -ENOTDIR : viv_os_linkat(from, last, to, new_last, 0);
    (void)viv_os_close(from);
    return host;
}

static uint32_t work_link(struct viv_wasi_job *job)
{
    const char *last;
    int to = open_parent(job, 1, &last);
    if (to < 0) return viv_wasi__path_errno(-to);
    int host = job->flags != 0 ? link_followed(job, to, last) : link_named(job, to, last);
    (void)viv_os_close(to);
    return result_of(host);
}

enum viv_host viv_wasm__wasi_path_link(struct viv_inst *inst, const wasmtime_val_t *args,
                                       wasmtime_val_t *result)
{
    struct call call = call_on(args, 2, VIV_RIGHT_PATH_LINK_SOURCE);
    add_second(&call, args, 4, VIV_RIGHT_PATH_LINK_TARGET);
    return run(inst, &call, result, work_link, viv_wasi__u32(args, 1) & LOOKUP_FOLLOW);
}

static uint32_t work_symlink(struct viv_wasi_job *job)
{
    const char *last;
    if (job->path[0][0] == '/') return VIV_WASI_PERM;
    int parent = open_parent(job, 1, &last);
    if (parent < 0) return viv_wasi__path_errno(-parent);
    int host = viv_os_symlinkat(job->path[0], parent, last);
    (void)viv_os_close(parent);
    return result_of(host);
}

enum viv_host viv_wasm__wasi_path_symlink(struct viv_inst *inst, const wasmtime_val_t *args,
                                          wasmtime_val_t *result)
{
    struct call call = {.has_path = {true}};
    call.ptr[0] = viv_wasi__u32(args, 0);
    call.len[0] = viv_wasi__u32(args, 1);
    add_second(&call, args, 2, VIV_RIGHT_PATH_SYMLINK);
    return run(inst, &call, result, work_symlink, 0);
}

static uint32_t work_read_link(struct viv_wasi_job *job)
{
    int fd = open_named(job, 0, false);
    if (fd < 0) return viv_wasi__path_errno(-fd);
    struct stat st;
    int host = viv_os_fstat(fd, &st);
    if (host == 0 && !S_ISLNK(st.st_mode)) host = -EINVAL;
    ssize_t len = host < 0 ? host : viv_os_readlinkat(fd, "", (char *)job->data, job->data_bytes);
    (void)viv_os_close(fd);
    job->count = len;
    return len < 0 ? viv_wasi__errno((int)-len) : VIV_WASI_SUCCESS;
}

static uint32_t finish_read_link(struct viv_inst *inst, struct viv_guest_mem mem,
                                 struct viv_wasi_job *job)
{
    (void)inst;
    uint64_t len = viv_min_u64((uint64_t)job->count, job->arg[0]);
    if (!viv_guest_in(mem, job->out[0], len) || !viv_guest_in(mem, job->out[1], 4))
        return VIV_WASI_FAULT;
    memcpy(mem.base + job->out[0], job->data, (size_t)len);
    viv_put_u32(mem.base + job->out[1], (uint32_t)len);
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_path_readlink(struct viv_inst *inst, const wasmtime_val_t *args,
                                           wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_job *job;
    struct call call = call_on(args, 1, VIV_RIGHT_PATH_READLINK);
    call.has_out = call.has_out2 = true;
    call.out_ptr = viv_wasi__u32(args, 3);
    call.out_len = viv_wasi__u32(args, 4);
    call.out2_ptr = viv_wasi__u32(args, 5);
    call.data_bytes = VIV_WASI_PATH_MAX;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint32_t error = prepare(inst, mem, &call, &job);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    job->work = work_read_link;
    job->finish = finish_read_link;
    job->arg[0] = call.out_len;
    return viv_wasi__job_run(inst, result, job);
}

// ---- state of a file ----

static uint32_t work_stat(struct viv_wasi_job *job)
{
    int fd = open_named(job, 0, job->flags != 0);
    if (fd < 0) return viv_wasi__path_errno(-fd);
    int host = viv_os_fstat(fd, &job->st);
    (void)viv_os_close(fd);
    return result_of(host);
}

static uint32_t finish_stat(struct viv_inst *inst, struct viv_guest_mem mem,
                            struct viv_wasi_job *job)
{
    if (!viv_guest_in(mem, job->out[0], 64)) return VIV_WASI_FAULT;
    viv_wasi__put_filestat(inst, mem.base + job->out[0], &job->st,
                           viv_wasi__filetype(&job->st, -1));
    return VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_path_filestat_get(struct viv_inst *inst, const wasmtime_val_t *args,
                                               wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_job *job;
    struct call call = call_on(args, 2, VIV_RIGHT_PATH_FILESTAT_GET);
    call.has_out = true;
    call.out_ptr = viv_wasi__u32(args, 4);
    call.out_len = 64;
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint32_t error = prepare(inst, mem, &call, &job);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    job->work = work_stat;
    job->finish = finish_stat;
    job->flags = viv_wasi__u32(args, 1) & LOOKUP_FOLLOW;
    return viv_wasi__job_run(inst, result, job);
}

// flags: fstflags, and above them whether a final link is followed.
enum { TIMES_FOLLOW = 1 << 16 };

static uint32_t work_set_times(struct viv_wasi_job *job)
{
    struct timespec times[2];
    uint32_t error = viv_wasi__times(job->arg[0], job->arg[1], job->flags & 0xffff, times);
    if (error != VIV_WASI_SUCCESS) return error;
    int fd = open_named(job, 0, (job->flags & TIMES_FOLLOW) != 0);
    if (fd < 0) return viv_wasi__path_errno(-fd);
    int host = viv_wasi__set_times(fd, times);
    (void)viv_os_close(fd);
    return result_of(host);
}

enum viv_host viv_wasm__wasi_path_filestat_set_times(struct viv_inst *inst,
                                                     const wasmtime_val_t *args,
                                                     wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_job *job;
    struct call call = call_on(args, 2, VIV_RIGHT_PATH_FILESTAT_SET_TIMES);
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    uint32_t error = prepare(inst, mem, &call, &job);
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    job->work = work_set_times;
    job->arg[0] = viv_wasi__u64(args, 4);
    job->arg[1] = viv_wasi__u64(args, 5);
    job->flags = viv_wasi__u32(args, 6) & 0xffff;
    if ((viv_wasi__u32(args, 1) & LOOKUP_FOLLOW) != 0) job->flags |= TIMES_FOLLOW;
    return viv_wasi__job_run(inst, result, job);
}
