// SPDX-License-Identifier: Apache-2.0
// Lists of patterns, and the types of patterns that are words: relations, names, sets, sizes.
//
// A class may take several types. A word of a closed vocabulary (relations, sets) is taken for
// that; what is none is a name, if the class takes names.
#include "cap/scope.h"
#include "base/assert.h"
#include "cap/kind.h"
#include "cap/scope_int.h"
#include <stdio.h>
#include <string.h>

// ------------------------------------------------------------------------------------ vocabularies

struct word {
    const char *name;
    uint64_t value;
};

static const struct word relations[] = {
    {"self", VIV_REL_SELF},
    {"children", VIV_REL_SELF | VIV_REL_CHILD},
    {"descendants", VIV_REL_SELF | VIV_REL_CHILD | VIV_REL_DESCENDANT},
    {"env", VIV_REL_SELF | VIV_REL_CHILD | VIV_REL_DESCENDANT | VIV_REL_ENV | VIV_REL_SESSION},
    {"session", VIV_REL_SELF | VIV_REL_SESSION},
    {NULL, 0},
};
static const char *const body_words[] = {"wasm", "beam", "native", "host", NULL};
static const char *const proc_signal_words[] = {"exit", "kill", "suspend", "resume", NULL};
// Signals of Linux that have a name here; others are numbers. The bit of signal n is n - 1.
static const struct word os_signals[] = {
    {"hup", 1},   {"int", 2},   {"quit", 3},  {"kill", 9},  {"usr1", 10},  {"usr2", 12},
    {"term", 15}, {"cont", 18}, {"stop", 19}, {"tstp", 20}, {"winch", 28}, {NULL, 0},
};

static bool equals(const char *text, size_t len, const char *word)
{
    return strlen(word) == len && memcmp(text, word, len) == 0;
}

static int find_in(const char *const *words, const char *text, size_t len)
{
    for (int i = 0; words[i] != NULL; i++)
        if (equals(text, len, words[i])) return i;
    return -1;
}

int viv_cap_find(const char *name, size_t len_bytes)
{
    for (int cap = 0; cap < VIV_CAP_COUNT; cap++)
        if (equals(name, len_bytes, viv_cap_rows[cap].name)) return cap;
    return -1;
}

// Decimal digits, nothing else; false also when it does not fit.
static bool read_number(const char *text, size_t len, uint64_t *out_value)
{
    uint64_t value = 0;
    if (len == 0 || len > 20) return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (__builtin_mul_overflow(value, UINT64_C(10), &value)) return false;
        if (__builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value)) return false;
    }
    *out_value = value;
    return true;
}

// `term`, `sigterm`, `SIGTERM`, `15`; the bit, or -1.
static int os_signal_bit(const char *text, size_t len)
{
    char lower[16];
    uint64_t number;
    if (read_number(text, len, &number)) return number >= 1 && number <= 64 ? (int)number - 1 : -1;
    if (len >= sizeof lower) return -1;
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
    size_t skip = len > 3 && memcmp(lower, "sig", 3) == 0 ? 3 : 0;
    for (const struct word *word = os_signals; word->name != NULL; word++)
        if (equals(lower + skip, len - skip, word->name)) return (int)word->value - 1;
    return -1;
}

static int kind_bit(const char *text, size_t len)
{
    uint64_t number;
    if (read_number(text, len, &number)) return number >= 1 && number < 64 ? (int)number : -1;
    for (int i = 1; i < VIV_KIND_BUILTIN_END; i++)
        if (equals(text, len, viv_res_builtin_kinds[i].name)) return i;
    return -1;
}

static int set_bit(const struct viv_cap_row *row, enum viv_scope_type type, const char *text,
                   size_t len)
{
    // Types that are no sets end in the default.
    switch ((int)type) {
    case VIV_SCOPE_KINDS:
        return kind_bit(text, len);
    case VIV_SCOPE_CLASSES:
        return viv_cap_find(text, len);
    case VIV_SCOPE_BODIES:
        return find_in(body_words, text, len);
    case VIV_SCOPE_WORDS:
        return find_in(row->words, text, len);
    case VIV_SCOPE_SIGNALS:
        return row->signals == VIV_SIGNALS_OS ? os_signal_bit(text, len)
                                              : find_in(proc_signal_words, text, len);
    default:
        return -1;
    }
}

