// SPDX-License-Identifier: Apache-2.0
// Memory that two programs see, and a descriptor that wakes the other one. A descriptor or 0, or a
// negated errno.
#ifndef VIV_OS_SHARE_H
#define VIV_OS_SHARE_H

#include "base/err.h"

// A file in memory, all zero, whose size nobody can change; pages are taken when written to.
int viv_os_shared_file(const char *name, size_t size_bytes);
// Whether it is one: of this size, which nobody can change. 0: yes; -EINVAL.
int viv_os_shared_file_check(int fd, size_t size_bytes);
// Maps the file. The first `writable_bytes` can be written to, the rest only read. Whole pages.
int viv_os_shared_map(int fd, size_t size_bytes, size_t writable_bytes, void **out_base);
// A sealed file (os/packet.h), for reading.
int viv_os_sealed_map(int fd, size_t size_bytes, const void **out_base);
void viv_os_shared_unmap(const void *base, size_t size_bytes);

// Readable when somebody has rung since it was emptied. Does not block.
int viv_os_bell_open(void);
int viv_os_bell_ring(int fd);
int viv_os_bell_empty(int fd); // -EAGAIN: nobody has rung

#endif
