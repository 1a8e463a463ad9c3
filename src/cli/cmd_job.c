// SPDX-License-Identifier: Apache-2.0
// `viv job`: finds the subcommand. All of them use the store directly; no daemon is asked.
#include "cli/cmd_job.h"

#include "base/defs.h"
#include "cli/job.h"
#include <string.h>

static const struct {
    const char *name;
    int (*run)(int count, char **args);
} subcommands[] = {{"start", viv_job_start},     {"list", viv_job_list},
                   {"show", viv_job_show},       {"events", viv_job_events},
                   {"await", viv_job_await},     {"signal", viv_job_signal},
                   {"cancel", viv_job_cancel},   {"complete", viv_job_complete},
                   {"abandon", viv_job_abandon}, {"grant", viv_job_grant},
                   {"prune", viv_job_prune},     {"scope-delete", viv_job_scope_delete},
                   {"changes", viv_job_changes}, {"step", viv_job_step}};

int viv_cli_job(int count, char **args)
{
    if (count == 0)
        return viv_cli_error(VIV_STATUS_USAGE, "job: want start, list, … (viv help job)");
    for (size_t i = 0; i < VIV_COUNT_OF(subcommands); i++) {
        if (strcmp(args[0], subcommands[i].name) != 0) continue;
        if (count > 1 && (strcmp(args[1], "--help") == 0 || strcmp(args[1], "-h") == 0))
            return viv_cli_print_help("job");
        return subcommands[i].run(count - 1, args + 1);
    }
    return viv_cli_error(VIV_STATUS_USAGE, "job: no subcommand " VIV_SHOWN " (viv help job)",
                         args[0]);
}
