// SPDX-License-Identifier: Apache-2.0
// Reservations: alignment, zeroes, guards, failures, nothing left over.
#include "cm.h"
#include "harness/check.h"
#include "os/fault.h"
#include "os/vm.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

// Whether the page is mapped at all.
static bool is_mapped(void *page)
{
    unsigned char in_core;
    return mincore(page, viv_vm_page_bytes(), &in_core) == 0;
}

static void reserves_aligned_and_trims(void **state)
{
    (void)state;
    size_t page = viv_vm_page_bytes();
    for (size_t align = page; align <= (size_t)1 << 26; align *= 4) {
        char *base = NULL;
        assert_int_equal(viv_vm_reserve(3 * page, align, (void **)&base), VIV_OK);
        assert_int_equal((uintptr_t)base % align, 0);
        for (size_t i = 0; i < 3 * page; i++)
            assert_int_equal(base[i], 0);
        memset(base, 1, 3 * page);
        viv_vm_release(base, 3 * page);
        assert_false(is_mapped(base));
    }
}

static void address_space_is_cheap(void **state)
{
    (void)state;
    void *base = NULL;
    size_t size = (size_t)1 << 36; // 64 GiB
    uint64_t rss = viv_vm_rss_bytes();
    assert_int_equal(viv_vm_reserve(size, viv_vm_page_bytes(), &base), VIV_OK);
    memset(base, 1, viv_vm_page_bytes());
    assert_true(viv_vm_rss_bytes() < rss + ((uint64_t)64 << 20));
    viv_vm_release(base, size);
}

static void discarded_pages_are_zero(void **state)
{
    (void)state;
    size_t size = 16 * viv_vm_page_bytes();
    for (int round = 0; round < 2; round++) {
        char *base = NULL;
        assert_int_equal(viv_vm_reserve(size, viv_vm_page_bytes(), (void **)&base), VIV_OK);
        memset(base, 7, size);
        // The second time the kernel refuses, as it does for locked pages.
        if (round == 1) viv_fault_set("madvise", 1, EINVAL);
        viv_vm_discard(base, size / 2);
        for (size_t i = 0; i < size / 2; i++)
            assert_int_equal(base[i], 0);
        for (size_t i = size / 2; i < size; i++)
            assert_int_equal(base[i], 7);
        viv_vm_release(base, size);
    }
    assert_true(viv_fault_hit());
    viv_fault_set("*", 0, 0);
}

static bool is_filled(const char *at, size_t len, char with)
{
    for (size_t i = 0; i < len; i++)
        if (at[i] != with) return false;
    return true;
}

static void pages_move(void **state)
{
    (void)state;
    const size_t size = (size_t)4 << 20;
    char *base = NULL;
    assert_int_equal(viv_vm_reserve(4 * size, (size_t)2 << 20, (void **)&base), VIV_OK);
    char *from = base, *to = base + 2 * size;
    const uint64_t mappings = viv_vm_mapping_count();
    for (int round = 0; round < 3; round++) {
        memset(from, 7, size);
        // The host refuses the first time; the ranges are as they were.
        if (round == 0) viv_fault_set("mremap", 1, ENOMEM);
        const enum viv_err err = viv_vm_move(from, to, size);
        assert_int_equal(err, round == 0 ? VIV_E_EXHAUSTED : VIV_OK);
        assert_true(is_filled(from, size, round == 0 ? 7 : 0));
        assert_true(is_filled(to, size, round == 0 ? 0 : 7));
        assert_true(is_filled(to + size, size, 0));
        memset(to, 8, size);
        viv_vm_renew(to, size);
        assert_true(is_filled(to, size, 0));
        assert_true(viv_vm_mapping_count() <= mappings + 1); // the list of them may take one
    }
    assert_true(viv_fault_hit());
    viv_fault_set("*", 0, 0);
    viv_vm_release(base, 4 * size);
}

// Whether a read of the address ends a child with a signal.
static bool is_guarded(volatile char *at)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        signal(SIGSEGV, SIG_DFL);
        char byte = *at;
        _exit(byte == 0 ? 0 : 1);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

static void guards(void **state)
{
    (void)state;
    size_t page = viv_vm_page_bytes();
    char *base = NULL;
    assert_int_equal(viv_vm_reserve(4 * page, page, (void **)&base), VIV_OK);
    assert_int_equal(viv_vm_protect(base + page, page, false), VIV_OK);
    assert_false(is_guarded(base));
    assert_true(is_guarded(base + page));
    assert_false(is_guarded(base + 2 * page));
    assert_int_equal(viv_vm_protect(base + page, page, true), VIV_OK);
    base[page] = 1;
    viv_vm_release(base, 4 * page);
}