bool viv_scope_type_is_set(uint32_t type)
{
    const uint32_t sets = 1u << VIV_SCOPE_KINDS | 1u << VIV_SCOPE_CLASSES |
                          1u << VIV_SCOPE_SIGNALS | 1u << VIV_SCOPE_BODIES | 1u << VIV_SCOPE_WORDS;
    return (sets >> type & 1) != 0;
}

static enum viv_err print_set_bit(const struct viv_cap_row *row, uint32_t type, int bit,
                                  struct viv_buf *out)
{
    const char *name = NULL;
    switch (type) {
    case VIV_SCOPE_KINDS:
        if (bit > 0 && bit < VIV_KIND_BUILTIN_END) name = viv_res_builtin_kinds[bit].name;
        break;
    case VIV_SCOPE_CLASSES:
        name = viv_cap_rows[bit].name;
        break;
    case VIV_SCOPE_BODIES:
        name = body_words[bit];
        break;
    case VIV_SCOPE_WORDS:
        name = row->words[bit];
        break;
    default:
        if (row->signals != VIV_SIGNALS_OS) {
            name = proc_signal_words[bit];
            break;
        }
        bit++; // to the number of the signal
        for (const struct word *word = os_signals; word->name != NULL; word++)
            if (word->value == (uint64_t)bit) name = word->name;
    }
    return name != NULL ? viv_buf_printf(out, "%s", name) : viv_buf_printf(out, "%d", bit);
}

// ------------------------------------------------------------------------------------------ drafts

enum viv_err viv_draft__fail(struct viv_draft *draft, size_t at, const char *why)
{
    draft->error_at = at;
    return viv_diag_set(draft->diag, VIV_E_INVAL, "%s: %s", viv_cap_rows[draft->source->cap].name,
                        why);
}

static size_t append(struct viv_draft *draft, const void *bytes, size_t len)
{
    size_t at = draft->data_len;
    VIV_ASSERT(len <= VIV_PATTERN_DATA_MAX - at);
    if (len > 0) memcpy(draft->data + at, bytes, len);
    draft->data_len += len;
    return at;
}

void viv_draft__text(struct viv_draft *draft, const char *text, size_t len)
{
    draft->head.text_at = (uint16_t)append(draft, text, len);
    draft->head.text_len = (uint16_t)len;
}

void viv_draft__more(struct viv_draft *draft, const void *more, size_t len)
{
    draft->head.more_at = (uint16_t)append(draft, more, len);
    draft->head.more_len = (uint16_t)len;
}

// ------------------------------------------------------------------------------------------- names

static bool is_separator(char c, uint32_t type)
{
    return c == '.' || (c == '@' && type == VIV_SCOPE_NODES);
}

// Names, nodes: `a.b`, `a.*`, for nodes also `*.b`; `*` alone is every name.
static enum viv_err parse_name(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    uint32_t type = draft->head.type;
    const char *star = memchr(text, '*', len);
    draft->head.form = VIV_NAME_EXACT;
    if (star != NULL) {
        size_t at = (size_t)(star - text);
        bool is_last = at == len - 1 && (at == 0 || is_separator(text[at - 1], type));
        bool is_first =
            at == 0 && len > 1 && type == VIV_SCOPE_NODES && is_separator(text[1], type);
        if (!is_last && !is_first)
            return viv_draft__fail(draft, at, "`*` stands for whole segments at the end: a.*");
        if (is_first && memchr(text + 1, '*', len - 1) != NULL)
            return viv_draft__fail(draft, at, "one `*` at most");
        draft->head.form = is_first ? VIV_NAME_SUFFIX : at == 0 ? VIV_NAME_ALL : VIV_NAME_PREFIX;
        if (is_first) text++;
        len--;
    }
    viv_draft__text(draft, text, len);
    return VIV_OK;
}

bool viv_name__matches(const struct viv_pattern *pattern, const char *name, size_t len)
{
    const char *text = viv_pattern__text(pattern);
    size_t text_len = pattern->text_len;
    if (pattern->form == VIV_NAME_ALL) return len > 0;
    if (pattern->form == VIV_NAME_EXACT ? len != text_len : len <= text_len) return false;
    if (text_len == 0) return true; // two empty names
    if (pattern->form == VIV_NAME_SUFFIX) name += len - text_len;
    // The ends first: names in a list begin alike.
    return name[text_len - 1] == text[text_len - 1] && memcmp(name, text, text_len) == 0;
}

