// SPDX-License-Identifier: Apache-2.0
// Registrars. Each reserved place is an entry of the table and a free record of the registry, paid
// for as one handle and one resource without an object. A pin keeps the instance's memory in place
// while a registrar names it; whether it is closed is asked under the table's lock. When it is, the
// close has paid the reservations back (tab->prepaid), and only the records are left to be
// returned.
#include "cap/registrar.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "cap/htab_int.h"
#include "cap/reg_end.h"

struct place {
    uint32_t index;
    struct viv_res *slot;
};

struct viv_registrar {
    struct viv_htab *tab;
    uint32_t capacity;
    uint32_t left; // under the table's lock
    struct place places[];
};

static size_t bytes_of(uint32_t n)
{
    return sizeof(struct viv_registrar) + n * sizeof(struct place);
}

static enum viv_err charge(struct viv_htab *tab)
{
    VIV_TRY(viv_account_charge(tab->account, VIV_COUNTER_RESOURCES, 1));
    const enum viv_err err =
        viv_account_charge(tab->account, VIV_COUNTER_RESOURCE_BYTES, VIV_RES_OVERHEAD_BYTES);
    if (err != VIV_OK) viv_account_credit(tab->account, VIV_COUNTER_RESOURCES, 1);
    return err;
}

static void credit(struct viv_htab *tab)
{
    viv_account_credit(tab->account, VIV_COUNTER_RESOURCES, 1);
    viv_account_credit(tab->account, VIV_COUNTER_RESOURCE_BYTES, VIV_RES_OVERHEAD_BYTES);
}

// Its reservation is counted once it is complete.
static enum viv_err reserve(struct viv_registrar *registrar, struct place *out_place)
{
    struct viv_htab *tab = registrar->tab;
    struct place place;
    enum viv_err err = viv_htab__take(tab, &tab->handles, &place.index);
    if (err != VIV_OK) return err;
    err = charge(tab);
    if (err != VIV_OK) goto fail_entry;
    err = VIV_E_EXHAUSTED;
    place.slot = viv_res__take_slot(tab->reg);
    if (place.slot == NULL) goto fail_charge;
    viv_spin_lock(&tab->lock);
    tab->prepaid++;
    viv_spin_unlock(&tab->lock);
    *out_place = place;
    return VIV_OK;
fail_charge:
    credit(tab);
fail_entry:
    viv_htab__untake(tab, &tab->handles, place.index);
    return err;
}

// Gives one reservation back.
static void unreserve(struct viv_htab *tab, struct place place)
{
    viv_res__put_slot(tab->reg, place.slot);
    viv_spin_lock(&tab->lock);
    const bool is_closed = tab->is_closed;
    if (!is_closed) tab->prepaid--;
    viv_spin_unlock(&tab->lock);
    if (is_closed) return; // the close has paid all of them back
    credit(tab);
    viv_htab__untake(tab, &tab->handles, place.index);
}

enum viv_err viv_res_registrar(struct viv_htab *tab, uint32_t n,
                               struct viv_registrar **out_registrar)
{
    if (n > VIV_REGISTRAR_MAX) return VIV_E_INVAL;
    struct viv_registrar *registrar = viv_try_alloc(bytes_of(n), VIV_TAG_CAP);
    if (registrar == NULL) return VIV_E_EXHAUSTED;
    registrar->tab = tab;
    registrar->capacity = n;
    registrar->left = 0;
    struct viv_res *pinned;
    enum viv_err err = viv_res_pin(tab->reg, tab->rid, VIV_KIND_INSTANCE, &pinned);
    if (err != VIV_OK) {
        viv_free(registrar, bytes_of(n), VIV_TAG_CAP);
        return err == VIV_E_EXHAUSTED ? err : VIV_E_NOINSTANCE;
    }
    viv_spin_lock(&tab->lock);
    tab->registrar_count++;
    viv_spin_unlock(&tab->lock);
    while (registrar->left < n) {
        err = reserve(registrar, &registrar->places[registrar->left]);
        if (err != VIV_OK) {
            viv_res_registrar_free(registrar);
            return err;
        }
        registrar->left++;
    }
    *out_registrar = registrar;
    return VIV_OK;
}

// OK with *out_is_reserved false: none is left, take one like anybody.
static enum viv_err take_place(struct viv_registrar *registrar, struct place *out_place,
                               bool *out_is_reserved)
{
    struct viv_htab *tab = registrar->tab;
    viv_spin_lock(&tab->lock);
    const bool is_closed = tab->is_closed;
    *out_is_reserved = !is_closed && registrar->left > 0;
    if (*out_is_reserved) {
        *out_place = registrar->places[--registrar->left];
        tab->prepaid--; // this thread's now, also if the instance closes meanwhile
    }
    viv_spin_unlock(&tab->lock);
    return is_closed ? VIV_E_NOINSTANCE : VIV_OK;
}

