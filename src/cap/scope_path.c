// SPDX-License-Identifier: Apache-2.0
// Patterns of directories and commands.
//
// Both are opened when they are granted: the descriptor behind the anchor is what is used later, so
// that exchanging a folder or a file does not widen a grant. A path is judged here by its text;
// below an anchor the file system is held to by the room that opens (openat2 with RESOLVE_BENEATH).
//
//   tokens of a command:  | kind | length, 2 bytes | text |   one behind the other
#include "base/assert.h"
#include "cap/scope_int.h"
#include <string.h>

// ------------------------------------------------------------------------------------------- paths

bool viv_path__is_normal(const char *path, size_t len)
{
    if (len == 0) return false;
    if (len == 1) return true; // "/", "." and names of one letter
    size_t from = path[0] == '/' ? 1 : 0;
    for (size_t i = from; i <= len; i++) {
        if (i < len && path[i] != '/') continue;
        size_t part = i - from;
        if (part == 0 || (part == 1 && path[from] == '.') ||
            (part == 2 && memcmp(path + from, "..", 2) == 0))
            return false;
        from = i + 1;
    }
    return true;
}

bool viv_path__is_below(const char *path, size_t path_len, const char *folder, size_t folder_len)
{
    if (folder_len == 1 && folder[0] == '.') return path_len > 0 && path[0] != '/';
    if (folder_len == 1 && folder[0] == '/') return path_len > 0 && path[0] == '/';
    return path_len >= folder_len && memcmp(path, folder, folder_len) == 0 &&
           (path_len == folder_len || path[folder_len] == '/');
}

// Copies without empty components and `.`; false for `..`. The result of "./" is ".".
static bool normalise(const char *path, size_t len, char *out, size_t *out_len)
{
    size_t at = 0;
    if (path[0] == '/') out[at++] = '/';
    for (size_t i = 0; i < len;) {
        size_t end = i;
        while (end < len && path[end] != '/')
            end++;
        size_t part = end - i;
        if (part == 2 && memcmp(path + i, "..", 2) == 0) return false;
        if (part > 0 && !(part == 1 && path[i] == '.')) {
            if (at > 0 && out[at - 1] != '/') out[at++] = '/';
            memcpy(out + at, path + i, part);
            at += part;
        }
        i = end + 1;
    }
    if (at == 0) out[at++] = '.';
    *out_len = at;
    return true;
}

static enum viv_err open_anchor(struct viv_draft *draft, const char *path, size_t len)
{
    const struct viv_scope_hooks *hooks = draft->source->hooks;
    if (hooks == NULL || hooks->open == NULL) return VIV_OK;
    draft->error_at = 0;
    enum viv_err err = hooks->open(hooks->arg, (enum viv_scope_type)draft->head.type, path, len,
                                   &draft->head.anchor, draft->diag);
    // What is missing or is no directory makes a bad pattern, whatever the system said.
    if (err == VIV_OK || err == VIV_E_EXHAUSTED || err == VIV_E_UNENFORCEABLE) return err;
    return VIV_E_INVAL;
}

// ------------------------------------------------------------------------------------- directories

static const char right_letters[] = "rwcdx"; // in the order of the bits

// Rights of the text behind the last colon; 0 when it is something else.
static uint8_t read_rights(const char *text, size_t len)
{
    uint8_t rights = 0;
    for (size_t i = 0; i < len; i++) {
        const char *letter = strchr(right_letters, text[i]);
        if (text[i] == '\0' || letter == NULL) return 0;
        rights |= (uint8_t)(1u << (letter - right_letters));
    }
    return rights;
}