bool viv_name__contains(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    if (parent->form == VIV_NAME_ALL) return true;
    if (child->form == VIV_NAME_ALL) return false;
    const char *text = viv_pattern__text(child);
    if (child->form == VIV_NAME_EXACT) return viv_name__matches(parent, text, child->text_len);
    // Both have a star, which must be at the same end; the child's fixed part is at least as long.
    size_t len = parent->text_len;
    if (parent->form != child->form || child->text_len < len) return false;
    if (parent->form == VIV_NAME_SUFFIX) text += child->text_len - len;
    return memcmp(text, viv_pattern__text(parent), len) == 0;
}

enum viv_err viv_name__print(const struct viv_pattern *pattern, struct viv_buf *out)
{
    return viv_buf_printf(out, "%s%.*s%s",
                          pattern->form == VIV_NAME_SUFFIX || pattern->form == VIV_NAME_ALL ? "*"
                                                                                            : "",
                          (int)pattern->text_len, viv_pattern__text(pattern),
                          pattern->form == VIV_NAME_PREFIX ? "*" : "");
}

// ----------------------------------------------------------------------------------------- numbers

static enum viv_err parse_max(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    char last = text[len - 1];
    unsigned shift = last == 'K' ? 10 : last == 'M' ? 20 : last == 'G' ? 30 : 0;
    uint64_t value;
    if (!read_number(text, len - (shift != 0), &value) || value > UINT64_MAX >> shift)
        return viv_draft__fail(draft, 0, "a size is an integer with K, M or G");
    draft->head.value = value << shift;
    return VIV_OK;
}

// `#shard.index.generation`, as rids are printed.
static enum viv_err parse_rid(struct viv_draft *draft)
{
    static const uint64_t most[3] = {UINT8_MAX, 0xFFFFFF, UINT32_MAX};
    uint64_t part[3];
    const char *at = draft->source->text;
    const char *end = at + draft->source->len_bytes;
    if (*at != '#') return viv_draft__fail(draft, 0, "a resource is #shard.index.generation");
    for (int i = 0; i < 3; i++) {
        at++;
        const char *dot = i == 2 ? end : memchr(at, '.', (size_t)(end - at));
        if (dot == NULL || !read_number(at, (size_t)(dot - at), &part[i]) || part[i] > most[i])
            return viv_draft__fail(draft, 0, "a resource is #shard.index.generation");
        at = dot;
    }
    if (part[2] == 0) return viv_draft__fail(draft, 0, "generations begin at 1");
    draft->head.value = part[2] << 32 | part[0] << 24 | part[1];
    return VIV_OK;
}

static enum viv_err print_number(const struct viv_pattern *pattern, struct viv_buf *out)
{
    uint64_t value = pattern->value;
    if (pattern->type == VIV_SCOPE_RIDS)
        return viv_buf_printf(out, "#%u.%u.%u", (unsigned)(value >> 24 & 0xFF),
                              (unsigned)(value & 0xFFFFFF), (unsigned)(value >> 32));
    static const struct {
        unsigned shift;
        const char *suffix;
    } units[] = {{30, "G"}, {20, "M"}, {10, "K"}, {0, ""}};
    size_t i = 0;
    while (units[i].shift != 0 &&
           (value == 0 || (value & ((UINT64_C(1) << units[i].shift) - 1)) != 0))
        i++;
    return viv_buf_printf(out, "%llu%s", (unsigned long long)(value >> units[i].shift),
                          units[i].suffix);
}

// ----------------------------------------------------------------------------------------- reading

// Finds the word in the closed vocabularies of the class; false when it is in none.
static bool parse_word(struct viv_draft *draft)
{
    const struct viv_cap_row *row = &viv_cap_rows[draft->source->cap];
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    if ((row->types >> VIV_SCOPE_RELATION & 1) != 0) {
        for (const struct word *word = relations; word->name != NULL; word++) {
            if (!equals(text, len, word->name)) continue;
            draft->head.type = VIV_SCOPE_RELATION;
            draft->head.value = word->value;
            return true;
        }
    }
    for (uint32_t type = 0; type < VIV_SCOPE_TYPES; type++) {
        if (!viv_scope_type_is_set(type) || (row->types >> type & 1) == 0) continue;
        int bit = set_bit(row, (enum viv_scope_type)type, text, len);
        if (bit < 0) continue;
        draft->head.type = (uint8_t)type;
        draft->head.value = UINT64_C(1) << bit;
        return true;
    }
    return false;
}