static void failures(void **state)
{
    (void)state;
    size_t page = viv_vm_page_bytes();
    void *base = NULL;
    viv_fault_set("mmap", 1, ENOMEM);
    assert_int_equal(viv_vm_reserve(page, page, &base), VIV_E_EXHAUSTED);
    assert_null(base);
    assert_int_equal(viv_vm_reserve(SIZE_MAX & ~(page - 1), page * 4, &base), VIV_E_EXHAUSTED);
    assert_int_equal(viv_vm_reserve((size_t)1 << 60, page, &base), VIV_E_EXHAUSTED);
    assert_null(base);

    assert_int_equal(viv_vm_reserve(page, page, &base), VIV_OK);
    viv_fault_set("mprotect", 1, ENOMEM);
    assert_int_equal(viv_vm_protect(base, page, false), VIV_E_EXHAUSTED);
    viv_fault_set("mprotect", 1, EINTR);
    assert_int_equal(viv_vm_protect(base, page, false), VIV_OK);
    viv_fault_set("munmap", 1, EINTR);
    viv_vm_release(base, page);
    assert_false(is_mapped(base));
    viv_fault_set("*", 0, 0);
}

static void tells_what_the_process_uses(void **state)
{
    (void)state;
    size_t page = viv_vm_page_bytes();
    assert_true(viv_vm_rss_bytes() > UINT64_C(100) * 1024);
    assert_true(viv_vm_pte_bytes() >= page);
    uint64_t before = viv_vm_mapping_count();
    assert_true(before > 5);
    char *base = NULL;
    assert_int_equal(viv_vm_reserve(64 * page, page, (void **)&base), VIV_OK);
    for (size_t i = 1; i < 64; i += 2)
        assert_int_equal(viv_vm_protect(base + i * page, page, false), VIV_OK);
    assert_true(viv_vm_mapping_count() >= before + 60);
    viv_vm_release(base, 64 * page);

    uint64_t rss = viv_vm_rss_bytes();
    size_t size = (size_t)32 << 20;
    assert_int_equal(viv_vm_reserve(size, page, (void **)&base), VIV_OK);
    memset(base, 1, size);
    assert_true(viv_vm_rss_bytes() >= rss + size / 2);
    viv_vm_release(base, size);

    viv_fault_set("open", 1, ENOENT);
    assert_int_equal(viv_vm_rss_bytes(), 0); // unknown
    viv_fault_set("read", 1, EIO);
    assert_int_equal(viv_vm_pte_bytes(), 0);
    viv_fault_set("read", 1, EIO);
    assert_int_equal(viv_vm_mapping_count(), 0);
    viv_fault_set("*", 0, 0);
}

// Whether the mapping of `base` has the flag, as smaps abbreviates it.
static bool has_flag(const void *base, const char *flag)
{
    char line[512], start[32];
    bool is_ours = false, found = false;
    FILE *maps = fopen("/proc/self/smaps", "r");
    assert_non_null(maps);
    (void)snprintf(start, sizeof start, "%lx-", (unsigned long)(uintptr_t)base);
    while (fgets(line, sizeof line, maps) != NULL) {
        if (strstr(line, "VmFlags:") != line) {
            is_ours |= strncmp(line, start, strlen(start)) == 0;
            continue;
        }
        found |= is_ours && strstr(line, flag) != NULL;
        is_ours = false;
    }
    (void)fclose(maps);
    return found;
}

static void secrets_stay_here(void **state)
{
    (void)state;
    const size_t size = 4 * viv_vm_page_bytes();
    char *base = NULL;
    int status;
    assert_int_equal(viv_vm_reserve(size, viv_vm_page_bytes(), (void **)&base), VIV_OK);
    assert_int_equal(viv_vm_make_secret(base, size), VIV_OK);
    memset(base, 's', size);
    assert_true(has_flag(base, " dd")); // no dump
    assert_true(has_flag(base, " wf")); // wiped on fork
    const pid_t pid = fork();
    if (pid == 0) _exit(is_filled(base, size, 0) ? 0 : 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(is_filled(base, size, 's'));
    for (uint64_t nth = 1; nth <= 2; nth++) {
        viv_fault_set("madvise", nth, EINVAL);
        assert_int_equal(viv_vm_make_secret(base, size), VIV_E_UNSUPPORTED);
        assert_true(viv_fault_hit());
    }
    viv_fault_set("*", 0, 0);
    viv_vm_release(base, size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reserves_aligned_and_trims),
        cmocka_unit_test(address_space_is_cheap),
        cmocka_unit_test(discarded_pages_are_zero),
        cmocka_unit_test(pages_move),
        cmocka_unit_test(guards),
        cmocka_unit_test(failures),
        cmocka_unit_test(secrets_stay_here),
        cmocka_unit_test(tells_what_the_process_uses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
