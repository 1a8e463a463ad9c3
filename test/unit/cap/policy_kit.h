// SPDX-License-Identifier: Apache-2.0
// What the tests of scopes, sets and policies share: a file system of a few names behind the hook,
// and lists made of texts.
#ifndef VIV_TEST_UNIT_CAP_POLICY_KIT_H
#define VIV_TEST_UNIT_CAP_POLICY_KIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cap/policy.h"

// Knows /srv, /srv/a, /srv/a/b, /srv/ab, /data, /usr/bin/git, /usr/bin/other, /usr/bin/link (which
// is git) and "." (which is /home/me); everything else is missing.
extern const struct viv_scope_hooks kit_files;
extern int64_t kit_anchors; // open now
// The number of a file; what is at /usr/bin/git may be replaced.
uint64_t kit_ino(const char *path);

// Adds "p|q|r" (texts of patterns) to the class; without hooks when `hooks` is NULL.
void kit_allow(struct viv_caps *caps, enum viv_cap cap, const char *patterns, uint8_t flags,
               const struct viv_scope_hooks *hooks);
// A set with the one class: "any", "none", "absent" or patterns.
struct viv_capset *kit_set(enum viv_cap cap, const char *patterns);
enum viv_cap kit_cap(const char *name);

#endif
