// SPDX-License-Identifier: Apache-2.0
// Parses the options of `viv run`: a table of names, then one setter a kind of value. `--name
// value` and `--name=value`. Everything after FILE is the guest's; one leading `--` is dropped.
// Threads: the main thread.
#include "cli/run_options.h"

#include "base/text.h"
#include "cap/policy_options.h"
#include "cli/cli.h"
#include <stdio.h>
#include <string.h>

// Sets one option; false after printing an error.
typedef bool (*option_fn)(struct viv_run_options *options, const char *value);

static bool bad_value(const char *option, const char *value, const char *wanted)
{
    (void)viv_cli_error(VIV_STATUS_USAGE, "run: --%s " VIV_SHOWN ": %s", option, value, wanted);
    return false;
}

static bool append(const char **list, uint32_t *count, const char *option, const char *value)
{
    if (*count == VIV_RUN_LIST_MAX) return bad_value(option, value, "given too often");
    list[(*count)++] = value;
    return true;
}

static bool add_dir(struct viv_run_options *options, const char *value)
{
    const char *colons = strstr(value, "::");
    if (value[0] == '\0' || colons == value || (colons != NULL && colons[2] == '\0'))
        return bad_value("dir", value, "want HOST or HOST::GUEST");
    return append(options->dirs, &options->dir_count, "dir", value);
}

static bool add_env(struct viv_run_options *options, const char *value)
{
    if (strchr(value, '=') == NULL || value[0] == '=')
        return bad_value("env", value, "want KEY=VALUE");
    return append(options->envs, &options->env_count, "env", value);
}

static bool add_module(struct viv_run_options *options, const char *value)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value || equals[1] == '\0' || equals - value > VIV_RUN_NAME_MAX)
        return bad_value("module", value, "want NAME=FILE, with a NAME of at most 255 bytes");
    return append(options->modules, &options->module_count, "module", value);
}

static bool set_no_dir(struct viv_run_options *options, const char *value)
{
    (void)options; // the policy has it
    (void)value;
    return true;
}

static bool set_no_env(struct viv_run_options *options, const char *value)
{
    (void)value;
    return options->no_env = true;
}

static bool set_no_net(struct viv_run_options *options, const char *value)
{
    (void)value;
    return options->no_net = true;
}

static bool set_no_cache(struct viv_run_options *options, const char *value)
{
    (void)value;
    return options->no_cache = true;
}

static bool set_bench(struct viv_run_options *options, const char *value)
{
    (void)value;
    return options->bench = true;
}

static bool set_help(struct viv_run_options *options, const char *value)
{
    (void)value;
    return options->help = true;
}

static bool set_listen(struct viv_run_options *options, const char *value)
{
    (void)options;
    return bad_value("listen", value, "sockets are not supported yet");
}

// What is recorded for the policy, whose own reader checks it.
static bool set_policy(struct viv_run_options *options, const char *value)
{
    (void)options;
    (void)value;
    return true;
}

static bool set_store(struct viv_run_options *options, const char *value)
{
    if (value[0] == '\0') return bad_value("store", value, "want a URL");
    options->store = value;
    return true;
}

static bool set_audit(struct viv_run_options *options, const char *value)
{
    if (value[0] == '\0') return bad_value("audit", value, "want a FILE");
    options->audit = value;
    return true;
}

static bool set_entry(struct viv_run_options *options, const char *value)
{
    options->entry = value;
    return true;
}

static bool set_max_memory(struct viv_run_options *options, const char *value)
{
    uint64_t bytes;
    (void)options; // the policy has it
    if (viv_parse_size(value, &bytes) != VIV_OK || bytes == 0)
        return bad_value("max-memory", value, "want a size such as 64M");
    return true;
}

static bool set_max_fuel(struct viv_run_options *options, const char *value)
{
    if (viv_parse_u64(value, &options->max_fuel_units) != VIV_OK || options->max_fuel_units == 0)
        return bad_value("max-fuel", value, "want a number of units (one is 100 000 instructions)");
    return true;
}

static bool set_max_time(struct viv_run_options *options, const char *value)
{
    uint64_t ns;
    (void)options; // the policy has it
    if (viv_parse_duration(value, &ns) != VIV_OK || ns == 0)
        return bad_value("max-time", value, "want a duration such as 500ms, 10s, 2m");
    return true;
}

static bool set_engine(struct viv_run_options *options, const char *value)
{
    if (strcmp(value, "many") == 0)
        options->mode = VIV_WASM_MANY;
    else if (strcmp(value, "fast") == 0)
        options->mode = VIV_WASM_FAST;
    else
        return bad_value("engine", value, "want many or fast");
    return true;
}

static bool set_workers(struct viv_run_options *options, const char *value)
{
    uint64_t count;
    if (viv_parse_u64(value, &count) != VIV_OK || count == 0 || count > VIV_WORKERS_MAX)
        return bad_value("workers", value, "want a number from 1 to 256");
    options->worker_count = (uint32_t)count;
    return true;
}

