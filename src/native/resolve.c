// SPDX-License-Identifier: Apache-2.0
// What a request means on this machine: its directory, opened, and its executable, resolved and
// allowed. Thread: a spawner's, outside of a read section, since file systems may hang.
#include "native/program.h"
#include "os/file.h"
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>

static enum viv_err fail(struct viv_program *program, enum viv_err err, const char *detail)
{
    return viv_diag_set(&program->launch_diag, err, "%s", detail);
}

static enum viv_err refuse(struct viv_program *program, enum viv_cap cap, const char *detail)
{
    viv_native__note_refusal(program, program->session, cap);
    return fail(program, VIV_E_DENIED, detail);
}

// What a session holds is read in a read section, which must not last while a call hangs.
static const struct viv_capset *look_at_set(const struct viv_program *program)
{
    viv_qsbr_online(viv_sched_member());
    return viv_ses_held(program->session);
}

static void look_away(void)
{
    viv_qsbr_offline(viv_sched_member());
}

// -------------------------------------------------------------------------------------------- cwd

static enum viv_err cwd_error(struct viv_program *program, int r)
{
    if (r == -EMFILE || r == -ENFILE) return fail(program, VIV_E_EXHAUSTED, "fds");
    return fail(program, r == -EXDEV ? VIV_E_ESCAPE : VIV_E_INVAL, "cwd");
}

