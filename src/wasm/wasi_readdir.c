// SPDX-License-Identifier: Apache-2.0
// fd_readdir. A descriptor that is listed gets a description of its own (others may share the one
// it came from, and with it the position) and a block of entries as the system gave them:
//
//   buf:  | entry | entry | entry |      cookie: that of the entry at `at`; the system's offsets
//                  ^at             ^len
//
// A call that goes on where the last one ended finds its entries here; any other cookie seeks. A
// large buffer of the guest is filled in rounds, since a short answer would tell the end of the
// directory. Threads: a listing is used by one job at a time, and by nobody while none runs.
#include "gen/wasm_imports.h"
#include "wasm/may.h"
#include "wasm/wasi_int.h"
#include <dirent.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK_BYTES = 32 << 10, ROUND_BYTES = 64 << 10, HEAD_BYTES = 24 };

struct viv_wasi_listing {
    _Atomic uint32_t refs;
    int fd; // -1: not opened yet
    uint64_t cookie;
    size_t at, len;
    uint8_t buf[BLOCK_BYTES];
};

// An entry as getdents64 writes it: ino 8, next 8, length 2, type 1, name.
enum { ENTRY_NEXT = 8, ENTRY_LEN = 16, ENTRY_TYPE = 18, ENTRY_NAME = 19 };

static struct viv_wasi_listing *new_listing(void)
{
    struct viv_wasi_listing *listing = viv_try_alloc(sizeof(*listing), VIV_TAG_WASI);
    if (listing == NULL) return NULL;
    atomic_init(&listing->refs, 1);
    listing->fd = -1;
    listing->cookie = 0;
    listing->at = listing->len = 0;
    return listing;
}

void viv_wasi__listing_drop(struct viv_wasi_listing *listing)
{
    if (listing == NULL) return;
    // Acq_rel: the other holder's use comes before the close.
    if (atomic_fetch_sub_explicit(&listing->refs, 1, memory_order_acq_rel) != 1) return;
    if (listing->fd >= 0) (void)viv_os_close(listing->fd);
    viv_free(listing, sizeof(*listing), VIV_TAG_WASI);
}

// ---- on the pool ----

static uint8_t type_of(uint8_t host)
{
    switch (host) {
    case DT_BLK:
        return VIV_FILETYPE_BLOCK;
    case DT_CHR:
        return VIV_FILETYPE_CHARACTER;
    case DT_DIR:
        return VIV_FILETYPE_DIRECTORY;
    case DT_REG:
        return VIV_FILETYPE_REGULAR;
    case DT_SOCK:
        return VIV_FILETYPE_SOCKET_STREAM;
    case DT_LNK:
        return VIV_FILETYPE_SYMLINK;
    default:
        return VIV_FILETYPE_UNKNOWN;
    }
}

// Opens the listing at the cookie; 0 or -errno.
static int position(struct viv_wasi_listing *listing, int dir, uint64_t cookie)
{
    if (listing->fd < 0) {
        int fd = viv_os_openat(dir, ".", O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0) return fd;
        listing->fd = fd;
    }
    // Cookie 0 begins anew, also to see what was added since.
    if (cookie == listing->cookie && (cookie != 0 || listing->len == 0)) return 0;
    listing->at = listing->len = 0;
    listing->cookie = cookie;
    off_t now = viv_os_lseek(listing->fd, (off_t)cookie, SEEK_SET);
    return now < 0 ? (int)now : 0;
}

// Writes the entry at `at` as WASI has it, cut at cap; returns its whole length.
static size_t put_entry(const uint8_t *entry, uint8_t *out, size_t cap)
{
    uint8_t head[HEAD_BYTES] = {0};
    const char *name = (const char *)entry + ENTRY_NAME;
    size_t name_len = strlen(name);
    viv_put_u64(head, viv_get_u64(entry + ENTRY_NEXT));
    viv_put_u64(head + 8, viv_get_u64(entry));
    viv_put_u32(head + 16, (uint32_t)name_len);
    head[20] = type_of(entry[ENTRY_TYPE]);
    size_t head_piece = (size_t)viv_min_u64(HEAD_BYTES, cap);
    memcpy(out, head, head_piece);
    memcpy(out + head_piece, name, (size_t)viv_min_u64(name_len, cap - head_piece));
    return HEAD_BYTES + name_len;
}

// Fills job->data. arg: cookie; flags: the last round, whose last entry may be cut. Then count, and
// flags: the call is over.
static uint32_t work_list(struct viv_wasi_job *job)
{
    struct viv_wasi_listing *listing = job->listing;
    bool may_cut = job->flags != 0;
    size_t used = 0;
    int host = position(listing, job->file[0]->fd, job->arg[0]);
    if (host < 0) return viv_wasi__errno(-host);
    job->flags = 0;
    while (used < job->data_bytes) {
        if (listing->at == listing->len) {
            ssize_t got = viv_os_getdents64(listing->fd, listing->buf, sizeof(listing->buf));
            if (got < 0) return viv_wasi__errno((int)-got);
            listing->at = 0;
            listing->len = (size_t)got;
            job->flags = got == 0;
            if (got == 0) break;
        }
        const uint8_t *entry = listing->buf + listing->at;
        size_t room = job->data_bytes - used;
        size_t need = HEAD_BYTES + strlen((const char *)entry + ENTRY_NAME);
        if (need > room && !may_cut) break;
        (void)put_entry(entry, job->data + used, room);
        used += (size_t)viv_min_u64(need, room);
        if (need > room) break; // comes again, whole, in the next call
        uint16_t len;
        memcpy(&len, entry + ENTRY_LEN, sizeof(len));
        listing->at += len;
        listing->cookie = viv_get_u64(entry + ENTRY_NEXT);
    }
    job->arg[0] = listing->cookie;
    job->count = (ssize_t)used;
    if (may_cut && used == job->data_bytes) job->flags = 1;
    return VIV_WASI_SUCCESS;
}

