// SPDX-License-Identifier: Apache-2.0
// Parses `viv run [options] -- COMMAND [args]`: a table of names, each with the field of the spawn
// block that it sets. `--name value` and `--name=value`. Threads: the main thread.
#include "cli/exec_options.h"

#include "base/text.h"
#include "cap/policy_options.h"
#include "cli/cli.h"
#include "native/block.h"
#include "native/request.h"
#include "os/file.h"
#include "os/pty.h"
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { ROWS = 24, COLUMNS = 80, GRANT_BYTES_MAX = 4099 };

enum form {
    FORM_FLAG,     // sets a bool of the block
    FORM_TEXT,     // as it is
    FORM_SIZE,     // bytes
    FORM_DURATION, // as ms
    FORM_NUMBER,
    FORM_WORD,   // one of the field's words
    FORM_SIGNAL, // name or number
    FORM_RO,     // a path that may be read
    FORM_RW,
    FORM_MERGE,
    FORM_USER, // name or number, with those of a group behind a colon
    FORM_OWN,  // handled by name
};

static const struct option {
    const char *name;
    enum form form;
    bool has_value;
    enum viv_native_key key;
} table[] = {
    {"env", FORM_OWN, true, VIV_NATIVE_KEY_ENV},
    {"no-env", FORM_OWN, false, VIV_NATIVE_KEY_NONE},
    {"detach", FORM_OWN, false, VIV_NATIVE_KEY_NONE},
    {"json", FORM_OWN, false, VIV_NATIVE_KEY_NONE},
    {"audit", FORM_OWN, true, VIV_NATIVE_KEY_NONE},
    {"require-audit", FORM_OWN, false, VIV_NATIVE_KEY_NONE},
    {"cwd", FORM_OWN, true, VIV_NATIVE_KEY_CWD},
    {"label", FORM_TEXT, true, VIV_NATIVE_KEY_LABEL},
    {"key", FORM_TEXT, true, VIV_NATIVE_KEY_KEY},
    {"max-memory", FORM_SIZE, true, VIV_NATIVE_KEY_MAX_MEMORY_BYTES},
    {"max-time", FORM_DURATION, true, VIV_NATIVE_KEY_MAX_LIFETIME_MS},
    {"cpu-time", FORM_DURATION, true, VIV_NATIVE_KEY_MAX_CPU_MS},
    {"cpu", FORM_NUMBER, true, VIV_NATIVE_KEY_CPU_PERCENT},
    {"pids", FORM_NUMBER, true, VIV_NATIVE_KEY_MAX_PIDS},
    {"files", FORM_NUMBER, true, VIV_NATIVE_KEY_MAX_OPEN_FILES},
    {"file-size", FORM_SIZE, true, VIV_NATIVE_KEY_MAX_FILE_BYTES},
    {"output", FORM_SIZE, true, VIV_NATIVE_KEY_MAX_OUTPUT_BYTES},
    {"idle", FORM_DURATION, true, VIV_NATIVE_KEY_IDLE_MS},
    {"retain", FORM_DURATION, true, VIV_NATIVE_KEY_RETENTION_MS},
    {"grace", FORM_DURATION, true, VIV_NATIVE_KEY_STOP_GRACE_MS},
    {"stop-signal", FORM_SIGNAL, true, VIV_NATIVE_KEY_STOP_SIGNAL},
    {"ring", FORM_SIZE, true, VIV_NATIVE_KEY_RING_BYTES},
    {"overflow", FORM_WORD, true, VIV_NATIVE_KEY_OVERFLOW},
    {"merge", FORM_MERGE, false, VIV_NATIVE_KEY_STDERR},
    {"spill", FORM_TEXT, true, VIV_NATIVE_KEY_SPILL_DIR},
    {"sandbox", FORM_WORD, true, VIV_NATIVE_KEY_SANDBOX},
    {"net", FORM_WORD, true, VIV_NATIVE_KEY_NET},
    {"ro", FORM_RO, true, VIV_NATIVE_KEY_PATH},
    {"rw", FORM_RW, true, VIV_NATIVE_KEY_PATH},
    {"hide", FORM_TEXT, true, VIV_NATIVE_KEY_HIDE},
    {"accept", FORM_TEXT, true, VIV_NATIVE_KEY_ACCEPT},
    {"user", FORM_USER, true, VIV_NATIVE_KEY_USER},
    {"survive", FORM_WORD, true, VIV_NATIVE_KEY_SURVIVE},
    {"contain", FORM_WORD, true, VIV_NATIVE_KEY_CONTAIN},
    {"restart", FORM_WORD, true, VIV_NATIVE_KEY_RESTART},
    {"ready", FORM_WORD, true, VIV_NATIVE_KEY_READY},
    {"policy", FORM_OWN, true, VIV_NATIVE_KEY_NONE},
    {"use", FORM_OWN, true, VIV_NATIVE_KEY_NONE},
    {"allow", FORM_OWN, true, VIV_NATIVE_KEY_NONE},
    {"limit", FORM_OWN, true, VIV_NATIVE_KEY_NONE},
};