// HOST[::GUEST][:rwcdx]. Without rights: all but execute, which must be asked for.
enum viv_err viv_directory__parse(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    char path[VIV_PATTERN_BYTES_MAX + 2];
    size_t path_len;
    draft->head.bits = VIV_DIR_READ | VIV_DIR_WRITE | VIV_DIR_CREATE | VIV_DIR_DELETE;
    const char *colon = memrchr(text, ':', len);
    if (colon != NULL && (colon == text || colon[-1] != ':')) {
        size_t at = (size_t)(colon - text) + 1;
        draft->head.bits = read_rights(text + at, len - at);
        if (draft->head.bits == 0)
            return viv_draft__fail(draft, at, "rights are letters of r w c d x");
        len = at - 1;
    }
    const char *pair = memmem(text, len, "::", 2);
    size_t host_len = pair != NULL ? (size_t)(pair - text) : len;
    if (host_len == 0) return viv_draft__fail(draft, 0, "no directory");
    if (memchr(text, ':', host_len) != NULL)
        return viv_draft__fail(draft, (size_t)((const char *)memchr(text, ':', len) - text),
                               "a directory is HOST[::GUEST][:rwcdx]");
    if (!normalise(text, host_len, path, &path_len))
        return viv_draft__fail(draft, 0, "a directory with `..`");
    viv_draft__text(draft, path, path_len);
    VIV_TRY(open_anchor(draft, path, path_len));
    if (pair == NULL) return VIV_OK;
    size_t guest_at = host_len + 2;
    if (guest_at == len || memchr(text + guest_at, ':', len - guest_at) != NULL ||
        !normalise(text + guest_at, len - guest_at, path, &path_len))
        return viv_draft__fail(draft, guest_at, "not a directory of the guest");
    viv_draft__more(draft, path, path_len);
    return VIV_OK;
}

enum viv_err viv_directory__print(const struct viv_pattern *pattern, struct viv_buf *out)
{
    VIV_TRY(viv_buf_printf(out, "%.*s", (int)pattern->text_len, viv_pattern__text(pattern)));
    if (pattern->more_len > 0)
        VIV_TRY(viv_buf_printf(out, "::%.*s", (int)pattern->more_len, viv_pattern__more(pattern)));
    char rights[sizeof right_letters + 1] = ":";
    size_t at = 1;
    for (size_t i = 0; right_letters[i] != '\0'; i++)
        if ((pattern->bits >> i & 1) != 0) rights[at++] = right_letters[i];
    return viv_buf_append(out, rights, at);
}

bool viv_directory__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query)
{
    if (query->rights == 0 || (query->rights & ~(uint32_t)pattern->bits) != 0) return false;
    if (query->path == NULL || !viv_path__is_normal(query->path, query->path_len)) return false;
    if (pattern->more_len > 0)
        return viv_path__is_below(query->path, query->path_len, viv_pattern__more(pattern),
                                  pattern->more_len);
    if (viv_path__is_below(query->path, query->path_len, viv_pattern__text(pattern),
                           pattern->text_len))
        return true;
    const struct viv_anchor *anchor = pattern->anchor;
    return anchor != NULL &&
           viv_path__is_below(query->path, query->path_len, anchor->path, anchor->path_len);
}

// By the resolved paths where both are opened; what is opened and what is not cannot be compared.
bool viv_directory__contains(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    if ((child->bits & ~parent->bits) != 0) return false;
    const struct viv_anchor *outer = parent->anchor, *inner = child->anchor;
    if ((outer == NULL) != (inner == NULL)) return false;
    if (outer != NULL && inner != NULL)
        return viv_path__is_below(inner->path, inner->path_len, outer->path, outer->path_len);
    return viv_path__is_below(viv_pattern__text(child), child->text_len, viv_pattern__text(parent),
                              parent->text_len);
}

bool viv_directory__is_same_guest(const struct viv_pattern *a, const struct viv_pattern *b)
{
    const char *in_a = a->more_len > 0 ? viv_pattern__more(a) : viv_pattern__text(a);
    const char *in_b = b->more_len > 0 ? viv_pattern__more(b) : viv_pattern__text(b);
    size_t len_a = a->more_len > 0 ? a->more_len : a->text_len;
    size_t len_b = b->more_len > 0 ? b->more_len : b->text_len;
    return len_a == len_b && memcmp(in_a, in_b, len_a) == 0;
}

// ---------------------------------------------------------------------------------------- commands

enum token_kind {
    TOKEN_LITERAL,
    TOKEN_INT,  // {int}
    TOKEN_PATH, // {path:DIR}, text is DIR
    TOKEN_ONE,  // *
    TOKEN_REST, // **, the last
};
enum { TOKEN_HEAD_BYTES = 3 };

struct token {
    enum token_kind kind;
    const char *text;
    size_t len;
};

// The token at *at, which moves behind it.
static struct token take_token(const struct viv_pattern *pattern, size_t *at)
{
    const char *from = viv_pattern__more(pattern) + *at;
    uint16_t len;
    memcpy(&len, from + 1, sizeof len);
    *at += TOKEN_HEAD_BYTES + len;
    return (struct token){(enum token_kind)from[0], from + TOKEN_HEAD_BYTES, len};
}

