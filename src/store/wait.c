// SPDX-License-Identifier: Apache-2.0
// A wait that blocks its caller.
#include "store/wait.h"

#include "store/store_int.h"

struct blocking {
    struct viv_mutex mutex;
    struct viv_cond done;
    bool is_done;
    enum viv_err err;
    struct viv_mem *mem;
    struct viv_waited *out;
};

static enum viv_err copy_event(struct viv_mem *mem, const struct viv_event *event,
                               struct viv_event *out)
{
    *out = (struct viv_event){.seq = event->seq, .at_ms = event->at_ms};
    VIV_TRY(viv_store__copy(mem, event->id, &out->id));
    VIV_TRY(viv_store__copy(mem, event->type, &out->type));
    VIV_TRY(viv_store__copy(mem, event->payload, &out->payload));
    VIV_TRY(viv_store__copy(mem, event->key, &out->key));
    VIV_TRY(viv_store__copy(mem, event->semantics, &out->semantics));
    return viv_store__copy(mem, event->wake_id, &out->wake_id);
}

static enum viv_err copy_result(const struct blocking *self, const struct viv_wait_result *result)
{
    struct viv_waited waited = {.version = result->version};
    if (result->event != NULL) VIV_TRY(copy_event(self->mem, result->event, &waited.event));
    VIV_TRY(viv_store__copy(self->mem, result->output, &waited.output));
    *self->out = waited;
    return result->err;
}

static void end_blocking(void *arg, const struct viv_wait_result *result)
{
    struct blocking *self = arg;
    viv_mutex_lock(&self->mutex);
    self->err = copy_result(self, result);
    self->is_done = true;
    viv_cond_signal(&self->done);
    viv_mutex_unlock(&self->mutex);
}

enum viv_err viv_store_wait(struct viv_store *store, const struct viv_wait_spec *spec,
                            int64_t timeout_ms, struct viv_mem *mem, struct viv_waited *out_waited)
{
    struct blocking self = {.mem = mem, .out = out_waited};
    struct viv_store_wait *wait;
    viv_mutex_init(&self.mutex);
    viv_cond_init(&self.done);
    VIV_TRY(viv_store_wait_start(store, spec, timeout_ms, end_blocking, &self, &wait));
    viv_mutex_lock(&self.mutex);
    while (!self.is_done)
        (void)viv_cond_wait(&self.done, &self.mutex, VIV_FOREVER_NS);
    viv_mutex_unlock(&self.mutex);
    viv_store_wait_cancel(wait);
    return self.err;
}