static bool refuse(const char *option, const char *value, const char *wanted)
{
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: --%s " VIV_SHOWN ": %s", option, value, wanted);
    return false;
}

static bool put_failed(enum viv_err err)
{
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: %s", viv_err_text(err));
    return false;
}

// ---- values ----

static bool put_u64(struct viv_exec_options *out, const struct option *option, uint64_t value)
{
    const bool is_wide = viv_native_rows[option->key].type == VIV_NATIVE_TYPE_U64;
    const enum viv_err err =
        is_wide ? viv_block_put_u64(&out->block, (uint16_t)option->key, value)
                : viv_block_put_u32(&out->block, (uint16_t)option->key,
                                    value > UINT32_MAX ? UINT32_MAX : (uint32_t)value);
    return err == VIV_OK || put_failed(err);
}

static bool put_text(struct viv_exec_options *out, enum viv_native_key key, const char *text)
{
    const enum viv_err err = viv_block_put_text(&out->block, (uint16_t)key, text);
    return err == VIV_OK || put_failed(err);
}

static bool put_word(struct viv_exec_options *out, const struct option *option, const char *value)
{
    const char *const *words = viv_native_rows[option->key].words;
    char wanted[200] = "want ";
    for (uint32_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], value) == 0) return put_u64(out, option, i);
        const size_t used = strlen(wanted);
        (void)snprintf(wanted + used, sizeof wanted - used, "%s%s", i > 0 ? ", " : "", words[i]);
    }
    return refuse(option->name, value, wanted);
}

static bool put_grant(struct viv_exec_options *out, const struct option *option, const char *value)
{
    struct { // u32 mode, then the path without its end
        uint32_t mode;
        char path[GRANT_BYTES_MAX];
    } record = {option->form == FORM_RW ? VIV_NATIVE_GRANT_RW : VIV_NATIVE_GRANT_RO, ""};
    const int len = snprintf(record.path, sizeof record.path, "%s", value);
    if (value[0] != '/' || (size_t)len + sizeof record.mode > GRANT_BYTES_MAX)
        return refuse(option->name, value, "want an absolute path");
    const enum viv_err err = viv_block_put(&out->block, (uint16_t)option->key, &record,
                                           sizeof record.mode + (size_t)len);
    return err == VIV_OK || put_failed(err);
}

// Both answer false for a name that nobody has; *out_gid is the user's own, UINT64_MAX of a number
// that nobody has.
static bool find_user(const char *name, uint64_t *out_uid, uint64_t *out_gid)
{
    char text[4096];
    struct passwd entry, *found = NULL;
    *out_gid = UINT64_MAX;
    const bool is_number = viv_parse_u64(name, out_uid) == VIV_OK;
    const int r = is_number && *out_uid < UINT32_MAX
                      ? getpwuid_r((uid_t)*out_uid, &entry, text, sizeof text, &found)
                      : getpwnam_r(name, &entry, text, sizeof text, &found);
    if (r != 0 || found == NULL) return is_number && *out_uid < UINT32_MAX;
    *out_uid = found->pw_uid;
    *out_gid = found->pw_gid;
    return true;
}

