// SPDX-License-Identifier: Apache-2.0
// Reading and printing of policies. One pass, no look back: the work is linear in the text.
//
// A reader stands at a byte of a line. Every refusal goes through refuse_at, which turns an offset
// into line and column. All is done on a copy of the policy, which takes its place at the end.
#include "cap/policy.h"
#include "base/assert.h"
#include "base/text.h"
#include <string.h>

struct reader {
    const char *text;
    size_t len, at;
    size_t line_at; // where the line begins
    uint32_t line;
    struct viv_policy *policy;
    const struct viv_policy_source *source;
    struct viv_policy_error *error; // may be NULL
};

enum unit { UNIT_BYTES, UNIT_COUNT, UNIT_NS, UNIT_PERCENT };
enum {
    MAY_REFUSE = 1 << VIV_ACTION_REFUSE,
    MAY_SUSPEND = 1 << VIV_ACTION_SUSPEND,
    MAY_DROP = 1 << VIV_ACTION_DROP,
    MAY_KILL = 1 << VIV_ACTION_KILL,
    MAY_MAILBOX = MAY_REFUSE | MAY_SUSPEND | MAY_KILL,
};
#define MIB (UINT64_C(1) << 20)

static const struct limit_row {
    const char *name;
    enum unit unit;
    uint64_t guest; // the default
    uint32_t may;   // actions; the default is to kill
} limit_rows[VIV_POLICY_LIMITS] = {
    [VIV_POLICY_MEMORY] = {"memory", UNIT_BYTES, 256 * MIB, 0},
    [VIV_POLICY_CPU] = {"cpu", UNIT_PERCENT, VIV_POLICY_NO_LIMIT, 0},
    [VIV_POLICY_CPU_TIME] = {"cpu_time", UNIT_NS, VIV_POLICY_NO_LIMIT, 0},
    [VIV_POLICY_WALL] = {"wall", UNIT_NS, VIV_POLICY_NO_LIMIT, 0},
    [VIV_POLICY_PROCESSES] = {"processes", UNIT_COUNT, 1048576, 0},
    [VIV_POLICY_NATIVE] = {"native", UNIT_COUNT, 64, 0},
    [VIV_POLICY_HANDLES] = {"handles", UNIT_COUNT, 262144, 0},
    [VIV_POLICY_RESOURCES] = {"resources", UNIT_COUNT, 1000000, 0},
    [VIV_POLICY_RESOURCE_BYTES] = {"resource_bytes", UNIT_BYTES, 256 * MIB, 0},
    [VIV_POLICY_CHANNEL_BYTES] = {"channel_bytes", UNIT_BYTES, 64 * MIB, 0},
    [VIV_POLICY_SHARES] = {"shares", UNIT_COUNT, 1024, 0},
    [VIV_POLICY_FUTURES] = {"futures", UNIT_COUNT, 4096, 0},
    [VIV_POLICY_TIMERS] = {"timers", UNIT_COUNT, 65536, 0},
    [VIV_POLICY_FDS] = {"fds", UNIT_COUNT, 1024, 0},
    [VIV_POLICY_MAILBOX] = {"mailbox", UNIT_COUNT, VIV_POLICY_NO_LIMIT, MAY_MAILBOX},
    [VIV_POLICY_MAILBOX_BYTES] = {"mailbox_bytes", UNIT_BYTES, 1024 * MIB, MAY_MAILBOX},
    [VIV_POLICY_OUTPUT] = {"output", UNIT_BYTES, VIV_POLICY_NO_LIMIT, MAY_DROP | MAY_KILL},
};
static const char *const action_names[] = {"", "refuse", "suspend", "drop", "kill"};
static const char *const profile_names[] = {"none", "guest", "open", "host", "all"};

static const char *const guest_lines[] = {
    "proc.spawn=wasm",  "proc.link=env",      "proc.signal=env", "proc.inspect=env", "proc.config",
    "msg.send",         "name.register",      "name.lookup",     "chan.create",      "chan.read",
    "chan.write",       "res.share",          "res.attach",      "res.send",         "res.receive",
    "singleton.lookup", "singleton.register", "time.read",       "time.timer",       "entropy",
    "mod.load",         "mod.publish",        "log.write",       "metrics.write",    NULL};
