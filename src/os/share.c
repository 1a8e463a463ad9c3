// SPDX-License-Identifier: Apache-2.0
// Files in memory that two programs map.
#include "os/share.h"

#include "os/file.h"
#include "os/os_int.h"
#include <sys/eventfd.h>
#include <sys/mman.h>

enum { SIZE_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

static int add_seals(int fd, int seals)
{
    return viv_os__settle_int(viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_ADD_SEALS, seals));
}

static int seals_of(int fd)
{
    return viv_os__settle_int(viv_os__is_faulted("fcntl") ? -1 : fcntl(fd, F_GET_SEALS));
}

int viv_os_shared_file(const char *name, size_t size_bytes)
{
    const int fd = viv_os__settle_int(viv_os__is_faulted("memfd_create")
                                          ? -1
                                          : memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (fd < 0) return fd;
    int r = viv_os_ftruncate(fd, (off_t)size_bytes);
    if (r >= 0) r = add_seals(fd, SIZE_SEALS | F_SEAL_SEAL);
    if (r >= 0) return fd;
    VIV_IGNORE(viv_os_close(fd), "it failed already");
    return r;
}

// A file whose size could change would be a fault of the bus in who reads it.
static int check_file(int fd, size_t size_bytes, int seals)
{
    struct stat stat;
    const int have = seals_of(fd);
    if (have < 0) return have;
    const int r = viv_os_fstat(fd, &stat);
    if (r < 0) return r;
    return (have & seals) == seals && (size_t)stat.st_size == size_bytes ? 0 : -EINVAL;
}

int viv_os_shared_file_check(int fd, size_t size_bytes)
{
    return check_file(fd, size_bytes, SIZE_SEALS);
}

static int map(int fd, size_t size_bytes, int protection, int flags, void **out_base)
{
    void *base =
        viv_os__is_faulted("mmap") ? MAP_FAILED : mmap(NULL, size_bytes, protection, flags, fd, 0);
    if (base == MAP_FAILED) return -errno;
    *out_base = base;
    return 0;
}

int viv_os_shared_map(int fd, size_t size_bytes, size_t writable_bytes, void **out_base)
{
    void *base = NULL;
    const bool is_all = writable_bytes == size_bytes;
    int r = map(fd, size_bytes, is_all ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, &base);
    if (r < 0) return r;
    if (!is_all && writable_bytes > 0)
        r = viv_os__settle_int(viv_os__is_faulted("mprotect")
                                   ? -1
                                   : mprotect(base, writable_bytes, PROT_READ | PROT_WRITE));
    if (r >= 0) {
        *out_base = base;
        return 0;
    }
    viv_os_shared_unmap(base, size_bytes);
    return r;
}

int viv_os_sealed_map(int fd, size_t size_bytes, const void **out_base)
{
    void *base = NULL;
    int r = check_file(fd, size_bytes, SIZE_SEALS | F_SEAL_WRITE);
    if (r >= 0) r = map(fd, size_bytes, PROT_READ, MAP_PRIVATE, &base);
    if (r >= 0) *out_base = base;
    return r;
}

void viv_os_shared_unmap(const void *base, size_t size_bytes)
{
    (void)munmap((void *)(uintptr_t)base, size_bytes); // what was mapped whole can be unmapped
}

int viv_os_bell_open(void)
{
    return viv_os__settle_int(
        viv_os__is_faulted("eventfd") ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int viv_os_bell_ring(int fd)
{
    const uint64_t one = 1;
    const ssize_t n = viv_os_write(fd, &one, sizeof one);
    return n < 0 ? (int)n : 0;
}

int viv_os_bell_empty(int fd)
{
    uint64_t count;
    const ssize_t n = viv_os_read(fd, &count, sizeof count);
    return n < 0 ? (int)n : 0;
}