static bool find_group(const char *name, uint64_t *out_gid)
{
    char text[4096];
    struct group entry, *found = NULL;
    if (viv_parse_u64(name, out_gid) == VIV_OK) return *out_gid < UINT32_MAX;
    if (getgrnam_r(name, &entry, text, sizeof text, &found) != 0 || found == NULL) return false;
    *out_gid = found->gr_gid;
    return true;
}

// A user of the system comes with all groups it is in, unless one is named.
static bool put_user(struct viv_exec_options *out, const struct option *option, const char *value)
{
    char user[LOGIN_NAME_MAX + 1];
    uint64_t uid, gid;
    gid_t groups[VIV_NATIVE_GROUPS_MAX];
    uint32_t ids[2 + VIV_NATIVE_GROUPS_MAX];
    int count = 0;
    const char *colon = strchr(value, ':');
    const int len = colon != NULL ? (int)(colon - value) : (int)strlen(value);
    const bool fits = snprintf(user, sizeof user, "%.*s", len, value) < (int)sizeof user;
    if (!fits || !find_user(user, &uid, &gid) || (colon != NULL && !find_group(colon + 1, &gid)) ||
        gid == UINT64_MAX)
        return refuse(option->name, value, "no such user, or group (want USER or USER:GROUP)");
    const struct passwd *entry = colon == NULL ? getpwuid((uid_t)uid) : NULL; // one thread runs
    if (entry != NULL) {
        count = VIV_NATIVE_GROUPS_MAX;
        if (getgrouplist(entry->pw_name, (gid_t)gid, groups, &count) < 0)
            return refuse(option->name, value, "in too many groups (want USER:GROUP)");
    }
    ids[0] = (uint32_t)uid;
    ids[1] = (uint32_t)gid;
    for (int i = 0; i < count; i++)
        ids[2 + i] = groups[i];
    const enum viv_err err =
        viv_block_put(&out->block, (uint16_t)option->key, ids, (2 + (size_t)count) * sizeof ids[0]);
    return err == VIV_OK || put_failed(err);
}

int viv_cli_signal_number(const char *text)
{
    static const struct {
        const char *name;
        int number;
    } names[] = {
        {"HUP", SIGHUP},     {"INT", SIGINT},   {"QUIT", SIGQUIT}, {"KILL", SIGKILL},
        {"USR1", SIGUSR1},   {"USR2", SIGUSR2}, {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},
        {"TERM", SIGTERM},   {"CONT", SIGCONT}, {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},
        {"WINCH", SIGWINCH}, {"ABRT", SIGABRT}, {"SEGV", SIGSEGV}, {"CHLD", SIGCHLD},
    };
    uint64_t number;
    if (viv_parse_u64(text, &number) == VIV_OK)
        return number >= 1 && number <= 64 ? (int)number : 0;
    if (strncasecmp(text, "SIG", 3) == 0) text += 3;
    for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
        if (strcasecmp(names[i].name, text) == 0) return names[i].number;
    return 0;
}

static bool put_signal(struct viv_exec_options *out, const struct option *option, const char *value)
{
    const int number = viv_cli_signal_number(value);
    if (number == 0) return refuse(option->name, value, "want a signal such as TERM or 15");
    return put_u64(out, option, (uint64_t)number);
}

static bool put_size(struct viv_exec_options *out, const struct option *option, const char *value)
{
    uint64_t bytes;
    if (viv_parse_size(value, &bytes) != VIV_OK)
        return refuse(option->name, value, "want a size such as 64M");
    return put_u64(out, option, bytes);
}

