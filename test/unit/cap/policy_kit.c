// SPDX-License-Identifier: Apache-2.0
// A file system of a few names, and lists made of texts.
#include "policy_kit.h"
#include <string.h>

static const struct file {
    const char *path, *resolved;
    uint64_t ino;
} files[] = {
    {"/srv", "/srv", 1},
    {"/srv/a", "/srv/a", 2},
    {"/srv/a/b", "/srv/a/b", 3},
    {"/srv/ab", "/srv/ab", 4},
    {"/data", "/data", 5},
    {"/", "/", 6},
    {".", "/home/me", 7},
    {"site", "/home/me/site", 8},
    {"/usr/bin/git", "/usr/bin/git", 9},
    {"/usr/bin/other", "/usr/bin/other", 10},
    {"/usr/bin/link", "/usr/bin/git", 9},
    {"/away", "/data/away", 11}, // a symbolic link
};

int64_t kit_anchors;

uint64_t kit_ino(const char *path)
{
    for (size_t i = 0; i < VIV_COUNT_OF(files); i++)
        if (strcmp(files[i].path, path) == 0) return files[i].ino;
    return 0;
}

static void close_anchor(struct viv_anchor *anchor)
{
    kit_anchors--;
    viv_free(anchor, sizeof *anchor, VIV_TAG_TEST);
}

static enum viv_err open_file(void *arg, enum viv_scope_type type, const char *path,
                              size_t path_len, struct viv_anchor **out_anchor,
                              struct viv_diag *diag)
{
    (void)arg;
    (void)type;
    for (size_t i = 0; i < VIV_COUNT_OF(files); i++) {
        const struct file *file = &files[i];
        if (strlen(file->path) != path_len || memcmp(file->path, path, path_len) != 0) continue;
        struct viv_anchor *anchor = viv_try_calloc(1, sizeof *anchor, VIV_TAG_TEST);
        if (anchor == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "out of memory");
        atomic_init(&anchor->ref_count, 1);
        anchor->dev = 1;
        anchor->ino = file->ino;
        anchor->path = file->resolved;
        anchor->path_len = strlen(file->resolved);
        anchor->close = close_anchor;
        kit_anchors++;
        *out_anchor = anchor;
        return VIV_OK;
    }
    return viv_diag_set(diag, VIV_E_INVAL, "no such file or directory");
}

const struct viv_scope_hooks kit_files = {NULL, open_file};

void kit_allow(struct viv_caps *caps, enum viv_cap cap, const char *patterns, uint8_t flags,
               const struct viv_scope_hooks *hooks)
{
    while (*patterns != '\0') {
        size_t len = strcspn(patterns, "|");
        struct viv_diag diag = {{0}};
        struct viv_pattern_text source = {cap, patterns, len, flags, hooks};
        enum viv_err err = viv_caps_allow_text(caps, &source, &diag, NULL);
        if (err != VIV_OK) fail_msg("%s: %s", patterns, diag.text);
        patterns += len + (patterns[len] == '|');
    }
}

struct viv_capset *kit_set(enum viv_cap cap, const char *patterns)
{
    struct viv_caps *caps;
    struct viv_capset *set;
    assert_int_equal(viv_caps_new(&caps), VIV_OK);
    if (strcmp(patterns, "any") == 0)
        viv_caps_allow_any(caps, cap, 0);
    else if (strcmp(patterns, "none") == 0)
        viv_caps_allow_none(caps, cap);
    else if (strcmp(patterns, "absent") != 0)
        kit_allow(caps, cap, patterns, 0, &kit_files);
    assert_int_equal(viv_capset_new(caps, &set), VIV_OK);
    viv_caps_free(caps);
    return set;
}

enum viv_cap kit_cap(const char *name)
{
    int cap = viv_cap_find(name, strlen(name));
    if (cap < 0) fail_msg("no class %s", name);
    return (enum viv_cap)cap;
}
