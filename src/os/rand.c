// SPDX-License-Identifier: Apache-2.0
// Randomness of the host. getrandom may return less than asked for long requests; this does not.
#include "os/rand.h"
#include "os/os_int.h"
#include <sys/random.h>

enum { CHUNK_BYTES = 256 }; // up to here getrandom is not interrupted half-way

enum viv_err viv_os_random(void *out, size_t len_bytes)
{
    uint8_t *at = out;
    while (len_bytes > 0) {
        size_t chunk = len_bytes < CHUNK_BYTES ? len_bytes : CHUNK_BYTES;
        int fault = viv_fault_check__("getrandom");
        if (fault == VIV_FAULT_SHORT) chunk = 1;
        if (fault > 0) errno = fault;
        ssize_t n = fault > 0 ? -1 : getrandom(at, chunk, 0);
        if (viv_os__is_interrupted(n)) continue;
        if (n < 0) return VIV_E_IO;
        at += n;
        len_bytes -= (size_t)n;
    }
    return VIV_OK;
}
