// SPDX-License-Identifier: Apache-2.0
// What a process owns is gone through until a round has found nothing: ending one resource may end
// others (children), and a cursor that loses its place leaves the rest of a list out.
#include "cap/lost.h"
#include "cap/holder.h"

enum { AT_ONCE = 64, LOOKS_A_CALL = 4096 };

static const uint8_t classes[VIV_KIND_BUILTIN_END] = {
    // class + 1; 0: none
    [VIV_KIND_SESSION] = VIV_CAP_CAP_SESSION + 1,
    [VIV_KIND_CHANNEL] = VIV_CAP_CHAN_CREATE + 1,
    [VIV_KIND_READER] = VIV_CAP_CHAN_READ + 1,
    [VIV_KIND_WRITER] = VIV_CAP_CHAN_WRITE + 1,
    [VIV_KIND_CONFIG] = VIV_CAP_PROC_CONFIG + 1,
    [VIV_KIND_TIMER] = VIV_CAP_TIME_TIMER + 1,
    [VIV_KIND_LISTENER] = VIV_CAP_NET_BIND + 1,
    [VIV_KIND_STREAM] = VIV_CAP_NET_CONNECT + 1,
    [VIV_KIND_UDP] = VIV_CAP_NET_BIND + 1,
    [VIV_KIND_TLS_CONFIG] = VIV_CAP_NET_TLS + 1,
    [VIV_KIND_TLS_STREAM] = VIV_CAP_NET_TLS + 1,
    [VIV_KIND_RESOLVER] = VIV_CAP_NET_RESOLVE + 1,
    [VIV_KIND_FILE] = VIV_CAP_FS + 1,
    [VIV_KIND_DIR] = VIV_CAP_FS + 1,
    [VIV_KIND_PIPE] = VIV_CAP_NATIVE_SPAWN + 1,
    [VIV_KIND_CHILD] = VIV_CAP_NATIVE_SPAWN + 1,
    [VIV_KIND_LOG] = VIV_CAP_LOG_WRITE + 1,
    [VIV_KIND_DATABASE] = VIV_CAP_DB_OPEN + 1,
    [VIV_KIND_STATEMENT] = VIV_CAP_DB_OPEN + 1,
    [VIV_KIND_NODE] = VIV_CAP_DIST_CONNECT + 1,
    [VIV_KIND_PORT] = VIV_CAP_NATIVE_SPAWN + 1,
    [VIV_KIND_NIF] = VIV_CAP_NIF_LOAD + 1,
    [VIV_KIND_METRIC] = VIV_CAP_METRICS_WRITE + 1,
};

enum viv_cap viv_lost_class_of(viv_kind kind)
{
    const uint8_t class = kind < VIV_KIND_BUILTIN_END ? classes[kind] : 0;
    return class != 0 ? (enum viv_cap)(class - 1) : VIV_CAP_COUNT;
}

static bool is_lost(struct viv_reg *reg, viv_rid rid, uint64_t gone)
{
    struct viv_res_meta meta;
    if (viv_res_metadata(reg, rid, &meta) != VIV_OK) return false;
    const enum viv_cap cap = viv_lost_class_of(meta.kind);
    return cap != VIV_CAP_COUNT && (gone >> cap & 1) != 0;
}

// True: there may be more.
static bool close_some(struct viv_lost *lost, struct viv_reg *reg, viv_rid owner)
{
    viv_rid rids[AT_ONCE];
    for (uint32_t looks = 0; looks < LOOKS_A_CALL; looks += AT_ONCE) {
        const uint32_t count = viv_res_owned(reg, owner, &lost->cursor, rids, AT_ONCE);
        for (uint32_t i = 0; i < count; i++)
            if (is_lost(reg, rids[i], lost->gone) && viv_res_discard(reg, rids[i]) == VIV_OK)
                lost->has_closed = true;
        if (count > 0) continue;
        lost->cursor = (struct viv_res_cursor){0};
        if (!lost->has_closed) return false;
        lost->has_closed = false;
    }
    return true;
}

bool viv_lost_close(struct viv_lost *lost, struct viv_proc *proc)
{
    const struct viv_session *session = viv_ses_of(proc);
    if (session == NULL || !viv_ses_closes_on_revoke(session)) return false;
    const uint64_t held = viv_capset_held(viv_ses_held(session));
    lost->gone |= lost->seen & ~held;
    lost->seen = held;
    if (lost->gone == 0) return false;
    const struct viv_htab *tab = viv_holder_find_htab(proc);
    if (tab != NULL && close_some(lost, tab->reg, viv_res_process_id(tab))) return true;
    lost->gone = 0;
    return false;
}