// {int} and {path:DIR}; a literal must not look like either.
static enum viv_err read_braces(struct viv_draft *draft, size_t at, size_t len,
                                struct token *out_token)
{
    static const char path_head[] = "{path:";
    const char *text = draft->source->text + at;
    const size_t head_len = sizeof path_head - 1;
    if (len == 5 && memcmp(text, "{int}", 5) == 0) {
        *out_token = (struct token){TOKEN_INT, "", 0};
        return VIV_OK;
    }
    if (len < head_len + 2 || memcmp(text, path_head, head_len) != 0 || text[len - 1] != '}')
        return viv_draft__fail(draft, at, "templates are *, **, {int} and {path:DIR}");
    *out_token = (struct token){TOKEN_PATH, text + head_len, len - head_len - 1};
    if (out_token->text[0] != '/' || !viv_path__is_normal(out_token->text, out_token->len))
        return viv_draft__fail(draft, at + head_len, "DIR is an absolute path without `..`");
    return VIV_OK;
}

static enum viv_err read_token(struct viv_draft *draft, size_t at, size_t len,
                               struct token *out_token)
{
    const char *text = draft->source->text + at;
    if (len <= 2 && memcmp(text, "**", len) == 0) {
        *out_token = (struct token){len == 1 ? TOKEN_ONE : TOKEN_REST, "", 0};
        return VIV_OK;
    }
    if (memchr(text, '{', len) != NULL || memchr(text, '}', len) != NULL)
        return read_braces(draft, at, len, out_token);
    if (memchr(text, '*', len) != NULL)
        return viv_draft__fail(draft, at, "`*` stands for a whole argument");
    *out_token = (struct token){TOKEN_LITERAL, text, len};
    return VIV_OK;
}

static enum viv_err parse_tokens(struct viv_draft *draft, size_t at)
{
    // A token of one letter and a space become four bytes; the bound of tokens keeps that in room.
    char tokens[VIV_PATTERN_BYTES_MAX + TOKEN_HEAD_BYTES * VIV_TOKENS_MAX];
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes, used = 0;
    bool has_rest = false;
    for (;;) {
        while (at < len && text[at] == ' ')
            at++;
        if (at == len) break;
        size_t end = at;
        while (end < len && text[end] != ' ')
            end++;
        struct token token = {TOKEN_LITERAL, "", 0};
        if (has_rest) return viv_draft__fail(draft, at, "nothing follows **");
        if (draft->head.count == VIV_TOKENS_MAX)
            return viv_draft__fail(draft, at, "more than 256 arguments");
        VIV_TRY(read_token(draft, at, end - at, &token));
        has_rest = token.kind == TOKEN_REST;
        uint16_t token_len = (uint16_t)token.len;
        tokens[used] = (char)token.kind;
        memcpy(tokens + used + 1, &token_len, sizeof token_len);
        memcpy(tokens + used + TOKEN_HEAD_BYTES, token.text, token.len);
        used += TOKEN_HEAD_BYTES + token.len;
        draft->head.count++;
        at = end;
    }
    viv_draft__more(draft, tokens, used);
    return VIV_OK;
}

enum viv_err viv_command__parse(struct viv_draft *draft)
{
    const char *text = draft->source->text;
    size_t len = draft->source->len_bytes;
    const char *space = memchr(text, ' ', len);
    size_t path_len = space != NULL ? (size_t)(space - text) : len;
    if (path_len < 2 || text[0] != '/' || !viv_path__is_normal(text, path_len))
        return viv_draft__fail(draft, 0, "a command begins with the absolute path of its program");
    viv_draft__text(draft, text, path_len);
    VIV_TRY(parse_tokens(draft, path_len));
    return open_anchor(draft, text, path_len);
}