static enum viv_err parse_verb(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    for (size_t i = 0; i < draft->source->len_bytes; i++) {
        bool is_letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= '0' && text[i] <= '9');
        if (!is_letter && text[i] != '-' && text[i] != '_' && text[i] != '.')
            return viv_draft__fail(draft, i, "a verb is small letters, digits, `-`, `_`, `.`");
    }
    draft->head.form = VIV_NAME_EXACT;
    viv_draft__text(draft, text, draft->source->len_bytes);
    return VIV_OK;
}

// The one open type of the class, for what is no word of its vocabularies.
static enum viv_err parse_open(struct viv_draft *draft)
{
    static const uint8_t open_types[] = {VIV_SCOPE_NAMES,   VIV_SCOPE_NODES,     VIV_SCOPE_HOSTS,
                                         VIV_SCOPE_RIDS,    VIV_SCOPE_VERBS,     VIV_SCOPE_MAX,
                                         VIV_SCOPE_ADDRESS, VIV_SCOPE_DIRECTORY, VIV_SCOPE_COMMAND};
    const struct viv_cap_row *row = &viv_cap_rows[draft->source->cap];
    size_t i = 0;
    while (i < sizeof open_types && (row->types >> open_types[i] & 1) == 0)
        i++;
    if (i == sizeof open_types)
        return viv_draft__fail(draft, 0,
                               row->types == 0 ? "the class takes no patterns" : "unknown word");
    draft->head.type = open_types[i];
    switch (open_types[i]) {
    case VIV_SCOPE_HOSTS:
        return viv_host__parse(draft, 0, draft->source->len_bytes);
    case VIV_SCOPE_RIDS:
        return parse_rid(draft);
    case VIV_SCOPE_VERBS:
        return parse_verb(draft);
    case VIV_SCOPE_MAX:
        return parse_max(draft);
    case VIV_SCOPE_ADDRESS:
        return viv_address__parse(draft);
    case VIV_SCOPE_DIRECTORY:
        return viv_directory__parse(draft);
    case VIV_SCOPE_COMMAND:
        return viv_command__parse(draft);
    default:
        return parse_name(draft);
    }
}

static enum viv_err parse_draft(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    if (len == 0) return viv_draft__fail(draft, 0, "an empty pattern");
    if (len > VIV_PATTERN_BYTES_MAX)
        return viv_draft__fail(draft, VIV_PATTERN_BYTES_MAX, "a pattern of more than 4096 bytes");
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return viv_draft__fail(draft, i, "a control character");
    return parse_word(draft) ? VIV_OK : parse_open(draft);
}

static struct viv_pattern *pattern_at(struct viv_cap_scope *scope, size_t at)
{
    return (struct viv_pattern *)(void *)(scope->buf.data + at);
}

// Appends head and data as one pattern.
static enum viv_err append_pattern(struct viv_cap_scope *scope, const struct viv_pattern *head,
                                   const char *data, size_t data_len)
{
    size_t size_words = (sizeof *head + data_len + 7) / 8;
    VIV_TRY(viv_buf_reserve(&scope->buf, size_words * 8));
    size_t at = scope->buf.len_bytes;
    uint8_t *to = scope->buf.data + at;
    memset(to, 0, size_words * 8);
    memcpy(to, head, sizeof *head);
    if (data_len > 0) memcpy(to + sizeof *head, data, data_len);
    pattern_at(scope, at)->size_words = (uint16_t)size_words;
    if (viv_scope_type_is_set(head->type)) scope->set_at[head->flags & 3] = (uint32_t)at + 1;
    scope->buf.len_bytes += size_words * 8;
    scope->count++;
    return VIV_OK;
}

// The set of the same flags, or NULL. A class takes one type of set at most.
static struct viv_pattern *find_set(struct viv_cap_scope *scope, const struct viv_pattern *like)
{
    uint32_t at = scope->set_at[like->flags & 3];
    if (!viv_scope_type_is_set(like->type) || at == 0) return NULL;
    struct viv_pattern *set = pattern_at(scope, at - 1);
    VIV_ASSERT(set->type == like->type);
    return set;
}

