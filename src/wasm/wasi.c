// SPDX-License-Identifier: Apache-2.0
// WASI state of a process: a map from descriptors to handles of resources of kind file and dir.
//
//   0 1 2   standard streams: the kernel's, captured, or null
//   3 …     directories of the config, in its order (files of inst->dirs, shared with relatives)
//   then    what the guest opens; always the lowest free number
//
// Most processes never ask, so the map is made at the first call that names a number. Rights of an
// entry only shrink. The registry closes what is open at the end. Threads: the process's own.
#include "wasm/wasi.h"

#include "base/assert.h"
#include "wasm/runtime.h"
#include "wasm/spawn.h"
#include "wasm/wasi_int.h"
#include <string.h>

enum { FIRST_SLOTS = 8 };

// ---- the table ----

// Everything that is open, numbers and all; made when the guest asks for the first of it.
static uint32_t make_table(struct viv_inst *inst);

uint32_t viv_wasi__find(struct viv_inst *inst, uint32_t fd, uint32_t need,
                        struct viv_wasi_fd **out_entry)
{
    const struct viv_wasi *wasi = inst->wasi;
    if (VIV_UNLIKELY(wasi->slots == NULL)) {
        uint32_t error = make_table(inst);
        if (error != VIV_WASI_SUCCESS) return error;
    }
    const struct viv_wasi_slot *slots = wasi->slots;
    if (slots == NULL || fd >= wasi->cap || slots[fd].hdl.w == 0) return VIV_WASI_BADF;
    void *object;
    enum viv_err err = viv_held_use(inst, slots[fd].hdl, slots[fd].kind, 0, &object);
    if (err != VIV_OK) return VIV_WASI_BADF; // closed by its handle
    struct viv_wasi_fd *entry = object;
    if ((entry->rights & need) != need) return VIV_WASI_NOTCAPABLE;
    *out_entry = entry;
    return VIV_WASI_SUCCESS;
}

static uint32_t reserve(struct viv_wasi *wasi)
{
    while (wasi->free_from < wasi->cap && wasi->slots[wasi->free_from].hdl.w != 0)
        wasi->free_from++;
    if (wasi->free_from < wasi->cap) return VIV_WASI_SUCCESS;
    if (wasi->cap >= VIV_WASI_FDS_MAX) return VIV_WASI_MFILE;
    uint32_t cap = wasi->cap == 0 ? FIRST_SLOTS : wasi->cap * 2;
    struct viv_wasi_slot *slots = viv_try_realloc(wasi->slots, wasi->cap * sizeof(*slots),
                                                  cap * sizeof(*slots), VIV_TAG_WASI);
    if (slots == NULL) return VIV_WASI_NOMEM;
    memset(slots + wasi->cap, 0, (cap - wasi->cap) * sizeof(*slots));
    wasi->slots = slots;
    wasi->cap = cap;
    return VIV_WASI_SUCCESS;
}

uint32_t viv_wasi__reserve(struct viv_inst *inst)
{
    return reserve(inst->wasi);
}

void viv_wasi__fd_close(struct viv_wasi_fd *entry)
{
    viv_wasi__file_drop(entry->file);
    viv_wasi__listing_drop(entry->listing);
    entry->file = NULL;
    entry->listing = NULL;
}

// A limit of descriptors has its own errno (the contract on Wasm); any other limit of the account
// answers as QUOTA does everywhere.
static uint32_t held_errno(struct viv_inst *inst, viv_kind kind, enum viv_err err)
{
    if (err != VIV_E_QUOTA) return VIV_WASI_NOMEM;
    return viv_held_is_full(inst, kind) ? VIV_WASI_MFILE : VIV_WASI_DQUOT;
}

uint32_t viv_wasi__add(struct viv_inst *inst, const struct viv_wasi_fd *entry, uint32_t *out_fd)
{
    struct viv_wasi *wasi = inst->wasi;
    uint32_t error = reserve(wasi);
    struct viv_wasi_fd *object =
        error == VIV_WASI_SUCCESS ? viv_try_alloc(sizeof(*object), VIV_TAG_WASI) : NULL;
    if (object == NULL) {
        viv_wasi__file_drop(entry->file);
        return error != VIV_WASI_SUCCESS ? error : VIV_WASI_NOMEM;
    }
    *object = *entry;
    struct viv_wasi_slot slot = {.kind = entry->file->kind == VIV_WASI_DIR ? VIV_KIND_DIR
                                                                           : VIV_KIND_FILE};
    enum viv_err err = viv_held_add(inst, slot.kind, object, &slot.hdl);
    if (err != VIV_OK) return held_errno(inst, slot.kind, err);
    VIV_ASSERT(wasi->slots != NULL); // there was room
    *out_fd = wasi->free_from++;
    wasi->slots[*out_fd] = slot;
    return VIV_WASI_SUCCESS;
}

