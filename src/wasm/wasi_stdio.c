// SPDX-License-Identifier: Apache-2.0
// The kernel's standard streams, and turns at them.
//
//   inherited              is used through
//   regular file           the same description (its offset is shared with who started us)
//   pipe, terminal, device a new description by /proc/self/fd, O_NONBLOCK: readiness
//   socket, or when that   the same description: RWF_NOWAIT and readiness, else a pool thread once
//   cannot be opened       it is ready
//
// The flags of an inherited description are never changed: other programs share it. A process has
// the turn at a stream for one read, or for one write of up to 4096 bytes, which therefore is never
// torn apart; who has the turn and finds the reader slow parks, the others queue behind it.
#include "wasm/wasi_stdio.h"

#include "base/assert.h"
#include "proc/proc.h"
#include "wasm/wasi_int.h"
#include <stdio.h>

// ---- turns ----

_Static_assert(offsetof(struct viv_turn_node, list) == 0, "a list node is its turn node");

void viv_turn_init(struct viv_turn *turn)
{
    viv_spin_init(&turn->lock, VIV_LOCK_STREAM);
    turn->owner = NULL;
    viv_list_init(&turn->waiting);
}

bool viv_turn_try(struct viv_turn *turn, struct viv_turn_node *node)
{
    viv_spin_lock(&turn->lock);
    bool free = turn->owner == NULL; // then nobody waits either
    if (free) turn->owner = node;
    viv_spin_unlock(&turn->lock);
    return free;
}

bool viv_turn_wait(struct viv_turn *turn, struct viv_turn_node *node, struct viv_proc *proc)
{
    viv_list_init(&node->list);
    node->proc = proc;
    atomic_init(&node->granted, 0);
    viv_spin_lock(&turn->lock);
    bool free = turn->owner == NULL;
    if (free)
        turn->owner = node;
    else
        viv_list_append(&turn->waiting, &node->list);
    viv_spin_unlock(&turn->lock);
    return free;
}

bool viv_turn_is_mine(struct viv_turn_node *node)
{
    // Acquire pairs with the exchange in pass_on.
    return atomic_load_explicit(&node->granted, memory_order_acquire) != 0;
}

void viv_turn_move(struct viv_turn *turn, struct viv_turn_node *from, struct viv_turn_node *to)
{
    viv_spin_lock(&turn->lock);
    VIV_ASSERT(turn->owner == from);
    turn->owner = to;
    viv_spin_unlock(&turn->lock);
}

// To the process that waits longest. It cannot end meanwhile: leaving takes the lock.
static void pass_on_locked(struct viv_turn *turn)
{
    turn->owner = NULL;
    if (viv_list_is_empty(&turn->waiting)) return;
    struct viv_turn_node *node = (struct viv_turn_node *)(void *)turn->waiting.next;
    viv_list_remove(&node->list);
    turn->owner = node;
    // Seq_cst: published before the wake; pairs with viv_turn_is_mine.
    atomic_exchange_explicit(&node->granted, 1, memory_order_seq_cst);
    viv_proc_wake(node->proc);
}

void viv_turn_leave(struct viv_turn *turn, struct viv_turn_node *node)
{
    viv_spin_lock(&turn->lock);
    if (turn->owner == node)
        pass_on_locked(turn);
    else
        viv_list_remove(&node->list);
    viv_spin_unlock(&turn->lock);
}

// ---- the streams ----

struct viv_stdio_set {
    struct viv_wasi_file file[3];
    struct viv_turn turn[3];
    struct viv_wasi_file null;
    bool is_ours[3]; // opened here
};

// A description of our own for a pipe, terminal or device; -1 when there is none.
static int open_again(int fd)
{
    char path[32];
    int flags = viv_os_fcntl_getfl(fd);
    if (flags < 0) return -1;
    int access = fd == 0 ? O_RDONLY : O_WRONLY;
    if ((flags & O_ACCMODE) != O_RDWR && (flags & O_ACCMODE) != access) return -1;
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int again = viv_os_open(path, access | O_NONBLOCK | O_NOCTTY, 0);
    return again < 0 ? -1 : again; // no permission, or a pipe that nobody reads
}

static struct viv_wasi_file null_file(void)
{
    return (struct viv_wasi_file){
        .kind = VIV_WASI_NULL, .rights = VIV_RIGHTS_STREAM, .fd = -1, .is_kernels = true};
}

static void look_at(struct viv_stdio_set *set, int fd, struct viv_sched *sched)
{
    struct viv_wasi_file *file = &set->file[fd];
    struct stat st;
    *file = null_file();
    file->sched = sched;
    viv_turn_init(&set->turn[fd]);
    if (viv_os_fstat(fd, &st) < 0) return; // closed by who started us
    file->fd = fd;
    file->turn = &set->turn[fd];
    viv_wasi__file_describe(file, &st, fd);
    if (!S_ISFIFO(st.st_mode) && !S_ISCHR(st.st_mode)) return;
    int again = open_again(fd);
    if (again < 0) return;
    file->fd = again;
    file->is_nonblock = true;
    set->is_ours[fd] = true;
}

enum viv_err viv_stdio_new(struct viv_kernel *kernel, struct viv_stdio_set **out_set)
{
    struct viv_stdio_set *set = viv_try_calloc(1, sizeof(*set), VIV_TAG_WASI);
    if (set == NULL) return VIV_E_EXHAUSTED;
    for (int fd = 0; fd < 3; fd++)
        look_at(set, fd, viv_kernel_sched(kernel));
    set->null = null_file();
    *out_set = set;
    return VIV_OK;
}

void viv_stdio_free(struct viv_stdio_set *set)
{
    if (set == NULL) return;
    for (int fd = 0; fd < 3; fd++) {
        if (set->is_ours[fd]) (void)viv_os_close(set->file[fd].fd);
    }
    viv_free(set, sizeof(*set), VIV_TAG_WASI);
}

struct viv_wasi_file *viv_stdio__file(struct viv_stdio_set *set, uint32_t fd)
{
    return &set->file[fd];
}

struct viv_wasi_file *viv_stdio__null(struct viv_stdio_set *set)
{
    return &set->null;
}
