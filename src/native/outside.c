// SPDX-License-Identifier: Apache-2.0
// See outside.h. What they are was read when the kernel began; whether they still are is asked each
// time: a holder by a call at its socket, a record by its name.
#include "native/outside.h"

#include "native/held.h"
#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

struct entry {
    struct viv_list link; // of the room's `outside`, by number; under its lock
    struct viv_native_outsider shown;
};

static struct entry *entry_of(struct viv_list *link)
{
    return VIV_CONTAINER_OF(link, struct entry, link);
}

const char *viv_native_outside_name(enum viv_native_outside_kind kind)
{
    return kind == VIV_NATIVE_FOREIGN ? "foreign holder" : "no environment";
}

static void insert_locked(struct viv_native *native, struct entry *entry)
{
    struct viv_native_outsider *shown = &entry->shown;
    if (shown->number == 0) shown->number = native->last_number + 1;
    native->last_number = viv_max_u64(native->last_number, shown->number);
    struct viv_list *at = native->outside.next;
    while (at != &native->outside && entry_of(at)->shown.number <= shown->number)
        at = at->next;
    viv_list_append(at, &entry->link); // before it
}

bool viv_native__put_outside(struct viv_native *native, const struct viv_native_outsider *shown)
{
    struct entry *entry = viv_try_calloc(1, sizeof *entry, VIV_TAG_NATIVE);
    if (entry == NULL) return false;
    entry->shown = *shown;
    viv_native__drop_outside(native, shown->digest);
    viv_spin_lock(&native->lock);
    insert_locked(native, entry);
    viv_spin_unlock(&native->lock);
    return true;
}

static struct entry *find_locked(struct viv_native *native, const char *digest)
{
    for (struct viv_list *at = native->outside.next; at != &native->outside; at = at->next)
        if (strcmp(entry_of(at)->shown.digest, digest) == 0) return entry_of(at);
    return NULL;
}

void viv_native__drop_outside(struct viv_native *native, const char *digest)
{
    viv_spin_lock(&native->lock);
    struct entry *entry = find_locked(native, digest);
    if (entry != NULL) viv_list_remove(&entry->link);
    viv_spin_unlock(&native->lock);
    if (entry != NULL) viv_free(entry, sizeof *entry, VIV_TAG_NATIVE);
}

void viv_native__free_outside(struct viv_native *native)
{
    while (!viv_list_is_empty(&native->outside))
        viv_native__drop_outside(native, entry_of(native->outside.next)->shown.digest);
}

// The next one. False: there is none.
static bool next_of(struct viv_native *native, uint64_t after, struct viv_native_outsider *out)
{
    bool is_found = false;
    viv_spin_lock(&native->lock);
    for (struct viv_list *at = native->outside.next; at != &native->outside; at = at->next) {
        if (entry_of(at)->shown.number <= after) continue;
        *out = entry_of(at)->shown;
        is_found = true;
        break;
    }
    viv_spin_unlock(&native->lock);
    return is_found;
}

// A lack of something is no sign that it has gone.
static bool has_gone(const struct viv_native *native, const struct viv_native_outsider *shown)
{
    char name[32];
    const int dir_fd = native->keep.dir_fd;
    (void)snprintf(name, sizeof name, "%s.rec", shown->digest);
    const int fd = shown->kind == VIV_NATIVE_FOREIGN
                       ? viv_held__connect(dir_fd, shown->digest)
                       : viv_os_openat(dir_fd, name, O_PATH | O_NOFOLLOW, 0);
    if (fd >= 0) VIV_IGNORE(viv_os_close(fd), "it was only asked for");
    return fd == -ENOENT || fd == -ECONNREFUSED;
}

size_t viv_native_list_outside(const struct viv_native_ctx *ctx, uint64_t after, size_t max,
                               struct viv_native_outsider *out)
{
    size_t count = 0;
    if (!ctx->is_operator) return 0;
    while (count < max && next_of(ctx->native, after, &out[count])) {
        after = out[count].number;
        if (has_gone(ctx->native, &out[count]))
            viv_native__drop_outside(ctx->native, out[count].digest);
        else
            count++;
    }
    return count;
}

enum viv_err viv_native_find_outside(const struct viv_native_ctx *ctx, uint64_t number,
                                     struct viv_native_outsider *out)
{
    struct viv_native_outsider found;
    if (number == 0 || viv_native_list_outside(ctx, number - 1, 1, &found) == 0 ||
        found.number != number)
        return VIV_E_NOTFOUND;
    *out = found;
    return VIV_OK;
}
