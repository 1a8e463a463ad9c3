// SPDX-License-Identifier: Apache-2.0
// Clocks of the host. Reading a clock of the calling process cannot fail for a valid clock id, and
// the ids are constants; so results are not checked.
#include "os/clock.h"

#include "os/file.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

static uint64_t to_ns(struct timespec time)
{
    return (uint64_t)time.tv_sec * VIV_NS_PER_SEC + (uint64_t)time.tv_nsec;
}

static uint64_t read_clock(clockid_t id)
{
    struct timespec now = {0, 0};
    clock_gettime(id, &now);
    return to_ns(now);
}

static uint64_t read_resolution(clockid_t id)
{
    struct timespec res = {0, 1};
    clock_getres(id, &res);
    return to_ns(res);
}

uint64_t viv_os_now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t viv_os_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

uint64_t viv_os_boot_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

enum viv_err viv_os_boot_id(char out_text[VIV_BOOT_ID_BYTES])
{
    char text[VIV_BOOT_ID_BYTES] = "";
    const int fd = viv_os_open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
    if (fd < 0) return VIV_E_IO;
    const ssize_t n = viv_os_read(fd, text, sizeof text - 1);
    VIV_IGNORE(viv_os_close(fd), "read only");
    if (n != sizeof text - 1) return VIV_E_IO;
    memcpy(out_text, text, sizeof text);
    return VIV_OK;
}

uint64_t viv_os_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t viv_os_monotonic_res_ns(void)
{
    return read_resolution(CLOCK_MONOTONIC);
}

uint64_t viv_os_wall_res_ns(void)
{
    return read_resolution(CLOCK_REALTIME);
}

void viv_os_sleep_ns(uint64_t ns)
{
    // Towards a point in time, so that interruptions do not add up.
    uint64_t end = viv_add_sat_u64(viv_os_now_ns(), ns);
    uint64_t max = (uint64_t)INT64_MAX; // 292 years, and what time_t of seconds surely holds
    if (end > max) end = max;
    struct timespec until = {(time_t)(end / VIV_NS_PER_SEC), (long)(end % VIV_NS_PER_SEC)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}