static const char *const open_lines[] = {"net.bind", "net.connect", "net.resolve", "net.tls",
                                         "db.open",  "fs=.:rwcd",   "env.read",    NULL};

// ---------------------------------------------------------------------------------------- refusals

// `text` is of the input or NULL; control characters in it are shown harmless.
static enum viv_err refuse_at(struct reader *reader, size_t at, enum viv_err err, const char *why,
                              const char *text, size_t len)
{
    char shown[64];
    if (reader->error == NULL) return err;
    viv_text_clean(shown, sizeof shown, text != NULL ? text : "", len);
    reader->error->line = reader->line;
    reader->error->column = (uint32_t)(at - reader->line_at) + 1;
    return viv_diag_set(&reader->error->diag, err, "line %u, column %u: %s%s%s",
                        reader->error->line, reader->error->column, why, text != NULL ? ": " : "",
                        shown);
}

static enum viv_err refuse(struct reader *reader, size_t at, const char *why)
{
    return refuse_at(reader, at, VIV_E_INVAL, why, NULL, 0);
}

// ------------------------------------------------------------------------------------------ tokens

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static bool is_at_end(const struct reader *reader)
{
    return reader->at == reader->len || reader->text[reader->at] == '\n' ||
           reader->text[reader->at] == '#';
}

static void skip_blanks(struct reader *reader)
{
    while (reader->at < reader->len && is_blank(reader->text[reader->at]))
        reader->at++;
}

struct word {
    const char *text;
    size_t at, len;
};

// Up to a blank, `=`, or the end of the line; may be empty.
static struct word take_word(struct reader *reader)
{
    size_t from = reader->at;
    while (!is_at_end(reader) && !is_blank(reader->text[reader->at]) &&
           reader->text[reader->at] != '=')
        reader->at++;
    return (struct word){reader->text + from, from, reader->at - from};
}

static bool is_word(struct word word, const char *text)
{
    return strlen(text) == word.len && memcmp(text, word.text, word.len) == 0;
}

static int find_word(struct word word, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_word(word, names[i])) return (int)i;
    return -1;
}

static enum viv_err expect_end(struct reader *reader)
{
    skip_blanks(reader);
    return is_at_end(reader) ? VIV_OK : refuse(reader, reader->at, "unexpected text");
}

// The pattern inside quotes; the reader stands behind the first one. A quote in it is doubled.
static enum viv_err take_quoted(struct reader *reader, char *out, size_t *out_len)
{
    size_t from = reader->at - 1, len = 0;
    for (; reader->at < reader->len && reader->text[reader->at] != '\n'; reader->at++) {
        char c = reader->text[reader->at];
        if (c == '"') {
            reader->at++;
            if (reader->at == reader->len || reader->text[reader->at] != '"') {
                *out_len = len;
                return VIV_OK;
            }
        }
        if (len == VIV_PATTERN_BYTES_MAX)
            return refuse(reader, from, "a pattern of more than 4096 bytes");
        out[len++] = c;
    }
    return refuse(reader, from, "a quote that does not end");
}

static enum viv_err take_plain(struct reader *reader, char *out, size_t *out_len)
{
    size_t from = reader->at, len = 0;
    for (; !is_at_end(reader); reader->at++) {
        char c = reader->text[reader->at];
        if (is_blank(c) || c == ',') break;
        if (c == '"') return refuse(reader, reader->at, "quotes are around a whole pattern");
        if (len == VIV_PATTERN_BYTES_MAX)
            return refuse(reader, from, "a pattern of more than 4096 bytes");
        out[len++] = c;
    }
    *out_len = len;
    return VIV_OK;
}

// ------------------------------------------------------------------------------------------- allow

// Flags stand behind the patterns but belong to each of them, so they are read first; the reader
// ends up behind them. `at` is where the patterns end.
static enum viv_err take_flags(struct reader *reader, uint8_t *out_flags)
{
    uint8_t flags = 0;
    for (;;) {
        skip_blanks(reader);
        if (is_at_end(reader)) break;
        struct word word = take_word(reader);
        uint8_t flag = is_word(word, "grantable")    ? VIV_PATTERN_GRANTABLE
                       : is_word(word, "unenforced") ? VIV_PATTERN_UNENFORCED
                                                     : 0;
        if (flag == 0 || word.len == 0)
            return refuse(reader, word.at, "only `grantable` and `unenforced` may follow");
        if ((flags & flag) != 0) return refuse(reader, word.at, "said twice");
        flags |= flag;
    }
    *out_flags = flags;
    return VIV_OK;
}

