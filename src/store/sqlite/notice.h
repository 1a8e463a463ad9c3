// SPDX-License-Identifier: Apache-2.0
// How handles on one file tell each other of commits (durable.md 3.5): a number is written to
// PATH.wake, which every handle watches.
#ifndef VIV_STORE_SQLITE_NOTICE_H
#define VIV_STORE_SQLITE_NOTICE_H

#include "base/err.h"

struct viv_notice {
    int wake_fd;  // -1: cannot be had
    int watch_fd; // -1: nobody listens yet, or likewise
};
void viv_notice_init(struct viv_notice *notice);
// What fails is left out: then others are not told.
void viv_notice_open(struct viv_notice *notice, const char *path);
// Begins to watch, which is not done before somebody wants to hear: to end a watch takes the kernel
// tens of milliseconds. False: it cannot be done, and others are to be looked for.
bool viv_notice_watch(struct viv_notice *notice, const char *path);
void viv_notice_close(struct viv_notice *notice);
void viv_notice_tell(const struct viv_notice *notice); // any thread
void viv_notice_hear(const struct viv_notice *notice);

#endif