static bool put_duration(struct viv_exec_options *out, const struct option *option,
                         const char *value)
{
    uint64_t ns;
    if (strcmp(value, "none") == 0) return put_u64(out, option, VIV_NATIVE_NONE);
    if (viv_parse_duration(value, &ns) != VIV_OK)
        return refuse(option->name, value, "want a duration such as 500ms, 10s, 2m");
    return put_u64(out, option, ns / VIV_NS_PER_MS);
}

static bool put_number(struct viv_exec_options *out, const struct option *option, const char *value)
{
    uint64_t number;
    if (viv_parse_u64(value, &number) != VIV_OK)
        return refuse(option->name, value, "want a number");
    return put_u64(out, option, number);
}

static bool put_env(struct viv_exec_options *out, const char *value)
{
    if (strchr(value, '=') == NULL || value[0] == '=')
        return refuse("env", value, "want KEY=VALUE");
    return put_text(out, VIV_NATIVE_KEY_ENV, value);
}

static bool put_own(struct viv_exec_options *out, const struct option *option, const char *value)
{
    if (option->key == VIV_NATIVE_KEY_ENV) return put_env(out, value);
    if (option->key == VIV_NATIVE_KEY_CWD) {
        out->cwd = value;
        return true;
    }
    if (strcmp(option->name, "no-env") == 0) return out->no_env = true;
    if (strcmp(option->name, "detach") == 0) return out->detach = true;
    if (strcmp(option->name, "json") == 0) return out->json = true;
    if (strcmp(option->name, "require-audit") == 0) return out->audit_is_required = true;
    if (strcmp(option->name, "audit") == 0) {
        out->audit = value;
        return true;
    }
    if (out->policy_count == VIV_RUN_POLICY_MAX) return refuse(option->name, value, "too many");
    out->policy[out->policy_count++] = (struct viv_run_policy_option){option->name, value};
    return true;
}

static bool put(struct viv_exec_options *out, const struct option *option, const char *value)
{
    if (value == NULL) value = ""; // of one that takes none
    out->given[option->key / 64] |= UINT64_C(1) << option->key % 64;
    switch (option->form) {
    case FORM_FLAG:
        return put_u64(out, option, 1);
    case FORM_TEXT:
        return put_text(out, option->key, value);
    case FORM_SIZE:
        return put_size(out, option, value);
    case FORM_DURATION:
        return put_duration(out, option, value);
    case FORM_NUMBER:
        return put_number(out, option, value);
    case FORM_WORD:
        return put_word(out, option, value);
    case FORM_SIGNAL:
        return put_signal(out, option, value);
    case FORM_RO:
    case FORM_RW:
        return put_grant(out, option, value);
    case FORM_MERGE:
        return put_u64(out, option, VIV_NATIVE_STDERR_MERGE);
    case FORM_USER:
        return put_user(out, option, value);
    case FORM_OWN:
        return put_own(out, option, value);
    }
    return false;
}

// ---- words of the command line ----

static const struct option *find(const char *name, size_t len)
{
    for (size_t i = 0; i < VIV_COUNT_OF(table); i++)
        if (strlen(table[i].name) == len && memcmp(table[i].name, name, len) == 0) return &table[i];
    return NULL;
}

bool viv_exec_options_are_meant(int count, char **args)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(args[i], "--") == 0) return true;
        if (args[i][0] != '-') return false;
        if (args[i][1] != '-' || strchr(args[i], '=') != NULL) continue;
        const struct option *option = find(args[i] + 2, strlen(args[i] + 2));
        if (option != NULL && option->has_value) i++;
    }
    return false;
}

// -t, -tROWSxCOLS, -i, -d.
static bool parse_short(const char *word, struct viv_exec_options *out)
{
    unsigned rows, columns;
    char rest;
    if (strcmp(word, "-d") == 0) return out->detach = true;
    if (strcmp(word, "-i") == 0) return out->keep_stdin = true;
    if (strcmp(word, "-t") == 0) return out->has_tty = true;
    if (sscanf(word, "-t%ux%u%c", &rows, &columns, &rest) == 2 && rows > 0 && columns > 0 &&
        rows <= UINT16_MAX && columns <= UINT16_MAX) {
        out->rows = (uint16_t)rows;
        out->columns = (uint16_t)columns;
        return out->has_tty = true;
    }
    (void)viv_cli_error(VIV_STATUS_USAGE,
                        "run: unknown option " VIV_SHOWN " (viv help run lists them)", word);
    return false;
}