enum viv_err viv_scope_parse(struct viv_cap_scope *scope, const struct viv_pattern_text *source,
                             struct viv_diag *diag, size_t *out_at)
{
    struct viv_draft draft;
    draft.source = source;
    draft.diag = diag;
    draft.error_at = 0;
    draft.data_len = 0;
    memset(&draft.head, 0, sizeof draft.head);
    draft.head.flags = source->flags;
    enum viv_err err = parse_draft(&draft);
    struct viv_pattern *set = err == VIV_OK ? find_set(scope, &draft.head) : NULL;
    if (set != NULL) {
        set->value |= draft.head.value;
    } else if (err == VIV_OK) {
        err = append_pattern(scope, &draft.head, draft.data, draft.data_len);
        if (err != VIV_OK) VIV_IGNORE(viv_diag_set(diag, err, "out of memory"), "err is kept");
    }
    if (err == VIV_OK) return VIV_OK;
    viv_anchor_drop(draft.head.anchor);
    if (out_at != NULL) *out_at = draft.error_at;
    return err;
}

// ------------------------------------------------------------------------------------------- lists

struct viv_anchor *viv_anchor_take(struct viv_anchor *anchor)
{
    // Relaxed: the caller holds a reference, so the count cannot reach zero meanwhile.
    atomic_fetch_add_explicit(&anchor->ref_count, 1, memory_order_relaxed);
    return anchor;
}

void viv_anchor_drop(VIV_OWN struct viv_anchor *anchor)
{
    // Release with the acquire of whoever drops last: all uses are before the close.
    if (anchor != NULL &&
        atomic_fetch_sub_explicit(&anchor->ref_count, 1, memory_order_acq_rel) == 1)
        anchor->close(anchor);
}

void viv_scope_init(struct viv_cap_scope *scope)
{
    viv_buf_init(&scope->buf, VIV_TAG_CAP);
    scope->count = 0;
    memset(scope->set_at, 0, sizeof scope->set_at);
}

void viv_scope_deinit(struct viv_cap_scope *scope)
{
    VIV_PATTERNS_EACH(pattern, viv_scope_patterns(scope))
    viv_anchor_drop(pattern->anchor);
    viv_buf_deinit(&scope->buf);
    scope->count = 0;
}

struct viv_patterns viv_scope_patterns(const struct viv_cap_scope *scope)
{
    if (scope->buf.len_bytes == 0) return (struct viv_patterns){NULL, NULL};
    const void *first = scope->buf.data, *end = scope->buf.data + scope->buf.len_bytes;
    return (struct viv_patterns){first, end};
}

enum viv_err viv_scope_add(struct viv_cap_scope *scope, const struct viv_pattern *pattern,
                           uint8_t flags)
{
    struct viv_pattern head = *pattern;
    head.flags = flags;
    struct viv_pattern *set = find_set(scope, &head);
    if (set != NULL) {
        set->value |= head.value;
        return VIV_OK;
    }
    VIV_TRY(append_pattern(scope, &head, viv_pattern_data(pattern),
                           (size_t)pattern->size_words * 8 - sizeof *pattern));
    if (head.anchor != NULL) viv_anchor_take(head.anchor);
    return VIV_OK;
}

void viv_scope_prune(struct viv_cap_scope *scope, uint8_t flags)
{
    size_t kept = 0, len = scope->buf.len_bytes;
    memset(scope->set_at, 0, sizeof scope->set_at);
    for (size_t at = 0, size; at < len; at += size) {
        struct viv_pattern *pattern = pattern_at(scope, at);
        size = (size_t)pattern->size_words * 8;
        if ((pattern->flags & ~flags) == 0) {
            viv_anchor_drop(pattern->anchor);
            scope->count--;
            continue;
        }
        if (viv_scope_type_is_set(pattern->type))
            scope->set_at[pattern->flags & 3] = (uint32_t)kept + 1;
        memmove(scope->buf.data + kept, pattern, size);
        kept += size;
    }
    scope->buf.len_bytes = kept;
}

void viv_scope_truncate(struct viv_cap_scope *scope, size_t len_bytes)
{
    for (size_t at = len_bytes; at < scope->buf.len_bytes;) {
        struct viv_pattern *pattern = pattern_at(scope, at);
        at += (size_t)pattern->size_words * 8;
        if (viv_scope_type_is_set(pattern->type)) scope->set_at[pattern->flags & 3] = 0;
        viv_anchor_drop(pattern->anchor);
        scope->count--;
    }
    scope->buf.len_bytes = len_bytes;
}

// -------------------------------------------------------------------------------------- operations

