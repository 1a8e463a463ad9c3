// SPDX-License-Identifier: Apache-2.0
// Questions to sessions. *any* costs a few loads; only for the rest an object is described.
#include "wasm/may.h"

#include "wasm/import.h"
#include "wasm/module.h"
#include <string.h>

static bool is_any(const struct viv_inst *inst, enum viv_cap cap)
{
    const struct viv_session *session = viv_ses_of(inst->proc);
    return session == NULL || (viv_ses_held(session)->any >> cap & 1) != 0;
}

static enum viv_err ask(struct viv_inst *inst, enum viv_cap cap, struct viv_cap_query query)
{
    query.operation = inst->import != NULL ? inst->import->name : NULL;
    return viv_cap_check(inst->proc, cap, &query);
}

enum viv_err viv_may(struct viv_inst *inst, enum viv_cap cap)
{
    return is_any(inst, cap) ? VIV_OK : ask(inst, cap, (struct viv_cap_query){0});
}

enum viv_err viv_may_name(struct viv_inst *inst, enum viv_cap cap, const char *name, size_t len)
{
    if (is_any(inst, cap)) return VIV_OK;
    return ask(
        inst, cap,
        (struct viv_cap_query){.facets = 1u << VIV_SCOPE_NAMES, .name = name, .name_len = len});
}

enum viv_err viv_may_word(struct viv_inst *inst, enum viv_cap cap, uint32_t word)
{
    if (is_any(inst, cap)) return VIV_OK;
    return ask(inst, cap, (struct viv_cap_query){.facets = 1u << VIV_SCOPE_WORDS, .number = word});
}

enum viv_err viv_may_wait(struct viv_inst *inst, uint64_t timeout_ns)
{
    if (timeout_ns == 0 || timeout_ns >= UINT64_C(1) << 63) return VIV_OK;
    return viv_may_word(inst, VIV_CAP_TIME_TIMER, VIV_TIME_MONO);
}

enum viv_err viv_may_files(struct viv_inst *inst)
{
    const struct viv_session *session = viv_ses_of(inst->proc);
    if (session == NULL) return VIV_OK;
    const struct viv_capset *held = viv_ses_held(session);
    if (((held->any | held->listed) & VIV_CAP_BIT(VIV_CAP_FS)) != 0) return VIV_OK;
    return ask(inst, VIV_CAP_FS, (struct viv_cap_query){0});
}

enum viv_err viv_may_spawn(struct viv_inst *inst, const struct viv_module *module)
{
    if (is_any(inst, VIV_CAP_PROC_SPAWN)) return VIV_OK;
    const char *name = viv_module_name(module);
    return ask(inst, VIV_CAP_PROC_SPAWN,
               (struct viv_cap_query){.facets = 1u << VIV_SCOPE_BODIES | 1u << VIV_SCOPE_NAMES,
                                      .number = VIV_BODY_WASM,
                                      .name = name,
                                      .name_len = strlen(name)});
}

// The same; a refusal names the process.
static enum viv_err ask_of(struct viv_inst *inst, enum viv_cap cap, struct viv_cap_query query,
                           viv_pid pid)
{
    const struct viv_session *session = viv_ses_of(inst->proc);
    if (session == NULL) return VIV_OK;
    enum viv_err err = viv_capset_check(viv_ses_held(session), cap, &query);
    if (err == VIV_OK) return VIV_OK;
    char text[VIV_PID_TEXT_BYTES];
    query.name = viv_pid_format(pid, text);
    query.name_len = strlen(text);
    query.operation = inst->import != NULL ? inst->import->name : NULL;
    return viv_gate_refuse(session, viv_proc_pid(inst->proc), cap, &query, err);
}

static uint32_t relation_to(const struct viv_inst *inst, viv_pid pid)
{
    const struct viv_proc *self = inst->proc;
    const struct viv_proc *other =
        viv_pid_eq(pid, viv_proc_pid(self)) // it may be unborn
            ? self
            : viv_proc_find(viv_proc_kernel(self), viv_proc_env(self), pid);
    return other != NULL ? viv_ses_relation(self, other, 0) : VIV_REL_ENV;
}

