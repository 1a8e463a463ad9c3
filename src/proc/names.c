// SPDX-License-Identifier: Apache-2.0
// Names of an environment: a trie by hash under one lock held for a few memory operations.
// An entry is bound (node, pid), or reserved by a process that is spawning for it (get_or_spawn),
// or both: a put during a reservation wins. A process has its own bound entries on a list, so that
// its end removes just those. A reservation's waiters are pids: woken ones look again, dead ones do
// not matter.
#include "proc/proc_int.h"

#include "base/hash.h"
#include <string.h>

struct name {
    struct viv_trie_node node;
    struct viv_list owned; // on the bound process's list; self-linked otherwise
    struct viv_name_value value;
    bool is_bound;
    viv_pid reserved_by; // VIV_PID_NONE: not reserved
    viv_pid *waiters;
    uint32_t waiter_count, waiter_cap;
    uint32_t len;
    char bytes[];
};

struct key {
    const void *bytes;
    size_t len;
};

static struct name *name_of(struct viv_trie_node *node)
{
    return VIV_CONTAINER_OF(node, struct name, node);
}

static bool is_name(const struct viv_trie_node *node, const void *arg)
{
    const struct name *name =
        (const struct name *)(const void *)((const char *)node - offsetof(struct name, node));
    const struct key *key = arg;
    return name->len == key->len && memcmp(name->bytes, key->bytes, key->len) == 0;
}

static struct name *find_locked(struct viv_env *env, const void *bytes, size_t len)
{
    struct key key = {bytes, len};
    struct viv_trie_node *node =
        viv_trie_find_equal(&env->names, viv_hash_bytes(bytes, len, 0), is_name, &key);
    return node == NULL ? NULL : name_of(node);
}

// Errors: QUOTA, EXHAUSTED.
static enum viv_err add_locked(struct viv_env *env, const void *bytes, size_t len,
                               struct name **out_name)
{
    if (env->names.count >= env->limits.name_max) return VIV_E_QUOTA;
    struct name *name = viv_try_calloc(1, sizeof(*name) + len, VIV_TAG_LINK);
    if (name == NULL) return VIV_E_EXHAUSTED;
    name->len = (uint32_t)len;
    if (len > 0) memcpy(name->bytes, bytes, len);
    viv_list_init(&name->owned);
    viv_trie_insert(&env->names, viv_hash_bytes(bytes, len, 0), &name->node);
    *out_name = name;
    return VIV_OK;
}

static void free_name(struct name *name)
{
    viv_list_remove(&name->owned);
    viv_free(name->waiters, name->waiter_cap * sizeof(viv_pid), VIV_TAG_LINK);
    viv_free(name, sizeof(*name) + name->len, VIV_TAG_LINK);
}

static void unbind_locked(struct viv_env *env, struct name *name)
{
    name->is_bound = false;
    viv_list_remove(&name->owned);
    if (name->reserved_by.w != 0) return; // the reservation keeps the entry
    viv_trie_remove(&env->names, &name->node);
    free_name(name);
}

// Binds to a live local process or a remote one; false: the local process is not alive.
static bool bind_locked(struct viv_env *env, struct name *name, struct viv_name_value value)
{
    viv_list_remove(&name->owned);
    if (value.node == 0) {
        struct viv_proc *proc = viv_proc_find(env->kernel, env, value.pid);
        if (proc == NULL) return false;
        // Seq_cst, then a second look: either its end sees the flag and waits for our lock, or we
        // see that it left.
        atomic_store_explicit(&proc->has_names, 1, memory_order_seq_cst);
        VIV_SIM_POINT();
        if (viv_proc_find(env->kernel, env, value.pid) == NULL) return false;
        viv_list_append(&proc->names, &name->owned);
    }
    name->value = value;
    name->is_bound = true;
    return true;
}

static bool is_live(const struct viv_env *env, const struct name *name)
{
    if (!name->is_bound) return false;
    return name->value.node != 0 || viv_proc_find(env->kernel, env, name->value.pid) != NULL;
}

