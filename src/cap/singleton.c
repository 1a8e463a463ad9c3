// SPDX-License-Identifier: Apache-2.0
// Singletons: an id stands for a resource (reg_rel.c) and for the share that look-ups attach.
#include "cap/singleton.h"
#include "cap/gate.h"
#include "cap/htab_int.h"

#define KEPT_RIGHTS (VIV_RIGHT_DESTROY | VIV_RIGHT_CONTROL | VIV_RIGHT_OWN | VIV_RIGHT_REVOKE)

static enum viv_err gate(struct viv_htab *tab, enum viv_cap cap, const viv_dep *dep)
{
    static const char digits[] = "0123456789abcdef";
    char name[2 * sizeof(dep->b)];
    for (size_t i = 0; i < sizeof(dep->b); i++) {
        name[2 * i] = digits[dep->b[i] >> 4];
        name[2 * i + 1] = digits[dep->b[i] & 15];
    }
    return viv_htab_gate(tab, cap,
                         &(struct viv_cap_query){.facets = 1u << VIV_SCOPE_NAMES,
                                                 .name = name,
                                                 .name_len = sizeof(name),
                                                 .operation = cap == VIV_CAP_SINGLETON_REGISTER
                                                                  ? "singleton_register"
                                                                  : "singleton_lookup"});
}

enum viv_err viv_res_publish(struct viv_htab *tab, viv_handle hdl, viv_dep dep, viv_rights rights)
{
    const viv_rights need = VIV_RIGHT_DERIVE | VIV_RIGHT_SHARE;
    struct viv_htab_entry *entry;
    VIV_TRY(viv_htab__check_any(tab, hdl, need, rights, &entry));
    VIV_TRY(gate(tab, VIV_CAP_SINGLETON_REGISTER, &dep));
    if (rights == 0) rights = viv_htab__rights_of(entry) & ~(viv_rights)KEPT_RIGHTS;
    const viv_rid rid = viv_res_id(viv_htab_entry_res(entry));
    // Nobody finds it before it has its share.
    VIV_TRY(viv_res_register_singleton(tab->reg, tab->env, dep, rid));
    viv_shared shared;
    enum viv_err err = viv_res_share(tab, hdl, &(struct viv_share_opts){.rights = rights}, &shared);
    if (err == VIV_OK) {
        viv_res__set_singleton_share(tab->reg, tab->env, dep, shared);
        return VIV_OK;
    }
    VIV_IGNORE(viv_res_unregister_singleton(tab->reg, tab->env, dep),
               "its resource may have ended");
    return err;
}

enum viv_err viv_res_lookup(struct viv_htab *tab, viv_dep dep, viv_handle *out_hdl)
{
    VIV_TRY(gate(tab, VIV_CAP_SINGLETON_LOOKUP, &dep));
    const viv_shared shared = viv_res__singleton_share(tab->reg, tab->env, dep);
    return shared.w == 0 ? VIV_E_NOTFOUND : viv_res_attach(tab, shared, out_hdl);
}
