// SPDX-License-Identifier: Apache-2.0
// What the processes of a durable run share.
#include "ctl/durable.h"

void viv_durable_run_init(struct viv_durable_run *run, struct viv_run *of)
{
    run->run = of;
    run->is_cancelled = false;
    viv_mutex_init(&run->mutex);
    viv_list_init(&run->waits);
    viv_buf_init(&run->output, VIV_TAG_CTL);
    viv_buf_init(&run->reason, VIV_TAG_CTL);
}

void viv_durable_run_deinit(struct viv_durable_run *run)
{
    viv_buf_deinit(&run->output);
    viv_buf_deinit(&run->reason);
}

void viv_durable_run_cancel(struct viv_durable_run *run, struct viv_str reason)
{
    viv_mutex_lock(&run->mutex);
    run->is_cancelled = true;
    VIV_IGNORE(viv_buf_append(&run->reason, reason.p, reason.n), "it is empty then");
    viv_mutex_unlock(&run->mutex);
}

void viv_durable_run_wake(struct viv_durable_run *run)
{
    (void)run;
}

struct viv_durable_run *viv_durable_run_of(const struct viv_proc *proc)
{
    struct viv_family *family = viv_family_of(proc);
    return family == NULL ? NULL : VIV_CONTAINER_OF(family, struct viv_durable_run, family);
}
