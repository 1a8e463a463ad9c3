// SPDX-License-Identifier: Apache-2.0
// Life of a program's record: into the tables, out of them, and its memory. Whoever reads it
// without a count is in a read section: it is freed a grace period after the last count is gone.
#include "native/audit.h"
#include "native/follow.h"
#include "native/held.h"

#include "base/hash.h"
#include "os/file.h"
#include <string.h>

struct viv_program *viv_program__take(struct viv_program *program)
{
    // Relaxed: who takes one has one, or is in a read section and found it in a table.
    atomic_fetch_add_explicit(&program->refs, 1, memory_order_relaxed);
    return program;
}

static void free_program(struct viv_qsbr_item *item)
{
    struct viv_program *program = VIV_CONTAINER_OF(item, struct viv_program, retired);
    viv_care_deinit(&program->care);
    viv_held__free(program->held);    // what the rings lie in
    if (program->care.cgroup_fd >= 0) // of one that outlives this kernel
        VIV_IGNORE(viv_os_close(program->care.cgroup_fd), "a directory");
    if (program->block != NULL) viv_free(program->block, program->block_bytes, VIV_TAG_NATIVE);
    viv_spill_io_free(program);
    viv_native_req_deinit(&program->req);
    if (program->ports != NULL) viv_free(program->ports, sizeof *program->ports, VIV_TAG_NATIVE);
    if (program->exe != NULL) viv_free(program->exe, strlen(program->exe) + 1, VIV_TAG_NATIVE);
    viv_reason_drop(program->broken);
    viv_audit_detail_drop(program->audit);
    viv_ses_drop(program->session);
    viv_free(program, sizeof *program, VIV_TAG_NATIVE);
}

void viv_program__drop(struct viv_program *program)
{
    // Acq_rel: whoever frees sees what all others did.
    if (atomic_fetch_sub_explicit(&program->refs, 1, memory_order_acq_rel) != 1) return;
    if (program->scope != NULL) {
        viv_native__unreserve(program->native, program->scope, &program->reserved);
        viv_native__scope_drop(program->native, program->scope);
    }
    viv_qsbr_retire(viv_sched_member(), &program->retired, free_program);
}

// ---- tables ----

struct viv_native_tenant *viv_native__tenant_locked(struct viv_native *native,
                                                    const struct viv_env *env)
{
    struct viv_native_tenant *tenant = native->tenants;
    while (tenant != NULL && tenant->env != env)
        tenant = tenant->next;
    return tenant;
}

struct key {
    const char *data;
    size_t len;
};

static bool has_key(const struct viv_trie_node *node, const void *arg)
{
    const struct viv_program *program =
        (const struct viv_program *)(const void *)((const char *)node -
                                                   offsetof(struct viv_program, key_node));
    const struct viv_native_text *own = &program->req.fields.key;
    const struct key *key = arg;
    return own->len == key->len && memcmp(own->data, key->data, key->len) == 0;
}

struct viv_program *viv_native__key_locked(struct viv_native_tenant *tenant, const char *key,
                                           size_t len)
{
    struct viv_trie_node *node = viv_trie_find_equal(&tenant->by_key, viv_hash_bytes(key, len, 0),
                                                     has_key, &(struct key){key, len});
    return node != NULL ? VIV_CONTAINER_OF(node, struct viv_program, key_node) : NULL;
}

enum viv_err viv_program__take_key(struct viv_program *program, viv_pid *out_holder)
{
    const struct viv_native_text *key = &program->req.fields.key;
    if (key->data == NULL) return VIV_OK;
    struct viv_native *native = program->native;
    struct viv_native_tenant *tenant = program->scope->tenant;
    viv_spin_lock(&native->lock);
    const struct viv_program *holder = viv_native__key_locked(tenant, key->data, key->len);
    program->has_key = holder == NULL;
    if (holder == NULL)
        viv_trie_insert(&tenant->by_key, viv_hash_bytes(key->data, key->len, 0),
                        &program->key_node);
    else
        *out_holder = holder->pid;
    viv_spin_unlock(&native->lock);
    return holder == NULL ? VIV_OK : VIV_E_EXISTS;
}

void viv_program__drop_key(struct viv_program *program)
{
    viv_spin_lock(&program->native->lock);
    if (program->has_key) viv_trie_remove(&program->scope->tenant->by_key, &program->key_node);
    program->has_key = false;
    viv_spin_unlock(&program->native->lock);
}

