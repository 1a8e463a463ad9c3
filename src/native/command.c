// SPDX-License-Identifier: Apache-2.0
// Anchors of command patterns. Immutable once made; the last drop closes the file.
#include "native/command.h"

#include "os/file.h"
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

struct command {
    struct viv_anchor anchor;
    int fd;
    char path[PATH_MAX];
};

static void close_command(struct viv_anchor *anchor)
{
    struct command *command = VIV_CONTAINER_OF(anchor, struct command, anchor);
    VIV_IGNORE(viv_os_close(command->fd), "a path");
    viv_free(command, sizeof *command, VIV_TAG_NATIVE);
}

static int open_file(struct command *command, const char *name)
{
    struct stat stat;
    command->fd = viv_os_open(name, O_PATH, 0);
    if (command->fd < 0) return command->fd;
    int r = viv_os_path_of(command->fd, command->path, sizeof command->path);
    if (r >= 0) r = viv_os_fstat(command->fd, &stat);
    if (r < 0) {
        VIV_IGNORE(viv_os_close(command->fd), "a path");
        return r;
    }
    command->anchor.path = command->path; // without symbolic links
    command->anchor.path_len = strlen(command->path);
    command->anchor.dev = stat.st_dev;
    command->anchor.ino = stat.st_ino;
    return 0;
}

enum viv_err viv_native_open_command(const char *path, size_t path_len,
                                     struct viv_anchor **out_anchor, struct viv_diag *diag)
{
    struct command *command = viv_try_calloc(1, sizeof *command, VIV_TAG_NATIVE);
    char *name = viv_try_strndup(path, path_len, VIV_TAG_NATIVE);
    const bool is_complete = command != NULL && name != NULL;
    const int r = is_complete ? open_file(command, name) : 0;
    if (name != NULL) viv_free(name, path_len + 1, VIV_TAG_NATIVE);
    if (is_complete && r == 0) {
        command->anchor.ref_count = 1;
        command->anchor.close = close_command;
        *out_anchor = &command->anchor;
        return VIV_OK;
    }
    if (command != NULL) viv_free(command, sizeof *command, VIV_TAG_NATIVE);
    if (!is_complete) return VIV_E_EXHAUSTED;
    return viv_diag_set(diag, VIV_E_INVAL, "cannot open command: %s", strerror(-r));
}
