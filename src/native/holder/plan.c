// SPDX-License-Identifier: Apache-2.0
// Encoding and decoding of plans. One list of fields, `walk_plan`, serves both: it is given a pass
// that either appends each field or reads it, so the two cannot disagree.
//
//   number: 8 bytes     string: length (8 bytes), bytes, NUL     list: count, elements
#include "native/holder/plan.h"
#include "base/assert.h"
#include "base/limits.h"
#include <sched.h>
#include <string.h>

struct pass {
    struct viv_buf *out; // encoding
    const uint8_t *at;   // decoding
    size_t left;
    enum viv_err err; // the first; nothing happens after it
};

// ---------------------------------------------------------------------------------------- fields

static void refuse(struct pass *pass)
{
    if (pass->err == VIV_OK) pass->err = VIV_E_INVAL;
}

static void walk_raw(struct pass *pass, void *bytes, size_t len)
{
    if (pass->err != VIV_OK) return;
    if (pass->out != NULL) {
        pass->err = viv_buf_append(pass->out, bytes, len);
    } else if (len > pass->left) {
        refuse(pass);
    } else {
        memcpy(bytes, pass->at, len);
        pass->at += len;
        pass->left -= len;
    }
}

// A number that is at most `most`.
static uint64_t walk_number(struct pass *pass, uint64_t value, uint64_t most)
{
    VIV_ASSERT(pass->out == NULL || value <= most);
    walk_raw(pass, &value, sizeof value);
    if (pass->err == VIV_OK && value > most) refuse(pass);
    return pass->err == VIV_OK ? value : 0;
}

static void walk_u64(struct pass *pass, uint64_t *value)
{
    *value = walk_number(pass, *value, UINT64_MAX);
}
static void walk_u32(struct pass *pass, uint32_t *value, uint32_t most)
{
    *value = (uint32_t)walk_number(pass, *value, most);
}
static void walk_u16(struct pass *pass, uint16_t *value)
{
    *value = (uint16_t)walk_number(pass, *value, UINT16_MAX);
}
static void walk_bool(struct pass *pass, bool *value)
{
    *value = walk_number(pass, *value, 1) != 0;
}

static void walk_string(struct pass *pass, const char **text)
{
    static const char nul = '\0';
    const bool encodes = pass->out != NULL;
    const uint64_t len = walk_number(pass, encodes ? strlen(*text) : 0, VIV_PLAN_BYTES_MAX);
    if (!encodes) *text = "";
    if (pass->err != VIV_OK) return;
    if (encodes) {
        pass->err = viv_buf_append(pass->out, *text, len);
        if (pass->err == VIV_OK) pass->err = viv_buf_append(pass->out, &nul, 1);
        return;
    }
    if (len >= pass->left || memchr(pass->at, '\0', len + 1) != pass->at + len) {
        refuse(pass);
        return;
    }
    *text = (const char *)pass->at;
    pass->at += len + 1;
    pass->left -= len + 1;
}

// ----------------------------------------------------------------------------------------- lists

static void walk_step(struct pass *pass, struct viv_view_step *step)
{
    step->op = (enum viv_view_op)walk_number(pass, (uint64_t)step->op, VIV_VIEW_OPS - 1);
    walk_bool(pass, &step->may_miss);
    walk_u64(pass, &step->attrs);
    walk_u64(pass, &step->device);
    walk_u64(pass, &step->inode);
    walk_u64(pass, &step->number);
    walk_u32(pass, &step->mode, UINT32_MAX);
    walk_string(pass, &step->source);
    walk_string(pass, &step->target);
}

static void walk_filter(struct pass *pass, struct viv_plan *plan)
{
    plan->filter_length = (uint16_t)walk_number(pass, plan->filter_length, VIV_PLAN_FILTER_MAX);
    const size_t bytes = plan->filter_length * sizeof *plan->filter;
    if (pass->err != VIV_OK || bytes == 0) {
        if (pass->out == NULL) plan->filter = NULL;
        return;
    }
    if (pass->out != NULL) {
        pass->err = viv_buf_append(pass->out, plan->filter, bytes);
        return;
    }
    if (bytes > pass->left) {
        refuse(pass);
        return;
    }
    plan->filter = (const void *)pass->at; // Linux copies it byte by byte
    pass->at += bytes;
    pass->left -= bytes;
}

// `list` has room for *count pointers and a NULL; decoding allocates it.
static void walk_strings(struct pass *pass, uint32_t *count, const char ***list, uint32_t most)
{
    walk_u32(pass, count, most);
    if (pass->out == NULL) {
        *list = NULL;
        if (pass->err != VIV_OK) return;
        *list = viv_try_calloc((size_t)*count + 1, sizeof **list, VIV_TAG_NATIVE);
        if (*list == NULL) pass->err = VIV_E_EXHAUSTED;
    }
    for (uint32_t i = 0; i < *count && pass->err == VIV_OK; i++)
        walk_string(pass, &(*list)[i]);
}