enum viv_err viv_command__print(const struct viv_pattern *pattern, struct viv_buf *out)
{
    VIV_TRY(viv_buf_append(out, viv_pattern__text(pattern), pattern->text_len));
    size_t at = 0;
    for (unsigned i = 0; i < pattern->count; i++) {
        struct token token = take_token(pattern, &at);
        VIV_TRY(viv_buf_printf(out, " "));
        switch (token.kind) {
        case TOKEN_INT:
            VIV_TRY(viv_buf_printf(out, "{int}"));
            break;
        case TOKEN_ONE:
        case TOKEN_REST:
            VIV_TRY(viv_buf_printf(out, token.kind == TOKEN_ONE ? "*" : "**"));
            break;
        case TOKEN_PATH:
            VIV_TRY(viv_buf_printf(out, "{path:%.*s}", (int)token.len, token.text));
            break;
        case TOKEN_LITERAL:
            VIV_TRY(viv_buf_append(out, token.text, token.len));
            break;
        }
    }
    return VIV_OK;
}

// -?[0-9]+, of a length that any program can read.
static bool is_int(const char *text, size_t len)
{
    if (len > 0 && text[0] == '-') {
        text++;
        len--;
    }
    if (len == 0 || len > 19) return false;
    for (size_t i = 0; i < len; i++)
        if (text[i] < '0' || text[i] > '9') return false;
    return true;
}

static bool is_path_below(const char *text, size_t len, const struct token *token)
{
    return len > 0 && text[0] == '/' && viv_path__is_normal(text, len) &&
           viv_path__is_below(text, len, token->text, token->len);
}

static bool token_admits(const struct token *token, const char *arg, size_t len)
{
    switch (token->kind) {
    case TOKEN_LITERAL:
        return len == token->len && memcmp(arg, token->text, len) == 0;
    case TOKEN_INT:
        return is_int(arg, len);
    case TOKEN_PATH:
        return is_path_below(arg, len, token);
    case TOKEN_ONE:
    case TOKEN_REST:
        return true;
    }
    VIV_UNREACHABLE();
}

static bool equals(const char *text, size_t len, const char *other, size_t other_len)
{
    return len == other_len && memcmp(text, other, len) == 0;
}

bool viv_command__admits(const struct viv_pattern *pattern, const struct viv_cap_query *query)
{
    const struct viv_anchor *anchor = pattern->anchor;
    if (anchor == NULL || query->path == NULL) return false;
    // The name too: one file may be several programs, told apart by how they are called.
    if (anchor->dev != query->dev || anchor->ino != query->ino) return false;
    if (!equals(query->path, query->path_len, viv_pattern__text(pattern), pattern->text_len) &&
        !equals(query->path, query->path_len, anchor->path, anchor->path_len))
        return false;
    size_t at = 0, given = 0;
    for (unsigned i = 0; i < pattern->count; i++) {
        struct token token = take_token(pattern, &at);
        if (token.kind == TOKEN_REST) return true;
        if (given == query->argc) return false;
        const char *arg = query->argv[given++];
        if (!token_admits(&token, arg, strlen(arg))) return false;
    }
    return given == query->argc;
}

static bool token_contains(const struct token *parent, const struct token *child)
{
    if (parent->kind == TOKEN_ONE) return child->kind != TOKEN_REST;
    if (child->kind == TOKEN_LITERAL) return token_admits(parent, child->text, child->len);
    if (parent->kind != child->kind) return false;
    return parent->kind == TOKEN_INT ||
           (parent->kind == TOKEN_PATH && is_path_below(child->text, child->len, parent));
}

bool viv_command__contains(const struct viv_pattern *parent, const struct viv_pattern *child)
{
    const struct viv_anchor *outer = parent->anchor, *inner = child->anchor;
    if ((outer == NULL) != (inner == NULL)) return false;
    if (outer != NULL && inner != NULL && (outer->dev != inner->dev || outer->ino != inner->ino))
        return false;
    if (!equals(viv_pattern__text(parent), parent->text_len, viv_pattern__text(child),
                child->text_len))
        return false;
    size_t parent_at = 0, child_at = 0;
    unsigned child_left = child->count;
    for (unsigned i = 0; i < parent->count; i++) {
        struct token wide = take_token(parent, &parent_at);
        if (wide.kind == TOKEN_REST) return true;
        if (child_left-- == 0) return false;
        struct token narrow = take_token(child, &child_at);
        if (!token_contains(&wide, &narrow)) return false;
    }
    return child_left == 0;
}

bool viv_command_is_file(const struct viv_pattern *pattern)
{
    size_t at = 0;
    return pattern->type == VIV_SCOPE_COMMAND && pattern->count == 1 &&
           take_token(pattern, &at).kind == TOKEN_REST;
}
