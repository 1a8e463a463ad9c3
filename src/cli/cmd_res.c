// SPDX-License-Identifier: Apache-2.0
// `viv res`: what processes hold, as a table or a tree; `viv res audit`: what was denied and done.
#include "cli/ctl.h"
#include "cli/table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 12, TREE_DEPTH_MAX = 64 };

struct res {
    bool json, tree, orphans, audit, follow;
    const char *env, *kind;
    json_t *rows;    // of resources
    json_t *handles; // of --tree
};

// Calls take for each event of the request; it owns the value.
static enum viv_err each_event(struct viv_ctl_client *client, const char *verb,
                               VIV_OWN json_t *args,
                               enum viv_err (*take)(struct res *res, VIV_OWN json_t *value),
                               struct res *res, struct viv_diag *diag)
{
    uint32_t request;
    struct viv_frame frame;
    json_t *value;
    VIV_TRY(viv_ctl_client_call(client, verb, args, &request));
    for (;;) {
        VIV_TRY(viv_ctl_client_next(client, &frame));
        if (frame.type == VIV_FRAME_ERROR) return viv_ctl_client_error(&frame, diag);
        if (frame.type == VIV_FRAME_RESULT) return VIV_OK;
        if (frame.type != VIV_FRAME_EVENT) continue;
        VIV_TRY(viv_json_parse(frame.payload, frame.len, &value));
        VIV_TRY(take(res, value));
    }
}

// ---- resources ----

static enum viv_err take_row(struct res *res, VIV_OWN json_t *value)
{
    json_t *handle = json_object_get(value, "handle");
    if (json_is_object(handle) && !res->json) {
        viv_json_add(&res->handles, json_incref(handle));
        json_decref(value);
    } else {
        viv_json_add(&res->rows, value);
    }
    return res->rows != NULL && res->handles != NULL ? VIV_OK : VIV_E_EXHAUSTED;
}

// Where it is not as it should be, or not where one looks for it.
static const char *remarks(const json_t *row, char out[64])
{
    (void)snprintf(out, 64, "%s%s", viv_json_get_bool(row, "orphan") ? " orphan" : "",
                   viv_json_get_bool(row, "derived") ? " derived" : "");
    const uint64_t shares = viv_json_get_u64(row, "shares", 0);
    const size_t len = strlen(out);
    if (shares > 0) (void)snprintf(out + len, 64 - len, " shares:%" PRIu64, shares);
    return out[0] == ' ' ? out + 1 : NULL;
}

static enum viv_err add_row(struct viv_cli_table *table, const json_t *row)
{
    char holds[24], pins[24], bytes[16], age[16], remark[64];
    const char *label = viv_json_get_text(row, "label");
    (void)snprintf(holds, sizeof holds, "%" PRIu64, viv_json_get_u64(row, "holds", 0));
    (void)snprintf(pins, sizeof pins, "%" PRIu64, viv_json_get_u64(row, "pins", 0));
    const char *const cells[COLUMNS] = {
        viv_json_get_text(row, "rid"),
        viv_json_get_text(row, "kind"),
        viv_json_get_text(row, "phase"),
        viv_json_get_text(row, "pid"),
        viv_json_get_text(row, "owner"),
        viv_json_get_text(row, "parent"),
        holds,
        pins,
        viv_cli_bytes(viv_json_get_u64(row, "bytes", 0), bytes),
        viv_cli_age(viv_min_u64(viv_json_get_u64(row, "age_s", 0), UINT32_MAX) * 1000, age),
        remarks(row, remark),
        label != NULL && label[0] != '\0' ? label : NULL};
    return viv_cli_table_add(table, cells);
}

static enum viv_err print_rows(const struct res *res)
{
    static const char *const titles[COLUMNS] = {"RID",   "KIND", "PHASE", "PID", "OWNER",  "PARENT",
                                                "HOLDS", "PINS", "BYTES", "AGE", "REMARK", "LABEL"};
    struct viv_cli_table table;
    size_t i;
    json_t *row;
    viv_cli_table_init(&table, COLUMNS);
    enum viv_err err = viv_cli_table_add(&table, titles);
    json_array_foreach(res->rows, i, row) if (err == VIV_OK) err = add_row(&table, row);
    if (err == VIV_OK) viv_cli_table_print(&table);
    viv_cli_table_deinit(&table);
    return err;
}

// ---- the tree: children and what is owned below their parent, else owner; handles below theirs
// ----

static const char *above_of(const json_t *row)
{
    const char *parent = viv_json_get_text(row, "parent");
    return parent != NULL ? parent : viv_json_get_text(row, "owner");
}

