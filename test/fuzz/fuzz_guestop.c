// SPDX-License-Identifier: Apache-2.0
// Any bytes as a guest's calls: fut_create with any operation and payload, poll, drop, with handles
// and addresses of the guest's choice, in a memory that ends with its last byte. Nothing traps,
// nothing but the named buffers and the ring is written, and when the process has ended nothing is
// left.
#include "fuzz.h"

#include "fuzz_guest.h"

// One call: kind, operation or cap, address, length or future, then the payload, which is put at
// the address when it fits.
enum { CALL_BYTES = 8 };

static void check_result(struct viv_fut_result result)
{
    FUZZ_CHECK(result.status <= VIV_FUT_CANCELLED);
    if (result.status == VIV_FUT_FAILED) FUZZ_CHECK(result.value >= 1 && result.value <= 27);
}

static size_t call(struct fuzz_guest *guest, const uint8_t *data, size_t size)
{
    const uint32_t number = data[1], low = data[2], len = data[4], future = data[5];
    // Most addresses are near the beginning, some near the end, some beyond.
    uint32_t at = low | (uint32_t)(data[3] & 1) << 8;
    if (data[3] >= 0xE0) at = FUZZ_GUEST_BYTES - low;
    if (data[3] >= 0xFE) at = UINT32_MAX - low;
    const size_t left = size - CALL_BYTES;
    const size_t payload = len < left ? len : left;
    fuzz_guest_put(guest, at, data + CALL_BYTES, payload);
    switch (data[0] % 4) {
    case 0:
    case 1:
        check_result(viv_fut_create(guest->tab, guest->mem, number, at, len));
        break;
    case 2:
        check_result(
            viv_fut_poll(guest->tab, guest->mem, (viv_handle){future}, data[6], at, data[7]));
        break;
    default:
        check_result(viv_fut_drop(guest->tab, guest->mem, (viv_handle){future}, at, data[7]));
    }
    (void)viv_ring_flush(guest->tab, guest->mem);
    return CALL_BYTES + (data[0] % 4 < 2 ? payload : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_guest guest;
    fuzz_guest_open(&guest);
    FUZZ_CHECK(viv_ring_register(guest.tab, guest.mem, FUZZ_GUEST_RING, 8, 0) == VIV_OK);
    for (size_t at = 0; size - at >= CALL_BYTES;)
        at += call(&guest, data + at, size - at);
    fuzz_guest_close(&guest);
    return 0;
}