static void walk_confinement(struct pass *pass, struct viv_plan *plan)
{
    walk_u64(pass, &plan->landlock.files);
    walk_u64(pass, &plan->landlock.ports);
    walk_u64(pass, &plan->landlock.scoped);
    walk_u32(pass, &plan->rule_count, VIV_PLAN_RULES_MAX);
    for (uint32_t i = 0; i < plan->rule_count && pass->err == VIV_OK; i++) {
        walk_string(pass, &plan->rules[i].path);
        walk_u64(pass, &plan->rules[i].rights);
    }
    walk_u32(pass, &plan->port_count, VIV_PLAN_PORTS_MAX);
    for (uint32_t i = 0; i < plan->port_count && pass->err == VIV_OK; i++) {
        walk_u16(pass, &plan->ports[i].port);
        walk_u64(pass, &plan->ports[i].rights);
    }
    walk_filter(pass, plan);
}

static void walk_leader(struct pass *pass, struct viv_plan *plan)
{
    walk_bool(pass, &plan->is_gated);
    walk_bool(pass, &plan->outlives);
    walk_bool(pass, &plan->lingers);
    walk_bool(pass, &plan->gains);
    walk_bool(pass, &plan->has_ready_fd);
    walk_bool(pass, &plan->controls_tty);
    walk_bool(pass, &plan->has_pty);
    walk_bool(pass, &plan->pty_is_raw);
    walk_u16(pass, &plan->rows);
    walk_u16(pass, &plan->cols);
    walk_u64(pass, &plan->deadman_ns);
    walk_u32(pass, &plan->umask, 0777);
    plan->nice = (int32_t)walk_number(pass, (uint64_t)plan->nice, 19);
    walk_u32(pass, &plan->limit_count, VIV_PLAN_LIMITS_MAX);
    for (uint32_t i = 0; i < plan->limit_count && pass->err == VIV_OK; i++) {
        walk_u32(pass, &plan->limits[i].resource, UINT32_MAX);
        walk_u64(pass, &plan->limits[i].soft);
        walk_u64(pass, &plan->limits[i].hard);
    }
    walk_string(pass, &plan->path);
    walk_string(pass, &plan->cwd);
    walk_strings(pass, &plan->arg_count, &plan->argv, VIV_PLAN_ARGS_MAX);
    walk_strings(pass, &plan->env_count, &plan->envp, VIV_PLAN_ENV_MAX);
}

static void walk_plan(struct pass *pass, struct viv_plan *plan)
{
    plan->rung = (enum viv_rung)walk_number(pass, (uint64_t)plan->rung, VIV_RUNG_TREE);
    walk_u64(pass, &plan->namespaces);
    walk_bool(pass, &plan->has_user);
    walk_u32(pass, &plan->uid, UINT32_MAX);
    walk_u32(pass, &plan->gid, UINT32_MAX);
    walk_u32(pass, &plan->group_count, VIV_PLAN_GROUPS_MAX);
    for (uint32_t i = 0; i < plan->group_count && pass->err == VIV_OK; i++)
        walk_u32(pass, &plan->groups[i], UINT32_MAX);
    walk_bool(pass, &plan->is_probe);
    walk_bool(pass, &plan->raises_loopback);
    walk_bool(pass, &plan->drops_caps);
    walk_string(pass, &plan->host_name);
    walk_u32(pass, &plan->step_count, VIV_PLAN_STEPS_MAX);
    for (uint32_t i = 0; i < plan->step_count && pass->err == VIV_OK; i++)
        walk_step(pass, &plan->steps[i]);
    walk_confinement(pass, plan);
    walk_leader(pass, plan);
}

// ----------------------------------------------------------------------------------------- public

enum viv_err viv_plan_encode(const struct viv_plan *plan, struct viv_buf *out)
{
    struct viv_plan *copy = viv_try_alloc(sizeof *copy, VIV_TAG_NATIVE); // the walk writes fields
    if (copy == NULL) return VIV_E_EXHAUSTED;
    *copy = *plan;
    struct pass pass = {.out = out};
    walk_plan(&pass, copy);
    viv_free(copy, sizeof *copy, VIV_TAG_NATIVE);
    return pass.err;
}

enum viv_err viv_plan_decode(const uint8_t *data, size_t len_bytes, struct viv_plan *out_plan)
{
    struct pass pass = {.at = data, .left = len_bytes};
    memset(out_plan, 0, sizeof *out_plan);
    walk_plan(&pass, out_plan);
    if (pass.err == VIV_OK && pass.left != 0) refuse(&pass);
    const bool is_first = (out_plan->namespaces & CLONE_NEWPID) != 0;
    if (is_first != (out_plan->rung == VIV_RUNG_PIDNS)) refuse(&pass);
    if (pass.err != VIV_OK) viv_plan_deinit(out_plan);
    return pass.err;
}

static void free_list(const char ***list, uint32_t count)
{
    if (*list != NULL) viv_free((void *)*list, ((size_t)count + 1) * sizeof **list, VIV_TAG_NATIVE);
    *list = NULL;
}

void viv_plan_deinit(struct viv_plan *plan)
{
    free_list(&plan->argv, plan->arg_count);
    free_list(&plan->envp, plan->env_count);
}
