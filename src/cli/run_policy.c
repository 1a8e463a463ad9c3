// SPDX-License-Identifier: Apache-2.0
// The policy of `viv run`. Directories are of two sources: --dir, whose names are taken as they are
// written, and patterns of class fs. Both are opened when the first process is born; the rights of
// each go with its descriptor. Threads: the main thread.
#include "cli/run_policy.h"

#include "cap/limits.h"
#include "cap/policy_options.h"
#include "cli/cli.h"
#include "native/anchor.h"
#include "os/file.h"
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

// ---- --dir ----

struct dir_spec {
    size_t host_len;
    const char *guest; // NULL: none
    size_t guest_len;
    uint32_t rights; // 0: none named
};

static uint32_t read_rights(const char *text)
{
    static const char letters[] = "rwcd"; // in the order of the bits
    uint32_t rights = 0;
    for (; *text != '\0'; text++) {
        const char *letter = strchr(letters, *text);
        if (letter == NULL) return 0;
        rights |= 1u << (letter - letters);
    }
    return rights;
}

static struct dir_spec read_dir(const char *spec)
{
    struct dir_spec dir = {0};
    size_t len = strlen(spec);
    const char *last = strrchr(spec, ':');
    if (last != NULL && last != spec && last[-1] != ':') {
        dir.rights = read_rights(last + 1);
        if (dir.rights != 0) len = (size_t)(last - spec);
    }
    const char *colons = memmem(spec, len, "::", 2);
    dir.host_len = colons != NULL ? (size_t)(colons - spec) : len;
    if (colons == NULL) return dir;
    dir.guest = colons + 2;
    dir.guest_len = len - dir.host_len - 2;
    return dir;
}

enum viv_err viv_run_policy_dir(struct viv_config *config, const char *spec)
{
    struct dir_spec dir = read_dir(spec);
    const char *guest = dir.guest != NULL ? dir.guest : spec;
    size_t guest_len = dir.guest != NULL ? dir.guest_len : dir.host_len;
    VIV_TRY(viv_config_add_dir(config, spec, dir.host_len, guest, guest_len));
    viv_config_limit_dir(config, dir.rights);
    return VIV_OK;
}

enum viv_err viv_run_policy_add_dirs(struct viv_policy *policy,
                                     const struct viv_run_options *options)
{
    for (uint32_t i = 0; i < options->dir_count; i++) {
        struct dir_spec dir = read_dir(options->dirs[i]);
        char *host = viv_try_strndup(options->dirs[i], dir.host_len, VIV_TAG_CLI);
        if (host == NULL) return VIV_E_EXHAUSTED;
        char real[PATH_MAX];
        bool exists = realpath(host, real) != NULL;
        viv_free(host, dir.host_len + 1, VIV_TAG_CLI);
        if (!exists) continue; // opening it will say why
        const struct viv_pattern_text pattern = {
            .cap = VIV_CAP_FS, .text = real, .len_bytes = strlen(real)};
        struct viv_diag diag;
        size_t at;
        enum viv_err err = viv_caps_allow_text(policy->caps, &pattern, &diag, &at);
        if (err != VIV_OK) return err;
    }
    return VIV_OK;
}

// ---- making ----

// A directory that cannot be opened is a bad pattern, with its place in the text. The descriptor is
// not kept: the first process opens its directories itself. A command's file is kept open.
static enum viv_err try_open(void *arg, enum viv_scope_type type, const char *path, size_t path_len,
                             struct viv_anchor **out_anchor, struct viv_diag *diag)
{
    (void)arg;
    if (type == VIV_SCOPE_COMMAND)
        return viv_native_open_anchor(arg, type, path, path_len, out_anchor, diag);
    if (type != VIV_SCOPE_DIRECTORY) return VIV_OK;
    char *name = viv_try_strndup(path, path_len, VIV_TAG_CLI);
    if (name == NULL) return VIV_E_EXHAUSTED;
    int fd = viv_os_open(name, O_PATH | O_DIRECTORY, 0);
    viv_free(name, path_len + 1, VIV_TAG_CLI);
    if (fd < 0) return viv_diag_set(diag, VIV_E_INVAL, "cannot open directory: %s", strerror(-fd));
    (void)viv_os_close(fd);
    return VIV_OK;
}

static const struct viv_scope_hooks guest_hooks = {.open = try_open};

static bool failed(const struct viv_policy_error *error, enum viv_err err)
{
    const char *why = error->diag.text[0] != '\0' ? error->diag.text : viv_err_text(err);
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: %s", why);
    return false;
}

static bool add_file(struct viv_policy_options *all, const char *path,
                     const struct viv_policy_source *source)
{
    uint8_t *text;
    size_t len;
    struct viv_diag diag = {{0}};
    if (viv_os_read_file(path, VIV_POLICY_BYTES_MAX, VIV_TAG_CLI, &text, &len, &diag) != VIV_OK) {
        (void)viv_cli_error(VIV_STATUS_USAGE, "run: --policy: %s", diag.text);
        return false;
    }
    struct viv_policy_error error = {0};
    const struct viv_policy_option option = {.name = "policy",
                                             .value = len > 0 ? (const char *)text
                                                              : "", // there is no text of 0 bytes
                                             .value_len = len,
                                             .label = path};
    enum viv_err err = viv_policy_options_add(all, &option, source, &error);
    viv_free(text, len, VIV_TAG_CLI);
    return err == VIV_OK || failed(&error, err);
}

static bool add_option(struct viv_policy_options *all, const struct viv_run_policy_option *given,
                       const struct viv_policy_source *source)
{
    if (strcmp(given->name, "policy") == 0) return add_file(all, given->value, source);
    struct viv_policy_error error = {0};
    const struct viv_policy_option option = {.name = given->name,
                                             .value = given->value,
                                             .value_len =
                                                 given->value != NULL ? strlen(given->value) : 0};
    enum viv_err err = viv_policy_options_add(all, &option, source, &error);
    return err == VIV_OK || failed(&error, err);
}

struct viv_policy *viv_run_policy_make(const struct viv_run_options *options,
                                       const struct viv_scope_hooks *hooks)
{
    const struct viv_policy_source plain = {.hooks = hooks != NULL ? hooks : &guest_hooks};
    const struct viv_policy_source *source = &plain;
    struct viv_policy_options *all;
    struct viv_policy *policy = NULL;
    struct viv_policy_error error = {0};
    enum viv_err err = viv_policy_options_new(VIV_PROFILE_OPEN, &all);
    if (err != VIV_OK) {
        (void)failed(&error, err);
        return NULL;
    }
    bool good = true;
    for (uint32_t i = 0; good && i < options->policy_count; i++)
        good = add_option(all, &options->policy[i], source);
    if (good) {
        err = viv_policy_options_finish(all, source, &policy, &error);
        if (err != VIV_OK) (void)failed(&error, err);
    }
    viv_policy_options_free(all);
    return policy;
}

// ---- what it means ----

void viv_run_policy_env(const struct viv_policy *policy, struct viv_env_limits *limits)
{
    struct viv_limits all;
    struct viv_proc_limits proc;
    viv_limits_of_policy(policy, &all);
    viv_limits_proc(&all, &proc);
    limits->mailbox_count = proc.mailbox_count;
    limits->mailbox_bytes = proc.mailbox_bytes;
    limits->mailbox_policy = proc.mailbox_policy;
    limits->proc_max = viv_min_u64(limits->proc_max, all.bounds[VIV_POLICY_PROCESSES].value);
}
