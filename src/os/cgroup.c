// SPDX-License-Identifier: Apache-2.0
// Control groups are files; what is read of them is short text.
#include "os/cgroup.h"

#include "os/clock.h"
#include "os/file.h"
#include "os/os_int.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 4096, MODE = 0755, END_TRIES = 10000 };

static int read_at(int fd, const char *file, char out_text[TEXT_BYTES])
{
    const int file_fd = viv_os_openat(fd, file, O_RDONLY, 0);
    if (file_fd < 0) return file_fd;
    const ssize_t n = viv_os_read(file_fd, out_text, TEXT_BYTES - 1);
    VIV_IGNORE(viv_os_close(file_fd), "read only");
    if (n < 0) return (int)n;
    out_text[n] = '\0';
    return 0;
}

int viv_cgroup_write(int fd, const char *file, const char *text)
{
    const int file_fd = viv_os_openat(fd, file, O_WRONLY, 0);
    if (file_fd < 0) return file_fd;
    const ssize_t n = viv_os_write(file_fd, text, strlen(text));
    VIV_IGNORE(viv_os_close(file_fd), "the write has told");
    return n < 0 ? (int)n : 0;
}

// Where version 2 is mounted: the fifth word of its line in mountinfo, whose type follows " - ".
static bool find_mount(char *out_path, size_t cap_bytes)
{
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL) return false;
    char line[TEXT_BYTES];
    bool found = false;
    while (!found && fgets(line, sizeof line, file) != NULL) {
        const char *type = strstr(line, " - ");
        if (type == NULL || strncmp(type + 3, "cgroup2 ", 8) != 0) continue;
        char *at = line;
        for (int word = 0; word < 4 && at != NULL; word++) {
            at = strchr(at, ' ');
            if (at != NULL) at++;
        }
        if (at == NULL) continue;
        const size_t len = strcspn(at, " ");
        found = len < cap_bytes;
        if (found) (void)snprintf(out_path, cap_bytes, "%.*s", (int)len, at);
    }
    (void)fclose(file);
    return found;
}

enum viv_err viv_cgroup_own(char *out_path, size_t cap_bytes)
{
    char mount[TEXT_BYTES], membership[TEXT_BYTES];
    if (!find_mount(mount, sizeof mount)) return VIV_E_UNSUPPORTED;
    if (!viv_os__read_text("/proc/self/cgroup", membership, sizeof membership))
        return VIV_E_UNSUPPORTED;
    char *own = strstr(membership, "0::");
    if (own == NULL || (own != membership && own[-1] != '\n')) return VIV_E_UNSUPPORTED;
    own += 3;
    own[strcspn(own, "\n")] = '\0';
    if (strcmp(own, "/") == 0) own[0] = '\0';
    const int len = snprintf(out_path, cap_bytes, "%s%s", mount, own);
    return len > 0 && (size_t)len < cap_bytes ? VIV_OK : VIV_E_TOOSMALL;
}

int viv_cgroup_make_new(int base_fd, const char *name)
{
    const int r = viv_os_mkdirat(base_fd, name, MODE);
    if (r < 0) return r;
    const int fd = viv_os_openat(base_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) VIV_IGNORE(viv_cgroup_remove(base_fd, name), "just made, and empty");
    return fd;
}

int viv_cgroup_make(int base_fd, const char *name)
{
    const int fd = viv_cgroup_make_new(base_fd, name);
    return fd == -EEXIST ? viv_os_openat(base_fd, name, O_RDONLY | O_DIRECTORY, 0) : fd;
}

int viv_cgroup_remove(int base_fd, const char *name)
{
    return viv_os_unlinkat(base_fd, name, AT_REMOVEDIR);
}

static const struct {
    const char *name;
    uint32_t bit;
} controllers[] = {
    {"cpu", VIV_CGROUP_CPU}, {"memory", VIV_CGROUP_MEMORY}, {"pids", VIV_CGROUP_PIDS}};