// One pattern at the reader; added with these flags unless `cap` is negative, which only skips it.
static enum viv_err take_pattern(struct reader *reader, int cap, uint8_t flags)
{
    char pattern[VIV_PATTERN_BYTES_MAX];
    size_t len = 0, at = reader->at, wrong_at = 0;
    bool is_quoted = at < reader->len && reader->text[at] == '"';
    if (is_quoted) {
        at = ++reader->at;
        VIV_TRY(take_quoted(reader, pattern, &len));
    } else {
        VIV_TRY(take_plain(reader, pattern, &len));
    }
    if (len == 0) return refuse(reader, at, "an empty pattern");
    if (cap < 0) return VIV_OK;
    struct viv_diag diag = {{0}};
    const struct viv_pattern_text source = {.cap = (enum viv_cap)cap,
                                            .text = pattern,
                                            .len_bytes = len,
                                            .flags = flags,
                                            .hooks = reader->source->hooks};
    enum viv_err err = viv_caps_allow_text(reader->policy->caps, &source, &diag, &wrong_at);
    if (err == VIV_OK) return VIV_OK;
    return refuse_at(reader, at + wrong_at, err,
                     diag.text[0] != '\0' ? diag.text : viv_err_text(err), pattern, len);
}

// pattern { "," pattern }: no blank before the first one or a comma; blanks may follow a comma.
static enum viv_err take_patterns(struct reader *reader, int cap, uint8_t flags)
{
    if (is_at_end(reader) || is_blank(reader->text[reader->at])) return VIV_OK; // none
    for (;;) {
        VIV_TRY(take_pattern(reader, cap, flags));
        if (reader->at == reader->len || reader->text[reader->at] != ',') return VIV_OK;
        reader->at++;
        skip_blanks(reader);
    }
}

static enum viv_err parse_allow(struct reader *reader)
{
    struct word word = take_word(reader);
    int cap = viv_cap_find(word.text, word.len);
    uint8_t flags;
    if (cap < 0)
        return refuse_at(reader, word.at, VIV_E_INVAL, "no such class", word.text, word.len);
    if (reader->at == reader->len || reader->text[reader->at] != '=') {
        VIV_TRY(take_flags(reader, &flags));
        viv_caps_allow_any(reader->policy->caps, (enum viv_cap)cap, flags);
        return VIV_OK;
    }
    size_t patterns_at = ++reader->at;
    VIV_TRY(take_patterns(reader, -1, 0));
    VIV_TRY(take_flags(reader, &flags));
    size_t end = reader->at;
    reader->at = patterns_at;
    VIV_TRY(take_patterns(reader, cap, flags));
    viv_caps_allow_none(reader->policy->caps, (enum viv_cap)cap);
    reader->at = end;
    return VIV_OK;
}

// -------------------------------------------------------------------------------------- use, limit

static enum viv_err allow_lines(struct reader *reader, const char *const *lines, size_t at)
{
    for (; *lines != NULL; lines++) {
        struct reader inner = {.text = *lines,
                               .len = strlen(*lines),
                               .line = 1,
                               .policy = reader->policy,
                               .source = reader->source};
        enum viv_err err = parse_allow(&inner);
        if (err != VIV_OK)
            return refuse_at(reader, at, err, viv_err_text(err), *lines, strlen(*lines));
    }
    return VIV_OK;
}

static enum viv_err parse_use(struct reader *reader)
{
    struct word word = take_word(reader);
    struct viv_policy *policy = reader->policy;
    int profile = find_word(word, profile_names, VIV_COUNT_OF(profile_names));
    if (profile < 0)
        return refuse_at(reader, word.at, VIV_E_INVAL, "no such profile", word.text, word.len);
    if ((policy->profiles >> profile & 1) == 0) {
        if (profile == VIV_PROFILE_GUEST || profile == VIV_PROFILE_OPEN)
            VIV_TRY(allow_lines(reader, guest_lines, word.at));
        if (profile == VIV_PROFILE_OPEN) VIV_TRY(allow_lines(reader, open_lines, word.at));
        uint64_t mask = VIV_CAP_ALL;
        if (profile == VIV_PROFILE_ALL && reader->source->enforceable != 0)
            mask &= reader->source->enforceable;
        for (int cap = 0; profile >= VIV_PROFILE_HOST && cap < VIV_CAP_COUNT; cap++)
            if ((mask >> cap & 1) != 0) viv_caps_allow_any(policy->caps, (enum viv_cap)cap, 0);
        policy->profiles |= 1u << profile;
        if (profile == VIV_PROFILE_HOST) policy->is_host = true;
    }
    return expect_end(reader);
}

