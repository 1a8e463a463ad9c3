// SPDX-License-Identifier: Apache-2.0
// `viv ps` and `viv info`: what there is, and all that is known of one.
#include "cli/ctl.h"
#include "cli/table.h"

#include "ctl/daemon.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { COLUMNS = 11 };

// ---- the table ----

static const char *const titles[COLUMNS] = {"PID", "NUM",  "PHASE",   "READY", "AGE",    "CPU",
                                            "MEM", "DROP", "SANDBOX", "LABEL", "COMMAND"};

static uint64_t dropped(const json_t *program)
{
    return viv_json_get_u64(json_object_get(program, "stdout"), "evicted", 0) +
           viv_json_get_u64(json_object_get(program, "stderr"), "evicted", 0);
}

// Not as strict as it was asked for.
static bool is_weak(const json_t *program)
{
    return json_array_size(json_object_get(program, "weak")) > 0 ||
           json_array_size(json_object_get(program, "left_out")) > 0 ||
           viv_json_get_bool(program, "unkillable");
}

static enum viv_err add_program(struct viv_cli_table *table, const json_t *program)
{
    char number[24], age[16] = "-", cpu[16] = "-", mem[16] = "-", drop[16] = "-", sandbox[32];
    const bool is_ours = json_is_string(json_object_get(program, "pid")); // else little is known
    const json_t *cpu_ms = json_object_get(program, "cpu_ms");
    const json_t *bytes = json_object_get(program, "mem_bytes");
    const char *level = viv_json_get_text(program, "sandbox");
    (void)snprintf(number, sizeof number, "#%llu",
                   (unsigned long long)viv_json_get_u64(program, "number", 0));
    if (json_is_integer(cpu_ms))
        (void)snprintf(cpu, sizeof cpu, "%.2fs", (double)json_integer_value(cpu_ms) / 1000);
    if (json_is_integer(bytes)) (void)viv_cli_bytes((uint64_t)json_integer_value(bytes), mem);
    (void)snprintf(sandbox, sizeof sandbox, "%s%s", level != NULL ? level : "-",
                   is_weak(program) ? "!" : "");
    if (is_ours) (void)viv_cli_age(viv_json_get_u64(program, "age_ms", 0), age);
    if (is_ours) (void)viv_cli_bytes(dropped(program), drop);
    const char *ready = !is_ours ? "-" : viv_json_get_bool(program, "ready") ? "yes" : "no";
    const char *const cells[COLUMNS] = {viv_json_get_text(program, "pid"),
                                        number,
                                        viv_json_get_text(program, "phase"),
                                        ready,
                                        age,
                                        cpu,
                                        mem,
                                        drop,
                                        sandbox,
                                        viv_json_get_text(program, "label"),
                                        viv_json_get_text(program, "command")};
    return viv_cli_table_add(table, cells);
}

// ---- ps ----

struct ps {
    struct viv_cli_table table;
    json_t *array; // with --json
    bool all, json;
};

static enum viv_err take_program(struct ps *ps, const struct viv_frame *frame)
{
    json_t *program;
    VIV_TRY(viv_json_parse(frame->payload, frame->len, &program));
    if (ps->json) {
        viv_json_add(&ps->array, program);
        return ps->array != NULL ? VIV_OK : VIV_E_EXHAUSTED;
    }
    const enum viv_err err = add_program(&ps->table, program);
    json_decref(program);
    return err;
}

static enum viv_err list(struct ps *ps, struct viv_ctl_client *client)
{
    uint32_t request;
    struct viv_frame frame;
    json_t *args = json_object();
    viv_json_put(&args, "all", json_boolean(ps->all));
    VIV_TRY(viv_ctl_client_call(client, "list", args, &request));
    for (;;) {
        VIV_TRY(viv_ctl_client_next(client, &frame));
        if (frame.type == VIV_FRAME_ERROR) return viv_ctl_client_error(&frame, NULL);
        if (frame.type == VIV_FRAME_RESULT) return VIV_OK;
        if (frame.type == VIV_FRAME_EVENT) VIV_TRY(take_program(ps, &frame));
    }
}