static int open_beneath(int dir_fd, const char *path)
{
    return viv_os_openat2(dir_fd, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0,
                          RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

static bool may_go_anywhere(const struct viv_program *program)
{
    if (program->session == NULL) return true;
    const struct viv_capset *set = look_at_set(program);
    const bool may =
        (set->any >> VIV_CAP_FS & 1) != 0 ||
        viv_capset_check(set, VIV_CAP_NATIVE_MODE,
                         &(struct viv_cap_query){.facets = 1u << VIV_SCOPE_WORDS,
                                                 .number = VIV_NATIVE_WORD_PATH}) == VIV_OK;
    look_away();
    return may;
}

// The directory of class fs that an absolute path lies in; NULL: none.
static struct viv_anchor *find_anchor(const struct viv_program *program, const char *path,
                                      const char **out_rest)
{
    struct viv_anchor *found = NULL;
    const struct viv_capset *set = look_at_set(program);
    VIV_PATTERNS_EACH(pattern, viv_capset_patterns(set, VIV_CAP_FS))
    {
        struct viv_anchor *anchor = pattern->anchor;
        if (anchor == NULL || strncmp(path, anchor->path, anchor->path_len) != 0) continue;
        const char *rest = path + anchor->path_len;
        if (*rest != '\0' && *rest != '/' && anchor->path_len > 1) continue;
        found = viv_anchor_take(anchor);
        while (*rest == '/')
            rest++;
        *out_rest = *rest != '\0' ? rest : ".";
        break;
    }
    look_away();
    return found;
}

static enum viv_err open_absolute(struct viv_program *program, const char *path, int *out_fd)
{
    if (may_go_anywhere(program)) {
        *out_fd = viv_os_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
        return *out_fd >= 0 ? VIV_OK : cwd_error(program, *out_fd);
    }
    const char *rest = NULL;
    struct viv_anchor *anchor = find_anchor(program, path, &rest);
    if (anchor == NULL) return refuse(program, VIV_CAP_FS, "cwd");
    int r = viv_os_open(anchor->path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
    viv_anchor_drop(anchor);
    if (r >= 0) {
        const int dir_fd = r;
        r = open_beneath(dir_fd, rest);
        VIV_IGNORE(viv_os_close(dir_fd), "nothing was written");
    }
    *out_fd = r;
    return r >= 0 ? VIV_OK : cwd_error(program, r);
}

static enum viv_err open_cwd(struct viv_program *program)
{
    const struct viv_native_text *cwd = &program->req.fields.cwd;
    if (cwd->data != NULL && cwd->data[0] == '/')
        return open_absolute(program, cwd->data, &program->cwd_fd);
    program->cwd_fd =
        open_beneath(program->scope->tenant->root_fd, cwd->data != NULL ? cwd->data : ".");
    return program->cwd_fd >= 0 ? VIV_OK : cwd_error(program, program->cwd_fd);
}

// ------------------------------------------------------------------------------------- executable

// What became of a candidate.
enum outcome { FOUND, ABSENT, HIDDEN, REFUSED, NOT_ALLOWED, BROKEN };

struct search {
    char path[PATH_MAX]; // resolved, when FOUND
    int error;           // negated errno, when BROKEN
    bool was_refused, was_denied;
};

static bool is_allowed(const struct viv_program *program, const char *path, const struct stat *stat)
{
    if (program->session == NULL) return true;
    size_t argc = 0;
    const char *const *argv = (const char *const *)program->req.argv;
    while (argv[argc] != NULL)
        argc++;
    const struct viv_cap_query query = {
        .facets = 1u << VIV_SCOPE_COMMAND,
        .path = path,
        .path_len = strlen(path),
        .dev = stat->st_dev,
        .ino = stat->st_ino,
        .argv = argv + 1,
        .argc = argc - 1,
    };
    const enum viv_err err = viv_capset_check(look_at_set(program), VIV_CAP_NATIVE_SPAWN, &query);
    look_away();
    return err == VIV_OK;
}

static enum outcome try_candidate(const struct viv_program *program, struct search *search,
                                  const char *path)
{
    const int fd = viv_os_openat(program->cwd_fd, path, O_PATH | O_CLOEXEC, 0);
    if (fd == -ENOENT || fd == -ENOTDIR) return ABSENT;
    if (fd == -EACCES || fd == -EPERM) return HIDDEN; // a directory on the way
    search->error = fd;
    if (fd < 0) return BROKEN;
    struct stat stat;
    int r = viv_os_fstat(fd, &stat);
    if (r >= 0) r = viv_os_path_of(fd, search->path, sizeof search->path);
    VIV_IGNORE(viv_os_close(fd), "nothing was written");
    search->error = r;
    if (r < 0) return BROKEN;
    if (!is_allowed(program, search->path, &stat)) return NOT_ALLOWED;
    const bool is_executable = S_ISREG(stat.st_mode) && (stat.st_mode & 0111) != 0;
    return is_executable ? FOUND : REFUSED;
}

// In each directory of the search path; the first that can be executed.
static enum outcome search_path(const struct viv_program *program, struct search *search)
{
    const char *cmd = program->req.fields.cmd.data;
    const char *at = viv_native_search_path(&program->req);
    for (;;) {
        const size_t len = strcspn(at, ":");
        char path[PATH_MAX];
        const int n =
            snprintf(path, sizeof path, "%.*s%s%s", (int)len, at, len > 0 ? "/" : "", cmd);
        enum outcome outcome =
            n > 0 && (size_t)n < sizeof path ? try_candidate(program, search, path) : ABSENT;
        if (outcome == FOUND || outcome == BROKEN) return outcome;
        search->was_refused |= outcome == REFUSED;
        search->was_denied |= outcome == NOT_ALLOWED;
        if (at[len] == '\0') return ABSENT;
        at += len + 1;
    }
}

// A session that may not run everything is not told what exists.
static bool is_restricted(const struct viv_program *program)
{
    if (program->session == NULL) return false;
    const bool is_any = (look_at_set(program)->any >> VIV_CAP_NATIVE_SPAWN & 1) != 0;
    look_away();
    return !is_any;
}

static enum viv_err search_error(struct viv_program *program, enum outcome outcome,
                                 const struct search *search)
{
    if (outcome == BROKEN && (search->error == -EMFILE || search->error == -ENFILE))
        return fail(program, VIV_E_EXHAUSTED, "fds");
    if (outcome == NOT_ALLOWED || search->was_denied || is_restricted(program))
        return refuse(program, VIV_CAP_NATIVE_SPAWN, "native.spawn");
    if (outcome == BROKEN) return fail(program, VIV_E_INVAL, "cmd");
    if (outcome == HIDDEN || outcome == REFUSED || search->was_refused)
        return fail(program, VIV_E_NOEXEC, "EACCES");
    return fail(program, VIV_E_NOPROGRAM, "");
}

static enum viv_err find_executable(struct viv_program *program)
{
    const char *cmd = program->req.fields.cmd.data;
    struct search search = {.path = ""};
    const enum outcome outcome = strchr(cmd, '/') != NULL ? try_candidate(program, &search, cmd)
                                                          : search_path(program, &search);
    if (outcome != FOUND) return search_error(program, outcome, &search);
    const size_t size = strlen(search.path) + 1;
    program->exe = viv_try_alloc(size, VIV_TAG_NATIVE);
    if (program->exe == NULL) return fail(program, VIV_E_EXHAUSTED, "memory");
    memcpy(program->exe, search.path, size);
    return VIV_OK;
}

enum viv_err viv_native__resolve(struct viv_program *program)
{
    VIV_TRY(open_cwd(program));
    return find_executable(program);
}