enum viv_err viv_may_reach(struct viv_inst *inst, enum viv_cap cap, viv_pid pid)
{
    if (is_any(inst, cap)) return VIV_OK;
    return ask_of(inst, cap,
                  (struct viv_cap_query){.facets = 1u << VIV_SCOPE_RELATION,
                                         .relation = relation_to(inst, pid)},
                  pid);
}

enum viv_err viv_may_signal(struct viv_inst *inst, viv_pid pid, uint32_t signal)
{
    if (is_any(inst, VIV_CAP_PROC_SIGNAL)) return VIV_OK;
    return ask_of(
        inst, VIV_CAP_PROC_SIGNAL,
        (struct viv_cap_query){.facets = 1u << VIV_SCOPE_RELATION | 1u << VIV_SCOPE_SIGNALS,
                               .relation = relation_to(inst, pid),
                               .number = signal},
        pid);
}

enum viv_host viv_may_trap(struct viv_inst *inst, enum viv_cap cap, const char *object, size_t len)
{
    const char *name = viv_cap_rows[cap].name;
    if (len == 0) return viv_host_trap(inst, "permission denied: %s", name);
    int shown = (int)(len < 200 ? len : 200);
    return viv_host_trap(inst, "permission denied: %s %.*s", name, shown, object);
}

enum viv_host viv_may_trap_pid(struct viv_inst *inst, enum viv_cap cap, viv_pid pid)
{
    char text[VIV_PID_TEXT_BYTES];
    (void)viv_pid_format(pid, text);
    return viv_may_trap(inst, cap, text, strlen(text));
}

// ---- rights ----

static const struct {
    uint32_t right;
    uint64_t classes;
} rights_table[] = {
    {VIV_RIGHT_SPAWN, VIV_CAP_BIT(VIV_CAP_PROC_SPAWN)},
    {VIV_RIGHT_COMPILE, VIV_CAP_BIT(VIV_CAP_MOD_LOAD)},
    {VIV_RIGHT_CONFIG, VIV_CAP_BIT(VIV_CAP_PROC_CONFIG)},
    {VIV_RIGHT_CONNECT, VIV_CAP_BIT(VIV_CAP_NET_CONNECT) | VIV_CAP_BIT(VIV_CAP_NET_RESOLVE)},
    {VIV_RIGHT_LISTEN, VIV_CAP_BIT(VIV_CAP_NET_BIND)},
    {VIV_RIGHT_FILES, VIV_CAP_BIT(VIV_CAP_FS) | VIV_CAP_BIT(VIV_CAP_DB_OPEN)},
    {VIV_RIGHT_NAMES, VIV_CAP_BIT(VIV_CAP_NAME_REGISTER)},
    {VIV_RIGHT_KILL, VIV_CAP_BIT(VIV_CAP_PROC_SIGNAL)},
};

uint32_t viv_rights_of(const struct viv_session *session)
{
    if (session == NULL) return VIV_RIGHT_ALL;
    const struct viv_capset *held = viv_ses_held(session);
    uint32_t rights = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(rights_table); i++)
        if (((held->any | held->listed) & rights_table[i].classes) != 0)
            rights |= rights_table[i].right;
    return rights;
}

uint64_t viv_classes_without(uint32_t rights)
{
    uint64_t classes = 0;
    for (size_t i = 0; i < VIV_COUNT_OF(rights_table); i++)
        if ((rights & rights_table[i].right) == 0) classes |= rights_table[i].classes;
    return classes;
}

enum viv_err viv_may_take_handles(const struct viv_inst *inst, viv_pid pid)
{
    struct viv_proc *self = inst->proc;
    const struct viv_proc *to = viv_proc_find(viv_proc_kernel(self), viv_proc_env(self), pid);
    return to != NULL && viv_proc_body(to)->takes_bytes_only ? VIV_E_UNSUPPORTED : VIV_OK;
}