// Text of at most 31 bytes, ended for the parsers of base.
static enum viv_err read_value(enum unit unit, const char *text, uint64_t *out_value)
{
    enum { CPU_PERCENT_MAX = 1000000 }; // ten thousand cores
    char number[32];
    size_t len = strlen(text);
    if (strcmp(text, "none") == 0) {
        *out_value = VIV_POLICY_NO_LIMIT;
        return VIV_OK;
    }
    switch (unit) {
    case UNIT_BYTES:
        return viv_parse_size(text, out_value);
    case UNIT_COUNT:
        return viv_parse_u64(text, out_value);
    case UNIT_NS:
        VIV_TRY(viv_parse_duration(text, out_value));
        return *out_value > 0 ? VIV_OK : VIV_E_INVAL;
    case UNIT_PERCENT:
        if (len < 2 || text[len - 1] != '%') return VIV_E_INVAL;
        memcpy(number, text, len - 1);
        number[len - 1] = '\0';
        VIV_TRY(viv_parse_u64(number, out_value));
        return *out_value > 0 && *out_value <= CPU_PERCENT_MAX ? VIV_OK : VIV_E_INVAL;
    }
    VIV_UNREACHABLE();
}

static enum viv_err parse_action(struct reader *reader, const struct limit_row *row,
                                 enum viv_policy_action *out_action)
{
    *out_action = row->may != 0 ? VIV_ACTION_KILL : VIV_ACTION_NONE;
    skip_blanks(reader);
    if (is_at_end(reader)) return VIV_OK;
    struct word word = take_word(reader);
    int action = find_word(word, action_names, VIV_COUNT_OF(action_names));
    if (action <= 0) return refuse(reader, word.at, "an action is refuse, suspend, drop or kill");
    if ((row->may >> action & 1) == 0)
        return refuse(reader, word.at, "the limit does not have this action");
    *out_action = (enum viv_policy_action)action;
    return expect_end(reader);
}

static enum viv_err parse_limit(struct reader *reader)
{
    static const char *const wants[] = {
        [UNIT_BYTES] = "a size such as 64M is due",
        [UNIT_COUNT] = "a number is due",
        [UNIT_NS] = "a duration such as 30s is due",
        [UNIT_PERCENT] = "a percentage such as 50% is due",
    };
    struct word name = take_word(reader);
    int limit = 0;
    while (limit < VIV_POLICY_LIMITS && !is_word(name, limit_rows[limit].name))
        limit++;
    if (limit == VIV_POLICY_LIMITS)
        return refuse_at(reader, name.at, VIV_E_INVAL, "no such limit", name.text, name.len);
    const struct limit_row *row = &limit_rows[limit];
    if (reader->at == reader->len || reader->text[reader->at] != '=')
        return refuse(reader, reader->at, "`=` is due");
    reader->at++;
    struct word value = take_word(reader);
    char text[32];
    struct viv_policy_bound bound = {0, VIV_ACTION_NONE};
    bool fits = value.len > 0 && value.len < sizeof text;
    if (fits) {
        memcpy(text, value.text, value.len);
        text[value.len] = '\0';
        fits = strlen(text) == value.len && read_value(row->unit, text, &bound.value) == VIV_OK;
    }
    if (!fits)
        return refuse_at(reader, value.at, VIV_E_INVAL, wants[row->unit], value.text, value.len);
    VIV_TRY(parse_action(reader, row, &bound.action));
    reader->policy->bounds[limit] = bound;
    reader->policy->limits_set |= UINT64_C(1) << limit;
    return VIV_OK;
}

// ------------------------------------------------------------------------------------------- lines

static enum viv_err parse_ceiling(struct reader *reader)
{
    struct word word = take_word(reader);
    bool is_parent = is_word(word, "parent");
    if (!is_parent && !is_word(word, "held"))
        return refuse(reader, word.at, "a ceiling is held or parent");
    reader->policy->has_parent_ceiling = is_parent;
    return expect_end(reader);
}