// COUNT,BYTES,POLICY; 0 or an empty field: no limit.
static bool set_mailbox(struct viv_run_options *options, const char *value)
{
    static const char wanted[] = "want COUNT,BYTES,POLICY with policy kill, refuse or suspend";
    char text[128];
    if (strlen(value) >= sizeof(text)) return bad_value("mailbox", value, wanted);
    (void)snprintf(text, sizeof(text), "%s", value);
    char *bytes = strchr(text, ',');
    char *policy = bytes == NULL ? NULL : strchr(bytes + 1, ',');
    if (policy == NULL) return bad_value("mailbox", value, wanted);
    *bytes++ = '\0';
    *policy++ = '\0';
    if (text[0] != '\0' && viv_parse_u64(text, &options->mailbox_count) != VIV_OK)
        return bad_value("mailbox", value, wanted);
    if (bytes[0] != '\0' && viv_parse_size(bytes, &options->mailbox_bytes) != VIV_OK)
        return bad_value("mailbox", value, wanted);
    if (strcmp(policy, "kill") == 0)
        options->mailbox_policy = VIV_MAILBOX_KILL;
    else if (strcmp(policy, "refuse") == 0)
        options->mailbox_policy = VIV_MAILBOX_REFUSE;
    else if (strcmp(policy, "suspend") == 0)
        options->mailbox_policy = VIV_MAILBOX_SUSPEND;
    else
        return bad_value("mailbox", value, wanted);
    return options->has_mailbox = true;
}

static const struct option {
    const char *name;
    bool has_value;
    option_fn set;
} options_table[] = {
    {"dir", true, add_dir},
    {"no-dir", false, set_no_dir},
    {"env", true, add_env},
    {"no-env", false, set_no_env},
    {"no-net", false, set_no_net},
    {"policy", true, set_policy},
    {"use", true, set_policy},
    {"allow", true, set_policy},
    {"limit", true, set_policy},
    {"audit", true, set_audit},
    {"store", true, set_store},
    {"listen", true, set_listen},
    {"entry", true, set_entry},
    {"max-memory", true, set_max_memory},
    {"max-fuel", true, set_max_fuel},
    {"max-time", true, set_max_time},
    {"mailbox", true, set_mailbox},
    {"module", true, add_module},
    {"engine", true, set_engine},
    {"workers", true, set_workers},
    {"no-cache", false, set_no_cache},
    {"bench", false, set_bench},
    {"help", false, set_help},
};

static const struct option *find_option(const char *name, size_t len)
{
    for (size_t i = 0; i < VIV_COUNT_OF(options_table); i++)
        if (strlen(options_table[i].name) == len && memcmp(options_table[i].name, name, len) == 0)
            return &options_table[i];
    return NULL;
}

// --dir also names a directory to open; run.c adds it to the policy.
static bool note_policy(struct viv_run_options *options, const char *name, const char *value)
{
    if (!viv_policy_options_know(name) || strcmp(name, "dir") == 0) return true;
    if (options->policy_count == VIV_RUN_POLICY_MAX)
        return bad_value(name, value != NULL ? value : "", "too many options");
    options->policy[options->policy_count++] = (struct viv_run_policy_option){name, value};
    return true;
}

// Parses the option at args[*index] and moves past it.
static bool parse_option(int count, char **args, int *index, struct viv_run_options *out)
{
    const char *name = args[*index] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
    const struct option *option = find_option(name, len);
    if (option == NULL) {
        (void)viv_cli_error(VIV_STATUS_USAGE,
                            "run: unknown option --%.*s (viv run --help lists them)",
                            (int)viv_min_u64(len, 60), name);
        return false;
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (!option->has_value && value != NULL)
        return bad_value(option->name, value, "takes no value");
    if (option->has_value && value == NULL) {
        if (*index + 1 == count) {
            (void)viv_cli_error(VIV_STATUS_USAGE, "run: --%s needs a value", option->name);
            return false;
        }
        value = args[++*index];
    }
    ++*index;
    return option->set(out, value) && note_policy(out, option->name, value);
}

bool viv_run_options_parse(int count, char **args, struct viv_run_options *out)
{
    *out = (struct viv_run_options){.mode = VIV_WASM_MANY};
    int index = 0;
    while (index < count && args[index][0] == '-' && args[index][1] != '\0') {
        if (strcmp(args[index], "-h") == 0) return out->help = true;
        if (args[index][1] != '-') {
            (void)viv_cli_error(VIV_STATUS_USAGE,
                                "run: unknown option " VIV_SHOWN
                                " (viv run --help lists them; a command goes behind --)",
                                args[index]);
            return false;
        }
        if (!parse_option(count, args, &index, out)) return false;
        if (out->help) return true;
    }
    if (index == count || args[index][0] == '\0') {
        (void)viv_cli_error(VIV_STATUS_USAGE,
                            "run: no FILE given (viv run [options] FILE.wasm [args])");
        return false;
    }
    out->file = args[index++];
    if (index < count && strcmp(args[index], "--") == 0) index++;
    out->args = args + index;
    out->arg_count = count - index;
    return true;
}
