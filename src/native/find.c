// SPDX-License-Identifier: Apache-2.0
// Which program is meant, and whether the caller may see it. Unknown, malformed, released and
// foreign references answer NOTFOUND alike, before anything is looked at that depends on the
// program.
#include "native/outside.h"
#include "native/program.h"

#include <string.h>

// Longer names are cut in a scope.
static bool is_unit(const struct viv_native_scope *scope, const char *unit)
{
    return strncmp(scope->unit, unit, VIV_NATIVE_UNIT_BYTES_MAX) == 0;
}

static bool is_visible(const struct viv_native_ctx *ctx, const struct viv_program *program)
{
    if (ctx->is_operator) return true;
    return program->scope->tenant->env == ctx->env && is_unit(program->scope, ctx->unit);
}

static struct viv_program *find_node(const struct viv_native_ctx *ctx, struct viv_trie *trie,
                                     uint64_t key, bool by_pid)
{
    struct viv_program *program = NULL;
    viv_spin_lock(&ctx->native->lock);
    struct viv_trie_node *node = viv_trie_find(trie, key);
    if (node != NULL) {
        program = by_pid ? VIV_CONTAINER_OF(node, struct viv_program, pid_node)
                         : VIV_CONTAINER_OF(node, struct viv_program, number_node);
        viv_program__take(program); // in the table: its count is not zero
    }
    viv_spin_unlock(&ctx->native->lock);
    return program;
}

static struct viv_program *find_id(const struct viv_native_ctx *ctx, const char *id)
{
    struct viv_program *program = viv_prog_ids_find_text(ctx->native->ids, id, VIV_PROG_ID_CHARS);
    // In a read section it is in place; but its last count may be gone already.
    uint32_t refs =
        program == NULL ? 0 : atomic_load_explicit(&program->refs, memory_order_relaxed);
    while (refs != 0)
        // Relaxed: the table published what it is.
        if (atomic_compare_exchange_weak_explicit(&program->refs, &refs, refs + 1,
                                                  memory_order_relaxed, memory_order_relaxed))
            return program;
    return NULL;
}

static enum viv_err find_handle(const struct viv_native_ctx *ctx, viv_handle handle,
                                viv_rights need, struct viv_program **out_program)
{
    struct viv_htab *tab = ctx->proc != NULL ? viv_holder_find_htab(ctx->proc) : NULL;
    if (tab == NULL) return VIV_E_BADHANDLE;
    void *obj;
    VIV_TRY(viv_res_use(tab, handle, VIV_KIND_CHILD, need, &obj));
    *out_program = viv_program__take(obj);
    return VIV_OK;
}

// Nothing can be done to what is outside, which only operators can name.
static enum viv_err find_outside(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref)
{
    struct viv_native_outsider outsider;
    if (ref->kind != VIV_NATIVE_NUMBER) return VIV_E_NOTFOUND;
    const enum viv_err err = viv_native_find_outside(ctx, ref->u.number, &outsider);
    return err == VIV_OK ? VIV_E_UNSUPPORTED : err;
}

enum viv_err viv_native__find(const struct viv_native_ctx *ctx, const struct viv_native_ref *ref,
                              viv_rights need, struct viv_program **out_program)
{
    struct viv_program *program = NULL;
    switch (ref->kind) {
    case VIV_NATIVE_HANDLE:
        return find_handle(ctx, ref->u.handle, need, out_program);
    case VIV_NATIVE_PID:
        program = find_node(ctx, &ctx->native->by_pid, ref->u.pid.w, true);
        break;
    case VIV_NATIVE_ID:
        program = find_id(ctx, ref->u.id);
        break;
    case VIV_NATIVE_NUMBER:
        if (ctx->is_operator)
            program = find_node(ctx, &ctx->native->by_number, ref->u.number, false);
        break;
    }
    if (program == NULL) return find_outside(ctx, ref);
    if (!is_visible(ctx, program)) {
        viv_program__drop(program);
        return VIV_E_NOTFOUND;
    }
    *out_program = program;
    return VIV_OK;
}

// ---- lists, by number ----

static struct viv_program *listed(struct viv_list *at, bool is_operator)
{
    return is_operator ? VIV_CONTAINER_OF(at, struct viv_program, in_room)
                       : VIV_CONTAINER_OF(at, struct viv_program, in_scope);
}

static struct viv_list *first_locked(struct viv_native *native, struct viv_list *head,
                                     uint64_t after, bool is_operator)
{
    struct viv_trie_node *node = viv_trie_find(&native->by_number, after);
    if (node != NULL && is_operator) // the page before ended here
        return VIV_CONTAINER_OF(node, struct viv_program, number_node)->in_room.next;
    struct viv_list *at = head->next;
    while (at != head && listed(at, is_operator)->number <= after)
        at = at->next;
    return at;
}

static size_t list_locked(struct viv_native *native, struct viv_list *head, bool is_operator,
                          const struct viv_native_page *page)
{
    size_t count = 0;
    struct viv_list *at = first_locked(native, head, page->after, is_operator);
    for (; at != head && count < page->max; at = at->next) {
        const struct viv_program *program = listed(at, is_operator);
        if (page->filter == NULL || strstr(program->label, page->filter) != NULL)
            page->out_items[count++] = (struct viv_native_item){program->number, program->pid};
    }
    return count;
}

static struct viv_native_scope *scope_locked(const struct viv_native_ctx *ctx)
{
    struct viv_list *head = &ctx->native->scopes;
    for (struct viv_list *at = head->next; at != head; at = at->next) {
        struct viv_native_scope *scope = VIV_CONTAINER_OF(at, struct viv_native_scope, link);
        if (scope->tenant->env == ctx->env && is_unit(scope, ctx->unit)) return scope;
    }
    return NULL;
}

size_t viv_native_list(const struct viv_native_ctx *ctx, const struct viv_native_page *page)
{
    struct viv_native *native = ctx->native;
    size_t count = 0;
    viv_spin_lock(&native->lock);
    struct viv_native_scope *scope = ctx->is_operator ? NULL : scope_locked(ctx);
    if (ctx->is_operator)
        count = list_locked(native, &native->programs, true, page);
    else if (scope != NULL)
        count = list_locked(native, &scope->programs, false, page);
    viv_spin_unlock(&native->lock);
    return count;
}

enum viv_err viv_native_find_key(const struct viv_native_ctx *ctx, const char *key,
                                 viv_pid *out_pid)
{
    struct viv_native *native = ctx->native;
    enum viv_err err = VIV_E_NOTFOUND;
    viv_spin_lock(&native->lock);
    struct viv_native_tenant *tenant = viv_native__tenant_locked(native, ctx->env);
    struct viv_program *program =
        tenant != NULL ? viv_native__key_locked(tenant, key, strlen(key)) : NULL;
    if (program != NULL && is_visible(ctx, program)) {
        *out_pid = program->pid;
        err = VIV_OK;
    }
    viv_spin_unlock(&native->lock);
    return err;
}
