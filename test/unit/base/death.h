// SPDX-License-Identifier: Apache-2.0
// Runs what is meant to abort, or needs an untouched process, in a child.
#ifndef VIV_TEST_UNIT_BASE_DEATH_H
#define VIV_TEST_UNIT_BASE_DEATH_H

#include <stddef.h>

// fn(arg) in a child process, which exits with 0 when fn returns. Its stderr goes to out_text,
// terminated. Returns the wait status.
int death_run(void (*fn)(void *), void *arg, char *out_text, size_t cap_bytes);

#endif