static json_t *list_of(json_t *lists, const char *rid)
{
    json_t *list = json_object_get(lists, rid);
    if (list != NULL) return list;
    list = json_array();
    return json_object_set_new(lists, rid, list) == 0 ? list : NULL;
}

// rid -> what stands below it, "" -> the roots. NULL: out of memory.
static json_t *lists_of(const json_t *rows, const char *(*above)(const json_t *row))
{
    json_t *lists = json_object(), *known = json_object(), *row;
    size_t i;
    bool is_good = lists != NULL && known != NULL;
    json_array_foreach(rows, i, row)
    {
        const char *rid = viv_json_get_text(row, "rid");
        if (is_good && rid != NULL) is_good = json_object_set_new(known, rid, json_true()) == 0;
    }
    json_array_foreach(rows, i, row)
    {
        const char *rid = above(row);
        if (!is_good) break;
        json_t *list =
            list_of(lists, rid != NULL && json_object_get(known, rid) != NULL ? rid : "");
        is_good = list != NULL && json_array_append(list, row) == 0;
    }
    json_decref(known);
    if (is_good) return lists;
    json_decref(lists);
    return NULL;
}

static const char *rid_of(const json_t *handle)
{
    return viv_json_get_text(handle, "rid");
}

static void print_text(const json_t *object, const char *name, const char *before)
{
    const char *text = viv_json_get_text(object, name);
    if (text == NULL || text[0] == '\0') return;
    (void)printf("%s", before);
    viv_cli_print_escaped(text, 0);
}

static void print_handle(const json_t *handle, int indent)
{
    size_t i;
    json_t *right;
    (void)printf("%*s- handle %" PRIu64, indent, "", viv_json_get_u64(handle, "handle", 0));
    print_text(handle, "pid", " of ");
    (void)printf(", depth %" PRIu64, viv_json_get_u64(handle, "depth", 0));
    print_text(handle, "state", ", ");
    (void)printf(":");
    json_array_foreach(json_object_get(handle, "rights"), i, right)(void)
        printf(" %s", json_string_value(right));
    (void)printf("\n");
}

struct tree {
    const json_t *below, *handles; // by rid
};

// At most as deep as TREE_DEPTH_MAX; relations of the registry are half as deep.
static void print_below(const struct tree *tree, const char *rid,
                        int depth) // NOLINT(misc-no-recursion)
{
    size_t i, k;
    json_t *row, *handle;
    char remark[64];
    json_array_foreach(json_object_get(tree->below, rid), i, row)
    {
        const char *own = viv_json_get_text(row, "rid");
        const char *text = remarks(row, remark);
        (void)printf("%*s%s", 2 * depth, "", own != NULL ? own : "?");
        print_text(row, "kind", " ");
        print_text(row, "label", " ");
        if (viv_json_get_text(row, "kind") != NULL &&
            strcmp(viv_json_get_text(row, "kind"), "process") == 0)
            print_text(row, "pid", " ");
        (void)printf("%s%s\n", text != NULL ? ", " : "", text != NULL ? text : "");
        if (own == NULL || depth >= TREE_DEPTH_MAX) continue;
        json_array_foreach(json_object_get(tree->handles, own), k, handle)
            print_handle(handle, 2 * depth + 2);
        print_below(tree, own, depth + 1);
    }
}

static enum viv_err print_tree(const struct res *res)
{
    json_t *below = lists_of(res->rows, above_of), *handles = json_object(), *handle;
    size_t i;
    enum viv_err err = below != NULL && handles != NULL ? VIV_OK : VIV_E_EXHAUSTED;
    json_array_foreach(res->handles, i, handle)
    {
        const char *rid = rid_of(handle);
        json_t *list = err == VIV_OK && rid != NULL ? list_of(handles, rid) : NULL;
        if (list == NULL || json_array_append(list, handle) != 0) err = VIV_E_EXHAUSTED;
    }
    if (err == VIV_OK) print_below(&(struct tree){below, handles}, "", 0);
    json_decref(below);
    json_decref(handles);
    return err;
}

static enum viv_err list(struct res *res, struct viv_ctl_client *client, const char *ref,
                         struct viv_diag *diag)
{
    json_t *args = json_object();
    if (ref != NULL) viv_json_put(&args, "ref", json_string(ref));
    if (res->kind != NULL) viv_json_put(&args, "kind", json_string(res->kind));
    if (res->env != NULL)
        viv_json_put(&args, "env", json_integer((json_int_t)strtoull(res->env, NULL, 10)));
    viv_json_put(&args, "orphans", json_boolean(res->orphans));
    viv_json_put(&args, "handles", json_boolean(res->tree));
    if (args == NULL) return VIV_E_EXHAUSTED;
    VIV_TRY(each_event(client, "res", args, take_row, res, diag));
    if (res->json) return viv_cli_print_json(res->rows) ? VIV_OK : VIV_E_IO;
    return res->tree ? print_tree(res) : print_rows(res);
}

