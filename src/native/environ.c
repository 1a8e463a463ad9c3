// SPDX-License-Identifier: Apache-2.0
// Environment variables: which are well formed, which turn an allowed executable into another, and
// the list that a program gets.
#include "native/environ.h"
#include "base/alloc.h"
#include <stdio.h>
#include <string.h>

// Names that need word `env`; `*` stands for any rest.
static const char *const reserved[] = {"PATH",
                                       "LD_*",
                                       "DYLD_*",
                                       "VIV_*",
                                       "BASH_ENV",
                                       "ENV",
                                       "BASH_FUNC_*",
                                       "SHELLOPTS",
                                       "BASHOPTS",
                                       "PS4",
                                       "PROMPT_COMMAND",
                                       "IFS",
                                       "ZDOTDIR",
                                       "GCONV_PATH",
                                       "LOCPATH",
                                       "GLIBC_TUNABLES",
                                       "NODE_OPTIONS",
                                       "NODE_PATH",
                                       "PERL5OPT",
                                       "PERL5LIB",
                                       "PERL5DB",
                                       "PYTHONHOME",
                                       "PYTHONPATH",
                                       "PYTHONSTARTUP",
                                       "PYTHONINSPECT",
                                       "RUBYOPT",
                                       "RUBYLIB",
                                       "JAVA_TOOL_OPTIONS",
                                       "JDK_JAVA_OPTIONS",
                                       "_JAVA_OPTIONS",
                                       "GIT_SSH",
                                       "GIT_SSH_COMMAND",
                                       "GIT_EXTERNAL_DIFF",
                                       "GIT_CONFIG_*",
                                       "HOSTALIASES",
                                       "RES_OPTIONS",
                                       "LOCALDOMAIN"};

static bool is_reserved(const char *name, size_t len)
{
    for (size_t i = 0; i < VIV_COUNT_OF(reserved); i++) {
        const size_t size = strlen(reserved[i]);
        const bool is_prefix = reserved[i][size - 1] == '*';
        if (is_prefix ? len >= size - 1 && memcmp(name, reserved[i], size - 1) == 0
                      : len == size && memcmp(name, reserved[i], size) == 0)
            return true;
    }
    return false;
}

static bool is_name_byte(uint8_t byte, bool is_first)
{
    const bool is_letter =
        (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') || byte == '_';
    return is_letter || (!is_first && byte >= '0' && byte <= '9');
}

bool viv_native_env_scan(const uint8_t *data, struct viv_native_text *text)
{
    uint32_t len = 0;
    while (len < text->len && is_name_byte(data[len], len == 0))
        len++;
    if (len == 0 || len == text->len || data[len] != '=') return false;
    if (len > VIV_NATIVE_ENV_KEY_BYTES_MAX || text->len - len - 1 > VIV_NATIVE_ENV_VALUE_BYTES_MAX)
        return false;
    text->key_len = (uint16_t)len;
    text->is_reserved = is_reserved((const char *)data, len);
    return true;
}

static const struct viv_native_text *find_name(const struct viv_native_list *env, uint32_t end,
                                               const char *name, size_t len)
{
    for (uint32_t i = 0; i < end; i++)
        if (env->items[i].key_len == len && memcmp(env->items[i].data, name, len) == 0)
            return &env->items[i];
    return NULL;
}

// At most 256 of them.
bool viv_native_env_is_unique(const struct viv_native_list *env)
{
    for (uint32_t i = 1; i < env->count; i++)
        if (find_name(env, i, env->items[i].data, env->items[i].key_len) != NULL) return false;
    return true;
}

const char *viv_native_search_path(const struct viv_native_req *req)
{
    const struct viv_native_list *env = &req->fields.env;
    const struct viv_native_text *path = find_name(env, env->count, "PATH", 4);
    return path != NULL ? path->data + 5 : VIV_NATIVE_PATH_DEFAULT;
}

static bool is_allowed(const char *const *allowed, const char *name)
{
    for (; *allowed != NULL; allowed++)
        if (strcmp(*allowed, name) == 0) return true;
    return false;
}

// NAME=VALUE of the kernel's own environment, or NULL.
static const char *find_own(const char *const *environ, const struct viv_native_text *name)
{
    for (; *environ != NULL; environ++)
        if (strncmp(*environ, name->data, name->len) == 0 && (*environ)[name->len] == '=')
            return *environ;
    return NULL;
}

// The lines of one environment, counted in a first pass and stored in a second.
struct lines {
    char **envp; // NULL in the first pass
    char *next;
    uint32_t count;
    size_t bytes;
};

static void add_line(struct lines *lines, const char *line, size_t len)
{
    if (lines->envp != NULL) {
        memcpy(lines->next, line, len);
        lines->next[len] = '\0';
        lines->envp[lines->count] = lines->next;
        lines->next += len + 1;
    }
    lines->count++;
    lines->bytes += len + 1;
}

// What the kernel tells; nobody's variable stands beside it.
static uint32_t own_lines(const struct viv_native_req *req,
                          const struct viv_native_env_source *source, char out[3][64])
{
    char pid[VIV_PID_TEXT_BYTES];
    (void)snprintf(out[0], sizeof out[0], "VIV_PROGRAM=%s", source->digest);
    (void)snprintf(out[1], sizeof out[1], "VIV_PID=%s", viv_pid_format(source->pid, pid));
    (void)snprintf(out[2], sizeof out[2], "VIV_READY_FD=3");
    return req->fields.ready == VIV_NATIVE_READY_FD ? 3 : 2;
}

static bool is_among(char lines[3][64], uint32_t count, const struct viv_native_text *item)
{
    for (uint32_t i = 0; i < count; i++)
        if (strncmp(lines[i], item->data, item->key_len + UINT32_C(1)) == 0) return true;
    return false;
}

static bool is_repeated(const struct viv_native_list *pass, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++)
        if (strcmp(pass->items[i].data, pass->items[index].data) == 0) return true;
    return false;
}