// Without a daemon there are no programs.
static enum viv_err list_all(struct ps *ps, struct viv_diag *diag)
{
    struct viv_ctl_client *client;
    enum viv_err err = viv_ctl_connect(VIV_CTL_FIND_HELD, &client, diag);
    if (err == VIV_E_NOTFOUND) return VIV_OK;
    if (err != VIV_OK) return err;
    err = list(ps, client);
    viv_ctl_client_close(client);
    return err;
}

int viv_cli_ps(int count, char **args)
{
    struct ps ps = {.array = json_array()};
    struct viv_diag diag = {""};
    const struct viv_cli_option table[] = {{"all", 'a', VIV_CLI_FLAG, &ps.all},
                                           {"json", 0, VIV_CLI_FLAG, &ps.json}};
    const struct viv_cli_command command = {"ps", table, VIV_COUNT_OF(table), 0, 0, "no words"};
    if (viv_cli_parse_args(&command, count, args) < 0) return VIV_STATUS_USAGE;
    viv_cli_table_init(&ps.table, COLUMNS);
    int status = VIV_STATUS_OK;
    enum viv_err err = viv_cli_table_add(&ps.table, titles);
    if (err == VIV_OK) err = list_all(&ps, &diag);
    if (err != VIV_OK)
        status = viv_cli_error(VIV_STATUS_FAILED, "ps: %s",
                               diag.text[0] != '\0' ? diag.text : viv_err_text(err));
    else if (ps.json)
        status = viv_cli_print_json(ps.array) ? VIV_STATUS_OK : VIV_STATUS_FAILED;
    else
        viv_cli_table_print(&ps.table);
    viv_cli_table_deinit(&ps.table);
    json_decref(ps.array);
    return status;
}

// ---- info ----

static void print_value(const char *name, json_t *value, int indent);

static void print_members(json_t *object, int indent)
{
    const char *name;
    json_t *value;
    json_object_foreach(object, name, value) print_value(name, value, indent);
}

static void print_objects(const json_t *array, int indent)
{
    size_t i;
    json_t *object;
    json_array_foreach(array, i, object)
    {
        (void)printf("\n%*s-\n", indent, "");
        print_members(object, indent + 2);
    }
}

static void print_value(const char *name, json_t *value, int indent)
{
    (void)printf("%*s%-*s ", indent, "", 19 - indent, name);
    if (json_is_object(value)) {
        (void)printf("\n");
        print_members(value, indent + 2); // as deep as what the daemon tells
        return;
    }
    if (json_is_string(value))
        viv_cli_print_escaped(json_string_value(value), 0);
    else if (json_is_integer(value))
        (void)printf("%lld", (long long)json_integer_value(value));
    else if (json_is_boolean(value))
        (void)printf("%s", json_is_true(value) ? "yes" : "no");
    else if (json_is_array(value) && json_is_object(json_array_get(value, 0)))
        print_objects(value, indent + 2);
    else if (json_is_array(value))
        for (size_t i = 0; i < json_array_size(value); i++) {
            const char *text = json_string_value(json_array_get(value, i));
            (void)printf("%s", i > 0 ? " " : "");
            viv_cli_print_escaped(text != NULL ? text : "?", 0);
        }
    else
        (void)printf("-");
    (void)printf("\n");
}

int viv_cli_info(int count, char **args)
{
    bool json = false, native = false;
    int status;
    struct viv_diag diag = {""};
    json_t *value;
    const struct viv_cli_option table[] = {{"json", 0, VIV_CLI_FLAG, &json},
                                           {"native", 0, VIV_CLI_FLAG, &native}};
    const struct viv_cli_command command = {"info", table, VIV_COUNT_OF(table),
                                            0,      1,     "one REF, or --native"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    if ((words == 1) == native)
        return viv_cli_error(VIV_STATUS_USAGE, "info: want one REF, or --native (viv help info)");
    struct viv_ctl_client *client = viv_cli_connect("info", native, &status);
    if (client == NULL) return status;
    const enum viv_err err =
        viv_ctl_client_ask(client, native ? "native" : "info",
                           native ? NULL : viv_cli_ref_args(args[0]), &value, &diag);
    viv_ctl_client_close(client);
    if (err != VIV_OK) return viv_cli_failed("info", native ? "--native" : args[0], err, &diag);
    if (json)
        status = viv_cli_print_json(value) ? VIV_STATUS_OK : VIV_STATUS_FAILED;
    else
        print_members(value, 0);
    json_decref(value);
    return json ? status : VIV_STATUS_OK;
}