static enum viv_err parse_line(struct reader *reader)
{
    static const struct {
        const char *name;
        enum viv_err (*parse)(struct reader *reader);
    } statements[] = {
        {"allow", parse_allow},
        {"limit", parse_limit},
        {"use", parse_use},
        {"ceiling", parse_ceiling},
    };
    skip_blanks(reader);
    if (is_at_end(reader)) return VIV_OK;
    struct word word = take_word(reader);
    if (is_word(word, "close-on-revoke")) {
        reader->policy->closes_on_revoke = true;
        return expect_end(reader);
    }
    for (size_t i = 0; i < VIV_COUNT_OF(statements); i++) {
        if (!is_word(word, statements[i].name)) continue;
        skip_blanks(reader);
        return statements[i].parse(reader);
    }
    return refuse_at(reader, word.at, VIV_E_INVAL, "no such statement", word.text, word.len);
}

static enum viv_err parse_text(struct reader *reader)
{
    for (;;) {
        VIV_TRY(parse_line(reader));
        const char *end = reader->at < reader->len
                              ? memchr(reader->text + reader->at, '\n', reader->len - reader->at)
                              : NULL;
        if (end == NULL) return VIV_OK;
        reader->at = reader->line_at = (size_t)(end - reader->text) + 1;
        reader->line++;
    }
}

static enum viv_err parse_use_argument(struct reader *reader)
{
    VIV_TRY(parse_use(reader));
    return reader->at == reader->len ? VIV_OK : refuse(reader, reader->at, "unexpected text");
}

static enum viv_err parse_allow_argument(struct reader *reader)
{
    VIV_TRY(parse_allow(reader));
    return reader->at == reader->len ? VIV_OK : refuse(reader, reader->at, "unexpected text");
}

static enum viv_err parse_limit_argument(struct reader *reader)
{
    VIV_TRY(parse_limit(reader));
    return reader->at == reader->len ? VIV_OK : refuse(reader, reader->at, "unexpected text");
}

// Works on a copy, which becomes the policy when all went well.
static enum viv_err apply(struct viv_policy *policy, const struct viv_policy_source *source,
                          struct viv_policy_error *error,
                          enum viv_err (*parse)(struct reader *reader))
{
    struct viv_policy copy = *policy;
    struct reader reader = {.text = source->text,
                            .len = source->len_bytes,
                            .line = 1,
                            .policy = &copy,
                            .source = source,
                            .error = error};
    if (source->len_bytes > VIV_POLICY_BYTES_MAX)
        return refuse_at(&reader, 0, VIV_E_TOOBIG, "a policy of more than 16 MiB", NULL, 0);
    enum viv_err err = viv_caps_clone(policy->caps, &copy.caps);
    if (err != VIV_OK) return refuse_at(&reader, 0, err, viv_err_text(err), NULL, 0);
    err = parse(&reader);
    struct viv_caps *unused = err == VIV_OK ? policy->caps : copy.caps;
    if (err == VIV_OK) *policy = copy;
    viv_caps_free(unused);
    return err;
}

enum viv_err viv_policy_parse(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error)
{
    return apply(policy, source, out_error, parse_text);
}

enum viv_err viv_policy_allow(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error)
{
    return apply(policy, source, out_error, parse_allow_argument);
}

enum viv_err viv_policy_limit(struct viv_policy *policy, const struct viv_policy_source *source,
                              struct viv_policy_error *out_error)
{
    return apply(policy, source, out_error, parse_limit_argument);
}

enum viv_err viv_policy_use(struct viv_policy *policy, const struct viv_policy_source *source,
                            struct viv_policy_error *out_error)
{
    return apply(policy, source, out_error, parse_use_argument);
}

// -------------------------------------------------------------------------------------- the policy

enum viv_err viv_policy_new(struct viv_policy **out_policy)
{
    struct viv_policy *policy = viv_try_calloc(1, sizeof *policy, VIV_TAG_CAP);
    if (policy == NULL) return VIV_E_EXHAUSTED;
    enum viv_err err = viv_caps_new(&policy->caps);
    if (err != VIV_OK) {
        viv_free(policy, sizeof *policy, VIV_TAG_CAP);
        return err;
    }
    *out_policy = policy;
    return VIV_OK;
}