static bool parse_long(char **args, int *index, struct viv_exec_options *out)
{
    const char *name = args[*index] + 2;
    const char *equals = strchr(name, '=');
    const size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find(name, len);
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (option == NULL) {
        (void)viv_cli_error(VIV_STATUS_USAGE,
                            "run: unknown option --%.*s (viv help run lists them)",
                            (int)viv_min_u64(len, 60), name);
        return false;
    }
    if (!option->has_value && value != NULL) return refuse(option->name, value, "takes no value");
    if (!option->has_value) return put(out, option, "");
    if (value == NULL) value = args[++*index];
    if (strcmp(value, "--") == 0) {
        (void)viv_cli_error(VIV_STATUS_USAGE, "run: --%s needs a value", option->name);
        return false;
    }
    return put(out, option, value);
}

bool viv_exec_options_parse(int count, char **args, struct viv_exec_options *out)
{
    *out = (struct viv_exec_options){.json = false};
    viv_buf_init(&out->block, VIV_TAG_CLI);
    if (viv_block_init(&out->block) != VIV_OK) return put_failed(VIV_E_EXHAUSTED);
    int index = 0;
    for (; strcmp(args[index], "--") != 0; index++) { // there is one
        const bool is_good =
            args[index][1] == '-' ? parse_long(args, &index, out) : parse_short(args[index], out);
        if (!is_good) return false;
    }
    index++;
    if (index == count || args[index][0] == '\0') {
        (void)viv_cli_error(VIV_STATUS_USAGE,
                            "run: no command given (viv run [options] -- COMMAND [args])");
        return false;
    }
    out->command = args[index];
    if (!put_text(out, VIV_NATIVE_KEY_CMD, args[index])) return false;
    for (index++; index < count; index++)
        if (!put_text(out, VIV_NATIVE_KEY_ARG, args[index])) return false;
    return true;
}

// ---- what the caller adds ----

bool viv_exec_options_spill(const struct viv_exec_options *options)
{
    const uint32_t key = VIV_NATIVE_KEY_SPILL_DIR;
    return (options->given[key / 64] >> key % 64 & 1) != 0;
}

