// SPDX-License-Identifier: Apache-2.0
// The driver's operations on leases and the queue.
#include "store_driver.h"

static uint32_t claim_flags(const json_t *call)
{
    return viv_json_get_bool(call, "begin") ? VIV_CLAIM_BEGIN : 0;
}

static enum viv_err do_claim(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_lease lease;
    const struct viv_owner owner = driver_owner(d, call);
    VIV_TRY(viv_store_claim(d->store, driver_text(d, call, "id"), &owner,
                            driver_i64(call, "ttl_ms"), claim_flags(call), &d->mem, &lease,
                            &d->diag));
    driver_put(out, "lease", driver_show_lease(&lease));
    return VIV_OK;
}

static enum viv_err do_reclaim(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_lease lease;
    struct viv_owner owner = driver_owner(d, call);
    if (viv_liveness_self(&owner.liveness) != VIV_OK) driver_die("liveness", "not known");
    const struct viv_lease observed = driver_lease(d, json_object_get(call, "observed"));
    const struct viv_reclaim reclaim = {&owner, &observed, driver_i64(call, "ttl_ms"),
                                        claim_flags(call)};
    VIV_TRY(viv_store_reclaim(d->store, driver_text(d, call, "id"), &reclaim, &d->mem, &lease,
                              &d->diag));
    driver_put(out, "lease", driver_show_lease(&lease));
    return VIV_OK;
}

static enum viv_err do_renew(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_lease lease = driver_lease(d, json_object_get(call, "lease"));
    VIV_TRY(viv_store_renew(d->store, &lease, driver_i64(call, "ttl_ms"),
                            driver_text(d, call, "guard"), &d->diag));
    driver_put(out, "expires_ms", json_integer(lease.expires_ms));
    return VIV_OK;
}

static enum viv_err do_renew_many(struct driver *d, const json_t *call, json_t *out)
{
    const json_t *list = json_object_get(call, "leases");
    const size_t count = json_array_size(list);
    struct viv_lease *leases = driver_take(d, count, sizeof *leases);
    const struct viv_lease **pointers = driver_take(d, count, sizeof *pointers);
    struct viv_renewed *renewed = driver_take(d, count, sizeof *renewed);
    int64_t now_ms;
    for (size_t i = 0; i < count; i++) {
        leases[i] = driver_lease(d, json_array_get(list, i));
        pointers[i] = &leases[i];
    }
    const struct viv_renewal renewal = {pointers, count, driver_i64(call, "ttl_ms")};
    VIV_TRY(viv_store_renew_many(d->store, &renewal, renewed, &now_ms, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array();
        (void)json_array_append_new(item, json_string(viv_err_name(renewed[i].status)));
        (void)json_array_append_new(item, json_integer(renewed[i].expires_ms));
        (void)json_array_append_new(item, json_boolean(renewed[i].is_cancel_pending));
        (void)json_array_append_new(items, item);
    }
    driver_put(out, "renewed", items);
    driver_put(out, "now_ms", json_integer(now_ms));
    return VIV_OK;
}

static enum viv_err do_release(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_lease lease = driver_lease(d, json_object_get(call, "lease"));
    const json_t *outcome = json_object_get(call, "outcome");
    const char *name = viv_json_get_text(outcome, "outcome");
    const struct viv_release release = {
        .outcome = name != NULL && name[0] == 'h' ? VIV_ATTEMPT_HANDED_BACK : VIV_ATTEMPT_FAILED,
        .reason = driver_text(d, outcome, "reason"),
        .delay_ms = driver_i64(outcome, "delay_ms")};
    bool released;
    VIV_TRY(viv_store_release(d->store, &lease, json_is_object(outcome) ? &release : NULL,
                              &released, &d->diag));
    driver_put(out, "released", json_boolean(released));
    return VIV_OK;
}

static enum viv_err do_get_lease(struct driver *d, const json_t *call, json_t *out)
{
    struct viv_lease lease;
    VIV_TRY(viv_store_get_lease(d->store, driver_text(d, call, "id"), &d->mem, &lease, &d->diag));
    driver_put(out, "lease", driver_show_lease(&lease));
    return VIV_OK;
}

static json_t *show_claimed(const struct viv_claimed *claimed)
{
    static const char *const verdicts[] = {"", "run", "failed", "cancelled", "abandoned"};
    json_t *item = json_object();
    driver_put(item, "lease", driver_show_lease(&claimed->lease));
    driver_put(item, "record", driver_show_record(&claimed->record));
    driver_put(item, "verdict", json_string(verdicts[claimed->verdict]));
    driver_put(item, "output", driver_show_text(claimed->output));
    return item;
}

static enum viv_err do_claim_next(struct driver *d, const json_t *call, json_t *out)
{
    const struct viv_owner owner = driver_owner(d, call);
    struct viv_queue_query query = {.owner = &owner,
                                    .ttl_ms = driver_i64(call, "ttl_ms"),
                                    .limit = driver_u64(call, "limit"),
                                    .reclaims = viv_json_get_bool(call, "reclaims"),
                                    .spares_expired = viv_json_get_bool(call, "spares")};
    struct viv_claims claims;
    query.queues = driver_texts(d, call, "queues", &query.queue_count);
    query.kinds = driver_texts(d, call, "kinds", &query.kind_count);
    VIV_TRY(viv_store_claim_next(d->store, &query, &d->mem, &claims, &d->diag));
    json_t *items = json_array();
    for (size_t i = 0; i < claims.count; i++)
        (void)json_array_append_new(items, show_claimed(&claims.items[i]));
    driver_put(out, "items", items);
    driver_put(out, "wall_ms", json_integer(claims.wall_ms));
    return VIV_OK;
}

const struct driver_op driver_lease_ops[] = {
    {"claim", do_claim},           {"reclaim", do_reclaim},
    {"renew", do_renew},           {"renew_many", do_renew_many},
    {"release", do_release},       {"get_lease", do_get_lease},
    {"claim_next", do_claim_next}, {NULL, NULL},
};