void viv_policy_free(VIV_OWN struct viv_policy *policy)
{
    if (policy == NULL) return;
    viv_caps_free(policy->caps);
    viv_free(policy, sizeof *policy, VIV_TAG_CAP);
}

void viv_policy_remove(struct viv_policy *policy, enum viv_cap cap)
{
    viv_caps_remove(policy->caps, cap);
    policy->is_host = false;
}

void viv_policy_add_native_floor(struct viv_policy *policy)
{
    static const enum viv_cap floor[] = {VIV_CAP_TIME_READ, VIV_CAP_TIME_TIMER, VIV_CAP_ENTROPY,
                                         VIV_CAP_SYS_INFO};
    for (size_t i = 0; i < VIV_COUNT_OF(floor); i++)
        viv_caps_allow_any(policy->caps, floor[i], 0);
}

struct viv_policy_bound viv_policy_bound_of(const struct viv_policy *policy,
                                            enum viv_policy_limit limit)
{
    const struct limit_row *row = &limit_rows[limit];
    const uint32_t wide = 1u << VIV_PROFILE_HOST | 1u << VIV_PROFILE_ALL;
    if ((policy->limits_set >> limit & 1) != 0) return policy->bounds[limit];
    struct viv_policy_bound bound = {row->guest, row->may != 0 ? VIV_ACTION_KILL : VIV_ACTION_NONE};
    if ((policy->profiles & wide) != 0 && limit != VIV_POLICY_PROCESSES)
        bound.value = VIV_POLICY_NO_LIMIT;
    else if ((policy->profiles >> VIV_PROFILE_OPEN & 1) != 0 && limit == VIV_POLICY_MEMORY)
        bound.value = 4096 * MIB - 1;
    return bound;
}

const char *viv_profile_name(enum viv_profile profile)
{
    VIV_ASSERT((size_t)profile < VIV_COUNT_OF(profile_names));
    return profile_names[profile];
}

const char *viv_policy_limit_name(enum viv_policy_limit limit)
{
    VIV_ASSERT((unsigned)limit < VIV_POLICY_LIMITS);
    return limit_rows[limit].name;
}

bool viv_policy_limits_within(const struct viv_policy *parent, const struct viv_policy *child,
                              enum viv_policy_limit *out_limit)
{
    for (int i = 0; i < VIV_POLICY_LIMITS; i++) {
        enum viv_policy_limit limit = (enum viv_policy_limit)i;
        if (viv_policy_bound_of(child, limit).value <= viv_policy_bound_of(parent, limit).value)
            continue;
        if (out_limit != NULL) *out_limit = limit;
        return false;
    }
    return true;
}

// ---------------------------------------------------------------------------------------- printing

static enum viv_err print_flags(uint8_t flags, struct viv_buf *out)
{
    return viv_buf_printf(out, "%s%s\n", (flags & VIV_PATTERN_GRANTABLE) != 0 ? " grantable" : "",
                          (flags & VIV_PATTERN_UNENFORCED) != 0 ? " unenforced" : "");
}

static bool wants_quotes(const struct viv_buf *text)
{
    for (size_t i = 0; i < text->len_bytes; i++) {
        uint8_t c = text->data[i];
        if (c == ' ' || c == ',' || c == '#' || c == '"') return true;
    }
    return false;
}

static enum viv_err print_pattern(const struct viv_pattern *pattern, enum viv_cap cap,
                                  struct viv_buf *scratch, struct viv_buf *out)
{
    viv_buf_clear(scratch);
    VIV_TRY(viv_pattern_print(pattern, cap, scratch));
    if (viv_scope_type_is_set(pattern->type) || !wants_quotes(scratch))
        return viv_buf_append(out, scratch->data, scratch->len_bytes);
    VIV_TRY(viv_buf_append(out, "\"", 1));
    for (size_t i = 0; i < scratch->len_bytes; i++) {
        char c = (char)scratch->data[i];
        VIV_TRY(viv_buf_append(out, c == '"' ? "\"\"" : &c, c == '"' ? 2 : 1));
    }
    return viv_buf_append(out, "\"", 1);
}