enum viv_err viv_name_put(struct viv_env *env, const void *bytes, size_t len,
                          struct viv_name_value value, bool exclusive)
{
    if (len > VIV_NAME_BYTES_MAX) return VIV_E_TOOBIG;
    viv_spin_lock(&env->names_lock);
    struct name *name = find_locked(env, bytes, len);
    enum viv_err err = VIV_OK;
    if (name != NULL && exclusive && is_live(env, name) &&
        (name->value.node != value.node || !viv_pid_eq(name->value.pid, value.pid)))
        err = VIV_E_EXISTS;
    else if (name == NULL)
        err = add_locked(env, bytes, len, &name);
    if (err == VIV_OK && !bind_locked(env, name, value)) unbind_locked(env, name);
    viv_spin_unlock(&env->names_lock);
    return err;
}

enum viv_err viv_name_get(struct viv_env *env, const void *bytes, size_t len,
                          struct viv_name_value *out)
{
    viv_spin_lock(&env->names_lock);
    const struct name *name = find_locked(env, bytes, len);
    bool found = name != NULL && is_live(env, name);
    if (found) *out = name->value;
    viv_spin_unlock(&env->names_lock);
    return found ? VIV_OK : VIV_E_NOTFOUND;
}

void viv_name_remove(struct viv_env *env, const void *bytes, size_t len)
{
    viv_spin_lock(&env->names_lock);
    struct name *name = find_locked(env, bytes, len);
    if (name != NULL && name->is_bound) unbind_locked(env, name);
    viv_spin_unlock(&env->names_lock);
}

static enum viv_err add_waiter_locked(struct name *name, viv_pid by)
{
    for (uint32_t i = 0; i < name->waiter_count; i++)
        if (viv_pid_eq(name->waiters[i], by)) return VIV_E_BUSY;
    if (name->waiter_count == name->waiter_cap) {
        uint32_t cap = name->waiter_cap == 0 ? 4 : name->waiter_cap * 2;
        viv_pid *grown = viv_try_realloc(name->waiters, name->waiter_cap * sizeof(viv_pid),
                                         cap * sizeof(viv_pid), VIV_TAG_LINK);
        if (grown == NULL) return VIV_E_EXHAUSTED;
        name->waiters = grown;
        name->waiter_cap = cap;
    }
    name->waiters[name->waiter_count++] = by;
    return VIV_E_BUSY;
}

enum viv_err viv_name_reserve(struct viv_env *env, const void *bytes, size_t len, viv_pid by,
                              struct viv_name_value *out)
{
    if (len > VIV_NAME_BYTES_MAX) return VIV_E_TOOBIG;
    viv_spin_lock(&env->names_lock);
    struct name *name = find_locked(env, bytes, len);
    enum viv_err err = VIV_OK;
    if (name != NULL && is_live(env, name))
        *out = name->value;
    else if (name != NULL && name->reserved_by.w != 0 && !viv_pid_eq(name->reserved_by, by))
        err = add_waiter_locked(name, by);
    else {
        if (name == NULL) err = add_locked(env, bytes, len, &name);
        if (err == VIV_OK) {
            name->reserved_by = by;
            err = VIV_E_NOTFOUND;
        }
    }
    viv_spin_unlock(&env->names_lock);
    return err;
}

void viv_name_settle(struct viv_env *env, const void *bytes, size_t len, viv_pid by, viv_pid pid)
{
    viv_spin_lock(&env->names_lock);
    struct name *name = find_locked(env, bytes, len);
    if (name != NULL && viv_pid_eq(name->reserved_by, by)) {
        name->reserved_by = VIV_PID_NONE;
        bool bound = is_live(env, name); // by a put meanwhile
        if (!bound && pid.w != 0) bound = bind_locked(env, name, (struct viv_name_value){0, pid});
        for (uint32_t i = 0; i < name->waiter_count; i++)
            (void)viv_proc_wake_pid(env->kernel, name->waiters[i]);
        name->waiter_count = 0;
        if (!bound) unbind_locked(env, name);
    }
    viv_spin_unlock(&env->names_lock);
}

void viv_proc__names_forget(struct viv_proc *self)
{
    // Seq_cst: after we left the table; see bind_locked.
    if (atomic_load_explicit(&self->has_names, memory_order_seq_cst) == 0) return;
    struct viv_env *env = self->env;
    viv_spin_lock(&env->names_lock);
    while (!viv_list_is_empty(&self->names))
        unbind_locked(env, VIV_CONTAINER_OF(self->names.next, struct name, owned));
    viv_spin_unlock(&env->names_lock);
}

void viv_proc__names_deinit(struct viv_env *env)
{
    for (struct viv_trie_node *node; (node = viv_trie_pop(&env->names)) != NULL;)
        free_name(name_of(node));
}