static void add_lines(const struct viv_native_req *req, const struct viv_native_env_source *source,
                      struct lines *lines)
{
    static const char path[] = "PATH=" VIV_NATIVE_PATH_DEFAULT;
    const struct viv_native_list *env = &req->fields.env, *pass = &req->fields.env_pass;
    char own[3][64];
    const uint32_t own_count = own_lines(req, source, own);
    if (find_name(env, env->count, "PATH", 4) == NULL) add_line(lines, path, sizeof path - 1);
    for (uint32_t i = 0; i < pass->count; i++) {
        const struct viv_native_text *name = &pass->items[i];
        const char *line = find_own(source->environ, name);
        if (line == NULL || is_repeated(pass, i) ||
            find_name(env, env->count, name->data, name->len) != NULL)
            continue;
        add_line(lines, line, strlen(line));
    }
    for (uint32_t i = 0; i < env->count; i++)
        if (!is_among(own, own_count, &env->items[i]))
            add_line(lines, env->items[i].data, env->items[i].len);
    for (uint32_t i = 0; i < own_count; i++)
        add_line(lines, own[i], strlen(own[i]));
}

static size_t argv_bytes(char *const *argv)
{
    size_t bytes = sizeof(char *);
    for (; *argv != NULL; argv++)
        bytes += strlen(*argv) + 1 + sizeof(char *);
    return bytes;
}

enum viv_err viv_native_env_build(const struct viv_native_req *req,
                                  const struct viv_native_env_source *source,
                                  struct viv_native_env *out_env, struct viv_diag *diag)
{
    const struct viv_native_list *pass = &req->fields.env_pass;
    for (uint32_t i = 0; i < pass->count; i++)
        if (is_reserved(pass->items[i].data, pass->items[i].len) ||
            !is_allowed(source->allowed, pass->items[i].data))
            return viv_diag_set(diag, VIV_E_DENIED, "env_pass");
    struct lines lines = {0};
    add_lines(req, source, &lines);
    const size_t pointers = ((size_t)lines.count + 1) * sizeof(char *);
    const size_t total = pointers + lines.bytes;
    if (argv_bytes(req->argv) + total > VIV_NATIVE_VECTOR_BYTES_MAX)
        return viv_diag_set(diag, VIV_E_TOOBIG, "env");
    char **envp = viv_try_alloc(total, VIV_TAG_NATIVE);
    if (envp == NULL) return viv_diag_set(diag, VIV_E_EXHAUSTED, "memory");
    lines = (struct lines){.envp = envp, .next = (char *)envp + pointers};
    add_lines(req, source, &lines);
    envp[lines.count] = NULL;
    *out_env = (struct viv_native_env){envp, lines.count, envp, total};
    return VIV_OK;
}

void viv_native_env_free(struct viv_native_env *env)
{
    viv_free(env->mem, env->mem_bytes, VIV_TAG_NATIVE);
    *env = (struct viv_native_env){0};
}
