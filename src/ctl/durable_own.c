// SPDX-License-Identifier: Apache-2.0
// What a run does about itself, on a thread that may block: every write carries its fence.
#include "ctl/durable_int.h"
#include "store/objects.h"
#include <stdio.h>
#include <string.h>

static struct viv_store *store_of(const struct viv_durable__op *op)
{
    return op->durable->config.store;
}

// ---- the log, steps, checkpoints ----

enum viv_err viv_durable__append(struct viv_durable__op *op)
{
    struct viv_event event;
    const struct viv_append append = {.type = op->text[0],
                                      .payload = op->text[1],
                                      .key = viv_durable__key(op->text[2]),
                                      .fence = op->fence};
    VIV_TRY(
        viv_store_append(store_of(op), op->id, &append, &op->mem, &event, NULL, NULL, &op->diag));
    op->value = event.seq;
    return VIV_OK;
}

enum viv_err viv_durable__step_get(struct viv_durable__op *op)
{
    return viv_store_step_get(store_of(op), op->id, op->text[0], &op->mem, &op->out, &op->diag);
}

enum viv_err viv_durable__step_end(struct viv_durable__op *op)
{
    return viv_store_step_end(store_of(op), op->id, op->text[0], op->text[1], op->fence, &op->diag);
}

enum viv_err viv_durable__checkpoint_put(struct viv_durable__op *op)
{
    return viv_store_checkpoint_put(store_of(op), op->id, (uint64_t)op->number[0], op->text[0],
                                    op->fence, &op->diag);
}

enum viv_err viv_durable__checkpoint_get(struct viv_durable__op *op)
{
    struct viv_checkpoint checkpoint;
    VIV_TRY(viv_store_checkpoint_get(store_of(op), op->id, VIV_CHECKPOINT_NEWEST, &op->mem,
                                     &checkpoint, &op->diag));
    op->value = checkpoint.ordinal;
    op->out = checkpoint.bytes;
    return VIV_OK;
}

// ---- promises ----

static enum viv_err create(struct viv_durable__op *op, struct viv_mem *mem,
                           struct viv_promise *out_promise)
{
    const struct viv_promise_spec spec = {
        .key = op->text[0], .due_ms = op->number[0], .fence = op->fence};
    return viv_store_promise_create(store_of(op), op->id, &spec, mem, out_promise, &op->diag);
}

enum viv_err viv_durable__promise_create(struct viv_durable__op *op)
{
    struct viv_promise promise;
    VIV_TRY(create(op, &op->mem, &promise));
    op->out.p = viv_mem_try_copy(&op->mem, promise.token, strlen(promise.token));
    op->out.n = strlen(promise.token);
    return op->out.p != NULL ? VIV_OK : VIV_E_EXHAUSTED;
}

// A rerun that reckons anew sleeps until the time that was recorded. The arena is that of who
// tells, once a wait was started.
enum viv_err viv_durable__sleep(struct viv_durable__op *op)
{
    struct viv_mem mem;
    struct viv_promise promise;
    viv_mem_init(&mem, VIV_TAG_CTL);
    const enum viv_err err = create(op, &mem, &promise);
    viv_mem_deinit(&mem);
    if (err != VIV_OK && err != VIV_STORE_KEY_CONFLICT) return err;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_PROMISE, .id = op->id, .name = op->text[0]};
    return viv_durable__wait(op, &spec, -1);
}

enum viv_err viv_durable__promise_await(struct viv_durable__op *op)
{
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_PROMISE, .id = op->id, .name = op->text[0]};
    return viv_durable__wait(op, &spec, op->number[0]);
}

// ---- signals ----

enum viv_err viv_durable__wait_signal(struct viv_durable__op *op)
{
    char name[VIV_WAIT_NAME_BYTES_MAX];
    const int len = snprintf(name, sizeof name, "signal.%.*s", (int)op->text[0].n, op->text[0].p);
    if (op->text[0].n >= sizeof name || len < 0 || (size_t)len >= sizeof name) return VIV_E_TOOBIG;
    const struct viv_wait_spec spec = {.kind = VIV_WAIT_EVENT,
                                       .id = op->id,
                                       .name = {name, (size_t)len},
                                       .after = (uint64_t)op->number[0]};
    return viv_durable__wait(op, &spec, op->number[1]);
}
