// SPDX-License-Identifier: Apache-2.0
// Wakes of a scope for processes that subscribed to it (durable.md 4.5): they are taken for a
// while, sent as messages, and taken again unless somebody acknowledges them.
//
//   the store changed, a subscription, every 10 s ──poke──> job on the pool: takes ──done──>
//   messages
//
// One job at a time; a poke meanwhile makes another follow. A process that has ended is left out
// when that is noticed: what was taken for it is visible again after the 30 seconds.
#include "base/cjson.h"
#include "ctl/durable_int.h"
#include "store/objects.h"
#include <string.h>

enum { VISIBLE_MS = 30000, WAKES_A_TAKE = 64, WAKE_BYTES = 1 << 20 };

struct viv_durable__sub {
    struct viv_list node;
    struct viv_env *env;
    viv_pid pid;
    int64_t tag;
    size_t session_len, frame_len;
    char text[]; // session, then frame
};

// What was taken for one subscription.
struct batch {
    struct viv_durable__sub *sub; // a copy
    struct viv_msg *msgs[WAKES_A_TAKE];
    size_t count;
    struct batch *next;
};

static void free_sub(VIV_OWN struct viv_durable__sub *sub)
{
    viv_free(sub, sizeof *sub + sub->session_len + sub->frame_len, VIV_TAG_CTL);
}

// ---- taking ----

static struct viv_msg *message_of(const struct viv_wake *wake, int64_t tag)
{
    json_t *body = NULL;
    struct viv_buf text;
    struct viv_msg *msg = NULL;
    if (viv_cjson_parse(wake->body.p, wake->body.n, &body, NULL) != VIV_OK) return NULL;
    viv_json_put(&body, "wake_id", json_stringn(wake->wake_id.p, wake->wake_id.n));
    viv_json_put(&body, "deliveries", json_integer(wake->deliveries));
    viv_buf_init(&text, VIV_TAG_CTL);
    if (body != NULL && viv_cjson_write(body, &text) == VIV_OK)
        msg = viv_bytes_msg_new(tag, text.data, text.len_bytes);
    viv_buf_deinit(&text);
    json_decref(body);
    return msg;
}

// A message that there is no memory for is made when the wake is visible again.
static void take(struct viv_durable *durable, struct batch *batch)
{
    struct viv_mem mem;
    struct viv_wakes wakes;
    const struct viv_durable__sub *sub = batch->sub;
    const struct viv_scope scope = {{sub->text, sub->session_len},
                                    {sub->text + sub->session_len, sub->frame_len}};
    const struct viv_wakes_query query = {
        .scope = &scope, .limit = WAKES_A_TAKE, .bytes = WAKE_BYTES, .visible_for_ms = VISIBLE_MS};
    viv_mem_init(&mem, VIV_TAG_CTL);
    if (viv_store_wakes_take(durable->config.store, &query, &mem, &wakes, NULL) == VIV_OK) {
        for (size_t i = 0; i < wakes.count; i++) {
            struct viv_msg *msg = message_of(&wakes.items[i], sub->tag);
            if (msg != NULL) batch->msgs[batch->count++] = msg;
        }
    }
    viv_mem_deinit(&mem);
}

static struct batch *copy_locked(const struct viv_durable__sub *sub)
{
    const size_t size = sizeof *sub + sub->session_len + sub->frame_len;
    struct batch *batch = viv_try_calloc(1, sizeof *batch, VIV_TAG_CTL);
    if (batch == NULL) return NULL;
    batch->sub = viv_try_alloc(size, VIV_TAG_CTL);
    if (batch->sub == NULL) {
        viv_free(batch, sizeof *batch, VIV_TAG_CTL);
        return NULL;
    }
    memcpy(batch->sub, sub, size);
    return batch;
}

static void run_take(struct viv_job *job)
{
    struct viv_durable *durable = VIV_CONTAINER_OF(job, struct viv_durable, wakes.job);
    struct batch *batches = NULL;
    viv_mutex_lock(&durable->mutex);
    for (struct viv_list *at = durable->subs.next; at != &durable->subs; at = at->next) {
        struct batch *batch = copy_locked(VIV_CONTAINER_OF(at, struct viv_durable__sub, node));
        if (batch == NULL) break; // the next look has them
        batch->next = batches;
        batches = batch;
    }
    viv_mutex_unlock(&durable->mutex);
    for (struct batch *batch = batches; batch != NULL; batch = batch->next)
        take(durable, batch);
    durable->wakes.taken = batches;
}

// ---- sending ----

static bool send_batch(VIV_OWN struct batch *batch)
{
    bool is_full = batch->count == WAKES_A_TAKE;
    struct viv_durable__sub *sub = batch->sub;
    for (size_t i = 0; i < batch->count; i++) // one that is refused is visible again
        (void)viv_env_send(sub->env, VIV_PID_NONE, sub->pid, batch->msgs[i]);
    free_sub(sub);
    viv_free(batch, sizeof *batch, VIV_TAG_CTL);
    return is_full;
}

