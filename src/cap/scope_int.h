// SPDX-License-Identifier: Apache-2.0
// What the files of scopes share: a pattern under construction and the operations of the types that
// have a file of their own.
#ifndef VIV_CAP_SCOPE_INT_H
#define VIV_CAP_SCOPE_INT_H

#include "cap/scope.h"

enum {
    // Room for everything a text of VIV_PATTERN_BYTES_MAX turns into.
    VIV_PATTERN_DATA_MAX = 2 * VIV_PATTERN_BYTES_MAX + 1024,
    VIV_PORT_RANGES_MAX = 128, // of an address
    VIV_TOKENS_MAX = 256,      // of a command
};

struct viv_draft {
    const struct viv_pattern_text *source;
    struct viv_diag *diag;
    size_t error_at; // in the text of the source
    struct viv_pattern head;
    size_t data_len;
    char data[VIV_PATTERN_DATA_MAX];
};

// A refusal at an offset of the text: INVAL.
enum viv_err viv_draft__fail(struct viv_draft *draft, size_t at, const char *why);
// Appends to the data, which always has room.
void viv_draft__text(struct viv_draft *draft, const char *text, size_t len);
void viv_draft__more(struct viv_draft *draft, const void *more, size_t len);
static inline const char *viv_pattern__text(const struct viv_pattern *pattern)
{
    return viv_pattern_data(pattern) + pattern->text_at;
}
static inline const char *viv_pattern__more(const struct viv_pattern *pattern)
{
    return viv_pattern_data(pattern) + pattern->more_at;
}

// Names with a star at one end. A star stands for whole segments, so the text kept of it includes
// the separator.
enum { VIV_NAME_EXACT, VIV_NAME_PREFIX, VIV_NAME_SUFFIX, VIV_NAME_ALL };
bool viv_name__matches(const struct viv_pattern *pattern, const char *name, size_t len);
bool viv_name__contains(const struct viv_pattern *parent, const struct viv_pattern *child);
enum viv_err viv_name__print(const struct viv_pattern *pattern, struct viv_buf *out);
// Host name or host pattern at text[0, len): fills form and text, in small letters.
enum viv_err viv_host__parse(struct viv_draft *draft, size_t at, size_t len);

// Without regard to case and to a dot at the end.
bool viv_host__matches(const struct viv_pattern *pattern, const char *name, size_t len);

enum viv_err viv_address__parse(struct viv_draft *draft);
enum viv_err viv_address__print(const struct viv_pattern *pattern, struct viv_buf *out);
bool viv_address__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query);
bool viv_address__contains(const struct viv_pattern *parent, const struct viv_pattern *child);

enum viv_err viv_directory__parse(struct viv_draft *draft);
enum viv_err viv_directory__print(const struct viv_pattern *pattern, struct viv_buf *out);
bool viv_directory__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query);
bool viv_directory__contains(const struct viv_pattern *parent, const struct viv_pattern *child);
// Whether the guest knows both under one name.
bool viv_directory__is_same_guest(const struct viv_pattern *a, const struct viv_pattern *b);
enum viv_err viv_command__parse(struct viv_draft *draft);
enum viv_err viv_command__print(const struct viv_pattern *pattern, struct viv_buf *out);
bool viv_command__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query);
bool viv_command__contains(const struct viv_pattern *parent, const struct viv_pattern *child);

// Whether `path` is `folder` or below it, by components. Neither has `..`, `.`, `//` inside.
bool viv_path__is_below(const char *path, size_t path_len, const char *folder, size_t folder_len);
// No empty component, `.` or `..`, but for the path "." itself and one slash in front.
bool viv_path__is_normal(const char *path, size_t len);

#endif
