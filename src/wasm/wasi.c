// SPDX-License-Identifier: Apache-2.0
// WASI state of a process: the table of descriptors, made at birth.
//
//   0 1 2   standard streams: the kernel's, captured, or null
//   3 …     directories of the config, in its order (files of inst->dirs, shared with relatives)
//   then    what the guest opens; always the lowest free number
//
// Rights of an entry only shrink. Threads: the process's own.
#include "wasm/wasi.h"

#include "base/assert.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/wasi_int.h"
#include <string.h>

enum { FIRST_ENTRIES = 8 };

// ---- the table ----

uint32_t viv_wasi__find(const struct viv_inst *inst, uint32_t fd, uint32_t need,
                        struct viv_wasi_fd **out_entry)
{
    const struct viv_wasi *wasi = inst->wasi;
    if (fd >= wasi->cap || wasi->fds[fd].file == NULL) return VIV_WASI_BADF;
    if ((wasi->fds[fd].rights & need) != need) return VIV_WASI_NOTCAPABLE;
    *out_entry = &wasi->fds[fd];
    return VIV_WASI_SUCCESS;
}

uint32_t viv_wasi__reserve(struct viv_wasi *wasi)
{
    while (wasi->free_from < wasi->cap && wasi->fds[wasi->free_from].file != NULL)
        wasi->free_from++;
    if (wasi->free_from < wasi->cap) return VIV_WASI_SUCCESS;
    if (wasi->cap >= VIV_WASI_FDS_MAX) return VIV_WASI_MFILE;
    uint32_t cap = wasi->cap == 0 ? FIRST_ENTRIES : wasi->cap * 2;
    struct viv_wasi_fd *fds =
        viv_try_realloc(wasi->fds, wasi->cap * sizeof(*fds), cap * sizeof(*fds), VIV_TAG_WASI);
    if (fds == NULL) return VIV_WASI_NOMEM;
    memset(fds + wasi->cap, 0, (cap - wasi->cap) * sizeof(*fds));
    wasi->fds = fds;
    wasi->cap = cap;
    return VIV_WASI_SUCCESS;
}

uint32_t viv_wasi__add(struct viv_wasi *wasi, struct viv_wasi_fd entry)
{
    uint32_t fd = wasi->free_from;
    VIV_ASSERT(fd < wasi->cap && wasi->fds[fd].file == NULL);
    wasi->fds[fd] = entry;
    wasi->free_from++;
    return fd;
}

struct viv_wasi_fd viv_wasi__remove(struct viv_wasi *wasi, uint32_t fd)
{
    struct viv_wasi_fd entry = wasi->fds[fd];
    wasi->fds[fd] = (struct viv_wasi_fd){0};
    if (fd < wasi->free_from) wasi->free_from = fd;
    return entry;
}

// ---- birth and end ----

// The file of a standard stream, counted; NULL without memory.
static struct viv_wasi_file *standard_file(struct viv_inst *inst, uint32_t fd,
                                           struct viv_capture_part *part)
{
    struct viv_stdio_set *set = viv_runtime_stdio(inst->runtime);
    struct viv_config *config = inst->config;
    if (config->stdio == VIV_STDIO_INHERITED) return viv_stdio__file(set, fd);
    if (part == NULL || fd == 0) return viv_stdio__null(set);
    struct viv_sched *sched = viv_kernel_sched(viv_proc_kernel(inst->proc));
    struct viv_wasi_file *file = viv_wasi__file_new(sched, -1, VIV_WASI_CAPTURE);
    if (file == NULL) return NULL;
    file->capture = viv_capture_take(config->capture);
    file->part = part;
    if (viv_capture__is_through(config->capture)) file->through = viv_stdio__file(set, fd);
    return file;
}

static uint32_t standard_rights(const struct viv_wasi_file *file, uint32_t fd)
{
    enum {
        READS = VIV_RIGHT_FD_READ,
        WRITES = VIV_RIGHT_FD_WRITE | VIV_RIGHT_FD_ALLOCATE | VIV_RIGHT_FD_FILESTAT_SET_SIZE
    };
    return file->rights & ~(uint32_t)(fd == 0 ? WRITES : READS);
}

static enum viv_err add_entry(struct viv_wasi *wasi, struct viv_wasi_fd entry)
{
    if (entry.file == NULL) return VIV_E_EXHAUSTED;
    if (viv_wasi__reserve(wasi) == VIV_WASI_SUCCESS) {
        (void)viv_wasi__add(wasi, entry);
        return VIV_OK;
    }
    viv_wasi__file_drop(entry.file);
    return VIV_E_EXHAUSTED;
}

static enum viv_err add_standard(struct viv_inst *inst)
{
    struct viv_capture_part *part = NULL;
    struct viv_config *config = inst->config;
    if (config->stdio == VIV_STDIO_CAPTURED && config->capture != NULL) {
        part = viv_capture__attach(config->capture);
        if (part == NULL) return VIV_E_EXHAUSTED;
    }
    for (uint32_t fd = 0; fd < 3; fd++) {
        struct viv_wasi_fd entry = {.file = standard_file(inst, fd, part)};
        if (entry.file != NULL) entry.rights = standard_rights(entry.file, fd);
        VIV_TRY(add_entry(inst->wasi, entry));
    }
    return VIV_OK;
}

static enum viv_err add_dirs(struct viv_inst *inst)
{
    uint32_t count = viv_dirs__count(inst->dirs);
    for (uint32_t i = 0; i < count; i++) {
        struct viv_wasi_fd entry = {
            .file = viv_wasi__file_take(viv_dirs__file(inst->dirs, i)),
            .rights = VIV_RIGHTS_DIRECTORY,
            .inheriting = VIV_RIGHTS_DIRECTORY | VIV_RIGHTS_REGULAR,
            .preopen = (uint16_t)(i + 1),
        };
        VIV_TRY(add_entry(inst->wasi, entry));
    }
    return VIV_OK;
}

enum viv_err viv_wasi_new(struct viv_inst *inst, struct viv_diag *diag)
{
    if (inst->dirs == NULL) {
        bool is_child = inst->birth != NULL && !viv_pid_eq(inst->birth->parent, VIV_PID_NONE);
        VIV_TRY(viv_dirs__open(inst, is_child, diag));
    }
    inst->wasi = viv_try_calloc(1, sizeof(*inst->wasi), VIV_TAG_WASI);
    enum viv_err err = inst->wasi == NULL ? VIV_E_EXHAUSTED : add_standard(inst);
    if (err == VIV_OK) err = add_dirs(inst);
    if (err == VIV_OK) return VIV_OK;
    if (inst->wasi != NULL) viv_wasi_free(inst);
    return viv_diag_set(diag, err, "cannot make the descriptors of the process: %s",
                        viv_err_text(err));
}

void viv_wasi_free(struct viv_inst *inst)
{
    struct viv_wasi *wasi = inst->wasi;
    inst->wasi = NULL;
    for (uint32_t fd = 0; fd < wasi->cap; fd++) {
        viv_wasi__file_drop(wasi->fds[fd].file);
        viv_wasi__listing_drop(wasi->fds[fd].listing);
    }
    viv_free(wasi->fds, wasi->cap * sizeof(*wasi->fds), VIV_TAG_WASI);
    viv_free(wasi, sizeof(*wasi), VIV_TAG_WASI);
    viv_dirs_drop(inst->dirs);
    inst->dirs = NULL;
}
