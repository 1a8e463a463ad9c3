// SPDX-License-Identifier: Apache-2.0
// `viv run -d … -- COMMAND`: the request is this command's, the program is the daemon's.
#include "cli/ctl.h"
#include "cli/exec.h"
#include "native/block.h"

#include <stdio.h>
#include <string.h>

static bool check(const struct viv_exec_options *options)
{
    const uint64_t survive = UINT64_C(1) << VIV_NATIVE_KEY_SURVIVE % 64;
    struct viv_block_walk walk;
    struct viv_block_record record;
    if (options->policy_count > 0 || options->audit != NULL) {
        (void)viv_cli_error(VIV_STATUS_USAGE,
                            "run: -d with a policy or an audit file: the daemon's programs are "
                            "yours, and may do what you may (leave -d out)");
        return false;
    }
    if ((options->given[VIV_NATIVE_KEY_SURVIVE / 64] & survive) == 0 ||
        viv_block_open(&walk, options->block.data, options->block.len_bytes) != VIV_OK)
        return true;
    while (viv_block_next(&walk, &record) == VIV_OK)
        if (record.key == VIV_NATIVE_KEY_SURVIVE && record.len == 4 &&
            record.data[0] == VIV_NATIVE_SURVIVE_OWNER) {
            (void)viv_cli_error(VIV_STATUS_USAGE, "run: -d with --survive owner: this command "
                                                  "would be the owner (want env)");
            return false;
        }
    return true;
}

static int print(const struct viv_exec_options *options, const json_t *value)
{
    if (options->json) return viv_cli_print_json(value) ? VIV_STATUS_OK : VIV_STATUS_FAILED;
    const char *pid = viv_json_get_text(value, "pid");
    const bool is_good = printf("%s\n", pid != NULL ? pid : "?") > 0 && fflush(stdout) == 0;
    return is_good ? VIV_STATUS_OK
                   : viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output");
}

int viv_cli_exec_detached(struct viv_exec_options *options)
{
    int status;
    struct viv_diag diag = {""};
    json_t *value;
    uint32_t request;
    viv_block_finish(&options->block);
    if (!check(options)) return VIV_STATUS_USAGE;
    enum viv_err err = viv_exec_options_add_caller(options);
    if (err != VIV_OK)
        return viv_cli_error(VIV_STATUS_FAILED, "cannot start: %s", viv_err_text(err));
    struct viv_ctl_client *client = viv_cli_connect("run", true, &status);
    if (client == NULL) return status;
    err = viv_ctl_client_call(client, "run", NULL, &request);
    if (err == VIV_OK)
        err = viv_ctl_client_upload(client, request, options->block.data, options->block.len_bytes);
    if (err == VIV_OK) err = viv_ctl_client_answer(client, request, &value, &diag);
    if (err == VIV_OK) {
        status = print(options, value);
        json_decref(value);
    } else if (err == VIV_E_CLOSED || err == VIV_E_CANCELLED) {
        status = viv_cli_failed("run", options->command, err, &diag);
    } else {
        status = viv_cli_spawn_failed(options, err, &diag);
    }
    viv_ctl_client_close(client);
    return status;
}