static void drop_ended_locked(struct viv_durable *durable)
{
    for (struct viv_list *at = durable->subs.next, *next; at != &durable->subs; at = next) {
        struct viv_durable__sub *sub = VIV_CONTAINER_OF(at, struct viv_durable__sub, node);
        next = at->next;
        if (viv_proc_exists(sub->env, sub->pid)) continue;
        viv_list_remove(&sub->node);
        durable->sub_count--;
        free_sub(sub);
    }
}

static void take_done(struct viv_job *job)
{
    struct viv_durable *durable = VIV_CONTAINER_OF(job, struct viv_durable, wakes.job);
    struct batch *at = durable->wakes.taken;
    bool is_more = false;
    for (struct batch *next; at != NULL; at = next) {
        next = at->next;
        is_more = send_batch(at) || is_more;
    }
    viv_mutex_lock(&durable->mutex);
    drop_ended_locked(durable);
    is_more = is_more || durable->wakes.is_poked;
    durable->wakes.is_running = false;
    viv_mutex_unlock(&durable->mutex);
    if (is_more) viv_durable_poke(durable);
    viv_durable__wake_thread(durable); // which may wait for the end
}

void viv_durable_poke(struct viv_durable *durable)
{
    viv_mutex_lock(&durable->mutex);
    const bool is_due = durable->sub_count > 0 && !durable->is_stopping;
    const bool is_first = is_due && !durable->wakes.is_running;
    durable->wakes.is_poked = is_due && !is_first;
    durable->wakes.is_running = durable->wakes.is_running || is_first;
    viv_mutex_unlock(&durable->mutex);
    if (!is_first) return;
    durable->wakes.job = (struct viv_job){.run = run_take, .done = take_done};
    const enum viv_err err =
        viv_dirty_post(viv_kernel_sched(durable->config.kernel), VIV_DIRTY_IO, &durable->wakes.job);
    if (err == VIV_OK) return;
    viv_mutex_lock(&durable->mutex); // the next look
    durable->wakes.is_running = false;
    viv_mutex_unlock(&durable->mutex);
}

// ---- subscribing ----

static enum viv_err add(struct viv_durable *durable, struct viv_durable__sub *sub)
{
    viv_mutex_lock(&durable->mutex);
    if (durable->sub_count >= VIV_DURABLE_SUBS_MAX) drop_ended_locked(durable);
    const bool is_full = durable->sub_count >= VIV_DURABLE_SUBS_MAX;
    if (!is_full) {
        viv_list_append(&durable->subs, &sub->node);
        durable->sub_count++;
    }
    viv_mutex_unlock(&durable->mutex);
    return is_full ? VIV_E_QUOTA : VIV_OK;
}

static enum viv_err subscribe(struct viv_guest_call *call, const struct viv_scope *scope,
                              int64_t tag)
{
    struct viv_durable *durable = call->ctx;
    const size_t size = scope->session.n + scope->frame.n;
    struct viv_durable__sub *sub = viv_try_alloc(sizeof *sub + size, VIV_TAG_CTL);
    if (sub == NULL) return VIV_E_EXHAUSTED;
    *sub = (struct viv_durable__sub){.env = viv_proc_env(call->proc),
                                     .pid = viv_proc_pid(call->proc),
                                     .tag = tag,
                                     .session_len = scope->session.n,
                                     .frame_len = scope->frame.n};
    viv_list_init(&sub->node);
    if (scope->session.n > 0) memcpy(sub->text, scope->session.p, scope->session.n);
    if (scope->frame.n > 0) memcpy(sub->text + scope->session.n, scope->frame.p, scope->frame.n);
    const enum viv_err err = add(durable, sub);
    if (err != VIV_OK) {
        free_sub(sub);
        return err;
    }
    viv_durable_poke(durable);
    viv_durable__wake_thread(durable); // it looks from now on
    return VIV_OK;
}

enum viv_err viv_durable__subscribe(struct viv_guest_call *call)
{
    struct viv_mem mem;
    struct viv_scope scope;
    struct viv_durable__in in;
    VIV_TRY(viv_durable__read(call, "tn", &in));
    if (in.text[0].n > VIV_DURABLE_SCOPE_BYTES) return VIV_E_TOOBIG;
    viv_mem_init(&mem, VIV_TAG_CTL);
    enum viv_err err = viv_durable__read_scope(&mem, in.text[0], &scope);
    if (err == VIV_OK) {
        const struct viv_cap_query query = {
            .facets = 1u << VIV_SCOPE_NAMES, .name = scope.session.p, .name_len = scope.session.n};
        err = viv_cap_check(call->proc, VIV_CAP_DURABLE_CONTROL, &query);
    }
    const struct viv_durable *durable = call->ctx;
    if (err == VIV_OK && durable->config.store == NULL) err = VIV_E_UNSUPPORTED;
    if (err == VIV_OK) err = subscribe(call, &scope, in.number[0]);
    viv_mem_deinit(&mem);
    return err;
}

void viv_durable__subs_free(struct viv_durable *durable)
{
    for (struct viv_list *at = durable->subs.next, *next; at != &durable->subs; at = next) {
        next = at->next;
        free_sub(VIV_CONTAINER_OF(at, struct viv_durable__sub, node));
    }
}
