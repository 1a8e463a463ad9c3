// SPDX-License-Identifier: Apache-2.0
// Any bytes as the head of a wake ring, rewritten by the guest between flushes, in a memory that
// ends with the ring or within it. The host writes the ring's fields and slots and nothing else,
// never head, and tells each task at most once.
#include "fuzz.h"

#include "fuzz_guest.h"

enum { FUTURES_MAX = 64, STEP_BYTES = 4 };

struct rig {
    struct fuzz_guest guest;
    struct viv_fut *held[FUTURES_MAX];
    uint32_t made, resolved;
    uint32_t base, capacity; // capacity 0: no ring
    uint8_t before[FUZZ_GUEST_BYTES];
};

static void make(struct rig *rig)
{
    if (rig->made == FUTURES_MAX) return;
    viv_handle hdl;
    struct viv_fut **held = &rig->held[rig->made];
    FUZZ_CHECK(viv_fut_new(rig->guest.tab, NULL, NULL, &hdl, held) == VIV_OK);
    const struct viv_fut_result result =
        viv_fut_poll(rig->guest.tab, rig->guest.mem, hdl, 0x1000 + rig->made, 0, 0);
    FUZZ_CHECK(result.status == VIV_FUT_PENDING);
    rig->made++;
}

static void resolve(struct rig *rig)
{
    if (rig->resolved == rig->made) return;
    viv_fut_resolve(rig->held[rig->resolved++], VIV_OK, NULL);
}

// Whether the host may write this byte.
static bool is_hosts(const struct rig *rig, uint32_t at)
{
    if (rig->capacity == 0 || at < rig->base) return false;
    const uint32_t in = at - rig->base;
    const bool is_head = in >= VIV_RING_CURSOR_AT && in < VIV_RING_CURSOR_AT + 4;
    return in < VIV_RING_HEAD_BYTES + 4 * rig->capacity && !is_head;
}

static void flush(struct rig *rig)
{
    memcpy(rig->before, rig->guest.mem.base, FUZZ_GUEST_BYTES);
    (void)viv_ring_flush(rig->guest.tab, rig->guest.mem);
    for (uint32_t at = 0; at < FUZZ_GUEST_BYTES; at++)
        if (rig->before[at] != rig->guest.mem.base[at]) FUZZ_CHECK(is_hosts(rig, at));
}

static void register_ring(struct rig *rig, uint32_t base, uint32_t capacity)
{
    const enum viv_err err = viv_ring_register(rig->guest.tab, rig->guest.mem, base, capacity, 0);
    if (err != VIV_OK) return;
    rig->base = base;
    rig->capacity = capacity;
    if (capacity == 0) return;
    FUZZ_CHECK(base % 8 == 0 && (capacity & (capacity - 1)) == 0);
    FUZZ_CHECK(base + UINT64_C(32) + UINT64_C(4) * capacity <= FUZZ_GUEST_BYTES);
}

static void step(struct rig *rig, const uint8_t *data)
{
    switch (data[0] % 6) {
    case 0:
        make(rig);
        break;
    case 1:
        resolve(rig);
        break;
    case 2:
        register_ring(rig, (uint32_t)data[1] * 8, data[2] % 2 == 0 ? 1u << data[3] % 20 : data[3]);
        break;
    case 3: // the guest writes into its ring
        fuzz_guest_put(&rig->guest, rig->base + data[1] % VIV_RING_HEAD_BYTES, data + 2, 2);
        break;
    case 4: // or anywhere
        fuzz_guest_put(&rig->guest, data[1] * 4u, data + 2, 2);
        break;
    default:
        flush(rig);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct rig rig; // 1 KiB of copies
    memset(&rig, 0, sizeof(rig));
    fuzz_guest_open(&rig.guest);
    for (size_t at = 0; size - at >= STEP_BYTES; at += STEP_BYTES)
        step(&rig, data + at);
    while (rig.resolved < rig.made)
        resolve(&rig);
    flush(&rig);
    fuzz_guest_close(&rig.guest);
    return 0;
}
