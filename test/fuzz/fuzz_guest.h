// SPDX-License-Identifier: Apache-2.0
// A process with channels and futures for fuzz targets: its guest's memory is a block of its own,
// so that a sanitizer sees the first byte beyond.
#ifndef VIV_TEST_FUZZ_GUEST_H
#define VIV_TEST_FUZZ_GUEST_H

#include "fuzz.h"

#include "base/alloc.h"
#include "cap/chan.h"
#include "cap/ring.h"
#include "sched/drive.h"
#include <stdlib.h>
#include <string.h>

enum { FUZZ_GUEST_BYTES = 1024, FUZZ_GUEST_RING = 768 };

struct fuzz_guest {
    int64_t live_before;
    struct viv_sched *sched;
    struct viv_reg *reg;
    struct viv_htab *tab;
    viv_rid proc;
    struct viv_guest_mem mem;
};

static uint64_t fuzz_now(void *arg)
{
    (void)arg;
    return VIV_NS_PER_SEC;
}

static enum viv_turn_end fuzz_run_nothing(void *arg, struct viv_task *task, struct viv_slice *slice)
{
    (void)arg;
    (void)task;
    (void)slice;
    return VIV_RUN_DONE;
}

static void fuzz_guest_open(struct fuzz_guest *guest)
{
    memset(guest, 0, sizeof(*guest));
    guest->live_before = viv_alloc_live_bytes_all();
    const struct viv_sched_config config = {
        .worker_count = 1, .env = {.now_ns = fuzz_now, .simulated = true}, .run = fuzz_run_nothing};
    FUZZ_CHECK(viv_sched_new(&config, &guest->sched) == VIV_OK);
    FUZZ_CHECK(viv_sched_start(guest->sched) == VIV_OK);
    viv_drive_become(guest->sched, 0);
    struct viv_res_config res = {.sched = guest->sched};
    viv_account_limits_none(&res.limits);
    res.limits.max[VIV_COUNTER_RESOURCE_BYTES] = 16u << 20; // a channel may ask for much more
    FUZZ_CHECK(viv_res_new(&res, &guest->reg) == VIV_OK);
    FUZZ_CHECK(viv_chan_bind(guest->reg) == VIV_OK);
    FUZZ_CHECK(viv_fut_bind(guest->reg) == VIV_OK);
    const struct viv_res_spec spec = {.kind = VIV_KIND_PROCESS};
    FUZZ_CHECK(viv_res_add(guest->reg, &spec, NULL, &guest->proc) == VIV_OK);
    FUZZ_CHECK(viv_res_instance(guest->reg, &guest->tab) == VIV_OK);
    FUZZ_CHECK(viv_res_set_process_id(guest->tab, guest->proc) == VIV_OK);
    FUZZ_CHECK(viv_futs_open(guest->tab, NULL) == VIV_OK);
    guest->mem.base = calloc(1, FUZZ_GUEST_BYTES);
    guest->mem.size_bytes = FUZZ_GUEST_BYTES;
    FUZZ_CHECK(guest->mem.base != NULL);
}

// What the guest itself writes.
static void fuzz_guest_put(struct fuzz_guest *guest, uint32_t at, const uint8_t *data, size_t len)
{
    if (at <= FUZZ_GUEST_BYTES && len <= FUZZ_GUEST_BYTES - at && len != 0)
        memcpy(guest->mem.base + at, data, len);
}

static void fuzz_guest_close(struct fuzz_guest *guest)
{
    FUZZ_CHECK(viv_res_discard(guest->reg, guest->proc) == VIV_OK);
    struct viv_diag diag;
    FUZZ_CHECK(viv_res_check(guest->reg, &diag) == VIV_OK);
    viv_res_free(guest->reg); // asserts that nothing is charged
    viv_sched_stop(guest->sched);
    viv_sched_free(guest->sched);
    free(guest->mem.base);
    FUZZ_CHECK(viv_alloc_live_bytes_all() == guest->live_before);
}

#endif
