// SPDX-License-Identifier: Apache-2.0
// Help texts of the commands on durable processes.
#ifndef VIV_CLI_HELP_JOB_H
#define VIV_CLI_HELP_JOB_H

extern const char viv_help_job[], viv_help_store[], viv_help_worker[];

#endif
