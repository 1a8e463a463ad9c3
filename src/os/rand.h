// SPDX-License-Identifier: Apache-2.0
// Randomness of the host (getrandom).
#ifndef VIV_OS_RAND_H
#define VIV_OS_RAND_H

#include "base/err.h"

// Errors: IO.
enum viv_err viv_os_random(void *out, size_t len_bytes) VIV_MUST_CHECK;

#endif
