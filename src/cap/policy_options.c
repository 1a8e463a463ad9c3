// SPDX-License-Identifier: Apache-2.0
// A policy from the options of a command line.
#include "cap/policy_options.h"
#include "base/alloc.h"
#include <string.h>

struct viv_policy_options {
    struct viv_policy *base;  // --use, --policy, limits
    struct viv_policy *given; // --allow, --dir, --env
    enum viv_profile standard;
    bool is_chosen;   // the standard profile no longer counts
    uint64_t removed; // classes that --no-… takes from the base
};

enum what { ALLOW, DIRECTORY, ENV, REMOVE, LIMIT, LIMIT_VALUE, USE, TEXT };
static const struct row {
    const char *name;
    enum what what;
    uint64_t classes;  // REMOVE
    const char *limit; // LIMIT_VALUE: what stands before the value
} rows[] = {
    {"allow", ALLOW, 0, NULL},
    {"dir", DIRECTORY, 0, NULL},
    {"env", ENV, 0, NULL},
    {"no-dir", REMOVE, VIV_CAP_BIT(VIV_CAP_FS), NULL},
    {"no-env", REMOVE, VIV_CAP_BIT(VIV_CAP_ENV_READ), NULL},
    {"no-net", REMOVE,
     VIV_CAP_BIT(VIV_CAP_NET_BIND) | VIV_CAP_BIT(VIV_CAP_NET_CONNECT) |
         VIV_CAP_BIT(VIV_CAP_NET_RESOLVE) | VIV_CAP_BIT(VIV_CAP_NET_TLS),
     NULL},
    {"limit", LIMIT, 0, NULL},
    {"max-memory", LIMIT_VALUE, 0, "memory="},
    {"max-time", LIMIT_VALUE, 0, "wall="},
    {"use", USE, 0, NULL},
    {"policy", TEXT, 0, NULL},
};