// ---- the call ----

enum { LIST_BUF = 0, LIST_LEN = 1, LIST_USED_PTR = 2, LIST_DONE = 3 };

// Posts the next round; op->u as above.
static uint32_t start_round(struct viv_inst *inst, const struct viv_wasi_job *last, uint64_t left,
                            struct viv_wasi_job **out_job)
{
    size_t room = (size_t)viv_min_u64(left, ROUND_BYTES);
    struct viv_wasi_job *job = viv_wasi__job_new(room);
    if (job == NULL) return VIV_WASI_NOMEM;
    job->work = work_list;
    job->file[0] = viv_wasi__file_take(last->file[0]);
    job->listing = last->listing;
    // Relaxed: the taker holds one.
    atomic_fetch_add_explicit(&job->listing->refs, 1, memory_order_relaxed);
    job->arg[0] = last->arg[0];
    job->data = job->bytes;
    job->data_bytes = room;
    job->flags = room == left;
    uint32_t error = viv_wasi__job_post(inst, job);
    if (error == VIV_WASI_SUCCESS)
        *out_job = job;
    else
        viv_wasi__job_free(job);
    return error;
}

static enum viv_host resume_list(struct viv_wait *op)
{
    struct viv_wasi_job *job = op->ptr;
    if (!viv_bg_is_done(&job->bg)) return VIV_HOST_WAIT;
    if (job->error != VIV_WASI_SUCCESS) return viv_wasi__done(op->result, job->error);
    struct viv_guest_mem mem = viv_guest_mem(op->inst);
    if (!viv_guest_in(mem, (uint32_t)op->u[LIST_BUF], op->u[LIST_LEN]) ||
        !viv_guest_in(mem, (uint32_t)op->u[LIST_USED_PTR], 4))
        return viv_wasi__done(op->result, VIV_WASI_FAULT);
    memcpy(mem.base + op->u[LIST_BUF] + op->u[LIST_DONE], job->data, (size_t)job->count);
    viv_host_charge_bytes(op->inst, (uint64_t)job->count);
    op->u[LIST_DONE] += (uint64_t)job->count;
    uint32_t error = VIV_WASI_SUCCESS;
    if (job->flags == 0 && op->u[LIST_DONE] < op->u[LIST_LEN]) {
        struct viv_wasi_job *next;
        error = start_round(op->inst, job, op->u[LIST_LEN] - op->u[LIST_DONE], &next);
        if (error == VIV_WASI_SUCCESS) {
            op->ptr = next;
            viv_bg_leave(&job->bg);
            return VIV_HOST_WAIT;
        }
    }
    if (error == VIV_WASI_SUCCESS)
        viv_put_u32(mem.base + op->u[LIST_USED_PTR], (uint32_t)op->u[LIST_DONE]);
    return viv_wasi__done(op->result, error);
}

static void cleanup_list(struct viv_wait *op)
{
    struct viv_wasi_job *job = op->ptr;
    viv_bg_leave(&job->bg);
}

static uint32_t find_listing(struct viv_inst *inst, uint32_t fd, struct viv_wasi_fd **out_entry)
{
    struct viv_wasi_fd *entry;
    uint32_t error = viv_wasi__find(inst, fd, 0, &entry);
    if (error != VIV_WASI_SUCCESS) return error;
    if (entry->file->kind != VIV_WASI_DIR) return VIV_WASI_NOTDIR;
    if (viv_may_files(inst) != VIV_OK) return VIV_WASI_NOTCAPABLE;
    if ((entry->rights & VIV_RIGHT_FD_READDIR) == 0) return VIV_WASI_NOTCAPABLE;
    if (entry->listing == NULL) entry->listing = new_listing();
    *out_entry = entry;
    return entry->listing == NULL ? VIV_WASI_NOMEM : VIV_WASI_SUCCESS;
}

enum viv_host viv_wasm__wasi_fd_readdir(struct viv_inst *inst, const wasmtime_val_t *args,
                                        wasmtime_val_t *result)
{
    struct viv_guest_mem mem;
    struct viv_wasi_fd *entry;
    struct viv_wasi_job *job;
    uint32_t buf = viv_wasi__u32(args, 1), len = viv_wasi__u32(args, 2);
    uint32_t used_ptr = viv_wasi__u32(args, 4);
    if (!viv_wasi__mem(inst, &mem)) return VIV_HOST_TRAP;
    if (!viv_guest_in(mem, buf, len) || !viv_guest_in(mem, used_ptr, 4))
        return viv_wasi__done(result, VIV_WASI_FAULT);
    uint32_t error = find_listing(inst, viv_wasi__u32(args, 0), &entry);
    if (error == VIV_WASI_SUCCESS) {
        struct viv_wasi_job first = {.file = {entry->file}, .listing = entry->listing};
        first.arg[0] = viv_wasi__u64(args, 3);
        error = start_round(inst, &first, len, &job);
    }
    if (error != VIV_WASI_SUCCESS) return viv_wasi__done(result, error);
    struct viv_wait *op = viv_wait_new(inst, resume_list, cleanup_list);
    if (op == NULL) {
        viv_bg_leave(&job->bg);
        return VIV_HOST_TRAP;
    }
    op->ptr = job;
    op->u[LIST_BUF] = buf;
    op->u[LIST_LEN] = len;
    op->u[LIST_USED_PTR] = used_ptr;
    return VIV_HOST_WAIT;
}
