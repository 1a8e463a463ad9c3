// SPDX-License-Identifier: Apache-2.0
// Connecting, errors and output of the commands that talk to the daemon.
#include "cli/ctl.h"

#include "base/text.h"
#include "ctl/daemon.h"
#include "native/label.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { STATUS_TIMEOUT = 124 };

struct viv_ctl_client *viv_cli_connect(const char *command, bool start, int *out_status)
{
    struct viv_ctl_client *client;
    struct viv_diag diag = {""};
    const enum viv_err err =
        viv_ctl_connect(start ? VIV_CTL_START : VIV_CTL_FIND_HELD, &client, &diag);
    if (err == VIV_OK) return client;
    if (err == VIV_E_NOTFOUND && diag.text[0] == '\0')
        *out_status = viv_cli_error(
            VIV_STATUS_FAILED, "%s: no daemon runs (viv run -d -- COMMAND starts it)", command);
    else
        *out_status = viv_cli_error(VIV_STATUS_FAILED, "%s: %s", command,
                                    diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    return NULL;
}

int viv_cli_failed(const char *command, const char *ref, enum viv_err err,
                   const struct viv_diag *diag)
{
    if (err == VIV_E_CLOSED)
        return viv_cli_error(VIV_STATUS_FAILED,
                             "%s " VIV_SHOWN ": the daemon has ended, with its programs", command,
                             ref);
    if (err == VIV_E_CANCELLED)
        return viv_cli_error(VIV_STATUS_FAILED, "%s " VIV_SHOWN ": the daemon ends", command, ref);
    if (err == VIV_E_NOTFOUND)
        return viv_cli_error(VIV_STATUS_FAILED,
                             "%s " VIV_SHOWN ": no such program (viv ps -a lists them)", command,
                             ref);
    if (err == VIV_E_TIMEOUT)
        return viv_cli_error(STATUS_TIMEOUT, "%s " VIV_SHOWN ": timed out; it goes on", command,
                             ref);
    if (err == VIV_E_STATE)
        return viv_cli_error(VIV_STATUS_FAILED, "%s " VIV_SHOWN ": it runs (viv stop ends it)",
                             command, ref);
    if (err == VIV_E_EXISTS)
        return viv_cli_error(VIV_STATUS_FAILED,
                             "%s " VIV_SHOWN ": several programs have it (viv ps shows their pids)",
                             command, ref);
    if (err == VIV_E_INVAL && strcmp(diag->text, "ref") == 0)
        return viv_cli_error(
            VIV_STATUS_USAGE,
            "%s " VIV_SHOWN ": want a pid, #N, key:K or label:L (viv ps lists them)", command, ref);
    const bool has_detail = diag->text[0] != '\0';
    return viv_cli_error(VIV_STATUS_FAILED, "%s " VIV_SHOWN ": %s%s%s%s", command, ref,
                         viv_err_text(err), has_detail ? " (" : "", diag->text,
                         has_detail ? ")" : "");
}

void viv_cli_tell_gap(const char *command, const json_t *gap)
{
    const char *stream = viv_json_get_text(gap, "stream");
    const uint64_t bytes =
        viv_json_get_u64(gap, "evicted", 0) + viv_json_get_u64(gap, "drained", 0);
    (void)fflush(stdout);
    (void)viv_cli_error(0, "%s: %llu bytes of %s are gone (--ring of viv run keeps more)", command,
                        (unsigned long long)bytes,
                        stream != NULL && strcmp(stream, "err") == 0 ? "stderr" : "stdout");
}

json_t *viv_cli_ref_args(const char *ref)
{
    json_t *args = json_object();
    viv_json_put(&args, "ref", json_string(ref)); // not UTF-8: no program has such a name
    return args != NULL ? args : json_object();
}

bool viv_cli_print_json(const json_t *value)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CLI);
    enum viv_err err = viv_json_write(value, &buf);
    if (err == VIV_OK) err = viv_buf_append(&buf, "\n", 1);
    const bool is_good = err == VIV_OK &&
                         fwrite(buf.data, 1, buf.len_bytes, stdout) == buf.len_bytes &&
                         fflush(stdout) == 0;
    if (!is_good)
        (void)viv_cli_error(VIV_STATUS_FAILED, "cannot write to standard output: %s",
                            err != VIV_OK ? viv_err_text(err) : strerror(errno));
    viv_buf_deinit(&buf);
    return is_good;
}

void viv_cli_print_escaped(const char *text, int width)
{
    struct viv_buf buf;
    viv_buf_init(&buf, VIV_TAG_CLI);
    if (viv_label_escape(&buf, text, strlen(text)) == VIV_OK)
        (void)printf("%-*.*s", width, (int)buf.len_bytes, (const char *)buf.data);
    viv_buf_deinit(&buf);
}

const char *viv_cli_age(uint64_t ms, char out[16])
{
    const uint64_t s = ms / 1000;
    if (s < 120)
        (void)snprintf(out, 16, "%us", (unsigned)s);
    else if (s < UINT64_C(7200))
        (void)snprintf(out, 16, "%um", (unsigned)(s / 60));
    else if (s < UINT64_C(48) * 3600)
        (void)snprintf(out, 16, "%uh", (unsigned)(s / 3600));
    else
        (void)snprintf(out, 16, "%llud", (unsigned long long)(s / 86400));
    return out;
}

const char *viv_cli_bytes(uint64_t bytes, char out[16])
{
    static const char units[] = "BKMGT";
    int unit = 0;
    for (; bytes >= 10240 && unit < 4; unit++)
        bytes /= 1024;
    (void)snprintf(out, 16, "%llu%c", (unsigned long long)bytes, units[unit]);
    if (unit == 0) out[strlen(out) - 1] = '\0';
    return out;
}