// The name of the variable of a KEY=VALUE, if a program can have it.
static size_t name_len(const char *pair)
{
    const size_t len = strcspn(pair, "=");
    if (pair[len] != '=' || len == 0 || (pair[0] >= '0' && pair[0] <= '9')) return 0;
    for (size_t i = 0; i < len; i++) {
        const char c = pair[i];
        const bool is_good =
            (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (c >= '0' && c <= '9');
        if (!is_good) return 0;
    }
    return len;
}

// Whether the block, or an earlier one of the caller's, has the variable.
static bool is_given(const struct viv_exec_options *options, char **until, const char *pair,
                     size_t len)
{
    struct viv_block_walk walk;
    struct viv_block_record record;
    for (char **at = environ; at != until; at++)
        if (strncmp(*at, pair, len + 1) == 0) return true;
    if (viv_block_open(&walk, options->block.data, options->block.len_bytes) != VIV_OK)
        return false;
    while (viv_block_next(&walk, &record) == VIV_OK)
        if (record.key == VIV_NATIVE_KEY_ENV && record.len > len &&
            memcmp(record.data, pair, len + 1) == 0)
            return true;
    return false;
}

static enum viv_err add_env(struct viv_exec_options *options)
{
    viv_block_finish(&options->block);
    for (char **pair = environ; *pair != NULL; pair++) {
        const size_t len = name_len(*pair);
        if (len == 0 || len > VIV_NATIVE_ENV_KEY_BYTES_MAX || is_given(options, pair, *pair, len))
            continue;
        VIV_TRY(viv_block_put_text(&options->block, VIV_NATIVE_KEY_ENV, *pair));
        viv_block_finish(&options->block);
    }
    return VIV_OK;
}

static enum viv_err add_terminal(struct viv_exec_options *options)
{
    if (options->rows == 0 && viv_os_pty_size(STDIN_FILENO, &options->rows, &options->columns) < 0)
        options->rows = 0;
    if (options->rows == 0 || options->columns == 0) {
        options->rows = ROWS;
        options->columns = COLUMNS;
    }
    const uint32_t size[2] = {options->rows, options->columns};
    return viv_block_put(&options->block, VIV_NATIVE_KEY_PTY, size, sizeof size);
}

// The daemon's directory is not ours: it is told an absolute one.
static enum viv_err add_cwd(struct viv_exec_options *options)
{
    char own[PATH_MAX], path[2 * PATH_MAX];
    const char *cwd = options->cwd;
    if (options->detach && (cwd == NULL || cwd[0] != '/')) {
        if (viv_os_getcwd(own, sizeof own) < 0) return VIV_E_NOTFOUND;
        (void)snprintf(path, sizeof path, "%s%s%s", own, cwd != NULL ? "/" : "",
                       cwd != NULL ? cwd : "");
        cwd = path;
    }
    return cwd == NULL ? VIV_OK : viv_block_put_text(&options->block, VIV_NATIVE_KEY_CWD, cwd);
}

// What an operator's program has where a guest's has bounds.
static enum viv_err add_defaults(struct viv_exec_options *options)
{
    const struct {
        enum viv_native_key key;
        uint64_t value;
    } defaults[] = {
        {VIV_NATIVE_KEY_SANDBOX, VIV_NATIVE_SANDBOX_NONE},
        {VIV_NATIVE_KEY_MAX_LIFETIME_MS, VIV_NATIVE_NONE},
        {VIV_NATIVE_KEY_IDLE_MS, VIV_NATIVE_NONE},
        {VIV_NATIVE_KEY_RETENTION_MS, UINT64_C(3600) * 1000},
        {VIV_NATIVE_KEY_ORPHAN_MS, UINT64_C(24) * 3600 * 1000},
        {VIV_NATIVE_KEY_SURVIVE,
         options->detach ? VIV_NATIVE_SURVIVE_ENV : VIV_NATIVE_SURVIVE_OWNER},
        {VIV_NATIVE_KEY_OVERFLOW,
         options->detach ? VIV_NATIVE_OVERFLOW_DROP_OLDEST : VIV_NATIVE_OVERFLOW_BACKPRESSURE},
    };
    for (size_t i = 0; i < VIV_COUNT_OF(defaults); i++) {
        const enum viv_native_key key = defaults[i].key;
        if ((options->given[key / 64] >> key % 64 & 1) != 0) continue;
        VIV_TRY(
            viv_native_rows[key].type == VIV_NATIVE_TYPE_U64
                ? viv_block_put_u64(&options->block, (uint16_t)key, defaults[i].value)
                : viv_block_put_u32(&options->block, (uint16_t)key, (uint32_t)defaults[i].value));
    }
    return VIV_OK;
}

enum viv_err viv_exec_options_add_caller(struct viv_exec_options *options)
{
    const bool is_restricted = options->policy_count > 0;
    if (!options->no_env) VIV_TRY(add_env(options));
    VIV_TRY(add_cwd(options));
    if (options->has_tty) VIV_TRY(add_terminal(options));
    if (!options->detach || options->keep_stdin)
        VIV_TRY(viv_block_put_u32(&options->block, VIV_NATIVE_KEY_KEEP_STDIN, 1));
    // The command's end is the release of its program, with which the files would go.
    if (!options->detach && viv_exec_options_spill(options))
        VIV_TRY(viv_block_put_u32(&options->block, VIV_NATIVE_KEY_SPILL_KEEP, 1));
    if (!is_restricted) VIV_TRY(add_defaults(options));
    viv_block_finish(&options->block);
    return VIV_OK;
}
