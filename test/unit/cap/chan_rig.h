// SPDX-License-Identifier: Apache-2.0
// A registry with channels and futures, and processes that hold them. Nobody is woken: operations
// have no process, and tests look at their state.
#ifndef VIV_TEST_UNIT_CAP_CHAN_RIG_H
#define VIV_TEST_UNIT_CAP_CHAN_RIG_H

#include "cap/chan.h"
#include "res_rig.h"

enum { CHAN_PROCS = 3 };

struct chan_rig {
    struct res_rig res;
    struct thing procs[CHAN_PROCS];
    viv_rid proc[CHAN_PROCS];
    struct viv_account *account[CHAN_PROCS];
    struct viv_htab *tab[CHAN_PROCS];
    struct viv_htab *t; // of the first
};

void chan_rig_open(struct chan_rig *rig);
void chan_rig_close(struct chan_rig *rig); // everything must be gone then

// In the first process; they fail the test when the call fails.
viv_handle chan_make(struct chan_rig *rig, uint32_t capacity, uint8_t mode, uint8_t flags);
viv_handle chan_reader(struct chan_rig *rig, viv_handle chan, enum viv_chan_strength strength);
viv_handle chan_writer(struct chan_rig *rig, viv_handle chan, enum viv_chan_strength strength);
// Writes the text; the answer as one number: 0 done, else VIV_E_..., or -enum viv_io.
int chan_write(struct chan_rig *rig, viv_handle writer, const char *text);
// Reads a frame into a buffer of the rig: its text, or NULL when there is none.
const char *chan_read(struct chan_rig *rig, viv_handle reader);
int chan_read_code(struct chan_rig *rig, viv_handle reader, struct viv_frame *frame); // as write
struct viv_chan_stat chan_stat(struct chan_rig *rig, viv_handle hdl);
// Parks a write or, with text NULL, a read or a wait for drained.
void chan_park(struct viv_htab *tab, viv_handle hdl, struct viv_op *op, const char *text);
// The result of an operation that must be done; -1: it is parked.
int chan_result(struct viv_op *op);

#define DONE(code) assert_int_equal((code), 0)
#define IO(code, io) assert_int_equal((code), -(int)VIV_IO_##io)
#define CODE(code, err) assert_int_equal((code), VIV_E_##err)

#endif