// A line for the patterns that have exactly these flags.
static enum viv_err print_scope(const struct viv_caps *caps, enum viv_cap cap, uint8_t flags,
                                struct viv_buf *scratch, struct viv_buf *out)
{
    const char *before = "=";
    VIV_PATTERNS_EACH(pattern, viv_scope_patterns(&caps->scopes[cap]))
    {
        if (pattern->flags != flags) continue;
        if (*before == '=') VIV_TRY(viv_buf_printf(out, "allow %s", viv_cap_rows[cap].name));
        VIV_TRY(viv_buf_append(out, before, 1));
        VIV_TRY(print_pattern(pattern, cap, scratch, out));
        before = ",";
    }
    return *before == '=' ? VIV_OK : print_flags(flags, out);
}

static enum viv_err print_class(const struct viv_caps *caps, enum viv_cap cap,
                                struct viv_buf *scratch, struct viv_buf *out)
{
    const char *name = viv_cap_rows[cap].name;
    uint8_t flags = (uint8_t)((caps->any_grantable >> cap & 1) * VIV_PATTERN_GRANTABLE |
                              (caps->any_unenforced >> cap & 1) * VIV_PATTERN_UNENFORCED);
    if ((caps->any >> cap & 1) != 0) {
        VIV_TRY(viv_buf_printf(out, "allow %s", name));
        VIV_TRY(print_flags(flags, out));
    } else if ((caps->held >> cap & 1) != 0 && caps->scopes[cap].count == 0) {
        VIV_TRY(viv_buf_printf(out, "allow %s=\n", name));
    }
    for (uint8_t one = 0; one < 4; one++)
        VIV_TRY(print_scope(caps, cap, one, scratch, out));
    return VIV_OK;
}

static enum viv_err print_size(uint64_t value, struct viv_buf *out)
{
    static const char units[] = "KMGT";
    int unit = -1;
    while (value != 0 && value % 1024 == 0 && unit < 3) {
        value /= 1024;
        unit++;
    }
    return viv_buf_printf(out, "%llu%.*s", (unsigned long long)value, unit >= 0,
                          unit >= 0 ? &units[unit] : "");
}

static enum viv_err print_limit(const struct viv_policy *policy, enum viv_policy_limit limit,
                                struct viv_buf *out)
{
    const struct limit_row *row = &limit_rows[limit];
    struct viv_policy_bound bound = viv_policy_bound_of(policy, limit);
    unsigned long long value = bound.value;
    VIV_TRY(viv_buf_printf(out, "limit %s=", row->name));
    if (bound.value == VIV_POLICY_NO_LIMIT)
        VIV_TRY(viv_buf_printf(out, "none"));
    else if (row->unit == UNIT_BYTES)
        VIV_TRY(print_size(bound.value, out));
    else if (row->unit == UNIT_NS && bound.value % VIV_NS_PER_SEC == 0)
        VIV_TRY(viv_buf_printf(out, "%llus", value / VIV_NS_PER_SEC));
    else if (row->unit == UNIT_NS)
        VIV_TRY(viv_buf_printf(out, "%llums", value / VIV_NS_PER_MS));
    else
        VIV_TRY(viv_buf_printf(out, "%llu%s", value, row->unit == UNIT_PERCENT ? "%" : ""));
    if (bound.action == VIV_ACTION_NONE) return viv_buf_printf(out, "\n");
    return viv_buf_printf(out, " %s\n", action_names[bound.action]);
}

static enum viv_err print_all(const struct viv_policy *policy, struct viv_buf *scratch,
                              struct viv_buf *out)
{
    if (policy->is_host) VIV_TRY(viv_buf_printf(out, "use host\n"));
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        VIV_TRY(print_class(policy->caps, (enum viv_cap)cap, scratch, out));
    for (int limit = 0; limit < VIV_POLICY_LIMITS; limit++)
        VIV_TRY(print_limit(policy, (enum viv_policy_limit)limit, out));
    VIV_TRY(viv_buf_printf(out, "ceiling %s\n", policy->has_parent_ceiling ? "parent" : "held"));
    return policy->closes_on_revoke ? viv_buf_printf(out, "close-on-revoke\n") : VIV_OK;
}

enum viv_err viv_policy_print(const struct viv_policy *policy, struct viv_buf *out)
{
    struct viv_buf scratch;
    viv_buf_init(&scratch, VIV_TAG_CAP);
    enum viv_err err = print_all(policy, &scratch, out);
    viv_buf_deinit(&scratch);
    return err;
}