enum viv_err viv_pattern_print(const struct viv_pattern *pattern, enum viv_cap cap,
                               struct viv_buf *out)
{
    const struct viv_cap_row *row = &viv_cap_rows[cap];
    switch (pattern->type) {
    case VIV_SCOPE_RELATION: {
        const struct word *word = relations;
        while (word->value != pattern->value)
            word++;
        return viv_buf_printf(out, "%s", word->name);
    }
    case VIV_SCOPE_RIDS:
    case VIV_SCOPE_MAX:
        return print_number(pattern, out);
    case VIV_SCOPE_ADDRESS:
        return viv_address__print(pattern, out);
    case VIV_SCOPE_DIRECTORY:
        return viv_directory__print(pattern, out);
    case VIV_SCOPE_COMMAND:
        return viv_command__print(pattern, out);
    default:
        if (!viv_scope_type_is_set(pattern->type)) return viv_name__print(pattern, out);
    }
    const char *comma = "";
    for (int bit = 0; bit < 64; bit++) {
        if ((pattern->value >> bit & 1) == 0) continue;
        VIV_TRY(viv_buf_printf(out, "%s", comma));
        VIV_TRY(print_set_bit(row, pattern->type, bit, out));
        comma = ",";
    }
    return VIV_OK;
}

bool viv_pattern_admits(const struct viv_pattern *pattern, const struct viv_cap_query *query)
{
    if ((query->facets >> pattern->type & 1) == 0) return false;
    switch (pattern->type) {
    case VIV_SCOPE_RELATION:
        return (pattern->value & query->relation) != 0;
    case VIV_SCOPE_HOSTS:
        return viv_host__matches(pattern, query->name, query->name_len);
    case VIV_SCOPE_NAMES:
    case VIV_SCOPE_NODES:
    case VIV_SCOPE_VERBS:
        return viv_name__matches(pattern, query->name, query->name_len);
    case VIV_SCOPE_RIDS:
        return pattern->value == query->number;
    case VIV_SCOPE_MAX:
        return query->number <= pattern->value;
    case VIV_SCOPE_ADDRESS:
        return viv_address__admits(pattern, query);
    case VIV_SCOPE_DIRECTORY:
        return viv_directory__admits(pattern, query);
    case VIV_SCOPE_COMMAND:
        return viv_command__admits(pattern, query);
    case VIV_SCOPE_SIGNALS:
        return query->number >= 1 && query->number <= 64 &&
               (pattern->value >> (query->number - 1) & 1) != 0;
    default: // other sets
        return query->number < 64 && (pattern->value >> query->number & 1) != 0;
    }
}

bool viv_pattern_contains(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    if (parent->type != child->type) return false;
    switch (parent->type) {
    case VIV_SCOPE_NAMES:
    case VIV_SCOPE_NODES:
    case VIV_SCOPE_HOSTS:
    case VIV_SCOPE_VERBS:
        return viv_name__contains(parent, child);
    case VIV_SCOPE_RIDS:
        return parent->value == child->value;
    case VIV_SCOPE_MAX:
        return child->value <= parent->value;
    case VIV_SCOPE_ADDRESS:
        return viv_address__contains(parent, child);
    case VIV_SCOPE_DIRECTORY:
        return viv_directory__contains(parent, child);
    case VIV_SCOPE_COMMAND:
        return viv_command__contains(parent, child);
    default: // relations and sets
        return (child->value & ~parent->value) == 0;
    }
}

bool viv_pattern_covers(const struct viv_pattern *pattern, const struct viv_pattern *other)
{
    return viv_pattern_contains(pattern, other) &&
           (pattern->type != VIV_SCOPE_DIRECTORY || viv_directory__is_same_guest(pattern, other));
}

const struct viv_pattern *viv_patterns_find(struct viv_patterns list,
                                            const struct viv_cap_query *query)
{
    VIV_PATTERNS_EACH(pattern, list)
    if (viv_pattern_admits(pattern, query)) return pattern;
    return NULL;
}

const struct viv_pattern *viv_patterns_gap(struct viv_patterns parent, struct viv_patterns child,
                                           uint8_t flags)
{
    VIV_PATTERNS_EACH(pattern, child)
    {
        bool is_inside = false;
        VIV_PATTERNS_EACH(outer, parent)
        is_inside |= (outer->flags & flags) == flags && viv_pattern_contains(outer, pattern);
        if (!is_inside) return pattern;
    }
    return NULL;
}