// ---- audit ----

static enum viv_err take_audit(struct res *res, VIV_OWN json_t *value)
{
    enum viv_err err = VIV_OK;
    if (res->json) {
        err = viv_cli_print_json(value) ? VIV_OK : VIV_E_IO;
    } else {
        static const char *const names[] = {"event",     "pid",    "class",
                                            "operation", "object", "outcome"};
        (void)printf("%8" PRIu64, viv_json_get_u64(value, "seq", 0));
        for (size_t i = 0; i < VIV_COUNT_OF(names); i++)
            print_text(value, names[i], " ");
        const uint64_t count = viv_json_get_u64(value, "count", 1);
        if (count > 1) (void)printf(" ×%" PRIu64, count);
        (void)printf("\n");
        (void)fflush(stdout);
    }
    json_decref(value);
    return err;
}

static enum viv_err audit(struct res *res, struct viv_ctl_client *client, struct viv_diag *diag)
{
    json_t *args = json_object();
    viv_json_put(&args, "follow", json_boolean(res->follow));
    if (args == NULL) return VIV_E_EXHAUSTED;
    return each_event(client, "audit", args, take_audit, res, diag);
}

// ---- the command ----

static bool is_number(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789") == strlen(text) && strlen(text) < 10;
}

static int run(struct res *res, const char *ref)
{
    int status;
    struct viv_diag diag = {""};
    struct viv_ctl_client *client = viv_cli_connect("res", false, &status);
    if (client == NULL) return status;
    const enum viv_err err = res->audit ? audit(res, client, &diag) : list(res, client, ref, &diag);
    viv_ctl_client_close(client);
    if (err == VIV_OK) return VIV_STATUS_OK;
    if (err == VIV_E_IO) return VIV_STATUS_FAILED; // has been told
    if (err == VIV_E_INVAL && strcmp(diag.text, "kind") == 0)
        return viv_cli_error(VIV_STATUS_USAGE, "res: no kind " VIV_SHOWN " (viv help res)",
                             res->kind);
    if (err == VIV_E_NOTFOUND && strcmp(diag.text, "env") == 0)
        return viv_cli_error(VIV_STATUS_FAILED, "res: no environment " VIV_SHOWN, res->env);
    if (err == VIV_E_NOTFOUND)
        return viv_cli_error(VIV_STATUS_FAILED,
                             "res " VIV_SHOWN ": no such process (viv res --kind process)", ref);
    return viv_cli_failed("res", ref != NULL ? ref : "", err, &diag);
}

int viv_cli_res(int count, char **args)
{
    struct res res = {0};
    const struct viv_cli_option table[] = {
        {"json", 0, VIV_CLI_FLAG, &res.json},       {"tree", 0, VIV_CLI_FLAG, &res.tree},
        {"orphans", 0, VIV_CLI_FLAG, &res.orphans}, {"follow", 'f', VIV_CLI_FLAG, &res.follow},
        {"env", 0, VIV_CLI_TEXT, &res.env},         {"kind", 0, VIV_CLI_TEXT, &res.kind}};
    const struct viv_cli_command command = {"res", table, VIV_COUNT_OF(table),
                                            0,     1,     "one REF, or audit"};
    const int words = viv_cli_parse_args(&command, count, args);
    if (words < 0) return VIV_STATUS_USAGE;
    res.audit = words == 1 && strcmp(args[0], "audit") == 0;
    if (res.follow && !res.audit)
        return viv_cli_error(VIV_STATUS_USAGE, "res: -f is of `viv res audit` (viv help res)");
    if (res.audit && (res.tree || res.orphans || res.env != NULL || res.kind != NULL))
        return viv_cli_error(VIV_STATUS_USAGE, "res audit: takes -f and --json (viv help res)");
    if (res.env != NULL && !is_number(res.env))
        return viv_cli_error(VIV_STATUS_USAGE, "res: --env wants a number, not " VIV_SHOWN,
                             res.env);
    res.rows = json_array();
    res.handles = json_array();
    const int status = run(&res, words == 1 ? args[0] : NULL);
    json_decref(res.rows);
    json_decref(res.handles);
    return status;
}
