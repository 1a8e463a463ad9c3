// SPDX-License-Identifier: Apache-2.0
// Work of WASI calls on the dirty I/O pool. A job owns copies and counted files; its process may be
// gone before it returns, then nobody sees the result and the last reference closes the files.
#include "wasm/wasi_int.h"

static void dispose(struct viv_bg *bg)
{
    viv_wasi__job_free(VIV_CONTAINER_OF(bg, struct viv_wasi_job, bg));
}

static void run(struct viv_bg *bg)
{
    struct viv_wasi_job *job = VIV_CONTAINER_OF(bg, struct viv_wasi_job, bg);
    job->error = job->work(job);
}

struct viv_wasi_job *viv_wasi__job_new(size_t extra_bytes)
{
    size_t size_bytes = sizeof(struct viv_wasi_job) + extra_bytes;
    struct viv_wasi_job *job = viv_try_alloc(size_bytes, VIV_TAG_WASI);
    if (job == NULL) return NULL;
    *job = (struct viv_wasi_job){.size_bytes = size_bytes, .fd = -1};
    job->bg.run = run;
    job->bg.dispose = dispose;
    return job;
}

void viv_wasi__job_free(struct viv_wasi_job *job)
{
    if (job->fd >= 0) (void)viv_os_close(job->fd);
    viv_wasi__listing_drop(job->listing);
    viv_wasi__file_drop(job->file[0]);
    viv_wasi__file_drop(job->file[1]);
    viv_free(job, job->size_bytes, VIV_TAG_WASI);
}

uint32_t viv_wasi__job_post(struct viv_inst *inst, struct viv_wasi_job *job)
{
    enum viv_err err = viv_bg_start(inst, VIV_DIRTY_IO, &job->bg);
    if (err == VIV_OK) return VIV_WASI_SUCCESS;
    // Else the queue is full, or the kernel stops.
    return err == VIV_E_EXHAUSTED ? VIV_WASI_NOMEM : VIV_WASI_AGAIN;
}

static enum viv_host resume(struct viv_wait *op)
{
    struct viv_wasi_job *job = op->ptr;
    if (!viv_bg_is_done(&job->bg)) return VIV_HOST_WAIT;
    uint32_t error = job->error;
    if (error == VIV_WASI_SUCCESS && job->finish != NULL)
        error = job->finish(op->inst, viv_guest_mem(op->inst), job);
    return viv_wasi__done(op->result, error);
}

static void cleanup(struct viv_wait *op)
{
    struct viv_wasi_job *job = op->ptr;
    viv_bg_leave(&job->bg);
}

enum viv_host viv_wasi__job_run(struct viv_inst *inst, wasmtime_val_t *result,
                                struct viv_wasi_job *job)
{
    uint32_t error = viv_wasi__job_post(inst, job);
    if (error != VIV_WASI_SUCCESS) {
        viv_wasi__job_free(job);
        return viv_wasi__done(result, error);
    }
    struct viv_wait *op = viv_wait_new(inst, resume, cleanup);
    if (op == NULL) {
        viv_bg_leave(&job->bg);
        return VIV_HOST_TRAP;
    }
    op->ptr = job;
    return VIV_HOST_WAIT;
}
