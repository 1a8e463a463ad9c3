// SPDX-License-Identifier: Apache-2.0
// Reservations of address space. Over-aligned ones are mapped too large and trimmed at both ends,
// which leaves one mapping and needs no second system call that could lose a race for the address.
#include "os/vm.h"
#include "base/assert.h"
#include "base/log.h"
#include "os/file.h"
#include "os/os_int.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

size_t viv_vm_page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE); // a constant of the C library's, no system call
}

static bool is_page_multiple(size_t size_bytes)
{
    return (size_bytes & (viv_vm_page_bytes() - 1)) == 0;
}

static void unmap(void *base, size_t size_bytes)
{
    if (size_bytes == 0) return;
    int r;
    do
        r = viv_os__is_faulted("munmap") ? -1 : munmap(base, size_bytes);
    while (viv_os__is_interrupted(r));
    // Only address space is lost: the kernel has no room for one more mapping to split off.
    if (r < 0) VIV_LOG(VIV_LOG_WARN, "cannot unmap %zu bytes: %s", size_bytes, strerror(errno));
}

enum viv_err viv_vm_reserve(size_t size_bytes, size_t align_bytes, void **out_base)
{
    size_t page = viv_vm_page_bytes();
    VIV_ASSERT(size_bytes != 0 && is_page_multiple(size_bytes));
    VIV_ASSERT(align_bytes >= page && (align_bytes & (align_bytes - 1)) == 0);
    size_t total;
    if (__builtin_add_overflow(size_bytes, align_bytes - page, &total)) return VIV_E_EXHAUSTED;

    void *base = viv_os__is_faulted("mmap")
                     ? MAP_FAILED
                     : mmap(NULL, total, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) return VIV_E_EXHAUSTED;

    size_t skip = (align_bytes - ((uintptr_t)base & (align_bytes - 1))) & (align_bytes - 1);
    char *start = (char *)base + skip;
    unmap(base, skip);
    unmap(start + size_bytes, total - skip - size_bytes);
    // Refused by kernels without huge pages, which is as good.
    (void)madvise(start, size_bytes, MADV_NOHUGEPAGE);
    *out_base = start;
    return VIV_OK;
}

void viv_vm_release(void *base, size_t size_bytes)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    unmap(base, size_bytes);
}

static bool advise(void *base, size_t size_bytes, int advice)
{
    int r;
    do
        r = viv_os__is_faulted("madvise") ? -1 : madvise(base, size_bytes, advice);
    while (r < 0 && (errno == EINTR || errno == EAGAIN));
    return r == 0;
}

void viv_vm_discard(void *base, size_t size_bytes)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    // Locked pages cannot be given back. They must read as zero all the same.
    if (!advise(base, size_bytes, MADV_DONTNEED)) memset(base, 0, size_bytes);
}

// A fresh mapping in place of what is there, which becomes one with equal neighbours.
static bool map_over(void *base, size_t size_bytes)
{
    void *at = viv_os__is_faulted("mmap")
                   ? MAP_FAILED
                   : mmap(base, size_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (at == MAP_FAILED) return false;
    (void)madvise(base, size_bytes, MADV_NOHUGEPAGE); // as in viv_vm_reserve
    return true;
}

enum viv_err viv_vm_move(void *from, void *to, size_t size_bytes)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
    void *at =
        viv_os__is_faulted("mremap") ? MAP_FAILED : mremap(from, size_bytes, size_bytes, flags, to);
    if (at != MAP_FAILED) return VIV_OK;
    const enum viv_err err = errno == EINVAL ? VIV_E_UNSUPPORTED : VIV_E_EXHAUSTED;
    // The host may have taken away what was at `to`. Nobody else must get a mapping there.
    if (!map_over(to, size_bytes)) VIV_PANIC("cannot map %zu bytes again", size_bytes);
    return err;
}

void viv_vm_renew(void *base, size_t size_bytes)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    if (!map_over(base, size_bytes)) viv_vm_discard(base, size_bytes);
}

enum viv_err viv_vm_protect(void *base, size_t size_bytes, bool accessible)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    int protection = accessible ? PROT_READ | PROT_WRITE : PROT_NONE;
    int r;
    do
        r = viv_os__is_faulted("mprotect") ? -1 : mprotect(base, size_bytes, protection);
    while (viv_os__is_interrupted(r));
    return r == 0 ? VIV_OK : VIV_E_EXHAUSTED;
}

enum viv_err viv_vm_make_secret(void *base, size_t size_bytes)
{
    VIV_ASSERT(is_page_multiple(size_bytes));
    const bool is_secret =
        advise(base, size_bytes, MADV_DONTDUMP) && advise(base, size_bytes, MADV_WIPEONFORK);
    return is_secret ? VIV_OK : VIV_E_UNSUPPORTED;
}

uint64_t viv_vm_rss_bytes(void)
{
    char text[128];
    if (!viv_os__read_text("/proc/self/statm", text, sizeof text)) return 0;
    const char *second = strchr(text, ' '); // pages: total, resident, …
    return second != NULL ? strtoull(second, NULL, 10) * viv_vm_page_bytes() : 0;
}

uint64_t viv_vm_pte_bytes(void)
{
    char text[4096];
    if (!viv_os__read_text("/proc/self/status", text, sizeof text)) return 0;
    const char *line = strstr(text, "\nVmPTE:");
    return line != NULL ? strtoull(line + strlen("\nVmPTE:"), NULL, 10) * 1024 : 0;
}

uint64_t viv_vm_mapping_count(void)
{
    char chunk[8192];
    uint64_t lines = 0;
    int fd = viv_os_open("/proc/self/maps", O_RDONLY, 0);
    if (fd < 0) return 0;
    ssize_t n;
    while ((n = viv_os_read(fd, chunk, sizeof chunk)) > 0)
        for (ssize_t i = 0; i < n; i++)
            lines += chunk[i] == '\n';
    viv_os_close(fd);
    return n == 0 ? lines : 0;
}