void viv_wasi__close(struct viv_inst *inst, uint32_t fd)
{
    struct viv_wasi *wasi = inst->wasi;
    VIV_ASSERT(wasi->slots != NULL && fd < wasi->cap);
    viv_held_close(inst, wasi->slots[fd].hdl);
    wasi->slots[fd] = (struct viv_wasi_slot){0};
    if (fd < wasi->free_from) wasi->free_from = fd;
}

void viv_wasi__renumber(struct viv_inst *inst, uint32_t from, uint32_t to)
{
    struct viv_wasi *wasi = inst->wasi;
    viv_held_close(inst, wasi->slots[to].hdl);
    wasi->slots[to] = wasi->slots[from];
    wasi->slots[from] = (struct viv_wasi_slot){0};
    if (from < wasi->free_from) wasi->free_from = from;
}

// ---- birth and end ----

// The file of a standard stream, counted; NULL without memory.
static struct viv_wasi_file *standard_file(struct viv_inst *inst, uint32_t fd)
{
    struct viv_capture_part *part = inst->wasi->part;
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

static uint32_t add_standard(struct viv_inst *inst)
{
    for (uint32_t fd = 0, number; fd < 3; fd++) {
        struct viv_wasi_fd entry = {.file = standard_file(inst, fd)};
        if (entry.file == NULL) return VIV_WASI_NOMEM;
        entry.rights = standard_rights(entry.file, fd);
        uint32_t error = viv_wasi__add(inst, &entry, &number);
        if (error != VIV_WASI_SUCCESS) return error;
    }
    return VIV_WASI_SUCCESS;
}

static uint32_t add_dirs(struct viv_inst *inst)
{
    uint32_t count = viv_dirs__count(inst->dirs);
    for (uint32_t i = 0, number; i < count; i++) {
        struct viv_wasi_file *file = viv_dirs__file(inst->dirs, i);
        struct viv_wasi_fd entry = {
            .file = viv_wasi__file_take(file),
            .rights = VIV_RIGHTS_DIRECTORY & file->allowed,
            .inheriting = (VIV_RIGHTS_DIRECTORY | VIV_RIGHTS_REGULAR) & file->allowed,
            .preopen = (uint16_t)(i + 1),
        };
        uint32_t error = viv_wasi__add(inst, &entry, &number);
        if (error != VIV_WASI_SUCCESS) return error;
    }
    return VIV_WASI_SUCCESS;
}

static void drop_table(struct viv_wasi *wasi)
{
    viv_free(wasi->slots, wasi->cap * sizeof(*wasi->slots), VIV_TAG_WASI);
    wasi->slots = NULL;
    wasi->cap = wasi->free_from = 0;
}

static uint32_t make_table(struct viv_inst *inst)
{
    struct viv_wasi *wasi = inst->wasi;
    uint32_t error = add_standard(inst);
    if (error == VIV_WASI_SUCCESS) error = add_dirs(inst);
    if (error == VIV_WASI_SUCCESS) return error;
    while (wasi->free_from > 0)
        viv_wasi__close(inst, wasi->free_from - 1);
    drop_table(wasi);
    return error;
}

static enum viv_err attach_capture(struct viv_inst *inst)
{
    const struct viv_config *config = inst->config;
    if (config->stdio != VIV_STDIO_CAPTURED || config->capture == NULL) return VIV_OK;
    inst->wasi->part = viv_capture__attach(config->capture);
    return inst->wasi->part == NULL ? VIV_E_EXHAUSTED : VIV_OK;
}

enum viv_err viv_wasi_new(struct viv_inst *inst, struct viv_diag *diag)
{
    if (inst->dirs == NULL) {
        bool is_child = inst->birth != NULL && !viv_pid_eq(inst->birth->parent, VIV_PID_NONE);
        VIV_TRY(viv_dirs__open(inst, is_child, diag));
    }
    inst->wasi = viv_try_calloc(1, sizeof(*inst->wasi), VIV_TAG_WASI);
    enum viv_err err = inst->wasi == NULL ? VIV_E_EXHAUSTED : attach_capture(inst);
    if (err == VIV_OK) return VIV_OK;
    if (inst->wasi != NULL) viv_wasi_free(inst);
    return viv_diag_set(diag, err, "cannot make the descriptors of the process: %s",
                        viv_err_text(err));
}

void viv_wasi_free(struct viv_inst *inst)
{
    struct viv_wasi *wasi = inst->wasi;
    inst->wasi = NULL;
    drop_table(wasi);
    viv_free(wasi, sizeof(*wasi), VIV_TAG_WASI);
    viv_dirs_drop(inst->dirs);
    inst->dirs = NULL;
}