// A place that was taken and not used is reserved again, unless the instance is closed.
static void put_place(struct viv_registrar *registrar, struct place place)
{
    struct viv_htab *tab = registrar->tab;
    viv_spin_lock(&tab->lock);
    const bool is_closed = tab->is_closed;
    if (!is_closed) {
        registrar->places[registrar->left++] = place;
        tab->prepaid++;
    }
    viv_spin_unlock(&tab->lock);
    if (!is_closed) return;
    viv_res__put_slot(tab->reg, place.slot);
    credit(tab);
    viv_htab__untake(tab, &tab->handles, place.index);
}

static enum viv_err insert_reserved(struct viv_registrar *registrar, struct place place,
                                    const struct viv_res_spec *spec, void *obj, viv_rights rights,
                                    viv_handle *out_hdl)
{
    struct viv_htab *tab = registrar->tab;
    const struct viv_res_spec owned = viv_htab__owned_spec(tab, spec);
    const struct viv_res_birth birth = {.spec = &owned,
                                        .obj = obj,
                                        .phase = VIV_RES_LIVE,
                                        .holds = 1,
                                        .slot = place.slot,
                                        .paid_by = tab->account};
    struct viv_res *res;
    enum viv_err err = viv_res__bear(tab->reg, &birth, &res);
    if (err != VIV_OK) {
        put_place(registrar, place);
        return err == VIV_E_NOTFOUND && viv_htab__is_ended(tab) ? VIV_E_NOINSTANCE : err;
    }
    const struct viv_htab_fill fill = {.res = res, .rights = rights};
    err = viv_htab__publish(tab, &tab->handles, place.index, &fill, out_hdl);
    if (err != VIV_OK) viv_htab__abandon(res);
    return err;
}

enum viv_err viv_res_registrar_insert(struct viv_registrar *registrar,
                                      const struct viv_res_spec *spec, VIV_OWN void *obj,
                                      viv_rights rights, viv_handle *out_hdl)
{
    struct place place;
    bool is_reserved;
    enum viv_err err = VIV_OK;
    if (!viv_htab__are_rights(registrar->tab->reg, spec->kind, rights)) err = VIV_E_INVAL;
    if (err == VIV_OK) err = take_place(registrar, &place, &is_reserved);
    if (err != VIV_OK) {
        viv_res__destroy_obj(registrar->tab->reg, spec->kind, obj);
        return err;
    }
    if (is_reserved) return insert_reserved(registrar, place, spec, obj, rights, out_hdl);
    return viv_res_insert(registrar->tab, spec, obj, rights, out_hdl);
}

enum viv_err viv_res_registrar_insert_id(struct viv_registrar *registrar, viv_rid rid,
                                         viv_rights rights, viv_handle *out_hdl)
{
    struct place place;
    bool is_reserved;
    VIV_TRY(take_place(registrar, &place, &is_reserved));
    if (!is_reserved) return viv_res_insert_id(registrar->tab, rid, rights, out_hdl);
    struct viv_htab *tab = registrar->tab;
    uint64_t state;
    struct viv_res *res = viv_res__find(tab->reg, rid, &state);
    enum viv_err err = VIV_E_NOTFOUND;
    if (res != NULL && !viv_htab__are_rights(tab->reg, res->kind, rights))
        err = VIV_E_INVAL;
    else if (res != NULL)
        err = viv_res__hold(res);
    if (err != VIV_OK) {
        put_place(registrar, place);
        return err;
    }
    // The record and its charge were for a new resource; the entry alone is used.
    viv_res__put_slot(tab->reg, place.slot);
    credit(tab);
    const struct viv_htab_fill fill = {.res = res, .rights = rights};
    err = viv_htab__publish(tab, &tab->handles, place.index, &fill, out_hdl);
    if (err != VIV_OK) VIV_IGNORE(viv_res__drop_hold(res, false), "never the end of it");
    return err;
}

enum viv_err viv_res_registrar_entry(struct viv_registrar *registrar, viv_handle hdl,
                                     viv_rid *out_rid)
{
    struct viv_htab *tab = registrar->tab;
    enum viv_err err = VIV_E_NOINSTANCE;
    viv_spin_lock(&tab->lock);
    if (!tab->is_closed) {
        const struct viv_res *res = viv_htab__res_locked(tab, hdl);
        err = res != NULL ? VIV_OK : VIV_E_BADHANDLE;
        if (res != NULL) *out_rid = viv_res_id(res);
    }
    viv_spin_unlock(&tab->lock);
    return err;
}

uint32_t viv_res_registrar_left(struct viv_registrar *registrar)
{
    viv_spin_lock(&registrar->tab->lock);
    const uint32_t left = registrar->tab->is_closed ? 0 : registrar->left;
    viv_spin_unlock(&registrar->tab->lock);
    return left;
}

void viv_res_registrar_free(VIV_OWN struct viv_registrar *registrar)
{
    struct viv_htab *tab = registrar->tab;
    while (registrar->left > 0)
        unreserve(tab, registrar->places[--registrar->left]);
    viv_spin_lock(&tab->lock);
    tab->registrar_count--;
    viv_spin_unlock(&tab->lock);
    viv_res_unpin(tab->res);
    viv_free(registrar, bytes_of(registrar->capacity), VIV_TAG_CAP);
}
