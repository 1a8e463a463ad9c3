// SPDX-License-Identifier: Apache-2.0
// Parses `--name value`, `--name=value`, `-x value` and `-xvalue`.
#include "cli/args.h"

#include "base/text.h"
#include "cli/cli.h"
#include <string.h>

static const struct viv_cli_option *find(const struct viv_cli_command *command, const char *word,
                                         const char **out_value)
{
    *out_value = NULL;
    for (size_t i = 0; i < command->option_count; i++) {
        const struct viv_cli_option *option = &command->options[i];
        const size_t len = strlen(option->name);
        if (word[1] == '-' && strncmp(word + 2, option->name, len) == 0) {
            if (word[2 + len] == '=') *out_value = word + 3 + len;
            if (word[2 + len] == '\0' || word[2 + len] == '=') return option;
        }
        if (word[1] != '-' && option->letter != 0 && word[1] == option->letter) {
            if (word[2] != '\0') *out_value = word + 2;
            return option;
        }
    }
    return NULL;
}

static bool refuse(const struct viv_cli_command *command, const char *word, const char *why)
{
    (void)viv_cli_error(VIV_STATUS_USAGE, "%s: " VIV_SHOWN ": %s (viv help %s lists options)",
                        command->name, word, why, command->name);
    return false;
}

static bool store(const struct viv_cli_command *command, const struct viv_cli_option *option,
                  const char *value)
{
    uint64_t *number = option->out;
    switch (option->form) {
    case VIV_CLI_FLAG:
        *(bool *)option->out = true;
        return true;
    case VIV_CLI_TEXT:
        *(const char **)option->out = value;
        return true;
    case VIV_CLI_LIST: {
        struct viv_cli_list *list = option->out;
        if (list->count == VIV_CLI_LIST_MAX) return refuse(command, value, "one too many");
        list->items[list->count++] = value;
        return true;
    }
    case VIV_CLI_COUNT:
        return viv_parse_u64(value, number) == VIV_OK || refuse(command, value, "want a number");
    case VIV_CLI_DURATION:
        if (strcmp(value, "none") == 0) {
            *number = VIV_FOREVER_NS;
            return true;
        }
        return viv_parse_duration(value, number) == VIV_OK ||
               refuse(command, value, "want a duration such as 500ms, 10s, 2m");
    }
    return false;
}

int viv_cli_parse_args(const struct viv_cli_command *command, int count, char **args)
{
    int words = 0;
    bool is_over = false;
    for (int i = 0; i < count; i++) {
        const char *value;
        if (is_over || args[i][0] != '-' || args[i][1] == '\0') {
            args[words++] = args[i];
            continue;
        }
        if (strcmp(args[i], "--") == 0) {
            is_over = true;
            continue;
        }
        const struct viv_cli_option *option = find(command, args[i], &value);
        const char *word = args[i];
        if (option == NULL) return refuse(command, word, "unknown option") - 1;
        const bool has_value = option->form != VIV_CLI_FLAG;
        if (!has_value && value != NULL) return refuse(command, word, "takes no value") - 1;
        if (has_value && value == NULL) {
            if (i + 1 == count) return refuse(command, word, "needs a value") - 1;
            value = args[++i];
        }
        if (!store(command, option, value)) return -1;
    }
    const bool is_good =
        words >= command->word_min && (command->word_max < 0 || words <= command->word_max);
    if (is_good) return words;
    (void)viv_cli_error(VIV_STATUS_USAGE, "%s: want %s (viv help %s)", command->name,
                        command->words, command->name);
    return -1;
}