static const struct row *find_row(const char *name)
{
    for (size_t i = 0; i < VIV_COUNT_OF(rows); i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

bool viv_policy_options_know(const char *name)
{
    return find_row(name) != NULL;
}

enum viv_err viv_policy_options_new(enum viv_profile standard,
                                    struct viv_policy_options **out_options)
{
    struct viv_policy_options *options = viv_try_calloc(1, sizeof *options, VIV_TAG_CAP);
    if (options == NULL) return VIV_E_EXHAUSTED;
    options->standard = standard;
    enum viv_err err = viv_policy_new(&options->base);
    if (err == VIV_OK) err = viv_policy_new(&options->given);
    if (err != VIV_OK) {
        viv_policy_options_free(options);
        return err;
    }
    *out_options = options;
    return VIV_OK;
}

void viv_policy_options_free(VIV_OWN struct viv_policy_options *options)
{
    if (options == NULL) return;
    viv_policy_free(options->base);
    viv_policy_free(options->given);
    viv_free(options, sizeof *options, VIV_TAG_CAP);
}

// ---- one option ----

// Puts the option before what the parser said.
static enum viv_err name_option(const struct viv_policy_option *option, enum viv_err err,
                                struct viv_policy_error *error)
{
    if (err == VIV_OK || error == NULL) return err;
    const struct viv_diag why = error->diag;
    const char *label = option->label;
    return viv_diag_set(&error->diag, err, "--%s%s%.64s: %.400s", option->name,
                        label != NULL ? " " : "", label != NULL ? label : "", why.text);
}

static enum viv_err fail_at(struct viv_policy_error *error, size_t column, enum viv_err err,
                            const char *why)
{
    if (error == NULL) return err;
    error->line = 1;
    error->column = (uint32_t)column + 1;
    return viv_diag_set(&error->diag, err, "line 1, column %u: %s", error->column, why);
}

// The value is one pattern, whatever it contains.
static enum viv_err add_pattern(struct viv_policy *policy, enum viv_cap cap, const char *text,
                                size_t len, const struct viv_policy_source *source,
                                struct viv_policy_error *error)
{
    struct viv_diag diag = {{0}};
    size_t at = 0;
    const struct viv_pattern_text pattern = {
        .cap = cap, .text = text, .len_bytes = len, .hooks = source->hooks};
    const enum viv_err err = viv_caps_allow_text(policy->caps, &pattern, &diag, &at);
    if (err == VIV_OK) return VIV_OK;
    return fail_at(error, at, err, diag.text[0] != '\0' ? diag.text : viv_err_text(err));
}

// K=V: the name; the value is the environment's.
static enum viv_err add_env(struct viv_policy *policy, const struct viv_policy_source *source,
                            struct viv_policy_error *error)
{
    const char *equals = memchr(source->text, '=', source->len_bytes);
    if (equals == NULL || equals == source->text)
        return fail_at(error, 0, VIV_E_INVAL, "KEY=VALUE is due");
    return add_pattern(policy, VIV_CAP_ENV_READ, source->text, (size_t)(equals - source->text),
                       source, error);
}

// Columns are those of the value.
static enum viv_err add_limit(struct viv_policy *policy, const char *before,
                              const struct viv_policy_source *source,
                              struct viv_policy_error *error)
{
    char text[64];
    const size_t before_len = strlen(before);
    if (source->len_bytes >= sizeof text - before_len)
        return fail_at(error, 0, VIV_E_INVAL, "too long for a limit");
    memcpy(text, before, before_len);
    memcpy(text + before_len, source->text, source->len_bytes);
    text[before_len + source->len_bytes] = '\0';
    struct viv_policy_source whole = *source;
    struct viv_policy_error inner;
    whole.text = text;
    whole.len_bytes += before_len;
    const enum viv_err err = viv_policy_limit(policy, &whole, &inner);
    if (err == VIV_OK || error == NULL) return err;
    const char *why = strstr(inner.diag.text, ": ");
    const size_t at = inner.column - 1;
    return fail_at(error, at > before_len ? at - before_len : 0, err,
                   why != NULL ? why + 2 : inner.diag.text);
}

static enum viv_err apply(struct viv_policy_options *options, const struct row *row,
                          const struct viv_policy_source *source, struct viv_policy_error *error)
{
    switch (row->what) {
    case ALLOW:
        return viv_policy_allow(options->given, source, error);
    case DIRECTORY:
        return add_pattern(options->given, VIV_CAP_FS, source->text, source->len_bytes, source,
                           error);
    case ENV:
        return add_env(options->given, source, error);
    case REMOVE:
        options->removed |= row->classes;
        return VIV_OK;
    case LIMIT:
        return viv_policy_limit(options->base, source, error);
    case LIMIT_VALUE:
        return add_limit(options->base, row->limit, source, error);
    case USE:
        return viv_policy_use(options->base, source, error);
    case TEXT:
        return viv_policy_parse(options->base, source, error);
    }
    return VIV_E_NOTFOUND;
}

// Whether somebody who says this no longer means the profile of the command.
static bool is_choice(const struct viv_policy_options *options, enum what what)
{
    if (what == USE || what == TEXT) return true;
    return options->standard == VIV_PROFILE_HOST && (what == ALLOW || what == DIRECTORY);
}

enum viv_err viv_policy_options_add(struct viv_policy_options *options,
                                    const struct viv_policy_option *option,
                                    const struct viv_policy_source *source,
                                    struct viv_policy_error *out_error)
{
    const struct row *row = find_row(option->name);
    struct viv_policy_source mine = *source;
    if (row == NULL)
        return name_option(option, fail_at(out_error, 0, VIV_E_NOTFOUND, "no such option"),
                           out_error);
    if ((option->value == NULL) != (row->what == REMOVE))
        return name_option(option,
                           fail_at(out_error, 0, VIV_E_INVAL,
                                   option->value == NULL ? "a value is due" : "it has no value"),
                           out_error);
    mine.text = option->value;
    mine.len_bytes = option->value_len;
    const enum viv_err err = apply(options, row, &mine, out_error);
    if (err == VIV_OK && is_choice(options, row->what)) options->is_chosen = true;
    return name_option(option, err, out_error);
}

// ---- all of them ----

static enum viv_err merge(struct viv_caps *to, const struct viv_caps *from)
{
    for (int i = 0; i < VIV_CAP_COUNT; i++) {
        const enum viv_cap cap = (enum viv_cap)i;
        const uint8_t flags = (uint8_t)((from->any_grantable >> i & 1) * VIV_PATTERN_GRANTABLE |
                                        (from->any_unenforced >> i & 1) * VIV_PATTERN_UNENFORCED);
        if ((from->any >> i & 1) != 0) viv_caps_allow_any(to, cap, flags);
        VIV_PATTERNS_EACH(pattern, viv_scope_patterns(&from->scopes[i]))
        VIV_TRY(viv_caps_allow(to, cap, pattern));
        if ((from->held >> i & 1) != 0) viv_caps_allow_none(to, cap);
    }
    return VIV_OK;
}

static enum viv_err use_standard(const struct viv_policy_options *options,
                                 const struct viv_policy_source *source, struct viv_policy *policy,
                                 struct viv_policy_error *error)
{
    struct viv_policy_source mine = *source;
    mine.text = viv_profile_name(options->standard);
    mine.len_bytes = strlen(mine.text);
    return options->is_chosen ? VIV_OK : viv_policy_use(policy, &mine, error);
}

static enum viv_err fill(const struct viv_policy_options *options,
                         const struct viv_policy_source *source, struct viv_policy *policy,
                         struct viv_policy_error *error)
{
    struct viv_caps *none = policy->caps;
    *policy = *options->base;
    policy->caps = none;
    enum viv_err err = merge(policy->caps, options->base->caps);
    if (err == VIV_OK) err = use_standard(options, source, policy, error);
    for (int i = 0; i < VIV_CAP_COUNT && err == VIV_OK; i++)
        if ((options->removed >> i & 1) != 0) viv_policy_remove(policy, (enum viv_cap)i);
    return err == VIV_OK ? merge(policy->caps, options->given->caps) : err;
}

enum viv_err viv_policy_options_finish(const struct viv_policy_options *options,
                                       const struct viv_policy_source *source,
                                       struct viv_policy **out_policy,
                                       struct viv_policy_error *out_error)
{
    struct viv_policy *policy;
    VIV_TRY(viv_policy_new(&policy));
    const enum viv_err err = fill(options, source, policy, out_error);
    if (err != VIV_OK) {
        viv_policy_free(policy);
        return err;
    }
    *out_policy = policy;
    return VIV_OK;
}