static bool has_word(const char *text, const char *word)
{
    const size_t len = strlen(word);
    for (const char *at = text; (at = strstr(at, word)) != NULL; at += len)
        if ((at == text || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\n' || at[len] == '\0'))
            return true;
    return false;
}

static uint32_t controllers_in(int fd, const char *file)
{
    char text[TEXT_BYTES];
    uint32_t found = 0;
    if (read_at(fd, file, text) < 0) return 0;
    for (size_t i = 0; i < VIV_COUNT_OF(controllers); i++)
        if (has_word(text, controllers[i].name)) found |= controllers[i].bit;
    return found;
}

uint32_t viv_cgroup_controllers(int fd)
{
    return controllers_in(fd, "cgroup.subtree_control");
}

int viv_cgroup_delegate(int fd, uint32_t wanted)
{
    const uint32_t there = controllers_in(fd, "cgroup.controllers");
    int first_error = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(controllers); i++) {
        if ((there & wanted & controllers[i].bit) == 0) continue;
        char text[32];
        (void)snprintf(text, sizeof text, "+%s", controllers[i].name);
        const int r = viv_cgroup_write(fd, "cgroup.subtree_control", text);
        if (r < 0 && first_error == 0) first_error = r;
    }
    return first_error;
}

int viv_cgroup_kill(int fd)
{
    return viv_cgroup_write(fd, "cgroup.kill", "1");
}

int viv_cgroup_freeze(int fd, bool is_frozen)
{
    return viv_cgroup_write(fd, "cgroup.freeze", is_frozen ? "1" : "0");
}

int viv_cgroup_is_populated(int fd)
{
    uint64_t value = 0;
    const int r = viv_cgroup_read_u64(fd, "cgroup.events", "populated", &value);
    return r < 0 ? r : value != 0;
}

int viv_cgroup_watch(int fd)
{
    return viv_os_openat(fd, "cgroup.events", O_RDONLY, 0);
}

int viv_cgroup_read_u64(int fd, const char *file, const char *key, uint64_t *out_value)
{
    char text[TEXT_BYTES];
    const int r = read_at(fd, file, text);
    if (r < 0) return r;
    const char *at = text;
    if (key != NULL) {
        const size_t len = strlen(key);
        while (at != NULL && !(strncmp(at, key, len) == 0 && at[len] == ' ')) {
            at = strchr(at, '\n');
            if (at != NULL) at++;
        }
        if (at == NULL) return -ENODATA;
        at += len + 1;
    }
    if (strncmp(at, "max", 3) == 0) {
        *out_value = UINT64_MAX;
        return 0;
    }
    char *end;
    const unsigned long long value = strtoull(at, &end, 10);
    if (end == at) return -ENODATA;
    *out_value = value;
    return 0;
}

int viv_cgroup_join(int fd, int pid)
{
    char text[16];
    (void)snprintf(text, sizeof text, "%d", pid);
    return viv_cgroup_write(fd, "cgroup.procs", text);
}

struct linux_dirent { // as getdents64 gives it
    uint64_t ino;
    int64_t offset;
    uint16_t size;
    uint8_t type;
    char name[];
};

void viv_cgroup_each(int fd, void (*visit)(void *arg, int fd, const char *name), void *arg)
{
    _Alignas(8) uint8_t buf[TEXT_BYTES];
    VIV_IGNORE(viv_os_lseek(fd, 0, SEEK_SET), "read from the first");
    for (ssize_t n; (n = viv_os_getdents64(fd, buf, sizeof buf)) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct linux_dirent *entry = (const void *)(buf + at);
            at += entry->size;
            if (entry->type == DT_DIR && entry->name[0] != '.') visit(arg, fd, entry->name);
        }
    }
}

static void remove_one(void *arg, int fd, const char *name)
{
    int *error = arg;
    const int r = viv_cgroup_remove(fd, name);
    if (r < 0) *error = r;
}

// What is below a group, one level, as far as it is empty; 0, or the last error.
static int remove_below(int fd)
{
    int error = 0;
    viv_cgroup_each(fd, remove_one, &error);
    return error;
}

int viv_cgroup_end(int base_fd, const char *name)
{
    const int fd = viv_os_openat(base_fd, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0) return fd == -ENOENT ? 0 : fd;
    int r = viv_cgroup_kill(fd);
    for (uint32_t tries = 0; tries < END_TRIES; tries++) { // what was killed takes a moment to go
        r = remove_below(fd);
        if (r == 0) r = viv_cgroup_remove(base_fd, name);
        if (r != -EBUSY) break;
        viv_os_sleep_ns(VIV_NS_PER_MS);
    }
    VIV_IGNORE(viv_os_close(fd), "a directory");
    return r;
}
