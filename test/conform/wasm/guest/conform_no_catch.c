// SPDX-License-Identifier: Apache-2.0
// guest-flags: -nostdlib -Wl,--no-entry -mbulk-memory -fno-builtin
// Case 72: a program without the export that trap::catch calls.
#define GUEST_WITHOUT_CATCH
#include "guest.h"

CASE(case_072)
{
    (void)catch_trap(1, 0);
    note(3, 0); // never
}
