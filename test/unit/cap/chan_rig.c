// SPDX-License-Identifier: Apache-2.0
// The channels of the unit tests.
#include "chan_rig.h"
#include "cap/fut.h"
#include <string.h>

static char text[4096]; // what was read last

static void bind(struct viv_reg *reg)
{
    const struct viv_res_kind functions = {.close = res_rig_close_thing,
                                           .destroy = res_rig_destroy_thing};
    OK(viv_res_kind_bind(reg, VIV_KIND_PROCESS, &functions));
    OK(viv_chan_bind(reg));
    OK(viv_fut_bind(reg));
}

void chan_rig_open(struct chan_rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    res_rig_prepare(&rig->res);
    res_rig_open_bare(&rig->res);
    bind(rig->res.reg);
    for (uint32_t i = 0; i < CHAN_PROCS; i++) {
        rig->proc[i] =
            res_rig_add(&rig->res, VIV_KIND_PROCESS, VIV_RID_NONE, VIV_RID_NONE, &rig->procs[i]);
        OK(viv_res_open_account(rig->res.reg, rig->proc[i], NULL, &rig->account[i]));
        OK(viv_res_instance(rig->res.reg, &rig->tab[i]));
        OK(viv_res_set_process_id(rig->tab[i], rig->proc[i]));
    }
    rig->t = rig->tab[0];
}

void chan_rig_close(struct chan_rig *rig)
{
    res_rig_close(&rig->res);
}

viv_handle chan_make(struct chan_rig *rig, uint32_t capacity, uint8_t mode, uint8_t flags)
{
    const struct viv_chan_opts opts = {.capacity_bytes = capacity, .mode = mode, .flags = flags};
    viv_handle hdl;
    OK(viv_chan_create(rig->t, &opts, &hdl));
    return hdl;
}

viv_handle chan_reader(struct chan_rig *rig, viv_handle chan, enum viv_chan_strength strength)
{
    viv_handle hdl;
    OK(viv_chan_reader(rig->t, chan, strength, VIV_CHAN_DEFAULT, &hdl));
    return hdl;
}

viv_handle chan_writer(struct chan_rig *rig, viv_handle chan, enum viv_chan_strength strength)
{
    viv_handle hdl;
    OK(viv_chan_writer(rig->t, chan, strength, &hdl));
    return hdl;
}

int chan_write(struct chan_rig *rig, viv_handle writer, const char *bytes)
{
    enum viv_io io = VIV_IO_END; // never a write's
    const enum viv_err err = viv_chan_write(rig->t, writer, bytes, strlen(bytes), &io);
    return err != VIV_OK ? (int)err : -(int)io;
}

int chan_read_code(struct chan_rig *rig, viv_handle reader, struct viv_frame *frame)
{
    enum viv_io io = VIV_IO_DROPPED; // never a read's
    memset(frame, 0, sizeof(*frame));
    const enum viv_err err = viv_chan_read(rig->t, reader, text, sizeof(text) - 1, frame, &io);
    if (err == VIV_OK && io == VIV_IO_DONE) text[frame->len_bytes] = '\0';
    return err != VIV_OK ? (int)err : -(int)io;
}

const char *chan_read(struct chan_rig *rig, viv_handle reader)
{
    struct viv_frame frame;
    return chan_read_code(rig, reader, &frame) == 0 ? text : NULL;
}

struct viv_chan_stat chan_stat(struct chan_rig *rig, viv_handle hdl)
{
    struct viv_chan_stat stat;
    OK(viv_chan_stat(rig->t, hdl, &stat));
    return stat;
}

void chan_park(struct viv_htab *tab, viv_handle hdl, struct viv_op *op, const char *bytes)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CAP);
    if (bytes != NULL) OK(viv_buf_append(&buf, bytes, strlen(bytes)));
    viv_op_init(op, NULL);
    OK(viv_chan_begin(tab, hdl, op, &buf));
}

int chan_result(struct viv_op *op)
{
    const enum viv_err err = viv_op_check(op, 0);
    return err == VIV_E_AGAIN ? -1 : (int)err;
}