// Near the end as a rule; a holder's start takes longer than others that got a later number.
static void insert_by_number(struct viv_list *list, size_t offset, struct viv_program *program)
{
    struct viv_list *at = list->prev;
    while (at != list &&
           ((struct viv_program *)(void *)((char *)at - offset))->number > program->number)
        at = at->prev;
    viv_list_append(at->next, (struct viv_list *)(void *)((char *)program + offset));
}

bool viv_program__list(struct viv_program *program)
{
    struct viv_native *native = program->native;
    viv_program__take(program);
    viv_spin_lock(&native->lock);
    if (program->number == 0) program->number = ++native->last_number; // a holder has noted it
    program->is_listed = true;
    viv_trie_insert(&native->by_pid, program->pid.w, &program->pid_node);
    viv_trie_insert(&native->by_number, program->number, &program->number_node);
    insert_by_number(&native->programs, offsetof(struct viv_program, in_room), program);
    insert_by_number(&program->scope->programs, offsetof(struct viv_program, in_scope), program);
    // Relaxed: under the lock.
    const bool stops = atomic_load_explicit(&native->stops, memory_order_relaxed);
    viv_spin_unlock(&native->lock);
    return !stops;
}

bool viv_program__unlist(struct viv_program *program)
{
    struct viv_native *native = program->native;
    viv_spin_lock(&native->lock);
    const bool was_listed = program->is_listed;
    program->is_listed = false;
    if (was_listed) {
        viv_trie_remove(&native->by_pid, &program->pid_node);
        viv_trie_remove(&native->by_number, &program->number_node);
        viv_list_remove(&program->in_room);
        viv_list_remove(&program->in_scope);
    }
    viv_spin_unlock(&native->lock);
    return was_listed;
}

void viv_program__complete_all(struct viv_program *program, struct viv_list *calls,
                               enum viv_err err)
{
    bool is_empty;
    do {
        struct viv_wake_list wakes = {0};
        viv_spin_lock(&program->care.lock);
        while (!viv_list_is_empty(calls) && !viv_wakes_are_full(&wakes))
            viv_native_call_complete_locked(VIV_CONTAINER_OF(calls->next, struct viv_op, queue),
                                            err, &wakes);
        is_empty = viv_list_is_empty(calls);
        viv_spin_unlock(&program->care.lock);
        viv_wakes_flush(&wakes);
    } while (!is_empty);
}

void viv_program__uncount(struct viv_program *program)
{
    if (program->is_counted) viv_ses_native_sub(program->session);
    program->is_counted = false;
}

void viv_program__forget_id(struct viv_program *program)
{
    if (program->id != NULL) viv_prog_ids_remove(program->native->ids, program->id);
    program->id = NULL;
}

bool viv_program__release(struct viv_program *program)
{
    if (!viv_program__unlist(program)) return false;
    viv_program__end_watches(program);
    viv_program__end_follows(program);
    viv_program__forget_id(program);
    viv_native__unreserve(program->native, program->scope, &program->reserved);
    program->reserved = (struct viv_native_quota){0};
    if (program->held != NULL) viv_held__release(program);
    if (program->resource.w != 0)
        VIV_IGNORE(viv_res_discard(viv_room_reg(program->native->cap), program->resource),
                   "its owner may have ended it");
    if (viv_timer_cancel(program->native->sched, &program->retention))
        viv_program__drop(program); // the timer's
    viv_program__drop(program);     // the tables'
    return true;
}

// ---- the end of its retention ----

// A grace period after the timer fired: under no lock, on its worker.
static void expire(struct viv_qsbr_item *item)
{
    struct viv_program *program = VIV_CONTAINER_OF(item, struct viv_program, expiry);
    if (viv_program__release(program)) {
        const struct viv_native_deed deed = {.operation = "native.expiry"};
        viv_native__audit_deed(program, &deed);
    }
    viv_program__drop(program);
}

static void fire(struct viv_timer *timer)
{
    struct viv_program *program = VIV_CONTAINER_OF(timer, struct viv_program, retention);
    viv_qsbr_retire(viv_sched_member(), &program->expiry, expire);
}

void viv_program__init_retention(struct viv_program *program)
{
    viv_timer_init(&program->retention, fire);
}

void viv_program__expire_later(struct viv_program *program, uint64_t retention_ns)
{
    if (retention_ns == VIV_FOREVER_NS) return;
    viv_program__take(program);
    viv_timer_start(program->native->sched, &program->retention,
                    viv_sched_now_ns(program->native->sched) + retention_ns, VIV_TIMER_HERE);
}
